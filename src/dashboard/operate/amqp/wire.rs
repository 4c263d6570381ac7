//! A message as AMQP carries it, and back. What other programs sent may be anything.

use std::collections::BTreeMap;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::options::BasicNackOptions;
use lapin::types::{AMQPValue, FieldArray, FieldTable, ShortString};
use serde_json::{Value, json};

use super::super::letter::{Letter, OF_THE_QUEUE};
use super::super::order::{Copy, MAX_NAME};
use crate::amqp::Passing;

/// Tables and lists in headers are read to this depth.
const DEPTH: usize = 12;
/// Persistent, in AMQP's numbers.
const PERSISTENT: u8 = 2;

/// A name that was checked to be short enough; one that was not is cut and so names nothing.
pub(super) fn short(name: &str) -> ShortString {
    let end = (0..=name.len().min(MAX_NAME)).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    ShortString::from(&name[..end])
}

/// To give a message back.
pub(super) fn requeue() -> BasicNackOptions {
    BasicNackOptions { requeue: true, ..Default::default() }
}

/// Reads what was taken, and takes its body. To be called for each delivery of a connection in turn.
pub(super) fn letter(delivery: &mut Delivery, passing: &Passing) -> Letter {
    let body = Bytes::from(std::mem::take(&mut delivery.data));
    let of = &delivery.properties;
    let text = |value: &Option<ShortString>| value.as_ref().map(|text| text.as_str().to_owned());
    let properties = [
        ("content_type", text(of.content_type())),
        ("content_encoding", text(of.content_encoding())),
        ("delivery_mode", of.delivery_mode().map(|mode| mode.to_string())),
        ("priority", of.priority().map(|priority| priority.to_string())),
        ("correlation_id", text(of.correlation_id())),
        ("reply_to", text(of.reply_to())),
        ("expiration", text(of.expiration())),
        ("message_id", text(of.message_id())),
        ("timestamp", of.timestamp().map(|seconds| seconds.to_string())),
        ("type", text(of.kind())),
        ("user_id", text(of.user_id())),
        ("app_id", text(of.app_id())),
        ("cluster_id", text(of.cluster_id())),
    ];
    let headers = of.headers().as_ref().map(FieldTable::inner).into_iter().flatten();
    Letter {
        exchange: delivery.exchange.as_str().to_owned(),
        routing_key: delivery.routing_key.as_str().to_owned(),
        redelivered: delivery.redelivered,
        properties: properties.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        headers: headers.map(|(name, value)| (name.as_str().to_owned(), json_of(value, 0))).collect(),
        size: body.len() as u64,
        body,
        altered: passing.next().is_some_and(|passed| passed.altered),
        mark: String::new(),
    }
    .marked()
}

/// How often a message was returned to its queue, where that counts it.
pub(super) fn returned(properties: &BasicProperties) -> u64 {
    let headers = properties.headers().as_ref().map(FieldTable::inner);
    let of = |name: &str| {
        headers.and_then(|headers| headers.get(name)).and_then(|value| json_of(value, 0).as_u64())
    };
    of(OF_THE_QUEUE[0]).into_iter().chain(of(OF_THE_QUEUE[1])).max().unwrap_or(0)
}

/// The properties of a message that somebody looked at, from what was shown of it.
pub(super) fn properties(letter: &Letter) -> BasicProperties {
    let of = |name: &str| letter.property(name).map(short);
    let number = |name: &str| letter.property(name).and_then(|text| text.parse::<u64>().ok());
    let mut headers = FieldTable::default();
    for (name, value) in &letter.headers {
        headers.insert(short(name), value_of(value));
    }
    let came = Came {
        content_type: of("content_type"),
        content_encoding: of("content_encoding"),
        delivery_mode: number("delivery_mode").and_then(|mode| mode.try_into().ok()),
        priority: number("priority").and_then(|priority| priority.try_into().ok()),
        correlation_id: of("correlation_id"),
        reply_to: of("reply_to"),
        expiration: of("expiration"),
        message_id: of("message_id"),
        timestamp: number("timestamp"),
        kind: of("type"),
        app_id: of("app_id"),
    };
    came.write(headers)
}

