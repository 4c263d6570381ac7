//! The Overview over a real store: what it calls a failure, what it lists last, and that it says the same whether
//! the traces are in the tail, in a sealed run, or read again after a restart.

use std::path::Path;
use std::sync::Arc;

use crate::common::otlp::{self, TestSpan, span};
use throughline::dashboard::model::correlation::Keys;
use throughline::dashboard::model::otlp::Batch;
use throughline::dashboard::query::kept::{Overviews, Period};
use throughline::dashboard::query::outcome::Outcome;
use throughline::dashboard::query::overview::{Overview, Place, Trouble, overview};
use throughline::dashboard::store::{Ingest, Limits, Reader, Store};

const HOUR: u64 = 3_600_000_000_000;
const CLIENT: u64 = 3;
const CONSUMER: u64 = 5;

async fn open(folder: &Path) -> Store {
    Store::open_sqlite(&folder.join("store.db"), Limits::default(), &Keys::default())
        .await
        .expect("the store opens")
}

async fn send(store: &Store, service: &str, spans: &[TestSpan]) {
    let batch =
        Batch::traces(otlp::request(service, spans).into(), &Keys::default()).expect("a valid request");
    store.ingest(batch).await.expect("stored");
}

async fn last_hour(store: &Store) -> Overview {
    overview(store, otlp::now() - HOUR, otlp::now()).await.expect("an overview")
}

/// A call of span `number` under `parent` that failed with a status under `key`.
fn call(trace: u64, number: u64, parent: u64, key: &str, status: &str) -> TestSpan {
    let call = span(trace, number, "GET /stock", 5_000).parent(parent).with(key, status).failed("");
    TestSpan { kind: CLIENT, ..call }
}

