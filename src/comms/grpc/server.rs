//! A layer for tonic servers: a SERVER span per call, joined to the caller's, for its correlation ID. A handler that
//! panics answers `INTERNAL`: without this the caller saw its connection reset and knew nothing.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::{Context as Poller, Poll};
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use opentelemetry::KeyValue;
use opentelemetry::context::FutureExt as _;
use opentelemetry::metrics::Histogram;
use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::{HeaderValue, Request, Response};
use tower::{Layer, Service};

use super::call::{ATTRIBUTES, Call, ObservedBody, method_of};
use crate::comms::correlation::{self, CorrelationId};
use crate::comms::metrics::{self, Refusals, Transport};
use crate::comms::{Tracer, deadline, names, propagation};

/// Wraps a generated tonic service; use `tonic::service::LayerExt::named_layer` to keep its name.
#[derive(Clone)]
pub struct GrpcServerLayer {
    service: Arc<str>,
    duration: Histogram<f64>,
    refusals: Refusals,
    tracer: Tracer,
}

impl GrpcServerLayer {
    pub fn new(service_name: &str) -> Self {
        let duration = metrics::durations("rpc.server.call.duration", "Duration of gRPC calls served");
        let (service, refusals, tracer) = (service_name.into(), Refusals::default(), Tracer::default());
        Self { service, duration, refusals, tracer }
    }

    fn start(&self, request: &Request<Body>) -> (Call, CorrelationId) {
        let incoming = propagation::extract_headers(request.headers());
        let id = incoming.id_or_new(&self.service);
        let method = method_of(request.uri());
        let mut attributes = Vec::with_capacity(ATTRIBUTES);
        attributes.extend([
            KeyValue::new(names::RPC_SYSTEM_NAME, "grpc"),
            KeyValue::new(names::RPC_METHOD, method.clone()),
            KeyValue::new(names::CORRELATION_ID, id.shared()),
        ]);
        attributes.extend(incoming.refused_attribute());
        if incoming.refused.is_some() {
            self.refusals.count(Transport::Grpc, Some(method.clone()), "correlation_id");
        }
        if let Some(authority) = request.uri().authority() {
            attributes.push(KeyValue::new(names::SERVER_ADDRESS, authority.host().to_owned()));
            attributes.extend(authority.port_u16().map(|p| KeyValue::new(names::SERVER_PORT, i64::from(p))));
        }
        let tracer = self.tracer.get();
        let builder =
            tracer.span_builder(method.clone()).with_kind(SpanKind::Server).with_attributes(attributes);
        let span = tracer.build_with_context(builder, &incoming.context);
        let call = Call {
            context: incoming.context.with_span(span),
            kind: SpanKind::Server,
            method,
            duration: self.duration.clone(),
            started: Instant::now(),
            permit: None,
            done: false,
        };
        (call, id)
    }
}

impl<S> Layer<S> for GrpcServerLayer {
    type Service = GrpcServer<S>;

    fn layer(&self, inner: S) -> GrpcServer<S> {
        GrpcServer { inner, layer: self.clone() }
    }
}

/// A service with [`GrpcServerLayer`] around it.
#[derive(Clone)]
pub struct GrpcServer<S> {
    inner: S,
    layer: GrpcServerLayer,
}

impl<S> Service<Request<Body>> for GrpcServer<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Future: Send + 'static,
    S::Error: std::fmt::Display,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(poller)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (mut call, id) = self.layer.start(&request);
        let until = deadline::of(request.headers());
        // What layers do before they wait is done in the span too, such as saying who calls.
        let work = {
            let _here = call.context.clone().attach();
            self.inner.call(request)
        };
        let work = work.with_context(call.context.clone());
        let work = AssertUnwindSafe(work).catch_unwind();
        let work = correlation::scope(id.clone(), async { work.await.unwrap_or_else(|_| Ok(broken())) });
        Box::pin(async move {
            let answer = match until {
                None => work.await,
                Some(until) => {
                    let late = || Ok(Status::deadline_exceeded("the caller waits no longer").into_http());
                    let work = deadline::scope(until, work);
                    tokio::time::timeout_at(until, work).await.unwrap_or_else(|_| late())
                }
            };
            let mut response = answer.inspect_err(|error| {
                tracing::error!(%error, "gRPC service failed");
            })?;
            if let Ok(value) = HeaderValue::try_from(id.as_str()) {
                response.headers_mut().insert(names::X_CORRELATION_ID, value);
            }
            call.finish_from(response.headers());
            Ok(response.map(|inner| Body::new(ObservedBody { inner, call })))
        })
    }
}

/// The answer where a handler panicked. What it panicked with is for the log, where the panic hook has put it.
fn broken() -> Response<Body> {
    tracing::error!("a gRPC handler panicked");
    Status::internal("Internal error").into_http()
}
