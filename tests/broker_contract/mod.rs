//! What every broker keeps: what is published is delivered at least once, in order, to every queue that wants it, across
//! handles, until it is settled. The same cases run on each transport: see `contract!`.

use std::sync::Arc;
use std::time::Duration;

use throughline::comms::names;
use throughline::comms::queue::broker::{Deliveries, MAX_BODY, MAX_HEADERS};
use throughline::comms::queue::{Broker, BrokerError, Delivery, Message, QueueSpec, Settled};

use crate::common::eventually;

const SOON: Duration = Duration::from_secs(20);

/// A transport under test: a place of its own, and any number of handles to it, each as another process has one.
#[async_trait::async_trait]
pub trait Place: Send + Sync + 'static {
    async fn handle(&self) -> Arc<dyn Broker>;

    /// An exchange `orders`, a queue `mail` for `order.*` with three deliveries, its dead letters in `dead`.
    async fn declared(&self) -> Arc<dyn Broker> {
        let broker = self.handle().await;
        broker.declare_exchange("orders").await.expect("exchange");
        broker.declare_queue(&QueueSpec::durable("dead")).await.expect("queue");
        let mail = QueueSpec::durable("mail").max_deliveries(3).dead_letters_to("dead");
        broker.declare_queue(&mail).await.expect("queue");
        broker.bind("orders", "order.*", "mail").await.expect("binding");
        broker
    }
}

/// Makes a test of each case, on the transport that `$make` gives.
#[macro_export]
macro_rules! contract {
    ($make:expr; $($case:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            $crate::broker_contract::$case(&$make.await).await;
        })*
    };
    ($make:expr) => {
        $crate::contract! { $make, unbounded }
        $crate::contract! { $make; a_bounded_queue_lets_the_oldest_go }
    };
    // All that a broker keeps which bounds no queue by its length.
    ($make:expr, unbounded) => {
        $crate::contract! { $make;
            a_message_crosses_from_one_handle_to_another_unchanged
            order_is_kept_and_every_bound_queue_gets_each_message_once
            what_nobody_wants_is_refused
            what_no_broker_carries_is_refused_by_name
            many_may_send_at_once_and_each_is_told_of_its_own
            a_dropped_delivery_returns
            a_slow_consumer_keeps_its_message
            a_retry_waits_and_then_ends_in_the_dead_letters_with_the_reason
            a_retry_keeps_what_belongs_to_the_message
            the_broker_ends_a_message_that_is_retried_without_end
            the_broker_ends_a_message_that_crashes_without_end
            a_message_without_dead_letters_is_dropped
            the_prefetch_bounds_what_is_unsettled
            two_consumers_share_a_queue_without_sharing_a_message
            nothing_is_lost_when_all_handles_are_closed
            many_may_declare_the_same_at_once
        }
    };
}

pub fn message(n: u32) -> Message {
    Message::json("order.placed", 1, &n).expect("a message")
}

pub async fn next(deliveries: &mut Box<dyn Deliveries>) -> Delivery {
    tokio::time::timeout(SOON, deliveries.next()).await.expect("a delivery in time").expect("a delivery")
}

pub async fn body(deliveries: &mut Box<dyn Deliveries>) -> u32 {
    let delivery = next(deliveries).await;
    let n = delivery.message.decode().expect("a number");
    delivery.ack().await.expect("ack");
    n
}

/// Everything that is in a queue, however far it is.
pub async fn depth(broker: &dyn Broker, queue: &str) -> u64 {
    let all = broker.queues().await.expect("queues");
    let stats = all.iter().find(|q| q.name == queue).expect("the queue");
    stats.ready + stats.unsettled + stats.delayed
}

/// Waits for a depth: what a broker tells of itself may lag.
pub async fn has_depth(broker: &dyn Broker, queue: &str, expected: u64) {
    let what = format!("{queue} has {expected}");
    eventually(&what, 20, async || (depth(broker, queue).await == expected).then_some(())).await;
}

pub async fn a_message_crosses_from_one_handle_to_another_unchanged(place: &impl Place) {
    let (here, there) = (place.declared().await, place.handle().await);
    let mut deliveries = there.consume("mail", 4).await.expect("consumer");
    let mut sent = message(7);
    sent.headers.insert("k".into(), "v".into());
    sent.headers.insert("odd".into(), "ünï\r\n\u{1b}[31m".into());
    sent.causation_id = Some("earlier".into());
    sent.version = 3;
    // Waiting before anything is there: the other handle's write must wake the consumer.
    let (got, published) = tokio::join!(next(&mut deliveries), here.publish("orders", "order.placed", &sent));
    published.expect("published");
    assert_eq!((got.number, got.queue.as_str(), got.routing_key.as_str()), (1, "mail", "order.placed"));
    assert_eq!(got.exchange, "orders");
    let received = got.message.clone();
    assert_eq!(received.decode::<u32>().expect("a number"), 7);
    // Times are kept in milliseconds.
    assert!(sent.time.duration_since(received.time).expect("not later") < Duration::from_millis(1));
    assert_eq!(received, Message { time: received.time, ..sent });
    got.ack().await.expect("ack");
    has_depth(here.as_ref(), "mail", 0).await;
}

