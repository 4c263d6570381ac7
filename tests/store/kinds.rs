//! Logs that are kept for a shorter or a longer time than traces: one kind of a run goes, and the other stays whole.

use std::time::Duration;

use throughline::dashboard::store::check::check;
use throughline::dashboard::store::copy::copy;
use throughline::dashboard::store::{Limits, Reader, Store, TraceFilter};

use super::place::{Place, id, newest, send, send_logs};
use crate::common;
use crate::common::otlp::{self, span};

/// Traces of the run; one in a hundred has a log.
const SEALED: u64 = 17_000;
/// A trace of the run with a log, one without, and one of the tail with a log.
const LOGGED: u64 = 300;
const PLAIN: u64 = 301;
const LATEST: u64 = 90_000;
/// Kinds that are not named are kept.
const FOR_EVER: Limits = Limits {
    max_age: Duration::ZERO,
    max_bytes: 0,
    every: Duration::from_millis(30),
    metrics_age: Duration::ZERO,
    metrics_bytes: 0,
    audit_age: Duration::ZERO,
    max_log_age: None,
    max_log_bytes: 0,
};

/// The text of a trace's log, which does not compress.
fn text(number: u64) -> String {
    let mut state = number | 1;
    let mut letter = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + (state >> 33) as u8 % 90)
    };
    (0..1_000).map(|_| letter()).collect()
}

/// A run and a tail, both with spans, logs of traces and logs of none.
///
/// Gives its size in bytes.
async fn fill(place: &Place) -> u64 {
    let store = place.open_with(FOR_EVER).await;
    fill_a_run(&store, 0).await;
    send(&store, "orders", &[span(LATEST, 1, "late", 50)]).await;
    send_logs(&store, "orders", &[("late", Some(LATEST), None), ("lost late", None, Some("c300"))]).await;
    let holdings = store.holdings().await.unwrap();
    assert_eq!((holdings.spans, holdings.logs), (SEALED + 1, SEALED / 100 + 17 + 2));
    store.close().await;
    holdings.bytes
}

/// A run of traces from a number on.
async fn fill_a_run(store: &Store, first: u64) {
    let runs = store.holdings().await.unwrap().runs;
    for first in (first..first + SEALED).step_by(1_000) {
        let spans: Vec<_> = (first..first + 1_000)
            .map(|number| {
                let root =
                    span(number, 1, "GET /orders", 50_000).with("correlation.id", &format!("c{number}"));
                if number % 7 == 0 { root.failed("declined") } else { root }
            })
            .collect();
        let texts: Vec<_> =
            (first..first + 1_000).step_by(100).map(|number| (number, text(number))).collect();
        let logs: Vec<_> = texts.iter().map(|(number, text)| (text.as_str(), Some(*number), None)).collect();
        send_logs(store, "orders", &logs).await;
        send_logs(store, "lost", &[("lost", None, Some("c300"))]).await;
        send(store, "orders", &spans).await;
    }
    common::eventually("a run is sealed", 30, async || {
        (store.holdings().await.unwrap().runs > runs).then_some(())
    })
    .await;
}

async fn counts(store: &Store) -> (u64, u64, usize) {
    let holdings = store.holdings().await.unwrap();
    (holdings.spans, holdings.logs, holdings.runs)
}

/// What is left is whole to whoever looks after the store, and in a copy of it.
async fn is_whole(place: &Place, spans: u64, logs: u64) {
    let checked = check(&place.location(), |_, _| {}).await.unwrap();
    assert_eq!((checked.spans, checked.logs), (spans, logs));
    assert_eq!(checked.trouble_count, 0, "{:?}", checked.troubles);
    let other = Place::sqlite().await;
    copy(&place.location(), &other.location(), |_, _| {}).await.unwrap();
    assert_eq!(check(&other.location(), |_, _| {}).await.unwrap(), checked);
    let store = other.open_with(FOR_EVER).await;
    assert_eq!(counts(&store).await, (spans, logs, 1), "a copy knows what is gone");
    store.close().await;
}

pub async fn logs_go_before_traces_and_traces_stay_whole(place: &Place) {
    let before = fill(place).await;
    let store = place.open_with(Limits { max_log_age: Some(Duration::from_millis(1)), ..FOR_EVER }).await;
    common::eventually("the run's logs go", 20, async || {
        (counts(&store).await == (SEALED + 1, 2, 1)).then_some(())
    })
    .await;
    common::eventually("their room is given back", 20, async || {
        (store.holdings().await.unwrap().bytes + 100_000 < before).then_some(())
    })
    .await;
    let mut store = store;
    for round in ["at once", "after a restart"] {
        let trace = store.trace(id(LOGGED)).await.unwrap().expect("its span stays");
        assert_eq!((trace.spans.len(), trace.logs.len()), (1, 0), "{round}");
        assert_eq!(store.summary(id(LOGGED)).await.unwrap().unwrap().logs, 0);
        let page =
            store.traces(&TraceFilter { correlation: Some("c300".into()), ..newest(5) }).await.unwrap();
        assert_eq!((page.rows.len(), page.rows[0].logs), (1, 0));
        let story = store.correlated("c300").await.unwrap();
        let texts: Vec<_> = story.logs.iter().map(|log| log.body.to_text()).collect();
        assert_eq!((story.traces.len(), texts), (1, vec!["lost late".into()]), "{round}");
        assert_eq!(store.trace(id(LATEST)).await.unwrap().unwrap().logs.len(), 1, "the tail's stay");
        if round == "at once" {
            store.close().await;
            drop(store);
            is_whole(place, SEALED + 1, 2).await;
            store = place.open_with(FOR_EVER).await;
            assert_eq!(counts(&store).await, (SEALED + 1, 2, 1), "written down");
        }
    }
    store.close().await;
    drop(store);
    let store = place.open_with(Limits { max_age: Duration::from_millis(1), ..FOR_EVER }).await;
    common::eventually("with its last kind the run goes", 20, async || {
        (counts(&store).await == (1, 2, 0)).then_some(())
    })
    .await;
    store.close().await;
}

