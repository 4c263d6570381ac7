//! The demo shop over a real Kafka, end to end: the same stories as over the embedded broker, told of Kafka.

use crate::common::eventually;
use crate::common::kafka::Server;
use crate::demo_support::story::{dead_letter, declined_story, in_stock, paid_story, place, wait_for_status};
use crate::demo_support::{Demo, NAMES, Receiver, kill};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use throughline::comms::names;
use throughline::comms::queue::KafkaBroker;
use throughline::comms::queue::kafka::Settings;

/// Shops on one Kafka share its topics and groups: one at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_and_a_declined_order_go_over_kafka() {
    let _alone = ALONE.lock().await;
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

/// The orders that payments has written down, each with the code of its failure.
async fn charged(ledger: &SqlitePool) -> Vec<(String, Option<String>)> {
    let select = sqlx::query_as("SELECT order_id, code FROM payments ORDER BY order_id");
    select.fetch_all(ledger).await.expect("payments")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_killed_with_messages_in_hand_goes_on_after_it_and_charges_each_order_once() {
    const AT_ONCE: usize = 10;
    let _alone = ALONE.lock().await;
    let server = Server::shared().await;
    let (_receiver, otlp) = Receiver::start().await;
    let demo = Demo::start_with(otlp, &[format!("--kafka={}", server.address())]);
    let ledger = SqliteConnectOptions::new().filename(demo.dir.path().join("throughline-shop/payments.db"));
    let ledger = SqlitePool::connect_with(ledger).await.expect("the ledger");
    let before = in_stock(&demo).await;
    let mut placed: Vec<String> = Vec::new();
    // Until it is killed with some of them not charged. What it holds is not acknowledged then, and its member of the group is
    // there until its session is over.
    loop {
        assert!(placed.len() < 10 * AT_ONCE, "it was always faster");
        let names: Vec<String> = (0..AT_ONCE).map(|at| format!("kafka-kill-{}", placed.len() + at)).collect();
        let orders = names.iter().map(|correlation| place(&demo, correlation, "tok_visa"));
        placed.extend(futures_util::future::join_all(orders).await);
        let payments = demo.children()["payments"];
        kill(payments);
        let left = charged(&ledger).await.len() < placed.len();
        eventually("payments is there again", 30, async || {
            demo.children().get("payments").filter(|id| **id != payments).map(drop)
        })
        .await;
        for order in &placed {
            wait_for_status(&demo, order, "paid").await;
        }
        if left {
            break;
        }
    }
    placed.sort();
    let once: Vec<_> = placed.iter().map(|order| (order.clone(), None)).collect();
    assert_eq!(charged(&ledger).await, once);
    assert_eq!(in_stock(&demo).await, before - 2 * placed.len() as u64, "each took its goods once");
}

#[test]
fn a_kafka_that_is_not_there_and_two_brokers_are_told_in_one_line() {
    let dir = tempfile::tempdir().expect("a folder");
    let run = |variables: &[(&str, &str)]| {
        let ports = NAMES.map(|name| format!("--{name}-port=0"));
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
