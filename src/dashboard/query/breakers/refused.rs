//! Calls that breakers turned away, looked for once: to look through a day of traces for those that tell of one costs much,
//! and they are few.
//!
//! What is older than some minutes is kept; what is newer is looked for each time, in traces that may have begun some time before:
//! the one that a call was turned away in was under way. Traces that come later than that are found
//! when metrics came late too, as after a Collector's outage: then all of it is looked for again.

use std::collections::HashSet;

use tokio::sync::Mutex;

use super::evidence::{self, MOST_REJECTING, Rejection, UNDER_WAY};
use super::kept::ADVANCE;
use crate::dashboard::model::Nanos;
use crate::dashboard::query::kept::RECENT;
use crate::dashboard::store::{Reader, StoreError};

/// Kept at most; the oldest go first.
const MOST_KEPT: usize = 5_000;

/// What is kept for all who ask.
#[derive(Debug, Default)]
pub struct Refused(Mutex<Past>);

/// All of `from..until`.
#[derive(Debug, Default)]
struct Past {
    from: Nanos,
    until: Nanos,
    /// As the reader counted them when this was begun.
    late: u64,
    /// By time.
    list: Vec<Rejection>,
}

impl Refused {
    /// The newest rejected calls of `from..=to`, by time, as [`evidence::rejections`] finds them.
    pub async fn of(
        &self,
        reader: &dyn Reader,
        (from, to): (Nanos, Nanos),
        now: Nanos,
    ) -> Result<Vec<Rejection>, StoreError> {
        let settled = now.saturating_sub(RECENT);
        let mut past = self.0.lock().await;
        past.go_on(reader, settled).await?;
        if to < past.from {
            drop(past);
            return Ok(evidence::rejections(reader, from, to, None).await?.0);
        }
        if from < past.from && past.within(from, to).len() < MOST_REJECTING {
            past.go_back(reader, from).await?;
        }
        let mut all = past.within(from, to).to_vec();
        let until = past.until;
        drop(past);
        if to >= until {
            let begin = from.max(until.saturating_sub(UNDER_WAY));
            let (recent, _) = evidence::rejections(reader, begin, to, None).await?;
            join(&mut all, recent);
        }
        Ok(all)
    }
}

impl Past {
    fn within(&self, from: Nanos, to: Nanos) -> &[Rejection] {
        let begin = self.list.partition_point(|one| one.time < from);
        let end = self.list.partition_point(|one| one.time <= to);
        self.list.get(begin..end).unwrap_or_default()
    }

    /// Goes on with time, but not for a moment.
    async fn go_on(&mut self, reader: &dyn Reader, settled: Nanos) -> Result<(), StoreError> {
        let late = reader.late_samples();
        if self.until == 0 || late != self.late {
            *self = Self { from: settled, until: settled, late, list: Vec::new() };
        }
        if self.until.saturating_add(ADVANCE) <= settled {
            let begin = self.until.saturating_sub(UNDER_WAY);
            let (found, whole) = evidence::rejections(reader, begin, settled - 1, None).await?;
            if !whole {
                // What lies between is not known.
                self.from = found.first().map_or(settled, |oldest| oldest.time);
                self.list.clear();
            }
            self.until = settled;
            self.add(found);
        }
        Ok(())
    }

    /// Looks for what was before, as far as `from`, or as there are enough.
    async fn go_back(&mut self, reader: &dyn Reader, from: Nanos) -> Result<(), StoreError> {
        let (found, whole) = evidence::rejections(reader, from, self.from.saturating_sub(1), None).await?;
        self.from = match found.first() {
            _ if whole => from,
            Some(oldest) => oldest.time.min(self.from),
            // It gave up before it found any: next time it looks again.
            None => self.from,
        };
        self.add(found);
        Ok(())
    }

    fn add(&mut self, found: Vec<Rejection>) {
        join(&mut self.list, found);
        let over = self.list.len().saturating_sub(MOST_KEPT);
        if let Some(last) = self.list.drain(..over).next_back() {
            self.from = self.from.max(last.time + 1);
        }
    }
}

/// Adds what is not there yet, by time.
fn join(all: &mut Vec<Rejection>, found: Vec<Rejection>) {
    let place = |one: &Rejection| (one.time, one.trace, one.span, one.name.clone());
    let known: HashSet<_> = all.iter().map(place).collect();
    all.extend(found.into_iter().filter(|one| !known.contains(&place(one))));
    all.sort_by_key(|one| one.time);
}
