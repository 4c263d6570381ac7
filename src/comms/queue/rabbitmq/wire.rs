//! A message as AMQP 0-9-1 carries it, and back. What other programs sent may be anything.
//!
//! | part of the message | property | header |
//! |---|---|---|
//! | ID, type, content type | `message_id`, `type`, `content_type` | |
//! | correlation ID | `correlation_id` | `x-correlation-id`, which goes first |
//! | time | `timestamp`, in seconds | `timestamp_in_ms` |
//! | version, causation ID | | `x-message-version`, `x-causation-id` |
//! | headers, trace context among them | | each a long string |

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};

use super::topology::short;
use crate::comms::correlation::{CorrelationId, Refused};
use crate::comms::names;
use crate::comms::queue::given_up::UNSETTLED;
use crate::comms::queue::message::Message;

/// Persistent, in AMQP's numbers.
const PERSISTENT: u8 = 2;
/// Tables and lists in headers are shown to this depth.
const DEPTH: usize = 8;
/// The longest text that a header becomes which is none itself, in bytes.
const LONGEST: usize = 4096;

/// What our transport and the broker write for themselves; handlers do not see it.
const INNER: [&str; 14] = [
    names::HEADER_VERSION,
    names::HEADER_CAUSATION_ID,
    names::HEADER_TIMESTAMP_MS,
    names::HEADER_DELIVERIES,
    names::HEADER_ORIGIN_EXCHANGE,
    names::HEADER_ORIGIN_KEY,
    "x-death",
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    "x-last-death-exchange",
    "x-last-death-queue",
    "x-last-death-reason",
    DELIVERY_COUNT,
];
/// Written by quorum queues: how often the message was returned to this queue.
const DELIVERY_COUNT: &str = "x-delivery-count";
/// The same since RabbitMQ 4, where a return need not count as a failed delivery.
const ACQUIRED_COUNT: &str = "x-acquired-count";

/// A message as it was received.
#[derive(Debug, PartialEq)]
pub(super) struct Read {
    pub message: Message,
    /// What it was first sent with.
    pub exchange: String,
    pub routing_key: String,
    /// 1 for the first delivery.
    pub number: u32,
}

/// The properties of a message that is sent for the first time by `app`.
pub(super) fn write(message: &Message, app: &str) -> BasicProperties {
    let since = message.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    let mut headers = FieldTable::default();
    for (name, value) in &message.headers {
        headers.insert(short(name), text(value));
    }
    headers.insert(names::HEADER_VERSION.into(), AMQPValue::LongLongInt(i64::from(message.version)));
    headers.insert(names::HEADER_TIMESTAMP_MS.into(), AMQPValue::LongLongInt(millis));
    if let Some(cause) = &message.causation_id {
        headers.insert(names::HEADER_CAUSATION_ID.into(), text(cause));
    }
    BasicProperties::default()
        .with_content_type(short(&message.content_type))
        .with_delivery_mode(PERSISTENT)
        .with_correlation_id(short(message.correlation_id.as_str()))
        .with_message_id(short(&message.id))
        .with_timestamp(since.as_secs())
        .with_type(short(&message.kind))
        .with_app_id(short(app))
        .with_headers(headers)
}

