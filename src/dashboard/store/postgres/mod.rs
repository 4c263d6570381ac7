//! The store's tables in a PostgreSQL database, in a schema of their own; several dashboards may share them.
//!
//! * [`url`]: the address, without showing its password.
//! * [`open`]: ours, new enough, writable.
//! * [`reads`], [`writes`], [`samples`], [`audit`]: the statements.
//! * [`keeper`]: who of several dashboards seals and removes, and how far the store has come.
//!
//! A commit is one statement: it takes the next IDs from the counter and inserts, all in one transaction and one
//! round trip. The counter's row is locked until the commit is done, so IDs become visible in order and without gaps.

mod audit;
mod keeper;
mod open;
mod reads;
mod samples;
mod seal;
mod side;
mod url;
mod writes;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool};
use tokio::runtime::Handle;

use super::StoreError;
use super::backend::{Backend, Head, Kept, Loaded, Part, Seal};
use super::block::ItemKind;
use super::pace::{Pace, timed};
use super::run::RunMeta;
use super::series::chunk::{ChunkInfo, NewChunk, Wanted};
use crate::dashboard::model::Nanos;
use crate::dashboard::model::audit::{AuditFilter, Audited, Ending, Intent};
use keeper::Keeper;
pub use open::PostgresError;
pub use side::PostgresSide;
pub use url::PostgresUrl;

/// How long a read may take, all tries together.
const READ: Duration = Duration::from_secs(8);
/// How long a commit may take, as long as SQLite waits for a lock.
const WRITE: Duration = Duration::from_secs(4);
/// How long a look at what others wrote may take. The writer does nothing else meanwhile.
const LOOK: Duration = Duration::from_secs(2);
/// How long what nobody waits for may take: a seal, a step of a removal.
const KEEP: Duration = Duration::from_secs(30);

/// Rows that the first statement of a removal removes, and that any may.
const DELETE_STEP: u32 = 32;
const DELETE_MOST: u32 = 512;

/// A PostgreSQL database.
pub struct Postgres {
    location: String,
    readers: PgPool,
    writers: PgPool,
    keeper: Keeper,
    /// Set when the server had no room to write, until it has again.
    full: AtomicBool,
    /// Connections live in the runtime that made them; the store's writer has another one.
    runtime: Handle,
}

