//! How foreign services are started, each under its own OpenTelemetry, and how what came of them is looked at.

use std::process::Command;

use crate::common::{client, eventually};
use crate::process::{Dashboard, root, tool};
use serde_json::Value;

/// How an SDK is told to send.
#[derive(Clone, Copy)]
pub enum Protocol {
    Grpc,
    HttpProtobuf,
    HttpJson,
}

impl Protocol {
    /// The environment variables that a README tells of, with small delays of the batches.
    pub fn variables(self, service: &str, dashboard: &Dashboard) -> Vec<(&'static str, String)> {
        let (protocol, address) = match self {
            Protocol::Grpc => ("grpc", &dashboard.grpc),
            Protocol::HttpProtobuf => ("http/protobuf", &dashboard.http),
            Protocol::HttpJson => ("http/json", &dashboard.http),
        };
        vec![
            ("OTEL_SERVICE_NAME", service.into()),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol.into()),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip".into()),
            ("OTEL_TRACES_EXPORTER", "otlp".into()),
            ("OTEL_LOGS_EXPORTER", "otlp".into()),
            ("OTEL_METRICS_EXPORTER", "otlp".into()),
            ("OTEL_METRIC_EXPORT_INTERVAL", "500".into()),
            ("OTEL_METRIC_EXPORT_TIMEOUT", "400".into()),
            ("OTEL_BSP_SCHEDULE_DELAY", "200".into()),
            ("OTEL_BLRP_SCHEDULE_DELAY", "200".into()),
        ]
    }

    pub fn transport(self) -> &'static str {
        match self {
            Protocol::Grpc => "grpc",
            Protocol::HttpProtobuf | Protocol::HttpJson => "http",
        }
    }
}

/// A script in Node, under its instrumentation.
pub fn node(script: &str) -> Command {
    let folder = root().join("tests/foreign/node");
    tool(folder.join("node_modules"), "run scripts/prepare, with Node 20 or newer and npm installed");
    let mut command = Command::new("node");
    command.current_dir(&folder).args(["--require", "./telemetry.js", script]);
    command
}

/// A script in Python, under its instrumentation, which captures the header of the correlation ID.
pub fn python(script: &str) -> Command {
    let folder = root().join("tests/foreign/python");
    let bin = tool(folder.join(".venv/bin"), "run scripts/prepare, with Python 3.11 or newer installed");
    let mut command = Command::new(bin.join("opentelemetry-instrument"));
    command.current_dir(&folder).arg(bin.join("python")).arg(script);
    command.env("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_REQUEST", "x-correlation-id");
    command.env("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_REQUEST", "x-correlation-id");
    command
}

/// A page's status and text.
pub async fn page(dashboard: &Dashboard, path: &str) -> (u16, String) {
    let answer = client().get(format!("{}{path}", dashboard.pages)).send().await.expect("the pages answer");
    (answer.status().as_u16(), answer.text().await.expect("text"))
}

/// The trace that carries a correlation ID, as OTLP/JSON, once `services` have told all of it.
pub async fn trace(dashboard: &Dashboard, correlation: &str, spans: &[&str]) -> (String, Value) {
    eventually(&format!("a trace with {spans:?}"), 30, || async {
        let (_, story) = page(dashboard, &format!("/correlations/{correlation}")).await;
        let (_, rest) = story.split_once("/traces/")?;
        let id: String = rest.chars().take_while(char::is_ascii_hexdigit).collect();
        let (status, json) = page(dashboard, &format!("/traces/{id}/otlp.json")).await;
        let json: Value = serde_json::from_str(&json).ok().filter(|_| status == 200)?;
        let names = names(&json);
        spans.iter().all(|span| names.iter().any(|name| name == span)).then_some((id, json))
    })
    .await
}

/// `service: span` of every span.
fn names(trace: &Value) -> Vec<String> {
    let mut out = Vec::new();
    for group in trace["resourceSpans"].as_array().into_iter().flatten() {
        let attributes = group["resource"]["attributes"].as_array();
        let service = attributes.into_iter().flatten().find(|attribute| attribute["key"] == "service.name");
        let service = service.and_then(|attribute| attribute["value"]["stringValue"].as_str());
        for scope in group["scopeSpans"].as_array().into_iter().flatten() {
            for span in scope["spans"].as_array().into_iter().flatten() {
                let name = span["name"].as_str().unwrap_or_default();
                out.push(format!("{}: {name}", service.unwrap_or_default()));
            }
        }
    }
    out
}