/// The properties of a copy: all as it came, typed headers too. The user is left out: it is somebody else's, and the broker
/// refuses a name that is not the connection's.
pub(super) fn copy_of(came: &BasicProperties, copy: &Copy) -> BasicProperties {
    let mut headers = BTreeMap::new();
    for (name, value) in came.headers().as_ref().map(FieldTable::inner).into_iter().flatten() {
        if !copy.leaves_out(name.as_str()) {
            headers.insert(name.clone(), value.clone());
        }
    }
    for (name, value) in copy.sets() {
        headers.insert(short(name), AMQPValue::LongString(value.into()));
    }
    Came::of(came).write(headers.into())
}

/// The same message once more, for the queue that it is in.
pub(super) fn as_it_was(came: &BasicProperties) -> BasicProperties {
    let headers = came.headers().as_ref().map(FieldTable::inner).into_iter().flatten();
    let kept: BTreeMap<ShortString, AMQPValue> = headers
        .filter(|(name, _)| !OF_THE_QUEUE.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Came::of(came).write(kept.into())
}

/// The properties that a copy keeps.
struct Came {
    content_type: Option<ShortString>,
    content_encoding: Option<ShortString>,
    delivery_mode: Option<u8>,
    priority: Option<u8>,
    correlation_id: Option<ShortString>,
    reply_to: Option<ShortString>,
    expiration: Option<ShortString>,
    message_id: Option<ShortString>,
    timestamp: Option<u64>,
    kind: Option<ShortString>,
    app_id: Option<ShortString>,
}

impl Came {
    fn of(came: &BasicProperties) -> Self {
        Self {
            content_type: came.content_type().clone(),
            content_encoding: came.content_encoding().clone(),
            delivery_mode: *came.delivery_mode(),
            priority: *came.priority(),
            correlation_id: came.correlation_id().clone(),
            reply_to: came.reply_to().clone(),
            expiration: came.expiration().clone(),
            message_id: came.message_id().clone(),
            timestamp: *came.timestamp(),
            kind: came.kind().clone(),
            app_id: came.app_id().clone(),
        }
    }

    fn write(self, headers: FieldTable) -> BasicProperties {
        let mode = self.delivery_mode.unwrap_or(PERSISTENT);
        let mut out = BasicProperties::default().with_headers(headers).with_delivery_mode(mode);
        type With = fn(BasicProperties, ShortString) -> BasicProperties;
        let texts: [(Option<ShortString>, With); 8] = [
            (self.content_type, BasicProperties::with_content_type),
            (self.content_encoding, BasicProperties::with_content_encoding),
            (self.correlation_id, BasicProperties::with_correlation_id),
            (self.reply_to, BasicProperties::with_reply_to),
            (self.expiration, BasicProperties::with_expiration),
            (self.message_id, BasicProperties::with_message_id),
            (self.kind, BasicProperties::with_type),
            (self.app_id, BasicProperties::with_app_id),
        ];
        for (value, with) in texts {
            if let Some(value) = value {
                out = with(out, value);
            }
        }
        if let Some(priority) = self.priority {
            out = out.with_priority(priority);
        }
        if let Some(timestamp) = self.timestamp {
            out = out.with_timestamp(timestamp);
        }
        out
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
        AMQPValue::ByteArray(bytes) => {
            json!(bytes.as_slice().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        }
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

/// What was read, as near to what it was as JSON remembers.
fn value_of(value: &Value) -> AMQPValue {
    match value {
        Value::Null => AMQPValue::Void,
        Value::Bool(value) => AMQPValue::Boolean(*value),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => AMQPValue::LongLongInt(whole),
            (None, Some(part)) => AMQPValue::Double(part),
            (None, None) => AMQPValue::LongString(number.to_string().into()),
        },
        Value::String(text) => AMQPValue::LongString(text.as_str().into()),
        Value::Array(list) => {
            AMQPValue::FieldArray(FieldArray::from(list.iter().map(value_of).collect::<Vec<_>>()))
        }
        Value::Object(table) => {
            let entries = table.iter().map(|(name, value)| (short(name), value_of(value)));
            AMQPValue::FieldTable(entries.collect::<BTreeMap<_, _>>().into())
        }
    }
}
