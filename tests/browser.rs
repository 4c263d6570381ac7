//! The pages in a real browser, with the data of the demo shop and with none: `browser/*.mjs` look, this starts what
//! they look at. Screenshots of the run are in `target/screenshots`.
#![cfg(all(unix, feature = "dashboard", feature = "demo"))]

mod common;
mod process;

use std::path::Path;
use std::process::Command;

use common::{breakers, client, eventually, otlp};
use process::{Dashboard, Process, root, tool};

/// A script of the browser, looking at `base`.
fn script(name: &str, base: &str, folder: &Path) -> Process {
    let scripts = root().join("tests/browser");
    tool(scripts.join("node_modules"), "run scripts/prepare, with Node 20 or newer and npm installed");
    let chromium = std::env::var_os("CHROMIUM").unwrap_or_else(|| "/usr/bin/chromium".into());
    tool(chromium.into(), "install Chromium (Debian: apt-get install chromium), or name it with CHROMIUM");
    Process::start(name, Command::new("node").current_dir(scripts).arg(name).arg(base).arg(folder))
}

/// Waits for the script's verdict.
fn verdict(mut script: Process, seconds: u64) {
    let code = script.ended(seconds);
    println!("{}", script.output());
    assert_eq!(code, Some(0), "{}", script.output());
}

/// The demo shop on free ports, with short waits before retries; gives the address of its pages.
fn demo(folder: &Path) -> (Process, String) {
    let ports = ["gateway", "orders", "users", "payments", "inventory", "notifications", "analytics", "bank"]
        .map(|service| format!("--{service}-port=0"));
    let mut command = Command::new(common::binary());
    command.current_dir(folder).arg("demo").args(ports);
    command.args(["--listen=127.0.0.1:0", "--otlp-grpc=127.0.0.1:0", "--otlp-http=127.0.0.1:0"]);
    let process = Process::start("the demo", command.args(["--rate=5", "--retry-delay-ms=300"]));
    let pages = process.told("Throughline is at ", 60);
    (process, pages)
}

#[tokio::test]
async fn every_page_with_the_demo_shop() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut demo, pages) = demo(folder.path());
    eventually("an order among the dead letters on the Overview", 60, || async {
        let page = client().get(&pages).send().await.ok()?.text().await.ok()?;
        page.contains("in orders.dlq").then_some(())
    })
    .await;
    let shots = root().join("target/screenshots");
    std::fs::create_dir_all(&shots).expect("a folder for screenshots");
    verdict(script("pages.mjs", &pages, &shots), 240);
    assert_eq!(demo.terminate(30), Some(0), "{}", demo.output());
}

#[tokio::test]
async fn from_a_message_to_its_trace_with_the_demo_shop() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut demo, pages) = demo(folder.path());
    eventually("a dead letter that the tap saw", 60, || async {
        let list = format!("{pages}/api/messages?last=1h&queue=orders.dlq");
        let list: serde_json::Value = client().get(list).send().await.ok()?.json().await.ok()?;
        list["messages"].as_array().is_some_and(|all| !all.is_empty()).then_some(())
    })
    .await;
    let shots = root().join("target/screenshots");
    std::fs::create_dir_all(&shots).expect("a folder for screenshots");
    verdict(script("messages.mjs", &pages, &shots), 300);
    assert_eq!(demo.terminate(30), Some(0), "{}", demo.output());
}

#[tokio::test]
async fn a_failure_is_switched_on_from_the_pages() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut demo, pages) = demo(folder.path());
    eventually("calls of orders to payments on the Map", 60, || async {
        let map = client().get(format!("{pages}/api/map")).send().await.ok()?.text().await.ok()?;
        map.contains("service:payments").then_some(())
    })
    .await;
    let shots = root().join("target/screenshots");
    std::fs::create_dir_all(&shots).expect("a folder for screenshots");
    verdict(script("scenarios.mjs", &pages, &shots), 180);
    assert_eq!(demo.terminate(30), Some(0), "{}", demo.output());
}

#[tokio::test]
async fn a_dead_letter_is_edited_and_redriven_from_the_pages() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut demo, pages) = demo(folder.path());
    eventually("an order among the dead letters on the Overview", 60, || async {
        let page = client().get(&pages).send().await.ok()?.text().await.ok()?;
        page.contains("in orders.dlq").then_some(())
    })
    .await;
    let shots = root().join("target/screenshots");
    std::fs::create_dir_all(&shots).expect("a folder for screenshots");
    verdict(script("redrive.mjs", &pages, &shots), 300);
    assert_eq!(demo.terminate(30), Some(0), "{}", demo.output());
}

#[tokio::test]
async fn live_from_empty_and_through_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut dashboard = Dashboard::start(folder.path());
    let (base, otlp_http) = (dashboard.pages.clone(), dashboard.http.clone());
    let script = script("live.mjs", &base, folder.path());
    for (number, name) in (1..).zip(["first-light", "second-wind"]) {
        script.told(&format!("please: send {name}"), 60);
        send(&otlp_http, number, name).await;
    }
    for text in ["first-word", "last-word"] {
        script.told(&format!("please: log {text}"), 60);
        let log = otlp::log(text, 17, otlp::now()).with("order.id", "42");
        post(&otlp_http, "logs", otlp::log_request(Some("watched"), &[log])).await;
    }
    script.told("please: end", 60);
    let addresses = (base.trim_start_matches("http://").to_owned(), dashboard.grpc.clone());
    assert_eq!(dashboard.process.terminate(20), Some(0), "{}", dashboard.process.output());
    script.told("please: start", 60);
    let dashboard = Dashboard::at(folder.path(), &addresses.0, &addresses.1, &otlp_http);
    script.told("please: send third-time", 60);
    send(&dashboard.http, 3, "third-time").await;
    verdict(script, 60);
}

