//! Kafka's figures as those of queues: what a consumer group has not read yet of a topic is a queue of its own.
//!
//! Its messages ready are the group's lag, summed over the partitions; what came in is how far the topic's ends moved, what
//! went out how far the group's offsets did. So verdicts, charts and rates need to know of one kind of figures only.
//!
//! | what | OpenTelemetry Collector (kafkametrics receiver) | kafka_exporter |
//! |---|---|---|
//! | lag | `kafka.consumer_group.lag` | `kafka_consumergroup_lag` |
//! | offset of the group | `kafka.consumer_group.offset` | `kafka_consumergroup_current_offset` |
//! | end of the partition | `kafka.partition.current_offset` | `kafka_topic_partition_current_offset` |
//! | members of the group | `kafka.consumer_group.members` | `kafka_consumergroup_members` |

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dashboard::model::queues as names;
use crate::dashboard::model::series::Kind;
use crate::dashboard::model::{Identity, Nanos, Sample};
use crate::dashboard::store::{Metric, Series};

const LAG: [&str; 3] = ["kafka.consumer_group.lag", "kafka_consumer_group_lag", "kafka_consumergroup_lag"];
const OFFSET: [&str; 3] =
    ["kafka.consumer_group.offset", "kafka_consumer_group_offset", "kafka_consumergroup_current_offset"];
const END: [&str; 3] = [
    "kafka.partition.current_offset",
    "kafka_partition_current_offset",
    "kafka_topic_partition_current_offset",
];
const MEMBERS: [&str; 3] =
    ["kafka.consumer_group.members", "kafka_consumer_group_members", "kafka_consumergroup_members"];

/// Keys of attributes, by sender.
const GROUP: [&str; 2] = ["group", "consumergroup"];
const TOPIC: &str = "topic";
/// What tells clusters apart: ours, the Collector's, what people set for a job of Prometheus.
const CLUSTER: [&str; 3] = [names::BROKER, "kafka.cluster.alias", "cluster"];
/// Who sends for a cluster that has no name, and has none itself.
const NAMELESS: [&str; 2] = ["", "unknown_service"];

/// The metrics that tell of Kafka.
pub fn metrics() -> impl Iterator<Item = Metric> {
    levels().chain(named([OFFSET, END]))
}

/// Of those the ones that tell how much waits and who takes.
pub fn levels() -> impl Iterator<Item = Metric> {
    named([LAG, MEMBERS])
}

