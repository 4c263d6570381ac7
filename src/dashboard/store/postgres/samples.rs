//! Chunks of samples: read and replaced.

use sqlx::postgres::PgRow;
use sqlx::{Connection, PgConnection, Row};

use super::super::series::chunk::{ChunkInfo, MAX_READ, NewChunk, Wanted};
use crate::dashboard::model::Nanos;

pub(super) async fn read(
    connection: &mut PgConnection,
    wanted: &Wanted,
) -> Result<Vec<(u64, Vec<u8>)>, sqlx::Error> {
    let (first, last): (Vec<&[u8]>, Vec<&[u8]>) =
        wanted.names.iter().map(|(first, last)| (first.as_bytes(), &last[..])).unzip();
    let rows = sqlx::query(
        "SELECT id, data FROM throughline.sample_chunk
         WHERE begins < $1 AND ends > $2 AND EXISTS (
             SELECT FROM unnest($3::bytea[], $4::bytea[]) AS name (first, last)
             WHERE last_name >= name.first AND first_name <= name.last)
         ORDER BY begins DESC, id DESC LIMIT $5",
    )
    .bind(wanted.end.min(i64::MAX as u64) as i64)
    .bind(wanted.begin.min(i64::MAX as u64) as i64)
    .bind(first)
    .bind(last)
    .bind(MAX_READ as i64)
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Ok((row.try_get::<i64, _>(0)? as u64, row.try_get(1)?))).collect()
}

pub(super) async fn end(connection: &mut PgConnection) -> Result<Nanos, sqlx::Error> {
    let end: Option<i64> =
        sqlx::query_scalar("SELECT max(ends) FROM throughline.sample_chunk").fetch_one(connection).await?;
    Ok(end.unwrap_or_default() as u64)
}

pub(super) async fn list(connection: &mut PgConnection) -> Result<Vec<ChunkInfo>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT id, tier, begins, ends, octet_length(data)::bigint FROM throughline.sample_chunk",
    )
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| {
            let number = |column: usize| row.try_get::<i64, _>(column).map(|number| number as u64);
            let tier = row.try_get::<i16, _>(1)? as u8;
            Ok(ChunkInfo { id: number(0)?, tier, begin: number(2)?, end: number(3)?, bytes: number(4)? })
        })
        .collect()
}

/// Puts chunks in the place of others, where all of those are still there.
pub(super) async fn replace(
    connection: &mut PgConnection,
    old: Vec<u64>,
    new: Vec<NewChunk>,
) -> Result<(), sqlx::Error> {
    let old: Vec<i64> = old.into_iter().map(|id| id as i64).collect();
    let mut tx = connection.begin().await?;
    let gone = sqlx::query("DELETE FROM throughline.sample_chunk WHERE id = ANY($1)")
        .bind(&old)
        .execute(&mut *tx)
        .await?;
    if gone.rows_affected() != old.len() as u64 {
        return tx.rollback().await;
    }
    insert(&mut tx, new).await?;
    tx.commit().await
}

/// A row with all its columns, the ID first.
pub(super) fn read_chunk(row: &PgRow) -> Result<(u64, NewChunk), sqlx::Error> {
    let number = |column: usize| row.try_get::<i64, _>(column).map(|number| number as u64);
    let chunk = NewChunk {
        tier: row.try_get::<i16, _>(1)? as u8,
        begin: number(2)?,
        end: number(3)?,
        first_name: row.try_get(4)?,
        last_name: row.try_get(5)?,
        data: row.try_get(6)?,
    };
    Ok((number(0)?, chunk))
}

/// Writes chunks of samples.
pub(super) async fn insert(connection: &mut PgConnection, chunks: Vec<NewChunk>) -> Result<(), sqlx::Error> {
    let column = |of: fn(&NewChunk) -> i64| chunks.iter().map(of).collect::<Vec<_>>();
    let tiers: Vec<i16> = chunks.iter().map(|chunk| i16::from(chunk.tier)).collect();
    let (begins, ends) = (column(|chunk| chunk.begin as i64), column(|chunk| chunk.end as i64));
    let (mut first_names, mut last_names, mut data) = (Vec::new(), Vec::new(), Vec::new());
    for chunk in chunks {
        first_names.push(chunk.first_name);
        last_names.push(chunk.last_name);
        data.push(chunk.data);
    }
    sqlx::query(
        "INSERT INTO throughline.sample_chunk (tier, begins, ends, first_name, last_name, data)
         SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], $6::bytea[])",
    )
    .bind(tiers)
    .bind(begins)
    .bind(ends)
    .bind(first_names)
    .bind(last_names)
    .bind(data)
    .execute(connection)
    .await
    .map(drop)
}
