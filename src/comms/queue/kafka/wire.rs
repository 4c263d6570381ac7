//! A message as a record of Kafka, and back. What other programs wrote may be anything.
//!
//! | part of the message | in the record |
//! |---|---|
//! | correlation ID | the key, and `x-correlation-id` |
//! | time | the timestamp; on a copy `timestamp_in_ms`, since Kafka keeps records by their timestamps |
//! | ID, type, content type | `x-message-id`, `x-message-type`, `content-type` |
//! | version, causation ID | `x-message-version`, `x-causation-id` |
//! | routing key | `x-routing-key` |
//! | headers, trace context among them | each a header |
//!
//! A retry and a dead letter are copies in a queue's own topic, with `x-origin-exchange`, on a retry with `x-deliveries`
//! (how often it was delivered before) and `x-not-before` (milliseconds since 1970).

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};

use crate::comms::correlation::{CorrelationId, Refused};
use crate::comms::names;
use crate::comms::queue::message::Message;

const ID: &str = "x-message-id";
const KIND: &str = "x-message-type";
const CONTENT_TYPE: &str = "content-type";
const ROUTING_KEY: &str = "x-routing-key";
const NOT_BEFORE: &str = "x-not-before";

/// What our transport writes for itself; handlers do not see it.
const INNER: [&str; 11] = [
    ID,
    KIND,
    CONTENT_TYPE,
    ROUTING_KEY,
    NOT_BEFORE,
    names::X_CORRELATION_ID,
    names::HEADER_VERSION,
    names::HEADER_CAUSATION_ID,
    names::HEADER_TIMESTAMP_MS,
    names::HEADER_DELIVERIES,
    names::HEADER_ORIGIN_EXCHANGE,
];

/// A message as it was received.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Read {
    pub message: Message,
    /// What it was first sent with. Empty where a program that is not ours wrote straight to a queue's topic.
    pub exchange: String,
    pub routing_key: String,
    /// 1 for the first delivery.
    pub number: u32,
    /// Not to be handed out before this, in milliseconds since 1970.
    pub not_before: u64,
}

/// How a copy differs from the message that was received.
pub(super) struct Copy<'a> {
    pub headers: &'a BTreeMap<String, String>,
    /// How often it was delivered.
    pub deliveries: u32,
    pub not_before: u64,
}

/// Milliseconds since 1970.
pub(super) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// This moment, in milliseconds since 1970.
pub(super) fn now() -> u64 {
    u64::try_from(millis(SystemTime::now())).unwrap_or_default()
}

/// The headers of a message that is sent for the first time.
pub(super) fn write(message: &Message, routing_key: &str) -> OwnedHeaders {
    headers(message, &message.headers, routing_key)
}

/// The headers of a retry or a dead letter.
pub(super) fn write_copy(read: &Read, copy: &Copy<'_>) -> OwnedHeaders {
    let mut out = headers(&read.message, copy.headers, &read.routing_key);
    out = with(out, names::HEADER_ORIGIN_EXCHANGE, &read.exchange);
    out = with(out, names::HEADER_TIMESTAMP_MS, &millis(read.message.time).to_string());
    if copy.deliveries > 0 {
        out = with(out, names::HEADER_DELIVERIES, &copy.deliveries.to_string());
    }
    if copy.not_before > 0 {
        out = with(out, NOT_BEFORE, &copy.not_before.to_string());
    }
    out
}

fn headers(message: &Message, of: &BTreeMap<String, String>, routing_key: &str) -> OwnedHeaders {
    let mut out = OwnedHeaders::new_with_capacity(of.len() + INNER.len());
    for (name, value) in of.iter().filter(|(name, _)| !INNER.contains(&name.as_str())) {
        out = with(out, name, value);
    }
    out = with(out, ID, &message.id);
    out = with(out, KIND, &message.kind);
    out = with(out, CONTENT_TYPE, &message.content_type);
    out = with(out, ROUTING_KEY, routing_key);
    out = with(out, names::X_CORRELATION_ID, message.correlation_id.as_str());
    out = with(out, names::HEADER_VERSION, &message.version.to_string());
    match &message.causation_id {
        Some(cause) => with(out, names::HEADER_CAUSATION_ID, cause),
        None => out,
    }
}

fn with(headers: OwnedHeaders, name: &str, value: &str) -> OwnedHeaders {
    headers.insert(Header { key: name, value: Some(value) })
}

/// Reads what was received for `queue`; `exchange` is the topic's, where it is that of an exchange.
pub(super) fn read(record: &BorrowedMessage<'_>, queue: &str, exchange: Option<&str>) -> Read {
    let mut all = BTreeMap::new();
    for header in record.headers().into_iter().flat_map(|headers| headers.iter()) {
        // Of several with one name the last counts.
        let value = String::from_utf8_lossy(header.value.unwrap_or_default()).into_owned();
        all.insert(header.key.to_owned(), value);
    }
    let place = Place {
        id: || format!("{}/{}@{}", record.topic(), record.partition(), record.offset()),
        queue,
        exchange,
        written: record.timestamp().to_millis(),
    };
    parts(all, Bytes::copy_from_slice(record.payload().unwrap_or_default()), place)
}

