//! Spans whose other half may still come: bounded in number.
//!
//! They lie in two rings, in the order in which they came: what is new takes the place of the oldest. Spans that send
//! or take messages have a ring of their own, since a message may wait for hours while calls by the million go by. What
//! falls out stays as it was counted.
//!
//! One index leads to both, since a key that is not there is the common case, and each look into a table of this size
//! is a walk to main memory.

use std::hint::black_box;

use super::side::{NO_KEY, Role};
use crate::dashboard::model::Nanos;

/// Spans that call, answer or do neither: 8 MB of them.
const CALLS: u32 = 160_000;
/// Those that send or take messages: 4 MB.
const MESSAGES: u32 = 80_000;

/// A span by its key, or what waits for one that did not come yet.
#[derive(Debug, Clone, Copy)]
pub struct Half {
    /// Next of those that wait for the same span as this one; where this one did not come yet, the first of those
    /// that wait for it.
    pub next: u64,
    pub at: Nanos,
    pub service: u32,
    pub peer: u32,
    pub bucket: u32,
    pub class: u16,
    /// `None` where only those that wait for it are known.
    pub role: Option<Role>,
    pub failed: bool,
    pub alone: bool,
    pub linked: bool,
    /// Counted by itself, and not taken back.
    pub solo: bool,
    /// Was joined with the span that it waited for.
    pub joined: bool,
    /// Number of the count by itself that a flush may still leave out.
    pub pending: u32,
}

impl Half {
    /// One that did not come yet.
    const AWAITED: Self = Self {
        next: NO_KEY,
        at: 0,
        service: 0,
        peer: 0,
        bucket: 0,
        class: 0,
        role: None,
        failed: false,
        alone: false,
        linked: false,
        solo: false,
        joined: false,
        pending: 0,
    };

    /// Whether it serves a call whose span has the same ID.
    fn shares_its_id(&self) -> bool {
        self.linked && self.role == Some(Role::Serve)
    }

    fn is_message(&self) -> bool {
        matches!(self.role, Some(Role::Send | Role::Take))
    }
}

/// Halves under their keys, in the order in which they came.
struct Ring {
    most: u32,
    halves: Vec<(u64, Half)>,
    /// Where the next one goes.
    next: u32,
}

impl Ring {
    fn new(most: u32) -> Self {
        Self { most, halves: Vec::new(), next: 0 }
    }

    /// Puts one in; gives its place.
    fn push(&mut self, key: u64, half: Half) -> u32 {
        let at = self.next;
        match self.halves.get_mut(at as usize) {
            Some(oldest) => *oldest = (key, half),
            None => self.halves.push((key, half)),
        }
        self.next = (at + 1) % self.most;
        at
    }

    /// All with their places. Of two with one key, the one that came first is to be found first.
    fn oldest_first(&self) -> impl Iterator<Item = (u64, &Half, u32)> {
        let (newest, oldest) = self.halves.split_at((self.next as usize).min(self.halves.len()));
        let oldest = oldest.iter().zip(self.next..);
        oldest.chain(newest.iter().zip(0..)).map(|((key, half), at)| (*key, half, at))
    }
}

/// The spans that may still be joined.
pub struct Halves {
    calls: Ring,
    messages: Ring,
    index: Index,
    awaited: Awaited,
}

impl Default for Halves {
    fn default() -> Self {
        Self::of_at_most(CALLS, MESSAGES)
    }
}

impl Halves {
    fn of_at_most(calls: u32, messages: u32) -> Self {
        Self {
            calls: Ring::new(calls),
            messages: Ring::new(messages),
            index: Index::default(),
            awaited: Awaited::default(),
        }
    }

    /// A span that came, or that others wait for.
    pub fn get(&mut self, key: u64) -> Option<&mut Half> {
        let Self { calls, messages, index, .. } = self;
        let place = index.find(key, |place| match place {
            Place::Call(at) => calls.halves[at as usize].0 == key,
            Place::Message(at) => messages.halves[at as usize].0 == key,
        })?;
        Some(match place {
            Place::Call(at) => &mut calls.halves[at as usize].1,
            Place::Message(at) => &mut messages.halves[at as usize].1,
        })
    }

    /// Looks where some keys would be found, so that it is near when they are asked for: the looks do not wait for each
    /// other, as those between which spans are joined do.
    pub fn look_ahead(&self, keys: impl Iterator<Item = u64>) {
        let last = self.index.slots.len().wrapping_sub(1);
        black_box(keys.fold(0, |all, key| all ^ self.index.slots.get(key as usize & last).unwrap_or(&0)));
    }

    /// What waits for a span that has just come; `None` for most, which is found out without a look into the index.
    pub fn awaited(&mut self, key: u64) -> Option<&mut Half> {
        if !self.awaited.may_hold(key) {
            return None;
        }
        self.get(key).filter(|half| half.role.is_none())
    }

    /// The span that came before under the same ID, where one of the two is a server that shares its client's.
    pub fn twin(&mut self, key: u64, half: &Half) -> Option<&mut Half> {
        if half.shares_its_id() || self.awaited.may_hold(key) { self.get(key) } else { None }
    }

    /// Keeps a span; `known` says that others wait for it.
    pub fn keep(&mut self, key: u64, half: Half, known: bool) {
        if known && let Some(awaited) = self.get(key) {
            *awaited = half;
        } else {
            if half.shares_its_id() {
                self.awaited.add(key);
            }
            self.insert(key, half, half.is_message());
        }
    }

    /// Keeps the key of a span that did not come yet and that `child` is the first to wait for.
    pub fn expect(&mut self, key: u64, child: u64, for_message: bool) {
        self.awaited.add(key);
        self.insert(key, Half { next: child, ..Half::AWAITED }, for_message);
    }

