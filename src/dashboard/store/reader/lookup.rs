//! Entries by term, and the whole of a trace out of its parts.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::super::StoreError;
use super::super::block::{Block, Decoder, Item};
use super::super::damage::if_readable;
use super::super::engine::Shared;
use super::super::entry::{Entry, Loc};
use super::super::run::{CHUNK, Chunk, RunMeta, check_page, find_in_pages, resources_with};
use super::super::seen::{fingerprint, resource_seed};
use super::super::term::Term;
use super::ahead::{OpenBlocks, PAGES_AT_ONCE, Pages};
use super::needles::Needles;
use crate::dashboard::model::{LogRecord, Span, SpanId, Trace, TraceId};

/// Reads of a trace tried anew when its blocks were packed or dropped in between.
pub(super) const ATTEMPTS: usize = 4;

/// Spans and logs of some places, or that a place is gone.
pub(super) enum Contents {
    Read(Vec<Span>, Vec<LogRecord>),
    Moved,
}

/// What entries are looked up by.
pub(super) enum Sought<'a> {
    Trace(TraceId),
    Correlation(&'a str),
    Span(SpanId),
    LinkTo(TraceId),
}

impl Sought<'_> {
    fn term(&self) -> Term {
        match self {
            Self::Trace(id) => Term::trace(*id),
            Self::Correlation(value) => Term::correlation(value),
            Self::Span(id) => Term::span(*id),
            Self::LinkTo(id) => Term::link_to(*id),
        }
    }

    /// False where a run has none for certain.
    fn may_be_in(&self, run: &RunMeta) -> bool {
        match self {
            Self::Trace(id) => run.may_hold(*id),
            Self::Correlation(value) => run.may_carry(value),
            Self::Span(_) => true,
            Self::LinkTo(id) => run.may_link(*id),
        }
    }

    /// Whether an entry may be one of them, as far as it tells; `None` where entries do not tell.
    fn may_be(&self, entry: &Entry) -> Option<bool> {
        match self {
            Self::Trace(id) => Some(entry.summary.trace_id == *id),
            Self::Correlation(value) => Some(entry.carries(value) != Some(false)),
            Self::Span(_) | Self::LinkTo(_) => None,
        }
    }
}

impl Shared {
    /// The entries of a run with some ordinals, ascending, that are wanted.
    async fn entries_at(
        &self,
        run: &RunMeta,
        ordinals: impl Iterator<Item = u32> + Send,
        wanted: impl Fn(&Entry) -> bool + Send + Sync,
    ) -> Result<Vec<Entry>, StoreError> {
        let (mut entries, mut open) = (Vec::new(), None::<(u32, Arc<Chunk>)>);
        for ordinal in ordinals {
            let number = (ordinal as usize / CHUNK) as u32;
            if open.as_ref().is_none_or(|(known, _)| *known != number) {
                open = self.chunk(run.id, number, false).await?.map(|chunk| (number, chunk));
            }
            let Some((_, chunk)) = &open else { continue };
            let entry = self.left_out(chunk.entry(ordinal))?;
            entries.extend(entry.and_then(|entry| run.left_of(entry)).filter(&wanted));
        }
        Ok(entries)
    }

    /// Ordinals of a run's entries with a term, ascending.
    pub(super) async fn run_ordinals(&self, run: &RunMeta, term: Term) -> Result<Vec<u32>, StoreError> {
        let Some((first, last)) = run.pages_of(term) else { return Ok(Vec::new()) };
        let mut pages = if_readable(self.backend.pages(run.id, first, last).await)?;
        if pages.len() > (last - first) as usize {
            return self.find_in(run, term, &pages);
        }
        // One of them is damaged or missing: which one comes out one by one.
        pages.clear();
        for number in first..=last {
            let Some(page) = self.run_page(run.id, number).await? else { return Ok(Vec::new()) };
            pages.push(page);
        }
        self.find_in(run, term, &pages)
    }

