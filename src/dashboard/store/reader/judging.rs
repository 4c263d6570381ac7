//! Judging traces that a search is about to come to, several side by side: each share of them reads its blocks, opens
//! them, and looks at the spans.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures_util::future::try_join;

use super::super::StoreError;
use super::super::block::Block;
use super::super::damage::if_readable;
use super::super::engine::Shared;
use super::super::entry::Entry;
use super::super::run::{FilterKey, RunMeta};
use super::super::select::Selection;
use super::super::term::Term;
use super::ahead::{BLOCKS_A_THREAD, PAGES_AT_ONCE, Pages, in_shares, opened};
use super::lookup::{Decoding, by_block};
use super::search::Search;
use crate::dashboard::model::{Trace, TraceId};

/// What was found of a trace.
#[derive(Clone, Copy)]
pub(super) struct Judged {
    pub wanted: bool,
    pub spans: usize,
}

/// The traces that begin in one block.
struct Share {
    /// The block, where it is open already.
    block: Option<Arc<Block>>,
    id: u64,
    entries: Vec<Entry>,
}

/// What came of a share.
enum Done {
    Opened(u64, Arc<Block>),
    Judged(TraceId, Judged),
}

impl Shared {
    /// Judges traces of runs. Those that lie in several places, or cannot be read, are left to [`Shared::judge`], which
    /// puts them together and says what is damaged.
    pub(super) async fn judge_ahead(
        &self,
        next: Vec<Entry>,
        runs: &[Arc<RunMeta>],
        search: &mut Search<'_>,
    ) -> Result<(), StoreError> {
        let Some(select) = search.filter.select.clone() else { return Ok(()) };
        let ids: Vec<TraceId> = next.iter().map(|entry| entry.summary.trace_id).collect();
        let in_tail = self.in_tail(ids.iter().copied());
        let mut shares: Vec<Share> = Vec::new();
        for entry in next {
            let Some(first) = entry.locs.first().map(|loc| loc.block) else { continue };
            match shares.iter_mut().find(|share| share.id == first) {
                Some(share) => share.entries.push(entry),
                None => {
                    let block = search.open.get(first);
                    shares.push(Share { block, id: first, entries: vec![entry] });
                }
            }
        }
        let done = in_shares(shares, BLOCKS_A_THREAD, |shares| {
            let (backend, select) = (self.backend.clone(), select.clone());
            async move {
                let closed = |share: &Share| share.block.is_none();
                let others = shares.iter().flat_map(|share| &share.entries).flat_map(|entry| &entry.locs);
                let mut known: HashMap<u64, Arc<Block>> =
                    shares.iter().filter_map(|share| Some((share.id, share.block.clone()?))).collect();
                let mut ids: Vec<u64> =
                    shares.iter().filter(|share| closed(share)).map(|share| share.id).collect();
                ids.extend(others.map(|loc| loc.block).filter(|id| !known.contains_key(id)));
                ids.sort_unstable();
                ids.dedup();
                let mut done = Vec::new();
                if !ids.is_empty() {
                    let found = opened(backend, ids).await?;
                    done.extend(found.iter().map(|(id, block)| Done::Opened(*id, block.clone())));
                    known.extend(found);
                }
                let entries = shares.iter().flat_map(|share| &share.entries);
                done.extend(entries.filter_map(|entry| {
                    Some(Done::Judged(entry.summary.trace_id, judged(entry, &known, &*select)?))
                }));
                Ok(done)
            }
        });
        let (done, in_pieces) = try_join(done, self.in_pieces(&ids, &in_tail, runs)).await?;
        for done in done {
            match done {
                Done::Opened(id, block) => search.open.put(id, block),
                Done::Judged(id, _) if in_pieces.contains(&id) => {}
                Done::Judged(id, judged) => drop(search.judged.insert(id, judged)),
            }
        }
        search.in_pieces.extend(ids.into_iter().map(|id| (id, in_pieces.contains(&id))));
        Ok(())
    }

    /// Which of some traces have parts in more than one place. By the filters alone it would be every twentieth one in a
    /// store of fifty runs; the pages of terms tell, and those of all traces take one statement.
    pub(super) async fn in_pieces(
        &self,
        ids: &[TraceId],
        in_tail: &HashSet<TraceId>,
        runs: &[Arc<RunMeta>],
    ) -> Result<HashSet<TraceId>, StoreError> {
        let (mut maybe, mut wanted) = (Vec::new(), Vec::new());
        for id in ids {
            let (key, term) = (FilterKey::of_trace(*id), Term::trace(*id));
            let places: Vec<&Arc<RunMeta>> = runs.iter().filter(|run| run.passes(key)).collect();
            if places.len() + usize::from(in_tail.contains(id)) > 1 {
                let pages = |run: &RunMeta| run.pages_of(term).map_or(0..0, |(first, last)| first..last + 1);
                wanted.extend(places.iter().flat_map(|run| pages(run).map(|number| (run.id, number))));
                maybe.push((*id, places));
            }
        }
        let mut parts = Vec::new();
        for wanted in wanted.chunks(PAGES_AT_ONCE) {
            parts.extend(if_readable(self.backend.pages_at(wanted).await)?);
        }
        let (pages, mut found) = (Pages::of_parts(parts), HashSet::new());
        for (id, places) in maybe {
            let mut count = usize::from(in_tail.contains(&id));
            for run in places {
                // Where the index is damaged it may be.
                let ordinals = self.readable(self.ordinals(run, Term::trace(id), &pages).await)?;
                count += usize::from(ordinals.is_none_or(|ordinals| !ordinals.is_empty()));
            }
            if count > 1 {
                found.insert(id);
            }
        }
        Ok(found)
    }
}

/// What the spans of a trace tell; `None` where a block is missing or damaged.
fn judged(entry: &Entry, known: &HashMap<u64, Arc<Block>>, select: &dyn Selection) -> Option<Judged> {
    let mut decoding = Decoding::default();
    for (id, offsets) in by_block(&entry.locs) {
        decoding.block(known.get(&id)?, &offsets).ok()?;
    }
    let (spans, logs) = decoding.finish();
    let trace = Trace::new(entry.summary.trace_id, spans, logs);
    Some(Judged { wanted: select.of_trace(&entry.summary, &trace), spans: trace.spans.len() })
}
