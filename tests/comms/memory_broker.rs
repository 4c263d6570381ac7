//! The contract of a broker on the one in memory that tests of services use.

use std::sync::Arc;
use std::time::Duration;

use crate::broker_contract::{self, Place};
use throughline::comms::queue::{Broker, EmbeddedBroker};
use throughline::comms::testing::memory_broker;

/// One broker; its handles are clones.
struct Memory(EmbeddedBroker);

impl Memory {
    async fn new() -> Self {
        Self(EmbeddedBroker::in_memory(Duration::from_millis(300)).await.expect("a broker"))
    }
}

#[async_trait::async_trait]
impl Place for Memory {
    async fn handle(&self) -> Arc<dyn Broker> {
        Arc::new(self.0.clone())
    }
}

contract!(Memory::new());

#[tokio::test]
async fn two_brokers_know_nothing_of_each_other() {
    let (one, other) = (memory_broker().await.expect("a broker"), memory_broker().await.expect("a broker"));
    one.declare_exchange("orders").await.expect("an exchange");
    let error =
        other.publish("orders", "order.placed", &broker_contract::message(1)).await.expect_err("unknown");
    assert_eq!(error.kind(), "no_exchange");
}
