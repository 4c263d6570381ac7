//! One span explained: what it did in a sentence, and its attributes in groups, secrets masked.

use super::prose::Prose;
use super::redact;
use super::semantics::{Semantics, Work};
use super::waterfall::Waterfall;
use crate::dashboard::model::value::Attributes;
use crate::dashboard::model::{Kind, Span, Value};

/// Attributes that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    pub name: &'static str,
    pub entries: Vec<Entry>,
}

/// An attribute as it may be shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub key: String,
    pub text: String,
    /// Whether something in it was masked.
    pub masked: bool,
    /// `text`, `int`, `list` and so on.
    pub kind: &'static str,
}

/// The attributes of a span, in groups: what the work is about first, what the application set last.
pub fn groups(attributes: &Attributes) -> Vec<Group> {
    const ORDER: [&str; 8] =
        ["HTTP", "RPC", "Database", "Messaging", "Error", "Network", "Application", "Code and threads"];
    let mut groups: Vec<Group> = ORDER.iter().map(|name| Group { name, entries: Vec::new() }).collect();
    for (key, value) in attributes {
        let name = group_of(key);
        if let Some(group) = groups.iter_mut().find(|group| group.name == name) {
            group.entries.push(entry(key, value));
        }
    }
    groups.retain(|group| !group.entries.is_empty());
    groups
}

/// Attributes in the order in which they were sent.
pub fn entries(attributes: &Attributes) -> Vec<Entry> {
    attributes.iter().map(|(key, value)| entry(key, value)).collect()
}

fn entry(key: &str, value: &Value) -> Entry {
    let (text, masked) = redact::shown(key, &value.to_text());
    let kind = match value {
        Value::Empty => "empty",
        Value::Text(_) => "text",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Double(_) => "double",
        Value::Bytes(_) => "bytes",
        Value::List(_) => "list",
        Value::Map(_) => "map",
    };
    Entry { key: key.to_owned(), text, masked, kind }
}

/// The group of a key, by its first part.
fn group_of(key: &str) -> &'static str {
    match key.split(['.', '_']).next().unwrap_or(key) {
        "http" | "url" => "HTTP",
        "user" if key.starts_with("user_agent") => "HTTP",
        "rpc" | "grpc" => "RPC",
        "db" => "Database",
        "messaging" | "throughline" => "Messaging",
        "error" | "exception" => "Error",
        "net" | "network" | "server" | "client" | "peer" | "tls" => "Network",
        "code" | "thread" => "Code and threads",
        _ => "Application",
    }
}

/// What the span in `row` did, as a sentence. Says only what the span or the spans under it tell.
pub fn sentence(waterfall: &Waterfall<'_>, row: usize) -> Prose {
    let span = waterfall.span(row);
    let said = Semantics(span);
    let sentence = match said.work() {
        Work::Http => http(waterfall, row),
        Work::Rpc => rpc(waterfall, row),
        Work::Database => database(span),
        Work::Messaging => messaging(waterfall, row),
        Work::Other => Prose::new().service(span.service()).text(" ran ").strong(&span.name),
    };
    let reason = span.failed().then(|| said.reason()).flatten();
    match reason {
        Some(reason) => sentence.text(". It failed: ").error(redact::shown("", &reason).0).text("."),
        None if span.failed() => sentence.text(". It ").error("failed").text("; no reason was sent."),
        None => sentence.text("."),
    }
}

