//! What cannot be the store is named in one line, with what to do, and left as it was.

use sqlx::AssertSqlSafe;
use throughline::dashboard::model::correlation::Keys;
use throughline::dashboard::store::{Limits, Location, OpenError, PostgresError, PostgresUrl, Store};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::place::{Place, change_file};
use crate::common::postgres::Server;

#[tokio::test]
async fn a_file_that_cannot_be_the_store_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("text.db"), "this is no database, but a text of some length".repeat(100)).unwrap();
    change_file(path("foreign.db"), "CREATE TABLE somebody_elses (id INTEGER)").await;
    let error = async |name: &str| {
        Store::open_sqlite(&path(name), Limits::default(), &Keys::default()).await.err().expect("refused")
    };
    assert!(matches!(error("text.db").await, OpenError::NotADatabase { .. }));
    assert!(matches!(error("foreign.db").await, OpenError::Foreign { .. }));
    let missing = path("no/such").display().to_string();
    let placeless = error("no/such/folder.db").await;
    assert!(matches!(&placeless, OpenError::NoFolder { folder, .. } if *folder == missing), "{placeless}");
    assert!(matches!(error(".").await, OpenError::Unwritable { .. }));
    let open = Store::open_sqlite(&path("store.db"), Limits::default(), &Keys::default()).await.unwrap();
    assert!(matches!(error("store.db").await, OpenError::InUse { .. }));
    for name in ["text.db", "foreign.db", "store.db", "no/such/folder.db"] {
        let words = error(name).await.to_string();
        assert!(words.contains(name) && words.contains("--store") && !words.contains('\n'), "{words}");
    }
    open.close().await;
}

#[tokio::test]
async fn a_closed_store_is_free_although_programs_are_started_meanwhile() {
    let place = Place::sqlite().await;
    let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ended = over.clone();
    // Between its start and its program's a child has what its parent had open.
    let starts = std::thread::spawn(move || {
        while !ended.load(std::sync::atomic::Ordering::Relaxed) {
            std::process::Command::new("true").status().expect("it is there on every Unix");
        }
    });
    let mut busy = 0;
    for _ in 0..100 {
        match place.try_open(Limits::default()).await {
            Ok(store) => store.close().await,
            Err(OpenError::InUse { .. }) => busy += 1,
            Err(other) => panic!("{other}"),
        }
    }
    over.store(true, std::sync::atomic::Ordering::Relaxed);
    starts.join().expect("it ends");
    assert_eq!(busy, 0, "of 100 times it was said to be in use");
}

/// Opens an address, which is to fail; looks at what holds for all such errors.
async fn refused(url: &str) -> PostgresError {
    let location = Location::Postgres(PostgresUrl::new(url));
    let error = Store::open(&location, Limits::default(), &Keys::default()).await.err().expect("refused");
    let words = error.to_string();
    assert!(words.contains("--store") && !words.contains('\n'), "{words}");
    assert!(!words.contains("secret"), "the password is shown: {words}");
    match error {
        OpenError::Postgres(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_the_store_is_named() {
    let server = Server::shared().await;
    let database = server.database().await;
    database.run("CREATE ROLE guarded LOGIN PASSWORD 'right'; CREATE ROLE guest LOGIN").await;
    let at = |user: &str, name: &str| {
        format!("postgres://{user}:secret@localhost/{name}?host={}", server.socket().display())
    };
    let error = refused(&at("guarded", &database.name)).await;
    assert!(matches!(error, PostgresError::Password { .. }), "{error}");
    let error = refused(&at("admin", "not_there")).await;
    assert!(matches!(&error, PostgresError::Missing { database, .. } if database == "not_there"), "{error}");
    let error = refused(&at("guest", &database.name)).await;
    assert!(matches!(error, PostgresError::Unwritable { .. }), "{error}");
    let error = refused("postgres://a:secret@127.0.0.1:1/x").await;
    assert!(matches!(error, PostgresError::Unreachable { .. }), "{error}");
    let error = refused("postgres://a:sec ret@[no host/secret").await;
    assert!(matches!(error, PostgresError::Address), "{error}");
    database.run("CREATE SCHEMA throughline; CREATE TABLE throughline.somebody_elses (id int)").await;
    let error = refused(&database.url()).await;
    assert!(matches!(error, PostgresError::Foreign { .. }), "{error}");
}

#[tokio::test]
async fn the_schema_is_all_that_is_taken_of_a_database() {
    let place = Place::postgres().await;
    let Place::Postgres(database) = &place else { unreachable!("just made") };
    database.run("CREATE TABLE block (id text); CREATE TABLE _sqlx_migrations (id text)").await;
    let store = place.open().await;
    store.close().await;
    let mut connection = database.connect().await;
    let outside: Vec<String> = sqlx::query_scalar(AssertSqlSafe(
        "SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
         ORDER BY 1",
    ))
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(outside, ["_sqlx_migrations", "block"]);
}

/// No old server is at hand: one that only greets as such is enough, since the greeting tells.
#[tokio::test]
async fn a_server_that_is_too_old_is_named() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let greeting = async {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut length = [0; 4];
        client.read_exact(&mut length).await.unwrap();
        let mut rest = vec![0; u32::from_be_bytes(length) as usize - 4];
        client.read_exact(&mut rest).await.unwrap();
        // AuthenticationOk, ParameterStatus, ReadyForQuery.
        let version = b"server_version\x0012.22\x00";
        let mut hello = vec![b'R', 0, 0, 0, 8, 0, 0, 0, 0, b'S', 0, 0, 0, 4 + version.len() as u8];
        hello.extend_from_slice(version);
        hello.extend_from_slice(&[b'Z', 0, 0, 0, 5, b'I']);
        client.write_all(&hello).await.unwrap();
        client.read_to_end(&mut Vec::new()).await.unwrap();
    };
    let url = format!("postgres://a:secret@127.0.0.1:{port}/x?sslmode=disable");
    let (error, ()) = tokio::join!(refused(&url), greeting);
    assert!(matches!(error, PostgresError::TooOld { version: 12, .. }), "{error}");
}
