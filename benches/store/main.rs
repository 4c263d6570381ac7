//! What the store costs and how quickly it finds, measured from outside: a server of its own, spans over OTLP/gRPC, pages
//! over HTTP; then the same store opened in this process, for what its reads take without a page around them.
//!
//! `scripts/bench-store` runs it with ten million spans and writes `target/bench-store-*.json`. By itself:
//! `cargo bench --bench store`. Settings by variable: `BENCH_SPANS` (1000000), `BENCH_HOURS` that their traces begin in, up to now
//! (24), `BENCH_SENDERS` (8), `BENCH_STORE`
//! (`sqlite` or `postgres`), `BENCH_JSON` (a file), `BENCH_FILE` (the store, in a folder of its own, which stays; where it is
//! there already nothing is sent, and only the store's own reads are measured; with `BENCH_ASK` those whose name has one of its parts,
//! with `BENCH_RATE` also while so many spans a second are taken in). `BENCH_ASK` chooses among the pages too.
//!
//! Beside the spans there is a day of metrics, an export a minute: 120 breakers in ten processes each, and 200 queues.
//!
//! * [`server`]: the process under test and what the system says of it.
//! * [`send`]: spans on their way. * [`ask`]: pages. * [`reads`]: reads. * [`report`]: the table.

mod ask;
#[allow(unused_imports, reason = "the tests use more of it")]
#[path = "../../tests/common/mod.rs"]
mod common;
#[path = "../fleet/mod.rs"]
mod fleet;
mod reads;
mod report;
mod send;
mod server;
#[path = "../workload/mod.rs"]
mod workload;

use std::time::{Duration, Instant};

use report::Report;
use server::{Place, Server};
use tokio_util::sync::CancellationToken;
use workload::{PER_REQUEST, PER_TRACE, Pace};

/// The first part of a run, against which growth is told.
const FIRST: u64 = 1_000_000;
/// In ns.
const HOUR: u64 = 3_600 * 1_000_000_000;

fn main() {
    // `cargo test` runs benches too, to see that they build; measuring is for `cargo bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let number =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (spans, senders) = (number("BENCH_SPANS", FIRST), number("BENCH_SENDERS", 8));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    // It speaks plain HTTP here, and all the same wants a TLS provider to be chosen.
    let _ = rustls::crypto::ring::default_provider().install_default();
    runtime.block_on(run(spans, senders, number("BENCH_HOURS", 24)));
}

/// Whether something is among what is measured: its name has one of the parts that `BENCH_ASK` lists.
fn is_asked(what: &str) -> bool {
    std::env::var("BENCH_ASK").map_or(true, |parts| parts.split(',').any(|part| what.contains(part)))
}

async fn run(spans: u64, senders: u64, hours: u64) {
    let file = std::env::var_os("BENCH_FILE").map(std::path::PathBuf::from);
    let is_there = file.as_ref().is_some_and(|file| file.exists());
    let place = Place::new(std::env::var("BENCH_STORE").as_deref().unwrap_or("sqlite"), file).await;
    let mut report = Report::of(place.engine(), spans);
    if is_there {
        let rate = std::env::var("BENCH_RATE").ok().and_then(|rate| rate.parse().ok()).unwrap_or(0.0);
        return reads::in_process(&mut report, &place, spans, rate).await;
    }
    let server = Server::start(&place);
    report.row("RSS idle", "MB", server.rss_mb());
    let length = hours * HOUR;
    let pace = Pace { begin: workload::now() - length, apart: length / (spans / PER_TRACE) };
    let full_rate = ingest(&mut report, &server, spans, senders, pace).await;
    send::metrics(&server.grpc, workload::now() - 24 * HOUR, 24 * HOUR / fleet::MINUTE).await;

    let pages = ask::pages(spans, workload::now());
    ask::over_http(&mut report, "", &server.pages, &pages).await;
    let more = while_ingesting(&mut report, &server, spans, (full_rate, senders), &pages).await;
    report.row("RSS after", "MB", server.rss_mb());
    report.row("RSS, the most", "MB", server.most_rss_mb());

    server.stop();
    report.row("on disk a span", "bytes", place.disk() as f64 / (spans + more) as f64);
    let started = Instant::now();
    let server = Server::start(&place);
    server.ready().await;
    report.row("start until ready", "s", started.elapsed().as_secs_f64());
    server.stop();

    reads::in_process(&mut report, &place, spans, full_rate / 2.0).await;
    report.write();
}

/// Sends all spans; gives how many a second were committed.
async fn ingest(report: &mut Report, server: &Server<'_>, spans: u64, senders: u64, pace: Pace) -> f64 {
    let (first, started, cpu) = (FIRST.min(spans / 2), Instant::now(), server.cpu_s());
    send::all(&server.grpc, 0..first / PER_REQUEST, senders, pace).await;
    let after_first = server.cpu_s();
    send::all(&server.grpc, first / PER_REQUEST..spans / PER_REQUEST, senders, pace).await;
    let (wall, used) = (started.elapsed().as_secs_f64(), server.cpu_s());
    let a_million = |used: server::Cpu, spans: u64| used.all() / (spans as f64 / 1e6);
    report.row("CPU a million spans", "s", a_million(used - cpu, spans));
    if used.database > 0.0 {
        report.row("of it the database's", "s", (used - cpu).database / (spans as f64 / 1e6));
    }
    report.row("the first million", "s", a_million(after_first - cpu, first));
    report.row("the rest, a million", "s", a_million(used - after_first, spans - first));
    report.row("committed a second", "spans", spans as f64 / wall);
    report.row("span on the wire", "bytes", (workload::request(0, pace).len() as u64 / PER_REQUEST) as f64);
    spans as f64 / wall
}

/// Asks for the same pages while spans come at half the full rate; gives how many came.
async fn while_ingesting(
    report: &mut Report,
    server: &Server<'_>,
    spans: u64,
    (full_rate, senders): (f64, u64),
    pages: &[ask::Question],
) -> u64 {
    let every = Duration::from_secs_f64(PER_REQUEST as f64 / (full_rate / 2.0));
    let (enough, address, started) = (CancellationToken::new(), server.grpc.clone(), Instant::now());
    let sending = tokio::spawn({
        let enough = enough.clone();
        async move { send::steadily(&address, spans / PER_REQUEST, (every, senders), &enough).await }
    });
    ask::over_http(report, ", while spans come at half the rate", &server.pages, pages).await;
    enough.cancel();
    let came = sending.await.expect("the senders end well") * PER_REQUEST;
    report.row("committed a second meanwhile", "spans", came as f64 / started.elapsed().as_secs_f64());
    came
}
