//! How deliveries end: acknowledged, copied to where retries wait, or copied to the dead letters.
//!
//! A copy is confirmed before the original is acknowledged. A crash between the two leaves both: a message may be
//! delivered twice, and is never lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use lapin::options::{BasicAckOptions, BasicNackOptions};
use lapin::{Acker, BasicProperties};
use tokio::sync::Notify;

use super::Inner;
use super::send::Letter;
use super::wire::{self, Read};
use crate::comms::queue::broker::{BrokerError, Outcome, Settle, Settled};
use crate::comms::queue::given_up;

/// How long the client may take to write a settlement. One that is under way when the connection is lost may otherwise never
/// be told of it; the broker delivers the message again.
const WRITTEN: Duration = Duration::from_secs(10);

/// Deliveries of one consumer that were dropped unsettled, to be given back.
#[derive(Default)]
pub(super) struct Dropped {
    ackers: Mutex<Vec<Acker>>,
    more: Notify,
}

impl Dropped {
    fn add(&self, acker: Acker) {
        self.ackers.lock().unwrap_or_else(PoisonError::into_inner).push(acker);
        self.more.notify_one();
    }

    /// Waits for the next.
    pub async fn next(&self) -> Acker {
        loop {
            let next = self.ackers.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match next {
                Some(acker) => return acker,
                None => self.more.notified().await,
            }
        }
    }
}

/// The right to settle one delivery.
pub(super) struct Held {
    pub inner: Arc<Inner>,
    pub queue: String,
    pub read: Read,
    /// As they came, typed.
    pub properties: BasicProperties,
    /// None once it is settled.
    pub acker: Option<Acker>,
    pub dropped: Arc<Dropped>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(acker) = self.acker.take() {
            self.inner.unsettled(&self.queue, -1);
            self.dropped.add(acker);
        }
    }
}

/// Gives a delivery back to its queue.
pub(super) async fn give_back(acker: &Acker) {
    let given = acker.nack(BasicNackOptions { requeue: true, ..Default::default() });
    // Where it fails, the channel is gone, and the broker gives it back by itself.
    match tokio::time::timeout(WRITTEN, given).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a delivery could not be given back"),
        Err(_) => tracing::debug!("a delivery could not be given back in time"),
    }
}

impl Settle for Held {
    fn settle(mut self: Box<Self>, outcome: Outcome) -> BoxFuture<'static, Result<Settled, BrokerError>> {
        Box::pin(async move {
            match outcome {
                Outcome::Ack => {
                    self.acknowledge().await?;
                    Ok(Settled::Acked)
                }
                Outcome::Retry { delay, headers } => self.retry(delay, &headers).await,
                Outcome::DeadLetter { reason } => {
                    let number = self.read.number;
                    self.dead_letter(&reason, number).await
                }
            }
        })
    }
}

impl Held {
    fn lost(&self) -> BrokerError {
        BrokerError::LeaseLost(self.read.message.id.clone())
    }

    /// The message is gone from the queue.
    async fn acknowledge(&mut self) -> Result<(), BrokerError> {
        let Some(acker) = self.acker.take() else { return Err(self.lost()) };
        self.inner.unsettled(&self.queue, -1);
        match tokio::time::timeout(WRITTEN, acker.ack(BasicAckOptions::default())).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false) | Err(_)) | Err(_) => Err(self.lost()),
        }
    }

    /// To be asked before a copy is made: what belongs to a lost connection is delivered again anyway.
    fn still_ours(&self) -> Result<(), BrokerError> {
        let ours = self.acker.as_ref().is_some_and(Acker::usable);
        if ours { Ok(()) } else { Err(self.lost()) }
    }

    async fn retry(
        &mut self,
        delay: Duration,
        headers: &BTreeMap<String, String>,
    ) -> Result<Settled, BrokerError> {
        let limit = self.inner.topology.spec(&self.queue).map(|spec| spec.max_deliveries);
        if limit.is_some_and(|limit| self.read.number >= limit) {
            let number = self.read.number;
            return self.dead_letter(given_up::EXHAUSTED, number).await;
        }
        self.still_ours()?;
        let to = if delay.is_zero() {
            self.queue.clone()
        } else {
            let (wait, settled) = self.inner.wait_queue(&self.queue, delay).await?;
            tokio::time::sleep_until(settled).await;
            wait
        };
        self.copy_to(&to, headers, self.read.number).await?;
        self.acknowledge().await?;
        Ok(Settled::Retried { queue: self.queue.clone() })
    }

    /// To the queue's dead letters after that many deliveries; without such a queue the message is gone.
    pub async fn dead_letter(&mut self, reason: &str, deliveries: u32) -> Result<Settled, BrokerError> {
        self.still_ours()?;
        let queue = self.inner.topology.spec(&self.queue).and_then(|spec| spec.dead_letter_queue);
        if let Some(to) = &queue {
            let mut headers = self.read.message.headers.clone();
            given_up::note(&mut headers, reason, &self.queue, deliveries);
            self.copy_to(to, &headers, 0).await?;
        }
        self.acknowledge().await?;
        Ok(Settled::DeadLettered { queue })
    }

    /// Straight to a queue, which must be there.
    async fn copy_to(
        &self,
        queue: &str,
        headers: &BTreeMap<String, String>,
        deliveries: u32,
    ) -> Result<(), BrokerError> {
        let properties = || wire::write_copy(&self.read, &self.properties, headers, deliveries);
        let body = self.read.message.body.clone();
        let letter = Letter { exchange: "", routing_key: queue, properties: &properties, body };
        let sent = self.inner.sender.send(&letter, self.inner.patience).await;
        sent.map_err(|error| match error {
            BrokerError::Unroutable { .. } => BrokerError::NoQueue(queue.to_owned()),
            other => other,
        })
    }
}
