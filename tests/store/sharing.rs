//! Several dashboards on one database: each takes in data, all show all of it, one of them seals and removes.

use std::time::Duration;

use throughline::dashboard::store::{Limits, LogFilter, Reader, Store};

use super::common::eventually;
use super::common::otlp::span;
use super::place::{Place, id, newest, send, send_logs};

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
