//! Sending: mandatory, persistent, confirmed, and again where the connection was lost before the answer.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::Semaphore;

use super::link::Link;
use super::refusal::{self, Refusal};
use super::shared::{Answer, Shared};
use super::topology::{Topology, short};
use crate::comms::queue::broker::BrokerError;

/// Messages on their way at the same time; more wait for their turn.
const AT_ONCE: usize = 64;
/// Channels for one message at a time that are kept; the client looks at every channel again and again.
const IDLE: usize = 8;
/// After a loss, so that it is noticed by the link before the next try.
const PAUSE: Duration = Duration::from_millis(50);

/// A message as the client takes it.
pub(super) struct Letter<'a> {
    pub exchange: &'a str,
    pub routing_key: &'a str,
    /// Writes its properties, for each try anew: the client takes them.
    pub properties: &'a (dyn Fn() -> BasicProperties + Send + Sync),
    pub body: Bytes,
}

impl Letter<'_> {
    fn unroutable(&self) -> Refusal {
        let (exchange, routing_key) = (self.exchange.to_owned(), self.routing_key.to_owned());
        BrokerError::Unroutable { exchange, routing_key }.into()
    }
}

/// Sends over channels of its own: one that messages share, where the exchange is known to take them, and others for one
/// message at a time. What the broker does not allow ends the channel with all that is on its way over it, so a message
/// that may be refused goes by itself.
pub(super) struct Sender {
    link: Arc<Link>,
    topology: Arc<Topology>,
    shared: Mutex<Option<Arc<Shared>>>,
    /// Held while the shared channel is made.
    making: tokio::sync::Mutex<()>,
    /// Exchanges that have taken messages from us.
    known: Mutex<HashSet<String>>,
    /// Channels for one message at a time.
    idle: Mutex<Vec<Channel>>,
    room: Semaphore,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sender {
    pub fn new(link: Arc<Link>, topology: Arc<Topology>) -> Self {
        Self {
            link,
            topology,
            shared: Mutex::default(),
            making: tokio::sync::Mutex::default(),
            known: Mutex::default(),
            idle: Mutex::default(),
            room: Semaphore::new(AT_ONCE),
        }
    }

    /// Sends and waits until the broker has it durably. When the connection is lost meanwhile nobody knows whether it
    /// had; the message is then sent again, so it may be there twice. So it is when the broker answers that it cannot
    /// take it: a queue that is full, or just being made.
    ///
    /// # Errors
    /// The broker refuses it, no queue wants it, or there was no answer within `patience`.
    pub async fn send(&self, letter: &Letter<'_>, patience: Duration) -> Result<(), BrokerError> {
        // Not an outage, so it does not try anybody's patience.
        self.topology.settled().await;
        let is_refused = AtomicBool::new(false);
        let until_taken = async {
            loop {
                match self.once(letter).await {
                    Ok(is_taken) if is_taken => return Ok(()),
                    Ok(_) => is_refused.store(true, Ordering::Relaxed),
                    Err(Refusal::Final(error)) => return Err(error),
                    Err(Refusal::Lost(error)) => {
                        is_refused.store(false, Ordering::Relaxed);
                        tracing::debug!(%error, routing_key = letter.routing_key, "sending again");
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        match tokio::time::timeout(patience, until_taken).await {
            Ok(result) => result,
            Err(_) if is_refused.load(Ordering::Relaxed) => {
                let why = "RabbitMQ did not take the message: a queue is full or cannot be written";
                Err(BrokerError::Unavailable(why.into()))
            }
            Err(_) => Err(self.link.away()),
        }
    }

    /// Sends once; whether the broker took it.
    async fn once(&self, letter: &Letter<'_>) -> Result<bool, Refusal> {
        let closed = |_| BrokerError::Unavailable("the connection was closed".into());
        let _room = self.room.acquire().await.map_err(closed)?;
        if !lock(&self.known).contains(letter.exchange) {
            return self.alone(letter).await;
        }
        match self.shared().await?.send(letter).await {
            Answer::Taken => Ok(true),
            Answer::NotTaken => Ok(false),
            Answer::Returned => Err(letter.unroutable()),
            // The broker has ended the channel: for this message, or for one beside it. Alone it is told which.
            Answer::Lost(error) if error.is_amqp_soft_error() => {
                lock(&self.known).clear();
                self.alone(letter).await
            }
            Answer::Lost(error) => Err(Refusal::Lost(error)),
        }
    }

    /// Sends once over a channel that no other message uses.
    async fn alone(&self, letter: &Letter<'_>) -> Result<bool, Refusal> {
        // Taken out for as long as there is no answer: one that is given up must not get the next message.
        let channel = self.idle_channel().await?;
        let (exchange, key) = (short(letter.exchange), short(letter.routing_key));
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let asked = refusal::Asked::Exchange(letter.exchange);
        let sent = channel.basic_publish(exchange, key, options, &letter.body, (letter.properties)()).await;
        let answer = sent.map_err(Refusal::Lost)?.await.map_err(|error| refusal::of(error, asked))?;
        let mut idle = lock(&self.idle);
        if idle.len() < IDLE {
            idle.push(channel);
        }
        drop(idle);
        lock(&self.known).insert(letter.exchange.to_owned());
        match answer {
            Confirmation::Ack(None) => Ok(true),
            Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Err(letter.unroutable()),
            Confirmation::Nack(None) | Confirmation::NotRequested => Ok(false),
        }
    }

    /// The channel that messages share, made again where it is gone.
    async fn shared(&self) -> Result<Arc<Shared>, Refusal> {
        let open = || lock(&self.shared).as_ref().filter(|shared| shared.is_open()).map(Arc::clone);
        if let Some(shared) = open() {
            return Ok(shared);
        }
        let _making = self.making.lock().await;
        if let Some(shared) = open() {
            return Ok(shared);
        }
        let shared = Arc::new(Shared::new(self.new_channel().await?));
        *lock(&self.shared) = Some(Arc::clone(&shared));
        Ok(shared)
    }

    /// One that nobody uses, or a new one.
    async fn idle_channel(&self) -> Result<Channel, Refusal> {
        {
            let mut idle = lock(&self.idle);
            while let Some(channel) = idle.pop() {
                // Those of a former connection are gone with it.
                if channel.status().connected() {
                    return Ok(channel);
                }
            }
        }
        self.new_channel().await
    }

    async fn new_channel(&self) -> Result<Channel, Refusal> {
        let connection = self.link.up().await?;
        // What was declared again on this connection may be new to the broker.
        self.topology.settled().await;
        let channel = connection.create_channel().await.map_err(Refusal::Lost)?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(Refusal::Lost)?;
        Ok(channel)
    }
}
