//! A layer for tonic clients: a CLIENT span per call, with the context and the correlation ID in the metadata.

use std::sync::Arc;
use std::task::{Context as Poller, Poll};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use opentelemetry::context::FutureExt as _;
use opentelemetry::metrics::Histogram;
use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use tonic::body::Body;
use tonic::codegen::http::{HeaderValue, Request, Response, Uri};
use tonic::{Code, Status, TimeoutExpired};
use tower::{BoxError, Layer, Service};

use super::call::{ATTRIBUTES, Call, ObservedBody, method_of};
use crate::comms::breaker::{Breaker, Permit, Rejected};
use crate::comms::correlation::{self, CorrelationId};
use crate::comms::propagation::{self, IntoHeaders};
use crate::comms::resilience::Transient;
use crate::comms::security::Credentials;
use crate::comms::{Tracer, deadline, metrics, names};

/// Whether a call was not made because a breaker is open.
pub fn is_rejected(status: &Status) -> bool {
    status.metadata().contains_key(names::X_CIRCUIT_BREAKER)
}

/// The breaker because of which a call was not made, here or further down.
pub fn rejected_by(status: &Status) -> Option<&str> {
    status.metadata().get(names::X_CIRCUIT_BREAKER)?.to_str().ok()
}

/// When to come again, in milliseconds; what gRPC's own retries read.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

impl Transient for Status {
    /// `UNAVAILABLE`, but for a breaker's: that stays for a while.
    fn is_transient(&self) -> bool {
        self.code() == Code::Unavailable && !is_rejected(self)
    }

    /// What the server asks for by `grpc-retry-pushback-ms`, or the breaker that rejected the call.
    fn retry_after(&self) -> Option<Duration> {
        let millis = self.metadata().get(PUSHBACK)?.to_str().ok()?.parse().ok()?;
        Some(Duration::from_millis(millis))
    }
}

/// Wraps a tonic channel; see the module.
#[derive(Clone)]
pub struct GrpcClientLayer {
    service: Arc<str>,
    peer: Arc<str>,
    address: Uri,
    timeout: Option<Duration>,
    breaker: Option<Breaker>,
    credentials: Option<Credentials>,
    duration: Histogram<f64>,
    tracer: Tracer,
}

impl GrpcClientLayer {
    /// Calls to the service `peer` at `address`, on behalf of `service_name`.
    pub fn new(service_name: &str, peer: &str, address: Uri) -> Self {
        let about = "Duration of gRPC calls to other services";
        let duration = metrics::durations("rpc.client.call.duration", about);
        let (service, peer, tracer) = (service_name.into(), peer.into(), Tracer::default());
        Self { service, peer, address, timeout: None, breaker: None, credentials: None, duration, tracer }
    }

    /// Tells the other side how long an answer is waited for, as `grpc-timeout`; less where the task's own deadline is
    /// sooner. A tonic channel keeps to it too.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Puts calls behind a breaker. A call that it rejects is answered `UNAVAILABLE` at once, with the time to come again
    /// (`grpc-retry-pushback-ms`); see [`is_rejected`].
    pub fn with_breaker(mut self, breaker: Breaker) -> Self {
        self.breaker = Some(breaker);
        self
    }

    /// Says with each call who makes it, by a token. One that cannot be signed is not sent; the call is then refused.
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Asks the breaker, within the call's span.
    fn acquire(&self, call: &mut Call) -> Result<(), Rejected> {
        let Some(breaker) = &self.breaker else { return Ok(()) };
        let _here = call.context.clone().attach();
        let permit = breaker.acquire();
        let state = permit.as_ref().map_or_else(|rejected| rejected.state, Permit::state);
        call.context.span().set_attributes([
            KeyValue::new(names::BREAKER_NAME, breaker.shared_name()),
            KeyValue::new(names::BREAKER_STATE, state.text()),
        ]);
        call.permit = Some(permit?);
        Ok(())
    }

    fn attributes(&self, method: &str, id: &CorrelationId) -> Vec<KeyValue> {
        let mut attributes = Vec::with_capacity(ATTRIBUTES);
        attributes.extend([
            KeyValue::new(names::RPC_SYSTEM_NAME, "grpc"),
            KeyValue::new(names::RPC_METHOD, method.to_owned()),
            KeyValue::new(names::SERVICE_PEER_NAME, Arc::clone(&self.peer)),
            KeyValue::new(names::CORRELATION_ID, id.shared()),
        ]);
        attributes.extend(self.address.host().map(|h| KeyValue::new(names::SERVER_ADDRESS, h.to_owned())));
        attributes.extend(self.address.port_u16().map(|p| KeyValue::new(names::SERVER_PORT, i64::from(p))));
        attributes
    }

