//! The toolkit's own broker: a SQLite file that its services share, as `migrations/broker` lays it out.
//!
//! A message is copied and taken away in one transaction, so that none is lost and none is there twice. A look changes nothing.

mod route;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Row};

use super::letter::Letter;
use super::order::{Copy, Nature};
use super::{Hands, Look, Move, Moved, Place, Source, Taken, Trouble};
use crate::dashboard::model::now;

/// How long a lock of a service is waited for.
const BUSY: Duration = Duration::from_secs(5);
/// Messages that one statement of a purge removes.
const PURGE_STEP: i64 = 1_000;
const COLUMNS: &str = "seq, exchange, routing_key, message_id, type, version, time_ms, correlation_id, causation_id, content_type, headers, body, deliveries";

/// The file.
pub struct Embedded {
    name: String,
    path: PathBuf,
}

impl Embedded {
    pub(super) fn new(name: String, path: PathBuf) -> Self {
        Self { name, path }
    }

    async fn connect(&self) -> Result<SqliteConnection, Trouble> {
        let at = self.path.display();
        if !self.path.exists() {
            return Err(Trouble::Away(format!(
                "there is no file {at} (--embedded-broker) yet: start the services first"
            )));
        }
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .foreign_keys(true)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY)
            .disable_statement_logging();
        let connected = options.connect().await;
        connected
            .map_err(|error| Trouble::Away(format!("{at} (--embedded-broker) cannot be opened: {error}")))
    }

    /// Where the place is this broker's at all, and the queue is there.
    async fn queue(&self, place: &Place) -> Result<SqliteConnection, Trouble> {
        let mut connection = self.connect().await?;
        let found = sqlx::query("SELECT 1 FROM queue WHERE name = ?").bind(&place.queue);
        match found.fetch_optional(&mut connection).await.map_err(trouble)? {
            Some(_) => Ok(connection),
            None => Err(Trouble::NoQueue(place.queue.clone())),
        }
    }
}

fn trouble(error: sqlx::Error) -> Trouble {
    Trouble::Away(format!("the file of the embedded broker cannot be used: {error}"))
}

fn now_ms() -> i64 {
    (now() / 1_000_000) as i64
}

#[async_trait]
impl Hands for Embedded {
    fn broker(&self) -> &str {
        &self.name
    }

    fn looks_are_free(&self) -> bool {
        true
    }

    async fn peek(&self, place: &Place, _nature: &Nature, look: &Look) -> Result<Vec<Letter>, Trouble> {
        let mut connection = self.queue(place).await?;
        let statement =
            format!("SELECT {COLUMNS} FROM message WHERE queue = ? AND due_ms <= ? ORDER BY seq LIMIT ?");
        let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(&place.queue)
            .bind(now_ms())
            .bind(look.count as i64)
            .fetch_all(&mut connection)
            .await
            .map_err(trouble)?;
        rows.iter().map(|row| Ok(letter(row)?.cut(64 << 10))).collect()
    }

    async fn open(&self, place: &Place, _nature: &Nature) -> Result<Box<dyn Source>, Trouble> {
        let mut connection = self.queue(place).await?;
        let (ready, last): (i64, i64) = sqlx::query_as(
            "SELECT count(*), coalesce(max(seq), 0) FROM message WHERE queue = ? AND due_ms <= ?",
        )
        .bind(&place.queue)
        .bind(now_ms())
        .fetch_one(&mut connection)
        .await
        .map_err(trouble)?;
        let queue = place.queue.clone();
        Ok(Box::new(Taking { connection, queue, ready: ready.unsigned_abs(), last, after: 0 }))
    }

