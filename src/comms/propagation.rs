//! Trace context, baggage and correlation ID into and out of headers of any kind.
//!
//! The formats of trace context and baggage are whatever the process has installed as its propagator
//! (`telemetry` installs W3C's); the correlation ID travels in `x-correlation-id` and, for services that
//! forward baggage alone, as `correlation.id` in baggage.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::{Context, KeyValue, global};

use super::correlation::{CorrelationId, Refused};
use super::names;

/// What came in with a request or a message.
pub struct Incoming {
    /// Holds the caller's span and baggage; an empty context where there were none.
    pub context: Context,
    /// The caller's correlation ID, if it sent a valid one.
    pub correlation_id: Option<CorrelationId>,
    /// What it sent in place of a valid one, in the header or else in baggage.
    pub refused: Option<Refused>,
}

impl Incoming {
    /// The caller's correlation ID, or a new one that names `service` as where it began.
    pub fn id_or_new(&self, service: &str) -> CorrelationId {
        self.correlation_id.clone().unwrap_or_else(|| CorrelationId::generate(service))
    }

    /// What a span says about an ID that was refused.
    pub fn refused_attribute(&self) -> Option<KeyValue> {
        let refused = self.refused.as_ref()?;
        Some(KeyValue::new(names::REFUSED_CORRELATION_ID, refused.as_str().to_owned()))
    }
}

/// Reads the caller's context. What is malformed counts as absent; of a correlation ID it is noted.
pub fn extract(headers: &dyn Extractor) -> Incoming {
    let header = headers.get(names::X_CORRELATION_ID);
    extract_told(headers, header.map(str::as_bytes))
}

/// As [`extract`], of HTTP headers or gRPC metadata, where a value need not be text.
pub fn extract_headers(headers: &HeaderMap) -> Incoming {
    let header = headers.get(names::X_CORRELATION_ID);
    extract_told(&FromHeaders(headers), header.map(HeaderValue::as_bytes))
}

/// `told` is what the header for the correlation ID holds.
fn extract_told(headers: &dyn Extractor, told: Option<&[u8]>) -> Incoming {
    let context = global::get_text_map_propagator(|p| p.extract_with_context(&Context::new(), headers));
    let carried = context.baggage().get(names::CORRELATION_ID).map(|value| value.as_str().to_owned());
    let parse = |raw: &[u8]| CorrelationId::parse(std::str::from_utf8(raw).ok()?);
    let mut refused = None;
    let mut correlation_id = None;
    for raw in [told, carried.as_deref().map(str::as_bytes)].into_iter().flatten() {
        correlation_id = parse(raw);
        if correlation_id.is_some() {
            break;
        }
        refused = refused.or_else(|| Refused::of(raw));
    }
    Incoming { context, correlation_id, refused }
}

/// Writes the context of an outgoing call or message.
pub fn inject(context: &Context, correlation_id: &CorrelationId, headers: &mut dyn Injector) {
    let id = correlation_id.as_str();
    global::get_text_map_propagator(|p| {
        if is_plain(id) && p.fields().any(|field| field == names::BAGGAGE) {
            let mut apart = Apart { headers, baggage: None };
            p.inject_context(context, &mut apart);
            if apart.baggage.as_deref().map_or(context.baggage().is_empty(), is_ours_alone) {
                // What the propagator of W3C would write, without a map of entries that is made for one of them.
                return headers.set(names::BAGGAGE, [names::CORRELATION_ID, id].join("="));
            }
        }
        let baggage = context.baggage().iter().filter(|(key, _)| key.as_str() != names::CORRELATION_ID);
        let mut entries: Vec<KeyValue> =
            baggage.map(|(key, (value, _))| KeyValue::new(key.clone(), value.clone())).collect();
        entries.push(KeyValue::new(names::CORRELATION_ID, correlation_id.shared()));
        p.inject_context(&context.with_baggage(entries), headers);
    });
    headers.set(names::X_CORRELATION_ID, id.to_owned());
}

/// Whether an ID stands in baggage as it is, whoever writes it.
fn is_plain(id: &str) -> bool {
    !id.contains(['"', ',', ';', '=', '%', '\\'])
}

/// Whether baggage holds a correlation ID and nothing else.
fn is_ours_alone(baggage: &str) -> bool {
    let id = baggage.strip_prefix(names::CORRELATION_ID).and_then(|rest| rest.strip_prefix('='));
    id.is_some_and(|id| !id.contains([',', ';']))
}

/// Writes all but baggage, which is held back: it may be another's than W3C's propagator.
struct Apart<'a> {
    headers: &'a mut dyn Injector,
    baggage: Option<String>,
}

impl Injector for Apart<'_> {
    fn set(&mut self, key: &str, value: String) {
        if key == names::BAGGAGE {
            self.baggage = Some(value);
        } else {
            self.headers.set(key, value);
        }
    }
}

/// Reads HTTP headers, and so gRPC metadata as well.
pub struct FromHeaders<'a>(pub &'a HeaderMap);

