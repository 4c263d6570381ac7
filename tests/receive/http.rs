//! OTLP over HTTP against the running server: every class of input, good and bad, and what is answered.

use std::io::Write;

use crate::common::otlp::{self, raw_request, request, span, trace_hex};
use crate::common::{self, Running, keys};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use throughline::dashboard::model::proto::{put_bytes, put_message, put_uint};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// One input and what must come of it.
struct Case {
    name: &'static str,
    content_type: &'static str,
    encoding: Option<&'static str>,
    body: Vec<u8>,
    status: u16,
    /// `rejectedSpans` of the answer.
    rejected: u64,
}

fn case(name: &'static str, content_type: &'static str, body: impl Into<Vec<u8>>, status: u16) -> Case {
    Case { name, content_type, encoding: None, body: body.into(), status, rejected: 0 }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn json_span(trace_id: &str, span_id: &str) -> Value {
    json!({ "traceId": trace_id, "spanId": span_id, "name": "by hand", "startTimeUnixNano": "1", "endTimeUnixNano": 2 })
}

fn json_request(spans: &[Value]) -> Vec<u8> {
    let resource = json!({ "attributes": [{ "key": "service.name", "value": { "stringValue": "json" } }] });
    json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "spans": spans }] }] })
        .to_string()
        .into_bytes()
}

/// A value nested in arrays `depth` times.
fn nested(depth: usize) -> Vec<u8> {
    let mut value = Vec::new();
    put_bytes(&mut value, 1, b"core");
    for _ in 0..depth {
        let mut list = Vec::new();
        put_bytes(&mut list, 1, &value);
        let mut outer = Vec::new();
        put_bytes(&mut outer, 5, &list);
        value = outer;
    }
    value
}

fn span_with_value(number: u64, value: &[u8]) -> Vec<u8> {
    let mut message = span(number, 1, "valued", 10).message();
    put_message(&mut message, 9, |out| {
        put_bytes(out, 1, b"key");
        put_bytes(out, 2, value);
    });
    message
}

