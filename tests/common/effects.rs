//! A service's own database: the effect of each message that it handles is a row, and counts once.
#![allow(dead_code)]

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous};
use throughline::comms::queue::{Failure, Received, inbox};

#[derive(Clone)]
pub struct Effects(SqlitePool);

impl Effects {
    /// A new one in a folder.
    pub async fn open(folder: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(folder.join("effects.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(30));
        let pool = SqlitePool::connect_with(options).await.expect("a database");
        inbox::prepare(&pool).await.expect("a table");
        sqlx::raw_sql("CREATE TABLE effect (n INTEGER NOT NULL)").execute(&pool).await.expect("a table");
        Self(pool)
    }

    /// Handles a message, which is a number.
    pub async fn of(&self, received: &Received) -> Result<(), Failure> {
        let kept = self.keep(received).await;
        kept.map_err(|error| Failure::transient("database", error.to_string()))
    }

    async fn keep(&self, received: &Received) -> Result<(), sqlx::Error> {
        let n: u32 = received.message.decode().expect("a number");
        let mut tx = self.0.begin_with("BEGIN IMMEDIATE").await?;
        if inbox::is_first(&mut tx, &received.queue, &received.message.id).await? {
            sqlx::query("INSERT INTO effect (n) VALUES (?)").bind(n).execute(&mut *tx).await?;
        }
        tx.commit().await
    }

    /// How many there are.
    pub async fn all(&self) -> i64 {
        self.count("SELECT count(*) FROM effect").await
    }

    /// Of how many different messages.
    pub async fn distinct(&self) -> i64 {
        self.count("SELECT count(DISTINCT n) FROM effect").await
    }

    async fn count(&self, what: &'static str) -> i64 {
        sqlx::query_scalar(what).fetch_one(&self.0).await.expect("a number")
    }
}
