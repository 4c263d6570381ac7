//! What the toolkit costs over its bare client on a real RabbitMQ: publishing one by one and side by side, and one consumer.
//!
//! `cargo bench --bench queue`, with `-- ROUNDS` for another number of rounds. Tracing, metrics and their export are on; the receiver is a sink in this process. Bare and
//! ours take turns in the same run, and the median of the rounds counts. CPU is that of this process, export and sink
//! included, and not the server's.
//!
//! `BENCH_WAY=toolkit` publishes in that way alone (or `bare`, `by-hand`), for a profiler.
//!
//! Between the two stands publishing traced by hand (`by_hand.rs`): what a span, a metric and their context cost in any case.

#![cfg(unix)]

#[path = "queue/by_hand.rs"]
mod by_hand;
#[path = "../tests/common/mod.rs"]
mod common;
mod measure;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::rabbitmq::{Server, VirtualHost};
use futures_util::StreamExt as _;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, BasicQosOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};
use measure::{Cost, measured, median, telemetry, verdict};
use serde_json::json;
use throughline::comms::queue::rabbitmq::Settings;
use throughline::comms::queue::{
    Broker, Consumer, Failure, Message, Publisher, QueueSpec, RabbitMqBroker, Received,
};
use tokio_util::sync::CancellationToken;

const ROUNDS: usize = 7;
const ONE_BY_ONE: u32 = 1_000;
const SIDE_BY_SIDE: u32 = 6_000;
const SENDERS: u32 = 32;
const CONSUMED: u32 = 20_000;
const PREFETCH: u16 = 200;

fn told(what: &str, bare: &[Cost], way: &str, ours: &[Cost]) {
    let (bare_wall, ours_wall) = (median(bare, |c| c.wall), median(ours, |c| c.wall));
    let (bare_cpu, ours_cpu) = (median(bare, |c| c.cpu), median(ours, |c| c.cpu));
    println!(
        "{what:<22} bare {bare_wall:>7.1} µs, {way} {ours_wall:>7.1} µs a message: {:>+6.1} %; {:>7.0} messages/s; CPU {bare_cpu:>5.1} → {ours_cpu:>5.1} µs, {:>+6.1} %",
        (ours_wall / bare_wall - 1.0) * 100.0,
        1e6 / ours_wall,
        (ours_cpu / bare_cpu - 1.0) * 100.0,
    );
}

/// The body of a small order.
fn body(n: u32) -> serde_json::Value {
    json!({ "order_id": n, "user_id": "u-7", "items": [{ "sku": "lamp-brass", "quantity": 2 }], "amount": 12_800 })
}

struct Bare {
    _connection: Connection,
    channel: Channel,
    traced: Option<by_hand::Traced>,
}

impl Bare {
    async fn new(host: &VirtualHost, traced: Option<by_hand::Traced>) -> Self {
        let connection = Connection::connect(&host.url(), Default::default()).await.expect("connected");
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(Default::default()).await.expect("confirms");
        Self { _connection: connection, channel, traced }
    }

    /// As much as a careful user of the client does: persistent, mandatory, confirmed, with the usual properties.
    async fn publish(&self, n: u32) {
        let body = serde_json::to_vec(&body(n)).expect("JSON");
        let id = uuid::Uuid::now_v7().to_string();
        let mut headers = FieldTable::default();
        headers.insert("x-correlation-id".into(), AMQPValue::LongString(id.as_str().into()));
        let context = self.traced.as_ref().map(|traced| traced.begin(&id, body.len(), &mut headers));
        let properties = BasicProperties::default()
            .with_content_type("application/json".into())
            .with_delivery_mode(2)
            .with_message_id(id.into())
            .with_type("order.placed".into())
            .with_headers(headers);
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let (exchange, key) = ("orders".into(), "order.placed".into());
        let sent = self.channel.basic_publish(exchange, key, options, &body, properties).await.expect("sent");
        assert!(sent.await.expect("an answer").is_ack());
        if let (Some(traced), Some(context)) = (&self.traced, context) {
            traced.end(&context);
        }
    }

    async fn consume(&self, queue: &str, messages: u32) {
        self.channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.expect("prefetch");
        let (queue, options) = (queue.into(), BasicConsumeOptions::default());
        let consuming = self.channel.basic_consume(queue, "".into(), options, FieldTable::default()).await;
        let mut consumer = consuming.expect("a consumer");
        for _ in 0..messages {
            let delivery = consumer.next().await.expect("a delivery").expect("a delivery");
            let order: serde_json::Value = serde_json::from_slice(&delivery.data).expect("JSON");
            assert!(order.is_object());
            delivery.ack(Default::default()).await.expect("ack");
        }
    }
}

/// The ways to publish, by their names.
const NAMES: [&str; 3] = ["bare", "by-hand", "toolkit"];

/// What each of them is made of.
struct Ways {
    bare: Bare,
    by_hand: Bare,
    publisher: Publisher,
}

impl Ways {
    /// Publishes in the way of that number.
    async fn publish(&self, way: usize, n: u32) {
        match way {
            0 => self.bare.publish(n).await,
            1 => self.by_hand.publish(n).await,
            _ => {
                let message = Message::json("order.placed", 1, &body(n)).expect("JSON");
                self.publisher.publish("orders", "order.placed", message).await.expect("confirmed");
            }
        }
    }
}

