//! Pages of traces: the newest, longest or largest that match, within a budget.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::super::engine::Shared;
use super::super::entry::Entry;
use super::super::run::{CHUNK, FilterKey, RunMeta};
use super::super::{Cursor, Order, StoreError, TraceFilter, TracePage, Verdict};
use super::ahead::OPEN_BLOCKS;
use super::lookup::Contents;
use super::search::{Search, dots, key};
use crate::dashboard::model::{Trace, TraceId};

/// Entries that are looked at together where they lie far apart.
const AT_ONCE: usize = 64;
/// Traces that are opened together: all of a page of 20, and the one that tells that there is another page.
const OPENED_AT_ONCE: usize = OPEN_BLOCKS;

/// A run whose turn comes next, and which of its entries may be wanted; `None` for all.
struct LinedUp<'a> {
    run: &'a Arc<RunMeta>,
    found: Option<Vec<u32>>,
}

impl LinedUp<'_> {
    /// The run and the ordinals that were found, newest first, where they lie far apart.
    fn far_apart(&self) -> impl Iterator<Item = (u64, u32)> {
        let found = self.found.as_deref().filter(|found| !is_dense(found, self.run)).unwrap_or_default();
        found.iter().rev().map(|ordinal| (self.run.id, *ordinal))
    }
}

/// Whether parts of a trace may lie in more than one place.
fn is_in_pieces(id: TraceId, in_tail: bool, runs: &[Arc<RunMeta>]) -> bool {
    let key = FilterKey::of_trace(id);
    usize::from(in_tail) + runs.iter().filter(|run| run.may_hold_key(key)).count() > 1
}

/// Whether entries are wanted in every fourth chunk or more often: then it pays to read neighbours along.
fn is_dense(ordinals: &[u32], run: &RunMeta) -> bool {
    ordinals.len() * CHUNK * 4 >= run.entries as usize
}

impl Shared {
    pub(super) async fn page(&self, filter: &TraceFilter) -> Result<TracePage, StoreError> {
        let mut search = Search::new(filter);
        let runs = self.search_tail(&mut search).await?;
        let mut newest_first: VecDeque<_> =
            runs.iter().filter(|run| run.overlaps(search.from, search.to)).collect();
        newest_first.make_contiguous().sort_by_key(|run| std::cmp::Reverse(run.max_start));
        let mut lined_up = VecDeque::new();
        loop {
            if lined_up.is_empty() {
                lined_up = self.line_up(&mut newest_first, &mut search).await?;
            }
            let Some(LinedUp { run, .. }) = lined_up.front() else { break };
            if search.is_done_before(run.max_start) || search.is_spent() {
                search.complete = false;
                break;
            }
            let Some(LinedUp { run, found }) = lined_up.pop_front() else { break };
            self.search_run(run, found, &lined_up, &runs, &mut search).await?;
        }
        if search.is_spent() {
            // What a run not looked at holds above the last entry seen is not to be passed over.
            let left = lined_up.iter().map(|next| next.run).chain(newest_first);
            let unseen = left.map(|run| run.max_start).max().unwrap_or(0);
            search.seen_down_to = search.seen_down_to.max(unseen.min(search.to.saturating_sub(1)));
        }
        self.finish(search, &runs).await
    }

