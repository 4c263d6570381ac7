//! What is read.

use std::collections::HashMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row};

use super::super::StoreError;
use super::super::backend::{Head, Kept, Loaded, Part, STEP};
use super::super::run::RunMeta;
use super::{FIRST, PART_BITS, Sqlite, blobs, part_id};

impl Sqlite {
    pub(super) async fn read_all(&self) -> Result<Loaded, sqlx::Error> {
        let runs = self.read_runs(0).await?;
        let (first_of_tail, next_block) = self.read_head().await?;
        Ok(Loaded { runs, first_of_tail, head: Head { next_block, ..Head::default() } })
    }

    /// The first block of the tail, and the ID that the next block gets.
    pub(super) async fn read_head(&self) -> Result<(u64, u64), sqlx::Error> {
        let last: Option<i64> =
            sqlx::query_scalar("SELECT max(id) FROM block").fetch_one(&mut *self.readers.one().await).await?;
        let counter: Option<i64> =
            sqlx::query_scalar("SELECT value FROM counter WHERE name = 'first_of_tail'")
                .fetch_optional(&mut *self.readers.one().await)
                .await?;
        let first_of_tail = counter.unwrap_or(1) as u64;
        let next_block = last.map_or(FIRST, |last| last as u64 + 1).max(first_of_tail).next_multiple_of(STEP);
        Ok((first_of_tail, next_block))
    }

    pub(super) async fn read_runs(&self, after: u64) -> Result<Vec<RunMeta>, sqlx::Error> {
        let rows = sqlx::query("SELECT * FROM run WHERE id > ? ORDER BY id")
            .bind(after as i64)
            .fetch_all(&mut *self.readers.one().await)
            .await?;
        rows.iter().map(read_run).collect()
    }

    pub(super) async fn read_kept(&self) -> Result<HashMap<u64, Kept>, sqlx::Error> {
        let rows: Vec<(i64, i64, i64)> = sqlx::query_as("SELECT id, spans, logs FROM run")
            .fetch_all(&mut *self.readers.one().await)
            .await?;
        let kept = |(id, spans, logs)| (id as u64, Kept { spans: spans as u64, logs: logs as u64 });
        Ok(rows.into_iter().map(kept).collect())
    }

    pub(super) async fn read_block_ids(&self, first: u64, last: u64) -> Result<Vec<u64>, sqlx::Error> {
        let ids: Vec<i64> = sqlx::query_scalar("SELECT id FROM block WHERE id BETWEEN ? AND ? ORDER BY id")
            .bind(first as i64)
            .bind(last as i64)
            .fetch_all(&mut *self.readers.one().await)
            .await?;
        Ok(ids.into_iter().map(|id| id as u64).collect())
    }

    pub(super) async fn read_block(&self, id: u64) -> Result<Option<Vec<u8>>, sqlx::Error> {
        sqlx::query_scalar("SELECT data FROM block WHERE id = ?")
            .bind(id as i64)
            .fetch_optional(&mut *self.readers.one().await)
            .await
    }

    pub(super) async fn read_blocks(
        &self,
        first: u64,
        last: u64,
    ) -> Result<Vec<(u64, Vec<u8>)>, sqlx::Error> {
        let last = last.min(i64::MAX as u64) as i64;
        let found = blobs::between(&self.readers, "block", first as i64, last).await?;
        Ok(found.into_iter().map(|(id, data)| (id as u64, data)).collect())
    }

    pub(super) async fn read_pages(
        &self,
        run: u64,
        first: u32,
        last: u32,
    ) -> Result<Vec<Vec<u8>>, sqlx::Error> {
        let (first, last) = (part_id(run, first), part_id(run, last));
        let found = blobs::between(&self.readers, "run_page", first, last).await?;
        Ok(found.into_iter().map(|(_, data)| data).collect())
    }

    pub(super) async fn read_chunks(
        &self,
        run: u64,
        first: u32,
        last: u32,
    ) -> Result<Vec<(u32, Vec<u8>)>, sqlx::Error> {
        let (first, last) = (part_id(run, first), part_id(run, last));
        let found = blobs::between(&self.readers, "run_chunk", first, last).await?;
        let number = |id: i64| (id - part_id(run, 0)) as u32;
        Ok(found.into_iter().map(|(id, data)| (number(id), data)).collect())
    }

    /// Pages or chunks out of their table.
    pub(super) async fn read_parts(
        &self,
        table: &'static str,
        places: &[(u64, u32)],
    ) -> Result<Vec<Part>, sqlx::Error> {
        let ids = places.iter().map(|(run, number)| part_id(*run, *number));
        let found = blobs::listed(&self.readers, table, ids).await?;
        let place = |id: i64| (id as u64 >> PART_BITS, (id & ((1 << PART_BITS) - 1)) as u32);
        Ok(found.into_iter().map(|(id, data)| (place(id), data)).collect())
    }

    pub(super) async fn read_listed(&self, ids: &[u64]) -> Result<Vec<(u64, Vec<u8>)>, sqlx::Error> {
        let ids = ids.iter().map(|id| *id as i64);
        let found = blobs::listed(&self.readers, "block", ids).await?;
        Ok(found.into_iter().map(|(id, data)| (id as u64, data)).collect())
    }

    pub(super) async fn read_bytes_of(&self, blocks: &[u64]) -> Result<u64, sqlx::Error> {
        let mut statement = QueryBuilder::<sqlx::Sqlite>::new(
            "SELECT coalesce(sum(length(data)), 0) FROM block WHERE id IN (",
        );
        let mut list = statement.separated(", ");
        for id in blocks {
            list.push_bind(*id as i64);
        }
        statement.push(")");
        let bytes: i64 = statement
            .build_query_scalar()
            .persistent(false)
            .fetch_one(&mut *self.readers.one().await)
            .await?;
        Ok(bytes as u64)
    }

    pub(super) async fn read_size(&self) -> Result<u64, sqlx::Error> {
        let row = sqlx::query(
            "SELECT (page_count - freelist_count) * page_size
             FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
        )
        .fetch_one(&mut *self.readers.one().await)
        .await?;
        row.try_get::<i64, _>(0).map(|bytes| bytes as u64)
    }
}

fn read_run(row: &SqliteRow) -> Result<RunMeta, sqlx::Error> {
    let number = |name: &str| row.try_get::<i64, _>(name).map(|value| value as u64);
    let meta = RunMeta {
        id: number("id")?,
        first_block: number("first_block")?,
        last_block: number("last_block")?,
        min_start: number("min_start")?,
        max_start: number("max_start")?,
        sealed: number("sealed")?,
        entries: number("entries")? as u32,
        spans: number("spans")?,
        logs: number("logs")?,
        ..RunMeta::default()
    };
    let rest: Vec<u8> = row.try_get("rest")?;
    let id = meta.id;
    meta.with_rest(&rest).map_err(|error| {
        let why = match error {
            StoreError::Damaged(why) => why,
            other => other.to_string(),
        };
        sqlx::Error::Decode(format!("run {id}: {why}").into())
    })
}
