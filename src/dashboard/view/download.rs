//! Files: a trace at `/traces/{id}/otlp.json` and `/traces/{id}/jaeger.json`, and what every export is made of.

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
    Ok(json(&format!("trace-{}.otlp.json", trace.id), &export::otlp(&trace)))
}

/// Handler of `GET /traces/{id}/jaeger.json`.
pub async fn jaeger(State(state): State<PageState>, Path(id): Path<String>) -> Result<Response, PageError> {
    let trace = load(&state, trace_id(&id)?).await?;
    Ok(json(&format!("trace-{}.jaeger.json", trace.id), &export::jaeger(&trace)))
}

fn json(name: &str, content: &serde_json::Value) -> Response {
    file(name, "application/json", content.to_string())
}

/// An answer that a browser keeps as a file.
pub fn file(name: &str, kind: &'static str, content: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, kind.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")),
    ];
    (headers, content).into_response()
}

/// A text that a spreadsheet takes for one: what it would take for a formula gets a quote before it
/// (<https://owasp.org/www-community/attacks/CSV_Injection>), and NUL, which ends a text for some, its picture.
pub fn no_formula(text: &str) -> String {
    let is_formula =
        text.trim_start().starts_with(['=', '+', '-', '@']) || text.starts_with(['\t', '\r', '\n']);
    format!("{}{}", if is_formula { "'" } else { "" }, text.replace('\0', "\u{2400}"))
}

/// A field of CSV in quotes (RFC 4180).
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}
