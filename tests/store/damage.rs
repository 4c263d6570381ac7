//! Parts of a run's index that are damaged or missing: what they led to is found in another way or left out, which is said,
//! and all the rest stays readable.

use throughline::dashboard::model::SpanId;
use throughline::dashboard::store::check::check;
use throughline::dashboard::store::{LogFilter, Reader, StatusFilter, Store, TraceFilter};

use super::place::{Place, id, newest, send, send_logs};
use crate::common;
use crate::common::otlp::{self, span};

/// Traces of the run; one in a hundred has a log, one in seven failed.
const SEALED: u64 = 17_000;
/// A trace of the run with a log.
const LOGGED: u64 = 300;
/// Entries of a chunk.
const CHUNK: u64 = 128;

/// A run, and a trace in the tail.
async fn fill(place: &Place) {
    let store = place.open().await;
    for first in (0..SEALED).step_by(1_000) {
        let spans: Vec<_> = (first..first + 1_000)
            .map(|number| {
                let root = span(number, 1, &format!("GET /{}", number % 10), 50_000 - number)
                    .with("correlation.id", &format!("c{number}"));
                if number % 7 == 0 { root.failed("declined") } else { root }
            })
            .collect();
        let logs: Vec<_> =
            (first..first + 1_000).step_by(100).map(|number| ("told", Some(number), None)).collect();
        send_logs(&store, "orders", &logs).await;
        send(&store, "orders", &spans).await;
    }
    common::eventually("a run is sealed", 30, async || {
        (store.holdings().await.unwrap().runs == 1).then_some(())
    })
    .await;
    send(&store, "orders", &[span(90_000, 1, "late", 10)]).await;
    assert!(store.damage().is_empty());
    store.close().await;
}

/// Whatever is asked is answered, and what entries themselves tell is found, whether the index can be read or not.
async fn answers(store: &Store, state: &str) {
    for (filter, found) in [
        (newest(20), 20),
        (TraceFilter { service: Some("orders".into()), ..newest(20) }, 20),
        (TraceFilter { operation: Some("GET /3".into()), ..newest(20) }, 20),
        (TraceFilter { status: Some(StatusFilter::Error), ..newest(20) }, 20),
        (TraceFilter { correlation: Some(format!("c{LOGGED}")), ..newest(20) }, 1),
        (TraceFilter { service: Some("nobody".into()), ..newest(20) }, 0),
    ] {
        let page = store.traces(&filter).await.unwrap_or_else(|error| panic!("{state}: {filter:?}: {error}"));
        assert_eq!(page.rows.len(), found, "{state}: {filter:?}");
    }
    let trace = store.trace(id(LOGGED)).await.unwrap().unwrap_or_else(|| panic!("{state}: it is there"));
    assert_eq!((trace.spans.len(), trace.logs.len()), (1, 1), "{state}");
    let story = store.correlated(&format!("c{LOGGED}")).await.unwrap();
    assert_eq!(story.traces.len(), 1, "{state}");
    assert!(store.correlated("nobody's").await.unwrap().traces.is_empty(), "{state}");
    assert_eq!(store.trace(id(90_000)).await.unwrap().expect("the tail's").spans.len(), 1, "{state}");
    // What the index alone tells may be missing, but is no error.
    store.traces_of_span(SpanId([7; 8])).await.unwrap();
    store.linking_to(id(LOGGED)).await.unwrap();
    let (from, to) = (otlp::now() - 200_000_000_000, otlp::now());
    store.operations(from, to, None).await.unwrap();
    store.calls(from, to).await.unwrap();
    store.service_rates(from, to, 5).await.unwrap();
    store.log_counts(&LogFilter { service: Some("orders".into()), ..logs() }, 10).await.unwrap();
}

fn logs() -> LogFilter {
    LogFilter { limit: 500, ..LogFilter::default() }
}

