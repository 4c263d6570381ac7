//! The pages: routes, templates, live updates.
//!
//! * [`state`]: what the pages stand on, and the traits that the rest of the process fills in.
//! * [`visit`], [`frame`], [`range`](mod@range), [`zone`]: what is the same on every page.
//! * [`format`](mod@format), [`escape`]: how numbers, times and text look. Text from outside is escaped by every
//!   template.
//! * [`guard`], [`error`]: hosts, cross-site requests, headers, error pages.
//! * [`access`], [`login`]: who may read, and how a browser gets in and out.
//! * [`chart`], [`bars`], [`dots`]: SVG drawn here.
//! * [`overview`], [`traces`], [`logs`], [`trace`], [`download`], [`correlation`](mod@correlation), [`map`](mod@map),
//!   [`services`](mod@services), [`queues`], [`messages`], [`breakers`], [`scenarios`], [`search`], [`status`], [`connect`]: the pages;
//!   [`series`]: metrics for programs.
//! * [`operate`]: acting on messages; [`audit`]: what was done.
//! * [`api`]: all of it for programs, and its description.
//! * [`assets`], [`live`]: embedded files and the stream of changes; [`news`]: the row that counts what came since.
//!
//! A page is a file: its handler, with its template struct beside it; the template itself is in `templates/`.
//! What must not live here: SQL, wire types, what a trace means (that is `query`).

pub mod access;
pub mod api;
pub mod assets;
pub mod audit;
pub mod bars;
pub mod breakers;
pub mod chart;
pub mod connect;
pub mod correlation;
pub mod dots;
pub mod download;
pub mod error;
pub mod escape;
pub mod format;
pub mod frame;
pub mod guard;
pub mod html;
pub mod live;
pub mod login;
pub mod logs;
pub mod map;
pub mod messages;
pub mod news;
pub mod operate;
pub mod overview;
pub mod queues;
pub mod range;
pub mod scenarios;
pub mod search;
pub mod series;
pub mod services;
pub mod state;
pub mod status;
#[cfg(test)]
mod tests;
pub mod trace;
pub mod traces;
pub mod visit;
pub mod zone;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use tower_http::CompressionLevel;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

pub use state::{
    Health, MetricPoints, Minute, PageSettings, PageState, ReceiveStatus, Refused, Scenario, Scenarios,
    SourceStatus, StatusSource, TestTrace,
};

/// All pages. The caller adds what is not a page (`/livez`, `/readyz`, `/metrics`) and serves it.
pub fn router(state: PageState) -> Router {
    let pages = Router::new()
        .route("/traces", get(traces::list))
        .route("/traces/{id}", get(trace::show))
        .route("/logs", get(logs::list))
        .route("/search", get(search::search))
        .route("/correlations/{id}", get(correlation::correlation))
        .route("/", get(overview::show))
        .route("/map", get(map::show))
        .route("/services", get(services::list))
        .route("/services/{name}", get(services::show))
        .route("/status", get(status::show))
        .route("/breakers", get(breakers::list))
        .route("/breakers/one", get(breakers::one::show))
        .route("/scenarios", get(scenarios::list))
        .route("/queues", get(queues::list))
        .route("/queues/one", get(queues::one::show))
        .route("/messages", get(messages::list))
        .route("/messages/{id}", get(messages::one::show))
        .route("/audit", get(audit::show))
        .merge(operate::pages())
        .merge(api::pages())
        .fallback(nothing_here)
        .layer(from_fn_with_state(state.clone(), access::page));
    let data = Router::new()
        .route("/traces/new", get(traces::new_rows))
        .route("/traces/complete", get(traces::complete))
        .route("/traces/{id}/otlp.json", get(download::otlp))
        .route("/traces/{id}/jaeger.json", get(download::jaeger))
        .route("/logs/new", get(logs::new_rows))
        .route("/logs/otlp.jsonl", get(logs::download))
        .route("/messages/new", get(messages::new_rows))
        .route("/test-trace", post(connect::send_test_trace))
        .route("/scenarios/{name}/on", post(scenarios::switch_on))
        .route("/scenarios/{name}/off", post(scenarios::switch_off))
        .route("/live", get(live::live))
        .route("/api/map", get(map::show_data))
        .route("/api/audit", get(audit::data))
        .merge(operate::data())
        .merge(api::data())
        .route("/api/services", get(services::list_data))
        .route("/api/services/{name}", get(services::data))
        .route("/api/series", get(series::show))
        .route("/api/breakers", get(breakers::json::list))
        .route("/api/breakers/one", get(breakers::json::show))
        .route("/api/queues", get(queues::json::list))
        .route("/api/queues/one", get(queues::json::show))
        .route("/api/messages", get(messages::json::list))
        .route("/api/messages/{id}", get(messages::json::show))
        .route("/api/messages.json", get(messages::json::export))
        .route("/api/messages.csv", get(messages::json::csv))
        .layer(from_fn(api::known::parameters))
        .layer(from_fn_with_state(state.clone(), access::data));
    let open = Router::new()
        .route("/login", login::routes())
        .route("/logout", post(login::log_out))
        .route("/static/{hash}/{name}", get(assets::serve));
    pages
        .merge(data)
        .merge(open)
        .layer(from_fn_with_state(state.clone(), guard::admit))
        .layer(CatchPanicLayer::new())
        .layer(from_fn_with_state(state.clone(), guard::draw_errors))
        .layer(from_fn(guard::headers))
        // A page is made anew for each look, and packed as often: the level that costs least.
        .layer(CompressionLayer::new().gzip(true).quality(CompressionLevel::Fastest))
        .with_state(state)
}

/// `router` for those only who may read the pages.
pub fn for_readers(router: Router, state: &PageState) -> Router {
    router.layer(from_fn_with_state(state.clone(), access::data))
}

/// Any address that is no page.
async fn nothing_here() -> error::PageError {
    error::PageError::missing("There is no such page", "No page has this address.")
}
