//! The payment outage, as processes: the breaker before payments opens, orders are turned away at once with the reason,
//! and it closes when the bank is back. What is told of it reaches a receiver, and the dashboard.

use std::time::{Duration, Instant};

use crate::demo_support::{Demo, Receiver, SOON, Seen, Whole, eventually, text};
use serde_json::{Value, json};
use throughline::comms::names;

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

async fn order(gateway: &str, correlation: &str) -> reqwest::Response {
    let order = json!({ "user_id": "u-7", "items": [{ "sku": "lamp-brass", "quantity": 2 }] });
    let request =
        client().post(format!("{gateway}/orders")).header("X-Correlation-ID", correlation).json(&order);
    request.send().await.expect("an answer")
}

async fn switch(gateway: &str, path: &str) -> Value {
    let answer = client().post(format!("{gateway}/scenarios/{path}")).send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().await.expect("a scenario")
}

/// Orders until one is answered with a status; gives that answer and how often others came before.
async fn order_until(gateway: &str, correlation: &str, status: u16) -> (reqwest::Response, Vec<u16>) {
    let deadline = Instant::now() + SOON;
    let mut before = Vec::new();
    loop {
        let answer = order(gateway, correlation).await;
        if answer.status() == status {
            return (answer, before);
        }
        before.push(answer.status().as_u16());
        assert!(Instant::now() < deadline, "no {status} among {before:?}");
        pause().await;
    }
}

async fn in_stock(gateway: &str) -> u64 {
    let answer = client().get(format!("{gateway}/catalog/lamp-brass")).send().await.expect("an answer");
    answer.json::<Value>().await.expect("a product")["in_stock"].as_u64().expect("a number")
}

