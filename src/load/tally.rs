//! What was sent and what became of it, counted by all senders.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

use super::encode::Parcel;
use super::send::Signal;

/// Longest time of a request that is told apart, in µs.
const LONGEST_US: u64 = 3_600_000_000;
/// Different reasons that are kept; a receiver could make up a new one each time.
const MOST_REASONS: usize = 20;

/// Spans, or log records.
#[derive(Debug, Default)]
pub struct Counts {
    sent: AtomicU64,
    acknowledged: AtomicU64,
    refused: AtomicU64,
}

impl Counts {
    /// Handed to a sender, each once however often it was tried.
    pub fn sent(&self) -> u64 {
        self.sent.load(Relaxed)
    }

    /// In a request that the receiver took, without those that it left out.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Relaxed)
    }

    /// Left out by the receiver, or in a request that was given up.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Neither: the load ended before there was an answer.
    pub fn unanswered(&self) -> u64 {
        self.sent().saturating_sub(self.acknowledged() + self.refused())
    }
}

/// All that is counted.
#[derive(Debug)]
pub struct Tally {
    pub spans: Counts,
    pub records: Counts,
    pub traces: AtomicU64,
    /// Requests, each once.
    pub requests: AtomicU64,
    /// Tries after the first.
    pub retried: AtomicU64,
    /// Protobuf of all requests, before compression.
    pub bytes: AtomicU64,
    /// The same of the spans alone.
    pub span_bytes: AtomicU64,
    /// How long requests waited for a sender, in µs.
    held_up: AtomicU64,
    reasons: Mutex<BTreeMap<String, u64>>,
    /// Of the tries that were acknowledged, in µs.
    latency: Mutex<Histogram<u64>>,
}

impl Default for Tally {
    fn default() -> Self {
        let latency = Histogram::new_with_bounds(1, LONGEST_US, 3).expect("the bounds are valid");
        Self {
            spans: Counts::default(),
            records: Counts::default(),
            traces: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            retried: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            span_bytes: AtomicU64::new(0),
            held_up: AtomicU64::new(0),
            reasons: Mutex::default(),
            latency: Mutex::new(latency),
        }
    }
}

impl Tally {
    fn counts(&self, signal: Signal) -> &Counts {
        match signal {
            Signal::Traces => &self.spans,
            Signal::Logs => &self.records,
        }
    }

    /// A request was handed to a sender.
    pub fn sent(&self, parcel: &Parcel) {
        self.counts(parcel.signal).sent.fetch_add(parcel.items, Relaxed);
        self.requests.fetch_add(1, Relaxed);
        let bytes = parcel.bytes.len() as u64;
        self.bytes.fetch_add(bytes, Relaxed);
        if parcel.signal == Signal::Traces {
            self.span_bytes.fetch_add(bytes, Relaxed);
        }
    }

    /// A request waited for a sender.
    pub fn waited(&self, long: Duration) {
        self.held_up.fetch_add(long.as_micros() as u64, Relaxed);
    }

    /// How long requests waited for a sender.
    pub fn held_up(&self) -> Duration {
        Duration::from_micros(self.held_up.load(Relaxed))
    }

    /// A request is tried once more.
    pub fn tried_again(&self) {
        self.retried.fetch_add(1, Relaxed);
    }

    /// A request was taken, but for `left_out` of its items.
    pub fn acknowledged(&self, parcel: &Parcel, left_out: u64, why: &str, took: Duration) {
        let left_out = left_out.min(parcel.items);
        let counts = self.counts(parcel.signal);
        counts.acknowledged.fetch_add(parcel.items - left_out, Relaxed);
        if left_out > 0 {
            counts.refused.fetch_add(left_out, Relaxed);
            self.because(why, left_out);
        }
        let mut latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        latency.saturating_record(took.as_micros() as u64);
    }

    /// A request was given up.
    pub fn refused(&self, parcel: &Parcel, why: &str) {
        self.counts(parcel.signal).refused.fetch_add(parcel.items, Relaxed);
        self.because(why, parcel.items);
    }

    fn because(&self, why: &str, items: u64) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let known = reasons.len() < MOST_REASONS || reasons.contains_key(why);
        *reasons.entry(if known { why.to_owned() } else { "other reasons".to_owned() }).or_default() += items;
    }

    /// Refused items by reason.
    pub fn reasons(&self) -> BTreeMap<String, u64> {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The times, in µs, that shares of the acknowledged requests stayed within.
    pub fn latencies<const N: usize>(&self, shares: [f64; N]) -> [u64; N] {
        let latency = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        shares.map(|share| latency.value_at_quantile(share))
    }
}
