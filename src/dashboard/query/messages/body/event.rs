//! The envelope of CloudEvents 1.0: within the body (structured) or in the headers around it (binary).
//!
//! Names of headers are those of the AMQP binding (`cloudEvents:id`, also with `_`), and of HTTP and Kafka (`ce-id`,
//! `ce_id`), which bridges between brokers leave as they are.

use serde_json::Value as Json;

use crate::dashboard::model::Value;

/// Where the envelope was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Structured,
    Binary,
}

/// What an envelope says; what it lacks is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub mode: Mode,
    pub id: String,
    pub source: String,
    pub kind: String,
    pub subject: String,
    pub time: String,
    pub schema: String,
    /// The content type of its data.
    pub data_type: String,
}

/// The envelope, if there is one, and the data where that stands in it as base64.
pub fn read(content_type: &str, headers: &[(String, Value)], body: &[u8]) -> Option<(Event, Option<String>)> {
    if let Some(event) = binary(content_type, headers) {
        return Some((event, None));
    }
    let said = content_type.trim_start().to_ascii_lowercase().starts_with("application/cloudevents");
    // Looking into each body would cost more than it tells.
    let may_be = said || body.windows(13).take(2_000).any(|window| window == b"\"specversion\"");
    if !may_be {
        return None;
    }
    let Ok(Json::Object(fields)) = serde_json::from_slice::<Json>(body) else { return None };
    let text = |key: &str| fields.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
    let event = Event {
        mode: Mode::Structured,
        id: text("id"),
        source: text("source"),
        kind: text("type"),
        subject: text("subject"),
        time: text("time"),
        schema: text("dataschema"),
        data_type: text("datacontenttype"),
    };
    let is_one = fields.contains_key("specversion") && !event.id.is_empty() && !event.kind.is_empty();
    let data = fields.get("data_base64").and_then(Json::as_str).map(str::to_owned);
    is_one.then_some((event, data))
}

fn binary(content_type: &str, headers: &[(String, Value)]) -> Option<Event> {
    let text = |name: &str| {
        let is_it = |key: &str| {
            let end = key.len().checked_sub(name.len()).filter(|end| *end > 0 && key.is_char_boundary(*end));
            end.is_some_and(|end| {
                let (prefix, rest) = key.split_at(end);
                let prefixes = ["cloudevents:", "cloudevents_", "ce-", "ce_"];
                rest.eq_ignore_ascii_case(name)
                    && prefixes.iter().any(|known| prefix.eq_ignore_ascii_case(known))
            })
        };
        headers.iter().find(|(key, _)| is_it(key)).map(|(_, value)| value.to_text()).unwrap_or_default()
    };
    let event = Event {
        mode: Mode::Binary,
        id: text("id"),
        source: text("source"),
        kind: text("type"),
        subject: text("subject"),
        time: text("time"),
        schema: text("dataschema"),
        data_type: content_type.to_owned(),
    };
    (!text("specversion").is_empty() && !event.id.is_empty()).then_some(event)
}
