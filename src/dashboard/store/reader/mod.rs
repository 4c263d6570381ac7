//! Reads: the tail in memory first, then the runs that may hold something.
//!
//! * [`lookup`]: entries by term, and the whole of a trace out of its parts; [`ahead`]: many reads in few statements.
//! * [`list`]: pages of traces; [`search`]: what was found for one so far; [`needles`]: what an index is asked for them;
//!   [`judging`]: looking at spans, several traces side by side.
//! * [`log_list`]: pages of logs; [`log_walk`] and [`log_parts`]: the rows that may be wanted; [`log_counts`]: how many.
//! * [`closure`]: everything that one correlation ID ties together.
//! * [`rates`]: rates of operations, calls and services; [`series`]: samples of metrics.

mod ahead;
mod closure;
mod judging;
mod list;
mod log_counts;
mod log_list;
mod log_parts;
mod log_walk;
mod lookup;
mod needles;
mod rates;
mod search;
mod series;

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::Ordering;

use async_trait::async_trait;
use tokio::sync::watch;

use ahead::OpenBlocks;
pub(super) use ahead::in_shares;

use super::block::ItemKind;
use super::engine::QUEUE;
use super::rates::BUCKET;
use super::rollup::{Folded, Rollup};
use super::{
    Activity, Call, Correlated, Failing, FoundSeries, Holdings, InstanceRates, KeptMetrics, LogCounts,
    LogFilter, LogPage, Newest, OperationRates, Rates, Reader, SeriesFilter, ServiceRates, Store, StoreError,
    TraceFilter, TracePage, Way, failing,
};
use crate::dashboard::model::{Nanos, SpanId, Trace, TraceId, TraceSummary};

/// Traces that pay for another thread.
const TRACES_A_THREAD: usize = 8;

#[async_trait]
impl Reader for Store {
    async fn trace(&self, id: TraceId) -> Result<Option<Trace>, StoreError> {
        self.shared.whole_trace(id).await
    }

    async fn each_trace(&self, ids: &[TraceId]) -> Vec<(TraceId, Result<Option<Trace>, StoreError>)> {
        let read = in_shares(ids.to_vec(), TRACES_A_THREAD, |ids| {
            let shared = self.shared.clone();
            async move {
                let (mut open, mut read) = (OpenBlocks::default(), Vec::with_capacity(ids.len()));
                for id in ids {
                    read.push((id, shared.whole_trace_with(id, &mut open).await));
                }
                Ok(read)
            }
        });
        // It fails as a whole where the process is ending, and for each of them then.
        read.await.unwrap_or_else(|error| ids.iter().map(|id| (*id, Err(error.clone()))).collect())
    }

    async fn summary(&self, id: TraceId) -> Result<Option<TraceSummary>, StoreError> {
        Ok(self.shared.entry(id).await?.map(|entry| entry.summary))
    }

    async fn traces_of_span(&self, id: SpanId) -> Result<Vec<TraceId>, StoreError> {
        let mut found = Vec::new();
        for candidate in self.shared.with_span(id).await? {
            let trace = self.shared.left_out(self.shared.whole_trace(candidate).await)?;
            if trace.is_some_and(|trace| trace.spans.iter().any(|span| span.span_id == id)) {
                found.push(candidate);
            }
        }
        Ok(found)
    }

    async fn traces(&self, filter: &TraceFilter) -> Result<TracePage, StoreError> {
        self.shared.page(filter).await
    }

    async fn logs(&self, filter: &LogFilter) -> Result<LogPage, StoreError> {
        self.shared.log_page(filter).await
    }

    async fn log_counts(&self, filter: &LogFilter, steps: usize) -> Result<LogCounts, StoreError> {
        self.shared.count_logs(filter, steps).await
    }

    async fn correlated(&self, correlation: &str) -> Result<Correlated, StoreError> {
        self.shared.correlated(correlation).await
    }

    async fn linking_to(&self, id: TraceId) -> Result<Vec<TraceSummary>, StoreError> {
        self.shared.linking_to(id).await
    }

    async fn services(&self, from: Nanos, to: Nanos) -> Result<Vec<String>, StoreError> {
        let mut names = BTreeSet::new();
        let runs = {
            let index = self.shared.index.read().expect("no holder panics");
            if index.tail.overlaps(from, to) {
                names.extend(index.tail.services().iter().cloned());
            }
            index.runs.clone()
        };
        for run in runs.iter().filter(|run| run.overlaps(from, to)) {
            names.extend(run.services.iter().cloned());
        }
        Ok(names.into_iter().collect())
    }

