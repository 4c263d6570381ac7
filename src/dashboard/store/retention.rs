//! What is removed, and when: by age, spans and logs each by their own; by size, the oldest logs and all of the oldest.
//!
//! What is removed is always a run's: all of it, or all of one kind (see [`super::kinds`]). A clock that jumps must
//! not empty the store: age is measured by the time since this process started, and a pass removes a few runs at most.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::StoreError;
use super::block::ItemKind;
use super::engine::Shared;
use super::log_bytes::LogBytes;
use super::run::RunMeta;
use super::series;
use crate::dashboard::model::now;

/// Runs removed, or removed a kind of, in one pass.
const PER_PASS: usize = 8;
/// How long blocks of a shared store are left once nobody is led to them any more: until all have seen that.
const FOLLOWED: Duration = Duration::from_secs(1);

/// Time between two passes while the disk is full.
const FULL: Duration = Duration::from_secs(1);

/// Time between two looks at the audit.
const AUDIT_EVERY: Duration = Duration::from_secs(60);

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Data received longer ago is removed; zero keeps it for ever.
    pub max_age: Duration,
    /// The same for logs, where they are kept longer or shorter than the rest.
    pub max_log_age: Option<Duration>,
    /// The oldest data is removed when the store holds more bytes; 0 is no limit.
    pub max_bytes: u64,
    /// The oldest logs are removed when those of runs take more bytes; 0 is no limit of their own.
    pub max_log_bytes: u64,
    /// Samples of metrics longer ago than this are removed; zero keeps them for ever.
    pub metrics_age: Duration,
    /// The oldest of them are removed when they take more bytes; 0 is no limit.
    pub metrics_bytes: u64,
    /// Rows of the audit longer ago than this are removed; zero keeps them for ever. No limit by size removes them.
    pub audit_age: Duration,
    /// Time between two passes.
    pub every: Duration,
}

impl Default for Limits {
    /// Seven days, 10 GB; of metrics 30 days, 1 GB; of the audit a year.
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(7 * 24 * 3600),
            max_log_age: None,
            max_bytes: 10_000_000_000,
            max_log_bytes: 0,
            metrics_age: Duration::from_secs(30 * 24 * 3600),
            metrics_bytes: 1_000_000_000,
            audit_age: Duration::from_secs(365 * 24 * 3600),
            every: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// Age after which a kind is removed; zero keeps it for ever.
    pub fn age_of(&self, kind: ItemKind) -> Duration {
        match kind {
            ItemKind::Span => self.max_age,
            ItemKind::Log => self.max_log_age.unwrap_or(self.max_age),
        }
    }

    fn is_due(&self, kind: ItemKind, age: Duration) -> bool {
        let most = self.age_of(kind);
        !most.is_zero() && age > most
    }
}

/// Removes what is too old or too much, pass by pass, until it is aborted.
pub async fn run(shared: Arc<Shared>) {
    let (started_at, started, _alarm) = (now(), Instant::now(), shared.alarm());
    let mut interval = tokio::time::interval(shared.limits.every);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut swept, mut log_bytes) = (false, LogBytes::default());
    let mut audit_due = started;
    loop {
        tokio::select! {
            _ = interval.tick() => {}
            () = shared.backend.filled() => {}
            () = tokio::time::sleep(FULL), if shared.backend.is_full() => {}
        }
        let now = started_at + started.elapsed().as_nanos() as u64;
        let removed = pass(&shared, now, &mut swept, &mut log_bytes).await;
        // A pass that failed may have left blocks that nobody is led to.
        swept &= removed.is_ok();
        // Each on its own: trouble with the one kind of data keeps nobody from removing the other.
        let mut all = vec![removed, series::keep::pass(&shared, now).await];
        let is_due = audit_due.elapsed() >= AUDIT_EVERY || audit_due == started;
        if is_due && shared.backend.is_keeper() {
            audit_due = Instant::now();
            all.push(audit(&shared, now).await);
        }
        for done in all {
            if let Err(error) = done {
                tracing::warn!(%error, "retention could not remove what is due; it tries again");
            }
        }
        if shared.backend.is_short_of_room() {
            shared.backend.make_room().await;
        }
    }
}