/// Where a record was found.
struct Place<'a, I> {
    /// The ID of a message that has none: the same on every delivery of the record.
    id: I,
    queue: &'a str,
    exchange: Option<&'a str>,
    written: Option<i64>,
}

fn parts<I: Fn() -> String>(mut all: BTreeMap<String, String>, body: Bytes, place: Place<'_, I>) -> Read {
    let told = all.remove(names::X_CORRELATION_ID);
    let mut take = |name: &str| all.remove(name);
    let whole = |text: Option<String>| text.and_then(|text| text.parse::<u64>().ok());
    let routing_key = take(ROUTING_KEY).unwrap_or_default();
    let id = take(ID).filter(|id| !id.is_empty()).unwrap_or_else(|| (place.id)());
    let origin = take(names::HEADER_ORIGIN_EXCHANGE);
    let exchange = place.exchange.map(str::to_owned).or(origin).unwrap_or_default();
    let kind = take(KIND).filter(|kind| !kind.is_empty()).unwrap_or_else(|| routing_key.clone());
    // Without one it is the first; one that is none is a version that nobody knows.
    let version = take(names::HEADER_VERSION).map_or(1, |version| version.parse().unwrap_or(0));
    let content_type = take(CONTENT_TYPE).unwrap_or_default();
    let causation_id = take(names::HEADER_CAUSATION_ID);
    let written = place.written.and_then(|written| u64::try_from(written).ok());
    let time = whole(take(names::HEADER_TIMESTAMP_MS)).or(written);
    let before = whole(take(names::HEADER_DELIVERIES)).unwrap_or(0);
    let not_before = whole(take(NOT_BEFORE)).unwrap_or(0);
    let correlation_id = correlation_id(told, place.queue, &mut all);
    let time = time.and_then(|time| UNIX_EPOCH.checked_add(Duration::from_millis(time)));
    let message = Message {
        id,
        kind,
        version,
        time: time.unwrap_or_else(SystemTime::now),
        correlation_id,
        causation_id,
        headers: all,
        content_type,
        body,
    };
    let number = u32::try_from(before.saturating_add(1)).unwrap_or(u32::MAX);
    Read { message, exchange, routing_key, number, not_before }
}

/// What is no ID is replaced and noted.
fn correlation_id(
    told: Option<String>,
    queue: &str,
    headers: &mut BTreeMap<String, String>,
) -> CorrelationId {
    if let Some(id) = told.as_deref().and_then(CorrelationId::parse) {
        return id;
    }
    let refused = told.and_then(|told| Refused::of(told.as_bytes()));
    headers.extend(
        refused.map(|refused| (names::HEADER_REFUSED_CORRELATION_ID.to_owned(), refused.as_str().to_owned())),
    );
    CorrelationId::generate(queue)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(headers: &[(&str, &str)], exchange: Option<&str>) -> Read {
        let all = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let place =
            Place { id: || "t/0@7".to_owned(), queue: "mail", exchange, written: Some(1_700_000_000_000) };
        parts(all, Bytes::from_static(b"{}"), place)
    }

    #[test]
    fn what_others_wrote_becomes_a_message() {
        let read = found(&[("k", "v")], Some("orders"));
        let of = &read.message;
        assert_eq!((of.id.as_str(), of.version, read.number, read.not_before), ("t/0@7", 1, 1, 0));
        assert_eq!((read.exchange.as_str(), read.routing_key.as_str()), ("orders", ""));
        assert_eq!(of.headers, BTreeMap::from([("k".to_owned(), "v".to_owned())]));
        assert_eq!(millis(of.time), 1_700_000_000_000);
        assert!(of.correlation_id.as_str().starts_with("mail-"));
    }

    #[test]
    fn what_is_no_number_or_no_id_does_no_harm() {
        let read = found(
            &[
                (names::HEADER_VERSION, "two"),
                (names::HEADER_DELIVERIES, "99999999999999999999"),
                (NOT_BEFORE, "-1"),
                (names::HEADER_TIMESTAMP_MS, "18446744073709551615"),
                (names::X_CORRELATION_ID, "a\nb"),
                (names::HEADER_ORIGIN_EXCHANGE, "elsewhere"),
            ],
            Some("orders"),
        );
        assert_eq!((read.message.version, read.number, read.not_before), (0, 1, 0));
        assert_eq!(read.exchange, "orders", "a topic's own exchange goes first");
        assert_eq!(read.message.headers[names::HEADER_REFUSED_CORRELATION_ID], "a\\nb");
    }
}