pub async fn order_is_kept_and_every_bound_queue_gets_each_message_once(place: &impl Place) {
    let broker = place.declared().await;
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
        has_depth(broker.as_ref(), queue, 0).await;
    }
}

pub async fn what_nobody_wants_is_refused(place: &impl Place) {
    let broker = place.declared().await;
    let error = broker.publish("orders", "payment.failed", &message(1)).await.expect_err("unroutable");
    assert!(matches!(error, BrokerError::Unroutable { .. }), "{error}");
    let error = broker.publish("nowhere", "order.placed", &message(1)).await.expect_err("no exchange");
    assert!(matches!(&error, BrokerError::NoExchange(name) if name == "nowhere"), "{error}");
    let error = broker.bind("orders", "#", "nowhere").await.expect_err("no queue");
    assert!(matches!(&error, BrokerError::NoQueue(name) if name == "nowhere"), "{error}");
    let error = broker.bind("nowhere", "#", "mail").await.expect_err("no exchange");
    assert!(matches!(&error, BrokerError::NoExchange(name) if name == "nowhere"), "{error}");
    let error = broker.consume("nowhere", 1).await.err().expect("no queue");
    assert!(matches!(&error, BrokerError::NoQueue(name) if name == "nowhere"), "{error}");
    // None of it has done harm to the handle.
    broker.publish("orders", "order.placed", &message(1)).await.expect("published");
    has_depth(broker.as_ref(), "mail", 1).await;
}

pub async fn what_no_broker_carries_is_refused_by_name(place: &impl Place) {
    let broker = place.declared().await;
    let long = "x".repeat(256);
    let changed = |change: &dyn Fn(&mut Message)| {
        let mut message = message(1);
        change(&mut message);
        message
    };
    let large = changed(&|m| m.body = vec![0; MAX_BODY + 1].into());
    let error = broker.publish("orders", "order.placed", &large).await.expect_err("too large");
    assert!(matches!(error, BrokerError::TooLarge { size, .. } if size == MAX_BODY + 1), "{error}");
    let table = [
        ("the routing key", long.as_str(), message(1)),
        ("the message's ID", "order.placed", changed(&|m| m.id = "x".repeat(256))),
        ("the message's type", "order.placed", changed(&|m| m.kind = "x".repeat(256))),
        ("the content type", "order.placed", changed(&|m| m.content_type = "x".repeat(256))),
        (
            "the name of a header",
            "order.placed",
            changed(&|m| _ = m.headers.insert("x".repeat(256), String::new())),
        ),
        (
            "the headers",
            "order.placed",
            changed(&|m| _ = m.headers.insert("k".into(), "x".repeat(MAX_HEADERS))),
        ),
    ];
    for (part, key, message) in table {
        let error = broker.publish("orders", key, &message).await.expect_err(part);
        assert!(matches!(&error, BrokerError::Invalid { what, .. } if *what == part), "{part}: {error}");
        assert!(error.to_string().contains("limit"), "{error}");
    }
    assert!(matches!(broker.declare_exchange(&long).await, Err(BrokerError::Invalid { .. })));
    assert!(matches!(
        broker.declare_queue(&QueueSpec::durable(&long)).await,
        Err(BrokerError::Invalid { .. })
    ));
    assert!(matches!(broker.bind("orders", &long, "mail").await, Err(BrokerError::Invalid { .. })));
    let largest = changed(&|m| m.body = vec![7; MAX_BODY].into());
    broker.publish("orders", "order.placed", &largest).await.expect("the largest is taken");
    let mut deliveries = broker.consume("mail", 1).await.expect("consumer");
    assert_eq!(next(&mut deliveries).await.message.body.len(), MAX_BODY);
}

pub async fn many_may_send_at_once_and_each_is_told_of_its_own(place: &impl Place) {
    let broker = place.declared().await;
    let mut senders = tokio::task::JoinSet::new();
    for n in 0..200_u32 {
        let broker = Arc::clone(&broker);
        senders.spawn(async move {
            // Every third has no queue.
            let key = if n % 3 == 0 { "payment.failed" } else { "order.placed" };
            (n, broker.publish("orders", key, &message(n)).await)
        });
    }
    for (n, result) in senders.join_all().await {
        let is_refused = matches!(result, Err(BrokerError::Unroutable { .. }));
        assert_eq!(is_refused, n % 3 == 0, "{n}: {result:?}");
        assert_eq!(result.is_ok(), n % 3 != 0, "{n}");
    }
    let mut deliveries = broker.consume("mail", 50).await.expect("consumer");
    let mut seen = Vec::new();
    for _ in 0..133 {
        seen.push(body(&mut deliveries).await);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..200).filter(|n| n % 3 != 0).collect::<Vec<_>>());
}