async fn pass(
    shared: &Shared,
    now: u64,
    swept: &mut bool,
    log_bytes: &mut LogBytes,
) -> Result<(), StoreError> {
    if shared.limits.max_log_bytes > 0 {
        shared.log_bytes.store(log_bytes.total(shared).await?, Ordering::Relaxed);
    }
    if !shared.backend.is_keeper() {
        return Ok(());
    }
    shared.backend.tidy().await?;
    if !std::mem::replace(swept, true) {
        for run in shared.runs().iter() {
            if let Some(kind) = run.gone() {
                drop_kind(shared, run, kind).await?;
            }
        }
    }
    let mut removed = by_age(shared, now).await?;
    removed += by_log_size(shared, log_bytes, PER_PASS - removed).await?;
    by_size(shared, PER_PASS - removed).await
}

/// Removes rows of the audit that are too old.
async fn audit(shared: &Shared, now: u64) -> Result<(), StoreError> {
    let age = shared.limits.audit_age;
    if age.is_zero() {
        return Ok(());
    }
    let before = now.saturating_sub(age.as_nanos().min(u128::from(u64::MAX)) as u64);
    let removed = shared.backend.prune_audit(before).await?;
    if removed > 0 {
        tracing::info!(removed, "removed rows of the audit that are too old");
    }
    Ok(())
}

/// Removes what is too old; gives of how many runs.
async fn by_age(shared: &Shared, now: u64) -> Result<usize, StoreError> {
    let (mut removed, mut forgotten) = (0, Vec::new());
    for run in shared.runs().iter() {
        let age = Duration::from_nanos(now.saturating_sub(run.sealed));
        let due = |kind: &ItemKind| shared.limits.is_due(*kind, age);
        let kinds = [ItemKind::Span, ItemKind::Log].into_iter().filter(|kind| run.has(*kind));
        let (due, left): (Vec<_>, Vec<_>) = kinds.partition(due);
        match due[..] {
            _ if removed == PER_PASS => break,
            [] => continue,
            [kind] if !left.is_empty() && run.is_parted() => {
                forget(shared, run, kind).await?;
                tracing::info!(run = run.id, ?kind, "removing a kind of a run that is too old");
                forgotten.push((run.clone(), kind));
            }
            // An old run that holds both in the same blocks waits for the other kind.
            _ if !left.is_empty() => continue,
            _ => {
                remove(shared, run).await?;
                tracing::info!(
                    run = run.id,
                    spans = run.spans,
                    logs = run.logs,
                    "removed a run that is too old"
                );
            }
        }
        removed += 1;
    }
    drop_forgotten(shared, forgotten).await?;
    Ok(removed)
}

/// Removes the oldest logs while those of runs take too much, of some runs at most; gives of how many.
async fn by_log_size(shared: &Shared, log_bytes: &mut LogBytes, most: usize) -> Result<usize, StoreError> {
    let limit = shared.limits.max_log_bytes;
    if limit == 0 || most == 0 || log_bytes.total(shared).await? <= limit {
        return Ok(0);
    }
    // A compaction may have made them smaller since they were counted.
    log_bytes.forget();
    let (mut total, mut removed, mut forgotten) = (log_bytes.total(shared).await?, 0, Vec::new());
    for run in shared.runs().iter().filter(|run| run.has(ItemKind::Log)) {
        if total <= limit || removed == most {
            break;
        }
        let bytes = log_bytes.of(shared, run).await?;
        if !run.has(ItemKind::Span) {
            remove(shared, run).await?;
        } else if run.is_parted() {
            forget(shared, run, ItemKind::Log).await?;
            forgotten.push((run.clone(), ItemKind::Log));
        } else {
            // An old run that holds both in the same blocks.
            continue;
        }
        tracing::info!(run = run.id, logs = run.logs, bytes, "removing the oldest logs");
        (total, removed) = (total - bytes, removed + 1);
    }
    drop_forgotten(shared, forgotten).await?;
    shared.log_bytes.store(total, Ordering::Relaxed);
    Ok(removed)
}

