//! Asks a Kafka how far its consumer groups are: what they have not read yet of each topic, by way of the client's own
//! questions. Nobody joins a group for it, and nothing is committed.
//!
//! Figures go into the store under the names that the OpenTelemetry Collector's kafkametrics receiver uses, so that what it sends and
//! what is asked here are read alike.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use super::management::Refusal;
use super::{Board, failed, well};
use crate::dashboard::model::otlp::points::Points;
use crate::dashboard::model::queues::{self as names, BrokerStatus};
use crate::dashboard::model::series::Kind;
use crate::dashboard::model::{Identity, Nanos, Sample, now};
use crate::dashboard::store::Ingest;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(4);
/// Groups of one Kafka that are asked for, by name; more are said to be left out.
const MOST_GROUPS: usize = 500;
/// Of those so many keep their connections: each is a client with threads of its own.
const KEPT: usize = 32;
/// Partitions of which something is kept.
const MOST_PARTITIONS: usize = 10_000;
const MS: Nanos = 1_000_000;

/// A partition: topic and number.
type Partition = (String, i32);

/// What a group told.
struct Group {
    name: String,
    /// `None` where the broker does not say.
    members: Option<usize>,
    /// The next message that it wants, of each partition that it ever read.
    offsets: Vec<(Partition, i64)>,
}

/// What a Kafka told.
#[derive(Default)]
struct Told {
    groups: Vec<Group>,
    left_out: usize,
    /// The ends of the partitions that some group reads.
    ends: BTreeMap<Partition, i64>,
}

/// Asks a Kafka until `stop`.
pub async fn watch(
    cluster: Cluster,
    every: Duration,
    ingest: Arc<dyn Ingest>,
    board: Arc<Board>,
    stop: CancellationToken,
) {
    let mut status = BrokerStatus {
        name: cluster.name.clone(),
        address: cluster.servers.clone(),
        reached: None,
        failing: None,
        left_out: 0,
        queues: Vec::new(),
    };
    board.put(status.clone());
    let mut asking = Some(Asking::new(cluster, stop.clone()));
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
        let Ok((one, told)) = answer else { return };
        asking = Some(one);
        match told {
            Ok(told) => {
                status.left_out = told.left_out;
                well(&mut status);
                if let Err(error) = ingest.keep(points(&status.name, &told, now())).await {
                    tracing::warn!(broker = %status.name, "figures of groups are not kept: {error}");
                }
            }
            Err(refusal) => failed(&mut status, &refusal),
        }
        board.put(status.clone());
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
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
            .filter(|group| kinds.contains(&group.protocol_type()))
            .map(|group| (group.name().to_owned(), members(group.state(), group.members().len())))
            .collect();
        groups.sort_unstable();
        let left_out = groups.len().saturating_sub(MOST_GROUPS);
        groups.truncate(MOST_GROUPS);
        self.eyes.retain(|name, _| groups.binary_search_by(|(known, _)| known.cmp(name)).is_ok());
        let mut told = Told { left_out, ..Told::default() };
        for (name, members) in groups {
            if self.stop.is_cancelled() {
                break;
            }
            let offsets = self.offsets(&name, &partitions)?;
            told.groups.push(Group { name, members, offsets });
        }
        for (partition, _) in told.groups.iter().flat_map(|group| &group.offsets) {
            if !told.ends.contains_key(partition) && !self.stop.is_cancelled() {
                let (_, end) = asker.fetch_watermarks(&partition.0, partition.1, PATIENCE)?;
                told.ends.insert(partition.clone(), end);
            }
        }
        self.asker = Some(asker);
        Ok(told)
    }

    /// How far a group is.
    fn offsets(&mut self, group: &str, all: &[Partition]) -> Result<Vec<(Partition, i64)>, KafkaError> {
        let mut wanted = TopicPartitionList::with_capacity(all.len());
        for (topic, partition) in all {
            wanted.add_partition(topic, *partition);
        }
        let eye = match self.eyes.remove(group) {
            Some(eye) => eye,
            None => self.client(group)?,
        };
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

/// The figures as samples, all of one moment: sums over partitions are of what was told together.
fn points(cluster: &str, told: &Told, at: Nanos) -> Points {
    let mut points = Points::default();
    let mut add = |name: &str, unit: &str, attributes: &[(&str, &str)], value: f64| {
        let mut attributes: Vec<(String, String)> =
            attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        attributes.push((names::BROKER.to_owned(), cluster.to_owned()));
        attributes.sort_unstable();
        let number = points.series.len() as u32;
        points.series.push(Arc::new(Identity {
            name: name.to_owned(),
            service: "kafka".to_owned(),
            instance: cluster.to_owned(),
            scope: "throughline".to_owned(),
            unit: unit.to_owned(),
            kind: Kind::LEVEL,
            attributes,
        }));
        points.samples.push((number, Sample::of(at - at % MS, 0, value)));
    };
    for ((topic, partition), end) in &told.ends {
        let partition = partition.to_string();
        let of = [("topic", topic.as_str()), ("partition", &partition)];
        add("kafka.partition.current_offset", "1", &of, *end as f64);
    }
    for Group { name, members, offsets } in &told.groups {
        if let Some(members) = members {
            add("kafka.consumer_group.members", "{members}", &[("group", name)], *members as f64);
        }
        for (of, offset) in offsets {
            let Some(end) = told.ends.get(of) else { continue };
            let partition = of.1.to_string();
            let place = [("group", name.as_str()), ("topic", of.0.as_str()), ("partition", &partition)];
            add("kafka.consumer_group.offset", "1", &place, *offset as f64);
            add("kafka.consumer_group.lag", "1", &place, (end - offset).max(0) as f64);
        }
    }
    points
}
