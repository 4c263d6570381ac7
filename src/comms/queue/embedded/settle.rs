//! How deliveries end: acknowledged, retried after a delay, or among the dead letters.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::{Row as _, Sqlite, Transaction};
use tokio::sync::OwnedSemaphorePermit;

use super::deliveries::AtHand;
use super::{Inner, now_ms, publish, span_ms, unavailable};
use crate::comms::queue::broker::{BrokerError, Outcome, Settle, Settled};
use crate::comms::queue::given_up;

/// The right to settle one delivery. Dropped, it is no longer renewed and runs out.
pub(super) struct Lease {
    pub inner: Arc<Inner>,
    pub at_hand: AtHand,
    /// Names this delivery in the file.
    pub token: String,
    pub seq: i64,
    pub message_id: String,
    pub _slot: OwnedSemaphorePermit,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.at_hand.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.token);
    }
}

impl Settle for Lease {
    fn settle(self: Box<Self>, outcome: Outcome) -> BoxFuture<'static, Result<Settled, BrokerError>> {
        Box::pin(async move {
            let mut tx = self.inner.quick.begin_with("BEGIN IMMEDIATE").await.map_err(unavailable)?;
            let held = sqlx::query(
                "SELECT m.queue, m.deliveries >= q.max_deliveries AS exhausted
                 FROM message m JOIN queue q ON q.name = m.queue WHERE m.seq = ? AND m.lease = ?",
            )
            .bind(self.seq)
            .bind(&self.token)
            .fetch_optional(&mut *tx)
            .await
            .map_err(unavailable)?
            .ok_or_else(|| BrokerError::LeaseLost(self.message_id.clone()))?;
            let settled = match outcome {
                Outcome::Ack => acknowledge(&mut tx, self.seq).await?,
                Outcome::Retry { .. } if held.get("exhausted") => {
                    let queue = dead_letter(&mut tx, self.seq, given_up::EXHAUSTED).await?;
                    Settled::DeadLettered { queue }
                }
                Outcome::Retry { delay, headers } => {
                    delay_until(&mut tx, self.seq, delay, &headers).await?;
                    Settled::Retried { queue: held.get("queue") }
                }
                Outcome::DeadLetter { reason } => {
                    Settled::DeadLettered { queue: dead_letter(&mut tx, self.seq, &reason).await? }
                }
            };
            tx.commit().await.map_err(unavailable)?;
            Ok(settled)
        })
    }
}

async fn acknowledge(tx: &mut Transaction<'_, Sqlite>, seq: i64) -> Result<Settled, BrokerError> {
    let delete = sqlx::query("DELETE FROM message WHERE seq = ?").bind(seq);
    delete.execute(&mut **tx).await.map_err(unavailable)?;
    Ok(Settled::Acked)
}

async fn delay_until(
    tx: &mut Transaction<'_, Sqlite>,
    seq: i64,
    delay: Duration,
    headers: &BTreeMap<String, String>,
) -> Result<(), BrokerError> {
    sqlx::query("UPDATE message SET due_ms = ?, lease = NULL, headers = ? WHERE seq = ?")
        .bind(now_ms().saturating_add(span_ms(delay)))
        .bind(serde_json::to_string(headers).map_err(unavailable)?)
        .bind(seq)
        .execute(&mut **tx)
        .await
        .map_err(unavailable)?;
    Ok(())
}

/// Moves a message to its queue's dead letters and gives their queue's name; without one the message is gone.
pub(super) async fn dead_letter(
    tx: &mut Transaction<'_, Sqlite>,
    seq: i64,
    reason: &str,
) -> Result<Option<String>, BrokerError> {
    let row = sqlx::query(
        "SELECT m.queue, m.deliveries, m.headers, d.name AS dead_letter_queue
         FROM message m JOIN queue q ON q.name = m.queue LEFT JOIN queue d ON d.name = q.dead_letter_queue
         WHERE m.seq = ?",
    )
    .bind(seq)
    .fetch_one(&mut **tx)
    .await
    .map_err(unavailable)?;
    let Some(to) = row.get::<Option<String>, _>("dead_letter_queue") else {
        acknowledge(tx, seq).await?;
        return Ok(None);
    };
    let mut headers: BTreeMap<String, String> =
        serde_json::from_str(&row.get::<String, _>("headers")).map_err(unavailable)?;
    given_up::note(&mut headers, reason, row.get("queue"), row.get::<i64, _>("deliveries"));
    sqlx::query(
        "UPDATE message SET queue = ?, due_ms = 0, lease = NULL, deliveries = 0, headers = ? WHERE seq = ?",
    )
    .bind(&to)
    .bind(serde_json::to_string(&headers).map_err(unavailable)?)
    .bind(seq)
    .execute(&mut **tx)
    .await
    .map_err(unavailable)?;
    publish::make_room(tx, &to).await?;
    Ok(Some(to))
}
