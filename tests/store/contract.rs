//! What holds whatever the store is kept in: what is acknowledged is there, once, and is found by everything it can be
//! found by.

use std::time::{Duration, Instant};

use throughline::dashboard::store::check::check;
use throughline::dashboard::store::{Limits, Order, Reader, StatusFilter, StoreError, TraceFilter};

use super::place::{Place, id, newest, send, send_logs, try_send};
use crate::common;
use crate::common::otlp::{self, TestSpan, span};

pub async fn a_trace_sent_in_shares_is_one_trace_also_after_a_restart(place: &Place) {
    let store = place.open().await;
    send(&store, "orders", &[span(1, 2, "charge", 90).parent(1).failed("card declined")]).await;
    send(&store, "gateway", &[span(1, 1, "POST /orders", 10_000).with("correlation.id", "c-1")]).await;
    send_logs(&store, "orders", &[("declined", Some(1), Some("c-1")), ("lost", None, Some("c-1"))]).await;
    let mut store = store;
    for round in 0..2 {
        if round == 1 {
            store = place.reopen(store).await;
        }
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

pub async fn the_same_span_twice_is_stored_once_and_another_under_its_id_is_kept(place: &Place) {
    let store = place.open().await;
    let first = span(1, 1, "one", 50);
    assert_eq!(send(&store, "a", std::slice::from_ref(&first)).await, 0);
    assert_eq!(send(&store, "a", std::slice::from_ref(&first)).await, 1);
    assert_eq!(send(&store, "b", std::slice::from_ref(&first)).await, 0, "another resource is another span");
    let other = TestSpan { name: b"two".to_vec(), ..first.clone() };
    assert_eq!(send(&store, "a", &[other, first.clone()]).await, 1);
    assert_eq!(store.trace(id(1)).await.unwrap().unwrap().spans.len(), 3);
    let reopened = place.reopen(store).await;
    assert_eq!(send(&reopened, "a", &[first]).await, 1, "known after a restart");
    assert_eq!(reopened.traces(&newest(1)).await.unwrap().rows[0].spans, 3);
}

pub async fn lists_filter_sort_and_page(place: &Place) {
    let store = place.open().await;
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

pub async fn a_correlation_is_closed_over_links_in_both_directions(place: &Place) {
    let store = place.open().await;
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

pub async fn sealed_runs_answer_like_the_tail_and_old_ones_go(place: &Place) {
    let limits = Limits { every: Duration::from_millis(50), ..Limits::default() };
    let store = place.open_with(limits).await;
    // More traces than a tail holds, each in two shares, so that at least one run is sealed.
    let (total, mut starts) = (20_000u64, Vec::new());
    for first in (0..total).step_by(500) {
        let roots: Vec<_> = (first..first + 500)
            .map(|number| {
                span(number, 1, "root", 100_000 - number).with("correlation.id", &format!("c{number}"))
            })
            .collect();
        starts.extend(roots.iter().map(|root| root.start));
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
    // Several at once: of a run and of the tail, in the order asked, one that is not there among them.
    let asked: Vec<_> = (0..40).rev().map(|number| number * 512).chain([77_777]).map(id).collect();
    let each = store.each_trace(&asked).await;
    assert_eq!(each.iter().map(|(id, _)| *id).collect::<Vec<_>>(), asked);
    for (number, (id, trace)) in each.into_iter().enumerate() {
        let spans = trace.expect("it can be read").map(|trace| (trace.id, trace.spans.len()));
        assert_eq!(spans, (number < 40).then_some((id, 2)), "{number}");
    }
    let page = store.traces(&newest(50)).await.unwrap();
    assert_eq!(
        page.rows.iter().map(|row| row.trace_id).collect::<Vec<_>>(),
        (total - 50..total).rev().map(id).collect::<Vec<_>>()
    );
    assert!(page.rows.iter().all(|row| row.spans == 2));
    // Far back in a run, what is newer is passed over and not looked at.
    for service in [None, Some("b".to_owned())] {
        let page =
            store.traces(&TraceFilter { to: Some(starts[1_234]), service, ..newest(20) }).await.unwrap();
        let found: Vec<_> = page.rows.iter().map(|row| row.trace_id).collect();
        assert_eq!(found, (1_215..=1_234).rev().map(id).collect::<Vec<_>>());
        assert!(page.examined < 500, "{} looked at for 20", page.examined);
    }
    let holdings = store.holdings().await.unwrap();
    assert_eq!(holdings.spans, total * 2);
    store.close().await;
    drop(store);
    let limits = Limits { max_bytes: 1, every: Duration::from_millis(20), ..limits };
    let store = place.open_with(limits).await;
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

pub async fn a_broken_block_is_named_and_the_rest_stays_readable(place: &Place) {
    let store = place.open().await;
    for number in 1..=2 {
        send(&store, "orders", &[span(number, 1, "GET /orders", 100)]).await;
    }
    // One byte in the middle of the frame of the first trace's block.
    place
        .change(
            "UPDATE block SET data = substr(data, 1, length(data) / 2) ||
             CASE substr(data, length(data) / 2 + 1, 1) WHEN x'5a' THEN x'a5' ELSE x'5a' END ||
             substr(data, length(data) / 2 + 2) WHERE id = 2",
            "UPDATE throughline.block SET data = set_byte(data, length(data) / 2,
             255 - get_byte(data, length(data) / 2)) WHERE id = 2",
        )
        .await;
    let error = store.trace(id(1)).await.expect_err("broken").to_string();
    assert!(error.contains("block 2"), "{error}");
    let each = store.each_trace(&[id(1), id(2)]).await;
    assert!(each[0].1.is_err() && each[1].1.as_ref().is_ok_and(Option::is_some), "each by itself");
    assert_eq!(store.trace(id(2)).await.unwrap().expect("whole").spans.len(), 1);
    store.close().await;
    drop(store);
    let store = place.open().await;
    assert!(store.trace(id(1)).await.unwrap().is_none());
    assert_eq!(store.trace(id(2)).await.unwrap().expect("whole").spans.len(), 1);
    store.close().await;
}

pub async fn a_check_reads_all_and_names_what_is_broken(place: &Place) {
    let store = place.open().await;
    for first in (1..17_000).step_by(1_000) {
        let spans: Vec<_> = (first..first + 1_000).map(|number| span(number, 1, "fill", 90_000)).collect();
        send(&store, "filler", &spans).await;
    }
    common::eventually("the tail is sealed", 20, async || {
        (store.holdings().await.unwrap().runs > 0).then_some(())
    })
    .await;
    send(&store, "filler", &[span(20_000, 1, "of the tail", 50)]).await;
    store.close().await;
    drop(store);
    let whole = check(&place.location(), |_, _| {}).await.expect("it opens");
    assert_eq!((whole.spans, whole.runs, whole.trouble_count), (17_001, 1, 0), "{:?}", whole.troubles);
    place
        .change(
            "UPDATE block SET data = substr(data, 1, 100) || x'5a5a' || substr(data, 103) WHERE id = 2",
            "UPDATE throughline.block SET data = set_byte(data, 100, 255 - get_byte(data, 100)) WHERE id = 2",
        )
        .await;
    place
        .change("UPDATE run_chunk SET data = x'00'", "UPDATE throughline.run_chunk SET data = '\\x00'")
        .await;
    let broken = check(&place.location(), |_, _| {}).await.expect("it opens");
    assert!(broken.spans < whole.spans && broken.spans > 10_000, "{} spans", broken.spans);
    assert!(broken.troubles.iter().any(|trouble| trouble.contains("block 2")), "{:?}", broken.troubles);
    assert!(broken.troubles.iter().any(|trouble| trouble.contains("chunk 0")), "{:?}", broken.troubles);
    assert!(broken.trouble_count > broken.troubles.len() as u64 && broken.troubles.len() == 50);
}

/// Another program holds a lock for longer than anybody waits.
pub async fn a_lock_turns_senders_away_in_time_and_nothing_is_lost(place: &Place) {
    let mut store = place.open().await;
    send(&store, "a", &[span(1, 1, "before", 50)]).await;
    let lock = place.lock().await;
    let spans: Vec<_> = (2..6).map(|number| span(number, 1, "meanwhile", 40)).collect();
    let began = Instant::now();
    let sent = spans.iter().map(|span| try_send(&store, "a", std::slice::from_ref(span)));
    for answer in futures_util::future::join_all(sent).await {
        assert!(matches!(answer, Err(StoreError::Unavailable(_) | StoreError::Overloaded)), "{answer:?}");
    }
    assert!(began.elapsed() < Duration::from_secs(7), "answered after {:?}", began.elapsed());
    assert_eq!(store.traces(&newest(1)).await.unwrap().rows[0].trace_id, id(1), "lists can be read");
    lock.release().await;
    // Some may have been stored after their senders were told otherwise.
    for span in &spans {
        common::eventually("it is taken again", 20, async || {
            try_send(&store, "a", std::slice::from_ref(span)).await.ok()
        })
        .await;
    }
    for round in ["at once", "after a restart"] {
        let page = store.traces(&newest(10)).await.unwrap();
        let found: Vec<_> = page.rows.iter().map(|row| (row.trace_id, row.spans)).collect();
        assert_eq!(found, [(id(5), 1), (id(4), 1), (id(3), 1), (id(2), 1), (id(1), 1)], "{round}");
        if round == "at once" {
            store = place.reopen(store).await;
        }
    }
}

pub async fn a_store_of_another_version_is_named_and_left_alone(place: &Place) {
    let store = place.open().await;
    store.close().await;
    drop(store);
    for (age, sqlite, postgres) in [
        (
            "newer",
            "INSERT INTO _sqlx_migrations VALUES (99, 'to come', 0, 1, x'00', 0)",
            "INSERT INTO throughline._sqlx_migrations VALUES (99, 'to come', now(), true, '', 0)",
        ),
        (
            "older",
            "UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 1",
            "DELETE FROM throughline._sqlx_migrations WHERE version > 1;
             UPDATE throughline._sqlx_migrations SET checksum = '' WHERE version = 1",
        ),
    ] {
        place.change("DELETE FROM _sqlx_migrations WHERE version > 1", "SELECT").await;
        place.change(sqlite, postgres).await;
        let words = place.try_open(Limits::default()).await.err().expect("refused").to_string();
        let name = if matches!(place, Place::Sqlite(_)) { "store.db" } else { "postgres://admin@localhost/" };
        assert!(words.contains(age) && words.contains(name) && words.contains("--store"), "{words}");
        assert!(!words.contains('\n'), "{words}");
    }
}
