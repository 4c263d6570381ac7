//! Breakers, from the socket to the page: what each library sends, as this test wrote it down from their documentation and
//! from what they were seen sending (real opossum and real resilience4j are in `tests/foreign`), instances, silence, late
//! samples, odd names, and what spans and logs tell.

use crate::common::breakers::{Kind, attributes, metric, own, request, resilience4j, together};
use crate::common::contract::told;
use crate::common::otlp::{self, TestSpan, span};
use crate::common::{Running, client};
use serde_json::{Value, json};

const S: u64 = 1_000_000_000;

async fn post(server: &Running, signal: &str, body: Value) {
    let request =
        client().post(server.otlp(&format!("/v1/{signal}"))).header("content-type", "application/json");
    let answer = request.body(body.to_string()).send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "{:?}", answer.text().await);
}

async fn traces(server: &Running, service: &str, spans: &[TestSpan]) {
    let request = client().post(server.otlp("/v1/traces")).header("content-type", "application/x-protobuf");
    let answer = request.body(otlp::request(service, spans)).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
}

async fn page(server: &Running, path: &str) -> (u16, String) {
    let answer = client().get(server.page(path)).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a text").replace('\u{a0}', " "))
}

fn breaker<'a>(list: &'a Value, name: &str) -> &'a Value {
    let found = list["breakers"].as_array().and_then(|all| all.iter().find(|one| one["name"] == name));
    found.unwrap_or_else(|| panic!("{name} in {list}"))
}

