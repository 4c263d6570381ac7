//! A tap on the embedded broker's file: a queue of our own in it, bounded like all queues there, that is bound to every
//! exchange and emptied a few times a second.
//!
//! What a consumer gives up moves within the file and passes no exchange; so queues of dead letters are looked at too.

use std::collections::HashSet;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Row as _, Sqlite, Transaction};
use tokio_util::sync::CancellationToken;

use super::exchanges::{Routes, Routing};
use super::sink::Sink;
use super::{QUEUE, TapSettings, Teller, WAITING};
use crate::comms::names;
use crate::dashboard::model::messages::{Message, Seen};
use crate::dashboard::model::{Value, now};

/// Between two looks, and after how many of them exchanges and dead letters are looked for.
const PACE: Duration = Duration::from_millis(100);
const LOOK_EVERY: u32 = 5;
/// Looks in a row that may find the file locked, each for as long as SQLite waits, before that is told.
const MOST_BUSY: u32 = 5;
/// Messages that are read at once.
const AT_ONCE: i64 = 500;
/// Dead letters that are known by their number.
const MOST_DEAD: i64 = 10_000;
const COLUMNS: &str = "m.seq, m.queue, m.exchange, m.routing_key, m.message_id, m.type, m.version, m.time_ms, \
     m.correlation_id, m.causation_id, m.content_type, m.headers, substr(m.body, 1, ?1) AS body, length(m.body) AS size";

/// Listens until `stop` or until the file cannot be read, and says why.
pub async fn session(
    url: &str,
    settings: &TapSettings,
    sink: &Sink,
    teller: &mut Teller,
    dead: &mut Dead,
    stop: &CancellationToken,
) -> String {
    let pool = match open(url).await {
        Ok(pool) => pool,
        Err(error) => return said(error),
    };
    let mut tap = FileTap { pool, routes: Routes::default(), dead, body: sink.body as i64 };
    let ended = tap.listen(settings, sink, teller, stop).await;
    if stop.is_cancelled() {
        // Who comes next makes it anew; where this fails it stays, and stays bounded.
        let _ = tap.leave().await;
    }
    tap.pool.close().await;
    ended.err().map_or_else(|| "it was asked to end".to_owned(), said)
}

fn said(error: sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) if error.code().as_deref() == Some("14") => {
            "there is no such file yet: the broker makes it when it starts".to_owned()
        }
        other => other.to_string(),
    }
}

async fn open(url: &str) -> Result<SqlitePool, sqlx::Error> {
    let options = SqliteConnectOptions::from_str(url)?
        .create_if_missing(false)
        .foreign_keys(true)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(Duration::from_secs(2));
    SqlitePoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .connect_with(options)
        .await
}

/// Dead letters that were seen, by their number; `None` before the first look, which tells of none: they are not new.
pub type Dead = Option<HashSet<i64>>;

/// What the looks at a file remember.
#[derive(Default)]
struct Round {
    looks: u32,
    /// SQLite's count of what others committed, as of the last look.
    version: Option<i64>,
    /// Whether something came since exchanges and dead letters were looked for.
    is_due: bool,
    /// Looks in a row that found the file locked.
    busy: u32,
}

/// SQLITE_BUSY in any of its forms.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i64>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

struct FileTap<'a> {
    pool: SqlitePool,
    routes: Routes,
    dead: &'a mut Dead,
    body: i64,
}

