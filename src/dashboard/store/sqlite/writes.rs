//! What is written: each function is one transaction, or steps that may stop between.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, QueryBuilder};

use super::super::backend::{STEP, Seal};
use super::super::block::ItemKind;
use super::super::pace::{Pace, portion, timed};
use super::super::run::RunMeta;
use super::{Sqlite, part_id, samples};

/// Rows of one statement when a run is written.
const INSERT_STEP: usize = 64;

/// Blocks that one statement of a seal removes.
const REPLACED_AT_ONCE: usize = 64;

/// Bytes of a page.
const PAGE: usize = 4096;
/// Pages that removing a row changes, roughly: what was the row's goes on the list of free ones.
const PAGES_OF_A_ROW: usize = 2;

/// Rows that the first statement of a removal removes, and that any may.
const DELETE_STEP: u32 = 32;
const DELETE_MOST: u32 = 512;
/// Free pages that the first statement gives back to the file system, and that any may.
const VACUUM_STEP: u32 = 128;
const VACUUM_MOST: u32 = 2_048;

impl Sqlite {
    /// One statement, hence one transaction and one way to the thread that SQLite works in.
    pub(super) async fn write_blocks(&self, blocks: Vec<Vec<u8>>) -> Result<u64, sqlx::Error> {
        self.log.room().await;
        let mut writer = self.writer.lock().await;
        let first = writer.next_block;
        let ids = (first..).step_by(STEP as usize);
        let next = first + blocks.len() as u64 * STEP;
        let bytes = bytes_of(&blocks);
        insert_blocks(&mut writer.connection, ids.zip(blocks).collect()).await?;
        writer.next_block = next;
        self.log.wrote(bytes);
        Ok(first)
    }

    pub(super) async fn write_seal(&self, seal: Seal, rest: Vec<u8>) -> Result<(), sqlx::Error> {
        let meta = &seal.run.meta;
        let blocks = seal.blocks.iter().map(|(_, data)| data.len() + PAGE).sum::<usize>();
        let bytes = bytes_of(&seal.run.pages) + bytes_of(&seal.run.chunks) + blocks;
        self.log.room().await;
        let mut writer = self.writer.lock().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        let mut blocks = seal.blocks;
        while !blocks.is_empty() {
            let portion = portion(&mut blocks, |(_, data)| data.len());
            timed("blocks", insert_blocks(&mut tx, portion)).await?;
        }
        let replaced: Vec<u64> = seal.replaced.iter().copied().collect();
        for ids in replaced.chunks(REPLACED_AT_ONCE) {
            timed("replaced", delete_blocks(&mut tx, ids)).await?;
        }
        insert_parts(&mut tx, "INSERT INTO run_page (id, data) ", meta.id, seal.run.pages).await?;
        insert_parts(&mut tx, "INSERT INTO run_chunk (id, data) ", meta.id, seal.run.chunks).await?;
        timed("samples", samples::insert(&mut tx, seal.samples)).await?;
        timed("run", insert_run(&mut tx, meta, rest)).await?;
        sqlx::query("INSERT INTO counter VALUES ('first_of_tail', ?1) ON CONFLICT DO UPDATE SET value = ?1")
            .bind(meta.last_block as i64 + 1)
            .execute(&mut *tx)
            .await?;
        timed("commit", tx.commit()).await?;
        self.log.wrote(bytes);
        Ok(())
    }

    /// Removes the run's row first, so that no reader is led to what is going.
    pub(super) async fn delete_run(&self, run: &RunMeta) -> Result<(), sqlx::Error> {
        {
            let mut writer = self.writer.lock().await;
            let statement = sqlx::query("DELETE FROM run WHERE id = ?").bind(run.id as i64);
            statement.execute(&mut writer.connection).await?;
        }
        self.delete_range(run.first_block, run.last_block).await
    }

    /// Removes what belongs to a range of IDs in short steps; commits of new data go between them.
    pub(super) async fn delete_range(&self, first: u64, last: u64) -> Result<(), sqlx::Error> {
        let parts = (part_id(first, 0), part_id(last.saturating_add(1), 0) - 1);
        for (table, (first, last)) in
            [("run_page", parts), ("run_chunk", parts), ("block", (first as i64, last as i64))]
        {
            let mut pace = Pace::new(DELETE_STEP, DELETE_MOST);
            loop {
                let statement = format!(
                    "DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE id BETWEEN ? AND ? LIMIT ?)"
                );
                let mut writer = self.writer.lock().await;
                let statement =
                    sqlx::query(sqlx::AssertSqlSafe(statement)).bind(first).bind(last).bind(pace.begin());
                let removed = statement.execute(&mut writer.connection).await?.rows_affected();
                pace.end();
                self.log.wrote(removed as usize * PAGES_OF_A_ROW * PAGE);
                if removed == 0 {
                    break;
                }
            }
        }
        self.give_back().await
    }