#[tokio::test]
async fn each_library_is_known_by_what_it_sends() {
    let server = Running::start().await;
    let now = otlp::now();
    for (number, at) in (0u64..).zip([now - 181 * S, now - 121 * S, now - 61 * S, now - S]) {
        let (old, late) = (number as f64, number == 3);
        let moved = |count: f64| if late { count } else { 0.0 };
        post(
            &server,
            "metrics",
            request(
                "java",
                "",
                resilience4j(
                    "pay",
                    if late { "open" } else { "closed" },
                    at,
                    [old * 10.0, old * 30.0, old * 4.0],
                    75.0,
                ),
            ),
        )
        .await;
        let polly = [
            ("event.name", "OnCircuitOpened"),
            ("pipeline.name", "card"),
            ("strategy.name", "CircuitBreaker"),
            ("exception.type", "System.TimeoutException"),
        ];
        let mut dotnet = vec![metric(
            "resilience.polly.strategy.events",
            Kind::Counter,
            &[("event.name", "OnRetry"), ("pipeline.name", "card")],
            at,
            old,
        )];
        if late {
            dotnet.push(metric("resilience.polly.strategy.events", Kind::Counter, &polly, at, 1.0));
        }
        post(&server, "metrics", request("dotnet", "d1", dotnet)).await;
        let failsafe = |state: &str, count: f64| {
            let pairs = [("failsafe.circuit_breaker.state", state), ("failsafe.circuit_breaker.name", "tax")];
            metric("failsafe.circuit_breaker.state_change.count", Kind::Counter, &pairs, at, count)
        };
        post(
            &server,
            "metrics",
            request("jvm", "j1", vec![failsafe("open", 1.0), failsafe("half_open", moved(1.0))]),
        )
        .await;
        let circuit = |event: &str, count: f64| {
            metric("circuit", Kind::Counter, &[("name", "charge"), ("event", event)], at, count)
        };
        let mut node =
            vec![circuit("fire", old * 7.0), circuit("success", old), circuit("failure", old * 3.0)];
        node.extend(late.then(|| circuit("open", 1.0)));
        node.push(metric("circuit", Kind::Counter, &[("name", "quiet"), ("event", "fire")], at, old));
        post(&server, "metrics", request("node", "n1", node)).await;
        let hystrix = metric(
            "hystrix.circuit.breaker.open",
            Kind::Gauge,
            &[("group", "g"), ("key", "Lookup")],
            at,
            moved(1.0),
        );
        post(&server, "metrics", request("netflix", "h1", vec![hystrix])).await;
        let envoy = |name: &str, value: f64| metric(name, Kind::Gauge, &[], at, value);
        let envoy = vec![
            envoy("cluster.outbound|80||cart.shop.svc.circuit_breakers.default.rq_open", moved(1.0)),
            envoy("cluster.stock.outlier_detection.ejections_active", moved(2.0)),
        ];
        post(&server, "metrics", request("mesh", "e1", envoy)).await;
        post(
            &server,
            "metrics",
            request("rust", "r1", own("users", if late { "half_open" } else { "open" }, at)),
        )
        .await;
        // A gauge of numbers, whatever they mean: no state is made of it.
        let bare = metric("circuit_breaker.state", Kind::Gauge, &[("circuit_breaker.name", "bare")], at, 2.0);
        post(&server, "metrics", request("bare", "b1", vec![bare])).await;
    }
    let list = told(&server, "/api/breakers?last=5m").await;
    for (name, service, library, state, known) in [
        ("pay", "java", "resilience4j", "open", "gauge"),
        ("card", "dotnet", "polly", "open", "counter"),
        ("tax", "jvm", "failsafe", "half_open", "counter"),
        ("charge", "node", "opossum", "open", "counter"),
        ("quiet", "node", "opossum", "closed_assumed", "counter, never seen moving"),
        ("Lookup", "netflix", "hystrix", "open", "gauge"),
        ("outbound|80||cart.shop.svc", "mesh", "envoy", "saturated", "limit"),
        ("stock", "mesh", "envoy", "partly_open", "limit"),
        ("users", "rust", "convention", "half_open", "gauge"),
    ] {
        let one = breaker(&list, name);
        let told = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            (told("service"), told("library"), told("state"), told("knownFrom")),
            (service.into(), library.into(), state.into(), known.into()),
            "{one}"
        );
    }
    assert_eq!(
        list["breakers"].as_array().map(Vec::len),
        Some(9),
        "nothing is made of a bare number: {list}"
    );
    assert_eq!(breaker(&list, "pay")["failureShare"], 0.75);
    assert_eq!(breaker(&list, "charge")["failureShare"], 0.75);
    assert!(breaker(&list, "pay")["rejectedPerSecond"].as_f64().is_some_and(|rate| rate > 0.0));
    assert_eq!(breaker(&list, "users")["rejectedPerSecond"], Value::Null, "what is not told is not 0");

    let (status, html) = page(&server, "/breakers").await;
    assert_eq!(status, 200);
    for text in ["4 breakers are open", "saturated", "partly open", "closed (assumed)", "cart.shop.svc"] {
        assert!(html.contains(text), "{text} in {}", &html[html.find("<main").unwrap_or(0)..]);
    }
    let (_, overview) = page(&server, "/").await;
    assert!(overview.contains("is open in"), "the Overview begins with open breakers");
    server.dashboard.stop().await;
}

