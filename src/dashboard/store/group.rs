//! The items of a flush by trace: each trace's spans together and in the order in which they came, then its logs.
//!
//! Traces stay in the order of their first item. Nothing is sorted: an item is counted to its trace when it comes, and
//! put into its place when all are there.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::ops::Range;
use std::sync::LazyLock;

use super::block::ItemKind;
use crate::dashboard::model::TraceId;

/// Keeps senders from choosing trace IDs that fall together.
static SEED: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0) | 1);

/// Hashes trace IDs, which are random mostly, but chosen by whoever sends.
#[derive(Default)]
struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only numbers are hashed here")
    }

    fn write_u128(&mut self, number: u128) {
        let halves = (number as u64 ^ *SEED, (number >> 64) as u64 ^ SEED.rotate_left(32));
        let product = u128::from(halves.0) * u128::from(halves.1 | 1);
        self.0 ^= (product as u64) ^ ((product >> 64) as u64) ^ (halves.1.wrapping_mul(*SEED));
    }

    fn write_u8(&mut self, number: u8) {
        self.0 ^= u64::from(number).wrapping_mul(*SEED);
    }
}

/// What items are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Group {
    Trace(u128),
    /// Logs without a trace, by a hash of what they have in common.
    Logs(u128),
}

impl Group {
    /// The trace's ID, zero for logs without one.
    pub fn trace_id(self) -> TraceId {
        match self {
            Group::Trace(id) => TraceId(id.to_be_bytes()),
            Group::Logs(_) => TraceId([0; 16]),
        }
    }
}

/// A key of the map: std hashes an enum's variant as a wide number, this as one byte.
#[derive(Clone, Copy, PartialEq, Eq)]
struct GroupKey(Group);

impl std::hash::Hash for GroupKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (number, is_logs) = match self.0 {
            Group::Trace(id) => (id, 0),
            Group::Logs(hash) => (hash, 1),
        };
        state.write_u128(number);
        state.write_u8(is_logs);
    }
}

/// An item's place among the batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slot {
    pub batch: u32,
    /// Its number in the batch, among the spans or among the logs.
    pub item: u32,
    pub is_log: bool,
}

impl Slot {
    pub fn kind(self) -> ItemKind {
        if self.is_log { ItemKind::Log } else { ItemKind::Span }
    }
}

/// Items, counted to their groups. The memory is used again for the next flush.
#[derive(Default)]
pub struct Groups {
    known: HashMap<GroupKey, u32, BuildHasherDefault<Mixed>>,
    groups: Vec<Group>,
    /// Each item with twice its group's number, one more for a log.
    items: Vec<(Slot, u32)>,
    /// By that number: how many items, then where the next one goes, then where the last one ended.
    ends: Vec<u32>,
    sorted: Vec<Slot>,
}

impl Groups {
    /// Begins anew.
    pub fn clear(&mut self) {
        self.known.clear();
        self.groups.clear();
        self.items.clear();
        self.ends.clear();
    }

    /// Adds an item.
    pub fn add(&mut self, group: Group, slot: Slot) {
        // Items of one trace often come one after the other.
        let last = self.items.last().map(|(_, number)| *number / 2);
        let number = match last {
            Some(last) if self.groups[last as usize] == group => last,
            _ => *self.known.entry(GroupKey(group)).or_insert_with(|| {
                self.groups.push(group);
                self.ends.extend([0, 0]);
                self.groups.len() as u32 - 1
            }),
        };
        let number = number * 2 + u32::from(slot.is_log);
        self.ends[number as usize] += 1;
        self.items.push((slot, number));
    }

    /// Puts the items into their places. Gives each group with the range of its items in [`Groups::slots`].
    pub fn sort(&mut self) -> impl Iterator<Item = (Group, Range<usize>)> + use<> {
        let mut begin = 0;
        for end in &mut self.ends {
            begin += std::mem::replace(end, begin);
        }
        self.sorted.clear();
        self.sorted.resize(self.items.len(), Slot::default());
        for (slot, number) in &self.items {
            let next = &mut self.ends[*number as usize];
            self.sorted[*next as usize] = *slot;
            *next += 1;
        }
        let mut begin = 0;
        let ends: Vec<usize> = self.ends.chunks(2).map(|ends| ends[1] as usize).collect();
        self.groups.clone().into_iter().zip(ends).map(move |(group, end)| {
            let range = begin..end;
            begin = end;
            (group, range)
        })
    }

    /// The items in their places.
    pub fn slots(&self, range: Range<usize>) -> &[Slot] {
        &self.sorted[range]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_come_before_logs_and_both_as_they_came() {
        let mut groups = Groups::default();
        for _ in 0..2 {
            groups.clear();
            let slot = |batch, item, is_log| Slot { batch, item, is_log };
            for (group, slot) in [
                (Group::Trace(7), slot(0, 0, false)),
                (Group::Trace(9), slot(0, 1, false)),
                (Group::Trace(7), slot(0, 2, false)),
                (Group::Trace(7), slot(0, 0, true)),
                (Group::Logs(7), slot(0, 1, true)),
                (Group::Trace(7), slot(1, 0, false)),
            ] {
                groups.add(group, slot);
            }
            let found: Vec<_> = groups.sort().collect();
            let found: Vec<_> =
                found.into_iter().map(|(group, range)| (group, groups.slots(range).to_vec())).collect();
            assert_eq!(
                found,
                [
                    (
                        Group::Trace(7),
                        vec![slot(0, 0, false), slot(0, 2, false), slot(1, 0, false), slot(0, 0, true)]
                    ),
                    (Group::Trace(9), vec![slot(0, 1, false)]),
                    (Group::Logs(7), vec![slot(0, 1, true)]),
                ]
            );
        }
        assert_eq!(Group::Logs(7).trace_id(), TraceId([0; 16]));
    }
}
