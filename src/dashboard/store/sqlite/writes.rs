//! What is written: each function is one transaction, or steps that may stop between.

use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;

use super::super::backend::Seal;
use super::super::run::RunMeta;
use super::Sqlite;

/// Rows removed in one statement when a run is dropped.
const DELETE_STEP: i64 = 64;
/// Free pages given back to the file system in one statement.
const VACUUM_STEP: u32 = 256;

impl Sqlite {
    pub(super) async fn write_flush(
        &self,
        blocks: &[(u64, Vec<u8>)],
        row: (u64, Vec<u8>),
    ) -> Result<(), sqlx::Error> {
        let mut writer = self.writer.lock().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
        insert_blocks(&mut tx, blocks).await?;
        sqlx::query("INSERT INTO tail (id, data) VALUES (?, ?)")
            .bind(row.0 as i64)
            .bind(row.1)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    pub(super) async fn write_seal(&self, seal: &Seal, rest: Vec<u8>) -> Result<(), sqlx::Error> {
        let meta = &seal.run.meta;
        let mut writer = self.writer.lock().await;
        let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
        insert_blocks(&mut tx, &seal.blocks).await?;
        for id in &seal.replaced {
            sqlx::query("DELETE FROM block WHERE id = ?").bind(*id as i64).execute(&mut *tx).await?;
        }
        for (first, page) in &seal.run.pages {
            sqlx::query("INSERT INTO run_page (run, first, data) VALUES (?, ?, ?)")
                .bind(meta.id as i64)
                .bind(*first as i64)
                .bind(&page[..])
                .execute(&mut *tx)
                .await?;
        }
        for (number, chunk) in seal.run.chunks.iter().enumerate() {
            sqlx::query("INSERT INTO run_chunk (run, no, data) VALUES (?, ?, ?)")
                .bind(meta.id as i64)
                .bind(number as i64)
                .bind(&chunk[..])
                .execute(&mut *tx)
                .await?;
        }
        insert_run(&mut tx, meta, rest).await?;
        sqlx::query("DELETE FROM tail").execute(&mut *tx).await?;
        sqlx::query("INSERT INTO counter VALUES ('next_block', ?1) ON CONFLICT DO UPDATE SET value = ?1")
            .bind(meta.last_block as i64 + 1)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Removes the run's index first, so that no reader is led to blocks that are going.
    pub(super) async fn delete_run(&self, run: &RunMeta) -> Result<(), sqlx::Error> {
        {
            let mut writer = self.writer.lock().await;
            let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
            for statement in [
                "DELETE FROM run WHERE id = ?",
                "DELETE FROM run_page WHERE run = ?",
                "DELETE FROM run_chunk WHERE run = ?",
            ] {
                sqlx::query(statement).bind(run.id as i64).execute(&mut *tx).await?;
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
            .execute(&mut *writer)
            .await?
            .rows_affected();
            if removed == 0 {
                break;
            }
        }
        self.give_back().await
    }

    /// Gives free pages back to the file system.
    async fn give_back(&self) -> Result<(), sqlx::Error> {
        loop {
            let mut writer = self.writer.lock().await;
            let free: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut *writer).await?;
            if free == 0 {
                return Ok(());
            }
            sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA incremental_vacuum({VACUUM_STEP})")))
                .fetch_all(&mut *writer)
                .await?;
            let left: i64 = sqlx::query_scalar("PRAGMA freelist_count").fetch_one(&mut *writer).await?;
            if left >= free {
                return Ok(());
            }
        }
    }
}

async fn insert_blocks(tx: &mut SqliteConnection, blocks: &[(u64, Vec<u8>)]) -> Result<(), sqlx::Error> {
    for (id, data) in blocks {
        sqlx::query("INSERT INTO block (id, data) VALUES (?, ?)")
            .bind(*id as i64)
            .bind(&data[..])
            .execute(&mut *tx)
            .await?;
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
