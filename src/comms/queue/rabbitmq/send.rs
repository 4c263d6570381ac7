//! Sending: mandatory, persistent, confirmed, and again where the connection was lost before the answer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use tokio::sync::Semaphore;

use super::link::Link;
use super::refusal::{self, Refusal};
use super::topology::short;
use crate::comms::queue::broker::BrokerError;

/// Messages on their way at the same time; more wait for their turn.
const AT_ONCE: usize = 64;
/// After a loss, so that it is noticed by the link before the next try.
const PAUSE: Duration = Duration::from_millis(50);

/// A message as the client takes it.
pub(super) struct Letter<'a> {
    pub exchange: &'a str,
    pub routing_key: &'a str,
    pub properties: BasicProperties,
    pub body: &'a [u8],
}

/// Sends over channels of its own.
///
/// Each message has a channel to itself until it is confirmed. On a shared one the client hands a returned message to
/// any of those that the broker confirms together, so an unroutable key could be reported to the wrong sender, and
/// success to the right one.
pub(super) struct Sender {
    link: Arc<Link>,
    idle: Mutex<Vec<Channel>>,
    room: Semaphore,
}

impl Sender {
    pub fn new(link: Arc<Link>) -> Self {
        Self { link, idle: Mutex::default(), room: Semaphore::new(AT_ONCE) }
    }

    /// Sends and waits until the broker has it durably. When the connection is lost meanwhile nobody knows whether it
    /// had; the message is then sent again, so it may be there twice. So it is when the broker answers that it cannot
    /// take it: a queue that is full, or just being made.
    ///
    /// # Errors
    /// The broker refuses it, no queue wants it, or there was no answer within `patience`.
    pub async fn send(&self, letter: &Letter<'_>, patience: Duration) -> Result<(), BrokerError> {
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
        // Taken out for as long as there is no answer: one that is given up must not get the next message.
        let channel = self.channel().await?;
        let (exchange, key) = (short(letter.exchange), short(letter.routing_key));
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let asked = refusal::Asked::Exchange(letter.exchange);
        let sent =
            channel.basic_publish(exchange, key, options, letter.body, letter.properties.clone()).await;
        let answer = sent.map_err(Refusal::Lost)?.await.map_err(|error| refusal::of(error, asked))?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
        match answer {
            Confirmation::Ack(None) => Ok(true),
            Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Err(BrokerError::Unroutable {
                exchange: letter.exchange.to_owned(),
                routing_key: letter.routing_key.to_owned(),
            }
            .into()),
            Confirmation::Nack(None) | Confirmation::NotRequested => Ok(false),
        }
    }

    /// One that nobody uses, or a new one.
    async fn channel(&self) -> Result<Channel, Refusal> {
        let connection = self.link.up().await?;
        {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            while let Some(channel) = idle.pop() {
                // Those of a former connection are gone with it.
                if channel.status().connected() {
                    return Ok(channel);
                }
            }
        }
        let channel = connection.create_channel().await.map_err(Refusal::Lost)?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(Refusal::Lost)?;
        Ok(channel)
    }
}
