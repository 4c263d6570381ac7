//! What one span says: which deed it stands for, by today's attribute names and by the old ones.
//!
//! Real instrumentations send the names of several years, so every fact has a list of keys, newest first.
//! What is not told is `None`: a page that says less is better than one that guesses.
//! What must not live here: anything that looks at more than one span.

use crate::dashboard::model::{Kind, Span, Value};
use crate::dashboard::query::redact;

/// What a span stands for.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// It answered a request.
    Served(Call),
    /// It called another service, or something that sends no spans.
    Called(Call),
    /// It put a message on its way.
    Sent(Letter),
    /// It took a message.
    Took(Letter),
    /// Anything else: work inside a service, a query to a database, polling.
    Worked,
}

/// A request, as one side of it tells.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Call {
    /// `POST /orders`, `user.UserService/GetUser`, or the span's name.
    pub what: String,
    /// The called service or host, as the caller knows it.
    pub peer: Option<String>,
    /// HTTP status, or a gRPC code by name or number.
    pub status: Option<String>,
    /// The HTTP status as a number.
    pub http_status: Option<u16>,
}

/// A message, as one side of it tells.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Letter {
    pub id: Option<String>,
    /// Exchange, topic or queue as the instrumentation names it.
    pub destination: Option<String>,
    pub routing_key: Option<String>,
    /// The queue that it was taken from; most instrumentations do not tell.
    pub queue: Option<String>,
    /// Which delivery this is, from 1.
    pub number: Option<u32>,
    pub outcome: Option<Outcome>,
    /// The queue that the message went to when it was not acknowledged.
    pub settled_to: Option<String>,
    /// How long the retry waits, in ns.
    pub delay: Option<u64>,
    /// Why it was retried or dead-lettered, by the consumer's word.
    pub reason: Option<String>,
}

impl Letter {
    /// What a person would call the message: its routing key, else where it was sent.
    pub fn name(&self) -> &str {
        let name = self.routing_key.as_deref().or(self.destination.as_deref());
        name.filter(|name| !name.is_empty()).unwrap_or("a message")
    }
}

/// How a delivery ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Ack,
    Retry,
    DeadLetter,
}

/// The longest text taken from a span into a sentence, in characters.
pub const MAX_TEXT: usize = 160;

/// Reads a span.
pub fn deed(span: &Span) -> Deed {
    let operation = text(span, &["messaging.operation.type", "messaging.operation"]);
    let sends = matches!(operation.as_deref(), Some("send" | "publish" | "create"));
    match span.kind {
        Kind::Server => Deed::Served(call(span)),
        Kind::Producer => Deed::Sent(letter(span)),
        Kind::Client if sends => Deed::Sent(letter(span)),
        Kind::Client if has(span, &["db.system.name", "db.system"]) => Deed::Worked,
        Kind::Client if operation.is_some() => Deed::Worked,
        Kind::Client => Deed::Called(call(span)),
        Kind::Consumer if has_prefix(span, "messaging.") || has_prefix(span, "throughline.") => {
            Deed::Took(letter(span))
        }
        _ => Deed::Worked,
    }
}

/// Why a span failed, in the source's own words; `None` where it did not fail.
pub fn why(span: &Span) -> Option<String> {
    if !span.failed() {
        return None;
    }
    if !span.status_message.trim().is_empty() {
        return Some(shorten(&span.status_message));
    }
    if let Some(said) = exception(span) {
        return Some(said);
    }
    let call = call(span);
    if let Some(status) = call.status {
        return Some(if call.http_status.is_some() { format!("HTTP {status}") } else { status });
    }
    let kind = text(span, &["error.type", "error.message", "error"]);
    Some(kind.filter(|kind| kind != "true").unwrap_or_else(|| "no reason given".to_owned()))
}

/// Type and message of the last exception recorded on a span.
fn exception(span: &Span) -> Option<String> {
    let event = span.events.iter().rev().find(|event| event.name == "exception")?;
    let get = |key: &str| {
        let found = event.attributes.iter().find(|(name, _)| name == key);
        found.map(|(_, value)| value.to_text()).filter(|text| !text.trim().is_empty())
    };
    match (get("exception.type"), get("exception.message")) {
        (Some(kind), Some(message)) if message.contains(kind.as_str()) => Some(shorten(&message)),
        (Some(kind), Some(message)) => Some(shorten(&format!("{kind}: {message}"))),
        (kind, message) => message.or(kind).map(|text| shorten(&text)),
    }
}

/// Reads one side of a request.
pub fn call(span: &Span) -> Call {
    let http = text(span, &["http.response.status_code", "http.status_code"]);
    let grpc = text(span, &["rpc.response.status_code", "rpc.grpc.status_code", "rpc.status_code"]);
    Call {
        what: what(span),
        peer: peer(span),
        http_status: http.as_deref().and_then(|status| status.parse().ok()),
        status: http.or(grpc),
    }
}