/// What a case sends, service by service, once for each trace.
type Case = (&'static str, fn(u64) -> Vec<TestSpan>, Option<(bool, &'static str, &'static str)>);

const HTTP: &str = "http.response.status_code";

/// Everyday refusals and real failures: service, spans of a trace, and whether it is listed as refused, with the
/// operation and the reason.
const CASES: [Case; 8] = [
    (
        "handled",
        |t| vec![span(t, 1, "GET /", 5_000).with(HTTP, "404"), call(t, 2, 1, HTTP, "404")],
        Some((true, "GET /stock", "HTTP 404")),
    ),
    (
        "conflict-old-name",
        |t| vec![span(t, 1, "PUT /", 5_000).with(HTTP, "409"), call(t, 2, 1, "http.status_code", "409")],
        Some((true, "GET /stock", "HTTP 409")),
    ),
    (
        "rpc",
        |t| vec![span(t, 1, "GET /", 5_000), call(t, 2, 1, "rpc.response.status_code", "NOT_FOUND")],
        Some((true, "GET /stock", "gRPC status NOT_FOUND")),
    ),
    ("answers-404", |t| vec![span(t, 1, "GET /", 5_000).with(HTTP, "404")], None),
    (
        "limited",
        |t| vec![span(t, 1, "GET /", 5_000), call(t, 2, 1, HTTP, "429")],
        Some((false, "GET /stock", "HTTP 429")),
    ),
    (
        "not-handled",
        |t| vec![span(t, 1, "GET /", 5_000).failed("it broke"), call(t, 2, 1, HTTP, "404")],
        Some((false, "GET /stock", "HTTP 404")),
    ),
    (
        "cache-miss-then-broken",
        |t| {
            let mut later = span(t, 3, "save", 4_000).parent(1).failed("disk full");
            later.kind = 1;
            vec![span(t, 1, "GET /", 5_000), call(t, 2, 1, HTTP, "404"), later]
        },
        Some((false, "save", "disk full")),
    ),
    (
        "unavailable",
        |t| vec![span(t, 1, "GET /", 5_000), call(t, 2, 1, "rpc.grpc.status_code", "14")],
        Some((false, "GET /stock", "gRPC status 14")),
    ),
];

/// Sends each case three times and what goes well twice.
async fn send_cases(store: &Store) {
    for (index, (service, spans, _)) in CASES.iter().enumerate() {
        for round in 0..3 {
            send(store, service, &spans(1_000 + index as u64 * 10 + round)).await;
        }
        for round in 3..5 {
            send(store, service, &[span(1_000 + index as u64 * 10 + round, 1, "GET /well", 5_000)]).await;
        }
    }
}

/// Fills the tail until it is sealed.
async fn fill(store: &Store) {
    for first in (100_000..117_000).step_by(1_000) {
        let calm: Vec<_> = (first..first + 1_000).map(|trace| span(trace, 1, "GET /calm", 5_000)).collect();
        send(store, "calm", &calm).await;
    }
    // The tail is sealed after the answer, and before the next batch is taken.
    send(store, "calm", &[span(99_999, 1, "GET /calm", 5_000)]).await;
}

/// The service of a trouble and whether it is only refused.
fn place(trouble: &Trouble) -> Option<(bool, &Place)> {
    match trouble {
        Trouble::Errors(place) => Some((false, place)),
        Trouble::Refused(place) => Some((true, place)),
        Trouble::Slow { .. } => None,
    }
}

fn check_cases(overview: &Overview, when: &str) {
    for (service, _, expected) in CASES {
        let found: Vec<_> = overview
            .troubles
            .iter()
            .filter_map(place)
            .filter(|(_, place)| place.service == service)
            .map(|(refused, place)| (refused, &*place.operation, &*place.why, place.broke, place.touched))
            .collect();
        let expected: Vec<_> =
            expected.iter().map(|(refused, operation, why)| (*refused, *operation, *why, 3, 5)).collect();
        assert_eq!(found, expected, "{service}, {when}");
    }
    let first_refused = overview.troubles.iter().position(|trouble| matches!(trouble, Trouble::Refused(_)));
    let last_errors = overview.troubles.iter().rposition(|trouble| matches!(trouble, Trouble::Errors(_)));
    assert!(last_errors < first_refused, "refusals come last, {when}");
    assert!(
        overview.stories.iter().all(|story| story.trace.failed()),
        "a story of a refusal is no failed story, {when}"
    );
    let broken = CASES.iter().filter(|(.., expected)| matches!(expected, Some((false, ..)))).count() as u64;
    assert_eq!(overview.failed, broken * 3, "failed requests, {when}");
}

#[tokio::test]
async fn everyday_refusals_are_named_as_such_and_come_last() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    send_cases(&store).await;
    check_cases(&last_hour(&store).await, "in the tail");
    fill(&store).await;
    let sealed = last_hour(&store).await;
    check_cases(&sealed, "in a run");
    store.close().await;
    drop(store);
    let store = open(folder.path()).await;
    let again = last_hour(&store).await;
    check_cases(&again, "after a restart");
    assert_eq!(again.troubles, sealed.troubles);
    assert_eq!(again.stories, sealed.stories);
}

#[tokio::test]
async fn a_refusal_before_a_failure_in_another_service_does_not_take_the_blame() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    for trace in 0..2 {
        send(&store, "gateway", &[span(trace, 1, "POST /", 5_000), call(trace, 2, 1, HTTP, "404")]).await;
        send(&store, "stock", &[span(trace, 3, "reserve", 4_000).parent(1).failed("no disk")]).await;
    }
    let found = last_hour(&store).await.troubles;
    let [Trouble::Errors(place)] = &found[..] else { panic!("one trouble: {found:?}") };
    assert_eq!((&*place.service, &*place.why, place.broke), ("stock", "no disk", 2));
}

/// A delivery that failed, settled as `outcome` to `queue`.
fn delivery(trace: u64, id: &str, ago_ms: u64, outcome: &str, queue: &str) -> TestSpan {
    let span = span(trace, 1, "charge process", ago_ms)
        .with("correlation.id", id)
        .with("throughline.settle.outcome", outcome)
        .with("throughline.settle.destination", queue);
    TestSpan { kind: CONSUMER, ..span.failed("declined") }
}

