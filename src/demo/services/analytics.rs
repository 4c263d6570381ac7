//! Counts what happens, by type of message.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use opentelemetry::KeyValue;
use utoipa::OpenApi;

use crate::comms::queue::{Failure, Received};
use crate::demo::documents;
use crate::demo::service::{Parts, Shared};
use crate::demo::shop::{ServiceName, queues};
use crate::demo::world::{Pace, step};

type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

pub fn build(shared: &Shared) -> Parts {
    let counts = Counts::default();
    let (pace, counted) = (shared.pace, Arc::clone(&counts));
    let events = shared.consumer(queues::ANALYTICS_EVENTS, move |received| {
        let counted = Arc::clone(&counted);
        async move { count(pace, &counted, &received).await }
    });
    let router = Router::new().route("/counts", get(show)).with_state(counts);
    let router = shared.instrument(router).merge(documents::routes(document()));
    Parts { router, consumers: vec![events] }
}

/// How often each type of message came
#[utoipa::path(get, path = "/counts", responses((status = 200, body = BTreeMap<String, u64>)))]
async fn show(State(counts): State<Counts>) -> Json<BTreeMap<String, u64>> {
    Json(counts.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// What the service offers, for who calls it.
#[derive(OpenApi)]
#[openapi(paths(show))]
struct Document;

pub fn document() -> utoipa::openapi::OpenApi {
    documents::named(Document::openapi(), ServiceName::Analytics)
}

async fn count(pace: Pace, counts: &Counts, received: &Received) -> Result<(), Failure> {
    // One of those that have a contract.
    let kind = &received.message.kind;
    step("aggregate", vec![KeyValue::new("event.type", kind.clone())], pace.pause(1..12)).await;
    *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(kind.clone()).or_default() += 1;
    Ok(())
}
