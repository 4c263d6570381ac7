//! The map over the fixtures.

use serde_json::Value;

use super::*;
use crate::dashboard::fixture::build::TraceBuilder;

async fn json(pages: &Router, path: &str) -> Value {
    let answer = get(pages, path).await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
    serde_json::from_str(&answer.text).expect("JSON")
}

/// The edges of an answer: ends, how, count, errors.
fn edges(map: &Value) -> Vec<String> {
    let line = |edge: &Value| {
        let text = |key: &str| edge[key].as_str().unwrap_or_default().to_owned();
        format!("{} > {} {} {} !{}", text("from"), text("to"), text("kind"), edge["count"], edge["errors"])
    };
    map["edges"].as_array().expect("edges").iter().map(line).collect()
}

/// An order that goes by three services, a database, a broker and somebody outside, as often as it is asked for; each
/// third fails at the card processor.
fn orders(count: u64) -> Vec<Trace> {
    let order = |number: u64| {
        use Kind::{Client, Consumer, Producer, Server};
        let mut t = TraceBuilder::new(500 + number, now() - (60 + number) * 1_000 * MS);
        t.span(1, 0, "gateway", "POST /orders", Server, 0.0, 90.0);
        t.span(2, 1, "gateway", "POST", Client, 5.0, 80.0);
        t.span(3, 2, "orders", "POST /orders", Server, 8.0, 78.0);
        t.span(4, 3, "orders", "INSERT", Client, 10.0, 14.0)
            .attr("db.system.name", "postgresql")
            .attr("db.namespace", "shop");
        t.span(5, 3, "orders", "send", Producer, 20.0, 22.0)
            .attr("messaging.system", "rabbitmq")
            .attr("messaging.destination.name", "orders:order.placed");
        t.span(6, 5, "payments", "process", Consumer, 1_022.0, 1_100.0)
            .attr("messaging.system", "rabbitmq")
            .attr("messaging.destination.name", "orders:order.placed:payments.charge");
        let call = t.span(7, 6, "payments", "POST /authorize", Client, 1_030.0, 1_090.0);
        call.attr("server.address", "card-processor");
        if number.is_multiple_of(3) {
            call.fail("card_declined");
        }
        t.build()
    };
    (0..count).map(order).collect()
}

#[tokio::test]
async fn the_map_draws_each_kind_in_its_shape_and_lists_the_same() {
    let pages = pages(orders(12));
    let page = get(&pages, "/map").await;
    page.has(&[
        "payments has trouble with card-processor: 33.3\u{a0}% of its calls fail",
        r#"class="node svc c"#,
        r#"class="node ex""#,
        r#"class="node q""#,
        r#"class="node db""#,
        r#"class="node ext""#,
        r#"class="edge e""#,
        r#"aria-label="payments to card-processor, 0.20/min, 33.3"#,
        ">33.3\u{a0}% fail<",
        "waits 995",
        "The same as a table",
        r#"href="/services/payments""#,
        "3\u{a0}services, 1\u{a0}exchange, 1\u{a0}queue, 1\u{a0}database, 1\u{a0}outside",
    ]);
    let map = json(&pages, "/api/map").await;
    assert_eq!(
        edges(&map),
        [
            "user > service:gateway call 12 !0",
            "service:gateway > service:orders call 12 !0",
            "service:orders > exchange:rabbitmq:orders send 12 !0",
            "service:orders > database:postgresql:shop query 12 !0",
            "service:payments > outside:card-processor call 12 !4",
            "exchange:rabbitmq:orders > queue:rabbitmq:payments.charge route 12 !0",
            "queue:rabbitmq:payments.charge > service:payments take 12 !0",
        ]
    );
    let queue = map["nodes"].as_array().unwrap().iter().find(|node| node["kind"] == "queue").unwrap();
    let waited = queue["inQueue"]["p95"].as_u64().unwrap();
    assert!(waited.abs_diff(1_000 * MS) < 20 * MS, "{waited}");
    assert_eq!((map["nodesLeftOut"].as_u64(), map["edgesLeftOut"].as_u64()), (Some(0), Some(0)));
}