    /// The same out of its pages that may hold the term.
    pub(super) fn find_in<P: AsRef<[u8]>>(
        &self,
        run: &RunMeta,
        term: Term,
        pages: &[P],
    ) -> Result<Vec<u32>, StoreError> {
        let first = run.pages_of(term).map_or(0, |(first, _)| first);
        let found = find_in_pages(pages, first, run.pairs, term, run.entries);
        let found = found.and_then(|found| match found.last() {
            Some(last) if *last >= run.entries => Err(StoreError::Damaged("it leads nowhere".into())),
            _ => Ok(found),
        });
        found.map_err(|error| {
            let is_broken =
                |(page, number): &(&P, u32)| check_page(page.as_ref(), *number, run.pairs).is_err();
            let broken = pages.iter().zip(first..).find(is_broken).map_or(first, |(_, number)| number);
            self.at(&format!("run {}, page {broken}", run.id), error)
        })
    }

    /// Which of a run's entries have what is looked for; `None` for all of them, and where the index cannot tell since
    /// it is damaged.
    pub(super) async fn narrowing(
        &self,
        needles: &Needles,
        run: &RunMeta,
        ahead: &Pages,
    ) -> Result<Option<Vec<u32>>, StoreError> {
        self.left_out(self.in_run(needles, run, ahead).await)
    }

    /// The resources of a run that have an attribute with one of these hashes.
    pub(super) async fn resources_with(
        &self,
        run: &RunMeta,
        hashes: &[u32],
        ahead: &Pages,
    ) -> Result<Vec<Term>, StoreError> {
        let number = run.resources_page();
        if let Some(Ok(found)) = ahead.page(run.id, number).map(|page| resources_with(page, hashes)) {
            return Ok(found);
        }
        let found = self.read_page(run.id, number, |page| resources_with(page, hashes)).await?;
        Ok(found.unwrap_or_default())
    }

    /// All entries that may be what is looked for, tail and runs, in no order: terms collide.
    pub(super) async fn entries_in(&self, sought: Sought<'_>) -> Result<Vec<Entry>, StoreError> {
        let (mut found, runs) = {
            let index = self.index.read().expect("no holder panics");
            (index.tail.find(sought.term()).cloned().collect::<Vec<_>>(), index.runs.clone())
        };
        found.extend(self.entries_of(&sought, &runs).await?);
        Ok(found)
    }

    /// The same of some runs, run by run. Where the index of one is damaged, all of its entries are looked at if they
    /// tell, and what it alone knows is left out.
    async fn entries_of(&self, sought: &Sought<'_>, runs: &[Arc<RunMeta>]) -> Result<Vec<Entry>, StoreError> {
        let term = sought.term();
        let (mut found, runs): (_, Vec<_>) =
            (Vec::new(), runs.iter().filter(|run| sought.may_be_in(run)).collect());
        for runs in runs.chunks(PAGES_AT_ONCE) {
            let pages = |run: &RunMeta| run.pages_of(term).map_or(0..0, |(first, last)| first..last + 1);
            let wanted: Vec<_> =
                runs.iter().flat_map(|run| pages(run).map(|number| (run.id, number))).collect();
            let pages = Pages::of_parts(if_readable(self.backend.pages_at(&wanted).await)?);
            for run in runs {
                found.extend(match self.readable(self.ordinals(run, term, &pages).await)? {
                    Some(ordinals) => self.entries_at(run, ordinals.into_iter(), |_| true).await?,
                    None => {
                        let may_be = |entry: &Entry| sought.may_be(entry) == Some(true);
                        let tells = sought.may_be(&Entry::blank(TraceId([0; 16]))).is_some();
                        self.entries_at(run, 0..if tells { run.entries } else { 0 }, may_be).await?
                    }
                });
            }
        }
        Ok(found)
    }

    /// The traces that may have a span of this ID, newest first.
    pub(super) async fn with_span(&self, id: SpanId) -> Result<Vec<TraceId>, StoreError> {
        self.candidates(Sought::Span(id)).await
    }

    /// The traces that may link to this one, newest first.
    pub(super) async fn may_link(&self, id: TraceId) -> Result<Vec<TraceId>, StoreError> {
        self.candidates(Sought::LinkTo(id)).await
    }

