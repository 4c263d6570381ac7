//! One call under observation: its span, from the start until the status is known.

use std::pin::Pin;
use std::task::{Context as Poller, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use opentelemetry::metrics::Histogram;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use tonic::Code;
use tonic::body::Body;
use tonic::codegen::http::{HeaderMap, Uri};

use crate::comms::breaker::{CountsAsFailure as _, Outcome, Permit};
use crate::comms::names;

/// As many attributes as a call has by its end, with room for a failure's.
pub(super) const ATTRIBUTES: usize = 12;

/// `/user.UserService/GetUser` becomes `user.UserService/GetUser`.
pub(super) fn method_of(uri: &Uri) -> String {
    uri.path().trim_start_matches('/').to_owned()
}

/// The name of a code as gRPC writes it, which is what conventions want.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Whether a code is an error on this side: a server that answers `NOT_FOUND` has done its work.
fn is_error(kind: &SpanKind, code: Code) -> bool {
    match kind {
        SpanKind::Server => matches!(
            code,
            Code::Unknown
                | Code::DeadlineExceeded
                | Code::Unimplemented
                | Code::Internal
                | Code::Unavailable
                | Code::DataLoss
        ),
        _ => code != Code::Ok,
    }
}

/// The span and clock of a call; ends as `CANCELLED` when it is dropped before a status came.
pub(super) struct Call {
    pub context: Context,
    pub kind: SpanKind,
    pub method: String,
    pub duration: Histogram<f64>,
    pub started: Instant,
    /// The breaker's leave, on the caller's side.
    pub permit: Option<Permit>,
    pub done: bool,
}

impl Call {
    pub fn finish(&mut self, code: Code, message: &str) {
        self.finish_as(code, message, code_name(code));
    }

    /// As [`Self::finish`], with another `error.type` than the code's name.
    pub fn finish_as(&mut self, code: Code, message: &str, error_type: &'static str) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        if let Some(permit) = self.permit.take() {
            let _here = self.context.clone().attach();
            match code {
                // The caller went away; whether that was out of impatience the permit itself finds.
                Code::Cancelled => drop(permit),
                _ if code.counts_as_failure() => permit.record(Outcome::Failure),
                _ => permit.record(Outcome::Success),
            }
        }
        let name = code_name(code);
        let span = self.context.span();
        span.set_attribute(KeyValue::new(names::RPC_RESPONSE_STATUS_CODE, name));
        let mut measured = vec![
            KeyValue::new(names::RPC_SYSTEM_NAME, "grpc"),
            KeyValue::new(names::RPC_METHOD, self.method.clone()),
            KeyValue::new(names::RPC_RESPONSE_STATUS_CODE, name),
        ];
        if is_error(&self.kind, code) {
            let error_type = KeyValue::new(names::ERROR_TYPE, error_type);
            span.set_attribute(error_type.clone());
            let text = if message.is_empty() { name.to_owned() } else { format!("{name}: {message}") };
            span.set_status(Status::error(text));
            measured.push(error_type);
        }
        self.duration.record(self.started.elapsed().as_secs_f64(), &measured);
        span.end();
    }

    /// Ends the call if these headers or trailers hold its status.
    pub fn finish_from(&mut self, headers: &HeaderMap) {
        if headers.contains_key(names::X_CIRCUIT_BREAKER) {
            // A breaker further down: the service is well itself, and one outage opens one breaker.
            drop(self.permit.take());
        }
        if let Some(status) = tonic::Status::from_header_map(headers) {
            self.finish(status.code(), status.message());
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.finish(Code::Cancelled, "the caller went away");
    }
}

/// A body that passes everything through and ends its call with the trailers.
pub(super) struct ObservedBody {
    pub inner: Body,
    pub call: Call,
}

impl http_body::Body for ObservedBody {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        poller: &mut Poller<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(poller);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    this.call.finish_from(trailers);
                }
            }
            Poll::Ready(Some(Err(status))) => this.call.finish(status.code(), status.message()),
            Poll::Ready(None) => this.call.finish(Code::Unknown, "the answer had no status"),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_codes_are_named_as_the_conventions_want() {
        assert_eq!(
            method_of(&Uri::from_static("http://h:1/user.UserService/GetUser")),
            "user.UserService/GetUser"
        );
        assert_eq!(code_name(Code::NotFound), "NOT_FOUND");
        assert!(!is_error(&SpanKind::Server, Code::NotFound));
        assert!(is_error(&SpanKind::Client, Code::NotFound));
        assert!(is_error(&SpanKind::Server, Code::Internal));
    }
}
