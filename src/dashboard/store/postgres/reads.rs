//! What is read.

use std::collections::HashMap;

use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection, QueryBuilder, Row};

use super::super::StoreError;
use super::super::backend::{Head, Kept, Loaded, Part};
use super::super::run::RunMeta;

/// Everything that a start needs, at one moment: a run that is sealed meanwhile must not look like lost blocks.
pub(super) async fn all(connection: &mut PgConnection) -> Result<Loaded, sqlx::Error> {
    let mut tx = connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let mut loaded = Loaded { runs: runs(&mut tx, 0).await?, ..Loaded::default() };
    let counters: Vec<(String, i64)> =
        sqlx::query_as("SELECT name, value FROM throughline.counter").fetch_all(&mut *tx).await?;
    tx.rollback().await?;
    for (name, value) in counters {
        match name.as_str() {
            "next_block" => loaded.head.next_block = value as u64,
            "first_of_tail" => loaded.first_of_tail = value as u64,
            "version" => loaded.head.version = value as u64,
            _ => {}
        }
    }
    Ok(loaded)
}

/// How far the store has come, and whether this connection holds the keeper's lock; it takes it where it is free.
pub(super) async fn head(
    connection: &mut PgConnection,
    held: bool,
    lock: (i32, i32),
) -> Result<(Head, bool), sqlx::Error> {
    // A lock that is taken twice must be given back twice.
    let row = sqlx::query(
        "SELECT (SELECT value FROM throughline.counter WHERE name = 'next_block'),
                (SELECT value FROM throughline.counter WHERE name = 'version'),
                CASE WHEN $1 THEN true ELSE pg_try_advisory_lock($2, $3) END",
    )
    .bind(held)
    .bind(lock.0)
    .bind(lock.1)
    .fetch_one(connection)
    .await?;
    let head = Head { next_block: number(&row, 0)?, version: number(&row, 1)? };
    Ok((head, row.try_get(2)?))
}

pub(super) async fn runs(connection: &mut PgConnection, after: u64) -> Result<Vec<RunMeta>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT id, first_block, last_block, min_start, max_start, sealed, spans, logs, entries, rest
         FROM throughline.run WHERE id > $1 ORDER BY id",
    )
    .bind(after as i64)
    .fetch_all(connection)
    .await?;
    rows.iter().map(run).collect()
}

fn run(row: &PgRow) -> Result<RunMeta, sqlx::Error> {
    let meta = RunMeta {
        id: number(row, 0)?,
        first_block: number(row, 1)?,
        last_block: number(row, 2)?,
        min_start: number(row, 3)?,
        max_start: number(row, 4)?,
        sealed: number(row, 5)?,
        spans: number(row, 6)?,
        logs: number(row, 7)?,
        entries: row.try_get::<i32, _>(8)? as u32,
        ..RunMeta::default()
    };
    let rest: Vec<u8> = row.try_get(9)?;
    let id = meta.id;
    meta.with_rest(&rest).map_err(|error| {
        let why = match error {
            StoreError::Damaged(why) => why,
            other => other.to_string(),
        };
        sqlx::Error::Decode(format!("run {id}: {why}").into())
    })
}

fn number(row: &PgRow, column: usize) -> Result<u64, sqlx::Error> {
    row.try_get::<i64, _>(column).map(|value| value as u64)
}

pub(super) async fn kept(connection: &mut PgConnection) -> Result<HashMap<u64, Kept>, sqlx::Error> {
    let rows: Vec<(i64, i64, i64)> =
        sqlx::query_as("SELECT id, spans, logs FROM throughline.run").fetch_all(connection).await?;
    let kept = |(id, spans, logs)| (id as u64, Kept { spans: spans as u64, logs: logs as u64 });
    Ok(rows.into_iter().map(kept).collect())
}

pub(super) async fn block_ids(
    connection: &mut PgConnection,
    first: u64,
    last: u64,
) -> Result<Vec<u64>, sqlx::Error> {
    let statement = "SELECT id FROM throughline.block WHERE id BETWEEN $1 AND $2 ORDER BY id";
    let ids: Vec<i64> =
        sqlx::query_scalar(statement).bind(first as i64).bind(last as i64).fetch_all(connection).await?;
    Ok(ids.into_iter().map(|id| id as u64).collect())
}

pub(super) async fn block(connection: &mut PgConnection, id: u64) -> Result<Option<Vec<u8>>, sqlx::Error> {
    sqlx::query_scalar("SELECT data FROM throughline.block WHERE id = $1")
        .bind(id as i64)
        .fetch_optional(connection)
        .await
}

