//! Sending: mandatory, with confirms, many at a time over one channel, so that their order stays.
//!
//! The client hands a returned message to any of those that the broker confirms after it. So a batch is waited for as a whole,
//! and each returned message is known by the number in its header.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ExchangeKind};

use super::super::letter::REDRIVE;
use super::super::order::Copy;
use super::super::{Moved, Trouble};
use super::connect::{self, Asked};
use super::wire;

/// For all confirms of a batch.
const PATIENCE: Duration = Duration::from_secs(30);

/// A message to be sent.
pub(super) type Outgoing<'a> = (&'a Copy, BasicProperties, &'a [u8]);

/// A channel with confirms.
pub(super) struct Publisher {
    channel: Channel,
    /// Which exchanges there are.
    known: HashMap<String, Result<(), String>>,
}

impl Publisher {
    /// Opens the channel.
    pub async fn open(connection: &Connection) -> Result<Self, Trouble> {
        let channel = connect::channel(connection).await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default()).await;
        confirms.map_err(|error| connect::trouble(&error, Asked::Nothing))?;
        Ok(Self { channel, known: HashMap::new() })
    }

    /// Whether an exchange is there: publishing to one that is not would end the channel. Asked once for each, over a channel
    /// that the answer may end.
    pub async fn exists(&mut self, connection: &Connection, exchange: &str) -> Result<(), String> {
        if exchange.is_empty() {
            return Ok(());
        }
        if let Some(known) = self.known.get(exchange) {
            return known.clone();
        }
        let probe = connect::channel(connection).await.map_err(|trouble| trouble.to_string())?;
        let passive = ExchangeDeclareOptions { passive: true, ..Default::default() };
        let (name, any) = (wire::short(exchange), ExchangeKind::Direct);
        let asked = probe.exchange_declare(name, any, passive, FieldTable::default()).await;
        let answer = asked.map_err(|error| connect::trouble(&error, Asked::Exchange(exchange)).to_string());
        self.known.insert(exchange.to_owned(), answer.clone());
        answer
    }

    /// Sends all, waits until the broker has answered for all, and says what became of each.
    pub async fn send(&mut self, letters: Vec<Outgoing<'_>>) -> Vec<Moved> {
        let mut answers = Vec::with_capacity(letters.len());
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut sent = Vec::with_capacity(letters.len());
        for (copy, properties, body) in &letters {
            sent.push(self.publish(&copy.exchange, &copy.routing_key, properties.clone(), body).await);
        }
        let mut returned: HashSet<String> = HashSet::new();
        for confirm in sent {
            let answer = match confirm {
                Ok(confirm) => match tokio::time::timeout_at(deadline, confirm).await {
                    Ok(answer) => answer.map_err(|error| error.to_string()),
                    Err(_) => Err("the broker did not confirm within 30 s".to_owned()),
                },
                Err(error) => Err(error),
            };
            answers.push(match answer {
                Ok(Confirmation::Ack(back)) => {
                    returned.extend(back.and_then(|back| number_of(&back.delivery.properties)));
                    Moved::Sent
                }
                Ok(Confirmation::Nack(back)) => {
                    returned.extend(back.and_then(|back| number_of(&back.delivery.properties)));
                    Moved::Kept(
                        "the broker did not take it: a queue is full, or cannot be written".to_owned(),
                    )
                }
                Ok(Confirmation::NotRequested) => {
                    Moved::Unknown("the broker was asked for no confirm".to_owned())
                }
                Err(error) => Moved::Unknown(error),
            });
        }
        for ((copy, ..), answer) in letters.iter().zip(&mut answers) {
            if returned.contains(&copy.stamp.number) {
                *answer = Moved::Kept(unroutable(&copy.exchange, &copy.routing_key));
            }
        }
        answers
    }

    /// Sends a message as it is to the end of a queue.
    pub async fn back_to(&mut self, queue: &str, properties: &BasicProperties, body: &[u8]) -> Moved {
        let properties = wire::as_it_was(properties);
        let confirm = match self.publish("", queue, properties, body).await {
            Ok(confirm) => confirm,
            Err(error) => return Moved::Unknown(error),
        };
        match tokio::time::timeout(PATIENCE, confirm).await {
            Ok(Ok(Confirmation::Ack(None))) => Moved::Sent,
            Ok(Ok(_)) => Moved::Kept("the queue does not take it".to_owned()),
            Ok(Err(error)) => Moved::Unknown(error.to_string()),
            Err(_) => Moved::Unknown("the broker did not confirm within 30 s".to_owned()),
        }
    }

    async fn publish(
        &self,
        exchange: &str,
        key: &str,
        properties: BasicProperties,
        body: &[u8],
    ) -> Result<lapin::PublisherConfirm, String> {
        let options = BasicPublishOptions { mandatory: true, ..Default::default() };
        let (exchange, key) = (wire::short(exchange), wire::short(key));
        let sent = self.channel.basic_publish(exchange, key, options, body, properties).await;
        sent.map_err(|error| error.to_string())
    }
}

/// Why a message came back.
pub(super) fn unroutable(exchange: &str, key: &str) -> String {
    if exchange.is_empty() {
        format!("there is no queue “{key}”")
    } else {
        format!("no queue is bound to exchange “{exchange}” for the key “{key}”")
    }
}

fn number_of(properties: &BasicProperties) -> Option<String> {
    let headers = properties.headers().as_ref()?;
    let value = headers.inner().get(REDRIVE)?;
    value.as_long_string().map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned())
}
