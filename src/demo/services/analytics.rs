//! Counts what happens, by type of message.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use opentelemetry::KeyValue;
use utoipa::OpenApi;

use super::errors::ShopError;
use crate::comms::queue::{Failure, Received};
use crate::demo::database::counts::Counts;
use crate::demo::documents;
use crate::demo::service::{Parts, Shared};
use crate::demo::shop::{ServiceName, queues};
use crate::demo::world::{Pace, step};

pub async fn build(shared: &Shared) -> anyhow::Result<Parts> {
    let counts = Counts::open(&shared.settings).await?;
    let (pace, counted) = (shared.pace, counts.clone());
    let events = shared.consumer(queues::ANALYTICS_EVENTS, move |received| {
        let counted = counted.clone();
        async move { count(pace, &counted, &received).await }
    });
    let router = Router::new().route("/counts", get(show)).with_state(counts);
    let router = shared.instrument(router).merge(documents::routes(document()));
    Ok(Parts { router, consumers: vec![events] })
}

/// How often each type of message came
#[utoipa::path(get, path = "/counts", responses((status = 200, body = BTreeMap<String, u64>)))]
async fn show(State(counts): State<Counts>) -> Result<Json<BTreeMap<String, u64>>, ShopError> {
    Ok(Json(counts.all().await?))
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
    counts.count(received).await
}
