//! Runs: sealed parts of the store, never changed again, only dropped when they are old.
//!
//! A run holds the entries of some ten thousand traces in order of their start, in chunks; sorted pages of
//! (term, ordinal) pairs to find them by, and behind them those of its resources and rates; and contiguous blocks.
//! What every query needs of every run (its range, a filter of its trace and correlation IDs, where each page
//! begins) is its [`RunMeta`], kept in memory.

mod pages;
mod rest;

use std::collections::HashMap;
use std::ops::Range;

use xxhash_rust::xxh3::xxh3_128;

use super::StoreError;
use super::block::{compress, damaged, decompress};
use super::entry::{self, Entry, Loc};
use super::failing::Minutes;
use super::logs;
use super::logs::filter::LogKind;
use super::rates;
use super::rollup::Rollup;
use super::tail::Tail;
use super::term::Term;
use crate::dashboard::model::proto::{WireError, put_varint, take_bytes, take_varint};
use crate::dashboard::model::{Nanos, TraceId, TraceSummary};
use pages::PairPages;
pub use pages::{PairFormat, check as check_page, find as find_in_pages, resources_with};

/// Entries of a chunk: what is decoded to see one of them.
pub const CHUNK: usize = 128;
/// Bits of the filter for a trace: one in a thousand absent traces passes.
const FILTER_BITS: usize = 16;
const FILTER_HASHES: u64 = 6;
/// Services listed for a run; more make the list "and others".
const MAX_SERVICES: usize = 10_000;

/// What the filters of runs are asked for, hashed.
#[derive(Debug, Clone, Copy)]
pub struct FilterKey(u128);

impl FilterKey {
    fn of(key: &[u8]) -> Self {
        Self(xxh3_128(key))
    }

    /// That of a trace.
    pub fn of_trace(id: TraceId) -> Self {
        Self::of(&id.0)
    }
}

/// What is known of a run without reading it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RunMeta {
    pub id: u64,
    pub first_block: u64,
    pub last_block: u64,
    /// Earliest and latest start of its entries.
    pub min_start: Nanos,
    pub max_start: Nanos,
    /// When it was sealed: all it holds was received before.
    pub sealed: Nanos,
    pub entries: u32,
    pub spans: u64,
    pub logs: u64,
    pub services: Vec<String>,
    /// Which of its blocks hold logs, in order; none of them holds a span.
    pub log_blocks: Vec<u64>,
    pub rollup: Rollup,
    pub failing: Minutes,
    /// Where the rates of its operations and calls lie among its pages.
    pub rates: rates::Place,
    /// Its logs by time; `None` where it was sealed before there was such an index.
    pub log_index: Option<logs::Index>,
    /// The messages that a tap saw, the same.
    pub message_index: Option<logs::Index>,
    /// Whether an entry has more correlation IDs than entries keep, so that the filter lacks some.
    pub(super) any_correlation: bool,
    /// Bits of the trace IDs and correlation IDs in it, and of the traces that are linked to.
    pub(super) filter: Vec<u8>,
    /// The start of each chunk's first entry; none where it was sealed before these were kept.
    pub(super) chunk_starts: Vec<Nanos>,
    pub(super) pairs: PairFormat,
    /// The first pair of each page.
    pub(super) page_firsts: Vec<u64>,
}

/// A run as it is written.
#[derive(Default)]
pub struct SealedRun {
    pub meta: RunMeta,
    /// In order of their number, both.
    pub pages: Vec<Vec<u8>>,
    pub chunks: Vec<Vec<u8>>,
}

