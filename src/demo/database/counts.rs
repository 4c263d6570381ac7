//! How often each type of message came. One that is delivered twice counts once.

use std::collections::BTreeMap;

use sqlx::Row as _;
use sqlx::sqlite::SqlitePool;

use super::{REMEMBERED, failure, open};
use crate::comms::queue::{Failure, Received, inbox};
use crate::config::demo::ServiceSettings;

const SCHEMA: &str = "\
CREATE TABLE IF NOT EXISTS counts (
    kind     TEXT    NOT NULL PRIMARY KEY,
    messages INTEGER NOT NULL
) STRICT, WITHOUT ROWID;";

/// The counts, by type of message; cheap to clone.
#[derive(Clone)]
pub struct Counts {
    pool: SqlitePool,
}

impl Counts {
    /// # Errors
    /// The database cannot be opened or written.
    pub async fn open(settings: &ServiceSettings) -> anyhow::Result<Self> {
        let pool = open(settings).await?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await?;
        inbox::prepare(&pool).await?;
        inbox::forget(&pool, REMEMBERED).await?;
        Ok(Self { pool })
    }

    /// All of them.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn all(&self) -> anyhow::Result<BTreeMap<String, u64>> {
        let rows = sqlx::query("SELECT kind, messages FROM counts").fetch_all(&self.pool).await?;
        let count = |messages: i64| u64::try_from(messages).unwrap_or_default();
        Ok(rows.iter().map(|row| (row.get("kind"), count(row.get("messages")))).collect())
    }

    /// Counts a message, once.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn count(&self, received: &Received) -> Result<(), Failure> {
        let write = async {
            let mut tx = self.pool.begin_with("BEGIN IMMEDIATE").await?;
            if inbox::is_first(&mut tx, &received.queue, &received.message.id).await? {
                sqlx::query(
                    "INSERT INTO counts (kind, messages) VALUES (?, 1)
                     ON CONFLICT (kind) DO UPDATE SET messages = messages + 1",
                )
                .bind(&received.message.kind)
                .execute(&mut *tx)
                .await?;
            }
            tx.commit().await
        };
        write.await.map_err(failure)
    }
}
