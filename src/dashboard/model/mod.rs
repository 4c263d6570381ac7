//! Our own types: what the rest of the dashboard speaks about. Depends on nothing else of ours.
//!
//! * [`ids`]: trace and span IDs.
//! * [`value`]: an attribute's value, of any OTLP type.
//! * [`span`]: spans, logs, resources, scopes, decoded for reading.
//! * [`series`]: series of metrics and their samples.
//! * [`queues`]: what a broker tells of its queues; [`messages`]: what a tap saw, and how that is kept.
//! * [`summary`]: what a list needs to know of a trace without opening it.
//! * [`severity`]: how bad a log record is.
//! * [`answer`]: how a call or a delivery ended.
//! * [`audit`]: what was done to brokers, by whom.
//! * [`correlation`]: which attributes carry a correlation ID; [`hash`]: what stands for an attribute in an index.
//!
//! What must not live here: HTML, SQL, anything that waits.

pub mod answer;
pub mod audit;
pub mod correlation;
pub mod hash;
pub mod ids;
pub mod messages;
pub mod otlp;
pub mod proto;
pub mod queues;
pub mod series;
pub mod severity;
pub mod span;
pub mod summary;
pub mod value;

pub use answer::Settled;
pub use correlation::Correlation;
pub use ids::{SpanId, TraceId};
pub use messages::Message;
pub use series::{Follows, Identity, Sample, Shape};
pub use severity::Severity;
pub use span::{Event, Kind, Link, LogRecord, Resource, Scope, Span, StatusCode, Trace};
pub use summary::{Failure, Root, ServiceShare, TraceSummary};
pub use value::Value;

/// Nanoseconds since the Unix epoch, as OTLP counts them. 0 means "not told".
pub type Nanos = u64;

/// 2000-01-01: nothing was traced before. A sender that tells less has no clock, or counts from its own start.
pub const EARLIEST: Nanos = 946_684_800_000_000_000;

/// The current time. 0 where the clock stands before 1970.
pub fn now() -> Nanos {
    nanos(std::time::SystemTime::now())
}

/// A moment in nanoseconds.
pub fn nanos(time: std::time::SystemTime) -> Nanos {
    time.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as Nanos)
}