/// Seals entries; `pairs` refer to them by index, and where blocks were packed anew `moved` says where the
/// entries' parts lie now.
pub fn seal(
    id: u64,
    blocks: (u64, u64),
    now: Nanos,
    tail: &Tail,
    moved: &HashMap<u32, Vec<Loc>>,
) -> Result<SealedRun, StoreError> {
    let entries = tail.entries();
    let mut order: Vec<u32> = (0..entries.len() as u32).collect();
    order.sort_by_key(|index| entries[*index as usize].summary.start);
    let mut new_ordinal = vec![0u32; entries.len()];
    for (new, old) in order.iter().enumerate() {
        new_ordinal[*old as usize] = new as u32;
    }
    let PairPages { mut pages, firsts } = pages::of_tail(tail, &new_ordinal);
    // Behind the pages of pairs, as one more page.
    pages.push(pages::encode_resources(tail.resources())?);
    let entry = |index: &u32| (&entries[*index as usize], moved.get(index).map(Vec::as_slice));
    let chunks =
        order.chunks(CHUNK).map(|chunk| encode_chunk(chunk.iter().map(entry))).collect::<Result<_, _>>()?;
    let (first, last) = (order.first().copied(), order.last().copied());
    let start = |index: Option<u32>| index.map_or(0, |index| entries[index as usize].summary.start);
    let keys =
        entries.iter().map(|entry| 1 + entry.summary.correlations.len()).sum::<usize>() + tail.links().len();
    let mut meta = RunMeta {
        id,
        first_block: blocks.0,
        last_block: blocks.1,
        min_start: start(first),
        max_start: start(last),
        sealed: now,
        entries: entries.len() as u32,
        filter: vec![0; (keys * FILTER_BITS).div_ceil(8).max(8)],
        page_firsts: firsts,
        failing: Minutes::of(entries.iter()),
        chunk_starts: order.chunks(CHUNK).map(|chunk| start(chunk.first().copied())).collect(),
        ..RunMeta::default()
    };
    entries.iter().for_each(|entry| meta.count(entry));
    for link in tail.links() {
        meta.set(&link.0.to_le_bytes());
    }
    meta.services = tail.services().iter().take(MAX_SERVICES).cloned().collect();
    meta.rates = tail.rates().seal(&mut pages)?;
    Ok(SealedRun { meta, pages, chunks })
}

impl RunMeta {
    /// The index of a kind of records; `None` where it was sealed before there was one.
    pub fn index(&self, kind: LogKind) -> Option<&logs::Index> {
        match kind {
            LogKind::Logs => self.log_index.as_ref(),
            LogKind::Messages => self.message_index.as_ref(),
        }
    }

    /// The number of the page that holds the resources.
    pub fn resources_page(&self) -> u32 {
        self.page_firsts.len() as u32
    }

    /// The numbers of the first and last page that may hold pairs of a term.
    pub fn pages_of(&self, term: Term) -> Option<(u32, u32)> {
        let (low, high) = self.pairs.kept(term).bounds();
        // The page before the first that begins above `low` may hold it too.
        let first = self.page_firsts.partition_point(|first| *first <= low).saturating_sub(1);
        let end = self.page_firsts.partition_point(|first| *first <= high);
        (first < end).then(|| (first as u32, end as u32 - 1))
    }

    fn count(&mut self, entry: &Entry) {
        self.spans += u64::from(entry.summary.spans);
        self.logs += u64::from(entry.summary.logs);
        self.rollup.add(entry);
        let correlations = &entry.summary.correlations;
        self.any_correlation |= correlations.len() >= TraceSummary::MAX_CORRELATIONS;
        let correlations = correlations.iter().map(|correlation| correlation.value.as_bytes());
        for key in correlations.chain([&entry.summary.trace_id.0[..]]) {
            self.set(key);
        }
    }

    fn set(&mut self, key: &[u8]) {
        for bit in self.filter_bits(FilterKey::of(key)) {
            self.filter[bit / 8] |= 1 << (bit % 8);
        }
    }

    fn filter_bits(&self, FilterKey(hash): FilterKey) -> impl Iterator<Item = usize> + use<> {
        let (a, b, size) = (hash as u64, (hash >> 64) as u64 | 1, self.filter.len() as u64 * 8);
        (0..FILTER_HASHES).map(move |round| (a.wrapping_add(b.wrapping_mul(round)) % size) as usize)
    }

    /// False where the run has nothing of the trace for certain.
    pub fn may_hold(&self, id: TraceId) -> bool {
        self.passes(FilterKey::of_trace(id))
    }

    /// False where nothing in the run carries the correlation ID for certain.
    pub fn may_carry(&self, correlation: &str) -> bool {
        self.any_correlation || self.passes(FilterKey::of(correlation.as_bytes()))
    }

    /// False where nothing in the run links to the trace for certain.
    pub fn may_link(&self, id: TraceId) -> bool {
        self.passes(FilterKey::of(&Term::link_to(id).0.to_le_bytes()))
    }

    /// False where nothing in the run has the key for certain; for who asks many runs of one key.
    pub fn passes(&self, key: FilterKey) -> bool {
        !self.filter.is_empty() && self.filter_bits(key).all(|bit| self.filter[bit / 8] & 1 << (bit % 8) != 0)
    }

