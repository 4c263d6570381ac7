//! An order whose payment fails late is taken back step by step, also where a service is killed in the middle.

use std::time::{Duration, Instant};

use crate::demo_support::story::{client, count, in_stock, place};
use crate::demo_support::{Demo, Receiver, SOON, kill, signal, text};
use serde_json::Value;
use throughline::comms::names;

async fn get(demo: &Demo, path: &str) -> Value {
    let answer = client().get(format!("{}{path}", demo.gateway())).send().await.expect("an answer");
    answer.json().await.expect("JSON")
}

async fn wait_for(demo: &Demo, order: &str, status: &str) {
    let deadline = Instant::now() + SOON;
    loop {
        let shown = get(demo, &format!("/v2/orders/{order}")).await;
        if shown["status"] == status {
            return;
        }
        assert!(Instant::now() < deadline, "still {shown}, not {status}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What becomes of an order.
async fn ended(demo: &Demo, order: &str) -> String {
    let deadline = Instant::now() + SOON;
    loop {
        let shown = get(demo, &format!("/v2/orders/{order}")).await;
        let status = shown["status"].as_str().unwrap_or_default();
        if matches!(status, "paid" | "cancelled") {
            return status.to_owned();
        }
        assert!(Instant::now() < deadline, "still {shown}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_decline_releases_the_stock_and_cancels_the_order() {
    let (receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    let before = in_stock(&demo).await;
    let on = client().post(format!("{}/scenarios/late-decline?seconds=600", demo.gateway())).send().await;
    assert_eq!(on.expect("an answer").status(), 200);
    // Each process looks for scenarios five times a second; until the bank has, orders are paid.
    let mut paid = 0;
    let (correlation, order) = loop {
        let correlation = format!("test-saga-1-{paid}");
        let order = place(&demo, &correlation, "tok_visa").await;
        if ended(&demo, &order).await == "cancelled" {
            break (correlation, order);
        }
        paid += 1;
    };
    assert_eq!(in_stock(&demo).await, before - 2 * paid, "what was reserved is there again");
    let old = get(&demo, &format!("/v1/orders/{order}")).await;
    assert_eq!(old["status"], "payment_failed", "version 1 knows nothing of it");

    let steps = [
        ("payments", "send orders:payment.failed"),
        ("orders", "send orders:stock.release"),
        ("inventory", "send orders:stock.released"),
        ("orders", "send orders:order.cancelled"),
    ];
    let spans = receiver
        .spans(&correlation, |spans| {
            steps.iter().all(|(service, name)| {
                spans.iter().any(|seen| seen.service == *service && seen.span.name == *name)
            }) && count(spans, "process notifications.email") == 3
        })
        .await;
    let starts = steps.map(|(_, name)| {
        spans.iter().find(|seen| seen.span.name == name).map(|seen| seen.span.start_time_unix_nano)
    });
    assert!(starts.is_sorted(), "one step after the other: {starts:?}");
    // Each message names the one that led to it.
    let sent = |name: &str| spans.iter().find(|seen| seen.span.name == name).expect("sent");
    for pair in steps.windows(2) {
        let (cause, effect) = (sent(pair[0].1), sent(pair[1].1));
        assert_eq!(effect.text(names::MESSAGE_CAUSATION_ID), cause.text(names::MESSAGING_MESSAGE_ID));
    }
    let logs = receiver.logs("order cancelled");
    assert!(logs.iter().any(|log| text(log, "order.id") == order), "{logs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_goes_on_after_a_crash_and_happens_once() {
    let (receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    let before = in_stock(&demo).await;
    let order = place(&demo, "test-saga-2", "tok_declined").await;
    // Inventory stands still, so that the order stays in the middle of it.
    let children = demo.children();
    let inventory = demo.stop_at_rest("inventory").await;
    wait_for(&demo, &order, "payment_failed").await;
    kill(children["orders"]);
    let deadline = Instant::now() + SOON;
    while demo.children().get("orders").is_none_or(|id| *id == children["orders"]) {
        assert!(Instant::now() < deadline, "orders is not back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    signal(inventory, "-CONT");
    wait_until_cancelled(&demo, &order).await;
    assert_eq!(in_stock(&demo).await, before, "given back, and once");
    // Each service sends its spans when it likes.
    let all = |spans: &[_]| {
        count(spans, "send orders:order.cancelled") == 1 && count(spans, "process inventory.release") >= 1
    };
    receiver.spans("test-saga-2", all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_are_placed_while_the_broker_is_lost_are_worked_on_once_it_is_found() {
    let (receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    let switch = async |path: &str| {
        let answer = client().post(format!("{}/scenarios/{path}", demo.gateway())).send().await;
        assert_eq!(answer.expect("an answer").status(), 200, "{path}");
    };
    let failed = |correlation: &str| {
        let seen = receiver.all_spans().into_iter();
        seen.filter(|seen| seen.text("correlation.id") == correlation).any(|seen| {
            seen.span.name == "send orders:order.placed" && seen.text("error.type") == "unavailable"
        })
    };
    switch("lost-broker?seconds=600").await;
    // Each process looks for scenarios five times a second; until orders has, its messages leave.
    let mut placed = Vec::new();
    let deadline = Instant::now() + SOON;
    while !placed.iter().any(|(correlation, _): &(String, String)| failed(correlation)) {
        assert!(Instant::now() < deadline, "every message was sent");
        let correlation = format!("test-lost-{}", placed.len());
        let order = place(&demo, &correlation, "tok_visa").await;
        placed.push((correlation, order));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (correlation, order) = placed.last().expect("one at least");
    assert_eq!(
        get(&demo, &format!("/v2/orders/{order}")).await["status"],
        "placed",
        "it is taken, and waits"
    );
    switch("lost-broker/off").await;
    for (_, order) in &placed {
        wait_for(&demo, order, "paid").await;
    }
    let steps = ["process payments.charge", "process orders.payments", "process inventory.commit"];
    let spans = receiver.spans(correlation, |spans| steps.iter().all(|name| count(spans, name) > 0)).await;
    for name in steps {
        assert_eq!(count(&spans, name), 1, "{name}");
    }
}

/// While orders starts again the gateway has no answer.
async fn wait_until_cancelled(demo: &Demo, order: &str) {
    let deadline = Instant::now() + SOON;
    loop {
        let url = format!("{}/v2/orders/{order}", demo.gateway());
        let answer = client().get(url).send().await.expect("an answer");
        if answer.status().is_success()
            && answer.json::<Value>().await.expect("JSON")["status"] == "cancelled"
        {
            return;
        }
        assert!(Instant::now() < deadline, "not cancelled");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
