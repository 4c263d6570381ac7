//! From a template to an answer.

use askama::Template;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::error::PageError;

/// What a handler of a page returns.
pub type PageResult = Result<Response, PageError>;

/// The template as an HTML answer.
pub fn page(template: &impl Template) -> PageResult {
    let text = template.render().map_err(|error| {
        tracing::error!(%error, "a template failed");
        PageError::Internal
    })?;
    Ok(([(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response())
}
