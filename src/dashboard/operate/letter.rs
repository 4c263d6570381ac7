//! A message as it was taken from a queue, and what its headers tell of where it came from and why it died.

use bytes::Bytes;
use serde_json::Value;
use xxhash_rust::xxh3::Xxh3;

use crate::comms::names;

/// Headers that a queue writes for itself: they change when a message is looked at, and belong to no copy.
pub const OF_THE_QUEUE: [&str; 3] = ["x-delivery-count", "x-acquired-count", "x-stream-offset"];
/// Which redrive a message was sent by, and as which of its messages: `17/3`. On the copy.
pub const REDRIVE: &str = "x-throughline-redrive";
/// Who redrove it, and when.
pub const REDRIVEN_BY: &str = "x-throughline-redriven-by";
pub const REDRIVEN_AT: &str = "x-throughline-redriven-at";

/// A message. Its texts come from outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    /// What it was published with when it last came into a queue.
    pub exchange: String,
    pub routing_key: String,
    /// Whether the broker has delivered it before.
    pub redelivered: bool,
    /// What is set, by AMQP's names.
    pub properties: Vec<(&'static str, String)>,
    pub headers: Vec<(String, Value)>,
    /// Perhaps only its begin, where somebody looks at it.
    pub body: Bytes,
    /// Bytes of the whole body.
    pub size: u64,
    /// Whether a text or a header is not as it lies in the queue, since it could do harm: no exact copy can be made.
    pub altered: bool,
    /// Names the message as far as it can be: equal messages have equal marks.
    pub mark: String,
}

/// How a message died once: an entry of `x-death`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Death {
    pub queue: String,
    pub reason: String,
    pub exchange: String,
    pub routing_key: Option<String>,
    pub count: u64,
    /// Seconds since the epoch.
    pub at: Option<u64>,
}

impl Letter {
    /// A property by its name in AMQP.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&Value> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// A header as text; tables and lists as JSON.
    pub fn header_text(&self, name: &str) -> Option<String> {
        self.header(name).map(text_of)
    }

    /// The redrive that sent it here before, so that it has failed again since: its number.
    pub fn redriven(&self) -> Option<String> {
        let number = self.header_text(REDRIVE)?;
        let redrive = number.split('/').next().unwrap_or_default();
        (!redrive.is_empty() && redrive.bytes().all(|byte| byte.is_ascii_digit())).then(|| redrive.to_owned())
    }

    /// Its correlation ID: the header goes first, as the property is a reply's where a program uses it so.
    pub fn correlation(&self) -> Option<String> {
        let header = self.header_text(names::X_CORRELATION_ID);
        let all = header.into_iter().chain(self.property("correlation_id").map(str::to_owned));
        all.into_iter().find(|id| !id.is_empty())
    }

    /// How often it was returned to its queue, where the queue counts that.
    pub fn returned(&self) -> u64 {
        let of = |name: &str| self.header(name).and_then(whole);
        of(OF_THE_QUEUE[0]).into_iter().chain(of(OF_THE_QUEUE[1])).max().unwrap_or(0)
    }

    /// Its deaths, the latest first.
    pub fn deaths(&self) -> Vec<Death> {
        let Some(Value::Array(all)) = self.header("x-death") else { return Vec::new() };
        all.iter().map(death).collect()
    }

    /// Why it died last, in the broker's or the toolkit's words.
    pub fn reason(&self) -> Option<String> {
        let by_toolkit = self.header_text(names::HEADER_DEATH_REASON);
        by_toolkit.or_else(|| self.deaths().into_iter().next().map(|death| death.reason))
    }

    /// The queue that it died in: where somebody was to work on it.
    pub fn died_in(&self) -> Option<String> {
        let told = [names::HEADER_DEATH_QUEUE, "x-first-death-queue"].into_iter();
        let told = told.filter_map(|name| self.header_text(name)).find(|queue| !queue.is_empty());
        told.or_else(|| self.deaths().pop().map(|death| death.queue))
    }

    /// The exchange and the routing key that it was first published with; `None` where nothing tells.
    pub fn origin(&self) -> Option<(String, String)> {
        let by_toolkit =
            (self.header_text(names::HEADER_ORIGIN_EXCHANGE), self.header_text(names::HEADER_ORIGIN_KEY));
        if let (Some(exchange), Some(key)) = by_toolkit {
            return Some((exchange, key));
        }
        let deaths = self.deaths();
        let first = (self.header_text("x-first-death-queue"), self.header_text("x-first-death-reason"));
        let is_first = |death: &&Death| first == (Some(death.queue.clone()), Some(death.reason.clone()));
        if let Some(death) = deaths.iter().find(is_first).or(deaths.last()) {
            let key = death.routing_key.clone().unwrap_or_else(|| self.routing_key.clone());
            return Some((death.exchange.clone(), key));
        }
        // The embedded broker moves a dead letter and leaves what it was published with.
        self.header(names::HEADER_DEATH_QUEUE).map(|_| (self.exchange.clone(), self.routing_key.clone()))
    }

