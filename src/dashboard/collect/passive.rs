//! A RabbitMQ without a management interface, asked over AMQP: a passive declare tells how many messages of a queue are ready
//! and how many consumers it has, and changes nothing. It takes no permission.
//!
//! There is no list of queues over AMQP, so somebody has to name them: the settings, and spans of who takes messages. A queue
//! that the broker does not know ends the channel, so that it is asked for again only after some rounds.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use lapin::options::QueueDeclareOptions;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};

use super::MOST_QUEUES;
use super::address::RABBITMQ_CA;
use super::management::Refusal;
use crate::amqp::{self, Passing, Way};
use crate::dashboard::model::queues::QueueFacts;

/// How long connecting, and then one round of questions, may take.
const PATIENCE: Duration = Duration::from_secs(4);
/// After so many rounds a queue that was not there is asked for again, and names are looked up again.
const AGAIN: u32 = 12;
/// In seconds: a broker that hangs is noticed after two of them.
const HEARTBEAT: u16 = 10;
/// What a queue of the settings that is not there is in.
const MISSING: &str = "not there";

/// Tells the names of queues that somebody takes messages from.
pub type Named = Arc<dyn Fn() -> BoxFuture<'static, Vec<String>> + Send + Sync>;

/// One virtual host of a broker.
pub struct Passive {
    /// The broker's name in the settings.
    pub name: String,
    way: Way,
    /// Those of the settings.
    wanted: BTreeSet<String>,
    named: Named,
    /// What was named last.
    seen: Vec<String>,
    line: Option<(Connection, Channel)>,
    /// Queues that were not there, and in which round.
    absent: HashMap<String, u32>,
    round: u32,
}

impl Passive {
    /// For the virtual host of the address. `wanted` are queues that are shown whether they are there or not.
    pub fn new(name: String, way: &Way, wanted: &[String], named: Named) -> Self {
        let way = way.with(|uri| {
            uri.query.heartbeat.get_or_insert(HEARTBEAT);
        });
        let wanted = wanted.iter().cloned().collect();
        Self { name, way, wanted, named, seen: Vec::new(), line: None, absent: HashMap::new(), round: 0 }
    }

    /// Where it is asked, without user and password.
    pub fn shown(&self) -> String {
        let uri = self.way.uri();
        let host = if uri.vhost == "/" { String::new() } else { format!("/{}", uri.vhost) };
        format!("amqp://{}:{}{host}", uri.authority.host, uri.authority.port)
    }

    /// The queues whose names are known, with what a passive declare tells.
    ///
    /// # Errors
    /// The broker is away, or refuses.
    pub async fn queues(&mut self) -> Result<Vec<QueueFacts>, Refusal> {
        let names = self.names().await;
        let asked = tokio::time::timeout(PATIENCE, self.ask(names)).await;
        let asked = asked.unwrap_or(Err(Refusal::TooSlow(PATIENCE)));
        if asked.is_err() {
            self.line = None;
        }
        self.round = self.round.wrapping_add(1);
        asked
    }

    async fn names(&mut self) -> BTreeSet<String> {
        if self.round.is_multiple_of(AGAIN) {
            self.seen = (self.named)().await;
        }
        let mut all = self.wanted.clone();
        all.extend(self.seen.iter().take(MOST_QUEUES).cloned());
        all
    }

    async fn ask(&mut self, names: BTreeSet<String>) -> Result<Vec<QueueFacts>, Refusal> {
        self.absent.retain(|_, since| self.round.wrapping_sub(*since) < AGAIN);
        let mut queues = Vec::with_capacity(names.len());
        for name in names {
            let facts =
                QueueFacts { virtual_host: self.way.uri().vhost.clone(), name, ..QueueFacts::default() };
            let told =
                if self.absent.contains_key(&facts.name) { None } else { self.one(&facts.name).await? };
            match told {
                Some((ready, consumers)) => {
                    queues.push(QueueFacts { ready: Some(ready), consumers: Some(consumers), ..facts });
                }
                None if self.wanted.contains(&facts.name) => {
                    queues.push(QueueFacts { state: Some(MISSING.to_owned()), ..facts });
                }
                None => {}
            }
        }
        Ok(queues)
    }

    /// Messages ready and consumers of a queue; `None` where it is not there, or another connection's alone.
    async fn one(&mut self, queue: &str) -> Result<Option<(u64, u64)>, Refusal> {
        let channel = self.channel().await?;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        let error = match channel.queue_declare(queue.into(), passive, FieldTable::default()).await {
            Ok(told) => return Ok(Some((told.message_count().into(), told.consumer_count().into()))),
            Err(error) => error,
        };
        let ErrorKind::ProtocolError(why) = error.kind() else { return Err(self.refusal(&error)) };
        match why.kind() {
            AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND | AMQPSoftError::RESOURCELOCKED) => {
                self.absent.insert(queue.to_owned(), self.round);
                Ok(None)
            }
            _ => Err(self.refusal(&error)),
        }
    }

    /// A channel that is open: a refusal ends one, not the connection.
    async fn channel(&mut self) -> Result<Channel, Refusal> {
        if let Some((connection, channel)) = &mut self.line
            && connection.status().connected()
        {
            if !channel.status().connected() {
                match connection.create_channel().await {
                    Ok(new) => *channel = new,
                    Err(error) => return Err(self.refusal(&error)),
                }
            }
            return Ok(channel.clone());
        }
        let properties = ConnectionProperties::default().with_connection_name("throughline queues".into());
        let opened = async {
            let connection = self.way.connect(properties, Passing::whole()).await?;
            let channel = connection.create_channel().await?;
            Ok::<_, lapin::Error>((connection, channel))
        };
        let line = opened.await.map_err(|error| self.refusal(&error))?;
        Ok(self.line.insert(line).1.clone())
    }

    fn refusal(&self, error: &lapin::Error) -> Refusal {
        Refusal::Amqp(amqp::why_not(error, self.way.uri(), RABBITMQ_CA))
    }
}
