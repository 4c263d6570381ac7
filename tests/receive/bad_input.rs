//! Input that is right by the letter and beyond all measure: the server answers rightly, loses nothing, and its memory has
//! a bound, which is read off the process.

use crate::common::client;
use crate::common::otlp::{self, TestSpan, request, span, trace_hex};
use crate::process::Dashboard;
use throughline::dashboard::model::proto::{put_bytes, put_message};

/// What the process may have had in memory at most, in KiB: the bound of the overload test.
const MOST_KIB: u64 = 512 << 10;

/// Most memory that a process ever had, in KiB.
fn peak(dashboard: &Dashboard) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", dashboard.process.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn assert_bounded(dashboard: &Dashboard, what: &str) {
    let peak = peak(dashboard);
    assert!(peak < MOST_KIB, "{what}: {} MiB", peak >> 10);
}

/// Sends a request over HTTP; gives the status.
async fn post(dashboard: &Dashboard, content_type: &str, body: Vec<u8>) -> u16 {
    let request =
        client().post(format!("http://{}/v1/traces", dashboard.http)).header("content-type", content_type);
    request.body(body).send().await.expect("an answer").status().as_u16()
}

async fn take(dashboard: &Dashboard, body: Vec<u8>) {
    assert_eq!(post(dashboard, "application/x-protobuf", body).await, 200);
}

async fn page(dashboard: &Dashboard, path: &str) -> String {
    let answer = client().get(format!("{}{path}", dashboard.pages)).send().await.expect("the pages answer");
    assert_eq!(answer.status(), 200, "{path}");
    answer.text().await.expect("text")
}

/// Who is a span's parent in a trace of many, by number.
type Shape = fn(u64) -> Option<u64>;

const SPANS: u64 = 100_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_of_a_hundred_thousand_spans_opens_in_portions_whatever_its_shape() {
    let shapes: [(&str, Shape); 3] = [
        ("wide", |number| (number > 0).then_some(0)),
        ("a deep chain", |number| number.checked_sub(1)),
        ("a cycle", |number| Some((number + SPANS - 1) % SPANS)),
    ];
    for (trace, (name, shape)) in (1..).zip(shapes) {
        let folder = tempfile::tempdir().unwrap();
        let dashboard = Dashboard::start(folder.path());
        for first in (0..SPANS).step_by(10_000) {
            let spans: Vec<TestSpan> = (first..first + 10_000)
                .map(|number| {
                    let span = span(trace, number, &format!("step {number}"), 200_000 - number);
                    shape(number).map_or(span.clone(), |parent| span.parent(parent))
                })
                .collect();
            take(&dashboard, request("endless", &spans)).await;
        }
        for (query, shows) in [("", "step 0"), ("?row=99990", "step 99999")] {
            let html = page(&dashboard, &format!("/traces/{}{query}", trace_hex(trace))).await;
            assert!(html.contains(&format!(">{shows}</a>")), "{name}: {shows} is not on the page{query}");
            assert!(html.len() < 1 << 20, "{name}: {} bytes", html.len());
        }
        assert_bounded(&dashboard, name);
    }
}

/// A span with an array of texts: each of them is a value that the span can be found by.
fn with_values(trace: u64, values: std::ops::Range<u64>) -> Vec<u8> {
    let mut message = span(trace, 1, "many", 60_000).message();
    put_message(&mut message, 9, |out| {
        put_bytes(out, 1, b"order.id");
        put_message(out, 2, |out| {
            put_message(out, 5, |out| {
                values.for_each(|value| {
                    put_message(out, 1, |out| put_bytes(out, 1, format!("o-{value}").as_bytes()))
                });
            });
        });
    });
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn any_of_a_million_values_of_one_attribute_is_found() {
    const EACH: u64 = 100;
    let folder = tempfile::tempdir().unwrap();
    let dashboard = Dashboard::start(folder.path());
    for first in (0..10_000).step_by(500) {
        let spans: Vec<Vec<u8>> =
            (first..first + 500).map(|trace| with_values(trace, trace * EACH..(trace + 1) * EACH)).collect();
        take(&dashboard, otlp::raw_request("orders", &spans)).await;
    }
    for value in [0, 1, 123_456, 999_999] {
        let html = page(&dashboard, &format!("/traces?query=span.order.id%20%3D%20%22o-{value}%22")).await;
        let wanted = trace_hex(value / EACH);
        let mut found: Vec<&str> =
            html.split("href=\"/traces/a1a1").skip(1).map(|link| &link[..28]).collect();
        found.dedup();
        assert_eq!(found, [&wanted[4..]], "o-{value}");
    }
    assert_bounded(&dashboard, "a million values");
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_of_a_mebibyte_are_kept_whole_and_shown_in_part() {
    let folder = tempfile::tempdir().unwrap();
    let dashboard = Dashboard::start(folder.path());
    // Text that hardly compresses, different for each.
    let long = |number: u64| -> String {
        let mut state = number + 1;
        let letters = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'0' + (state >> 33) as u8 % 70)
        });
        letters.take(1 << 20).collect()
    };
    for number in 0..100 {
        take(&dashboard, request("long", &[span(number, 1, "long", 100).with("text", &long(number))])).await;
    }
    for number in [0, 50, 99] {
        let trace = trace_hex(number);
        let whole = page(&dashboard, &format!("/traces/{trace}/otlp.json")).await;
        let whole: serde_json::Value = serde_json::from_str(&whole).expect("JSON");
        let attribute = &whole["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"][0];
        assert!(attribute["value"]["stringValue"] == long(number), "trace {number} is not whole");
        for selected in ["", "?span=0000000000000002"] {
            let html = page(&dashboard, &format!("/traces/{trace}{selected}")).await;
            assert!(html.len() < 256 << 10, "trace {number}{selected}: {} bytes", html.len());
        }
    }
    assert_bounded(&dashboard, "attributes of a mebibyte");
}