#[tokio::test]
async fn a_node_and_an_edge_open_beside_the_map() {
    let pages = pages(orders(12));
    let edge = get(&pages, "/map?caller=service:payments&callee=outside:card-processor").await;
    edge.has(&[
        r#"id="panel""#,
        "4 of 12 failed",
        "Newest failed traces",
        "card_declined",
        r#"class="edge e on""#,
        r#"<tr data-row aria-selected="true">"#,
        "Share of failing calls over time",
    ]);
    let newest = format!("/traces/{}", trace_id(500));
    edge.has(&[&newest, "/traces?query=service.name%20%3D%20payments%20and%20status%20%3D%20error"]);
    let node = get(&pages, "/map?node=payments").await;
    node.has(&["Focus on neighbours", "Open the service", "Operations of payments", ">process</a>"]);
    let queue = get(&pages, "/map?node=queue:rabbitmq:payments.charge").await;
    queue.has(&["In queue p50", "1 way in, 1 way out"]);
    queue.lacks("Newest failed traces");
    get(&pages, "/map?node=nobody").await.has(&["Nothing called “nobody” was seen", "Show all of the map"]);
}

#[tokio::test]
async fn the_map_can_be_narrowed() {
    let pages = pages(orders(12));
    let of = async |query: &str| edges(&json(&pages, &format!("/api/map?{query}")).await).len();
    assert_eq!(of("focus=orders").await, 3, "orders, what calls it and what it calls");
    assert_eq!(of("focus=queue:rabbitmq:payments.charge").await, 2);
    assert_eq!(of("show=messages").await, 3);
    assert_eq!(of("show=calls").await, 4);
    assert_eq!(of("failing=1").await, 1);
    assert_eq!(of("find=GATE").await, 2);
    assert_eq!(of("find=nobody").await, 0);
    assert_eq!(of("last=5m").await, 7);
    let answer = get(&pages, "/api/map?focus=nobody").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    get(&pages, "/map?find=nobody").await.has(&["No node is called so", "Show all"]);
    get(&pages, "/map?failing=1").await.lacks("node=service%3Agateway");
    get(&pages, "/map?from=2020-01-01T00:00&to=2020-01-02T00:00")
        .await
        .has(&["Nothing came in this time range", "choose a longer time range"]);
}

#[tokio::test]
async fn the_picture_stands_still_while_figures_change() {
    let shapes = async |count: u64| {
        let page = get(&pages(orders(count)), "/map").await;
        let shapes = page
            .text
            .split(r#"class="shape""#)
            .skip(1)
            .map(|rest| rest.split("/>").next().unwrap().to_owned());
        shapes.collect::<Vec<_>>()
    };
    let few = shapes(2).await;
    assert!(few.len() >= 7, "{few:?}");
    assert_eq!(few, shapes(40).await);
}

#[tokio::test]
async fn a_service_that_calls_itself_and_a_ring_are_drawn() {
    let mut t = TraceBuilder::new(700, now() - 60_000 * MS);
    t.span(1, 0, "a", "GET /", Kind::Server, 0.0, 90.0);
    t.span(2, 1, "a", "GET", Kind::Client, 1.0, 80.0);
    t.span(3, 2, "a", "GET /inner", Kind::Server, 2.0, 70.0);
    t.span(4, 3, "a", "GET", Kind::Client, 3.0, 60.0);
    t.span(5, 4, "b", "GET /", Kind::Server, 4.0, 50.0);
    t.span(6, 5, "b", "GET", Kind::Client, 5.0, 40.0);
    t.span(7, 6, "a", "GET /back", Kind::Server, 6.0, 30.0);
    let pages = pages(vec![t.build()]);
    let map = json(&pages, "/api/map").await;
    assert_eq!(
        edges(&map),
        [
            "user > service:a call 1 !0",
            "service:a > service:a call 1 !0",
            "service:a > service:b call 1 !0",
            "service:b > service:a call 1 !0",
        ]
    );
    get(&pages, "/map").await.has(&["rotate(90)", "rotate(180)"]);
}

#[tokio::test]
async fn a_large_map_is_bounded_and_says_so() {
    let many = |number: u64| {
        let mut t = TraceBuilder::new(10_000 + number, now() - 60_000 * MS);
        let [caller, callee] =
            [number % 300, number * 7 % 300].map(|n| format!("service-with-a-long-name-{n:03}"));
        t.span(1, 0, &caller, "GET /", Kind::Server, 0.0, 9.0);
        t.span(2, 1, &caller, "GET", Kind::Client, 1.0, 8.0);
        t.span(3, 2, &callee, "GET /", Kind::Server, 2.0, 7.0);
        t.build()
    };
    let pages = pages((0..600).map(many).collect());
    let page = get(&pages, "/map").await;
    page.has(&["The 150 busiest of 301 nodes are drawn", "worst first, 25 of "]);
    assert!(page.text.len() < 400_000, "{} bytes", page.text.len());
    let all = get(&pages, "/map?all=1").await;
    assert!(all.text.matches("<tr data-row").count() > 100);
}
