//! The terms of the tail with the entries that have them.

use super::{ORDINAL_BITS, Term, ordinal};

/// Pairs in memory, for the entries that are not sealed yet. Terms are hashes, so their first bits spread them
/// evenly over buckets: adding is an append, finding looks through one bucket, and sorting bucket by bucket
/// stays within the processor's cache.
#[derive(Debug)]
pub struct TermIndex {
    buckets: Vec<Vec<u64>>,
    len: usize,
}

/// Bits of a term that choose its bucket.
const BUCKET_BITS: u32 = 8;
/// The bits behind those that choose a pair's group when its bucket is sorted.
const GROUP_BITS: u32 = 12;

impl Default for TermIndex {
    fn default() -> Self {
        Self { buckets: vec![Vec::new(); 1 << BUCKET_BITS], len: 0 }
    }
}

impl TermIndex {
    /// Adds an entry under its terms.
    pub fn add(&mut self, terms: &[Term], ordinal: u32) {
        for term in terms {
            self.buckets[(term.0 >> (u32::BITS - BUCKET_BITS)) as usize].push(term.with(ordinal));
        }
        self.len += terms.len();
    }

    /// Ordinals of the entries with this term, each once, ascending.
    pub fn find(&self, term: Term) -> Vec<u32> {
        let bucket = &self.buckets[(term.0 >> (u32::BITS - BUCKET_BITS)) as usize];
        let pairs = bucket.iter().filter(|pair| **pair >> ORDINAL_BITS == u64::from(term.0));
        let mut found: Vec<u32> = pairs.map(|pair| ordinal(*pair)).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// How many pairs it holds, some perhaps twice.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Gives all pairs in order, each once, as `other` makes them; it may change their ordinals and leave out a term's
    /// last bits.
    pub fn for_each_sorted(&self, other: impl Fn(u64) -> u64, mut take: impl FnMut(u64)) {
        let mut sorter = Sorter::default();
        for bucket in &self.buckets {
            let mut before = None;
            for pair in sorter.sort(bucket.iter().map(|pair| other(*pair))) {
                if before.replace(*pair) != Some(*pair) {
                    take(*pair);
                }
            }
        }
    }

    /// Forgets all pairs and keeps the memory for the next ones.
    pub fn clear(&mut self) {
        self.buckets.iter_mut().for_each(Vec::clear);
        self.len = 0;
    }
}

/// Sorts the pairs of one bucket: by ordinal, then by the bits of the term behind those that all have in common, each
/// pass leaving in order what it does not tell apart. Most terms are of one entry, so the hash spreads them over
/// groups of one or two, and what is left is to put a few terms of one group in order.
#[derive(Default)]
struct Sorter {
    pairs: Vec<u64>,
    other: Vec<u64>,
    /// Where each group goes on.
    next: Vec<u32>,
}

impl Sorter {
    fn sort(&mut self, pairs: impl Iterator<Item = u64>) -> &[u64] {
        const BELOW: u32 = u32::BITS - BUCKET_BITS - GROUP_BITS + ORDINAL_BITS;
        self.pairs.clear();
        self.pairs.extend(pairs);
        let most = self.pairs.iter().map(|pair| ordinal(*pair)).max().unwrap_or_default();
        let half = (u32::BITS - most.leading_zeros()).div_ceil(2);
        self.pass(0, half);
        self.pass(half, half);
        self.pass(BELOW, GROUP_BITS);
        let mut begin = 0;
        for end in &self.next {
            let end = *end as usize;
            if end > begin + 1 {
                self.pairs[begin..end].sort_unstable();
            }
            begin = end;
        }
        &self.pairs
    }

    /// Sorts by some bits and leaves in order what has the same.
    fn pass(&mut self, below: u32, bits: u32) {
        let group = |pair: u64| (pair >> below) as usize & ((1 << bits) - 1);
        self.next.clear();
        self.next.resize(1 << bits, 0);
        for pair in &self.pairs {
            self.next[group(*pair)] += 1;
        }
        let mut begin = 0;
        for next in &mut self.next {
            begin += std::mem::replace(next, begin);
        }
        self.other.clear();
        self.other.resize(self.pairs.len(), 0);
        for pair in &self.pairs {
            let next = &mut self.next[group(*pair)];
            self.other[*next as usize] = *pair;
            *next += 1;
        }
        std::mem::swap(&mut self.pairs, &mut self.other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_each_entry_once_however_the_pairs_came() {
        let mut index = TermIndex::default();
        let (a, b) = (Term::service("a"), Term::service("b"));
        for ordinal in 0..100 {
            index.add(&[a, b], ordinal);
            index.add(&[a], ordinal / 2);
        }
        assert_eq!(index.find(a), (0..100).collect::<Vec<_>>());
        assert_eq!(index.find(Term::service("c")), Vec::<u32>::new());
        let reversed: Vec<u64> = (0..100).rev().collect();
        let mut pairs = Vec::new();
        let other = |pair| pair - u64::from(ordinal(pair)) + reversed[ordinal(pair) as usize];
        index.for_each_sorted(other, |pair| pairs.push(pair));
        assert!(pairs.is_sorted_by(|a, b| a < b));
        assert_eq!(pairs.iter().filter(|pair| **pair >> ORDINAL_BITS == u64::from(a.0)).count(), 100);
    }
}
