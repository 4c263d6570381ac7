//! The store's contract: what is acknowledged is there, once, and is found by everything it can be found by.

mod common;

use std::path::Path;
use std::time::Duration;

use common::otlp::{self, TestSpan, span};
use throughline::dashboard::model::TraceId;
use throughline::dashboard::model::correlation::Keys;
use throughline::dashboard::model::otlp::Batch;
use throughline::dashboard::store::{
    Ingest, Limits, OpenError, Order, Reader, StatusFilter, Store, TraceFilter,
};

async fn open(folder: &Path) -> Store {
    Store::open_sqlite(&folder.join("store.db"), Limits::default(), &Keys::default())
        .await
        .expect("the store opens")
}

async fn send(store: &Store, service: &str, spans: &[TestSpan]) -> u64 {
    let batch =
        Batch::traces(otlp::request(service, spans).into(), &Keys::default()).expect("a valid request");
    store.ingest(batch).await.expect("stored").duplicates
}

async fn send_logs(store: &Store, service: &str, records: &[(&str, Option<u64>, Option<&str>)]) {
    let batch = Batch::logs(otlp::logs(service, records).into(), &Keys::default()).expect("a valid request");
    store.ingest(batch).await.expect("stored");
}

fn id(number: u64) -> TraceId {
    TraceId::parse(&otlp::trace_hex(number)).expect("an ID")
}

fn newest(limit: usize) -> TraceFilter {
    TraceFilter { limit, ..TraceFilter::default() }
}

#[tokio::test]
async fn a_trace_sent_in_shares_is_one_trace_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    send(&store, "orders", &[span(1, 2, "charge", 90).parent(1).failed("card declined")]).await;
    send(&store, "gateway", &[span(1, 1, "POST /orders", 10_000).with("correlation.id", "c-1")]).await;
    send_logs(&store, "orders", &[("declined", Some(1), Some("c-1")), ("lost", None, Some("c-1"))]).await;
    for round in 0..2 {
        let store = if round == 0 { &store } else { &open_after_close(&store, folder.path()).await };
        let page = store.traces(&newest(10)).await.unwrap();
        assert_eq!(page.rows.len(), 1, "round {round}");
        let row = &page.rows[0];
        assert_eq!((row.spans, row.errors, row.logs), (2, 1, 1));
        let root = row.root.as_ref().unwrap();
        assert_eq!(
            (root.service.as_str(), root.name.as_str(), root.parentless),
            ("gateway", "POST /orders", true)
        );
        assert_eq!(row.failure.as_ref().unwrap().why, "card declined");
        let trace = store.trace(id(1)).await.unwrap().unwrap();
        let names: Vec<_> = trace.spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, ["POST /orders", "charge"]);
        assert_eq!(trace.logs[0].body.to_text(), "declined");
        let story = store.correlated("c-1").await.unwrap();
        assert_eq!((story.traces.len(), story.logs.len()), (1, 1));
        assert_eq!(story.logs[0].body.to_text(), "lost");
        assert!(store.correlated("c-2").await.unwrap().traces.is_empty());
    }
}

async fn open_after_close(store: &Store, folder: &Path) -> Store {
    store.close().await;
    // The closed store still holds the lock file; a second handle on the same database needs another name for it.
    let copy = folder.join("copy.db");
    for suffix in ["", "-wal"] {
        let from = folder.join(format!("store.db{suffix}"));
        if from.exists() {
            std::fs::copy(from, folder.join(format!("copy.db{suffix}"))).unwrap();
        }
    }
    Store::open_sqlite(&copy, Limits::default(), &Keys::default()).await.expect("the copy opens")
}

#[tokio::test]
async fn the_same_span_twice_is_stored_once_and_another_under_its_id_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let first = span(1, 1, "one", 50);
    assert_eq!(send(&store, "a", std::slice::from_ref(&first)).await, 0);
    assert_eq!(send(&store, "a", std::slice::from_ref(&first)).await, 1);
    assert_eq!(send(&store, "b", std::slice::from_ref(&first)).await, 0, "another resource is another span");
    let other = TestSpan { name: b"two".to_vec(), ..first.clone() };
    assert_eq!(send(&store, "a", &[other, first.clone()]).await, 1);
    assert_eq!(store.trace(id(1)).await.unwrap().unwrap().spans.len(), 3);
    let reopened = open_after_close(&store, folder.path()).await;
    assert_eq!(send(&reopened, "a", &[first]).await, 1, "known after a restart");
    assert_eq!(reopened.traces(&newest(1)).await.unwrap().rows[0].spans, 3);
}