/// The properties of a copy of `read` with other headers: a retry, or a dead letter. What came with it and is not known
/// here stays as it was, typed values too. An expiry and a user are left out: the first would end the wait, and the
/// second is somebody else's.
pub(super) fn write_copy(
    read: &Read,
    came: &BasicProperties,
    headers: &BTreeMap<String, String>,
    deliveries: u32,
) -> BasicProperties {
    let mut table = FieldTable::default();
    let before = came.headers().as_ref().map(FieldTable::inner);
    for (name, value) in headers {
        let kept = before.and_then(|before| before.get(name.as_str())).filter(|kept| as_text(kept) == *value);
        table.insert(short(name), kept.cloned().unwrap_or_else(|| text(value)));
    }
    for name in [names::HEADER_VERSION, names::HEADER_CAUSATION_ID, names::HEADER_TIMESTAMP_MS] {
        if let Some(kept) = before.and_then(|before| before.get(name)) {
            table.insert(name.into(), kept.clone());
        }
    }
    table.insert(names::X_CORRELATION_ID.into(), text(read.message.correlation_id.as_str()));
    table.insert(names::HEADER_DELIVERIES.into(), AMQPValue::LongLongInt(i64::from(deliveries)));
    table.insert(names::HEADER_ORIGIN_EXCHANGE.into(), text(&read.exchange));
    table.insert(names::HEADER_ORIGIN_KEY.into(), text(&read.routing_key));
    let mut copy = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_message_id(short(&read.message.id))
        .with_type(short(&read.message.kind))
        .with_content_type(short(&read.message.content_type))
        .with_headers(table);
    if let Some(encoding) = came.content_encoding() {
        copy = copy.with_content_encoding(encoding.clone());
    }
    if let Some(id) = came.correlation_id() {
        copy = copy.with_correlation_id(id.clone());
    }
    if let Some(reply_to) = came.reply_to() {
        copy = copy.with_reply_to(reply_to.clone());
    }
    if let Some(priority) = came.priority() {
        copy = copy.with_priority(*priority);
    }
    if let Some(time) = came.timestamp() {
        copy = copy.with_timestamp(*time);
    }
    if let Some(app) = came.app_id() {
        copy = copy.with_app_id(app.clone());
    }
    copy
}

/// Reads what was received from `queue`, and takes its body.
pub(super) fn read(delivery: &mut lapin::message::Delivery, queue: &str) -> Read {
    let body = std::mem::take(&mut delivery.data);
    let properties = &delivery.properties;
    let empty = FieldTable::default();
    let headers = properties.headers().as_ref().unwrap_or(&empty).inner();
    let of = |name: &str| headers.get(name);
    let mut seen: BTreeMap<String, String> = headers
        .iter()
        .filter(|(name, _)| !INNER.contains(&name.as_str()) && name.as_str() != ACQUIRED_COUNT)
        .map(|(name, value)| (name.as_str().to_owned(), as_text(value)))
        .collect();
    note_death(headers, &mut seen);
    let origin = |name: &str, otherwise: &str| of(name).map_or_else(|| otherwise.to_owned(), as_text);
    let routing_key = origin(names::HEADER_ORIGIN_KEY, delivery.routing_key.as_str());
    let exchange = origin(names::HEADER_ORIGIN_EXCHANGE, delivery.exchange.as_str());
    let property = |value: &Option<lapin::types::ShortString>| {
        value.as_ref().map(|text| text.as_str().to_owned()).filter(|text| !text.is_empty())
    };
    let correlation_id = correlation_id(property(properties.correlation_id()), queue, &mut seen);
    let returned = [DELIVERY_COUNT, ACQUIRED_COUNT].into_iter().filter_map(|name| whole(of(name)?)).max();
    let before = of(names::HEADER_DELIVERIES).and_then(whole).unwrap_or(0) + returned.unwrap_or(0);
    let message = Message {
        id: property(properties.message_id()).unwrap_or_else(|| uuid::Uuid::now_v7().to_string()),
        kind: property(properties.kind()).unwrap_or_else(|| routing_key.clone()),
        // Without one it is the first; one that is none is a version that nobody knows.
        version: of(names::HEADER_VERSION)
            .map_or(1, |value| whole(value).and_then(|version| version.try_into().ok()).unwrap_or(0)),
        time: time(of(names::HEADER_TIMESTAMP_MS).and_then(whole), *properties.timestamp()),
        correlation_id,
        causation_id: of(names::HEADER_CAUSATION_ID).map(as_text),
        headers: seen,
        content_type: property(properties.content_type()).unwrap_or_default(),
        body: body.into(),
    };
    let number = u32::try_from(before.saturating_add(1)).unwrap_or(u32::MAX);
    Read { message, exchange, routing_key, number }
}

/// The header goes first: the property is a reply's where a program uses it so. What is no ID is replaced and noted.
fn correlation_id(
    property: Option<String>,
    queue: &str,
    headers: &mut BTreeMap<String, String>,
) -> CorrelationId {
    let told: Vec<String> =
        headers.get(names::X_CORRELATION_ID).cloned().into_iter().chain(property).collect();
    if let Some(id) = told.iter().find_map(|told| CorrelationId::parse(told)) {
        return id;
    }
    let fresh = CorrelationId::generate(queue);
    if let Some(refused) = told.into_iter().next() {
        headers.insert(names::X_CORRELATION_ID.to_owned(), fresh.as_str().to_owned());
        headers.extend(
            Refused::of(refused.as_bytes()).map(|refused| {
                (names::HEADER_REFUSED_CORRELATION_ID.to_owned(), refused.as_str().to_owned())
            }),
        );
    }
    fresh
}

