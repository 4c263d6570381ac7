//! Input beyond all measure in number, size or time: each answer is right, nothing is lost, also after a restart.

use throughline::dashboard::store::{Limits, Reader, TraceFilter};

use super::place::{Place, id, newest, send, send_raw};
use crate::common::otlp::{self, TestSpan, request, span};

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3_600 * SECOND;
const YEAR: u64 = 365 * 24 * HOUR;

pub async fn ten_thousand_services_are_each_found(place: &Place) {
    const SERVICES: u64 = 10_000;
    let mut store = place.open().await;
    let name = |number: u64| format!("service-{number:05}");
    for first in (0..SERVICES).step_by(1_000) {
        let mut whole = Vec::new();
        for number in first..first + 1_000 {
            let of_all = span(SERVICES, number, "part", 50_000);
            whole.extend(request(&name(number), &[span(number, 1, "GET /", 60_000 - number), of_all]));
        }
        send_raw(&store, whole).await;
    }
    for round in ["at once", "after a restart"] {
        let services = store.services(0, u64::MAX).await.unwrap();
        assert_eq!(services, (0..SERVICES).map(name).collect::<Vec<_>>(), "{round}");
        for number in [0, 4_711, SERVICES - 1] {
            let filter = TraceFilter { service: Some(name(number)), ..newest(10) };
            let rows = store.traces(&filter).await.unwrap().rows;
            let mut found: Vec<_> = rows.iter().map(|row| row.trace_id).collect();
            found.sort_unstable();
            assert_eq!(found, [id(number), id(SERVICES)], "service {number} {round}");
        }
        let all = store.summary(id(SERVICES)).await.unwrap().expect("the trace through all of them");
        assert_eq!((all.spans, all.services.len() as u64 + u64::from(all.more_services)), (10_000, SERVICES));
        let operations = store.operations(0, u64::MAX, None).await.unwrap();
        assert_eq!(operations.iter().map(|one| one.rates.count).sum::<u64>(), 2 * SERVICES, "{round}");
        if round == "at once" {
            store = place.reopen(store).await;
        }
    }
    store.close().await;
}

pub async fn spans_of_another_time_are_found_where_the_rules_put_them(place: &Place) {
    let mut store = place.open().await;
    let now = otlp::now();
    let at = |number: u64, start: u64, end: u64| TestSpan { start, end, ..span(number, 1, "odd", 0) };
    let times = [
        at(1, now - HOUR, now - HOUR + SECOND),
        at(2, now + YEAR, now + YEAR + SECOND),
        at(3, 5 * SECOND, 6 * SECOND),
        at(4, 0, 0),
        at(5, now - SECOND, now + YEAR),
        at(6, u64::MAX - 1, u64::MAX),
        at(7, now - YEAR, now - YEAR + SECOND),
    ];
    for time in &times {
        send(&store, "odd", std::slice::from_ref(time)).await;
    }
    let later = otlp::now() + SECOND;
    for round in ["at once", "after a restart"] {
        for (number, sent) in (1..).zip(&times) {
            let trace = store.trace(id(number)).await.unwrap().expect("found by its ID");
            assert_eq!(
                (trace.spans[0].start, trace.spans[0].end),
                (sent.start, sent.end),
                "{round}: {number}"
            );
        }
        let within = async |from: u64, to: u64| {
            let filter = TraceFilter { from: Some(from), to: Some(to), ..newest(20) };
            let mut found: Vec<_> =
                store.traces(&filter).await.unwrap().rows.iter().map(|row| row.trace_id).collect();
            found.sort_unstable();
            found
        };
        assert_eq!(within(now - HOUR - SECOND, now - HOUR + SECOND).await, [id(1)], "{round}");
        assert_eq!(within(now - YEAR - SECOND, now - YEAR + SECOND).await, [id(7)], "{round}");
        // A start that cannot be is not believed: such a span is listed at the time of its arrival.
        assert_eq!(within(now - 10 * SECOND, later).await, [2, 3, 4, 5, 6].map(id), "{round}");
        assert_eq!(within(later, u64::MAX).await, [], "{round}");
        assert_eq!(within(0, HOUR).await, [], "{round}");
        assert_eq!(store.traces(&newest(20)).await.unwrap().rows.len(), times.len(), "{round}");
        // So it is with rates, by the end.
        let count = async |from: u64, to: u64| {
            let found = store.operations(from, to, Some("odd")).await.unwrap();
            found.iter().map(|one| one.rates.count).sum::<u64>()
        };
        assert_eq!(count(now - HOUR - 20 * SECOND, now - HOUR + 20 * SECOND).await, 1, "{round}");
        assert_eq!(count(now - 20 * SECOND, later).await, 5, "{round}");
        assert_eq!(count(0, u64::MAX).await, 7, "{round}");
        if round == "at once" {
            store = place.reopen(store).await;
        }
    }
    // A clock that runs ahead costs nobody else's data: age is counted from arrival.
    let limits = Limits { max_age: std::time::Duration::from_secs(3_600), ..Limits::default() };
    store.close().await;
    drop(store);
    let store = place.open_with(limits).await;
    assert_eq!(store.traces(&newest(20)).await.unwrap().rows.len(), times.len());
    store.close().await;
}

pub async fn a_trace_of_a_hundred_thousand_spans_is_one_trace(place: &Place) {
    const SPANS: u64 = 100_000;
    let mut store = place.open().await;
    for first in (0..SPANS).step_by(5_000) {
        // A chain: each span under the one before it.
        let spans: Vec<_> = (first..first + 5_000)
            .map(|number| span(1, number, "step", 200_000 - number))
            .map(|span| TestSpan {
                parent: (u64::from_be_bytes(span.span_id[..].try_into().unwrap()) - 1).to_be_bytes().to_vec(),
                ..span
            })
            .collect();
        send(&store, "chain", &spans).await;
    }
    for round in ["at once", "after a restart"] {
        let trace = store.trace(id(1)).await.unwrap().expect("it is there");
        let mut numbers: Vec<u64> =
            trace.spans.iter().map(|span| u64::from_be_bytes(span.span_id.0) - 1).collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..SPANS), "{round}: {} spans", trace.spans.len());
        let rows = store.traces(&newest(5)).await.unwrap().rows;
        assert_eq!((rows.len(), u64::from(rows[0].spans)), (1, SPANS), "{round}");
        if round == "at once" {
            store = place.reopen(store).await;
        }
    }
    store.close().await;
}
