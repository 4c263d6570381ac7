//! What is answered: `Export…ServiceResponse` and `google.rpc.Status`, as protobuf or JSON.

use serde_json::json;

use super::{Accepted, Signal};
use crate::dashboard::model::proto::{put_bytes, put_message, put_uint};

/// Seconds after which a sender that was turned away may come again.
pub const RETRY_AFTER_S: u64 = 1;

/// Codes of `google.rpc.Code` that are used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Unavailable = 14,
    Unauthenticated = 16,
}

/// The answer to a request that was taken, as protobuf. Empty where nothing was left out: `partial_success` is
/// then to be unset (OTLP specification, "Partial Success").
pub fn success(accepted: &Accepted) -> Vec<u8> {
    let mut out = Vec::new();
    if accepted.rejected > 0 || !accepted.message.is_empty() {
        put_message(&mut out, 1, |partial| {
            put_uint(partial, 1, accepted.rejected);
            put_bytes(partial, 2, accepted.message.as_bytes());
        });
    }
    out
}

/// The same as JSON.
pub fn success_json(signal: Signal, accepted: &Accepted) -> Vec<u8> {
    if accepted.rejected == 0 && accepted.message.is_empty() {
        return b"{}".to_vec();
    }
    let count = match signal {
        Signal::Traces => "rejectedSpans",
        Signal::Logs => "rejectedLogRecords",
        Signal::Metrics => "rejectedDataPoints",
    };
    // 64-bit numbers are decimal strings in proto3's JSON.
    let partial = json!({ count: accepted.rejected.to_string(), "errorMessage": accepted.message });
    json!({ "partialSuccess": partial }).to_string().into_bytes()
}

/// A `google.rpc.Status` as protobuf, with a `RetryInfo` where trying again may succeed.
pub fn status(code: Code, message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_uint(&mut out, 1, code as u64);
    put_bytes(&mut out, 2, message.as_bytes());
    if code == Code::Unavailable {
        put_message(&mut out, 3, |any| {
            put_bytes(any, 1, RETRY_INFO.as_bytes());
            put_bytes(any, 2, &retry_info());
        });
    }
    out
}

const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// `RetryInfo { retry_delay: Duration { seconds } }`.
fn retry_info() -> Vec<u8> {
    let mut info = Vec::new();
    put_message(&mut info, 1, |delay| put_uint(delay, 1, RETRY_AFTER_S));
    info
}

/// The same as JSON.
pub fn status_json(code: Code, message: &str) -> Vec<u8> {
    let mut status = json!({ "code": code as i32, "message": message });
    if code == Code::Unavailable {
        status["details"] = json!([{
            "@type": RETRY_INFO,
            "retryDelay": format!("{RETRY_AFTER_S}s"),
        }]);
    }
    status.to_string().into_bytes()
}