    /// Whether it has entries that start in a range.
    pub fn overlaps(&self, from: Nanos, to: Nanos) -> bool {
        self.min_start <= to && self.max_start >= from
    }

    /// The ordinals among which the entries lie that start in a range, to the full chunk.
    pub fn ordinals_in(&self, from: Nanos, to: Nanos) -> Range<u32> {
        if self.chunk_starts.is_empty() {
            return 0..self.entries;
        }
        // What begins before the range may end in it.
        let first = self.chunk_starts.partition_point(|start| *start < from).saturating_sub(1);
        let end = self.chunk_starts.partition_point(|start| *start <= to);
        let ordinal = |chunk: usize| self.entries.min((chunk * CHUNK) as u32);
        ordinal(first)..ordinal(end)
    }
}

fn encode_chunk<'a>(
    entries: impl Iterator<Item = (&'a Entry, Option<&'a [Loc]>)>,
) -> Result<Vec<u8>, StoreError> {
    let (mut body, mut lengths) = (Vec::new(), Vec::new());
    for (entry, moved) in entries {
        let before = body.len();
        entry::put(&mut body, entry, moved.unwrap_or(&entry.locs));
        lengths.push(body.len() - before);
    }
    let mut raw = vec![entry::VERSION];
    put_varint(&mut raw, lengths.len() as u64);
    lengths.into_iter().for_each(|length| put_varint(&mut raw, length as u64));
    raw.extend_from_slice(&body);
    compress(&raw)
}

/// A chunk, decompressed; its entries are decoded one by one, since few of them are looked at.
#[derive(Default)]
pub struct Chunk {
    raw: Vec<u8>,
    entries: Vec<std::ops::Range<usize>>,
}

impl Chunk {
    /// Opens a chunk: version, count, a length for each entry, the entries.
    pub fn open(data: &[u8]) -> Result<Self, StoreError> {
        let raw = decompress(data)?;
        let entries = Self::places(&raw).map_err(damaged)?;
        Ok(Self { raw, entries })
    }

    fn places(raw: &[u8]) -> Result<Vec<std::ops::Range<usize>>, WireError> {
        let mut rest = raw;
        if take_bytes(&mut rest, 1)?[0] != entry::VERSION {
            return Err(WireError::Tag);
        }
        let count = take_varint(&mut rest)?;
        let lengths: Vec<usize> = (0..count)
            .map(|_| take_varint(&mut rest).map(|length| length as usize))
            .collect::<Result<_, _>>()?;
        let mut at = raw.len() - rest.len();
        let mut places = Vec::with_capacity(lengths.len());
        for length in lengths {
            if at + length > raw.len() {
                return Err(WireError::Truncated);
            }
            places.push(at..at + length);
            at += length;
        }
        Ok(places)
    }

    /// The entry with this ordinal of the run; `None` past the end.
    pub fn entry(&self, ordinal: u32) -> Result<Option<Entry>, StoreError> {
        let Some(place) = self.entries.get(ordinal as usize % CHUNK) else { return Ok(None) };
        entry::take(&mut &self.raw[place.clone()]).map(Some).map_err(damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_narrow_a_run_to_a_range() {
        let starts = vec![100, 200, 200, 300];
        let meta = RunMeta {
            entries: 3 * CHUNK as u32 + 5,
            min_start: 100,
            chunk_starts: starts,
            ..RunMeta::default()
        };
        let chunk = CHUNK as u32;
        for (from, to, found) in [
            (0, 99, 0..0),
            (0, 100, 0..chunk),
            (150, 199, 0..chunk),
            (200, 200, 0..3 * chunk),
            (201, 250, 2 * chunk..3 * chunk),
            (300, u64::MAX, 2 * chunk..3 * chunk + 5),
            (0, u64::MAX, 0..3 * chunk + 5),
        ] {
            assert_eq!(meta.ordinals_in(from, to), found, "{from}..={to}");
        }
        let read = RunMeta { entries: 9, min_start: 100, ..RunMeta::default() };
        assert_eq!(read.ordinals_in(0, 99), 0..9, "it does not know");
        let blank = RunMeta { chunk_starts: Vec::new(), ..meta.clone() };
        let again = blank.with_rest(&meta.encode_rest().unwrap()).unwrap();
        assert_eq!(again.chunk_starts, meta.chunk_starts);
    }
}
