//! OTLP over gRPC: the three `Export` methods.
//!
//! A codec hands the message over as the bytes it is; nothing is decoded into a tree. Codes and what senders try
//! again: <https://opentelemetry.io/docs/specs/otlp/#otlpgrpc>.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::AUTHORIZATION;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::{Buf, BufMut, Bytes};
use futures_util::future::BoxFuture;
use tokio::sync::OwnedSemaphorePermit;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};

use super::answer;
use super::body::BodyError;
use super::counters::{Outcome, Transport};
use super::{Receiver, Refusal, Signal};
use crate::dashboard::keys::Denied;

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

async fn export(receiver: Arc<Receiver>, signal: Signal, request: Request) -> Response {
    let limit = receiver.settings.max_request;
    let counters = receiver.counters.clone();
    let refused = |outcome, status: Status| {
        counters.request(Transport::Grpc, signal, outcome, 0);
        status.into_http()
    };
    let (parts, body) = request.into_parts();
    let shown = parts.headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    if let Err(refusal) = receiver.may_send(shown) {
        return refused(Outcome::of(&refusal), status(refusal));
    }
    // Read to its end first: what tonic is given then waits for nobody, so that a message is in memory, in whole or
    // in part, only for as long as its share of the budget is.
    let (bytes, share) = match receiver.bodies.read_call(body).await {
        Ok(read) => read,
        Err(error) => return refused(error.outcome(), body_status(&error)),
    };
    let mut grpc = Grpc::new(RawCodec)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(limit);
    let request = Request::from_parts(parts, Body::from(bytes));
    let mut response =
        grpc.unary(Export { receiver, signal, share: Some(share) }, request).await.into_response();
    // tonic answers a message over the limit with OUT_OF_RANGE, which senders try again without end.
    let out_of_range = HeaderValue::from(Code::OutOfRange as i32);
    if response.headers().get(Status::GRPC_STATUS) == Some(&out_of_range) {
        response.headers_mut().insert(Status::GRPC_STATUS, HeaderValue::from(Code::ResourceExhausted as i32));
        counters.request(Transport::Grpc, signal, Outcome::TooLarge, 0);
    }
    response
}

/// One `Export` method.
struct Export {
    receiver: Arc<Receiver>,
    signal: Signal,
    /// The budget that the call takes up, until it is answered.
    share: Option<OwnedSemaphorePermit>,
}

impl UnaryService<Bytes> for Export {
    type Response = Bytes;
    type Future = BoxFuture<'static, Result<tonic::Response<Bytes>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (receiver, signal, share) = (self.receiver.clone(), self.signal, self.share.take());
        Box::pin(async move {
            let message = request.into_inner();
            let held = share.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
            let grown =
                receiver.bodies.reserve((message.len() >> 10).saturating_sub(held)).map_err(|error| {
                    receiver.counters.request(Transport::Grpc, signal, error.outcome(), 0);
                    body_status(&error)
                })?;
            let taken = receiver.take(Transport::Grpc, signal, message).await;
            drop((share, grown));
            taken.map(|accepted| tonic::Response::new(answer::success(&accepted).into())).map_err(status)
        })
    }
}

fn body_status(error: &BodyError) -> Status {
    let message = error.to_string();
    match error {
        BodyError::TooLarge(_) => Status::resource_exhausted(message),
        BodyError::UnknownEncoding(_) | BodyError::Corrupt(_) => Status::invalid_argument(message),
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

/// Hands messages over as bytes, in both directions: also for clients that send what was made by hand.
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
