//! Asks a Kafka how far its consumer groups are: what they have not read yet of each topic, by way of the client's own
//! questions. Nobody joins a group for it, and nothing is committed.
//!
//! Figures go into the store under the names that the OpenTelemetry Collector's kafkametrics receiver uses, so that what it sends and
//! what is asked here are read alike.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use super::management::Refusal;
use super::{Board, failed, points, well};
use crate::dashboard::model::otlp::points::Points;
use crate::dashboard::model::queues::{self as names, BrokerStatus};
use crate::dashboard::model::series::Kind;
use crate::dashboard::model::{Identity, Nanos, now};
use crate::dashboard::store::Ingest;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(4);
/// Groups of one Kafka that are asked for, by name, and pairs of group and topic of which something is kept: the store has room for
/// a thousand series of a metric. More are said to be left out.
const MOST_GROUPS: usize = 500;
const MOST_READINGS: usize = 900;
/// Of the groups so many keep their connections: each is a client with threads of its own.
const KEPT: usize = 32;
/// Partitions that are asked for, and how long a round may take.
const MOST_PARTITIONS: usize = 10_000;
const ROUND: Duration = Duration::from_secs(60);

/// A partition: topic and number.
type Partition = (String, i32);

/// What a group told.
struct Group {
    name: String,
    /// `None` where the broker does not say.
    members: Option<usize>,
    /// When it was asked.
    at: Nanos,
    /// By topic.
    readings: BTreeMap<String, Reading>,
}

/// How far a group is in a topic, summed over the partitions that it ever read.
#[derive(Default)]
struct Reading {
    offset: i64,
    end: i64,
    lag: i64,
}

/// What a Kafka told.
#[derive(Default)]
struct Told {
    groups: Vec<Group>,
    left_out: usize,
}

/// Asks a Kafka until `stop`.
pub async fn watch(
    cluster: Cluster,
    every: Duration,
    ingest: Arc<dyn Ingest>,
    board: Arc<Board>,
    stop: CancellationToken,
) {
    let mut status = BrokerStatus::new(cluster.name.clone(), cluster.servers.clone());
    board.put(status.clone());
    let mut asking = Some(Asking::new(cluster.clone(), stop.clone()));
    while let Some(mut one) = asking.take() {
        // The client blocks; a question that is under way ends by its own patience.
        let asked = tokio::task::spawn_blocking(move || {
            let told = one.ask();
            (one, told)
        });
        let answer = tokio::select! {
            () = stop.cancelled() => return,
            answer = asked => answer,
        };
        let told = match answer {
            Ok((one, told)) => {
                asking = Some(one);
                told
            }
            // Nobody knows what state its clients are in.
            Err(error) => {
                asking = Some(Asking::new(cluster.clone(), stop.clone()));
                Err(Refusal::Away(error.to_string()))
            }
        };
        match told {
            Ok(told) => {
                status.left_out = told.left_out;
                well(&mut status);
                if let Err(error) = ingest.keep(figures(&status.name, &told)).await {
                    tracing::warn!(broker = %status.name, "figures of groups are not kept: {error}");
                }
            }
            Err(refusal) => failed(&mut status, &refusal),
        }
        board.put(status.clone());
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(every) => {}
        }
    }
    // Clients wait for their threads when they end.
    tokio::task::spawn_blocking(move || drop(asking));
}

struct Asking {
    cluster: Cluster,
    stop: CancellationToken,
    /// Asks about all; made with the first question.
    asker: Option<BaseConsumer>,
    /// Those that ask for one group each.
    eyes: HashMap<String, BaseConsumer>,
}

impl Asking {
    fn new(cluster: Cluster, stop: CancellationToken) -> Self {
        Self { cluster, stop, asker: None, eyes: HashMap::new() }
    }

