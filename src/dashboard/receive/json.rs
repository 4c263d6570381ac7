//! OTLP/JSON into the protobuf that everything else reads.
//!
//! Rules: <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>: IDs are hex, enums are numbers, keys
//! are lowerCamelCase, unknown keys are ignored, 64-bit numbers are decimal strings (numbers are taken too). An ID
//! that is no hex becomes an empty one, which costs its span alone.

mod metrics;
pub(super) mod shape;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use self::shape::{AnyValue, KeyValue, LogRecord, Logs, Metrics, Resource, Scope, Span, Traces};
use super::Signal;
use crate::dashboard::model::otlp::{log_field, span_field};
use crate::dashboard::model::proto::{put_bytes, put_fixed32, put_fixed64, put_message, put_uint};

/// Converts a request. The error says what is wrong and where.
pub fn to_protobuf(signal: Signal, body: &[u8]) -> Result<bytes::Bytes, String> {
    // Text that is not UTF-8 costs its characters, not the request.
    let text = String::from_utf8_lossy(body);
    let text = if text.trim().is_empty() { "{}" } else { &text };
    let mut out = Vec::with_capacity(body.len() / 2);
    match signal {
        Signal::Traces => traces(&mut out, &read::<Traces>(text)?),
        Signal::Logs => logs(&mut out, &read::<Logs>(text)?),
        Signal::Metrics => metrics::request(&mut out, &read::<Metrics>(text)?),
    }
    Ok(out.into())
}

/// Deepest nesting of brackets, as serde_json limits it where it builds values; here unknown keys count too.
const MAX_NESTING: usize = 128;
/// Most objects and lists in one request. An object of three bytes becomes a hundred times as many in memory, so that
/// the size of a body alone is no bound.
const MAX_BRACKETS: usize = 1 << 19;
/// Bytes that an object or list takes in memory while it is converted, most of them.
const BRACKET: usize = 256;

/// Bytes that a body takes in memory, beside its own, while it is converted.
pub fn weight(body: &[u8]) -> usize {
    brackets(body).1.min(MAX_BRACKETS) * BRACKET
}

/// How deep the brackets of a JSON text are nested, and how many there are.
fn brackets(text: &[u8]) -> (usize, usize) {
    let (mut depth, mut deepest, mut opened, mut in_text, mut escaped) = (0usize, 0, 0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                depth += 1;
                opened += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    (deepest, opened)
}

/// Refuses a JSON text that is nested too deep or holds too much.
pub(super) fn check_brackets(text: &str) -> Result<(), String> {
    match brackets(text.as_bytes()) {
        (deepest, _) if deepest > MAX_NESTING => {
            Err(format!("the JSON is nested more than {MAX_NESTING} deep"))
        }
        (_, opened) if opened > MAX_BRACKETS => {
            Err(format!("the JSON holds more than {MAX_BRACKETS} objects and lists; send less at once"))
        }
        _ => Ok(()),
    }
}

fn read<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    check_brackets(text)?;
    serde_json::from_str(text).map_err(|error| format!("the JSON is not OTLP: {error}"))
}

fn traces(out: &mut Vec<u8>, request: &Traces) {
    for of_resource in &request.resource_spans {
        put_message(out, 1, |out| {
            put_message(out, 1, |out| resource(out, &of_resource.resource));
            for of_scope in &of_resource.scope_spans {
                put_message(out, 2, |out| {
                    put_message(out, 1, |out| scope(out, &of_scope.scope));
                    for item in &of_scope.spans {
                        put_message(out, 2, |out| span(out, item));
                    }
                });
            }
        });
    }
}

fn logs(out: &mut Vec<u8>, request: &Logs) {
    for of_resource in &request.resource_logs {
        put_message(out, 1, |out| {
            put_message(out, 1, |out| resource(out, &of_resource.resource));
            for of_scope in &of_resource.scope_logs {
                put_message(out, 2, |out| {
                    put_message(out, 1, |out| scope(out, &of_scope.scope));
                    for item in &of_scope.log_records {
                        put_message(out, 2, |out| log(out, item));
                    }
                });
            }
        });
    }
}

fn resource(out: &mut Vec<u8>, resource: &Resource) {
    attributes(out, 1, &resource.attributes);
}

fn scope(out: &mut Vec<u8>, scope: &Scope) {
    put_bytes(out, 1, scope.name.as_bytes());
    put_bytes(out, 2, scope.version.as_bytes());
    attributes(out, 3, &scope.attributes);
}

fn attributes(out: &mut Vec<u8>, field: u32, attributes: &[KeyValue]) {
    for attribute in attributes {
        put_message(out, field, |out| key_value(out, attribute));
    }
}

