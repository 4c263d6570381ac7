//! `/api`: what the pages show, for programs, and the document that describes it.
//!
//! Each operation stands in the [`catalogue`] with its parameters and its answer; the OpenAPI [`document`] and the [`page`]
//! are made of it. What an answer looks like is written in [`schemas`] with the words of [`schema`]. Answers of pages that are rooms
//! of their own (`queues::json`, `breakers::json` and so on) are made there; [`traces`], [`logs`], [`story`] and [`now`] are made here.
//! [`known`] refuses parameters that an
//! operation does not have. Errors are JSON for every address under `/api` ([`super::guard`]).
//!
//! What must not live here: another way to find things than the pages have.

mod catalogue;
mod document;
pub mod known;
mod logs;
mod now;
mod operation;
mod page;
mod schema;
mod schemas;
mod story;
pub mod traces;

use axum::Json;
use axum::Router;
use axum::routing::{get, post};
use serde_json::Value;

use super::PageState;
use super::error::PageError;
use super::visit::Visit;

/// The page, for people.
pub fn pages() -> Router<PageState> {
    Router::new().route("/api", get(page::show))
}

/// What is answered here.
pub fn data() -> Router<PageState> {
    Router::new()
        .route("/api/openapi.json", get(openapi))
        .route("/api/traces", get(traces::list))
        .route("/api/traces/{id}", get(traces::show))
        .route("/api/logs", get(logs::list))
        .route("/api/correlations/{id}", get(story::show))
        .route("/api/overview", get(now::overview))
        .route("/api/status", get(now::status))
        .route("/api/search", get(now::search))
        .route("/api/scenarios", get(now::scenarios))
        .route("/api/scenarios/{name}/on", post(now::switch_on))
        .route("/api/scenarios/{name}/off", post(now::switch_off))
}

/// Handler of `GET /api/openapi.json`.
async fn openapi(_: Visit) -> Result<Json<&'static Value>, PageError> {
    Ok(Json(&document::DOCUMENT))
}
