//! A PostgreSQL database as rows of blobs.

use async_trait::async_trait;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, Row};
use xxhash_rust::xxh3::xxh3_64;

use super::super::StoreError;
use super::super::audit_rows;
use super::super::series::chunk::NewChunk;
use super::super::side::{
    AUDIT_AT_ONCE, Before, Count, Key, Marks, RUN_COLUMNS, RUN_NUMBERS, Rows, RunRow, SAMPLES_AT_ONCE,
    SIZES_AT_ONCE, Side, TABLES, Table,
};
use super::open::{self, COMPACTED, FINISHED, UNFINISHED};
use super::{Postgres, PostgresError, PostgresUrl, audit, keeper, samples};
use crate::dashboard::model::audit::Audited;

/// The database, over one connection.
pub struct PostgresSide {
    location: String,
    connection: PgConnection,
}

impl PostgresSide {
    /// Opens a finished store, which dashboards may be using.
    pub async fn source(url: &PostgresUrl) -> Result<Self, PostgresError> {
        Postgres::open(url).await?;
        Self::connect(url).await
    }

    /// Opens or makes a store to be copied to, and holds it so that no dashboard writes to it.
    pub async fn target(url: &PostgresUrl) -> Result<Self, PostgresError> {
        Postgres::open_for_copy(url).await?;
        let mut side = Self::connect(url).await?;
        let held = keeper::take(&mut side.connection).await;
        let held = held.map_err(|error| open::trouble_at(url, &error))?;
        if !held {
            return Err(PostgresError::InUse { location: side.location });
        }
        Ok(side)
    }

    async fn connect(url: &PostgresUrl) -> Result<Self, PostgresError> {
        let options = url.options().ok_or(PostgresError::Address)?;
        let connected = async { open::set_up(options.connect().await?).await }.await;
        let connection = connected.map_err(|error| open::trouble_at(url, &error))?;
        Ok(Self { location: url.to_string(), connection })
    }

    fn error(&self, error: sqlx::Error) -> StoreError {
        super::unusable(&self.location, &error)
    }

    async fn execute(&mut self, statement: &'static str) -> Result<(), StoreError> {
        let done = sqlx::query(statement).execute(&mut self.connection).await;
        done.map(drop).map_err(|error| self.error(error))
    }

    async fn counter(&mut self, name: &str) -> Result<Option<i64>, StoreError> {
        let found = sqlx::query_scalar("SELECT value FROM throughline.counter WHERE name = $1")
            .bind(name)
            .fetch_optional(&mut self.connection)
            .await;
        found.map_err(|error| self.error(error))
    }

    async fn set_counter(&mut self, name: &str, value: i64) -> Result<(), StoreError> {
        let done = sqlx::query(
            "INSERT INTO throughline.counter VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2",
        )
        .bind(name)
        .bind(value)
        .execute(&mut self.connection)
        .await;
        done.map(drop).map_err(|error| self.error(error))
    }

    async fn run_where(&mut self, condition: &str, id: u64) -> Result<Option<RunRow>, StoreError> {
        let statement = format!(
            "SELECT {RUN_COLUMNS}, rest FROM throughline.run WHERE id {condition} $1 ORDER BY id LIMIT 1"
        );
        let row = sqlx::query(AssertSqlSafe(statement))
            .bind(id as i64)
            .fetch_optional(&mut self.connection)
            .await
            .and_then(|row| row.as_ref().map(read_run).transpose());
        row.map_err(|error| self.error(error))
    }
}

/// `SELECT what FROM table` over a range; `$1` to `$3` are bound by [`bounds`].
fn over(table: Table, what: &str) -> String {
    let name = table.name;
    match table.rows {
        // What was packed anew belongs to nothing.
        Rows::Ranged if name == "block" => format!(
            "SELECT {what} FROM throughline.block WHERE id BETWEEN $1 AND $2 AND $3 = $3
             AND NOT EXISTS (SELECT FROM throughline.replaced WHERE replaced.id = block.id)"
        ),
        Rows::Ranged => {
            format!("SELECT {what} FROM throughline.{name} WHERE id BETWEEN $1 AND $2 AND $3 = $3")
        }
        Rows::OfRun => {
            format!("SELECT {what} FROM throughline.{name} WHERE number BETWEEN $1 AND $2 AND run = $3")
        }
    }
}

fn bounds(table: Table, first: Key, last: Key) -> [i64; 3] {
    match table.rows {
        Rows::Ranged => [first.of as i64, last.of.min(i64::MAX as u64) as i64, 0],
        Rows::OfRun => [i64::from(first.number), i64::from(last.number), first.of as i64],
    }
}