#[tokio::test]
async fn breakers_in_every_state() {
    let folder = tempfile::tempdir().expect("a folder");
    let dashboard = Dashboard::start(folder.path());
    let now = otlp::now();
    let mut requests = Vec::new();
    for export in 0u64..60 {
        let at = now - (59 - export) * 60_000_000_000 - 1_000_000_000;
        let mut processes = Vec::new();
        for number in 0..10 {
            let state = if number < 3 && export >= 40 { "open" } else { "closed" };
            processes.push(("orders", format!("orders-{number}"), breakers::own("payments", state, at)));
        }
        let half = if export < 50 { "closed" } else { "half_open" };
        processes.push(("payments", "p1".into(), breakers::own("card-processor", half, at)));
        let calls = [export as f64 * 40.0, export as f64, 0.0];
        processes.push(("gateway", String::new(), breakers::resilience4j("users", "closed", at, calls, 2.4)));
        processes.push((
            "gateway",
            "g1".into(),
            breakers::own(&"a-very-long-name/".repeat(15), "closed", at),
        ));
        if export < 40 {
            processes.push(("analytics", "a1".into(), breakers::own("warehouse", "closed", at)));
        }
        for (service, instance, metrics) in processes {
            requests.push(breakers::request(service, &instance, metrics));
        }
    }
    post_json(&dashboard.http, "metrics", &breakers::together(requests)).await;
    let failed =
        otlp::span(1, 1, "POST /charge", 1_145_000).with("service.peer.name", "payments").failed("timed out");
    post(&dashboard.http, "traces", otlp::request("orders", &[failed])).await;
    let shots = root().join("target/screenshots");
    std::fs::create_dir_all(&shots).expect("a folder for screenshots");
    verdict(script("breakers.mjs", &dashboard.pages, &shots), 120);
}

#[tokio::test]
async fn the_query_line_completes() {
    let folder = tempfile::tempdir().expect("a folder");
    let dashboard = Dashboard::start(folder.path());
    for (number, customer) in (1..).zip(["anna", "ben"]) {
        let span = otlp::span(number, 1, "GET /orders", 500).with("shop.customer", customer);
        post(&dashboard.http, "traces", otlp::request("orders", &[span])).await;
    }
    verdict(script("complete.mjs", &dashboard.pages, folder.path()), 60);
}

#[tokio::test]
async fn internal_spans_fold_and_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let dashboard = Dashboard::start(folder.path());
    post(&dashboard.http, "traces", otlp::request("orders", &request_with_middleware(7))).await;
    let address = format!("{}/traces/{}", dashboard.pages, otlp::trace_hex(7));
    verdict(script("folds.mjs", &address, folder.path()), 120);
}

/// A request as a framework with six middlewares sends it: INTERNAL spans beside each other, then the handler, whose
/// call fails.
fn request_with_middleware(trace: u64) -> Vec<otlp::TestSpan> {
    const INTERNAL: u64 = 1;
    const CLIENT: u64 = 3;
    let root = otlp::span(trace, 1, "GET /orders/:id", 600_000);
    let begin = root.start;
    let at = |number, name: &str, kind, parent, from_us: u64, to_us: u64| {
        let mut span = otlp::span(trace, number, name, 0).parent(parent);
        (span.kind, span.start, span.end) = (kind, begin + from_us * 1_000, begin + to_us * 1_000);
        span
    };
    let mut spans = vec![root];
    for (number, name) in (2..).zip(["query", "helmet", "cors", "session", "jsonParser", "logger"]) {
        spans.push(at(number, name, INTERNAL, 1, number * 100, number * 100 + 80));
    }
    spans.push(at(8, "request handler", INTERNAL, 1, 1_000, 19_000));
    spans.push(at(9, "SELECT orders", CLIENT, 8, 2_000, 18_000).failed("connection reset"));
    spans
}

#[tokio::test]
async fn in_with_a_key_and_out_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let dashboard = Dashboard::with(folder.path(), &["--read-key", "a-key-for-reading"]);
    let shots = root().join("target/screenshots");
    std::fs::create_dir_all(&shots).expect("a folder for screenshots");
    let script = script("login.mjs", &dashboard.pages, &shots);
    for (number, name) in (1..).zip(["first-light", "second-wind"]) {
        script.told(&format!("please: send {name}"), 60);
        send(&dashboard.http, number, name).await;
    }
    verdict(script, 60);
    let said = dashboard.process.output();
    assert!(
        !said.contains("a-key-for-reading") && !said.contains("another-key"),
        "no key in the log: {said}"
    );
}

/// Sends a trace of one span.
async fn send(otlp_http: &str, number: u64, name: &str) {
    post(otlp_http, "traces", otlp::request("watched", &[otlp::span(number, 1, name, 30)])).await;
}

/// Sends an OTLP request of `traces` or `logs`; it is stored when this returns.
async fn post_json(otlp_http: &str, signal: &str, body: &serde_json::Value) {
    let request = client().post(format!("http://{otlp_http}/v1/{signal}")).body(body.to_string());
    let answer = request.header("content-type", "application/json").send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
}

async fn post(otlp_http: &str, signal: &str, body: Vec<u8>) {
    let request = client().post(format!("http://{otlp_http}/v1/{signal}")).body(body);
    let answer = request.header("content-type", "application/x-protobuf").send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
}