#[tokio::test]
async fn instances_are_counted_and_a_silent_one_is_unknown() {
    let server = Running::start().await;
    let now = otlp::now();
    let mut exports = Vec::new();
    for export in 0u64..30 {
        // One a minute, so that a machine that is slow for a while does not make them silent.
        let at = now - 1_741 * S + export * 60 * S;
        for number in 0u64..10 {
            // The last one falls silent half way; three open near the end.
            let state = if number < 3 && export >= 27 { "open" } else { "closed" };
            if number < 9 || export < 15 {
                exports.push(request(
                    "orders",
                    &format!("o{number}"),
                    own("payments", state, at + number * S / 10),
                ));
            }
        }
        if export < 20 {
            exports.push(request("batch", "b", own("lost", "open", at)));
        }
    }
    post(&server, "metrics", together(exports)).await;
    let list = told(&server, "/api/breakers").await;
    let one = breaker(&list, "payments");
    assert_eq!(
        (&one["state"], &one["instancesInState"], &one["instancesHeard"]),
        (&json!("open"), &json!(3), &json!(9))
    );
    let since: u64 = one["since"].as_str().unwrap().parse().unwrap();
    assert!((now - 122 * S..now - 120 * S).contains(&since), "{one}");
    let states: Vec<_> =
        one["states"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["closed", "open"]);
    let lost = breaker(&list, "lost");
    assert_eq!((&lost["state"], &lost["instancesHeard"]), (&json!("unknown"), &json!(0)), "{lost}");
    let one = told(&server, "/api/breakers/one?service=orders&name=payments").await;
    let gone = one["instances"].as_array().unwrap().iter().find(|one| one["instance"] == "o9").unwrap();
    assert_eq!(gone["state"], "unknown");
    assert_eq!(one["transitions"][0]["instances"].as_array().map(Vec::len), Some(3), "they opened together");
    let (_, html) = page(&server, "/breakers").await;
    assert!(
        html.contains("payments is open in 3 of 9 instances of orders") && html.contains("silent for"),
        "{html}"
    );

    // What comes late is in the past of the page all the same.
    let at = now - 3_000 * S;
    post(&server, "metrics", request("late", "l", own("late", "open", at))).await;
    let list = told(&server, "/api/breakers").await;
    assert_eq!(breaker(&list, "late")["states"][0]["state"], "open", "{list}");
    // A range that is past shows the state at its end, and the shorter page does not forget what the longer one knew.
    let then = |at: u64| jiff::Timestamp::from_nanosecond(at.into()).unwrap();
    let past = format!("/api/breakers?from={}&to={}", then(now - 1_500 * S), then(now - 180 * S));
    assert_eq!(breaker(&told(&server, &past).await, "payments")["state"], "closed");
    assert_eq!(breaker(&told(&server, "/api/breakers?last=5m").await, "payments")["state"], "open");
    assert_eq!(breaker(&told(&server, "/api/breakers?last=24h").await, "payments")["state"], "open");
    server.dashboard.stop().await;
}

/// A span with an event.
fn with_event(trace: u64, name: &str, time: u64, event: &str, pairs: &[(&str, &str)]) -> Value {
    json!({
        "traceId": otlp::trace_hex(trace), "spanId": format!("{trace:016x}"), "name": name, "kind": 2,
        "startTimeUnixNano": (time - S / 100).to_string(), "endTimeUnixNano": (time + S / 100).to_string(),
        "attributes": attributes(&[("http.response.status_code", "503"), ("correlation.id", "order-7")]),
        "events": [{ "timeUnixNano": time.to_string(), "name": event, "attributes": attributes(pairs) }],
    })
}

async fn spans(server: &Running, service: &str, spans: Vec<Value>) {
    let resource = attributes(&[("service.name", service), ("service.instance.id", "i1")]);
    post(server, "traces", json!({ "resourceSpans": [{ "resource": { "attributes": resource }, "scopeSpans": [{ "spans": spans }] }] })).await;
}