impl Extractor for FromHeaders<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|v| v.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// Writes HTTP headers; what is not a valid header is left out, and so is what is empty: a `tracestate` of nothing.
pub struct IntoHeaders<'a>(pub &'a mut HeaderMap);

impl Injector for IntoHeaders<'_> {
    fn set(&mut self, key: &str, value: String) {
        if value.is_empty() {
            self.0.remove(key);
            return;
        }
        let known = KNOWN.iter().find(|known| known.as_str() == key).cloned();
        let name = known.map_or_else(|| HeaderName::try_from(key).ok(), Some);
        if let (Some(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

/// Names that nearly every call sets, so that they are not made anew each time.
static KNOWN: [HeaderName; 4] = [
    HeaderName::from_static(names::TRACEPARENT),
    HeaderName::from_static(names::TRACESTATE),
    HeaderName::from_static(names::BAGGAGE),
    HeaderName::from_static(names::X_CORRELATION_ID),
];

/// Reads a message's headers.
pub struct FromMap<'a>(pub &'a BTreeMap<String, String>);

impl Extractor for FromMap<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

/// Writes a message's headers, but for what is empty.
pub struct IntoMap<'a>(pub &'a mut BTreeMap<String, String>);

impl Injector for IntoMap<'_> {
    fn set(&mut self, key: &str, value: String) {
        if value.is_empty() {
            self.0.remove(key);
        } else {
            self.0.insert(key.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_wins_and_nonsense_counts_as_absent() {
        let mut headers = HeaderMap::new();
        assert_eq!(extract(&FromHeaders(&headers)).correlation_id, None);
        headers.insert(names::X_CORRELATION_ID, HeaderValue::from_static("abc 17"));
        headers.insert("traceparent", HeaderValue::from_static("nonsense"));
        assert_eq!(extract(&FromHeaders(&headers)).correlation_id, None);
        headers.insert(names::X_CORRELATION_ID, HeaderValue::from_static("abc-17"));
        let incoming = extract(&FromHeaders(&headers));
        assert_eq!(incoming.correlation_id, CorrelationId::parse("abc-17"));
    }

    /// Whatever is in the baggage, and whatever letters the ID has, one who reads W3C's headers alone gets all of it.
    #[test]
    fn what_is_injected_is_what_the_propagator_reads() {
        crate::telemetry::testing::SpanRecorder::install();
        let baggages: [&[(&'static str, &'static str)]; 4] = [
            &[],
            &[("tenant", "blue")],
            &[("correlation.id", "an-older-one")],
            &[("correlation.id", "an-older-one"), ("tenant", "a, b;c=d")],
        ];
        for id in ["order-17", "a=b,c;d", "\"quoted\"", "back\\slash", "~!{}"] {
            let id = CorrelationId::parse(id).expect(id);
            for baggage in baggages {
                let context = Context::new().with_baggage(baggage.iter().map(|(k, v)| KeyValue::new(*k, *v)));
                let mut headers = HeaderMap::new();
                inject(&context, &id, &mut IntoHeaders(&mut headers));
                headers.remove(names::X_CORRELATION_ID);
                let incoming = extract_headers(&headers);
                assert_eq!(incoming.correlation_id.as_ref(), Some(&id), "{headers:?}");
                let entries = incoming.context.baggage().iter();
                let read: BTreeMap<_, _> =
                    entries.map(|(key, (value, _))| (key.to_string(), value.to_string())).collect();
                let mut wanted: BTreeMap<_, _> =
                    baggage.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
                wanted.insert(names::CORRELATION_ID.to_owned(), id.to_string());
                assert_eq!(read, wanted, "{headers:?}");
            }
        }
    }

    #[test]
    fn baggage_that_another_propagator_wrote_is_not_taken_for_ours() {
        for (baggage, is_ours) in [
            ("correlation.id=a-1", true),
            ("correlation.id=a-1,tenant=blue", false),
            ("correlation.id=a-1;ttl=5", false),
            ("tenant=blue", false),
            ("correlation.idea=x", false),
            ("", false),
        ] {
            assert_eq!(is_ours_alone(baggage), is_ours, "{baggage}");
        }
    }

    #[test]
    fn what_is_empty_is_not_sent_and_takes_the_place_of_what_was_there() {
        let mut headers = HeaderMap::new();
        headers.insert(names::TRACESTATE, HeaderValue::from_static("vendor=of-another-span"));
        IntoHeaders(&mut headers).set(names::TRACESTATE, String::new());
        assert!(headers.is_empty(), "{headers:?}");
        let mut headers = BTreeMap::from([(names::TRACESTATE.to_owned(), "vendor=x".to_owned())]);
        IntoMap(&mut headers).set(names::TRACESTATE, String::new());
        assert!(headers.is_empty(), "{headers:?}");
    }

    #[test]
    fn an_id_survives_message_headers() {
        let id = CorrelationId::generate("test");
        let mut headers = BTreeMap::new();
        inject(&Context::new(), &id, &mut IntoMap(&mut headers));
        assert_eq!(extract(&FromMap(&headers)).correlation_id, Some(id));
    }
}
