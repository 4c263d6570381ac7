//! Services under reporters of Zipkin's own world: py_zipkin, whose client and server share an ID, in both encodings, and
//! OpenTelemetry's exporter to Zipkin. What the pages show is the test.

use std::path::PathBuf;
use std::process::Command;

use crate::common::{client, eventually};
use crate::process::{Dashboard, Process, root, tool};

/// A dashboard that takes Zipkin's spans, and its address for them.
fn dashboard(folder: &tempfile::TempDir) -> (Dashboard, String) {
    let dashboard = Dashboard::with(folder.path(), &["--zipkin", "127.0.0.1:0"]);
    let zipkin = dashboard.process.told("Zipkin's spans on ", 30);
    (dashboard, zipkin)
}

fn python(program: &str) -> PathBuf {
    let bin = root().join("tests/foreign/python/.venv/bin");
    tool(bin, "run scripts/prepare, with Python 3.11 or newer installed").join(program)
}

/// Starts a service; gives its address.
fn service(name: &str, command: &mut Command) -> (Process, String) {
    let process = Process::start(name, command.current_dir(root().join("tests/foreign/python")));
    let address = format!("http://127.0.0.1:{}", process.told("listening on ", 60));
    (process, address)
}

async fn page(dashboard: &Dashboard, path: &str) -> String {
    let answer = client().get(format!("{}{path}", dashboard.pages)).send().await.expect("the pages answer");
    answer.text().await.expect("text")
}

/// The page of the newest trace once it has all of `names`, with the level of each.
async fn rows(dashboard: &Dashboard, names: &[&str]) -> (String, Vec<String>) {
    eventually(&format!("a trace with {names:?}"), 30, || async {
        let list = page(dashboard, "/traces").await;
        let (_, rest) = list.split_once("href=\"/traces/")?;
        let id: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
        let html = page(dashboard, &format!("/traces/{id}?fold=off")).await;
        let rows: Vec<&str> = html.split("aria-level=\"").skip(1).collect();
        let level = |name: &&str| {
            let row = rows.iter().find(|row| row.contains(&format!(">{name}</a>")))?;
            Some(format!("{} {name}", row.split('"').next()?))
        };
        let found: Option<Vec<String>> = names.iter().map(level).collect();
        found.filter(|_| rows.len() == names.len()).map(|found| (id, found))
    })
    .await
}

/// Nothing of what came over Zipkin's address was refused, in whole or in part.
async fn assert_nothing_refused(dashboard: &Dashboard, spans: u64) {
    let metrics = page(dashboard, "/metrics").await;
    let of_zipkin = metrics.lines().filter(|line| line.contains("transport=\"zipkin\""));
    let requests: Vec<_> = of_zipkin.clone().filter(|line| line.contains("_requests_total{")).collect();
    assert!(!requests.is_empty() && requests.iter().all(|line| line.contains("\"ok\"")), "{requests:?}");
    let accepted = of_zipkin.clone().find(|line| line.contains("_spans_accepted_total{"));
    assert_eq!(
        accepted.and_then(|line| line.rsplit(' ').next()),
        Some(spans.to_string().as_str()),
        "{metrics}"
    );
}

#[tokio::test]
async fn client_and_server_of_py_zipkin_are_a_call_in_either_encoding() {
    for encoding in ["V2_JSON", "V2_PROTO3"] {
        let folder = tempfile::tempdir().expect("a folder");
        let (dashboard, zipkin) = dashboard(&folder);
        let reservations = |name: &str, next: &[&str]| {
            let mut command = Command::new(python("python"));
            service(name, command.args(["reservations.py", name, encoding, &zipkin]).args(next))
        };
        let (_stock, stock_at) = reservations("stock", &[]);
        let (_shop, shop_at) = reservations("shop", &[&stock_at]);
        let answer = client().get(format!("{shop_at}/reserve/gone")).send().await.expect("an answer");
        assert_eq!(answer.status(), 409);

        let (id, rows) = rows(&dashboard, &["GET /reserve", "ask", "answer", "look"]).await;
        assert_eq!(rows, ["1 GET /reserve", "2 ask", "3 answer", "4 look"], "{encoding}");
        let json = page(&dashboard, &format!("/traces/{id}/otlp.json")).await;
        let trace: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        let mut ids: Vec<&str> = json.split("\"spanId\":\"").skip(1).map(|rest| &rest[..16]).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 3, "client and server share theirs: {trace}");
        let story = page(&dashboard, "/correlations/reserve-gone?format=markdown").await;
        assert!(story.starts_with("# Failed in stock") && story.contains("gone is not there"), "{story}");
        assert!(!story.contains("zipkin.shared"), "how it was sent is no part of the story: {story}");
        assert_nothing_refused(&dashboard, 4).await;
    }
}

#[tokio::test]
async fn opentelemetrys_exporter_to_zipkin_loses_no_exception() {
    let folder = tempfile::tempdir().expect("a folder");
    let (dashboard, zipkin) = dashboard(&folder);
    let mut command = Command::new(python("opentelemetry-instrument"));
    command.arg(python("python")).arg("checkout.py");
    command.env("OTEL_SERVICE_NAME", "checkout").env("OTEL_TRACES_EXPORTER", "zipkin_json");
    command.env("OTEL_LOGS_EXPORTER", "none").env("OTEL_METRICS_EXPORTER", "none");
    command.env("OTEL_EXPORTER_ZIPKIN_ENDPOINT", format!("http://{zipkin}/api/v2/spans"));
    // Nobody listens there.
    command.env("OTEL_BSP_SCHEDULE_DELAY", "200").env("PRICES_URL", "http://127.0.0.1:9");
    let (_checkout, at) = service("checkout", &mut command);
    let answer = client().get(format!("{at}/checkout/tea")).send().await.expect("an answer");
    assert_eq!(answer.status(), 500);

    let (id, rows) = rows(&dashboard, &["GET /checkout/&lt;sku&gt;", "GET"]).await;
    assert_eq!(rows, ["1 GET /checkout/&lt;sku&gt;", "2 GET"]);
    let json: serde_json::Value =
        serde_json::from_str(&page(&dashboard, &format!("/traces/{id}/otlp.json")).await).expect("JSON");
    let text = json.to_string();
    for told in ["opentelemetry.instrumentation.flask", "exception.stacktrace", "Connection refused"] {
        assert!(text.contains(told), "{told} is not in {text}");
    }
    let html = page(&dashboard, &format!("/traces/{id}")).await;
    assert!(html.contains("ConnectionError"), "the page tells why: {html}");
    assert_nothing_refused(&dashboard, 2).await;
}
