//! SQLite's log, and who writes it back into the file.
//!
//! By itself SQLite does that within the commit after which the log is long enough: whoever sent what it holds waits until
//! megabytes are written and on disk. Here a connection of its own does it while commits go on beside it. Only the last
//! of it, which came meanwhile, is written back with the writer held up: SQLite begins the log anew where all of it is in
//! the file, and without that it would grow for as long as spans come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{Mutex, Notify};
use tokio_util::task::AbortOnDropHandle;

use super::super::pace::timed;
use super::Writer;

/// Bytes written to the log after which it is written back.
const DUE: u64 = 8 << 20;
/// Bytes that it may hold before commits wait for the disk to come after.
const MOST: u64 = 48 << 20;
/// Pages left of it for which the writer may be held up, 2 MB.
const FEW: i64 = 512;
/// Times that it is tried with the writer going on, until so few are left.
const ROUNDS: usize = 4;

/// Counts what goes into the log, and holds the task that writes it back.
pub(super) struct Log {
    due: Arc<Due>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Default)]
struct Due {
    written: AtomicU64,
    enough: Notify,
    /// Bytes written since it was written back last.
    held: AtomicU64,
    done: Notify,
}

impl Log {
    /// How long it waits, with the writer held up, for those who still read what was in the log before.
    pub const PATIENCE: Duration = Duration::from_millis(20);

    /// Writes back over a connection of its own, in a task that ends with this.
    pub fn over(connection: SqliteConnection, writer: Arc<Mutex<Writer>>) -> Self {
        let due = Arc::new(Due::default());
        let task = tokio::spawn(write_back(connection, writer, due.clone()));
        Self { due, _task: AbortOnDropHandle::new(task) }
    }

    /// Waits while it holds too much: on a disk that is slower than what comes it would grow without end. To be called
    /// before the writer is taken, which writing back needs too.
    pub async fn room(&self) {
        loop {
            // From here on it hears of it, whether it waits already or not.
            let done = self.due.done.notified();
            if self.due.held.load(Ordering::Relaxed) < MOST {
                return;
            }
            done.await;
        }
    }

    /// So many bytes went into it, roughly.
    pub fn wrote(&self, bytes: usize) {
        self.due.held.fetch_add(bytes as u64, Ordering::Relaxed);
        if self.due.written.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64 >= DUE {
            self.due.enough.notify_one();
        }
    }
}

async fn write_back(mut connection: SqliteConnection, writer: Arc<Mutex<Writer>>, due: Arc<Due>) {
    loop {
        due.enough.notified().await;
        due.written.store(0, Ordering::Relaxed);
        if let Err(error) = all_of_it(&mut connection, &writer).await {
            // It is tried again when more has come. Where the disk is full a commit will say so.
            tracing::debug!(%error, "the log could not be written back");
        }
        due.held.store(0, Ordering::Relaxed);
        due.done.notify_waiters();
    }
}

async fn all_of_it(connection: &mut SqliteConnection, writer: &Mutex<Writer>) -> Result<(), sqlx::Error> {
    for _ in 0..ROUNDS {
        // What no reader stands in the way of.
        if timed("written back beside", checkpoint(connection, "PASSIVE")).await? <= FEW {
            break;
        }
    }
    let _held = writer.lock().await;
    // With nobody left who reads in it, so that the next commit begins it anew.
    timed("written back", checkpoint(connection, "RESTART")).await.map(drop)
}

/// Gives how many pages are left.
async fn checkpoint(connection: &mut SqliteConnection, mode: &'static str) -> Result<i64, sqlx::Error> {
    let statement = AssertSqlSafe(format!("PRAGMA wal_checkpoint({mode})"));
    let (_, pages, done): (i64, i64, i64) = sqlx::query_as(statement).fetch_one(connection).await?;
    Ok(pages - done)
}

#[cfg(test)]
mod tests {
    use super::super::Sqlite;
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_log_stays_short_however_much_comes_and_commits_wait_for_it_at_last() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.db");
        let store = Sqlite::open(&file).await.unwrap();
        for _ in 0..160 {
            store.write_blocks(vec![vec![7; 1 << 20]]).await.unwrap();
        }
        let log = std::fs::metadata(folder.path().join("a.db-wal")).unwrap().len();
        assert!(log < 2 * MOST, "{log} bytes");
        // While it cannot be written back, who would write more than it may hold waits.
        let held = store.writer.lock().await;
        store.log.wrote(MOST as usize);
        assert!(tokio::time::timeout(Duration::from_millis(50), store.log.room()).await.is_err());
        drop(held);
        tokio::time::timeout(Duration::from_secs(20), store.log.room()).await.unwrap();
    }
}
