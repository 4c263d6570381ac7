//! Opening the database: reachable, new enough, ours, writable; and its tables brought up to date.

use std::borrow::Cow;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, PgConnection, SqlStr};
use tokio::runtime::Handle;

use super::keeper::Keeper;
use super::{Postgres, PostgresUrl, code};

/// The first number of all our advisory locks: "THLN".
pub(super) const LOCKS: i32 = 0x5448_4c4e;
/// Held while the tables are made: two dashboards may start at once.
const MAKING: i32 = 1;
/// Connections that read.
pub(super) const READERS: u32 = 6;
/// Connections that write: one commits, one removes.
const WRITERS: u32 = 2;
/// How long a start waits for the server.
const CONNECT: Duration = Duration::from_secs(10);
/// The oldest server that this was written for.
const OLDEST: u32 = 130_000;
/// The name of the first migration: whose the tables are.
const FIRST_MIGRATION: &str = "blocks and runs";

/// The counters that say of what store this one is an unfinished or a finished copy.
pub(super) const UNFINISHED: &str = "copy_of";
pub(super) const FINISHED: &str = "copied_from";
/// The counter that says up to which run everything is packed tightly.
pub(super) const COMPACTED: &str = "compacted_to";

/// Why a database cannot be the store. Each text names the address, without its password, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error(
        "--store is no address of a database; write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with %40 for an @ in the password"
    )]
    Address,
    #[error("cannot reach PostgreSQL at {location} ({why}); start it, or name another one with --store")]
    Unreachable { location: String, why: String },
    #[error(
        "no connection over TLS to PostgreSQL at {location} ({why}); name the certificate of who signed the server's with sslrootcert=FILE in --store, or look at its sslmode"
    )]
    Tls { location: String, why: String },
    #[error(
        "PostgreSQL at {location} does not let this user in ({why}); set user and password in --store or THROUGHLINE_STORE"
    )]
    Password { location: String, why: String },
    #[error(
        "PostgreSQL has no database {database} ({location}); make it with `createdb {database}`, or name another one with --store"
    )]
    Missing { location: String, database: String },
    #[error(
        "PostgreSQL at {location} is older than 13 ({version}); use a newer server, or name another one with --store"
    )]
    TooOld { location: String, version: u32 },
    #[error(
        "the schema throughline in {location} belongs to another program; name another database with --store, the schema will be created in it"
    )]
    Foreign { location: String },
    #[error(
        "the user of {location} may not write there ({why}); grant it CREATE on the database, or name another one with --store"
    )]
    Unwritable { location: String, why: String },
    #[error(
        "{location} was made by a {age} version of Throughline; open it with that version, or name another database with --store; nothing was changed in it"
    )]
    OtherVersion { location: String, age: &'static str },
    #[error(
        "the store in {location} cannot be read ({why}); restore a copy, or name another database with --store"
    )]
    Unreadable { location: String, why: String },
    #[error(
        "{location} is a copy that is not finished; call the same `throughline store copy` again and it goes on, or name another store"
    )]
    Unfinished { location: String },
    #[error("a dashboard runs on {location}; end it first")]
    InUse { location: String },
}

impl Postgres {
    /// Connects, makes the tables where they are missing, and brings them up to date.
    pub async fn open(url: &PostgresUrl) -> Result<Self, PostgresError> {
        let store = Self::open_for_copy(url).await?;
        let unfinished = async {
            let mut connection = store.readers.acquire().await?;
            sqlx::query("SELECT FROM throughline.counter WHERE name = $1")
                .bind(UNFINISHED)
                .fetch_optional(&mut *connection)
                .await
        };
        match unfinished.await.map_err(|error| trouble_at(url, &error))? {
            Some(_) => Err(PostgresError::Unfinished { location: store.location }),
            None => Ok(store),
        }
    }

    /// The same for a database that may hold an unfinished copy.
    pub(super) async fn open_for_copy(url: &PostgresUrl) -> Result<Self, PostgresError> {
        let options = url.options().ok_or(PostgresError::Address)?;
        let location = url.to_string();
        let trouble = |error: sqlx::Error| trouble(&location, &options, &error);
        let opening = async {
            let mut connection = options.connect().await.map_err(trouble)?;
            check_server(&location, &mut connection).await?;
            connection = set_up(connection).await.map_err(trouble)?;
            prepare(&location, &options, &mut connection).await?;
            warn_of_risk(&location, &mut connection).await.map_err(trouble)?;
            connection.close().await.map_err(trouble)
        };
        let silent = |_| PostgresError::Unreachable { location: location.clone(), why: "no answer".into() };
        tokio::time::timeout(CONNECT, opening).await.map_err(silent)??;
        Ok(Self {
            readers: pool(READERS, Duration::from_secs(4)).connect_lazy_with(options.clone()),
            // A commit is not tried twice, so its connection is looked at before.
            writers: pool(WRITERS, super::WRITE).test_before_acquire(true).connect_lazy_with(options.clone()),
            keeper: Keeper::new(options.clone()),
            full: AtomicBool::new(false),
            runtime: Handle::current(),
            location,
        })
    }
}

