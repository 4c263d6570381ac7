//! Testing a service that is built on the toolkit: messages in memory, a neighbour that fails when it is to, and
//! assertions over the spans of one correlation ID.
//!
//! ```text
//! cargo run --example testing --no-default-features --features comms
//! ```

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::get;
use axum::{Json, Router};
use opentelemetry::trace::SpanKind;
use throughline::comms::correlation::{self, CorrelationId};
use throughline::comms::http::{ServiceHttpClient, instrument};
use throughline::comms::names;
use throughline::comms::queue::{Broker, Consumer, Failure, Message, Publisher, QueueSpec, Received};
use throughline::comms::testing::{Faults, memory_broker};
use throughline::telemetry::testing::SpanRecorder;
use tokio_util::sync::CancellationToken;

/// What is tested: a handler that asks the stock before it packs a parcel.
async fn pack(stock: ServiceHttpClient, _order: Received) -> Result<(), Failure> {
    let left: u32 =
        stock.get("/stock").await.map_err(|error| Failure::transient("stock", error.to_string()))?;
    tracing::debug!(left, "packed");
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let recorder = SpanRecorder::install();

    // The neighbour, whose faults can be switched off while it runs.
    let faults = Faults::default().with(|| Ok(StatusCode::INTERNAL_SERVER_ERROR.into_response()));
    let routes = Router::new().route("/stock", get(|| async { Json(3) })).layer(faults.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let stock = ServiceHttpClient::new(&format!("http://{}", listener.local_addr()?), "packing")?;
    let neighbour = tokio::spawn(async move { axum::serve(listener, instrument(routes, "stock")).await });

    // The queue, without a server and without a file.
    let broker: Arc<dyn Broker> = Arc::new(memory_broker().await?);
    broker.declare_exchange("orders").await?;
    broker.declare_queue(&QueueSpec::durable("packing")).await?;
    broker.bind("orders", "order.placed", "packing").await?;
    let stop = CancellationToken::new();
    let consumer = Consumer::new(Arc::clone(&broker), "packing");
    let packing = tokio::spawn(consumer.run(stop.clone(), move |order| pack(stock.clone(), order)));

    // One order, while the neighbour is broken; it heals once it was asked.
    let id = CorrelationId::generate("test");
    let order = correlation::scope(id.clone(), async { Message::json("order.placed", 1, &"lamp") }).await?;
    Publisher::new(Arc::clone(&broker)).publish("orders", "order.placed", order).await?;
    let soon = Duration::from_secs(20);
    recorder.wait(&id, soon, |spans| spans.count("process packing") == 1).await;
    faults.off();
    let spans = recorder.wait(&id, soon, |spans| spans.count("process packing") == 2).await;

    // What a test would say of it.
    let handled: Vec<_> = spans.iter().filter(|span| span.0.span_kind == SpanKind::Consumer).collect();
    handled[0].has(names::SETTLE_OUTCOME, names::OUTCOME_RETRY).has_event(names::EVENT_RETRIED);
    handled[1].is_fine().has(names::SETTLE_OUTCOME, names::OUTCOME_ACK).has(names::DELIVERY_NUMBER, 2);
    spans.one("send orders:order.placed").is_fine();
    println!(
        "{} spans under {id}: the first delivery failed with its neighbour, the second did not",
        spans.len()
    );

    stop.cancel();
    packing.await??;
    neighbour.abort();
    Ok(())
}