pub async fn a_dropped_delivery_returns(place: &impl Place) {
    let broker = place.declared().await;
    broker.publish("orders", "order.placed", &message(1)).await.expect("published");
    let mut crashing = broker.consume("mail", 1).await.expect("consumer");
    let first = next(&mut crashing).await;
    let id = first.message.id.clone();
    drop(first);
    drop(crashing);
    let mut other = place.handle().await.consume("mail", 1).await.expect("consumer");
    let again = next(&mut other).await;
    assert_eq!((again.message.id.clone(), again.number), (id, 2));
    again.ack().await.expect("ack");
}

pub async fn a_slow_consumer_keeps_its_message(place: &impl Place) {
    let (slow, other) = (place.declared().await, place.handle().await);
    slow.publish("orders", "order.placed", &message(1)).await.expect("published");
    let mut slow_deliveries = slow.consume("mail", 1).await.expect("consumer");
    let held = next(&mut slow_deliveries).await;
    let mut others = other.consume("mail", 1).await.expect("consumer");
    tokio::time::timeout(Duration::from_millis(1500), others.next())
        .await
        .err()
        .expect("nobody else gets it");
    held.ack().await.expect("it is still ours");
    has_depth(slow.as_ref(), "mail", 0).await;
}

pub async fn a_retry_waits_and_then_ends_in_the_dead_letters_with_the_reason(place: &impl Place) {
    let broker = place.declared().await;
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
    has_depth(broker.as_ref(), "mail", 0).await;
    has_depth(broker.as_ref(), "dead", 1).await;
    let mut dead = broker.consume("dead", 1).await.expect("consumer");
    let letter = next(&mut dead).await;
    assert_eq!(letter.message.headers[names::HEADER_DEATH_REASON], "card_declined: do_not_honor");
    assert_eq!(letter.message.headers[names::HEADER_DEATH_QUEUE], "mail");
    assert_eq!(letter.message.headers[names::HEADER_DEATH_DELIVERIES], "3");
    assert_eq!(
        (letter.number, letter.routing_key.as_str()),
        (1, "order.placed"),
        "a dead letter begins anew"
    );
}

pub async fn a_retry_keeps_what_belongs_to_the_message(place: &impl Place) {
    let broker = place.declared().await;
    let mut sent = message(9);
    sent.causation_id = Some("earlier".into());
    sent.version = 2;
    sent.headers.insert("k".into(), "v".into());
    broker.publish("orders", "order.placed", &sent).await.expect("published");
    let mut deliveries = broker.consume("mail", 4).await.expect("consumer");
    let first = next(&mut deliveries).await;
    let before = first.message.clone();
    first.retry(Duration::from_millis(1)).await.expect("retry");
    let second = next(&mut deliveries).await;
    let mut after = second.message.clone();
    // A transport may write the correlation ID into the headers, where handlers look for it.
    after.headers.remove(names::X_CORRELATION_ID);
    assert_eq!(after, before);
    assert_eq!((second.exchange.as_str(), second.routing_key.as_str()), ("orders", "order.placed"));
}

pub async fn the_broker_ends_a_message_that_is_retried_without_end(place: &impl Place) {
    let broker = place.declared().await;
    broker.publish("orders", "order.placed", &message(1)).await.expect("published");
    let mut deliveries = broker.consume("mail", 1).await.expect("consumer");
    for _ in 0..2 {
        let settled = next(&mut deliveries).await.retry(Duration::ZERO).await.expect("retry");
        assert_eq!(settled, Settled::Retried { queue: "mail".into() });
    }
    let settled = next(&mut deliveries).await.retry(Duration::ZERO).await.expect("retry");
    assert_eq!(settled, Settled::DeadLettered { queue: Some("dead".into()) });
    let mut dead = broker.consume("dead", 1).await.expect("consumer");
    assert_eq!(body(&mut dead).await, 1);
}