    /// Gives it its mark, of everything but what changes when it is looked at. Its body must be whole.
    pub fn marked(mut self) -> Self {
        let mut hash = Xxh3::new();
        let mut add = |part: &[u8]| {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(self.exchange.as_bytes());
        add(self.routing_key.as_bytes());
        for (name, value) in &self.properties {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        for (name, value) in self.headers.iter().filter(|(name, _)| !OF_THE_QUEUE.contains(&name.as_str())) {
            add(name.as_bytes());
            add(value.to_string().as_bytes());
        }
        add(&self.body);
        self.mark = format!("{:032x}", hash.digest128());
        self
    }

    /// Keeps the begin of the body alone.
    pub fn cut(mut self, most: usize) -> Self {
        if self.body.len() > most {
            self.body = Bytes::copy_from_slice(&self.body[..most]);
        }
        self
    }

    /// Whether all of the body is here.
    pub fn is_whole(&self) -> bool {
        self.body.len() as u64 == self.size
    }
}

fn death(entry: &Value) -> Death {
    let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
    Death {
        queue: text("queue"),
        reason: text("reason"),
        exchange: text("exchange"),
        routing_key: entry["routing-keys"][0].as_str().map(str::to_owned),
        count: whole(&entry["count"]).unwrap_or(1),
        at: whole(&entry["time"]),
    }
}

fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

/// A header's value as text.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    pub fn letter(headers: Value) -> Letter {
        let headers = headers.as_object().expect("an object").clone();
        Letter {
            altered: false,
            exchange: "dlx".into(),
            routing_key: "dead".into(),
            redelivered: false,
            properties: vec![("message_id", "m-1".into())],
            headers: headers.into_iter().collect(),
            body: Bytes::from_static(b"{}"),
            size: 2,
            mark: String::new(),
        }
        .marked()
    }

    #[test]
    fn where_it_came_from_is_told_by_its_first_death() {
        let entry = |queue: &str, reason: &str, exchange: &str, key: &str| json!({ "queue": queue, "reason": reason, "exchange": exchange, "routing-keys": [key], "count": 2, "time": 5 });
        let deaths = json!([
            entry("charge", "rejected", "orders", "order.placed"),
            entry("retry", "expired", "retry", "charge"),
        ]);
        for (headers, origin, died_in) in [
            (json!({}), None, None),
            (json!({ "x-death": "nonsense" }), None, None),
            (json!({ "x-death": [] }), None, None),
            (json!({ "x-death": [7] }), Some(("", "dead")), Some("")),
            (
                json!({ "x-death": deaths, "x-first-death-queue": "charge", "x-first-death-reason": "rejected" }),
                Some(("orders", "order.placed")),
                Some("charge"),
            ),
            (json!({ "x-death": deaths }), Some(("retry", "charge")), Some("retry")),
            (
                json!({ "x-death": deaths, "x-origin-exchange": "shop", "x-origin-routing-key": "k", "x-death-queue": "own" }),
                Some(("shop", "k")),
                Some("own"),
            ),
            (json!({ "x-death-queue": "own" }), Some(("dlx", "dead")), Some("own")),
        ] {
            let letter = letter(headers.clone());
            let origin = origin.map(|(exchange, key): (&str, &str)| (exchange.to_owned(), key.to_owned()));
            assert_eq!(letter.origin(), origin, "{headers}");
            assert_eq!(letter.died_in().as_deref(), died_in, "{headers}");
        }
    }

    #[test]
    fn a_mark_stays_when_a_message_is_returned_and_changes_with_what_it_says() {
        let one = letter(json!({ "a": 1 }));
        let returned = Letter { redelivered: true, ..letter(json!({ "a": 1, "x-delivery-count": 3 })) };
        assert_eq!((one.mark.len(), &one.mark, returned.returned()), (32, &returned.mark, 3));
        assert_ne!(one.mark, letter(json!({ "a": 2 })).mark);
        assert_ne!(one.mark, Letter { body: Bytes::from_static(b"[]"), ..one.clone() }.marked().mark);
        assert!(one.is_whole() && !one.cut(1).is_whole());
    }
}