/// A body that holds a number of very small things.
struct Small {
    name: &'static str,
    path: &'static str,
    content_type: &'static str,
    body: fn(usize) -> Vec<u8>,
}

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// A message with one field of bytes.
fn wrapped(field: u32, inner: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, field, inner);
    out
}

/// `text` around a list of `count` items.
fn around(text: &str, item: &str, count: usize) -> Vec<u8> {
    let list = vec![item; count].join(",");
    text.replace("LIST", &list).into_bytes()
}

fn small_things() -> Vec<Small> {
    let small = |name, path, content_type, body| Small { name, path, content_type, body };
    vec![
        small("resources", "/v1/traces", PROTOBUF, |count| [0x0a, 0].repeat(count)),
        small("scopes", "/v1/traces", PROTOBUF, |count| wrapped(1, &[0x12, 0].repeat(count))),
        small("logs", "/v1/logs", PROTOBUF, |count| wrapped(1, &wrapped(2, &[0x12, 0].repeat(count)))),
        small("spans in JSON", "/v1/traces", JSON, |count| {
            around(r#"{"resourceSpans":[{"scopeSpans":[{"spans":[LIST]}]}]}"#, "{}", count)
        }),
        small("attributes in JSON", "/v1/traces", JSON, |count| {
            let span = r#"{"traceId":"a1a1a1a1a1a1a1a10000000000000001","spanId":"00000000000000a1","attributes":[LIST]}"#;
            around(&format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#), "{}", count)
        }),
        small("logs in JSON", "/v1/logs", JSON, |count| {
            around(r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[LIST]}]}]}"#, "{}", count)
        }),
        small("Zipkin's spans", "/api/v2/spans", JSON, |count| around("[LIST]", "{}", count)),
        small("annotations", "/api/v2/spans", JSON, |count| {
            around(r#"[{"traceId":"a1","id":"a1","annotations":[LIST]}]"#, "{}", count)
        }),
        small("tags", "/api/v2/spans", JSON, |count| {
            around(r#"[{"traceId":"a2","id":"a1","tags":{LIST}}]"#, r#""":"""#, count / 4)
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_very_many_small_things_has_a_bound_in_memory_too() {
    let folder = tempfile::tempdir().unwrap();
    let dashboard = Dashboard::with(folder.path(), &["--zipkin", "127.0.0.1:0"]);
    let zipkin = dashboard.process.told("Zipkin's spans on ", 30);
    for Small { name, path, content_type, body } in small_things() {
        let at = if path.starts_with("/api") { &zipkin } else { &dashboard.http };
        let send = async |count: usize| {
            let request = client().post(format!("http://{at}{path}")).header("content-type", content_type);
            request.body(body(count)).send().await.expect("an answer")
        };
        // 20 to 60 MiB, and more than fit into memory in the form that they are looked at.
        let answer = send(11_000_000).await;
        let (status, text) = (answer.status().as_u16(), answer.text().await.expect("text"));
        if name == "tags" {
            assert_eq!(status, 202, "{text}");
        } else {
            assert!(status == 400 && text.contains("more than 524288"), "{name}: {status} {text}");
        }
        let status = send(200_000).await.status();
        assert!(status.is_success(), "{name}: {status}");
        assert_bounded(&dashboard, name);
    }
}
