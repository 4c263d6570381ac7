//! A SQLite file as rows of blobs.

use std::path::Path;

use async_trait::async_trait;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, QueryBuilder, Row};
use xxhash_rust::xxh3::xxh3_64;

use super::super::audit_rows;
use super::super::series::chunk::NewChunk;
use super::super::side::{
    AUDIT_AT_ONCE, Before, Count, Key, Marks, RUN_COLUMNS, RUN_NUMBERS, Rows, RunRow, SAMPLES_AT_ONCE,
    SIZES_AT_ONCE, Side, TABLES, Table,
};
use super::super::{OpenError, StoreError};
use super::open::{COMPACTED, FINISHED, UNFINISHED, trouble, writing};
use super::{Sqlite, audit, part_id, samples};
use crate::dashboard::model::audit::Audited;

/// The file, held so that no dashboard opens it, and what writes to it.
pub struct SqliteSide(Sqlite, SqliteConnection);

impl SqliteSide {
    /// Opens a finished store.
    pub async fn source(path: &Path) -> Result<Self, OpenError> {
        Self::of(Sqlite::open(path).await?).await
    }

    /// Opens or makes a file to be copied to.
    pub async fn target(path: &Path) -> Result<Self, OpenError> {
        Self::of(Sqlite::open_for_copy(path).await?).await
    }

    /// Nobody waits for single commits here: SQLite writes its log back by itself.
    async fn of(store: Sqlite) -> Result<Self, OpenError> {
        let options = writing(&store.path).pragma("wal_autocheckpoint", "4000");
        let connection = options.connect().await.map_err(|error| trouble(&store.path, &error))?;
        Ok(Self(store, connection))
    }

    fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.1
    }

    async fn execute(&mut self, statement: &'static str) -> Result<(), StoreError> {
        let done = sqlx::query(statement).execute(self.connection()).await;
        done.map(drop).map_err(|error| self.0.error(error))
    }

    async fn counter(&mut self, name: &str) -> Result<Option<i64>, StoreError> {
        let found = sqlx::query_scalar("SELECT value FROM counter WHERE name = ?")
            .bind(name)
            .fetch_optional(self.connection())
            .await;
        found.map_err(|error| self.0.error(error))
    }

    async fn set_counter(&mut self, name: &str, value: i64) -> Result<(), StoreError> {
        let done = sqlx::query("INSERT INTO counter VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = ?2")
            .bind(name)
            .bind(value)
            .execute(self.connection())
            .await;
        done.map(drop).map_err(|error| self.0.error(error))
    }

    async fn run_where(&mut self, condition: &str, id: u64) -> Result<Option<RunRow>, StoreError> {
        let statement =
            format!("SELECT {RUN_COLUMNS}, rest FROM run WHERE id {condition} ? ORDER BY id LIMIT 1");
        let row = sqlx::query(AssertSqlSafe(statement))
            .bind(id as i64)
            .fetch_optional(self.connection())
            .await
            .and_then(|row| row.as_ref().map(read_run).transpose());
        row.map_err(|error| self.0.error(error))
    }
}

#[async_trait]
impl Side for SqliteSide {
    fn location(&self) -> String {
        self.0.path.display().to_string()
    }

    async fn identity(&mut self) -> Result<i64, StoreError> {
        // When its tables were made, and how many nanoseconds that took: no other store has both.
        let statement =
            "SELECT installed_on || ' ' || execution_time FROM _sqlx_migrations WHERE version = 1";
        let made: Result<String, _> = sqlx::query_scalar(statement).fetch_one(self.connection()).await;
        made.map(|made| xxh3_64(made.as_bytes()) as i64).map_err(|error| self.0.error(error))
    }

    async fn marks(&mut self) -> Result<Marks, StoreError> {
        let head = self.0.read_head().await.map_err(|error| self.0.error(error))?;
        Ok(Marks { first_of_tail: head.0, next_block: head.1 })
    }

    async fn run_after(&mut self, after: u64) -> Result<Option<RunRow>, StoreError> {
        self.run_where(">", after).await
    }

    async fn run(&mut self, id: u64) -> Result<Option<RunRow>, StoreError> {
        self.run_where("=", id).await
    }

    async fn sizes(&mut self, table: Table, first: Key, last: Key) -> Result<Vec<(Key, u64)>, StoreError> {
        let statement = format!(
            "SELECT id, length(data) FROM {} WHERE id BETWEEN ? AND ? ORDER BY id LIMIT {SIZES_AT_ONCE}",
            table.name
        );
        let rows: Result<Vec<(i64, i64)>, _> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(id(table, first))
            .bind(id(table, last))
            .fetch_all(self.connection())
            .await;
        let rows = rows.map_err(|error| self.0.error(error))?;
        Ok(rows.into_iter().map(|(id, size)| (key(table, id), size as u64)).collect())
    }

