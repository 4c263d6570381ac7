//! Pages of traces: the newest, longest or largest that match, within a budget.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::super::engine::Shared;
use super::super::entry::Entry;
use super::super::run::{CHUNK, RunMeta};
use super::super::{
    Cursor, Dot, Order, Selection, StatusFilter, StoreError, TraceFilter, TracePage, Verdict,
};
use super::ahead::{OpenBlocks, RUNS_FIRST};
use super::lookup::{Contents, or_left_out};
use super::needles::Needles;
use crate::dashboard::model::{Nanos, Trace, TraceId, TraceSummary};

/// Entries that are looked at together where they lie far apart.
const AT_ONCE: usize = 64;
/// Traces that are opened together.
const OPENED_AT_ONCE: usize = 20;

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
        search.runs_ahead *= 4;
        let mut lined_up = VecDeque::new();
        for run in newest_first.drain(..pages.runs) {
            let found = self.in_run(&search.needles, run, &pages).await?;
            lined_up.push_back(LinedUp { run, found });
        }
        let first: Vec<(u64, u32)> = lined_up.iter().flat_map(LinedUp::far_apart).take(AT_ONCE).collect();
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
        let ordinals = found.unwrap_or_else(|| (0..run.entries).collect());
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
                        let blocks = self.to_be_opened(next, search)?;
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
        let chunk = or_left_out(self.chunk(run.id, (ordinal as usize / CHUNK) as u32, dense).await)?;
        let entry = chunk.map_or(Ok(None), |chunk| chunk.entry(ordinal))?;
        Ok(entry.and_then(|entry| run.left_of(entry)))
    }

    /// The blocks of the traces that are opened next: as many as may be wanted still, out of those whose chunks are at
    /// hand.
    fn to_be_opened(
        &self,
        next: impl Iterator<Item = (u64, u32)>,
        search: &Search<'_>,
    ) -> Result<Vec<u64>, StoreError> {
        let wanted = search.rows.saturating_sub(search.found.len()).clamp(1, OPENED_AT_ONCE);
        let (mut traces, mut blocks) = (0, Vec::new());
        for (run, ordinal) in next.take(AT_ONCE) {
            let Some(chunk) = self.kept_chunk((run, (ordinal as usize / CHUNK) as u32)) else { break };
            let Some(entry) = chunk.entry(ordinal)? else { continue };
            if search.would_open(&entry) {
                traces += 1;
                blocks.extend(entry.locs.iter().map(|loc| loc.block));
            }
            if traces >= wanted || blocks.len() >= OPENED_AT_ONCE {
                break;
            }
        }
        Ok(blocks)
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
        let whole = if self.is_in_pieces(id, runs) { self.entry(id).await?.unwrap_or(entry) } else { entry };
        let trace = match self.contents_with(&whole.locs, &mut search.open).await {
            Ok(Contents::Read(spans, logs)) => Ok(Some(Trace { id, spans, logs })),
            Ok(Contents::Moved) => self.whole_trace(id).await,
            Err(error) => Err(error),
        };
        let trace = or_left_out(trace)?;
        let Some(trace) = trace else { return Ok(()) };
        search.opened += 1;
        search.spans += trace.spans.len().max(1);
        if select.of_trace(&whole.summary, &trace) {
            search.whole.insert(id);
            search.found.insert(id, whole);
        }
        Ok(())
    }

    /// Whether parts of a trace may lie in more than one place.
    fn is_in_pieces(&self, id: TraceId, runs: &[Arc<RunMeta>]) -> bool {
        let in_tail = self.index.read().expect("no holder panics").tail.trace(id).is_some();
        usize::from(in_tail) + runs.iter().filter(|run| run.may_hold(id)).count() > 1
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
        for row in rows {
            let id = row.summary.trace_id;
            // In one place only: then the row is whole as it is.
            let whole = if !search.whole.contains(&id) && self.is_in_pieces(id, runs) {
                self.entry(id).await?.unwrap_or(row)
            } else {
                row
            };
            page.rows.push(whole.summary);
        }
        Ok(page)
    }
}

/// A search under way.
struct Search<'a> {
    filter: &'a TraceFilter,
    from: Nanos,
    to: Nanos,
    needles: Needles,
    /// Matches wanted before a search for the newest may end.
    want: usize,
    /// Matches wanted for the page alone: nothing is opened for the chart's sake.
    rows: usize,
    found: HashMap<TraceId, Entry>,
    examined: u64,
    complete: bool,
    /// Traces opened, and their spans.
    opened: u64,
    spans: usize,
    open: OpenBlocks,
    /// Runs that are lined up next.
    runs_ahead: usize,
    /// Traces that were put together out of all their parts already.
    whole: HashSet<TraceId>,
    /// The start of the last trace that was opened.
    seen_down_to: Nanos,
    /// Whether it ended since it had looked at as much as it may.
    spent: bool,
}

