//! PostgreSQL over a network: plain TCP, TLS whose certificate is checked, and a network that swallows everything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;
use throughline::dashboard::model::correlation::Keys;
use throughline::dashboard::store::{
    Limits, Location, OpenError, PostgresError, PostgresUrl, Reader, Store, StoreError,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::contract;
use super::place::{Place, id, send, try_send};
use crate::common::eventually;
use crate::common::otlp::span;
use crate::common::postgres::{Database, Server};

/// How many connections of the dashboard are under TLS, and how many are not.
async fn under_tls(database: &Database) -> (i64, i64) {
    let mut connection = database.connect().await;
    let count = "SELECT count(*) FILTER (WHERE ssl), count(*) FILTER (WHERE NOT ssl)
                 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                 WHERE application_name = 'throughline' AND datname = current_database()";
    sqlx::query_as(AssertSqlSafe(count)).fetch_one(&mut connection).await.expect("two numbers")
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tcp_and_over_tls_a_store_keeps_its_contract() {
    for tls in [false, true] {
        let server = Server::own_on_tcp(tls).await;
        let parameters = match tls {
            false => "sslmode=disable".to_owned(),
            true => format!("sslmode=verify-full&sslrootcert={}", server.certificate("authority").display()),
        };
        let place = async || {
            Place::Postgres(server.database().await.over_tcp("localhost", server.port(), &parameters))
        };
        contract::a_trace_sent_in_shares_is_one_trace_also_after_a_restart(&place().await).await;
        contract::the_same_span_twice_is_stored_once_and_another_under_its_id_is_kept(&place().await).await;
        contract::sealed_runs_answer_like_the_tail_and_old_ones_go(&place().await).await;
        contract::a_lock_turns_senders_away_in_time_and_nothing_is_lost(&place().await).await;
        let place = place().await;
        let Place::Postgres(database) = &place else { unreachable!("just made") };
        let store = place.open().await;
        send(&store, "a", &[span(1, 1, "one", 50)]).await;
        assert!(store.trace(id(1)).await.unwrap().is_some());
        // One that writes, one that reads, one that follows the others.
        eventually("three connections, all of the kind that was asked for", 10, async || {
            let (under, plain) = under_tls(database).await;
            let (expected, none) = if tls { (under, plain) } else { (plain, under) };
            assert_eq!(none, 0, "TLS {tls}: {under} under it, {plain} without");
            (expected >= 3).then_some(())
        })
        .await;
        store.close().await;
    }
}

/// Opens an address, which is to fail; gives why.
async fn refused(database: Database) -> PostgresError {
    let location = Location::Postgres(PostgresUrl::new(&database.url()));
    let error = Store::open(&location, Limits::default(), &Keys::default()).await.err();
    let error = error.unwrap_or_else(|| panic!("{} is let in", database.url()));
    let words = error.to_string();
    assert!(words.contains("localhost:") || words.contains("127.0.0.1:"), "{words}");
    assert!(words.contains("--store") && !words.contains('\n'), "{words}");
    match error {
        OpenError::Postgres(error) => error,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_proves_nothing_is_refused_and_named() {
    let server = Server::own_on_tcp(true).await;
    let at = async |host: &str, parameters: &str| {
        server.database().await.over_tcp(host, server.port(), parameters)
    };
    let checked = |of: &str| format!("sslmode=verify-full&sslrootcert={}", server.certificate(of).display());
    for (host, parameters) in [
        // Signed by nobody that the system knows; by nobody that was named; for another name.
        ("localhost", "sslmode=verify-full".to_owned()),
        ("localhost", checked("stranger")),
        ("127.0.0.1", checked("authority")),
    ] {
        let error = refused(at(host, &parameters).await).await;
        assert!(matches!(error, PostgresError::Tls { .. }), "{host} {parameters}: {error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    // The server lets nobody in without TLS, and says so.
    let error = refused(at("localhost", "sslmode=disable").await).await;
    assert!(error.to_string().contains("no encryption"), "{error}");
    let plain = Server::own_on_tcp(false).await;
    let database = plain.database().await.over_tcp("localhost", plain.port(), "sslmode=require");
    let error = refused(database).await;
    assert!(matches!(error, PostgresError::Tls { .. }), "{error}");
}

/// A way to a server that can be made to swallow everything, as a cable that was pulled does.
struct Way {
    port: u16,
    open: watch::Sender<bool>,
}

impl Way {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let way =
            Self { port: listener.local_addr().expect("it is bound").port(), open: watch::Sender::new(true) };
        let open = way.open.subscribe();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let (near, far) = (near.into_split(), far.into_split());
                tokio::spawn(carry(near.0, far.1, open.clone()));
                tokio::spawn(carry(far.0, near.1, open.clone()));
            }
        });
        way
    }
}

/// Carries bytes one way while it is open, and holds them while it is not.
async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut open: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        if open.wait_for(|open| *open).await.is_err() || to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_swallows_everything_turns_senders_away_in_time_and_is_used_again() {
    let server = Server::own_on_tcp(false).await;
    let way = Way::to(server.port()).await;
    let place = Place::Postgres(server.database().await.over_tcp("127.0.0.1", way.port, "sslmode=disable"));
    let store = Arc::new(place.open().await);
    send(&store, "a", &[span(1, 1, "before", 50)]).await;
    way.open.send_replace(false);
    let meanwhile = span(2, 1, "meanwhile", 40);
    for _ in 0..2 {
        let began = Instant::now();
        let answer = try_send(&store, "a", std::slice::from_ref(&meanwhile)).await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_) | StoreError::Overloaded)), "{answer:?}");
        assert!(began.elapsed() < Duration::from_secs(6), "told after {:?}", began.elapsed());
    }
    let began = Instant::now();
    let read = tokio::time::timeout(Duration::from_secs(20), store.trace(id(1))).await;
    assert!(matches!(read, Ok(Err(StoreError::Unavailable(_)))), "{read:?} after {:?}", began.elapsed());
    way.open.send_replace(true);
    eventually("it is taken again", 30, async || {
        try_send(&store, "a", std::slice::from_ref(&meanwhile)).await.ok()
    })
    .await;
    eventually("both are read", 30, async || {
        let one = store.trace(id(1)).await.ok()?.map(|trace| trace.spans.len());
        let two = store.trace(id(2)).await.ok()?.map(|trace| trace.spans.len());
        (one == Some(1) && two == Some(1)).then_some(())
    })
    .await;
    store.close().await;
}
