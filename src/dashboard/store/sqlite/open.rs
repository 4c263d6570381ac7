//! Opening the file: ours, whole, writable, and not in use by another process.

use std::borrow::Cow;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, SqlStr};
use tokio::sync::Mutex;

use super::super::OpenError;
use super::{Ballast, FIRST, Log, Readers, Sqlite, Writer};

/// `PRAGMA application_id` of our files: "THLN".
const APPLICATION_ID: i64 = 0x5448_4c4e;
/// SQLite before this could corrupt a database when a WAL was reset.
const OLDEST_SQLITE: (u32, u32, u32) = (3, 51, 3);
/// How long a write waits for a lock that another process holds.
const BUSY: Duration = Duration::from_secs(4);

/// The counters that say of what store this one is an unfinished or a finished copy.
pub(super) const UNFINISHED: &str = "copy_of";
pub(super) const FINISHED: &str = "copied_from";
/// The counter that says up to which run everything is packed tightly.
pub(super) const COMPACTED: &str = "compacted_to";

impl Sqlite {
    /// Opens the file, makes it where it is missing, and brings its tables up to date.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let store = Self::open_for_copy(path).await?;
        let unfinished = sqlx::query("SELECT 1 FROM counter WHERE name = ?")
            .bind(UNFINISHED)
            .fetch_optional(&mut *store.readers.one().await)
            .await
            .map_err(|error| trouble(path, &error))?;
        match unfinished {
            Some(_) => Err(OpenError::Unfinished { path: show(path) }),
            None => Ok(store),
        }
    }

    /// The same for a file that may be an unfinished copy.
    pub(super) async fn open_for_copy(path: &Path) -> Result<Self, OpenError> {
        let lock = lock(path)?;
        if std::fs::metadata(path).is_ok_and(|file| file.len() > 0) {
            check_owner(path).await?;
        }
        // The log is written back by a connection of its own, beside the commits.
        let options = writing(path).pragma("wal_autocheckpoint", "0");
        let mut writer = options.connect().await.map_err(|error| trouble(path, &error))?;
        prepare(path, &mut writer).await?;
        check_version(&mut writer).await?;
        let beside = options.clone().busy_timeout(Log::PATIENCE).connect().await;
        let beside = beside.map_err(|error| trouble(path, &error))?;
        // Readers set nothing: even a pragma that changes nothing is a write to SQLite.
        let reading = SqliteConnectOptions::new()
            .filename(path)
            .read_only(true)
            .busy_timeout(BUSY)
            .pragma("cache_size", "-2048")
            .disable_statement_logging();
        let readers = Readers::open(&reading).await.map_err(|error| trouble(path, &error))?;
        let writer = Arc::new(Mutex::new(Writer { connection: writer, next_block: FIRST }));
        Ok(Self {
            path: path.to_owned(),
            log: Log::over(beside, writer.clone()),
            writer,
            readers,
            ballast: Ballast::beside(path),
            _lock: lock,
        })
    }
}

/// How a connection that writes is made.
pub(super) fn writing(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .page_size(4096)
        .auto_vacuum(SqliteAutoVacuum::Incremental)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY)
        .pragma("journal_size_limit", "16777216")
        .pragma("cache_size", "-4096")
        .disable_statement_logging()
}

/// The lock file beside the database, held until this is dropped. The system releases it however the process ends.
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone leaves it held for as long as a child that was forked meanwhile has not run its program.
        let _ = self.0.unlock();
    }
}

fn lock(path: &Path) -> Result<Lock, OpenError> {
    let unwritable =
        |error: std::io::Error| OpenError::Unwritable { path: show(path), why: error.to_string() };
    if path.is_dir() {
        return Err(OpenError::Unwritable { path: show(path), why: "it is a directory".into() });
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        return Err(OpenError::NoFolder { path: show(path), folder: show(folder) });
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(PathBuf::from(name))
        .map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: show(path) }),
        Err(TryLockError::Error(error)) => Err(unwritable(error)),
    }
}

/// Looks at an existing file without changing it.
async fn check_owner(path: &Path) -> Result<(), OpenError> {
    let mut connection = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .connect()
        .await
        .map_err(|error| trouble(path, &error))?;
    let id: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(&mut connection)
        .await
        .map_err(|error| trouble(path, &error))?;
    let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut connection)
        .await
        .map_err(|error| trouble(path, &error))?;
    connection.close().await.map_err(|error| trouble(path, &error))?;
    if id == APPLICATION_ID || (id == 0 && tables == 0) {
        return Ok(());
    }
    Err(OpenError::Foreign { path: show(path) })
}

async fn prepare(path: &Path, writer: &mut SqliteConnection) -> Result<(), OpenError> {
    let id: i64 = sqlx::query_scalar("PRAGMA application_id")
        .fetch_one(&mut *writer)
        .await
        .map_err(|error| trouble(path, &error))?;
    // Written only once: a store has to open on a disk that is full.
    if id != APPLICATION_ID {
        sqlx::query(sqlx::AssertSqlSafe(format!("PRAGMA application_id = {APPLICATION_ID}")))
            .execute(&mut *writer)
            .await
            .map_err(|error| trouble(path, &error))?;
    }
    let migrations = [
        ("blocks and runs", include_str!("../../../../migrations/sqlite/0001_blocks_and_runs.sql")),
        ("samples", include_str!("../../../../migrations/sqlite/0002_samples.sql")),
        ("audit", include_str!("../../../../migrations/sqlite/0003_audit.sql")),
    ];
    let migrations = migrations.into_iter().enumerate().map(|(index, (name, sql))| {
        let version = index as i64 + 1;
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, SqlStr::from_static(sql), false)
    });
    let migrated = Migrator::with_migrations(migrations.collect()).run(writer).await;
    migrated.map_err(|error| match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionTooNew(..) => {
            OpenError::OtherVersion { path: show(path), age: "newer" }
        }
        MigrateError::VersionMismatch(_) => OpenError::OtherVersion { path: show(path), age: "older" },
        other => trouble(path, &sqlx::Error::from(other)),
    })
}

async fn check_version(writer: &mut SqliteConnection) -> Result<(), OpenError> {
    let version: String = sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(writer)
        .await
        .map_err(|error| OpenError::OldSqlite(error.to_string()))?;
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let mut part = || parts.next().unwrap_or(0);
    if (part(), part(), part()) < OLDEST_SQLITE {
        return Err(OpenError::OldSqlite(version));
    }
    Ok(())
}

fn show(path: &Path) -> String {
    path.display().to_string()
}

/// Result codes: 26 is no database, 11 is damage, all else is that the file cannot be used.
pub(super) fn trouble(path: &Path, error: &sqlx::Error) -> OpenError {
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    let path = show(path);
    match code.parse::<u32>().unwrap_or(0) & 0xff {
        26 => OpenError::NotADatabase { path },
        11 => OpenError::Damaged { path, why: error.to_string() },
        _ => OpenError::Unwritable { path, why: error.to_string() },
    }
}