impl FileTap<'_> {
    async fn listen(
        &mut self,
        settings: &TapSettings,
        sink: &Sink,
        teller: &mut Teller,
        stop: &CancellationToken,
    ) -> Result<(), sqlx::Error> {
        let limit = i64::from(WAITING);
        sqlx::query(
            "INSERT INTO queue (name, max_deliveries, dead_letter_queue, max_length) VALUES (?, 1, NULL, ?)
             ON CONFLICT (name) DO UPDATE SET max_length = excluded.max_length",
        )
        .bind(QUEUE)
        .bind(limit)
        .execute(&self.pool)
        .await?;
        self.bind(settings, teller).await?;
        // What is dead already is no news; what dies from now on is.
        self.look_at_the_dead(sink, teller).await?;
        teller.listens();
        let mut round = Round::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(PACE) => {}
            }
            match self.look(settings, sink, teller, &mut round).await {
                Ok(()) => round.busy = 0,
                // Others write as well: what could not be taken now is there the next time.
                Err(error) if is_busy(&error) && round.busy < MOST_BUSY => round.busy += 1,
                Err(error) => return Err(error),
            }
        }
    }

    async fn look(
        &mut self,
        settings: &TapSettings,
        sink: &Sink,
        teller: &mut Teller,
        round: &mut Round,
    ) -> Result<(), sqlx::Error> {
        round.looks = round.looks.wrapping_add(1);
        let now: i64 = sqlx::query_scalar("PRAGMA data_version").fetch_one(&self.pool).await?;
        if round.version != Some(now) {
            self.drain(sink, teller).await?;
            (round.version, round.is_due) = (Some(now), true);
        }
        if round.is_due && round.looks.is_multiple_of(LOOK_EVERY) {
            self.bind(settings, teller).await?;
            self.look_at_the_dead(sink, teller).await?;
            round.is_due = false;
        }
        if round.looks.is_multiple_of(LOOK_EVERY * 2) {
            teller.tell();
        }
        Ok(())
    }

    /// Binds the queue to exchanges that are new, and reads where messages go.
    async fn bind(&mut self, settings: &TapSettings, teller: &mut Teller) -> Result<(), sqlx::Error> {
        let exchanges: Vec<String> =
            sqlx::query_scalar("SELECT name FROM exchange ORDER BY name").fetch_all(&self.pool).await?;
        let (wanted, others): (Vec<_>, Vec<_>) =
            exchanges.into_iter().partition(|exchange| settings.allows(exchange));
        let bound: HashSet<String> = sqlx::query_scalar("SELECT exchange FROM binding WHERE queue = ?")
            .bind(QUEUE)
            .fetch_all(&self.pool)
            .await?
            .into_iter()
            .collect();
        for exchange in wanted.iter().filter(|exchange| !bound.contains(*exchange)) {
            sqlx::query(
                "INSERT INTO binding (exchange, pattern, queue) VALUES (?, '#', ?) ON CONFLICT DO NOTHING",
            )
            .bind(exchange)
            .bind(QUEUE)
            .execute(&self.pool)
            .await?;
        }
        for exchange in others.iter().filter(|exchange| bound.contains(*exchange)) {
            sqlx::query("DELETE FROM binding WHERE exchange = ? AND queue = ?")
                .bind(exchange)
                .bind(QUEUE)
                .execute(&self.pool)
                .await?;
        }
        let mut routes = Routes::default();
        let rows = sqlx::query("SELECT exchange, pattern, queue FROM binding WHERE queue <> ?").bind(QUEUE);
        for row in rows.fetch_all(&self.pool).await? {
            let of = |column: &str| row.get::<String, _>(column);
            routes.add(&of("exchange"), Routing::Topic, &of("pattern"), &of("queue"));
        }
        self.routes = routes;
        teller.status.exchanges = wanted;
        teller.status.left_out =
            others.into_iter().map(|name| (name, "excluded by --tap-exclude".to_owned())).collect();
        Ok(())
    }

    /// Takes what waits in the tap's queue.
    async fn drain(&mut self, sink: &Sink, teller: &Teller) -> Result<(), sqlx::Error> {
        loop {
            let asked = format!("SELECT {COLUMNS} FROM message m WHERE m.queue = ?2 ORDER BY m.seq LIMIT ?3");
            let rows = sqlx::query(sqlx::AssertSqlSafe(asked))
                .bind(self.body)
                .bind(QUEUE)
                .bind(AT_ONCE)
                .fetch_all(&self.pool)
                .await?;
            let Some(last) = rows.last() else { return Ok(()) };
            let last: i64 = last.get("seq");
            sqlx::query("DELETE FROM message WHERE queue = ? AND seq <= ?")
                .bind(QUEUE)
                .bind(last)
                .execute(&self.pool)
                .await?;
            for row in &rows {
                let mut message = message(row, teller);
                message.queues = self.routes.of(&message.exchange, &message.routing_key);
                sink.take(message);
            }
            if rows.len() < AT_ONCE as usize {
                return Ok(());
            }
        }
    }

    /// Tells of messages that came to a queue of dead letters.
    async fn look_at_the_dead(&mut self, sink: &Sink, teller: &Teller) -> Result<(), sqlx::Error> {
        const IN_QUEUES: &str =
            "m.queue IN (SELECT dead_letter_queue FROM queue WHERE dead_letter_queue IS NOT NULL)";
        let asked = format!("SELECT m.seq FROM message m WHERE {IN_QUEUES} ORDER BY m.seq DESC LIMIT ?");
        let there: HashSet<i64> = sqlx::query_scalar(sqlx::AssertSqlSafe(asked))
            .bind(MOST_DEAD)
            .fetch_all(&self.pool)
            .await?
            .into_iter()
            .collect();
        let Some(known) = self.dead.replace(there.clone()) else { return Ok(()) };
        for seq in there.difference(&known) {
            let asked = format!("SELECT {COLUMNS} FROM message m WHERE m.seq = ?2 AND {IN_QUEUES}");
            let row = sqlx::query(sqlx::AssertSqlSafe(asked)).bind(self.body).bind(seq);
            if let Some(row) = row.fetch_optional(&self.pool).await? {
                let mut message = message(&row, teller);
                message.how = Seen::DeadLettered;
                message.queues = vec![row.get("queue")];
                sink.take(message);
            }
        }
        Ok(())
    }

    /// Takes the queue away.
    async fn leave(&self) -> Result<(), sqlx::Error> {
        let mut tx: Transaction<'_, Sqlite> = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        for statement in [
            "DELETE FROM binding WHERE queue = ?",
            "DELETE FROM message WHERE queue = ?",
            "DELETE FROM queue WHERE name = ?",
        ] {
            sqlx::query(statement).bind(QUEUE).execute(&mut *tx).await?;
        }
        tx.commit().await
    }
}