    async fn rows(&mut self, table: Table, first: Key, last: Key) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        let statement = format!("SELECT id, data FROM {} WHERE id BETWEEN ? AND ? ORDER BY id", table.name);
        let rows: Result<Vec<(i64, Vec<u8>)>, _> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(id(table, first))
            .bind(id(table, last))
            .fetch_all(self.connection())
            .await;
        let rows = rows.map_err(|error| self.0.error(error))?;
        Ok(rows.into_iter().map(|(id, data)| (key(table, id), data)).collect())
    }

    async fn count(&mut self, table: Table, first: Key, last: Key) -> Result<Count, StoreError> {
        let statement = format!(
            "SELECT count(*), coalesce(sum(length(data)), 0) FROM {} WHERE id BETWEEN ? AND ?",
            table.name
        );
        let counted: Result<(i64, i64), _> = sqlx::query_as(AssertSqlSafe(statement))
            .bind(id(table, first))
            .bind(id(table, last))
            .fetch_one(self.connection())
            .await;
        let (rows, bytes) = counted.map_err(|error| self.0.error(error))?;
        Ok(Count { rows: rows as u64, bytes: bytes as u64 })
    }

    async fn before(&mut self) -> Result<Before, StoreError> {
        if let Some(of) = self.counter(UNFINISHED).await? {
            return Ok(Before::Unfinished(of));
        }
        let tables = TABLES.iter().map(|table| table.name).chain(["run", "sample_chunk"]);
        let any: Vec<String> = tables.map(|table| format!("EXISTS (SELECT 1 FROM {table})")).collect();
        let statement = AssertSqlSafe(format!("SELECT {}", any.join(" OR ")));
        let held: Result<bool, _> = sqlx::query_scalar(statement).fetch_one(self.connection()).await;
        match held.map_err(|error| self.0.error(error))? {
            true => Ok(Before::Held(self.counter(FINISHED).await?)),
            false => Ok(Before::Empty),
        }
    }

    async fn mark(&mut self, identity: i64) -> Result<(), StoreError> {
        self.set_counter(UNFINISHED, identity).await
    }

    async fn begin(&mut self) -> Result<(), StoreError> {
        self.execute("BEGIN IMMEDIATE").await
    }

    async fn put(&mut self, table: Table, rows: Vec<(Key, Vec<u8>)>) -> Result<(), StoreError> {
        let mut statement =
            QueryBuilder::<sqlx::Sqlite>::new(format!("INSERT INTO {} (id, data) ", table.name));
        statement.push_values(rows, |mut row, (key, data)| {
            row.push_bind(id(table, key)).push_bind(data);
        });
        let done = statement.build().execute(self.connection()).await;
        done.map(drop).map_err(|error| self.0.error(error))
    }

    async fn put_run(&mut self, run: RunRow, _bytes: u64) -> Result<(), StoreError> {
        let places = ["?"; RUN_NUMBERS + 1].join(", ");
        let statement = format!("INSERT INTO run ({RUN_COLUMNS}, rest) VALUES ({places})");
        let mut insert = sqlx::query(AssertSqlSafe(statement));
        for number in run.numbers {
            insert = insert.bind(number);
        }
        let done = insert.bind(run.rest).execute(self.connection()).await;
        done.map(drop).map_err(|error| self.0.error(error))
    }

    async fn remove(&mut self, run: u64, blocks: (u64, u64)) -> Result<(), StoreError> {
        for table in TABLES {
            let (first, last) = Key::range(table, run, blocks);
            let statement = format!("DELETE FROM {} WHERE id BETWEEN ? AND ?", table.name);
            let done = sqlx::query(AssertSqlSafe(statement))
                .bind(id(table, first))
                .bind(id(table, last))
                .execute(self.connection())
                .await;
            done.map_err(|error| self.0.error(error))?;
        }
        let done = sqlx::query("DELETE FROM run WHERE id = ?").bind(run as i64).execute(self.connection());
        done.await.map(drop).map_err(|error| self.0.error(error))
    }

    async fn samples_after(&mut self, after: u64) -> Result<Vec<(u64, NewChunk)>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, tier, begins, ends, first_name, last_name, data FROM sample_chunk
             WHERE id > ? ORDER BY id LIMIT ?",
        )
        .bind(after as i64)
        .bind(SAMPLES_AT_ONCE)
        .fetch_all(self.connection())
        .await;
        let read = rows.and_then(|rows| rows.iter().map(samples::read_chunk).collect());
        read.map_err(|error| self.0.error(error))
    }

    async fn count_samples(&mut self) -> Result<Count, StoreError> {
        let statement = "SELECT count(*), coalesce(sum(length(data)), 0) FROM sample_chunk";
        let counted: Result<(i64, i64), _> = sqlx::query_as(statement).fetch_one(self.connection()).await;
        let (rows, bytes) = counted.map_err(|error| self.0.error(error))?;
        Ok(Count { rows: rows as u64, bytes: bytes as u64 })
    }

    async fn put_samples(&mut self, chunks: Vec<NewChunk>) -> Result<(), StoreError> {
        let done = samples::insert(self.connection(), chunks).await;
        done.map_err(|error| self.0.error(error))
    }

    async fn remove_samples(&mut self) -> Result<(), StoreError> {
        self.execute("DELETE FROM sample_chunk").await
    }

    async fn audit_after(&mut self, after: u64) -> Result<Vec<Audited>, StoreError> {
        let statement = format!("SELECT {} FROM audit WHERE id > ? ORDER BY id LIMIT ?", audit_rows::COLUMNS);
        let rows = sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(after as i64)
            .bind(AUDIT_AT_ONCE)
            .fetch_all(self.connection())
            .await;
        let read = rows.and_then(|rows| rows.iter().map(audit_rows::read).collect());
        read.map_err(|error| self.0.error(error))
    }

    async fn count_audit(&mut self) -> Result<Count, StoreError> {
        let counted = sqlx::query_scalar("SELECT count(*) FROM audit").fetch_one(self.connection()).await;
        let rows: i64 = counted.map_err(|error| self.0.error(error))?;
        Ok(Count { rows: rows as u64, bytes: 0 })
    }

    async fn put_audit(&mut self, rows: Vec<Audited>) -> Result<(), StoreError> {
        for row in rows {
            let done = audit::insert(self.connection(), &row).await;
            done.map_err(|error| self.0.error(error))?;
        }
        Ok(())
    }

    async fn remove_audit(&mut self) -> Result<(), StoreError> {
        self.execute("DELETE FROM audit").await
    }

    async fn put_marks(&mut self, marks: Marks) -> Result<(), StoreError> {
        // The next block's ID follows from the blocks.
        self.set_counter("first_of_tail", marks.first_of_tail as i64).await
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        self.execute("COMMIT").await
    }

    async fn rollback(&mut self) -> Result<(), StoreError> {
        self.execute("ROLLBACK").await
    }

    async fn finish(&mut self, identity: i64) -> Result<(), StoreError> {
        self.begin().await?;
        let statement = "DELETE FROM counter WHERE name = ?";
        let done = sqlx::query(statement).bind(UNFINISHED).execute(self.connection()).await;
        done.map_err(|error| self.0.error(error))?;
        self.set_counter(FINISHED, identity).await?;
        self.commit().await
    }

    async fn compacted(&mut self) -> Result<u64, StoreError> {
        Ok(self.counter(COMPACTED).await?.unwrap_or_default() as u64)
    }

    async fn set_compacted(&mut self, run: u64) -> Result<(), StoreError> {
        self.set_counter(COMPACTED, run as i64).await
    }

    async fn update(&mut self, table: Table, rows: Vec<(Key, Vec<u8>)>) -> Result<(), StoreError> {
        for (key, data) in rows {
            let statement = AssertSqlSafe(format!("UPDATE {} SET data = ? WHERE id = ?", table.name));
            let update = sqlx::query(statement).bind(data).bind(id(table, key));
            let done = update.execute(self.connection()).await;
            done.map_err(|error| self.0.error(error))?;
        }
        Ok(())
    }

    async fn shrunk(&mut self, _run: u64, _bytes: u64) -> Result<(), StoreError> {
        Ok(())
    }

    async fn size(&mut self) -> Result<u64, StoreError> {
        let statement = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
        let size: Result<i64, _> = sqlx::query_scalar(statement).fetch_one(self.connection()).await;
        size.map(|size| size as u64).map_err(|error| self.0.error(error))
    }

    /// All of it in order, where there is room for a second copy of it; else what is free at least.
    async fn give_back(&mut self) -> Result<bool, StoreError> {
        if let Err(error) = sqlx::query("VACUUM").execute(self.connection()).await {
            tracing::debug!(%error, "the file is not written anew; what is free is given back");
            self.0.give_back().await.map_err(|error| self.0.error(error))?;
        }
        self.0.write_log_back().await.map_err(|error| self.0.error(error))?;
        Ok(true)
    }
}

/// The ID that a row has here.
fn id(table: Table, key: Key) -> i64 {
    match table.rows {
        Rows::Ranged => key.of.min(i64::MAX as u64) as i64,
        Rows::OfRun => part_id(key.of, key.number),
    }
}

fn key(table: Table, id: i64) -> Key {
    let id = id as u64;
    match table.rows {
        Rows::Ranged => Key { of: id, number: 0 },
        Rows::OfRun => {
            let of = id >> super::PART_BITS;
            Key { of, number: (id - (of << super::PART_BITS)) as u32 }
        }
    }
}

fn read_run(row: &SqliteRow) -> Result<RunRow, sqlx::Error> {
    let mut numbers = [0; RUN_NUMBERS];
    for (column, number) in numbers.iter_mut().enumerate() {
        *number = row.try_get(column)?;
    }
    Ok(RunRow { numbers, rest: row.try_get(RUN_NUMBERS)? })
}
