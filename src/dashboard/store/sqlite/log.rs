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

    /// So many bytes went into it, roughly.
    pub fn wrote(&self, bytes: usize) {
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
