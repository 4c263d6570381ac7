//! A run's pages: sorted (term, ordinal) pairs, and which resources have which attributes.
//!
//! Format of a page of pairs. Each pair is a number: the term's first 28 bits, then as many bits as the run's ordinals
//! need. A page is the distances from one number to the next as varints, the first one's from −1. Terms that many
//! entries have are many numbers in a row: a zero, then how many numbers follow of which each is one more than the
//! one before. Behind them stands a checksum: the first four bytes, little endian, of XXH3 of what is before it, seeded
//! by the page's number. A flipped bit would be another distance, hence another answer, and a page in another's place
//! one of other terms.
//!
//! Runs that were sealed before have no checksum ([`PairFormat::Short`]); the oldest ([`PairFormat::Whole`]) have terms
//! of 32 bits, no rows, and begin from 0.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::super::StoreError;
use super::super::block::{compress, damaged, decompress};
use super::super::tail::Tail;
use super::super::term::{ORDINAL_BITS, Term, ordinal};
use crate::dashboard::model::proto::{put_varint, take_varint};

/// Bytes of a checksum.
const SUM_BYTES: usize = 4;
/// Bytes of a page of pairs at most, its checksum among them. It fills a page of SQLite's (4,096 bytes) with its head, and two of the chunks
/// that PostgreSQL cuts a value into (1,996 bytes).
const PAGE_BYTES: usize = 3_984;
/// Bytes that one more pair takes at most, with the row before it: three varints.
const PAIR_BYTES: usize = 20;

/// How pairs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PairFormat {
    Whole,
    Short,
    #[default]
    Checked,
}

impl PairFormat {
    /// Bits of a term that are not kept. One absent value in three hundred seems to be in a run of a million terms;
    /// for those an entry is opened in vain.
    fn dropped(self) -> u32 {
        match self {
            PairFormat::Whole => 0,
            PairFormat::Short | PairFormat::Checked => 4,
        }
    }

    /// A term as far as it is kept.
    pub fn kept(self, term: Term) -> Term {
        Term(term.0 >> self.dropped() << self.dropped())
    }

    fn begin(self) -> u64 {
        match self {
            PairFormat::Whole => 0,
            PairFormat::Short | PairFormat::Checked => u64::MAX,
        }
    }

    /// The pairs of a page, without its checksum; damaged where that tells another page.
    fn pairs(self, page: &[u8], number: u32) -> Result<&[u8], StoreError> {
        if self != PairFormat::Checked {
            return Ok(page);
        }
        match page.split_last_chunk() {
            Some((pairs, sum)) if *sum == checksum(pairs, number) => Ok(pairs),
            _ => Err(StoreError::Damaged("its checksum is that of another page".into())),
        }
    }
}

/// What stands behind the pairs of a page.
fn checksum(pairs: &[u8], number: u32) -> [u8; SUM_BYTES] {
    (xxh3_64_with_seed(pairs, u64::from(number)) as u32).to_le_bytes()
}

/// Bits that the ordinals of a run with so many entries need. Pairs are written with no more than these, so that
/// the distance from one to the next is a short number.
fn ordinal_bits(entries: usize) -> u32 {
    usize::BITS - entries.saturating_sub(1).leading_zeros()
}

/// The pages of a tail's pairs, and the first pair of each.
pub struct PairPages {
    pub pages: Vec<Vec<u8>>,
    pub firsts: Vec<u64>,
}

/// Writes the tail's pairs; `renumbered` gives the ordinal for each index into its entries.
pub fn of_tail(tail: &Tail, renumbered: &[u32]) -> PairPages {
    let mut writer = PairWriter::new(ordinal_bits(renumbered.len()));
    let dropped = PairFormat::Checked.dropped() + ORDINAL_BITS;
    let kept = move |pair: u64| pair >> dropped << dropped | u64::from(ordinal(pair));
    tail.for_each_pair(
        |pair| kept(pair) - u64::from(ordinal(pair)) + u64::from(renumbered[ordinal(pair) as usize]),
        |pair| writer.push(pair),
    );
    writer.finish()
}

struct PairWriter {
    bits: u32,
    done: PairPages,
    page: Vec<u8>,
    before: u64,
    /// Numbers that are one more than the one before and not written yet.
    row: u64,
}

