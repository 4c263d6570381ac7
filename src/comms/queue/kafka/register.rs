//! What exchanges, queues and bindings there are: kept in a compacted topic, which every handle follows.
//!
//! Kafka knows topics and groups, and nothing of who wants which routing keys. Each entry is a record of its own, so
//! that many may declare at once without undoing each other's. What belongs here: the entries and how they are read and
//! written. What does not: messages.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use super::client::meaning;
use crate::comms::queue::broker::{BrokerError, QueueSpec};
use crate::comms::queue::topic;

/// The topic's name, after the prefix.
pub(super) const TOPIC: &str = "throughline.queues";

/// What an entry is about: the record's key, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Key {
    Exchange(String),
    Queue(String),
    Binding { exchange: String, pattern: String, queue: String },
}

/// What is known of a queue: the record's value, in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Queue {
    pub max_deliveries: u32,
    pub dead_letter_queue: Option<String>,
}

impl From<&QueueSpec> for Queue {
    fn from(spec: &QueueSpec) -> Self {
        Self { max_deliveries: spec.max_deliveries, dead_letter_queue: spec.dead_letter_queue.clone() }
    }
}

/// Since when a binding holds: the record's value, in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Binding {
    /// The first offset of each of the exchange's partitions that the queue gets; zero where a partition is newer.
    pub from: Vec<i64>,
}

impl Binding {
    fn from(&self, partition: i32) -> i64 {
        usize::try_from(partition).ok().and_then(|at| self.from.get(at)).copied().unwrap_or(0)
    }
}

/// All entries.
#[derive(Default)]
pub(super) struct Known {
    exchanges: HashSet<String>,
    queues: HashMap<String, Queue>,
    /// By exchange, then by queue and pattern.
    bindings: HashMap<String, HashMap<(String, String), Binding>>,
}

impl Known {
    pub fn has_exchange(&self, name: &str) -> bool {
        self.exchanges.contains(name)
    }

    pub fn queue(&self, name: &str) -> Option<&Queue> {
        self.queues.get(name)
    }

    pub fn queues(&self) -> Vec<String> {
        let mut names: Vec<String> = self.queues.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    pub fn is_bound(&self, exchange: &str, pattern: &str, queue: &str) -> bool {
        let of = self.bindings.get(exchange);
        of.is_some_and(|of| of.contains_key(&(queue.to_owned(), pattern.to_owned())))
    }

    /// Whether any queue gets what is published so.
    pub fn is_routed(&self, exchange: &str, routing_key: &str) -> bool {
        let of = self.bindings.get(exchange);
        of.is_some_and(|of| of.keys().any(|(_, pattern)| topic::matches(pattern, routing_key)))
    }

    /// Whether a queue wants a record of an exchange.
    pub fn wants(
        &self,
        queue: &str,
        exchange: &str,
        (partition, offset): (i32, i64),
        routing_key: &str,
    ) -> bool {
        self.bindings.get(exchange).is_some_and(|of| {
            of.iter().any(|((bound, pattern), binding)| {
                bound == queue && offset >= binding.from(partition) && topic::matches(pattern, routing_key)
            })
        })
    }

    /// The exchanges that a queue is bound to, sorted.
    pub fn exchanges_of(&self, queue: &str) -> Vec<String> {
        let bound = |of: &HashMap<(String, String), Binding>| of.keys().any(|(bound, _)| bound == queue);
        let of = self.bindings.iter().filter(|(_, of)| bound(of)).map(|(exchange, _)| exchange.clone());
        let mut of: Vec<String> = of.collect();
        of.sort_unstable();
        of
    }

    /// The first offset of a partition that a queue can want, whatever the routing key.
    pub fn starts(&self, queue: &str, exchange: &str, partition: i32) -> i64 {
        let of = self.bindings.get(exchange).into_iter().flatten();
        of.filter(|((bound, _), _)| bound == queue).map(|(_, from)| from.from(partition)).min().unwrap_or(0)
    }

    /// Takes in a record. What is no entry is left alone: a newer version may have written it.
    fn apply(&mut self, key: &[u8], value: &[u8]) {
        match serde_json::from_slice(key) {
            Ok(Key::Exchange(name)) => drop(self.exchanges.insert(name)),
            Ok(Key::Queue(name)) => {
                if let Ok(queue) = serde_json::from_slice(value) {
                    self.queues.insert(name, queue);
                }
            }
            Ok(Key::Binding { exchange, pattern, queue }) => {
                if let Ok(binding) = serde_json::from_slice(value) {
                    self.bindings.entry(exchange).or_default().insert((queue, pattern), binding);
                }
            }
            Err(error) => tracing::debug!(%error, "an entry of the queues' topic is not known here"),
        }
    }
}

/// The entries as this handle knows them, followed by a thread of its own.
pub(super) struct Register {
    topic: String,
    reader: BaseConsumer,
    /// Asks for metadata and watermarks: on a connection of its own, since the reader's waits for news.
    asker: BaseConsumer,
    pub known: RwLock<Known>,
    /// The offset after the last entry that was taken in.
    position: Mutex<i64>,
    moved: Condvar,
}

impl Register {
    /// Begins to follow the topic, which is there.
    pub fn follow(
        reader: BaseConsumer,
        asker: BaseConsumer,
        topic: String,
    ) -> Result<Arc<Self>, BrokerError> {
        let mut all = TopicPartitionList::new();
        all.add_partition_offset(&topic, 0, Offset::Beginning).map_err(meaning)?;
        reader.assign(&all).map_err(meaning)?;
        let (known, position, moved) = (RwLock::default(), Mutex::new(0), Condvar::new());
        let register = Arc::new(Self { topic, reader, asker, known, position, moved });
        let weak = Arc::downgrade(&register);
        let follow = move || {
            while let Some(register) = weak.upgrade() {
                register.read();
            }
        };
        let thread = std::thread::Builder::new().name("kafka-register".to_owned());
        thread.spawn(follow).map_err(|error| BrokerError::Unavailable(error.into()))?;
        Ok(register)
    }