pub async fn traces_go_before_logs_and_logs_stay_whole(place: &Place) {
    fill(place).await;
    let limits = Limits { max_age: Duration::from_millis(1), max_log_age: Some(Duration::ZERO), ..FOR_EVER };
    let store = place.open_with(limits).await;
    let logs = SEALED / 100 + 17 + 2;
    common::eventually("the run's spans go", 20, async || {
        (counts(&store).await == (1, logs, 1)).then_some(())
    })
    .await;
    let mut store = store;
    for round in ["at once", "after a restart"] {
        let trace = store.trace(id(LOGGED)).await.unwrap().expect("its log stays");
        assert_eq!((trace.spans.len(), trace.logs[0].body.to_text()), (0, text(LOGGED)), "{round}");
        assert_eq!(store.trace(id(PLAIN)).await.unwrap().map(|trace| trace.spans.len()), None);
        for filter in [newest(50), TraceFilter { correlation: Some("c300".into()), ..newest(5) }] {
            let page = store.traces(&filter).await.unwrap();
            assert!(page.rows.iter().all(|row| row.trace_id == id(LATEST)), "{round}: {:?}", page.rows);
        }
        let story = store.correlated("c300").await.unwrap();
        assert_eq!(story.logs.len(), 18, "{round}");
        let (from, to) = (otlp::now() - 200_000_000_000, otlp::now());
        assert_eq!(store.activity(from, to, 5).await.unwrap().iter().map(|step| step.spans).sum::<u64>(), 1);
        assert!(store.failing(from, to).await.unwrap().is_empty(), "nobody is led to a trace that is gone");
        let operations = store.operations(from, to, None).await.unwrap();
        assert_eq!(operations.iter().map(|one| one.operation.as_str()).collect::<Vec<_>>(), ["late"]);
        if round == "at once" {
            store.close().await;
            drop(store);
            is_whole(place, 1, logs).await;
            store = place.open_with(FOR_EVER).await;
        }
    }
    store.close().await;
}

pub async fn the_oldest_logs_go_by_their_size_and_traces_stay(place: &Place) {
    /// The first trace of the second run, and room for the logs of one run.
    const SECOND: u64 = 100_000;
    const ROOM: u64 = 200_000;
    let store = place.open_with(FOR_EVER).await;
    fill_a_run(&store, 0).await;
    fill_a_run(&store, SECOND).await;
    let (logs, before) = (SEALED / 100 + 17, store.holdings().await.unwrap());
    assert_eq!((before.spans, before.logs, before.log_bytes), (2 * SEALED, 2 * logs, 0));
    store.close().await;
    drop(store);
    for round in ["at once", "after a restart"] {
        let store = place.open_with(Limits { max_log_bytes: ROOM, ..FOR_EVER }).await;
        let holdings = common::eventually("the first run's logs go", 20, async || {
            let holdings = store.holdings().await.unwrap();
            let is_done = holdings.logs == logs && holdings.log_bytes > 0 && holdings.log_bytes <= ROOM;
            (is_done && holdings.bytes + 100_000 < before.bytes).then_some(holdings)
        })
        .await;
        assert_eq!((holdings.spans, holdings.runs), (2 * SEALED, 2), "{round}");
        assert_eq!(holdings.max_log_bytes, ROOM);
        for (number, left) in [(LOGGED, 0), (SECOND + LOGGED, 1)] {
            let trace = store.trace(id(number)).await.unwrap().expect("its span stays");
            assert_eq!((trace.spans.len(), trace.logs.len()), (1, left), "{round}: {number}");
        }
        store.close().await;
    }
    let checked = check(&place.location(), |_, _| {}).await.unwrap();
    assert_eq!((checked.spans, checked.logs, checked.trouble_count), (2 * SEALED, logs, 0));
    // No room at all: every log of a run goes. A run that has nothing else goes with its logs.
    let store = place.open_with(Limits { max_log_bytes: 1, ..FOR_EVER }).await;
    common::eventually("all logs go", 20, async || {
        (counts(&store).await == (2 * SEALED, 0, 2)).then_some(())
    })
    .await;
    fill_a_run(&store, 2 * SECOND).await;
    common::eventually("new ones too", 20, async || {
        (counts(&store).await == (3 * SEALED, 0, 3)).then_some(())
    })
    .await;
    store.close().await;
}

pub async fn a_run_of_which_only_logs_are_left_goes_by_their_size(place: &Place) {
    fill(place).await;
    let limits = Limits { max_age: Duration::from_millis(1), max_log_age: Some(Duration::ZERO), ..FOR_EVER };
    let store = place.open_with(limits).await;
    common::eventually("the run's spans go", 20, async || (counts(&store).await.0 == 1).then_some(())).await;
    store.close().await;
    drop(store);
    let store = place.open_with(Limits { max_log_bytes: 1, ..FOR_EVER }).await;
    common::eventually("the run goes", 20, async || (counts(&store).await == (1, 2, 0)).then_some(())).await;
    assert_eq!(store.trace(id(LATEST)).await.unwrap().expect("the tail stays").logs.len(), 1);
    store.close().await;
}
