//! How deliveries end: done, copied for another try, or copied to the dead letters.
//!
//! A copy is confirmed before the original counts as done. A crash between the two leaves both: a message may be
//! delivered twice, and is never lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Inner;
use super::ledger::{Ledger, Record};
use super::send::Letter;
use super::wire::{self, Copy, millis};
use crate::comms::queue::broker::{BrokerError, Outcome, Settle, Settled};
use crate::comms::queue::given_up::{self, EXHAUSTED, UNSETTLED};

/// Between two tries to give a delivery back.
const PAUSE: Duration = Duration::from_millis(200);

/// A delivery: the right to settle a record.
pub(super) struct Lease {
    pub inner: Arc<Inner>,
    pub queue: Arc<str>,
    pub ledger: Arc<Ledger>,
    pub record: Record,
    pub _slot: Option<OwnedSemaphorePermit>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.ledger.release(&self.record.ticket);
    }
}

/// A lease with a consumer. Dropped unsettled, the delivery is given back.
pub(super) struct Held {
    /// None once it is settled.
    pub lease: Option<Lease>,
    pub returns: mpsc::UnboundedSender<Lease>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take().filter(Lease::is_ours) {
            // Where nobody listens any more it is delivered again, since it is not settled.
            let _ = self.returns.send(lease);
        }
    }
}

impl Settle for Held {
    fn settle(mut self: Box<Self>, outcome: Outcome) -> BoxFuture<'static, Result<Settled, BrokerError>> {
        Box::pin(async move {
            let Some(lease) = self.lease.as_mut() else {
                return Err(BrokerError::LeaseLost(String::new()));
            };
            let settled = match outcome {
                Outcome::Ack => lease.done().map(|()| Settled::Acked),
                Outcome::Retry { delay, headers } => lease.retry(delay, &headers).await,
                Outcome::DeadLetter { reason } => {
                    let number = lease.record.read.number;
                    lease.dead_letter(&reason, number).await
                }
            }?;
            self.lease = None;
            Ok(settled)
        })
    }
}

impl Lease {
    fn lost(&self) -> BrokerError {
        BrokerError::LeaseLost(self.record.read.message.id.clone())
    }

    fn is_ours(&self) -> bool {
        self.ledger.is_ours(&self.record.ticket)
    }

    /// Kafka is told of it within a tenth of a second.
    fn done(&self) -> Result<(), BrokerError> {
        if self.ledger.settle(&self.record.ticket) { Ok(()) } else { Err(self.lost()) }
    }

    async fn retry(
        &self,
        delay: Duration,
        headers: &BTreeMap<String, String>,
    ) -> Result<Settled, BrokerError> {
        let number = self.record.read.number;
        if number >= self.inner.max_deliveries(&self.queue) {
            return self.dead_letter(EXHAUSTED, number).await;
        }
        let delay = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        let not_before = if delay == 0 { 0 } else { wire::now().saturating_add(delay) };
        self.copy_to(&self.queue, &Copy { headers, deliveries: number, not_before }).await?;
        self.done()?;
        Ok(Settled::Retried { queue: self.queue.as_ref().to_owned() })
    }

    /// To the queue's dead letters after that many deliveries; without such a queue the message is gone.
    pub async fn dead_letter(&self, reason: &str, deliveries: u32) -> Result<Settled, BrokerError> {
        let queue = self.inner.dead_letter_queue(&self.queue);
        if let Some(to) = &queue {
            let mut headers = self.record.read.message.headers.clone();
            given_up::note(&mut headers, reason, &self.queue, deliveries);
            self.inner.find_queue(to).await?;
            self.copy_to(to, &Copy { headers: &headers, deliveries: 0, not_before: 0 }).await?;
        }
        self.done()?;
        Ok(Settled::DeadLettered { queue })
    }

    /// To a queue's own topic.
    async fn copy_to(&self, queue: &str, copy: &Copy<'_>) -> Result<(), BrokerError> {
        if !self.is_ours() {
            return Err(self.lost());
        }
        let message = &self.record.read.message;
        let letter = Letter {
            topic: &self.inner.named(queue),
            key: message.correlation_id.as_str(),
            timestamp: millis(SystemTime::now()),
            headers: wire::write_copy(&self.record.read, copy),
            body: &message.body,
        };
        self.inner.sender.send(letter).await.map(drop)
    }

    /// Ends a delivery that was dropped unsettled: another one, or too many.
    async fn give_back(&self) -> Result<(), BrokerError> {
        let (number, headers) = (self.record.read.number, &self.record.read.message.headers);
        if number >= self.inner.max_deliveries(&self.queue) {
            let settled = self.dead_letter(UNSETTLED, number).await?;
            self.inner.refused.count(&self.queue, "deliveries");
            tracing::error!(queue = %self.queue, reason = UNSETTLED, ?settled, "message given up");
            return Ok(());
        }
        self.copy_to(&self.queue, &Copy { headers, deliveries: number, not_before: 0 }).await?;
        self.done()
    }
}

/// Gives back what is dropped, until the sender is gone.
pub(super) async fn give_all_back(mut dropped: mpsc::UnboundedReceiver<Lease>) {
    while let Some(lease) = dropped.recv().await {
        while lease.is_ours() {
            match lease.give_back().await {
                Ok(()) => break,
                Err(error) => {
                    tracing::warn!(queue = %lease.queue, %error, "a delivery cannot be given back yet")
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