/// The service or host that answered a client span: the service of the span under it, else its own attributes.
pub fn callee<'a>(waterfall: &Waterfall<'a>, row: usize) -> Option<Callee<'a>> {
    let span = waterfall.span(row);
    let below = waterfall.children(row).map(|child| waterfall.span(child));
    below
        .filter(|child| child.service() != span.service())
        .map(|child| Callee::Service(child.service()))
        .next()
        .or_else(|| Semantics(span).peer().map(Callee::Named))
}

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Callee<'a> {
    /// A service that sent spans of its own.
    Service(&'a str),
    /// What the caller called it.
    Named(&'a str),
}

fn with_callee(prose: Prose, callee: Option<Callee<'_>>) -> Prose {
    match callee {
        Some(Callee::Service(name)) => prose.service(name),
        Some(Callee::Named(name)) => prose.strong(name),
        None => prose.text("somebody"),
    }
}

fn http(waterfall: &Waterfall<'_>, row: usize) -> Prose {
    let span = waterfall.span(row);
    let said = Semantics(span);
    let method = said.http_method().unwrap_or("HTTP");
    let request = said.http_path().map_or_else(|| method.to_owned(), |path| format!("{method} {path}"));
    let request = redact::shown("", &request).0;
    let prose = Prose::new().service(span.service());
    if span.kind == Kind::Client {
        let prose = with_callee(prose.text(" called "), callee(waterfall, row)).text(": ").strong(request);
        match said.http_status() {
            Some(status) => prose.text("; the answer was ").strong(status.to_string()),
            None if span.failed() => prose.text("; no answer came"),
            None => prose,
        }
    } else {
        let prose = prose.text(" handled ").strong(request);
        match said.http_status() {
            Some(status) => prose.text(" and answered ").strong(status.to_string()),
            None => prose,
        }
    }
}

fn rpc(waterfall: &Waterfall<'_>, row: usize) -> Prose {
    let span = waterfall.span(row);
    let said = Semantics(span);
    let method = said.rpc_method().unwrap_or_else(|| span.name.clone());
    let prose = Prose::new().service(span.service());
    let prose = if span.kind == Kind::Client {
        with_callee(prose.text(" called "), callee(waterfall, row)).text(": ").strong(method)
    } else {
        prose.text(" handled the call ").strong(method)
    };
    match said.rpc_status().filter(|status| !status.is_empty()) {
        Some(status) => prose.text("; its status was ").strong(status),
        None => prose,
    }
}

fn database(span: &Span) -> Prose {
    let said = Semantics(span);
    let prose = Prose::new().service(span.service()).text(" asked ");
    let prose = prose.text(said.db_system().unwrap_or("a database").to_owned());
    match (said.db_operation(), said.db_target()) {
        (Some(operation), Some(target)) => prose.text(": ").strong(format!("{operation} {target}")),
        (Some(one), None) | (None, Some(one)) => prose.text(": ").strong(one),
        (None, None) => prose.text(": ").strong(&span.name),
    }
}

fn messaging(waterfall: &Waterfall<'_>, row: usize) -> Prose {
    let span = waterfall.span(row);
    let said = Semantics(span);
    let prose = Prose::new().service(span.service());
    match span.kind {
        Kind::Consumer => consumed(waterfall, row, prose),
        Kind::Producer => {
            let prose = prose.text(" sent a message");
            let prose = match said.destination() {
                Some(destination) => prose.text(" to ").code(destination),
                None => prose,
            };
            match said.routing_key() {
                Some(key) => prose.text(" with the routing key ").code(key),
                None => prose,
            }
        }
        _ => prose.text(" did ").strong(&span.name),
    }
}

/// `payments worked on a message from payments.charge, its delivery 2, which had waited 46 ms there; …`.
fn consumed(waterfall: &Waterfall<'_>, row: usize, prose: Prose) -> Prose {
    let span = waterfall.span(row);
    let said = Semantics(span);
    let mut prose = prose.text(" worked on a message");
    if let Some(queue) = said.queue() {
        prose = prose.text(" from ").code(queue);
    }
    if let Some(delivery) = said.delivery_number() {
        prose = prose.text(format!(", delivery {delivery}"));
    }
    if let Some(wait) = &waterfall.nodes[row].wait {
        let sender = waterfall.span(wait.sender).service();
        prose = prose.text(", sent by ").service(sender).text(", after a wait of ");
        prose = prose.duration(waterfall.nodes[row].start - wait.from);
    }
    match (said.settled(), said.settled_to()) {
        (Some("ack"), _) => prose.text(", and was done with it"),
        (Some("retry"), to) => {
            let prose = prose.text(", and put it back for another try");
            let prose = match to {
                Some(queue) => prose.text(" in ").code(queue),
                None => prose,
            };
            match said.settle_delay_ms() {
                Some(ms) => prose.text(" in ").duration(ms.saturating_mul(1_000_000)),
                None => prose,
            }
        }
        (Some("dead_letter"), to) => {
            let prose = prose.text(", and gave it up");
            match to {
                Some(queue) => prose.text(": it lies in ").code(queue),
                None => prose,
            }
        }
        _ => prose,
    }
}
