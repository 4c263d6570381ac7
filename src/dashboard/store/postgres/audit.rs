//! The audit's rows: written, ended, read, removed.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, QueryBuilder, Row};

use crate::dashboard::model::Nanos;
use crate::dashboard::model::audit::{Action, AuditFilter, Audited, Ending, Intent};

pub(super) const COLUMNS: &str =
    "id, at, action, role, who, session, broker, vhost, queue, detail, ended, done, messages, outcome";

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
    let mut query =
        QueryBuilder::<sqlx::Postgres>::new(format!("SELECT {COLUMNS} FROM throughline.audit WHERE true"));
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
            query.push(format!(" AND strpos(lower({column}), ")).push_bind(part.to_lowercase()).push(") > 0");
        }
    }
    if filter.only_trouble {
        query.push(" AND done IS NOT TRUE");
    }
    query.push(" ORDER BY id DESC LIMIT ").push_bind(filter.most as i64);
    let rows = query.build().fetch_all(connection).await?;
    rows.iter().map(read).collect()
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

pub(super) fn read(row: &PgRow) -> Result<Audited, sqlx::Error> {
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