/// The column that a table is sorted by within a run or a range.
fn number_column(table: Table) -> &'static str {
    match table.rows {
        Rows::Ranged => "id",
        Rows::OfRun => "number",
    }
}

fn key(table: Table, of: u64, number: i64) -> Key {
    match table.rows {
        Rows::Ranged => Key { of: number as u64, number: 0 },
        Rows::OfRun => Key { of, number: number as u32 },
    }
}

#[async_trait]
impl Side for PostgresSide {
    fn location(&self) -> String {
        self.location.clone()
    }

    async fn identity(&mut self) -> Result<i64, StoreError> {
        // When its tables were made, and how many nanoseconds that took: no other store has both.
        let statement = "SELECT extract(epoch FROM installed_on)::text || ' ' || execution_time
                         FROM throughline._sqlx_migrations WHERE version = 1";
        let made: Result<String, _> = sqlx::query_scalar(statement).fetch_one(&mut self.connection).await;
        made.map(|made| xxh3_64(made.as_bytes()) as i64).map_err(|error| self.error(error))
    }

    async fn marks(&mut self) -> Result<Marks, StoreError> {
        let statement = "SELECT (SELECT value FROM throughline.counter WHERE name = 'first_of_tail'),
                                (SELECT value FROM throughline.counter WHERE name = 'next_block')";
        let marks: Result<(i64, i64), _> = sqlx::query_as(statement).fetch_one(&mut self.connection).await;
        let (first_of_tail, next_block) = marks.map_err(|error| self.error(error))?;
        Ok(Marks { first_of_tail: first_of_tail as u64, next_block: next_block as u64 })
    }

    async fn run_after(&mut self, after: u64) -> Result<Option<RunRow>, StoreError> {
        self.run_where(">", after).await
    }

    async fn run(&mut self, id: u64) -> Result<Option<RunRow>, StoreError> {
        self.run_where("=", id).await
    }

    async fn sizes(&mut self, table: Table, first: Key, last: Key) -> Result<Vec<(Key, u64)>, StoreError> {
        let number = number_column(table);
        let what = format!("{number}::bigint, octet_length(data)::bigint");
        let statement = format!("{} ORDER BY {number} LIMIT {SIZES_AT_ONCE}", over(table, &what));
        let [a, b, c] = bounds(table, first, last);
        let query = sqlx::query_as(AssertSqlSafe(statement)).bind(a).bind(b).bind(c);
        let rows: Result<Vec<(i64, i64)>, _> = query.fetch_all(&mut self.connection).await;
        let rows = rows.map_err(|error| self.error(error))?;
        Ok(rows.into_iter().map(|(number, size)| (key(table, first.of, number), size as u64)).collect())
    }

    async fn rows(&mut self, table: Table, first: Key, last: Key) -> Result<Vec<(Key, Vec<u8>)>, StoreError> {
        let number = number_column(table);
        let statement = format!("{} ORDER BY {number}", over(table, &format!("{number}::bigint, data")));
        let [a, b, c] = bounds(table, first, last);
        let query = sqlx::query_as(AssertSqlSafe(statement)).bind(a).bind(b).bind(c);
        let rows: Result<Vec<(i64, Vec<u8>)>, _> = query.fetch_all(&mut self.connection).await;
        let rows = rows.map_err(|error| self.error(error))?;
        Ok(rows.into_iter().map(|(number, data)| (key(table, first.of, number), data)).collect())
    }

    async fn count(&mut self, table: Table, first: Key, last: Key) -> Result<Count, StoreError> {
        let what = "count(*), coalesce(sum(octet_length(data)), 0)::bigint";
        let [a, b, c] = bounds(table, first, last);
        let query = sqlx::query_as(AssertSqlSafe(over(table, what))).bind(a).bind(b).bind(c);
        let counted: Result<(i64, i64), _> = query.fetch_one(&mut self.connection).await;
        let (rows, bytes) = counted.map_err(|error| self.error(error))?;
        Ok(Count { rows: rows as u64, bytes: bytes as u64 })
    }

    async fn before(&mut self) -> Result<Before, StoreError> {
        if let Some(of) = self.counter(UNFINISHED).await? {
            return Ok(Before::Unfinished(of));
        }
        let tables = TABLES.iter().map(|table| table.name).chain(["run", "sample_chunk"]);
        let any: Vec<String> =
            tables.map(|table| format!("EXISTS (SELECT FROM throughline.{table})")).collect();
        let statement = AssertSqlSafe(format!("SELECT {}", any.join(" OR ")));
        let held: Result<bool, _> = sqlx::query_scalar(statement).fetch_one(&mut self.connection).await;
        match held.map_err(|error| self.error(error))? {
            true => Ok(Before::Held(self.counter(FINISHED).await?)),
            false => Ok(Before::Empty),
        }
    }