fn harmless() -> Vec<Case> {
    let mut nan = Vec::new();
    throughline::dashboard::model::proto::put_fixed64(&mut nan, 4, f64::NAN.to_bits());
    let mut unknown = request("a", &[span(1, 1, "x", 10)]);
    put_bytes(&mut unknown, 99, b"from the future");
    let mut odd_times = span(2, 1, "odd", 10);
    (odd_times.start, odd_times.end) = (u64::MAX, 5);
    let mut reversed = span(3, 1, "reversed", 10);
    std::mem::swap(&mut reversed.start, &mut reversed.end);
    let mut not_text = span(4, 1, "", 10);
    not_text.name = vec![0xff, 0xfe, 0x00, b'x'];
    let many = (0..10_000).map(|n| (format!("key-{n}"), "v".to_owned())).collect();
    let many = otlp::TestSpan { attributes: many, ..span(5, 1, "many", 10) };
    vec![
        case("empty body", PROTOBUF, [], 200),
        case("empty JSON body", JSON, [], 200),
        case("{}", JSON, *b"{}", 200),
        case("unknown field", PROTOBUF, unknown, 200),
        case(
            "unknown key",
            JSON,
            br#"{"later":1,"resourceSpans":[{"scopeSpans":[{"spans":[],"x":{}}]}]}"#.to_vec(),
            200,
        ),
        case("null for a list", JSON, *br#"{"resourceSpans":null}"#, 200),
        case("NaN", PROTOBUF, raw_request("a", &[span_with_value(6, &nan)]), 200),
        case("largest time", PROTOBUF, request("a", &[odd_times]), 200),
        case("end before start", PROTOBUF, request("a", &[reversed]), 200),
        case("self-parent", PROTOBUF, request("a", &[span(7, 1, "own parent", 10).parent(1)]), 200),
        case("name that is no UTF-8", PROTOBUF, request("a", &[not_text]), 200),
        case("NUL in a text", PROTOBUF, request("a", &[span(8, 1, "a\0b", 10)]), 200),
        case("10,000 attributes", PROTOBUF, request("a", &[many]), 200),
        case(
            "1 MiB attribute",
            PROTOBUF,
            request("a", &[span(9, 1, "long", 10).with("long", &"x".repeat(1 << 20))]),
            200,
        ),
        case("nested 100 deep", PROTOBUF, raw_request("a", &[span_with_value(10, &nested(100))]), 200),
        case(
            "upper-case IDs",
            JSON,
            json_request(&[json_span(&trace_hex(11).to_uppercase(), "00000000000000AB")]),
            200,
        ),
        case("media type with charset and capitals", "Application/JSON; charset=UTF-8", *b"{}", 200),
    ]
}

fn partial() -> Vec<Case> {
    let rejecting = |name, content_type, body: Vec<u8>, rejected| Case {
        rejected,
        ..case(name, content_type, body, 200)
    };
    let broken =
        |trace_id: Vec<u8>, span_id: Vec<u8>| otlp::TestSpan { trace_id, span_id, ..span(20, 9, "bad", 5) };
    let good = span(20, 1, "good", 10);
    vec![
        rejecting(
            "zero trace ID",
            PROTOBUF,
            request("a", &[good.clone(), broken(vec![0; 16], vec![1; 8])]),
            1,
        ),
        rejecting("short trace ID", PROTOBUF, request("a", &[broken(vec![1; 8], vec![1; 8])]), 1),
        rejecting("zero span ID", PROTOBUF, request("a", &[broken(vec![1; 16], vec![0; 8])]), 1),
        rejecting(
            "long span ID",
            PROTOBUF,
            request("a", &[broken(vec![1; 16], vec![1; 9]), good.clone()]),
            1,
        ),
        rejecting(
            "no IDs, twice",
            PROTOBUF,
            request("a", &[broken(vec![], vec![]), good, broken(vec![], vec![])]),
            2,
        ),
        rejecting(
            "JSON: short and no hex",
            JSON,
            json_request(&[json_span("12", "0000000000000001"), json_span("zz", "x")]),
            2,
        ),
    ]
}

fn refused() -> Vec<Case> {
    let good = request("a", &[span(30, 1, "x", 10)]);
    let encoded = |name, encoding, body: Vec<u8>, status| Case {
        encoding: Some(encoding),
        ..case(name, PROTOBUF, body, status)
    };
    let mut wrong_type = Vec::new();
    put_uint(&mut wrong_type, 1, 7);
    let mut id_as_number = Vec::new();
    put_uint(&mut id_as_number, 1, 7);
    let deep_json = format!("{}{}", "[".repeat(129), "]".repeat(129));
    let deep_json = format!(r#"{{"resourceSpans":[],"x":{deep_json}}}"#);
    let mut by_name = json_span(&trace_hex(31), "0000000000000001");
    by_name["kind"] = json!("SPAN_KIND_SERVER");
    let zipped = gzip(&good);
    let bomb = gzip(&vec![0u8; 4 << 20]);
    vec![
        case("truncated", PROTOBUF, &good[..good.len() - 3], 400),
        case("random", PROTOBUF, (0..200u8).map(|n| n.wrapping_mul(73) | 7).collect::<Vec<_>>(), 400),
        case("wrong wire type", PROTOBUF, wrong_type, 400),
        case("trace ID as a number", PROTOBUF, raw_request("a", &[id_as_number]), 400),
        case("nested 101 deep", PROTOBUF, raw_request("a", &[span_with_value(32, &nested(101))]), 400),
        case("JSON nested 129 deep", JSON, deep_json, 400),
        case("JSON cut off", JSON, *br#"{"resourceSpans":[{"#, 400),
        case("enum by name", JSON, json_request(&[by_name]), 400),
        case("list where an object belongs", JSON, *br#"{"resourceSpans":{}}"#, 400),
        case("no media type that is known", "text/plain", good.clone(), 415),
        encoded("truncated gzip", "gzip", zipped[..zipped.len() / 2].to_vec(), 400),
        encoded("not gzip at all", "gzip", good.clone(), 400),
        encoded("not zstd at all", "zstd", good.clone(), 400),
        encoded("unknown encoding", "br", good.clone(), 415),
        encoded("gzip bomb", "gzip", bomb, 413),
        encoded("zstd bomb", "zstd", zstd::bulk::compress(&vec![0u8; 4 << 20], 1).unwrap(), 413),
        case("too large", PROTOBUF, vec![0u8; (1 << 20) + 600_000], 413),
    ]
}

fn encodings() -> Vec<Case> {
    let body = |number| request("a", &[span(number, 1, "packed", 10)]);
    let encoded = |name, encoding, body| Case { encoding: Some(encoding), ..case(name, PROTOBUF, body, 200) };
    vec![
        encoded("gzip", "gzip", gzip(&body(40))),
        encoded("zstd", "zstd", zstd::bulk::compress(&body(41), 3).unwrap()),
        encoded("deflate", "deflate", zlib(&body(42))),
        encoded("identity", "identity", body(43)),
        encoded("GZIP in capitals", "GZIP", gzip(&body(44))),
    ]
}

/// The server of this file takes at most 1.5 MiB, so that tests of limits stay small.
async fn small() -> Running {
    Running::with(|settings| settings.receive.max_request = 3 << 19).await
}

#[tokio::test]
async fn every_input_gets_its_answer_in_its_own_encoding() {
    let server = small().await;
    let client = common::client();
    let cases = harmless().into_iter().chain(partial()).chain(refused()).chain(encodings());
    for case in cases {
        let mut request = client.post(server.otlp("/v1/traces")).header("content-type", case.content_type);
        if let Some(encoding) = case.encoding {
            request = request.header("content-encoding", encoding);
        }
        let answer = request.body(case.body).send().await.expect(case.name);
        assert_eq!(answer.status().as_u16(), case.status, "{}", case.name);
        let json = !case.content_type.starts_with("application/x");
        let media_type = answer.headers()["content-type"].to_str().unwrap().to_owned();
        assert_eq!(media_type, if json { JSON } else { PROTOBUF }, "{}", case.name);
        let body = answer.bytes().await.unwrap();
        match (case.status, json) {
            (200, true) if case.rejected == 0 => assert_eq!(&body[..], b"{}", "{}", case.name),
            (200, true) => {
                let body: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(
                    body["partialSuccess"]["rejectedSpans"],
                    case.rejected.to_string(),
                    "{}",
                    case.name
                );
                assert!(!body["partialSuccess"]["errorMessage"].as_str().unwrap().is_empty());
            }
            (200, false) if case.rejected == 0 => assert!(body.is_empty(), "{}", case.name),
            (200, false) => assert_eq!(body[2..4], [0x08, case.rejected as u8], "{}: {body:?}", case.name),
            (_, true) => {
                let status: Value = serde_json::from_slice(&body).unwrap();
                assert!(
                    status["code"].is_i64() && status["message"].as_str().unwrap().len() > 5,
                    "{}",
                    case.name
                );
            }
            (_, false) => {
                assert!(body[0] == 0x08 && body[2] == 0x12, "{}: no google.rpc.Status: {body:?}", case.name)
            }
        }
    }
    server.dashboard.stop().await;
}

#[tokio::test]
async fn what_was_taken_is_kept_and_counted_exactly() {
    let server = small().await;
    let client = common::client();
    let (mut sent, mut rejected) = (0u64, 0u64);
    let plain = |case: &Case| case.encoding.is_none();
    for case in harmless().into_iter().chain(partial()).chain(refused().into_iter().filter(plain)) {
        let request = client.post(server.otlp("/v1/traces")).header("content-type", case.content_type);
        let answer = request.body(case.body).send().await.unwrap();
        if answer.status() == StatusCode::OK {
            rejected += case.rejected;
            sent += 1;
        }
    }
    assert!(sent > 20);
    let metrics = client.get(server.page("/metrics")).send().await.unwrap();
    assert!(metrics.headers()["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = metrics.text().await.unwrap();
    let total = |name: &str| -> u64 {
        text.lines()
            .filter(|line| line.starts_with(name))
            .map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap())
            .sum()
    };
    assert_eq!(total("throughline_receive_spans_rejected_total"), rejected);
    // Spans 1 to 11 and, sent three times, span 20, of which one is kept.
    let stored =
        total("throughline_receive_spans_accepted_total") - total("throughline_receive_duplicates_total");
    assert_eq!(stored, 12, "{text}");
    assert!(text.trim_end().ends_with("# EOF"));
    server.dashboard.stop().await;
}

#[tokio::test]
async fn other_methods_and_paths_say_what_to_do() {
    let server = small().await;
    let client = common::client();
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer = client.request(method, server.otlp("/v1/traces")).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.headers()["allow"]), (405, &"POST".parse().unwrap()));
    }
    let answer = client.post(server.otlp("/v2/traces")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert!(answer.text().await.unwrap().contains("/v1/traces"));
    for path in ["/v1/logs", "/v1/metrics"] {
        let answer =
            client.post(server.otlp(path)).header("content-type", JSON).body("{}").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "{}"), "{path}");
    }
    server.dashboard.stop().await;
}

#[tokio::test]
async fn a_body_without_end_is_cut_off_and_a_huge_length_is_not_waited_for() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = small().await;
    let head = "POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n";
    for (headers, chunk) in [
        ("Content-Length: 10737418240\r\n\r\n", None),
        ("Transfer-Encoding: chunked\r\n\r\n", Some(format!("10000\r\n{}\r\n", "x".repeat(0x10000)))),
    ] {
        let mut stream = tokio::net::TcpStream::connect(server.dashboard.otlp_http).await.unwrap();
        stream.write_all(format!("{head}{headers}").as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        let endless = async {
            // Bounded all the same: sixteen times the limit.
            for _ in 0..400 {
                let Some(chunk) = &chunk else { return std::future::pending().await };
                if write.write_all(chunk.as_bytes()).await.is_err() {
                    return std::future::pending().await;
                }
            }
        };
        let mut first = [0; 12];
        tokio::select! {
            answer = read.read_exact(&mut first) => { answer.expect("an answer"); }
            () = endless => panic!("the server swallowed it all"),
            () = tokio::time::sleep(std::time::Duration::from_secs(10)) => panic!("no answer"),
        }
        assert_eq!(&first, b"HTTP/1.1 413", "{headers}");
    }
    server.dashboard.stop().await;
}

#[tokio::test]
async fn browsers_may_send_only_from_the_origins_of_the_settings() {
    let preflight = async |server: &Running, origin: &str| {
        let request = common::client().request(Method::OPTIONS, server.otlp("/v1/traces"));
        let request = request.header("origin", origin).header("access-control-request-method", "POST");
        let answer =
            request.header("access-control-request-headers", "content-type,x-tenant").send().await.unwrap();
        let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        (header("access-control-allow-origin"), header("access-control-allow-headers"))
    };
    let closed = Running::start().await;
    assert_eq!(preflight(&closed, "https://shop.example").await, (None, None));
    closed.dashboard.stop().await;
    let open =
        Running::with(|settings| settings.receive.cors_origins = vec!["https://shop.example".into()]).await;
    let (origin, headers) = preflight(&open, "https://shop.example").await;
    assert_eq!(
        (origin.as_deref(), headers.as_deref()),
        (Some("https://shop.example"), Some("content-type,x-tenant"))
    );
    assert_eq!(preflight(&open, "https://other.example").await.0, None);
    let request = common::client().post(open.otlp("/v1/traces")).header("origin", "https://shop.example");
    let answer = request.header("content-type", JSON).body("{}").send().await.unwrap();
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://shop.example");
    open.dashboard.stop().await;
}

#[tokio::test]
async fn where_keys_are_set_one_for_sending_must_be_shown() {
    let server = Running::with(|settings| {
        settings.ingest_keys = keys(&["old-key", "new-key"]);
        settings.read_keys = keys(&["read-key"]);
    })
    .await;
    let client = common::client();
    for (shown, status, says) in [
        (None, 401, "no valid key"),
        (Some("Bearer wrong-k"), 401, "no valid key"),
        (Some("Bearer "), 401, "no valid key"),
        (Some("old-key"), 401, "no valid key"),
        (Some("Bearer read-key"), 403, "this key is for reading"),
        (Some("Bearer old-key"), 200, "{}"),
        (Some("bearer new-key"), 200, "{}"),
    ] {
        let mut request = client.post(server.otlp("/v1/traces")).header("content-type", JSON).body("{}");
        if let Some(shown) = shown {
            request = request.header("authorization", shown);
        }
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{shown:?}");
        assert_eq!(answer.headers().contains_key("www-authenticate"), status == 401, "{shown:?}");
        let text = answer.text().await.unwrap();
        assert!(text.contains(says), "{shown:?}: {text}");
    }
    server.dashboard.stop().await;
}
