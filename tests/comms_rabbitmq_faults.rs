//! A RabbitMQ that is killed, stopped, frozen or comes back empty: nothing that was confirmed is lost, each message counts
//! once, and who waits is told in time.

#![cfg(unix)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::effects::Effects;
use common::eventually;
use common::rabbitmq::Server;
use throughline::comms::queue::rabbitmq::Settings;
use throughline::comms::queue::{
    Broker, BrokerError, Consumer, Failure, Message, QueueSpec, RabbitMqBroker, Received, RetryPolicy,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// One server at a time: each of these tests keeps two cores busy by itself.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const MESSAGES: u32 = 10_000;
/// Longer than a start of the server on a busy machine.
const PATIENT: Duration = Duration::from_secs(300);

async fn connect(server: &Server, patience: Duration) -> Arc<dyn Broker> {
    connect_with(Settings { patience, ..Settings::new(&server.url("/"), "faults") }).await
}

/// One that waits for nothing.
async fn hasty(server: &Server) -> Arc<dyn Broker> {
    let (patience, settling) = (Duration::from_secs(1), Duration::ZERO);
    connect_with(Settings { patience, settling, ..Settings::new(&server.url("/"), "faults") }).await
}

async fn connect_with(settings: Settings) -> Arc<dyn Broker> {
    Arc::new(RabbitMqBroker::connect(settings).await.expect("the broker is there"))
}

async fn declare(broker: &dyn Broker) {
    broker.declare_exchange("orders").await.expect("exchange");
    broker.declare_queue(&QueueSpec::durable("dead")).await.expect("queue");
    let mail = QueueSpec::durable("mail").max_deliveries(50).dead_letters_to("dead");
    broker.declare_queue(&mail).await.expect("queue");
    broker.bind("orders", "#", "mail").await.expect("binding");
}

fn message(n: u32) -> Message {
    Message::json("order.placed", 1, &n).expect("a message")
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_ten_thousand_messages_none_is_lost_and_each_counts_once() {
    let _alone = ALONE.lock().await;
    let server = Server::own().await;
    let (sending, receiving) = (connect(&server, PATIENT).await, connect(&server, PATIENT).await);
    declare(sending.as_ref()).await;
    declare(receiving.as_ref()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let effects = Effects::open(folder.path()).await;

    let stop = CancellationToken::new();
    let handled = Arc::new(AtomicU32::new(0));
    let (counted, kept) = (Arc::clone(&handled), effects.clone());
    let consumer = Consumer::new(Arc::clone(&receiving), "mail").prefetch(64);
    let consuming = tokio::spawn(consumer.run(stop.clone(), move |received| {
        let (kept, counted) = (kept.clone(), Arc::clone(&counted));
        async move {
            counted.fetch_add(1, Ordering::Relaxed);
            kept.of(&received).await
        }
    }));

    let next = Arc::new(AtomicU32::new(0));
    let confirmed = Arc::new(AtomicU32::new(0));
    let mut senders = JoinSet::new();
    for _ in 0..32 {
        let (sending, next, confirmed) = (Arc::clone(&sending), Arc::clone(&next), Arc::clone(&confirmed));
        senders.spawn(async move {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= MESSAGES {
                    return;
                }
                sending.publish("orders", "order.placed", &message(n)).await.expect("confirmed in the end");
                confirmed.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for reached in [2_000, 6_000] {
        let what = format!("{reached} are confirmed");
        eventually(&what, 120, async || (confirmed.load(Ordering::Relaxed) >= reached).then_some(())).await;
        server.kill();
        server.start().await;
    }
    let sent = tokio::time::timeout(2 * PATIENT, senders.join_all()).await;
    sent.expect("a publish ends within the patience");
    assert_eq!(confirmed.load(Ordering::Relaxed), MESSAGES);
    eventually("all are handled", 120, async || (effects.all().await >= i64::from(MESSAGES)).then_some(()))
        .await;
    eventually("the queue is empty", 60, async || {
        let queues = tokio::time::timeout(Duration::from_secs(30), receiving.queues()).await;
        let queues = queues.expect("an answer in time").expect("queues");
        queues.iter().all(|queue| queue.ready + queue.unsettled + queue.delayed == 0).then_some(())
    })
    .await;
    stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(60), consuming).await;
    ended.expect("a settlement on a lost connection holds nobody up").expect("the loop").expect("ends well");
    assert_eq!(effects.all().await, i64::from(MESSAGES), "once each");
    assert_eq!(effects.distinct().await, i64::from(MESSAGES), "all of them");
    let deliveries = handled.load(Ordering::Relaxed);
    println!("{MESSAGES} messages, {deliveries} deliveries, two kills");
}

/// RabbitMQ has a queue that is a second old in memory only, and comes back without what it confirmed for it.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_once_after_the_first_confirm_of_a_new_queue_it_loses_nothing() {
    let _alone = ALONE.lock().await;
    let server = Server::own().await;
    let broker = connect(&server, PATIENT).await;
    declare(broker.as_ref()).await;
    broker.publish("orders", "k", &message(1)).await.expect("confirmed");
    server.kill();
    server.start().await;
    let mut deliveries = broker.consume("mail", 1).await.expect("a consumer");
    let mut next = async || {
        let next = tokio::time::timeout(Duration::from_secs(60), deliveries.next()).await;
        next.expect("it is still there").expect("a delivery")
    };
    let first = next().await;
    assert_eq!(first.message.decode::<u32>().expect("a number"), 1);
    // Its retry waits in a queue that is made for it.
    let before = first.number;
    first.retry(Duration::from_secs(3)).await.expect("the retry is confirmed");
    server.kill();
    server.start().await;
    let second = next().await;
    assert_eq!(second.message.decode::<u32>().expect("a number"), 1);
    assert_eq!(second.number, before + 1);
    second.ack().await.expect("ack");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_an_outage_senders_are_told_in_time_and_consumers_go_on_afterwards() {
    let _alone = ALONE.lock().await;
    let server = Server::own().await;
    let hasty = connect(&server, Duration::from_millis(700)).await;
    let broker = connect(&server, PATIENT).await;
    declare(broker.as_ref()).await;
    let stop = CancellationToken::new();
    let (seen, mut received) = tokio::sync::mpsc::channel(16);
    let policy = RetryPolicy { max_deliveries: 5, first_delay: Duration::from_secs(1) };
    let consumer = Consumer::new(Arc::clone(&broker), "mail").policy(policy);
    let consuming = tokio::spawn(consumer.run(stop.clone(), move |got: Received| {
        let seen = seen.clone();
        async move {
            let n: u32 = got.message.decode().expect("a number");
            seen.send((n, got.number)).await.expect("the test listens");
            // The second fails once: its retry waits at the broker through the outage.
            if n == 2 && got.number == 1 { Err(Failure::transient("busy", "not yet")) } else { Ok(()) }
        }
    }));
    let mut next = async || {
        tokio::time::timeout(Duration::from_secs(60), received.recv())
            .await
            .expect("in time")
            .expect("a message")
    };
    broker.publish("orders", "k", &message(1)).await.expect("published");
    assert_eq!(next().await, (1, 1));
    broker.publish("orders", "k", &message(2)).await.expect("published");
    assert_eq!(next().await, (2, 1));
    eventually("the retry waits at the broker", 10, async || {
        let queues = broker.queues().await.expect("queues");
        queues.iter().any(|queue| queue.delayed == 1).then_some(())
    })
    .await;

    server.stop().await;
    let asked = Instant::now();
    let error = hasty.publish("orders", "k", &message(3)).await.expect_err("away");
    assert!(asked.elapsed() < Duration::from_secs(3), "told in time: {:?}", asked.elapsed());
    let text = error.to_string();
    assert!(matches!(error, BrokerError::Unavailable(_)), "{text}");
    assert!(text.contains("has been away") && text.contains(&server.port().to_string()), "{text}");
    assert!(!text.contains("guest"), "neither user nor password: {text}");
    // One with more patience waits for the end of the outage.
    let waiting = tokio::spawn({
        let broker = Arc::clone(&broker);
        async move { broker.publish("orders", "k", &message(4)).await }
    });
    server.start().await;
    waiting.await.expect("the task").expect("published after the outage");
    let mut after = [next().await, next().await];
    after.sort_unstable();
    assert_eq!(after, [(2, 2), (4, 1)], "the retry and the new one");
    hasty.publish("orders", "k", &message(5)).await.expect("the hasty one too");
    assert_eq!(next().await, (5, 1));
    stop.cancel();
    consuming.await.expect("the loop").expect("ends well");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_hangs_is_noticed_and_one_that_lost_everything_is_set_up_again() {
    let _alone = ALONE.lock().await;
    let server = Server::own().await;
    let hasty = hasty(&server).await;
    let broker = connect(&server, PATIENT).await;
    declare(hasty.as_ref()).await;
    declare(broker.as_ref()).await;
    let mut deliveries = broker.consume("mail", 1).await.expect("consumer");

    server.freeze();
    let asked = Instant::now();
    let error = hasty.publish("orders", "k", &message(1)).await.expect_err("it hangs");
    assert!(matches!(error, BrokerError::Unavailable(_)), "{error}");
    assert!(asked.elapsed() < Duration::from_secs(4), "told in time: {:?}", asked.elapsed());
    let waiting = tokio::spawn({
        let broker = Arc::clone(&broker);
        async move { broker.publish("orders", "k", &message(2)).await }
    });
    server.thaw();
    waiting.await.expect("the task").expect("published when it goes on");
    // The first may have come through as well: its sender was told that nobody knows.
    let two = async {
        loop {
            let delivery = deliveries.next().await.expect("a delivery");
            let n: u32 = delivery.message.decode().expect("a number");
            delivery.ack().await.expect("ack");
            if n == 2 {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), two).await.expect("in time");

    server.kill();
    server.forget();
    server.start().await;
    broker.publish("orders", "k", &message(3)).await.expect("exchange and queue are declared again");
    let three = async {
        loop {
            // What was in the air when it was killed may not be told from what was there before.
            let delivery = deliveries.next().await.expect("a delivery");
            let n: u32 = delivery.message.decode().expect("a number");
            if delivery.ack().await.is_ok() && n == 3 {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), three).await.expect("in time");
}
