//! An outbox: a change of state and the message that tells of it happen both or neither.
//!
//! The message goes into a table of the service's own database, in the transaction of the change. A [`Relay`] publishes
//! what is there, oldest first, and removes what the broker has confirmed. A crash between the two publishes it again
//! under the same ID; an [inbox](super::inbox) on the other side counts it once.
//!
//! ```no_run
//! # use throughline::comms::queue::{Message, outbox};
//! # async fn place(pool: &sqlx::SqlitePool, relay: &outbox::Waker, message: Message) -> Result<(), sqlx::Error> {
//! let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
//! // … the change, in `tx`
//! outbox::add(&mut tx, "orders", "order.placed", &message).await?;
//! tx.commit().await?;
//! relay.wake();
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::Context;
use opentelemetry::context::FutureExt as _;
use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::broker::BrokerError;
use super::embedded::columns::{self, millis};
use super::message::Message;
use super::publisher::Publisher;
use crate::comms::correlation::CorrelationId;
use crate::comms::propagation::{self, FromMap, IntoMap};
use crate::comms::retry::Backoff;

/// Messages read from the table at once.
const BATCH: i64 = 100;
/// Even when nobody wakes it, the relay looks this often: another process may have added something.
const LOOK: Duration = Duration::from_secs(1);
/// How long the end may take.
const LAST: Duration = Duration::from_secs(2);
/// What the broker refuses is tried again after this, and waits twice as long each time, for an hour at most.
const FIRST_WAIT_MS: i64 = 1_000;
const LONGEST_WAIT_MS: i64 = 60 * 60 * 1_000;

/// Makes the table where it is not there yet.
///
/// # Errors
/// The database cannot be written.
pub async fn prepare(pool: &SqlitePool) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS outbox (
             -- The order in which messages go out.
             seq            INTEGER PRIMARY KEY AUTOINCREMENT,
             exchange       TEXT    NOT NULL,
             routing_key    TEXT    NOT NULL,
             message_id     TEXT    NOT NULL UNIQUE,
             type           TEXT    NOT NULL,
             version        INTEGER NOT NULL,
             -- In milliseconds since 1970, as due_ms is.
             time_ms        INTEGER NOT NULL,
             correlation_id TEXT    NOT NULL,
             causation_id   TEXT,
             content_type   TEXT    NOT NULL,
             -- A JSON object of strings.
             headers        TEXT    NOT NULL,
             body           BLOB    NOT NULL,
             -- How often the broker refused it, why at last, and when to try again.
             refused        INTEGER NOT NULL DEFAULT 0,
             reason         TEXT,
             due_ms         INTEGER NOT NULL DEFAULT 0
         ) STRICT;",
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Adds a message to the transaction of the change that it tells of. It will be sent as part of the trace at hand. A
/// message of an ID that waits already is not added again.
///
/// # Errors
/// The database cannot be written.
pub async fn add(
    transaction: &mut SqliteConnection,
    exchange: &str,
    routing_key: &str,
    message: &Message,
) -> Result<(), sqlx::Error> {
    let mut headers = message.headers.clone();
    propagation::inject(&Context::current(), &message.correlation_id, &mut IntoMap(&mut headers));
    let headers = serde_json::to_string(&headers).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let insert = sqlx::query(
        "INSERT INTO outbox (exchange, routing_key, message_id, type, version, time_ms, correlation_id,
             causation_id, content_type, headers, body)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (message_id) DO NOTHING",
    )
    .bind(exchange)
    .bind(routing_key);
    columns::bind(insert, message, headers).execute(transaction).await?;
    Ok(())
}

/// How many messages wait in the table.
///
/// # Errors
/// The database cannot be read.
pub async fn waiting(pool: &SqlitePool) -> Result<u64, sqlx::Error> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM outbox").fetch_one(pool).await?;
    Ok(count.try_into().unwrap_or_default())
}

