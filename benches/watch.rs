//! What it costs a dashboard to watch: many queues of a real RabbitMQ, and many open tabs.
//!
//! `cargo bench --bench watch`; `QUEUES` (1,000), `TABS` (100) and `SECONDS` of each look (40) may be set. Half of the queues pass
//! their dead letters on by an exchange, every tenth holds messages, and a message comes every 50 ms. While tabs are open, a trace
//! comes every 200 ms, so that each tab is told of something new every second and fetches its page again, as a browser does.

#![cfg(unix)]

#[path = "../tests/common/mod.rs"]
mod common;
mod served;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::otlp::{request, span};
use common::rabbitmq::{Server, VirtualHost};
use common::{client, eventually};
use lapin::options::{BasicPublishOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use serde_json::Value;
use served::{Served, setting};
use tokio_util::task::AbortOnDropHandle;

/// Declares the queues, with the exchange that their dead letters go to.
async fn declare(host: &VirtualHost, queues: u64) -> (Connection, Channel) {
    let uri = host.url().parse::<lapin::uri::AMQPUri>().expect("an address");
    let connection = Connection::connect_uri(uri, ConnectionProperties::default()).await.expect("connected");
    let channel = connection.create_channel().await.expect("a channel");
    let none = FieldTable::default;
    channel
        .exchange_declare("dead".into(), ExchangeKind::Direct, Default::default(), none())
        .await
        .expect("declared");
    for number in 0..queues {
        let name = queue(number);
        let mut arguments = none();
        if number % 2 == 0 {
            let to = |text: String| AMQPValue::LongString(text.into());
            arguments.insert("x-dead-letter-exchange".into(), to("dead".into()));
            arguments.insert("x-dead-letter-routing-key".into(), to(queue(number + 1)));
        }
        channel
            .queue_declare(name.as_str().into(), QueueDeclareOptions::default(), arguments)
            .await
            .expect("declared");
        let key = name.as_str().into();
        channel
            .queue_bind(name.as_str().into(), "dead".into(), key, QueueBindOptions::default(), none())
            .await
            .expect("bound");
    }
    (connection, channel)
}

fn queue(number: u64) -> String {
    format!("shop.orders.region-{number:04}.placed")
}

/// Publishes to every tenth queue in turn, for as long as it is kept.
fn publish(channel: Channel, queues: u64) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        for number in (0..queues).step_by(10).cycle() {
            let sent = channel.basic_publish(
                "".into(),
                queue(number).as_str().into(),
                BasicPublishOptions::default(),
                b"{}",
                BasicProperties::default(),
            );
            sent.await.expect("published");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }))
}

/// Sends a trace five times a second, for as long as it is kept.
fn send(otlp: String) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        let client = client();
        for number in 1.. {
            let spans = [span(number, number, "place order", 5)];
            let sent = client
                .post(format!("{otlp}/v1/traces"))
                .header("content-type", "application/x-protobuf")
                .body(request("orders", &spans))
                .send()
                .await;
            assert!(sent.expect("an answer").status().is_success(), "it is taken");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }))
}

/// A tab: is told of what is new, and fetches its page each time. Counts how often.
async fn tab(page: String, live: String, fetched: Arc<AtomicU64>) {
    let client = reqwest::Client::builder().gzip(false).build().expect("a client");
    let mut news = client.get(live).send().await.expect("a stream");
    while let Ok(Some(part)) = news.chunk().await {
        if part.windows(8).any(|text| text == b"changed\n") {
            let asked = client.get(&page).header("accept-encoding", "gzip").send().await;
            asked.expect("an answer").bytes().await.expect("a page");
            fetched.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The share of a core that the dashboard takes over so many seconds, in percent.
async fn share(dashboard: &Served, seconds: u64) -> f64 {
    let (before, began) = (dashboard.cpu(), Instant::now());
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    (dashboard.cpu() - before) / began.elapsed().as_secs_f64() * 100.0
}

#[tokio::main]
async fn main() {
    // `cargo test` runs benches too, to see that they build; measuring is for `cargo bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let (queues, tabs, seconds) = (setting("QUEUES", 1_000), setting("TABS", 100), setting("SECONDS", 40));
    let rabbit = Server::shared().await;
    let host = rabbit.virtual_host().await;
    let (_connection, channel) = declare(&host, queues).await;
    let _publishing = publish(channel, queues);
    let folder = tempfile::tempdir().expect("a folder");
    let api = rabbit.management("").replacen("http://", "eu=http://guest:guest@", 1);
    let dashboard = Served::start(folder.path(), &[], &[("THROUGHLINE_RABBITMQ_API", &api)]);
    let shown = queues.min(1_000) as usize;
    eventually("the queues are known", 120, async || {
        let list = client().get(format!("{}/api/queues?limit=1000", dashboard.pages)).send().await.ok()?;
        let list: Value = list.json().await.ok()?;
        list["queues"].as_array().filter(|all| all.len() >= shown).map(drop)
    })
    .await;

    let idle = share(&dashboard, seconds).await;
    println!("{queues} queues polled: {idle:.2} % of a core, {:.0} MiB at most", dashboard.most_memory());
    let _sending = send(dashboard.otlp.clone());
    let base = share(&dashboard, seconds).await;
    println!("with a trace every 200 ms: {base:.2} % of a core");
    for page in ["/queues", "/", "/traces", "/map"] {
        let fetched = Arc::new(AtomicU64::new(0));
        let open: Vec<AbortOnDropHandle<()>> = (0..tabs)
            .map(|_| {
                let (page, live) =
                    (format!("{}{page}", dashboard.pages), format!("{}/live", dashboard.pages));
                AbortOnDropHandle::new(tokio::spawn(tab(page, live, Arc::clone(&fetched))))
            })
            .collect();
        // Not the first look of each.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let before = fetched.load(Ordering::Relaxed);
        let with = share(&dashboard, seconds).await;
        let pages = (fetched.load(Ordering::Relaxed) - before) as f64 / seconds as f64;
        println!(
            "{tabs} tabs on {page}: {with:.1} % of a core, {pages:.1} pages a second, {:.0} µs a page",
            (with - base) / 100.0 / pages * 1e6
        );
        drop(open);
    }
    println!("{:.0} MiB at most", dashboard.most_memory());
}
