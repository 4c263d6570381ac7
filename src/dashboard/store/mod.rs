//! Keeps what was received and finds it again.
//!
//! [`Store`] is what the rest of the dashboard sees: it takes batches (an OK means committed), reads traces,
//! lists and correlations, and tells when something new has come. Behind it:
//!
//! * [`filter`]: what a list of traces may be asked for, and what comes back; [`select`]: what a query asks.
//! * [`engine`]: opens, reads; [`writer`]: the one task that writes and seals; [`follow`]: what other dashboards wrote;
//!   [`retention`]: removes what is old, in steps of a [`pace`]; [`kinds`]: runs that lack one kind;
//!   [`log_bytes`]: how much logs take.
//! * [`pack`]: batches into blocks, by trace ([`group`]); [`part`]: their entries and terms ([`block`], [`entry`],
//!   [`term`], [`seen`], [`failure`]).
//! * [`logs`]: logs by time, severity and service.
//! * [`tail`] and [`run`]: the unsealed and the sealed index; [`rollup`]: rates in time buckets; [`failing`]: which
//!   services traces break in; [`rates`]: services, operations and calls.
//! * [`series`]: samples of metrics; [`audit`]: what was done to brokers.
//! * [`location`]: where a store is; [`opening`]: why it cannot be opened; [`damage`]: what of it could not be read.
//! * [`check`]: reads all of it; [`copy`]: takes it elsewhere; [`compact`]: packs it tightly; [`side`]: what both see of it.
//! * [`backend`]: what a database must do; [`sqlite`] and [`postgres`] do it.
//!
//! What must not live here: layout, words for a person, wire answers.

mod audit;
mod audit_rows;
mod backend;
mod block;
pub mod check;
pub mod compact;
pub mod copy;
mod damage;
mod engine;
mod entry;
mod failing;
mod failure;
pub mod filter;
mod follow;
mod group;
mod kinds;
mod latency;
mod location;
mod log_bytes;
mod logs;
mod opening;
mod pace;
mod pack;
mod part;
mod postgres;
mod rates;
mod reader;
mod repack;
mod retention;
mod rollup;
mod run;
mod seen;
pub mod select;
mod series;
mod side;
mod sqlite;
mod tail;
mod term;
mod writer;

use std::collections::HashSet;

use async_trait::async_trait;
use tokio::sync::watch;

use super::model::otlp::{Batch, Points};
use super::model::{LogRecord, Message, Nanos, SpanId, Trace, TraceId, TraceSummary};
pub use audit::AuditLog;
pub use engine::Store;
pub use failing::{Failing, Reason};
pub use filter::{Cursor, Dot, Order, StatusFilter, TraceFilter, TracePage};
pub use latency::Latency;
pub use location::Location;
pub use logs::filter::{FoundLog, LogCounts, LogCursor, LogFilter, LogKind, LogPage};
pub use opening::OpenError;
pub use postgres::{PostgresError, PostgresUrl};
pub use rates::{
    Call, Destination, Histogram, InstanceRates, Node, OTHERS, OperationRates, Rates, ServiceRates, Way,
};
pub use retention::Limits;
pub use select::{Plan, Selection, Verdict};
pub use series::select::{FoundSeries, KeptMetric, KeptMetrics, Metric, Newest, Series, SeriesFilter};

/// Why a read or write did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store cannot serve just now (disk full, locked, shutting down): trying again later may succeed.
    #[error("the store cannot be used at the moment: {0}")]
    Unavailable(String),
    /// More comes in than can be written: try again in a second.
    #[error("more comes in than can be written at the moment")]
    Overloaded,
    /// What is stored cannot be read; the text names the place.
    #[error("the store is damaged: {0}")]
    Damaged(String),
}

/// Takes what was received.
#[async_trait]
pub trait Ingest: Send + Sync {
    /// Stores a batch. `Ok` means that all of it is committed and survives a crash; after an error all of it may
    /// be sent again without harm.
    async fn ingest(&self, batch: Batch) -> Result<Stored, StoreError>;

