//! The book of payments. What became of one and the message that tells of it are written in one transaction.

use sqlx::Row as _;
use sqlx::sqlite::SqlitePool;

use super::{failure, open_with_outbox};
use crate::comms::queue::outbox::{self, Relay, Waker};
use crate::comms::queue::{Failure, Message, Publisher, Received, inbox};
use crate::config::demo::ServiceSettings;
use crate::demo::messages::{Payment, Reason};
use crate::demo::shop;

/// Payments beyond these are forgotten, oldest first.
const KEPT: i64 = 20_000;

const SCHEMA: &str = "\
CREATE TABLE IF NOT EXISTS payments (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    order_id TEXT    NOT NULL UNIQUE,
    amount   INTEGER NOT NULL,
    currency TEXT    NOT NULL,
    -- Why it failed; null where it was captured.
    code     TEXT,
    reason   TEXT
) STRICT;";

/// The payments and the outbox; cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    pool: SqlitePool,
    relay: Waker,
}

impl Ledger {
    /// Opens the book, and gives the relay that sends what is in its outbox.
    ///
    /// # Errors
    /// The database cannot be opened or written.
    pub async fn open(settings: &ServiceSettings, publisher: Publisher) -> anyhow::Result<(Self, Relay)> {
        let (pool, relay) = open_with_outbox(settings, SCHEMA, publisher).await?;
        Ok((Self { pool, relay: relay.waker() }, relay))
    }

    /// What became of an order's payment: none yet, captured, or why not. To be asked before the bank is, so that a message
    /// that comes twice charges nobody twice.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn find(&self, order_id: &str) -> Result<Option<Result<(), Reason>>, Failure> {
        let select = sqlx::query("SELECT code, reason FROM payments WHERE order_id = ?").bind(order_id);
        let row = select.fetch_optional(&self.pool).await.map_err(failure)?;
        Ok(row.map(|row| match (row.get("code"), row.get("reason")) {
            (Some(code), Some(text)) => Err(Reason { code, text }),
            _ => Ok(()),
        }))
    }

    /// Writes what became of a payment together with the message that tells of it, once for the message that asked for
    /// it; the message leaves after the commit.
    ///
    /// # Errors
    /// The database cannot be written; neither is there then.
    pub async fn settle(
        &self,
        received: &Received,
        payment: &Payment,
        reason: Option<&Reason>,
        told: &Message,
    ) -> Result<(), Failure> {
        let write = async {
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            if inbox::is_first(&mut tx, &received.queue, &received.message.id).await? {
                sqlx::query(
                    "INSERT INTO payments (order_id, amount, currency, code, reason) VALUES (?, ?, ?, ?, ?)
                     ON CONFLICT (order_id) DO NOTHING",
                )
                .bind(&payment.order_id)
                .bind(i64::try_from(payment.amount).unwrap_or(i64::MAX))
                .bind(&payment.currency)
                .bind(reason.map(|reason| reason.code.as_str()))
                .bind(reason.map(|reason| reason.text.as_str()))
                .execute(&mut *tx)
                .await?;
                sqlx::query("DELETE FROM payments WHERE seq <= (SELECT max(seq) FROM payments) - ?")
                    .bind(KEPT)
                    .execute(&mut *tx)
                    .await?;
                outbox::add(&mut tx, shop::EXCHANGE, &told.kind, told).await?;
            }
            tx.commit().await
        };
        write.await.map_err(failure)?;
        self.relay.wake();
        Ok(())
    }
}
