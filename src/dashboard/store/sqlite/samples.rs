//! Chunks of samples: read and replaced.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{Connection, QueryBuilder, Row};

use super::super::series::chunk::{ChunkInfo, MAX_READ, NewChunk, Wanted};
use super::Sqlite;
use crate::dashboard::model::Nanos;

/// Rows of one statement.
const INSERT_STEP: usize = 64;

impl Sqlite {
    pub(super) async fn read_samples(&self, wanted: &Wanted) -> Result<Vec<(u64, Vec<u8>)>, sqlx::Error> {
        let mut query = wanting("SELECT id, data FROM sample_chunk", wanted);
        let rows = query.build().fetch_all(&mut *self.readers.one().await).await?;
        rows.iter().map(|row| Ok((row.try_get::<i64, _>(0)? as u64, row.try_get(1)?))).collect()
    }

    pub(super) async fn read_samples_end(&self) -> Result<Nanos, sqlx::Error> {
        let end: Option<i64> = sqlx::query_scalar("SELECT max(ends) FROM sample_chunk")
            .fetch_one(&mut *self.readers.one().await)
            .await?;
        Ok(end.unwrap_or_default() as u64)
    }

    pub(super) async fn read_sample_chunks(&self) -> Result<Vec<ChunkInfo>, sqlx::Error> {
        let rows = sqlx::query("SELECT id, tier, begins, ends, length(data) FROM sample_chunk")
            .fetch_all(&mut *self.readers.one().await)
            .await?;
        rows.iter()
            .map(|row| {
                let number = |column: usize| row.try_get::<i64, _>(column).map(|number| number as u64);
                Ok(ChunkInfo {
                    id: number(0)?,
                    tier: number(1)? as u8,
                    begin: number(2)?,
                    end: number(3)?,
                    bytes: number(4)?,
                })
            })
            .collect()
    }

    pub(super) async fn swap_samples(&self, old: Vec<u64>, new: Vec<NewChunk>) -> Result<(), sqlx::Error> {
        {
            let mut writer = self.writer.lock().await;
            let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
            for id in old {
                let gone = sqlx::query("DELETE FROM sample_chunk WHERE id = ?")
                    .bind(id as i64)
                    .execute(&mut *tx)
                    .await?;
                if gone.rows_affected() == 0 {
                    return Ok(());
                }
            }
            insert(&mut tx, new).await?;
            tx.commit().await?;
        }
        self.give_back().await
    }
}

/// A selection of what is wanted, the newest windows first.
fn wanting(select: &str, wanted: &Wanted) -> QueryBuilder<sqlx::Sqlite> {
    let mut query = QueryBuilder::new(select);
    query.push(" WHERE begins < ").push_bind(wanted.end.min(i64::MAX as u64) as i64);
    query.push(" AND ends > ").push_bind(wanted.begin.min(i64::MAX as u64) as i64);
    query.push(" AND (FALSE");
    for (first, last) in &wanted.names {
        query.push(" OR last_name >= ").push_bind(first.as_bytes());
        query.push(" AND first_name <= ").push_bind(&last[..]);
    }
    query.push(") ORDER BY begins DESC, id DESC LIMIT ").push_bind(MAX_READ as i64);
    query
}

/// A row with all its columns, in their order.
pub(super) fn read_chunk(row: &SqliteRow) -> Result<(u64, NewChunk), sqlx::Error> {
    let number = |column: usize| row.try_get::<i64, _>(column).map(|number| number as u64);
    let chunk = NewChunk {
        tier: number(1)? as u8,
        begin: number(2)?,
        end: number(3)?,
        first_name: row.try_get(4)?,
        last_name: row.try_get(5)?,
        data: row.try_get(6)?,
    };
    Ok((number(0)?, chunk))
}

/// Writes chunks of samples.
pub(super) async fn insert(writer: &mut SqliteConnection, chunks: Vec<NewChunk>) -> Result<(), sqlx::Error> {
    let mut chunks = chunks.into_iter().peekable();
    while chunks.peek().is_some() {
        let mut statement = QueryBuilder::<sqlx::Sqlite>::new(
            "INSERT INTO sample_chunk (tier, begins, ends, first_name, last_name, data) ",
        );
        statement.push_values(chunks.by_ref().take(INSERT_STEP), |mut row, chunk| {
            row.push_bind(i64::from(chunk.tier))
                .push_bind(chunk.begin as i64)
                .push_bind(chunk.end as i64)
                .push_bind(chunk.first_name)
                .push_bind(chunk.last_name)
                .push_bind(chunk.data);
        });
        statement.build().execute(&mut *writer).await?;
    }
    Ok(())
}