#[tokio::test]
async fn spans_and_logs_tell_of_changes_and_of_rejected_calls() {
    let server = Running::start().await;
    let failed = |number: u64, peer: &str| {
        let call =
            span(number, 2, "POST", 42_000).parent(1).with("service.peer.name", peer).failed("timed out");
        vec![
            span(number, 1, "POST /orders", 42_000).with("correlation.id", "order-6"),
            TestSpan { kind: 3, ..call },
        ]
    };
    for number in 1..=3 {
        traces(&server, "orders", &failed(number, "payments")).await;
    }
    traces(&server, "orders", &failed(4, "stock")).await;
    let change = |from: &'static str, to: &'static str| {
        [("circuit_breaker.name", "payments"), ("service.peer.name", "payments"), ("from", from), ("to", to)]
    };
    let (name, now) = ("circuit_breaker.state_change", otlp::now());
    spans(
        &server,
        "orders",
        vec![with_event(11, "POST /orders", now - 40 * S, name, &change("closed", "open"))],
    )
    .await;
    let log = |to: &str, from: &str, at: u64| {
        json!({
            "timeUnixNano": at.to_string(), "severityNumber": 13, "eventName": name, "body": { "stringValue": "changed" },
            "attributes": attributes(&[("circuit_breaker.name", "payments"), ("from", from), ("to", to)]),
        })
    };
    let resource = attributes(&[("service.name", "orders"), ("service.instance.id", "i1")]);
    post(&server, "logs", json!({ "resourceLogs": [{ "resource": { "attributes": resource }, "scopeLogs": [{ "logRecords": [log("half_open", "open", now - 10 * S)] }] }] })).await;
    // resilience4j's exception names the breaker, Polly's does not, and of neither is there a metric.
    let refused = [
        ("exception.type", "io.github.resilience4j.circuitbreaker.CallNotPermittedException"),
        ("exception.message", "CircuitBreaker 'card/1' is OPEN and does not permit further calls"),
    ];
    spans(&server, "java", vec![with_event(21, "POST /pay", now - 9 * S, "exception", &refused)]).await;
    let broken = [
        ("exception.type", "Polly.CircuitBreaker.BrokenCircuitException"),
        ("exception.message", "The circuit is now open"),
    ];
    spans(&server, "dotnet", vec![with_event(22, "POST /buy", now - 8 * S, "exception", &broken)]).await;
    let rejected = [("circuit_breaker.name", "payments"), ("circuit_breaker.state", "open")];
    spans(
        &server,
        "orders",
        vec![with_event(23, "charge", now - 20 * S, "circuit_breaker.rejected", &rejected)],
    )
    .await;
    // Another library's event of the same name and no state, and an attribute that only looks like one.
    spans(
        &server,
        "noise",
        vec![
            with_event(24, "x", now - 7 * S, name, &[("circuit_breaker.name", "n"), ("to", "7")]),
            with_event(25, "x", now - 7 * S, "moved", &[("from", "closed"), ("to", "open")]),
        ],
    )
    .await;

    let list = told(&server, "/api/breakers").await;
    assert_eq!(list["breakers"].as_array().map(Vec::len), Some(3), "{list}");
    let one = breaker(&list, "payments");
    assert_eq!(
        (&one["state"], &one["knownFrom"], &one["guards"]),
        (&json!("half_open"), &json!("log"), &json!("payments")),
        "{one}"
    );
    let card = breaker(&list, "card/1");
    assert_eq!(
        (&card["state"], &card["knownFrom"]),
        (&json!("unknown"), &json!("rejected calls")),
        "evidence, not state: {card}"
    );
    assert_eq!(breaker(&list, "")["library"], "polly");

    let one = told(&server, "/api/breakers/one?service=orders&name=payments&library=convention").await;
    let opened = one["transitions"].as_array().unwrap().iter().find(|one| one["to"] == "open").unwrap();
    assert_eq!(
        (&opened["because"]["failedCalls"], &opened["traceId"]),
        (&json!(3), &json!(otlp::trace_hex(11))),
        "{opened}"
    );
    assert!(
        opened["failedSpans"].as_array().unwrap().iter().all(|span| span["peer"] == "payments"),
        "{opened}"
    );
    assert_eq!(opened["failedSpans"][0]["correlation"], "order-6");
    assert_eq!(one["rejectedCalls"][0]["traceId"], otlp::trace_hex(23));
    let (status, html) = page(&server, "/breakers/one?service=orders&name=payments").await;
    assert_eq!(status, 200);
    for text in [
        "payments is half-open in orders",
        "3 calls failed just before",
        "timed out",
        "/correlations/order-6",
        "30.0 s had passed",
    ] {
        assert!(html.contains(text), "{text} in {}", &html[html.find("<main").unwrap_or(0)..]);
    }
    let (status, html) = page(&server, "/breakers/one?service=java&name=card%2F1").await;
    assert_eq!(status, 200);
    assert!(html.contains("card/1 of java turned calls away") && html.contains("POST /pay"), "{html}");
    server.dashboard.stop().await;
}

