//! The demo shop over a real RabbitMQ, end to end: the same stories as over the embedded broker, told of RabbitMQ.

use crate::common::rabbitmq::Server;
use crate::demo_support::story::{dead_letter, declined_story, paid_story};
use crate::demo_support::{Demo, NAMES, Receiver};
use throughline::comms::names;
use throughline::comms::queue::RabbitMqBroker;
use throughline::comms::queue::rabbitmq::Settings;

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_and_a_declined_order_go_over_rabbitmq() {
    let server = Server::shared().await;
    let host = server.virtual_host().await;
    let (receiver, otlp) = Receiver::start().await;
    let mut demo = Demo::start_with(otlp, &[format!("--rabbitmq={}", host.url())]);

    let (send, charge) = paid_story(&receiver, &demo, "rabbit-good-1").await;
    for (span, destination) in
        [(&send, "orders:order.placed"), (&charge, "orders:order.placed:payments.charge")]
    {
        assert_eq!(span.text(names::MESSAGING_SYSTEM), "rabbitmq");
        assert_eq!(span.text(names::MESSAGING_DESTINATION_NAME), destination);
        assert_eq!(span.text(names::SERVER_ADDRESS), "127.0.0.1");
        assert_eq!(span.text(names::SERVER_PORT), server.port().to_string());
    }
    assert_eq!(charge.text(names::MESSAGING_MESSAGE_ID), send.text(names::MESSAGING_MESSAGE_ID));

    let spans = declined_story(&receiver, &demo, "rabbit-declined-1").await;
    // The retries came by way of the queues that they waited in, and are told of as what they are.
    for charge in spans.iter().filter(|s| s.span.name == "process payments.charge") {
        assert_eq!(charge.text(names::MESSAGING_SYSTEM), "rabbitmq");
        assert_eq!(charge.text(names::MESSAGING_DESTINATION_NAME), "orders:order.placed:payments.charge");
    }
    let broker =
        RabbitMqBroker::connect(Settings::new(&host.url(), "test")).await.expect("the broker is there");
    dead_letter(&broker, "rabbit-declined-1").await;
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
        .args(NAMES.map(|name| format!("--{name}-port=0")))
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
