//! How a call or a delivery ended, read off one span: what was answered, whether a call was refused, where a
//! message went.
//!
//! It stands here since the store keeps it in summaries on arrival and the queries ask it of spans.

use super::{Kind, Nanos, Span, Value};

/// A message that was not done with: put back for another try, or given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// When the delivery ended.
    pub time: Nanos,
    /// Given up: it lies among dead letters. Else it waits for its next delivery.
    pub dead: bool,
    /// The queue that it went to; empty where that was not told.
    pub queue: String,
}

/// Keys of an HTTP answer's status, the new one first.
pub const HTTP_STATUS: [&str; 2] = ["http.response.status_code", "http.status_code"];
/// Keys of an RPC's status, the new one first.
pub const RPC_STATUS: [&str; 3] = ["rpc.response.status_code", "rpc.grpc.status_code", "rpc.status_code"];

/// gRPC codes by number and name that blame the request, not who answers it. The conventions do not count them
/// as a server's errors; RESOURCE_EXHAUSTED is left out, since it says that somebody cannot keep up.
const REFUSALS: [(i64, &str); 9] = [
    (1, "CANCELLED"),
    (3, "INVALID_ARGUMENT"),
    (5, "NOT_FOUND"),
    (6, "ALREADY_EXISTS"),
    (7, "PERMISSION_DENIED"),
    (9, "FAILED_PRECONDITION"),
    (10, "ABORTED"),
    (11, "OUT_OF_RANGE"),
    (16, "UNAUTHENTICATED"),
];

/// The status of the HTTP answer that a span gave or got.
pub fn http_status(span: &Span) -> Option<i64> {
    HTTP_STATUS.iter().filter_map(|key| span.attribute(key)).find_map(Value::as_i64)
}

/// Whether a failed span is a call that the other side answered, and answered with a refusal: the caller's span
/// has the status ERROR by convention from HTTP 400 on, while the server's has not below 500. Whether that is
/// bad is for the caller to say. 408 and 429 are no refusals: they say that somebody cannot keep up.
pub fn refused(span: &Span) -> bool {
    if span.kind != Kind::Client || !span.failed() {
        return false;
    }
    if let Some(status) = http_status(span) {
        return http_refusal(status);
    }
    let status = RPC_STATUS.iter().find_map(|key| span.attribute(key));
    status.is_some_and(|status| match (status.as_i64(), status.as_str()) {
        (Some(number), _) => rpc_refusal(number),
        (None, Some(name)) => rpc_refusal_named(name),
        (None, None) => false,
    })
}

/// Whether an HTTP status blames the request.
pub fn http_refusal(status: i64) -> bool {
    (400..500).contains(&status) && ![408, 429].contains(&status)
}

/// Whether an RPC's status blames the request, by number.
pub fn rpc_refusal(number: i64) -> bool {
    REFUSALS.iter().any(|(known, _)| *known == number)
}

/// Whether an RPC's status blames the request, by name.
pub fn rpc_refusal_named(name: &str) -> bool {
    REFUSALS.iter().any(|(_, known)| *known == name)
}

/// What became of the message of a consumer span, where it was not done with; only our toolkit tells.
pub fn settled(span: &Span) -> Option<Settled> {
    if span.kind != Kind::Consumer {
        return None;
    }
    let text = |key: &str| span.attribute(key).and_then(Value::as_str);
    let dead = match text("throughline.settle.outcome")? {
        "dead_letter" => true,
        "retry" => false,
        _ => return None,
    };
    let queue = text("throughline.settle.destination").unwrap_or_default().to_owned();
    Some(Settled { time: span.end, dead, queue })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::model::{SpanId, StatusCode, TraceId};

    fn failed(kind: Kind, key: &str, value: Value) -> Span {
        Span {
            trace_id: TraceId([1; 16]),
            span_id: SpanId([1; 8]),
            parent: None,
            name: "call".into(),
            kind,
            start: 1,
            end: 2,
            status: StatusCode::Error,
            status_message: String::new(),
            attributes: vec![(key.into(), value)],
            events: Vec::new(),
            links: Vec::new(),
            trace_state: String::new(),
            flags: 0,
            dropped: 0,
            resource: Default::default(),
            scope: Default::default(),
        }
    }

    #[test]
    fn a_refusal_is_an_answer_that_blames_the_request() {
        for (kind, key, value, expected) in [
            (Kind::Client, "http.response.status_code", Value::Int(404), true),
            (Kind::Client, "http.status_code", Value::Int(409), true),
            (Kind::Client, "http.response.status_code", Value::Int(408), false),
            (Kind::Client, "http.response.status_code", Value::Int(429), false),
            (Kind::Client, "http.response.status_code", Value::Int(503), false),
            (Kind::Server, "http.response.status_code", Value::Int(404), false),
            (Kind::Client, "rpc.response.status_code", Value::Text("NOT_FOUND".into()), true),
            (Kind::Client, "rpc.grpc.status_code", Value::Int(5), true),
            (Kind::Client, "rpc.grpc.status_code", Value::Int(14), false),
            (Kind::Client, "rpc.response.status_code", Value::Text("UNAVAILABLE".into()), false),
            (Kind::Client, "error.type", Value::Text("timeout".into()), false),
        ] {
            assert_eq!(refused(&failed(kind, key, value.clone())), expected, "{kind:?} {key} {value:?}");
        }
    }
}