#[async_trait]
impl Backend for Postgres {
    fn engine(&self) -> &'static str {
        "PostgreSQL"
    }

    fn location(&self) -> String {
        self.location.clone()
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn is_keeper(&self) -> bool {
        self.keeper.is_held()
    }

    async fn head(&self) -> Result<Head, StoreError> {
        let keeper = self.keeper.clone();
        self.finish(LOOK, async move { keeper.head().await }).await
    }

    async fn load(&self) -> Result<Loaded, StoreError> {
        self.read(|connection| Box::pin(reads::all(connection))).await
    }

    async fn runs(&self, after: u64) -> Result<Vec<RunMeta>, StoreError> {
        self.read(move |connection| Box::pin(reads::runs(connection, after))).await
    }

    async fn kept(&self) -> Result<HashMap<u64, Kept>, StoreError> {
        self.read(|connection| Box::pin(reads::kept(connection))).await
    }

    async fn block_ids(&self, first: u64, last: u64) -> Result<Vec<u64>, StoreError> {
        self.read(move |connection| Box::pin(reads::block_ids(connection, first, last))).await
    }

    async fn block(&self, id: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(move |connection| Box::pin(reads::block(connection, id))).await
    }

    async fn blocks(&self, first: u64, last: u64) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        self.read(move |connection| Box::pin(reads::blocks(connection, first, last))).await
    }

    async fn pages(&self, run: u64, first: u32, last: u32) -> Result<Vec<Vec<u8>>, StoreError> {
        self.read(move |connection| Box::pin(reads::pages(connection, run, first, last))).await
    }

    async fn pages_at(&self, places: &[(u64, u32)]) -> Result<Vec<Part>, StoreError> {
        let places = places.to_vec();
        self.read(move |connection| Box::pin(reads::parts(connection, "run_page", places.clone()))).await
    }

    async fn chunks_at(&self, places: &[(u64, u32)]) -> Result<Vec<Part>, StoreError> {
        let places = places.to_vec();
        self.read(move |connection| Box::pin(reads::parts(connection, "run_chunk", places.clone()))).await
    }

    async fn blocks_at(&self, ids: &[u64]) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let ids: Vec<i64> = ids.iter().map(|id| *id as i64).collect();
        self.read(move |connection| Box::pin(reads::blocks_at(connection, ids.clone()))).await
    }

    async fn chunks(&self, run: u64, first: u32, last: u32) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
        self.read(move |connection| Box::pin(reads::chunks(connection, run, first, last))).await
    }

    async fn samples(&self, wanted: &Wanted) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let wanted = wanted.clone();
        self.read(move |connection| {
            let wanted = wanted.clone();
            Box::pin(async move { samples::read(connection, &wanted).await })
        })
        .await
    }

    async fn samples_end(&self) -> Result<Nanos, StoreError> {
        self.read(|connection| Box::pin(samples::end(connection))).await
    }

    async fn sample_chunks(&self) -> Result<Vec<ChunkInfo>, StoreError> {
        self.read(|connection| Box::pin(samples::list(connection))).await
    }

    async fn replace_samples(&self, old: Vec<u64>, new: Vec<NewChunk>) -> Result<(), StoreError> {
        let keeper = self.keeper.clone();
        let replaced = async move {
            keeper.with(move |connection| Box::pin(samples::replace(connection, old, new))).await
        };
        self.finish(KEEP, replaced).await
    }

    async fn begin_audit(&self, intent: Intent) -> Result<u64, StoreError> {
        let writers = self.writers.clone();
        let begin = async move {
            with(&writers, |connection| Box::pin(async move { audit::begin(connection, &intent).await }))
                .await
        };
        self.finish(WRITE, begin).await
    }

    async fn end_audit(&self, id: u64, ending: Ending) -> Result<(), StoreError> {
        let writers = self.writers.clone();
        let end = async move {
            with(&writers, |connection| Box::pin(async move { audit::end(connection, id, &ending).await }))
                .await
        };
        self.finish(WRITE, end).await
    }

    async fn audited(&self, filter: &AuditFilter) -> Result<Vec<Audited>, StoreError> {
        let filter = filter.clone();
        self.read(move |connection| {
            let filter = filter.clone();
            Box::pin(async move { audit::list(connection, &filter).await })
        })
        .await
    }

    async fn prune_audit(&self, before: Nanos) -> Result<u64, StoreError> {
        let writers = self.writers.clone();
        let prune =
            async move { with(&writers, |connection| Box::pin(audit::prune(connection, before))).await };
        self.finish(KEEP, prune).await
    }

    async fn bytes_of(&self, blocks: &[u64]) -> Result<u64, StoreError> {
        let ids: Vec<i64> = blocks.iter().map(|id| *id as i64).collect();
        self.read(move |connection| Box::pin(reads::bytes_of(connection, ids.clone()))).await
    }

    async fn bytes(&self) -> Result<u64, StoreError> {
        self.read(|connection| Box::pin(reads::bytes(connection))).await
    }

    async fn commit(&self, blocks: Vec<Vec<u8>>) -> Result<u64, StoreError> {
        let writers = self.writers.clone();
        let commit =
            async move { with(&writers, |connection| Box::pin(writes::commit(connection, blocks))).await };
        let committed = self.finish(WRITE, commit).await;
        if committed.is_ok() {
            self.full.store(false, Ordering::Relaxed);
        }
        committed
    }

    fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }

    async fn seal(&self, seal: Seal) -> Result<(), StoreError> {
        let rest = seal.run.meta.encode_rest()?;
        let (keeper, writers) = (self.keeper.clone(), self.writers.clone());
        let sealed = async move {
            keeper
                .with(move |connection| {
                    Box::pin(async move { seal::seal(connection, &writers, seal, rest).await })
                })
                .await
        };
        timed("all of it", self.finish(KEEP, sealed)).await
    }

    async fn drop_run(&self, run: &RunMeta) -> Result<(), StoreError> {
        let (keeper, id) = (self.keeper.clone(), run.id);
        // By the connection that holds the lock: two that take themselves for the keeper would remove twice as much.
        let unlisted =
            async move { keeper.with(move |connection| Box::pin(writes::drop_run(connection, id))).await };
        self.finish(KEEP, unlisted).await?;
        self.drop_range(run.first_block, run.last_block).await
    }

    async fn drop_range(&self, first: u64, last: u64) -> Result<(), StoreError> {
        for what in [writes::Going::Pages, writes::Going::Chunks, writes::Going::Blocks] {
            let mut pace = Pace::new(DELETE_STEP, DELETE_MOST);
            loop {
                let (writers, most) = (self.writers.clone(), pace.begin());
                let step = async move {
                    with(&writers, |connection| {
                        Box::pin(writes::drop_some(connection, what, (first, last), most))
                    })
                    .await
                };
                if self.finish(KEEP, step).await? == 0 {
                    break;
                }
                pace.end();
            }
        }
        Ok(())
    }

    async fn forget(&self, run: &RunMeta, kind: ItemKind) -> Result<(), StoreError> {
        let ids = run.blocks_of(kind, self.block_ids(run.first_block, run.last_block).await?);
        let (keeper, id) = (self.keeper.clone(), run.id);
        let forgotten = async move {
            keeper.with(move |connection| Box::pin(writes::forget(connection, id, kind, ids))).await
        };
        self.finish(KEEP, forgotten).await
    }

    async fn drop_listed(&self, ids: Vec<u64>) -> Result<(), StoreError> {
        let (mut left, mut pace) = (&ids[..], Pace::new(DELETE_STEP, DELETE_MOST));
        while !left.is_empty() {
            let (step, rest) = left.split_at(left.len().min(pace.begin() as usize));
            let (writers, step) = (self.writers.clone(), step.to_vec());
            let step = async move {
                with(&writers, |connection| Box::pin(writes::drop_listed(connection, step))).await
            };
            self.finish(KEEP, step).await?;
            pace.end();
            left = rest;
        }
        Ok(())
    }

    async fn tidy(&self) -> Result<(), StoreError> {
        let writers = self.writers.clone();
        let tidy =
            async move { with(&writers, |connection| Box::pin(writes::drop_replaced(connection))).await };
        self.finish(KEEP, tidy).await
    }
}

