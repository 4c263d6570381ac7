//! Entries by term, and the whole of a trace out of its parts.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::super::StoreError;
use super::super::block::{Decoder, Item};
use super::super::engine::Shared;
use super::super::entry::{Entry, Loc};
use super::super::run::{CHUNK, RunMeta, find_in_pages};
use super::super::seen::{fingerprint, resource_seed};
use super::super::term::Term;
use super::ahead::{OpenBlocks, PAGES_AT_ONCE};
use crate::dashboard::model::{LogRecord, Span, SpanId, Trace, TraceId};

/// Reads of a trace tried anew when its blocks were packed or dropped in between.
pub(super) const ATTEMPTS: usize = 4;

/// Spans and logs of some places, or that a place is gone.
pub(super) enum Contents {
    Read(Vec<Span>, Vec<LogRecord>),
    Moved,
}

impl Shared {
    /// The entries of a run with some ordinals, ascending.
    async fn entries_at(&self, run: &RunMeta, ordinals: &[u32]) -> Result<Vec<Entry>, StoreError> {
        let mut entries = Vec::with_capacity(ordinals.len());
        for ordinals in ordinals.chunk_by(|a, b| *a as usize / CHUNK == *b as usize / CHUNK) {
            let number = (ordinals[0] as usize / CHUNK) as u32;
            let Some(chunk) = or_left_out(self.chunk(run.id, number, false).await)? else { continue };
            for ordinal in ordinals {
                entries.extend(chunk.entry(*ordinal)?.and_then(|entry| run.left_of(entry)));
            }
        }
        Ok(entries)
    }

    /// Ordinals of a run's entries with a term, ascending.
    pub(super) async fn run_ordinals(&self, run: &RunMeta, term: Term) -> Result<Vec<u32>, StoreError> {
        let Some((first, last)) = run.pages_of(term) else { return Ok(Vec::new()) };
        let pages = self.backend.pages(run.id, first, last).await?;
        find_in_pages(&pages, run.pairs, term, run.entries)
    }

    /// All entries that may carry a correlation ID, tail and runs, in no order.
    pub(super) async fn carriers(&self, correlation: &str) -> Result<Vec<Entry>, StoreError> {
        self.entries_in(Term::correlation(correlation), |run| run.may_carry(correlation)).await
    }

    async fn entries_in(
        &self,
        term: Term,
        may_hold: impl Fn(&RunMeta) -> bool + Send + Sync,
    ) -> Result<Vec<Entry>, StoreError> {
        let (mut found, runs) = {
            let index = self.index.read().expect("no holder panics");
            (index.tail.find(term).cloned().collect::<Vec<_>>(), index.runs.clone())
        };
        found.extend(self.entries_of(term, runs.iter().filter(|run| may_hold(run))).await?);
        Ok(found)
    }

    /// The entries of some runs with a term, run by run. They may include others: terms collide.
    async fn entries_of(
        &self,
        term: Term,
        runs: impl Iterator<Item = &Arc<RunMeta>> + Send,
    ) -> Result<Vec<Entry>, StoreError> {
        let (mut found, runs): (_, Vec<_>) = (Vec::new(), runs.collect());
        for runs in runs.chunks(PAGES_AT_ONCE) {
            let pages = |run: &RunMeta| run.pages_of(term).map_or(0..0, |(first, last)| first..last + 1);
            let wanted: Vec<_> =
                runs.iter().flat_map(|run| pages(run).map(|number| (run.id, number))).collect();
            let read: HashMap<_, _> = self.backend.pages_at(&wanted).await?.into_iter().collect();
            for run in runs {
                let pages: Vec<_> = pages(run).filter_map(|number| read.get(&(run.id, number))).collect();
                let ordinals = find_in_pages(&pages, run.pairs, term, run.entries)?;
                found.extend(self.entries_at(run, &ordinals).await?);
            }
        }
        Ok(found)
    }

    /// The traces that may have a span of this ID, newest first.
    pub(super) async fn with_span(&self, id: SpanId) -> Result<Vec<TraceId>, StoreError> {
        self.candidates(Term::span(id), |_| true).await
    }

    /// The traces that may link to this one, newest first.
    pub(super) async fn may_link(&self, id: TraceId) -> Result<Vec<TraceId>, StoreError> {
        self.candidates(Term::link_to(id), |run| run.may_link(id)).await
    }

    async fn candidates(
        &self,
        term: Term,
        may_hold: impl Fn(&RunMeta) -> bool + Send + Sync,
    ) -> Result<Vec<TraceId>, StoreError> {
        let mut entries = self.entries_in(term, may_hold).await?;
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
        for entry in self.entries_of(Term::trace(id), runs.iter().filter(|run| run.may_hold(id))).await? {
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
        for _ in 0..ATTEMPTS {
            let Some(entry) = self.entry(id).await? else { return Ok(None) };
            if let Contents::Read(spans, logs) = self.contents(&entry.locs).await? {
                return Ok(Some(Trace { id, spans, logs }));
            }
        }
        // Dropped by retention while it was being read.
        Ok(None)
    }

    /// Decodes what lies at some places: each span once, in order of time.
    pub(super) async fn contents(&self, locs: &[Loc]) -> Result<Contents, StoreError> {
        self.contents_with(locs, &mut OpenBlocks::default()).await
    }

    /// The same for one trace after the other, which often lie in the same blocks.
    pub(super) async fn contents_with(
        &self,
        locs: &[Loc],
        open: &mut OpenBlocks,
    ) -> Result<Contents, StoreError> {
        let mut by_block: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for loc in locs {
            by_block.entry(loc.block).or_default().push(loc.offset);
        }
        let (mut spans, mut logs, mut known) = (Vec::new(), Vec::new(), HashSet::new());
        for (id, offsets) in by_block {
            let Some(block) = self.open_block(id, open).await? else { return Ok(Contents::Moved) };
            let block = &*block;
            let read = || -> Result<(), StoreError> {
                let mut decoder = Decoder::default();
                for offset in offsets {
                    for item in block.part(offset)? {
                        let seed = resource_seed(block.resource(item.resource));
                        match decoder.item(block, &item)? {
                            Some(Item::Span(span)) if known.insert(fingerprint(item.message, seed)) => {
                                spans.push(*span);
                            }
                            Some(Item::Log(log)) => logs.push(*log),
                            _ => {}
                        }
                    }
                }
                Ok(())
            };
            read().map_err(|error| self.at(&format!("block {id}"), error))?;
        }
        spans.sort_by_key(|span| span.start);
        logs.sort_by_key(|log| log.time);
        Ok(Contents::Read(spans, logs))
    }
}

/// One of many reads of an answer: what is damaged is left out of it, and the log says so.
pub(super) fn or_left_out<T: Default>(read: Result<T, StoreError>) -> Result<T, StoreError> {
    match read {
        Err(error @ StoreError::Damaged(_)) => {
            tracing::error!(%error, "left out of an answer; all else is readable");
            Ok(T::default())
        }
        other => other,
    }
}

fn merge(whole: &mut Option<Entry>, entry: Entry) {
    match whole {
        Some(whole) => whole.absorb(entry),
        None => *whole = Some(entry),
    }
}
