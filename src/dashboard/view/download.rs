//! A trace as a file: `/traces/{id}/otlp.json` and `/traces/{id}/jaeger.json`.

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::PageState;
use super::error::PageError;
use super::trace::{load, trace_id};
use crate::dashboard::query::export;

/// Handler of `GET /traces/{id}/otlp.json`.
pub async fn otlp(State(state): State<PageState>, Path(id): Path<String>) -> Result<Response, PageError> {
    let trace = load(&state, trace_id(&id)?).await?;
    Ok(file(&format!("trace-{}.otlp.json", trace.id), &export::otlp(&trace)))
}

/// Handler of `GET /traces/{id}/jaeger.json`.
pub async fn jaeger(State(state): State<PageState>, Path(id): Path<String>) -> Result<Response, PageError> {
    let trace = load(&state, trace_id(&id)?).await?;
    Ok(file(&format!("trace-{}.jaeger.json", trace.id), &export::jaeger(&trace)))
}

fn file(name: &str, content: &serde_json::Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    (headers, content.to_string()).into_response()
}
