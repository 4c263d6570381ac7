//! The demo shop over a real Kafka, end to end: the same stories as over the embedded broker, told of Kafka.

use crate::common::kafka::Server;
use crate::demo_support::story::{dead_letter, declined_story, paid_story};
use crate::demo_support::{Demo, Receiver};
use throughline::comms::names;
use throughline::comms::queue::KafkaBroker;
use throughline::comms::queue::kafka::Settings;

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_and_a_declined_order_go_over_kafka() {
    let server = Server::shared().await;
    let (receiver, otlp) = Receiver::start().await;
    let mut demo = Demo::start_with(otlp, &[format!("--kafka={}", server.address())]);

    let (send, charge) = paid_story(&receiver, &demo, "kafka-good-1").await;
    for span in [&send, &charge] {
        assert_eq!(span.text(names::MESSAGING_SYSTEM), "kafka");
        assert_eq!(span.text(names::SERVER_ADDRESS), "127.0.0.1");
    }
    assert_eq!(charge.text(names::MESSAGING_CONSUMER_GROUP_NAME), "payments.charge");

    declined_story(&receiver, &demo, "kafka-declined-1").await;
    let broker =
        KafkaBroker::connect(Settings::new(&server.address(), "test")).await.expect("the broker is there");
    dead_letter(&broker, "kafka-declined-1").await;
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