#[tokio::test]
async fn lists_filter_sort_and_page() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    for number in 0..30 {
        let mut root =
            span(number, 1, if number % 3 == 0 { "GET /a" } else { "GET /b" }, 10_000 - number * 10);
        root.end = root.start + (number + 1) * 1_000_000;
        if number % 5 == 0 {
            root = root.failed("no");
        }
        send(&store, if number % 2 == 0 { "even" } else { "odd" }, &[root]).await;
    }
    let count = async |filter: TraceFilter| store.traces(&filter).await.unwrap().matched;
    let filter = newest(50);
    assert_eq!(count(TraceFilter { service: Some("even".into()), ..filter.clone() }).await, 15);
    assert_eq!(count(TraceFilter { service: Some("eve".into()), ..filter.clone() }).await, 0);
    assert_eq!(count(TraceFilter { status: Some(StatusFilter::Error), ..filter.clone() }).await, 6);
    assert_eq!(count(TraceFilter { operation: Some("GET /a".into()), ..filter.clone() }).await, 10);
    assert_eq!(count(TraceFilter { min_duration: Some(21_000_000), ..filter.clone() }).await, 10);
    let both =
        TraceFilter { service: Some("odd".into()), status: Some(StatusFilter::Error), ..filter.clone() };
    assert_eq!(count(both).await, 3);
    let longest = store.traces(&TraceFilter { order: Order::Longest, limit: 2, ..filter }).await.unwrap();
    assert_eq!(longest.rows.iter().map(|row| row.trace_id).collect::<Vec<_>>(), [id(29), id(28)]);
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.traces(&TraceFilter { after, ..newest(7) }).await.unwrap();
        seen.extend(page.rows.iter().map(|row| row.trace_id));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, (0..30).rev().map(id).collect::<Vec<_>>());
    assert_eq!(store.services(0, u64::MAX).await.unwrap(), ["even", "odd"]);
    let activity = store.activity(otlp::now() - 60_000_000_000, otlp::now(), 6).await.unwrap();
    assert_eq!(activity.iter().map(|step| step.requests).sum::<u64>(), 30);
    assert_eq!(activity.iter().map(|step| step.failed).sum::<u64>(), 6);
}

#[tokio::test]
async fn a_correlation_is_closed_over_links_in_both_directions() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    send(&store, "a", &[span(1, 1, "first", 50).with("http.request.header.x-correlation-id", "c")]).await;
    send(&store, "b", &[span(2, 1, "linked from", 40).linked(1)]).await;
    send(&store, "c", &[span(3, 1, "links on", 30).linked(2)]).await;
    send(&store, "d", &[span(4, 1, "stranger", 20)]).await;
    let story = store.correlated("c").await.unwrap();
    let found: Vec<_> = story.traces.iter().map(|trace| (trace.summary.trace_id, trace.carries_id)).collect();
    assert_eq!(found, [(id(1), true), (id(2), false), (id(3), false)]);
    let linking = store.linking_to(id(2)).await.unwrap();
    assert_eq!(linking.iter().map(|summary| summary.trace_id).collect::<Vec<_>>(), [id(3)]);
}

