//! One consumer's deliveries, as they are handed out. Who reads them from Kafka is in `reader.rs`.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use rdkafka::consumer::BaseConsumer;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Inner;
use super::client::{self, meaning};
use super::ledger::Ledger;
use super::reader::{Member, Reader};
use super::settle::{self, Held, Lease};
use super::wire::Read;
use crate::comms::queue::broker::{BrokerError, Deliveries, Delivery};
use crate::comms::queue::given_up;

/// A subscription, for the handle that it belongs to.
pub(super) struct Subscription {
    pub queue: Arc<str>,
    pub ledger: Arc<Ledger>,
    /// Nobody waits for what is at hand.
    pub abandon: CancellationToken,
    /// The thread is over.
    pub over: CancellationToken,
}

pub(super) struct KafkaDeliveries {
    inner: Arc<Inner>,
    subscription: Arc<Subscription>,
    slots: Arc<Semaphore>,
    returns: mpsc::UnboundedSender<Lease>,
    /// Ends when the last delivery is gone: one that is dropped after this is given back too.
    _giving_back: JoinHandle<()>,
}

impl Drop for KafkaDeliveries {
    fn drop(&mut self) {
        self.subscription.ledger.stop();
    }
}

/// Becomes a member of the group of a queue, which is known.
pub(super) fn open(
    inner: &Arc<Inner>,
    queue: &str,
    prefetch: usize,
) -> Result<(KafkaDeliveries, Arc<Subscription>), BrokerError> {
    let ledger = Arc::new(Ledger::default());
    let member = Member { ledger: Arc::clone(&ledger), handover: inner.settings.handover };
    let config = client::consumer(&inner.settings, &inner.named(queue));
    let consumer: BaseConsumer<Member> = config.create_with_context(member).map_err(meaning)?;
    let subscription = Arc::new(Subscription {
        queue: queue.into(),
        ledger,
        abandon: CancellationToken::new(),
        over: CancellationToken::new(),
    });
    let reader = Reader::new(Arc::clone(inner), Arc::clone(&subscription), consumer);
    let thread = std::thread::Builder::new().name("kafka-consumer".to_owned());
    thread.spawn(move || reader.run()).map_err(|error| BrokerError::Unavailable(error.into()))?;
    let (returns, dropped) = mpsc::unbounded_channel();
    let giving_back = tokio::spawn(settle::give_all_back(dropped));
    let slots = Arc::new(Semaphore::new(prefetch.clamp(1, Semaphore::MAX_PERMITS)));
    let deliveries = KafkaDeliveries {
        inner: Arc::clone(inner),
        subscription: Arc::clone(&subscription),
        slots,
        returns,
        _giving_back: giving_back,
    };
    Ok((deliveries, subscription))
}

impl Deliveries for KafkaDeliveries {
    fn next(&mut self) -> BoxFuture<'_, Result<Delivery, BrokerError>> {
        Box::pin(async move {
            let closed = || BrokerError::Unavailable("the connection is closed".into());
            loop {
                let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| closed())?;
                let ledger = &self.subscription.ledger;
                let record = loop {
                    if ledger.is_stopped() {
                        return Err(closed());
                    }
                    match ledger.hand_out() {
                        Some(record) => break record,
                        None => ledger.more.notified().await,
                    }
                };
                let lease = Lease {
                    inner: Arc::clone(&self.inner),
                    queue: Arc::clone(&self.subscription.queue),
                    ledger: Arc::clone(ledger),
                    record,
                    _slot: Some(slot),
                };
                if let Some(delivery) = self.delivery(lease).await {
                    return Ok(delivery);
                }
            }
        })
    }
}

impl KafkaDeliveries {
    /// The delivery, if a handler may get it; otherwise it goes to the dead letters with the reason.
    async fn delivery(&self, lease: Lease) -> Option<Delivery> {
        let (queue, returns) = (&self.subscription.queue, self.returns.clone());
        let Read { message, exchange, routing_key, number, .. } = lease.record.read.clone();
        let limit = self.inner.max_deliveries(queue);
        let Some((kind, reason)) = given_up::unfit(number, limit, message.body.len()) else {
            let queue = queue.as_ref().to_owned();
            let settle = Box::new(Held { lease: Some(lease), returns });
            return Some(Delivery { message, exchange, routing_key, queue, number, settle });
        };
        // Dropped meanwhile, it is given back.
        let mut held = Held { lease: Some(lease), returns };
        self.inner.refused.count(queue, kind);
        // This delivery has reached nobody.
        match held.lease.as_ref()?.dead_letter(&reason, number - 1).await {
            Ok(settled) => {
                held.lease = None;
                tracing::error!(%queue, reason, ?settled, "message not handed out");
            }
            Err(error) => tracing::warn!(%queue, reason, %error, "message will be delivered again"),
        }
        None
    }
}
