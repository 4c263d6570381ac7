//! Searching by anything: attributes, resources, relations between spans, in the tail and in sealed runs.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::otlp::{self, TestSpan, span};
use throughline::dashboard::model::correlation::Keys;
use throughline::dashboard::model::otlp::Batch;
use throughline::dashboard::query::language;
use throughline::dashboard::store::{Ingest, Limits, Order, Reader, Store, TraceFilter, TracePage};

async fn open(folder: &Path) -> Store {
    Store::open_sqlite(&folder.join("store.db"), Limits::default(), &Keys::default())
        .await
        .expect("the store opens")
}

async fn send(store: &Store, service: &str, spans: &[TestSpan]) {
    let batch =
        Batch::traces(otlp::request(service, spans).into(), &Keys::default()).expect("a good request");
    store.ingest(batch).await.expect("stored");
}

async fn find(store: &Store, query: &str, limit: usize) -> TracePage {
    let query = language::read(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    let filter = TraceFilter { select: Some(query.selection()), limit, ..TraceFilter::default() };
    store.traces(&filter).await.expect("a page")
}

/// The numbers of the traces found, newest first.
async fn numbers(store: &Store, query: &str) -> Vec<u64> {
    let page = find(store, query, 100).await;
    page.rows
        .iter()
        .map(|row| u64::from_be_bytes(row.trace_id.0[8..].try_into().expect("eight bytes")))
        .collect()
}

/// Traces 1 to 4, the first the newest; 4's spans come from two services in requests of their own.
async fn some_traces(store: &Store) {
    let get = |number| span(number, 1, "GET /orders", number * 1_000);
    send(store, "gateway", &[get(1).with("shop.customer", "anna"), get(2).with("shop.customer", "ben")])
        .await;
    send(store, "gateway", &[get(3).with("shop.customer", "404").failed("no stock")]).await;
    send(store, "gateway", &[get(4).with("shop.customer", "anna")]).await;
    send(store, "payments", &[span(4, 2, "charge", 3_900).parent(1).with("card.kind", "visa")]).await;
    send(store, "payments", &[span(4, 3, "audit", 3_890).parent(2).with("card.kind", "none")]).await;
}

const ASKED: &[(&str, &[u64])] = &[
    ("span.shop.customer = anna", &[1, 4]),
    (".shop.customer = anna and status != error", &[1, 4]),
    ("shop.customer != anna", &[2, 3]),
    ("shop.customer = 404", &[3]),
    ("shop.customer =~ \"(anna|ben)\"", &[1, 2, 4]),
    ("resource.service.name = payments", &[4]),
    ("resource.service.name =~ pay.+", &[4]),
    ("shop.customer = anna and card.kind = visa", &[]),
    ("{ shop.customer = anna } && { card.kind = visa }", &[4]),
    ("{ shop.customer = anna } > { card.kind = visa }", &[4]),
    ("{ shop.customer = anna } > { card.kind = none }", &[]),
    ("{ shop.customer = anna } >> { card.kind = none }", &[4]),
    ("name = charge or status = error", &[3, 4]),
    ("trace:spans > 2", &[4]),
    ("not (shop.customer != nil) and service.name = payments", &[4]),
    ("statusMessage = \"no stock\"", &[3]),
    ("shop.customer = nobody", &[]),
    ("duration >= 20ms", &[1, 2, 3, 4]),
    ("duration > 1m", &[]),
];

#[tokio::test]
async fn what_is_asked_is_found_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    some_traces(&store).await;
    for (query, wanted) in ASKED {
        assert_eq!(numbers(&store, query).await, *wanted, "{query}");
    }
    store.close().await;
    drop(store);
    let store = open(folder.path()).await;
    for (query, wanted) in ASKED {
        assert_eq!(numbers(&store, query).await, *wanted, "after a restart: {query}");
    }
    store.close().await;
}

#[tokio::test]
async fn sealed_runs_answer_like_the_tail() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    some_traces(&store).await;
    // Older and of another customer: they fill the tail, so that all of it is sealed.
    for first in (10..17_000).step_by(1_000) {
        let spans: Vec<_> = (first..first + 1_000)
            .map(|number| span(number, 1, "fill", 60_000 + number).with("shop.customer", "many"))
            .collect();
        send(&store, "filler", &spans).await;
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while store.holdings().await.expect("holdings").runs == 0 {
        assert!(Instant::now() < deadline, "the tail is sealed");
        tokio::task::yield_now().await;
    }
    for (query, wanted) in ASKED.iter().filter(|(_, wanted)| wanted.len() < 4) {
        let found: Vec<u64> =
            numbers(&store, query).await.into_iter().filter(|number| *number < 10).collect();
        assert_eq!(found, *wanted, "{query}");
    }
    // What an index cannot narrow is looked for trace by trace, page by page, until all of it was seen.
    let query = language::read("shop.customer =~ \"b.n\"").unwrap();
    let mut filter = TraceFilter { select: Some(query.selection()), limit: 10, ..TraceFilter::default() };
    let page = store.traces(&filter).await.unwrap();
    assert_eq!(page.rows.len(), 1);
    assert!(page.opened > 10_000, "{} traces were opened", page.opened);
    let query = language::read("span.shop.customer =~ \"m.*\" and duration < 1ms").unwrap();
    filter.select = Some(query.selection());
    let page = store.traces(&filter).await.unwrap();
    assert!(page.rows.is_empty() && page.complete, "all of it was seen within the budget");
    store.close().await;
}

#[tokio::test]
async fn a_budget_ends_a_page_and_the_next_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    // More spans than one page may open; the one that is looked for is the oldest of all.
    let per_trace = 1_000;
    let traces = TraceFilter::SPANS as u64 / per_trace + 20;
    for number in 1..=traces {
        let mut spans: Vec<_> = (1..=per_trace).map(|id| span(number, id, "step", number * 1_000)).collect();
        if number == traces {
            spans[0] = spans[0].clone().with("needle", "in the hay");
        }
        send(&store, "steps", &spans).await;
    }
    let query = language::read(".needle =~ \"in.*\"").unwrap();
    let mut filter = TraceFilter { select: Some(query.selection()), limit: 10, ..TraceFilter::default() };
    let first = store.traces(&filter).await.unwrap();
    assert!(first.rows.is_empty() && !first.complete, "the budget ended it");
    filter.after = Some(first.next.expect("it goes on"));
    let second = store.traces(&filter).await.unwrap();
    assert_eq!((second.rows.len(), second.complete), (1, true));
    // By its value it is found at once.
    assert_eq!(find(&store, ".needle = \"in the hay\"", 10).await.opened, 1);
    filter.order = Order::MostErrors;
    filter.after = None;
    assert!(!store.traces(&filter).await.unwrap().complete);
    store.close().await;
}