impl PairWriter {
    fn new(bits: u32) -> Self {
        let done = PairPages { pages: Vec::new(), firsts: Vec::new() };
        Self { bits, done, page: Vec::with_capacity(PAGE_BYTES), before: PairFormat::Checked.begin(), row: 0 }
    }

    /// Writes a pair; they come in order, none twice.
    fn push(&mut self, pair: u64) {
        let number =
            pair >> (ORDINAL_BITS + PairFormat::Checked.dropped()) << self.bits | u64::from(ordinal(pair));
        if self.page.len() + PAIR_BYTES + SUM_BYTES > PAGE_BYTES {
            self.end_page();
        }
        if self.page.is_empty() {
            self.done.firsts.push(pair);
        } else if number == self.before + 1 {
            self.before = number;
            self.row += 1;
            return;
        }
        self.end_row();
        put_varint(&mut self.page, number.wrapping_sub(self.before));
        self.before = number;
    }

    fn end_row(&mut self) {
        match std::mem::take(&mut self.row) {
            0 => {}
            1 => self.page.push(1),
            more => {
                self.page.push(0);
                put_varint(&mut self.page, more);
            }
        }
    }

    fn end_page(&mut self) {
        self.end_row();
        if !self.page.is_empty() {
            let sum = checksum(&self.page, self.done.pages.len() as u32);
            self.page.extend_from_slice(&sum);
            self.done.pages.push(self.page.as_slice().to_vec());
            self.page.clear();
        }
        self.before = PairFormat::Checked.begin();
    }

    fn finish(mut self) -> PairPages {
        self.end_page();
        self.done
    }
}

/// Ordinals of a term's entries out of the pages of a run of `entries` that may hold it, ascending: oldest first. The
/// pages have the numbers from `first` on.
pub fn find<P: AsRef<[u8]>>(
    pages: &[P],
    first: u32,
    format: PairFormat,
    term: Term,
    entries: u32,
) -> Result<Vec<u32>, StoreError> {
    let bits = ordinal_bits(entries as usize);
    let low = u64::from(term.0 >> format.dropped()) << bits;
    let high = low | ((1 << bits) - 1);
    let mut found = Vec::new();
    for (page, place) in pages.iter().zip(first..) {
        let (mut rest, mut number) = (format.pairs(page.as_ref(), place)?, format.begin());
        while !rest.is_empty() {
            let mut step = take_varint(&mut rest).map_err(damaged)?;
            let first = number.wrapping_add(1);
            if step == 0 && format != PairFormat::Whole {
                step = take_varint(&mut rest).map_err(damaged)?;
                let row = first.max(low)..=number.wrapping_add(step).min(high);
                found.extend(row.map(|number| (number - low) as u32));
                number = number.wrapping_add(step);
                continue;
            }
            number = number.wrapping_add(step);
            if number > high {
                break;
            }
            if number >= low {
                found.push((number - low) as u32);
            }
        }
    }
    Ok(found)
}

/// Whether the page of pairs with this number can be read.
pub fn check(page: &[u8], number: u32, format: PairFormat) -> Result<(), StoreError> {
    let mut rest = format.pairs(page, number)?;
    if rest.is_empty() {
        return Err(StoreError::Damaged("it has no pairs".into()));
    }
    while !rest.is_empty() {
        take_varint(&mut rest).map_err(damaged)?;
    }
    Ok(())
}

/// The page of resources: sorted pairs of an attribute's hash and the term of a resource that has it.
pub fn encode_resources(resources: impl Iterator<Item = (u32, Term)>) -> Result<Vec<u8>, StoreError> {
    let mut pairs: Vec<u64> =
        resources.map(|(hash, term)| u64::from(hash) << u32::BITS | u64::from(term.0)).collect();
    pairs.sort_unstable();
    pairs.dedup();
    let (mut raw, mut before) = (Vec::with_capacity(pairs.len() * 6), 0);
    for pair in pairs {
        put_varint(&mut raw, pair - before);
        before = pair;
    }
    compress(&raw)
}

