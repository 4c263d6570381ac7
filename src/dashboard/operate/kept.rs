//! Messages that somebody looked at, kept for a while so that their page can be asked for again, opened and exported
//! without looking into the queue once more.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::Place;
use super::letter::Letter;
use crate::dashboard::model::{Nanos, now};

/// Looks that are kept, the bytes of their bodies, and how long.
const MOST: usize = 32;
const MOST_BYTES: usize = 64 << 20;
const AGE: Nanos = 30 * 60 * 1_000_000_000;

/// What one look has shown.
#[derive(Debug)]
pub struct Peeked {
    /// The number of its row in the audit.
    pub id: u64,
    pub place: Place,
    pub at: Nanos,
    pub letters: Vec<Letter>,
}

/// The looks of late.
#[derive(Debug, Default)]
pub struct Kept(Mutex<VecDeque<Arc<Peeked>>>);

impl Kept {
    /// Keeps a look; what is old or too much goes.
    pub fn keep(&self, peeked: Arc<Peeked>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push_front(peeked);
        let (mut bytes, oldest) = (0, now().saturating_sub(AGE));
        let mut count = 0;
        all.retain(|one| {
            bytes += one.letters.iter().map(|letter| letter.body.len()).sum::<usize>();
            count += 1;
            count == 1 || (count <= MOST && bytes <= MOST_BYTES && one.at >= oldest)
        });
    }

    /// A look at a place by its number.
    pub fn find(&self, id: u64, place: &Place) -> Option<Arc<Peeked>> {
        let oldest = now().saturating_sub(AGE);
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().find(|one| one.id == id && one.place == *place && one.at >= oldest).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_and_another_queue_has_none_of_them() {
        let kept = Kept::default();
        let place = |queue: &str| Place { broker: "b".into(), virtual_host: "/".into(), queue: queue.into() };
        for id in 0..=MOST as u64 {
            kept.keep(Arc::new(Peeked { id, place: place("q"), at: now(), letters: Vec::new() }));
        }
        assert!(kept.find(0, &place("q")).is_none() && kept.find(1, &place("q")).is_some());
        assert!(kept.find(1, &place("other")).is_none());
        kept.keep(Arc::new(Peeked { id: 99, place: place("q"), at: now() - AGE - 1, letters: Vec::new() }));
        assert!(kept.find(99, &place("q")).is_none());
    }
}
