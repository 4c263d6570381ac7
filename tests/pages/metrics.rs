//! Metrics, from the socket to the page: what is of interest is kept and read as series, the rest is counted by name, and
//! what cannot be placed is refused exactly.

use crate::common::otlp::{self, Measure, metrics, point, raw_metrics};
use crate::common::{self, Running, keys};
use crate::process;
use serde_json::{Value, json};
use throughline::dashboard::model::proto::{put_bytes, put_fixed64, put_message, put_uint};

const JSON: &str = "application/json";
const PROTOBUF: &str = "application/x-protobuf";
const S: u64 = 1_000_000_000;

async fn post(server: &Running, content_type: &str, body: impl Into<reqwest::Body>) -> (u16, Vec<u8>) {
    let request = common::client().post(server.otlp("/v1/metrics")).header("content-type", content_type);
    let answer = request.body(body).send().await.expect("an answer");
    (answer.status().as_u16(), answer.bytes().await.expect("a body").to_vec())
}

async fn page(server: &Running, path: &str) -> (u16, String) {
    let answer = common::client().get(server.page(path)).send().await.expect("an answer");
    (answer.status().as_u16(), answer.text().await.expect("a text"))
}

async fn series(server: &Running, query: &str) -> Value {
    let (status, text) = page(server, &format!("/api/series?{query}")).await;
    assert_eq!(status, 200, "{query}: {text}");
    serde_json::from_str(&text).expect("JSON")
}

/// The number of a counter in `/metrics`, its labels included.
fn total(metrics: &str, name: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0, |number| number.parse().expect("a number"))
}

/// The same data points in JSON, as Node sends them.
fn breaker_in_json(time: u64) -> Value {
    let text = |text: &str| json!({ "stringValue": text });
    let point = |event: &str, value: u64| {
        json!({
            "attributes": [{ "key": "name", "value": text("charge") }, { "key": "event", "value": text(event) }],
            "startTimeUnixNano": (time - 60 * S).to_string(), "timeUnixNano": time.to_string(), "asInt": value,
        })
    };
    let histogram = json!({
        "attributes": [], "timeUnixNano": time.to_string(), "count": "4", "sum": 12.5, "max": 9,
        "bucketCounts": ["1", "3"], "explicitBounds": [5],
    });
    json!({ "resourceMetrics": [{
        "resource": { "attributes": [
            { "key": "service.name", "value": text("prices") },
            { "key": "service.instance.id", "value": text("prices-1") },
        ] },
        "scopeMetrics": [{ "scope": { "name": "opossum-metrics" }, "metrics": [
            { "name": "circuit", "sum": { "aggregationTemporality": 2, "isMonotonic": true,
              "dataPoints": [point("fire", 7), point("open", 1)] } },
            { "name": "circuit_perf", "unit": "ms",
              "histogram": { "aggregationTemporality": 2, "dataPoints": [histogram] } },
            { "name": "http.server.duration", "histogram": { "aggregationTemporality": 2,
              "dataPoints": [{}, { "unknown": [] }] } },
        ] }],
    }] })
}