/// What was asked for.
fn what(span: &Span) -> String {
    if let Some(method) = text(span, &["rpc.method"]) {
        let service = text(span, &["rpc.service"]).filter(|_| !method.contains('/'));
        return shorten(&service.map_or(method.clone(), |service| format!("{service}/{method}")));
    }
    let method = text(span, &["http.request.method", "http.method"]);
    let route = text(span, &["http.route", "url.template"])
        .or_else(|| text(span, &["url.path", "http.target"]).map(|path| without_query(&path).to_owned()))
        .or_else(|| text(span, &["url.full", "http.url"]).map(|url| path_of(&url).to_owned()));
    match (method, route) {
        (Some(method), Some(route)) => shorten(&format!("{method} {route}")),
        _ if span.name.trim().is_empty() => "a request".to_owned(),
        _ => shorten(&span.name),
    }
}

/// Who was called, as far as the caller tells.
fn peer(span: &Span) -> Option<String> {
    text(span, &["service.peer.name", "peer.service"])
        .or_else(|| text(span, &["server.address", "net.peer.name", "http.host", "net.peer.ip"]))
        .or_else(|| text(span, &["url.full", "http.url"]).and_then(|url| host_of(&url).map(str::to_owned)))
}

/// Reads one side of a message.
fn letter(span: &Span) -> Letter {
    let destination = text(span, &["messaging.destination.name", "messaging.destination"]);
    let number = span.attribute("throughline.delivery.number").and_then(Value::as_i64);
    let delay = span.attribute("throughline.settle.delay_ms").and_then(Value::as_i64);
    let outcome = match text(span, &["throughline.settle.outcome"]).as_deref() {
        Some("ack") => Some(Outcome::Ack),
        Some("retry") => Some(Outcome::Retry),
        Some("dead_letter") => Some(Outcome::DeadLetter),
        _ => None,
    };
    Letter {
        id: identity(span, &["messaging.message.id", "messaging.message_id"]),
        routing_key: text(
            span,
            &["messaging.rabbitmq.destination.routing_key", "messaging.rabbitmq.routing_key"],
        ),
        queue: queue(span, destination.as_deref()),
        destination,
        number: number.and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0),
        outcome,
        settled_to: text(span, &["throughline.settle.destination"]),
        delay: delay.and_then(|ms| u64::try_from(ms).ok()).and_then(|ms| ms.checked_mul(1_000_000)),
        reason: reason(span),
    }
}

/// The queue of a consumer, where the span tells it: our toolkit's attribute, the third part of RabbitMQ's
/// `exchange:key:queue`, or amqplib's span name `{queue} process`.
fn queue(span: &Span, destination: Option<&str>) -> Option<String> {
    if span.kind != Kind::Consumer {
        return None;
    }
    if let Some(queue) = text(span, &["throughline.queue"]) {
        return Some(queue);
    }
    let rabbit = text(span, &["messaging.system"]).is_some_and(|system| system == "rabbitmq");
    if !rabbit {
        return None;
    }
    let parts: Vec<&str> = destination.map_or_else(Vec::new, |name| name.split(':').collect());
    if let [_, _, queue] = parts[..] {
        return Some(queue.to_owned());
    }
    let named = span.name.strip_suffix(" process").filter(|name| Some(*name) != destination);
    named.filter(|name| !name.is_empty()).map(shorten)
}

/// What the consumer gave as its reason for not acknowledging.
fn reason(span: &Span) -> Option<String> {
    let told = |name: &str| name == "message.dead_lettered" || name == "message.retried";
    let event = span.events.iter().rev().find(|event| told(&event.name))?;
    let reason = event.attributes.iter().find(|(key, _)| key == "reason")?;
    Some(shorten(&reason.1.to_text())).filter(|reason| !reason.is_empty())
}

/// The first of `keys` that has a text, as one short line.
pub fn text(span: &Span, keys: &[&str]) -> Option<String> {
    let value = keys.iter().find_map(|key| span.attribute(key))?;
    Some(shorten(&value.to_text())).filter(|text| !text.is_empty())
}

/// The first of `keys` that is not empty, whole: IDs may differ in their last character only.
fn identity(span: &Span, keys: &[&str]) -> Option<String> {
    let value = keys.iter().find_map(|key| span.attribute(key))?;
    Some(value.to_text()).filter(|text| !text.is_empty())
}

fn has(span: &Span, keys: &[&str]) -> bool {
    keys.iter().any(|key| span.attribute(key).is_some())
}

fn has_prefix(span: &Span, prefix: &str) -> bool {
    span.attributes.iter().any(|(key, _)| key.starts_with(prefix))
}

/// Cuts a text that is too long for a sentence, makes it one line, and masks secrets in it.
pub fn shorten(text: &str) -> String {
    let text = redact::shown("", text).0;
    let line = text.trim().split(['\n', '\r']).next().unwrap_or_default();
    match line.char_indices().nth(MAX_TEXT) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

fn without_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

/// The part of a URL after its scheme.
fn after_scheme(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest)
}

fn path_of(url: &str) -> &str {
    let rest = after_scheme(url);
    let path = rest.find('/').map_or("/", |at| &rest[at..]);
    without_query(path)
}

fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = without_query(rest.split('/').next()?);
    let host = authority.rsplit('@').next()?;
    Some(host).filter(|host| !host.is_empty())
}
