//! OTLP over gRPC: the three `Export` methods.
//!
//! A codec hands the message over as the bytes it is; nothing is decoded into a tree. Codes and what senders try
//! again: <https://opentelemetry.io/docs/specs/otlp/#otlpgrpc>.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::{Buf, BufMut, Bytes};
use futures_util::future::BoxFuture;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};

use super::answer;
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
    Status::unimplemented("only the Export methods of OTLP are served here").into_http::<axum::body::Body>()
}

async fn export(receiver: Arc<Receiver>, signal: Signal, request: Request) -> Response {
    let limit = receiver.settings.max_request;
    let counters = receiver.counters.clone();
    let mut grpc = Grpc::new(RawCodec)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(limit);
    let mut response = grpc.unary(Export { receiver, signal }, request).await.into_response();
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
}

impl UnaryService<Bytes> for Export {
    type Response = Bytes;
    type Future = BoxFuture<'static, Result<tonic::Response<Bytes>, Status>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (receiver, signal) = (self.receiver.clone(), self.signal);
        Box::pin(async move {
            let shown = request.metadata().get("authorization").map(|value| value.as_bytes());
            if let Err(refusal) = receiver.may_send(shown) {
                receiver.counters.request(Transport::Grpc, signal, Outcome::of(&refusal), 0);
                return Err(status(refusal));
            }
            let taken = receiver.take(Transport::Grpc, signal, request.into_inner()).await;
            taken.map(|accepted| tonic::Response::new(answer::success(&accepted).into())).map_err(status)
        })
    }
}

fn status(refusal: Refusal) -> Status {
    let message = refusal.to_string();
    match refusal {
        Refusal::Malformed(_) => Status::invalid_argument(message),
        Refusal::Denied(Denied::Unknown) => Status::unauthenticated(message),
        Refusal::Denied(_) => Status::permission_denied(message),
        Refusal::Store(_) => {
            let details = answer::status(answer::Code::Unavailable, &message);
            Status::with_details(Code::Unavailable, message, details.into())
        }
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