    async fn mark(&mut self, identity: i64) -> Result<(), StoreError> {
        self.set_counter(UNFINISHED, identity).await
    }

    async fn begin(&mut self) -> Result<(), StoreError> {
        self.execute("BEGIN").await
    }

    async fn put(&mut self, table: Table, rows: Vec<(Key, Vec<u8>)>) -> Result<(), StoreError> {
        let name = table.name;
        let of = rows.first().map_or(0, |(key, _)| key.of as i64);
        let (keys, data): (Vec<Key>, Vec<Vec<u8>>) = rows.into_iter().unzip();
        let done = match table.rows {
            Rows::Ranged => {
                let statement = format!(
                    "INSERT INTO throughline.{name} (id, data) SELECT * FROM unnest($1::bigint[], $2::bytea[])"
                );
                let ids: Vec<i64> = keys.iter().map(|key| key.of as i64).collect();
                sqlx::query(AssertSqlSafe(statement)).bind(ids).bind(data).execute(&mut self.connection).await
            }
            Rows::OfRun => {
                let statement = format!(
                    "INSERT INTO throughline.{name} (run, number, data)
                     SELECT $1, sent.number, sent.data FROM unnest($2::integer[], $3::bytea[]) AS sent (number, data)"
                );
                let numbers: Vec<i32> = keys.iter().map(|key| key.number as i32).collect();
                let insert = sqlx::query(AssertSqlSafe(statement)).bind(of).bind(numbers).bind(data);
                insert.execute(&mut self.connection).await
            }
        };
        done.map(drop).map_err(|error| self.error(error))
    }

    async fn put_run(&mut self, run: RunRow, bytes: u64) -> Result<(), StoreError> {
        let places: Vec<String> = (1..=RUN_NUMBERS + 2).map(|place| format!("${place}")).collect();
        let statement = format!(
            "INSERT INTO throughline.run ({RUN_COLUMNS}, rest, bytes) VALUES ({})",
            places.join(", ")
        );
        let mut insert = sqlx::query(AssertSqlSafe(statement));
        for number in run.numbers {
            insert = insert.bind(number);
        }
        let done = insert.bind(run.rest).bind(bytes as i64).execute(&mut self.connection).await;
        done.map(drop).map_err(|error| self.error(error))
    }

    async fn remove(&mut self, run: u64, blocks: (u64, u64)) -> Result<(), StoreError> {
        for table in TABLES {
            let (first, last) = Key::range(table, run, blocks);
            let [a, b, c] = bounds(table, first, last);
            let condition = match table.rows {
                Rows::Ranged => "id BETWEEN $1 AND $2 AND $3 = $3",
                Rows::OfRun => "number BETWEEN $1 AND $2 AND run = $3",
            };
            let statement =
                AssertSqlSafe(format!("DELETE FROM throughline.{} WHERE {condition}", table.name));
            let delete = sqlx::query(statement).bind(a).bind(b).bind(c);
            let done = delete.execute(&mut self.connection).await;
            done.map_err(|error| self.error(error))?;
        }
        let delete = sqlx::query("DELETE FROM throughline.run WHERE id = $1").bind(run as i64);
        delete.execute(&mut self.connection).await.map(drop).map_err(|error| self.error(error))
    }

