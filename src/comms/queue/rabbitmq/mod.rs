//! Messages over RabbitMQ, 3.10 or newer, by AMQP 0-9-1.
//!
//! Durable topic exchanges and quorum queues; persistent messages, confirmed and mandatory; retries that wait in queues
//! of their own; dead letters with the reason. Why: `docs/decisions/0021-rabbitmq.md`.
//!
//! What holds when the connection is lost: it is made again, what was declared is declared again, consumers subscribe
//! again. Who publishes meanwhile waits, for [`Settings::patience`] at most. Nothing that was confirmed is lost; a
//! message may be delivered twice, with the same ID (see [`super::inbox`]).
//!
//! | file | what lives there |
//! |---|---|
//! | `mod.rs` | the [`Broker`] implementation |
//! | `link.rs` | a connection that is made again |
//! | `topology.rs` | what is declared, and the queues in which retries wait |
//! | `send.rs` | sending until it is confirmed |
//! | `shared.rs` | a channel for many messages at a time |
//! | `deliveries.rs` | receiving |
//! | `settle.rs` | how deliveries end |
//! | `wire.rs` | a message in AMQP's properties and headers |
//! | `refusal.rs` | what RabbitMQ's errors mean |

mod deliveries;
mod link;
mod refusal;
mod send;
mod settle;
mod shared;
mod topology;
mod wire;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use self::link::{Link, Target};
use self::refusal::Refusal;
use self::send::{Letter, Sender};
use self::topology::Topology;
use super::broker::{self, Broker, BrokerError, Deliveries, QueueSpec, QueueStats};
use super::given_up::Refusals;
use super::message::Message;
use crate::comms::names;

/// Where RabbitMQ is, and how long it is waited for.
#[derive(Clone)]
pub struct Settings {
    /// `amqp://USER:PASSWORD@HOST:5672/VHOST`, with `/` in the virtual host written as `%2F`; `amqps://`, mostly port 5671,
    /// for TLS.
    pub url: String,
    /// A PEM file with the certificates of the authorities that alone are trusted with `amqps://`; without one, those that
    /// the system trusts.
    pub ca: Option<PathBuf>,
    /// The service, as RabbitMQ lists its connections and stamps its messages.
    pub name: String,
    /// How long a publish or a declaration waits through an outage before it fails, and how long the first connection
    /// is waited for.
    pub patience: Duration,
    /// How long a queue gets after it was declared before messages are sent to it. For a second or two RabbitMQ has a new
    /// queue in memory only: killed meanwhile, it comes back with a queue that takes nothing more and has forgotten what it
    /// confirmed (`docs/decisions/0021-rabbitmq.md`). With zero that is risked.
    pub settling: Duration,
}

impl Settings {
    /// With ten seconds of patience, five for queues to settle, and the system's authorities.
    pub fn new(url: &str, name: &str) -> Self {
        let (patience, settling) = (Duration::from_secs(10), Duration::from_secs(5));
        Self { url: url.to_owned(), ca: None, name: name.to_owned(), patience, settling }
    }
}

/// The broker; cheap to clone.
#[derive(Clone)]
pub struct RabbitMqBroker {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    target: Target,
    /// Two connections: when RabbitMQ is short of memory it stops those that publish, and acknowledgements must not
    /// wait behind that.
    publishing: Arc<Link>,
    consuming: Link,
    topology: Arc<Topology>,
    sender: Sender,
    patience: Duration,
    /// Deliveries at hand, by queue.
    at_hand: Mutex<HashMap<String, i64>>,
    refused: Refusals,
}

impl Inner {
    /// Counts a delivery that comes to a consumer or leaves it.
    fn unsettled(&self, queue: &str, change: i64) {
        let mut at_hand = self.at_hand.lock().unwrap_or_else(PoisonError::into_inner);
        match at_hand.get_mut(queue) {
            Some(count) => *count += change,
            None => {
                at_hand.insert(queue.to_owned(), change);
            }
        }
    }