#[tokio::test]
async fn what_is_of_interest_is_read_as_series_and_the_rest_is_said() {
    let server = Running::with(|settings| settings.receive.kept_metrics = vec!["shop.orders".into()]).await;
    let now = otlp::now() / S * S;
    let (status, body) = post(&server, JSON, breaker_in_json(now - 5 * S).to_string()).await;
    assert_eq!((status, body.as_slice()), (200, &b"{}"[..]));
    for (name, measure) in [
        ("shop.orders.open", Measure::UpDown),
        ("jvm.memory.used", Measure::Gauge),
        ("shop.basket", Measure::Gauge),
    ] {
        let points = [point(now - 20 * S, 1.0), point(now - 10 * S, 3.0)];
        assert_eq!(
            post(&server, PROTOBUF, metrics("orders", name, measure, &points)).await,
            (200, Vec::new())
        );
    }
    // Sent again as a whole, and a metric whose name is markup.
    post(&server, JSON, breaker_in_json(now - 5 * S).to_string()).await;
    let hostile = metrics("<b>x</b>", "<script>alert(1)</script>\"\\\n", Measure::Gauge, &[point(now, 1.0)]);
    post(&server, PROTOBUF, hostile).await;

    let circuit = series(&server, "name=circuit&attribute=event:open").await;
    let one = &circuit["series"][0];
    assert_eq!(circuit["series"].as_array().map(Vec::len), Some(1), "{circuit}");
    assert_eq!(
        (one["service"].as_str(), one["instance"].as_str(), one["scope"].as_str(), one["kind"].as_str()),
        (Some("prices"), Some("prices-1"), Some("opossum-metrics"), Some("counter"))
    );
    assert_eq!(
        one["samples"],
        json!([{
            "time": (now - 5 * S).to_string(), "value": 1.0, "start": (now - 65 * S).to_string(),
        }])
    );
    assert_eq!(one["growth"][0]["value"], 1.0, "its process began within the range");
    let both = series(&server, "name=circuit*&service=prices&last=5m").await;
    let names: Vec<_> = both["series"].as_array().unwrap().iter().map(|one| one["name"].as_str()).collect();
    assert_eq!(names, [Some("circuit"), Some("circuit"), Some("circuit_perf")]);
    let perf = &both["series"][2]["samples"][0];
    assert_eq!(
        (perf["value"].as_f64(), perf["sum"].as_f64(), perf["max"].as_f64()),
        (Some(4.0), Some(12.5), Some(9.0))
    );
    assert_eq!(series(&server, "name=shop.orders.open").await["series"][0]["samples"][1]["value"], 3.0);
    assert_eq!(series(&server, "name=shop.basket").await["series"], json!([]));
    let thin = series(&server, "name=jvm.memory.used&step=3600").await;
    assert_eq!(
        (&thin["step"], &thin["series"][0]["samples"][0]["value"]),
        (&json!("3600000000000"), &json!(3.0))
    );

    let (_, figures) = page(&server, "/metrics").await;
    let count = |name: &str| total(&figures, &format!("throughline_receive_{name}"));
    assert_eq!(count("metric_points_kept_total"), 7, "{figures}");
    assert_eq!(count("metric_points_passed_total{metric=\"http.server.duration\"}"), 4);
    assert_eq!(count("metric_points_passed_total{metric=\"shop.basket\"}"), 2);
    assert_eq!(count("metric_points_total{transport=\"http\"}"), 17);
    assert_eq!(count("duplicates_total"), 3);
    assert!(figures.contains("metric=\"<script>alert(1)</script>\\\"\\\\\\n\""), "{figures}");

    let (_, status) = page(&server, "/status").await;
    let status = status.replace('\u{a0}', " ");
    for shown in [
        "5 series of 4 metrics in the last hour",
        "7 points of 3 metrics",
        "http.server.duration",
        "jvm.memory.used",
        "shop.orders.open",
        "&lt;script&gt;",
    ] {
        assert!(status.contains(shown), "{shown} in {}", &status[status.find("<main").unwrap_or(0)..]);
    }
    assert!(!status.contains("<script>alert"), "escaped");
    server.dashboard.stop().await;
}

/// A request of one gauge around point messages.
fn gauge(points: &[Vec<u8>]) -> Vec<u8> {
    raw_metrics("shop", "process.x", Measure::Gauge, points)
}

fn good(time: u64) -> Vec<u8> {
    point(time, 1.0).message(Measure::Gauge)
}

#[tokio::test]
async fn bad_points_are_left_out_exactly_and_bad_requests_fail_whole() {
    let server = Running::with(|settings| {
        settings.receive.metrics_age = std::time::Duration::from_secs(86_400);
        settings.receive.max_request = 1 << 20;
    })
    .await;
    let now = otlp::now();
    let built = |fill: fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        fill(&mut out);
        out
    };
    let mut deep = Vec::new();
    for _ in 0..102 {
        let mut outer = Vec::new();
        put_message(&mut outer, 5, |out| put_bytes(out, 1, &deep));
        deep = outer;
    }
    let mut too_deep = good(now);
    put_message(&mut too_deep, 7, |out| put_bytes(out, 2, &deep));
    let mut untold = metrics("shop", "go.x", Measure::UpDown, &[point(now, 1.0), point(now + S, 2.0)]);
    // The temporality is the last field but for nothing: made unspecified.
    *untold.last_mut().expect("a byte") = 0;
    let mut whole = gauge(&[good(now)]);
    whole.truncate(whole.len() - 3);
    let cases: Vec<(&str, Vec<u8>, u16, u64)> = vec![
        ("nothing", Vec::new(), 200, 0),
        ("no time", gauge(&[good(0), good(now)]), 200, 1),
        ("older than is kept", gauge(&[good(now - 86_500 * S), good(1), good(now)]), 200, 2),
        ("a year ahead", gauge(&[good(now + 365 * 86_400 * S), good(u64::MAX)]), 200, 0),
        ("no value", gauge(&[built(|out| put_fixed64(out, 3, otlp::now()))]), 200, 1),
        ("not a number", gauge(&[point(now, f64::NAN).message(Measure::Gauge)]), 200, 0),
        ("no temporality", untold, 200, 2),
        ("an empty name", raw_metrics("shop", "", Measure::Gauge, &[good(now), Vec::new()]), 200, 0),
        (
            "ten thousand labels",
            gauge(&[{
                let mut out = good(now);
                for number in 0..10_000 {
                    put_message(&mut out, 7, |out| otlp::text_attribute(out, &format!("k{number}"), "v"));
                }
                out
            }]),
            200,
            0,
        ),
        ("cut in the middle", whole, 400, 0),
        ("a time that is a text", gauge(&[built(|out| put_bytes(out, 3, b"now"))]), 400, 0),
        ("a value that is a varint", gauge(&[built(|out| put_uint(out, 4, 1))]), 400, 0),
        ("an attribute nested too deep", gauge(&[too_deep]), 400, 0),
        ("no protobuf at all", b"\xff\xff\xff\xff".to_vec(), 400, 0),
        ("too large", vec![0x0a; 2 << 20], 413, 0),
    ];
    let mut rejected = 0;
    for (name, body, status, left_out) in cases {
        let (answered, body) = post(&server, PROTOBUF, body).await;
        assert_eq!(answered, status, "{name}");
        if status == 200 && left_out == 0 {
            assert!(body.is_empty(), "{name}: {body:?}");
        } else if status == 200 {
            assert_eq!(body[2..4], [0x08, left_out as u8], "{name}: {body:?}");
        }
        rejected += left_out;
    }
    for (name, body, status, says) in [
        ("nothing", "{}", 200, "{}"),
        (
            "time is missing",
            r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"circuit",
          "gauge":{"dataPoints":[{"asDouble":1}]}}]}]}]}"#,
            200,
            r#""rejectedDataPoints":"1""#,
        ),
        (
            "a text for a number",
            r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"circuit",
          "gauge":{"dataPoints":[{"asDouble":"x"}]}}]}]}]}"#,
            400,
            "not OTLP",
        ),
        (
            "a list for a metric",
            r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":[1]}]}]}]}"#,
            400,
            "not OTLP",
        ),
    ] {
        let (answered, body) = post(&server, JSON, body).await;
        let text = String::from_utf8(body).expect("text");
        assert_eq!(answered, status, "{name}: {text}");
        assert!(text.contains(says), "{name}: {text}");
    }
    rejected += 1;
    let (_, figures) = page(&server, "/metrics").await;
    let lines = figures.lines().filter_map(|line| {
        line.strip_prefix("throughline_receive_metric_points_rejected_total{")?.rsplit(' ').next()
    });
    assert_eq!(lines.map(|number| number.parse::<u64>().expect("a number")).sum::<u64>(), rejected);
    assert_eq!(total(&figures, "throughline_receive_metric_points_blank_total"), 1);
    let (_, status) = page(&server, "/status").await;
    assert!(status.contains("data point is older than metrics are kept"), "the page says why");
    server.dashboard.stop().await;
}

