//! A message as a tap saw it, and how it is kept: as an OTLP log record under a scope of ours.
//!
//! So it is durable, searched, removed and copied like all else (decision 30). Who has a tap of their own may send such
//! records by OTLP too: the scope's name decides, and it has to be the scope's first field, as all encoders write it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::otlp::{log_field, scope_field};
use super::proto::{put_bytes, put_fixed64, put_message, put_uint};
use super::value::{Attributes, find};
use super::{LogRecord, Nanos, SpanId, TraceId, Value};

/// The scope of the records; services send none of it.
pub const SCOPE: &str = "throughline.tap";
/// The scope's name as its message begins with it.
const SCOPE_BEGINS: &[u8] = b"\x0a\x0fthroughline.tap";
/// The name of the event that a record is.
const EVENT: &str = "message";

/// Attributes of a record. Those that OpenTelemetry has names for have them.
pub const EXCHANGE: &str = "messaging.destination.name";
pub const ROUTING_KEY: &str = "messaging.rabbitmq.destination.routing_key";
pub const ID: &str = "messaging.message.id";
pub const CORRELATION: &str = "messaging.message.conversation_id";
pub const KIND: &str = "throughline.message.type";
/// What a message that has no ID is called by.
pub const KEY: &str = "throughline.message.key";
/// The queues that bindings sent it to, as far as they are known; or the one that it lay in.
pub const QUEUE: &str = "throughline.queue";
pub const BROKER: &str = "throughline.broker";
/// Before the name of a header.
pub const HEADER: &str = "messaging.header.";
/// What is not searched for, together: maps are in no index.
const PROPERTIES: &str = "throughline.message.properties";
const SIZE: &str = "messaging.message.body.size";
const HOW: &str = "throughline.message.seen";
const HEADERS_LEFT: &str = "throughline.message.headers_left_out";
const SYSTEM: &str = "messaging.system";
const SERVER: &str = "server.address";
const VIRTUAL_HOST: &str = "messaging.rabbitmq.vhost";

/// What the tap saw of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Seen {
    /// It was published to an exchange.
    #[default]
    Published,
    /// It lay in a queue of dead letters.
    DeadLettered,
}

/// Where a tap listens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Source {
    /// The broker's name in the settings.
    pub broker: String,
    /// `rabbitmq`, `throughline`.
    pub system: String,
    /// Host and port, or a file; without user and password.
    pub server: String,
    /// Empty where there is no such thing.
    pub virtual_host: String,
}

/// How a tap does.
#[derive(Debug, Clone)]
pub struct TapStatus {
    pub source: Source,
    /// Since when it listens; `None` while it does not.
    pub listening: Option<Nanos>,
    /// Why it does not listen, and since when.
    pub failing: Option<(String, Nanos)>,
    pub exchanges: Vec<String>,
    /// Exchanges that are not listened to, and why.
    pub left_out: Vec<(String, String)>,
    pub counts: Arc<TapCounts>,
}

/// What came by a tap since the start of the process.
#[derive(Debug, Default)]
pub struct TapCounts {
    pub seen: AtomicU64,
    /// Of them, those that were let go: more came than could be kept.
    pub dropped: AtomicU64,
    /// When the last one came; 0 for never.
    pub last: AtomicU64,
}

impl TapStatus {
    /// Of a tap that has not begun to listen.
    pub fn new(source: Source) -> Self {
        Self {
            source,
            listening: None,
            failing: None,
            exchanges: Vec::new(),
            left_out: Vec::new(),
            counts: Arc::default(),
        }
    }

    /// Messages that came since the start of the process.
    pub fn seen(&self) -> u64 {
        self.counts.seen.load(Ordering::Relaxed)
    }

    /// Of them, those that were let go.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// When the last one came.
    pub fn last(&self) -> Option<Nanos> {
        Some(self.counts.last.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }
}

/// A message. What its sender did not set is empty.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Message {
    pub source: Source,
    pub seen: Nanos,
    pub how: Seen,
    pub exchange: String,
    pub routing_key: String,
    /// See [`QUEUE`].
    pub queues: Vec<String>,
    pub id: String,
    /// See [`KEY`]; empty where it has an ID.
    pub key: String,
    pub correlation_id: String,
    pub kind: String,
    /// `content_type`, `content_encoding`, `delivery_mode` and further properties, by AMQP's names.
    pub properties: Attributes,
    pub headers: Attributes,
    /// Headers beyond the limit.
    pub headers_left: u64,
    /// The beginning of the body, or all of it.
    pub body: Vec<u8>,
    /// Bytes of the whole body.
    pub size: u64,
    pub trace_id: Option<TraceId>,
    /// The span that published it.
    pub span_id: Option<SpanId>,
}

/// Whether a scope's message is that of messages.
pub fn is_scope(scope: &[u8]) -> bool {
    scope.starts_with(SCOPE_BEGINS)
}

impl Message {
    /// What its page is called by.
    pub fn name(&self) -> &str {
        if self.id.is_empty() { &self.key } else { &self.id }
    }

