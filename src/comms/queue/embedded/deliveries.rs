//! One consumer's deliveries: claiming the next message, renewing the leases at hand, waiting when there is
//! nothing to do.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, Sqlite, Transaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;

use super::settle::{self, Lease};
use super::{Inner, columns, now_ms, span_ms, unavailable};
use crate::comms::correlation::CorrelationId;
use crate::comms::names;
use crate::comms::queue::broker::{BrokerError, Deliveries, Delivery};
use crate::comms::queue::given_up::UNSETTLED;

/// Even when nothing is noticed, consumers look this often: a clock that jumped must not hold up messages.
const LOOK_AT_LEAST: Duration = Duration::from_secs(1);

/// The leases that a consumer has at hand, each with the `seq` of its message.
pub(super) type AtHand = Arc<Mutex<HashMap<String, i64>>>;

pub(super) struct EmbeddedDeliveries {
    inner: Arc<Inner>,
    queue: String,
    slots: Arc<Semaphore>,
    at_hand: AtHand,
    changes: watch::Receiver<u64>,
    renewal: JoinHandle<()>,
}

impl Drop for EmbeddedDeliveries {
    fn drop(&mut self) {
        self.renewal.abort();
    }
}

pub(super) async fn open(
    inner: Arc<Inner>,
    queue: &str,
    prefetch: usize,
) -> Result<EmbeddedDeliveries, BrokerError> {
    let known = sqlx::query("SELECT 1 FROM queue WHERE name = ?").bind(queue);
    if known.fetch_optional(&inner.quick).await.map_err(unavailable)?.is_none() {
        return Err(BrokerError::NoQueue(queue.to_owned()));
    }
    let at_hand = AtHand::default();
    let renewal = tokio::spawn(renew(Arc::clone(&inner), Arc::clone(&at_hand)));
    let changes = inner.watch.subscribe();
    Ok(EmbeddedDeliveries {
        inner,
        queue: queue.to_owned(),
        slots: Arc::new(Semaphore::new(prefetch.max(1))),
        at_hand,
        changes,
        renewal,
    })
}

/// Keeps what is at hand from running out, three times per lease.
async fn renew(inner: Arc<Inner>, at_hand: AtHand) {
    let mut interval = tokio::time::interval(inner.lease / 3);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let held = at_hand.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if held.is_empty() {
            continue;
        }
        let renewed = sqlx::query(
            "UPDATE message SET due_ms = ? FROM json_each(?) AS held
             WHERE message.seq = held.value AND message.lease = held.key",
        )
        .bind(now_ms().saturating_add(span_ms(inner.lease)))
        .bind(serde_json::to_string(&held).unwrap_or_default())
        .execute(&inner.quick)
        .await;
        if let Err(error) = renewed {
            tracing::warn!(%error, "leases could not be renewed; messages may be delivered twice");
        }
    }
}

impl Deliveries for EmbeddedDeliveries {
    fn next(&mut self) -> BoxFuture<'_, Result<Delivery, BrokerError>> {
        Box::pin(async move {
            let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(unavailable)?;
            loop {
                // Before looking, so that a change made meanwhile is not missed.
                self.changes.borrow_and_update();
                let due = self.next_due().await?;
                let now = now_ms();
                if due.is_some_and(|due| due <= now) {
                    if let Some(row) = self.claim(now).await? {
                        return self.delivery(&row, slot);
                    }
                    continue;
                }
                let until_due = due.map_or(LOOK_AT_LEAST, |due| Duration::from_millis(due.abs_diff(now)));
                tokio::select! {
                    changed = self.changes.changed() => changed.map_err(unavailable)?,
                    () = tokio::time::sleep(until_due.min(LOOK_AT_LEAST)) => {}
                }
            }
        })
    }
}

impl EmbeddedDeliveries {
    /// When the queue's next message is due: a read, so idle consumers never take the write lock.
    async fn next_due(&self) -> Result<Option<i64>, BrokerError> {
        sqlx::query_scalar("SELECT min(due_ms) FROM message WHERE queue = ?")
            .bind(&self.queue)
            .fetch_one(&self.inner.quick)
            .await
            .map_err(unavailable)
    }

    /// Takes the lease on the oldest due message. What ran out of deliveries goes to the dead letters instead.
    async fn claim(&self, now: i64) -> Result<Option<SqliteRow>, BrokerError> {
        let mut tx = self.inner.quick.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)?;
        let buried = self.bury_exhausted(&mut tx, now).await?;
        let row = sqlx::query(
            "UPDATE message SET lease = ?, due_ms = ?, deliveries = deliveries + 1 WHERE seq = (
                 SELECT seq FROM message WHERE queue = ? AND due_ms <= ? ORDER BY seq LIMIT 1)
             RETURNING *",
        )
        .bind(uuid::Uuid::new_v4().to_string())
        .bind(now.saturating_add(span_ms(self.inner.lease)))
        .bind(&self.queue)
        .bind(now)
        .fetch_optional(&mut *tx)
        .await
        .map_err(unavailable)?;
        tx.commit().await.map_err(unavailable)?;
        for _ in 0..buried {
            self.inner.refused.count(&self.queue, "deliveries");
        }
        Ok(row)
    }

    /// How many there were.
    async fn bury_exhausted(&self, tx: &mut Transaction<'_, Sqlite>, now: i64) -> Result<usize, BrokerError> {
        let exhausted: Vec<i64> = sqlx::query_scalar(
            "SELECT m.seq FROM message m JOIN queue q ON q.name = m.queue
             WHERE m.queue = ? AND m.due_ms <= ? AND m.deliveries >= q.max_deliveries",
        )
        .bind(&self.queue)
        .bind(now)
        .fetch_all(&mut **tx)
        .await
        .map_err(unavailable)?;
        for seq in &exhausted {
            let buried = settle::dead_letter(tx, *seq, UNSETTLED).await?;
            tracing::error!(queue = %self.queue, seq, to = ?buried, "message gave no result too often");
        }
        Ok(exhausted.len())
    }

    fn delivery(&self, row: &SqliteRow, slot: OwnedSemaphorePermit) -> Result<Delivery, BrokerError> {
        let seq: i64 = row.get("seq");
        let number: u32 = row.get("deliveries");
        let token: String = row.get("lease");
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone(), seq);
        let lease = Lease {
            inner: Arc::clone(&self.inner),
            at_hand: Arc::clone(&self.at_hand),
            token,
            seq,
            message_id: row.get("message_id"),
            _slot: slot,
        };
        let correlation_id: String = row.get("correlation_id");
        // Another program may have written to the file.
        let (correlation_id, refused) = CorrelationId::accept(Some(&correlation_id), &self.queue);
        let mut message = columns::read(row, correlation_id).map_err(unavailable)?;
        message.headers.extend(
            refused.map(|id| (names::HEADER_REFUSED_CORRELATION_ID.to_owned(), id.as_str().to_owned())),
        );
        Ok(Delivery {
            message,
            exchange: row.get("exchange"),
            routing_key: row.get("routing_key"),
            queue: self.queue.clone(),
            number,
            settle: Box::new(lease),
        })
    }
}