fn pool(size: u32, patience: Duration) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(size)
        .acquire_timeout(patience)
        .acquire_slow_threshold(Duration::from_secs(60))
        .test_before_acquire(false)
        .after_connect(|connection, _| Box::pin(settle(connection)))
}

/// Sets up a connection that is not of a pool.
pub(super) async fn set_up(mut connection: PgConnection) -> Result<PgConnection, sqlx::Error> {
    settle(&mut connection).await.map(|()| connection)
}

/// What holds for every connection, whatever the server's or the user's settings say. The server ends a statement that
/// waits or works for longer than anybody here waits for it.
async fn settle(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(
        "SET synchronous_commit = on; SET search_path = throughline; SET statement_timeout = '30s';
         SET lock_timeout = '4s'; SET idle_in_transaction_session_timeout = '30s'",
    )
    .execute(connection)
    .await
    .map(drop)
}

async fn check_server(location: &str, connection: &mut PgConnection) -> Result<(), PostgresError> {
    match connection.server_version_num() {
        Some(version) if version < OLDEST => {
            Err(PostgresError::TooOld { location: location.into(), version: version / 10_000 })
        }
        _ => Ok(()),
    }
}

async fn prepare(
    location: &str,
    options: &PgConnectOptions,
    connection: &mut PgConnection,
) -> Result<(), PostgresError> {
    let trouble = |error: sqlx::Error| trouble(location, options, &error);
    sqlx::query("SELECT pg_advisory_lock($1, $2)")
        .bind(LOCKS)
        .bind(MAKING)
        .execute(&mut *connection)
        .await
        .map_err(trouble)?;
    if !owned_by_us(connection).await.map_err(trouble)? {
        return Err(PostgresError::Foreign { location: location.into() });
    }
    let migrations = [
        (FIRST_MIGRATION, include_str!("../../../../migrations/postgres/0001_blocks_and_runs.sql")),
        ("samples", include_str!("../../../../migrations/postgres/0002_samples.sql")),
        ("audit", include_str!("../../../../migrations/postgres/0003_audit.sql")),
    ];
    let migrations = migrations.into_iter().enumerate().map(|(index, (name, sql))| {
        let version = index as i64 + 1;
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, SqlStr::from_static(sql), false)
    });
    let migrated = Migrator::with_migrations(migrations.collect()).run(connection).await;
    let other_version = |age| PostgresError::OtherVersion { location: location.into(), age };
    migrated.map_err(|error| match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => other_version("newer"),
        MigrateError::VersionMismatch(_) => other_version("older"),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => trouble(error),
        other => trouble(sqlx::Error::from(other)),
    })
}

/// Whether the schema is ours; makes it where there is none.
async fn owned_by_us(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let (schema, tables, migrated): (bool, i64, bool) = sqlx::query_as(
        "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'throughline'),
                (SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('throughline')),
                to_regclass('throughline._sqlx_migrations') IS NOT NULL",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !schema {
        sqlx::query("CREATE SCHEMA throughline").execute(connection).await?;
        return Ok(true);
    }
    if !migrated {
        return Ok(tables == 0);
    }
    let first: Option<String> =
        sqlx::query_scalar("SELECT description FROM throughline._sqlx_migrations WHERE version = 1")
            .fetch_optional(connection)
            .await?;
    Ok(first.is_none_or(|name| name == FIRST_MIGRATION))
}

/// A server that was told not to write to the disk keeps no promise of ours.
async fn warn_of_risk(location: &str, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let fsync: String = sqlx::query_scalar("SELECT current_setting('fsync')").fetch_one(connection).await?;
    if fsync == "off" {
        tracing::warn!("fsync is off at {location}: what was acknowledged is lost when that machine fails");
    }
    Ok(())
}

/// What a failure with the database at an address means.
pub(super) fn trouble_at(url: &PostgresUrl, error: &sqlx::Error) -> PostgresError {
    url.options().map_or(PostgresError::Address, |options| trouble(&url.to_string(), &options, error))
}

/// SQLSTATEs: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn trouble(location: &str, options: &PgConnectOptions, error: &sqlx::Error) -> PostgresError {
    let (location, why) = (location.to_owned(), one_line(error));
    if is_about_tls(error) {
        return PostgresError::Tls { location, why };
    }
    match code(error).as_str() {
        "28P01" | "28000" => PostgresError::Password { location, why },
        "3D000" => {
            let database = options.get_database().unwrap_or(options.get_username()).to_owned();
            PostgresError::Missing { location, database }
        }
        "42501" | "25006" => PostgresError::Unwritable { location, why },
        _ => PostgresError::Unreachable { location, why },
    }
}

/// Whether no connection under TLS came about. A certificate that is refused comes as invalid data of a connection.
fn is_about_tls(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Tls(_) => true,
        sqlx::Error::Io(error) => error.kind() == std::io::ErrorKind::InvalidData,
        _ => false,
    }
}

fn one_line(error: &sqlx::Error) -> String {
    let text = match error.as_database_error() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    };
    text.replace('\n', " ")
}