    /// A property as text; empty where there is none.
    pub fn property(&self, name: &str) -> String {
        find(&self.properties, name).map(Value::to_text).unwrap_or_default()
    }

    /// Notes trace and span out of a header `traceparent` (W3C Trace Context, version 00 and those that begin like it).
    pub fn note_context(&mut self) {
        let Some(text) = header(&self.headers, "traceparent").and_then(Value::as_str) else { return };
        let mut parts = text.trim().split('-');
        let (_, trace, span) = (parts.next(), parts.next(), parts.next());
        self.trace_id = trace.and_then(|text| TraceId::parse(text).ok());
        self.span_id = self.trace_id.and(span.and_then(|text| SpanId::parse(text).ok()));
    }

    /// Reads a record; `None` where it is a service's log.
    pub fn of(log: &LogRecord) -> Option<Self> {
        if !log.is_message() {
            return None;
        }
        let told = |key: &str| find(&log.resource.attributes, key).map(Value::to_text).unwrap_or_default();
        let mut message = Self {
            source: Source {
                broker: told(BROKER),
                system: told(SYSTEM),
                server: told(SERVER),
                virtual_host: told(VIRTUAL_HOST),
            },
            seen: log.time,
            trace_id: log.trace_id,
            span_id: log.span_id,
            body: match &log.body {
                Value::Bytes(bytes) => bytes.clone(),
                other => other.to_text().into_bytes(),
            },
            ..Self::default()
        };
        message.size = message.body.len() as u64;
        for (key, value) in &log.attributes {
            message.take(key, value);
        }
        Some(message)
    }

    fn take(&mut self, key: &str, value: &Value) {
        match key {
            EXCHANGE => self.exchange = value.to_text(),
            ROUTING_KEY => self.routing_key = value.to_text(),
            ID => self.id = value.to_text(),
            KEY => self.key = value.to_text(),
            CORRELATION => self.correlation_id = value.to_text(),
            KIND => self.kind = value.to_text(),
            HOW if value.as_str() == Some("dead_lettered") => self.how = Seen::DeadLettered,
            SIZE => self.size = value.as_i64().and_then(|size| size.try_into().ok()).unwrap_or(self.size),
            HEADERS_LEFT => {
                self.headers_left = value.as_i64().and_then(|left| left.try_into().ok()).unwrap_or(0)
            }
            QUEUE => {
                self.queues = match value {
                    Value::List(names) => names.iter().map(Value::to_text).collect(),
                    one => vec![one.to_text()],
                }
            }
            PROPERTIES => {
                if let Value::Map(properties) = value {
                    self.properties = properties.clone();
                }
            }
            _ => {
                if let Some(name) = key.strip_prefix(HEADER) {
                    self.headers.push((name.to_owned(), value.clone()));
                }
            }
        }
    }

    /// Appends it as a `LogRecord`.
    fn put(&self, out: &mut Vec<u8>) {
        put_fixed64(out, log_field::TIME, self.seen);
        put_fixed64(out, log_field::OBSERVED, self.seen);
        put_message(out, log_field::BODY, |out| match std::str::from_utf8(&self.body) {
            Ok(text) => put_bytes(out, 1, text.as_bytes()),
            Err(_) => put_bytes(out, 7, &self.body),
        });
        let mut text = |key: &str, text: &str| {
            if !text.is_empty() {
                put_attribute(out, key, |out| put_bytes(out, 1, text.as_bytes()));
            }
        };
        text(EXCHANGE, &self.exchange);
        text(ROUTING_KEY, &self.routing_key);
        text(ID, &self.id);
        text(KEY, &self.key);
        text(CORRELATION, &self.correlation_id);
        text(KIND, &self.kind);
        if self.how == Seen::DeadLettered {
            text(HOW, "dead_lettered");
        }
        if !self.queues.is_empty() {
            let names = self.queues.iter().map(|name| Value::Text(name.clone())).collect();
            put_attribute(out, QUEUE, |out| put_value(out, &Value::List(names)));
        }
        if !self.properties.is_empty() {
            put_attribute(out, PROPERTIES, |out| put_value(out, &Value::Map(self.properties.clone())));
        }
        // A size is looked for by nobody: in a map it takes no room in the index.
        if self.size != self.body.len() as u64 {
            put_attribute(out, SIZE, |out| put_uint(out, 3, self.size));
        }
        if self.headers_left > 0 {
            put_attribute(out, HEADERS_LEFT, |out| put_uint(out, 3, self.headers_left));
        }
        for (name, value) in &self.headers {
            put_attribute(out, &format!("{HEADER}{name}"), |out| put_value(out, value));
        }
        if let Some(id) = self.trace_id {
            put_bytes(out, log_field::TRACE_ID, &id.0);
        }
        if let Some(id) = self.span_id {
            put_bytes(out, log_field::SPAN_ID, &id.0);
        }
        put_bytes(out, log_field::EVENT_NAME, EVENT.as_bytes());
    }
}