/// Reads a row; other programs may have written to the file.
fn message(row: &SqliteRow, teller: &Teller) -> Message {
    let text = |column: &str| row.get::<String, _>(column);
    let headers: serde_json::Value = serde_json::from_str(&text("headers")).unwrap_or_default();
    let entry = |(key, value): (&String, &serde_json::Value)| {
        (key.clone(), Value::Text(value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
    };
    let mut headers: Vec<_> = headers.as_object().into_iter().flatten().map(entry).collect();
    headers.extend(
        row.get::<Option<String>, _>("causation_id")
            .map(|cause| (names::HEADER_CAUSATION_ID.to_owned(), Value::Text(cause))),
    );
    headers.push((names::HEADER_VERSION.to_owned(), Value::Int(row.get("version"))));
    let mut message = Message {
        source: teller.status.source.clone(),
        seen: now(),
        exchange: text("exchange"),
        routing_key: text("routing_key"),
        id: text("message_id"),
        correlation_id: text("correlation_id"),
        kind: text("type"),
        properties: vec![
            ("content_type".to_owned(), Value::Text(text("content_type"))),
            ("timestamp".to_owned(), Value::Int(row.get::<i64, _>("time_ms") / 1_000)),
        ],
        headers,
        body: row.get("body"),
        size: row.get::<i64, _>("size").try_into().unwrap_or(0),
        ..Message::default()
    };
    message.note_context();
    if message.id.is_empty() {
        message.key = super::wire::key(&message);
    }
    message
}
