//! What it costs to ask for the rates of a day: of operations, of calls, of services over time.
//!
//! `cargo bench --bench rates` fills a store in this process with a day of spans and asks, one after the other.
//! Setting by variable: `BENCH_SPANS` (1000000).

use std::sync::Arc;
use std::time::Instant;

use throughline::dashboard::model::correlation::Keys;
use throughline::dashboard::model::otlp::Batch;
use throughline::dashboard::model::proto::{put_bytes, put_fixed64, put_message, put_uint};
use throughline::dashboard::store::{Ingest, Limits, Reader, Store};

const PER_TRACE: u64 = 12;
const TRACES_A_REQUEST: u64 = 48;
const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
/// Requests on their way at once.
const AT_ONCE: usize = 32;

fn main() {
    // `cargo test` runs benches too, to see that they build; measuring is for `cargo bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let spans = std::env::var("BENCH_SPANS").ok().and_then(|value| value.parse().ok()).unwrap_or(1_000_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(spans));
}

async fn run(spans: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let keys = Keys::default();
    let store = Store::open_sqlite(&folder.path().join("bench.db"), Limits::default(), &keys).await;
    let store = Arc::new(store.expect("the store opens"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let to = now.as_nanos() as u64;
    let (from, traces) = (to - DAY, spans / PER_TRACE);
    let mut sending = tokio::task::JoinSet::new();
    for first in (0..traces).step_by(TRACES_A_REQUEST as usize) {
        if sending.len() >= AT_ONCE {
            sending.join_next().await.expect("one is on its way").expect("no panic");
        }
        let store = store.clone();
        sending.spawn(async move {
            let request = request(first, from, DAY / traces);
            let batch = Batch::traces(request.into(), &Keys::default()).expect("a valid request");
            store.ingest(batch).await.expect("stored");
        });
    }
    while let Some(sent) = sending.join_next().await {
        sent.expect("no panic");
    }
    println!("{:<46} {:>10}", "spans kept", store.holdings().await.expect("holdings").spans);
    println!("{:<46} {:>10} {:>10} {:>10}", "asked", "p50 ms", "p95 ms", "rows");
    for (what, length) in [("a day", DAY), ("an hour", DAY / 24), ("five minutes", 300 * SECOND)] {
        let from = to - length;
        let count = async || store.operations(from, to, None).await.expect("operations").len();
        measure(&format!("operations of {what}"), count).await;
        let count = async || store.calls(from, to).await.expect("calls").len();
        measure(&format!("calls of {what}"), count).await;
        let count = async || store.service_rates(from, to, 60).await.expect("services").len();
        measure(&format!("services of {what} in 60 steps"), count).await;
    }
    store.close().await;
}

async fn measure(what: &str, ask: impl AsyncFn() -> usize) {
    let (mut times, mut rows) = (Vec::new(), ask().await);
    for _ in 0..30 {
        let started = Instant::now();
        rows = rows.max(ask().await);
        times.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    times.sort_by(f64::total_cmp);
    println!("{what:<46} {:>10.2} {:>10.2} {rows:>10}", times[14], times[28]);
}

/// A request with some whole traces, each of a server's and a client's span in turn, by twelve services.
fn request(first: u64, begin: u64, apart: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for service in 0..PER_TRACE {
        put_message(&mut out, 1, |out| {
            put_message(out, 1, |out| text(out, 1, "service.name", &format!("service-{}", service / 2)));
            put_message(out, 2, |out| {
                for trace in first..first + TRACES_A_REQUEST {
                    put_message(out, 2, |out| span(out, trace, service, begin + trace * apart));
                }
            });
        });
    }
    out
}

fn span(out: &mut Vec<u8>, trace: u64, place: u64, start: u64) {
    let id = |place: u64| (trace * PER_TRACE + place + 1).to_be_bytes();
    let random = (trace * PER_TRACE + place).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    put_bytes(out, 1, &[[7; 8], (trace + 1).to_be_bytes()].concat());
    put_bytes(out, 2, &id(place));
    if place > 0 {
        put_bytes(out, 4, &id(place - 1));
    }
    put_bytes(out, 5, format!("GET /resource-{}-{}", place, trace % 4).as_bytes());
    put_uint(out, 6, 2 + place % 2);
    put_fixed64(out, 7, start);
    put_fixed64(out, 8, start + (PER_TRACE - place) * 2_000_000 + random % 40_000_000);
    text(out, 9, "http.request.method", "GET");
    text(out, 9, "url.path", &format!("/resource-{place}/{}", random % 100_000));
    text(out, 9, "server.address", &format!("service-{}.shop.internal", place / 2 + 1));
    text(out, 9, "user.id", &format!("user-{}", random % 50_000));
}

fn text(out: &mut Vec<u8>, field: u32, key: &str, value: &str) {
    put_message(out, field, |out| {
        put_bytes(out, 1, key.as_bytes());
        put_message(out, 2, |out| put_bytes(out, 1, value.as_bytes()));
    });
}
