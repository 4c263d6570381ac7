//! What removing the oldest tenth of a store costs whoever sends meanwhile, and what seals cost.
//!
//! `cargo bench --bench retention` fills a store in this process, then opens it with a limit of nine tenths of its
//! size and sends on at an even pace. Prints the statements of the seals while it was filled; then how long the removal
//! took, the longest step of it, and the longest that a commit waited, beside the longest one without a removal.
//! Settings by variable: `BENCH_SPANS` (2000000), `BENCH_STORE` (a new file; `postgres://…` for an empty database), and
//! `BENCH_LOGS` (0): so many logs are sent too, 64 at a time one after the other, as a quiet system does, and it is
//! they who are removed, by a limit of their own.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};
use throughline::dashboard::model::correlation::Keys;
use throughline::dashboard::model::otlp::Batch;
use throughline::dashboard::model::proto::{put_bytes, put_fixed64, put_message, put_uint};
use throughline::dashboard::store::{Holdings, Ingest, Limits, Location, Reader, Store};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

const PER_TRACE: u64 = 12;
const TRACES_A_REQUEST: u64 = 48;
const AT_ONCE: usize = 32;
/// Time between two requests while it removes: some 29,000 spans a second.
const PACE: Duration = Duration::from_millis(20);

/// Without a step for so long the removal is over.
const QUIET: Duration = Duration::from_millis(300);

/// The longest step of a removal in microseconds, as the store tells it.
static LONGEST: AtomicU64 = AtomicU64::new(0);
static STEPS: AtomicU64 = AtomicU64::new(0);
/// Steps that took longer than a commit is to wait.
static LONG: AtomicU64 = AtomicU64::new(0);
/// Statements of seals by what they write: how many, the longest in microseconds, and how many were long.
static SEALS: Mutex<BTreeMap<String, (u64, u64, u64)>> = Mutex::new(BTreeMap::new());
/// Longer than this is long, in microseconds.
const LIMIT: u64 = 50_000;
/// Logs of a request.
const LOGS_A_REQUEST: u64 = 64;

fn main() {
    // `cargo test` runs benches too, to see that they build; measuring is for `cargo bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let number = |name: &str, usual: u64| {
        std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(usual)
    };
    let (spans, logs) = (number("BENCH_SPANS", 2_000_000), number("BENCH_LOGS", 0));
    tracing_subscriber::registry().with(Steps).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(spans, logs));
}

