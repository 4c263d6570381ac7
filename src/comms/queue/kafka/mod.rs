//! Messages over Kafka, 2.4 or newer.
//!
//! An exchange is a topic. A queue is a consumer group, which reads the topics of its bindings and leaves out what it does
//! not want, and a topic of its own for what is sent to it alone: retries, and dead letters of others. Why, and what
//! differs from a broker with queues: `docs/decisions/0031-kafka.md`.
//!
//! Nothing that was confirmed is lost while Kafka keeps it; a message may be delivered twice, with the same ID (see
//! [`super::inbox`]). An outage is waited out: who publishes waits for [`Settings::patience`] at most.
//!
//! | file | what lives there |
//! |---|---|
//! | `mod.rs` | the [`Broker`] implementation |
//! | `client.rs` | the settings of the client library, its errors, names |
//! | `register.rs` | what exchanges, queues and bindings there are |
//! | `send.rs` | sending until it is confirmed, making topics |
//! | `deliveries.rs` | receiving: what is handed out |
//! | `reader.rs` | receiving: the thread that reads |
//! | `ledger.rs` | what is not settled yet, and how far all is |
//! | `settle.rs` | how deliveries end |
//! | `lag.rs` | how much waits |
//! | `wire.rs` | a message in a record's key and headers |

mod client;
mod deliveries;
mod lag;
mod ledger;
mod reader;
mod register;
mod send;
mod settle;
mod wire;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use self::client::{check_name, meaning};
use self::deliveries::Subscription;
use self::register::{Binding, Key, Queue, Register};
use self::send::{Letter, Sender};
use super::broker::{self, Broker, BrokerError, Deliveries, QueueSpec, QueueStats};
use super::given_up::Refusals;
use super::message::Message;
use crate::comms::names;

/// Where Kafka is, and how it is used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `HOST:PORT` of one or more of its servers, with commas between. Without TLS and without a password.
    pub servers: String,
    /// The service, as Kafka's logs and quotas name its clients.
    pub name: String,
    /// Written before the name of each topic and group; for several systems on one Kafka. Empty unless said.
    pub prefix: String,
    /// How long a publish or a declaration waits through an outage before it fails, and how long the first connection is
    /// waited for; at least a second.
    pub patience: Duration,
    /// How long a consumer may take to settle what it has at hand of a partition that goes to another one.
    pub handover: Duration,
    /// Of topics that are made: so many consumers of a queue can work side by side. Order is kept within a correlation
    /// ID; with one partition, in all.
    pub partitions: i32,
    /// Of topics that are made: on how many servers each is kept; -1 for what Kafka is set to.
    pub replication: i32,
}

impl Settings {
    /// With ten seconds of patience, thirty for a handover, three partitions, and Kafka's own replication.
    pub fn new(servers: &str, name: &str) -> Self {
        Self {
            servers: servers.to_owned(),
            name: name.to_owned(),
            prefix: String::new(),
            patience: Duration::from_secs(10),
            handover: Duration::from_secs(30),
            partitions: 3,
            replication: -1,
        }
    }
}

/// The broker; cheap to clone.
#[derive(Clone)]
pub struct KafkaBroker {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    server: (String, u16),
    register: Arc<Register>,
    sender: Sender,
    subscriptions: Mutex<Vec<Arc<Subscription>>>,
    /// Clients that ask how far a group is and never join it, by queue.
    eyes: Mutex<HashMap<String, Arc<BaseConsumer>>>,
    refused: Refusals,
}

impl Inner {
    /// The topic or group of an exchange or a queue.
    fn named(&self, name: &str) -> String {
        format!("{}{name}", self.settings.prefix)
    }

    fn max_deliveries(&self, queue: &str) -> u32 {
        self.register.known().queue(queue).map_or(u32::MAX, |queue| queue.max_deliveries)
    }

    fn dead_letter_queue(&self, queue: &str) -> Option<String> {
        self.register.known().queue(queue).and_then(|queue| queue.dead_letter_queue.clone())
    }

