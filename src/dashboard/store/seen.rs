//! Remembers what came lately, so that a span sent twice is stored once.
//!
//! A sender that got no answer sends again, mostly within seconds. Two generations of fingerprints cover at least
//! the last [`GENERATION`] items, also across a restart (the writer reads the newest blocks at start). What comes
//! again later than that is stored twice, and shown once all the same: reads drop equal spans of a trace.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use xxhash_rust::xxh3::xxh3_64;

use crate::dashboard::model::otlp::Batch;

/// Fingerprints in one generation: about 9 MB of memory when full.
pub const GENERATION: usize = 500_000;

/// Fingerprints are hashes already: hashing them again would be waste.
#[derive(Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only u64 is hashed here")
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

type Set = HashSet<u64, BuildHasherDefault<Identity>>;

/// The fingerprints of the items stored lately.
#[derive(Default)]
pub struct Seen {
    young: Set,
    old: Set,
}

/// Fingerprints that are looked for together.
const TOGETHER: usize = 32;

impl Seen {
    /// Remembers those that are new, and tells of each by its index whether it is.
    pub fn insert_each(&mut self, fingerprints: &[u64], mut is_new: impl FnMut(usize, bool)) {
        for (part, begin) in fingerprints.chunks(TOGETHER).zip((0..).step_by(TOGETHER)) {
            // Each look is a walk to main memory. These do not wait for each other, and what follows finds it near.
            let mut known = [false; TOGETHER];
            for (known, fingerprint) in known.iter_mut().zip(part) {
                *known = self.contains(*fingerprint);
            }
            for ((index, fingerprint), known) in (begin..).zip(part).zip(known) {
                // One part may hold the same twice.
                is_new(index, !known && self.young.insert(*fingerprint));
            }
            if self.young.len() >= GENERATION {
                // The old set's memory becomes the young one's.
                std::mem::swap(&mut self.old, &mut self.young);
                self.young.clear();
            }
        }
    }

    /// Remembers those that are new.
    pub fn extend(&mut self, fingerprints: &[u64]) {
        self.insert_each(fingerprints, |_, _| {});
    }

    /// Whether it was stored lately.
    pub fn contains(&self, fingerprint: u64) -> bool {
        self.young.contains(&fingerprint) || self.old.contains(&fingerprint)
    }

    /// Forgets what was not stored after all.
    pub fn forget(&mut self, fingerprints: &[u64]) {
        for fingerprint in fingerprints {
            if !self.young.remove(fingerprint) {
                self.old.remove(fingerprint);
            }
        }
    }
}

/// The fingerprints of a batch's items, in their order.
pub struct Prints {
    /// What stands for each resource.
    pub resources: Vec<u64>,
    pub spans: Vec<u64>,
    pub logs: Vec<u64>,
}

impl Prints {
    /// Takes the fingerprints of all items.
    pub fn of(batch: &Batch) -> Self {
        let seeds: Vec<u64> =
            batch.resources.iter().map(|resource| resource_seed(batch.at(&resource.message))).collect();
        let print = |message, resource: u32| fingerprint(batch.at(message), seeds[resource as usize]);
        Self {
            spans: batch.spans.iter().map(|span| print(&span.message, span.resource)).collect(),
            logs: batch.logs.iter().map(|log| print(&log.message, log.resource)).collect(),
            resources: seeds,
        }
    }
}

/// The seed that stands for a resource: equal spans of different resources are different spans.
pub fn resource_seed(resource: &[u8]) -> u64 {
    xxh3_64(resource)
}

/// The fingerprint of an item.
pub fn fingerprint(message: &[u8], resource_seed: u64) -> u64 {
    // A seed given to the hash itself costs a new secret for every item.
    xxh3_64(message) ^ resource_seed.rotate_left(29)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_at_least_a_generation() {
        let mut seen = Seen::default();
        let mut new = |fingerprints: &[u64]| {
            let mut new = Vec::new();
            seen.insert_each(fingerprints, |index, is_new| new.extend(is_new.then_some(fingerprints[index])));
            new
        };
        let first: Vec<u64> = (0..GENERATION as u64 + 10).collect();
        assert_eq!(new(&first), first);
        let last = GENERATION as u64 + 5;
        let next = last * 2;
        assert_eq!(new(&[10, next, last, next, next + 1]), [next, next + 1], "also twice in one call");
        seen.forget(&[10]);
        assert!(!seen.contains(10) && seen.contains(last) && seen.contains(next));
    }
}