async fn run(spans: u64, logs: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = format!("sqlite://{}", folder.path().join("bench.db").display());
    let location: Location =
        std::env::var("BENCH_STORE").unwrap_or(file).parse().expect("an address of a store");
    let every = Duration::from_millis(100);
    let limits = Limits { max_age: Duration::ZERO, max_bytes: 0, every, ..Limits::default() };
    let store = open(&location, limits).await;
    let started = Instant::now();
    fill(&store, spans / PER_TRACE).await;
    for first in (0..logs).step_by(LOGS_A_REQUEST as usize) {
        while store.ingest(batch_of_logs(first)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    let before = store.holdings().await.expect("holdings");
    report_filled(&before, started.elapsed());
    let next = Arc::new(AtomicU64::new(spans / PER_TRACE));
    let calm = {
        let sending = Sending::begin(&store, &next);
        tokio::time::sleep(Duration::from_secs(3)).await;
        sending.end().await
    };
    close(store).await;
    let full = disk(folder.path()).await;
    let limits = match logs {
        0 => Limits { max_bytes: before.bytes / 10 * 9, ..limits },
        _ => Limits { max_log_bytes: 1, ..limits },
    };
    LONGEST.store(0, Ordering::Relaxed);
    STEPS.store(0, Ordering::Relaxed);
    LONG.store(0, Ordering::Relaxed);
    let store = open(&location, limits).await;
    let started = Instant::now();
    let sending = Sending::begin(&store, &next);
    let mut after = store.holdings().await.expect("holdings");
    let is_over = |held: &Holdings| match logs {
        0 => held.bytes > limits.max_bytes,
        _ => held.logs >= before.logs,
    };
    while is_over(&after) {
        assert!(started.elapsed() < Duration::from_secs(300), "it does not come to an end");
        tokio::time::sleep(Duration::from_millis(10)).await;
        after = store.holdings().await.expect("holdings");
    }
    // PostgreSQL counts what a run takes at once; its rows go after that.
    let mut steps = u64::MAX;
    while steps == 0 || steps != STEPS.load(Ordering::Relaxed) {
        steps = STEPS.load(Ordering::Relaxed);
        tokio::time::sleep(QUIET).await;
    }
    let took = started.elapsed() - QUIET;
    let busy = sending.end().await;
    close(store).await;
    println!("{:<46} {:>10.2} s", "removed in", took.as_secs_f64());
    println!("{:<46} {:>10}", "steps", STEPS.load(Ordering::Relaxed));
    println!("{:<46} {:>10.1} ms", "longest step", LONGEST.load(Ordering::Relaxed) as f64 / 1e3);
    println!("{:<46} {:>10}", "steps over 50 ms", LONG.load(Ordering::Relaxed));
    println!("{:<46} {:>10.1} ms", "longest commit without a removal", calm.as_secs_f64() * 1e3);
    println!("{:<46} {:>10.1} ms", "longest commit meanwhile", busy.as_secs_f64() * 1e3);
    println!("{:<46} {:>10.1} MB", "data before", before.bytes as f64 / 1e6);
    println!("{:<46} {:>10.1} MB", "data after", after.bytes as f64 / 1e6);
    println!("{:<46} {:>10.1} MB", "file before", full as f64 / 1e6);
    println!("{:<46} {:>10.1} MB", "file after", disk(folder.path()).await as f64 / 1e6);
}

/// What was filled in, and what its seals cost.
fn report_filled(held: &Holdings, took: Duration) {
    println!("{:<46} {:>10}", "spans", held.spans);
    println!("{:<46} {:>10}", "logs", held.logs);
    println!("{:<46} {:>10}", "runs", held.runs);
    println!("{:<46} {:>10.1} s", "filled in", took.as_secs_f64());
    for (what, (count, longest, long)) in SEALS.lock().expect("no holder panics").iter() {
        let name = format!("seal, {what}: longest of {count}, {long} over 50 ms");
        println!("{name:<46} {:>10.1} ms", *longest as f64 / 1e3);
    }
}

async fn open(location: &Location, limits: Limits) -> Arc<Store> {
    Arc::new(Store::open(location, limits, &Keys::default()).await.expect("the store opens"))
}

async fn close(store: Arc<Store>) {
    store.close().await;
}

async fn fill(store: &Arc<Store>, traces: u64) {
    let mut sending = tokio::task::JoinSet::new();
    for first in (0..traces).step_by(TRACES_A_REQUEST as usize) {
        if sending.len() >= AT_ONCE {
            sending.join_next().await.expect("one is on its way").expect("no panic");
        }
        let store = store.clone();
        sending.spawn(async move {
            // The writer may be busy with a seal for longer than a sender waits.
            while store.ingest(batch(first)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        });
    }
    while let Some(sent) = sending.join_next().await {
        sent.expect("no panic");
    }
}

fn batch(first: u64) -> Batch {
    Batch::traces(request(first).into(), &Keys::default()).expect("a valid request")
}

/// Sends at an even pace, one request after the other.
struct Sending {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Duration>,
}

impl Sending {
    fn begin(store: &Arc<Store>, next: &Arc<AtomicU64>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (store, next, stopped) = (store.clone(), next.clone(), stop.clone());
        let task = tokio::spawn(async move {
            let (mut longest, mut pace) = (Duration::ZERO, tokio::time::interval(PACE));
            while !stopped.load(Ordering::Relaxed) {
                pace.tick().await;
                let batch = batch(next.fetch_add(TRACES_A_REQUEST, Ordering::Relaxed));
                let started = Instant::now();
                store.ingest(batch).await.expect("stored");
                longest = longest.max(started.elapsed());
            }
            longest
        });
        Self { stop, task }
    }

    /// Stops, and gives the longest that a request took.
    async fn end(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("no panic")
    }
}

/// Listens to what the store says of each step.
struct Steps;

impl<S: tracing::Subscriber> Layer<S> for Steps {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        event.record(&mut Step::default());
    }
}

/// What of an event was seen.
#[derive(Default)]
struct Step {
    what: String,
}

impl Visit for Step {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "step_us" => {
                LONGEST.fetch_max(value, Ordering::Relaxed);
                STEPS.fetch_add(1, Ordering::Relaxed);
                LONG.fetch_add(u64::from(value > LIMIT), Ordering::Relaxed);
            }
            "statement_us" => {
                let mut seals = SEALS.lock().expect("no holder panics");
                let (count, longest, long) = seals.entry(std::mem::take(&mut self.what)).or_default();
                *count += 1;
                *longest = value.max(*longest);
                *long += u64::from(value > LIMIT);
            }
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "what" {
            self.what = value.to_owned();
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// Logs of a service, about 300 bytes each.
fn batch_of_logs(first: u64) -> Batch {
    let mut out = Vec::new();
    put_message(&mut out, 1, |out| {
        put_message(out, 1, |out| text(out, 1, "service.name", "service-logs"));
        put_message(out, 2, |out| {
            for number in first..first + LOGS_A_REQUEST {
                let random = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
                put_message(out, 2, |out| {
                    put_fixed64(out, 1, 1_790_000_000_000_000_000 + number * 1_000_000);
                    put_uint(out, 2, 9 + number % 3 * 4);
                    put_message(out, 5, |out| {
                        put_bytes(
                            out,
                            1,
                            format!("order {number} of user {random} was taken in {} ms", random % 997)
                                .as_bytes(),
                        );
                    });
                    text(out, 6, "user.id", &format!("user-{}", random % 50_000));
                    text(out, 6, "thread.name", &format!("worker-{}", number % 16));
                });
            }
        });
    });
    Batch::logs(out.into(), &Keys::default()).expect("a valid request")
}

/// A request of some whole traces, about 440 bytes a span, by twelve services.
fn request(first: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for service in 0..PER_TRACE {
        put_message(&mut out, 1, |out| {
            put_message(out, 1, |out| text(out, 1, "service.name", &format!("service-{service}")));
            put_message(out, 2, |out| {
                for trace in first..first + TRACES_A_REQUEST {
                    put_message(out, 2, |out| span(out, trace, service));
                }
            });
        });
    }
    out
}

fn span(out: &mut Vec<u8>, trace: u64, place: u64) {
    let id = |place: u64| (trace * PER_TRACE + place).wrapping_mul(0xff51_afd7_ed55_8ccd) | 1;
    let random = (trace * PER_TRACE + place).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
    let start = 1_790_000_000_000_000_000 + trace * 1_000_000;
    put_bytes(
        out,
        1,
        &[trace.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes(), (trace + 1).to_be_bytes()].concat(),
    );
    put_bytes(out, 2, &id(place).to_be_bytes());
    if place > 0 {
        put_bytes(out, 4, &id((place - 1) / 2).to_be_bytes());
    }
    put_bytes(out, 5, format!("GET /api/v1/resource-{}", place * 3 + trace % 3).as_bytes());
    put_uint(out, 6, 2 + place % 2);
    put_fixed64(out, 7, start);
    put_fixed64(out, 8, start + (PER_TRACE - place) * 2_000_000 + random % 1_000_000);
    text(out, 9, "http.request.method", "GET");
    text(out, 9, "http.route", &format!("/api/v1/resource-{}", place * 3));
    text(out, 9, "url.path", &format!("/api/v1/resource-{}/{}", place * 3, random % 100_000));
    text(out, 9, "server.address", &format!("service-{place}.shop.internal"));
    text(out, 9, "user_agent.original", "shop-client/2.1 (linux)");
    text(out, 9, "user.id", &format!("user-{}", random % 50_000));
    text(out, 9, "shop.region", ["eu-central-1", "us-east-1", "ap-south-1"][(random % 3) as usize]);
    text(out, 9, "order.ref", &format!("order-{trace}"));
}

fn text(out: &mut Vec<u8>, field: u32, key: &str, value: &str) {
    put_message(out, field, |out| {
        put_bytes(out, 1, key.as_bytes());
        put_message(out, 2, |out| put_bytes(out, 1, value.as_bytes()));
    });
}

/// Bytes of the database's own file, once its log is written into it.
async fn disk(folder: &Path) -> u64 {
    let file = folder.join("bench.db");
    if !file.exists() {
        return 0;
    }
    let mut connection = SqliteConnectOptions::new().filename(&file).connect().await.expect("it opens");
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.expect("nobody reads");
    connection.close().await.expect("it closes");
    std::fs::metadata(file).map_or(0, |file| file.len())
}
