//! The contract of a broker on a real Kafka, and what only Kafka has to keep.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::broker_contract::{self, Place};
use crate::common;
use crate::common::effects::Effects;
use crate::common::kafka::{Prefix, Server};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use throughline::comms::names;
use throughline::comms::queue::kafka::Settings;
use throughline::comms::queue::{Broker, BrokerError, Consumer, KafkaBroker, QueueSpec};
use tokio_util::sync::CancellationToken;

#[async_trait::async_trait]
impl Place for Prefix {
    async fn handle(&self) -> Arc<dyn Broker> {
        Arc::new(KafkaBroker::connect(self.settings()).await.expect("the broker is there"))
    }
}

async fn place() -> Prefix {
    Server::shared().await.prefix()
}

// Kafka bounds by bytes and time: a length is refused, below.
contract!(place(), unbounded);

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

#[tokio::test]
async fn who_does_not_reach_kafka_is_told_with_the_address() {
    let table = [("127.0.0.1:1", "unavailable", "127.0.0.1:1"), ("localhost", "invalid", "HOST:PORT")];
    for (servers, kind, part) in table {
        let settings = Settings { patience: Duration::from_secs(1), ..Settings::new(servers, "stranger") };
        let error = KafkaBroker::connect(settings).await.err().expect("not there");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_other_programs_wrote_is_delivered_and_keeps_its_id() {
    let place = place().await;
    let broker = place.declared().await;
    broker.bind("orders", "#", "mail").await.expect("binding");
    let producer: FutureProducer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", place.server.address())
        .create()
        .expect("a producer");
    let topic = format!("{}orders", place.name);
    let headers = OwnedHeaders::new()
        .insert(Header { key: "latin", value: Some(&b"a\xff"[..]) })
        .insert(Header { key: "nothing", value: None::<&[u8]> })
        .insert(Header { key: names::HEADER_VERSION, value: Some("two") });
    let record = FutureRecord::<str, [u8]>::to(&topic).headers(headers).payload(b"{}");
    let kept = producer.send(record, Duration::from_secs(20)).await.expect("kept");
    let tombstone = FutureRecord::<str, [u8]>::to(&topic).key("k");
    producer.send(tombstone, Duration::from_secs(20)).await.expect("kept");
    let mut deliveries = broker.consume("mail", 1).await.expect("consumer");
    let got = broker_contract::next(&mut deliveries).await;
    let id = format!("{topic}/0@{}", kept.offset);
    assert_eq!((got.message.id.as_str(), got.message.version), (id.as_str(), 0));
    assert_eq!(
        got.message.headers,
        BTreeMap::from([("latin".into(), "a\u{fffd}".into()), ("nothing".into(), String::new())])
    );
    got.retry(Duration::ZERO).await.expect("retry");
    let empty = broker_contract::next(&mut deliveries).await;
    assert!(empty.message.body.is_empty());
    empty.ack().await.expect("ack");
    let again = broker_contract::next(&mut deliveries).await;
    assert_eq!((again.message.id.as_str(), again.number), (id.as_str(), 2));
    again.ack().await.expect("ack");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_holds_from_when_it_was_made_also_for_one_who_consumes_already() {
    let place = place().await;
    let broker = place.declared().await;
    let mut deliveries = broker.consume("mail", 4).await.expect("consumer");
    broker.declare_exchange("payments").await.expect("exchange");
    broker.declare_queue(&QueueSpec::durable("audit")).await.expect("queue");
    broker.bind("payments", "#", "audit").await.expect("binding");
    for n in 0..3 {
        broker.publish("payments", "payment.failed", &broker_contract::message(n)).await.expect("published");
        broker.publish("orders", "order.placed", &broker_contract::message(n)).await.expect("published");
        assert_eq!(broker_contract::body(&mut deliveries).await, n);
    }
    // By another handle, as by another process.
    let other = place.handle().await;
    other.bind("payments", "*.failed", "mail").await.expect("binding");
    other.publish("payments", "payment.failed", &broker_contract::message(7)).await.expect("published");
    assert_eq!(broker_contract::body(&mut deliveries).await, 7, "what was there before is not ours");
    broker_contract::has_depth(other.as_ref(), "audit", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_settled_when_a_handle_closes_goes_to_another_and_is_not_ours_any_more() {
    let place = place().await;
    let (broker, other) = (place.declared().await, place.handle().await);
    for n in 0..3 {
        broker.publish("orders", "order.placed", &broker_contract::message(n)).await.expect("published");
    }
    let mut deliveries = broker.consume("mail", 3).await.expect("consumer");
    let (first, second) =
        (broker_contract::next(&mut deliveries).await, broker_contract::next(&mut deliveries).await);
    // Settled before those that came before it: Kafka must not be told that all is done.
    assert_eq!(broker_contract::body(&mut deliveries).await, 2);
    broker.close().await;
    let error = first.ack().await.expect_err("it is another's");
    assert!(matches!(error, BrokerError::LeaseLost(_)), "{error}");
    drop(second);
    let mut others = other.consume("mail", 3).await.expect("consumer");
    for n in 0..2 {
        let again = broker_contract::next(&mut others).await;
        assert_eq!((again.message.decode::<u32>().expect("a number"), again.number), (n, 1));
        again.ack().await.expect("ack");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_two_thousand_messages_none_is_lost_and_each_counts_once() {
    const MESSAGES: u32 = 2_000;
    let server = Server::own().await;
    let place = server.prefix();
    let patient = Settings { partitions: 3, patience: Duration::from_secs(120), ..place.settings() };
    let open = async || KafkaBroker::connect(patient.clone()).await.expect("the broker is there");
    let (sending, receiving) = (Arc::new(open().await), Arc::new(open().await));
    sending.declare_exchange("orders").await.expect("exchange");
    sending.declare_queue(&QueueSpec::durable("mail")).await.expect("queue");
    sending.bind("orders", "#", "mail").await.expect("binding");
    let folder = tempfile::tempdir().expect("a folder");
    let effects = Effects::open(folder.path()).await;

    let stop = CancellationToken::new();
    let handled = Arc::new(AtomicU32::new(0));
    let (counted, kept) = (Arc::clone(&handled), effects.clone());
    let consumer = Consumer::new(receiving.clone(), "mail").prefetch(32);
    let consuming = tokio::spawn(consumer.run(stop.clone(), move |received| {
        let (kept, counted) = (kept.clone(), Arc::clone(&counted));
        async move {
            counted.fetch_add(1, Ordering::Relaxed);
            kept.of(&received).await
        }
    }));
    let (next, sent) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let killed = CancellationToken::new();
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (sending, killed) = (Arc::clone(&sending), killed.clone());
        let (next, sent) = (Arc::clone(&next), Arc::clone(&sent));
        senders.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                // However fast it goes, some are on their way when the broker ends.
                if n >= MESSAGES && killed.is_cancelled() {
                    return;
                }
                let message = broker_contract::message(n);
                // What is not confirmed is sent again, under the same ID.
                while sending.publish("orders", "order.placed", &message).await.is_err() {}
                sent.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    common::eventually("a quarter of it is handled", 60, async || {
        (handled.load(Ordering::Relaxed) > MESSAGES / 4).then_some(())
    })
    .await;
    server.kill();
    killed.cancel();
    tokio::task::block_in_place(|| server.start());
    senders.join_all().await;
    let sent = i64::from(sent.load(Ordering::Relaxed));
    common::eventually("all are handled", 60, async || (effects.all().await >= sent).then_some(())).await;
    stop.cancel();
    consuming.await.expect("no panic").expect("the queue is there");
    assert_eq!((effects.all().await, effects.distinct().await), (sent, sent));
    broker_contract::has_depth(sending.as_ref(), "mail", 0).await;
}
