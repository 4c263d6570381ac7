//! What is in stock. A message that comes twice changes it once.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqlitePool};

use super::{REMEMBERED, failure, open};
use crate::comms::queue::{Failure, Received, inbox};
use crate::config::demo::ServiceSettings;
use crate::demo::api::Item;

/// What is in stock, by SKU; cheap to clone.
#[derive(Clone)]
pub struct Stock {
    pool: SqlitePool,
}

/// Why items were not taken.
pub enum NotTaken {
    Unknown,
    OutOfStock { sku: String },
    Database(sqlx::Error),
}

impl From<sqlx::Error> for NotTaken {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl Stock {
    /// Opens the stock; what is not there yet comes in with the quantity given.
    ///
    /// # Errors
    /// The database cannot be opened or written.
    pub async fn open(
        settings: &ServiceSettings,
        first: impl Iterator<Item = (&'static str, u32)>,
    ) -> anyhow::Result<Self> {
        let pool = open(settings).await?;
        sqlx::raw_sql(
            "CREATE TABLE IF NOT EXISTS stock (
                 sku      TEXT    NOT NULL PRIMARY KEY,
                 in_stock INTEGER NOT NULL CHECK (in_stock >= 0)
             ) STRICT, WITHOUT ROWID;",
        )
        .execute(&pool)
        .await?;
        for (sku, quantity) in first {
            sqlx::query("INSERT INTO stock (sku, in_stock) VALUES (?, ?) ON CONFLICT DO NOTHING")
                .bind(sku)
                .bind(quantity)
                .execute(&pool)
                .await?;
        }
        inbox::prepare(&pool).await?;
        inbox::forget(&pool, REMEMBERED).await?;
        Ok(Self { pool })
    }

    /// Everything, by SKU.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn all(&self) -> anyhow::Result<BTreeMap<String, u32>> {
        let rows = sqlx::query("SELECT sku, in_stock FROM stock").fetch_all(&self.pool).await?;
        Ok(rows.iter().map(|row| (row.get("sku"), row.get("in_stock"))).collect())
    }

    /// Takes all items or none.
    ///
    /// # Errors
    /// There are not as many, or the database cannot be written.
    pub async fn take(&self, items: &[Item]) -> Result<(), NotTaken> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for item in items {
            let taken =
                sqlx::query("UPDATE stock SET in_stock = in_stock - ?1 WHERE sku = ?2 AND in_stock >= ?1")
                    .bind(item.quantity)
                    .bind(&item.sku)
                    .execute(&mut *tx)
                    .await?;
            if taken.rows_affected() == 1 {
                continue;
            }
            let there: Option<u32> = sqlx::query_scalar("SELECT in_stock FROM stock WHERE sku = ?")
                .bind(&item.sku)
                .fetch_optional(&mut *tx)
                .await?;
            let sku = item.sku.clone();
            return Err(there.map_or(NotTaken::Unknown, |_| NotTaken::OutOfStock { sku }));
        }
        Ok(tx.commit().await?)
    }

    /// Puts items back, once for a message.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn put_back(&self, received: &Received, items: &[Item]) -> Result<(), Failure> {
        let write = async {
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            if inbox::is_first(&mut tx, &received.queue, &received.message.id).await? {
                add(&mut tx, items).await?;
            }
            tx.commit().await
        };
        write.await.map_err(failure)
    }

    /// Puts items back that were taken for an order that is not to be.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn give_back(&self, items: &[Item]) -> anyhow::Result<()> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        add(&mut tx, items).await?;
        Ok(tx.commit().await?)
    }

    /// Fills up what runs low, once for a message, and gives what that was.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn restock(&self, received: &Received, low: u32, full: u32) -> Result<Vec<String>, Failure> {
        let write = async {
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            let mut filled = Vec::new();
            if inbox::is_first(&mut tx, &received.queue, &received.message.id).await? {
                filled = fill(&mut tx, low, full).await?;
            }
            tx.commit().await?;
            Ok(filled)
        };
        write.await.map_err(failure)
    }
}

async fn add(tx: &mut SqliteConnection, items: &[Item]) -> Result<(), sqlx::Error> {
    for item in items {
        sqlx::query("UPDATE stock SET in_stock = in_stock + ? WHERE sku = ?")
            .bind(item.quantity)
            .bind(&item.sku)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}

/// What is sold out for good has none and stays so.
async fn fill(tx: &mut SqliteConnection, low: u32, full: u32) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar("UPDATE stock SET in_stock = ? WHERE in_stock > 0 AND in_stock < ? RETURNING sku")
        .bind(full)
        .bind(low)
        .fetch_all(tx)
        .await
}
