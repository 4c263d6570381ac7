//! Where a store is kept in a test: a SQLite file or a PostgreSQL database, with what another program may do to it.
#![allow(dead_code)]

use std::path::PathBuf;

use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, SqliteConnection};
use throughline::dashboard::model::TraceId;
use throughline::dashboard::model::correlation::Keys;
use throughline::dashboard::model::otlp::Batch;
use throughline::dashboard::store::{
    Ingest, Limits, Location, OpenError, PostgresUrl, Store, StoreError, TraceFilter,
};

use crate::common::otlp::{self, TestSpan};
use crate::common::postgres::{Database, Server};

/// A place for a store.
pub enum Place {
    Sqlite(tempfile::TempDir),
    Postgres(Database),
}

/// A lock that another program holds on all that a commit needs.
pub enum Lock {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Lock {
    pub async fn release(self) {
        match self {
            Lock::Sqlite(connection) => connection.close().await.expect("it closes"),
            Lock::Postgres(connection) => connection.close().await.expect("it closes"),
        }
    }
}

impl Place {
    pub async fn sqlite() -> Self {
        Self::Sqlite(tempfile::tempdir().expect("a folder"))
    }

    pub async fn postgres() -> Self {
        Self::Postgres(Server::shared().await.database().await)
    }

    fn file(folder: &tempfile::TempDir) -> PathBuf {
        folder.path().join("store.db")
    }

    pub fn location(&self) -> Location {
        match self {
            Place::Sqlite(folder) => Location::Sqlite(Self::file(folder)),
            Place::Postgres(database) => Location::Postgres(PostgresUrl::new(&database.url())),
        }
    }

    pub async fn open(&self) -> Store {
        self.open_with(Limits::default()).await
    }

    pub async fn open_with(&self, limits: Limits) -> Store {
        self.try_open(limits).await.expect("the store opens")
    }

    pub async fn try_open(&self, limits: Limits) -> Result<Store, OpenError> {
        Store::open(&self.location(), limits, &Keys::default()).await
    }

    /// Ends a store and opens it again.
    pub async fn reopen(&self, store: Store) -> Store {
        store.close().await;
        drop(store);
        self.open().await
    }

    /// Runs a statement, as another program could: on a file or on a database.
    pub async fn change(&self, sqlite: &'static str, postgres: &str) {
        match self {
            Place::Sqlite(folder) => change_file(Self::file(folder), sqlite).await,
            Place::Postgres(database) => database.run(postgres).await,
        }
    }

    /// Locks all that a commit needs.
    pub async fn lock(&self) -> Lock {
        match self {
            Place::Sqlite(folder) => {
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(Self::file(folder));
                let mut connection = options.connect().await.expect("a connection");
                sqlx::query("BEGIN EXCLUSIVE").execute(&mut connection).await.expect("a lock");
                Lock::Sqlite(connection)
            }
            Place::Postgres(database) => {
                let mut connection = database.connect().await;
                sqlx::raw_sql("BEGIN; LOCK TABLE throughline.counter, throughline.block")
                    .execute(&mut connection)
                    .await
                    .expect("a lock");
                Lock::Postgres(connection)
            }
        }
    }

    /// One number out of the store's own tables.
    pub async fn number(&self, postgres: &str) -> i64 {
        let Place::Postgres(database) = self else { panic!("only PostgreSQL is asked") };
        let mut connection = database.connect().await;
        sqlx::query_scalar(AssertSqlSafe(postgres)).fetch_one(&mut connection).await.expect("a number")
    }
}

/// Runs a statement on a file, as another program could.
pub async fn change_file(path: PathBuf, statement: &'static str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// Sends spans; gives how many were stored before.
pub async fn send(store: &Store, service: &str, spans: &[TestSpan]) -> u64 {
    try_send(store, service, spans).await.expect("stored")
}

pub async fn try_send(store: &Store, service: &str, spans: &[TestSpan]) -> Result<u64, StoreError> {
    let batch =
        Batch::traces(otlp::request(service, spans).into(), &Keys::default()).expect("a valid request");
    store.ingest(batch).await.map(|stored| stored.duplicates)
}

/// Sends a request of any number of services.
pub async fn send_raw(store: &Store, request: Vec<u8>) {
    let batch = Batch::traces(request.into(), &Keys::default()).expect("a valid request");
    store.ingest(batch).await.expect("stored");
}

pub async fn send_logs(store: &Store, service: &str, records: &[(&str, Option<u64>, Option<&str>)]) {
    let batch = Batch::logs(otlp::logs(service, records).into(), &Keys::default()).expect("a valid request");
    store.ingest(batch).await.expect("stored");
}

/// The trace ID of a number.
pub fn id(number: u64) -> TraceId {
    TraceId::parse(&otlp::trace_hex(number)).expect("an ID")
}

pub fn newest(limit: usize) -> TraceFilter {
    TraceFilter { limit, ..TraceFilter::default() }
}

/// Text that does not compress, different for each number.
pub fn noise(number: u64, length: usize) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + (state >> 33) as u8 % 90)
    };
    (0..length).map(letter).collect()
}
