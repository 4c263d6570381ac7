//! Failures of the demo shop, switched on from the pages: by a gateway that answers, and by one that is away, slow or
//! somebody else.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::{self, Running, client, contract, keys};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket};

/// Those that are on.
type On = Arc<Mutex<Vec<String>>>;

async fn list(State(on): State<On>) -> Json<Value> {
    let one = |name: &str, title: &str, page: &str| {
        let is_on = on.lock().expect("no holder panics").iter().any(|one| one == name);
        let until = is_on.then(|| common::otlp::now() / 1_000_000 + 90_500);
        json!({
            "name": name, "title": title, "does": "`bank` is <b>away</b>.", "look": "Breakers.", "page": page,
            "on": is_on, "since_ms": null, "until_ms": until,
        })
    };
    Json(json!({ "scenarios": [
        one("payment-outage", "Payment outage", "/map?node=bank"),
        one("evil", "<script>alert(1)</script>", "//evil.example.com/"),
    ] }))
}

async fn switch(on: On, name: String, to: bool) -> (StatusCode, Json<Value>) {
    if !["payment-outage", "evil"].contains(&name.as_str()) {
        return (StatusCode::NOT_FOUND, Json(json!({ "error": "no such scenario; there are two" })));
    }
    let mut on = on.lock().expect("no holder panics");
    on.retain(|one| *one != name);
    on.extend(to.then_some(name));
    (StatusCode::OK, Json(json!({})))
}

/// Serves a router on a free port for as long as the test's runtime lives.
async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// A gateway that does what it is asked.
async fn gateway() -> (SocketAddr, On) {
    let on = On::default();
    let router = Router::new()
        .route("/scenarios", get(list))
        .route(
            "/scenarios/{name}",
            post(|State(on): State<On>, Path(name): Path<String>| switch(on, name, true)),
        )
        .route(
            "/scenarios/{name}/off",
            post(|State(on): State<On>, Path(name): Path<String>| switch(on, name, false)),
        )
        .with_state(on.clone());
    (serve(router).await, on)
}

async fn with_gateway(at: SocketAddr) -> Running {
    Running::with(|settings| settings.scenarios_url = Some(format!("http://{at}"))).await
}

async fn page(running: &Running, path: &str) -> (u16, String) {
    let answer = client().get(running.page(path)).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a text"))
}