    /// Does something that may be done twice, again where the connection is lost meanwhile.
    async fn ask<T, Fut>(&self, what: impl Fn(Arc<lapin::Connection>) -> Fut) -> Result<T, BrokerError>
    where
        Fut: Future<Output = Result<T, Refusal>>,
    {
        let until_answered = async {
            loop {
                let connection = self.publishing.up().await?;
                match what(connection).await {
                    Ok(answer) => return Ok(answer),
                    Err(Refusal::Final(error)) => return Err(error),
                    Err(Refusal::Lost(error)) => {
                        tracing::debug!(%error, "asking RabbitMQ again");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                }
            }
        };
        let answer = tokio::time::timeout(self.patience, until_answered).await;
        answer.unwrap_or_else(|_| Err(self.publishing.away()))
    }

    async fn wait_queue(&self, queue: &str, delay: Duration) -> Result<(String, Instant), BrokerError> {
        self.ask(|on| async move { self.topology.wait_queue(&on, queue, delay).await }).await
    }
}

impl RabbitMqBroker {
    /// Connects.
    ///
    /// # Errors
    /// The address is none, the CA is none, RabbitMQ's certificate is not trusted, it refuses user, password or virtual host, or it cannot be reached within the
    /// patience.
    pub async fn connect(settings: Settings) -> Result<Self, BrokerError> {
        let target = Target::new(&settings)?;
        let to = |what: &str| Target { name: format!("{} ({what})", settings.name), ..target.clone() };
        let topology = Arc::new(Topology::new(settings.settling));
        let publishing = Arc::new(Link::start(to("publishes"), Some(Arc::clone(&topology))));
        let consuming = Link::start(to("consumes"), None);
        publishing.first(settings.patience).await?;
        consuming.first(settings.patience).await?;
        let sender = Sender::new(Arc::clone(&publishing), Arc::clone(&topology));
        let (patience, at_hand) = (settings.patience, Mutex::default());
        Ok(Self {
            inner: Arc::new(Inner {
                target: Target { name: settings.name, ..target },
                publishing,
                consuming,
                topology,
                sender,
                patience,
                at_hand,
                refused: Refusals::default(),
            }),
        })
    }
}

impl Broker for RabbitMqBroker {
    fn system(&self) -> &'static str {
        names::SYSTEM_RABBITMQ
    }

    fn server(&self) -> Option<(&str, u16)> {
        Some((self.inner.target.host(), self.inner.target.port()))
    }

    fn declare_exchange<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), BrokerError>> {
        let topology = &self.inner.topology;
        Box::pin(self.inner.ask(move |on| async move { topology.declare_exchange(&on, name).await }))
    }

    fn declare_queue<'a>(&'a self, spec: &'a QueueSpec) -> BoxFuture<'a, Result<(), BrokerError>> {
        let topology = &self.inner.topology;
        Box::pin(self.inner.ask(move |on| async move { topology.declare_queue(&on, spec).await }))
    }

    fn bind<'a>(
        &'a self,
        exchange: &'a str,
        pattern: &'a str,
        queue: &'a str,
    ) -> BoxFuture<'a, Result<(), BrokerError>> {
        let topology = &self.inner.topology;
        Box::pin(self.inner.ask(move |on| async move { topology.bind(&on, exchange, pattern, queue).await }))
    }

    fn publish<'a>(
        &'a self,
        exchange: &'a str,
        routing_key: &'a str,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            broker::check(exchange, routing_key, message)?;
            let properties = || wire::write(message, &self.inner.target.name);
            let letter =
                Letter { exchange, routing_key, properties: &properties, body: message.body.clone() };
            self.inner.sender.send(&letter, self.inner.patience).await
        })
    }

    fn consume<'a>(
        &'a self,
        queue: &'a str,
        prefetch: usize,
    ) -> BoxFuture<'a, Result<Box<dyn Deliveries>, BrokerError>> {
        Box::pin(async move {
            let deliveries = deliveries::open(Arc::clone(&self.inner), queue, prefetch).await?;
            Ok(Box::new(deliveries) as Box<dyn Deliveries>)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.inner.consuming.close().await;
            self.inner.publishing.close().await;
        })
    }

    /// The queues that were declared through this handle. `unsettled` counts the deliveries of its own consumers,
    /// `delayed` the retries that it sent: without its management plugin RabbitMQ tells no more.
    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueStats>, BrokerError>> {
        Box::pin(async move {
            let topology = &self.inner.topology;
            let mut stats = self.inner.ask(|on| async move { topology.stats(&on).await }).await?;
            let at_hand = self.inner.at_hand.lock().unwrap_or_else(PoisonError::into_inner);
            for queue in &mut stats {
                let count = at_hand.get(&queue.name).copied().unwrap_or_default();
                queue.unsettled = count.try_into().unwrap_or_default();
            }
            Ok(stats)
        })
    }
}