    /// Stores samples of metrics. `Ok` means the same, but for those beyond the limit on series, which it counts.
    async fn keep(&self, points: Points) -> Result<Stored, StoreError>;
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stored {
    /// Spans, logs and samples left out because they were stored before.
    pub duplicates: u64,
    /// Samples left out because there are too many series.
    pub beyond: u64,
}

/// Reads of the store. All of them see what was committed before the call.
#[async_trait]
pub trait Reader: Send + Sync {
    /// Everything kept of a trace, each span once, spans by start time, logs by time.
    async fn trace(&self, id: TraceId) -> Result<Option<Trace>, StoreError>;

    /// The same of several traces, each beside its ID, in their order. What many of them share is read once.
    async fn each_trace(&self, ids: &[TraceId]) -> Vec<(TraceId, Result<Option<Trace>, StoreError>)> {
        let mut all = Vec::with_capacity(ids.len());
        for id in ids {
            all.push((*id, self.trace(*id).await));
        }
        all
    }

    /// What a list shows of one trace, without opening it.
    async fn summary(&self, id: TraceId) -> Result<Option<TraceSummary>, StoreError>;

    /// The traces that have a span with this ID, newest first: span IDs are unique within a trace only.
    async fn traces_of_span(&self, id: SpanId) -> Result<Vec<TraceId>, StoreError>;

    /// A page of traces, within a budget of summaries to look at.
    async fn traces(&self, filter: &TraceFilter) -> Result<TracePage, StoreError>;

    /// A page of logs, newest first, within a budget of rows to look at and logs to read.
    async fn logs(&self, filter: &LogFilter) -> Result<LogPage, StoreError>;

    /// Logs by severity over the filter's range, in about `steps` steps (1 to 1000) of a round length. No log is read.
    async fn log_counts(&self, filter: &LogFilter, steps: usize) -> Result<LogCounts, StoreError>;

    /// Everything with this correlation ID, closed over span links in both directions.
    async fn correlated(&self, correlation: &str) -> Result<Correlated, StoreError>;

    /// The traces with a span that links to `id`.
    async fn linking_to(&self, id: TraceId) -> Result<Vec<TraceSummary>, StoreError>;

    /// Names of the services seen in `from..to`, sorted.
    async fn services(&self, from: Nanos, to: Nanos) -> Result<Vec<String>, StoreError>;

    /// Rates, errors and durations in `from..to`, in at most `steps` equal steps; the last may reach beyond `to`.
    async fn activity(&self, from: Nanos, to: Nanos, steps: usize) -> Result<Vec<Activity>, StoreError>;

    /// The services that traces of `from..=to` broke in, in no order; `from` may be taken down to the full minute.
    async fn failing(&self, from: Nanos, to: Nanos) -> Result<Vec<Failing>, StoreError>;

    /// Rates of operations in `from..to`, of one service or all, by service and name. A bucket of ten seconds counts
    /// where its begin lies in the range; a span counts in the bucket that it ended in.
    async fn operations(
        &self,
        from: Nanos,
        to: Nanos,
        service: Option<&str>,
    ) -> Result<Vec<OperationRates>, StoreError>;

    /// The call graph in `from..to`: calls and messages between services, databases and what lies outside.
    async fn calls(&self, from: Nanos, to: Nanos) -> Result<Vec<Call>, StoreError>;

    /// Rates of each service in `from..to`, in at most `steps` equal steps of whole buckets; the first may begin before
    /// `from`, the last end after `to`.
    async fn service_rates(
        &self,
        from: Nanos,
        to: Nanos,
        steps: usize,
    ) -> Result<Vec<ServiceRates>, StoreError>;

    /// Rates of all calls of `ways` together in `from..to`, in steps as those of [`Reader::service_rates`].
    async fn call_rates(
        &self,
        from: Nanos,
        to: Nanos,
        steps: usize,
        ways: &HashSet<Way>,
    ) -> Result<Vec<(Nanos, Rates)>, StoreError>;

