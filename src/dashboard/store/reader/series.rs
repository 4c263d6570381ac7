//! Series of metrics: what is in memory first, then the chunks, so that a seal in between costs nothing.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use super::super::StoreError;
use super::super::engine::Shared;
use super::super::series::chunk::{MAX_READ, TIERS, Wanted};
use super::super::series::code;
use super::super::series::select::{FoundSeries, Series, SeriesFilter};
use super::super::series::thin::{settle, thin, thin_early};
use crate::dashboard::model::Nanos;
use crate::dashboard::model::series::{Follows, Identity, Sample};

/// How far before a range the newest sample before it is looked for: two steps of the widest tier.
const LOOK_BACK: Nanos = 2 * TIERS[3].width;

impl Shared {
    pub(super) async fn series(&self, filter: &SeriesFilter) -> Result<FoundSeries, StoreError> {
        let Some(names) = filter.names().filter(|_| filter.from <= filter.to) else {
            return Ok(FoundSeries { complete: true, ..FoundSeries::default() });
        };
        let mut gathering = Gathering::new(filter);
        {
            let index = self.index.read().expect("no holder panics");
            for (identity, samples) in index.live.find(filter) {
                // By time: what lies outside is not copied.
                let begin = samples.partition_point(|sample| sample.time < gathering.begin);
                let end = samples.partition_point(|sample| sample.time <= filter.to);
                gathering.add(identity.clone(), samples[begin..end.max(begin)].to_vec());
            }
        }
        let wanted = Wanted { begin: gathering.begin, end: filter.to.saturating_add(1), names };
        let stored = self.backend.samples(&wanted).await?;
        for (id, data) in &stored {
            let read = code::decode(
                data,
                |identity| filter.fits(identity),
                |identity, samples| gathering.add(Arc::new(identity), samples),
            );
            self.left_out(read.map_err(|error| self.at(&format!("chunk {id} of samples"), error)))?;
        }
        Ok(gathering.finish(stored.len() < MAX_READ))
    }
}

/// Series that are being put together out of several places.
struct Gathering<'a> {
    filter: &'a SeriesFilter,
    /// From where on samples are looked at.
    begin: Nanos,
    /// In the order in which they were found; and where each is. Names of series begin alike, so that to look one up by its order costs
    /// a dozen long comparisons, and there are thousands in each of several chunks.
    series: Vec<(Arc<Identity>, Parts)>,
    places: HashMap<Arc<Identity>, usize>,
    /// What stands for series that an answer has no room for.
    left_out: HashSet<u64>,
}

#[derive(Default)]
struct Parts {
    before: Option<Sample>,
    samples: Vec<Sample>,
}

impl<'a> Gathering<'a> {
    fn new(filter: &'a SeriesFilter) -> Self {
        let begin = filter.from.saturating_sub(LOOK_BACK);
        Self { filter, begin, series: Vec::new(), places: HashMap::new(), left_out: HashSet::new() }
    }

    /// Adds samples that lie together, in order of time. They are thinned at once, so that few are held.
    fn add(&mut self, identity: Arc<Identity>, mut samples: Vec<Sample>) {
        samples.retain(|sample| (self.begin..=self.filter.to).contains(&sample.time));
        let inside = samples.split_off(samples.partition_point(|sample| sample.time < self.filter.from));
        if samples.is_empty() && inside.is_empty() {
            return;
        }
        let place = match self.places.get(&identity) {
            Some(place) => *place,
            None if self.series.len() >= self.filter.room() => {
                self.left_out.insert(BuildHasherDefault::<DefaultHasher>::default().hash_one(&identity));
                return;
            }
            None => {
                self.places.insert(identity.clone(), self.series.len());
                self.series.push((identity, Parts::default()));
                self.series.len() - 1
            }
        };
        let (identity, parts) = &mut self.series[place];
        let follows = identity.kind.follows();
        // Growth before the range is no part of it.
        if let Some(last) = samples.last().filter(|_| follows != Follows::Growth)
            && parts.before.is_none_or(|before| before.time < last.time)
        {
            parts.before = Some(*last);
        }
        parts.samples.extend(thin_early(follows, inside, self.filter.width()));
    }

    fn finish(self, complete: bool) -> FoundSeries {
        let Self { filter, mut series, left_out, .. } = self;
        series.retain(|(_, parts)| !parts.samples.is_empty());
        // Each place that was looked into has its series in order, so this joins a few runs.
        series.sort_by(|(one, _), (other, _)| one.cmp(other));
        let series = series.into_iter().map(|(identity, Parts { before, mut samples })| {
            settle(&mut samples);
            let samples = thin(identity.kind.follows(), &samples, filter.width());
            Series { identity, before, samples }
        });
        FoundSeries { series: series.collect(), left_out: left_out.len() as u64, complete }
    }
}
