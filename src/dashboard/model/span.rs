//! Spans and logs decoded for reading, with the resource and scope they came from.

use std::sync::Arc;

use super::messages::SCOPE;
use super::value::{Attributes, find};
use super::{Message, Nanos, Severity, SpanId, TraceId, Value};

/// What emitted a span: a service and its surroundings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resource {
    pub attributes: Attributes,
}

impl Resource {
    /// `service.name`, or `unknown_service` where it is missing or empty (Resource SDK specification).
    pub fn service(&self) -> &str {
        match find(&self.attributes, "service.name").and_then(Value::as_str) {
            Some(name) if !name.is_empty() => name,
            _ => UNKNOWN_SERVICE,
        }
    }

    /// Which process of its service it is, as far as it says: `service.instance.id`, or else what names the pod, the
    /// container, or host and process. Empty where it says nothing.
    pub fn instance(&self) -> String {
        let of = |key: &str| {
            let value = find(&self.attributes, key).map(Value::to_text);
            value.filter(|text| !text.is_empty())
        };
        let whole = ["service.instance.id", "k8s.pod.uid", "k8s.pod.name", "container.id"];
        let parts = || {
            let parts: Vec<_> = ["host.name", "process.pid"].into_iter().filter_map(of).collect();
            parts.join("/")
        };
        whole.into_iter().find_map(of).unwrap_or_else(parts)
    }
}

/// The name of a service that did not give one.
pub const UNKNOWN_SERVICE: &str = "unknown_service";

/// The instrumentation that made a span.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scope {
    pub name: String,
    pub version: String,
    pub attributes: Attributes,
}

/// Which side of which kind of call a span stands for (`SpanKind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Kind {
    #[default]
    Unspecified,
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

impl Kind {
    /// From the number on the wire; an unknown one is unspecified.
    pub fn from_wire(number: u64) -> Self {
        [Kind::Unspecified, Kind::Internal, Kind::Server, Kind::Client, Kind::Producer, Kind::Consumer]
            .get(number as usize)
            .copied()
            .unwrap_or_default()
    }

    /// The field's word for it, in lower case.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Unspecified => "unspecified",
            Kind::Internal => "internal",
            Kind::Server => "server",
            Kind::Client => "client",
            Kind::Producer => "producer",
            Kind::Consumer => "consumer",
        }
    }
}

/// A span's status code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum StatusCode {
    #[default]
    Unset,
    Ok,
    Error,
}

impl StatusCode {
    /// The word in queries and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::Ok => "ok",
            Self::Error => "error",
        }
    }
}

/// Something that happened at one moment within a span.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Event {
    pub time: Nanos,
    pub name: String,
    pub attributes: Attributes,
}

/// A pointer to a span of this or another trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    pub trace_id: TraceId,
    pub span_id: Option<SpanId>,
    pub attributes: Attributes,
}

/// One span, whole. `end` may be before `start` and either may be 0: nothing is mended here.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub parent: Option<SpanId>,
    pub name: String,
    pub kind: Kind,
    pub start: Nanos,
    pub end: Nanos,
    pub status: StatusCode,
    pub status_message: String,
    pub attributes: Attributes,
    pub events: Vec<Event>,
    pub links: Vec<Link>,
    pub trace_state: String,
    pub flags: u32,
    /// Attributes, events and links that the SDK dropped before sending, together.
    pub dropped: u64,
    pub resource: Arc<Resource>,
    pub scope: Arc<Scope>,
}

impl Span {
    /// The service that sent the span.
    pub fn service(&self) -> &str {
        self.resource.service()
    }

    /// The value of an attribute of the span itself.
    pub fn attribute(&self, key: &str) -> Option<&Value> {
        find(&self.attributes, key)
    }

    /// Nanoseconds from start to end; 0 where the end is not after the start.
    pub fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether the span's status is ERROR.
    pub fn failed(&self) -> bool {
        self.status == StatusCode::Error
    }
}

/// One log record.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRecord {
    /// When it happened, or when it was observed if the source did not say.
    pub time: Nanos,
    /// OTLP's number, 1 (TRACE) to 24 (FATAL4); 0 is not told. Texts differ too much to rely on.
    pub severity: u8,
    pub severity_text: String,
    pub body: Value,
    pub attributes: Attributes,
    pub trace_id: Option<TraceId>,
    pub span_id: Option<SpanId>,
    /// The `event_name` field: set when the record is an event.
    pub event_name: String,
    pub resource: Arc<Resource>,
    pub scope: Arc<Scope>,
}

impl LogRecord {
    /// The service that wrote it.
    pub fn service(&self) -> &str {
        self.resource.service()
    }

    /// Whether it is a message that a tap saw, and no service's log.
    pub fn is_message(&self) -> bool {
        self.scope.name == SCOPE
    }

    /// `trace`, `debug`, `info`, `warn`, `error`, `fatal`, or `—` where not told.
    pub fn level(&self) -> &'static str {
        Severity::of(self.severity).word()
    }
}

/// Everything kept of one trace: spans by start time, each once, its logs by time, and the messages that a tap saw.
#[derive(Debug, Clone)]
pub struct Trace {
    pub id: TraceId,
    pub spans: Vec<Span>,
    pub logs: Vec<LogRecord>,
    /// In the order in which they were seen.
    pub messages: Vec<Message>,
}

impl Trace {
    /// Puts a trace together of what is kept of it.
    pub fn new(id: TraceId, spans: Vec<Span>, logs: Vec<LogRecord>) -> Self {
        let (messages, logs) = apart(logs);
        Self { id, spans, logs, messages }
    }
}

/// Messages that a tap saw apart from services' logs.
pub fn apart(records: Vec<LogRecord>) -> (Vec<Message>, Vec<LogRecord>) {
    let (messages, logs): (Vec<_>, Vec<_>) = records.into_iter().partition(LogRecord::is_message);
    (messages.iter().filter_map(Message::of).collect(), logs)
}
