//! Counts what happens, by type of message.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::routing::get;
use axum::{Json, Router};
use opentelemetry::KeyValue;

use crate::comms::queue::{Failure, Received};
use crate::demo::service::{Parts, Shared};
use crate::demo::shop::queues;
use crate::demo::world::{Pace, step};

type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

pub fn build(shared: &Shared) -> Parts {
    let counts = Counts::default();
    let (pace, counted) = (shared.pace, Arc::clone(&counts));
    let events = shared.consumer(queues::ANALYTICS_EVENTS, move |received| {
        let counted = Arc::clone(&counted);
        async move { count(pace, &counted, &received).await }
    });
    let show = move || async move { Json(counts.lock().unwrap_or_else(PoisonError::into_inner).clone()) };
    let router = Router::new().route("/counts", get(show));
    Parts { router: shared.instrument(router), consumers: vec![events] }
}

async fn count(pace: Pace, counts: &Counts, received: &Received) -> Result<(), Failure> {
    // One of those that have a contract.
    let kind = &received.message.kind;
    step("aggregate", vec![KeyValue::new("event.type", kind.clone())], pace.pause(1..12)).await;
    *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(kind.clone()).or_default() += 1;
    Ok(())
}
