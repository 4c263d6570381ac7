//! The store's tables in SQLite.
//!
//! One connection writes, a few read ([`readers`]), and one writes the log back into the file ([`log`]). WAL with `synchronous=FULL`: a commit is on disk when it returns.

mod audit;
mod ballast;
mod blobs;
mod log;
mod open;
mod readers;
mod reads;
mod samples;
mod side;
mod writes;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::Mutex;

use super::StoreError;
use super::backend::{Backend, Kept, Loaded, Part, STEP, Seal};
use super::block::ItemKind;
use super::pace::timed;
use super::run::RunMeta;
use super::series::chunk::{ChunkInfo, NewChunk, Wanted};
use crate::dashboard::model::Nanos;
use crate::dashboard::model::audit::{AuditFilter, Audited, Ending, Intent};
use ballast::Ballast;
use log::Log;
use readers::Readers;
pub use side::SqliteSide;

/// Bits of a page's or chunk's number in its ID; the run's ID stands above them.
const PART_BITS: u32 = 24;

/// The first block's ID.
const FIRST: u64 = STEP;

/// The connection that writes, and the ID of the next block.
struct Writer {
    connection: SqliteConnection,
    next_block: u64,
}

/// A SQLite file.
pub struct Sqlite {
    path: PathBuf,
    writer: Arc<Mutex<Writer>>,
    readers: Readers,
    log: Log,
    ballast: Ballast,
    /// Held for as long as the store is open, so that no second process writes to the same file.
    _lock: open::Lock,
}