    async fn publish(&self, place: &Place, letter: &Letter, copy: &Copy) -> Result<(), Trouble> {
        let mut connection = self.queue(place).await?;
        let mut tx = connection.begin_with("BEGIN IMMEDIATE").await.map_err(trouble)?;
        let queues = route::queues(&mut tx, &copy.exchange, &copy.routing_key).await.map_err(trouble)?;
        let queues = queues.map_err(Trouble::Refused)?;
        let Some(seq) = found(&mut tx, &place.queue, letter).await? else {
            return Err(Trouble::Refused("the message is not in the queue any more".into()));
        };
        for queue in &queues {
            insert(&mut tx, seq, queue, copy).await.map_err(trouble)?;
        }
        tx.commit().await.map_err(trouble)
    }

    async fn purge(&self, place: &Place) -> Result<u64, Trouble> {
        let mut connection = self.queue(place).await?;
        let mut purged = 0;
        loop {
            let gone = sqlx::query(
                "DELETE FROM message WHERE seq IN (SELECT seq FROM message WHERE queue = ? AND due_ms <= ? LIMIT ?)",
            )
            .bind(&place.queue)
            .bind(now_ms())
            .bind(PURGE_STEP)
            .execute(&mut connection)
            .await
            .map_err(trouble)?;
            purged += gone.rows_affected();
            if gone.rows_affected() < PURGE_STEP as u64 {
                return Ok(purged);
            }
        }
    }
}

/// The row of a message that was looked at.
async fn found(
    connection: &mut SqliteConnection,
    queue: &str,
    wanted: &Letter,
) -> Result<Option<i64>, Trouble> {
    let statement = format!("SELECT {COLUMNS} FROM message WHERE queue = ? AND message_id = ? ORDER BY seq");
    let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
        .bind(queue)
        .bind(wanted.property("message_id"))
        .fetch_all(connection)
        .await
        .map_err(trouble)?;
    for row in &rows {
        if letter(row)?.mark == wanted.mark {
            return Ok(Some(row.get("seq")));
        }
    }
    Ok(None)
}

/// Reads a row; what is no text of headers is none.
fn letter(row: &SqliteRow) -> Result<Letter, Trouble> {
    let text = |column: &str| row.try_get::<String, _>(column).map_err(trouble);
    let headers: BTreeMap<String, Value> = serde_json::from_str(&text("headers")?).unwrap_or_default();
    let body = Bytes::from(row.try_get::<Vec<u8>, _>("body").map_err(trouble)?);
    let time: i64 = row.try_get("time_ms").map_err(trouble)?;
    let version: i64 = row.try_get("version").map_err(trouble)?;
    let deliveries: i64 = row.try_get("deliveries").map_err(trouble)?;
    let mut properties = vec![
        ("content_type", text("content_type")?),
        ("correlation_id", text("correlation_id")?),
        ("message_id", text("message_id")?),
        ("timestamp", (time / 1_000).to_string()),
        ("type", text("type")?),
        ("version", version.to_string()),
    ];
    let cause: Option<String> = row.try_get("causation_id").map_err(trouble)?;
    properties.extend(cause.map(|cause| ("causation_id", cause)));
    let size = body.len() as u64;
    let letter = Letter {
        altered: false,
        exchange: text("exchange")?,
        routing_key: text("routing_key")?,
        redelivered: deliveries > 0,
        properties,
        headers: headers.into_iter().collect(),
        body,
        size,
        mark: String::new(),
    };
    Ok(letter.marked())
}

