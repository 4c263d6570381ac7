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

/// Sorts the pairs of one bucket. Most terms are of one entry, so the next bits of the hash spread them over groups
/// of one or two; what is left to sort is the few long ones of terms that many entries have, mostly in order already.
#[derive(Default)]
struct Sorter {
    unsorted: Vec<u64>,
    sorted: Vec<u64>,
    /// Where each group goes on.
    next: Vec<u32>,
}

impl Sorter {
    fn sort(&mut self, pairs: impl Iterator<Item = u64>) -> &[u64] {
        const BELOW: u32 = u32::BITS - BUCKET_BITS - GROUP_BITS + ORDINAL_BITS;
        let group = |pair: u64| (pair >> BELOW) as usize & ((1 << GROUP_BITS) - 1);
        self.unsorted.clear();
        self.unsorted.extend(pairs);
        self.next.clear();
        self.next.resize(1 << GROUP_BITS, 0);
        for pair in &self.unsorted {
            self.next[group(*pair)] += 1;
        }
        let mut begin = 0;
        for next in &mut self.next {
            begin += std::mem::replace(next, begin);
        }
        self.sorted.clear();
        self.sorted.resize(self.unsorted.len(), 0);
        for pair in &self.unsorted {
            let next = &mut self.next[group(*pair)];
            self.sorted[*next as usize] = *pair;
            *next += 1;
        }
        let mut begin = 0;
        for end in &self.next {
            let end = *end as usize;
            if end > begin + 1 {
                self.sorted[begin..end].sort_unstable();
            }
            begin = end;
        }
        &self.sorted
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
