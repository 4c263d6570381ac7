//! How long commits took: lately, for the Status page, and since the start, for `/metrics`.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// Commits remembered.
const KEPT: usize = 512;

/// Durations of commits, from the writer taking a group up to its answers.
#[derive(Debug)]
pub struct Latency {
    newest: Mutex<VecDeque<Duration>>,
    all: Histogram,
}

impl Default for Latency {
    fn default() -> Self {
        Self { newest: Mutex::default(), all: Histogram::new(exponential_buckets(0.0005, 2.0, 14)) }
    }
}

impl Latency {
    /// Notes one commit.
    pub fn record(&self, took: Duration) {
        self.all.observe(took.as_secs_f64());
        let mut newest = self.newest.lock().expect("no holder panics");
        newest.truncate(KEPT - 1);
        newest.push_front(took);
    }

    /// The duration that a share (0 to 1) of the newest commits stayed within; `None` before the first.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let mut sorted: Vec<_> = self.newest.lock().expect("no holder panics").iter().copied().collect();
        sorted.sort_unstable();
        let rank = (sorted.len() as f64 * share).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied()
    }

    /// All commits since the start, in seconds.
    pub fn histogram(&self) -> Histogram {
        self.all.clone()
    }
}
