//! Attempts at deeds by those who may not: each is worth a row of the audit, and the same again and again is not.

use std::sync::{Mutex, PoisonError};

use super::Place;
use crate::dashboard::keys::Visitor;
use crate::dashboard::model::Nanos;
use crate::dashboard::model::audit::Action;

/// The same attempt within this is no news.
const AGAIN: Nanos = 60_000_000_000;
/// Rows in that time at most, whoever tries: a script that goes through all queues fills no store.
const MOST: usize = 100;

/// The attempts of the last minute that were written down.
#[derive(Debug, Default)]
pub struct Refused(Mutex<Vec<Attempt>>);

#[derive(Debug, PartialEq)]
struct Attempt {
    by: Visitor,
    action: Action,
    place: Place,
    at: Nanos,
}

impl Refused {
    /// Whether an attempt is to be written down; from then on it is no news for a minute.
    pub fn is_news(&self, by: &Visitor, action: Action, place: &Place, now: Nanos) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|one| one.at.saturating_add(AGAIN) > now);
        let same = |one: &Attempt| (&one.by, one.action, &one.place) == (by, action, place);
        if all.len() >= MOST || all.iter().any(same) {
            return false;
        }
        all.push(Attempt { by: by.clone(), action, place: place.clone(), at: now });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::keys::Role;

    #[test]
    fn the_same_is_news_once_a_minute_and_all_of_it_is_bounded() {
        let refused = Refused::default();
        let by = Visitor::unknown(Role::Viewer);
        let place =
            |number: usize| Place { broker: "b".into(), virtual_host: "/".into(), queue: number.to_string() };
        assert!(refused.is_news(&by, Action::Peek, &place(0), 1));
        assert!(!refused.is_news(&by, Action::Peek, &place(0), AGAIN));
        assert!(refused.is_news(&by, Action::Purge, &place(0), AGAIN), "another action");
        assert!(refused.is_news(&by, Action::Peek, &place(0), AGAIN + 1), "a minute later");
        let written =
            (0..1_000).filter(|number| refused.is_news(&by, Action::Reveal, &place(*number), AGAIN + 2));
        assert_eq!(written.count(), MOST - 2, "the two before stand too");
    }
}