#[tokio::test]
async fn stories_say_how_they_began_and_where_they_are_now() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let began = |trace, id, ago| span(trace, 1, "POST /orders", ago).with("correlation.id", id);
    send(&store, "gateway", &[began(1, "dead", 9_000), began(2, "waits", 9_000)]).await;
    send(&store, "gateway", &[began(3, "well", 9_000)]).await;
    send(&store, "gateway", &[span(4, 1, "GET /", 1_000).with(HTTP, "503").failed("")]).await;
    for (trace, ago, outcome, queue) in [(5, 8_000, "retry", "charge"), (6, 4_000, "dead_letter", "dlq")] {
        send(&store, "payments", &[delivery(trace, "dead", ago, outcome, queue)]).await;
    }
    send(&store, "payments", &[delivery(7, "waits", 5_000, "retry", "charge")]).await;
    send(&store, "payments", &[delivery(8, "well", 6_000, "retry", "charge")]).await;
    send(&store, "payments", &[span(9, 1, "charge process", 3_000).with("correlation.id", "well")]).await;
    let expected = [
        (None, "GET /", Outcome::Answered { status: 503 }),
        (Some("dead"), "POST /orders", Outcome::DeadLettered { queue: "dlq".into() }),
        (Some("waits"), "POST /orders", Outcome::WaitsIn { queue: "charge".into() }),
        (Some("well"), "POST /orders", Outcome::RetriedWell),
    ];
    for when in ["in the tail", "in a run"] {
        let found = last_hour(&store).await.stories;
        let found: Vec<_> = found
            .iter()
            .map(|story| {
                let root = story.began.root.as_ref().expect("a root");
                (story.correlation.as_deref(), root.name.as_str(), story.outcome.clone())
            })
            .collect();
        assert_eq!(found, expected, "{when}");
        fill(&store).await;
    }
}

#[tokio::test]
async fn one_overview_serves_all_who_ask_until_something_is_committed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let kept = Overviews::default();
    let get = async |period| kept.get(&store, period).await.expect("an overview");
    let empty = get(Period::Last(HOUR)).await;
    assert!(!empty.ever);
    for trace in 1..20 {
        send(&store, "a", &[span(trace, 1, "GET /", 0)]).await;
        let now = get(Period::Last(HOUR)).await;
        assert_eq!(now.requests, trace, "what was committed before is in it");
    }
    let now = otlp::now();
    let fixed = Period::Fixed(now - HOUR, now);
    let (first, second) = (get(fixed).await, get(fixed).await);
    assert!(Arc::ptr_eq(&first, &second), "nothing was committed in between");
    let other = get(Period::Fixed(now - HOUR, now - HOUR / 2)).await;
    assert_eq!((first.requests, other.requests), (19, 0), "another time is another overview");
}

#[tokio::test]
async fn a_steady_rate_is_a_level_line_in_every_range() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let to = otlp::now();
    let base = to - to % 1_000_000_000 - 500_000_000;
    let at = |start| TestSpan { start, end: start + 20_000_000, ..span(start, 1, "GET /", 0) };
    let spans: Vec<_> = (0..900).map(|second| at(base - second * 1_000_000_000)).collect();
    send(&store, "steady", &spans).await;
    for (minutes, most) in [(5, 30), (15, 45), (1, 6)] {
        let steps = store.activity(to - minutes * 60_000_000_000, to, 60).await.expect("rates");
        assert_eq!(steps.len(), most, "{minutes} min");
        let counts: Vec<u64> = steps.iter().map(|step| step.requests).collect();
        // The first and the last step may hold a bucket that lies partly outside.
        let inner = &counts[1..counts.len() - 1];
        assert!(inner.iter().all(|count| *count == inner[0]), "{minutes} min: {counts:?}");
    }
}
