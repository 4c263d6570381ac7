//! What analytics has counted outlives it, and a message counts once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::demo_support::story::{client, count, place, wait_for_status};
use crate::demo_support::{Demo, Receiver, SOON, broker_url};
use serde_json::json;
use throughline::comms::correlation::CorrelationId;
use throughline::comms::queue::{Broker as _, EmbeddedBroker, Message};

type Counts = BTreeMap<String, u64>;

async fn counts(demo: &Demo) -> Counts {
    let answer = client().get(format!("http://{}/counts", demo.services[6])).send().await;
    answer.expect("an answer").json().await.expect("JSON")
}

async fn wait_for(demo: &Demo, wanted: &Counts) {
    let deadline = Instant::now() + SOON;
    loop {
        let counted = counts(demo).await;
        if counted == *wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{counted:?}, not {wanted:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_survive_a_crash_and_a_message_that_comes_twice_counts_once() {
    let (receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    let order = place(&demo, "test-counts-1", "tok_visa").await;
    wait_for_status(&demo, &order, "paid").await;
    let mut wanted = Counts::from([("order.placed".to_owned(), 1), ("payment.captured".to_owned(), 1)]);
    wait_for(&demo, &wanted).await;
    demo.crash("analytics").await;
    assert_eq!(counts(&demo).await, wanted);

    let broker = EmbeddedBroker::open(&broker_url(&demo.dir)).await.expect("the broker's file");
    let correlation_id = CorrelationId::parse("test-counts-2").expect("an ID");
    let body = json!({ "order_id": order });
    let released = Message { correlation_id, ..Message::json("stock.released", 1, &body).expect("JSON") };
    for times in 1..=2 {
        broker.publish("orders", "stock.released", &released).await.expect("published");
        receiver.spans("test-counts-2", |spans| count(spans, "process analytics.events") == times).await;
    }
    wanted.insert("stock.released".to_owned(), 1);
    assert_eq!(counts(&demo).await, wanted);
}
