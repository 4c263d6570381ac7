//! Merges chunks that are old enough for fewer samples, and removes what is older or more than is kept.
//!
//! Only the keeper of a store does it. Each step is one short transaction that replaces some chunks by others with the
//! same samples, thinned; who reads meanwhile sees the ones or the others.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::StoreError;
use super::super::engine::Shared;
use super::chunk::{self, ChunkInfo, NewChunk, TIERS, Tier, Wanted};
use super::code;
use super::thin::{settle, thin, thin_early};
use crate::dashboard::model::Nanos;
use crate::dashboard::model::series::{Identity, Sample};

/// Windows merged in one pass.
const PER_PASS: usize = 16;
/// Chunks removed in one statement.
const REMOVED_AT_ONCE: usize = 64;

/// One pass, at `now`.
pub async fn pass(shared: &Shared, now: Nanos) -> Result<(), StoreError> {
    if !shared.backend.is_keeper() {
        return Ok(());
    }
    let mut chunks = shared.backend.sample_chunks().await?;
    remove(shared, &mut chunks, now).await?;
    let mut windows: BTreeMap<(Nanos, u8), (Tier, Vec<ChunkInfo>)> = BTreeMap::new();
    for chunk in chunks {
        let tier = Tier::due(chunk.begin, now);
        // What was merged once is not parted again, should the clock have been set back.
        let tier = TIERS[usize::from(tier.number.max(chunk.tier)).min(TIERS.len() - 1)];
        let window = tier.window_of(chunk.begin).0;
        windows.entry((window, tier.number)).or_insert((tier, Vec::new())).1.push(chunk);
    }
    let due = windows.into_values().filter(|(tier, all)| all.iter().any(|one| one.tier < tier.number));
    for (tier, chunks) in due.take(PER_PASS) {
        merge(shared, tier, &chunks).await?;
    }
    Ok(())
}

/// Removes chunks that are too old, and the oldest while there are too many bytes.
async fn remove(shared: &Shared, chunks: &mut Vec<ChunkInfo>, now: Nanos) -> Result<(), StoreError> {
    let limits = &shared.limits;
    let (max_age, max_bytes) = (limits.metrics_age.as_nanos() as u64, limits.metrics_bytes);
    chunks.sort_unstable_by_key(|chunk| (chunk.end, chunk.id));
    let mut bytes: u64 = chunks.iter().map(|chunk| chunk.bytes).sum();
    let going = chunks
        .iter()
        .take_while(|chunk| {
            let too_old = max_age > 0 && chunk.end.saturating_add(max_age) <= now;
            let goes = too_old || (max_bytes > 0 && bytes > max_bytes);
            bytes -= if goes { chunk.bytes } else { 0 };
            goes
        })
        .count();
    let ids: Vec<u64> = chunks.drain(..going).map(|chunk| chunk.id).collect();
    for some in ids.chunks(REMOVED_AT_ONCE) {
        shared.backend.replace_samples(some.to_vec(), Vec::new()).await?;
    }
    if going > 0 {
        tracing::info!(chunks = going, "removed the oldest samples of metrics");
    }
    Ok(())
}

/// Merges the chunks of one window into chunks of a tier.
async fn merge(shared: &Shared, tier: Tier, chunks: &[ChunkInfo]) -> Result<(), StoreError> {
    let begin = chunks.iter().map(|chunk| chunk.begin).min().unwrap_or_default();
    let end = chunks.iter().map(|chunk| chunk.end).max().unwrap_or_default();
    let wanted = Wanted::all(begin, end);
    let mut stored = shared.backend.samples(&wanted).await?;
    // What is not of this window's chunks (it came meanwhile) is left for the next pass.
    stored.retain(|(id, _)| chunks.iter().any(|chunk| chunk.id == *id));
    let ids: Vec<u64> = stored.iter().map(|(id, _)| *id).collect();
    let merged = tokio::task::spawn_blocking(move || merged(&stored, tier)).await;
    let merged = merged.map_err(|_| StoreError::Unavailable("it is shutting down".into()))??;
    tracing::debug!(tier = tier.number, from = ids.len(), to = merged.len(), "merged samples of metrics");
    shared.backend.replace_samples(ids, merged).await
}

/// The samples of some chunks in chunks of a tier. Each is thinned as it is read, so that few are held.
fn merged(stored: &[(u64, Vec<u8>)], tier: Tier) -> Result<Vec<NewChunk>, StoreError> {
    let mut all: BTreeMap<Arc<Identity>, Vec<Sample>> = BTreeMap::new();
    for (id, data) in stored {
        let read = code::decode(
            data,
            |_| true,
            |identity, samples| {
                let samples = thin_early(identity.kind.follows(), &samples, tier.width);
                all.entry(Arc::new(identity)).or_default().extend(samples);
            },
        );
        if let Err(error) = read {
            tracing::error!(%error, chunk = id, "a chunk of samples cannot be read and is left out; all others are kept");
        }
    }
    let pieces = all.into_iter().map(|(identity, mut samples)| {
        settle(&mut samples);
        let samples = thin(identity.kind.follows(), &samples, tier.width);
        (identity, samples)
    });
    chunk::cut(&pieces.collect::<Vec<_>>(), tier)
}
