//! The last answer, for all who ask at the same moment: a hundred open pages that hear of one commit cost one
//! computation, and an idle store costs none.
//!
//! Nobody is shown less than was committed before they asked: what is kept serves those who asked before it was
//! begun, or while nothing new has been committed since.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::map::{Map, map};
use super::overview::{Overview, overview};
use super::services::{Services, services};
use crate::dashboard::model::{Nanos, now};
use crate::dashboard::store::{Reader, StoreError};

/// Ranges kept: the presets and a few that somebody chose.
const RANGES: usize = 12;
/// What is kept of a range that moves on with the clock serves so long although nothing new comes: to the eye
/// "the last hour" is the same a second later.
const AGE: Duration = Duration::from_secs(1);

/// So much before now is read for each answer; what comes later than that is late for the store too, and whoever remembers
/// what series were reads them again.
pub const RECENT: Nanos = 360 * 1_000_000_000;

/// Values by key, made when they are first asked for; of more than `MOST` those that were asked for longest ago go.
#[derive(Debug)]
pub struct Slots<K, V, const MOST: usize>(std::sync::Mutex<VecDeque<(K, Arc<V>)>>);

impl<K, V, const MOST: usize> Default for Slots<K, V, MOST> {
    fn default() -> Self {
        Self(Default::default())
    }
}

impl<K: PartialEq, V: Default, const MOST: usize> Slots<K, V, MOST> {
    /// The value of a key.
    pub fn of(&self, key: K) -> Arc<V> {
        let mut slots = self.0.lock().expect("no holder panics");
        let known = slots.iter().position(|(of, _)| *of == key);
        let (_, value) = known.and_then(|index| slots.remove(index)).unzip();
        let value = value.unwrap_or_default();
        slots.push_front((key, Arc::clone(&value)));
        slots.truncate(MOST);
        value
    }
}

/// The kept answers of one kind. The lock of each is held while it is computed, so that those who ask meanwhile wait for it.
#[derive(Debug)]
pub struct Answers<T> {
    slots: Slots<Period, Mutex<Option<Kept<T>>>, RANGES>,
}

/// The kept Overviews.
pub type Overviews = Answers<Overview>;
/// The kept maps.
pub type Maps = Answers<Map>;
/// The kept lists of services.
pub type ServiceLists = Answers<Services>;

impl<T> Default for Answers<T> {
    fn default() -> Self {
        Self { slots: Default::default() }
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

#[derive(Debug)]
struct Kept<T> {
    begun: Instant,
    commits: u64,
    answer: Arc<T>,
}

impl Answers<Overview> {
    /// The Overview of a time.
    pub async fn get(&self, reader: &dyn Reader, period: Period) -> Result<Arc<Overview>, StoreError> {
        self.of(reader, period, |from, to| overview(reader, from, to)).await
    }
}

impl Answers<Map> {
    /// The map of a time.
    pub async fn get(&self, reader: &dyn Reader, period: Period) -> Result<Arc<Map>, StoreError> {
        self.of(reader, period, |from, to| map(reader, from, to)).await
    }
}

impl Answers<Services> {
    /// The services of a time.
    pub async fn get(&self, reader: &dyn Reader, period: Period) -> Result<Arc<Services>, StoreError> {
        self.of(reader, period, |from, to| services(reader, from, to)).await
    }
}

impl<T> Answers<T> {
    /// What is kept of a period, or is made anew by `compute` out of its begin and end.
    pub async fn of<F>(
        &self,
        reader: &dyn Reader,
        period: Period,
        compute: impl FnOnce(Nanos, Nanos) -> F,
    ) -> Result<Arc<T>, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let asked = Instant::now();
        let slot = self.slots.of(period);
        let mut last = slot.lock().await;
        let commits = *reader.commits().borrow();
        if let Some(kept) = &*last
            && (kept.begun >= asked || kept.commits == commits && kept.begun.elapsed() < AGE)
        {
            return Ok(kept.answer.clone());
        }
        // "Now" is read after the count of commits: what starts later is also committed later, and counts anew.
        let begun = Instant::now();
        let (from, to) = match period {
            Period::Last(length) => (now().saturating_sub(length), now()),
            Period::Fixed(from, to) => (from, to),
        };
        let answer = Arc::new(compute(from, to).await?);
        *last = Some(Kept { begun, commits, answer: answer.clone() });
        Ok(answer)
    }
}