    fn start(&self, method: String, id: &CorrelationId) -> Call {
        let tracer = self.tracer.get();
        let builder = tracer
            .span_builder(method.clone())
            .with_kind(SpanKind::Client)
            .with_attributes(self.attributes(&method, id));
        Call {
            context: Context::current_with_span(tracer.build(builder)),
            kind: SpanKind::Client,
            method,
            duration: self.duration.clone(),
            started: Instant::now(),
            permit: None,
            done: false,
        }
    }
}

impl<S> Layer<S> for GrpcClientLayer {
    type Service = GrpcClient<S>;

    fn layer(&self, inner: S) -> GrpcClient<S> {
        GrpcClient { inner, layer: self.clone() }
    }
}

/// A channel with [`GrpcClientLayer`] around it.
#[derive(Clone)]
pub struct GrpcClient<S> {
    inner: S,
    layer: GrpcClientLayer,
}

impl<S> Service<Request<Body>> for GrpcClient<S>
where
    S: Service<Request<Body>, Response = Response<Body>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<Body>, S::Error>>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(poller)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let id = correlation::current().unwrap_or_else(|| CorrelationId::generate(&self.layer.service));
        let mut call = self.layer.start(method_of(request.uri()), &id);
        propagation::inject(&call.context, &id, &mut IntoHeaders(request.headers_mut()));
        if let Ok(name) = HeaderValue::try_from(&*self.layer.service) {
            request.headers_mut().insert(names::X_SERVICE_NAME, name);
        }
        if let Some(Err(error)) = self.layer.credentials.as_ref().map(|c| c.put(request.headers_mut())) {
            tracing::error!("{error:#}");
            let status = Status::unauthenticated("the call's token could not be signed");
            call.finish(status.code(), status.message());
            return Box::pin(async move { Ok(status.into_http()) });
        }
        // What a caller has set for this call alone goes first; it is no more than what is left in any case.
        let own = deadline::of(request.headers());
        let until = self.layer.timeout.map(deadline::within).or_else(deadline::current);
        let until = own.map(|own| until.map_or(own, |until| until.min(own))).or(until);
        let now = tokio::time::Instant::now();
        let left = until.map(|until| until.saturating_duration_since(now));
        if left.is_some_and(|left| left.is_zero()) {
            let status = Status::deadline_exceeded("no time is left for the call");
            call.finish(status.code(), status.message());
            return Box::pin(async move { Ok(status.into_http()) });
        }
        let timed = left.zip(self.layer.timeout);
        let is_own_time = timed.is_none_or(|(left, timeout)| deadline::is_own_time(left, timeout));
        if let Err(rejected) = self.layer.acquire(&mut call) {
            call.finish_as(Code::Unavailable, &rejected.to_string(), names::ERROR_BREAKER_OPEN);
            let response = turned_away(&rejected);
            return Box::pin(async move { Ok(response) });
        }
        if let Some(left) = left {
            request.headers_mut().insert(names::GRPC_TIMEOUT, deadline::grpc_header(left));
        }
        let answer = self.inner.call(request).with_context(call.context.clone());
        Box::pin(async move {
            let answer = match until {
                Some(until) => tokio::time::timeout_at(until, answer).await.ok(),
                None => Some(answer.await),
            };
            // The channel has a clock of its own for the same time, whose status is another.
            let is_late = until.is_some_and(|until| tokio::time::Instant::now() >= until);
            let status = match answer {
                Some(Ok(response)) => {
                    call.finish_from(response.headers());
                    return Ok(response.map(|inner| Body::new(ObservedBody { inner, call })));
                }
                Some(Err(error)) if !is_late => unreached(error.into()),
                _ => Status::deadline_exceeded("no answer in time"),
            };
            if status.code() == Code::DeadlineExceeded && !is_own_time {
                // Slow at most, as the permit itself finds.
                drop(call.permit.take());
            }
            call.finish(status.code(), status.message());
            Ok(status.into_http())
        })
    }
}

/// The status of a call that came to no answer: that of a layer below which gives one, `DEADLINE_EXCEEDED` where the channel's
/// clock ran out, and else `UNAVAILABLE`, whatever the connection was doing when it was lost, with what was behind it.
fn unreached(error: BoxError) -> Status {
    let mut cause: &(dyn std::error::Error + 'static) = &*error;
    loop {
        if let Some(status) = cause.downcast_ref::<Status>() {
            return status.clone();
        }
        if cause.is::<TimeoutExpired>() {
            return Status::deadline_exceeded("no answer in time");
        }
        match cause.source() {
            Some(inner) => cause = inner,
            None => return Status::unavailable(cause.to_string()),
        }
    }
}

/// The answer of a breaker in place of the service.
fn turned_away(rejected: &Rejected) -> Response<Body> {
    let mut response = Status::unavailable(rejected.to_string()).into_http();
    if let Ok(name) = HeaderValue::try_from(&*rejected.breaker) {
        response.headers_mut().insert(names::X_CIRCUIT_BREAKER, name);
    }
    if let Some(wait) = rejected.retry_after {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        response.headers_mut().insert(PUSHBACK, HeaderValue::from(millis));
    }
    response
}
