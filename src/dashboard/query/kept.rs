//! What was computed last of a range, for all who ask at the same moment: a hundred open pages that hear of one commit
//! cost one computation, and an idle store costs none.
//!
//! Nobody is shown less than was committed before they asked: what is kept serves those who asked before it was
//! begun, or while nothing new has been committed since.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::overview::{Overview, overview};
use crate::dashboard::model::{Nanos, now};
use crate::dashboard::store::{Reader, StoreError};

/// Ranges kept: the presets and a few that somebody chose.
const RANGES: usize = 12;
/// What is kept of a range that moves on with the clock serves so long although nothing new comes: to the eye
/// "the last hour" is the same a second later.
const AGE: Duration = Duration::from_secs(1);

/// The kept Overviews.
#[derive(Debug, Default)]
pub struct Overviews(PerPeriod<Overview>);

/// What is kept of each range that somebody looks at.
#[derive(Debug)]
pub struct PerPeriod<T> {
    slots: std::sync::Mutex<VecDeque<Arc<Slot<T>>>>,
}

impl<T> Default for PerPeriod<T> {
    fn default() -> Self {
        Self { slots: std::sync::Mutex::default() }
    }
}

/// A time that is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// So many nanoseconds up to now.
    Last(Nanos),
    /// From and to.
    Fixed(Nanos, Nanos),
}

/// One range. The lock is held while something is computed, so that those who ask meanwhile wait for it.
#[derive(Debug)]
struct Slot<T> {
    period: Period,
    last: Mutex<Option<Kept<T>>>,
}

#[derive(Debug)]
struct Kept<T> {
    begun: Instant,
    commits: u64,
    made: Arc<T>,
}

impl Overviews {
    /// The Overview of a time.
    pub async fn get(&self, reader: &dyn Reader, period: Period) -> Result<Arc<Overview>, StoreError> {
        self.0.get(reader, period, |from, to| overview(reader, from, to)).await
    }
}

impl<T> PerPeriod<T> {
    /// What is kept of a period, or is made anew by `make` out of its begin and end.
    pub async fn get<F>(
        &self,
        reader: &dyn Reader,
        period: Period,
        make: impl FnOnce(Nanos, Nanos) -> F,
    ) -> Result<Arc<T>, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let asked = Instant::now();
        let slot = self.slot(period);
        let mut last = slot.last.lock().await;
        let commits = *reader.commits().borrow();
        if let Some(kept) = &*last
            && (kept.begun >= asked || kept.commits == commits && kept.begun.elapsed() < AGE)
        {
            return Ok(kept.made.clone());
        }
        // "Now" is read after the count of commits: what starts later is also committed later, and counts anew.
        let begun = Instant::now();
        let (from, to) = match period {
            Period::Last(length) => (now().saturating_sub(length), now()),
            Period::Fixed(from, to) => (from, to),
        };
        let made = Arc::new(make(from, to).await?);
        *last = Some(Kept { begun, commits, made: made.clone() });
        Ok(made)
    }

    fn slot(&self, period: Period) -> Arc<Slot<T>> {
        let mut slots = self.slots.lock().expect("no holder panics");
        let known = slots.iter().position(|slot| slot.period == period);
        let slot = known.and_then(|index| slots.remove(index));
        let slot = slot.unwrap_or_else(|| Arc::new(Slot { period, last: Mutex::default() }));
        slots.push_front(slot.clone());
        slots.truncate(RANGES);
        slot
    }
}
