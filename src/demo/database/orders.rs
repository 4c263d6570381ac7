//! The book of orders. A placed order and the message that tells of it are written in one transaction.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::Row as _;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::{failure, open_with_outbox};
use crate::comms::correlation::{self, CorrelationId};
use crate::comms::queue::outbox::{self, Relay, Waker};
use crate::comms::queue::{Failure, Message, Publisher, Received, inbox};
use crate::config::demo::ServiceSettings;
use crate::demo::api::{Order, OrderStatus};
use crate::demo::messages::{PaymentFailed, ReleaseStock};
use crate::demo::shop::{self, keys};

/// Orders beyond these are forgotten, oldest first.
const KEPT: i64 = 20_000;

const SCHEMA: &str = "\
CREATE TABLE IF NOT EXISTS orders (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    id       TEXT    NOT NULL UNIQUE,
    user_id  TEXT    NOT NULL,
    -- A JSON string: the status as the shop writes it.
    status   TEXT    NOT NULL,
    amount   INTEGER NOT NULL,
    currency TEXT    NOT NULL
) STRICT;
-- Orders that are being cancelled, and those that were: a step is written together with the message that
-- asks for it, so that a crash leaves neither half done nor forgotten.
CREATE TABLE IF NOT EXISTS cancellation (
    order_id       TEXT    NOT NULL PRIMARY KEY,
    -- What is waited for: stock.released, or nothing any more: done.
    step           TEXT    NOT NULL,
    -- The payment that failed, as JSON.
    payment        TEXT    NOT NULL,
    -- The message that asked for the step, to be sent again where no answer comes.
    command_id     TEXT    NOT NULL,
    correlation_id TEXT    NOT NULL,
    -- In milliseconds since 1970: when it was asked for last.
    asked_ms       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;";

/// The orders and the outbox; cheap to clone.
#[derive(Clone)]
pub struct OrderBook {
    pool: SqlitePool,
    relay: Waker,
}

impl OrderBook {
    /// Opens the book, and gives the relay that sends what is in its outbox.
    ///
    /// # Errors
    /// The database cannot be opened or written.
    pub async fn open(settings: &ServiceSettings, publisher: Publisher) -> anyhow::Result<(Self, Relay)> {
        let (pool, relay) = open_with_outbox(settings, SCHEMA, publisher).await?;
        Ok((Self { pool, relay: relay.waker() }, relay))
    }

    /// Writes an order together with the message that it was placed; the message leaves after the commit.
    ///
    /// # Errors
    /// The database cannot be written; neither is there then.
    pub async fn place(&self, order: &Order, placed: &Message) -> anyhow::Result<()> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::query("INSERT INTO orders (id, user_id, status, amount, currency) VALUES (?, ?, ?, ?, ?)")
            .bind(&order.id)
            .bind(&order.user_id)
            .bind(serde_json::to_string(&order.status)?)
            .bind(i64::try_from(order.amount)?)
            .bind(&order.currency)
            .execute(&mut *tx)
            .await?;
        sqlx::query("DELETE FROM orders WHERE seq <= (SELECT max(seq) FROM orders) - ?")
            .bind(KEPT)
            .execute(&mut *tx)
            .await?;
        outbox::add(&mut tx, shop::EXCHANGE, &placed.kind, placed).await?;
        tx.commit().await?;
        self.relay.wake();
        Ok(())
    }

    /// # Errors
    /// The database cannot be read.
    pub async fn find(&self, id: &str) -> anyhow::Result<Option<Order>> {
        let row =
            sqlx::query("SELECT * FROM orders WHERE id = ?").bind(id).fetch_optional(&self.pool).await?;
        row.as_ref().map(read).transpose()
    }

    /// The newest orders, newest first.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn newest(&self, most: u32) -> anyhow::Result<Vec<Order>> {
        let rows =
            sqlx::query("SELECT * FROM orders ORDER BY seq DESC LIMIT ?").bind(most).fetch_all(&self.pool);
        rows.await?.iter().map(read).collect()
    }

    /// Begins to cancel an order whose payment failed, once for a message: its status, the step that is waited for, and the
    /// message that asks for it are written together.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn cancel(
        &self,
        received: &Received,
        failed: &PaymentFailed,
        release: &Message,
    ) -> Result<(), Failure> {
        let (status, failed_text) = (json(&OrderStatus::PaymentFailed)?, json(failed)?);
        let payment = &failed.payment;
        let write = async {
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            if inbox::is_first(&mut tx, &received.queue, &received.message.id).await? {
                let update = sqlx::query("UPDATE orders SET status = ? WHERE id = ?");
                update.bind(status).bind(&payment.order_id).execute(&mut *tx).await?;
                sqlx::query(
                    "INSERT INTO cancellation (order_id, step, payment, command_id, correlation_id, asked_ms)
                     VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                )
                .bind(&payment.order_id)
                .bind(keys::STOCK_RELEASED)
                .bind(failed_text)
                .bind(&release.id)
                .bind(release.correlation_id.as_str())
                .bind(now_ms())
                .execute(&mut *tx)
                .await?;
                outbox::add(&mut tx, shop::EXCHANGE, &release.kind, release).await?;
            }
            tx.commit().await
        };
        write.await.map_err(failure)?;
        self.relay.wake();
        Ok(())
    }

    /// Ends the cancellation of an order, once for a message, and gives the payment that failed; none where nobody waits
    /// for it. `told` makes the message that says so, which is written together with it.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn cancelled(
        &self,
        received: &Received,
        order_id: &str,
        told: impl FnOnce(&PaymentFailed) -> Result<Message, Failure>,
    ) -> Result<Option<PaymentFailed>, Failure> {
        let status = json(&OrderStatus::Cancelled)?;
        let write = async {
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            if !inbox::is_first(&mut tx, &received.queue, &received.message.id).await? {
                return Ok(None);
            }
            let ended = sqlx::query_scalar(
                "UPDATE cancellation SET step = 'done' WHERE order_id = ? AND step = ? RETURNING payment",
            );
            let ended: Option<String> =
                ended.bind(order_id).bind(keys::STOCK_RELEASED).fetch_optional(&mut *tx).await?;
            let payment: Option<PaymentFailed> = match ended {
                None => None,
                Some(text) => Some(serde_json::from_str(&text).map_err(|e| sqlx::Error::Decode(e.into()))?),
            };
            if let Some(payment) = &payment {
                let message =
                    told(payment).map_err(|failure| sqlx::Error::Encode(failure.reason().into()))?;
                let update = sqlx::query("UPDATE orders SET status = ? WHERE id = ?");
                update.bind(status).bind(order_id).execute(&mut *tx).await?;
                outbox::add(&mut tx, shop::EXCHANGE, &message.kind, &message).await?;
            }
            tx.commit().await?;
            Ok(payment)
        };
        let payment = write.await.map_err(failure)?;
        self.relay.wake();
        Ok(payment)
    }

    /// Asks again for the steps that nobody has answered for so long, under the same ID: who has done it does not do it
    /// twice. Gives how many.
    ///
    /// # Errors
    /// The database cannot be read or written.
    pub async fn ask_again(&self, after: Duration) -> anyhow::Result<usize> {
        let before = now_ms().saturating_sub(i64::try_from(after.as_millis())?);
        let rows = sqlx::query("SELECT * FROM cancellation WHERE step = ? AND asked_ms <= ? LIMIT 100")
            .bind(keys::STOCK_RELEASED)
            .bind(before)
            .fetch_all(&self.pool)
            .await?;
        for row in &rows {
            let PaymentFailed { payment, .. } = serde_json::from_str(&row.get::<String, _>("payment"))?;
            let release = ReleaseStock { order_id: payment.order_id.clone(), items: payment.items };
            let id = CorrelationId::parse(&row.get::<String, _>("correlation_id"));
            let id = id.unwrap_or_else(|| CorrelationId::generate("orders"));
            let message = Message {
                id: row.get("command_id"),
                ..correlation::scope(id, async { Message::json(keys::STOCK_RELEASE, 1, &release) }).await?
            };
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            let update = sqlx::query("UPDATE cancellation SET asked_ms = ? WHERE order_id = ?");
            update.bind(now_ms()).bind(&payment.order_id).execute(&mut *tx).await?;
            outbox::add(&mut tx, shop::EXCHANGE, keys::STOCK_RELEASE, &message).await?;
            tx.commit().await?;
        }
        if !rows.is_empty() {
            self.relay.wake();
        }
        Ok(rows.len())
    }

    /// Writes what became of an order, once for a message. An order that was forgotten is left so.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn follow(&self, received: &Received, id: &str, status: OrderStatus) -> Result<(), Failure> {
        let status = json(&status)?;
        let write = async {
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            if inbox::is_first(&mut tx, &received.queue, &received.message.id).await? {
                let update = sqlx::query("UPDATE orders SET status = ? WHERE id = ?").bind(status).bind(id);
                update.execute(&mut *tx).await?;
            }
            tx.commit().await
        };
        write.await.map_err(failure)
    }
}

fn read(row: &SqliteRow) -> anyhow::Result<Order> {
    Ok(Order {
        id: row.get("id"),
        user_id: row.get("user_id"),
        status: serde_json::from_str(&row.get::<String, _>("status"))?,
        amount: u64::try_from(row.get::<i64, _>("amount"))?,
        currency: row.get("currency"),
    })
}

fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(|error| Failure::permanent("unwritable", error.to_string()))
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
