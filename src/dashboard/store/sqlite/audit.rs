//! The audit's rows: written, ended, read, removed.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{QueryBuilder, Row};

use super::Sqlite;
use crate::dashboard::model::Nanos;
use crate::dashboard::model::audit::{Action, AuditFilter, Audited, Ending, Intent};

pub(super) const COLUMNS: &str =
    "id, at, action, role, who, session, broker, vhost, queue, detail, ended, done, messages, outcome";

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
        let mut query = QueryBuilder::<sqlx::Sqlite>::new(format!("SELECT {COLUMNS} FROM audit WHERE true"));
        if filter.from > 0 {
            query.push(" AND at >= ").push_bind(filter.from as i64);
        }
        if filter.to > 0 {
            query.push(" AND at < ").push_bind(filter.to as i64);
        }
        if let Some(before) = filter.before {
            query.push(" AND id < ").push_bind(before as i64);
        }
        for (column, wanted) in [
            ("action", filter.action.map(|action| action.name().to_owned())),
            ("broker", filter.broker.clone()),
            ("vhost", filter.virtual_host.clone()),
        ] {
            if let Some(wanted) = wanted {
                query.push(format!(" AND {column} = ")).push_bind(wanted);
            }
        }
        for (column, part) in [("who", &filter.who), ("queue", &filter.queue)] {
            if let Some(part) = part {
                query
                    .push(format!(" AND instr(lower({column}), "))
                    .push_bind(part.to_lowercase())
                    .push(") > 0");
            }
        }
        if filter.only_trouble {
            query.push(" AND (done IS NULL OR done = 0)");
        }
        query.push(" ORDER BY id DESC LIMIT ").push_bind(filter.most as i64);
        let rows = query.build().fetch_all(&mut *self.readers.one().await).await?;
        rows.iter().map(read).collect()
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

pub(super) fn read(row: &SqliteRow) -> Result<Audited, sqlx::Error> {
    let number = |column: usize| row.try_get::<i64, _>(column).map(|number| number as u64);
    let action: String = row.try_get(2)?;
    let action =
        Action::named(&action).ok_or_else(|| sqlx::Error::Decode(format!("action {action:?}").into()))?;
    let intent = Intent {
        at: number(1)?,
        action,
        role: row.try_get(3)?,
        who: row.try_get(4)?,
        session: row.try_get(5)?,
        broker: row.try_get(6)?,
        virtual_host: row.try_get(7)?,
        queue: row.try_get(8)?,
        detail: row.try_get(9)?,
    };
    let ending = match row.try_get::<Option<i64>, _>(10)? {
        None => None,
        Some(at) => Some(Ending {
            at: at as u64,
            is_done: row.try_get(11)?,
            messages: number(12)?,
            outcome: row.try_get(13)?,
        }),
    };
    Ok(Audited { id: number(0)?, intent, ending })
}
