//! One error type for the shop's routes, and how it is answered.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tonic::{Code, Status};

use crate::comms::breaker::Rejected;
use crate::comms::http::CallError;
use crate::comms::resilience::{Refused, Transient as _};
use crate::comms::{correlation, grpc, names};

/// A request that was not fulfilled.
#[derive(Debug)]
pub struct ShopError {
    pub status: StatusCode,
    pub message: String,
    /// When it is worth asking again.
    pub retry_after: Option<Duration>,
    /// The open breaker because of which it was not.
    pub breaker: Option<String>,
}

/// The body of such an answer, as far as another service of the shop reads it.
#[derive(serde::Deserialize)]
struct Told {
    error: String,
}

/// What a service of the shop said went wrong.
pub fn told(error: &CallError) -> String {
    let told = serde_json::from_str::<Told>(&error.body_excerpt);
    told.map_or_else(|_| error.body_excerpt.clone(), |told| told.error)
}

impl ShopError {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None, breaker: None }
    }

    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{what} not found"))
    }

    /// Because a breaker is open, here or further down: said at once, and with the time to come again.
    pub fn turned_away(breaker: &str, message: impl Into<String>, retry_after: Option<Duration>) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, message);
        Self { retry_after, breaker: Some(breaker.to_owned()), ..error }
    }
}

impl From<&Rejected> for ShopError {
    fn from(rejected: &Rejected) -> Self {
        let peer = rejected.peer.as_deref().unwrap_or(&rejected.breaker);
        let message = format!("{peer} is not available right now");
        Self::turned_away(&rejected.breaker, message, rejected.retry_after)
    }
}

impl From<CallError> for ShopError {
    /// What the caller can mend is passed on, and so is an open breaker's answer; the rest is ours.
    fn from(error: CallError) -> Self {
        if let Some(rejected) = error.rejected() {
            return rejected.into();
        }
        match (error.status(), &error.turned_away_by) {
            (Some(_), Some(breaker)) => Self::turned_away(breaker, told(&error), error.retry_after),
            (Some(status), None) if status.is_client_error() => Self::new(status, told(&error)),
            _ => Self::new(StatusCode::BAD_GATEWAY, "a service did not answer"),
        }
    }
}

impl From<Refused> for ShopError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Limited { retry_after } => {
                let error = Self::new(StatusCode::TOO_MANY_REQUESTS, refused.to_string());
                Self { retry_after: Some(retry_after), ..error }
            }
            Refused::Rejected(rejected) => (&rejected).into(),
            other => Self::new(StatusCode::SERVICE_UNAVAILABLE, other.to_string()),
        }
    }
}

impl From<Status> for ShopError {
    /// As of a call over REST.
    fn from(status: Status) -> Self {
        if let Some(breaker) = grpc::rejected_by(&status) {
            let message = format!("{breaker} is not available right now");
            return Self::turned_away(breaker, message, status.retry_after());
        }
        match status.code() {
            Code::NotFound => Self::new(StatusCode::NOT_FOUND, status.message()),
            Code::InvalidArgument => Self::new(StatusCode::BAD_REQUEST, status.message()),
            Code::FailedPrecondition => Self::new(StatusCode::CONFLICT, status.message()),
            _ => Self::new(StatusCode::BAD_GATEWAY, "a service did not answer"),
        }
    }
}

/// What callers hear of a failure inside: nothing of it.
const INTERNAL: &str = "something went wrong here";

impl From<anyhow::Error> for ShopError {
    fn from(error: anyhow::Error) -> Self {
        tracing::error!("request failed: {error:#}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, INTERNAL)
    }
}

/// The same over gRPC.
pub fn internal(error: anyhow::Error) -> Status {
    tracing::error!("request failed: {error:#}");
    Status::internal(INTERNAL)
}

impl IntoResponse for ShopError {
    fn into_response(self) -> Response {
        let id = correlation::current().map(|id| id.as_str().to_owned());
        let body = Json(json!({ "error": self.message, "correlation_id": id }));
        let mut response = (self.status, body).into_response();
        if let Some(wait) = self.retry_after {
            // In whole seconds, and not too early.
            let seconds = HeaderValue::from(wait.as_millis().div_ceil(1000) as u64);
            response.headers_mut().insert(header::RETRY_AFTER, seconds);
        }
        if let Some(name) = self.breaker.and_then(|name| HeaderValue::try_from(name).ok()) {
            response.headers_mut().insert(names::X_CIRCUIT_BREAKER, name);
        }
        response
    }
}
