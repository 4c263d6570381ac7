//! What is written: each function is one transaction, or steps that may stop between.

use sqlx::sqlite::SqliteConnection;
use sqlx::{Connection, QueryBuilder};

use super::super::backend::{STEP, Seal};
use super::super::run::RunMeta;
use super::{Sqlite, part_id, samples};

/// Rows of one statement when a run is written.
const INSERT_STEP: usize = 64;

/// Rows removed in one statement when a run is dropped.
const DELETE_STEP: i64 = 64;
/// Free pages given back to the file system in one statement.
const VACUUM_STEP: u32 = 256;

impl Sqlite {
    /// One statement, hence one transaction and one way to the thread that SQLite works in.
    pub(super) async fn write_blocks(&self, blocks: Vec<Vec<u8>>) -> Result<u64, sqlx::Error> {
        let mut writer = self.writer.lock().await;
        let first = writer.next_block;
        let ids = (first..).step_by(STEP as usize);
        let next = first + blocks.len() as u64 * STEP;
        insert_blocks(&mut writer.connection, ids.zip(blocks).collect()).await?;
        writer.next_block = next;
        Ok(first)
    }

    pub(super) async fn write_seal(&self, seal: Seal, rest: Vec<u8>) -> Result<(), sqlx::Error> {
        let meta = &seal.run.meta;
        let mut writer = self.writer.lock().await;
        let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
        insert_blocks(&mut tx, seal.blocks).await?;
        for id in &seal.replaced {
            sqlx::query("DELETE FROM block WHERE id = ?").bind(*id as i64).execute(&mut *tx).await?;
        }
        insert_parts(&mut tx, "INSERT INTO run_page (id, data) ", meta.id, seal.run.pages).await?;
        insert_parts(&mut tx, "INSERT INTO run_chunk (id, data) ", meta.id, seal.run.chunks).await?;
        samples::insert(&mut tx, seal.samples).await?;
        insert_run(&mut tx, meta, rest).await?;
        sqlx::query("INSERT INTO counter VALUES ('first_of_tail', ?1) ON CONFLICT DO UPDATE SET value = ?1")
            .bind(meta.last_block as i64 + 1)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Removes the run's index first, so that no reader is led to blocks that are going.
    pub(super) async fn delete_run(&self, run: &RunMeta) -> Result<(), sqlx::Error> {
        {
            let mut writer = self.writer.lock().await;
            let mut tx = writer.connection.begin_with("BEGIN IMMEDIATE").await?;
            sqlx::query("DELETE FROM run WHERE id = ?").bind(run.id as i64).execute(&mut *tx).await?;
            for statement in [
                "DELETE FROM run_page WHERE id BETWEEN ? AND ?",
                "DELETE FROM run_chunk WHERE id BETWEEN ? AND ?",
            ] {
                let (first, last) = (part_id(run.id, 0), part_id(run.id + 1, 0) - 1);
                sqlx::query(statement).bind(first).bind(last).execute(&mut *tx).await?;
            }
            tx.commit().await?;
        }
        self.delete_blocks(run.first_block, run.last_block).await
    }

    /// Removes blocks in short steps; commits of new data go between them.
    pub(super) async fn delete_blocks(&self, first: u64, last: u64) -> Result<(), sqlx::Error> {
        loop {
            let mut writer = self.writer.lock().await;
            let removed = sqlx::query(
                "DELETE FROM block WHERE id IN (SELECT id FROM block WHERE id BETWEEN ? AND ? LIMIT ?)",
            )
            .bind(first as i64)
            .bind(last as i64)
            .bind(DELETE_STEP)
            .execute(&mut writer.connection)
            .await?
            .rows_affected();
            if removed == 0 {
                break;
            }
        }
        self.give_back().await
    }

    /// Gives free pages back to the file system.
    pub(super) async fn give_back(&self) -> Result<(), sqlx::Error> {
        loop {
            let mut writer = self.writer.lock().await;
            let free: i64 =
                sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut writer.connection).await?;
            if free == 0 {
                return Ok(());
            }
            sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA incremental_vacuum({VACUUM_STEP})")))
                .fetch_all(&mut writer.connection)
                .await?;
            let left: i64 =
                sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut writer.connection).await?;
            if left >= free {
                return Ok(());
            }
        }
    }
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
        statement.build().execute(&mut *writer).await?;
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