    /// Rates of each instance of one service or all in `from..to`, in at most `steps` equal steps of whole minutes. What
    /// was sealed by a version of Throughline that did not count instances is not in it.
    async fn instance_rates(
        &self,
        from: Nanos,
        to: Nanos,
        steps: usize,
        service: Option<&str>,
    ) -> Result<Vec<InstanceRates>, StoreError>;

    /// Samples of series in a range of time, within the limits of one answer.
    async fn series(&self, filter: &SeriesFilter) -> Result<FoundSeries, StoreError>;

    /// The newest sample in a range of time of each series that came lately, by identity. Each series has its own time:
    /// who needs several of one moment, such as the states of a breaker, settles on the newest of each.
    async fn newest_samples(&self, filter: &SeriesFilter) -> Result<Vec<Newest>, StoreError>;

    /// How many samples came more than five minutes after their time since this process began. Who remembers what
    /// series were, older than that, has to read them again when it changes.
    fn late_samples(&self) -> u64;

    /// The metrics that are kept and came lately, and what of them was too much.
    async fn kept_metrics(&self) -> Result<KeptMetrics, StoreError>;

    /// What was met that cannot be read and is left out of answers, each place in one line; since the start, or since
    /// something was removed.
    fn damage(&self) -> Vec<String>;

    /// What the store holds.
    async fn holdings(&self) -> Result<Holdings, StoreError>;

    /// Changes with every commit, before its senders are answered, and with what others wrote once it is seen; the
    /// number is the count of such changes since the start of this process.
    fn commits(&self) -> watch::Receiver<u64>;
}

/// Everything that carries one correlation ID.
#[derive(Debug, Clone, Default)]
pub struct Correlated {
    /// Oldest first.
    pub traces: Vec<CorrelatedTrace>,
    /// Logs with the correlation ID and no trace ID, oldest first.
    pub logs: Vec<LogRecord>,
    /// Messages that a tap saw, the same.
    pub messages: Vec<Message>,
    /// True where more than [`Correlated::MAX_TRACES`] were found and the newest were left out.
    pub truncated: bool,
}

impl Correlated {
    pub const MAX_TRACES: usize = 200;
}

/// A trace of a correlation.
#[derive(Debug, Clone)]
pub struct CorrelatedTrace {
    pub summary: TraceSummary,
    /// False where only a span link ties it to the others.
    pub carries_id: bool,
}

/// One step of time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Activity {
    /// Begin of the step; its length is the distance to the next one's begin.
    pub start: Nanos,
    pub spans: u64,
    /// Requests: traces whose root ended in this step.
    pub requests: u64,
    /// Of them, those in which more failed than calls that were refused.
    pub failed: u64,
    /// 95th percentile of the requests' root durations in ns; `None` without requests.
    pub p95: Option<u64>,
}

/// What the store holds, for the Status page and `/metrics`.
#[derive(Debug, Clone, Default)]
pub struct Holdings {
    /// `SQLite` or `PostgreSQL`.
    pub engine: &'static str,
    /// Where it is, without any password.
    pub location: String,
    pub spans: u64,
    pub logs: u64,
    /// Sealed parts of the store.
    pub runs: usize,
    /// Bytes on disk, indexes included.
    pub bytes: u64,
    /// Largest size before the oldest is removed; 0 is unlimited.
    pub max_bytes: u64,
    /// Longest age in seconds before removal; 0 is unlimited.
    pub max_age_s: u64,
    /// The same of samples of metrics.
    pub max_metrics_age_s: u64,
    /// The same for logs.
    pub max_log_age_s: u64,
    /// Largest size of the logs before the oldest of them are removed; 0 is unlimited.
    pub max_log_bytes: u64,
    /// Bytes that sealed logs take, as of the last look; 0 where they are not limited.
    pub log_bytes: u64,
    /// Whether the disk is full, so that nothing is taken in.
    pub is_full: bool,
    /// Start of the oldest span kept.
    pub oldest: Option<Nanos>,
    /// Batches waiting for the writer, and how many may.
    pub queued: usize,
    pub queue_capacity: usize,
}
