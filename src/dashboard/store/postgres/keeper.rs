//! Who of several dashboards seals and removes: the one whose connection holds an advisory lock.
//!
//! The lock ends with the connection, however that comes about, and the next dashboard that looks takes it. What only
//! the keeper may do goes over that same connection: who has lost the lock cannot do it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::BoxFuture;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};
use tokio::sync::Mutex;

use super::super::backend::Head;
use super::{open, reads};

/// The lock of the keeper; the first number is of all our locks.
const LOCK: (i32, i32) = (open::LOCKS, 2);

/// Takes the lock with a connection of one's own, until that is closed; false where a dashboard has it.
pub(super) async fn take(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_try_advisory_lock($1, $2)")
        .bind(LOCK.0)
        .bind(LOCK.1)
        .fetch_one(connection)
        .await
}

/// The connection that looks, and holds the lock where it is ours.
#[derive(Clone)]
pub struct Keeper(Arc<State>);

struct State {
    options: PgConnectOptions,
    connection: Mutex<Option<PgConnection>>,
    held: AtomicBool,
}

impl Keeper {
    /// It connects with the first look.
    pub fn new(options: PgConnectOptions) -> Self {
        Self(Arc::new(State { options, connection: Mutex::new(None), held: AtomicBool::new(false) }))
    }

    /// Whether the lock was ours at the last look.
    pub fn is_held(&self) -> bool {
        self.0.held.load(Ordering::Acquire)
    }

    /// How far the store has come; takes the lock where it is free.
    pub async fn head(&self) -> Result<Head, sqlx::Error> {
        let mut place = self.0.connection.lock().await;
        // Taken out: what fails, or is cut off in the middle, is not used again, and the lock goes with it.
        let held = self.0.held.swap(false, Ordering::AcqRel) && place.is_some();
        let mut connection = match place.take() {
            Some(connection) => connection,
            None => open::set_up(self.0.options.connect().await?).await?,
        };
        let (head, held) = reads::head(&mut connection, held, LOCK).await?;
        self.0.held.store(held, Ordering::Release);
        *place = Some(connection);
        Ok(head)
    }

    /// Does what only the keeper may.
    pub async fn with<T>(
        &self,
        work: impl FnOnce(&mut PgConnection) -> BoxFuture<'_, Result<T, sqlx::Error>> + Send,
    ) -> Result<T, sqlx::Error> {
        let mut place = self.0.connection.lock().await;
        let held = self.0.held.swap(false, Ordering::AcqRel);
        let Some(mut connection) = place.take().filter(|_| held) else {
            return Err(sqlx::Error::Protocol("another dashboard seals and removes now".into()));
        };
        let done = work(&mut connection).await?;
        self.0.held.store(true, Ordering::Release);
        *place = Some(connection);
        Ok(done)
    }
}
