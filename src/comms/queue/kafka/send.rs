//! Sending a record until all replicas have it, and making topics.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};

use super::Settings;
use super::client::{self, MAX_RECORD, meaning};
use crate::comms::queue::broker::BrokerError;

/// A record that is to be sent.
pub(super) struct Letter<'a> {
    pub topic: &'a str,
    /// Records of the same key are in the same partition, and so in order.
    pub key: &'a str,
    /// In milliseconds since 1970.
    pub timestamp: i64,
    pub headers: OwnedHeaders,
    pub body: &'a [u8],
}

pub(super) struct Sender {
    config: ClientConfig,
    producer: Mutex<FutureProducer>,
    admin: AdminClient<DefaultClientContext>,
    patience: Duration,
    partitions: i32,
    replication: i32,
}

impl Sender {
    pub fn new(settings: &Settings) -> Result<Self, BrokerError> {
        let config = client::producer(settings);
        let producer = Mutex::new(config.create().map_err(meaning)?);
        let admin = client::common(settings).create().map_err(meaning)?;
        let (patience, partitions) = (settings.patience, settings.partitions.max(1));
        Ok(Self { config, producer, admin, patience, partitions, replication: settings.replication })
    }

    fn producer(&self) -> FutureProducer {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends it, and gives its offset.
    pub async fn send(&self, letter: Letter<'_>) -> Result<i64, BrokerError> {
        let record = FutureRecord::to(letter.topic)
            .key(letter.key)
            .timestamp(letter.timestamp)
            .headers(letter.headers)
            .payload(letter.body);
        let producer = self.producer();
        let (error, _) = match producer.send(record, self.patience).await {
            Ok(kept) => return Ok(kept.offset),
            Err(failed) => failed,
        };
        if let Some((code, why)) = producer.client().fatal_error() {
            tracing::warn!(?code, why, "Kafka's producer has ended and is made anew");
            self.renew();
        }
        Err(match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::MessageTimedOut) => BrokerError::Unavailable(
                format!("Kafka did not confirm it within {:?}", self.patience).into(),
            ),
            _ => meaning(error),
        })
    }

    /// Puts a new producer in the place of one that cannot go on, unless another has done so.
    fn renew(&self) {
        let mut producer = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if producer.client().fatal_error().is_some() {
            match self.config.create() {
                Ok(new) => *producer = new,
                Err(error) => tracing::error!(%error, "Kafka's producer cannot be made anew"),
            }
        }
    }

    /// Makes a topic with the partitions of the settings. One that is there stays as it is.
    pub async fn make_topic(&self, name: &str) -> Result<(), BrokerError> {
        let topic = NewTopic::new(name, self.partitions, TopicReplication::Fixed(self.replication));
        self.make(topic.set("max.message.bytes", MAX_RECORD)).await
    }

    /// Makes the topic of the register: the newest record of each key is kept for ever.
    pub async fn make_register(&self, name: &str) -> Result<(), BrokerError> {
        let topic = NewTopic::new(name, 1, TopicReplication::Fixed(self.replication));
        self.make(topic.set("cleanup.policy", "compact")).await
    }

    async fn make(&self, topic: NewTopic<'_>) -> Result<(), BrokerError> {
        let options =
            AdminOptions::new().request_timeout(Some(self.patience)).operation_timeout(Some(self.patience));
        let made = self.admin.create_topics([&topic], &options).await.map_err(meaning)?;
        match made.into_iter().next() {
            None | Some(Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
            Some(Err((name, code @ RDKafkaErrorCode::TopicAuthorizationFailed))) => {
                Err(BrokerError::Denied(format!("topic `{name}` may not be created: {code}")))
            }
            Some(Err((name, code))) => {
                Err(BrokerError::Unavailable(format!("topic `{name}` cannot be created: {code}").into()))
            }
        }
    }

    /// Waits for what is under way. Blocks.
    pub fn flush(&self) {
        if let Err(error) = self.producer().flush(self.patience) {
            tracing::debug!(%error, "not everything was sent before the end");
        }
    }
}
