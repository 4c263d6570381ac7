//! A broker on one SQLite file: durable, shared between processes, nothing to install.
//!
//! It keeps the semantics of RabbitMQ that the toolkit uses: topic exchanges, durable queues, mandatory and
//! confirmed publishes, at-least-once delivery, dead letters. Every process opens the file for itself; there is
//! no server. A publish is committed with `synchronous=FULL`; what only a power failure can undo (a lease, an
//! acknowledgement) is not, since it leads to another delivery at worst.
//!
//! A delivery holds a lease. Consumers renew the leases of what they have at hand; when a consumer is gone, or
//! dropped a delivery unsettled, the lease runs out and the message is delivered again.
//!
//! | file | what lives there |
//! |---|---|
//! | `mod.rs` | opening the file, the [`Broker`] implementation |
//! | `publish.rs` | declarations, routing, inserting |
//! | `deliveries.rs` | claiming, renewing, waiting |
//! | `settle.rs` | how deliveries end |
//! | `watch.rs` | noticing what other processes wrote |

pub(in crate::comms::queue) mod columns;
mod deliveries;
mod publish;
mod settle;
mod watch;

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use sqlx::SqlSafeStr as _;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Row as _, SqlitePool as Pool};

use self::columns::millis;
use self::watch::Watch;
use super::broker::{Broker, BrokerError, Deliveries, QueueSpec, QueueStats};
use super::given_up::Refusals;
use super::message::Message;
use crate::comms::names;
use crate::comms::retry::Backoff;

/// The length of a lease unless another is set: how long a crashed consumer's messages wait.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(30);

const MIGRATION_1: &str = include_str!("../../../../migrations/broker/0001_queues.sql");

/// The broker; cheap to clone.
#[derive(Clone)]
pub struct EmbeddedBroker {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    /// One connection, `synchronous=FULL`: publishes and declarations.
    durable: SqlitePool,
    /// One connection, `synchronous=NORMAL`: leases and settlements.
    quick: SqlitePool,
    watch: Watch,
    lease: Duration,
    refused: Refusals,
    /// Both are the same connection, and the messages are gone with it.
    in_memory: bool,
}

impl EmbeddedBroker {
    /// Opens or makes the file that `url` names, such as `sqlite://throughline-broker.db`.
    ///
    /// # Errors
    /// The file cannot be opened or written, or is not a broker's.
    pub async fn open(url: &str) -> Result<Self, BrokerError> {
        Self::open_with_lease(url, DEFAULT_LEASE).await
    }

    /// As [`Self::open`], with another length of leases.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with_lease(url: &str, lease: Duration) -> Result<Self, BrokerError> {
        let options = SqliteConnectOptions::from_str(url)
            .map_err(unavailable)?
            .create_if_missing(true)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        // Several processes may start at once on a new file, and each wants to be the one that prepares it.
        let backoff =
            Backoff { first: Duration::from_millis(20), longest: Duration::from_millis(500), retries: 10 };
        let durable = backoff
            .run(|| prepare(options.clone()), |error| !is_no_database(error))
            .await
            .map_err(told_apart)?;
        let quick = one_connection(options.clone().synchronous(SqliteSynchronous::Normal)).await?;
        let file = options.get_filename().to_owned();
        let watch = Watch::start(one_connection(options).await?, &file);
        let (refused, in_memory) = (Refusals::default(), false);
        Ok(Self { inner: Arc::new(Inner { durable, quick, watch, lease, refused, in_memory }) })
    }

    /// A broker of its own in memory, for tests: nothing of it is left when its last clone is dropped, and closing it
    /// ends nothing before. [`crate::comms::testing::memory_broker`] says more.
    ///
    /// # Errors
    /// SQLite cannot be set up.
    pub async fn in_memory(lease: Duration) -> Result<Self, BrokerError> {
        let options = SqliteConnectOptions::new().filename(":memory:").foreign_keys(true);
        // One connection for everything: another one would see another database.
        let only = prepare(options).await?;
        let (durable, quick, watch) = (only.clone(), only.clone(), Watch::own(only));
        let (refused, in_memory) = (Refusals::default(), true);
        Ok(Self { inner: Arc::new(Inner { durable, quick, watch, lease, refused, in_memory }) })
    }
}