/// What the broker dead-lettered by itself has no reason of ours; its own list of deaths tells, newest first.
fn note_death(headers: &BTreeMap<lapin::types::ShortString, AMQPValue>, seen: &mut BTreeMap<String, String>) {
    if seen.contains_key(names::HEADER_DEATH_REASON) {
        return;
    }
    let Some(AMQPValue::FieldArray(deaths)) = headers.get("x-death") else { return };
    let Some(AMQPValue::FieldTable(last)) = deaths.as_slice().first() else { return };
    let of = |name: &str| last.inner().get(name).map(as_text).unwrap_or_default();
    let reason = match of("reason").as_str() {
        // A retry's wait is over: no death.
        "expired" => return,
        "delivery_limit" => UNSETTLED.to_owned(),
        "maxlen" => "the queue was full".to_owned(),
        other => format!("the broker gave it up: {other}"),
    };
    seen.insert(names::HEADER_DEATH_REASON.to_owned(), reason);
    seen.insert(names::HEADER_DEATH_QUEUE.to_owned(), of("queue"));
}

fn time(millis: Option<u64>, seconds: Option<u64>) -> SystemTime {
    let since = millis.map(Duration::from_millis).or_else(|| seconds.map(Duration::from_secs));
    since.and_then(|since| UNIX_EPOCH.checked_add(since)).unwrap_or_else(SystemTime::now)
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// A number that is whole and not negative, whichever type it travels as.
fn whole(value: &AMQPValue) -> Option<u64> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok()?.parse().ok(),
        AMQPValue::Timestamp(seconds) => Some(*seconds),
        other => json_of(other, 0).as_u64(),
    }
}

/// Any value as text: numbers in digits, tables and lists as JSON, cut.
fn as_text(value: &AMQPValue) -> String {
    match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into_owned(),
        AMQPValue::ShortString(text) => text.as_str().to_owned(),
        AMQPValue::Void => String::new(),
        other => match json_of(other, 0) {
            Value::String(text) => cut(text, LONGEST),
            value => cut(value.to_string(), LONGEST),
        },
    }
}

fn json_of(value: &AMQPValue, depth: usize) -> Value {
    match value {
        AMQPValue::Boolean(value) => json!(value),
        AMQPValue::ShortShortInt(value) => json!(value),
        AMQPValue::ShortShortUInt(value) => json!(value),
        AMQPValue::ShortInt(value) => json!(value),
        AMQPValue::ShortUInt(value) => json!(value),
        AMQPValue::LongInt(value) => json!(value),
        AMQPValue::LongUInt(value) => json!(value),
        AMQPValue::LongLongInt(value) => json!(value),
        AMQPValue::Float(value) => json!(value),
        AMQPValue::Double(value) => json!(value),
        AMQPValue::Timestamp(value) => json!(value),
        AMQPValue::DecimalValue(value) => json!(format!("{}e-{}", value.value, value.scale)),
        AMQPValue::ShortString(text) => json!(text.as_str()),
        AMQPValue::LongString(text) => json!(String::from_utf8_lossy(text.as_bytes())),
        AMQPValue::ByteArray(bytes) => json!(hex(bytes.as_slice())),
        AMQPValue::Void => Value::Null,
        AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) if depth >= DEPTH => json!("…"),
        AMQPValue::FieldArray(list) => {
            list.as_slice().iter().map(|value| json_of(value, depth + 1)).collect()
        }
        AMQPValue::FieldTable(table) => {
            let entries = table.inner().iter();
            entries.map(|(name, value)| (name.as_str().to_owned(), json_of(value, depth + 1))).collect()
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(LONGEST / 2).map(|byte| format!("{byte:02x}")).collect()
}

fn cut(mut text: String, longest: usize) -> String {
    if text.len() > longest {
        let end = (0..=longest).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}