    /// Removes blocks by their IDs, in short steps too.
    pub(super) async fn delete_listed(&self, ids: Vec<u64>) -> Result<(), sqlx::Error> {
        let (mut left, mut pace) = (&ids[..], Pace::new(DELETE_STEP, DELETE_MOST));
        while !left.is_empty() {
            let mut writer = self.writer.lock().await;
            let (step, rest) = left.split_at(left.len().min(pace.begin() as usize));
            delete_blocks(&mut writer.connection, step).await?;
            pace.end();
            self.log.wrote(step.len() * PAGES_OF_A_ROW * PAGE);
            left = rest;
        }
        self.give_back().await
    }

    /// Counts a kind of a run no more.
    pub(super) async fn write_forgotten(&self, run: u64, kind: ItemKind) -> Result<(), sqlx::Error> {
        let statement = match kind {
            ItemKind::Span => "UPDATE run SET spans = 0 WHERE id = ?",
            ItemKind::Log => "UPDATE run SET logs = 0 WHERE id = ?",
        };
        let mut writer = self.writer.lock().await;
        sqlx::query(statement).bind(run as i64).execute(&mut writer.connection).await.map(drop)
    }

    /// Writes all of the log into the file, which is as short afterwards as it can be.
    pub(super) async fn write_log_back(&self) -> Result<(), sqlx::Error> {
        let mut writer = self.writer.lock().await;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").fetch_all(&mut writer.connection).await.map(drop)
    }

    /// Gives free pages back to the file system.
    pub(super) async fn give_back(&self) -> Result<(), sqlx::Error> {
        let mut pace = Pace::new(VACUUM_STEP, VACUUM_MOST);
        loop {
            let mut writer = self.writer.lock().await;
            let free: i64 =
                sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut writer.connection).await?;
            if free == 0 {
                return Ok(());
            }
            let statement = format!("PRAGMA incremental_vacuum({})", pace.begin());
            sqlx::query(sqlx::AssertSqlSafe(statement)).fetch_all(&mut writer.connection).await?;
            pace.end();
            let left: i64 =
                sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut writer.connection).await?;
            self.log.wrote(free.saturating_sub(left) as usize * PAGE);
            if left >= free {
                return Ok(());
            }
        }
    }
}

/// Bytes that records take in the log, roughly.
fn bytes_of(records: &[Vec<u8>]) -> usize {
    records.iter().map(|record| record.len() + PAGE).sum()
}

async fn delete_blocks(writer: &mut SqliteConnection, ids: &[u64]) -> Result<(), sqlx::Error> {
    let mut statement = QueryBuilder::<sqlx::Sqlite>::new("DELETE FROM block WHERE id IN (");
    let mut list = statement.separated(", ");
    for id in ids {
        list.push_bind(*id as i64);
    }
    statement.push(")");
    statement.build().execute(writer).await.map(drop)
}

async fn insert_blocks(
    writer: &mut SqliteConnection,
    blocks: Vec<(u64, Vec<u8>)>,
) -> Result<(), sqlx::Error> {
    if blocks.is_empty() {
        return Ok(());
    }
    let mut statement = QueryBuilder::<sqlx::Sqlite>::new("INSERT INTO block (id, data) ");
    statement.push_values(blocks, |mut row, (id, data)| {
        row.push_bind(id as i64).push_bind(data);
    });
    statement.build().execute(writer).await.map(drop)
}

/// Pages or chunks of a run, under their numbers.
async fn insert_parts(
    writer: &mut SqliteConnection,
    begin: &'static str,
    run: u64,
    parts: Vec<Vec<u8>>,
) -> Result<(), sqlx::Error> {
    let mut parts = parts.into_iter().zip(0..).peekable();
    while parts.peek().is_some() {
        let mut statement = QueryBuilder::<sqlx::Sqlite>::new(begin);
        statement.push_values(parts.by_ref().take(INSERT_STEP), |mut row, (data, number)| {
            row.push_bind(part_id(run, number)).push_bind(data);
        });
        timed("parts", statement.build().execute(&mut *writer)).await?;
    }
    Ok(())
}

async fn insert_run(tx: &mut SqliteConnection, meta: &RunMeta, rest: Vec<u8>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "INSERT INTO run (id, first_block, last_block, min_start, max_start, sealed, entries, spans, logs, rest)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(meta.id as i64)
    .bind(meta.first_block as i64)
    .bind(meta.last_block as i64)
    .bind(meta.min_start as i64)
    .bind(meta.max_start as i64)
    .bind(meta.sealed as i64)
    .bind(i64::from(meta.entries))
    .bind(meta.spans as i64)
    .bind(meta.logs as i64)
    .bind(rest)
    .execute(tx)
    .await?;
    Ok(())
}
