//! What happened to a dead letter, by the headers that brokers and our toolkit write.
//!
//! RabbitMQ keeps a list `x-death`, the newest first: an entry for each queue and reason, with how often and when first
//! (<https://www.rabbitmq.com/docs/dlx>). Our toolkit adds the reason in its own words.

use crate::comms::names;
use crate::dashboard::model::messages::header;
use crate::dashboard::model::value::find;
use crate::dashboard::model::{Message, Nanos, Value};
use crate::dashboard::query::redact;

/// Entries that are told.
const MOST: usize = 50;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// `rejected`, `expired`, `delivery limit reached`.
    pub what: String,
    pub times: Option<u64>,
    pub queue: String,
    /// When it happened first; brokers tell seconds.
    pub first: Option<Nanos>,
    /// What that means.
    pub means: String,
}

/// Why our toolkit gave it up, in the consumer's own words.
pub fn reason(message: &Message) -> Option<String> {
    let reason = header(&message.headers, names::HEADER_DEATH_REASON)?.to_text();
    Some(redact::shown("", &reason).0).filter(|reason| !reason.is_empty())
}

/// The deaths of a message, the newest first.
pub fn of(message: &Message) -> Vec<Death> {
    let mut deaths = Vec::new();
    let text = |name: &str| header(&message.headers, name).map(Value::to_text).unwrap_or_default();
    if let Some(Value::List(entries)) = header(&message.headers, "x-death") {
        deaths.extend(entries.iter().take(MOST).filter_map(entry));
    }
    if let Some(reason) = reason(message) {
        let times = text(names::HEADER_DEATH_DELIVERIES).parse().ok();
        deaths.insert(
            0,
            Death {
                what: "given up".to_owned(),
                times,
                queue: text(names::HEADER_DEATH_QUEUE),
                first: None,
                means: reason,
            },
        );
    }
    deaths
}

/// A reason of `x-death` as a name, and what it means.
pub fn in_words(reason: &str) -> (&str, &'static str) {
    match reason {
        "rejected" => ("rejected", "a consumer refused it and did not want it again"),
        "expired" => ("expired", "its time in the queue was over"),
        "maxlen" => ("queue full", "the queue had no room and made some"),
        "delivery_limit" => ("delivery limit reached", "it was delivered as often as the queue allows"),
        other => (other, "the broker gave no other reason"),
    }
}

fn entry(entry: &Value) -> Option<Death> {
    let Value::Map(fields) = entry else { return None };
    let text = |key: &str| find(fields, key).map(Value::to_text).unwrap_or_default();
    let (reason, exchange) = (text("reason"), text("exchange"));
    let (what, why) = in_words(&reason);
    let came = match exchange.as_str() {
        "" => "It had come by the default exchange".to_owned(),
        name => format!("It had come by exchange {name}"),
    };
    let keys = match find(fields, "routing-keys") {
        Some(Value::List(keys)) => keys.iter().map(Value::to_text).collect::<Vec<_>>().join(", "),
        _ => String::new(),
    };
    let key = if keys.is_empty() { String::new() } else { format!(" with key {keys}") };
    Some(Death {
        what: what.to_owned(),
        times: find(fields, "count").and_then(Value::as_i64).and_then(|count| count.try_into().ok()),
        queue: text("queue"),
        first: find(fields, "time").and_then(Value::as_i64).and_then(seconds),
        means: format!("{why}. {came}{key}."),
    })
}

fn seconds(seconds: i64) -> Option<Nanos> {
    u64::try_from(seconds).ok()?.checked_mul(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deaths_are_told_in_words() {
        let death = |reason: &str, count: i64| {
            Value::Map(vec![
                ("reason".into(), Value::Text(reason.into())),
                ("count".into(), Value::Int(count)),
                ("queue".into(), Value::Text("payments".into())),
                ("exchange".into(), Value::Text("orders".into())),
                ("routing-keys".into(), Value::List(vec![Value::Text("order.placed".into())])),
                ("time".into(), Value::Int(1_795_440_068)),
            ])
        };
        let all = ["rejected", "expired", "maxlen", "delivery_limit", "new-in-5"];
        let list = all.iter().map(|reason| death(reason, 2)).chain([Value::Text("odd".into())]).collect();
        let message = Message { headers: vec![("x-death".into(), Value::List(list))], ..Message::default() };
        let deaths = of(&message);
        let what: Vec<&str> = deaths.iter().map(|death| death.what.as_str()).collect();
        assert_eq!(what, ["rejected", "expired", "queue full", "delivery limit reached", "new-in-5"]);
        assert_eq!((deaths[0].times, deaths[0].first), (Some(2), Some(1_795_440_068_000_000_000)));
        assert!(deaths[0].means.contains("exchange orders with key order.placed"), "{}", deaths[0].means);
        let ours = Message {
            headers: vec![
                ("x-death-reason".into(), Value::Text("card declined".into())),
                ("x-death-deliveries".into(), Value::Text("3".into())),
            ],
            ..Message::default()
        };
        assert_eq!((of(&ours)[0].times, of(&ours)[0].means.as_str()), (Some(3), "card declined"));
        let odd = Message { headers: vec![("x-death".into(), Value::Int(7))], ..Message::default() };
        assert_eq!(of(&odd), []);
    }
}