#[tokio::test]
async fn any_name_has_a_page() {
    let server = Running::start().await;
    let long = "größe/大 ".repeat(120);
    let names = [
        "a/b/../c",
        "..",
        "?x=1&y=2#z",
        "<script>alert(1)</script>",
        "größe 大",
        "\u{202e}evil",
        "with\0nul",
        "%2F%00",
        &long,
    ];
    let now = otlp::now();
    for (number, name) in (0..).zip(names) {
        let service = if number == 0 { "s/1?" } else { "s" };
        post(&server, "metrics", request(service, "i", own(name, "open", now - 5 * S))).await;
    }
    let (status, html) = page(&server, "/breakers").await;
    assert_eq!(status, 200);
    assert!(!html.contains("<script>alert"), "escaped");
    let links = html.split("href=\"/breakers/one?").skip(1).filter_map(|rest| rest.split('"').next());
    let links: Vec<_> = links.map(|link| link.replace("&amp;", "&")).collect();
    assert_eq!(links.len(), names.len());
    for link in links {
        for path in [format!("/breakers/one?{link}"), format!("/api/breakers/one?{link}")] {
            let (status, text) = page(&server, &path).await;
            assert_eq!(status, 200, "{path}: {text}");
            assert!(path.starts_with("/api") || !text.contains("<script>alert"), "escaped: {path}");
        }
    }
    for (bad, status) in [
        ("/breakers?state=2", 400),
        ("/breakers?limit=1000000", 400),
        ("/breakers/one", 400),
        ("/breakers/one?service=s", 400),
        ("/breakers/one?service=s&name=x&library=nothing", 400),
        ("/breakers/one?service=s&name=not-there", 404),
        ("/breakers/one?service=s&name=%00", 400),
        ("/breakers?from=2001-01-01T00:00&to=2001-01-02T00:00", 200),
        ("/breakers?from=1970-01-01T00:00&to=2200-01-01T00:00", 200),
    ] {
        assert_eq!(page(&server, bad).await.0, status, "{bad}");
    }
    server.dashboard.stop().await;
}

#[tokio::test]
async fn a_story_tells_of_its_services_breakers_whenever_it_was() {
    let server = Running::start().await;
    let now = otlp::now();
    // Just now, of what is kept, and of long before.
    for (number, ago) in [(1, 100), (2, 3 * 3_600), (3, 50 * 3_600)] {
        let at = now - ago * S;
        let states = [(40, "closed"), (20, "closed"), (0, "open")];
        for (before, state) in states {
            post(&server, "metrics", request("shop", "s1", own("card", state, at - before * S))).await;
            post(&server, "metrics", request("other", "o1", own("else", state, at - before * S))).await;
        }
        for (after, state) in [(20, "open"), (40, "closed"), (60, "closed")] {
            post(&server, "metrics", request("shop", "s1", own("card", state, at + after * S))).await;
        }
        let one =
            span(number, 1, "POST /orders", ago * 1_000).with("correlation.id", &format!("story-{number}"));
        traces(&server, "shop", &[one]).await;
        let (status, story) = page(&server, &format!("/correlations/story-{number}")).await;
        assert_eq!(status, 200, "{story}");
        let acts: Vec<&str> = story.split("<li").filter(|act| act.contains(">breaker</a>")).collect();
        assert_eq!(acts.len(), 2, "{ago} s ago: {acts:#?}");
        assert!(acts[0].contains(" opened, metrics tell.") && acts[1].contains(" closed, metrics tell."));
        assert!(acts[0].contains("/breakers/one?service=shop&amp;name=card"), "{}", acts[0]);
        let around = acts[0].contains("&amp;from=20");
        assert_eq!(around, ago > 3_600, "its page shows the time of the story: {}", acts[0]);
        assert!(!story.contains("name=else"), "a breaker of no service of the story");
        assert!(story.contains("The breaker <a href="), "the verdict names it");
    }
}
