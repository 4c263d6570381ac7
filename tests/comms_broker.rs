//! The contract of a broker, on the embedded one: what is published is delivered at least once, in order, to
//! every queue that wants it, across processes and restarts, until it is settled.

use std::sync::Arc;
use std::time::Duration;

use throughline::comms::names;
use throughline::comms::queue::broker::Deliveries;
use throughline::comms::queue::{Broker, BrokerError, Delivery, EmbeddedBroker, Message, QueueSpec, Settled};

const SOON: Duration = Duration::from_secs(10);
const LEASE: Duration = Duration::from_millis(300);

struct Shop {
    dir: tempfile::TempDir,
}

impl Shop {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder") }
    }

    async fn handle(&self) -> EmbeddedBroker {
        let url = format!("sqlite://{}", self.dir.path().join("broker.db").display());
        EmbeddedBroker::open_with_lease(&url, LEASE).await.expect("the broker opens")
    }

    /// An exchange `orders`, a queue `mail` for `order.*` with three deliveries, its dead letters in `dead`.
    async fn declared(&self) -> EmbeddedBroker {
        let broker = self.handle().await;
        broker.declare_exchange("orders").await.expect("exchange");
        broker.declare_queue(&QueueSpec::durable("dead")).await.expect("queue");
        let mail = QueueSpec::durable("mail").max_deliveries(3).dead_letters_to("dead");
        broker.declare_queue(&mail).await.expect("queue");
        broker.bind("orders", "order.*", "mail").await.expect("binding");
        broker
    }
}

fn message(n: u32) -> Message {
    Message::json("order.placed", 1, &n).expect("a message")
}

async fn next(deliveries: &mut Box<dyn Deliveries>) -> Delivery {
    tokio::time::timeout(SOON, deliveries.next()).await.expect("a delivery in time").expect("a delivery")
}

async fn body(deliveries: &mut Box<dyn Deliveries>) -> u32 {
    let delivery = next(deliveries).await;
    let n = delivery.message.decode().expect("a number");
    delivery.ack().await.expect("ack");
    n
}

async fn depth(broker: &EmbeddedBroker, queue: &str) -> u64 {
    let all = broker.queues().await.expect("queues");
    let stats = all.iter().find(|q| q.name == queue).expect("the queue");
    stats.ready + stats.unsettled + stats.delayed
}

#[tokio::test]
async fn a_message_crosses_from_one_handle_to_another_unchanged() {
    let shop = Shop::new();
    let (here, there) = (shop.declared().await, shop.handle().await);
    let mut deliveries = there.consume("mail", 4).await.expect("consumer");
    let mut sent = message(7);
    sent.headers.insert("k".into(), "v".into());
    sent.causation_id = Some("earlier".into());
    // Waiting before anything is there: the other handle's write must wake the consumer.
    let (got, published) = tokio::join!(next(&mut deliveries), here.publish("orders", "order.placed", &sent));
    published.expect("published");
    assert_eq!((got.number, got.queue.as_str(), got.routing_key.as_str()), (1, "mail", "order.placed"));
    let received = got.message.clone();
    assert_eq!(received.decode::<u32>().expect("a number"), 7);
    // Times are kept in milliseconds.
    assert!(sent.time.duration_since(received.time).expect("not later") < Duration::from_millis(1));
    assert_eq!(received, Message { time: received.time, ..sent });
    got.ack().await.expect("ack");
    assert_eq!(depth(&here, "mail").await, 0);
}

#[tokio::test]
async fn order_is_kept_and_every_bound_queue_gets_each_message_once() {
    let shop = Shop::new();
    let broker = shop.declared().await;
    broker.declare_queue(&QueueSpec::durable("audit")).await.expect("queue");
    for pattern in ["#", "order.placed", "*.placed"] {
        broker.bind("orders", pattern, "audit").await.expect("binding");
    }
    for n in 0..20 {
        broker.publish("orders", "order.placed", &message(n)).await.expect("published");
    }
    for queue in ["mail", "audit"] {
        let mut deliveries = broker.consume(queue, 1).await.expect("consumer");
        for n in 0..20 {
            assert_eq!(body(&mut deliveries).await, n, "{queue}");
        }
        assert_eq!(depth(&broker, queue).await, 0);
    }
}

