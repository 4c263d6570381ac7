//! What a span says in the words of OpenTelemetry's semantic conventions, whichever version it speaks.
//!
//! Most instrumentations still send the old names, so every question here knows the new name first and the old
//! ones after it. `throughline.*` are our toolkit's own; foreign services have none of them, and then less is
//! said, never something wrong.

use crate::dashboard::model::{Kind, Span, Value};

/// Questions about one span.
#[derive(Debug, Clone, Copy)]
pub struct Semantics<'a>(pub &'a Span);

/// What kind of work a span stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    Http,
    Rpc,
    Database,
    Messaging,
    Other,
}

impl<'a> Semantics<'a> {
    /// The first of `keys` that has a text which is not empty.
    fn text(self, keys: &[&str]) -> Option<&'a str> {
        keys.iter()
            .filter_map(|key| self.0.attribute(key))
            .filter_map(Value::as_str)
            .find(|text| !text.is_empty())
    }

    fn number(self, keys: &[&str]) -> Option<i64> {
        keys.iter().filter_map(|key| self.0.attribute(key)).find_map(Value::as_i64)
    }

    /// What the span is about.
    pub fn work(self) -> Work {
        let has = |prefix: &str| self.0.attributes.iter().any(|(key, _)| key.starts_with(prefix));
        if has("messaging.") || matches!(self.0.kind, Kind::Producer | Kind::Consumer) {
            Work::Messaging
        } else if has("rpc.") {
            Work::Rpc
        } else if has("db.") {
            Work::Database
        } else if has("http.") || has("url.") {
            Work::Http
        } else {
            Work::Other
        }
    }

    /// `GET`.
    pub fn http_method(self) -> Option<&'a str> {
        self.text(&["http.request.method", "http.method"])
    }

    /// The route, else the path; without query.
    pub fn http_path(self) -> Option<&'a str> {
        let path = self
            .text(&["http.route", "url.path", "http.target", "http.path"])
            .or_else(|| self.text(&["url.full", "http.url"]).map(path_of_url))?;
        Some(path.split(['?', '#']).next().unwrap_or(path))
    }

    /// The status of the answer, as a number.
    pub fn http_status(self) -> Option<i64> {
        self.number(&["http.response.status_code", "http.status_code"])
    }

    /// `grpc` and the like.
    pub fn rpc_system(self) -> Option<&'a str> {
        self.text(&["rpc.system.name", "rpc.system"])
    }

    /// `package.Service/Method`.
    pub fn rpc_method(self) -> Option<String> {
        let method = self.text(&["rpc.method"])?;
        match self.text(&["rpc.service"]) {
            Some(service) if !method.contains('/') => Some(format!("{service}/{method}")),
            _ => Some(method.to_owned()),
        }
    }

    /// The RPC's status as a name: `NOT_FOUND`. Numbers are gRPC's.
    pub fn rpc_status(self) -> Option<String> {
        let keys = ["rpc.response.status_code", "rpc.grpc.status_code", "rpc.status_code"];
        let value = keys.iter().find_map(|key| self.0.attribute(key))?;
        match value.as_i64() {
            Some(number) => Some(grpc_status(number).map_or_else(|| number.to_string(), str::to_owned)),
            None => value.as_str().map(str::to_owned),
        }
    }

    /// `postgresql`.
    pub fn db_system(self) -> Option<&'a str> {
        self.text(&["db.system.name", "db.system"])
    }

    /// Table, collection or database.
    pub fn db_target(self) -> Option<&'a str> {
        self.text(&["db.collection.name", "db.sql.table", "db.mongodb.collection", "db.namespace", "db.name"])
    }

    /// `SELECT`.
    pub fn db_operation(self) -> Option<&'a str> {
        self.text(&["db.operation.name", "db.operation"])
    }

    /// The statement.
    pub fn db_query(self) -> Option<&'a str> {
        self.text(&["db.query.text", "db.statement"])
    }

    /// `rabbitmq`, `kafka`.
    pub fn messaging_system(self) -> Option<&'a str> {
        self.text(&["messaging.system"])
    }

    /// The message's ID.
    pub fn message_id(self) -> Option<&'a str> {
        self.text(&["messaging.message.id", "messaging.message_id"])
    }

    /// Exchange, topic or queue, as the instrumentation names it.
    pub fn destination(self) -> Option<&'a str> {
        self.text(&["messaging.destination.name", "messaging.destination"])
    }

    /// The routing key.
    pub fn routing_key(self) -> Option<&'a str> {
        self.text(&["messaging.rabbitmq.destination.routing_key", "messaging.rabbitmq.routing_key"])
    }

    /// The queue that a consumer took its message from: our own attribute, else the span name of amqplib's
    /// instrumentation (`{queue} process`, the only place where it appears), else the last part of the
    /// conventions' `exchange:key:queue`, else whatever destination is named.
    pub fn queue(self) -> Option<&'a str> {
        if let Some(queue) = self.text(&["throughline.queue"]) {
            return Some(queue);
        }
        if self.0.kind != Kind::Consumer {
            return None;
        }
        let amqplib = self.0.scope.name.contains("amqplib");
        if amqplib && let Some(queue) = self.0.name.strip_suffix(" process").filter(|queue| !queue.is_empty())
        {
            return Some(queue);
        }
        let destination = self.destination()?;
        match destination.splitn(3, ':').nth(2) {
            Some(queue) if !queue.is_empty() => Some(queue),
            _ => Some(destination),
        }
    }

    /// Which delivery of the message this is, from 1; only our toolkit tells.
    pub fn delivery_number(self) -> Option<i64> {
        self.number(&["throughline.delivery.number"])
    }

    /// `ack`, `retry` or `dead_letter`; only our toolkit tells.
    pub fn settled(self) -> Option<&'a str> {
        self.text(&["throughline.settle.outcome"])
    }

    /// Where a message went that was retried or dead-lettered.
    pub fn settled_to(self) -> Option<&'a str> {
        self.text(&["throughline.settle.destination"])
    }

    /// How long a retry waits, in ms.
    pub fn settle_delay_ms(self) -> Option<u64> {
        self.number(&["throughline.settle.delay_ms"]).and_then(|ms| u64::try_from(ms).ok())
    }

    /// Whom a client span called, from its own attributes: a service's name, else a host.
    pub fn peer(self) -> Option<&'a str> {
        let named = self.text(&["service.peer.name", "peer.service"]);
        let host = || {
            self.text(&[
                "server.address",
                "net.peer.name",
                "http.host",
                "net.peer.ip",
                "network.peer.address",
            ])
            .or_else(|| self.text(&["url.full", "http.url"]).and_then(host_of_url))
            .map(without_port)
        };
        named.or_else(host)
    }

    /// Why it failed: the status message, the exception, `error.type`, or the status that was answered.
    pub fn reason(self) -> Option<String> {
        let span = self.0;
        if !span.status_message.is_empty() {
            return Some(span.status_message.clone());
        }
        let exception = span.events.iter().rev().find(|event| event.name == "exception");
        if let Some(exception) = exception {
            let part = |key: &str| {
                exception
                    .attributes
                    .iter()
                    .find(|(name, _)| name == key)
                    .and_then(|(_, value)| value.as_str())
            };
            match (part("exception.type"), part("exception.message")) {
                (Some(kind), Some(message)) if !message.is_empty() => {
                    return Some(format!("{}: {message}", short_type(kind)));
                }
                (Some(kind), _) => return Some(short_type(kind).to_owned()),
                (None, Some(message)) => return Some(message.to_owned()),
                (None, None) => {}
            }
        }
        let answered = || {
            self.http_status()
                .filter(|status| *status >= 400)
                .map(|status| format!("HTTP {status}"))
                .or_else(|| self.rpc_status().filter(|status| status != "OK"))
        };
        let kind = self.text(&["error.type"]).filter(|kind| kind.parse::<u16>().is_err());
        kind.map(|kind| short_type(kind).to_owned()).or_else(answered)
    }
}

/// The last part of `java.net.SocketTimeoutException`; anything else stays.
fn short_type(name: &str) -> &str {
    let last = name.rsplit(['.', ':']).next().unwrap_or(name);
    if !last.is_empty() && !name.contains(' ') && last.starts_with(|sign: char| sign.is_ascii_uppercase()) {
        last
    } else {
        name
    }
}

fn path_of_url(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("/", |at| &rest[at..])
}

fn host_of_url(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let host = rest.split(['/', '?', '#']).next()?;
    let host = host.rsplit('@').next()?;
    (!host.is_empty()).then_some(host)
}

/// `host:port` without the port; FastAPI puts one into `server.address`.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) && !name.contains(':') =>
        {
            name
        }
        _ => host,
    }
}

/// gRPC's status names by number.
fn grpc_status(number: i64) -> Option<&'static str> {
    const NAMES: [&str; 17] = [
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    ];
    usize::try_from(number).ok().and_then(|at| NAMES.get(at).copied())
}
