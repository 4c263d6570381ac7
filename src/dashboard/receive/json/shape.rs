//! The shape of OTLP/JSON: what is read of it, everything optional, unknown keys ignored.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// A missing key and `null` are the default alike (proto3's JSON mapping).
pub fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

macro_rules! shape {
    ($($name:ident { $($field:ident: $type:ty),* $(,)? })*) => {$(
        #[derive(Deserialize, Default)]
        #[serde(rename_all = "camelCase", default, bound(deserialize = "'de: 'a"))]
        pub struct $name<'a> {
            $(#[serde(deserialize_with = "nullable")] pub $field: $type,)*
            #[serde(skip)]
            _text: std::marker::PhantomData<&'a str>,
        }
    )*};
}
pub(in crate::dashboard::receive) use shape;

shape! {
    Traces { resource_spans: Vec<ResourceSpans<'a>> }
    ResourceSpans { resource: Resource<'a>, scope_spans: Vec<ScopeSpans<'a>> }
    ScopeSpans { scope: Scope<'a>, spans: Vec<Span<'a>> }
    Logs { resource_logs: Vec<ResourceLogs<'a>> }
    ResourceLogs { resource: Resource<'a>, scope_logs: Vec<ScopeLogs<'a>> }
    ScopeLogs { scope: Scope<'a>, log_records: Vec<LogRecord<'a>> }
    Metrics { resource_metrics: Vec<ResourceMetrics<'a>> }
    ResourceMetrics { resource: Resource<'a>, scope_metrics: Vec<ScopeMetrics<'a>> }
    ScopeMetrics { scope: Scope<'a>, metrics: Vec<Metric<'a>> }
    Metric {
        name: Text<'a>,
        unit: Text<'a>,
        gauge: Option<Data<'a>>,
        sum: Option<Data<'a>>,
        histogram: Option<Data<'a>>,
        exponential_histogram: Option<Data<'a>>,
        summary: Option<Data<'a>>,
    }
    Data { data_points: Vec<DataPoint<'a>>, aggregation_temporality: u32, is_monotonic: bool }
    DataPoint {
        attributes: Vec<KeyValue<'a>>,
        start_time_unix_nano: Unsigned,
        time_unix_nano: Unsigned,
        as_double: Option<Double>,
        as_int: Option<Int>,
        count: Unsigned,
        sum: Option<Double>,
        min: Option<Double>,
        max: Option<Double>,
        flags: u32,
    }
    Resource { attributes: Vec<KeyValue<'a>> }
    Scope { name: Text<'a>, version: Text<'a>, attributes: Vec<KeyValue<'a>> }
    KeyValue { key: Text<'a>, value: AnyValue<'a> }
    AnyValue {
        string_value: Option<Text<'a>>,
        bool_value: Option<bool>,
        int_value: Option<Int>,
        double_value: Option<Double>,
        array_value: Option<ListValue<'a>>,
        kvlist_value: Option<MapValue<'a>>,
        bytes_value: Option<Text<'a>>,
    }
    ListValue { values: Vec<AnyValue<'a>> }
    MapValue { values: Vec<KeyValue<'a>> }
    Span {
        trace_id: Text<'a>,
        span_id: Text<'a>,
        trace_state: Text<'a>,
        parent_span_id: Text<'a>,
        name: Text<'a>,
        kind: u32,
        start_time_unix_nano: Unsigned,
        end_time_unix_nano: Unsigned,
        attributes: Vec<KeyValue<'a>>,
        dropped_attributes_count: u32,
        events: Vec<Event<'a>>,
        dropped_events_count: u32,
        links: Vec<Link<'a>>,
        dropped_links_count: u32,
        status: Option<Status<'a>>,
        flags: u32,
    }
    Event { time_unix_nano: Unsigned, name: Text<'a>, attributes: Vec<KeyValue<'a>> }
    Link { trace_id: Text<'a>, span_id: Text<'a>, trace_state: Text<'a>, attributes: Vec<KeyValue<'a>> }
    Status { message: Text<'a>, code: u32 }
    LogRecord {
        time_unix_nano: Unsigned,
        observed_time_unix_nano: Unsigned,
        severity_number: u32,
        severity_text: Text<'a>,
        body: Option<AnyValue<'a>>,
        attributes: Vec<KeyValue<'a>>,
        dropped_attributes_count: u32,
        flags: u32,
        trace_id: Text<'a>,
        span_id: Text<'a>,
        event_name: Text<'a>,
    }
}

/// A text, borrowed from the request where it has no escapes.
#[derive(Deserialize, Default)]
pub struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> From<Cow<'a, str>> for Text<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self(text)
    }
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// A number that may be written as a decimal string.
macro_rules! number {
    ($name:ident, $type:ty, $expecting:literal, $($visit:ident: $from:ty),*) => {
        #[derive(Default)]
        pub struct $name(pub $type);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Read;
                impl Visitor<'_> for Read {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expecting)
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.trim().parse().map($name).map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
                    }

                    $(fn $visit<E: de::Error>(self, number: $from) -> Result<$name, E> {
                        Self::number(number).map($name).ok_or_else(|| E::custom(format!("{number} is not {}", $expecting)))
                    })*
                }
                impl Read {
                    fn number<N>(number: N) -> Option<$type>
                    where
                        N: Into<Loose>,
                    {
                        number.into().into()
                    }
                }
                from.deserialize_any(Read)
            }
        }
    };
}

/// A JSON number of any kind, on its way to the type that is wanted.
enum Loose {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

impl From<u64> for Loose {
    fn from(number: u64) -> Self {
        Loose::Unsigned(number)
    }
}

impl From<i64> for Loose {
    fn from(number: i64) -> Self {
        Loose::Signed(number)
    }
}

impl From<f64> for Loose {
    fn from(number: f64) -> Self {
        Loose::Float(number)
    }
}

impl From<Loose> for Option<u64> {
    fn from(number: Loose) -> Self {
        match number {
            Loose::Unsigned(number) => Some(number),
            Loose::Signed(number) => number.try_into().ok(),
            Loose::Float(number) => {
                (number.fract() == 0.0 && (0.0..1.9e19).contains(&number)).then_some(number as u64)
            }
        }
    }
}

impl From<Loose> for Option<i64> {
    fn from(number: Loose) -> Self {
        match number {
            Loose::Unsigned(number) => number.try_into().ok(),
            Loose::Signed(number) => Some(number),
            Loose::Float(number) => (number.fract() == 0.0 && number.abs() < 9.3e18).then_some(number as i64),
        }
    }
}

impl From<Loose> for Option<f64> {
    fn from(number: Loose) -> Self {
        Some(match number {
            Loose::Unsigned(number) => number as f64,
            Loose::Signed(number) => number as f64,
            Loose::Float(number) => number,
        })
    }
}

number!(Unsigned, u64, "a whole number of 64 bits or a string of one", visit_u64: u64, visit_i64: i64, visit_f64: f64);
number!(Int, i64, "a whole number of 64 bits or a string of one", visit_u64: u64, visit_i64: i64, visit_f64: f64);
// Rust reads "NaN", "Infinity" and "-Infinity" as proto3's JSON writes them.
number!(Double, f64, "a number, \"NaN\", \"Infinity\" or \"-Infinity\"", visit_u64: u64, visit_i64: i64, visit_f64: f64);
