//! What the audit's table has in common in both databases: its columns, how a row is read, and how rows are chosen. Each
//! database writes its own statements around it.

use sqlx::{ColumnIndex, Database, Decode, Encode, QueryBuilder, Row, Type};

use crate::dashboard::model::audit::{Action, AuditFilter, Audited, Ending, Intent};

/// As [`read`] expects them.
pub const COLUMNS: &str =
    "id, at, action, role, who, session, broker, vhost, queue, detail, ended, done, messages, outcome";

/// Adds what the filter asks for, newest first, to a statement that ends in a condition. `position` is the database's
/// function that finds a text in another one.
pub fn choose<DB>(query: &mut QueryBuilder<DB>, filter: &AuditFilter, position: &str)
where
    DB: Database,
    i64: for<'q> Encode<'q, DB> + Type<DB>,
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
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
                .push(format!(" AND {position}(lower({column}), "))
                .push_bind(part.to_lowercase())
                .push(") > 0");
        }
    }
    if filter.only_trouble {
        query.push(" AND done IS NOT TRUE");
    }
    query.push(" ORDER BY id DESC LIMIT ").push_bind(filter.most as i64);
}

/// Reads a row of [`COLUMNS`].
pub fn read<'r, R>(row: &'r R) -> Result<Audited, sqlx::Error>
where
    R: Row,
    usize: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    bool: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
{
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
