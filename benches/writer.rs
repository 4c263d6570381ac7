//! What the store's own threads spend on a million spans, with nothing before them: no socket, no other process.
//!
//! `cargo bench --bench writer` walks requests in this process, hands them to a new store, and reads from the system
//! the CPU time of the thread that packs and of the one that SQLite works in. For finding out whether a change to the
//! store pays; what counts in the end is `--bench ingest`. Settings by variable: `BENCH_SPANS` (1000000).

#[path = "workload/mod.rs"]
mod workload;

use std::sync::Arc;

use throughline::dashboard::model::correlation::Keys;
use throughline::dashboard::model::otlp::Batch;
use throughline::dashboard::store::{Ingest, Limits, Store};
use workload::{PER_REQUEST, request};

/// Requests on their way at once.
const AT_ONCE: usize = 8;

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
    let mut sending = tokio::task::JoinSet::new();
    for number in 0..spans.div_ceil(PER_REQUEST) {
        if sending.len() >= AT_ONCE {
            sending.join_next().await.expect("one is on its way").expect("no panic");
        }
        let store = store.clone();
        sending.spawn(async move {
            let body = request(number, now.as_nanos() as u64);
            store
                .ingest(Batch::traces(body, &Keys::default()).expect("a valid request"))
                .await
                .expect("stored");
        });
    }
    while let Some(sent) = sending.join_next().await {
        sent.expect("no panic");
    }
    for thread in ["store-writer", "sqlx-sqlite"] {
        println!("{thread:<46} {:>10.3} s a million", cpu_s(thread) / (spans as f64 / 1e6));
    }
    store.close().await;
}

/// CPU seconds of this process's threads whose name begins so.
fn cpu_s(name: &str) -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").expect("a Linux system");
    let of_thread = |entry: std::io::Result<std::fs::DirEntry>| {
        let folder = entry.ok()?.path();
        let own = std::fs::read_to_string(folder.join("comm")).ok()?;
        let used = std::fs::read_to_string(folder.join("schedstat")).ok()?;
        let ns: f64 = used.split_whitespace().next()?.parse().ok()?;
        own.starts_with(name).then_some(ns / 1e9)
    };
    threads.filter_map(of_thread).sum()
}