pub(super) async fn blocks(
    connection: &mut PgConnection,
    first: u64,
    last: u64,
) -> Result<Vec<(u64, Vec<u8>)>, sqlx::Error> {
    // What was packed anew is there twice for a while.
    let statement = "SELECT id, data FROM throughline.block WHERE id BETWEEN $1 AND $2
                     AND NOT EXISTS (SELECT FROM throughline.replaced WHERE replaced.id = block.id) ORDER BY id";
    let rows = sqlx::query(statement).bind(first as i64).bind(last as i64).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((number(row, 0)?, row.try_get(1)?))).collect()
}

pub(super) async fn pages(
    connection: &mut PgConnection,
    run: u64,
    first: u32,
    last: u32,
) -> Result<Vec<Vec<u8>>, sqlx::Error> {
    let statement = "SELECT data FROM throughline.run_page
                     WHERE run = $1 AND number BETWEEN $2 AND $3 ORDER BY number";
    sqlx::query_scalar(statement)
        .bind(run as i64)
        .bind(first as i32)
        .bind(last as i32)
        .fetch_all(connection)
        .await
}

/// Pages or chunks out of their table, by run and number.
pub(super) async fn parts(
    connection: &mut PgConnection,
    table: &'static str,
    places: Vec<(u64, u32)>,
) -> Result<Vec<Part>, sqlx::Error> {
    let (runs, numbers): (Vec<i64>, Vec<i32>) =
        places.into_iter().map(|(run, number)| (run as i64, number as i32)).unzip();
    let mut statement = QueryBuilder::<sqlx::Postgres>::new("SELECT run, number, data FROM throughline.");
    statement.push(table).push(" JOIN unnest(").push_bind(runs).push(", ").push_bind(numbers);
    statement.push(") AS wanted (run, number) USING (run, number)");
    let rows = statement.build().fetch_all(connection).await?;
    rows.iter()
        .map(|row| Ok(((number(row, 0)?, row.try_get::<i32, _>(1)? as u32), row.try_get(2)?)))
        .collect()
}

pub(super) async fn blocks_at(
    connection: &mut PgConnection,
    ids: Vec<i64>,
) -> Result<Vec<(u64, Vec<u8>)>, sqlx::Error> {
    let rows = sqlx::query("SELECT id, data FROM throughline.block WHERE id = ANY($1)")
        .bind(ids)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((number(row, 0)?, row.try_get(1)?))).collect()
}

pub(super) async fn chunks(
    connection: &mut PgConnection,
    run: u64,
    first: u32,
    last: u32,
) -> Result<Vec<(u32, Vec<u8>)>, sqlx::Error> {
    let statement = "SELECT number, data FROM throughline.run_chunk
                     WHERE run = $1 AND number BETWEEN $2 AND $3 ORDER BY number";
    let rows = sqlx::query(statement)
        .bind(run as i64)
        .bind(first as i32)
        .bind(last as i32)
        .fetch_all(connection)
        .await?;
    rows.iter().map(|row| Ok((row.try_get::<i32, _>(0)? as u32, row.try_get(1)?))).collect()
}

/// Bytes of some blocks. Those that were packed anew are no run's any more.
pub(super) async fn bytes_of(connection: &mut PgConnection, ids: Vec<i64>) -> Result<u64, sqlx::Error> {
    let bytes: i64 = sqlx::query_scalar(
        "SELECT coalesce(sum(octet_length(data)), 0)::bigint FROM throughline.block WHERE id = ANY($1)",
    )
    .bind(ids)
    .fetch_one(connection)
    .await?;
    Ok(bytes as u64)
}

/// Bytes of what is kept. The files are larger by what was removed and not used again yet, so they cannot tell
/// whether enough was removed.
pub(super) async fn bytes(connection: &mut PgConnection) -> Result<u64, sqlx::Error> {
    let bytes: i64 = sqlx::query_scalar(
        "SELECT (SELECT coalesce(sum(bytes), 0) FROM throughline.run)::bigint
              + (SELECT coalesce(sum(octet_length(data)), 0) FROM throughline.block
                 WHERE id >= (SELECT value FROM throughline.counter WHERE name = 'first_of_tail'))::bigint
              + (SELECT coalesce(sum(octet_length(data)), 0) FROM throughline.sample_chunk)::bigint",
    )
    .fetch_one(connection)
    .await?;
    Ok(bytes as u64)
}
