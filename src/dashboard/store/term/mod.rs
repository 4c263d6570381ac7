//! What an entry can be found by: 32-bit hashes of a namespace and a value.
//!
//! A term may collide with another (1 in 10,000 lookups of an absent value meets one in a run of half a million
//! terms), so whoever finds an entry by term checks the entry itself. Terms and their place in the packed pair
//! are part of the stored format: never change a discriminant or the hash; add namespaces at the end.
//!
//! * [`set`]: the terms of one part, each once; [`index`]: those of the tail.

mod index;
mod set;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::dashboard::model::{SpanId, TraceId};
pub use index::TermIndex;
pub use set::TermSet;

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
    // 9 are attributes, whose hashes are made in `model::hash`.
    Broke = 10,
    SpanName = 11,
    Resource = 12,
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

    /// Entries with a span of this name.
    pub fn span_name(name: &[u8]) -> Self {
        Self::of(Namespace::SpanName, name)
    }

    /// Entries with an item of the resource that has this fingerprint.
    pub fn resource(fingerprint: u64) -> Self {
        Self::of(Namespace::Resource, &fingerprint.to_le_bytes())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_hash_since_it_is_stored() {
        assert_eq!(Term::service("orders").0, 471_431_692);
        assert_ne!(Term::service("orders"), Term::service_error("orders"));
    }
}
