//! Versions and instances of services over time.

use super::gather::{Sink, Steps, Sum, Sums};
use super::names::{instance, plain};
use super::table::Key;
use super::{BUCKET, InstanceRates};
use crate::dashboard::model::Nanos;

/// Instances are counted by the minute.
const SHORTEST: Nanos = 6 * BUCKET;

/// The instances of one service or all, over time.
pub struct Instances<'a> {
    steps: Steps,
    service: Option<&'a str>,
    sums: Sums<(String, (String, String))>,
}

impl<'a> Instances<'a> {
    /// At most `wanted` (1 to 1000) equal steps of whole minutes.
    pub fn steps(from: Nanos, to: Nanos, wanted: usize) -> Steps {
        Steps::of_at_least(SHORTEST, from, to, wanted)
    }

    pub fn new(steps: Steps, service: Option<&'a str>) -> Self {
        Self { steps, service, sums: Sums::new() }
    }

    /// By service, then version, then instance.
    pub fn finish(self) -> Vec<InstanceRates> {
        let (keys, mut sums) = self.sums.finish();
        let instances = keys.into_iter().map(|((service, (version, instance)), index)| {
            let steps = self.steps.finish(&mut sums[index..index + self.steps.count()]);
            InstanceRates { service, version, instance, steps }
        });
        instances.filter(|one| one.steps.iter().any(|(_, rates)| rates.count > 0)).collect()
    }
}

impl Sink for Instances<'_> {
    fn series<'a>(&mut self, key: Key, text: impl Fn(u32) -> &'a [u8]) -> Option<usize> {
        let service = plain(key[0], text(key[0]));
        if self.service.is_some_and(|wanted| wanted != service) {
            return None;
        }
        let instance = instance(key[1], text(key[1]));
        Some(self.sums.index((service, instance), self.steps.count()))
    }

    fn slot(&mut self, series: usize, begin: Nanos) -> Option<&mut Sum> {
        self.steps.index(begin).map(|index| &mut self.sums.sums[series + index])
    }
}
