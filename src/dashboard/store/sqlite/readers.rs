//! The connections that read.
//!
//! sqlx's pool asks a connection whether it lives before each use and after it. For a file that is two more ways to SQLite's
//! thread and back for each statement, and a way takes longer than most statements. These are opened once and handed on.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard};

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use tokio::sync::{Semaphore, SemaphorePermit};

/// How many there are.
const READERS: usize = 4;

/// Connections that nobody uses at the moment, and who waits for one.
pub(super) struct Readers {
    free: Mutex<Vec<SqliteConnection>>,
    turns: Semaphore,
}

/// A connection, until it is dropped. A statement that nobody waits for any more ends by itself before the next one.
pub(super) struct Reading<'a> {
    /// Always there.
    connection: Option<SqliteConnection>,
    readers: &'a Readers,
    _turn: Option<SemaphorePermit<'a>>,
}

impl Readers {
    /// Opens all of them.
    pub async fn open(options: &SqliteConnectOptions) -> Result<Self, sqlx::Error> {
        let mut free = Vec::with_capacity(READERS);
        for _ in 0..READERS {
            free.push(options.connect().await?);
        }
        Ok(Self { free: Mutex::new(free), turns: Semaphore::new(READERS) })
    }

    /// Waits for one. It is the one that was used last, which has most of what is read again.
    pub async fn one(&self) -> Reading<'_> {
        // Nobody closes it.
        let turn = self.turns.acquire().await.ok();
        let connection = self.free().pop();
        Reading { connection, readers: self, _turn: turn }
    }

    fn free(&self) -> MutexGuard<'_, Vec<SqliteConnection>> {
        self.free.lock().expect("no holder panics")
    }
}

impl Deref for Reading<'_> {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        self.connection.as_ref().expect("one for each turn")
    }
}

impl DerefMut for Reading<'_> {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.connection.as_mut().expect("one for each turn")
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.readers.free().extend(self.connection.take());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn as_many_read_at_once_as_there_are_and_the_next_one_waits() {
        let readers = Readers::open(&"sqlite::memory:".parse().unwrap()).await.unwrap();
        let mut taken = Vec::new();
        for _ in 0..READERS {
            taken.push(readers.one().await);
        }
        assert!(tokio::time::timeout(Duration::from_millis(20), readers.one()).await.is_err());
        // One is let go of in the middle of a statement.
        let endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
        let mut one = taken.pop().unwrap();
        let rows = sqlx::query(endless).fetch_all(&mut *one);
        assert!(tokio::time::timeout(Duration::from_millis(20), rows).await.is_err());
        drop(one);
        let mut again = readers.one().await;
        let seven: i64 = sqlx::query_scalar("SELECT 7").fetch_one(&mut *again).await.unwrap();
        assert_eq!(seven, 7);
    }
}
