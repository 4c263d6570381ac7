//! An inbox: a message that is delivered twice counts once.
//!
//! Every broker delivers at least once. The inbox is a table in the service's own database, written in the transaction of
//! the effect: the effect and the note that the message was handled are there together or not at all.
//!
//! ```no_run
//! # use throughline::comms::queue::{Failure, Received, inbox};
//! # async fn handle(pool: &sqlx::SqlitePool, received: Received) -> Result<(), sqlx::Error> {
//! let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
//! if inbox::is_first(&mut tx, &received.queue, &received.message.id).await? {
//!     // … the effect, in `tx`
//! }
//! tx.commit().await
//! # }
//! ```
//!
//! IDs are the sender's: two messages of one ID are one message. A handler that sends messages itself gives them IDs
//! that are the same each time ([`Message::once_per_cause`](super::Message::once_per_cause)) or takes an
//! [outbox](super::outbox).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::sqlite::{SqliteConnection, SqlitePool};

/// Makes the table where it is not there yet.
///
/// # Errors
/// The database cannot be written.
pub async fn prepare(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS inbox (
             -- Who handled it: several may share a database.
             consumer   TEXT    NOT NULL,
             message_id TEXT    NOT NULL,
             -- In milliseconds since 1970.
             handled_ms INTEGER NOT NULL,
             PRIMARY KEY (consumer, message_id)
         ) STRICT, WITHOUT ROWID;
         CREATE INDEX IF NOT EXISTS inbox_age ON inbox (handled_ms);",
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Notes that `consumer` handles a message; whether it is the first time. To be called in the transaction of the effect,
/// before it.
///
/// # Errors
/// The database cannot be written.
pub async fn is_first(
    transaction: &mut SqliteConnection,
    consumer: &str,
    message_id: &str,
) -> Result<bool, sqlx::Error> {
    let noted = sqlx::query(
        "INSERT INTO inbox (consumer, message_id, handled_ms) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
    )
    .bind(consumer)
    .bind(message_id)
    .bind(now_ms())
    .execute(transaction)
    .await?;
    let is_first = noted.rows_affected() == 1;
    if !is_first {
        tracing::info!(consumer, message_id, "the message was handled before; nothing is done");
    }
    Ok(is_first)
}

/// Forgets what was handled longer ago than `age`, and gives its number. The age must be longer than a message can be on
/// its way, retries and dead letters that are sent again included.
///
/// # Errors
/// The database cannot be written.
pub async fn forget(pool: &SqlitePool, age: Duration) -> Result<u64, sqlx::Error> {
    let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    let forgotten = sqlx::query("DELETE FROM inbox WHERE handled_ms < ?")
        .bind(now_ms().saturating_sub(age))
        .execute(pool)
        .await?;
    Ok(forgotten.rows_affected())
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
