//! What is removed, and when: whole runs, oldest first, by age and by size.
//!
//! A clock that jumps must not empty the store: age is measured by the time since this process started, and a
//! pass removes a few runs at most.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::StoreError;
use super::engine::Shared;
use super::run::RunMeta;
use super::series;
use crate::dashboard::model::now;

/// Runs removed in one pass.
const PER_PASS: usize = 8;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Data received longer ago is removed; zero keeps it for ever.
    pub max_age: Duration,
    /// The oldest data is removed when the store holds more bytes; 0 is no limit.
    pub max_bytes: u64,
    /// Samples of metrics longer ago than this are removed; zero keeps them for ever.
    pub metrics_age: Duration,
    /// The oldest of them are removed when they take more bytes; 0 is no limit.
    pub metrics_bytes: u64,
    /// Time between two passes.
    pub every: Duration,
}

impl Default for Limits {
    /// Seven days, 10 GB; of metrics 30 days, 1 GB.
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(7 * 24 * 3600),
            max_bytes: 10_000_000_000,
            metrics_age: Duration::from_secs(30 * 24 * 3600),
            metrics_bytes: 1_000_000_000,
            every: Duration::from_secs(10),
        }
    }
}

/// Removes what is too old or too much, pass by pass, until it is aborted.
pub async fn run(shared: Arc<Shared>) {
    let (started_at, started) = (now(), Instant::now());
    let mut interval = tokio::time::interval(shared.limits.every);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let now = started_at + started.elapsed().as_nanos() as u64;
        // Each on its own: trouble with the one kind of data keeps nobody from removing the other.
        for done in [pass(&shared, now).await, series::keep::pass(&shared, now).await] {
            if let Err(error) = done {
                tracing::warn!(%error, "retention could not remove what is due; it tries again");
            }
        }
    }
}

async fn pass(shared: &Shared, now: u64) -> Result<(), StoreError> {
    if !shared.backend.is_keeper() {
        return Ok(());
    }
    shared.backend.tidy().await?;
    for _ in 0..PER_PASS {
        let Some(oldest) = shared.runs().first().cloned() else { return Ok(()) };
        let Limits { max_age, max_bytes, .. } = shared.limits;
        let too_old = !max_age.is_zero() && now.saturating_sub(oldest.sealed) > max_age.as_nanos() as u64;
        if !too_old && (max_bytes == 0 || shared.backend.bytes().await? <= max_bytes) {
            return Ok(());
        }
        remove(shared, &oldest).await?;
        tracing::info!(run = oldest.id, spans = oldest.spans, too_old, "removed the oldest run");
    }
    Ok(())
}

/// Takes the run out of the index first, so that no reader is sent to what is going.
async fn remove(shared: &Shared, run: &Arc<RunMeta>) -> Result<(), StoreError> {
    let keep = |runs: &mut Vec<Arc<RunMeta>>| runs.retain(|known| known.id != run.id);
    keep(Arc::make_mut(&mut shared.index.write().expect("no holder panics").runs));
    let removed = shared.backend.drop_run(run).await;
    if removed.is_err() {
        // Back into the index: the next pass removes it. Readers cope with blocks that are gone already.
        let mut index = shared.index.write().expect("no holder panics");
        Arc::make_mut(&mut index.runs).insert(0, run.clone());
    }
    removed
}

/// At start: removes blocks that belong to no run and no tail, left by a removal that was cut short.
pub async fn sweep(shared: &Shared, first_of_tail: u64) -> Result<(), StoreError> {
    let mut from = 1;
    for run in shared.runs().iter() {
        if run.first_block > from {
            shared.backend.drop_blocks(from, run.first_block - 1).await?;
        }
        from = run.last_block + 1;
    }
    match first_of_tail {
        first if first > from => shared.backend.drop_blocks(from, first - 1).await,
        _ => Ok(()),
    }
}
