//! What a circuit breaker costs a call that it lets through: to be at most a microsecond.
//!
//! `cargo bench --bench breaker` calls a future that is ready at once, bare and behind breakers of each kind, on one
//! thread and on as many as the machine has, and reads the CPU time of a call. Metrics are collected when
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
    let began = cpu();
    for _ in 0..calls {
        black_box(Instant::now());
    }
    report("one look at the clock; a guarded call takes two", cpu() - began, calls);
    let bare = cpu();
    for call in 0..calls {
        let answer: Result<u64, Infallible> = async { Ok(black_box(call)) }.await;
        black_box(answer.is_ok());
    }
    let bare = cpu() - bare;
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
        let began = cpu();
        closed(&breaker, calls).await;
        report(name, (cpu() - began).saturating_sub(bare), calls);
    }
    let open = Breaker::new("bench-open", BreakerConfig::default());
    open.force_open();
    let began = cpu();
    for _ in 0..calls {
        assert!(black_box(open.acquire()).is_err());
    }
    report("rejected by an open breaker", cpu() - began, calls);

    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let breaker = Breaker::new("bench-shared", BreakerConfig::default());
    let one = || {
        let began = cpu();
        futures_util::future::FutureExt::now_or_never(closed(&breaker, calls)).expect("never waits");
        cpu() - began
    };
    let all: Duration = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    report(&format!("one breaker, {threads} threads at once"), all / threads as u32, calls);
}

async fn closed(breaker: &Breaker, calls: u64) {
    for call in 0..calls {
        let answer = breaker.call(async { Ok::<_, Infallible>(black_box(call)) }, |_| true).await;
        assert!(answer.is_ok());
    }
}

/// The CPU time of this thread: the machine may be busy with other things.
fn cpu() -> Duration {
    let used = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux system");
    Duration::from_nanos(used.split_whitespace().next().and_then(|ns| ns.parse().ok()).expect("nanoseconds"))
}

fn report(what: &str, took: Duration, calls: u64) {
    let each = took.as_nanos() as f64 / calls as f64;
    let word = if each <= 1_000.0 { "within" } else { "ABOVE" };
    println!("{what:<50} {each:>8.1} ns a call, {word} 1,000");
}
