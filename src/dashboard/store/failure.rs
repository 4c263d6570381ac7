//! Where a trace broke and why: what the failed spans of one flush say.
//!
//! A refused call is no failure by itself: the caller asked for what is not there, or what is there already, and
//! knows what to do. It is one when the span that made the call failed as well; then it is also the cause.

use std::collections::HashSet;
use std::sync::Arc;

use crate::dashboard::model::answer::{self, HTTP_STATUS};
use crate::dashboard::model::otlp::{decode, key_value, span_field};
use crate::dashboard::model::proto::{Wire, fields};
use crate::dashboard::model::value::find;
use crate::dashboard::model::{Failure, Kind, Nanos, Resource, Scope, Settled, Span, SpanId, Value};

/// Longest reason kept in a summary, in characters; the span itself has the rest.
const MAX_CHARS: usize = 200;

/// What a stored span that failed says of it.
#[derive(Debug, Default)]
pub struct Reading {
    /// Empty where it gives no reason.
    pub why: String,
    pub refused: bool,
    pub settled: Option<Settled>,
    pub parent: Option<SpanId>,
}

/// Reads a failed span.
pub fn read(message: &[u8]) -> Reading {
    let (resource, scope) = (Arc::<Resource>::default(), Arc::<Scope>::default());
    let Some(span) = decode::span(message, &resource, &scope).ok().flatten() else {
        return Reading::default();
    };
    let words = reason(&span).unwrap_or_default();
    Reading {
        why: words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_CHARS).collect(),
        refused: answer::refused(&span),
        settled: answer::settled(&span),
        parent: span.parent,
    }
}

/// The HTTP status that a span tells, without decoding the rest of it.
pub fn answer(message: &[u8]) -> Option<u16> {
    let attributes =
        fields(message).map_while(Result::ok).filter(|field| field.number == span_field::ATTRIBUTES);
    attributes.filter_map(|field| key_value(field.bytes().ok()?).ok()).find_map(|(key, value)| {
        HTTP_STATUS.iter().any(|known| known.as_bytes() == key).then_some(())?;
        match fields(value).next()?.ok()?.value {
            Wire::Varint(status) => u16::try_from(status).ok(),
            Wire::Bytes(text) => std::str::from_utf8(text).ok()?.parse().ok(),
            _ => None,
        }
    })
}

/// The failed spans of one trace in one flush, on the way to where it broke.
#[derive(Default)]
pub struct Broken {
    /// The one that ended first of those that are more than a refused call.
    first: Option<Failure>,
    /// All of those.
    broke: HashSet<SpanId>,
    /// Refused calls with the span that made each.
    refused: Vec<(Option<SpanId>, Failure)>,
}

impl Broken {
    /// Whether a failed span of this kind that ended then has to be read to know more.
    pub fn wants(&mut self, id: SpanId, kind: Kind, end: Nanos) -> bool {
        if kind == Kind::Client {
            return true;
        }
        self.broke.insert(id);
        kind == Kind::Consumer || self.first.as_ref().is_none_or(|first| end < first.time)
    }

    /// Takes in a failed span that was read.
    pub fn add(&mut self, failure: Failure, parent: Option<SpanId>) {
        if failure.refused {
            return self.refused.push((parent, failure));
        }
        self.broke.insert(failure.span_id);
        if self.first.as_ref().is_none_or(|first| failure.time < first.time) {
            self.first = Some(failure);
        }
    }

    /// Where it broke, and how many refused calls did their callers no harm.
    pub fn finish(self) -> (Option<Failure>, u32) {
        let Self { first, broke, refused } = self;
        let (harmful, harmless): (Vec<_>, Vec<_>) =
            refused.into_iter().partition(|(parent, _)| parent.is_some_and(|parent| broke.contains(&parent)));
        let count = harmless.len() as u32;
        let earliest = |calls: Vec<(Option<SpanId>, Failure)>| {
            calls.into_iter().map(|(_, failure)| failure).min_by_key(|failure| failure.time)
        };
        let Some(first) = first else { return (earliest(harmless), count) };
        let caused = harmful.into_iter().filter(|(parent, _)| *parent == Some(first.span_id)).collect();
        let cause = earliest(caused).map(|failure| Failure { refused: false, ..failure });
        (Some(cause.unwrap_or(first)), count)
    }
}

/// First of: status message, exception, `error.type` when it is no bare number, HTTP and RPC status.
fn reason(span: &Span) -> Option<String> {
    if !span.status_message.trim().is_empty() {
        return Some(span.status_message.clone());
    }
    let text = |key: &str| span.attribute(key).map(Value::to_text).filter(|text| !text.is_empty());
    let exception = || {
        let event = span.events.iter().rev().find(|event| event.name == "exception")?;
        let part = |key| find(&event.attributes, key).map(Value::to_text).filter(|text| !text.is_empty());
        match (part("exception.type"), part("exception.message")) {
            (Some(kind), Some(message)) => Some(format!("{kind}: {message}")),
            (kind, message) => message.or(kind),
        }
    };
    let status = |keys: &[&str], label: &str| {
        keys.iter().find_map(|key| text(key)).map(|code| format!("{label} {code}"))
    };
    exception()
        .or_else(|| text("error.type").filter(|kind| kind.parse::<u32>().is_err()))
        .or_else(|| status(&HTTP_STATUS, "HTTP"))
        .or_else(|| {
            status(&["rpc.response.status_code", "rpc.grpc.status_code", "rpc.status_code"], "gRPC status")
        })
        .or_else(|| text("error.type"))
}