/// Removes the blocks of kinds of runs that nobody is led to any more.
async fn drop_forgotten(shared: &Shared, forgotten: Vec<(Arc<RunMeta>, ItemKind)>) -> Result<(), StoreError> {
    if !forgotten.is_empty() && shared.backend.is_shared() {
        tokio::time::sleep(FOLLOWED).await;
    }
    for (run, kind) in forgotten {
        drop_kind(shared, &run, kind).await?;
    }
    Ok(())
}

/// Removes the oldest runs while there is too much, some at most.
async fn by_size(shared: &Shared, most: usize) -> Result<(), StoreError> {
    let max_bytes = shared.limits.max_bytes;
    for _ in 0..most {
        let Some(oldest) = shared.runs().first().cloned() else { return Ok(()) };
        if max_bytes == 0 || shared.backend.bytes().await? <= max_bytes {
            return Ok(());
        }
        remove(shared, &oldest).await?;
        tracing::info!(run = oldest.id, spans = oldest.spans, logs = oldest.logs, "removed the oldest run");
    }
    Ok(())
}

/// Takes the run out of the index first, so that no reader is sent to what is going.
async fn remove(shared: &Shared, run: &Arc<RunMeta>) -> Result<(), StoreError> {
    let keep = |runs: &mut Vec<Arc<RunMeta>>| runs.retain(|known| known.id != run.id);
    keep(Arc::make_mut(&mut shared.index.write().expect("no holder panics").runs));
    shared.forget_read();
    let removed = shared.backend.drop_run(run).await;
    if removed.is_err() {
        // Back into the index: the next pass removes it. Readers cope with blocks that are gone already.
        let mut index = shared.index.write().expect("no holder panics");
        let runs = Arc::make_mut(&mut index.runs);
        let place = runs.partition_point(|known| known.id < run.id);
        runs.insert(place, run.clone());
    }
    removed
}

/// Leads nobody to a run's spans or logs any more.
async fn forget(shared: &Shared, run: &RunMeta, kind: ItemKind) -> Result<(), StoreError> {
    shared.backend.forget(run, kind).await?;
    shared.forget_read();
    let mut index = shared.index.write().expect("no holder panics");
    if let Some(known) = Arc::make_mut(&mut index.runs).iter_mut().find(|known| known.id == run.id) {
        Arc::make_mut(known).forget(kind);
    }
    Ok(())
}

/// Removes the blocks of a run that hold a kind.
async fn drop_kind(shared: &Shared, run: &RunMeta, kind: ItemKind) -> Result<(), StoreError> {
    let ids = match kind {
        ItemKind::Log => run.log_blocks.clone(),
        ItemKind::Span => {
            let all = shared.backend.block_ids(run.first_block, run.last_block).await?;
            run.blocks_of(kind, all)
        }
    };
    if ids.is_empty() { Ok(()) } else { shared.backend.drop_listed(ids).await }
}

/// At start: removes what belongs to no run and no tail, left by a removal that was cut short.
pub async fn sweep(shared: &Shared, first_of_tail: u64) -> Result<(), StoreError> {
    let mut from = 1;
    for run in shared.runs().iter() {
        if run.first_block > from {
            shared.backend.drop_range(from, run.first_block - 1).await?;
        }
        from = run.last_block + 1;
    }
    match first_of_tail {
        first if first > from => shared.backend.drop_range(from, first - 1).await,
        _ => Ok(()),
    }
}