/// Tells a [`Relay`] that there is something to send; cheap to clone.
#[derive(Clone, Default)]
pub struct Waker(Arc<Notify>);

impl Waker {
    /// To be called after the commit. Without it the message leaves within a second.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

/// Sends what is in the table. One for a database: two would send the same.
pub struct Relay {
    pool: SqlitePool,
    publisher: Publisher,
    waker: Waker,
}

impl Relay {
    pub fn new(pool: SqlitePool, publisher: Publisher) -> Self {
        Self { pool, publisher, waker: Waker::default() }
    }

    /// What tells it that there is something to send.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Sends until `stop` is cancelled. An outage of the broker or the database is waited out; what the broker refuses
    /// stays, is told in the log, and is tried again later and later, while the others go on.
    pub async fn run(self, stop: CancellationToken) {
        let backoff =
            Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(2), retries: 5 };
        let mut waits = backoff.delays();
        loop {
            let sent = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                sent = self.send_due() => sent,
            };
            let pause = match sent {
                Ok(sent) => {
                    waits = backoff.delays();
                    if sent == BATCH as usize { Duration::ZERO } else { LOOK }
                }
                Err(error) => {
                    tracing::warn!(%error, "messages wait in the outbox");
                    waits.next().unwrap_or(backoff.longest)
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.waker.0.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        // What was added at the last moment; what does not leave now leaves after the next start.
        if !matches!(tokio::time::timeout(LAST, self.send_due()).await, Ok(Ok(_))) {
            tracing::warn!("messages wait in the outbox for the next start");
        }
    }

    /// Sends what is due, oldest first, and gives the number of messages that were looked at.
    ///
    /// # Errors
    /// The broker or the database is not available; what was not sent stays.
    pub async fn send_due(&self) -> Result<usize, BrokerError> {
        let rows = sqlx::query("SELECT * FROM outbox WHERE due_ms <= ? ORDER BY seq LIMIT ?")
            .bind(millis(SystemTime::now()))
            .bind(BATCH)
            .fetch_all(&self.pool)
            .await
            .map_err(unavailable)?;
        for row in &rows {
            self.send(row).await?;
        }
        Ok(rows.len())
    }

    async fn send(&self, row: &SqliteRow) -> Result<(), BrokerError> {
        let seq: i64 = row.get("seq");
        let (exchange, routing_key): (String, String) = (row.get("exchange"), row.get("routing_key"));
        let message = read(row)?;
        let context = propagation::extract(&FromMap(&message.headers)).context;
        let id = message.id.clone();
        let sent = self.publisher.publish(&exchange, &routing_key, message).with_context(context).await;
        let statement = match sent {
            Ok(()) => sqlx::query("DELETE FROM outbox WHERE seq = ?").bind(seq),
            Err(BrokerError::Unavailable(error)) => return Err(BrokerError::Unavailable(error)),
            Err(error) => {
                let refused: i64 = row.get("refused");
                let doublings = u32::try_from(refused.clamp(0, 20)).unwrap_or_default();
                let wait = FIRST_WAIT_MS.saturating_mul(1 << doublings).min(LONGEST_WAIT_MS);
                tracing::error!(message_id = id, routing_key, %error, wait_ms = wait, "the outbox keeps a message");
                sqlx::query("UPDATE outbox SET refused = refused + 1, reason = ?, due_ms = ? WHERE seq = ?")
                    .bind(error.to_string())
                    .bind(millis(SystemTime::now()).saturating_add(wait))
                    .bind(seq)
            }
        };
        statement.execute(&self.pool).await.map_err(unavailable)?;
        Ok(())
    }
}

fn read(row: &SqliteRow) -> Result<Message, BrokerError> {
    let correlation_id: String = row.get("correlation_id");
    let kind: String = row.get("type");
    let correlation_id = CorrelationId::accept_or_generate(Some(&correlation_id), &kind);
    columns::read(row, correlation_id).map_err(unavailable)
}

fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BrokerError {
    BrokerError::Unavailable(error.into())
}
