//! What a tap costs: messages with bodies at a steady rate through a real RabbitMQ, seen and kept by a dashboard of its own
//! process, whose CPU and memory are read.
//!
//! `cargo bench --bench tap`; `RATE` (5,000 a second), `SECONDS` (20) and `BYTES` of a body (1,000) may be set. Each message is a
//! trace of its own with ID, correlation ID, type and four headers, as a shop's would be.

#![cfg(unix)]

#[path = "../tests/common/mod.rs"]
mod common;
mod served;

use std::time::{Duration, Instant};

use common::rabbitmq::Server;
use common::{client, eventually};
use lapin::options::{BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties, ExchangeKind};
use serde_json::Value;
use served::{Served, setting};

async fn tap_of(pages: &str) -> Option<Value> {
    let list = client().get(format!("{pages}/api/messages?limit=1")).send().await.ok()?;
    Some(list.json::<Value>().await.ok()?["taps"][0].clone())
}

#[tokio::main]
async fn main() {
    // `cargo test` runs benches too, to see that they build; measuring is for `cargo bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let (rate, seconds, bytes) =
        (setting("RATE", 5_000), setting("SECONDS", 20), setting("BYTES", 1_000) as usize);
    let rabbit = Server::shared().await;
    let host = rabbit.virtual_host().await;
    let uri = host.url().parse::<lapin::uri::AMQPUri>().expect("an address");
    let connection = Connection::connect_uri(uri, ConnectionProperties::default()).await.expect("connected");
    let channel = connection.create_channel().await.expect("a channel");
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel
        .exchange_declare("orders".into(), ExchangeKind::Topic, durable, FieldTable::default())
        .await
        .expect("declared");
    let mut short = FieldTable::default();
    short.insert("x-max-length".into(), AMQPValue::LongInt(1_000));
    channel.queue_declare("work".into(), QueueDeclareOptions::default(), short).await.expect("declared");
    channel
        .queue_bind(
            "work".into(),
            "orders".into(),
            "#".into(),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .expect("bound");
    let folder = tempfile::tempdir().expect("a folder");
    let dashboard = Served::start(
        folder.path(),
        &["--tap-exchange=orders"],
        &[("THROUGHLINE_TAP", &format!("eu={}", host.url()))],
    );
    let pages = dashboard.pages.clone();
    eventually("the tap listens", 30, async || {
        tap_of(&pages).await.filter(|tap| tap["listeningSince"].is_string()).map(drop)
    })
    .await;

    let text = |text: String| AMQPValue::LongString(text.into());
    let filler = "x".repeat(bytes.saturating_sub(60));
    let (before, began) = (dashboard.cpu(), Instant::now());
    for number in 0..rate * seconds {
        let due = Duration::from_secs_f64(number as f64 / rate as f64);
        if let Some(early) = due.checked_sub(began.elapsed()).filter(|early| early.as_millis() > 2) {
            tokio::time::sleep(early).await;
        }
        let mut headers = FieldTable::default();
        headers.insert("traceparent".into(), text(format!("00-{:032x}-{:016x}-01", number + 1, number + 1)));
        headers.insert("x-correlation-id".into(), text(format!("corr-{}", number / 3)));
        headers.insert("x-tenant".into(), text(format!("tenant-{}", number % 20)));
        headers.insert("x-message-version".into(), AMQPValue::LongInt(1));
        let properties = BasicProperties::default()
            .with_message_id(format!("message-{number}").into())
            .with_correlation_id(format!("corr-{}", number / 3).into())
            .with_type("order.placed".into())
            .with_content_type("application/json".into())
            .with_headers(headers);
        let body = format!("{{\"order\":{number},\"total\":248.90,\"filler\":\"{filler}\"}}");
        channel
            .basic_publish(
                "orders".into(),
                "order.placed".into(),
                BasicPublishOptions::default(),
                body.as_bytes(),
                properties,
            )
            .await
            .expect("published");
    }
    let took = began.elapsed().as_secs_f64();
    let sent = rate * seconds;
    let tap = eventually("all of it was seen", 60, async || {
        tap_of(&pages).await.filter(|tap| tap["seen"].as_u64() >= Some(sent))
    })
    .await;
    let (cpu, memory) = (dashboard.cpu() - before, dashboard.most_memory());
    println!("sent {sent} messages of {bytes} bytes in {took:.1} s, {:.0} a second", sent as f64 / took);
    println!("seen {}, let go {}", tap["seen"], tap["letGo"]);
    println!(
        "{:.1} % of a core, {:.1} µs a message, {memory:.0} MiB at most",
        cpu / took * 100.0,
        cpu / sent as f64 * 1e6
    );
    let size = std::fs::metadata(folder.path().join("throughline.db")).map_or(0, |file| file.len());
    println!("{:.0} bytes a message on disk", size as f64 / sent as f64);
}
