//! Series put together into queues, with what brokers say that they are.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::long::STEPS;
use super::read::Read;
use super::verdict::{self, Seen, Verdict};
use super::{Key, Queue};
use crate::dashboard::model::queues::{self as names, BrokerStatus, QueueFacts};
use crate::dashboard::model::{Identity, Nanos, Sample};
use crate::dashboard::query::growth::{self, Growth};
use crate::dashboard::store::Series;

const S: Nanos = 1_000_000_000;
/// Rates are those of so long before the newest figure.
const MINUTE: Nanos = 60 * S;
/// Names that people give to queues of dead letters, as a part between `.`, `-`, `_`, `/` and `:`.
const DEAD: [&str; 7] = ["dlq", "dead", "deadletter", "deadletters", "dlx", "dead-letter", "poison"];
/// A level stands for so many steps of a trend after it was told.
const HOLDS: usize = 2;

/// Which queue a series is of; `None` where it does not say.
pub fn key_of(series: &Identity) -> Option<Key> {
    let name = series.attribute(names::QUEUE)?.to_owned();
    let broker = [names::BROKER, names::NODE].iter().find_map(|key| series.attribute(key));
    Some(Key {
        broker: broker.unwrap_or(&series.service).to_owned(),
        virtual_host: series.attribute(names::VIRTUAL_HOST).unwrap_or("/").to_owned(),
        name,
    })
}

/// Whether a name says that dead letters lie there.
pub fn is_dead_by_name(name: &str) -> bool {
    let name = name.to_lowercase();
    let part = |part: &str| DEAD.contains(&part);
    name.split(['.', '-', '_', '/', ':']).any(part)
        || name.contains("dead-letter")
        || name.contains("dead_letter")
        || name.ends_with("_error")
}

/// What is known of a queue before it is put together.
#[derive(Default)]
struct Parts<'a> {
    lately: Vec<(&'a Series, &'a [Growth])>,
    long: Vec<&'a Series>,
    facts: Option<&'a QueueFacts>,
    asked: Option<&'a BrokerStatus>,
}

/// The queues of what was read, the worst first.
pub fn gather(read: &Read, brokers: &[Arc<BrokerStatus>]) -> Vec<Queue> {
    let grown = growth::grown(&read.lately, read.to.saturating_sub(super::read::LATELY));
    let mut all: BTreeMap<Key, Parts<'_>> = BTreeMap::new();
    for (series, grown) in read.lately.iter().zip(&grown) {
        if let Some(key) = key_of(&series.identity) {
            all.entry(key).or_default().lately.push((series, grown));
        }
    }
    for series in &read.long {
        if let Some(key) = key_of(&series.identity) {
            all.entry(key).or_default().long.push(series);
        }
    }
    let mut asked: HashSet<(&str, &str, &str)> = HashSet::new();
    let by_name: HashMap<&str, &BrokerStatus> =
        brokers.iter().map(|broker| (broker.name.as_str(), &**broker)).collect();
    for broker in brokers {
        for facts in &broker.queues {
            let key = Key {
                broker: broker.name.clone(),
                virtual_host: facts.virtual_host.clone(),
                name: facts.name.clone(),
            };
            all.entry(key).or_default().facts = Some(facts);
            if let Some(node) = &facts.node {
                asked.insert((node, &facts.virtual_host, &facts.name));
            }
        }
    }
    // The same queue by way of a Collector is the same queue.
    all.retain(|key, parts| {
        parts.asked = by_name.get(key.broker.as_str()).copied();
        parts.asked.is_some() || !asked.contains(&(&*key.broker, &*key.virtual_host, &*key.name))
    });
    let mut queues: Vec<Queue> = all.into_iter().map(|(key, parts)| parts.together(key, read)).collect();
    queues.sort_by(|a, b| {
        let rank = |queue: &Queue| queue.verdict.rank();
        let ready = |queue: &Queue| queue.ready.unwrap_or(-1.0);
        rank(a).cmp(&rank(b)).then_with(|| ready(b).total_cmp(&ready(a))).then_with(|| a.key.cmp(&b.key))
    });
    queues
}

/// The samples of a figure, by time, from whoever sent them.
pub fn samples<'a>(
    series: impl Iterator<Item = &'a Series>,
    metric: &str,
    state: Option<&str>,
) -> Vec<Sample> {
    let wanted = |one: &&Series| one.identity.name == metric && one.identity.attribute(names::STATE) == state;
    let mut all: Vec<Sample> =
        series.filter(wanted).flat_map(|series| series.samples.iter().copied()).collect();
    all.sort_by_key(|sample| sample.time);
    all
}