#[tokio::test]
async fn sealed_runs_answer_like_the_tail_and_old_ones_go() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { every: Duration::from_millis(50), ..Limits::default() };
    let store = Store::open_sqlite(&folder.path().join("store.db"), limits, &Keys::default()).await.unwrap();
    // More traces than a tail holds, each in two shares, so that at least one run is sealed.
    let total = 20_000u64;
    for first in (0..total).step_by(500) {
        let roots: Vec<_> = (first..first + 500)
            .map(|number| {
                span(number, 1, "root", 100_000 - number).with("correlation.id", &format!("c{number}"))
            })
            .collect();
        let children: Vec<_> =
            (first..first + 500).map(|number| span(number, 2, "child", 99_999 - number).parent(1)).collect();
        send(&store, "a", &roots).await;
        send(&store, "b", &children).await;
    }
    for number in [0, 1, 777, 16_000, 19_999] {
        let trace = store.trace(id(number)).await.unwrap().expect("the trace is there");
        assert_eq!(trace.spans.len(), 2, "trace {number}");
        let story = store.correlated(&format!("c{number}")).await.unwrap();
        assert_eq!(story.traces.iter().map(|trace| trace.summary.trace_id).collect::<Vec<_>>(), [id(number)]);
    }
    let page = store.traces(&newest(50)).await.unwrap();
    assert_eq!(
        page.rows.iter().map(|row| row.trace_id).collect::<Vec<_>>(),
        (total - 50..total).rev().map(id).collect::<Vec<_>>()
    );
    assert!(page.rows.iter().all(|row| row.spans == 2));
    let oldest =
        TraceFilter { to: Some(otlp::now() - 99_000 * 1_000_000), service: Some("b".into()), ..newest(20) };
    assert!(store.traces(&oldest).await.unwrap().matched > 0);
    let holdings = store.holdings().await.unwrap();
    assert_eq!(holdings.spans, total * 2);
    store.close().await;
    drop(store);
    let limits = Limits { max_bytes: 1, every: Duration::from_millis(20), ..limits };
    let store = Store::open_sqlite(&folder.path().join("store.db"), limits, &Keys::default()).await.unwrap();
    common::eventually("retention removes the sealed run", 10, async || {
        (store.trace(id(0)).await.unwrap().is_none()).then_some(())
    })
    .await;
    let after = common::eventually("the disk is given back", 10, async || {
        let after = store.holdings().await.unwrap();
        (after.bytes * 2 < holdings.bytes).then_some(after)
    })
    .await;
    assert!(after.spans < total, "{} spans left", after.spans);
    assert_eq!(store.trace(id(19_999)).await.unwrap().expect("the tail stays").spans.len(), 2);
}

#[tokio::test]
async fn a_file_that_cannot_be_the_store_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("text.db"), "this is no database, but a text of some length".repeat(100)).unwrap();
    let foreign = path("foreign.db");
    std::fs::copy(folder.path().join("text.db"), path("half.db")).unwrap();
    make_foreign(&foreign).await;
    let error = async |name: &str| {
        Store::open_sqlite(&path(name), Limits::default(), &Keys::default()).await.err().expect("refused")
    };
    assert!(matches!(error("text.db").await, OpenError::NotADatabase { .. }));
    assert!(matches!(error("foreign.db").await, OpenError::Foreign { .. }));
    assert!(matches!(error("no/such/folder.db").await, OpenError::Unwritable { .. }));
    assert!(matches!(error(".").await, OpenError::Unwritable { .. }));
    let open = open(folder.path()).await;
    assert!(matches!(error("store.db").await, OpenError::InUse { .. }));
    for name in ["text.db", "foreign.db", "store.db"] {
        let words = error(name).await.to_string();
        assert!(words.contains(name) && words.contains("--store") && !words.contains('\n'), "{words}");
    }
    open.close().await;
}

#[tokio::test]
async fn a_store_of_another_version_is_named_and_left_alone() {
    for (age, change) in [
        ("newer", "INSERT INTO _sqlx_migrations VALUES (99, 'to come', 0, 1, x'00', 0)"),
        ("older", "UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).await.close().await;
        change_file(&folder.path().join("store.db"), change).await;
        let opened =
            Store::open_sqlite(&folder.path().join("store.db"), Limits::default(), &Keys::default()).await;
        let words = opened.err().expect("refused").to_string();
        assert!(words.contains(age) && words.contains("store.db") && words.contains("--store"), "{words}");
    }
}

#[tokio::test]
async fn a_broken_block_is_named_and_the_rest_stays_readable() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    for number in 1..=2 {
        send(&store, "orders", &[span(number, 1, "GET /orders", 100)]).await;
    }
    // One bit in the middle of the frame of the first trace's block.
    let flip = "UPDATE block SET data = substr(data, 1, length(data) / 2) || x'5a' ||
                substr(data, length(data) / 2 + 2) WHERE id = 1";
    change_file(&folder.path().join("store.db"), flip).await;
    let error = store.trace(id(1)).await.expect_err("broken").to_string();
    assert!(error.contains("block 1"), "{error}");
    assert_eq!(store.trace(id(2)).await.unwrap().expect("whole").spans.len(), 1);
    store.close().await;
    drop(store);
    let store = open(folder.path()).await;
    assert!(store.trace(id(1)).await.unwrap().is_none());
    assert_eq!(store.trace(id(2)).await.unwrap().expect("whole").spans.len(), 1);
    store.close().await;
}

async fn make_foreign(path: &Path) {
    change_file(path, "CREATE TABLE somebody_elses (id INTEGER)").await;
}

/// Runs a statement on a file, as another program could.
async fn change_file(path: &Path, statement: &'static str) {
    use sqlx::{ConnectOptions, Connection};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    sqlx::query(statement).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}
