//! The pages of breakers over a shop's metrics and traces.

use super::*;
use crate::dashboard::fixture::breakers;
use crate::dashboard::fixture::reader::Memory;
use crate::dashboard::view;

/// A page over the breakers and, of orders, a call that failed before the breaker opened and one that was turned away.
async fn get(path: &str) -> Answer {
    let now = now();
    let mut failed = TraceBuilder::new(900, now - 175_000 * MS);
    failed
        .span(1, 0, "gateway", "POST /orders", Kind::Server, 0.0, 900.0)
        .attr("correlation.id", "order-42")
        .fail("");
    failed
        .span(2, 1, "orders", "POST", Kind::Client, 10.0, 800.0)
        .attr("service.peer.name", "payments")
        .attr("server.address", "payments")
        .fail("payments timed out");
    failed
        .span(3, 1, "orders", "SELECT", Kind::Client, 10.0, 20.0)
        .attr("service.peer.name", "db")
        .attr("server.address", "db")
        .fail("not the cause");
    let mut refused = TraceBuilder::new(901, now - 60_000 * MS);
    let attributes = [("circuit_breaker.name", "payments"), ("circuit_breaker.state", "open")];
    refused
        .span(4, 0, "gateway", "POST /orders", Kind::Server, 0.0, 9.0)
        .http("POST", "/orders", 503)
        .attr("correlation.id", "order-43");
    refused
        .span(5, 4, "orders", "charge", Kind::Client, 1.0, 2.0)
        .event(0.5, "circuit_breaker.rejected", &attributes)
        .fail("");
    let change = [
        ("circuit_breaker.name", "payments"),
        ("from", "closed"),
        ("to", "open"),
        ("circuit_breaker.reason", "11 of 20 calls failed"),
        ("circuit_breaker.policy", "opens at 50 % of 20 calls"),
    ];
    let mut told = TraceBuilder::new(902, now - 168_000 * MS);
    told.span(6, 0, "orders", "POST /v1/orders", Kind::Server, 0.0, 900.0)
        .attr("correlation.id", "order-43")
        .event(500.0, "circuit_breaker.state_change", &change);
    let mut memory = Memory::new(vec![failed.build(), refused.build(), told.build()]);
    memory.series = breakers::series(now);
    let mut state = super::serve::state(Vec::new());
    state.reader = std::sync::Arc::new(memory);
    let answer = super::get(&view::router(state), path).await;
    Answer { text: answer.text.replace(format::NBSP, " "), ..answer }
}