#[tokio::test]
async fn the_address_of_series_refuses_what_it_cannot_read() {
    let server = Running::with(|settings| settings.read_keys = keys(&["read-key"])).await;
    let get = async |query: &str, key: &str| {
        let request = common::client().get(server.page(&format!("/api/series{query}")));
        request
            .header("authorization", format!("Bearer {key}"))
            .send()
            .await
            .expect("an answer")
            .status()
            .as_u16()
    };
    assert_eq!(get("?name=circuit", "other").await, 401);
    let many = "name=a&".repeat(21);
    for (query, status) in [
        ("", 400),
        ("?name=", 400),
        ("?name=circuit&attribute=event", 400),
        ("?name=circuit&step=-1", 400),
        ("?name=circuit&step=soon", 400),
        ("?name=circuit&from=2026-11-23T14:00&to=2026-11-23T13:00", 400),
        ("?name=circuit%00", 400),
        (&format!("?{many}"), 400),
        ("?name=%27%20OR%201=1--&name=%25_&attribute=a:b:c", 200),
        ("?name=*&last=7d&step=31536000", 200),
    ] {
        assert_eq!(get(query, "read-key").await, status, "{query}");
    }
    server.dashboard.stop().await;
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [
        "--keep-metric",
        "shop.",
        "--keep-metric",
        "bank.",
        "--keep-metrics",
        "2d",
        "--keep-metrics-size",
        "10MB",
    ];
    let now = otlp::now();
    let mut sent = 0u64;
    for round in 0..3 {
        let dashboard = process::Dashboard::with(folder.path(), &settings);
        for _ in 0..20 {
            for name in ["shop.basket", "bank.account"] {
                let points = [point(now - 3_600 * S + sent * S, sent as f64)];
                let request = common::client().post(format!("http://{}/v1/metrics", dashboard.http));
                let request = request.header("content-type", PROTOBUF);
                let answer = request.body(metrics("shop", name, Measure::Gauge, &points)).send().await;
                assert_eq!(answer.expect("an answer").status(), 200);
            }
            sent += 1;
        }
        // Killed at once: whatever was answered is there.
        drop(dashboard);
        let dashboard = process::Dashboard::with(folder.path(), &settings);
        let read = format!("{}/api/series?name=shop.*&name=bank.*&last=6h&step=0", dashboard.pages);
        let json: Value =
            common::client().get(read).send().await.expect("an answer").json().await.expect("JSON");
        let series = json["series"].as_array().expect("a list");
        assert_eq!(series.len(), 2, "round {round}: {json}");
        for one in series {
            // The step of six hours in at most a thousand is some seconds wide.
            let last = one["samples"].as_array().and_then(|samples| samples.last()).expect("a sample");
            assert_eq!(last["value"].as_f64(), Some(sent as f64 - 1.0), "round {round}");
            let first = &one["samples"][0];
            assert_eq!(first["min"].as_f64().or(first["value"].as_f64()), Some(0.0), "round {round}");
        }
    }
}
