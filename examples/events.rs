//! Parts of one service that tell each other what has happened by an event bus, and one of them in trouble.
//!
//! ```text
//! cargo run --example events --no-default-features --features comms -- http://127.0.0.1:4317
//! ```
//!
//! With a dashboard at that address, the trace shows who handled which event, under the correlation ID that is printed.

use std::sync::Arc;
use std::time::Duration;

use throughline::comms::bus::{Event, EventBus, Subscriber};
use throughline::comms::correlation::{self, CorrelationId};
use throughline::comms::queue::Failure;
use throughline::telemetry;

/// A customer has put something into the basket.
struct AddedToBasket {
    sku: &'static str,
}

impl Event for AddedToBasket {
    const NAME: &'static str = "basket.added";
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let telemetry = telemetry::init(&telemetry::Settings {
        otlp_endpoint: std::env::args().nth(1),
        ..telemetry::Settings::new("baskets", "1.0.0")
    })?;
    let bus = EventBus::new();
    bus.subscribe("suggestions", |added: Arc<AddedToBasket>| async move {
        tracing::info!(sku = added.sku, "what goes with it is looked up");
        Ok(())
    });
    // Fails at times: that is told, and is nobody else's trouble.
    bus.subscribe("prices", |added: Arc<AddedToBasket>| async move {
        if added.sku == "rug-wool" {
            return Err(Failure::permanent("no_price", "nobody has said what it costs"));
        }
        Ok(())
    });
    // Slow, with room for one event, and nobody waits for it: it misses some.
    let statistics = Subscriber::new("statistics").room(1).patience(Duration::ZERO);
    bus.subscribe_as(statistics, |_: Arc<AddedToBasket>| async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(())
    });

    let id = CorrelationId::generate("baskets");
    correlation::scope(id.clone(), async {
        for sku in ["lamp-brass", "rug-wool", "desk-oak", "vase-clay"] {
            match bus.publish(AddedToBasket { sku }).await {
                Ok(subscribers) => println!("{sku}: {subscribers} were told"),
                Err(error) => println!("{sku}: {error}"),
            }
        }
    })
    .await;
    bus.close().await;
    println!("all is handled; correlation ID {id}");
    telemetry.shutdown().await;
    Ok(())
}