/// An `ExportLogsServiceRequest` with messages that one tap saw.
pub fn request(source: &Source, messages: &[Message]) -> Vec<u8> {
    let mut out = Vec::with_capacity(messages.iter().map(|message| message.body.len() + 512).sum());
    put_message(&mut out, 1, |out| {
        put_message(out, 1, |out| {
            let told = [
                ("service.name", SCOPE),
                (BROKER, &source.broker),
                (SYSTEM, &source.system),
                (SERVER, &source.server),
                (VIRTUAL_HOST, &source.virtual_host),
            ];
            for (key, text) in told.into_iter().filter(|(_, text)| !text.is_empty()) {
                put_attribute_as(out, 1, key, |out| put_bytes(out, 1, text.as_bytes()));
            }
        });
        put_message(out, 2, |out| {
            put_message(out, 1, |out| put_bytes(out, scope_field::NAME, SCOPE.as_bytes()));
            for message in messages {
                put_message(out, 2, |out| message.put(out));
            }
        });
    });
    out
}

fn put_attribute(out: &mut Vec<u8>, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
    put_attribute_as(out, log_field::ATTRIBUTES, key, value);
}

fn put_attribute_as(out: &mut Vec<u8>, field: u32, key: &str, value: impl FnOnce(&mut Vec<u8>)) {
    put_message(out, field, |out| {
        put_bytes(out, 1, key.as_bytes());
        put_message(out, 2, value);
    });
}

/// Appends the fields of an `AnyValue`.
fn put_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Empty => {}
        Value::Text(text) => put_bytes(out, 1, text.as_bytes()),
        Value::Bool(truth) => put_uint(out, 2, u64::from(*truth)),
        Value::Int(number) => put_uint(out, 3, *number as u64),
        Value::Double(number) => put_fixed64(out, 4, number.to_bits()),
        Value::Bytes(bytes) => put_bytes(out, 7, bytes),
        Value::List(values) => put_message(out, 5, |out| {
            for value in values {
                put_message(out, 1, |out| put_value(out, value));
            }
        }),
        Value::Map(entries) => put_message(out, 6, |out| {
            for (key, value) in entries {
                put_attribute_as(out, 1, key, |out| put_value(out, value));
            }
        }),
    }
}

/// A header by its name, in upper or lower case.
pub fn header<'a>(headers: &'a [(String, Value)], name: &str) -> Option<&'a Value> {
    headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::model::correlation::Keys;
    use crate::dashboard::model::otlp::Batch;
    use crate::dashboard::model::otlp::decode;

    #[test]
    fn what_is_kept_is_what_was_seen() {
        let source = Source {
            broker: "eu-1".into(),
            system: "rabbitmq".into(),
            server: "127.0.0.1:5672".into(),
            virtual_host: "/".into(),
        };
        let mut whole = Message {
            source: source.clone(),
            seen: 1_795_440_068_000_000_000,
            exchange: "orders".into(),
            routing_key: "order.placed".into(),
            queues: vec!["payments.charge".into(), "stock".into()],
            id: "msg-1".into(),
            correlation_id: "corr-1".into(),
            kind: "order.placed".into(),
            properties: vec![("content_type".into(), Value::Text("application/json".into()))],
            headers: vec![
                (
                    "traceparent".into(),
                    Value::Text("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03".into()),
                ),
                ("n".into(), Value::Int(-1)),
                ("bytes".into(), Value::Bytes(vec![0xff])),
                (
                    "nested".into(),
                    Value::Map(vec![("a".into(), Value::List(vec![Value::Bool(true), Value::Empty]))]),
                ),
            ],
            headers_left: 7,
            body: b"{}".to_vec(),
            size: 900,
            ..Message::default()
        };
        whole.note_context();
        assert!(whole.trace_id.is_some() && whole.span_id.is_some());
        let bare = Message {
            source: source.clone(),
            seen: 5,
            how: Seen::DeadLettered,
            key: "~1".into(),
            body: vec![0xff, 0],
            size: 2,
            ..Message::default()
        };
        let all = [whole, bare];
        let batch = Batch::logs(request(&source, &all).into(), &Keys::default()).unwrap();
        assert!(batch.logs.iter().all(|log| batch.is_message(log)));
        let correlations = batch.correlations(&batch.logs[0].correlations);
        assert_eq!(batch.at(&correlations[0].0), b"corr-1");
        let resource = std::sync::Arc::new(decode::resource(batch.at(&batch.resources[0].message)).unwrap());
        let scope = std::sync::Arc::new(decode::scope(batch.at(&batch.scopes[0])).unwrap());
        for (log, message) in batch.logs.iter().zip(&all) {
            let record = decode::log(batch.at(&log.message), &resource, &scope).unwrap();
            assert_eq!(Message::of(&record).as_ref(), Some(message));
        }
    }

    #[test]
    fn a_header_that_is_no_context_names_no_trace() {
        for text in ["", "00", "00-xyz-1-01", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
            let mut message = Message {
                headers: vec![("traceparent".into(), Value::Text(text.into()))],
                ..Message::default()
            };
            message.note_context();
            assert_eq!((message.trace_id, message.span_id), (None, None), "{text}");
        }
    }
}