    async fn candidates(&self, sought: Sought<'_>) -> Result<Vec<TraceId>, StoreError> {
        let mut entries = self.entries_in(sought).await?;
        entries.retain(Entry::is_trace);
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.summary.start));
        let mut known = HashSet::new();
        let ids = entries.iter().map(|entry| entry.summary.trace_id);
        Ok(ids.filter(|id| known.insert(*id)).collect())
    }

    /// A trace's entry out of all its parts.
    pub(super) async fn entry(&self, id: TraceId) -> Result<Option<Entry>, StoreError> {
        let (found, runs) = {
            let index = self.index.read().expect("no holder panics");
            (index.tail.trace(id).cloned(), index.runs.clone())
        };
        self.entry_in(id, found, &runs).await
    }

    /// The same, given what the tail has of it. Runs' parts are older, so they come first.
    pub(super) async fn entry_in(
        &self,
        id: TraceId,
        tail: Option<Entry>,
        runs: &[Arc<RunMeta>],
    ) -> Result<Option<Entry>, StoreError> {
        let mut whole: Option<Entry> = None;
        for entry in self.entries_of(&Sought::Trace(id), runs).await? {
            if entry.summary.trace_id == id {
                merge(&mut whole, entry);
            }
        }
        if let Some(entry) = tail {
            merge(&mut whole, entry);
        }
        Ok(whole)
    }

    /// Everything kept of a trace.
    pub(super) async fn whole_trace(&self, id: TraceId) -> Result<Option<Trace>, StoreError> {
        self.whole_trace_with(id, &mut OpenBlocks::default()).await
    }

    /// The same for one trace after the other, which often lie in the same blocks.
    pub(super) async fn whole_trace_with(
        &self,
        id: TraceId,
        open: &mut OpenBlocks,
    ) -> Result<Option<Trace>, StoreError> {
        for _ in 0..ATTEMPTS {
            let Some(entry) = self.entry(id).await? else { return Ok(None) };
            if let Contents::Read(spans, logs) = self.contents_with(&entry.locs, open).await? {
                return Ok(Some(Trace::new(id, spans, logs)));
            }
        }
        // Dropped by retention while it was being read.
        Ok(None)
    }

    /// Decodes what lies at some places: each span once, in order of time. `open` is for one after the other, which often
    /// lie in the same blocks.
    pub(super) async fn contents_with(
        &self,
        locs: &[Loc],
        open: &mut OpenBlocks,
    ) -> Result<Contents, StoreError> {
        let mut decoding = Decoding::default();
        for (id, offsets) in by_block(locs) {
            let Some(block) = self.open_block(id, open).await? else { return Ok(Contents::Moved) };
            decoding.block(&block, &offsets).map_err(|error| self.at(&format!("block {id}"), error))?;
        }
        let (spans, logs) = decoding.finish();
        Ok(Contents::Read(spans, logs))
    }
}

/// Offsets by block.
pub(super) fn by_block(locs: &[Loc]) -> BTreeMap<u64, Vec<u32>> {
    let mut by_block: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
    for loc in locs {
        by_block.entry(loc.block).or_default().push(loc.offset);
    }
    by_block
}

/// A trace that is being decoded, block by block.
#[derive(Default)]
pub(super) struct Decoding {
    spans: Vec<Span>,
    logs: Vec<LogRecord>,
    known: HashSet<u64>,
}

impl Decoding {
    /// Takes the parts of a block.
    pub fn block(&mut self, block: &Block, offsets: &[u32]) -> Result<(), StoreError> {
        let mut decoder = Decoder::default();
        for offset in offsets {
            for item in block.part(*offset)? {
                let seed = resource_seed(block.resource(item.resource));
                match decoder.item(block, &item)? {
                    Some(Item::Span(span)) if self.known.insert(fingerprint(item.message, seed)) => {
                        self.spans.push(*span);
                    }
                    Some(Item::Log(log)) => self.logs.push(*log),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// All of it: each span once, in order of time.
    pub fn finish(mut self) -> (Vec<Span>, Vec<LogRecord>) {
        self.spans.sort_by_key(|span| span.start);
        self.logs.sort_by_key(|log| log.time);
        (self.spans, self.logs)
    }
}

fn merge(whole: &mut Option<Entry>, entry: Entry) {
    match whole {
        Some(whole) => whole.absorb(entry),
        None => *whole = Some(entry),
    }
}
