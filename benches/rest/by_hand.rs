//! Spans, metrics and their context around axum and reqwest by the OpenTelemetry crates alone, as their documentation has it: a
//! CLIENT and a SERVER span with the attributes that the semantic conventions require, a histogram on each side. No correlation
//! ID, deadline, retry, breaker, limit or error that tells more than reqwest's.

use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::Response;
use opentelemetry::context::FutureExt as _;
use opentelemetry::metrics::Histogram;
use opentelemetry::propagation::{Extractor, Injector};
use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, global};
use serde_json::Value;

const SCOPE: &str = "by-hand";

struct Headers<'a>(&'a mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

struct Sent<'a>(&'a HeaderMap);

impl Extractor for Sent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

/// A client for one address.
pub struct Client {
    client: reqwest::Client,
    url: reqwest::Url,
    duration: Histogram<f64>,
}

impl Client {
    pub fn new(client: reqwest::Client, url: String) -> Self {
        let duration =
            global::meter(SCOPE).f64_histogram("http.client.request.duration").with_unit("s").build();
        Self { client, url: url.parse().expect("a URL"), duration }
    }

    pub async fn post(&self, body: &Value) -> Value {
        let began = Instant::now();
        let tracer = global::tracer(SCOPE);
        let span = tracer.build(tracer.span_builder("POST").with_kind(SpanKind::Client).with_attributes([
            KeyValue::new("http.request.method", "POST"),
            KeyValue::new("url.full", self.url.to_string()),
            KeyValue::new("server.address", self.url.host_str().unwrap_or_default().to_owned()),
            KeyValue::new("server.port", i64::from(self.url.port().unwrap_or(80))),
        ]));
        let context = Context::current_with_span(span);
        let mut headers = HeaderMap::new();
        global::get_text_map_propagator(|p| p.inject_context(&context, &mut Headers(&mut headers)));
        let call = async {
            let answer = self.client.post(self.url.clone()).headers(headers).json(body).send().await;
            let answer = answer.expect("an answer").error_for_status().expect("200");
            let status = i64::from(answer.status().as_u16());
            (status, answer.json().await.expect("JSON"))
        };
        let (status, answer) = call.with_context(context.clone()).await;
        let status = KeyValue::new("http.response.status_code", status);
        context.span().set_attribute(status.clone());
        let attributes = [KeyValue::new("http.request.method", "POST"), status];
        self.duration.record(began.elapsed().as_secs_f64(), &attributes);
        context.span().end();
        answer
    }
}

/// Routes with a span and a metric for each request.
pub fn traced(routes: Router) -> Router {
    let duration = global::meter(SCOPE).f64_histogram("http.server.request.duration").with_unit("s").build();
    routes.layer(middleware::from_fn_with_state(duration, serve))
}

async fn serve(
    State(duration): State<Histogram<f64>>,
    route: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let caller = global::get_text_map_propagator(|p| p.extract(&Sent(request.headers())));
    let (method, route) = (request.method().to_string(), route.map(|route| route.as_str().to_owned()));
    let route = route.unwrap_or_default();
    let tracer = global::tracer(SCOPE);
    let span =
        tracer.span_builder(format!("{method} {route}")).with_kind(SpanKind::Server).with_attributes([
            KeyValue::new("http.request.method", method.clone()),
            KeyValue::new("url.path", request.uri().path().to_owned()),
            KeyValue::new("url.scheme", "http"),
            KeyValue::new("http.route", route.clone()),
        ]);
    let context = caller.with_span(tracer.build_with_context(span, &caller));
    let response = next.run(request).with_context(context.clone()).await;
    let status = KeyValue::new("http.response.status_code", i64::from(response.status().as_u16()));
    context.span().set_attribute(status.clone());
    let attributes =
        [KeyValue::new("http.request.method", method), KeyValue::new("http.route", route), status];
    duration.record(began.elapsed().as_secs_f64(), &attributes);
    context.span().end();
    response
}
