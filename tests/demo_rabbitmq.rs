//! The demo shop over a real RabbitMQ, end to end: the same stories as over the embedded broker, told of RabbitMQ.

#![cfg(unix)]

mod common;
mod demo_support;

use std::collections::BTreeSet;

use common::rabbitmq::Server;
use demo_support::story::{count, declined_story, place, wait_for_status};
use demo_support::{Demo, Receiver};
use throughline::comms::names;
use throughline::comms::queue::rabbitmq::Settings;
use throughline::comms::queue::{Broker as _, RabbitMqBroker};

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_and_a_declined_order_go_over_rabbitmq() {
    let server = Server::shared().await;
    let host = server.virtual_host().await;
    let (receiver, otlp) = Receiver::start().await;
    let mut demo = Demo::start_with(otlp, &[format!("--rabbitmq={}", host.url())]);

    let order = place(&demo, "rabbit-good-1", "tok_visa").await;
    wait_for_status(&demo, &order, "paid").await;
    let spans = receiver
        .spans("rabbit-good-1", |spans| {
            count(spans, "process orders.payments") == 1 && count(spans, "process analytics.events") == 2
        })
        .await;
    let traces: BTreeSet<_> = spans.iter().map(|s| &s.span.trace_id).collect();
    assert_eq!(traces.len(), 1, "one trace holds all of it, across the broker");
    let send = spans.iter().find(|s| s.span.name == "send orders:order.placed").expect("a producer");
    let charge = spans.iter().find(|s| s.span.name == "process payments.charge").expect("a consumer");
    for (span, destination) in
        [(send, "orders:order.placed"), (charge, "orders:order.placed:payments.charge")]
    {
        assert_eq!(span.text(names::MESSAGING_SYSTEM), "rabbitmq");
        assert_eq!(span.text(names::MESSAGING_DESTINATION_NAME), destination);
        assert_eq!(span.text(names::SERVER_ADDRESS), "127.0.0.1");
        assert_eq!(span.text(names::SERVER_PORT), server.port().to_string());
    }
    assert_eq!(charge.span.parent_span_id, send.span.span_id);
    assert_eq!(charge.text(names::MESSAGING_MESSAGE_ID), send.text(names::MESSAGING_MESSAGE_ID));

    let spans = declined_story(&receiver, &demo, "rabbit-declined-1").await;
    // The retries came by way of the queues that they waited in, and are told of as what they are.
    for charge in spans.iter().filter(|s| s.span.name == "process payments.charge") {
        assert_eq!(charge.text(names::MESSAGING_SYSTEM), "rabbitmq");
        assert_eq!(charge.text(names::MESSAGING_DESTINATION_NAME), "orders:order.placed:payments.charge");
    }
    let broker =
        RabbitMqBroker::connect(Settings::new(&host.url(), "test")).await.expect("the broker is there");
    let mut dead = broker.consume("orders.dlq", 1).await.expect("a consumer");
    let letter =
        tokio::time::timeout(demo_support::SOON, dead.next()).await.expect("in time").expect("a letter");
    assert_eq!(letter.message.correlation_id.as_str(), "rabbit-declined-1");
    let headers = &letter.message.headers;
    assert_eq!(headers[names::HEADER_DEATH_REASON], "card_declined: do_not_honor");
    assert_eq!(headers[names::HEADER_DEATH_QUEUE], "payments.charge");
    assert_eq!(headers[names::HEADER_DEATH_DELIVERIES], "3");
    letter.ack().await.expect("ack");
    let queue = host.queue("payments.charge").await;
    assert_eq!(queue["arguments"]["x-dead-letter-routing-key"], "orders.dlq", "{queue}");
    assert!(!demo.dir.path().join("broker.db").exists(), "the embedded broker is not used");

    demo.signal("-INT");
    let (code, stderr) = demo.wait();
    assert_eq!(code, Some(0), "{stderr}");
    demo.assert_all_gone();
}

#[test]
fn a_rabbitmq_that_is_not_there_is_told_in_one_line_without_the_password() {
    let dir = tempfile::tempdir().expect("a folder");
    let output = Demo::command(&dir)
        .args(
            ["gateway", "orders", "users", "payments", "inventory", "notifications", "analytics"]
                .map(|name| format!("--{name}-port=0")),
        )
        .env("THROUGHLINE_RABBITMQ", "amqp://shop:s3cret@127.0.0.1:1/%2F")
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for part in ["--rabbitmq", "--rabbitmq-ca", "127.0.0.1:1", "refused"] {
        assert!(stderr.contains(part), "{part}: {stderr}");
    }
    assert!(!stderr.contains("s3cret"), "{stderr}");
}