    /// Takes the next runs, with what was found in each of them, and reads the chunks that are wanted first.
    async fn line_up<'a>(
        &self,
        newest_first: &mut VecDeque<&'a Arc<RunMeta>>,
        search: &mut Search<'_>,
    ) -> Result<VecDeque<LinedUp<'a>>, StoreError> {
        let pages = self.pages_ahead(&search.needles, newest_first, search.runs_ahead).await?;
        let mut lined_up = VecDeque::new();
        for run in newest_first.drain(..pages.runs) {
            let within = run.ordinals_in(search.from, search.to);
            let mut found = self.narrowing(&search.needles, run, &pages).await?;
            if let Some(found) = &mut found {
                found.retain(|ordinal| within.contains(ordinal));
            }
            lined_up.push_back(LinedUp { run, found });
        }
        // What is rare is in few runs: those that are left are asked together.
        let is_rare = lined_up.iter().all(|next| next.found.as_ref().is_some_and(Vec::is_empty));
        search.runs_ahead *= if is_rare { 32 } else { 4 };
        let most = search.lookups().min(AT_ONCE);
        let first: Vec<(u64, u32)> = lined_up.iter().flat_map(LinedUp::far_apart).take(most).collect();
        self.chunks_ahead(&first).await?;
        Ok(lined_up)
    }

    /// Offers the tail's entries, newest first; gives the runs that stood beside it.
    async fn search_tail(&self, search: &mut Search<'_>) -> Result<Arc<Vec<Arc<RunMeta>>>, StoreError> {
        let (open, runs) = {
            let index = self.index.read().expect("no holder panics");
            let found = search.needles.in_tail(&index.tail);
            let open = match found.filter(|found| found.len() < index.tail.entries().len() / 8 + 8) {
                Some(found) => {
                    let entries = index.tail.entries();
                    let mut found: Vec<&Entry> = found.iter().map(|at| &entries[*at as usize]).collect();
                    found.sort_by_key(|entry| std::cmp::Reverse(entry.summary.start));
                    search.offer_newest(found.into_iter())
                }
                None => search.offer_newest(index.tail.newest(search.from, search.to)),
            };
            (open, index.runs.clone())
        };
        for (index, id) in open.iter().copied().enumerate() {
            if index % OPENED_AT_ONCE == 0 {
                let blocks = self.tail_blocks(&open[index..open.len().min(index + OPENED_AT_ONCE)]);
                self.open_ahead(&blocks, &mut search.open).await?;
            }
            let entry = self.index.read().expect("no holder panics").tail.trace(id).cloned();
            // Sealed meanwhile where it is not there.
            let entry = match entry {
                Some(entry) => Some(entry),
                None => self.entry(id).await?,
            };
            if let Some(entry) = entry {
                self.judge(entry, &runs, search).await?;
            }
            if search.is_enough() || search.is_spent() {
                search.complete = false;
                break;
            }
        }
        Ok(runs)
    }

    /// Offers a run's entries, or those with the ordinals that were found, newest first; `after` are the runs that come
    /// after it.
    async fn search_run(
        &self,
        run: &RunMeta,
        found: Option<Vec<u32>>,
        after: &VecDeque<LinedUp<'_>>,
        runs: &[Arc<RunMeta>],
        search: &mut Search<'_>,
    ) -> Result<(), StoreError> {
        let ordinals = found.unwrap_or_else(|| run.ordinals_in(search.from, search.to).collect());
        let before = search.found.len();
        let dense = is_dense(&ordinals, run);
        let at_once = if dense { usize::MAX } else { AT_ONCE };
        for ordinals in ordinals.rchunks(at_once) {
            if !dense {
                let places: Vec<_> = ordinals.iter().map(|ordinal| (run.id, *ordinal)).collect();
                self.chunks_ahead(&places).await?;
            }
            for (index, ordinal) in ordinals.iter().enumerate().rev() {
                let Some(entry) = self.run_entry(run, *ordinal, dense).await? else { continue };
                if entry.summary.start < search.from {
                    return Ok(());
                }
                if search.offer(&entry) == Verdict::Open {
                    if entry.locs.iter().any(|loc| !search.open.has(loc.block)) {
                        let here = ordinals[..=index].iter().rev().map(|ordinal| (run.id, *ordinal));
                        let next = here.chain(after.iter().flat_map(LinedUp::far_apart));
                        let next = self.to_be_opened(next, search)?;
                        let ids = || next.iter().map(|entry| entry.summary.trace_id);
                        let in_tail = self.in_tail(ids());
                        search.asked_of_tail.extend(ids().map(|id| (id, in_tail.contains(&id))));
                        let blocks: Vec<u64> =
                            next.iter().flat_map(|entry| entry.locs.iter().map(|loc| loc.block)).collect();
                        self.open_ahead(&blocks, &mut search.open).await?;
                    }
                    self.judge(entry, runs, search).await?;
                }
                let taken = search.found.len() - before;
                if search.is_spent() || search.filter.order == Order::Newest && taken >= search.wanted() {
                    search.complete = false;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The blocks that hold some of the tail's traces.
    fn tail_blocks(&self, ids: &[TraceId]) -> Vec<u64> {
        let index = self.index.read().expect("no holder panics");
        let entries = ids.iter().filter_map(|id| index.tail.trace(*id));
        entries.flat_map(|entry| entry.locs.iter().map(|loc| loc.block)).collect()
    }

    /// What is left of an entry of a run.
    async fn run_entry(&self, run: &RunMeta, ordinal: u32, dense: bool) -> Result<Option<Entry>, StoreError> {
        let chunk = self.chunk(run.id, (ordinal as usize / CHUNK) as u32, dense).await?;
        let entry = self.left_out(chunk.map_or(Ok(None), |chunk| chunk.entry(ordinal)))?;
        Ok(entry.and_then(|entry| run.left_of(entry)))
    }

    /// The traces that are opened next: as many as may be wanted still, out of those whose chunks are at hand.
    fn to_be_opened(
        &self,
        next: impl Iterator<Item = (u64, u32)>,
        search: &Search<'_>,
    ) -> Result<Vec<Entry>, StoreError> {
        let wanted = search.rows.saturating_sub(search.found.len()).clamp(1, OPENED_AT_ONCE);
        let mut traces = Vec::new();
        for (run, ordinal) in next.take(AT_ONCE) {
            let Some(chunk) = self.kept_chunk((run, (ordinal as usize / CHUNK) as u32)) else { break };
            let Ok(Some(entry)) = chunk.entry(ordinal) else { continue };
            if search.would_open(&entry) {
                traces.push(entry);
            }
            if traces.len() >= wanted {
                break;
            }
        }
        Ok(traces)
    }

    /// Looks at the spans of a trace whose summary does not tell whether it is wanted, and takes it if it is.
    async fn judge(
        &self,
        entry: Entry,
        runs: &[Arc<RunMeta>],
        search: &mut Search<'_>,
    ) -> Result<(), StoreError> {
        let Some(select) = search.filter.select.clone() else { return Ok(()) };
        let id = entry.summary.trace_id;
        search.seen_down_to = entry.summary.start;
        let in_tail = match search.asked_of_tail.get(&id) {
            Some(known) => *known,
            None => !self.in_tail([id].into_iter()).is_empty(),
        };
        let whole = match is_in_pieces(id, in_tail, runs) {
            true => self.entry(id).await?.unwrap_or(entry),
            false => entry,
        };
        let trace = match self.contents_with(&whole.locs, &mut search.open).await {
            Ok(Contents::Read(spans, logs)) => Ok(Some(Trace { id, spans, logs })),
            Ok(Contents::Moved) => self.whole_trace(id).await,
            Err(error) => Err(error),
        };
        let trace = self.left_out(trace)?;
        let Some(trace) = trace else { return Ok(()) };
        search.opened += 1;
        search.spans += trace.spans.len().max(1);
        if select.of_trace(&whole.summary, &trace) {
            search.whole.insert(id);
            search.found.insert(id, whole);
        }
        Ok(())
    }

    /// Which of some traces the tail has a part of. One look for all: each may wait for a commit that is being taken in.
    fn in_tail(&self, ids: impl Iterator<Item = TraceId>) -> HashSet<TraceId> {
        let index = self.index.read().expect("no holder panics");
        ids.filter(|id| index.tail.trace(*id).is_some()).collect()
    }

    /// Sorts, takes the page, and completes its rows by parts that lie in other runs.
    async fn finish(&self, mut search: Search<'_>, runs: &[Arc<RunMeta>]) -> Result<TracePage, StoreError> {
        let filter = search.filter;
        let mut all: Vec<Entry> = std::mem::take(&mut search.found).into_values().collect();
        // Where the budget ended, the next page goes on: what was found below comes there.
        let cut = (search.spent && filter.order == Order::Newest).then_some(search.seen_down_to);
        all.retain(|entry| cut.is_none_or(|cut| entry.summary.start >= cut));
        let sort_key = |entry: &Entry| (key(&entry.summary, filter.order), entry.summary.trace_id);
        all.sort_by_key(|entry| std::cmp::Reverse(sort_key(entry)));
        let mut page = TracePage {
            matched: all.len() as u64,
            failed: all.iter().filter(|entry| entry.summary.errors > 0).count() as u64,
            examined: search.examined,
            opened: search.opened,
            complete: search.complete,
            ..TracePage::default()
        };
        page.dots = dots(&all);
        let limit = filter.limit.clamp(1, TraceFilter::MAX_LIMIT);
        let rest = all
            .into_iter()
            .filter(|entry| filter.after.is_none_or(|after| sort_key(entry) < (after.key, after.trace_id)));
        let mut rows: Vec<Entry> = rest.take(limit + 1).collect();
        let more = rows.len() > limit;
        rows.truncate(limit);
        page.next = rows
            .last()
            .filter(|_| more)
            .map(|last| Cursor { key: key(&last.summary, filter.order), trace_id: last.summary.trace_id })
            .or_else(|| cut.map(|cut| Cursor { key: cut, trace_id: TraceId([0; 16]) }));
        let in_tail = self.in_tail(rows.iter().map(|row| row.summary.trace_id));
        for row in rows {
            let id = row.summary.trace_id;
            // In one place only: then the row is whole as it is.
            let whole = if !search.whole.contains(&id) && is_in_pieces(id, in_tail.contains(&id), runs) {
                self.entry(id).await?.unwrap_or(row)
            } else {
                row
            };
            page.rows.push(whole.summary);
        }
        Ok(page)
    }
}
