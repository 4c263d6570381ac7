//! Pages of traces: the newest, longest or largest that match, within a budget.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use futures_util::future::try_join;

use super::super::engine::Shared;
use super::super::entry::Entry;
use super::super::run::{CHUNK, RunMeta};
use super::super::{Cursor, Order, StoreError, TraceFilter, TracePage, Verdict};
use super::ahead::{OPEN_BLOCKS, Pages};
use super::lookup::Contents;
use super::needles::Needles;
use super::search::{Search, dots, key};
use crate::dashboard::model::{Trace, TraceId};

/// Entries that are looked at together where they lie far apart.
const AT_ONCE: usize = 64;
/// Spans after which no further trace is opened with them.
const SPANS_AT_ONCE: usize = 4096;

/// Traces that are opened together: all of a page of 20, and the one that tells that there is another page.
const OPENED_AT_ONCE: usize = OPEN_BLOCKS;

/// The first of some traces: as many as may be wanted still. Some may have been looked at when one before them was, and wait
/// for their turn.
fn opened_together(entries: impl Iterator<Item = Entry>, search: &Search<'_>) -> Vec<Entry> {
    let wanted = search.to_open().clamp(1, OPENED_AT_ONCE);
    let mut spans = 0;
    let few = |entry: &Entry| {
        let before = spans;
        spans += entry.summary.spans as usize;
        before < SPANS_AT_ONCE
    };
    entries.take(wanted.saturating_sub(search.judged.len()).max(1)).take_while(few).collect()
}

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

/// Whether entries are wanted in every fourth chunk or more often: then it pays to read neighbours along.
fn is_dense(ordinals: &[u32], run: &RunMeta) -> bool {
    ordinals.len() * CHUNK * 4 >= run.entries as usize
}

impl Shared {
    pub(super) async fn page(&self, filter: &TraceFilter) -> Result<TracePage, StoreError> {
        let mut search = Search::new(filter);
        let (open, runs) = self.offer_tail(&mut search);
        let mut newest_first: VecDeque<_> =
            runs.iter().filter(|run| run.overlaps(search.from, search.to)).collect();
        newest_first.make_contiguous().sort_by_key(|run| std::cmp::Reverse(run.max_start));
        let mut pages = None;
        if !open.is_empty() {
            // What comes after the tail is looked up while the tail's traces are opened.
            let needles = Needles::of(filter);
            let first = self.pages_ahead(&needles, &newest_first, search.runs_ahead);
            pages = Some(try_join(self.judge_tail(open, &runs, &mut search), first).await?.1);
        }
        let mut lined_up = VecDeque::new();
        loop {
            if lined_up.is_empty() {
                lined_up = self.line_up(&mut newest_first, pages.take(), &mut search).await?;
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

    /// Takes the next runs, with what was found in each of them, and reads the chunks that are wanted first; `pages` are
    /// theirs where they were read already.
    async fn line_up<'a>(
        &self,
        newest_first: &mut VecDeque<&'a Arc<RunMeta>>,
        pages: Option<Pages>,
        search: &mut Search<'_>,
    ) -> Result<VecDeque<LinedUp<'a>>, StoreError> {
        let pages = match pages {
            Some(pages) => pages,
            None => self.pages_ahead(&search.needles, newest_first, search.runs_ahead).await?,
        };
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

    /// Offers the tail's entries, newest first; gives the traces that are to be opened, and the runs that stood beside it.
    fn offer_tail(&self, search: &mut Search<'_>) -> (Vec<TraceId>, Arc<Vec<Arc<RunMeta>>>) {
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
    }

    /// Looks at the spans of the tail's traces, newest first, until there are enough.
    async fn judge_tail(
        &self,
        open: Vec<TraceId>,
        runs: &[Arc<RunMeta>],
        search: &mut Search<'_>,
    ) -> Result<(), StoreError> {
        for (index, id) in open.iter().copied().enumerate() {
            if !search.judged.contains_key(&id) {
                let next = self.next_of_tail(&open[index..], search);
                self.judge_ahead(next, runs, search).await?;
            }
            let entry = self.index.read().expect("no holder panics").tail.trace(id).cloned();
            // Sealed meanwhile where it is not there.
            let entry = match entry {
                Some(entry) => Some(entry),
                None => self.entry(id).await?,
            };
            if let Some(entry) = entry {
                self.judge(entry, runs, search).await?;
            }
            if search.is_enough() || search.is_spent() {
                search.complete = false;
                break;
            }
        }
        Ok(())
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
                    if !search.judged.contains_key(&entry.summary.trace_id) {
                        let here = ordinals[..=index].iter().rev().map(|ordinal| (run.id, *ordinal));
                        let next = here.chain(after.iter().flat_map(LinedUp::far_apart));
                        let next = self.to_be_opened(next, runs, search);
                        self.judge_ahead(next, runs, search).await?;
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

    /// The traces of the tail that are opened next.
    fn next_of_tail(&self, ids: &[TraceId], search: &Search<'_>) -> Vec<Entry> {
        let index = self.index.read().expect("no holder panics");
        let entries = ids.iter().filter(|id| !search.judged.contains_key(id));
        opened_together(entries.filter_map(|id| index.tail.trace(*id).cloned()), search)
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
        runs: &[Arc<RunMeta>],
        search: &Search<'_>,
    ) -> Vec<Entry> {
        let at_hand = |(run, ordinal): (u64, u32)| {
            self.kept_chunk((run, (ordinal as usize / CHUNK) as u32)).map(|chunk| (run, ordinal, chunk))
        };
        let entries = next.take(AT_ONCE).map_while(at_hand).filter_map(|(run, ordinal, chunk)| {
            let meta = runs.binary_search_by_key(&run, |known| known.id).ok().map(|index| &runs[index]);
            meta?.left_of(chunk.entry(ordinal).ok()??)
        });
        let is_new =
            |entry: &Entry| search.would_open(entry) && !search.judged.contains_key(&entry.summary.trace_id);
        opened_together(entries.filter(is_new), search)
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
        if let Some(judged) = search.judged.remove(&id) {
            search.opened += 1;
            search.spans += judged.spans.max(1);
            if judged.wanted {
                search.whole.insert(id);
                search.found.insert(id, entry);
            }
            return Ok(());
        }
        let in_pieces = match search.in_pieces.get(&id) {
            Some(known) => *known,
            None => {
                let in_tail = self.in_tail([id].into_iter());
                self.in_pieces(&[id], &in_tail, runs).await?.contains(&id)
            }
        };
        let whole = match in_pieces {
            true => self.entry(id).await?.unwrap_or(entry),
            false => entry,
        };
        let trace = match self.contents_with(&whole.locs, &mut search.open).await {
            Ok(Contents::Read(spans, logs)) => Ok(Some(Trace::new(id, spans, logs))),
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
    pub(super) fn in_tail(&self, ids: impl Iterator<Item = TraceId>) -> HashSet<TraceId> {
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
        let ids = rows.iter().map(|row| row.summary.trace_id).filter(|id| !search.whole.contains(id));
        let ids: Vec<TraceId> = ids.collect();
        let in_tail = self.in_tail(ids.iter().copied());
        let in_pieces = self.in_pieces(&ids, &in_tail, runs).await?;
        for row in rows {
            let id = row.summary.trace_id;
            // In one place only: then the row is whole as it is.
            let whole = match in_pieces.contains(&id) {
                true => self.entry(id).await?.unwrap_or(row),
                false => row,
            };
            page.rows.push(whole.summary);
        }
        Ok(page)
    }
}