async fn one_by_one<F: Future<Output = ()>>(one: impl Fn(u32) -> F) {
    for n in 0..ONE_BY_ONE {
        one(n).await;
    }
}

/// Runs `one` for each number, by `SENDERS` at the same time.
async fn side_by_side<F: Future<Output = ()>>(one: impl Fn(u32) -> F) {
    let (next, one) = (AtomicU32::new(0), &one);
    let sender = async || {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= SIDE_BY_SIDE {
                return;
            }
            one(n).await;
        }
    };
    futures_util::future::join_all((0..SENDERS).map(|_| sender())).await;
}

async fn consume_ours(broker: &Arc<dyn Broker>, messages: u32) {
    let stop = CancellationToken::new();
    let (seen, done) = (Arc::new(AtomicU32::new(0)), stop.clone());
    let consumer = Consumer::new(Arc::clone(broker), "mail").prefetch(usize::from(PREFETCH));
    let running = consumer.run(stop, move |received: Received| {
        let (seen, done) = (Arc::clone(&seen), done.clone());
        async move {
            let decoded = received.message.decode::<serde_json::Value>();
            let order = decoded.map_err(|error| Failure::permanent("malformed", error.to_string()))?;
            assert!(order.is_object());
            if seen.fetch_add(1, Ordering::Relaxed) + 1 == messages {
                done.cancel();
            }
            Ok(())
        }
    });
    running.await.expect("the queue is there");
}

async fn prepared(host: &VirtualHost) -> Arc<dyn Broker> {
    let (patience, settling) = (Duration::from_secs(30), Duration::ZERO);
    let settings = Settings { patience, settling, ..Settings::new(&host.url(), "bench") };
    let broker: Arc<dyn Broker> = Arc::new(RabbitMqBroker::connect(settings).await.expect("connected"));
    broker.declare_exchange("orders").await.expect("exchange");
    broker.declare_queue(&QueueSpec::durable("mail")).await.expect("queue");
    broker.bind("orders", "order.*", "mail").await.expect("binding");
    broker
}

#[tokio::main]
async fn main() {
    // `cargo test` runs benches too, to see that they build; measuring is for `cargo bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let guard = telemetry("warn,lapin=off").await;
    let server = Server::shared().await;
    let host = server.virtual_host().await;
    let broker = prepared(&host).await;
    let bare = Bare::new(&host, None).await;
    let by_hand = Bare::new(&host, Some(by_hand::Traced::new())).await;
    let publisher = Publisher::new(Arc::clone(&broker));

    let ways = Ways { bare, by_hand, publisher };
    let rounds = std::env::args().skip(1).find_map(|number| number.parse().ok()).unwrap_or(ROUNDS);
    if let Ok(name) = std::env::var("BENCH_WAY") {
        let way = NAMES.iter().position(|known| *known == name).expect("bare, by-hand or toolkit");
        for _ in 0..rounds {
            let Cost { wall, cpu } = measured(SIDE_BY_SIDE, side_by_side(|n| ways.publish(way, n))).await;
            println!("publish, {SENDERS} at once: {name} {wall:>6.1} µs a message, CPU {cpu:>6.1} µs");
        }
        broker.close().await;
        return guard.shutdown().await;
    }
    // One by one and side by side, in each way.
    let (mut one, mut many): ([Vec<Cost>; 3], [Vec<Cost>; 3]) = Default::default();
    for round in 0..=rounds {
        for way in 0..NAMES.len() {
            let one_cost = measured(ONE_BY_ONE, one_by_one(|n| ways.publish(way, n))).await;
            let many_cost = measured(SIDE_BY_SIDE, side_by_side(|n| ways.publish(way, n))).await;
            // The first round warms up.
            if round > 0 {
                one[way].push(one_cost);
                many[way].push(many_cost);
            }
        }
    }
    for (what, [bare, by_hand, ours]) in
        [("publish, one by one", &one), (&format!("publish, {SENDERS} at once"), &many)]
    {
        told(what, bare, "by hand", by_hand);
        told(what, bare, "ours", ours);
        // Decision 42: what spans, metrics and their export take in any case is not the toolkit's.
        let over = median(ours, |c| c.wall) / median(by_hand, |c| c.wall);
        println!("  ours over by hand: {}", verdict((over - 1.0) * 100.0, 10.0, "% time"));
    }

    let mut consumed = (Vec::new(), Vec::new());
    for _ in 0..rounds.min(3) {
        // There is more than enough in the queue for the first of them.
        for ours in [false, true] {
            let there = broker.queues().await.expect("queues")[0].ready;
            for n in 0..(u64::from(CONSUMED) * 2).saturating_sub(there).div_ceil(u64::from(SIDE_BY_SIDE)) {
                let _ = n;
                side_by_side(|n| ways.publish(0, n)).await;
            }
            if ours {
                consumed.1.push(measured(CONSUMED, consume_ours(&broker, CONSUMED)).await);
            } else {
                let reader = Bare::new(&host, None).await;
                consumed.0.push(measured(CONSUMED, reader.consume("mail", CONSUMED)).await);
            }
        }
    }
    told("consume, one consumer", &consumed.0, "ours", &consumed.1);
    let each = verdict(median(&consumed.1, |c| c.wall), 100.0, "µs a message");
    println!("  one consumer: {each}, which is 10,000 a second");
    broker.close().await;
    guard.shutdown().await;
}
