//! What laying out a map costs while it is not remembered.
//!
//! `cargo bench --bench map` lays out made-up graphs of 40 to 150 nodes, 21 times each, and prints the CPU time of one, the
//! median and the most. Needs Linux.
//! Half of the nodes are services that call each other, with a ring here and there; the others are databases, queues and
//! peers that a few of them share.

use std::time::Instant;

use throughline::dashboard::query::map::Place;
use throughline::dashboard::view::map::draw::measure;
use throughline::dashboard::view::map::layout::Tie;

const ROUNDS: usize = 21;

fn main() {
    // `cargo test` runs benches too, to see that they build; measuring is for `cargo bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!("{:<28} {:>12} {:>12} {:>12}", "nodes, edges", "CPU ms", "median ms", "most ms");
    for (nodes, edges) in [(40, 80), (100, 250), (150, 400)] {
        let (places, ties) = graph(nodes, edges);
        let before = cpu_ms();
        let mut times: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let started = Instant::now();
                let laid = measure(&places, &ties);
                assert!(laid.nodes.len() == nodes && laid.width > 0.0);
                started.elapsed().as_secs_f64() * 1_000.0
            })
            .collect();
        let cpu = (cpu_ms() - before) / ROUNDS as f64;
        times.sort_by(f64::total_cmp);
        let name = format!("{nodes}, {}", ties.len());
        println!("{name:<28} {cpu:>12.2} {:>12.2} {:>12.2}", times[ROUNDS / 2], times[ROUNDS - 1]);
    }
}

/// What this thread has used of a processor so far.
fn cpu_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).expect("a number") / 1e6
}

/// A graph that looks like a large system, the same each time.
fn graph(nodes: usize, edges: usize) -> (Vec<Place>, Vec<Tie>) {
    let services = nodes / 2;
    let mut places: Vec<Place> = (0..services).map(|n| Place::Service(format!("service-{n:03}"))).collect();
    places.extend((services..nodes).map(|n| match n % 3 {
        0 => Place::Outside(format!("peer-{n:03}")),
        1 => Place::Database { system: "postgresql".to_owned(), name: format!("db-{n:03}") },
        _ => Place::Outside(format!("cache-{n:03}")),
    }));
    let mut state = 42u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    };
    let mut ties: Vec<(usize, usize)> = Vec::new();
    while ties.len() < edges {
        let from = next(services);
        let to = match next(10) {
            0 => next(services),
            1..=5 => (from + 1 + next(12)).min(services - 1),
            _ => services + next(nodes - services),
        };
        if from != to && !ties.contains(&(from, to)) {
            ties.push((from, to));
        }
    }
    ties.sort_unstable();
    (places, ties.into_iter().map(|(from, to)| Tie { from, to, weak: false }).collect())
}
