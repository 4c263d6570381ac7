//! What a circuit breaker costs a call that it lets through: to be at most a microsecond.
//!
//! `cargo bench --bench breaker` calls a future that is ready at once, bare and behind breakers of each kind, on one
//! thread and on as many as the machine has, and reads the CPU time that a call took. Metrics are collected when
//! somebody asks for them, so they are not among it. Settings by variable: `BENCH_CALLS` (5000000).

use std::convert::Infallible;
use std::hint::black_box;
use std::time::{Duration, Instant};

use throughline::comms::breaker::{Breaker, BreakerConfig, Window};

fn main() {
    // `cargo test` runs benches too, to see that they build; measuring is for `cargo bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let calls = std::env::var("BENCH_CALLS").ok().and_then(|value| value.parse().ok()).unwrap_or(5_000_000);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(run(calls));
}

async fn run(calls: u64) {
    let bare = Instant::now();
    for call in 0..calls {
        let answer: Result<u64, Infallible> = async { Ok(black_box(call)) }.await;
        black_box(answer.is_ok());
    }
    let bare = bare.elapsed();
    report("bare", bare, calls);
    let slow = |window| BreakerConfig {
        window,
        slow_after: Some(Duration::from_secs(1)),
        ..BreakerConfig::default()
    };
    for (name, config) in [
        ("behind a breaker, the newest 20 calls", slow(Window::Calls(20))),
        ("behind a breaker, the newest 10,000 calls", slow(Window::Calls(10_000))),
        ("behind a breaker, the newest 60 s", slow(Window::Time(Duration::from_secs(60)))),
    ] {
        let breaker = Breaker::new("bench", config);
        let began = Instant::now();
        closed(&breaker, calls).await;
        report(name, began.elapsed().saturating_sub(bare), calls);
    }
    let open = Breaker::new("bench-open", BreakerConfig::default());
    open.force_open();
    let began = Instant::now();
    for _ in 0..calls {
        assert!(black_box(open.acquire()).is_err());
    }
    report("rejected by an open breaker", began.elapsed(), calls);

    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let breaker = Breaker::new("bench-shared", BreakerConfig::default());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                futures_util::future::FutureExt::now_or_never(closed(&breaker, calls)).expect("never waits")
            });
        }
    });
    report(&format!("one breaker, {threads} threads at once"), began.elapsed(), calls);
}

async fn closed(breaker: &Breaker, calls: u64) {
    for call in 0..calls {
        let answer = breaker.call(async { Ok::<_, Infallible>(black_box(call)) }, |_| true).await;
        assert!(answer.is_ok());
    }
}

fn report(what: &str, took: Duration, calls: u64) {
    println!("{what:<46} {:>8.1} ns a call", took.as_nanos() as f64 / calls as f64);
}
