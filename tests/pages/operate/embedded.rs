//! Dead letters of the toolkit's own broker, redriven by the dashboard while a consumer waits for them.

use std::sync::Arc;

use serde_json::{Value, json};
use throughline::comms::correlation::CorrelationId;
use throughline::comms::queue::message::Message;
use throughline::comms::queue::{Broker, EmbeddedBroker, QueueSpec};
use throughline::dashboard::collect::Address;
use throughline::dashboard::collect::address::Authorities;
use throughline::dashboard::operate::Brokers;

use super::support::{audit, ended, post, text};
use crate::common::Running;

fn message(number: u64) -> Message {
    Message {
        id: format!("m-{number}"),
        kind: "order.placed".into(),
        version: 1,
        time: std::time::SystemTime::now(),
        correlation_id: CorrelationId::parse(&format!("c-{number}")).expect("an ID"),
        causation_id: None,
        headers: Default::default(),
        content_type: "application/json".into(),
        body: json!({ "n": number, "token": "hunter2" }).to_string().into_bytes().into(),
    }
}

#[tokio::test]
async fn dead_letters_of_the_embedded_broker_are_redriven_and_worked_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("broker.db").display());
    let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::open(&url).await.expect("it opens"));
    broker.declare_exchange("orders").await.expect("an exchange");
    broker.declare_queue(&QueueSpec::durable("dead")).await.expect("a queue");
    broker.declare_queue(&QueueSpec::durable("work").dead_letters_to("dead")).await.expect("a queue");
    broker.declare_queue(&QueueSpec::durable("full").max_length(1)).await.expect("a queue");
    broker.bind("orders", "order.*", "work").await.expect("bound");
    let mut work = broker.consume("work", 1).await.expect("a consumer");
    for number in 0..4 {
        broker.publish("orders", "order.placed", &message(number)).await.expect("published");
        let delivery = work.next().await.expect("a delivery");
        let why = if number < 3 { "card_declined" } else { "no_stock" };
        delivery.dead_letter(why).await.expect("a dead letter");
    }
    let address: Address = url.parse().expect("any text");
    let server = Running::with(|it| {
        it.hands = Brokers::read(&[], &[address], &[], &Authorities::default()).expect("a file")
    })
    .await;
    let at = |what: &str| format!("/api/queues/throughline/%2F/dead/{what}");

    let (status, looked) = post(&server, &at("peek"), json!({})).await;
    assert_eq!(status, 200, "{looked}");
    let messages = looked["messages"].as_array().expect("a list");
    assert_eq!(messages.len(), 4);
    assert_eq!(messages[0]["origin"], json!({ "exchange": "orders", "routingKey": "order.placed" }));
    assert_eq!((&messages[0]["diedIn"], &messages[3]["reason"]), (&json!("work"), &json!("no_stock")));
    let page = text(&server, &format!("/queues/throughline/%2F/dead/messages?peek={}", looked["peek"])).await;
    assert!(page.contains("A look changes nothing here") && page.contains("card_declined"), "{page}");

    for (order, sent, kept, why) in [
        (json!({ "all": true, "to": "other", "exchange": "gone", "key": "k" }), 0, 4, "no exchange “gone”"),
        (
            json!({ "all": true, "to": "other", "exchange": "orders", "key": "mail" }),
            0,
            4,
            "no queue is bound",
        ),
        (json!({ "all": true, "to": "other", "key": "full", "dryRun": true }), 4, 0, ""),
        (json!({ "reason": "no_stock", "to": "other", "key": "full" }), 1, 0, ""),
        (json!({ "all": true, "to": "other", "key": "full" }), 0, 3, "queue “full” is full"),
        (json!({ "reason": "card", "most": 2 }), 2, 0, ""),
        (json!({ "text": "\"n\":2", "to": "queue", "body": Value::Null }), 1, 0, ""),
    ] {
        let (status, job) = post(&server, &at("redrive"), order.clone()).await;
        assert_eq!(status, 202, "{order}: {job}");
        let job = ended(&server, &job).await;
        assert_eq!((&job["sent"], &job["kept"]), (&json!(sent), &json!(kept)), "{order}: {job}");
        let told = job["results"][0]["why"].as_str().unwrap_or_default();
        assert!(told.contains(why), "{order}: {job}");
    }
    // The consumer notices by itself what another process wrote.
    for number in 0..3 {
        let delivery = work.next().await.expect("a delivery");
        assert_eq!((delivery.message.id.as_str(), delivery.number), (&*format!("m-{number}"), 1));
        assert_eq!(delivery.message.correlation_id.as_str(), format!("c-{number}"));
        assert_eq!(delivery.message.headers["x-death-reason"], "card_declined");
        assert!(delivery.message.headers["x-throughline-redrive"].contains('/'));
        delivery.ack().await.expect("worked on");
    }
    let rows = audit(&server, "?action=redrive&trouble=1").await;
    assert_eq!(rows.len(), 3, "{rows:?}");
    broker.close().await;
}