    fn insert(&mut self, key: u64, half: Half, is_message: bool) {
        let place = if is_message {
            Place::Message(self.messages.push(key, half))
        } else {
            Place::Call(self.calls.push(key, half))
        };
        if self.index.is_full() {
            self.index_anew();
        } else {
            self.index.add(key, place);
        }
    }

    /// Makes the index out of what the rings hold.
    fn index_anew(&mut self) {
        let Self { calls, messages, index, awaited } = self;
        *index = Index::with_room_for(calls.halves.len() + messages.halves.len());
        *awaited = Awaited::default();
        for (rings, place) in [(&*calls, Place::Call as fn(u32) -> Place), (&*messages, Place::Message)] {
            for (key, half, at) in rings.oldest_first() {
                index.add(key, place(at));
                if half.role.is_none() || half.shares_its_id() {
                    awaited.add(key);
                }
            }
        }
    }
}

/// The keys that are waited for, by spans or by the client that shares its ID, as bits: no for certain, or perhaps.
struct Awaited {
    bits: Vec<u64>,
}

impl Default for Awaited {
    fn default() -> Self {
        Self { bits: vec![0; Self::BITS / 64] }
    }
}

impl Awaited {
    const BITS: usize = 1 << 19;

    fn add(&mut self, key: u64) {
        let bit = Self::bit(key);
        self.bits[bit / 64] |= 1 << (bit % 64);
    }

    fn may_hold(&self, key: u64) -> bool {
        let bit = Self::bit(key);
        self.bits[bit / 64] & 1 << (bit % 64) != 0
    }

    fn bit(key: u64) -> usize {
        (key >> 20) as usize % Self::BITS
    }
}

/// Where a half lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Call(u32),
    Message(u32),
}

impl Place {
    /// Bits of a number.
    const BITS: u32 = 18;
    const _ROOM: () = assert!(CALLS + MESSAGES < 1 << Self::BITS);

    /// As a number that is never 0: places of messages come behind those of calls.
    fn number(self) -> u32 {
        match self {
            Place::Call(at) => at + 1,
            Place::Message(at) => at + 1 + CALLS,
        }
    }

    fn of(number: u32) -> Self {
        match number - 1 {
            at if at < CALLS => Place::Call(at),
            at => Place::Message(at - CALLS),
        }
    }
}

/// An open hash table from keys to places. Nothing is taken out: a place whose half has another key by now is passed
/// over, and when the table is full it is made anew. It is large, so that this is seldom.
#[derive(Default)]
struct Index {
    /// The key's first bits and the place's number; 0 is free.
    slots: Vec<u32>,
    used: usize,
}

impl Index {
    const LEAST: usize = 1 << 10;

    /// An index with room for three times as many.
    fn with_room_for(count: usize) -> Self {
        Self { slots: vec![0; (count * 4).next_power_of_two().max(Self::LEAST)], used: 0 }
    }

    /// The bits of a key that stand in its slot.
    fn first_bits(key: u64) -> u32 {
        (key >> u32::BITS) as u32 >> Place::BITS << Place::BITS
    }

    fn is_full(&self) -> bool {
        self.used * 4 >= self.slots.len() * 3
    }

    fn add(&mut self, key: u64, place: Place) {
        let last = self.slots.len() - 1;
        let mut at = key as usize & last;
        while self.slots[at] != 0 {
            at = (at + 1) & last;
        }
        self.slots[at] = Self::first_bits(key) | place.number();
        self.used += 1;
    }

    /// The place of a key, as far as `is_of_key` says that it still is.
    #[inline]
    fn find(&self, key: u64, is_of_key: impl Fn(Place) -> bool) -> Option<Place> {
        let last = self.slots.len().checked_sub(1)?;
        let mut at = key as usize & last;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            if slot >> Place::BITS == Self::first_bits(key) >> Place::BITS {
                let place = Place::of(slot & ((1 << Place::BITS) - 1));
                if is_of_key(place) {
                    return Some(place);
                }
            }
            at = (at + 1) & last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn half(at: u64, role: Role) -> Half {
        Half { at, role: Some(role), ..Half::AWAITED }
    }

    /// A key whose bits are spread as those of a hash are.
    fn key(number: u64) -> u64 {
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
    }

    #[test]
    fn the_newest_are_kept_and_messages_longer_than_calls() {
        let mut halves = Halves::of_at_most(1_000, 500);
        for number in 0..20_000 {
            let role = if number % 50 == 0 { Role::Send } else { Role::Call };
            halves.keep(key(number), half(number, role), false);
            let oldest_call = number.saturating_sub(1_000);
            let back = number - number % 7 % (number - oldest_call + 1);
            assert_eq!(halves.get(key(back)).map(|half| half.at), Some(back), "{number}");
        }
        let kept = (0..20_000).filter(|number| halves.get(key(*number)).is_some()).collect::<Vec<_>>();
        assert_eq!(kept.len(), 1_400, "1,000 calls and all 400 messages");
        assert!(kept.iter().all(|number| number % 50 == 0 || *number >= 18_970));
        assert!(halves.index.slots.len() <= 8_192, "the index stays as large as what it leads to");
    }

    #[test]
    fn what_is_waited_for_is_found_and_then_replaced() {
        let mut halves = Halves::of_at_most(10, 10);
        assert!(halves.get(key(1)).is_none());
        halves.expect(key(1), key(2), true);
        assert_eq!(halves.get(key(1)).map(|half| (half.next, half.role)), Some((key(2), None)));
        halves.keep(key(1), half(7, Role::Send), true);
        assert_eq!(halves.get(key(1)).map(|half| (half.at, half.role)), Some((7, Some(Role::Send))));
        assert_eq!(halves.messages.halves.len(), 1);
    }
}
