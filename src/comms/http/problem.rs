//! Answers that say what went wrong: `application/problem+json`, RFC 9457, with the correlation ID.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use crate::comms::{correlation, names};

/// The media type of such an answer.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// What went wrong with a request, for who made it: no value of the request and nothing of the inside belongs into it.
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    more: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// A problem whose title is the status's own words; `detail` says what is wrong with this request.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), more: Map::new(), headers: Vec::new() }
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// A further member of the body.
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.more.insert(member.to_owned(), value.into());
        self
    }

    /// A header of the answer, in place of another of its name.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value));
        self
    }

    /// When it is worth asking again: in whole seconds, and not too early.
    pub fn retry_after(self, wait: Duration) -> Self {
        let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Names the open breaker because of which there is no better answer.
    pub fn breaker(self, name: &str) -> Self {
        match HeaderValue::try_from(name) {
            Ok(value) => self.header(HeaderName::from_static(names::X_CIRCUIT_BREAKER), value),
            Err(_) => self,
        }
    }

    /// The body's members.
    pub fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        body.insert("title".into(), self.status.canonical_reason().unwrap_or("Error").into());
        body.insert("status".into(), self.status.as_u16().into());
        body.insert("detail".into(), self.detail.clone().into());
        if let Some(id) = correlation::current() {
            body.insert("correlation_id".into(), id.as_str().into());
        }
        body.extend(self.more.clone());
        body
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(Value::Object(self.body()).to_string()));
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        response
    }
}