/// From and to of each change, by time.
fn changes(spans: &[Seen]) -> Vec<(String, String)> {
    let events = spans.iter().flat_map(|seen| &seen.span.events);
    let mut changes: Vec<_> = events.filter(|e| e.name == names::EVENT_BREAKER_STATE_CHANGE).collect();
    changes.sort_by_key(|event| event.time_unix_nano);
    let all = changes.iter().map(|event| {
        assert_eq!(text(&event.attributes, names::BREAKER_NAME), "payments");
        assert_eq!(text(&event.attributes, names::SERVICE_PEER_NAME), "payments");
        assert!(!text(&event.attributes, names::BREAKER_REASON).is_empty());
        (text(&event.attributes, names::EVENT_FROM), text(&event.attributes, names::EVENT_TO))
    });
    all.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_breaker_opens_turns_orders_away_and_closes_again() {
    let (receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    let gateway = demo.gateway();
    let stocked = in_stock(&gateway).await;
    let on = switch(&gateway, "payment-outage?seconds=600").await;
    assert_eq!((&on["name"], &on["on"]), (&json!("payment-outage"), &json!(true)));

    let (answer, before) = order_until(&gateway, "test-outage-1", 503).await;
    let failed = before.iter().filter(|status| **status == 502).count();
    // Two trial calls at a time on top, where the machine is so slow that the breaker's wait was over meanwhile.
    assert!(failed >= 6 && failed.is_multiple_of(2), "six failed, as the breaker's settings say: {before:?}");
    assert_eq!(answer.headers()[names::X_CIRCUIT_BREAKER], "payments");
    assert!(answer.headers().contains_key("retry-after"));
    let body: Value = answer.json().await.expect("a reason");
    assert!(body["error"].as_str().is_some_and(|text| text.contains("payments are out")), "{body}");
    assert_eq!(body["correlation_id"], "test-outage-1");
    // The stock of orders that were not placed is given back; reads go on.
    let placed = before.iter().filter(|status| **status == 201).count() as u64;
    assert_eq!(in_stock(&gateway).await, stocked - 2 * placed);

    let rejected = |seen: &Seen| seen.text(names::ERROR_TYPE) == names::ERROR_BREAKER_OPEN;
    let spans = receiver.spans("test-outage-1", |spans| spans.iter().any(rejected)).await;
    let call = spans.iter().find(|seen| rejected(seen)).expect("a rejected call");
    assert_eq!((call.service.as_str(), call.span.name.as_str()), ("orders", "POST /authorizations"));
    assert_eq!(
        (call.text(names::BREAKER_NAME), call.text(names::BREAKER_STATE)),
        ("payments".into(), "open".into())
    );
    let status = call.span.status.clone().unwrap_or_default().message;
    assert_eq!(status, "payments was not called: rejected by the open circuit breaker `payments`");
    let event =
        call.span.events.iter().find(|event| event.name == names::EVENT_BREAKER_REJECTED).expect("an event");
    assert_eq!(text(&event.attributes, names::SERVICE_PEER_NAME), "payments");

    let off = switch(&gateway, "payment-outage/off").await;
    assert_eq!(off["on"], false);
    for probe in 1..=3 {
        order_until(&gateway, &format!("test-outage-2-{probe}"), 201).await;
    }
    let deadline = Instant::now() + SOON;
    let moved = loop {
        let moved = changes(&receiver.all_spans());
        if moved.last().is_some_and(|(_, to)| to == "closed") {
            break moved;
        }
        assert!(Instant::now() < deadline, "{moved:?}");
        pause().await;
    };
    assert_eq!(moved[0], ("closed".to_owned(), "open".to_owned()));
    assert_eq!(moved[1], ("open".to_owned(), "half_open".to_owned()));
    assert_eq!(moved.last(), Some(&("half_open".to_owned(), "closed".to_owned())));
    let logs = receiver.logs("circuit breaker payments: closed to open, 6 of ");
    assert_eq!(logs.len(), 1);
    assert_eq!(text(&logs[0], names::EVENT_TO), "open");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inventory_that_fails_does_so_over_grpc_and_the_breaker_before_it_opens() {
    let (receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    let gateway = demo.gateway();
    switch(&gateway, "retry-storm?seconds=600").await;
    let (answer, before) = order_until(&gateway, "test-storm-1", 503).await;
    assert!(before.contains(&502), "some failed before the breaker opened: {before:?}");
    assert_eq!(answer.headers()[names::X_CIRCUIT_BREAKER], "inventory");
    assert!(answer.headers().contains_key("retry-after"));
    let told: Value = answer.json().await.expect("a reason");
    assert_eq!(told["error"], "inventory is not available right now", "{told}");

    let of = |seen: &Seen, service: &str| {
        seen.service == service && seen.span.name == "inventory.InventoryService/Reserve"
    };
    let failed =
        |seen: &Seen| of(seen, "inventory") && seen.text(names::RPC_RESPONSE_STATUS_CODE) == "UNAVAILABLE";
    let rejected =
        |seen: &Seen| of(seen, "orders") && seen.text(names::ERROR_TYPE) == names::ERROR_BREAKER_OPEN;
    let spans =
        receiver.spans("test-storm-1", |spans| spans.iter().any(failed) && spans.iter().any(rejected)).await;
    let failed = spans.iter().find(|seen| failed(seen)).expect("a call that failed");
    assert_eq!(failed.span.status.clone().unwrap_or_default().message, "UNAVAILABLE: it fails at the moment");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_scenario_is_answered_with_those_that_there_are() {
    let (_receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    let url = format!("{}/scenarios", demo.gateway());
    let answer = client().post(format!("{url}/nonsense")).send().await.expect("an answer");
    assert_eq!(answer.status(), 404);
    let body: Value = answer.json().await.expect("a reason");
    assert!(body["error"].as_str().is_some_and(|text| text.contains("payment-outage")), "{body}");
    let answer = client().post(format!("{url}/payment-outage?seconds=soon")).send().await.expect("an answer");
    assert_eq!(answer.status(), 400);
    let all: Value = client().get(&url).send().await.expect("an answer").json().await.expect("a list");
    let all = all["scenarios"].as_array().expect("a list");
    assert!(all.len() >= 6 && all.iter().all(|scenario| scenario["on"] == false), "{all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_shows_the_open_breaker_and_the_story_of_an_order_that_it_turned_away() {
    let demo = Whole::start(&["--rate=10", "--breaker-wait-ms=60000", "--scenario=payment-outage"]);
    let (pages, gateway) = (&demo.pages, &demo.gateway);
    assert!(demo.said.iter().any(|line| line.starts_with("Look at Breakers")), "it says where to look");

    let (answer, _) = order_until(gateway, "test-story-1", 503).await;
    drop(answer);
    let story = format!("{pages}/correlations/test-story-1");
    eventually("the story", || async {
        let page = client().get(&story).send().await.ok()?.text().await.ok()?;
        page.contains("rejected by the open circuit breaker").then_some(())
    })
    .await;
    let series = |name: &str, attribute: &str| {
        format!(
            "{pages}/api/series?name=circuit_breaker.{name}&service=orders&attribute={attribute}&last=15m"
        )
    };
    for (url, least) in [
        (series("state", "circuit_breaker.state:open"), 1.0),
        (series("calls", "circuit_breaker.result:rejected"), 1.0),
        (series("calls", "circuit_breaker.result:failure"), 6.0),
    ] {
        eventually(&url, || async {
            let all: Value = client().get(&url).send().await.ok()?.json().await.ok()?;
            let series = all["series"].as_array()?.iter();
            let payments = series.filter(|s| s["attributes"]["circuit_breaker.name"] == "payments");
            let mut newest = payments.filter_map(|s| s["samples"].as_array()?.last()?["value"].as_f64());
            newest.any(|value| value >= least).then_some(())
        })
        .await;
    }
    every_scenario_leads_to_a_page(gateway, pages).await;
}

async fn every_scenario_leads_to_a_page(gateway: &str, pages: &str) {
    let all = client().get(format!("{gateway}/scenarios")).send().await.expect("an answer");
    let all: Value = all.json().await.expect("a list");
    for scenario in all["scenarios"].as_array().expect("a list") {
        let page = format!("{pages}{}", scenario["page"].as_str().expect("a path"));
        // What it is about may not have been seen yet.
        eventually(&page, || async {
            client().get(&page).send().await.ok()?.status().is_success().then_some(())
        })
        .await;
    }
}
