//! OTLP messages as bytes: [`walk`]ed on arrival into a [`batch`], [`decode`]d when somebody looks. Metrics are read
//! into [`points`] as far as they are of [`interest`].
//!
//! Field numbers are those of opentelemetry-proto 1.11. Both readers take any field order and unknown fields,
//! and neither fails on text that is not UTF-8.

pub mod batch;
pub mod decode;
pub mod interest;
mod peek;
pub mod peer;
pub mod points;
mod walk;

pub use batch::Batch;
pub use interest::Interest;
pub use peek::{key_value, text_of};
pub use points::Points;

/// How deep values may be nested: the limit of prost and of the OpenTelemetry Collector.
pub const MAX_DEPTH: usize = 100;

/// Resources, scopes, spans and logs of one request, together. Two bytes are a log record: the size of a request alone is
/// no bound for what it takes in memory. Exporters send some hundreds at once, collectors some thousands.
pub const MAX_ITEMS: usize = 1 << 19;

/// Attribute of a server's span that has the ID of the client's span, as Zipkin allows (its `shared`): the client's span
/// is its parent, whatever stands as the parent's ID.
pub const SHARED: &str = "zipkin.shared";

/// Field numbers of `opentelemetry.proto.trace.v1.Span`.
pub mod span_field {
    pub const TRACE_ID: u32 = 1;
    pub const SPAN_ID: u32 = 2;
    pub const TRACE_STATE: u32 = 3;
    pub const PARENT: u32 = 4;
    pub const NAME: u32 = 5;
    pub const KIND: u32 = 6;
    pub const START: u32 = 7;
    pub const END: u32 = 8;
    pub const ATTRIBUTES: u32 = 9;
    pub const DROPPED_ATTRIBUTES: u32 = 10;
    pub const EVENTS: u32 = 11;
    pub const DROPPED_EVENTS: u32 = 12;
    pub const LINKS: u32 = 13;
    pub const DROPPED_LINKS: u32 = 14;
    pub const STATUS: u32 = 15;
    pub const FLAGS: u32 = 16;
}

/// Field numbers of `opentelemetry.proto.common.v1.InstrumentationScope`.
pub mod scope_field {
    pub const NAME: u32 = 1;
}

/// Field numbers of `opentelemetry.proto.logs.v1.LogRecord`.
pub mod log_field {
    pub const TIME: u32 = 1;
    pub const SEVERITY: u32 = 2;
    pub const SEVERITY_TEXT: u32 = 3;
    pub const BODY: u32 = 5;
    pub const ATTRIBUTES: u32 = 6;
    pub const DROPPED_ATTRIBUTES: u32 = 7;
    pub const FLAGS: u32 = 8;
    pub const TRACE_ID: u32 = 9;
    pub const SPAN_ID: u32 = 10;
    pub const OBSERVED: u32 = 11;
    pub const EVENT_NAME: u32 = 12;
}
