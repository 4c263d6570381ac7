//! One error type for the shop's routes, and how it is answered.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tonic::Code;

use crate::comms::correlation;
use crate::comms::http::CallError;

/// A request that was not fulfilled.
#[derive(Debug)]
pub struct ShopError {
    pub status: StatusCode,
    pub message: String,
}

/// The body of such an answer, as far as another service of the shop reads it.
#[derive(serde::Deserialize)]
struct Told {
    error: String,
}

impl ShopError {
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("{what} not found"))
    }
}

impl From<CallError> for ShopError {
    /// What the caller can mend is passed on; the rest is ours.
    fn from(error: CallError) -> Self {
        match error.status() {
            Some(status) if status.is_client_error() => {
                let told = serde_json::from_str::<Told>(&error.body_excerpt);
                Self::new(status, told.map_or(error.body_excerpt, |told| told.error))
            }
            _ => Self::new(StatusCode::BAD_GATEWAY, "a service did not answer"),
        }
    }
}

impl From<tonic::Status> for ShopError {
    fn from(status: tonic::Status) -> Self {
        match status.code() {
            Code::NotFound => Self::not_found(status.message()),
            Code::InvalidArgument => Self::new(StatusCode::BAD_REQUEST, status.message()),
            _ => Self::new(StatusCode::BAD_GATEWAY, "a service did not answer"),
        }
    }
}

impl From<anyhow::Error> for ShopError {
    fn from(error: anyhow::Error) -> Self {
        tracing::error!("request failed: {error:#}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong here")
    }
}

impl IntoResponse for ShopError {
    fn into_response(self) -> Response {
        let id = correlation::current().map(|id| id.as_str().to_owned());
        (self.status, Json(json!({ "error": self.message, "correlation_id": id }))).into_response()
    }
}
