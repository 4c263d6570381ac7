//! Rates of operations: folded when spans come, the same out of the tail, out of runs and after a restart, and bounded.

use std::time::Duration;

use crate::common;
use crate::common::otlp::{self, TestSpan, request};
use crate::rates_support::{CLIENT, Kept, SECOND, node, of_kind, open, span};
use throughline::dashboard::store::{Limits, OTHERS, Reader};

#[tokio::test]
async fn quantiles_are_within_the_promise_also_over_several_runs() {
    let kept = Kept::open().await;
    let mut exact = Vec::new();
    for round in 0..3u64 {
        let spans: Vec<_> = (0..700u64)
            .map(|number| {
                let duration = 1_000 + (number * number * 7_919 + round * 104_729) % 3_000_000_000;
                exact.push(duration);
                let root = span(round * 1_000 + number, 1, "GET /a", 50_000 * (round + 1));
                TestSpan { end: root.start + duration, ..root }
            })
            .collect();
        kept.send("shop", &spans).await;
        kept.sealed().await;
    }
    exact.sort_unstable();
    let shop = kept.store.operations(0, u64::MAX, Some("shop")).await.unwrap();
    assert_eq!((shop.len(), shop[0].rates.count), (1, 2_100));
    for share in [0.5, 0.95, 0.99] {
        let wanted = exact[(exact.len() as f64 * share).ceil() as usize - 1] as f64;
        let read = shop[0].rates.durations.quantile(share).unwrap() as f64;
        assert!((read / wanted - 1.0).abs() < 0.02, "p{} is {wanted}, read as {read}", share * 100.0);
    }
}

#[tokio::test]
async fn ranges_are_cut_at_the_borders_of_buckets() {
    let kept = Kept::open().await;
    let border = (otlp::now() / (600 * SECOND) - 12) * 600 * SECOND;
    for (trace, offset) in [(1, 0), (2, 10 * SECOND - 1), (3, 10 * SECOND), (4, 3_599 * SECOND)] {
        let root = span(trace, 1, "GET /", 0);
        kept.send("shop", &[TestSpan { start: border + offset - 1_000, end: border + offset, ..root }]).await;
    }
    for round in ["tail", "run"] {
        let count = async |from: u64, to: u64| {
            let found = kept.store.operations(from, to, Some("shop")).await.unwrap();
            let calls = kept.store.calls(from, to).await.unwrap();
            let called: u64 =
                calls.iter().filter(|one| node(&one.callee) == "shop").map(|one| one.rates.count).sum();
            assert_eq!(found.iter().map(|one| one.rates.count).sum::<u64>(), called);
            called
        };
        assert_eq!(count(border, border + 10 * SECOND).await, 2, "{round}");
        assert_eq!(count(border, border + 1).await, 2, "{round}: the bucket begins within");
        assert_eq!(count(border + 1, border + 3_600 * SECOND).await, 2, "{round}: it begins before");
        assert_eq!(count(border + 10 * SECOND, border + 20 * SECOND).await, 1, "{round}");
        assert_eq!(count(0, u64::MAX).await, 4, "{round}");
        assert_eq!(count(border + 20, border + 10).await, 0, "{round}: an empty range");
        for (steps, expected) in [(360, vec![(0, 2), (10, 1), (3_590, 1)]), (6, vec![(0, 3), (3_000, 1)])] {
            let services = kept.store.service_rates(border, border + 3_600 * SECOND, steps).await.unwrap();
            let shop = services.iter().find(|one| one.service == "shop").expect("the service");
            assert_eq!(shop.steps.len(), steps);
            let filled = shop.steps.iter().filter(|(_, rates)| rates.count > 0);
            let filled: Vec<_> = filled.map(|(at, rates)| ((at - border) / SECOND, rates.count)).collect();
            assert_eq!(filled, expected, "{round}, {steps} steps");
        }
        kept.sealed().await;
    }
}

