//! A store as rows of numbered blobs, whatever database they lie in: for what carries them elsewhere or rewrites them.
//!
//! Nothing here knows what is in a blob. That is what makes a copy exact.

use async_trait::async_trait;

use super::postgres::PostgresSide;
use super::series::chunk::NewChunk;
use super::sqlite::SqliteSide;
use super::{Location, OpenError, StoreError};
use crate::dashboard::model::audit::Audited;

/// A table of blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    pub name: &'static str,
    pub rows: Rows,
}

/// Whose the rows of a table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Each has an ID; a run, or the tail, owns a range of them.
    Ranged,
    /// Each has a number in its run.
    OfRun,
}

/// Sizes that are asked for at once.
pub const SIZES_AT_ONCE: i64 = 256;

/// Chunks of samples that are read at once; the largest has a few hundred kB.
pub const SAMPLES_AT_ONCE: i64 = 16;

/// Rows of the audit that are read at once.
pub const AUDIT_AT_ONCE: i64 = 256;

/// All tables of blobs, in the order in which they are copied. One more table is one more line.
pub const TABLES: [Table; 3] = [
    Table { name: "block", rows: Rows::Ranged },
    Table { name: "run_page", rows: Rows::OfRun },
    Table { name: "run_chunk", rows: Rows::OfRun },
];

/// The columns of a run that hold numbers, in the order of [`RunRow::numbers`].
pub const RUN_COLUMNS: &str =
    "id, first_block, last_block, min_start, max_start, sealed, entries, spans, logs";
pub const RUN_NUMBERS: usize = 9;

/// A run's row as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    pub numbers: [i64; RUN_NUMBERS],
    pub rest: Vec<u8>,
}

impl RunRow {
    pub fn id(&self) -> u64 {
        self.numbers[0] as u64
    }

    /// Its first and last block.
    pub fn blocks(&self) -> (u64, u64) {
        (self.numbers[1] as u64, self.numbers[2] as u64)
    }
}

/// Where a row is: an ID and zero, or a run and a number in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub of: u64,
    pub number: u32,
}

impl Key {
    /// The first and the last that rows of a run, or of a range of blocks, can have.
    pub fn range(table: Table, run: u64, (first, last): (u64, u64)) -> (Key, Key) {
        match table.rows {
            Rows::Ranged => (Key { of: first, number: 0 }, Key { of: last, number: 0 }),
            // SQLite keeps 24 bits of a number.
            Rows::OfRun => (Key { of: run, number: 0 }, Key { of: run, number: (1 << 24) - 1 }),
        }
    }

    /// The next one in a table.
    pub fn next(self, table: Table) -> Key {
        match table.rows {
            Rows::Ranged => Key { of: self.of + 1, number: 0 },
            Rows::OfRun => Key { number: self.number + 1, ..self },
        }
    }
}

/// How far a store has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// All blocks before it are a run's.
    pub first_of_tail: u64,
    /// The ID that the next block gets.
    pub next_block: u64,
}

/// Rows and bytes of a table; those of runs' own rows are not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    pub rows: u64,
    pub bytes: u64,
}

/// What is counted: the tables by [`TABLES`], and the chunks of samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub runs: u64,
    pub tables: [Count; TABLES.len()],
    pub samples: Count,
    /// Rows of the audit; they are small, and their bytes are not counted.
    pub audit: Count,
}

impl Counts {
    /// Takes in what was counted elsewhere.
    pub fn add(&mut self, more: Counts) {
        self.runs += more.runs;
        for (mine, more) in self.tables.iter_mut().zip(more.tables) {
            mine.rows += more.rows;
            mine.bytes += more.bytes;
        }
        self.audit.rows += more.audit.rows;
        self.samples.rows += more.samples.rows;
        self.samples.bytes += more.samples.bytes;
    }

    /// Bytes of all tables.
    pub fn bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.bytes).sum::<u64>() + self.samples.bytes
    }
}

/// What a target was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    Empty,
    /// An unfinished copy of the store with this identity.
    Unfinished(i64),
    /// Data; where it is the finished copy of a store, that one's identity.
    Held(Option<i64>),
}

/// Opens a finished store. A SQLite file is held, so that no dashboard opens it; a database may be in use.
pub async fn open(location: &Location) -> Result<Box<dyn Side>, OpenError> {
    location.must_exist()?;
    Ok(match location {
        Location::Sqlite(path) => Box::new(SqliteSide::source(path).await?),
        Location::Postgres(url) => Box::new(PostgresSide::source(url).await?),
    })
}

