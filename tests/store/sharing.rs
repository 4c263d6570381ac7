//! Several dashboards on one database: each takes in data, all show all of it, one of them seals and removes.

use std::time::Duration;

use throughline::dashboard::store::{Limits, LogFilter, Reader, Store};

use super::place::{Place, id, newest, send, send_logs};
use super::series::{keep, named, read, seal};
use crate::common::eventually;
use crate::common::otlp::{self, Measure, point, span};

async fn sees(store: &Store, number: u64, spans: usize) {
    eventually(&format!("trace {number} has {spans} spans"), 20, async || {
        let trace = store.trace(id(number)).await.unwrap();
        (trace.map_or(0, |trace| trace.spans.len()) == spans).then_some(())
    })
    .await;
}

#[tokio::test]
async fn each_shows_what_the_others_took_in() {
    let place = Place::postgres().await;
    let (one, two) = (place.open().await, place.open().await);
    send(&one, "gateway", &[span(1, 1, "POST /orders", 10_000).with("correlation.id", "c")]).await;
    send(&two, "orders", &[span(1, 2, "charge", 9_000).parent(1)]).await;
    send(&one, "users", &[span(1, 3, "find", 8_000).parent(1)]).await;
    send_logs(&two, "orders", &[("lost", None, Some("c"))]).await;
    for store in [&one, &two] {
        sees(store, 1, 3).await;
        let row = &store.traces(&newest(5)).await.unwrap().rows[0];
        assert_eq!((row.spans, row.root.as_ref().unwrap().name.as_str()), (3, "POST /orders"));
        let story = eventually("the log is seen", 10, async || {
            let story = store.correlated("c").await.unwrap();
            (story.logs.len() == 1).then_some(story)
        })
        .await;
        assert_eq!(story.traces.len(), 1);
        let filter = LogFilter { correlation: Some("c".into()), limit: 5, ..LogFilter::default() };
        let lost = store.logs(&filter).await.unwrap();
        assert_eq!(lost.rows.iter().map(|row| row.log.service()).collect::<Vec<_>>(), ["orders"]);
    }
    // A sender that got no answer from the one comes again to the other.
    let again = span(2, 1, "again", 7_000);
    send(&one, "a", std::slice::from_ref(&again)).await;
    sees(&two, 2, 1).await;
    assert_eq!(send(&two, "a", &[again]).await, 1, "known although the other stored it");
    one.close().await;
    drop(one);
    send(&two, "orders", &[span(1, 4, "late", 7_500).parent(1)]).await;
    sees(&two, 1, 4).await;
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_removes_of_a_run_is_gone_for_all() {
    let place = Place::postgres().await;
    let every = Duration::from_millis(50);
    let keeps = place.open_with(Limits { every, ..Limits::default() }).await;
    has_a_keeper(&place).await;
    let limits = Limits { max_log_age: Some(Duration::from_millis(1)), every, ..Limits::default() };
    let stores = [place.open_with(limits).await, place.open_with(limits).await];
    for first in (0..17_000u64).step_by(1_000) {
        let spans: Vec<_> = (first..first + 1_000).map(|trace| span(trace, 1, "work", 50_000)).collect();
        send_logs(&keeps, "a", &[("gone", Some(first), None)]).await;
        send(&keeps, "a", &spans).await;
    }
    let counts = async |store: &Store| {
        let holdings = store.holdings().await.unwrap();
        (holdings.spans, holdings.logs, holdings.runs)
    };
    for store in &stores {
        let all = async || (counts(store).await == (17_000, 17, 1)).then_some(());
        eventually("it has seen the run with its logs", 30, all).await;
    }
    // One of the two others is the keeper now, and the other one follows it.
    keeps.close().await;
    drop(keeps);
    for store in &stores {
        let gone = async || (counts(store).await == (17_000, 0, 1)).then_some(());
        eventually("the logs of the run are gone", 30, gone).await;
        // At no moment is one led to a block that is gone.
        for _ in 0..30 {
            let trace = store.trace(id(1_000)).await.unwrap().expect("its span stays");
            assert_eq!((trace.spans.len(), trace.logs.len()), (1, 0));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    let [one, two] = stores;
    one.close().await;
    two.close().await;
}

/// Waits until the dashboard that is open holds the keeper's lock.
async fn has_a_keeper(place: &Place) {
    let keepers = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 2 AND granted
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    eventually("it keeps the store", 10, async || (place.number(keepers).await == 1).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_seals_and_removes_for_all() {
    let place = Place::postgres().await;
    let limits = Limits { every: Duration::from_millis(50), ..Limits::default() };
    let stores = [place.open_with(limits).await, place.open_with(limits).await];
    // Each trace comes in two shares, one to each, and there are more of them than a tail holds.
    let total = 18_000u64;
    for first in (0..total).step_by(500) {
        for (number, store) in stores.iter().enumerate() {
            let spans: Vec<_> = (first..first + 500)
                .map(|trace| span(trace, number as u64 + 1, "work", 100_000 - trace))
                .collect();
            send(store, ["a", "b"][number], &spans).await;
        }
    }
    let runs = async || place.number("SELECT count(*) FROM throughline.run").await;
    eventually("one has sealed", 20, async || (runs().await > 0).then_some(())).await;
    for store in &stores {
        for number in [0, 1, 9_000, total - 1] {
            sees(store, number, 2).await;
        }
        eventually("it counts all", 20, async || {
            (store.holdings().await.unwrap().spans == total * 2).then_some(())
        })
        .await;
    }
    let overlaps = "SELECT count(*) FROM throughline.run a JOIN throughline.run b
                    ON a.id < b.id AND a.last_block >= b.first_block";
    assert_eq!(place.number(overlaps).await, 0, "runs own ranges of their own");
    let [one, two] = stores;
    one.close().await;
    drop(one);
    // The other one is the keeper now, whoever was it before.
    let tight = place.open_with(Limits { max_bytes: 1, ..limits }).await;
    two.close().await;
    drop(two);
    eventually("the oldest run is removed", 20, async || {
        tight.trace(id(0)).await.unwrap().is_none().then_some(())
    })
    .await;
    // Taken out of the index first, out of the database after that.
    eventually("its row is gone", 20, async || (runs().await == 0).then_some(())).await;
    let last = tight.trace(id(total - 1)).await.unwrap().expect("the tail stays");
    assert_eq!(last.spans.len(), 2);
    tight.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn series_are_shared_too() {
    const S: u64 = 1_000_000_000;
    let place = Place::postgres().await;
    let limits = Limits { every: Duration::from_millis(50), ..Limits::default() };
    let stores = [place.open_with(limits).await, place.open_with(limits).await];
    // One series, told of by both in turn, hours ago; and a sample that both are told of.
    let begin = (otlp::now() / (600 * S) - 30) * 600 * S;
    let name = "rabbitmq.message.current";
    for at in 0..20 {
        keep(
            &stores[at % 2],
            "broker",
            name,
            Measure::UpDown,
            &[point(begin + at as u64 * 20 * S, at as f64)],
        )
        .await;
    }
    // Two differences within what becomes one step.
    let parts = [point(begin, 1.0), point(begin + 5 * S, 2.0)];
    keep(&stores[0], "shop", "messaging.sent", Measure::Delta, &parts).await;
    let values_of = async |store: &Store, name: &str| {
        let found = read(store, &named(name, begin, begin + 400 * S)).await.series;
        found.iter().flat_map(|series| &series.samples).map(|sample| sample.value).collect::<Vec<_>>()
    };
    let values = async |store: &Store| values_of(store, name).await;
    let all: Vec<f64> = (0..20).map(f64::from).collect();
    let see = async |what: &str| {
        for store in &stores {
            eventually(what, 20, async || (values(store).await == all).then_some(())).await;
        }
    };
    see("each sees what the other took in").await;
    let again = [point(begin, 0.0)];
    assert_eq!(keep(&stores[1], "broker", name, Measure::UpDown, &again).await.duplicates, 1);
    seal(&stores[0]).await;
    see("both see what one has sealed").await;
    eventually("it is merged once", 20, async || {
        let count = "SELECT count(*) FILTER (WHERE tier = 1) - count(*) FILTER (WHERE tier <> 1) FROM throughline.sample_chunk";
        (place.number(count).await == 1).then_some(())
    })
    .await;
    see("both see what is merged").await;
    for store in &stores {
        eventually("it holds nothing of before the seal", 20, async || {
            (values_of(store, "messaging.sent").await == [3.0]).then_some(())
        })
        .await;
        let newest = store.newest_samples(&named(name, 0, otlp::now())).await.unwrap();
        assert_eq!((newest.len(), newest[0].sample.value), (1, 19.0));
    }
    let [one, two] = stores;
    one.close().await;
    drop(one);
    let late = [point(begin + 5 * S, 7.5)];
    keep(&two, "broker", name, Measure::UpDown, &late).await;
    assert_eq!(values(&two).await[..3], [0.0, 7.5, 1.0], "what is late joins what is merged");
    two.close().await;
}
