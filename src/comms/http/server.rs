//! Middleware for the routes that a service serves: one SERVER span per request, joined to the caller's.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context as Poller, Poll};
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderValue, Method, Version, header};
use axum::response::Response;
use futures_util::future::BoxFuture;
use opentelemetry::context::FutureExt as _;
use opentelemetry::metrics::Histogram;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Array, Context, KeyValue, StringValue, Value};
use tower::{Layer, Service};

use super::attributes::{OTHER, method_text, of_method, span_name};
use super::redact;
use crate::comms::correlation::{self, CorrelationId};
use crate::comms::metrics::{self, Refusals, Transport};
use crate::comms::{Tracer, deadline, names, propagation};

/// As many attributes as a request has by its end, with room for a failure's.
const ATTRIBUTES: usize = 14;

/// What all requests of a service share.
struct Shared {
    service: Arc<str>,
    duration: Histogram<f64>,
    refusals: Refusals,
    tracer: Tracer,
}

/// Adds spans, metrics and the correlation ID to all routes that the router has by now.
///
/// Routes that only a supervisor asks for (`/livez`, `/readyz`) belong after this call: they are noise.
pub fn instrument<S: Clone + Send + Sync + 'static>(router: Router<S>, service_name: &str) -> Router<S> {
    let duration = metrics::durations("http.server.request.duration", "Duration of requests served");
    let (service, refusals, tracer) = (service_name.into(), Refusals::default(), Tracer::default());
    let shared = Shared { service, duration, refusals, tracer };
    router.layer(Instrument(Arc::new(shared)))
}

/// A layer and not a function of axum's: that one makes three boxes a request more.
#[derive(Clone)]
struct Instrument(Arc<Shared>);

impl<S> Layer<S> for Instrument {
    type Service = Instrumented<S>;

    fn layer(&self, inner: S) -> Instrumented<S> {
        Instrumented { shared: Arc::clone(&self.0), inner }
    }
}

/// Routes with [`Instrument`] around them.
#[derive(Clone)]
struct Instrumented<S> {
    shared: Arc<Shared>,
    inner: S,
}

impl<S> Service<Request> for Instrumented<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(poller)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let served = Served::begin(&self.shared, &request);
        let until = deadline::of(request.headers());
        let work = correlation::scope(
            served.id.clone(),
            self.inner.call(request).with_context(served.context.clone()),
        );
        Box::pin(async move {
            let Ok(response) = deadline::scope_until(until, work).await;
            Ok(served.end(response))
        })
    }
}

/// A request that is being served.
struct Served {
    shared: Arc<Shared>,
    context: Context,
    id: CorrelationId,
    method: Method,
    route: Option<Arc<str>>,
    scheme: &'static str,
    began: Instant,
}

impl Served {
    fn begin(shared: &Arc<Shared>, request: &Request) -> Self {
        let incoming = propagation::extract_headers(request.headers());
        let id = incoming.id_or_new(&shared.service);
        let route: Option<Arc<str>> =
            request.extensions().get().map(|path: &MatchedPath| path.as_str().into());
        let scheme = scheme(request);
        let mut attributes = request_attributes(request, route.as_ref(), &id);
        attributes.push(KeyValue::new(names::URL_SCHEME, scheme));
        attributes.extend(incoming.refused_attribute());
        if incoming.refused.is_some() {
            shared.refusals.count(Transport::Http, route.clone(), "correlation_id");
        }
        let tracer = shared.tracer.get();
        let name = span_name(request.method(), route.as_deref());
        let builder = tracer.span_builder(name).with_kind(SpanKind::Server).with_attributes(attributes);
        let span = tracer.build_with_context(builder, &incoming.context);
        let (context, method) = (incoming.context.with_span(span), request.method().clone());
        Self { shared: Arc::clone(shared), context, id, method, route, scheme, began: Instant::now() }
    }

    fn end(self, mut response: Response) -> Response {
        let status = response.status();
        let code = KeyValue::new(names::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16()));
        let span = self.context.span();
        span.set_attribute(code.clone());
        let mut measured = Vec::with_capacity(5);
        measured.push(KeyValue::new(names::HTTP_REQUEST_METHOD, method_text(&self.method)));
        measured.push(code);
        measured.push(KeyValue::new(names::URL_SCHEME, self.scheme));
        measured.extend(self.route.map(|route| KeyValue::new(names::HTTP_ROUTE, route)));
        if status.is_server_error() {
            let error_type = KeyValue::new(names::ERROR_TYPE, status.as_u16().to_string());
            span.set_attribute(error_type.clone());
            span.set_status(Status::error(status.canonical_reason().unwrap_or_default()));
            measured.push(error_type);
        }
        self.shared.duration.record(self.began.elapsed().as_secs_f64(), &measured);
        span.end();
        if let Ok(value) = HeaderValue::try_from(self.id.as_str()) {
            response.headers_mut().insert(names::X_CORRELATION_ID, value);
        }
        response
    }
}

fn request_attributes(request: &Request, route: Option<&Arc<str>>, id: &CorrelationId) -> Vec<KeyValue> {
    let uri = request.uri();
    let text = |name| request.headers().get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    let mut attributes = Vec::with_capacity(ATTRIBUTES);
    of_method(request.method(), &mut attributes);
    attributes.push(KeyValue::new(names::URL_PATH, uri.path().to_owned()));
    attributes.push(KeyValue::new(names::CORRELATION_ID, id.shared()));
    attributes.push(KeyValue::new(names::NETWORK_PROTOCOL_VERSION, protocol(request.version())));
    attributes.extend(route.map(|route| KeyValue::new(names::HTTP_ROUTE, Arc::clone(route))));
    attributes
        .extend(uri.query().map(|query| KeyValue::new(names::URL_QUERY, redact::query(query).into_owned())));
    if let Some(agent) = text(header::USER_AGENT.as_str()) {
        attributes.push(KeyValue::new(names::USER_AGENT_ORIGINAL, agent.to_owned()));
    }
    if let Some(caller) = text(names::X_SERVICE_NAME) {
        let value = Value::Array(Array::String(vec![StringValue::from(caller.to_owned())]));
        attributes.push(KeyValue::new(names::HTTP_REQUEST_HEADER_X_SERVICE_NAME, value));
    }
    let authority = uri.authority().map(|a| a.as_str()).or_else(|| text(header::HOST.as_str()));
    if let Some(authority) = authority.and_then(|a| a.parse::<axum::http::uri::Authority>().ok()) {
        attributes.push(KeyValue::new(names::SERVER_ADDRESS, authority.host().to_owned()));
        attributes.extend(authority.port_u16().map(|p| KeyValue::new(names::SERVER_PORT, i64::from(p))));
    }
    attributes
}

fn scheme(request: &Request) -> &'static str {
    match request.uri().scheme_str() {
        Some("https") => "https",
        Some("http") | None => "http",
        // Made up by the client, and metrics have it.
        Some(_) => OTHER,
    }
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}
