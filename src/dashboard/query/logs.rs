//! One log record explained: its one line, and the correlation ID that it carries.

use super::redact;
use crate::dashboard::model::correlation::Keys;
use crate::dashboard::model::value::find;
use crate::dashboard::model::{LogRecord, Value};

/// What it says, as it may be shown: its body, where that is empty the event's name, or what its exception says.
pub fn text(log: &LogRecord) -> String {
    let body = log.body.to_text();
    if !body.trim().is_empty() {
        return redact::shown("", &body).0;
    }
    let said = |key: &str| find(&log.attributes, key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let exception = match (said("exception.type"), said("exception.message")) {
        (Some(kind), Some(message)) => Some(format!("{kind}: {message}")),
        (one, other) => one.or(other).map(str::to_owned),
    };
    let text = Some(log.event_name.clone()).filter(|name| !name.is_empty()).or(exception).unwrap_or_default();
    redact::shown("", &text).0
}

/// The correlation ID among its own attributes, the most telling one.
pub fn correlation(log: &LogRecord) -> Option<&str> {
    let keys = Keys::default();
    let carried = log.attributes.iter().filter_map(|(key, value)| {
        let value = value.as_str().filter(|value| !value.is_empty())?;
        Some((keys.origin(key.as_bytes())?, value))
    });
    carried.min_by_key(|(origin, _)| *origin).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::fixture::build::{NOW, TraceBuilder};

    fn log(body: &str, attributes: &[(&str, &str)]) -> LogRecord {
        let mut t = TraceBuilder::new(1, NOW);
        let log = t.log(1, "orders", 1.0, 9, body);
        log.attributes = attributes
            .iter()
            .map(|(key, value)| ((*key).to_owned(), Value::Text((*value).to_owned())))
            .collect();
        log.clone()
    }

    #[test]
    fn a_log_without_a_body_says_what_happened() {
        let thrown = [("exception.type", "Timeout"), ("exception.message", "after 2 s")];
        assert_eq!(text(&log("charge failed", &thrown)), "charge failed");
        assert_eq!(text(&log(" \n", &thrown)), "Timeout: after 2 s");
        assert_eq!(text(&log("", &thrown[..1])), "Timeout");
        assert_eq!(
            text(&LogRecord { event_name: "order.placed".into(), ..log("", &thrown) }),
            "order.placed"
        );
        assert_eq!(text(&log("", &[])), "");
        assert!(!text(&log("sent Authorization: Bearer abcdefghijklmnop", &[])).contains("abcdefgh"));
    }

    #[test]
    fn the_best_correlation_id_is_taken() {
        let both = [("x_request_id", "r"), ("order.id", "o"), ("correlation.id", "c")];
        assert_eq!(correlation(&log("", &both)), Some("c"));
        assert_eq!(correlation(&log("", &both[..2])), Some("r"));
        assert_eq!(correlation(&log("", &[("correlation.id", "")])), None);
    }
}