    /// A client in the name of a group, which never subscribes and so never joins it.
    fn client(&self, group: &str) -> Result<BaseConsumer, KafkaError> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.cluster.servers)
            .set("client.id", "throughline")
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("allow.auto.create.topics", "false")
            .set("reconnect.backoff.max.ms", "2000")
            // What is wrong is said once by who asks, and not by the client for each try.
            .set_log_level(RDKafkaLogLevel::Emerg);
        config.create()
    }

    fn ask(&mut self) -> Result<Told, Refusal> {
        self.asked().map_err(|error| refusal(&error))
    }

    fn asked(&mut self) -> Result<Told, KafkaError> {
        let asker = match self.asker.take() {
            Some(asker) => asker,
            None => self.client("throughline")?,
        };
        let partitions = partitions(&asker)?;
        let found = asker.fetch_group_list(None, PATIENCE)?;
        // A group that only keeps offsets has no protocol; one of Kafka Connect has another.
        let kinds = ["consumer", ""];
        let mut groups: Vec<(String, Option<usize>)> = found
            .groups()
            .iter()
            .filter(|group| kinds.contains(&group.protocol_type()) && !group.name().is_empty())
            .map(|group| (group.name().to_owned(), members(group.state(), group.members().len())))
            .collect();
        groups.sort_unstable();
        let left_out = groups.len().saturating_sub(MOST_GROUPS);
        groups.truncate(MOST_GROUPS);
        self.eyes.retain(|name, _| groups.binary_search_by(|(known, _)| known.cmp(name)).is_ok());
        let (mut told, mut readings) = (Told { left_out, ..Told::default() }, 0);
        let (begun, mut failed) = (Instant::now(), None);
        for (name, members) in groups {
            if self.stop.is_cancelled() {
                break;
            }
            if readings >= MOST_READINGS || begun.elapsed() > ROUND {
                told.left_out += 1;
                continue;
            }
            match self.group(&asker, name, members, &partitions) {
                Ok((group, all)) => {
                    readings += group.readings.len();
                    told.left_out += usize::from(!all);
                    told.groups.push(group);
                }
                // One that cannot be asked hides no other.
                Err(error) => {
                    told.left_out += 1;
                    failed = failed.or(Some(error));
                }
            }
        }
        self.asker = Some(asker);
        match failed {
            Some(error) if told.groups.is_empty() => Err(error),
            _ => Ok(told),
        }
    }

    /// How far a group is; false where some partition of it did not say where it ends.
    fn group(
        &mut self,
        asker: &BaseConsumer,
        name: String,
        members: Option<usize>,
        all: &[Partition],
    ) -> Result<(Group, bool), KafkaError> {
        let (offsets, at) = (self.offsets(&name, all)?, now());
        let (mut readings, mut torn) = (BTreeMap::<String, Reading>::new(), BTreeSet::new());
        for ((topic, partition), offset) in offsets {
            // Asked for just after the offset: what comes in between would look like lag.
            match asker.fetch_watermarks(&topic, partition, PATIENCE) {
                Ok((_, end)) => {
                    let reading = readings.entry(topic).or_default();
                    reading.offset = reading.offset.saturating_add(offset);
                    reading.end = reading.end.saturating_add(end);
                    reading.lag = reading.lag.saturating_add(end.saturating_sub(offset).max(0));
                }
                Err(_) => {
                    torn.insert(topic);
                }
            }
        }
        // A sum over some of the partitions would be too little.
        readings.retain(|topic, _| !torn.contains(topic));
        Ok((Group { name, members, at, readings }, torn.is_empty()))
    }

    /// What a group has committed.
    fn offsets(&mut self, group: &str, all: &[Partition]) -> Result<Vec<(Partition, i64)>, KafkaError> {
        let mut wanted = TopicPartitionList::with_capacity(all.len());
        for (topic, partition) in all {
            wanted.add_partition(topic, *partition);
        }
        let eye = match self.eyes.remove(group) {
            Some(eye) => eye,
            None => self.client(group)?,
        };
        // What it has to say of its connections is taken from it, so that it does not pile up.
        let _ = eye.poll(Duration::ZERO);
        let committed = eye.committed_offsets(wanted, PATIENCE)?;
        if self.eyes.len() < KEPT {
            self.eyes.insert(group.to_owned(), eye);
        }
        let read = committed.elements().into_iter().filter_map(|one| match one.offset() {
            Offset::Offset(offset) => Some(((one.topic().to_owned(), one.partition()), offset)),
            _ => None,
        });
        Ok(read.collect())
    }
}

/// All partitions but those of Kafka's own topics.
fn partitions(asker: &BaseConsumer) -> Result<Vec<Partition>, KafkaError> {
    let metadata = asker.fetch_metadata(None, PATIENCE)?;
    let topics = metadata.topics().iter().filter(|topic| !topic.name().starts_with("__"));
    let all =
        topics.flat_map(|topic| topic.partitions().iter().map(|one| (topic.name().to_owned(), one.id())));
    Ok(all.take(MOST_PARTITIONS).collect())
}

/// The members of a group; of one in a protocol that the client cannot describe nobody knows.
fn members(state: &str, count: usize) -> Option<usize> {
    let told = ["Stable", "Empty", "PreparingRebalance", "CompletingRebalance"];
    told.contains(&state).then_some(count)
}

fn refusal(error: &KafkaError) -> Refusal {
    use RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        Some(
            code @ (Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication),
        ) => Refusal::Denied(format!(
            "{code} (it takes Describe on the cluster, on its groups and on its topics)"
        )),
        Some(code) => Refusal::Away(code.to_string()),
        None => Refusal::Away(error.to_string()),
    }
}

/// The figures as samples. The end of a topic is told by the first group that reads it.
fn figures(cluster: &str, told: &Told) -> Points {
    let mut all = Points::default();
    let mut add = |name: &str, unit: &str, attributes: &[(&str, &str)], at: Nanos, value: f64| {
        let mut attributes: Vec<(String, String)> =
            attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        attributes.push((names::BROKER.to_owned(), cluster.to_owned()));
        let identity = Identity {
            name: name.to_owned(),
            // The store bounds the series of a service: no Kafka takes another's room.
            service: cluster.to_owned(),
            instance: String::new(),
            scope: points::SCOPE.to_owned(),
            unit: unit.to_owned(),
            kind: Kind::LEVEL,
            attributes,
        };
        points::add(&mut all, identity, at, value);
    };
    let mut ends = BTreeSet::new();
    for Group { name, members, at, readings } in &told.groups {
        if let Some(members) = members {
            add("kafka.consumer_group.members", "{members}", &[("group", name)], *at, *members as f64);
        }
        for (topic, Reading { offset, end, lag }) in readings {
            let place = [("group", name.as_str()), ("topic", topic.as_str())];
            add("kafka.consumer_group.offset", "1", &place, *at, *offset as f64);
            add("kafka.consumer_group.lag", "1", &place, *at, *lag as f64);
            if ends.insert(topic) {
                add("kafka.partition.current_offset", "1", &[("topic", topic)], *at, *end as f64);
            }
        }
    }
    all
}
