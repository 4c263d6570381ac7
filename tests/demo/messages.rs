//! The demo shop's messages by their contracts, end to end: an old version is handled, what fits none is a dead letter with
//! the reason, and what comes twice counts once.

use crate::demo_support::story::{count, place, wait_for_status};
use crate::demo_support::{Demo, Receiver, SOON, broker_url};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use throughline::comms::correlation::CorrelationId;
use throughline::comms::names;
use throughline::comms::queue::broker::Deliveries;
use throughline::comms::queue::{Broker as _, EmbeddedBroker, Message};

fn message(kind: &str, version: u32, body: &Value, correlation: &str) -> Message {
    let correlation_id = CorrelationId::parse(correlation).expect("an ID");
    Message { correlation_id, ..Message::json(kind, version, body).expect("JSON") }
}

/// The reason of the next dead letter and the queue that it comes from.
async fn dead(letters: &mut Box<dyn Deliveries>) -> (String, String) {
    let letter = tokio::time::timeout(SOON, letters.next()).await.expect("in time").expect("a letter");
    let headers = letter.message.headers.clone();
    letter.ack().await.expect("ack");
    (headers[names::HEADER_DEATH_REASON].clone(), headers[names::HEADER_DEATH_QUEUE].clone())
}

fn order(id: &str) -> Value {
    json!({
        "order_id": id, "user_id": "u-7", "email": "ada@example.com", "amount": 12_800, "currency": "EUR",
        "items": [{ "sku": "lamp-brass", "quantity": 2 }],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn old_versions_are_handled_and_what_fits_no_contract_is_a_dead_letter() {
    let (_receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    let id = place(&demo, "contract-1", "tok_visa").await;
    wait_for_status(&demo, &id, "paid").await;
    let broker = EmbeddedBroker::open(&broker_url(&demo.dir)).await.expect("the broker's file");

    let mut failed = order(&id);
    failed["reason"] = json!("card_declined: do_not_honor");
    let first = message("payment.failed", 1, &failed, "contract-1");
    broker.publish("orders", "payment.failed", &first).await.expect("published");
    wait_for_status(&demo, &id, "payment_failed").await;

    let mut letters = broker.consume("orders.dlq", 1).await.expect("a consumer");
    let mut numbered = order(&id);
    numbered["order_id"] = json!(7);
    for (bad, parts) in [
        (message("payment.captured", 9, &order(&id), "contract-2"), ["unknown_version", "version 9"]),
        (message("payment.captured", 1, &numbered, "contract-3"), ["schema", "/order_id"]),
    ] {
        broker.publish("orders", "payment.captured", &bad).await.expect("published");
        // Everyone whom it concerns refuses it.
        let mut queues = Vec::new();
        for _ in 0..2 {
            let (reason, queue) = dead(&mut letters).await;
            assert!(parts.iter().all(|part| reason.contains(part)), "{parts:?}: {reason}");
            queues.push(queue);
        }
        queues.sort();
        assert_eq!(queues, ["analytics.events", "orders.payments"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_comes_twice_is_charged_and_told_of_once() {
    let (receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    let broker = EmbeddedBroker::open(&broker_url(&demo.dir)).await.expect("the broker's file");
    let mut body = order("o-twice");
    body["card"] = json!("tok_visa");
    body["authorization_id"] = json!("auth-1");
    let placed = message("order.placed", 1, &body, "twice-1");
    for times in 1..=2 {
        broker.publish("orders", "order.placed", &placed).await.expect("published");
        receiver.spans("twice-1", |spans| count(spans, "process payments.charge") == times).await;
    }
    let spans = receiver.spans("twice-1", |spans| count(spans, "process orders.payments") == 1).await;
    assert_eq!(count(&spans, "send orders:payment.captured"), 1);
    let asked = spans.iter().filter(|s| s.service == "bank" && s.span.name == "POST /v1/captures").count();
    assert_eq!(asked, 1, "the bank is asked once");

    let file = demo.dir.path().join("throughline-shop/payments.db");
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(file)).await.expect("its book");
    let written: Vec<(String, i64, Option<String>)> =
        sqlx::query_as("SELECT order_id, amount, code FROM payments").fetch_all(&pool).await.expect("rows");
    assert_eq!(written, [("o-twice".to_owned(), 12_800, None)]);
    let waiting = throughline::comms::queue::outbox::waiting(&pool).await.expect("a number");
    assert_eq!(waiting, 0, "what was told has left");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_poison_of_the_scenario_ends_in_the_dead_letters_with_the_reason() {
    let (_receiver, otlp) = Receiver::start().await;
    let demo = Demo::start_with(otlp, &["--scenario=poison-message".to_owned()]);
    let broker = EmbeddedBroker::open(&broker_url(&demo.dir)).await.expect("the broker's file");
    let mut letters = broker.consume("orders.dlq", 1).await.expect("a consumer");
    let mut customers = 0;
    let reason = loop {
        // One order in five brings it: a hundred without one are not to be met in a lifetime.
        assert!(customers < 100, "no poison among {customers} orders");
        place(&demo, &format!("poison-{customers}"), "tok_visa").await;
        customers += 1;
        let wait = std::time::Duration::from_millis(200);
        if let Ok(letter) = tokio::time::timeout(wait, letters.next()).await {
            break letter.expect("a letter").message.headers[names::HEADER_DEATH_REASON].clone();
        }
    };
    assert!(reason.contains("schema") && reason.contains("`order.placed` version 1"), "{reason}");
}