#[tokio::test]
async fn what_retention_removes_counts_no_longer_and_leaves_nothing_below_none() {
    let kept = Kept::open().await;
    let client = of_kind(CLIENT, span(1, 2, "POST", 990)).parent(1).with("server.address", "orders.local");
    let server = span(1, 3, "POST /charge", 985).parent(2);
    kept.send("gateway", &[client]).await;
    kept.sealed().await;
    kept.send("orders", &[server]).await;
    assert_eq!(kept.calls().await, ["gateway > orders 1"]);
    kept.store.close().await;
    let Kept { store, folder } = kept;
    drop(store);
    let limits = Limits { max_bytes: 1, every: Duration::from_millis(20), ..Limits::default() };
    let kept = Kept { store: open(folder.path(), limits).await, folder };
    common::eventually("the run's rates are gone", 10, async || {
        let left = kept.store.operations(0, u64::MAX, Some("filler")).await.expect("operations");
        left.iter().all(|one| one.rates.count < 16_000).then_some(())
    })
    .await;
    assert_eq!(kept.calls().await, ["gateway > orders 1"], "what came later stays");
}

#[tokio::test]
async fn hostile_spans_stay_bounded_and_plausible() {
    let kept = Kept::open().await;
    // Its own parent; two that are each other's.
    kept.send("a", &[span(1, 1, "self", 100).parent(1)]).await;
    kept.send("b", &[span(2, 1, "one", 100).parent(2), span(2, 2, "two", 100).parent(1)]).await;
    assert_eq!(kept.calls().await, ["? > a 1"], "and a service calls itself by no client");
    // Far in the future, the end before the start, no time at all: they count on arrival, or as 0 ns.
    // Not at the time of the other spans, which is that of the first test.
    let backwards = otlp::span(4, 1, "odd", 100);
    let odd = [
        TestSpan { start: u64::MAX - 5, end: u64::MAX, ..span(3, 1, "odd", 0) },
        TestSpan { end: backwards.start - 60 * SECOND, ..backwards },
        TestSpan { start: 0, end: 0, ..span(5, 1, "odd", 0) },
    ];
    kept.send("c", &odd).await;
    let now = otlp::now();
    let found = kept.store.operations(now - 120 * SECOND, now + SECOND, Some("c")).await.unwrap();
    assert_eq!((found[0].rates.count, found[0].rates.durations.quantile(1.0)), (3, Some(0)));
    // A name and an address that are no text.
    let name = TestSpan { name: vec![0xff; 3_000], ..of_kind(CLIENT, span(6, 1, "", 10)) };
    kept.send("d", &[name.with("server.address", &"x".repeat(100_000))]).await;
    let found = kept.store.operations(0, u64::MAX, Some("d")).await.unwrap();
    assert!(found[0].operation.chars().count() <= 256, "{} long", found[0].operation.len());
}

#[tokio::test]
async fn ten_thousand_services_and_names_without_end_are_counted_with_others() {
    let kept = Kept::open().await;
    let mut many = Vec::new();
    for number in 0..10_000u64 {
        many.extend(request(&format!("service-{number}"), &[span(number, 1, "GET /", 500)]));
    }
    kept.send_raw(many).await;
    let names: Vec<_> =
        (0..3_000).map(|number| span(20_000 + number, 1, &format!("GET /{number}"), 500)).collect();
    kept.send("talkative", &names).await;
    for round in ["tail", "run"] {
        let found = kept.operations().await;
        assert_eq!(found.iter().map(|one| one.2).sum::<u64>(), 13_000, "{round}: every span counts");
        assert_eq!(found.iter().filter(|one| one.0 != "talkative").count(), 10_000, "{round}");
        let others = found.iter().find(|one| one.0 == "talkative" && one.1 == OTHERS).expect("others");
        assert!(others.2 >= 2_400, "{round}: {others:?}");
        let calls = kept.store.calls(0, u64::MAX).await.unwrap();
        assert_eq!(calls.iter().map(|call| call.rates.count).sum::<u64>(), 13_000, "{round}");
        assert!(calls.len() < 10_000, "{round}: {} calls", calls.len());
        kept.sealed().await;
    }
}
