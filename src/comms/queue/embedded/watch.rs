//! Noticing what was written to the file, by this process or another.
//!
//! SQLite counts a connection's `data_version` up when another connection has committed. Asking for it touches
//! shared memory only, no disk, so asking fifty times a second costs next to nothing.

use std::time::Duration;

use sqlx::SqlitePool;
use tokio::sync::watch;
use tokio::task::JoinHandle;

const INTERVAL: Duration = Duration::from_millis(20);

/// Ticks after each change; owns the task that looks.
pub(super) struct Watch {
    changes: watch::Receiver<i64>,
    task: JoinHandle<()>,
}

impl Watch {
    /// `connection` must be used for nothing else: it would not see its own writes.
    pub fn start(connection: SqlitePool) -> Self {
        let (sender, changes) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut interval = tokio::time::interval(INTERVAL);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                // While it cannot be read, count on: consumers then look for themselves, and see the error.
                let version =
                    sqlx::query_scalar::<_, i64>("PRAGMA data_version").fetch_one(&connection).await;
                sender.send_if_modified(|last: &mut i64| {
                    let version = version.unwrap_or(last.wrapping_add(1));
                    std::mem::replace(last, version) != version
                });
            }
        });
        Self { changes, task }
    }

    /// A receiver whose `changed` resolves after the next change.
    pub fn subscribe(&self) -> watch::Receiver<i64> {
        self.changes.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}
