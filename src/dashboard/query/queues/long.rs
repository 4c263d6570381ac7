//! What waited over a long time, read once: a page over a day would else read millions of samples anew for each look.
//!
//! One sample is kept for each step that is over, of each series; what is newer is read for each answer. When samples come
//! late, as after a Collector's outage, all of it is read again.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::kafka;
use crate::dashboard::model::queues as names;
use crate::dashboard::model::{Identity, Nanos, Sample, now};
use crate::dashboard::query::kept::{RECENT, Slots};
use crate::dashboard::store::{Metric, Reader, Series, SeriesFilter, StoreError};

const S: Nanos = 1_000_000_000;
/// Series of one answer: six for each of a thousand queues of several brokers.
pub const MOST_SERIES: usize = 20_000;
/// Steps of a trend.
pub const STEPS: u64 = 60;
/// Steps of a time that goes on with the clock are alike to the nanosecond by being multiples of this. Shorter ones are not kept.
const UNIT: Nanos = 10 * S;
/// How many are kept: for the five ranges that are offered, and for one or two that are over.
const SLOTS: usize = 7;

/// What is kept, by the length of its steps.
#[derive(Debug, Default)]
pub struct Long {
    slots: Slots<Slot, Mutex<Past>, SLOTS>,
}

/// The length of steps, and whether the time is over: a look at last week does not cost the next look at now.
type Slot = (Nanos, bool);

/// The steps of `from..until`, whole ones.
#[derive(Debug, Default)]
struct Past {
    from: Nanos,
    until: Nanos,
    /// As the reader counted them when this was begun.
    late: u64,
    /// Until when more was stored than was read.
    incomplete: Nanos,
    series: HashMap<Arc<Identity>, Vec<(Nanos, f64)>>,
}

impl Long {
    /// Messages and consumers of `from..=to` in [`STEPS`] steps; false where more is stored than is read.
    pub async fn read(
        &self,
        reader: &dyn Reader,
        from: Nanos,
        to: Nanos,
    ) -> Result<(Vec<Series>, bool), StoreError> {
        let step = to.saturating_sub(from) / STEPS;
        let width = step - step % UNIT;
        let settled = to.min(now().saturating_sub(RECENT));
        if width == 0 || settled < from.saturating_add(width) {
            return levels(reader, from, to, step).await;
        }
        let past = self.slots.of((width, settled == to));
        let mut past = past.lock().await;
        let settled = past.settled(settled - settled % width, to);
        past.cover(reader, from - from % width, settled, width).await?;
        let (kept, was_whole) = (past.between(from, settled), past.incomplete <= from);
        drop(past);
        let (recent, whole) = levels(reader, settled, to, width).await?;
        Ok((joined(kept, recent), whole && was_whole))
    }
}

/// The series whose level is asked for over a long time.
async fn levels(
    reader: &dyn Reader,
    from: Nanos,
    to: Nanos,
    step: Nanos,
) -> Result<(Vec<Series>, bool), StoreError> {
    let own = [names::CURRENT, names::CONSUMERS].map(|name| Metric::Named(name.to_owned()));
    let metrics = own.into_iter().chain(kafka::levels()).collect();
    let filter = SeriesFilter { metrics, from, to, step, most: MOST_SERIES, ..SeriesFilter::default() };
    let found = reader.series(&filter).await?;
    let whole = found.is_whole();
    Ok((found.series, whole))
}

impl Past {
    /// Until when it is to be read for a range that ends at `to`: not less far than it was, since somebody who came a moment
    /// later may have been faster.
    fn settled(&self, settled: Nanos, to: Nanos) -> Nanos {
        if self.until <= to { self.until.max(settled) } else { settled }
    }

    /// Reads what is missing of `from..until`, and lets go of what is older where the time goes on.
    async fn cover(
        &mut self,
        reader: &dyn Reader,
        from: Nanos,
        until: Nanos,
        width: Nanos,
    ) -> Result<(), StoreError> {
        let late = reader.late_samples();
        if from < self.from || from > self.until || late != self.late {
            *self = Self { from, until: from, late, ..Self::default() };
        }
        if self.until < until {
            let (found, whole) = levels(reader, self.until, until - 1, width).await?;
            let mut is_all = whole;
            for Series { identity, samples, .. } in found {
                if self.series.len() >= MOST_SERIES && !self.series.contains_key(&identity) {
                    is_all = false;
                    continue;
                }
                let kept = self.series.entry(identity).or_default();
                kept.extend(samples.iter().map(|sample| (sample.time, sample.value)));
            }
            if !is_all {
                self.incomplete = until;
            }
            self.until = until;
            // Who looks at what was a moment ago finds it here still.
            let oldest = from.saturating_sub(STEPS * width);
            if self.from < oldest {
                self.from = oldest;
                self.series.retain(|_, samples| {
                    samples.drain(..samples.partition_point(|(time, _)| *time < oldest));
                    !samples.is_empty()
                });
            }
        }
        Ok(())
    }

    /// What is kept of a range.
    fn between(&self, from: Nanos, until: Nanos) -> HashMap<Arc<Identity>, Vec<Sample>> {
        let within = |(identity, kept): (&Arc<Identity>, &Vec<(Nanos, f64)>)| {
            let begin = kept.partition_point(|(time, _)| *time < from);
            let end = kept.partition_point(|(time, _)| *time < until);
            let kept = kept.get(begin..end).filter(|kept| !kept.is_empty())?;
            let samples = kept.iter().map(|(time, value)| Sample::of(*time, 0, *value)).collect();
            Some((identity.clone(), samples))
        };
        self.series.iter().filter_map(within).collect()
    }
}

/// What is kept, and behind it what is recent; by identity.
fn joined(mut kept: HashMap<Arc<Identity>, Vec<Sample>>, recent: Vec<Series>) -> Vec<Series> {
    for Series { identity, mut samples, .. } in recent {
        kept.entry(identity).or_default().append(&mut samples);
    }
    let series = kept.into_iter().map(|(identity, samples)| Series { identity, before: None, samples });
    let mut all: Vec<Series> = series.collect();
    all.sort_by(|one, other| one.identity.cmp(&other.identity));
    all
}
