//! How long the pages of breakers take where there are many: 200 breakers of 20 services, each in 10 processes, exported once
//! a minute for 24 hours. `cargo bench --bench breakers`; `BENCH_HOURS` (24).
//!
//! Each look follows an export of one process that was just committed, so nothing is answered from what somebody else was
//! shown. Times are what a client on the same machine waits for the whole page. The last line is a story whose services have
//! half of those breakers: 50 traces, 2,000 spans, 200 messages.

#[allow(unused_imports, reason = "the tests use more of it")]
#[path = "../tests/common/mod.rs"]
mod common;
#[path = "fleet/mod.rs"]
mod fleet;

use std::time::{Duration, Instant};

use common::otlp::span;
use common::{Running, client};
use fleet::{BREAKERS, INSTANCES, MINUTE};

const SERVICES: u64 = 20;
const LOOKS: usize = 60;

fn main() {
    // `cargo test` runs benches too, to see that they build; measuring is for `cargo bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let hours = std::env::var("BENCH_HOURS").ok().and_then(|hours| hours.parse().ok()).unwrap_or(24);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(hours));
}

async fn send(server: &Running, body: Vec<u8>) {
    let request = client().post(server.otlp("/v1/metrics")).header("content-type", "application/x-protobuf");
    assert_eq!(request.body(body).send().await.expect("an answer").status(), 200);
}

async fn look(server: &Running, path: &str) -> (Duration, usize) {
    let http = client();
    let begin = Instant::now();
    let answer = http.get(server.page(path)).send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "{path}");
    let text = answer.text().await.expect("a page");
    (begin.elapsed(), text.len())
}

async fn run(hours: u64) {
    let server = Running::start().await;
    let minutes = hours * 60;
    let begin = common::otlp::now() - minutes * MINUTE;
    let filling = Instant::now();
    for minute in 0..minutes {
        send(&server, fleet::breakers(begin + minute * MINUTE, minute, SERVICES * INSTANCES)).await;
    }
    println!(
        "{} breakers in {} processes, {hours} h: sent in {:.1?}",
        SERVICES * BREAKERS,
        SERVICES * INSTANCES,
        filling.elapsed()
    );
    let one = "/breakers/one?service=service-3&name=breaker-3&last=24h";
    for path in ["/breakers?last=24h", "/breakers", "/", "/api/breakers?last=24h", one] {
        look_at(path, &server, minutes).await;
    }
    send_story(&server).await;
    look_at("/correlations/story", &server, minutes).await;
    server.dashboard.stop().await;
}

/// A story of ten minutes: 50 traces of 40 spans in 10 services, in which 200 messages are sent and taken.
async fn send_story(server: &Running) {
    let traces = 50;
    for service in 0..10u64 {
        let mut spans = Vec::new();
        for trace in 0..traces {
            let ago = 720_000 - trace * 12_000;
            for number in (0..40u64).filter(|number| number % 10 == service) {
                let mut one = span(trace, number, "work", ago - number * 20).with("correlation.id", "story");
                if number > 0 {
                    one = one.parent(number - 1);
                }
                // The first eight are four messages, each sent by one service and taken by the next.
                if number < 8 {
                    (one.kind, one.name) =
                        if number % 2 == 0 { (4, b"send jobs".into()) } else { (5, b"process jobs".into()) };
                    one = one
                        .with("messaging.system", "rabbitmq")
                        .with("messaging.destination.name", "jobs")
                        .with("messaging.message.id", &format!("m-{trace}-{}", number / 2));
                }
                spans.push(one);
            }
        }
        let body = common::otlp::request(&format!("service-{service}"), &spans);
        let request =
            client().post(server.otlp("/v1/traces")).header("content-type", "application/x-protobuf");
        assert_eq!(request.body(body).send().await.expect("an answer").status(), 200);
    }
    let story = client().get(server.page("/correlations/story")).send().await.expect("an answer");
    let text = story.text().await.expect("a page").replace(['\u{a0}', '\u{202f}'], " ");
    for wanted in
        ["<dt>Traces</dt><dd>50</dd>", "<dt>Spans</dt><dd>2 000</dd>", "<dt>Messages</dt><dd>200</dd>"]
    {
        assert!(text.contains(wanted), "{wanted}");
    }
}

/// Looks at a page many times, each time after an export, and prints how long it took.
async fn look_at(path: &str, server: &Running, minutes: u64) {
    let (first, bytes) = look(server, path).await;
    let mut times = Vec::new();
    for number in 0..LOOKS {
        send(server, fleet::breakers(common::otlp::now(), minutes + number as u64 / 60, 1)).await;
        times.push(look(server, path).await.0);
    }
    times.sort_unstable();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    println!("{path:60} first {first:8.1?}  p50 {:8.1?}  p95 {:8.1?}  {} kB", at(50), at(95), bytes / 1_000);
}
