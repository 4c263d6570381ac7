//! Noticing what was written to the file, by this process or another.
//!
//! Every commit writes to the write-ahead log beside the file, so its size or its time of change tells of one.
//! To look at these costs a microsecond. The clock behind that time is coarse, though: of two commits within a
//! few milliseconds the second may not show. So SQLite itself is asked as well, but less often: a connection's
//! `data_version` changes when another connection has committed.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sqlx::SqlitePool;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Between two looks at the log: what idle consumers wait on average is half of it.
const INTERVAL: Duration = Duration::from_millis(20);
/// The same in memory, where tests wait for it.
const INTERVAL_IN_MEMORY: Duration = Duration::from_millis(4);
/// SQLite is asked at every so many looks at least.
const ASK_EVERY: u32 = 10;

/// Ticks after each change; owns the task that looks.
pub(super) struct Watch {
    changes: watch::Receiver<u64>,
    task: JoinHandle<()>,
    connection: SqlitePool,
}

impl Watch {
    /// `connection` must be used for nothing else: it would not see its own writes.
    pub fn start(connection: SqlitePool, database: &Path) -> Self {
        let mut log = OsString::from(database);
        log.push("-wal");
        let (changed, changes) = watch::channel(0);
        let task = tokio::spawn(look(connection.clone(), PathBuf::from(log), changed));
        Self { changes, task, connection }
    }

    /// As [`Self::start`], for a database in memory, whose only connection this is: it is asked how much it has changed.
    pub fn own(connection: SqlitePool) -> Self {
        let (changed, changes) = watch::channel(0);
        let task = tokio::spawn(look_at_own(connection.clone(), changed));
        Self { changes, task, connection }
    }

    /// Ends the looking and closes its connection.
    pub async fn stop(&self) {
        self.task.abort();
        self.connection.close().await;
    }

    /// A receiver whose `changed` resolves after the next change.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn look(connection: SqlitePool, log: PathBuf, changed: watch::Sender<u64>) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let (mut last_log, mut last_version) = (None, None);
    let mut looks = 0_u32;
    loop {
        interval.tick().await;
        looks = looks.wrapping_add(1);
        let now = state(&log);
        let mut differs = now != last_log;
        last_log = now;
        if !differs && (now.is_none() || looks.is_multiple_of(ASK_EVERY)) {
            let version = sqlx::query_scalar::<_, i64>("PRAGMA data_version").fetch_one(&connection).await;
            // Where it cannot be read, consumers look for themselves and see the error.
            let version = version.ok();
            differs = version.is_none() || version != last_version;
            last_version = version;
        }
        if differs {
            changed.send_modify(|count| *count = count.wrapping_add(1));
        }
    }
}

/// Size and time of change; none where there is no such file.
fn state(log: &Path) -> Option<(u64, SystemTime)> {
    let meta = std::fs::metadata(log).ok()?;
    Some((meta.len(), meta.modified().ok()?))
}

async fn look_at_own(connection: SqlitePool, changed: watch::Sender<u64>) {
    let mut interval = tokio::time::interval(INTERVAL_IN_MEMORY);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = None;
    loop {
        interval.tick().await;
        let now = sqlx::query_scalar::<_, i64>("SELECT total_changes()").fetch_one(&connection).await.ok();
        if now != last || now.is_none() {
            changed.send_modify(|count| *count = count.wrapping_add(1));
        }
        last = now;
    }
}
