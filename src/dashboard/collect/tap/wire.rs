//! A delivery of AMQP 0-9-1 as a message, within limits: headers may be many, deep and of any bytes.

use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::dashboard::model::messages::{Message, Source};
use crate::dashboard::model::value::Attributes;
use crate::dashboard::model::{Nanos, Value};

/// Headers that are kept, and bytes of all of them.
const MOST_HEADERS: usize = 128;
const MOST_BYTES: usize = 32 << 10;
/// How deep tables and lists are kept, and how many elements of each.
const DEPTH: usize = 8;
const ELEMENTS: usize = 64;
/// Bytes of one text.
const TEXT: usize = 8 << 10;

/// Reads a delivery; of its body no more than `most` bytes are kept.
pub fn read(delivery: Delivery, source: &Source, seen: Nanos, most: usize) -> Message {
    let Delivery { exchange, routing_key, properties, mut data, .. } = delivery;
    let size = data.len() as u64;
    data.truncate(most);
    data.shrink_to_fit();
    let short =
        |text: &Option<ShortString>| text.as_ref().map(|text| text.as_str().to_owned()).unwrap_or_default();
    let (headers, headers_left) = properties.headers().as_ref().map(headers).unwrap_or_default();
    let mut message = Message {
        source: source.clone(),
        seen,
        exchange: exchange.as_str().to_owned(),
        routing_key: routing_key.as_str().to_owned(),
        id: short(properties.message_id()),
        correlation_id: short(properties.correlation_id()),
        kind: short(properties.kind()),
        properties: others(&properties),
        headers,
        headers_left,
        body: data,
        size,
        ..Message::default()
    };
    message.note_context();
    if message.id.is_empty() {
        message.key = key(&message);
    }
    message
}

/// What a message without an ID is called by: made of what it is and when it was seen.
pub fn key(message: &Message) -> String {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    for part in [message.exchange.as_bytes(), message.routing_key.as_bytes(), &message.body] {
        hash.update(part);
        hash.update(&[0]);
    }
    hash.update(&message.seen.to_le_bytes());
    format!("~{:016x}", hash.digest())
}

/// Properties that have no place of their own, by AMQP's names.
fn others(properties: &BasicProperties) -> Attributes {
    let short = |name: &str, value: &Option<ShortString>| {
        let text = value.as_ref().map(|text| text.as_str()).filter(|text| !text.is_empty())?;
        Some((name.to_owned(), Value::Text(text.to_owned())))
    };
    let number = |name: &str, value: Option<i64>| Some((name.to_owned(), Value::Int(value?)));
    [
        short("content_type", properties.content_type()),
        short("content_encoding", properties.content_encoding()),
        number("delivery_mode", properties.delivery_mode().map(i64::from)),
        number("priority", properties.priority().map(i64::from)),
        short("reply_to", properties.reply_to()),
        short("expiration", properties.expiration()),
        number("timestamp", properties.timestamp().and_then(|seconds| seconds.try_into().ok())),
        short("user_id", properties.user_id()),
        short("app_id", properties.app_id()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Headers within the limits, and how many are beyond them. Trace context and deaths are kept first.
fn headers(table: &FieldTable) -> (Attributes, u64) {
    let mut all: Vec<_> = table.inner().iter().collect();
    let first = |name: &str| !["traceparent", "x-death", "x-correlation-id"].contains(&name);
    all.sort_by_key(|(name, _)| first(&name.as_str().to_ascii_lowercase()));
    let mut left = MOST_BYTES;
    let mut kept = Attributes::new();
    for (name, value) in &all {
        if kept.len() >= MOST_HEADERS || left < name.as_str().len() {
            break;
        }
        left -= name.as_str().len();
        kept.push((name.as_str().to_owned(), value_of(value, 0, &mut left)));
    }
    let beyond = (all.len() - kept.len()) as u64;
    kept.sort_by(|(a, _), (b, _)| a.cmp(b));
    (kept, beyond)
}

fn value_of(value: &AMQPValue, depth: usize, left: &mut usize) -> Value {
    *left = left.saturating_sub(8);
    match value {
        AMQPValue::Boolean(value) => Value::Bool(*value),
        AMQPValue::ShortShortInt(value) => Value::Int((*value).into()),
        AMQPValue::ShortShortUInt(value) => Value::Int((*value).into()),
        AMQPValue::ShortInt(value) => Value::Int((*value).into()),
        AMQPValue::ShortUInt(value) => Value::Int((*value).into()),
        AMQPValue::LongInt(value) => Value::Int((*value).into()),
        AMQPValue::LongUInt(value) => Value::Int((*value).into()),
        AMQPValue::LongLongInt(value) => Value::Int(*value),
        AMQPValue::Float(value) => Value::Double((*value).into()),
        AMQPValue::Double(value) => Value::Double(*value),
        AMQPValue::Timestamp(seconds) => Value::Int((*seconds).try_into().unwrap_or(i64::MAX)),
        AMQPValue::DecimalValue(value) => Value::Text(format!("{}e-{}", value.value, value.scale)),
        AMQPValue::ShortString(text) => text_of(text.as_str().as_bytes(), left),
        AMQPValue::LongString(text) => text_of(text.as_bytes(), left),
        AMQPValue::ByteArray(bytes) => {
            let bytes = taken(bytes.as_slice(), left);
            Value::Bytes(bytes.to_vec())
        }
        AMQPValue::Void => Value::Empty,
        AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) if depth >= DEPTH || *left == 0 => {
            Value::Text("…".to_owned())
        }
        AMQPValue::FieldArray(list) => {
            let some = list.as_slice().iter().take(ELEMENTS);
            Value::List(some.map(|value| value_of(value, depth + 1, left)).collect())
        }
        AMQPValue::FieldTable(table) => {
            let some = table.inner().iter().take(ELEMENTS);
            let entry = |(name, value): (&ShortString, &AMQPValue)| {
                (name.as_str().to_owned(), value_of(value, depth + 1, left))
            };
            Value::Map(some.map(entry).collect())
        }
    }
}

/// As much as there is room for.
fn taken<'a>(bytes: &'a [u8], left: &mut usize) -> &'a [u8] {
    let length = bytes.len().min(TEXT).min(*left);
    *left -= length;
    &bytes[..length]
}