fn named(names: [[&'static str; 3]; 2]) -> impl Iterator<Item = Metric> {
    names.into_iter().flatten().map(|name| Metric::Named(name.to_owned()))
}

/// One topic as one group reads it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Reading {
    cluster: String,
    group: String,
    topic: String,
}

/// The series of partitions that are summed: by who sends them, since two that watch one cluster say the same.
type Partitions<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a Series>>;

/// Kafka's series among these are replaced by series of queues; the others stay as they are.
pub fn as_queues(found: Vec<Series>) -> Vec<Series> {
    let (kafka, mut all): (Vec<Series>, Vec<Series>) =
        found.into_iter().partition(|series| series.identity.name.starts_with("kafka"));
    if !kafka.is_empty() {
        all.extend(translated(&kafka));
    }
    all
}

fn translated(kafka: &[Series]) -> Vec<Series> {
    let (mut lags, mut offsets) =
        (BTreeMap::<Reading, Partitions<'_>>::new(), BTreeMap::<Reading, Partitions<'_>>::new());
    let mut ends = BTreeMap::<(String, &str), Partitions<'_>>::new();
    let mut members = BTreeMap::<(String, &str), Partitions<'_>>::new();
    for series in kafka {
        let identity = &*series.identity;
        let is = |names: &[&str]| names.contains(&identity.name.as_str());
        let (cluster, topic) = (cluster(identity), identity.attribute(TOPIC));
        let group = GROUP.iter().find_map(|key| identity.attribute(key));
        let partitions = match (group, topic) {
            (Some(group), Some(topic)) if is(&LAG) || is(&OFFSET) => {
                let reading = Reading { cluster, group: group.to_owned(), topic: topic.to_owned() };
                if is(&LAG) { lags.entry(reading) } else { offsets.entry(reading) }.or_default()
            }
            (_, Some(topic)) if is(&END) => ends.entry((cluster, topic)).or_default(),
            (Some(group), _) if is(&MEMBERS) => members.entry((cluster, group)).or_default(),
            _ => continue,
        };
        partitions.entry((&identity.service, &identity.instance)).or_default().push(series);
    }
    let mut all = Vec::new();
    for (reading, lag) in &lags {
        let of_topic = (reading.cluster.clone(), reading.topic.as_str());
        let of_group = (reading.cluster.clone(), reading.group.as_str());
        let figures = [
            (names::CURRENT, Kind::LEVEL, Some(lag)),
            (names::CONSUMERS, Kind::LEVEL, members.get(&of_group)),
            (names::PUBLISHED, Kind::COUNTER, ends.get(&of_topic)),
            (names::DELIVERED, Kind::COUNTER, offsets.get(reading)),
        ];
        for (name, kind, partitions) in figures {
            let sums = partitions.into_iter().flatten().map(|(sender, of)| (sender, sums(of)));
            // Of several that watch the group, the one that was heard last.
            let newest = sums.filter(|(_, samples)| !samples.is_empty());
            let newest = newest.max_by_key(|(_, samples)| samples.last().map(|last| last.time));
            let Some(((service, instance), samples)) = newest else { continue };
            let samples = if kind == Kind::COUNTER { climbed(&samples) } else { samples };
            let identity = reading.identity(name, kind, (service, instance));
            all.push(Series { identity: Arc::new(identity), before: None, samples });
        }
    }
    all
}

fn cluster(identity: &Identity) -> String {
    let named = CLUSTER.iter().find_map(|key| identity.attribute(key));
    let sender = identity.service.as_str();
    named.unwrap_or(if NAMELESS.contains(&sender) { "kafka" } else { sender }).to_owned()
}

/// The sum over all partitions at each time at which all of those that are known then told theirs: one that is missing would look
/// like messages that were handled.
fn sums(partitions: &[&Series]) -> Vec<Sample> {
    // An offset that was never committed is told as -1, and so is its lag.
    let known = |series: &&Series| -> Vec<Sample> {
        series.samples.iter().copied().filter(|sample| sample.value >= 0.0).collect()
    };
    let partitions: Vec<Vec<Sample>> = partitions.iter().map(known).collect();
    let mut told = BTreeMap::<Nanos, (usize, f64)>::new();
    for sample in partitions.iter().flatten() {
        let (count, sum) = told.entry(sample.time).or_default();
        *count += 1;
        *sum += sample.value;
    }
    let is_there = |samples: &&Vec<Sample>, at: Nanos| match (samples.first(), samples.last()) {
        (Some(first), Some(last)) => (first.time..=last.time).contains(&at),
        _ => false,
    };
    let whole = |at: Nanos| partitions.iter().filter(|samples| is_there(samples, at)).count();
    let complete = told.into_iter().filter(|(at, (count, _))| *count >= whole(*at));
    complete.map(|(at, (_, sum))| Sample::of(at, 0, sum)).collect()
}

/// What a sum of offsets moved forward: a group that was set back, or a topic that was made anew, moved nothing.
fn climbed(levels: &[Sample]) -> Vec<Sample> {
    let (mut total, mut before) = (0.0, None);
    let step = |sample: &Sample| {
        total += before.map_or(0.0, |before| f64::max(sample.value - before, 0.0));
        before = Some(sample.value);
        Sample::of(sample.time, 0, total)
    };
    levels.iter().map(step).collect()
}

impl Reading {
    fn identity(&self, name: &str, kind: Kind, (service, instance): (&str, &str)) -> Identity {
        let mut attributes = vec![
            (names::SYSTEM.to_owned(), names::KAFKA.to_owned()),
            (names::BROKER.to_owned(), self.cluster.clone()),
            (names::VIRTUAL_HOST.to_owned(), self.group.clone()),
            (names::QUEUE.to_owned(), self.topic.clone()),
        ];
        if name == names::CURRENT {
            attributes.push((names::STATE.to_owned(), "ready".to_owned()));
        }
        attributes.sort_unstable();
        Identity {
            name: name.to_owned(),
            service: service.to_owned(),
            instance: instance.to_owned(),
            scope: String::new(),
            unit: String::new(),
            kind,
            attributes,
        }
    }
}
