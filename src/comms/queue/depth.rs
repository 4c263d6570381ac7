//! How many messages wait, as metrics: for brokers that nobody else can ask, such as the embedded one.
//!
//! The names are those of the OpenTelemetry Collector's RabbitMQ receiver, so that who reads the one reads the other.
//! What is not known is not told: the embedded broker does not count consumers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use opentelemetry::{KeyValue, global};
use tokio_util::sync::CancellationToken;

use super::broker::{Broker, BrokerError, QueueStats};
use crate::comms::{SCOPE, names};

/// Between two looks at the broker.
const EVERY: Duration = Duration::from_secs(5);

/// Tells the depths of a broker's queues until `stop`. One process of those that share a broker is enough.
///
/// # Errors
/// None so far: while the broker does not answer, nothing is told.
pub async fn tell(broker: Arc<dyn Broker>, stop: CancellationToken) -> Result<(), BrokerError> {
    let known: Arc<Mutex<Vec<QueueStats>>> = Arc::default();
    gauge(broker.system(), &known);
    loop {
        let stats = broker.queues().await.unwrap_or_default();
        *known.lock().unwrap_or_else(PoisonError::into_inner) = stats;
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

fn gauge(system: &'static str, known: &Arc<Mutex<Vec<QueueStats>>>) {
    let known = Arc::downgrade(known);
    global::meter(SCOPE)
        .u64_observable_gauge(names::METRIC_QUEUE_MESSAGES)
        .with_unit("{messages}")
        .with_description("Messages in a queue by their state")
        .with_callback(move |gauge| {
            // Nobody looks at the broker any more: nothing is known.
            let Some(known) = known.upgrade() else { return };
            for queue in known.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                let states =
                    [("ready", queue.ready), ("unacknowledged", queue.unsettled), ("delayed", queue.delayed)];
                for (state, messages) in states {
                    let attributes = [
                        KeyValue::new(names::QUEUE_NAME, queue.name.clone()),
                        KeyValue::new(names::QUEUE_BROKER, system),
                        KeyValue::new(names::QUEUE_MESSAGE_STATE, state),
                    ];
                    gauge.observe(messages, &attributes);
                }
            }
        })
        .build();
}
