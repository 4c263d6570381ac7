//! Real breaker libraries in services of other languages, under their own OpenTelemetry: each is seen closed, open,
//! half-open and closed again on its page, with what tripped it and what it turned away.

use std::process::Command;

use crate::common::client;
use crate::process::{Dashboard, Process, root, tool};
use serde_json::Value;

const LIST: &str = "/api/breakers?last=15m";

async fn text(dashboard: &Dashboard, path: &str) -> String {
    let answer = client().get(format!("{}{path}", dashboard.pages)).send().await.expect("the pages answer");
    answer.text().await.expect("text").replace('\u{a0}', " ")
}

async fn api(dashboard: &Dashboard, path: &str) -> Value {
    serde_json::from_str(&text(dashboard, path).await).expect("JSON")
}

/// Asks until the answer is as wanted, and says what it was last where it never is.
async fn until(
    dashboard: &Dashboard,
    path: &str,
    what: &str,
    wanted: impl Fn(&Value) -> Option<Value>,
) -> Value {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let answer = api(dashboard, path).await;
        if let Some(found) = wanted(&answer) {
            return found;
        }
        assert!(std::time::Instant::now() < deadline, "not within 30 s: {what}; it is {answer}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// A breaker of the list.
fn listed(list: &Value, name: &str) -> Option<Value> {
    list["breakers"].as_array()?.iter().find(|one| one["name"] == name).cloned()
}

/// Waits until the page of the list shows the breaker in a state.
async fn seen(dashboard: &Dashboard, name: &str, state: &str) -> Value {
    let what = format!("{name} is {state}");
    let in_state = |list: &Value| listed(list, name).filter(|one| one["state"] == state);
    until(dashboard, LIST, &what, in_state).await
}

async fn ask(address: &str, path: &str, status: u16) {
    let request = client().get(format!("{address}{path}")).header("x-correlation-id", "order-77");
    assert_eq!(request.send().await.expect("an answer").status(), status, "{path}");
}

async fn set(address: &str, path: &str) {
    let answer = client().post(format!("{address}{path}")).send().await.expect("an answer");
    assert_eq!(answer.status(), 200, "{path}");
}

/// Breaks the service's processor, waits for its breaker to open, and mends it again.
async fn open_and_close(dashboard: &Dashboard, address: &str, name: &str, known: &[&str]) {
    for _ in 0..4 {
        ask(address, "/charge", 200).await;
    }
    let calm = until(dashboard, LIST, "the breaker is heard", |list| listed(list, name)).await;
    assert!(calm["state"].as_str().is_some_and(|state| state.starts_with("closed")), "{calm}");

    set(address, "/processor/down").await;
    while client().get(format!("{address}/charge")).send().await.expect("an answer").status() != 503 {}
    ask(address, "/charge", 503).await;
    let open = seen(dashboard, name, "open").await;
    assert!(known.contains(&open["knownFrom"].as_str().unwrap_or_default()), "{open}");
    let list = text(dashboard, "/breakers?last=15m").await;
    assert!(list.contains(&format!("{name} is open in")), "the list begins with it: {list}");
    assert!(
        text(dashboard, "/?last=15m").await.contains(&format!("{name} is open in")),
        "and so does the Overview"
    );

    set(address, "/processor/up").await;
    seen(dashboard, name, "half_open").await;
    // Longer than what counts as one export on a busy machine, so that it is a state of its own.
    until(dashboard, LIST, "it is half-open for some exports", |list| {
        let one = listed(list, name)?;
        let last = one["states"].as_array()?.last()?;
        let moment = |end: &str| last[end].as_str()?.parse::<u64>().ok();
        let is_long = moment("to")? - moment("from")? > 3_000_000_000;
        (last["state"] == "half_open" && is_long).then_some(one.clone())
    })
    .await;
    while client().get(format!("{address}/charge")).send().await.expect("an answer").status() != 200 {}
    for _ in 0..4 {
        ask(address, "/charge", 200).await;
    }
    let closed = seen(dashboard, name, "closed").await;
    let states = closed["states"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap());
    // A busy machine may keep its exports back for so long that nothing is known of it in between.
    let states: Vec<_> = states.filter(|state| *state != "unknown").collect();
    assert!(states.ends_with(&["open", "half_open", "closed"]), "{closed}");
}

/// The page of the breaker tells what tripped it and what it turned away.
async fn assert_explained(dashboard: &Dashboard, service: &str, name: &str) {
    let path = format!("service={service}&name={name}&last=15m");
    let one = until(dashboard, &format!("/api/breakers/one?{path}"), "causes and rejected calls", |one| {
        let opened = one["transitions"].as_array()?.iter().find(|one| one["to"] == "open")?;
        let explained = opened["because"]["failedCalls"].as_u64() > Some(0);
        let rejected = !one["rejectedCalls"].as_array()?.is_empty();
        (explained && rejected).then(|| one.clone())
    })
    .await;
    let results: Vec<_> =
        one["calls"].as_array().unwrap().iter().map(|calls| calls["result"].as_str().unwrap()).collect();
    assert_eq!(results, ["succeeded", "failed", "rejected"]);
    let html = text(dashboard, &format!("/breakers/one?{path}")).await;
    for shown in ["just before", "trial calls passed", "had passed", "/traces/", "503"] {
        assert!(html.contains(shown), "{shown} in {}", &html[html.find("<main").unwrap_or(0)..]);
    }
}

#[tokio::test]
async fn opossum_in_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let dashboard = Dashboard::start(folder.path());
    let node = root().join("tests/foreign/node");
    tool(node.join("node_modules/opossum"), "run scripts/prepare, with Node 20 or newer and npm installed");
    let mut command = Command::new("node");
    command.current_dir(&node).args(["--require", "./telemetry.js", "breaker.js"]).envs([
        ("OTEL_SERVICE_NAME", "cards".to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", dashboard.http)),
        ("OTEL_TRACES_EXPORTER", "otlp".into()),
        ("OTEL_LOGS_EXPORTER", "otlp".into()),
        ("OTEL_METRICS_EXPORTER", "otlp".into()),
        ("OTEL_METRIC_EXPORT_INTERVAL", "500".into()),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "400".into()),
        ("OTEL_BSP_SCHEDULE_DELAY", "200".into()),
        ("OTEL_BLRP_SCHEDULE_DELAY", "200".into()),
    ]);
    let mut process = Process::start("cards", &mut command);
    let address = format!("http://127.0.0.1:{}", process.told("listening on ", 60));
    open_and_close(&dashboard, &address, "card-processor", &["counter"]).await;
    assert_explained(&dashboard, "cards", "card-processor").await;
    assert_eq!(process.terminate(20), Some(0), "{}", process.output());
}

#[tokio::test]
async fn resilience4j_in_java() {
    let folder = tempfile::tempdir().expect("a folder");
    let dashboard = Dashboard::start(folder.path());
    let java = root().join("tests/foreign/java");
    let lib = tool(java.join("lib"), "run scripts/prepare, with a JDK 17 or newer and Maven installed");
    let is_agent = |name: &str| name.starts_with("opentelemetry-javaagent");
    let agent = std::fs::read_dir(&lib)
        .expect("lib")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name().is_some_and(|name| is_agent(&name.to_string_lossy())))
        .expect("the agent is in lib");
    let mut command = Command::new("java");
    command.current_dir(&java).arg(format!("-javaagent:{}", agent.display()));
    command.args(["-Xmx256m", "-cp", "lib/*", "Billing.java"]).envs([
        ("OTEL_SERVICE_NAME", "billing".to_owned()),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{}", dashboard.http)),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".into()),
        ("OTEL_METRICS_EXPORTER", "none".into()),
        // The agent takes a program that is started as a source file for a tool.
        ("OTEL_JAVAAGENT_ENABLED", "true".into()),
        ("OTEL_BSP_SCHEDULE_DELAY", "200".into()),
    ]);
    let mut process = Process::start("billing", &mut command);
    let address = format!("http://127.0.0.1:{}", process.told("listening on ", 120));
    open_and_close(&dashboard, &address, "card-processor", &["gauge"]).await;
    assert_explained(&dashboard, "billing", "card-processor").await;
    process.terminate(20);
}
