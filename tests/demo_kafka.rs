//! The demo shop over a real Kafka, end to end: the same stories as over the embedded broker, told of Kafka.

#![cfg(unix)]

mod common;
mod demo_support;

use std::collections::BTreeSet;

use common::kafka::Server;
use demo_support::story::{count, declined_story, place, wait_for_status};
use demo_support::{Demo, Receiver};
use throughline::comms::names;
use throughline::comms::queue::kafka::Settings;
use throughline::comms::queue::{Broker as _, KafkaBroker};

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_and_a_declined_order_go_over_kafka() {
    let server = Server::shared().await;
    let (receiver, otlp) = Receiver::start().await;
    let mut demo = Demo::start_with(otlp, &[format!("--kafka={}", server.address())]);

    let order = place(&demo, "kafka-good-1", "tok_visa").await;
    wait_for_status(&demo, &order, "paid").await;
    let spans = receiver
        .spans("kafka-good-1", |spans| {
            count(spans, "process orders.payments") == 1 && count(spans, "process analytics.events") == 2
        })
        .await;
    let traces: BTreeSet<_> = spans.iter().map(|s| &s.span.trace_id).collect();
    assert_eq!(traces.len(), 1, "one trace holds all of it, across the broker");
    let send = spans.iter().find(|s| s.span.name == "send orders:order.placed").expect("a producer");
    let charge = spans.iter().find(|s| s.span.name == "process payments.charge").expect("a consumer");
    for span in [send, charge] {
        assert_eq!(span.text(names::MESSAGING_SYSTEM), "kafka");
        assert_eq!(span.text(names::SERVER_ADDRESS), "127.0.0.1");
    }
    assert_eq!(charge.text(names::MESSAGING_CONSUMER_GROUP_NAME), "payments.charge");
    assert_eq!(charge.span.parent_span_id, send.span.span_id);

    declined_story(&receiver, &demo, "kafka-declined-1").await;
    let broker =
        KafkaBroker::connect(Settings::new(&server.address(), "test")).await.expect("the broker is there");
    let mut dead = broker.consume("orders.dlq", 1).await.expect("a consumer");
    let letter =
        tokio::time::timeout(demo_support::SOON, dead.next()).await.expect("in time").expect("a letter");
    assert_eq!(letter.message.correlation_id.as_str(), "kafka-declined-1");
    let headers = &letter.message.headers;
    assert_eq!(headers[names::HEADER_DEATH_REASON], "card_declined: do_not_honor");
    assert_eq!(headers[names::HEADER_DEATH_QUEUE], "payments.charge");
    assert_eq!(headers[names::HEADER_DEATH_DELIVERIES], "3");
    letter.ack().await.expect("ack");
    assert!(!demo.dir.path().join("broker.db").exists(), "the embedded broker is not used");

    demo.signal("-INT");
    let (code, stderr) = demo.wait();
    assert_eq!(code, Some(0), "{stderr}");
    demo.assert_all_gone();
}

#[test]
fn a_kafka_that_is_not_there_and_two_brokers_are_told_in_one_line() {
    let dir = tempfile::tempdir().expect("a folder");
    let run = |variables: &[(&str, &str)]| {
        let ports = ["gateway", "orders", "users", "payments", "inventory", "notifications", "analytics"]
            .map(|name| format!("--{name}-port=0"));
        let output =
            Demo::command(&dir).args(ports).envs(variables.iter().copied()).output().expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        stderr
    };
    let away = run(&[("THROUGHLINE_KAFKA", "127.0.0.1:1")]);
    assert!(away.contains("--kafka") && away.contains("127.0.0.1:1"), "{away}");
    let both =
        run(&[("THROUGHLINE_KAFKA", "127.0.0.1:1"), ("THROUGHLINE_RABBITMQ", "amqp://u:s3cret@127.0.0.1:1")]);
    assert!(both.contains("not both") && !both.contains("s3cret"), "{both}");
}
