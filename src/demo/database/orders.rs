//! The book of orders. A placed order and the message that tells of it are written in one transaction.

use sqlx::Row as _;
use sqlx::sqlite::SqlitePool;

use super::{REMEMBERED, failure, open};
use crate::comms::queue::outbox::{self, Relay, Waker};
use crate::comms::queue::{Failure, Message, Publisher, Received, inbox};
use crate::config::demo::ServiceSettings;
use crate::demo::api::{Order, OrderStatus};
use crate::demo::shop;

/// Orders beyond these are forgotten, oldest first.
const KEPT: i64 = 20_000;

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
        let pool = open(settings).await?;
        sqlx::raw_sql(
            "CREATE TABLE IF NOT EXISTS orders (
                 seq      INTEGER PRIMARY KEY AUTOINCREMENT,
                 id       TEXT    NOT NULL UNIQUE,
                 user_id  TEXT    NOT NULL,
                 -- A JSON string: the status as the shop writes it.
                 status   TEXT    NOT NULL,
                 amount   INTEGER NOT NULL,
                 currency TEXT    NOT NULL
             ) STRICT;",
        )
        .execute(&pool)
        .await?;
        outbox::prepare(&pool).await?;
        inbox::prepare(&pool).await?;
        inbox::forget(&pool, REMEMBERED).await?;
        let relay = Relay::new(pool.clone(), publisher);
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
        row.map(|row| {
            Ok(Order {
                id: row.get("id"),
                user_id: row.get("user_id"),
                status: serde_json::from_str(&row.get::<String, _>("status"))?,
                amount: u64::try_from(row.get::<i64, _>("amount"))?,
                currency: row.get("currency"),
            })
        })
        .transpose()
    }

    /// Writes what became of an order, once for a message. An order that was forgotten is left so.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn follow(&self, received: &Received, id: &str, status: OrderStatus) -> Result<(), Failure> {
        let status =
            serde_json::to_string(&status).map_err(|e| Failure::permanent("status", e.to_string()))?;
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