impl Postgres {
    /// Reads by a connection of the pool, within [`READ`]. Connections that a restart of the server has cut are found
    /// out one by one.
    async fn read<T: Send + 'static>(
        &self,
        read: impl Fn(&mut PgConnection) -> BoxFuture<'_, Result<T, sqlx::Error>> + Send + Sync + 'static,
    ) -> Result<T, StoreError> {
        let readers = self.readers.clone();
        let tries = async move {
            for _ in 0..open::READERS {
                match with(&readers, &read).await {
                    Err(error) if is_cut(&error) => {}
                    done => return done,
                }
            }
            with(&readers, &read).await
        };
        self.finish(READ, tries).await
    }

    /// Runs work in the runtime that the connections live in, within a time. What is cut off takes its connection
    /// with it.
    async fn finish<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, sqlx::Error>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let task = self.runtime.spawn(tokio::time::timeout(limit, work));
        match task.await {
            Ok(Ok(done)) => done.map_err(|error| self.error(&error)),
            Ok(Err(_)) => Err(self.silent()),
            Err(_) => Err(StoreError::Unavailable("it is shutting down".into())),
        }
    }

    fn silent(&self) -> StoreError {
        StoreError::Unavailable(format!("PostgreSQL at {} does not answer", self.location))
    }

    /// SQLSTATE 53100 is a full disk.
    fn error(&self, error: &sqlx::Error) -> StoreError {
        if code(error) == "53100" {
            self.full.store(true, Ordering::Relaxed);
        }
        match error {
            sqlx::Error::PoolTimedOut => self.silent(),
            _ => unusable(&self.location, error),
        }
    }
}

/// SQLSTATE class XX001 and XX002 are damage (<https://www.postgresql.org/docs/current/errcodes-appendix.html>),
/// and so is a record of ours that cannot be read; all else may pass.
fn unusable(location: &str, error: &sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Decode(why) => StoreError::Damaged(format!("{location}: {why}")),
        _ if matches!(code(error).as_str(), "XX001" | "XX002") => {
            StoreError::Damaged(format!("{location}: {error}"))
        }
        _ => StoreError::Unavailable(format!("PostgreSQL at {location}: {error}")),
    }
}

/// A connection of a pool. Unless it is given back it is closed: what was cut off may hang for long.
struct Lease(Option<PoolConnection<sqlx::Postgres>>);

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

/// Does work with a connection of a pool.
async fn with<T>(
    pool: &PgPool,
    work: impl FnOnce(&mut PgConnection) -> BoxFuture<'_, Result<T, sqlx::Error>> + Send,
) -> Result<T, sqlx::Error> {
    let mut lease = Lease(Some(pool.acquire().await?));
    let connection = lease.0.as_mut().expect("it was just put there");
    let done = work(connection).await;
    if done.as_ref().err().is_none_or(|error| !is_cut(error)) {
        drop(lease.0.take());
    }
    done
}

/// The SQLSTATE of a server's error, or nothing.
fn code(error: &sqlx::Error) -> String {
    error.as_database_error().and_then(|error| error.code()).unwrap_or_default().into_owned()
}

/// Whether the connection is gone: cut, or ended by the server (class 57P).
fn is_cut(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Io(_)) || code(error).starts_with("57P")
}