impl<'a> Search<'a> {
    fn new(filter: &'a TraceFilter) -> Self {
        let newest = filter.order == Order::Newest;
        let dots = if filter.dots { TracePage::MAX_DOTS } else { 0 };
        let to = filter.to.unwrap_or(Nanos::MAX);
        let before = filter.after.filter(|_| newest).map_or(Nanos::MAX, |after| after.key);
        Self {
            filter,
            from: filter.from.unwrap_or(0),
            to: to.min(before),
            needles: Needles::of(filter),
            want: filter.limit.clamp(1, TraceFilter::MAX_LIMIT).max(dots) + 1,
            rows: filter.limit.clamp(1, TraceFilter::MAX_LIMIT) + 1,
            found: HashMap::new(),
            examined: 0,
            complete: true,
            opened: 0,
            spans: 0,
            open: OpenBlocks::default(),
            runs_ahead: RUNS_FIRST,
            whole: HashSet::new(),
            seen_down_to: 0,
            spent: false,
        }
    }

    /// Looks at an entry, and takes it where it is wanted for certain.
    fn offer(&mut self, entry: &Entry) -> Verdict {
        self.examined += 1;
        // A page of the newest goes on below its cursor; what is above must not use up what is wanted.
        let above =
            |after: Cursor| (entry.summary.start, entry.summary.trace_id) >= (after.key, after.trace_id);
        let newest = self.filter.order == Order::Newest;
        if newest && self.filter.after.is_some_and(above) || !matches(entry, self.filter, self.from, self.to)
        {
            return Verdict::No;
        }
        self.seen_down_to = entry.summary.start;
        let verdict =
            self.filter.select.as_ref().map_or(Verdict::Yes, |select| select.of_summary(&entry.summary));
        if verdict == Verdict::Yes {
            match self.found.get_mut(&entry.summary.trace_id) {
                Some(known) => known.absorb(entry.clone()),
                None => drop(self.found.insert(entry.summary.trace_id, entry.clone())),
            }
        }
        verdict
    }

    /// Whether the spans of an entry will have to be looked at.
    fn would_open(&self, entry: &Entry) -> bool {
        let of_summary = |select: &Arc<dyn Selection>| select.of_summary(&entry.summary) == Verdict::Open;
        matches(entry, self.filter, self.from, self.to) && self.filter.select.as_ref().is_some_and(of_summary)
    }

    /// Looks at the tail's entries, newest first, until there are enough; gives the traces to be opened. From the
    /// first of those on, what is certain is opened as well, so that the newest come first.
    fn offer_newest<'b>(&mut self, entries: impl Iterator<Item = &'b Entry>) -> Vec<TraceId> {
        let mut open = Vec::new();
        for entry in entries {
            match self.offer(entry) {
                Verdict::Open => open.push(entry.summary.trace_id),
                Verdict::Yes if !open.is_empty() => {
                    self.found.remove(&entry.summary.trace_id);
                    open.push(entry.summary.trace_id);
                }
                _ => {}
            }
            if self.is_enough() {
                self.complete = false;
                break;
            }
        }
        open
    }

    fn is_enough(&self) -> bool {
        self.filter.order == Order::Newest && self.found.len() >= self.wanted()
    }

    /// Matches after which a search for the newest may end.
    fn wanted(&self) -> usize {
        if self.opened > 0 { self.rows } else { self.want }
    }

    /// Whether it has looked at as much as it may.
    fn is_spent(&mut self) -> bool {
        self.spent |= self.examined >= TraceFilter::BUDGET as u64 || self.spans >= TraceFilter::SPANS;
        self.spent
    }

    /// Whether nothing that starts at `start` or before can be among the newest wanted.
    fn is_done_before(&self, start: Nanos) -> bool {
        self.is_enough() && {
            let newer = self.found.values().filter(|entry| entry.summary.start > start).count();
            newer >= self.wanted()
        }
    }
}

fn matches(entry: &Entry, filter: &TraceFilter, from: Nanos, to: Nanos) -> bool {
    let summary = &entry.summary;
    if !entry.is_trace() || summary.start < from || summary.start > to {
        return false;
    }
    let share = filter.service.as_ref().map(|name| summary.share(name));
    if matches!(share, Some(None)) && summary.more_services == 0 {
        return false;
    }
    let errors = share.flatten().map_or(summary.errors, |share| share.errors);
    let status = match filter.status {
        Some(StatusFilter::Error) => errors > 0,
        Some(StatusFilter::Ok) => errors == 0,
        Some(StatusFilter::Broke) => summary.failed(),
        None => true,
    };
    status
        && filter
            .operation
            .as_ref()
            .is_none_or(|name| summary.root.as_ref().is_some_and(|root| root.name == *name))
        && filter.min_duration.is_none_or(|least| summary.duration() >= least)
        && filter.max_duration.is_none_or(|most| summary.duration() <= most)
        && filter.correlation.as_ref().is_none_or(|value| entry.carries(value).unwrap_or(true))
}

/// What a list is sorted by.
fn key(summary: &TraceSummary, order: Order) -> u64 {
    match order {
        Order::Newest => summary.start,
        Order::Longest => summary.duration(),
        Order::MostSpans => u64::from(summary.spans),
        Order::MostErrors => u64::from(summary.errors),
    }
}

/// The newest of the matches, for the chart.
fn dots(entries: &[Entry]) -> Vec<Dot> {
    let mut dots: Vec<Dot> = entries
        .iter()
        .map(|Entry { summary, .. }| Dot {
            trace_id: summary.trace_id,
            start: summary.start,
            duration: summary.duration(),
            failed: summary.errors > 0,
        })
        .collect();
    dots.sort_by_key(|dot| std::cmp::Reverse(dot.start));
    dots.truncate(TracePage::MAX_DOTS);
    dots
}
