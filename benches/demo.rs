//! What the whole demo takes of memory: its supervisor and the eight services, under their usual load, with a dashboard beside them
//! that is not counted.
//!
//! `cargo bench --bench demo`; `BENCH_SECONDS=300` looks for longer than a minute, `BENCH_RATE=30` lets more orders come in.
//!
//! RSS counts the program's text for each process that has touched it, so the sum is more than what the demo takes of a machine: that
//! is PSS, which shares it out. Both are read from `/proc` once a second, and the highest sums count.

#![cfg(target_os = "linux")]

mod served;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use served::{Served, setting};

/// The bar for the sum of RSS, in MB.
const BAR: f64 = 250.0;

/// Ends the demo and with it its services.
struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let asked = Command::new("kill").args(["-INT", &self.0.id().to_string()]).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.0.kill();
        }
        let _ = self.0.wait();
    }
}

impl Demo {
    fn start(folder: &Path, receiver: &str) -> Self {
        let names =
            ["gateway", "orders", "users", "payments", "inventory", "notifications", "analytics", "bank"];
        let mut child = Command::new(env!("CARGO_BIN_EXE_throughline"))
            .current_dir(folder)
            .args(["demo", "--no-dashboard", &format!("--otlp-grpc={receiver}")])
            .arg(format!("--rate={}", setting("BENCH_RATE", 3)))
            .args(names.map(|name| format!("--{name}-port=0")))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the demo starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let is_ready = lines.map_while(Result::ok).any(|line| line.contains("Ctrl-C"));
        assert!(is_ready, "the demo ended before it was ready");
        Self(child)
    }

    /// The supervisor and its services.
    fn processes(&self) -> Vec<u32> {
        let parent = format!("PPid:\t{}", self.0.id());
        let entries = std::fs::read_dir("/proc").expect("the processes").flatten();
        let is_child = |id: &u32| {
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            status.lines().any(|line| line == parent)
        };
        let children = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_child);
        children.chain([self.0.id()]).collect()
    }
}

/// RSS and PSS of a process, in MB.
fn memory(id: u32) -> (f64, f64) {
    let rollup = std::fs::read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
    let kib = |field: &str| -> f64 {
        let line = rollup.lines().find_map(|line| line.strip_prefix(field));
        line.and_then(|rest| rest.trim().split(' ').next()?.parse().ok()).unwrap_or(0.0)
    };
    (kib("Rss:") * 1024.0 / 1e6, kib("Pss:") * 1024.0 / 1e6)
}

fn main() {
    // `cargo test` runs benches too, to see that they build; measuring is for `cargo bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let dashboard = Served::start(folder.path(), &[], &[]);
    let demo = Demo::start(folder.path(), &dashboard.otlp_grpc);
    let until = Instant::now() + Duration::from_secs(setting("BENCH_SECONDS", 60));
    let (mut most_rss, mut most_pss) = (0.0_f64, 0.0_f64);
    while Instant::now() < until {
        std::thread::sleep(Duration::from_secs(1));
        let each: Vec<_> = demo.processes().into_iter().map(memory).collect();
        assert_eq!(each.len(), 9, "the supervisor and eight services");
        most_rss = most_rss.max(each.iter().map(|(rss, _)| rss).sum());
        most_pss = most_pss.max(each.iter().map(|(_, pss)| pss).sum());
    }
    let verdict = if most_rss <= BAR { "within" } else { "ABOVE" };
    println!("nine processes: {most_rss:.0} MB RSS in all ({verdict} {BAR:.0}), {most_pss:.0} MB PSS");
}
