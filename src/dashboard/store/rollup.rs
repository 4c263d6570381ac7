//! Rates, errors and durations folded into time buckets, so that charts never read traces.

use std::collections::BTreeMap;

use super::Activity;
use super::entry::Entry;
use super::rates::{BUCKET, Histogram};
use crate::dashboard::model::proto::{WireError, put_varint, take_varint};
use crate::dashboard::model::{Kind, Nanos};

/// What happened in one bucket.
#[derive(Debug, Clone, Default, PartialEq)]
struct Bucket {
    spans: u64,
    requests: u64,
    failed: u64,
    /// Of requests.
    durations: Histogram,
}

/// Buckets by their number since the epoch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rollup {
    buckets: BTreeMap<u64, Bucket>,
}

impl Rollup {
    /// Folds in a trace. It counts as a request when its root is in and is no internal span; a trace counts
    /// where its root ended, or where it starts while that is not known.
    pub fn add(&mut self, entry: &Entry) {
        let summary = &entry.summary;
        if !entry.is_trace() {
            return;
        }
        let root = summary.root.as_ref().filter(|root| root.parentless && root.kind != Kind::Internal);
        let plausible = root.map(|root| root.end).filter(|end| *end >= summary.start && *end <= summary.end);
        let bucket = self.buckets.entry(plausible.unwrap_or(summary.start) / BUCKET).or_default();
        bucket.spans += u64::from(summary.spans);
        if let Some(root) = root {
            bucket.requests += 1;
            bucket.failed += u64::from(summary.failed());
            bucket.durations.record(root.end.saturating_sub(root.start));
        }
    }

    /// Adds what lies in `from..to` to equal steps, `activity` holding one item a step.
    pub fn read(&self, from: Nanos, step: Nanos, activity: &mut [Folded]) {
        let to = from + step * activity.len() as u64;
        for (number, bucket) in self.buckets.range(from / BUCKET..=to / BUCKET) {
            // A bucket belongs to the step that holds its middle; the one that is under way just now to the last.
            let middle = (number * BUCKET + BUCKET / 2).min(to - 1);
            let Some(index) = middle.checked_sub(from).map(|offset| (offset / step) as usize) else {
                continue;
            };
            let Some(folded) = activity.get_mut(index) else { continue };
            folded.0.spans += bucket.spans;
            folded.0.requests += bucket.requests;
            folded.0.failed += bucket.failed;
            folded.0.durations.merge(&bucket.durations);
        }
    }

    /// Appends the encoding.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.buckets.len() as u64);
        for (number, bucket) in &self.buckets {
            for value in [*number, bucket.spans, bucket.requests, bucket.failed] {
                put_varint(out, value);
            }
            bucket.durations.put(out);
        }
    }

    /// Reads what [`Rollup::put`] wrote.
    pub fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        let mut rollup = Self::default();
        for _ in 0..take_varint(bytes)? {
            let number = take_varint(bytes)?;
            let mut bucket = Bucket {
                spans: take_varint(bytes)?,
                requests: take_varint(bytes)?,
                failed: take_varint(bytes)?,
                ..Bucket::default()
            };
            bucket.durations.take(bytes)?;
            rollup.buckets.insert(number, bucket);
        }
        Ok(rollup)
    }
}

/// One step of the answer while it is being added up.
#[derive(Debug, Clone, Default)]
pub struct Folded(Bucket);

impl Folded {
    /// The step as the reader sees it.
    pub fn finish(self, start: Nanos) -> Activity {
        let p95 = self.0.durations.quantile(0.95);
        Activity { start, spans: self.0.spans, requests: self.0.requests, failed: self.0.failed, p95 }
    }
}