    async fn activity(&self, from: Nanos, to: Nanos, steps: usize) -> Result<Vec<Activity>, StoreError> {
        let length = to.saturating_sub(from);
        // Whole buckets only: else every other step would hold one more than its neighbours.
        let step = (length / steps.clamp(1, 1000) as u64).max(1).next_multiple_of(BUCKET);
        let steps = length.div_ceil(step).max(1) as usize;
        let mut folded = vec![Folded::default(); steps];
        let runs = {
            let index = self.shared.index.read().expect("no holder panics");
            let mut tail = Rollup::default();
            index.tail.entries().iter().for_each(|entry| tail.add(entry));
            tail.read(from, step, &mut folded);
            index.runs.clone()
        };
        runs.iter().for_each(|run| run.rollup.read(from, step, &mut folded));
        Ok(folded.into_iter().zip(0..).map(|(folded, index)| folded.finish(from + step * index)).collect())
    }

    async fn failing(&self, from: Nanos, to: Nanos) -> Result<Vec<Failing>, StoreError> {
        let index = self.shared.index.read().expect("no holder panics");
        let runs = index.runs.iter().filter(|run| run.overlaps(from - from % failing::MINUTE, to));
        let runs: Vec<_> = runs.map(|run| &run.failing).collect();
        Ok(failing::gather(|from, to| index.tail.newest(from, to), &runs, from, to))
    }

    async fn operations(
        &self,
        from: Nanos,
        to: Nanos,
        service: Option<&str>,
    ) -> Result<Vec<OperationRates>, StoreError> {
        self.shared.operations(from, to, service).await
    }

    async fn calls(&self, from: Nanos, to: Nanos) -> Result<Vec<Call>, StoreError> {
        self.shared.calls(from, to).await
    }

    async fn service_rates(
        &self,
        from: Nanos,
        to: Nanos,
        steps: usize,
    ) -> Result<Vec<ServiceRates>, StoreError> {
        self.shared.service_rates(from, to, steps).await
    }

    async fn call_rates(
        &self,
        from: Nanos,
        to: Nanos,
        steps: usize,
        ways: &HashSet<Way>,
    ) -> Result<Vec<(Nanos, Rates)>, StoreError> {
        self.shared.call_rates(from, to, steps, ways).await
    }

    async fn instance_rates(
        &self,
        from: Nanos,
        to: Nanos,
        steps: usize,
        service: Option<&str>,
    ) -> Result<Vec<InstanceRates>, StoreError> {
        self.shared.instance_rates(from, to, steps, service).await
    }

    async fn series(&self, filter: &SeriesFilter) -> Result<FoundSeries, StoreError> {
        self.shared.series(filter).await
    }

    async fn newest_samples(&self, filter: &SeriesFilter) -> Result<Vec<Newest>, StoreError> {
        Ok(self.shared.index.read().expect("no holder panics").live.newest(filter))
    }

    fn late_samples(&self) -> u64 {
        self.shared.index.read().expect("no holder panics").live.late()
    }

    async fn kept_metrics(&self) -> Result<KeptMetrics, StoreError> {
        Ok(self.shared.index.read().expect("no holder panics").live.metrics())
    }

    fn damage(&self) -> Vec<String> {
        self.shared.damage.places()
    }

    async fn holdings(&self) -> Result<Holdings, StoreError> {
        let shared = &self.shared;
        let bytes = shared.backend.bytes().await?;
        let index = shared.index.read().expect("no holder panics");
        let (spans, logs) = index.tail.counts();
        // A run of metrics alone has no entry.
        let starts = index.runs.iter().filter(|run| run.entries > 0).map(|run| run.min_start);
        Ok(Holdings {
            engine: shared.backend.engine(),
            location: shared.backend.location(),
            spans: index.runs.iter().map(|run| run.spans).sum::<u64>() + spans,
            logs: index.runs.iter().map(|run| run.logs).sum::<u64>() + logs,
            runs: index.runs.len(),
            bytes,
            max_bytes: shared.limits.max_bytes,
            max_age_s: shared.limits.max_age.as_secs(),
            max_metrics_age_s: shared.limits.metrics_age.as_secs(),
            max_log_age_s: shared.limits.age_of(ItemKind::Log).as_secs(),
            max_log_bytes: shared.limits.max_log_bytes,
            log_bytes: shared.log_bytes.load(Ordering::Relaxed),
            is_full: shared.backend.is_full(),
            oldest: starts.chain(index.tail.oldest()).min(),
            queued: self.queued(),
            queue_capacity: QUEUE,
        })
    }

    fn commits(&self) -> watch::Receiver<u64> {
        self.shared.commits.subscribe()
    }
}
