//! What operators ask of the process: is it alive, is it ready, how does it do.
//!
//! `/livez` is the process alone; `/readyz` is the store readable and its queue below the mark; `/metrics` is
//! OpenMetrics. None of them is traced or counted itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::receive::counters::Counters;
use super::store::{Reader, Store};

/// Share of the queue, in percent, from which the process asks for no more.
const READY_BELOW: usize = 90;

/// What the three answers stand on.
pub struct Ops {
    store: Arc<Store>,
    registry: Registry,
    queued: Gauge<u64, AtomicU64>,
    capacity: Gauge<u64, AtomicU64>,
    bytes: Gauge<u64, AtomicU64>,
    /// Set when the process begins to end.
    pub closing: AtomicBool,
}

impl Ops {
    /// Registers what is measured.
    pub fn new(store: Arc<Store>, counters: Arc<Counters>) -> Self {
        let mut registry = Registry::with_prefix("throughline");
        counters.register(&mut registry);
        let (queued, capacity, bytes) = (Gauge::default(), Gauge::default(), Gauge::default());
        let part = registry.sub_registry_with_prefix("store");
        let latency = store.latency().histogram();
        part.register_with_unit(
            "commit_duration",
            "From taking a group up to its answers",
            Unit::Seconds,
            latency,
        );
        part.register("queue_batches", "Batches waiting for the writer", queued.clone());
        part.register("queue_capacity_batches", "Batches that may wait", capacity.clone());
        part.register_with_unit("size", "Size on disk", Unit::Bytes, bytes.clone());
        Self { store, registry, queued, capacity, bytes, closing: AtomicBool::new(false) }
    }
}

/// `/livez` and `/readyz`: open to everybody, since who probes has no key.
pub fn probes(ops: Arc<Ops>) -> Router {
    Router::new().route("/livez", get(|| async { "alive\n" })).route("/readyz", get(ready)).with_state(ops)
}

/// `/metrics`: for readers.
pub fn figures(ops: Arc<Ops>) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(ops)
}

async fn ready(State(ops): State<Arc<Ops>>) -> Response {
    let unready =
        |why: String| (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response();
    if ops.closing.load(Ordering::Relaxed) {
        return unready("shutting down".into());
    }
    match ops.store.holdings().await {
        Err(error) => unready(error.to_string()),
        Ok(holdings) if holdings.queued * 100 >= holdings.queue_capacity * READY_BELOW => {
            unready(format!("{} of {} batches wait for the writer", holdings.queued, holdings.queue_capacity))
        }
        Ok(_) => "ready\n".into_response(),
    }
}

async fn metrics(State(ops): State<Arc<Ops>>) -> Response {
    if let Ok(holdings) = ops.store.holdings().await {
        ops.queued.set(holdings.queued as u64);
        ops.capacity.set(holdings.queue_capacity as u64);
        ops.bytes.set(holdings.bytes);
    }
    let mut text = String::new();
    if encode(&mut text, &ops.registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}
