//! How many dead letters a second the dashboard redrives on a real RabbitMQ, with persistent messages and confirms.
//!
//! `cargo bench --bench redrive`. Everything runs on one machine; dashboard, broker and store share its cores.

#![cfg(unix)]

#[path = "../tests/common/mod.rs"]
mod common;
#[path = "../tests/pages/operate/support.rs"]
mod support;

use std::time::Instant;

use common::Running;
use common::rabbitmq::Server;
use serde_json::json;
use support::{Rabbit, at, ended, post, settings};

const MESSAGES: usize = 20_000;

#[tokio::main]
async fn main() {
    // `cargo test` runs benches too, to see that they build; measuring is for `cargo bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let server = Server::shared().await;
    println!("| queue | messages | seconds | messages a second |\n|---|---|---|---|");
    for kind in ["classic", "quorum"] {
        let rabbit = Rabbit::own_host(&server).await;
        rabbit.dead_lettering(kind).await;
        let dashboard = Running::with(|it| settings(it, &rabbit, "eu")).await;
        for (what, order) in [
            ("all", json!({ "all": true, "to": "other", "exchange": "orders", "key": "order.placed" })),
            (
                "every tenth",
                json!({ "text": "7}", "to": "other", "exchange": "orders", "key": "order.placed" }),
            ),
        ] {
            rabbit.publish_many("dead", MESSAGES, what).await;
            rabbit.holds("dead", MESSAGES as u64).await;
            let begun = Instant::now();
            let (_, job) = post(&dashboard, &at(&rabbit, "eu", "dead", "redrive"), order).await;
            let job = ended(&dashboard, &job).await;
            let seconds = begun.elapsed().as_secs_f64();
            assert_eq!(job["lookedAt"], MESSAGES, "{job}");
            let sent = job["sent"].as_u64().expect("a number");
            println!(
                "| {kind}, {what} | {sent} of {MESSAGES} | {seconds:.2} | {:.0} |",
                MESSAGES as f64 / seconds
            );
        }
    }
}
