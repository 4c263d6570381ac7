//! What an entry can be found by: 32-bit hashes of a namespace and a value.
//!
//! A term may collide with another (1 in 10,000 lookups of an absent value meets one in a run of half a million
//! terms), so whoever finds an entry by term checks the entry itself. Terms and their place in the packed pair
//! are part of the stored format: never change a discriminant or the hash; add namespaces at the end.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::dashboard::model::{SpanId, TraceId};

/// Bits of an entry's ordinal in a packed pair; a run or tail holds at most this many entries.
pub const ORDINAL_BITS: u32 = 20;
/// Most entries of a run.
pub const MAX_ENTRIES: usize = 1 << ORDINAL_BITS;

/// A term: what is hashed is the namespace's number (as seed) and the value's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u32);

#[derive(Clone, Copy)]
#[repr(u64)]
enum Namespace {
    Trace = 1,
    Span = 2,
    Service = 3,
    ServiceError = 4,
    Error = 5,
    Operation = 6,
    Correlation = 7,
    LinkTo = 8,
    Broke = 9,
}

impl Term {
    fn of(namespace: Namespace, value: &[u8]) -> Self {
        Self((xxh3_64_with_seed(value, namespace as u64) >> 32) as u32)
    }

    /// The entry of a trace.
    pub fn trace(id: TraceId) -> Self {
        Self::of(Namespace::Trace, &id.0)
    }

    /// Entries with a span of this ID.
    pub fn span(id: SpanId) -> Self {
        Self::of(Namespace::Span, &id.0)
    }

    /// Entries with a span of this service.
    pub fn service(name: &str) -> Self {
        Self::of(Namespace::Service, name.as_bytes())
    }

    /// Entries with a failed span of this service.
    pub fn service_error(name: &str) -> Self {
        Self::of(Namespace::ServiceError, name.as_bytes())
    }

    /// Entries with a failed span.
    pub fn error() -> Self {
        Self::of(Namespace::Error, b"")
    }

    /// Entries with a failed span that is more than a refused call.
    pub fn broke() -> Self {
        Self::of(Namespace::Broke, b"")
    }

    /// Entries whose root span has this name.
    pub fn operation(name: &str) -> Self {
        Self::of(Namespace::Operation, name.as_bytes())
    }

    /// Entries with this correlation ID on a span or log.
    pub fn correlation(value: &str) -> Self {
        Self::of(Namespace::Correlation, value.as_bytes())
    }

    /// Entries with a span that links to this trace.
    pub fn link_to(id: TraceId) -> Self {
        Self::of(Namespace::LinkTo, &id.0)
    }

    /// The pair of this term and an entry's ordinal; pairs sort by term, then ordinal.
    pub fn with(self, ordinal: u32) -> u64 {
        u64::from(self.0) << ORDINAL_BITS | u64::from(ordinal)
    }

    /// First and last pair that this term can have.
    pub fn bounds(self) -> (u64, u64) {
        (self.with(0), self.with(MAX_ENTRIES as u32 - 1))
    }
}

/// The ordinal of a pair.
pub fn ordinal(pair: u64) -> u32 {
    (pair & (MAX_ENTRIES as u64 - 1)) as u32
}

/// Sorted pairs in memory, for the entries that are not sealed yet: a few sorted lists, merged as they grow so
/// that there are never more than about log2 of them.
#[derive(Debug, Default)]
pub struct TermIndex {
    lists: Vec<Vec<u64>>,
}

impl TermIndex {
    /// Takes pairs in any order.
    pub fn add(&mut self, mut pairs: Vec<u64>) {
        pairs.sort_unstable();
        while self.lists.last().is_some_and(|last| last.len() <= pairs.len() * 2) {
            pairs.append(&mut self.lists.pop().expect("a list was just seen"));
        }
        // The stable sort sees that it is given a few sorted lists in a row, and merges them.
        pairs.sort();
        pairs.dedup();
        if !pairs.is_empty() {
            self.lists.push(pairs);
        }
    }

    /// Ordinals of the entries with this term, each once.
    pub fn find(&self, term: Term) -> Vec<u32> {
        let (low, high) = term.bounds();
        let mut found: Vec<u32> = self
            .lists
            .iter()
            .flat_map(|list| {
                let from = list.partition_point(|pair| *pair < low);
                list[from..].iter().take_while(|pair| **pair <= high).map(|pair| ordinal(*pair))
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// All pairs, in no order.
    pub fn pairs(&self) -> impl Iterator<Item = u64> {
        self.lists.iter().flatten().copied()
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
            index.add(vec![a.with(ordinal), b.with(ordinal), a.with(ordinal / 2)]);
        }
        assert_eq!(index.find(a), (0..100).collect::<Vec<_>>());
        assert_eq!(index.find(Term::service("c")), Vec::<u32>::new());
        assert!(index.lists.len() < 12, "{} lists", index.lists.len());
    }

    #[test]
    fn keeps_its_hash_since_it_is_stored() {
        assert_eq!(Term::service("orders").0, 471_431_692);
        assert_ne!(Term::service("orders"), Term::service_error("orders"));
    }
}
