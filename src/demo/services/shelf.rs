//! What follows within the inventory service when stock has left it: two parts that know its event and nothing of each other.

use std::sync::Arc;

use opentelemetry::KeyValue;

use crate::comms::bus::{Event, EventBus};
use crate::comms::queue::Failure;
use crate::demo::world::{Outside, Pace, step};

/// The stock of an order has left the shelf.
pub(super) struct StockCommitted {
    pub order_id: String,
    /// What ran low by it and is ordered anew.
    pub ran_low: Vec<String>,
}

impl Event for StockCommitted {
    const NAME: &'static str = "stock.committed";
}

/// A bus with those who listen.
pub(super) fn bus(pace: Pace) -> EventBus {
    let bus = EventBus::new();
    bus.subscribe("labels", move |event: Arc<StockCommitted>| async move {
        step("print labels", about(&event), pace.pause(1..6)).await;
        Ok(())
    });
    bus.subscribe("purchasing", move |event: Arc<StockCommitted>| purchase(pace, event));
    bus
}

fn about(event: &StockCommitted) -> Vec<KeyValue> {
    vec![KeyValue::new("order.id", event.order_id.clone())]
}

async fn purchase(pace: Pace, event: Arc<StockCommitted>) -> Result<(), Failure> {
    for sku in &event.ran_low {
        let attributes = vec![KeyValue::new("product.sku", sku.clone())];
        let call = Outside { peer: "supplier", operation: "order goods", attributes, takes: 30..120 };
        call.call(pace, Ok(())).await?;
        tracing::info!(sku, "goods ordered from the supplier");
    }
    Ok(())
}
