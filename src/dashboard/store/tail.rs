//! The tail: what was committed lately and is not sealed into a run yet, in memory.
//!
//! A restart builds it again from the blocks. Entries of one trace are merged here, so lists see whole traces
//! although each service sends its own share.

use std::collections::hash_map::Entry::Vacant;
use std::collections::{BTreeSet, HashMap};

use super::entry::Entry;
use super::logs::filter::LogKind;
use super::logs::{Gathered, Rows};
use super::part::{Part, Sender};
use super::rates::{Fold, Sides};
use super::term::{MAX_ENTRIES, Term, TermIndex};
use crate::dashboard::model::{Nanos, TraceId, messages};

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
    /// The hashes of the attributes of each resource, under its term.
    resources: HashMap<Term, Vec<u32>>,
    services: BTreeSet<String>,
    /// The terms of the traces that are linked to, some perhaps twice.
    links: Vec<Term>,
    spans: u64,
    logs: u64,
    flushes: usize,
    rates: Fold,
    rows: Rows,
    messages: Rows,
}

impl Tail {
    /// Takes in a flush: its parts, and the resources that they came from.
    pub fn add(&mut self, parts: impl IntoIterator<Item = Part>, senders: impl IntoIterator<Item = Sender>) {
        for Sender { term, hashes, service } in senders {
            if let Vacant(place) = self.resources.entry(term) {
                place.insert(hashes);
                // A tap is no service.
                if service != messages::SCOPE {
                    self.services.insert(service);
                }
            }
        }
        for Part { entry, terms, links } in parts {
            self.spans += u64::from(entry.summary.spans);
            self.logs += u64::from(entry.summary.logs);
            self.links.extend(links);
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

    /// Its logs, or its messages, in order of time.
    pub fn rows(&self, kind: LogKind) -> &Rows {
        match kind {
            LogKind::Logs => &self.rows,
            LogKind::Messages => &self.messages,
        }
    }

    /// Takes in the logs of a flush.
    pub fn list(&mut self, logs: Gathered) {
        self.rows.join(logs.logs);
        self.messages.join(logs.messages);
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

    /// Begins anew when it was sealed: its index keeps the memory, and rates what may still be joined. Gives back what it
    /// held, which takes a while to let go of and is best dropped where nobody waits.
    pub fn begin_anew(&mut self) -> Self {
        let mut old = std::mem::take(self);
        self.terms = std::mem::take(&mut old.terms);
        self.terms.clear();
        self.rates = std::mem::take(&mut old.rates).next();
        old
    }

    /// Whether it is time to seal.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= SEAL_ENTRIES
            || self.flushes >= SEAL_FLUSHES
            || self.terms.len() >= SEAL_PAIRS
            || self.rates.is_full()
            || self.rows.is_full()
            || self.messages.is_full()
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

    /// Entries that start in a range, newest first.
    pub fn newest(&self, from: Nanos, to: Nanos) -> impl Iterator<Item = &Entry> {
        let range = if from <= to { (from, 0)..=(to, u32::MAX) } else { (1, 0)..=(1, 0) };
        self.by_start.range(range).rev().map(|(_, ordinal)| &self.entries[*ordinal as usize])
    }

    /// Which entries have a term, by their index.
    pub fn ordinals(&self, term: Term) -> Vec<u32> {
        self.terms.find(term)
    }

    /// The resources that have an attribute with one of these hashes.
    pub fn resources_with(&self, hashes: &[u32]) -> Vec<Term> {
        let with = |known: &Vec<u32>| known.iter().any(|hash| hashes.contains(hash));
        self.resources.iter().filter(|(_, known)| with(known)).map(|(term, _)| *term).collect()
    }

    /// Each attribute's hash with the term of a resource that has it.
    pub fn resources(&self) -> impl Iterator<Item = (u32, Term)> {
        self.resources.iter().flat_map(|(term, hashes)| hashes.iter().map(|hash| (*hash, *term)))
    }

    /// Names of the services that sent any of it.
    pub fn services(&self) -> &BTreeSet<String> {
        &self.services
    }

    /// Spans and logs in it.
    pub fn counts(&self) -> (u64, u64) {
        (self.spans, self.logs)
    }

    /// The terms of the traces that are linked to, some perhaps twice.
    pub fn links(&self) -> &[Term] {
        &self.links
    }

    /// The earliest start of its entries.
    pub fn oldest(&self) -> Option<Nanos> {
        self.by_start.first().map(|(start, _)| *start)
    }

    /// Whether it has an entry that starts in a range.
    pub fn overlaps(&self, from: Nanos, to: Nanos) -> bool {
        self.newest(from, to).next().is_some()
    }

    /// All entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Gives all pairs of a term and an index into [`Tail::entries`], as `other` makes them, in order and each once.
    pub fn for_each_pair(&self, other: impl Fn(u64) -> u64, take: impl FnMut(u64)) {
        self.terms.for_each_sorted(other, take);
    }
}
