//! Packs the runs of a store tightly: the same contents under the same numbers, in smaller frames.
//!
//! What comes is packed in a hurry; what stays for long is worth more work. Each frame is unpacked, packed at a high
//! level and put back where it was, so that nothing else changes and it may stop at any moment. How far it has come
//! is written down run by run; the next call goes on there, and later ones do what was sealed since.

use super::block::{self, pack_tighter};
use super::side::{self, Key, RunRow, Side, TABLES, Table};
use super::{Location, OpenError, StoreError};

/// zstd's level. On traces of `throughline load` it takes 10 % off a run; 19 takes off 12 % in ten times the time.
const LEVEL: i32 = 12;
/// Bytes of rows held in memory at once, but for a row that is larger by itself.
const AT_ONCE: u64 = 4 << 20;

/// Why a store could not be packed. Each text is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("{0}; the same command goes on where this one stopped")]
    Stopped(#[from] StoreError),
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compacted {
    pub location: String,
    /// Runs that were gone through, and rows of them that are smaller now.
    pub runs: u64,
    pub rows: u64,
    /// Bytes of the file, or in PostgreSQL of what is kept.
    pub before: u64,
    pub after: u64,
    /// Whether the space was given back to the file system.
    pub given_back: bool,
}

/// Packs what was sealed since the last time. `progress` is told how many of how many bytes are done.
///
/// # Errors
/// The store cannot be opened or is a SQLite file in use, or reading or writing failed.
pub async fn compact(
    location: &Location,
    progress: impl FnMut(u64, u64) + Send,
) -> Result<Compacted, CompactError> {
    let side = side::open(location).await?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut compacting = Compacting { side, progress, threads, done: 0, all: 0, rows: 0 };
    Ok(compacting.run().await?)
}

struct Compacting<P> {
    side: Box<dyn Side>,
    progress: P,
    threads: usize,
    /// Bytes.
    done: u64,
    all: u64,
    rows: u64,
}

impl<P: FnMut(u64, u64) + Send> Compacting<P> {
    async fn run(&mut self) -> Result<Compacted, StoreError> {
        let before = self.side.size().await?;
        let mut after = self.side.compacted().await?;
        self.all = self.bytes_after(after).await?;
        self.tell(0);
        let mut runs = 0;
        while let Some(run) = self.side.run_after(after).await? {
            after = run.id();
            for table in TABLES {
                self.table(table, &run).await?;
            }
            self.side.set_compacted(after).await?;
            runs += 1;
        }
        let given_back = self.side.give_back().await?;
        let (location, after) = (self.side.location(), self.side.size().await?);
        Ok(Compacted { location, runs, rows: self.rows, before, after, given_back })
    }

    /// Bytes of the runs that are to be gone through.
    async fn bytes_after(&mut self, after: u64) -> Result<u64, StoreError> {
        let (mut after, mut bytes) = (after, 0);
        while let Some(run) = self.side.run_after(after).await? {
            after = run.id();
            for table in TABLES {
                let (first, last) = Key::range(table, run.id(), run.blocks());
                bytes += self.side.count(table, first, last).await?.bytes;
            }
        }
        Ok(bytes)
    }

    /// Goes through a run's rows of a table, piece by piece.
    async fn table(&mut self, table: Table, run: &RunRow) -> Result<(), StoreError> {
        let (mut first, last) = Key::range(table, run.id(), run.blocks());
        while let Some(end) = side::piece(&mut *self.side, table, (first, last), AT_ONCE).await? {
            let rows = self.side.rows(table, first, end).await?;
            let size: u64 = rows.iter().map(|(_, data)| data.len() as u64).sum();
            let threads = self.threads;
            let packed = tokio::task::spawn_blocking(move || pack(rows, threads)).await;
            let (packed, saved) = packed.map_err(|error| StoreError::Unavailable(error.to_string()))?;
            if !packed.is_empty() {
                self.rows += packed.len() as u64;
                self.side.begin().await?;
                self.side.update(table, packed).await?;
                self.side.shrunk(run.id(), saved).await?;
                self.side.commit().await?;
            }
            self.tell(size);
            first = end.next(table);
        }
        Ok(())
    }

    fn tell(&mut self, more: u64) {
        self.done += more;
        (self.progress)(self.done.min(self.all), self.all);
    }
}

/// The rows that got smaller, and by how many bytes.
fn pack(rows: Vec<(Key, Vec<u8>)>, threads: usize) -> (Vec<(Key, Vec<u8>)>, u64) {
    let share = rows.len().div_ceil(threads).max(1);
    let pack = |rows: &[(Key, Vec<u8>)]| -> Vec<(Key, Vec<u8>, u64)> {
        // Without memory for it nothing gets smaller.
        let Ok(mut compressor) = block::compressor(LEVEL) else { return Vec::new() };
        let tighter = |(key, data): &(Key, Vec<u8>)| {
            let packed = pack_tighter(&mut compressor, data)?;
            let saved = (data.len() - packed.len()) as u64;
            Some((*key, packed, saved))
        };
        rows.iter().filter_map(tighter).collect()
    };
    let done: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = rows.chunks(share).map(|rows| scope.spawn(move || pack(rows))).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    });
    let saved = done.iter().map(|(.., saved)| saved).sum();
    (done.into_iter().map(|(key, packed, _)| (key, packed)).collect(), saved)
}