fn key_value(out: &mut Vec<u8>, attribute: &KeyValue) {
    put_bytes(out, 1, attribute.key.as_bytes());
    put_message(out, 2, |out| any_value(out, &attribute.value));
}

fn any_value(out: &mut Vec<u8>, value: &AnyValue) {
    if let Some(text) = &value.string_value {
        put_bytes(out, 1, text.as_bytes());
    } else if let Some(truth) = value.bool_value {
        put_uint(out, 2, u64::from(truth));
    } else if let Some(number) = &value.int_value {
        put_uint(out, 3, number.0 as u64);
    } else if let Some(number) = &value.double_value {
        put_fixed64(out, 4, number.0.to_bits());
    } else if let Some(list) = &value.array_value {
        put_message(out, 5, |out| {
            list.values.iter().for_each(|item| put_message(out, 1, |out| any_value(out, item)));
        });
    } else if let Some(list) = &value.kvlist_value {
        put_message(out, 6, |out| attributes(out, 1, &list.values));
    } else if let Some(text) = &value.bytes_value {
        put_bytes(
            out,
            7,
            &BASE64_STANDARD.decode(text.as_bytes()).unwrap_or_else(|_| text.as_bytes().to_vec()),
        );
    }
}

fn span(out: &mut Vec<u8>, span: &Span) {
    put_bytes(out, span_field::TRACE_ID, &hex(&span.trace_id));
    put_bytes(out, span_field::SPAN_ID, &hex(&span.span_id));
    put_text(out, span_field::TRACE_STATE, &span.trace_state);
    if !span.parent_span_id.is_empty() {
        put_bytes(out, span_field::PARENT, &hex(&span.parent_span_id));
    }
    put_bytes(out, span_field::NAME, span.name.as_bytes());
    put_uint(out, span_field::KIND, u64::from(span.kind));
    put_fixed64(out, span_field::START, span.start_time_unix_nano.0);
    put_fixed64(out, span_field::END, span.end_time_unix_nano.0);
    attributes(out, span_field::ATTRIBUTES, &span.attributes);
    put_uint(out, span_field::DROPPED_ATTRIBUTES, u64::from(span.dropped_attributes_count));
    for event in &span.events {
        put_message(out, span_field::EVENTS, |out| {
            put_fixed64(out, 1, event.time_unix_nano.0);
            put_bytes(out, 2, event.name.as_bytes());
            attributes(out, 3, &event.attributes);
        });
    }
    put_uint(out, span_field::DROPPED_EVENTS, u64::from(span.dropped_events_count));
    for link in &span.links {
        put_message(out, span_field::LINKS, |out| {
            put_bytes(out, 1, &hex(&link.trace_id));
            put_bytes(out, 2, &hex(&link.span_id));
            put_text(out, 3, &link.trace_state);
            attributes(out, 4, &link.attributes);
        });
    }
    put_uint(out, span_field::DROPPED_LINKS, u64::from(span.dropped_links_count));
    if let Some(status) = &span.status {
        put_message(out, span_field::STATUS, |out| {
            put_text(out, 2, &status.message);
            put_uint(out, 3, u64::from(status.code));
        });
    }
    put_fixed32(out, span_field::FLAGS, span.flags);
}

fn log(out: &mut Vec<u8>, log: &LogRecord) {
    put_fixed64(out, log_field::TIME, log.time_unix_nano.0);
    put_fixed64(out, log_field::OBSERVED, log.observed_time_unix_nano.0);
    put_uint(out, log_field::SEVERITY, u64::from(log.severity_number));
    put_text(out, log_field::SEVERITY_TEXT, &log.severity_text);
    if let Some(body) = &log.body {
        put_message(out, log_field::BODY, |out| any_value(out, body));
    }
    attributes(out, log_field::ATTRIBUTES, &log.attributes);
    put_uint(out, log_field::DROPPED_ATTRIBUTES, u64::from(log.dropped_attributes_count));
    put_fixed32(out, log_field::FLAGS, log.flags);
    put_bytes(out, log_field::TRACE_ID, &hex(&log.trace_id));
    put_bytes(out, log_field::SPAN_ID, &hex(&log.span_id));
    put_text(out, log_field::EVENT_NAME, &log.event_name);
}

/// A text field, left out where empty.
fn put_text(out: &mut Vec<u8>, field: u32, text: &str) {
    if !text.is_empty() {
        put_bytes(out, field, text.as_bytes());
    }
}

/// The bytes of hex digits; none where it is no hex.
fn hex(text: &str) -> Vec<u8> {
    let digit = |byte: &u8| (*byte as char).to_digit(16).map(|digit| digit as u8);
    let digits: Option<Vec<u8>> = text.as_bytes().iter().map(digit).collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => {
            digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
        }
        _ => Vec::new(),
    }
}
