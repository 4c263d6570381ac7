//! A message as columns of a SQLite table: of the embedded broker's, and of an outbox.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Row as _, Sqlite};

use crate::comms::correlation::CorrelationId;
use crate::comms::queue::message::Message;

/// Milliseconds since 1970.
pub(in crate::comms::queue) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Binds `message_id, type, version, time_ms, correlation_id, causation_id, content_type, headers, body`, in this order;
/// `headers` is a JSON object of strings.
pub(in crate::comms::queue) fn bind<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    message: &'q Message,
    headers: String,
) -> Query<'q, Sqlite, SqliteArguments> {
    query
        .bind(&message.id)
        .bind(&message.kind)
        .bind(message.version)
        .bind(millis(message.time))
        .bind(message.correlation_id.as_str())
        .bind(&message.causation_id)
        .bind(&message.content_type)
        .bind(headers)
        .bind(message.body.as_ref())
}

/// Reads what [`bind`] bound, but for the correlation ID: what becomes of one that is none is up to who reads.
pub(in crate::comms::queue) fn read(
    row: &SqliteRow,
    correlation_id: CorrelationId,
) -> Result<Message, serde_json::Error> {
    let time_ms: i64 = row.get("time_ms");
    Ok(Message {
        id: row.get("message_id"),
        kind: row.get("type"),
        version: row.get("version"),
        time: UNIX_EPOCH + Duration::from_millis(time_ms.unsigned_abs()),
        correlation_id,
        causation_id: row.get("causation_id"),
        headers: serde_json::from_str(&row.get::<String, _>("headers"))?,
        content_type: row.get("content_type"),
        body: row.get::<Vec<u8>, _>("body").into(),
    })
}