/// The value of each of so many steps of `from..to`; a level holds for the steps after it until it is told anew.
pub fn steps(samples: &[Sample], from: Nanos, to: Nanos, count: usize) -> Vec<Option<f64>> {
    let mut values = vec![None; count];
    let length = (to.saturating_sub(from) / count.max(1) as u64).max(1);
    for sample in samples.iter().filter(|sample| (from..=to).contains(&sample.time)) {
        let step = (((sample.time - from) / length) as usize).min(count.saturating_sub(1));
        values[step] = Some(sample.value);
    }
    let mut held: Option<(usize, f64)> = None;
    for (step, value) in values.iter_mut().enumerate() {
        match (*value, held) {
            (Some(told), _) => held = Some((step, told)),
            (None, Some((at, told))) if step - at <= HOLDS => *value = Some(told),
            _ => {}
        }
    }
    values
}

impl Parts<'_> {
    fn level(&self, metric: &str, state: Option<&str>) -> Vec<Sample> {
        samples(self.lately.iter().map(|(series, _)| *series), metric, state)
    }

    /// Of several senders of one total the one that counted most.
    fn rate(&self, metric: &str) -> Option<f64> {
        let of = self.lately.iter().filter(|(series, _)| series.identity.name == metric);
        of.filter_map(|(series, grown)| rate(series, grown)).reduce(f64::max)
    }

    fn together(&self, key: Key, read: &Read) -> Queue {
        let (ready, unacknowledged) =
            (self.level(names::CURRENT, Some("ready")), self.level(names::CURRENT, Some("unacknowledged")));
        let delayed = self.level(names::CURRENT, Some("delayed"));
        let consumers = self.level(names::CONSUMERS, None);
        let long = |metric, state| samples(self.long.iter().copied(), metric, state);
        let long_ready = long(names::CURRENT, Some("ready"));
        // What was heard last may be older than the last minutes.
        let last = |lately: &[Sample], metric, state| {
            let old = || long(metric, state).last().copied();
            lately.last().copied().or_else(old).map(|sample| sample.value)
        };
        let every = self.lately.iter().map(|(series, _)| *series).chain(self.long.iter().copied());
        let newest = every
            .filter_map(|series| Some((series.samples.last()?.time, &series.identity)))
            .max_by_key(|(time, _)| *time);
        let heard = newest.map_or(0, |(time, _)| time);
        let is_kafka = newest.is_some_and(|(_, one)| one.attribute(names::SYSTEM) == Some(names::KAFKA));
        let sent_by = newest.map(|(_, identity)| identity.service.clone()).filter(|_| self.asked.is_none());
        let takes_dead_letters =
            self.facts.is_some_and(|facts| facts.takes_dead_letters) || is_dead_by_name(&key.name);
        let fresh = |samples: &[Sample]| samples.last().is_some_and(|last| heard - last.time <= MINUTE);
        let consumers_now = if fresh(&consumers) || heard == 0 || consumers.is_empty() {
            last(&consumers, names::CONSUMERS, None)
        } else {
            None
        };
        let mut queue = Queue {
            is_kafka,
            ready: last(&ready, names::CURRENT, Some("ready")),
            unacknowledged: last(&unacknowledged, names::CURRENT, Some("unacknowledged")),
            delayed: delayed.last().map(|sample| sample.value),
            consumers: consumers_now,
            incoming: self.rate(names::PUBLISHED),
            outgoing: self.rate(names::DELIVERED),
            trend: steps(&long_ready, read.from, read.to, STEPS as usize),
            heard,
            sent_by,
            facts: self.facts.cloned(),
            takes_dead_letters,
            verdict: Verdict::Idle,
            key,
        };
        let seen = Seen {
            ready: &ready,
            consumers: &long(names::CONSUMERS, None),
            asked: self.asked,
            from: read.from,
            to: read.to,
        };
        queue.verdict = verdict::of(&queue, &seen);
        queue
    }
}

/// Growth a second of a total, over the last minute before its newest sample.
pub fn rate(series: &Series, grown: &[Growth]) -> Option<f64> {
    let last = grown.last()?.time;
    let taken: Vec<&Growth> = grown.iter().filter(|one| one.time + MINUTE > last).collect();
    let first = taken.first()?.time;
    let earlier = series.samples.iter().chain(&series.before).filter(|sample| sample.time < first);
    let (begin, counted) = match earlier.map(|sample| sample.time).max() {
        Some(begin) => (begin, &taken[..]),
        None => (first, &taken[1..]),
    };
    let seconds = last.saturating_sub(begin) as f64 / 1e9;
    (seconds > 0.0).then(|| counted.iter().map(|one| one.value).sum::<f64>() / seconds)
}