    /// Asks the register something that blocks.
    async fn ask<T: Send + 'static>(
        &self,
        what: impl FnOnce(&Register, Duration) -> Result<T, BrokerError> + Send + 'static,
    ) -> Result<T, BrokerError> {
        let (register, patience) = (Arc::clone(&self.register), self.settings.patience);
        let asked = tokio::task::spawn_blocking(move || what(&register, patience)).await;
        asked.map_err(|error| BrokerError::Unavailable(error.into()))?
    }

    /// Makes sure that something is known, reading the register to its end before it says no.
    async fn find(
        &self,
        is_known: impl Fn(&register::Known) -> bool,
        otherwise: impl FnOnce() -> BrokerError,
    ) -> Result<(), BrokerError> {
        if is_known(&self.register.known()) {
            return Ok(());
        }
        self.ask(Register::catch_up).await?;
        if is_known(&self.register.known()) { Ok(()) } else { Err(otherwise()) }
    }

    async fn find_queue(&self, queue: &str) -> Result<(), BrokerError> {
        self.find(|known| known.queue(queue).is_some(), || BrokerError::NoQueue(queue.to_owned())).await
    }

    async fn find_exchange(&self, exchange: &str) -> Result<(), BrokerError> {
        let otherwise = || BrokerError::NoExchange(exchange.to_owned());
        self.find(|known| known.has_exchange(exchange), otherwise).await
    }

    /// Writes an entry of the register, and waits until it is known here.
    async fn enter(&self, key: &Key, value: &impl serde::Serialize) -> Result<(), BrokerError> {
        let invalid = |error: serde_json::Error| BrokerError::Unavailable(error.into());
        let (key, value) =
            (serde_json::to_string(key).map_err(invalid)?, serde_json::to_vec(value).map_err(invalid)?);
        let letter = Letter {
            topic: &self.named(register::TOPIC),
            key: &key,
            timestamp: wire::millis(std::time::SystemTime::now()),
            headers: rdkafka::message::OwnedHeaders::new(),
            body: &value,
        };
        let offset = self.sender.send(letter).await?;
        self.ask(move |register, patience| register.wait_for(offset + 1, Instant::now() + patience)).await
    }

    /// Makes a topic, and waits until it can be used.
    async fn make_topic(&self, name: &str) -> Result<(), BrokerError> {
        let topic = self.named(name);
        self.sender.make_topic(&topic).await?;
        self.ask(move |register, patience| wait_for_topic(register, &topic, patience)).await
    }

    async fn declare_exchange(&self, name: &str) -> Result<(), BrokerError> {
        check_name("the name of the exchange", &self.settings.prefix, name)?;
        if self.find_exchange(name).await.is_ok() {
            return Ok(());
        }
        self.refuse_second(self.register.known().queue(name).is_some(), name, "a queue")?;
        self.make_topic(name).await?;
        self.enter(&Key::Exchange(name.to_owned()), &serde_json::json!({})).await
    }

    async fn declare_queue(&self, spec: &QueueSpec) -> Result<(), BrokerError> {
        check_name("the name of the queue", &self.settings.prefix, &spec.name)?;
        if spec.max_length.is_some() {
            let why = "cannot be kept: Kafka bounds a topic by bytes and time (its `retention.bytes` and `retention.ms`)";
            return Err(BrokerError::Invalid {
                what: "the greatest length of the queue",
                why: why.to_owned(),
            });
        }
        if let Some(dead) = &spec.dead_letter_queue {
            check_name("the name of the dead-letter queue", &self.settings.prefix, dead)?;
        }
        let queue = Queue::from(spec);
        let otherwise = || BrokerError::NoQueue(spec.name.clone());
        match self.find(|known| known.queue(&spec.name) == Some(&queue), otherwise).await {
            Err(BrokerError::NoQueue(_)) => {}
            known => return known,
        }
        self.refuse_second(self.register.known().has_exchange(&spec.name), &spec.name, "an exchange")?;
        self.make_topic(&spec.name).await?;
        self.enter(&Key::Queue(spec.name.clone()), &queue).await
    }

    /// A queue and an exchange of one name would share a topic.
    fn refuse_second(&self, is_there: bool, name: &str, what: &str) -> Result<(), BrokerError> {
        if !is_there {
            return Ok(());
        }
        let reason = format!("it is {what}, and each has a topic of its name");
        Err(BrokerError::Conflict { name: name.to_owned(), reason })
    }

    async fn bind(&self, exchange: &str, pattern: &str, queue: &str) -> Result<(), BrokerError> {
        broker::check_name("the pattern of the binding", pattern)?;
        self.find_exchange(exchange).await?;
        self.find_queue(queue).await?;
        if self.register.known().is_bound(exchange, pattern, queue) {
            return Ok(());
        }
        // The ends first, then whether it is bound: who bound it meanwhile and has sent already is not overruled by ends
        // behind what was sent.
        let topic = self.named(exchange);
        let from = self.ask(move |register, patience| register.ends(&topic, patience)).await?;
        self.ask(Register::catch_up).await?;
        if self.register.known().is_bound(exchange, pattern, queue) {
            return Ok(());
        }
        let of = |text: &str| text.to_owned();
        let key = Key::Binding { exchange: of(exchange), pattern: of(pattern), queue: of(queue) };
        self.enter(&key, &Binding { from }).await
    }

    async fn publish(&self, exchange: &str, routing_key: &str, message: &Message) -> Result<(), BrokerError> {
        broker::check(exchange, routing_key, message)?;
        let is_routed = |known: &register::Known| known.is_routed(exchange, routing_key);
        if !is_routed(&self.register.known()) {
            self.find_exchange(exchange).await?;
            let (exchange, routing_key) = (exchange.to_owned(), routing_key.to_owned());
            self.find(is_routed, || BrokerError::Unroutable { exchange, routing_key }).await?;
        }
        let letter = Letter {
            topic: &self.named(exchange),
            key: message.correlation_id.as_str(),
            timestamp: wire::millis(message.time),
            headers: wire::write(message, routing_key),
            body: &message.body,
        };
        self.sender.send(letter).await.map(drop)
    }

    fn subscriptions(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Subscription>>> {
        let mut all = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|of| !of.over.is_cancelled());
        all
    }

    async fn close(&self) {
        let all = self.subscriptions().clone();
        for of in &all {
            of.abandon.cancel();
            of.ledger.stop();
        }
        let over = futures_util::future::join_all(all.iter().map(|of| of.over.cancelled()));
        if tokio::time::timeout(self.settings.patience, over).await.is_err() {
            tracing::warn!("Kafka was not told in time that this consumer goes");
        }
    }
}

