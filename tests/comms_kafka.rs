//! The contract of a broker on a real Kafka, and what only Kafka has to keep.

#![cfg(unix)]

mod broker_contract;
mod common;

use std::sync::Arc;

use broker_contract::Place;
use common::kafka::{Prefix, Server};
use throughline::comms::queue::{Broker, BrokerError, KafkaBroker, QueueSpec};

#[async_trait::async_trait]
impl Place for Prefix {
    async fn handle(&self) -> Arc<dyn Broker> {
        Arc::new(KafkaBroker::connect(self.settings()).await.expect("the broker is there"))
    }
}

async fn place() -> Prefix {
    Server::shared().await.prefix()
}

// All but `a_bounded_queue_lets_the_oldest_go`: Kafka bounds by bytes and time, so a length is refused.
contract! { place();
    a_message_crosses_from_one_handle_to_another_unchanged
    order_is_kept_and_every_bound_queue_gets_each_message_once
    what_nobody_wants_is_refused
    what_no_broker_carries_is_refused_by_name
    many_may_send_at_once_and_each_is_told_of_its_own
    a_dropped_delivery_returns
    a_slow_consumer_keeps_its_message
    a_retry_waits_and_then_ends_in_the_dead_letters_with_the_reason
    a_retry_keeps_what_belongs_to_the_message
    the_broker_ends_a_message_that_is_retried_without_end
    the_broker_ends_a_message_that_crashes_without_end
    a_message_without_dead_letters_is_dropped
    the_prefetch_bounds_what_is_unsettled
    two_consumers_share_a_queue_without_sharing_a_message
    nothing_is_lost_when_all_handles_are_closed
    many_may_declare_the_same_at_once
}

#[tokio::test(flavor = "multi_thread")]
async fn what_kafka_cannot_keep_is_refused_with_the_reason() {
    let broker = place().await.declared().await;
    let error = broker.declare_queue(&QueueSpec::durable("short").max_length(3)).await.expect_err("refused");
    assert!(error.to_string().contains("retention.bytes"), "{error}");
    for name in ["", "a b", "ü", ".."] {
        let error = broker.declare_exchange(name).await.err();
        assert!(name == ".." || matches!(error, Some(BrokerError::Invalid { .. })), "{name}: {error:?}");
    }
    let error = broker.declare_queue(&QueueSpec::durable("orders")).await.expect_err("one topic for two");
    assert!(matches!(&error, BrokerError::Conflict { name, .. } if name == "orders"), "{error}");
}