/// Writes a copy of a message into a queue.
async fn insert(
    connection: &mut SqliteConnection,
    seq: i64,
    queue: &str,
    copy: &Copy,
) -> Result<(), sqlx::Error> {
    let headers: String = sqlx::query_scalar("SELECT headers FROM message WHERE seq = ?")
        .bind(seq)
        .fetch_one(&mut *connection)
        .await?;
    let mut headers: BTreeMap<String, Value> = serde_json::from_str(&headers).unwrap_or_default();
    headers.retain(|name, _| !copy.leaves_out(name));
    headers.extend(copy.sets().map(|(name, value)| (name.to_owned(), Value::String(value.to_owned()))));
    let headers = serde_json::to_string(&headers).map_err(|error| sqlx::Error::Encode(Box::new(error)))?;
    sqlx::query(
        "INSERT INTO message (queue, exchange, routing_key, message_id, type, version, time_ms, correlation_id,
             causation_id, content_type, headers, body)
         SELECT ?1, ?2, ?3, message_id, type, version, time_ms, correlation_id, causation_id, content_type, ?4,
             coalesce(?5, body) FROM message WHERE seq = ?6",
    )
    .bind(queue)
    .bind(&copy.exchange)
    .bind(&copy.routing_key)
    .bind(headers)
    .bind(copy.edit.body.as_deref())
    .bind(seq)
    .execute(connection)
    .await
    .map(drop)
}

/// A queue that is being taken from; nothing is held, since a message is looked at again when it is moved.
struct Taking {
    connection: SqliteConnection,
    queue: String,
    ready: u64,
    /// The last message that was ready, and the last that was looked at.
    last: i64,
    after: i64,
}

#[async_trait]
impl Source for Taking {
    fn ready(&self) -> u64 {
        self.ready
    }

    async fn next(&mut self, most: usize) -> Result<Vec<Taken>, Trouble> {
        let statement = format!(
            "SELECT {COLUMNS} FROM message WHERE queue = ? AND seq > ? AND seq <= ? AND due_ms <= ? ORDER BY seq LIMIT ?"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(&self.queue)
            .bind(self.after)
            .bind(self.last)
            .bind(now_ms())
            .bind(most as i64)
            .fetch_all(&mut self.connection)
            .await
            .map_err(trouble)?;
        let mut taken = Vec::with_capacity(rows.len());
        for row in &rows {
            self.after = row.get("seq");
            taken.push(Taken { token: self.after.unsigned_abs(), letter: letter(row)? });
        }
        Ok(taken)
    }

    async fn would(&mut self, copy: &Copy) -> Result<(), String> {
        match route::queues(&mut self.connection, &copy.exchange, &copy.routing_key).await {
            Ok(routed) => routed.map(drop),
            Err(error) => Err(trouble(error).to_string()),
        }
    }

    async fn send(&mut self, moves: Vec<Move>) -> Vec<Moved> {
        let count = moves.len();
        let queue = self.queue.clone();
        match move_all(&mut self.connection, &queue, moves).await {
            Ok(moved) => moved,
            // Undone as a whole: all of it is where it was.
            Err(error) => vec![Moved::Kept(trouble(error).to_string()); count],
        }
    }

    async fn finish(self: Box<Self>) -> Result<(), Trouble> {
        self.connection.close().await.map_err(trouble)
    }
}

/// Moves messages in one transaction.
async fn move_all(
    connection: &mut SqliteConnection,
    from: &str,
    moves: Vec<Move>,
) -> Result<Vec<Moved>, sqlx::Error> {
    let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
    let mut done = Vec::with_capacity(moves.len());
    for one in moves {
        let seq = one.token as i64;
        let free = sqlx::query("SELECT 1 FROM message WHERE seq = ? AND queue = ? AND due_ms <= ?");
        let free = free.bind(seq).bind(from).bind(now_ms()).fetch_optional(&mut *tx).await?;
        if free.is_none() {
            done.push(Moved::Kept("somebody else took it meanwhile".to_owned()));
            continue;
        }
        match route::queues(&mut tx, &one.copy.exchange, &one.copy.routing_key).await? {
            Err(why) => done.push(Moved::Kept(why)),
            Ok(queues) => {
                for queue in &queues {
                    insert(&mut tx, seq, queue, &one.copy).await?;
                }
                sqlx::query("DELETE FROM message WHERE seq = ?").bind(seq).execute(&mut *tx).await?;
                done.push(Moved::Sent);
            }
        }
    }
    tx.commit().await?;
    Ok(done)
}