/// Logs that are found by all of the ways, and how many are said to be unreadable at most.
async fn found_logs(store: &Store) -> (Vec<usize>, u64) {
    let (mut found, mut unreadable) = (Vec::new(), 0);
    for filter in [
        logs(),
        LogFilter { service: Some("orders".into()), ..logs() },
        LogFilter { trace: Some(id(LOGGED)), ..logs() },
        LogFilter { correlation: Some(format!("c{LOGGED}")), ..logs() },
        LogFilter { attributes: vec![("service.name".into(), "orders".into())], ..logs() },
    ] {
        let page = store.logs(&filter).await.unwrap();
        unreadable = unreadable.max(page.unreadable);
        found.push(page.rows.len());
    }
    (found, unreadable)
}

fn names(store: &Store, what: &str) -> bool {
    store.damage().iter().any(|place| place.contains(what) && place.contains(&store.location()))
}

pub async fn damaged_pages_of_an_index_cost_nothing_that_is_known_elsewhere(place: &Place) {
    fill(place).await;
    let all = (SEALED / 100) as usize;
    // A full page is one of terms: the others are few and compressed.
    for (state, sqlite, postgres, left) in [
        (
            "terms",
            "UPDATE run_page SET data = x'ff' WHERE length(data) BETWEEN 3900 AND 3984",
            "UPDATE throughline.run_page SET data = '\\xff' WHERE octet_length(data) BETWEEN 3900 AND 3984",
            vec![all, all, 1, 1, all],
        ),
        (
            "pages",
            "UPDATE run_page SET data = x'ff'",
            "UPDATE throughline.run_page SET data = '\\xff'",
            vec![0; 5],
        ),
        ("missing pages", "DELETE FROM run_page", "DELETE FROM throughline.run_page", vec![0; 5]),
    ] {
        place.change(sqlite, postgres).await;
        let store = place.open().await;
        answers(&store, state).await;
        assert!(names(&store, ", page "), "{state}: {:?}", store.damage());
        let (found, unreadable) = found_logs(&store).await;
        assert_eq!(found, left, "{state}");
        assert_eq!(unreadable, if left[0] > 0 { 0 } else { all as u64 }, "{state}");
        store.close().await;
        drop(store);
        let checked = check(&place.location(), |_, _| {}).await.unwrap();
        assert!(checked.trouble_count > 2, "{state}: {:?}", checked.troubles);
    }
}

pub async fn a_damaged_chunk_of_an_index_costs_its_own_traces_alone(place: &Place) {
    fill(place).await;
    for (state, number, sqlite, postgres) in [
        (
            "damaged",
            10,
            "UPDATE run_chunk SET data = x'00' WHERE id & 16777215 = 10",
            "UPDATE throughline.run_chunk SET data = '\\x00' WHERE number = 10",
        ),
        (
            "missing",
            20,
            "DELETE FROM run_chunk WHERE id & 16777215 = 20",
            "DELETE FROM throughline.run_chunk WHERE number = 20",
        ),
    ] {
        place.change(sqlite, postgres).await;
        let store = place.open().await;
        answers(&store, state).await;
        // Numbers grow with time, so the chunk holds these.
        let lost = number * CHUNK..(number + 1) * CHUNK;
        for (number, is_there) in
            [(lost.start - 1, true), (lost.start, false), (lost.end - 1, false), (lost.end, true)]
        {
            assert_eq!(store.trace(id(number)).await.unwrap().is_some(), is_there, "{state}: {number}");
            let filter = TraceFilter { correlation: Some(format!("c{number}")), ..newest(5) };
            assert_eq!(store.traces(&filter).await.unwrap().rows.len(), usize::from(is_there), "{state}");
        }
        assert!(names(&store, &format!(", chunk {number}")), "{state}: {:?}", store.damage());
        // A walk through all of it passes over what is lost.
        let (mut seen, mut after) = (0, None);
        loop {
            let page = store.traces(&TraceFilter { after, ..newest(1_000) }).await.unwrap();
            seen += page.rows.len() as u64;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let chunks = if state == "damaged" { 1 } else { 2 };
        assert_eq!(seen, SEALED + 1 - chunks * CHUNK, "{state}");
        let (found, _) = found_logs(&store).await;
        assert!(found.iter().take(4).all(|found| *found > 0), "{state}: {found:?}");
        store.close().await;
    }
}
