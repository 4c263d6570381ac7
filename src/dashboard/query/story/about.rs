//! What a story is about, by the application's own attributes: `order.id`, `payment.amount`.
//!
//! Attributes that describe the instrumentation are left out by their first name, and so is whatever sounds
//! like a secret.

use std::collections::{HashMap, HashSet};

use super::read::shorten;
use super::steps::Steps;
use crate::dashboard::model::Span;
use crate::dashboard::model::correlation::Keys;
use crate::dashboard::query::redact;

/// First names of keys that conventions and frameworks use, never an application's subject.
const NOT_THE_SUBJECT: &[&str] = &[
    "http",
    "url",
    "net",
    "network",
    "server",
    "client",
    "db",
    "rpc",
    "messaging",
    "exception",
    "error",
    "code",
    "thread",
    "otel",
    "telemetry",
    "process",
    "host",
    "os",
    "container",
    "k8s",
    "cloud",
    "service",
    "peer",
    "user_agent",
    "enduser",
    "session",
    "faas",
    "aws",
    "gcp",
    "azure",
    "graphql",
    "gen_ai",
    "event",
    "log",
    "correlation",
    "throughline",
    "zipkin",
    "nservicebus",
    "browser",
    "component",
    "span",
    "internal",
    "sampler",
    "next",
    "express",
    "fastapi",
    "feature_flag",
    "tls",
    "source",
    "destination",
    "busy_ns",
    "idle_ns",
    "level",
    "target",
    "asgi",
    "signalr",
    "aspnetcore",
    "dns",
    "jvm",
    "nodejs",
    "v8js",
    "system",
    "hw",
    "linkerd",
    "istio",
    "node_id",
    "zone",
    "upstream_cluster",
    "guid",
    "request_id",
    "x_request_id",
];

/// Parts of keys whose values are not for everybody.
const SECRET: &[&str] =
    &["password", "secret", "token", "authorization", "cookie", "email", "key", "card_number"];

/// The longest value told, in characters.
const MAX_VALUE: usize = 40;
/// Facts shown under the verdict.
const MAX_FACTS: usize = 2;

/// The attributes of a span that belong to the application, with values short enough for a sentence.
pub fn of_span(span: &Span) -> impl Iterator<Item = (&str, String)> {
    span.attributes.iter().filter(|(key, _)| is_the_subject(key)).filter_map(|(key, value)| {
        let value = shorten(&value.to_text());
        (!value.is_empty() && value.chars().count() <= MAX_VALUE).then_some((key.as_str(), value))
    })
}

fn is_the_subject(key: &str) -> bool {
    let lower = key.to_ascii_lowercase();
    let first = lower.split('.').next().unwrap_or_default();
    (lower.contains('.') || lower.ends_with("_id"))
        && lower.len() <= MAX_VALUE
        && !NOT_THE_SUBJECT.contains(&first)
        && !redact::whole_is_secret(&lower)
        && !SECRET.iter().any(|secret| lower.contains(secret))
        && Keys::default().origin(key.as_bytes()).is_none()
}

/// IDs that have one value in the whole story, the most often sent first.
pub fn facts(steps: &Steps) -> Vec<(String, String)> {
    let mut seen: HashMap<&str, (usize, HashSet<String>)> = HashMap::new();
    for step in &steps.list {
        for (key, value) in of_span(step.span).filter(|(key, _)| key.ends_with(".id") || key.ends_with("_id"))
        {
            let entry = seen.entry(key).or_default();
            entry.0 += 1;
            entry.1.insert(value);
        }
    }
    let mut single: Vec<(usize, &str, String)> = seen
        .into_iter()
        .filter(|(_, (count, values))| *count > 1 && values.len() == 1)
        .filter_map(|(key, (count, values))| Some((count, key, values.into_iter().next()?)))
        .collect();
    single.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(other.1)));
    single.into_iter().take(MAX_FACTS).map(|(_, key, value)| (key.to_owned(), value)).collect()
}
