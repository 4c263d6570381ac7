//! The pages of services over the fixtures.

use serde_json::Value;

use super::*;
use crate::dashboard::fixture::build::TraceBuilder;

async fn json(pages: &Router, path: &str) -> Value {
    let answer = get(pages, path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
    serde_json::from_str(&answer.text).expect("JSON")
}

#[tokio::test]
async fn the_list_has_every_service_and_says_which_fails() {
    let pages = usual();
    let page = get(&pages, "/services").await;
    page.has(&["payments", r#"href="/services/orders""#, r#"class="spark""#, "4.11.2", "worst first, <a"]);
    let all = json(&pages, "/api/services?order=name").await;
    let names: Vec<_> = all["services"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    let mut sorted = names.clone();
    sorted.sort_by_key(|name| name.as_str().map(str::to_owned));
    assert_eq!(names, sorted);
    let payments = all["services"].as_array().unwrap().iter().find(|one| one["name"] == "payments").unwrap();
    assert_eq!((&payments["instances"], &payments["versions"]), (&1.into(), &serde_json::json!(["4.11.2"])));
    assert!(payments["errors"].as_u64() >= Some(1) && payments["durations"]["p95"].is_u64(), "{payments}");
    let steps = payments["steps"].as_array().unwrap();
    let counted: u64 = steps.iter().filter_map(|step| step["count"].as_u64()).sum();
    assert_eq!(Some(counted), payments["count"].as_u64());
    get(&pages, "/services?find=PAY").await.has(&[r#"href="/services/payments""#, "by name"]);
    get(&pages, "/services?find=nobody").await.has(&["No service is called so"]);
}

#[tokio::test]
async fn a_service_has_its_operations_neighbours_and_instances() {
    let pages = usual();
    let page = get(&pages, "/services/payments").await;
    page.has(&[
        "Operations",
        "POST /v2/authorizations",
        "slowest",
        "newest failed",
        "Called by",
        "Calls",
        "card-processor",
        "Newest failed traces",
        "card_declined",
        "payments-6c9fb7d5f4-x2k8q",
        "p99 dashed, p50 thin",
        "/map?focus=service%3Apayments",
        "/logs?service=payments",
    ]);
    let service = json(&pages, "/api/services/payments").await;
    let callers: Vec<_> =
        service["callers"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
    assert!(callers.contains(&"service:orders".into()), "{callers:?}");
    let operation = &service["operations"][0];
    assert_eq!(
        operation["query"].as_str().unwrap(),
        format!("service.name = payments and name = {}", operation["name"])
    );
    // Every link of the page to traces finds some.
    for link in page.text.split("href=\"").skip(1).filter(|link| link.starts_with("/traces?query=")) {
        let href = link.split('"').next().unwrap().replace("&amp;", "&");
        let found = get(&pages, &href).await;
        found.lacks("No trace matches");
        found.lacks("cannot be read");
    }
}

#[tokio::test]
async fn any_name_has_an_address() {
    let names = ["a/b", "größe 1", "..", "%2F", "a?b#c", "x & \"y\"", &"long-".repeat(60)];
    let trace = |(number, name): (u64, &&str)| {
        let mut t = TraceBuilder::new(800 + number, now() - 60_000 * MS);
        t.span(1, 0, name, "GET /thing", Kind::Server, 0.0, 9.0);
        t.build()
    };
    let pages = pages((0..).zip(&names).map(trace).collect());
    let list = get(&pages, "/services").await;
    for name in names {
        let href = format!("/services/{}", format::segment(name));
        list.has(&[&format!(r#"href="{href}""#)]);
        let page = get(&pages, &href).await;
        assert_eq!(page.status, StatusCode::OK, "{href}");
        page.has(&["GET /thing", "1\u{a0}request in the last hour, none failed"]);
        let search = get(&pages, &format!("/search?q={}", format::encoded(name))).await;
        assert_eq!(search.headers["location"], href.as_str(), "a service's name leads to its page");
        let data = json(&pages, &format!("/api{href}")).await;
        assert_eq!(data["name"], name);
    }
}

#[tokio::test]
async fn an_unknown_service_says_what_to_do_and_a_quiet_one_where_to_look() {
    let pages = usual();
    let missing = get(&pages, "/services/nobody").await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
    missing.has(&["No service is called “nobody”", "Upper and lower case count"]);
    assert_eq!(get(&pages, "/api/services/nobody").await.status, StatusCode::NOT_FOUND);
    let quiet = get(&pages, "/services/payments?from=2020-01-01T00:00&to=2020-01-02T00:00").await;
    assert_eq!(quiet.status, StatusCode::OK);
    quiet.has(&["It served nothing in this time range", "Choose a longer time range"]);
    get(&pages, "/services?from=2020-01-01T00:00&to=2020-01-02T00:00")
        .await
        .has(&["Nothing came in this time range"]);
}

#[tokio::test]
async fn thousands_of_operations_are_bounded_and_can_be_found() {
    let trace = |number: u64| {
        let mut t = TraceBuilder::new(20_000 + number, now() - 60_000 * MS);
        t.span(1, 0, "talkative", &format!("GET /{number:04}"), Kind::Server, 0.0, 9.0);
        t.build()
    };
    let pages = pages((0..2_500).map(trace).collect());
    let page = get(&pages, "/services/talkative?order=name").await;
    page.has(&["50 of 2500", "GET /0000", "Find an operation"]);
    page.lacks("GET /0050");
    assert!(page.text.len() < 200_000, "{} bytes", page.text.len());
    let all = get(&pages, "/services/talkative?order=name&all=1").await;
    all.has(&["1000 of 2500", "GET /0999", "Find an operation by its name"]);
    get(&pages, "/services/talkative?find=2499").await.has(&["GET /2499"]);
    let data = json(&pages, "/api/services/talkative").await;
    assert_eq!(data["operationsLeftOut"], 2_450);
}

#[tokio::test]
async fn a_version_that_came_is_marked() {
    use std::sync::Arc;

    use crate::dashboard::model::{Resource, Value as Any};
    let text = |text: &str| Any::Text(text.to_owned());
    let trace = |number: u64| {
        let (version, host) = if number < 30 { ("7.0.3", "pod-a") } else { ("7.1.0", "pod-b") };
        let mut t = TraceBuilder::new(900 + number, now() - (3_000 - number * 45) * 1_000 * MS);
        t.span(1, 0, "gateway", "GET /", Kind::Server, 0.0, 9.0).resource = Arc::new(Resource {
            attributes: vec![
                ("service.name".to_owned(), text("gateway")),
                ("service.version".to_owned(), text(version)),
                ("k8s.pod.name".to_owned(), text(host)),
            ],
        });
        t.build()
    };
    let pages = pages((0..60).map(trace).collect());
    get(&pages, "/services/gateway").await.has(&["7.1.0 first seen", r#"class="mark""#, "pod-a", "pod-b"]);
    let data = json(&pages, "/api/services/gateway").await;
    let changes = data["versionChanges"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!((&changes[0]["version"], &changes[0]["again"]), (&"7.1.0".into(), &false.into()));
    assert_eq!(data["versions"], serde_json::json!(["7.1.0"]));
    let of = |name: &str| {
        data["instances"].as_array().unwrap().iter().find(|one| one["instance"] == name).cloned()
    };
    assert_eq!(
        (of("pod-a").unwrap()["count"].as_u64(), of("pod-b").unwrap()["version"].as_str()),
        (Some(30), Some("7.1.0"))
    );
}

#[tokio::test]
async fn times_of_a_service_are_in_the_visitors_zone() {
    let request = Request::get("/services/payments")
        .header("host", "localhost:7070")
        .header("cookie", "tz=Asia%2FTokyo")
        .body(Body::empty())
        .unwrap();
    send(&usual(), request).await.has(&["JST", " UTC · "]);
}
