//! The audit's rows: written, ended, read, removed.

use sqlx::QueryBuilder;
use sqlx::sqlite::SqliteConnection;

use super::super::audit_rows;
use super::Sqlite;
use crate::dashboard::model::Nanos;
use crate::dashboard::model::audit::{AuditFilter, Audited, Ending, Intent};

impl Sqlite {
    pub(super) async fn write_intent(&self, intent: Intent) -> Result<u64, sqlx::Error> {
        let mut writer = self.writer.lock().await;
        let row = Audited { id: 0, intent, ending: None };
        insert(&mut writer.connection, &row).await
    }

    pub(super) async fn write_ending(&self, id: u64, ending: Ending) -> Result<(), sqlx::Error> {
        let mut writer = self.writer.lock().await;
        sqlx::query("UPDATE audit SET ended = ?, done = ?, messages = ?, outcome = ? WHERE id = ?")
            .bind(ending.at as i64)
            .bind(ending.is_done)
            .bind(ending.messages as i64)
            .bind(ending.outcome)
            .bind(id as i64)
            .execute(&mut writer.connection)
            .await
            .map(drop)
    }

    pub(super) async fn read_audit(&self, filter: &AuditFilter) -> Result<Vec<Audited>, sqlx::Error> {
        let mut query = QueryBuilder::<sqlx::Sqlite>::new(format!(
            "SELECT {} FROM audit WHERE true",
            audit_rows::COLUMNS
        ));
        audit_rows::choose(&mut query, filter, "instr");
        let rows = query.build().fetch_all(&mut *self.readers.one().await).await?;
        rows.iter().map(audit_rows::read).collect()
    }

    pub(super) async fn delete_audit(&self, before: Nanos) -> Result<u64, sqlx::Error> {
        let mut writer = self.writer.lock().await;
        let gone = sqlx::query("DELETE FROM audit WHERE at < ?").bind(before as i64);
        gone.execute(&mut writer.connection).await.map(|done| done.rows_affected())
    }
}

/// Writes a row, under its number where it has one, and gives it.
pub(super) async fn insert(connection: &mut SqliteConnection, row: &Audited) -> Result<u64, sqlx::Error> {
    let (intent, ending) = (&row.intent, row.ending.as_ref());
    let done = sqlx::query(
        "INSERT INTO audit (id, at, action, role, who, session, broker, vhost, queue, detail, ended, done, messages, outcome)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind((row.id > 0).then_some(row.id as i64))
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
    .execute(connection)
    .await?;
    Ok(done.last_insert_rowid() as u64)
}