#[async_trait]
impl Backend for Sqlite {
    fn engine(&self) -> &'static str {
        "SQLite"
    }

    fn location(&self) -> String {
        self.path.display().to_string()
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        let loaded = self.read_all().await.map_err(|error| self.error(error))?;
        self.writer.lock().await.next_block = loaded.head.next_block;
        Ok(loaded)
    }

    async fn commit(&self, blocks: Vec<Vec<u8>>) -> Result<u64, StoreError> {
        if self.ballast.is_given_up() {
            return Err(self.full());
        }
        self.write_blocks(blocks).await.map_err(|error| self.error(error))
    }

    fn is_short_of_room(&self) -> bool {
        self.ballast.is_wanted()
    }

    fn is_full(&self) -> bool {
        self.ballast.is_given_up()
    }

    async fn filled(&self) {
        self.ballast.lost().await;
    }

    async fn make_room(&self) {
        // What was removed is still in the file until the log is written into it.
        if self.is_full() && self.write_log_back().await.is_err() {
            return;
        }
        self.ballast.restore();
    }

    async fn seal(&self, seal: Seal) -> Result<(), StoreError> {
        let rest = seal.run.meta.encode_rest()?;
        timed("all of it", self.write_seal(seal, rest)).await.map_err(|error| self.error(error))
    }

    async fn runs(&self, after: u64) -> Result<Vec<RunMeta>, StoreError> {
        self.read_runs(after).await.map_err(|error| self.error(error))
    }

    async fn kept(&self) -> Result<HashMap<u64, Kept>, StoreError> {
        self.read_kept().await.map_err(|error| self.error(error))
    }

    async fn block(&self, id: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_block(id).await.map_err(|error| self.error(error))
    }

    async fn blocks(&self, first: u64, last: u64) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.read_blocks(first, last).await.map_err(|error| self.error(error))
    }

    async fn pages(&self, run: u64, first: u32, last: u32) -> Result<Vec<Vec<u8>>, StoreError> {
        self.read_pages(run, first, last).await.map_err(|error| self.error(error))
    }

    async fn pages_at(&self, places: &[(u64, u32)]) -> Result<Vec<Part>, StoreError> {
        self.read_parts("run_page", places).await.map_err(|error| self.error(error))
    }

    async fn chunks_at(&self, places: &[(u64, u32)]) -> Result<Vec<Part>, StoreError> {
        self.read_parts("run_chunk", places).await.map_err(|error| self.error(error))
    }

    async fn blocks_at(&self, ids: &[u64]) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.read_listed(ids).await.map_err(|error| self.error(error))
    }

    async fn chunks(&self, run: u64, first: u32, last: u32) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
        self.read_chunks(run, first, last).await.map_err(|error| self.error(error))
    }

    async fn drop_run(&self, run: &RunMeta) -> Result<(), StoreError> {
        self.delete_run(run).await.map_err(|error| self.error(error))
    }

    async fn drop_range(&self, first: u64, last: u64) -> Result<(), StoreError> {
        self.delete_range(first, last).await.map_err(|error| self.error(error))
    }

    async fn forget(&self, run: &RunMeta, kind: ItemKind) -> Result<(), StoreError> {
        self.write_forgotten(run.id, kind).await.map_err(|error| self.error(error))
    }

    async fn block_ids(&self, first: u64, last: u64) -> Result<Vec<u64>, StoreError> {
        self.read_block_ids(first, last).await.map_err(|error| self.error(error))
    }

    async fn drop_listed(&self, ids: Vec<u64>) -> Result<(), StoreError> {
        self.delete_listed(ids).await.map_err(|error| self.error(error))
    }

    async fn samples(&self, wanted: &Wanted) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.read_samples(wanted).await.map_err(|error| self.error(error))
    }

    async fn samples_end(&self) -> Result<Nanos, StoreError> {
        self.read_samples_end().await.map_err(|error| self.error(error))
    }

    async fn sample_chunks(&self) -> Result<Vec<ChunkInfo>, StoreError> {
        self.read_sample_chunks().await.map_err(|error| self.error(error))
    }

    async fn replace_samples(&self, old: Vec<u64>, new: Vec<NewChunk>) -> Result<(), StoreError> {
        self.swap_samples(old, new).await.map_err(|error| self.error(error))
    }

    async fn begin_audit(&self, intent: Intent) -> Result<u64, StoreError> {
        if self.ballast.is_given_up() {
            return Err(self.full());
        }
        self.write_intent(intent).await.map_err(|error| self.error(error))
    }

    async fn end_audit(&self, id: u64, ending: Ending) -> Result<(), StoreError> {
        self.write_ending(id, ending).await.map_err(|error| self.error(error))
    }

    async fn audited(&self, filter: &AuditFilter) -> Result<Vec<Audited>, StoreError> {
        self.read_audit(filter).await.map_err(|error| self.error(error))
    }

    async fn prune_audit(&self, before: Nanos) -> Result<u64, StoreError> {
        self.delete_audit(before).await.map_err(|error| self.error(error))
    }

    async fn bytes_of(&self, blocks: &[u64]) -> Result<u64, StoreError> {
        self.read_bytes_of(blocks).await.map_err(|error| self.error(error))
    }

    async fn bytes(&self) -> Result<u64, StoreError> {
        self.read_size().await.map_err(|error| self.error(error))
    }
}

/// The ID of a run's page or chunk.
fn part_id(run: u64, number: u32) -> i64 {
    (run << PART_BITS | u64::from(number)) as i64
}

impl Sqlite {
    /// SQLite's result codes (<https://sqlite.org/rescode.html>): 11 and 26 are damage, all else may pass. 13 is a
    /// full disk, and so are mostly a write to a file (778) and to the log's index (4874) that failed.
    fn error(&self, error: sqlx::Error) -> StoreError {
        if let sqlx::Error::Decode(why) = &error {
            return StoreError::Damaged(why.to_string());
        }
        let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
        let code = code.parse::<u32>().unwrap_or(0);
        if matches!(code & 0xff, 11 | 26) {
            return StoreError::Damaged(format!("{}: {error}", self.path.display()));
        }
        if code & 0xff == 13 || matches!(code, 778 | 4874) {
            self.ballast.give_up();
        }
        StoreError::Unavailable(error.to_string())
    }

    fn full(&self) -> StoreError {
        StoreError::Unavailable(format!("the disk of {} is full", self.path.display()))
    }
}
