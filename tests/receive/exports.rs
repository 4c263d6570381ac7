//! What a service of ours sends for each protocol and compression that OpenTelemetry's variables name.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::common::{Running, client, eventually};
use crate::process::Process;
use axum::Router;
use axum::extract::Request;
use axum::http::HeaderMap;

/// Path, content type and encoding of an export.
type Export = (String, String, String);

/// Remembers what comes in, over HTTP/1.1 and HTTP/2, and answers nothing of use.
async fn receiver() -> (Arc<Mutex<BTreeSet<Export>>>, String) {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let remember = seen.clone();
    let router = Router::new().fallback(async move |request: Request| {
        let header = |headers: &HeaderMap, name: &str| {
            headers
                .get(name)
                .map_or(String::new(), |value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let headers = request.headers();
        let encoding = header(headers, "content-encoding") + &header(headers, "grpc-encoding");
        let export = (request.uri().path().to_owned(), header(headers, "content-type"), encoding);
        remember.lock().expect("no holder panics").insert(export);
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    (seen, format!("http://{address}"))
}

/// A service with its export as the variables say. What it calls is not there.
fn service(folder: &std::path::Path, variables: &[(&str, &str)]) -> (Process, String) {
    let process = Process::start(
        "the gateway",
        Command::new(env!("CARGO_BIN_EXE_throughline"))
            .current_dir(folder)
            .args(["service", "gateway", "--listen=127.0.0.1:0", "--latency=0", "--log-format=json"])
            .args(["--broker=sqlite://broker.db", "--orders-url=http://127.0.0.1:9"])
            .envs(variables.iter().copied()),
    );
    let told = process.told("\"address\":\"", 30);
    let address = told.split('"').next().expect("an address").to_owned();
    (process, format!("http://{address}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_variables_choose_protocol_and_compression() {
    const GRPC: (&str, &str) =
        ("/opentelemetry.proto.collector.trace.v1.TraceService/Export", "application/grpc");
    const HTTP: (&str, &str) = ("/v1/traces", "application/x-protobuf");
    let cases = [
        (None, None, GRPC, ""),
        (Some("grpc"), Some("gzip"), GRPC, "gzip"),
        (Some("http/protobuf"), None, HTTP, ""),
        (Some("http/protobuf"), Some("gzip"), HTTP, "gzip"),
    ];
    for (protocol, compression, (path, content_type), encoding) in cases {
        let folder = tempfile::tempdir().unwrap();
        let (seen, endpoint) = receiver().await;
        let mut variables = vec![("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str())];
        variables.extend(protocol.map(|value| ("OTEL_EXPORTER_OTLP_PROTOCOL", value)));
        variables.extend(compression.map(|value| ("OTEL_EXPORTER_OTLP_COMPRESSION", value)));
        let (_process, gateway) = service(folder.path(), &variables);
        let answer = client().get(format!("{gateway}/orders/o-1")).send().await.unwrap();
        assert!(answer.status().is_server_error(), "what it calls is not there");
        let expected = (path.to_owned(), content_type.to_owned(), encoding.to_owned());
        eventually(&format!("{expected:?}"), 20, async || {
            seen.lock().expect("no holder panics").contains(&expected).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_takes_what_is_sent_over_http() {
    let dashboard = Running::start().await;
    let folder = tempfile::tempdir().unwrap();
    let endpoint = dashboard.otlp("");
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
    ];
    let (mut process, gateway) = service(folder.path(), &variables);
    let asked = client().get(format!("{gateway}/orders/o-1")).header("x-correlation-id", "over-http-1");
    asked.send().await.unwrap();
    // What is left at the end is sent too, and the exporters end as they should.
    assert_eq!(process.terminate(20), Some(0), "{}", process.output());
    let page = client().get(dashboard.page("/correlations/over-http-1")).send().await.unwrap();
    assert_eq!(page.status(), 200);
    assert!(page.text().await.unwrap().contains("gateway"), "the story names the service");
    assert!(!process.output().contains("panicked"), "{}", process.output());
    dashboard.dashboard.stop().await;
}
