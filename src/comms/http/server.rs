//! Middleware for the routes that a service serves: one SERVER span per request, joined to the caller's.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Version, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use opentelemetry::context::FutureExt as _;
use opentelemetry::metrics::Histogram;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Array, KeyValue, StringValue, Value, global};

use super::redact;
use crate::comms::correlation::{self, CorrelationId};
use crate::comms::propagation;
use crate::comms::{SCOPE, deadline, names};

#[derive(Clone)]
struct Instrument {
    service: Arc<str>,
    duration: Histogram<f64>,
}

/// Adds spans, metrics and the correlation ID to all routes that the router has by now.
///
/// Routes that only a supervisor asks for (`/livez`, `/readyz`) belong after this call: they are noise.
pub fn instrument<S: Clone + Send + Sync + 'static>(router: Router<S>, service_name: &str) -> Router<S> {
    let duration = global::meter(SCOPE)
        .f64_histogram("http.server.request.duration")
        .with_unit("s")
        .with_description("Duration of requests served")
        .build();
    let state = Instrument { service: service_name.into(), duration };
    router.layer(middleware::from_fn_with_state(state, serve))
}

async fn serve(
    State(instrument): State<Instrument>,
    matched: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let incoming = propagation::extract_headers(request.headers());
    let id = incoming.id_or_new(&instrument.service);
    let route = matched.as_ref().map(MatchedPath::as_str);
    let method = request.method().clone();
    let name = route.map_or_else(|| method.to_string(), |route| format!("{method} {route}"));
    let tracer = global::tracer(SCOPE);
    let span = tracer.build_with_context(
        tracer.span_builder(name).with_kind(SpanKind::Server).with_attributes(
            request_attributes(&request, route, &id).into_iter().chain(incoming.refused_attribute()),
        ),
        &incoming.context,
    );
    let context = incoming.context.with_span(span);
    let started = Instant::now();

    let until = deadline::of(request.headers());
    let work = correlation::scope(id.clone(), next.run(request).with_context(context.clone()));
    let mut response = match until {
        Some(until) => deadline::scope(until, work).await,
        None => work.await,
    };

    let status = response.status();
    let code = KeyValue::new(names::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16()));
    let span = context.span();
    span.set_attribute(code.clone());
    let mut measured = vec![KeyValue::new(names::HTTP_REQUEST_METHOD, method.to_string()), code];
    measured.extend(route.map(|route| KeyValue::new(names::HTTP_ROUTE, route.to_owned())));
    if status.is_server_error() {
        let error_type = KeyValue::new(names::ERROR_TYPE, status.as_u16().to_string());
        span.set_attribute(error_type.clone());
        span.set_status(Status::error(status.canonical_reason().unwrap_or_default()));
        measured.push(error_type);
    }
    instrument.duration.record(started.elapsed().as_secs_f64(), &measured);
    span.end();
    if let Ok(value) = HeaderValue::try_from(id.as_str()) {
        response.headers_mut().insert(names::X_CORRELATION_ID, value);
    }
    response
}

fn request_attributes(request: &Request, route: Option<&str>, id: &CorrelationId) -> Vec<KeyValue> {
    let uri = request.uri();
    let text = |name| request.headers().get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    let mut attributes = vec![
        KeyValue::new(names::HTTP_REQUEST_METHOD, request.method().to_string()),
        KeyValue::new(names::URL_PATH, uri.path().to_owned()),
        KeyValue::new(names::URL_SCHEME, uri.scheme_str().unwrap_or("http").to_owned()),
        KeyValue::new(names::CORRELATION_ID, id.as_str().to_owned()),
        KeyValue::new(names::NETWORK_PROTOCOL_VERSION, protocol(request.version())),
    ];
    attributes.extend(route.map(|route| KeyValue::new(names::HTTP_ROUTE, route.to_owned())));
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

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}
