//! The shop's gateway as customers meet it: what it passes on, keeps, joins, and says.

use crate::demo_support::story::{client, place};
use crate::demo_support::{Demo, Receiver, SOON, text};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_passed_on_kept_and_joined_and_each_leaves_a_line() {
    let (receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    let gateway = demo.gateway();
    let order = place(&demo, "test-door-1", "tok_visa").await;
    let get = |path: String, id: &str| {
        let request = client().get(format!("{gateway}{path}")).header("x-correlation-id", id);
        async move { request.send().await.expect("an answer") }
    };
    let first = get("/catalog".into(), "test-door-2").await;
    assert_eq!(first.headers()["cache-status"], "gateway; fwd=miss; stored");
    assert_eq!(first.headers()["ratelimit-policy"], r#""client";q=60;w=1"#);
    let products: Value = first.json().await.expect("products");
    let page: Value = get(format!("/pages/order/{order}"), "test-door-3").await.json().await.expect("a page");
    assert_eq!(page["order"]["id"], order.as_str());
    assert_eq!(page["catalog"].as_array().map(Vec::len), products.as_array().map(Vec::len));
    assert!(page.get("errors").is_none(), "{page}");
    for (path, status) in [
        ("/catalog/no-such-thing", 404),
        ("/orders/o-0", 404),
        ("/elsewhere", 404),
        ("/catalog/%2e%2e%2fcounts", 400),
    ] {
        assert_eq!(get(path.into(), "test-door-4").await.status(), status, "{path}");
    }
    let large = json!({ "user_id": "u-7", "items": [], "card": "x".repeat(100_000) });
    let answer = client().post(format!("{gateway}/orders")).json(&large).send().await.expect("an answer");
    assert_eq!(answer.status(), 413);

    let spans = receiver
        .spans("test-door-3", |spans| {
            let root = spans.iter().any(|seen| seen.span.parent_span_id.is_empty());
            root && ["orders", "inventory"]
                .iter()
                .all(|service| spans.iter().any(|seen| seen.service == *service))
        })
        .await;
    let root = spans.iter().find(|seen| seen.span.parent_span_id.is_empty()).expect("a root");
    assert_eq!((root.service.as_str(), root.span.name.as_str()), ("gateway", "GET /pages/order/{id}"));
    let deadline = std::time::Instant::now() + SOON;
    let lines = loop {
        let lines = receiver.logs(&format!("GET /pages/order/{order} 200"));
        if !lines.is_empty() {
            break lines;
        }
        assert!(std::time::Instant::now() < deadline, "no line in the access log");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    assert_eq!(lines.len(), 1);
    assert_eq!(text(&lines[0], "correlation.id"), "test-door-3");
    assert_eq!(
        (text(&lines[0], "upstream"), text(&lines[0], "tries")),
        ("orders,inventory".into(), "2".into())
    );
}
