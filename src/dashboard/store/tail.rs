//! The tail: what was committed lately and is not sealed into a run yet, in memory.
//!
//! A restart builds it again from the blocks. Entries of one trace are merged here, so lists see whole traces
//! although each service sends its own share.

use std::collections::{BTreeSet, HashMap};

use super::entry::Entry;
use super::part::Part;
use super::rates::{Fold, Sides};
use super::term::{MAX_ENTRIES, Term, TermIndex};
use crate::dashboard::model::{Nanos, TraceId};

/// Entries after which the tail is sealed: what a run costs to look into, against how many runs there are.
pub const SEAL_ENTRIES: usize = 16_384;
/// Flushes after which it is sealed, so that a quiet system's many small blocks are packed together.
pub const SEAL_FLUSHES: usize = 4_096;

/// Pairs after which it is sealed: 32 MB of them.
const SEAL_PAIRS: usize = 4 << 20;

/// The unsealed entries.
#[derive(Default)]
pub struct Tail {
    entries: Vec<Entry>,
    by_trace: HashMap<TraceId, u32>,
    by_start: BTreeSet<(Nanos, u32)>,
    terms: TermIndex,
    flushes: usize,
    rates: Fold,
}

impl Tail {
    /// Takes in a flush.
    pub fn add(&mut self, parts: impl IntoIterator<Item = Part>) {
        for Part { entry, terms } in parts {
            let ordinal = self.place(entry);
            self.terms.add(&terms, ordinal);
        }
        self.flushes += 1;
    }

    fn place(&mut self, entry: Entry) -> u32 {
        let next = self.entries.len() as u32;
        if !entry.is_orphan_logs() {
            let ordinal = *self.by_trace.entry(entry.summary.trace_id).or_insert(next);
            if let Some(known) = self.entries.get_mut(ordinal as usize) {
                self.by_start.remove(&(known.summary.start, ordinal));
                known.absorb(entry);
                self.by_start.insert((known.summary.start, ordinal));
                return ordinal;
            }
        }
        self.by_start.insert((entry.summary.start, next));
        self.entries.push(entry);
        next
    }

    /// Rates of what is in it.
    pub fn rates(&self) -> &Fold {
        &self.rates
    }

    /// Counts what a flush brought.
    pub fn count(&mut self, sides: &Sides) {
        self.rates.add(sides);
    }

    /// Takes in spans of a run, which rates may still be joined with.
    pub fn remember(&mut self, sides: &Sides) {
        self.rates.remember(sides);
    }

    /// The empty tail that follows this one when it is sealed.
    pub fn next(self) -> Self {
        Self { rates: self.rates.next(), ..Self::default() }
    }

    /// Whether it is time to seal.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= SEAL_ENTRIES
            || self.flushes >= SEAL_FLUSHES
            || self.terms.len() >= SEAL_PAIRS
            || self.rates.is_full()
            || self.entries.len() >= MAX_ENTRIES / 2
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry of a trace.
    pub fn trace(&self, id: TraceId) -> Option<&Entry> {
        self.by_trace.get(&id).map(|ordinal| &self.entries[*ordinal as usize])
    }

    /// Entries with a term, in order of arrival.
    pub fn find(&self, term: Term) -> impl Iterator<Item = &Entry> {
        self.terms.find(term).into_iter().map(|ordinal| &self.entries[ordinal as usize])
    }

    /// Entries with a term that start in a range, newest first; `None` where there are so many of them that walking
    /// all entries is as good.
    pub fn rare(&self, term: Term, from: Nanos, to: Nanos) -> Option<Vec<&Entry>> {
        let ordinals = self.terms.find(term);
        if ordinals.len() > self.entries.len() / 8 + 8 {
            return None;
        }
        let entries = ordinals.into_iter().map(|ordinal| &self.entries[ordinal as usize]);
        let mut found: Vec<_> = entries.filter(|entry| (from..=to).contains(&entry.summary.start)).collect();
        found.sort_by_key(|entry| std::cmp::Reverse(entry.summary.start));
        Some(found)
    }

    /// Entries that start in a range, newest first.
    pub fn newest(&self, from: Nanos, to: Nanos) -> impl Iterator<Item = &Entry> {
        let range = if from <= to { (from, 0)..=(to, u32::MAX) } else { (1, 0)..=(1, 0) };
        self.by_start.range(range).rev().map(|(_, ordinal)| &self.entries[*ordinal as usize])
    }

    /// All entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All pairs of a term and an ordinal in order; `renumbered` gives the ordinal for each index into
    /// [`Tail::entries`].
    pub fn pairs(&self, renumbered: &[u32]) -> Vec<u64> {
        self.terms.pairs(renumbered)
    }
}
