//! The answers: sums over the tail's table and the runs' pages.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use super::histogram::Histogram;
use super::names::{destination, node, plain};
use super::pages::tier_within;
use super::table::Key;
use super::{BUCKET, Call, OperationRates, Rates, ServiceRates, Way};
use crate::dashboard::model::Nanos;

/// What is counted, while more may be added or taken back.
#[derive(Debug, Clone, Default)]
pub struct Sum {
    pub count: i64,
    pub errors: i64,
    pub durations: Histogram,
    pub waited: Histogram,
}

/// Takes what it wants of a table.
pub trait Sink {
    /// A number for a series; `None` where it is not wanted. `text` gives a name's tag and text.
    fn series<'a>(&mut self, key: Key, text: impl Fn(u32) -> &'a [u8]) -> Option<usize>;

    /// The sum that a bucket of a series belongs to; `None` where it is not wanted.
    fn slot(&mut self, series: usize, begin: Nanos) -> Option<&mut Sum>;
}

/// Sums by what they are of.
pub struct Sums<K> {
    known: HashMap<K, usize>,
    pub sums: Vec<Sum>,
}

impl<K: Hash + Eq + Ord> Sums<K> {
    pub fn new() -> Self {
        Self { known: HashMap::new(), sums: Vec::new() }
    }

    /// The first of `each` sums of a key.
    pub fn index(&mut self, key: K, each: usize) -> usize {
        let next = self.sums.len();
        let index = *self.known.entry(key).or_insert(next);
        if index == next {
            self.sums.resize_with(next + each, Sum::default);
        }
        index
    }

    /// Keys in order with the index of their first sum.
    pub fn finish(self) -> (Vec<(K, usize)>, Vec<Sum>) {
        let mut keys: Vec<_> = self.known.into_iter().collect();
        keys.sort_unstable();
        (keys, self.sums)
    }
}

/// Operations in a range of time.
pub struct Operations<'a> {
    from: Nanos,
    to: Nanos,
    service: Option<&'a str>,
    sums: Sums<(String, String)>,
}

impl<'a> Operations<'a> {
    pub fn new(from: Nanos, to: Nanos, service: Option<&'a str>) -> Self {
        Self { from, to, service, sums: Sums::new() }
    }

    /// By service, then name.
    pub fn finish(self) -> Vec<OperationRates> {
        let (keys, mut sums) = self.sums.finish();
        let rates = keys.into_iter().map(|((service, operation), index)| {
            let (rates, _) = std::mem::take(&mut sums[index]).finish();
            OperationRates { service, operation, rates }
        });
        rates.filter(|one| one.rates.count > 0).collect()
    }
}

impl Sink for Operations<'_> {
    fn series<'a>(&mut self, key: Key, text: impl Fn(u32) -> &'a [u8]) -> Option<usize> {
        let service = plain(key[0], text(key[0]));
        if self.service.is_some_and(|wanted| wanted != service) {
            return None;
        }
        Some(self.sums.index((service, plain(key[1], text(key[1]))), 1))
    }

    fn slot(&mut self, series: usize, begin: Nanos) -> Option<&mut Sum> {
        (self.from..self.to).contains(&begin).then(|| &mut self.sums.sums[series])
    }
}

/// Calls in a range of time.
pub struct Calls {
    from: Nanos,
    to: Nanos,
    sums: Sums<Way>,
}

impl Calls {
    pub fn new(from: Nanos, to: Nanos) -> Self {
        Self { from, to, sums: Sums::new() }
    }

    /// By caller, then callee, then where messages went.
    pub fn finish(self) -> Vec<Call> {
        let (keys, mut sums) = self.sums.finish();
        let calls = keys.into_iter().map(|((caller, callee, sent_to, taken_from), index)| {
            let (rates, waited) = std::mem::take(&mut sums[index]).finish();
            Call { caller, callee, sent_to, taken_from, rates, waited }
        });
        calls.filter(|call| call.rates.count > 0).collect()
    }
}

impl Sink for Calls {
    fn series<'a>(&mut self, key: Key, text: impl Fn(u32) -> &'a [u8]) -> Option<usize> {
        Some(self.sums.index(way(key, text), 1))
    }

    fn slot(&mut self, series: usize, begin: Nanos) -> Option<&mut Sum> {
        (self.from..self.to).contains(&begin).then(|| &mut self.sums.sums[series])
    }
}

/// Equal steps of whole buckets over a range.
#[derive(Debug, Clone, Copy)]
pub struct Steps {
    /// Taken down to a full bucket.
    from: Nanos,
    to: Nanos,
    step: Nanos,
    count: usize,
    /// Which length of bucket to read.
    pub tier: usize,
}

