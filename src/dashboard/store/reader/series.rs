//! Series of metrics: what is in memory first, then the chunks, so that a seal in between costs nothing. Memory alone
//! answers about the last minutes.

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
        let names = filter.names();
        if names.is_empty() || filter.from > filter.to {
            return Ok(FoundSeries { complete: true, ..FoundSeries::default() });
        }
        let mut gathering = Gathering::new(filter);
        if self.gather_live(&mut gathering) {
            return Ok(gathering.finish(true));
        }
        gathering.expect_more();
        let wanted = Wanted { begin: gathering.begin, end: filter.to.saturating_add(1), names };
        let stored = self.backend.samples(&wanted).await?;
        for (id, data) in &stored {
            let read = code::decode(
                data,
                |identity| filter.fits(identity),
                |identity, samples| gathering.add(identity, &samples),
            );
            self.left_out(read.map_err(|error| self.at(&format!("chunk {id} of samples"), error)))?;
        }
        Ok(gathering.finish(stored.len() < MAX_READ))
    }

    /// Gathers what is in memory; true where that is all there is. Where it is not, what is sealed comes out of chunks
    /// alone: those may have added up growth that memory holds sample by sample.
    fn gather_live(&self, gathering: &mut Gathering<'_>) -> bool {
        let filter = gathering.filter;
        let index = self.index.read().expect("no holder panics");
        let found: Vec<_> = index.live.find(filter).collect();
        let is_all =
            index.live.answers(filter.from) && found.iter().all(|(_, known)| known.answers(filter.from));
        for (identity, known) in found {
            let mut parts = Parts::default();
            for samples in known.between(gathering.begin, filter.to, is_all) {
                parts.add(samples, identity, filter);
            }
            gathering.begin_with(identity, parts);
        }
        is_all
    }
}

/// Series that are being put together out of several places.
struct Gathering<'a> {
    filter: &'a SeriesFilter,
    /// From where on samples are looked at.
    begin: Nanos,
    /// In the order in which they were found.
    series: Vec<(Arc<Identity>, Parts)>,
    /// Where each is. Names of series begin alike, so that to look one up by its order costs a dozen long comparisons,
    /// and there are thousands in each of several chunks.
    places: HashMap<Arc<Identity>, usize>,
    /// What stands for series that an answer has no room for.
    left_out: HashSet<u64>,
}

/// What was found of one series.
#[derive(Default)]
struct Parts {
    before: Option<Sample>,
    samples: Vec<Sample>,
}

impl Parts {
    fn is_empty(&self) -> bool {
        self.before.is_none() && self.samples.is_empty()
    }

    /// Adds samples that lie together, in order of time. They are thinned at once, so that few are held.
    fn add(&mut self, samples: &[Sample], identity: &Identity, filter: &SeriesFilter) {
        let follows = identity.kind.follows();
        let (early, inside) = samples.split_at(samples.partition_point(|sample| sample.time < filter.from));
        // Growth before the range is no part of it.
        if let Some(last) = early.last().filter(|_| follows != Follows::Growth)
            && self.before.is_none_or(|before| before.time < last.time)
        {
            self.before = Some(*last);
        }
        let inside = &inside[..inside.partition_point(|sample| sample.time <= filter.to)];
        if !inside.is_empty() {
            self.samples.append(&mut thin_early(follows, inside, filter.width()));
        }
    }
}

impl<'a> Gathering<'a> {
    fn new(filter: &'a SeriesFilter) -> Self {
        let begin = filter.from.saturating_sub(LOOK_BACK);
        Self { filter, begin, series: Vec::new(), places: HashMap::new(), left_out: HashSet::new() }
    }

    /// Begins with a series of which nothing was found before.
    fn begin_with(&mut self, identity: &Arc<Identity>, parts: Parts) {
        if parts.is_empty() {
            return;
        }
        if self.series.len() < self.filter.room() {
            self.series.push((identity.clone(), parts));
        } else {
            self.leave_out(identity);
        }
    }

    /// From here on more may come of what is there.
    fn expect_more(&mut self) {
        let all = self.series.iter().enumerate();
        self.places = all.map(|(place, (identity, _))| (identity.clone(), place)).collect();
    }

    /// Adds samples out of a chunk, in order of time.
    fn add(&mut self, identity: Identity, samples: &[Sample]) {
        let samples = &samples[samples.partition_point(|sample| sample.time < self.begin)..];
        if samples.first().is_none_or(|first| first.time > self.filter.to) {
            return;
        }
        let place = match self.places.get(&identity) {
            Some(place) => *place,
            None if self.series.len() >= self.filter.room() => return self.leave_out(&identity),
            None => {
                let identity = Arc::new(identity);
                self.places.insert(identity.clone(), self.series.len());
                self.series.push((identity, Parts::default()));
                self.series.len() - 1
            }
        };
        let (identity, parts) = &mut self.series[place];
        parts.add(samples, identity, self.filter);
    }

    fn leave_out(&mut self, identity: &Identity) {
        self.left_out.insert(BuildHasherDefault::<DefaultHasher>::default().hash_one(identity));
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