    async fn samples_after(&mut self, after: u64) -> Result<Vec<(u64, NewChunk)>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, tier, begins, ends, first_name, last_name, data FROM throughline.sample_chunk
             WHERE id > $1 ORDER BY id LIMIT $2",
        )
        .bind(after as i64)
        .bind(SAMPLES_AT_ONCE)
        .fetch_all(&mut self.connection)
        .await;
        let read = rows.and_then(|rows| rows.iter().map(samples::read_chunk).collect());
        read.map_err(|error| self.error(error))
    }

    async fn count_samples(&mut self) -> Result<Count, StoreError> {
        let statement = "SELECT count(*), coalesce(sum(octet_length(data)), 0)::bigint
                         FROM throughline.sample_chunk";
        let counted: Result<(i64, i64), _> = sqlx::query_as(statement).fetch_one(&mut self.connection).await;
        let (rows, bytes) = counted.map_err(|error| self.error(error))?;
        Ok(Count { rows: rows as u64, bytes: bytes as u64 })
    }

    async fn put_samples(&mut self, chunks: Vec<NewChunk>) -> Result<(), StoreError> {
        let done = samples::insert(&mut self.connection, chunks).await;
        done.map_err(|error| self.error(error))
    }

    async fn remove_samples(&mut self) -> Result<(), StoreError> {
        self.execute("DELETE FROM throughline.sample_chunk").await
    }

    async fn audit_after(&mut self, after: u64) -> Result<Vec<Audited>, StoreError> {
        let statement = format!(
            "SELECT {} FROM throughline.audit WHERE id > $1 ORDER BY id LIMIT $2",
            audit_rows::COLUMNS
        );
        let rows = sqlx::query(AssertSqlSafe(statement))
            .bind(after as i64)
            .bind(AUDIT_AT_ONCE)
            .fetch_all(&mut self.connection)
            .await;
        let read = rows.and_then(|rows| rows.iter().map(audit_rows::read).collect());
        read.map_err(|error| self.error(error))
    }

    async fn count_audit(&mut self) -> Result<Count, StoreError> {
        let statement = "SELECT count(*) FROM throughline.audit";
        let counted = sqlx::query_scalar(statement).fetch_one(&mut self.connection).await;
        let rows: i64 = counted.map_err(|error| self.error(error))?;
        Ok(Count { rows: rows as u64, bytes: 0 })
    }

    async fn put_audit(&mut self, rows: Vec<Audited>) -> Result<(), StoreError> {
        let done = audit::insert(&mut self.connection, &rows).await;
        done.map_err(|error| self.error(error))
    }

    async fn remove_audit(&mut self) -> Result<(), StoreError> {
        self.execute("DELETE FROM throughline.audit").await
    }

    async fn put_marks(&mut self, marks: Marks) -> Result<(), StoreError> {
        self.set_counter("first_of_tail", marks.first_of_tail as i64).await?;
        self.set_counter("next_block", marks.next_block as i64).await
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        self.execute("COMMIT").await
    }

    async fn rollback(&mut self) -> Result<(), StoreError> {
        self.execute("ROLLBACK").await
    }

    async fn finish(&mut self, identity: i64) -> Result<(), StoreError> {
        self.begin().await?;
        let statement = "DELETE FROM throughline.counter WHERE name = $1";
        let done = sqlx::query(statement).bind(UNFINISHED).execute(&mut self.connection).await;
        done.map_err(|error| self.error(error))?;
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
        let name = table.name;
        let of = rows.first().map_or(0, |(key, _)| key.of as i64);
        let condition = match table.rows {
            Rows::Ranged => "kept.id = sent.number AND $1 = $1",
            Rows::OfRun => "kept.number = sent.number AND kept.run = $1",
        };
        let statement = format!(
            "UPDATE throughline.{name} AS kept SET data = sent.data
             FROM unnest($2::bigint[], $3::bytea[]) AS sent (number, data) WHERE {condition}"
        );
        let number = |key: Key| match table.rows {
            Rows::Ranged => key.of as i64,
            Rows::OfRun => i64::from(key.number),
        };
        let (numbers, data): (Vec<i64>, Vec<Vec<u8>>) =
            rows.into_iter().map(|(key, data)| (number(key), data)).unzip();
        let update = sqlx::query(AssertSqlSafe(statement)).bind(of).bind(numbers).bind(data);
        update.execute(&mut self.connection).await.map(drop).map_err(|error| self.error(error))
    }

    async fn shrunk(&mut self, run: u64, bytes: u64) -> Result<(), StoreError> {
        let update = sqlx::query("UPDATE throughline.run SET bytes = bytes - $2 WHERE id = $1");
        let done = update.bind(run as i64).bind(bytes as i64).execute(&mut self.connection).await;
        done.map(drop).map_err(|error| self.error(error))
    }

    async fn size(&mut self) -> Result<u64, StoreError> {
        super::reads::bytes(&mut self.connection).await.map_err(|error| self.error(error))
    }

    async fn give_back(&mut self) -> Result<bool, StoreError> {
        Ok(false)
    }
}

fn read_run(row: &PgRow) -> Result<RunRow, sqlx::Error> {
    let mut numbers = [0; RUN_NUMBERS];
    for (column, number) in numbers.iter_mut().enumerate() {
        // All but the number of entries, which is half as long.
        *number = row.try_get::<i64, _>(column).or_else(|_| row.try_get::<i32, _>(column).map(i64::from))?;
    }
    Ok(RunRow { numbers, rest: row.try_get(RUN_NUMBERS)? })
}