    fn read(&self) {
        match self.reader.poll(Duration::from_millis(100)) {
            None => {}
            Some(Ok(record)) => {
                let (key, value) = (record.key().unwrap_or_default(), record.payload().unwrap_or_default());
                self.known.write().unwrap_or_else(PoisonError::into_inner).apply(key, value);
                *self.position() = record.offset() + 1;
                self.moved.notify_all();
            }
            Some(Err(error)) => tracing::debug!(%error, "the queues' topic cannot be read now"),
        }
    }

    fn position(&self) -> MutexGuard<'_, i64> {
        self.position.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The offset after the last entry that is known: there is news when it has grown.
    pub fn reached(&self) -> i64 {
        *self.position()
    }

    /// The entries.
    pub fn known(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until every entry that was there when this was called is known. Blocks.
    ///
    /// # Errors
    /// Kafka does not answer within `patience`.
    pub fn catch_up(&self, patience: Duration) -> Result<(), BrokerError> {
        let until = Instant::now() + patience;
        let (_, end) = self.asker.fetch_watermarks(&self.topic, 0, patience).map_err(meaning)?;
        self.wait_for(end, until)
    }

    /// Waits until the entries before offset `end` are known. Blocks.
    pub fn wait_for(&self, end: i64, until: Instant) -> Result<(), BrokerError> {
        let mut position = self.position();
        while *position < end {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let why = "the list of queues was not read to its end in time";
                return Err(BrokerError::Unavailable(why.into()));
            }
            let waited = self.moved.wait_timeout(position, left);
            position = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// How many partitions a topic has. Blocks.
    pub fn partitions(&self, topic: &str, patience: Duration) -> Result<i32, BrokerError> {
        let all = self.asker.fetch_metadata(Some(topic), patience).map_err(meaning)?;
        let found = all.topics().iter().find(|found| found.name() == topic);
        let count = found.filter(|found| found.error().is_none()).map_or(0, |found| found.partitions().len());
        i32::try_from(count).ok().filter(|count| *count > 0).ok_or_else(|| {
            let why = KafkaError::MetadataFetch(rdkafka::error::RDKafkaErrorCode::UnknownTopicOrPartition);
            BrokerError::Unavailable(format!("topic `{topic}`: {why}").into())
        })
    }

    /// The offset after the last record of each partition. Blocks.
    pub fn ends(&self, topic: &str, patience: Duration) -> Result<Vec<i64>, BrokerError> {
        let of = |partition| self.asker.fetch_watermarks(topic, partition, patience).map(|(_, high)| high);
        (0..self.partitions(topic, patience)?).map(|partition| of(partition).map_err(meaning)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Binding, Key, Known, Queue};

    fn put(known: &mut Known, key: &Key, value: &impl serde::Serialize) {
        known.apply(&serde_json::to_vec(key).expect("JSON"), &serde_json::to_vec(value).expect("JSON"));
    }

    #[test]
    fn a_binding_holds_from_where_it_began() {
        let mut known = Known::default();
        let binding = |pattern: &str| {
            let (exchange, queue) = ("orders".to_owned(), "mail".to_owned());
            Key::Binding { exchange, pattern: pattern.to_owned(), queue }
        };
        put(&mut known, &Key::Exchange("orders".into()), &serde_json::json!({}));
        put(&mut known, &Key::Queue("mail".into()), &Queue { max_deliveries: 3, dead_letter_queue: None });
        put(&mut known, &binding("order.*"), &Binding { from: vec![5, 7] });
        put(&mut known, &binding("late"), &Binding { from: vec![9, 9] });
        known.apply(b"\xff", b"{}");
        known.apply(br#"{"quorum":"x"}"#, b"{}");
        assert!(known.has_exchange("orders") && known.queue("mail").is_some());
        assert!(!known.wants("mail", "orders", (0, 4), "order.placed"));
        assert!(known.wants("mail", "orders", (0, 5), "order.placed"));
        assert!(
            !known.wants("mail", "orders", (1, 8), "late") && known.wants("mail", "orders", (1, 9), "late")
        );
        assert!(known.wants("mail", "orders", (2, 0), "late"), "a partition that was added later");
        assert_eq!((known.starts("mail", "orders", 0), known.starts("mail", "orders", 1)), (5, 7));
        assert!(known.is_routed("orders", "late") && !known.is_routed("orders", "early"));
        assert_eq!(known.exchanges_of("mail"), ["orders"]);
    }
}