/// A new topic is known to all servers a moment after it was made. Blocks.
fn wait_for_topic(register: &Register, topic: &str, patience: Duration) -> Result<(), BrokerError> {
    let until = Instant::now() + patience;
    loop {
        match register.ends(topic, patience) {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

impl KafkaBroker {
    /// Connects.
    ///
    /// # Errors
    /// The address is none, Kafka cannot be reached within the patience, or does not let this client make or read topics.
    pub async fn connect(settings: Settings) -> Result<Self, BrokerError> {
        let server = client::first_server(&settings.servers)?;
        check_name(client::PREFIX, &settings.prefix, register::TOPIC)?;
        let sender = Sender::new(&settings)?;
        // The group is never joined: a client that reads needs the name of one.
        let topic = format!("{}{}", settings.prefix, register::TOPIC);
        let reader = client::consumer(&settings, &topic);
        let asker: BaseConsumer = reader.create().map_err(meaning)?;
        let reader: BaseConsumer = reader.create().map_err(meaning)?;
        let patience = settings.patience;
        let reached = move || asker.fetch_metadata(None, patience).map(|_| asker);
        let reached = tokio::task::spawn_blocking(reached).await;
        let reached = reached.map_err(|error| BrokerError::Unavailable(error.into()))?;
        let asker = reached.map_err(|error| match meaning(error) {
            BrokerError::Unavailable(error) => {
                let servers = &settings.servers;
                BrokerError::Unavailable(
                    format!("no Kafka answers at {servers} within {patience:?}: {error}").into(),
                )
            }
            other => other,
        })?;
        sender.make_register(&topic).await?;
        let register = Register::follow(reader, asker, topic.clone())?;
        let (subscriptions, eyes, refused) = (Mutex::default(), Mutex::default(), Refusals::default());
        let inner = Arc::new(Inner { settings, server, register, sender, subscriptions, eyes, refused });
        inner.ask(move |register, patience| wait_for_topic(register, &topic, patience)).await?;
        inner.ask(Register::catch_up).await?;
        Ok(Self { inner })
    }
}

impl Broker for KafkaBroker {
    fn system(&self) -> &'static str {
        names::SYSTEM_KAFKA
    }

    fn server(&self) -> Option<(&str, u16)> {
        Some((&self.inner.server.0, self.inner.server.1))
    }

    fn declare_exchange<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(self.inner.declare_exchange(name))
    }

    /// The last declaration of a queue holds. A greatest length is refused: Kafka keeps none.
    fn declare_queue<'a>(&'a self, spec: &'a QueueSpec) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(self.inner.declare_queue(spec))
    }

    fn bind<'a>(
        &'a self,
        exchange: &'a str,
        pattern: &'a str,
        queue: &'a str,
    ) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(self.inner.bind(exchange, pattern, queue))
    }

    fn publish<'a>(
        &'a self,
        exchange: &'a str,
        routing_key: &'a str,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(self.inner.publish(exchange, routing_key, message))
    }

    fn consume<'a>(
        &'a self,
        queue: &'a str,
        prefetch: usize,
    ) -> BoxFuture<'a, Result<Box<dyn Deliveries>, BrokerError>> {
        Box::pin(async move {
            self.inner.find_queue(queue).await?;
            let (deliveries, subscription) = deliveries::open(&self.inner, queue, prefetch)?;
            self.inner.subscriptions().push(subscription);
            Ok(Box::new(deliveries) as Box<dyn Deliveries>)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.inner.close().await;
            let inner = Arc::clone(&self.inner);
            if let Err(error) = tokio::task::spawn_blocking(move || inner.sender.flush()).await {
                tracing::debug!(%error, "nothing was waited for at the end");
            }
        })
    }

    /// All queues of the prefix. What waits is the lag of the group: what its bindings do not want counts until it is
    /// read. `unsettled` and `delayed` are what this handle's own consumers have at hand and hold back; those of others
    /// are in `ready`.
    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueStats>, BrokerError>> {
        Box::pin(async move {
            let inner = Arc::clone(&self.inner);
            let asked = tokio::task::spawn_blocking(move || lag::all(&inner)).await;
            asked.map_err(|error| BrokerError::Unavailable(error.into()))?
        })
    }
}
