//! Spans whose other half may still come: bounded in number and age.
//!
//! Two generations: when the young one is full or old, it becomes the old one, and what the old one held falls out.
//! Spans that send or take messages have generations of their own, since a message may wait while calls by the
//! million go by. What falls out stays as it was counted.

use super::names::ByHash;
use super::side::{NO_KEY, Role};
use crate::dashboard::model::Nanos;

/// Spans of a generation: as many as a map of 131,072 places takes, 6 MB.
const CALLS: usize = 114_688;
/// Those that send or take messages.
const MESSAGES: usize = 57_344;
/// How long a generation is the young one at most.
const AGE: Nanos = 6 * 3600 * 1_000_000_000;

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

    fn is_message(&self) -> bool {
        matches!(self.role, Some(Role::Send | Role::Take))
    }
}

#[derive(Default)]
struct Generations {
    young: ByHash<Half>,
    old: ByHash<Half>,
    since: Nanos,
}

impl Generations {
    fn get(&mut self, key: u64) -> Option<&mut Half> {
        match self.young.get_mut(&key) {
            Some(half) => Some(half),
            None if self.old.is_empty() => None,
            None => self.old.get_mut(&key),
        }
    }

    fn insert(&mut self, key: u64, half: Half, most: usize, now: Nanos) {
        if self.young.len() >= most || now > self.since + AGE {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
            self.since = now;
        }
        self.young.insert(key, half);
    }
}

/// The spans that may still be joined.
#[derive(Default)]
pub struct Halves {
    calls: Generations,
    messages: Generations,
}

impl Halves {
    /// A span that came, or that others wait for.
    pub fn get(&mut self, key: u64) -> Option<&mut Half> {
        match self.calls.get(key) {
            Some(half) => Some(half),
            None => self.messages.get(key),
        }
    }

    /// Keeps a span that came at `now`; `known` says that others wait for it.
    pub fn keep(&mut self, key: u64, half: Half, known: bool, now: Nanos) {
        if known && let Some(awaited) = self.get(key) {
            *awaited = half;
        } else if half.is_message() {
            self.messages.insert(key, half, MESSAGES, now);
        } else {
            self.calls.insert(key, half, CALLS, now);
        }
    }

    /// Keeps the key of a span that did not come yet and that `child` is the first to wait for.
    pub fn expect(&mut self, key: u64, child: u64, for_message: bool, now: Nanos) {
        let awaited = Half { next: child, ..Half::AWAITED };
        if for_message {
            self.messages.insert(key, awaited, MESSAGES, now);
        } else {
            self.calls.insert(key, awaited, CALLS, now);
        }
    }
}
