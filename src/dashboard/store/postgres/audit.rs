//! The audit's rows: written, ended, read, removed.

use sqlx::{PgConnection, QueryBuilder};

use super::super::audit_rows;
use crate::dashboard::model::Nanos;
use crate::dashboard::model::audit::{AuditFilter, Audited, Ending, Intent};

pub(super) async fn begin(connection: &mut PgConnection, intent: &Intent) -> Result<u64, sqlx::Error> {
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO throughline.audit (at, action, role, who, session, broker, vhost, queue, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id",
    )
    .bind(intent.at as i64)
    .bind(intent.action.name())
    .bind(&intent.role)
    .bind(&intent.who)
    .bind(&intent.session)
    .bind(&intent.broker)
    .bind(&intent.virtual_host)
    .bind(&intent.queue)
    .bind(&intent.detail)
    .fetch_one(connection)
    .await?;
    Ok(id as u64)
}

pub(super) async fn end(connection: &mut PgConnection, id: u64, ending: &Ending) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE throughline.audit SET ended = $1, done = $2, messages = $3, outcome = $4 WHERE id = $5",
    )
    .bind(ending.at as i64)
    .bind(ending.is_done)
    .bind(ending.messages as i64)
    .bind(&ending.outcome)
    .bind(id as i64)
    .execute(connection)
    .await
    .map(drop)
}

pub(super) async fn list(
    connection: &mut PgConnection,
    filter: &AuditFilter,
) -> Result<Vec<Audited>, sqlx::Error> {
    let mut query = QueryBuilder::<sqlx::Postgres>::new(format!(
        "SELECT {} FROM throughline.audit WHERE true",
        audit_rows::COLUMNS
    ));
    audit_rows::choose(&mut query, filter, "strpos");
    let rows = query.build().fetch_all(connection).await?;
    rows.iter().map(audit_rows::read).collect()
}

pub(super) async fn prune(connection: &mut PgConnection, before: Nanos) -> Result<u64, sqlx::Error> {
    let gone = sqlx::query("DELETE FROM throughline.audit WHERE at < $1").bind(before as i64);
    gone.execute(connection).await.map(|done| done.rows_affected())
}

/// Writes rows under their numbers.
pub(super) async fn insert(connection: &mut PgConnection, rows: &[Audited]) -> Result<(), sqlx::Error> {
    for row in rows {
        let (intent, ending) = (&row.intent, row.ending.as_ref());
        sqlx::query(
            "INSERT INTO throughline.audit
                 (id, at, action, role, who, session, broker, vhost, queue, detail, ended, done, messages, outcome)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind(row.id as i64)
        .bind(intent.at as i64)
        .bind(intent.action.name())
        .bind(&intent.role)
        .bind(&intent.who)
        .bind(&intent.session)
        .bind(&intent.broker)
        .bind(&intent.virtual_host)
        .bind(&intent.queue)
        .bind(&intent.detail)
        .bind(ending.map(|ending| ending.at as i64))
        .bind(ending.map(|ending| ending.is_done))
        .bind(ending.map(|ending| ending.messages as i64))
        .bind(ending.map(|ending| &ending.outcome))
        .execute(&mut *connection)
        .await?;
    }
    // The next row's number follows.
    sqlx::query(
        "SELECT setval(pg_get_serial_sequence('throughline.audit', 'id'), greatest(max(id), 1)) FROM throughline.audit",
    )
    .execute(connection)
    .await
    .map(drop)
}
