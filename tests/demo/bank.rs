//! The bank captures once for a key, however often it is asked, and payments gives each order one.

use crate::demo_support::story::{client, count, place, wait_for_status};
use crate::demo_support::{Demo, Receiver, broker_url};
use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use throughline::comms::names;
use throughline::comms::queue::{Broker as _, EmbeddedBroker, Message};

/// A service's own database.
async fn database(demo: &Demo, service: &str) -> SqlitePool {
    let file = demo.dir.path().join(format!("throughline-shop/{service}.db"));
    SqlitePool::connect_with(SqliteConnectOptions::new().filename(file)).await.expect("its database")
}

/// The orders for which money was taken, and how much, one for each time.
async fn captured(bank: &SqlitePool) -> Vec<(String, i64)> {
    let all = sqlx::query_as("SELECT order_id, amount FROM captures ORDER BY seq").fetch_all(bank);
    all.await.expect("rows")
}

fn request(card: &str, amount: u64, attempt: u32) -> Value {
    json!({ "order_id": "o-1", "card": card, "amount": amount, "currency": "EUR", "attempt": attempt })
}

/// Asks the bank; gives the status, and the ID or what is said instead.
async fn capture(demo: &Demo, key: Option<&str>, request: &Value) -> (u16, String) {
    let call = client().post(format!("http://{}/v1/captures", demo.services[7])).json(request);
    let call = key.into_iter().fold(call, |call, key| call.header("Idempotency-Key", key));
    let answer = call.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.expect("JSON");
    (status, body["id"].as_str().or(body["error"].as_str()).expect("a text").to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_is_one_capture_and_one_answer() {
    let (_receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    let first = capture(&demo, Some("a"), &request("tok_visa", 700, 1)).await;
    assert_eq!(first.0, 201, "{first:?}");
    for attempt in 1..=2 {
        let again = capture(&demo, Some("a"), &request("tok_visa", 700, attempt)).await;
        assert_eq!(again, first, "attempt {attempt}");
    }
    let bank = database(&demo, "bank").await;
    assert_eq!(captured(&bank).await, [("o-1".to_owned(), 700)]);
    // Another key, and none at all, are captures of their own.
    let mut ids = vec![first.1];
    for key in [Some("b"), None, None] {
        let (status, id) = capture(&demo, key, &request("tok_visa", 700, 1)).await;
        assert!(status == 201 && !ids.contains(&id), "{key:?}: {status} {id}");
        ids.push(id);
    }
    assert_eq!(captured(&bank).await.len(), 4);

    let (status, told) = capture(&demo, Some("a"), &request("tok_visa", 900, 1)).await;
    assert!(status == 422 && told.contains("another capture"), "{status} {told}");
    assert_eq!(capture(&demo, Some(""), &request("tok_visa", 700, 1)).await.0, 400);
    // A refusal took nothing: the next try under its key is decided anew.
    assert_eq!(capture(&demo, Some("c"), &request("tok_slow_bank", 700, 1)).await.0, 504);
    assert_eq!(capture(&demo, Some("c"), &request("tok_slow_bank", 700, 2)).await.0, 201);
    assert_eq!(captured(&bank).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_same_time_one_key_is_one_capture_too() {
    let (_receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    let ask = request("tok_visa", 700, 1);
    let all = futures_util::future::join_all((0..8).map(|_| capture(&demo, Some("a"), &ask))).await;
    assert!(all.iter().all(|answer| answer.0 == 201 && *answer == all[0]), "{all:?}");
    assert_eq!(captured(&database(&demo, "bank").await).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_charged_once_where_payments_has_no_note_of_the_first_time() {
    let (receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    let order = place(&demo, "test-bank-1", "tok_visa").await;
    wait_for_status(&demo, &order, "paid").await;
    // As if payments had died before it wrote down what the bank did.
    let payments = database(&demo, "payments").await;
    let forgotten = sqlx::query("DELETE FROM payments").execute(&payments).await.expect("written");
    assert_eq!(forgotten.rows_affected(), 1);
    let body = json!({
        "order_id": order, "user_id": "u-7", "email": "ada@example.com", "amount": 12_800, "currency": "EUR",
        "items": [{ "sku": "lamp-brass", "quantity": 2 }], "card": "tok_visa", "authorization_id": "auth-1",
    });
    let correlation_id = throughline::comms::correlation::CorrelationId::parse("test-bank-2").expect("an ID");
    let placed = Message { correlation_id, ..Message::json("order.placed", 1, &body).expect("JSON") };
    let broker = EmbeddedBroker::open(&broker_url(&demo.dir)).await.expect("the broker's file");
    broker.publish("orders", "order.placed", &placed).await.expect("published");
    let spans = receiver
        .spans("test-bank-2", |spans| {
            count(spans, "process payments.charge") == 1
                && spans.iter().any(|seen| seen.service == "bank" && seen.span.name == "POST /v1/captures")
        })
        .await;
    let asked = spans.iter().find(|seen| seen.service == "bank").expect("the bank is asked again");
    assert_eq!(asked.text(names::HTTP_RESPONSE_STATUS_CODE), "201");
    assert_eq!(captured(&database(&demo, "bank").await).await, [(order, 12_800)]);
}
