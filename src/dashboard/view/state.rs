//! What the pages stand on: the store's reader, the receivers' counters, and a few settings.

use std::sync::Arc;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::dashboard::collect::Board;
use crate::dashboard::documents::Documents;
use crate::dashboard::keys::gate::Gate;
use crate::dashboard::model::{Nanos, TraceId};
use crate::dashboard::operate::Desk;
use crate::dashboard::query::breakers::Breakers;
use crate::dashboard::query::completion::Vocabulary;
use crate::dashboard::query::kept::{Maps, Overviews, ServiceLists};
use crate::dashboard::query::messages::body::Schemas;
use crate::dashboard::query::queues::Queues;
use crate::dashboard::store::Reader;

/// Everything that handlers share. Cheap to clone.
#[derive(Clone)]
pub struct PageState {
    pub reader: Arc<dyn Reader>,
    /// The Overviews computed last.
    pub overviews: Arc<Overviews>,
    /// What is known of breakers.
    pub breakers: Arc<Breakers>,
    /// The maps and lists of services computed last.
    pub maps: Arc<Maps>,
    pub services: Arc<ServiceLists>,
    /// The series of queues read last, and what brokers that are asked tell of themselves.
    pub queues: Arc<Queues>,
    pub board: Arc<Board>,
    /// What bodies of Protocol Buffers are read by.
    pub schemas: Arc<Schemas>,
    /// Where deeds on messages are asked for.
    pub desk: Arc<Desk>,
    /// What the query line completes from.
    pub vocabulary: Arc<Vocabulary>,
    pub status: Arc<dyn StatusSource>,
    /// Sends a small trace through the real receiver; `None` leaves the button out.
    pub test_trace: Option<Arc<dyn TestTrace>>,
    /// Failures of the demo shop that can be switched on; `None` where there is no such shop, or nobody may.
    pub scenarios: Option<Arc<dyn Scenarios>>,
    pub settings: Arc<PageSettings>,
    /// Who may read.
    pub gate: Arc<Gate>,
    /// Ends the live streams, so that a shutdown need not wait for browsers.
    pub closing: CancellationToken,
}

impl PageState {
    /// How many changes there were that pages may show: commits, and steps of redrives.
    pub fn seen(&self) -> u64 {
        *self.reader.commits().borrow() + *self.desk.jobs.changes().borrow()
    }
}

/// What was set at start.
#[derive(Debug, Clone, Default)]
pub struct PageSettings {
    /// Where the receivers listen, as a service has to be told: `127.0.0.1:4317`. `None` is switched off.
    pub otlp_grpc: Option<String>,
    pub otlp_http: Option<String>,
    /// Where the pages themselves listen.
    pub listen: String,
    /// Host names that are answered beside the loopback ones, with or without port.
    pub hosts: Vec<String>,
    /// When the process began, in ns.
    pub started: Nanos,
    /// Whether this is `throughline demo`.
    pub demo: bool,
    /// Where services' interfaces are described.
    pub documents: Documents,
}

/// Sends a test trace.
#[async_trait]
pub trait TestTrace: Send + Sync {
    /// Ingests a small trace as a service would and returns its ID once it can be read; the error is for a person.
    async fn send(&self) -> Result<TraceId, String>;
}

/// Failures of a demo shop that can be switched on and off. All errors are for a person.
#[async_trait]
pub trait Scenarios: Send + Sync {
    /// Those that there are.
    async fn list(&self) -> Result<Vec<Scenario>, String>;
    /// Switches one on or off, whatever it was before.
    async fn switch(&self, name: &str, on: bool) -> Result<(), String>;
}

/// A failure that can be switched on. Its texts come from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// As it is called in addresses: [`Scenario::is_name`].
    pub name: String,
    pub title: String,
    /// What happens then.
    pub does: String,
    /// What to look at.
    pub look: String,
    /// The page to begin with, as path and query; not checked.
    pub page: Option<String>,
    pub on: bool,
    /// When it ends by itself.
    pub until: Option<Nanos>,
}

impl Scenario {
    /// Whether a name may stand in an address as it is: 1 to 64 ASCII letters, digits, `-` and `_`.
    pub fn is_name(text: &str) -> bool {
        (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    }
}

/// Where the Status page has its figures from.
pub trait StatusSource: Send + Sync {
    /// The counters as they are now.
    fn status(&self) -> ReceiveStatus;
}

/// What was received and refused since the start of the process.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ReceiveStatus {
    /// Worst first where one is ill; else in a steady order.
    pub sources: Vec<SourceStatus>,
    /// Spans and log records committed.
    pub accepted_spans: u64,
    pub accepted_logs: u64,
    /// Data points of metrics.
    pub metrics: MetricPoints,
    /// Bytes taken from the wire, after decompression.
    pub bytes: u64,
    /// 95th percentile of the time from arrival to commit, in ns; `None` before the first.
    pub commit_p95: Option<u64>,
    /// Whole requests turned away because the queue was full.
    pub turned_away: u64,
    /// Why spans and logs were refused or cut, most first; bounded by the source.
    pub refused: Vec<Refused>,
    /// The last hour by minute, oldest first; empty where it is not kept.
    pub minutes: Vec<Minute>,
}

impl ReceiveStatus {
    /// Everything refused, whatever the reason.
    pub fn refused_total(&self) -> u64 {
        self.refused.iter().map(|refused| refused.count).sum()
    }
}

/// What became of the data points of metrics since the start of the process.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricPoints {
    /// Committed.
    pub kept: u64,
    /// They said that there was no value.
    pub blank: u64,
    /// Of metrics that are not kept, by name, most first; an empty name stands for several or none.
    pub passed: Vec<(String, u64)>,
}

/// One way in.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceStatus {
    /// `OTLP gRPC 127.0.0.1:4317`.
    pub name: String,
    /// `spans, logs, metrics`.
    pub kind: String,
    pub health: Health,
    /// When the last request came.
    pub last_heard: Option<Nanos>,
    /// Spans and logs a second over the last minute.
    pub rate: Option<f64>,
    /// What else is to be said.
    pub note: String,
}

/// How a source does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Heard lately.
    Well,
    /// Listening, and nothing has come yet or for long.
    Silent,
    /// It cannot be reached or does not work.
    Broken,
}

/// Items refused or cut for one reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Refused {
    /// In words: `span ID is all zeros`.
    pub reason: String,
    /// The service that sent them, where known.
    pub service: Option<String>,
    pub count: u64,
}

/// One minute of receiving.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Minute {
    pub start: Nanos,
    pub accepted: u64,
    pub refused: u64,
}
