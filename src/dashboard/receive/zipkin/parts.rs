//! Tags and annotations, put into OTLP's bytes as they are read.
//!
//! The names are those of OpenTelemetry's own mapping, read backwards
//! (<https://opentelemetry.io/docs/specs/otel/trace/sdk_exporters/zipkin/>): a tag is an attribute, but for the few that
//! stand for a status or a scope; an annotation is an event, with attributes where its text carries them as JSON.

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::dashboard::model::otlp::span_field;
use crate::dashboard::model::proto::{put_bytes, put_fixed64, put_message, put_uint};
use crate::dashboard::receive::json::shape::{Text, Unsigned, nullable, shape};

/// Longest text of an annotation that is looked into for attributes: a JSON tree is far larger than its text.
const MAX_LOOKED_INTO: usize = 64 << 10;

/// Codes of `opentelemetry.proto.trace.v1.Status`.
const OK: u64 = 1;
const ERROR: u64 = 2;

/// A span's tags.
#[derive(Default)]
pub struct Tags<'a> {
    /// Those that are attributes, as fields of a `Span`.
    pub attributes: Vec<u8>,
    /// The instrumentation scope, which OpenTelemetry's exporters tell in two tags, formerly two others.
    pub scope: [Text<'a>; 2],
    error: Option<Text<'a>>,
    status: Option<u64>,
}

impl<'a> Tags<'a> {
    /// Takes a tag in.
    pub fn add(&mut self, key: &str, value: Text<'a>) {
        match (key, &*value) {
            // Zipkin takes the tag alone for a failure; who says that there was none is believed.
            ("error", "false") => self.attribute(key, &value),
            ("error", _) => self.error = Some(value),
            ("otel.status_code", "OK") => self.status = Some(OK),
            ("otel.status_code", "ERROR") => self.status = Some(ERROR),
            ("otel.scope.name" | "otel.library.name", _) => self.scope[0] = value,
            ("otel.scope.version" | "otel.library.version", _) => self.scope[1] = value,
            _ => self.attribute(key, &value),
        }
    }

    fn attribute(&mut self, key: &str, value: &str) {
        text_attribute(&mut self.attributes, span_field::ATTRIBUTES, key, value);
    }

    /// Appends the status, where the tags tell one. The text of `error` is its message, unless it only says yes.
    pub fn put_status(&self, out: &mut Vec<u8>) {
        let code = if self.error.is_some() { Some(ERROR) } else { self.status };
        let Some(code) = code else { return };
        put_message(out, span_field::STATUS, |out| {
            match self.error.as_deref() {
                None | Some("" | "true") => {}
                Some(message) => put_bytes(out, 2, message.as_bytes()),
            }
            put_uint(out, 3, code);
        });
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Tags<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Tags<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tags<'de>, A::Error> {
                let mut tags = Tags::default();
                // Not borrowed, so that an error can name it.
                while let Some(key) = map.next_key::<String>()? {
                    tags.add(&key, map.next_value()?);
                }
                Ok(tags)
            }
        }
        from.deserialize_map(Read)
    }
}

/// A span's annotations.
#[derive(Default)]
pub struct Annotations {
    /// As fields of a `Span`.
    pub events: Vec<u8>,
    /// The time of the first one that has a time, in µs.
    pub first: Option<u64>,
}

shape! {
    Annotation { timestamp: Unsigned, value: Text<'a> }
}

impl Annotations {
    /// Takes an annotation in; `timestamp` is in µs.
    pub fn add(&mut self, timestamp: u64, value: &str) {
        if timestamp > 0 {
            self.first = Some(self.first.map_or(timestamp, |first| first.min(timestamp)));
        }
        put_message(&mut self.events, span_field::EVENTS, |out| {
            if timestamp > 0 {
                put_fixed64(out, 1, timestamp.saturating_mul(1000));
            }
            match event(value) {
                None => put_bytes(out, 2, value.as_bytes()),
                Some((name, attributes)) => {
                    put_bytes(out, 2, name.as_bytes());
                    attributes.iter().for_each(|(key, value)| any_attribute(out, 3, key, value));
                }
            }
        });
    }
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Annotations;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of annotations")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Annotations, A::Error> {
                let mut annotations = Annotations::default();
                while let Some(one) = list.next_element::<Annotation<'de>>()? {
                    annotations.add(one.timestamp.0, &one.value);
                }
                Ok(annotations)
            }
        }
        from.deserialize_seq(Read)
    }
}

/// The event of an OpenTelemetry exporter: `"name":{attributes}`, by some with braces around it.
fn event(text: &str) -> Option<(String, Map<String, Value>)> {
    let text = text.trim();
    if text.len() > MAX_LOOKED_INTO || !text.starts_with(['"', '{']) {
        return None;
    }
    let braced = if text.starts_with('"') { format!("{{{text}}}") } else { text.to_owned() };
    let outer: Map<String, Value> = serde_json::from_str(&braced).ok()?;
    let mut entries = outer.into_iter();
    match (entries.next(), entries.next()) {
        (Some((name, Value::Object(attributes))), None) => Some((name, attributes)),
        _ => None,
    }
}

/// Appends a `KeyValue` in field `number` whose value `fill` writes.
fn attribute(out: &mut Vec<u8>, number: u32, key: &str, fill: impl FnOnce(&mut Vec<u8>)) {
    put_message(out, number, |out| {
        put_bytes(out, 1, key.as_bytes());
        put_message(out, 2, fill);
    });
}

/// Appends an attribute that is a text.
pub fn text_attribute(out: &mut Vec<u8>, number: u32, key: &str, value: &str) {
    attribute(out, number, key, |out| put_bytes(out, 1, value.as_bytes()));
}

/// Appends an attribute that is a whole number.
pub fn number_attribute(out: &mut Vec<u8>, number: u32, key: &str, value: u64) {
    attribute(out, number, key, |out| put_uint(out, 3, value));
}

/// Appends an attribute that is yes or no.
pub fn bool_attribute(out: &mut Vec<u8>, number: u32, key: &str, value: bool) {
    attribute(out, number, key, |out| put_uint(out, 2, u64::from(value)));
}

/// Appends an attribute of an event. Lists and objects stay JSON.
fn any_attribute(out: &mut Vec<u8>, number: u32, key: &str, value: &Value) {
    match value {
        Value::String(text) => text_attribute(out, number, key, text),
        Value::Bool(truth) => bool_attribute(out, number, key, *truth),
        Value::Number(whole) if whole.is_i64() || whole.is_u64() => {
            let whole =
                whole.as_i64().map_or_else(|| whole.as_u64().unwrap_or_default(), |whole| whole as u64);
            number_attribute(out, number, key, whole);
        }
        Value::Number(fraction) => {
            let bits = fraction.as_f64().unwrap_or_default().to_bits();
            attribute(out, number, key, |out| put_fixed64(out, 4, bits));
        }
        Value::Null | Value::Array(_) | Value::Object(_) => {
            text_attribute(out, number, key, &value.to_string());
        }
    }
}
