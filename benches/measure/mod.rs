//! How the benchmarks of the toolkit measure: wall and CPU time of work in this process, medians of rounds, telemetry that
//! goes to a sink, and figures beside their bars.
#![allow(dead_code)]

#[path = "../cpu/mod.rs"]
mod cpu;

use std::time::Instant;

use cpu::cpu_s;
use throughline::telemetry;

/// Wall and CPU time for one piece of work, in microseconds.
#[derive(Clone, Copy)]
pub struct Cost {
    pub wall: f64,
    pub cpu: f64,
}

/// Does work of so many pieces; gives what each cost.
pub async fn measured(pieces: u32, work: impl Future<Output = ()>) -> Cost {
    let (cpu, wall) = (cpu_s("self"), Instant::now());
    work.await;
    let each = 1e6 / f64::from(pieces);
    Cost { wall: wall.elapsed().as_secs_f64() * each, cpu: (cpu_s("self") - cpu) * each }
}

/// The median of a part of costs.
pub fn median(costs: &[Cost], part: fn(&Cost) -> f64) -> f64 {
    let mut values: Vec<f64> = costs.iter().map(part).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A figure beside its bar, which it is not to exceed.
pub fn verdict(figure: f64, bar: f64, unit: &str) -> String {
    let word = if figure <= bar { "within" } else { "ABOVE" };
    format!("{figure:.1} {unit}, {word} {bar}")
}

/// Tracing, metrics and their export, into a receiver in this process that takes everything.
pub async fn telemetry(log_filter: &str) -> telemetry::Guard {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let router = axum::Router::new().fallback(async |_: axum::body::Bytes| "");
    tokio::spawn(async move { axum::serve(listener, router).await });
    telemetry::init(&telemetry::Settings {
        otlp_endpoint: Some(format!("http://{address}")),
        otlp_protocol: telemetry::Protocol::Http,
        log_filter: log_filter.into(),
        ..telemetry::Settings::new("bench", "1")
    })
    .expect("telemetry")
}
