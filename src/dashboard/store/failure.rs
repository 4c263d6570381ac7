//! Why a span failed, in as few words as it gave.

use std::sync::Arc;

use crate::dashboard::model::otlp::decode;
use crate::dashboard::model::value::find;
use crate::dashboard::model::{Resource, Scope, Span, Value};

/// Longest reason kept in a summary, in characters; the span itself has the rest.
const MAX_CHARS: usize = 200;

/// The reason that a stored span gives; empty where it gives none.
pub fn why(message: &[u8]) -> String {
    let (resource, scope) = (Arc::<Resource>::default(), Arc::<Scope>::default());
    let span = decode::span(message, &resource, &scope).ok().flatten();
    let words = span.as_ref().and_then(reason).unwrap_or_default();
    words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_CHARS).collect()
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
        .or_else(|| status(&["http.response.status_code", "http.status_code"], "HTTP"))
        .or_else(|| {
            status(&["rpc.response.status_code", "rpc.grpc.status_code", "rpc.status_code"], "gRPC status")
        })
        .or_else(|| text("error.type"))
}
