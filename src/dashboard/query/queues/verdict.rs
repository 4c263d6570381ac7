//! What is to be said of a queue. A prediction is made only where messages grew or shrank steadily.

use super::Queue;
use crate::dashboard::model::queues::BrokerStatus;
use crate::dashboard::model::{Nanos, Sample};

const S: Nanos = 1_000_000_000;
/// A figure older than this says nothing of now: three exports of a Collector that sends each minute.
pub const SILENT: Nanos = 180 * S;
/// A queue that its broker does not list any more is gone so long after its last figure.
const GONE: Nanos = 15 * S;
/// The least that a slope stands on.
const LEAST_SAMPLES: usize = 5;
const LEAST_TIME: Nanos = 60 * S;
/// So many messages, and this share of the mean, have to have come or gone.
const LEAST_CHANGE: f64 = 10.0;
const LEAST_SHARE: f64 = 0.1;
/// How well a line has to fit before a queue grows at all, and before it is believed to go on so.
const FITS: f64 = 0.6;
const STEADY: f64 = 0.9;

/// What is to be said, the worst first.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Messages wait and nobody takes them. Since when; `None` is for as long as was looked back.
    NoConsumer { since: Option<Nanos> },
    /// More comes in than goes out: messages a second, and the seconds until its limit where it has one and the slope is
    /// steady.
    Growing { per_second: f64, full_in: Option<f64> },
    /// Messages that could not be handled wait for a person.
    DeadLetters,
    /// Nothing was heard lately.
    Silent,
    /// More goes out than comes in: messages a second, and the seconds until it is empty where the slope is steady.
    Draining { per_second: f64, empty_in: Option<f64> },
    /// It holds messages for a time and then passes them on.
    Delays,
    /// Messages wait, neither more nor fewer.
    Steady,
    /// Messages pass and none waits.
    Flowing,
    /// Nothing waits; whether messages pass is not told.
    Empty,
    /// Nothing waits, nothing passes.
    Idle,
    /// How many messages wait is not told.
    Unknown,
    /// Its broker does not know it any more.
    Gone,
}

impl Verdict {
    /// The place in a list; the worst is 0.
    pub fn rank(&self) -> u8 {
        match self {
            Verdict::NoConsumer { .. } => 0,
            Verdict::Growing { .. } => 1,
            Verdict::DeadLetters => 2,
            Verdict::Silent => 3,
            Verdict::Draining { .. } => 4,
            Verdict::Delays => 5,
            Verdict::Steady => 6,
            Verdict::Flowing => 7,
            Verdict::Unknown => 8,
            Verdict::Empty => 9,
            Verdict::Idle => 10,
            Verdict::Gone => 11,
        }
    }

    /// The word in addresses and JSON.
    pub fn code(&self) -> &'static str {
        match self {
            Verdict::NoConsumer { .. } => "no_consumer",
            Verdict::Growing { .. } => "growing",
            Verdict::DeadLetters => "dead_letters",
            Verdict::Silent => "silent",
            Verdict::Draining { .. } => "draining",
            Verdict::Delays => "delays",
            Verdict::Steady => "steady",
            Verdict::Flowing => "flowing",
            Verdict::Unknown => "unknown",
            Verdict::Empty => "empty",
            Verdict::Idle => "idle",
            Verdict::Gone => "gone",
        }
    }

    /// Whether somebody should do something.
    pub fn is_trouble(&self) -> bool {
        self.rank() <= 2
    }
}

/// What a verdict looks at beside the queue's figures.
pub struct Seen<'a> {
    /// Messages ready in the last minutes.
    pub ready: &'a [Sample],
    /// Consumers over the time that is looked at.
    pub consumers: &'a [Sample],
    /// Its broker, where that is asked.
    pub asked: Option<&'a BrokerStatus>,
    pub from: Nanos,
    pub to: Nanos,
}

/// The verdict on a queue whose figures are filled in.
pub fn of(queue: &Queue, seen: &Seen<'_>) -> Verdict {
    let reached = seen.asked.filter(|broker| broker.left_out == 0).and_then(|broker| broker.reached);
    // Of a Kafka no list says which groups there are.
    if !queue.is_kafka
        && queue.facts.is_none()
        && reached.is_some_and(|at| at > queue.heard.saturating_add(GONE))
    {
        return Verdict::Gone;
    }
    if queue.heard > 0 && queue.heard.saturating_add(SILENT) < seen.to {
        return Verdict::Silent;
    }
    let Some(ready) = queue.ready else { return Verdict::Unknown };
    let delays = queue.facts.as_ref().is_some_and(|facts| facts.delays);
    if queue.takes_dead_letters && ready > 0.0 {
        return Verdict::DeadLetters;
    }
    if delays && queue.consumers.is_none_or(|count| count == 0.0) {
        return if ready > 0.0 { Verdict::Delays } else { Verdict::Empty };
    }
    if ready > 0.0 && queue.consumers == Some(0.0) {
        return Verdict::NoConsumer { since: without_consumer(seen.consumers) };
    }
    if let Some(slope) = slope(seen.ready) {
        let left = |messages: f64| (slope.fits >= STEADY).then(|| messages / slope.per_second.abs());
        if slope.per_second > 0.0 {
            let limit = queue.facts.as_ref().and_then(|facts| facts.limit).map(|limit| limit as f64);
            let full_in = limit.filter(|limit| *limit > ready).and_then(|limit| left(limit - ready));
            return Verdict::Growing { per_second: slope.per_second, full_in };
        }
        if ready > 0.0 {
            return Verdict::Draining { per_second: -slope.per_second, empty_in: left(ready) };
        }
    }
    let passes = |rate: Option<f64>| rate.is_some_and(|rate| rate > 0.0);
    match ready > 0.0 {
        true => Verdict::Steady,
        false if passes(queue.incoming) || passes(queue.outgoing) => Verdict::Flowing,
        false if queue.unacknowledged.is_some_and(|count| count > 0.0) => Verdict::Flowing,
        false if queue.incoming.is_none() && queue.outgoing.is_none() => Verdict::Empty,
        false => Verdict::Idle,
    }
}

/// Since when there was no consumer; `None` where there was none in all that was looked at.
fn without_consumer(samples: &[Sample]) -> Option<Nanos> {
    let had = samples.iter().rposition(|sample| sample.value > 0.0)?;
    samples.get(had + 1).map(|sample| sample.time)
}

/// How a level moves.
struct Slope {
    per_second: f64,
    /// How well a line fits, 0 to 1 (the coefficient of determination).
    fits: f64,
}

/// The line of least squares through a level; `None` where there is too little of it, or it hardly moved.
fn slope(samples: &[Sample]) -> Option<Slope> {
    let (first, last) = (samples.first()?, samples.last()?);
    if samples.len() < LEAST_SAMPLES || last.time - first.time < LEAST_TIME {
        return None;
    }
    let count = samples.len() as f64;
    let seconds = |sample: &Sample| (sample.time - first.time) as f64 / 1e9;
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (middle, level) = (mean(&seconds), mean(&|sample| sample.value));
    let across = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>();
    let times = across(&|sample| (seconds(sample) - middle).powi(2));
    let values = across(&|sample| (sample.value - level).powi(2));
    let both = across(&|sample| (seconds(sample) - middle) * (sample.value - level));
    if times <= 0.0 || values <= 0.0 {
        return None;
    }
    let slope = Slope { per_second: both / times, fits: both * both / (times * values) };
    let change = slope.per_second.abs() * seconds(last);
    (slope.fits >= FITS && change >= LEAST_CHANGE && change >= level * LEAST_SHARE).then_some(slope)
}