impl Steps {
    /// At most `wanted` (1 to 1000) steps over `from..to`. With steps of a minute or longer, whole minutes; of ten
    /// minutes or longer, whole ten minutes: else some steps would hold a bucket more than others.
    pub fn over(from: Nanos, to: Nanos, wanted: usize) -> Self {
        Self::of_at_least(BUCKET, from, to, wanted)
    }

    /// The same with steps of at least `shortest`.
    pub fn of_at_least(shortest: Nanos, from: Nanos, to: Nanos, wanted: usize) -> Self {
        let wanted = wanted.clamp(1, 1000) as u64;
        let least = (to.saturating_sub(from) / wanted).max(shortest);
        let (tier, bucket) = tier_within(least);
        let from = from - from % bucket;
        let step = to.saturating_sub(from).div_ceil(wanted).max(1).next_multiple_of(bucket);
        let count = to.saturating_sub(from).div_ceil(step).max(1) as usize;
        Self { from, to, step, count, tier }
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The number of the step that a bucket lies in; `None` outside.
    pub fn index(&self, begin: Nanos) -> Option<usize> {
        let index = (begin.checked_sub(self.from)? / self.step) as usize;
        (begin < self.to && index < self.count).then_some(index)
    }

    /// What happened in each, with its begin.
    pub fn finish(&self, sums: &mut [Sum]) -> Vec<(Nanos, Rates)> {
        // A range may end where time does.
        let begin = |index: u64| self.from.saturating_add(self.step.saturating_mul(index));
        sums.iter_mut().zip(0..).map(|(sum, index)| (begin(index), std::mem::take(sum).finish().0)).collect()
    }

    /// First and last moment, the last not included.
    pub fn range(&self) -> (Nanos, Nanos) {
        (self.from, self.to)
    }
}

/// Services' rates over time.
pub struct Services {
    steps: Steps,
    sums: Sums<String>,
}

impl Services {
    pub fn new(steps: Steps) -> Self {
        Self { steps, sums: Sums::new() }
    }

    /// By service.
    pub fn finish(self) -> Vec<ServiceRates> {
        let (keys, mut sums) = self.sums.finish();
        let services = keys.into_iter().map(|(service, index)| {
            let steps = self.steps.finish(&mut sums[index..index + self.steps.count]);
            ServiceRates { service, steps }
        });
        services.filter(|one| one.steps.iter().any(|(_, rates)| rates.count > 0)).collect()
    }
}

impl Sink for Services {
    fn series<'a>(&mut self, key: Key, text: impl Fn(u32) -> &'a [u8]) -> Option<usize> {
        Some(self.sums.index(plain(key[0], text(key[0])), self.steps.count))
    }

    fn slot(&mut self, series: usize, begin: Nanos) -> Option<&mut Sum> {
        self.steps.index(begin).map(|index| &mut self.sums.sums[series + index])
    }
}

/// The calls of some ways over time, all together.
pub struct CallSteps<'a> {
    steps: Steps,
    wanted: &'a HashSet<Way>,
    sums: Vec<Sum>,
}

impl<'a> CallSteps<'a> {
    pub fn new(steps: Steps, wanted: &'a HashSet<Way>) -> Self {
        Self { steps, wanted, sums: vec![Sum::default(); steps.count] }
    }

    pub fn finish(mut self) -> Vec<(Nanos, Rates)> {
        self.steps.finish(&mut self.sums)
    }
}

impl Sink for CallSteps<'_> {
    fn series<'a>(&mut self, key: Key, text: impl Fn(u32) -> &'a [u8]) -> Option<usize> {
        self.wanted.contains(&way(key, text)).then_some(0)
    }

    fn slot(&mut self, _: usize, begin: Nanos) -> Option<&mut Sum> {
        self.steps.index(begin).map(|index| &mut self.sums[index])
    }
}

fn way<'a>([caller, callee, sent_to, taken_from]: Key, text: impl Fn(u32) -> &'a [u8]) -> Way {
    (
        node(caller, text(caller)),
        node(callee, text(callee)),
        destination(sent_to, text(sent_to)),
        destination(taken_from, text(taken_from)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_whole_buckets_and_never_more_than_wanted() {
        const S: Nanos = 1_000_000_000;
        for (from, to, wanted, step) in [
            (7 * S, 307 * S, 30, 20 * S),
            (0, 300 * S, 30, 10 * S),
            (0, 3_600 * S, 60, 60 * S),
            (30 * S, 86_430 * S, 60, 1_800 * S),
            (5 * S, 5 * S, 10, 10 * S),
        ] {
            let steps = Steps::over(from, to, wanted);
            assert_eq!(steps.step, step, "{from}..{to} in {wanted}");
            assert!(steps.count <= wanted && steps.from + step * steps.count as u64 >= to, "{from}..{to}");
        }
    }
}