fn text_of(bytes: &[u8], left: &mut usize) -> Value {
    let some = taken(bytes, left);
    let is_whole = some.len() == bytes.len();
    match std::str::from_utf8(some) {
        Ok(text) => Value::Text(if is_whole { text.to_owned() } else { format!("{text}…") }),
        Err(error) if !is_whole && error.error_len().is_none() => {
            Value::Text(format!("{}…", String::from_utf8_lossy(&some[..error.valid_up_to()])))
        }
        Err(_) => Value::Bytes(some.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(bytes: &[u8]) -> AMQPValue {
        AMQPValue::LongString(bytes.to_vec().into())
    }

    #[test]
    fn headers_of_any_kind_are_kept_within_limits() {
        let mut deep = AMQPValue::Boolean(true);
        for _ in 0..50 {
            let mut table = FieldTable::default();
            table.insert("in".into(), deep);
            deep = AMQPValue::FieldTable(table);
        }
        let mut table = FieldTable::default();
        table.insert("bytes".into(), long(b"\xff\xfe"));
        table.insert("deep".into(), deep);
        table.insert("long".into(), long(&vec![b'x'; 20_000]));
        table.insert("text".into(), long("größe".as_bytes()));
        let (kept, beyond) = headers(&table);
        assert_eq!(beyond, 0);
        assert_eq!(kept[0].1, Value::Bytes(vec![0xff, 0xfe]));
        assert!(kept[1].1.to_text().contains('…') && kept[1].1.to_text().len() < 200, "{:?}", kept[1]);
        assert_eq!(kept[2].1.to_text().chars().count(), TEXT + 1);
        assert_eq!(kept[3].1, Value::Text("größe".into()));

        let mut many = FieldTable::default();
        for number in 0..5_000 {
            many.insert(format!("h{number}").as_str().into(), long(b"value"));
        }
        many.insert("traceparent".into(), long(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
        let (kept, beyond) = headers(&many);
        assert_eq!((kept.len(), beyond), (MOST_HEADERS, 5_001 - MOST_HEADERS as u64));
        assert!(kept.iter().any(|(name, _)| name == "traceparent"), "what ties it to its trace comes first");
    }
}
