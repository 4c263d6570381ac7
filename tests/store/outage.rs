//! The server ends and comes back, or the disk is full: senders are told so in time, what was acknowledged is there,
//! and nobody has to start the dashboard again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use throughline::dashboard::store::{Reader, StoreError};

use super::place::{Place, id, newest, send, try_send};
use crate::common::eventually;
use crate::common::otlp::{TestSpan, span};
use crate::common::postgres::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_is_missed_in_time_and_found_again() {
    let server = Server::own().await;
    let place = Place::Postgres(server.database().await);
    let store = place.open().await;
    send(&store, "a", &[span(1, 1, "before", 50)]).await;
    server.stop();
    let meanwhile = span(2, 1, "meanwhile", 40);
    for _ in 0..2 {
        let began = Instant::now();
        let answer = try_send(&store, "a", std::slice::from_ref(&meanwhile)).await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_) | StoreError::Overloaded)), "{answer:?}");
        assert!(began.elapsed() < Duration::from_secs(6), "told after {:?}", began.elapsed());
    }
    let error = store.trace(id(1)).await.expect_err("it cannot be read").to_string();
    assert!(error.contains("PostgreSQL at postgres://admin@localhost/"), "{error}");
    assert!(store.holdings().await.is_err(), "the readiness probe asks this");
    server.start().await;
    eventually("it is taken again", 20, async || {
        try_send(&store, "a", std::slice::from_ref(&meanwhile)).await.ok()
    })
    .await;
    for number in [1, 2] {
        assert_eq!(store.trace(id(number)).await.unwrap().expect("it is there").spans.len(), 1);
    }
    assert_eq!(store.traces(&newest(9)).await.unwrap().rows.iter().map(|row| row.spans).sum::<u32>(), 2);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_under_load_loses_nothing_acknowledged() {
    let server = Server::own().await;
    let place = Place::Postgres(server.database().await);
    let store = Arc::new(place.open().await);
    let (done, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let senders: Vec<_> = (0..4u64)
        .map(|sender| {
            let (store, done, acknowledged) = (store.clone(), done.clone(), acknowledged.clone());
            tokio::spawn(async move {
                let mut sent: u64 = 0;
                while !done.load(Ordering::Relaxed) {
                    let number = sender * 1_000_000 + sent;
                    let spans: Vec<TestSpan> = (1..=3).map(|n| span(number, n, "work", 10)).collect();
                    // As senders do: the same again until it is taken.
                    while try_send(&store, "load", &spans).await.is_err() {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    sent += 1;
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                (sender, sent)
            })
        })
        .collect();
    for _ in 0..3 {
        let enough = acknowledged.load(Ordering::Relaxed) + 50;
        let some = async || (acknowledged.load(Ordering::Relaxed) >= enough).then_some(());
        eventually("some are acknowledged", 60, some).await;
        server.kill();
        server.start().await;
    }
    done.store(true, Ordering::Relaxed);
    let sent = futures_util::future::join_all(senders).await;
    let mut store = Arc::into_inner(store).expect("all senders have ended");
    for round in ["at once", "after a restart"] {
        for (sender, sent) in sent.iter().map(|ended| ended.as_ref().expect("no sender panics")) {
            for number in 0..*sent {
                let number = sender * 1_000_000 + number;
                let trace = store.trace(id(number)).await.unwrap();
                assert_eq!(trace.map(|trace| trace.spans.len()), Some(3), "trace {number} {round}");
            }
        }
        if round == "at once" {
            store = place.reopen(store).await;
        }
    }
}