pub async fn the_broker_ends_a_message_that_crashes_without_end(place: &impl Place) {
    let broker = place.declared().await;
    broker.publish("orders", "order.placed", &message(2)).await.expect("published");
    let mut deliveries = broker.consume("mail", 1).await.expect("consumer");
    for number in 1..=3 {
        let crashed = next(&mut deliveries).await;
        assert_eq!(crashed.number, number);
        drop(crashed);
    }
    let mut dead = broker.consume("dead", 2).await.expect("consumer");
    // Only a look at the queue finds what crashed too often.
    let buried = tokio::time::timeout(SOON, async {
        tokio::select! {
            letter = next(&mut dead) => letter,
            _ = deliveries.next() => panic!("a fourth delivery"),
        }
    });
    let letter = buried.await.expect("in time");
    assert_eq!(letter.message.decode::<u32>().expect("a number"), 2);
    let headers = &letter.message.headers;
    assert_eq!(headers[names::HEADER_DEATH_REASON], "no consumer settled it within the limit");
    assert_eq!(headers[names::HEADER_DEATH_QUEUE], "mail");
    assert_eq!(headers[names::HEADER_DEATH_DELIVERIES], "3");
}

pub async fn a_message_without_dead_letters_is_dropped(place: &impl Place) {
    let broker = place.declared().await;
    broker.declare_queue(&QueueSpec::durable("lone")).await.expect("queue");
    broker.bind("orders", "lone", "lone").await.expect("binding");
    broker.publish("orders", "lone", &message(1)).await.expect("published");
    let mut deliveries = broker.consume("lone", 1).await.expect("consumer");
    let settled = next(&mut deliveries).await.dead_letter("as such").await.expect("settled");
    assert_eq!(settled, Settled::DeadLettered { queue: None });
    has_depth(broker.as_ref(), "lone", 0).await;
}

pub async fn the_prefetch_bounds_what_is_unsettled(place: &impl Place) {
    let broker = place.declared().await;
    for n in 0..3 {
        broker.publish("orders", "order.placed", &message(n)).await.expect("published");
    }
    let mut deliveries = broker.consume("mail", 2).await.expect("consumer");
    let (first, _second) = (next(&mut deliveries).await, next(&mut deliveries).await);
    tokio::time::timeout(Duration::from_millis(100), deliveries.next()).await.err().expect("no third yet");
    first.ack().await.expect("ack");
    assert_eq!(next(&mut deliveries).await.message.decode::<u32>().expect("a number"), 2);
}

pub async fn two_consumers_share_a_queue_without_sharing_a_message(place: &impl Place) {
    let (one, two) = (place.declared().await, place.declared().await);
    for n in 0..40 {
        one.publish("orders", "order.placed", &message(n)).await.expect("published");
    }
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let drain = async |broker: &Arc<dyn Broker>| {
        let mut deliveries = broker.consume("mail", 4).await.expect("consumer");
        while seen.lock().expect("lock").len() < 40 {
            if let Ok(delivery) = tokio::time::timeout(Duration::from_millis(50), deliveries.next()).await {
                let delivery = delivery.expect("a delivery");
                seen.lock().expect("lock").push(delivery.message.decode::<u32>().expect("a number"));
                delivery.ack().await.expect("ack");
            }
        }
    };
    let both = async { tokio::join!(drain(&one), drain(&two)) };
    tokio::time::timeout(SOON, both).await.expect("drained in time");
    let mut all = seen.lock().expect("lock").clone();
    all.sort_unstable();
    assert_eq!(all, (0..40).collect::<Vec<_>>());
    has_depth(one.as_ref(), "mail", 0).await;
}

pub async fn nothing_is_lost_when_all_handles_are_closed(place: &impl Place) {
    let broker = place.declared().await;
    for n in 0..5 {
        broker.publish("orders", "order.placed", &message(n)).await.expect("published");
    }
    broker.close().await;
    drop(broker);
    let broker = place.declared().await;
    let mut deliveries = broker.consume("mail", 1).await.expect("consumer");
    for n in 0..5 {
        assert_eq!(body(&mut deliveries).await, n);
    }
}

#[allow(dead_code, reason = "not every broker bounds a queue by its length")]
pub async fn a_bounded_queue_lets_the_oldest_go(place: &impl Place) {
    let broker = place.declared().await;
    broker.declare_queue(&QueueSpec::durable("short").max_length(3)).await.expect("queue");
    broker.bind("orders", "order.*", "short").await.expect("binding");
    for n in 0..10 {
        broker.publish("orders", "order.placed", &message(n)).await.expect("published");
    }
    has_depth(broker.as_ref(), "short", 3).await;
    let mut deliveries = broker.consume("short", 1).await.expect("consumer");
    assert_eq!(body(&mut deliveries).await, 7);
}

pub async fn many_may_declare_the_same_at_once(place: &impl Place) {
    let open = async || {
        let broker = place.declared().await;
        broker.publish("orders", "order.placed", &message(1)).await
    };
    let opened = futures_util::future::join_all((0..8).map(|_| open())).await;
    for published in opened {
        published.expect("published");
    }
    has_depth(place.declared().await.as_ref(), "mail", 8).await;
}