/// The terms of the resources that have an attribute with one of these hashes, out of the page of resources.
pub fn resources_with(page: &[u8], hashes: &[u32]) -> Result<Vec<Term>, StoreError> {
    let raw = decompress(page)?;
    let (mut rest, mut pair, mut found) = (&raw[..], 0u64, Vec::new());
    while !rest.is_empty() {
        pair = pair.wrapping_add(take_varint(&mut rest).map_err(damaged)?);
        if hashes.contains(&((pair >> u32::BITS) as u32)) {
            found.push(Term(pair as u32));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Pairs as a tail gives them: terms by number, each with the ordinals that a filter leaves.
    fn written(entries: u32, terms: impl Iterator<Item = (u32, Vec<u32>)>) -> (PairPages, BTreeSet<u64>) {
        let mut pairs = BTreeSet::new();
        for (term, ordinals) in terms {
            let kept = PairFormat::Checked.kept(Term(term));
            pairs.extend(ordinals.into_iter().map(|ordinal| kept.with(ordinal)));
        }
        let mut writer = PairWriter::new(ordinal_bits(entries as usize));
        pairs.iter().for_each(|pair| writer.push(*pair));
        (writer.finish(), pairs)
    }

    #[test]
    fn every_pair_is_found_again_and_no_page_is_too_large() {
        let entries = 9_000;
        let all: Vec<u32> = (0..entries).collect();
        let mut terms = vec![(0, all.clone()), (16, vec![0]), (u32::MAX, all.clone()), (1 << 30, all)];
        terms.extend((0..6_000u32).map(|n| (n.wrapping_mul(0x9e37_79b9) | 64, vec![n, n / 2, entries - 1])));
        let (PairPages { pages, firsts }, pairs) = written(entries, terms.iter().cloned());
        assert!(pages.len() > 5 && pages.len() == firsts.len());
        for (page, number) in pages.iter().zip(0..) {
            assert!(page.len() <= PAGE_BYTES);
            check(page, number, PairFormat::Checked).unwrap();
        }
        for (term, _) in &terms {
            let kept = PairFormat::Checked.kept(Term(*term));
            let (low, high) = kept.bounds();
            let wanted: Vec<u32> = pairs.range(low..=high).map(|pair| ordinal(*pair)).collect();
            assert_eq!(find(&pages, 0, PairFormat::Checked, Term(*term), entries).unwrap(), wanted, "{term}");
            // Runs that were sealed before there were checksums.
            let before: Vec<&[u8]> = pages.iter().map(|page| &page[..page.len() - SUM_BYTES]).collect();
            assert_eq!(find(&before, 0, PairFormat::Short, Term(*term), entries).unwrap(), wanted, "{term}");
        }
        assert_eq!(
            find(&pages, 0, PairFormat::Checked, Term(0x7000_0010), entries).unwrap(),
            Vec::<u32>::new()
        );
    }

    #[test]
    fn a_flipped_bit_and_a_page_in_the_place_of_another_are_damage() {
        let terms = (1..40u32).map(|number| (number << 20, vec![number, 90]));
        let (PairPages { pages, .. }, _) = written(100, terms);
        let (page, term) = (&pages[0], Term(7 << 20));
        let read = |page: &[u8], number| find(&[page], number, PairFormat::Checked, term, 100);
        assert_eq!(read(page, 0).unwrap(), [7, 90]);
        for bit in 0..page.len() * 8 {
            let mut flipped = page.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(read(&flipped, 0), Err(StoreError::Damaged(_))), "bit {bit}");
            assert!(check(&flipped, 0, PairFormat::Checked).is_err(), "bit {bit}");
        }
        assert!(read(page, 1).is_err());
        for length in 0..page.len() {
            assert!(read(&page[..length], 0).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_term_of_all_entries_takes_a_few_bytes() {
        let (PairPages { pages, .. }, _) = written(16_384, [(7 << 20, (0..16_384).collect())].into_iter());
        assert_eq!(pages.len(), 1);
        assert!(pages[0].len() < 12 + SUM_BYTES, "{} bytes", pages[0].len());
    }

    #[test]
    fn pages_of_the_format_before_are_read() {
        let (term, bits) = (Term(0x1234_5678), ordinal_bits(100));
        let mut page = Vec::new();
        let mut before = 0;
        for ordinal in [3u64, 4, 5, 99] {
            let number = u64::from(term.0) << bits | ordinal;
            put_varint(&mut page, number - before);
            before = number;
        }
        assert_eq!(find(&[page], 0, PairFormat::Whole, term, 100).unwrap(), [3, 4, 5, 99]);
    }
}
