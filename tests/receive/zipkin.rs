//! Zipkin's spans against the running server: every class of input and its answer, and what becomes of a span.

mod inputs;
mod mapping;

use crate::common::otlp::now;
use crate::common::{self, Running, eventually, keys};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::ConnectOptions as _;
use throughline::dashboard::model::proto::{put_bytes, put_fixed64, put_uint};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";
/// A server that takes Zipkin's spans, of 1.5 MiB at most, so that tests of limits stay small.
async fn server() -> Running {
    Running::with(|settings| {
        settings.zipkin = Some("127.0.0.1:0".parse().expect("an address"));
        settings.receive.max_request = 3 << 19;
    })
    .await
}

/// A span of a trace by number with further fields.
fn span(trace: u64, more: Value) -> Value {
    let mut span = json!({
        "traceId": format!("{:016x}{trace:016x}", 0xb3_u64), "id": "00000000000000a1", "name": "get",
        "timestamp": now() / 1000 - 1_000_000, "duration": 20_000, "localEndpoint": { "serviceName": "frontend" },
    });
    more.as_object().expect("an object").iter().for_each(|(key, value)| span[key] = value.clone());
    span
}

fn list(spans: &[Value]) -> Vec<u8> {
    Value::from(spans).to_string().into_bytes()
}

fn one(trace: u64, more: Value) -> Vec<u8> {
    list(&[span(trace, more)])
}
/// The bytes of a `Span` of `zipkin.proto` with IDs of any length.
fn message(trace_id: &[u8], id: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, trace_id);
    put_bytes(&mut out, 3, id);
    put_fixed64(&mut out, 6, now() / 1000);
    put_uint(&mut out, 7, 5_000);
    out
}

/// A `ListOfSpans`.
fn wire_list(spans: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    spans.iter().for_each(|span| put_bytes(&mut out, 1, span));
    out
}
#[tokio::test]
async fn every_input_gets_its_answer_and_is_counted() {
    let server = server().await;
    let client = common::client();
    let (mut ok, mut partial) = (0, 0);
    for case in inputs::taken().into_iter().chain(inputs::refused()) {
        let mut request =
            client.post(server.zipkin("/api/v2/spans")).header("content-type", case.content_type);
        if let Some(encoding) = case.encoding {
            request = request.header("content-encoding", encoding);
        }
        let answer = request.body(case.body).send().await.expect(case.name);
        assert_eq!(answer.status().as_u16(), case.status, "{}", case.name);
        let text = answer.text().await.unwrap();
        assert!(text.contains(case.says), "{}: {text}", case.name);
        if case.status == 202 {
            assert_eq!(text.is_empty(), case.says.is_empty(), "{}: {text}", case.name);
            *(if text.is_empty() { &mut ok } else { &mut partial }) += 1;
        }
    }
    let metrics = client.get(server.page("/metrics")).send().await.unwrap().text().await.unwrap();
    let figure = |name: &str| -> u64 {
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{name} is not in {metrics}")).trim().parse().unwrap()
    };
    let requests = |outcome| {
        figure(&format!(
            "throughline_receive_requests_total{{transport=\"zipkin\",signal=\"traces\",outcome=\"{outcome}\"}}"
        ))
    };
    assert_eq!((requests("ok"), requests("partial")), (ok, partial));
    assert_eq!((requests("malformed"), requests("too_large")), (24, 2));
    // Each accepted list brings one span but the two that are empty; each taken in part one, or none where all was wrong.
    assert_eq!(
        figure("throughline_receive_spans_accepted_total{transport=\"zipkin\"}"),
        ok - 2 + partial - 2
    );
    let rejected =
        |reason| figure(&format!("throughline_receive_spans_rejected_total{{reason=\"{reason}\"}}"));
    let rejected = ["trace_id_length", "span_id_length", "span_id_zero"].map(rejected);
    assert_eq!(rejected, [2, 2, 1]);
    let status = client.get(server.page("/status")).send().await.unwrap().text().await.unwrap();
    assert!(status.contains(&format!("Zipkin {}", server.dashboard.zipkin.unwrap())), "{status}");
    server.dashboard.stop().await;
}

#[tokio::test]
async fn keys_methods_and_paths_are_answered_as_by_the_other_receivers() {
    let server = Running::with(|settings| {
        settings.zipkin = Some("127.0.0.1:0".parse().expect("an address"));
        settings.receive.cors_origins = vec!["https://shop.example".into()];
        settings.ingest_keys = keys(&["ingest-key"]);
        settings.read_keys = keys(&["read-key"]);
    })
    .await;
    let client = common::client();
    let cases = [
        (None, 401, "no valid key"),
        (Some("Bearer read-key"), 403, "this key is for reading"),
        (Some("Bearer ingest-key"), 202, ""),
    ];
    for (shown, status, says) in cases {
        let mut request =
            client.post(server.zipkin("/api/v2/spans")).body("[]").header("origin", "https://shop.example");
        if let Some(shown) = shown {
            request = request.header("authorization", shown);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{shown:?}");
        assert_eq!(answer.headers().contains_key("www-authenticate"), status == 401, "{shown:?}");
        assert_eq!(answer.headers()["access-control-allow-origin"], "https://shop.example");
        assert!(answer.text().await.unwrap().contains(says), "{shown:?}");
    }
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer = client.request(method, server.zipkin("/api/v2/spans")).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["allow"]), (405, &"POST".parse().unwrap()));
    }
    for path in ["/api/v1/spans", "/v1/traces", "/"] {
        let answer = client.post(server.zipkin(path)).body("[]").send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 404, "{path}");
        assert!(answer.text().await.unwrap().contains("/api/v2/spans"), "{path}");
    }
    server.dashboard.stop().await;
}

#[tokio::test]
async fn behind_a_locked_store_the_sender_is_told_when_to_come_again() {
    let server = server().await;
    let send = async || {
        let request = common::client().post(server.zipkin("/api/v2/spans"));
        request.body(one(1, json!({}))).send().await.unwrap()
    };
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(server.folder.path().join("store.db"));
    let mut connection = options.connect().await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut connection).await.unwrap();
    let answer = send().await;
    assert_eq!((answer.status().as_u16(), &answer.headers()["retry-after"]), (503, &"1".parse().unwrap()));
    sqlx::query("ROLLBACK").execute(&mut connection).await.unwrap();
    eventually("it is taken again", 20, async || (send().await.status() == 202).then_some(())).await;
    server.dashboard.stop().await;
}
