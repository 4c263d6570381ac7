//! What the bank has captured. A key that comes again captures nothing more.

use sqlx::Row as _;
use sqlx::sqlite::{SqlitePool, SqliteRow};

use super::open;
use crate::config::demo::ServiceSettings;
use crate::demo::api::BankRequest;

/// Captures beyond these are forgotten, oldest first, and their keys with them.
const KEPT: i64 = 20_000;

const SCHEMA: &str = "\
CREATE TABLE IF NOT EXISTS captures (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    -- What was answered.
    id       TEXT    NOT NULL,
    -- What names the request, where its sender gave it a name.
    key      TEXT    UNIQUE,
    order_id TEXT    NOT NULL,
    card     TEXT    NOT NULL,
    amount   INTEGER NOT NULL,
    currency TEXT    NOT NULL
) STRICT;";

/// The captures; cheap to clone.
#[derive(Clone)]
pub struct Captures {
    pool: SqlitePool,
}

/// A capture of a key that came before.
#[derive(Debug, PartialEq)]
pub enum Known {
    /// Of the same: its ID.
    Same(String),
    /// Of something else.
    Other,
}

impl Captures {
    /// # Errors
    /// The database cannot be opened or written.
    pub async fn open(settings: &ServiceSettings) -> anyhow::Result<Self> {
        let pool = open(settings).await?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await?;
        Ok(Self { pool })
    }

    /// What was captured under a key, if anything.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn find(&self, key: &str, request: &BankRequest) -> anyhow::Result<Option<Known>> {
        let select = sqlx::query("SELECT * FROM captures WHERE key = ?").bind(key);
        Ok(select.fetch_optional(&self.pool).await?.map(|row| compare(&row, request)))
    }

    /// Captures, unless it was done under that key before; gives what stands under it then.
    ///
    /// # Errors
    /// The database cannot be written; nothing is captured then.
    pub async fn capture(
        &self,
        id: &str,
        key: Option<&str>,
        request: &BankRequest,
    ) -> anyhow::Result<Option<Known>> {
        let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let captured = sqlx::query(
            "INSERT INTO captures (id, key, order_id, card, amount, currency) VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (key) DO NOTHING",
        )
        .bind(id)
        .bind(key)
        .bind(&request.order_id)
        .bind(&request.card)
        .bind(amount(request))
        .bind(&request.currency)
        .execute(&mut *tx)
        .await?;
        if captured.rows_affected() == 0 {
            let select = sqlx::query("SELECT * FROM captures WHERE key = ?").bind(key);
            return Ok(Some(compare(&select.fetch_one(&mut *tx).await?, request)));
        }
        sqlx::query("DELETE FROM captures WHERE seq <= (SELECT max(seq) FROM captures) - ?")
            .bind(KEPT)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(None)
    }
}

/// Which attempt it is makes no other request of it.
fn compare(row: &SqliteRow, request: &BankRequest) -> Known {
    let is_same = row.get::<&str, _>("order_id") == request.order_id
        && row.get::<&str, _>("card") == request.card
        && row.get::<i64, _>("amount") == amount(request)
        && row.get::<&str, _>("currency") == request.currency;
    if is_same { Known::Same(row.get("id")) } else { Known::Other }
}

fn amount(request: &BankRequest) -> i64 {
    i64::try_from(request.amount).unwrap_or(i64::MAX)
}