fn code(error: &BrokerError) -> Option<String> {
    let BrokerError::Unavailable(error) = error else { return None };
    let database = match error.downcast_ref::<MigrateError>() {
        Some(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => Some(error),
        _ => error.downcast_ref::<sqlx::Error>(),
    };
    Some(database?.as_database_error()?.code()?.into_owned())
}

/// SQLITE_NOTADB: waiting does not help.
fn is_no_database(error: &BrokerError) -> bool {
    code(error).as_deref() == Some("26") || matches!(error, BrokerError::Incompatible(_))
}

/// What is still wrong after some tries is about the file, not about who else prepares it: no database at all,
/// or one with tables of the same names (SQLITE_ERROR).
fn told_apart(error: BrokerError) -> BrokerError {
    match (code(&error).as_deref(), error) {
        (Some("1" | "26"), BrokerError::Unavailable(error)) => BrokerError::Incompatible(error.to_string()),
        (_, error) => error,
    }
}

async fn prepare(options: SqliteConnectOptions) -> Result<SqlitePool, BrokerError> {
    let options = options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Full);
    let pool = one_connection(options).await?;
    let first = Migration::new(1, "queues".into(), MigrationType::Simple, MIGRATION_1.into_sql_str(), false);
    Migrator::with_migrations(vec![first]).run(&pool).await.map_err(|error| match error {
        MigrateError::VersionMismatch(_) | MigrateError::VersionMissing(_) => {
            BrokerError::Incompatible(error.to_string())
        }
        other => unavailable(other),
    })?;
    Ok(pool)
}

async fn one_connection(options: SqliteConnectOptions) -> Result<Pool, BrokerError> {
    // Never closed for its age: one in memory takes everything with it.
    let pool = SqlitePoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
    pool.connect_with(options).await.map_err(unavailable)
}

fn unavailable(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> BrokerError {
    BrokerError::Unavailable(error.into())
}

/// Milliseconds since 1970.
fn now_ms() -> i64 {
    millis(SystemTime::now())
}

fn span_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4)
}

impl Broker for EmbeddedBroker {
    fn system(&self) -> &'static str {
        names::SYSTEM_THROUGHLINE
    }

    fn declare_exchange<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(publish::declare_exchange(&self.inner, name))
    }

    fn declare_queue<'a>(&'a self, spec: &'a QueueSpec) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(publish::declare_queue(&self.inner, spec))
    }

    fn bind<'a>(
        &'a self,
        exchange: &'a str,
        pattern: &'a str,
        queue: &'a str,
    ) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(publish::bind(&self.inner, exchange, pattern, queue))
    }

    fn publish<'a>(
        &'a self,
        exchange: &'a str,
        routing_key: &'a str,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(publish::publish(&self.inner, exchange, routing_key, message))
    }

    fn consume<'a>(
        &'a self,
        queue: &'a str,
        prefetch: usize,
    ) -> BoxFuture<'a, Result<Box<dyn Deliveries>, BrokerError>> {
        Box::pin(async move {
            let deliveries = deliveries::open(Arc::clone(&self.inner), queue, prefetch).await?;
            Ok(Box::new(deliveries) as Box<dyn Deliveries>)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if self.inner.in_memory {
                return;
            }
            self.inner.watch.stop().await;
            // The durable one last: the last connection to a file tidies it up.
            self.inner.quick.close().await;
            self.inner.durable.close().await;
        })
    }

    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueStats>, BrokerError>> {
        Box::pin(async move {
            let rows = sqlx::query(
                "SELECT q.name,
                        count(m.seq) FILTER (WHERE m.due_ms <= ?1) AS ready,
                        count(m.seq) FILTER (WHERE m.due_ms > ?1 AND m.lease IS NOT NULL) AS unsettled,
                        count(m.seq) FILTER (WHERE m.due_ms > ?1 AND m.lease IS NULL) AS delayed
                 FROM queue q LEFT JOIN message m ON m.queue = q.name WHERE q.name <> ?2
                 GROUP BY q.name ORDER BY q.name",
            )
            .bind(now_ms())
            .bind(names::QUEUE_TAP)
            .fetch_all(&self.inner.quick)
            .await
            .map_err(unavailable)?;
            let count = |row: &sqlx::sqlite::SqliteRow, column| {
                row.get::<i64, _>(column).try_into().unwrap_or_default()
            };
            let stats = rows.iter().map(|row| QueueStats {
                name: row.get("name"),
                ready: count(row, "ready"),
                unsettled: count(row, "unsettled"),
                delayed: count(row, "delayed"),
            });
            Ok(stats.collect())
        })
    }
}
