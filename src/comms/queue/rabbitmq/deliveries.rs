//! One consumer's deliveries: subscribing, again after a loss, and refusing what nobody may get.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;

use super::refusal::{self, Refusal};
use super::settle::{Dropped, Held, give_back};
use super::topology::short;
use super::{Inner, wire};
use crate::comms::queue::broker::{BrokerError, Deliveries, Delivery};
use crate::comms::queue::given_up;

/// After a loss, so that it is noticed by the link before the next try.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) struct RabbitDeliveries {
    inner: Arc<Inner>,
    queue: String,
    prefetch: u16,
    /// None after a loss.
    current: Option<lapin::Consumer>,
    dropped: Arc<Dropped>,
}

/// Subscribes to a queue.
pub(super) async fn open(
    inner: Arc<Inner>,
    queue: &str,
    prefetch: usize,
) -> Result<RabbitDeliveries, BrokerError> {
    let prefetch = u16::try_from(prefetch).unwrap_or(u16::MAX).max(1);
    let patience = inner.patience;
    let mut deliveries =
        RabbitDeliveries { inner, queue: queue.to_owned(), prefetch, current: None, dropped: Arc::default() };
    match tokio::time::timeout(patience, deliveries.subscribe()).await {
        Ok(Ok(())) => Ok(deliveries),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(deliveries.inner.consuming.away()),
    }
}

impl Deliveries for RabbitDeliveries {
    fn next(&mut self) -> BoxFuture<'_, Result<Delivery, BrokerError>> {
        Box::pin(async move {
            loop {
                let Some(consumer) = &mut self.current else {
                    self.subscribe().await?;
                    continue;
                };
                let received = tokio::select! {
                    acker = self.dropped.next() => {
                        give_back(&acker).await;
                        continue;
                    }
                    received = consumer.next() => received,
                };
                match received {
                    Some(Ok(delivery)) => {
                        if let Some(delivery) = self.delivery(delivery).await {
                            return Ok(delivery);
                        }
                    }
                    lost => {
                        let why = lost.and_then(Result::err).map(|error| error.to_string());
                        tracing::warn!(queue = %self.queue, why, "the subscription was lost; subscribing again");
                        self.current = None;
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        })
    }
}

impl RabbitDeliveries {
    /// Waits for a connection and subscribes. A queue that is gone is declared again where it is known how.
    async fn subscribe(&mut self) -> Result<(), BrokerError> {
        let mut is_declared = false;
        loop {
            match self.try_to_subscribe().await {
                Ok(consumer) => {
                    self.current = Some(consumer);
                    return Ok(());
                }
                Err(Refusal::Lost(error)) => {
                    tracing::debug!(queue = %self.queue, %error, "cannot subscribe yet");
                    tokio::time::sleep(PAUSE).await;
                }
                Err(Refusal::Final(BrokerError::NoQueue(queue))) if !is_declared => {
                    is_declared = true;
                    let connection = self.inner.consuming.up().await?;
                    if !self.inner.topology.declare_queue_again(&connection, &queue).await? {
                        return Err(BrokerError::NoQueue(queue));
                    }
                    tracing::warn!(%queue, "the queue was gone and is declared again");
                }
                Err(Refusal::Final(error)) => return Err(error),
            }
        }
    }

    async fn try_to_subscribe(&self) -> Result<lapin::Consumer, Refusal> {
        let connection = self.inner.consuming.up().await?;
        let channel = connection.create_channel().await.map_err(Refusal::Lost)?;
        channel.basic_qos(self.prefetch, BasicQosOptions::default()).await.map_err(Refusal::Lost)?;
        channel
            // The broker chooses the tag. The consumer keeps its channel.
            .basic_consume(
                short(&self.queue),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await
            .map_err(|error| refusal::of(error, refusal::Asked::Queue(&self.queue)))
    }

    /// The delivery, if a handler may get it; otherwise it goes to the dead letters with the reason.
    async fn delivery(&self, mut received: lapin::message::Delivery) -> Option<Delivery> {
        let read = wire::read(&mut received, &self.queue);
        let (message, number) = (read.message.clone(), read.number);
        let (exchange, routing_key) = (read.exchange.clone(), read.routing_key.clone());
        self.inner.unsettled(&self.queue, 1);
        let mut held = Held {
            inner: Arc::clone(&self.inner),
            queue: self.queue.clone(),
            read,
            properties: received.properties,
            acker: Some(received.acker),
            dropped: Arc::clone(&self.dropped),
        };
        let limit = self.inner.topology.spec(&self.queue).map_or(u32::MAX, |spec| spec.max_deliveries);
        let Some((kind, reason)) = given_up::unfit(number, limit, message.body.len()) else {
            let queue = self.queue.clone();
            return Some(Delivery { message, exchange, routing_key, queue, number, settle: Box::new(held) });
        };
        self.inner.refused.count(&self.queue, kind);
        // This delivery has reached nobody.
        match held.dead_letter(&reason, number - 1).await {
            Ok(settled) => tracing::error!(queue = %self.queue, reason, ?settled, "message not handed out"),
            Err(error) => {
                tracing::warn!(queue = %self.queue, reason, %error, "message will be delivered again")
            }
        }
        None
    }
}
