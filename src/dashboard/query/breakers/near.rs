//! Changes of breakers around a story: those of the services that take part in it, whoever told of them.

use std::collections::HashSet;

use super::evidence::Change;
use super::gather::{self, Seen};
use super::kept::{Breakers, Known};
use super::one::{self, Transition};
use super::{Breaker, Key};
use crate::dashboard::model::Nanos;
use crate::dashboard::store::{Reader, StoreError};

/// Changes of one story; of more the first.
pub const MOST: usize = 200;

/// A change of a breaker's state.
#[derive(Debug, Clone, PartialEq)]
pub struct Near {
    pub key: Key,
    pub change: Transition,
}

impl Near {
    /// The same as a span or log would have told it.
    pub fn as_change(&self) -> Change {
        Change {
            time: self.change.at,
            service: self.key.service.clone(),
            instance: self.change.instances.first().cloned().unwrap_or_default(),
            name: self.key.name.clone(),
            from: Some(self.change.from),
            to: self.change.to,
            peer: None,
            trace: self.change.told.map(|(trace, _)| trace),
            span: self.change.told.map(|(_, span)| span),
            by_log: false,
            reason: self.change.reason.clone(),
            details: Vec::new(),
        }
    }
}

/// The changes of `from..=to` of the breakers of some services, by time.
pub async fn near(
    breakers: &Breakers,
    reader: &dyn Reader,
    services: &HashSet<String>,
    (from, to): (Nanos, Nanos),
) -> Result<Vec<Near>, StoreError> {
    let Known { tracks, changes, range } = breakers.known(reader, services, from, to).await?;
    let seen = Seen { tracks, changes, ..Seen::default() };
    let gathered = gather::gather(&seen, range, 1.0);
    let mut all: Vec<Near> = Vec::new();
    for breaker in &gathered {
        let Breaker { key, .. } = breaker;
        let of_it = |change: &&Change| change.service == key.service && change.name == key.name;
        let within = |change: &&Change| (range.from..=range.to).contains(&change.time);
        let told: Vec<Change> = seen.changes.iter().filter(of_it).filter(within).cloned().collect();
        let found = one::transitions(breaker, &told, range.from);
        all.extend(found.into_iter().map(|change| Near { key: key.clone(), change }));
    }
    all.sort_by(|a, b| (a.change.at, &a.key).cmp(&(b.change.at, &b.key)));
    all.truncate(MOST);
    Ok(all)
}