#[tokio::test]
async fn the_list_says_first_what_is_open_and_how_it_is_known() {
    let page = get("/breakers").await;
    assert_eq!(page.status, StatusCode::OK);
    page.has(&[
        "2 breakers are open",
        "8 breakers",
        "3 of 10",
        "half-open",
        "saturated",
        "closed (assumed)",
        "counter, never seen moving",
        "silent for",
        "größe/大 &amp; co",
        "forced open",
    ]);
    page.lacks("<script>alert");
    // Open ones stand before half-open ones, and those before closed ones.
    let at = |text: &str| page.text.find(text).unwrap_or_else(|| panic!("{text}"));
    let row = |state: &str| at(&format!("/></svg>{state}</span></td>"));
    assert!(
        row("open") < row("half-open")
            && row("half-open") < row("saturated")
            && row("saturated") < row("closed")
    );

    let closed = get("/breakers?state=closed&service=gateway").await;
    closed.has(&["2 breakers", "größe/大"]);
    closed.lacks("card-processor");
    get("/breakers?state=open&service=nobody").await.has(&["No breaker is like that in the last hour"]);
    for bad in [
        "/breakers?state=ajar",
        "/breakers?limit=0",
        "/breakers/one",
        "/breakers/one?service=a&name=b&library=c",
    ] {
        let page = get(bad).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{bad}");
    }
    assert_eq!(get("/breakers/one?service=orders&name=nothing").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn one_breaker_shows_what_tripped_it_and_what_it_turned_away() {
    let page = get("/breakers/one?service=orders&name=payments&library=convention").await;
    assert_eq!(page.status, StatusCode::OK);
    page.has(&[
        "payments is open in 3 of 10 instances of orders",
        "It guards calls to payments.",
        "11 of 20 calls failed; 1 call failed just before",
        "payments timed out",
        "/correlations/order-42",
        "opens at 50 % of 20 calls",
        "orders-6c9fb7d5f4-9",
        "rejected",
        "POST /orders",
        "503",
    ]);
    page.lacks("not the cause");
    let json = get("/api/breakers/one?service=orders&name=payments").await;
    let json: serde_json::Value = serde_json::from_str(&json.text).unwrap();
    let opened = &json["transitions"][0];
    assert_eq!((opened["from"].as_str(), opened["to"].as_str()), (Some("closed"), Some("open")), "{opened}");
    assert_eq!(opened["exact"], true);
    assert_eq!(opened["failedSpans"][0]["why"], "payments timed out");
    assert_eq!(json["rejectedCalls"][0]["rootAnswered"], "503");
    assert_eq!(json["settings"]["circuit_breaker.policy"], "opens at 50 % of 20 calls");

    // Every breaker of the list has a page, whatever it is called.
    let list = get("/breakers").await;
    let links = list.text.split("href=\"/breakers/one?").skip(1).filter_map(|rest| rest.split('"').next());
    let links: Vec<String> = links.map(|link| link.replace("&amp;", "&")).collect();
    assert_eq!(links.len(), 8);
    for link in links {
        let page = get(&format!("/breakers/one?{link}")).await;
        assert_eq!(page.status, StatusCode::OK, "{link}");
        page.lacks("<script>alert");
    }
}

#[tokio::test]
async fn stories_and_spans_tell_of_changes_and_rejected_calls() {
    let story = get("/correlations/order-43").await;
    story.has(&[
        r#"The breaker <b class="strong">payments</b> of"#,
        " opened: 11 of 20 calls failed.",
        " turned this call away.",
        r#"<a href="/breakers/one?service=orders&amp;name=payments">breaker</a>"#,
    ]);
    let span = get(&format!("/traces/{}?span=a000000000000005", trace_id(901))).await;
    span.has(&["<h3>Breaker</h3>", " turned this call away.", "/breakers/one?service=orders"]);
    let span = get(&format!("/traces/{}?span=a000000000000006", trace_id(902))).await;
    span.has(&[" opened: 11 of 20 calls failed."]);
}

#[tokio::test]
async fn the_map_marks_the_edges_that_breakers_guard() {
    let page = get("/map").await;
    page.has(&[
        r#"<g class="guard err"><title>breaker payments: open in 3 of 10</title>"#,
        "#i-open",
        "breaker payments: open in 3 of 10\"><title>orders to payments",
        ">breaker open</text>",
        r#"<th scope="col">Breaker</th>"#,
        "breaker closed</span>",
    ]);
    assert_eq!(page.text.matches(r#"class="guard"#).count(), 1, "no other edge of these traces has one");
    let row =
        page.text.split("<tr data-row").skip(1).find(|row| row.contains(">open</span>")).expect("its row");
    assert!(row.contains("/breakers/one?service=orders&amp;name=payments&amp;library=convention"), "{row}");
    assert!(row.contains("title=\"since "), "{row}");

    let panel = get("/map?caller=service:orders&callee=payments").await;
    let panel = panel.text.split(r#"id="panel""#).nth(1).expect("the panel");
    let panel = panel.split("</aside>").next().expect("its end");
    for text in ["<h3>Breaker</h3>", "/breakers/one?service=orders", "open</span>", "title=\"since "] {
        assert!(panel.contains(text), "{text:?} is missing in {panel}");
    }

    let json = get("/api/map").await;
    let json: serde_json::Value = serde_json::from_str(&json.text).unwrap();
    let all = json["edges"].as_array().unwrap();
    let edge = |to: &str| all.iter().find(|edge| edge["to"] == to).unwrap_or_else(|| panic!("{all:?}"));
    let breaker = &edge("outside:payments")["breakers"][0];
    assert_eq!((breaker["name"].as_str(), breaker["state"].as_str()), (Some("payments"), Some("open")));
    assert_eq!((&breaker["instancesInState"], &breaker["instancesHeard"]), (&3.into(), &10.into()));
    assert!(breaker["since"].as_str().is_some_and(|since| since.parse::<u64>().is_ok()), "{breaker}");
    assert_eq!(edge("outside:db")["breakers"], serde_json::json!([]));
    super::get(&pages(Vec::new()), "/map").await.lacks("breaker closed");
}

#[tokio::test]
async fn a_service_lists_its_breakers_and_a_breaker_leads_back() {
    let page = get("/services/orders").await;
    let section = page.text.split(r#"id="breakers""#).nth(1).expect("a section");
    let section = section.split("</section>").next().expect("its end");
    for text in
        ["/breakers/one?service=orders&amp;name=payments", "open</span>", "3 of 10", "/services/gateway"]
    {
        assert!(section.contains(text), "{text:?} is missing in {section}");
    }
    assert!(!section.contains("card-processor"), "{section}");
    let json = get("/api/services/orders").await;
    let json: serde_json::Value = serde_json::from_str(&json.text).unwrap();
    let names: Vec<_> = json["breakers"].as_array().unwrap().iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["payments", "orders"]);

    let page = get("/breakers/one?service=orders&name=payments").await;
    page.has(&[
        r#"href="/services/orders""#,
        r#"href="/map?focus=service%3Aorders&amp;caller=service%3Aorders&amp;callee=payments""#,
    ]);
    // Nobody told what this one guards.
    get("/breakers/one?service=notifications&name=smtp").await.lacks("On the map");
}

#[tokio::test]
async fn the_overview_begins_with_open_breakers() {
    let page = get("/").await;
    page.has(&["payments is open in 3 of 10 instances of orders", "guards payments", "/breakers/one?"]);
}

#[tokio::test]
async fn nothing_heard_says_how_each_library_tells() {
    let page = super::get(&pages(Vec::new()), "/breakers").await;
    page.has(&["No breakers heard in the last hour", "resilience4j, Spring", "Polly 8", "opossum", "Envoy"]);
    let own = super::get(&pages(Vec::new()), "/breakers?l=own").await;
    own.has(&["circuit_breaker.state_change"]);
    let json = super::get(&pages(Vec::new()), "/api/breakers").await;
    assert!(json.text.contains("\"breakers\":[]"), "{}", json.text);
}