#[tokio::test]
async fn a_button_switches_a_failure_on_and_off() {
    let (at, on) = gateway().await;
    let running = with_gateway(at).await;
    let (_, overview) = page(&running, "/").await;
    assert!(overview.contains(r#"href="/scenarios""#), "the empty page leads there: {overview}");
    let (status, off) = page(&running, "/scenarios").await;
    assert_eq!(status, 200);
    for text in [
        "Nothing is switched on",
        r#"action="/scenarios/payment-outage/on""#,
        "<code>bank</code> is &lt;b&gt;away",
        r#"href="/map?node=bank""#,
        "&lt;script&gt;alert",
    ] {
        assert!(off.contains(text), "{text:?} is missing in {off}");
    }
    assert!(!off.contains("evil.example.com"), "a page elsewhere is no link: {off}");

    let (status, switched) = send(&running, "payment-outage/on", &[]).await;
    assert_eq!(status, 200, "{switched}");
    assert_eq!(*on.lock().expect("no holder panics"), ["payment-outage"]);
    for text in [
        "Payment outage is on",
        r#"action="/scenarios/payment-outage/off""#,
        "on, 1\u{a0}m\u{a0}",
        "left</span>",
    ] {
        assert!(switched.contains(text), "{text:?} is missing in {switched}");
    }
    let (status, off) = send(&running, "payment-outage/off", &[]).await;
    assert!(status == 200 && off.contains("Nothing is switched on"), "{off}");
    assert!(on.lock().expect("no holder panics").is_empty());

    let (status, unknown) = send(&running, "nonsense/on", &[]).await;
    assert!(status == 502 && unknown.contains("no such scenario; there are two"), "{status} {unknown}");
    for odd in ["..%2F..%2Forders/on", "a%20b/off", "%00/on"] {
        let (status, text) = send(&running, odd, &[]).await;
        assert!(status == 404 && text.contains("No scenario is called"), "{odd}: {status} {text}");
    }
}

#[tokio::test]
async fn a_program_switches_as_the_button_does() {
    let (at, on) = gateway().await;
    let running = with_gateway(at).await;
    let (_, list) = contract::get(&running, "/api/scenarios").await;
    let of = |list: &Value| list["scenarios"][0].clone();
    assert_eq!((&of(&list)["name"], &of(&list)["on"]), (&json!("payment-outage"), &json!(false)));
    let (status, _) = contract::post(&running, "/api/scenarios/payment-outage/on", &json!({})).await;
    assert_eq!((status, on.lock().expect("no holder panics").len()), (200, 1));
    let (_, list) = contract::get(&running, "/api/scenarios").await;
    assert_eq!(of(&list)["on"], true);
    assert!(of(&list)["until"].as_str().is_some_and(|at| at.len() == 19), "{list}");
    let (status, _) = contract::post(&running, "/api/scenarios/payment-outage/off", &json!({})).await;
    assert_eq!((status, on.lock().expect("no holder panics").len()), (200, 0));
    let (status, told) = contract::post(&running, "/api/scenarios/nonsense/on", &json!({})).await;
    assert!(status == 502 && told["error"].as_str().is_some_and(|text| text.contains("no such")), "{told}");
}

/// Sends a form's request, and follows where its answer leads.
async fn send(running: &Running, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let mut request = client().post(running.page(&format!("/scenarios/{path}")));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a text"))
}

#[tokio::test]
async fn forms_of_other_sites_and_those_without_a_key_switch_nothing() {
    let (at, on) = gateway().await;
    let running = Running::with(|settings| {
        settings.scenarios_url = Some(format!("http://{at}"));
        settings.read_keys = keys(&["a-key-for-readers-0123"]);
    })
    .await;
    let own = ("authorization", "Bearer a-key-for-readers-0123");
    assert_eq!(send(&running, "payment-outage/on", &[]).await.0, 401);
    assert_eq!(send(&running, "payment-outage/on", &[own, ("sec-fetch-site", "cross-site")]).await.0, 403);
    assert!(on.lock().expect("no holder panics").is_empty());
    // The redirect keeps the header: it leads to ourselves.
    assert_eq!(send(&running, "payment-outage/on", &[own]).await.0, 200);
    assert_eq!(*on.lock().expect("no holder panics"), ["payment-outage"]);
}

#[tokio::test]
async fn without_a_demo_or_without_a_key_beyond_loopback_there_are_no_buttons() {
    let (at, on) = gateway().await;
    let alone = Running::start().await;
    let open = Running::with(|settings| {
        settings.scenarios_url = Some(format!("http://{at}"));
        settings.listen = "0.0.0.0:0".parse().expect("an address");
        settings.allow_remote = true;
    })
    .await;
    let port = open.dashboard.listen.port();
    for base in [alone.page(""), format!("http://127.0.0.1:{port}")] {
        let answer = client().get(format!("{base}/scenarios")).send().await.expect("an answer");
        assert_eq!(answer.status(), 404, "{base}");
        assert!(answer.text().await.expect("a text").contains("throughline demo"));
        let sent =
            client().post(format!("{base}/scenarios/payment-outage/on")).send().await.expect("an answer");
        assert_eq!(sent.status(), 404, "{base}");
        let front = client().get(&base).send().await.expect("an answer").text().await.expect("a text");
        assert!(!front.contains("/scenarios"), "{front}");
    }
    assert!(on.lock().expect("no holder panics").is_empty());
}

#[tokio::test]
async fn a_gateway_that_is_away_slow_or_somebody_else_is_told_of() {
    // Bound and not listening: nobody answers, and nobody else gets the port.
    let nobody = TcpSocket::new_v4().expect("a socket");
    nobody.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let gone = nobody.local_addr().expect("an address");
    // Takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let large = Router::new().route("/scenarios", get(|| async { " ".repeat(10 << 20) }));
    let html = Router::new().route("/scenarios", get(|| async { "<html>Welcome" }));
    let sick =
        Router::new().route("/scenarios", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "later") }));
    let elsewhere = Router::new()
        .route("/scenarios", get(|| async { axum::response::Redirect::to("http://192.0.2.1/scenarios") }));
    let cases = [
        (gone, "cannot be reached"),
        (silent.local_addr().expect("an address"), "gave no answer within 2 seconds"),
        (serve(large).await, "more than 256 KiB"),
        (serve(html).await, "did not answer with a list of scenarios"),
        (serve(sick).await, "answered 503"),
        (serve(elsewhere).await, "answered 303"),
    ];
    for (at, says) in cases {
        let running = with_gateway(at).await;
        let begun = Instant::now();
        let (status, text) = page(&running, "/scenarios").await;
        assert!(begun.elapsed() < Duration::from_secs(20), "{says}: {:?}", begun.elapsed());
        assert_eq!(status, 200, "{says}: {text}");
        for wanted in [says, "Nothing can be switched at the moment", &at.to_string(), "Try again"] {
            assert!(text.contains(wanted), "{wanted:?} is missing in {text}");
        }
        // The other pages do not care.
        assert_eq!(page(&running, "/").await.0, 200, "{says}");
    }
}
