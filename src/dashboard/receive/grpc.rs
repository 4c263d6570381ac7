//! OTLP over gRPC: the three `Export` methods.
//!
//! A codec hands the message over as the bytes it is; nothing is decoded into a tree. Codes and what senders try
//! again: <https://opentelemetry.io/docs/specs/otlp/#otlpgrpc>.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use axum::routing::post;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http_body::Frame;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::{Code, Status};

use super::answer;
use super::body::BodyError;
use super::counters::{Outcome, Transport};
use super::{Receiver, Refusal, Signal};
use crate::dashboard::keys::Denied;

/// The trailer with the status of a call.
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The routes of the receiver, for a server that speaks HTTP/2.
pub fn router(receiver: Arc<Receiver>) -> Router {
    let mut router = Router::new();
    for (signal, path) in [
        (Signal::Traces, "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
        (Signal::Logs, "/opentelemetry.proto.collector.logs.v1.LogsService/Export"),
        (Signal::Metrics, "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"),
    ] {
        let handler = move |State(receiver): State<Arc<Receiver>>, request| export(receiver, signal, request);
        router = router.route(path, post(handler));
    }
    router.fallback(unimplemented).with_state(receiver)
}

async fn unimplemented() -> Response {
    Status::unimplemented("only the Export methods of OTLP are served here").into_http::<Body>()
}

/// One `Export` call: its one message in, its one message or its status out.
async fn export(receiver: Arc<Receiver>, signal: Signal, request: Request) -> Response {
    let refused = |outcome, status: Status| {
        receiver.counters.request(Transport::Grpc, signal, outcome, 0);
        status.into_http()
    };
    let (parts, body) = request.into_parts();
    let shown = parts.headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    if let Err(refusal) = receiver.may_send(shown) {
        return refused(Outcome::of(&refusal), status(refusal));
    }
    // The message is read here and not by tonic: it is in memory once, and only for as long as its share of the
    // budget is.
    let (message, share) = match receiver.bodies.read_call(&parts.headers, body).await {
        Ok(read) => read,
        Err(error) => return refused(error.outcome(), body_status(&error)),
    };
    let taken = receiver.take(Transport::Grpc, signal, message).await;
    drop(share);
    match taken {
        Ok(accepted) => answered(&answer::success(&accepted)),
        Err(refusal) => status(refusal).into_http(),
    }
}

/// A call that went well.
fn answered(message: &[u8]) -> Response {
    let mut data = BytesMut::with_capacity(5 + message.len());
    data.put_u8(0);
    data.put_u32(message.len() as u32);
    data.put_slice(message);
    let mut response = Response::new(Body::new(Answer { data: Some(data.freeze()), ended: false }));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity,gzip,zstd,deflate"));
    response
}

/// The body of an answer: a message, and the status OK behind it.
struct Answer {
    data: Option<Bytes>,
    ended: bool,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        if std::mem::replace(&mut self.ended, true) {
            return Poll::Ready(None);
        }
        let status = HeaderValue::from(Code::Ok as i32);
        Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::from_iter([(GRPC_STATUS, status)])))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }
}

fn body_status(error: &BodyError) -> Status {
    let message = error.to_string();
    match error {
        BodyError::TooLarge(_) => Status::resource_exhausted(message),
        BodyError::UnknownEncoding(_) => Status::unimplemented(message),
        BodyError::Corrupt(_) => Status::invalid_argument(message),
        BodyError::TooSlow => Status::deadline_exceeded(message),
        BodyError::Busy => unavailable(message),
    }
}

/// With the wait after which to come again.
fn unavailable(message: String) -> Status {
    let details = answer::status(answer::Code::Unavailable, &message);
    Status::with_details(Code::Unavailable, message, details.into())
}

fn status(refusal: Refusal) -> Status {
    let message = refusal.to_string();
    match refusal {
        Refusal::Malformed(_) => Status::invalid_argument(message),
        Refusal::Denied(Denied::Unknown) => Status::unauthenticated(message),
        Refusal::Denied(_) => Status::permission_denied(message),
        Refusal::Store(_) => unavailable(message),
    }
}

/// Hands messages over as bytes, in both directions: for clients that send what was made by hand.
#[derive(Debug, Clone, Copy, Default)]
pub struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}