/// The last row of a piece that begins with the first of a range and has about so many bytes at most; `None` where
/// there is no row.
pub async fn piece(
    side: &mut dyn Side,
    table: Table,
    (first, last): (Key, Key),
    most: u64,
) -> Result<Option<Key>, StoreError> {
    let (mut end, mut size) = (None, 0);
    for (key, bytes) in side.sizes(table, first, last).await? {
        if size > 0 && size + bytes > most {
            break;
        }
        (end, size) = (Some(key), size + bytes);
    }
    Ok(end)
}

/// A store, over a connection of its own.
#[async_trait]
pub trait Side: Send {
    /// Where it is, without any password.
    fn location(&self) -> String;

    /// A number that this store alone has, however it is reached.
    async fn identity(&mut self) -> Result<i64, StoreError>;

    async fn marks(&mut self) -> Result<Marks, StoreError>;

    /// The run with the lowest ID above `after`.
    async fn run_after(&mut self, after: u64) -> Result<Option<RunRow>, StoreError>;

    async fn run(&mut self, id: u64) -> Result<Option<RunRow>, StoreError>;

    /// Sizes of the first rows of a range, in order; none where there are no more.
    async fn sizes(&mut self, table: Table, first: Key, last: Key) -> Result<Vec<(Key, u64)>, StoreError>;

    /// Rows of a range, in order.
    async fn rows(&mut self, table: Table, first: Key, last: Key) -> Result<Vec<(Key, Vec<u8>)>, StoreError>;

    /// Counts the rows of a range.
    async fn count(&mut self, table: Table, first: Key, last: Key) -> Result<Count, StoreError>;

    /// What it was before something is copied to it.
    async fn before(&mut self) -> Result<Before, StoreError>;

    /// Marks it as an unfinished copy of the store with this identity.
    async fn mark(&mut self, identity: i64) -> Result<(), StoreError>;

    /// Begins what becomes visible as a whole or not at all.
    async fn begin(&mut self) -> Result<(), StoreError>;

    /// Writes rows of one table; those of one run where they are numbered in it.
    async fn put(&mut self, table: Table, rows: Vec<(Key, Vec<u8>)>) -> Result<(), StoreError>;

    /// Writes the row of a run that takes `bytes` in all.
    async fn put_run(&mut self, run: RunRow, bytes: u64) -> Result<(), StoreError>;

    /// Removes a run, or with an ID that no run has a range of blocks, with all that belongs to it.
    async fn remove(&mut self, run: u64, blocks: (u64, u64)) -> Result<(), StoreError>;

    /// The next chunks of samples, those with an ID above `after`, in order of their IDs; none where there are no more.
    async fn samples_after(&mut self, after: u64) -> Result<Vec<(u64, NewChunk)>, StoreError>;

    async fn count_samples(&mut self) -> Result<Count, StoreError>;

    /// Writes chunks of samples, under IDs of its own.
    async fn put_samples(&mut self, chunks: Vec<NewChunk>) -> Result<(), StoreError>;

    async fn remove_samples(&mut self) -> Result<(), StoreError>;

    /// The next rows of the audit, those with a number above `after`, in order; none where there are no more.
    async fn audit_after(&mut self, after: u64) -> Result<Vec<Audited>, StoreError>;

    async fn count_audit(&mut self) -> Result<Count, StoreError>;

    /// Writes rows of the audit, under their own numbers.
    async fn put_audit(&mut self, rows: Vec<Audited>) -> Result<(), StoreError>;

    async fn remove_audit(&mut self) -> Result<(), StoreError>;

    async fn put_marks(&mut self, marks: Marks) -> Result<(), StoreError>;

    /// Ends what was begun; it is on disk when this returns.
    async fn commit(&mut self) -> Result<(), StoreError>;

    /// Undoes what was begun.
    async fn rollback(&mut self) -> Result<(), StoreError>;

    /// Marks it as the finished copy of the store with this identity: from now on it can be opened.
    async fn finish(&mut self, identity: i64) -> Result<(), StoreError>;

    /// Up to which run everything is packed tightly.
    async fn compacted(&mut self) -> Result<u64, StoreError>;

    async fn set_compacted(&mut self, run: u64) -> Result<(), StoreError>;

    /// Puts other blobs into rows that are still there.
    async fn update(&mut self, table: Table, rows: Vec<(Key, Vec<u8>)>) -> Result<(), StoreError>;

    /// A run takes so many bytes less.
    async fn shrunk(&mut self, run: u64, bytes: u64) -> Result<(), StoreError>;

    /// Bytes of the file, or of what is kept.
    async fn size(&mut self) -> Result<u64, StoreError>;

    /// Gives what is free back to the file system; false where only an administrator of the database can.
    async fn give_back(&mut self) -> Result<bool, StoreError>;
}
