//! Requests held against a JSON Schema before a handler sees them, so that who sent a wrong one is told which field it is.
//!
//! ```
//! # fn main() -> anyhow::Result<()> {
//! use axum::routing::post;
//! use serde_json::json;
//! use throughline::comms::http::RequestSchema;
//!
//! let order = RequestSchema::new(&json!({
//!     "type": "object",
//!     "required": ["items"],
//!     "properties": { "items": { "type": "array", "minItems": 1 } },
//! }))?;
//! let problem = order.check(br#"{ "items": [] }"#).expect_err("no items");
//! assert_eq!(problem.status(), 422);
//! let routes: axum::Router = axum::Router::new().route("/orders", post(async || "placed")).layer(order.layer());
//! # Ok(()) }
//! ```
//!
//! | what came | answer, as `application/problem+json` |
//! |---|---|
//! | no JSON by its `Content-Type` | 415 |
//! | a body that is no JSON | 400, with line and column |
//! | longer than the limit of axum's `DefaultBodyLimit` | 413 |
//! | JSON that does not fit | 422, with `errors`: for each fault its `pointer` (RFC 6901) and what is wrong, and no value |
//!
//! Each is counted with its reason: [`METRIC_REQUESTS_REFUSED`](crate::comms::names::METRIC_REQUESTS_REFUSED).

use std::sync::Arc;
use std::task::{Context as Poller, Poll};

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest as _, MatchedPath, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::future::BoxFuture;
use jsonschema::Validator;
use serde_json::{Value, json};
use tower::{Layer, Service};

use super::problem::Problem;
use crate::comms::metrics::Refusals;

/// Faults that are told, and how long the text of each may be, in characters.
const MOST_FAULTS: usize = 10;
const LONGEST_FAULT: usize = 200;

/// What a request's body has to be like; cheap to clone.
#[derive(Clone, Debug)]
pub struct RequestSchema(Arc<Validator>);

impl RequestSchema {
    /// # Errors
    /// It is no JSON Schema, or refers to another document.
    pub fn new(schema: &Value) -> anyhow::Result<Self> {
        let validator = jsonschema::validator_for(schema)
            .map_err(|error| anyhow::anyhow!("the schema of a request: {error}"))?;
        Ok(Self(Arc::new(validator)))
    }

    /// Whether a body fits.
    ///
    /// # Errors
    /// What is wrong with it, as it is told to who sent it.
    pub fn check(&self, body: &[u8]) -> Result<(), Problem> {
        let value: Value = serde_json::from_slice(body).map_err(|error| {
            // By place alone: the text of an error may hold what was sent.
            let text = format!("the body is no JSON: line {}, column {}", error.line(), error.column());
            Problem::new(StatusCode::BAD_REQUEST, text)
        })?;
        let mut faults = self.0.iter_errors(&value).map(|fault| {
            let detail: String = fault.masked().to_string().chars().take(LONGEST_FAULT).collect();
            (fault.instance_path().to_string(), detail)
        });
        let told: Vec<(String, String)> = faults.by_ref().take(MOST_FAULTS).collect();
        let Some((pointer, detail)) = told.first() else { return Ok(()) };
        let at = if pointer.is_empty() { "the body" } else { pointer.as_str() };
        let more = if told.len() > 1 { ", and more is wrong" } else { "" };
        let text = format!("the request does not fit: {at}: {detail}{more}");
        let errors: Vec<Value> =
            told.iter().map(|(pointer, detail)| json!({ "pointer": pointer, "detail": detail })).collect();
        Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, text).with("errors", errors))
    }

    /// A layer for the routes that take such a body; requests without one (GET, HEAD, DELETE, OPTIONS) go through.
    pub fn layer(&self) -> SchemaLayer {
        SchemaLayer { schema: self.clone(), refusals: Refusals::default() }
    }

    /// The request with its body read, if that fits; otherwise what is told, and what is counted.
    async fn take(&self, request: Request) -> Result<Request, (Problem, &'static str)> {
        use axum::http::Method;
        if matches!(*request.method(), Method::GET | Method::HEAD | Method::DELETE | Method::OPTIONS) {
            return Ok(request);
        }
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let kind = kind.to_ascii_lowercase();
        if kind != "application/json" && !(kind.starts_with("application/") && kind.ends_with("+json")) {
            let text = "the body has to be JSON, and the header Content-Type to say so: application/json";
            return Err((Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text), "media_type"));
        }
        let (parts, body) = request.into_parts();
        let head = Request::from_parts(parts.clone(), body);
        // By axum's own way, for its limit.
        let body = Bytes::from_request(head, &()).await.map_err(|rejection| {
            let too_large = rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
            let reason = if too_large { "body_too_large" } else { "unreadable_body" };
            (Problem::new(rejection.status(), rejection.body_text()), reason)
        })?;
        self.check(&body).map_err(|problem| {
            let is_json = problem.status() == StatusCode::UNPROCESSABLE_ENTITY;
            (problem, if is_json { "schema" } else { "malformed_body" })
        })?;
        Ok(Request::from_parts(parts, Body::from(body)))
    }
}

/// See [`RequestSchema::layer`].
#[derive(Clone, Debug)]
pub struct SchemaLayer {
    schema: RequestSchema,
    refusals: Refusals,
}

impl<S> Layer<S> for SchemaLayer {
    type Service = Checked<S>;

    fn layer(&self, inner: S) -> Checked<S> {
        Checked { inner, layer: self.clone() }
    }
}

/// Routes with [`SchemaLayer`] around them.
#[derive(Clone, Debug)]
pub struct Checked<S> {
    inner: S,
    layer: SchemaLayer,
}

impl<S> Service<Request> for Checked<S>
where
    S: Service<Request, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response, S::Error>>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(poller)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let other = self.inner.clone();
        // The one that is ready; another takes its place.
        let mut inner = std::mem::replace(&mut self.inner, other);
        let SchemaLayer { schema, refusals } = self.layer.clone();
        Box::pin(async move {
            let route: Option<MatchedPath> = request.extensions().get().cloned();
            match schema.take(request).await {
                Ok(request) => inner.call(request).await,
                Err((problem, reason)) => {
                    refusals.count_at(route.as_ref(), reason);
                    Ok(problem.into_response())
                }
            }
        })
    }
}