#[tokio::test]
async fn what_nobody_wants_is_refused() {
    let shop = Shop::new();
    let broker = shop.declared().await;
    let error = broker.publish("orders", "payment.failed", &message(1)).await.expect_err("unroutable");
    assert!(matches!(error, BrokerError::Unroutable { .. }), "{error}");
    let error = broker.publish("nowhere", "order.placed", &message(1)).await.expect_err("no exchange");
    assert!(matches!(error, BrokerError::NoExchange(_)), "{error}");
    let error = broker.bind("orders", "#", "nowhere").await.expect_err("no queue");
    assert!(matches!(error, BrokerError::NoQueue(_)), "{error}");
    assert!(matches!(broker.consume("nowhere", 1).await.err(), Some(BrokerError::NoQueue(_))));
    let mut large = message(1);
    large.body = vec![0; 2 * 1024 * 1024].into();
    let error = broker.publish("orders", "order.placed", &large).await.expect_err("too large");
    assert!(matches!(error, BrokerError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_dropped_delivery_returns_when_its_lease_ran_out() {
    let shop = Shop::new();
    let broker = shop.declared().await;
    broker.publish("orders", "order.placed", &message(1)).await.expect("published");
    let mut crashing = broker.consume("mail", 1).await.expect("consumer");
    let first = next(&mut crashing).await;
    let id = first.message.id.clone();
    drop(first);
    drop(crashing);
    let mut other = shop.handle().await.consume("mail", 1).await.expect("consumer");
    let again = next(&mut other).await;
    assert_eq!((again.message.id.clone(), again.number), (id, 2));
    again.ack().await.expect("ack");
}

#[tokio::test]
async fn a_slow_consumer_keeps_its_lease() {
    let shop = Shop::new();
    let (slow, other) = (shop.declared().await, shop.handle().await);
    slow.publish("orders", "order.placed", &message(1)).await.expect("published");
    let mut slow_deliveries = slow.consume("mail", 1).await.expect("consumer");
    let held = next(&mut slow_deliveries).await;
    let mut others = other.consume("mail", 1).await.expect("consumer");
    tokio::time::timeout(LEASE * 5, others.next()).await.err().expect("nobody else gets it");
    held.ack().await.expect("the lease still holds");
    assert_eq!(depth(&slow, "mail").await, 0);
}

#[tokio::test]
async fn a_retry_waits_and_then_ends_in_the_dead_letters_with_the_reason() {
    let shop = Shop::new();
    let broker = shop.declared().await;
    broker.publish("orders", "order.placed", &message(1)).await.expect("published");
    let mut deliveries = broker.consume("mail", 4).await.expect("consumer");
    let delay = Duration::from_millis(200);
    let first = next(&mut deliveries).await;
    let sent_back = std::time::Instant::now();
    assert_eq!(first.retry(delay).await.expect("retry"), Settled::Retried { queue: "mail".into() });
    let second = next(&mut deliveries).await;
    assert!(sent_back.elapsed() >= delay - Duration::from_millis(5), "not before its time");
    assert_eq!(second.number, 2);
    second.retry(Duration::ZERO).await.expect("retry");
    let third = next(&mut deliveries).await;
    let settled = third.dead_letter("card_declined: do_not_honor").await.expect("dead letter");
    assert_eq!(settled, Settled::DeadLettered { queue: Some("dead".into()) });
    assert_eq!((depth(&broker, "mail").await, depth(&broker, "dead").await), (0, 1));
    let mut dead = broker.consume("dead", 1).await.expect("consumer");
    let letter = next(&mut dead).await;
    assert_eq!(letter.message.headers[names::HEADER_DEATH_REASON], "card_declined: do_not_honor");
    assert_eq!(letter.message.headers[names::HEADER_DEATH_QUEUE], "mail");
    assert_eq!(letter.message.headers[names::HEADER_DEATH_DELIVERIES], "3");
}

#[tokio::test]
async fn the_broker_ends_a_message_that_is_retried_or_crashes_without_end() {
    let shop = Shop::new();
    let broker = shop.declared().await;
    broker.publish("orders", "order.placed", &message(1)).await.expect("published");
    broker.publish("orders", "order.placed", &message(2)).await.expect("published");
    let mut deliveries = broker.consume("mail", 1).await.expect("consumer");
    for _ in 0..2 {
        next(&mut deliveries).await.retry(Duration::ZERO).await.expect("retry");
    }
    let settled = next(&mut deliveries).await.retry(Duration::ZERO).await.expect("retry");
    assert_eq!(settled, Settled::DeadLettered { queue: Some("dead".into()) });
    for _ in 0..3 {
        drop(next(&mut deliveries).await);
    }
    let mut dead = broker.consume("dead", 2).await.expect("consumer");
    assert_eq!(body(&mut dead).await, 1);
    // Only a look at the queue finds what crashed too often.
    let buried = tokio::time::timeout(SOON, async {
        tokio::select! {
            n = body(&mut dead) => n,
            _ = deliveries.next() => panic!("a fourth delivery"),
        }
    });
    assert_eq!(buried.await.expect("in time"), 2);
}

#[tokio::test]
async fn the_prefetch_bounds_what_is_unsettled() {
    let shop = Shop::new();
    let broker = shop.declared().await;
    for n in 0..3 {
        broker.publish("orders", "order.placed", &message(n)).await.expect("published");
    }
    let mut deliveries = broker.consume("mail", 2).await.expect("consumer");
    let (first, _second) = (next(&mut deliveries).await, next(&mut deliveries).await);
    tokio::time::timeout(Duration::from_millis(100), deliveries.next()).await.err().expect("no third yet");
    first.ack().await.expect("ack");
    assert_eq!(next(&mut deliveries).await.message.decode::<u32>().expect("a number"), 2);
}

#[tokio::test]
async fn two_consumers_share_a_queue_without_sharing_a_message() {
    let shop = Shop::new();
    let (one, two) = (shop.declared().await, shop.handle().await);
    for n in 0..40 {
        one.publish("orders", "order.placed", &message(n)).await.expect("published");
    }
    let drain = async |broker: &EmbeddedBroker| {
        let mut deliveries = broker.consume("mail", 4).await.expect("consumer");
        let mut seen = Vec::new();
        while depth(broker, "mail").await > 0 {
            match tokio::time::timeout(Duration::from_millis(50), deliveries.next()).await {
                Ok(delivery) => {
                    let delivery = delivery.expect("a delivery");
                    seen.push(delivery.message.decode::<u32>().expect("a number"));
                    delivery.ack().await.expect("ack");
                }
                Err(_) => tokio::task::yield_now().await,
            }
        }
        seen
    };
    let both = async { tokio::join!(drain(&one), drain(&two)) };
    let (mut all, other) = tokio::time::timeout(SOON, both).await.expect("drained in time");
    all.extend(other);
    all.sort_unstable();
    assert_eq!(all, (0..40).collect::<Vec<_>>());
}

#[tokio::test]
async fn nothing_is_lost_when_the_file_is_opened_again() {
    let shop = Shop::new();
    let broker = shop.declared().await;
    for n in 0..5 {
        broker.publish("orders", "order.placed", &message(n)).await.expect("published");
    }
    drop(broker);
    let broker = shop.declared().await;
    let mut deliveries = broker.consume("mail", 1).await.expect("consumer");
    for n in 0..5 {
        assert_eq!(body(&mut deliveries).await, n);
    }
}

#[tokio::test]
async fn a_bounded_queue_lets_the_oldest_go() {
    let shop = Shop::new();
    let broker = shop.declared().await;
    broker.declare_queue(&QueueSpec::durable("mail").max_length(3)).await.expect("queue");
    for n in 0..10 {
        broker.publish("orders", "order.placed", &message(n)).await.expect("published");
    }
    assert_eq!(depth(&broker, "mail").await, 3);
    let mut deliveries = broker.consume("mail", 1).await.expect("consumer");
    assert_eq!(body(&mut deliveries).await, 7);
}

#[tokio::test]
async fn many_may_open_a_new_file_at_once() {
    let shop = Arc::new(Shop::new());
    let mut openers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let shop = Arc::clone(&shop);
        openers
            .spawn(async move { shop.declared().await.publish("orders", "order.placed", &message(1)).await });
    }
    for opened in openers.join_all().await {
        opened.expect("published");
    }
    assert_eq!(depth(&shop.handle().await, "mail").await, 8);
}

#[tokio::test]
async fn a_file_that_is_not_a_brokers_is_refused_and_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("letters.db");
    let text = "not a database at all, ".repeat(400);
    std::fs::write(&path, &text).expect("written");
    let error = EmbeddedBroker::open(&format!("sqlite://{}", path.display())).await.err().expect("refused");
    assert!(matches!(error, BrokerError::Incompatible(_)), "{error}");
    assert_eq!(std::fs::read_to_string(&path).expect("still there"), text);
}
