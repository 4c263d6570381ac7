//! What becomes of a span: every field has its place, nothing is made up, two spans of one ID stay two.

use serde_json::{Value, json};
use throughline::dashboard::model::proto::{put_bytes, put_fixed64, put_message, put_uint};

use super::{JSON, PROTOBUF, list, server, span, wire_list};
use crate::common::otlp::now;
use crate::common::{self, Running};

/// Sends a list and gives the trace as it can be downloaded, one list of (service, scope, span) in time order.
async fn through(
    server: &Running,
    content_type: &str,
    body: Vec<u8>,
    trace: &str,
) -> Vec<(String, Value, Value)> {
    let client = common::client();
    let request = client.post(server.zipkin("/api/v2/spans")).header("content-type", content_type);
    let answer = request.body(body).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (202, ""));
    let answer = client.get(server.page(&format!("/traces/{trace}/otlp.json"))).send().await.unwrap();
    assert_eq!(answer.status(), 200, "found as soon as it was acknowledged");
    let json: Value = answer.json().await.unwrap();
    let list = |of: &Value, key: &str| of[key].as_array().expect(key).clone();
    let mut spans = Vec::new();
    for group in list(&json, "resourceSpans") {
        let service = plain(&group["resource"])["service.name"].as_str().unwrap_or_default().to_owned();
        for scope in list(&group, "scopeSpans") {
            let all = list(&scope, "spans").into_iter();
            spans.extend(all.map(|span| (service.clone(), scope["scope"].clone(), span)));
        }
    }
    spans.sort_by_key(|(_, _, span)| span["startTimeUnixNano"].as_str().unwrap().parse::<u64>().unwrap());
    spans
}

/// Attributes of something as one object of plain values.
fn plain(of: &Value) -> Value {
    let entry = |one: &Value| {
        let value = one["value"].as_object().unwrap().values().next().cloned().unwrap_or_default();
        (one["key"].as_str().unwrap().to_owned(), value)
    };
    of["attributes"].as_array().unwrap().iter().map(entry).collect()
}

const TRACE: &str = "463ac35c9f6413ad48485a3953bb6124";
/// µs since the epoch.
const START: u64 = 1_790_000_000_123_456;

/// A span with every field, as JSON.
fn full() -> Value {
    json!({
        "traceId": TRACE.to_uppercase(), "id": "a2fb4a1d1a96d312", "parentId": "0020000000000001",
        "kind": "CLIENT", "name": "get /pets", "timestamp": START, "duration": 1_431, "debug": true,
        "localEndpoint": { "serviceName": "shop", "ipv4": "192.168.99.1", "port": 3306 },
        "remoteEndpoint": { "serviceName": "pets", "ipv6": "2001:db8::c001", "port": 9000 },
        "annotations": [
            { "timestamp": START + 700, "value": "ws" },
            { "timestamp": START + 300, "value": "\"exception\": {\"exception.type\": \"Broken\", \"n\": 2, \"f\": 0.5}" },
            { "timestamp": START + 400, "value": "{\"late\": {\"again\": true}}" },
            { "timestamp": START + 500, "value": "{\"a\": 1}" },
        ],
        "tags": {
            "http.path": "/pets", "correlation.id": "order-42", "error": "no pets left",
            "otel.status_code": "ERROR", "otel.scope.name": "pets-client", "otel.scope.version": "1.2",
            "otel.library.name": "pets-client", "otel.library.version": "1.2",
        },
    })
}

/// The same in protobuf.
fn full_message() -> Vec<u8> {
    let bytes = |id: u128, length: usize| id.to_be_bytes()[16 - length..].to_vec();
    let full = full();
    let text = |value: &Value| value.as_str().unwrap().as_bytes().to_vec();
    let mut out = Vec::new();
    put_bytes(&mut out, 1, &bytes(0x463a_c35c_9f64_13ad_4848_5a39_53bb_6124, 16));
    put_bytes(&mut out, 2, &bytes(0x0020_0000_0000_0001, 8));
    put_bytes(&mut out, 3, &bytes(0xa2fb_4a1d_1a96_d312, 8));
    put_uint(&mut out, 4, 1);
    put_bytes(&mut out, 5, b"get /pets");
    put_fixed64(&mut out, 6, START);
    put_uint(&mut out, 7, 1_431);
    put_message(&mut out, 8, |out| {
        put_bytes(out, 1, b"shop");
        put_bytes(out, 2, &[192, 168, 99, 1]);
        put_uint(out, 4, 3306);
    });
    put_message(&mut out, 9, |out| {
        put_bytes(out, 1, b"pets");
        put_bytes(out, 3, &bytes(0x2001_0db8_0000_0000_0000_0000_0000_c001, 16));
        put_uint(out, 4, 9000);
    });
    for annotation in full["annotations"].as_array().unwrap() {
        put_message(&mut out, 10, |out| {
            put_fixed64(out, 1, annotation["timestamp"].as_u64().unwrap());
            put_bytes(out, 2, &text(&annotation["value"]));
        });
    }
    for (key, value) in full["tags"].as_object().unwrap() {
        put_message(&mut out, 11, |out| {
            put_bytes(out, 1, key.as_bytes());
            put_bytes(out, 2, &text(value));
        });
    }
    put_uint(&mut out, 12, 1);
    out
}

#[tokio::test]
async fn every_field_of_a_span_has_its_place_in_either_encoding() {
    for (content_type, body) in [(JSON, list(&[full()])), (PROTOBUF, wire_list(&[full_message()]))] {
        let server = server().await;
        let spans = through(&server, content_type, body, TRACE).await;
        let [(service, scope, span)] = spans.as_slice() else { panic!("one span, not {spans:?}") };
        assert_eq!(service, "shop", "{content_type}");
        assert_eq!((&scope["name"], &scope["version"]), (&json!("pets-client"), &json!("1.2")));
        let told = |key: &str| span[key].as_str().unwrap_or_default().to_owned();
        assert_eq!(told("traceId"), TRACE);
        assert_eq!(
            (told("spanId").as_str(), told("parentSpanId").as_str()),
            ("a2fb4a1d1a96d312", "0020000000000001")
        );
        assert_eq!((told("name").as_str(), &span["kind"]), ("get /pets", &json!(3)));
        assert_eq!(told("startTimeUnixNano"), (START * 1000).to_string());
        assert_eq!(told("endTimeUnixNano"), ((START + 1_431) * 1000).to_string());
        assert_eq!(span["status"], json!({ "code": 2, "message": "no pets left" }));
        let expected = json!({
            "network.peer.address": "2001:db8::c001", "network.peer.port": "9000", "peer.service": "pets",
            "network.local.address": "192.168.99.1", "network.local.port": "3306",
            "http.path": "/pets", "correlation.id": "order-42",
        });
        assert_eq!(plain(span), expected);
        let events: Vec<_> = span["events"].as_array().unwrap().iter().collect();
        let seen: Vec<_> = events
            .iter()
            .map(|event| {
                let time: u64 = event["timeUnixNano"].as_str().unwrap().parse().unwrap();
                (time / 1000 - START, event["name"].as_str().unwrap(), plain(event))
            })
            .collect();
        let expected = [
            (300, "exception", json!({ "exception.type": "Broken", "n": "2", "f": 0.5 })),
            (400, "late", json!({ "again": true })),
            (500, "{\"a\": 1}", json!({})),
            (700, "ws", json!({})),
        ];
        assert_eq!(seen, expected);
        let story = common::client().get(server.page("/correlations/order-42")).send().await.unwrap();
        assert!(story.text().await.unwrap().contains("no pets left"), "found by the ID that a tag carries");
        server.dashboard.stop().await;
    }
}

#[tokio::test]
async fn what_is_not_told_is_not_made_up() {
    let server = server().await;
    let ws = |offset: u64| json!({ "timestamp": START + offset, "value": "ws" });
    // A tag or times, and then: status, start and end in µs.
    let cases = [
        (json!({ "tags": { "error": "true" } }), json!({ "code": 2, "message": "" }), START, START + 20_000),
        (json!({ "tags": { "error": "" } }), json!({ "code": 2, "message": "" }), START, START + 20_000),
        (json!({ "tags": { "error": "false" } }), json!({}), START, START + 20_000),
        (json!({ "tags": { "otel.status_code": "OK" } }), json!({ "code": 1 }), START, START + 20_000),
        (
            json!({ "tags": { "otel.status_code": "ERROR" } }),
            json!({ "code": 2, "message": "" }),
            START,
            START + 20_000,
        ),
        (json!({ "duration": null }), json!({}), START, 0),
        (json!({ "duration": 0 }), json!({}), START, 0),
        (json!({ "timestamp": null, "annotations": [ws(9), ws(4)] }), json!({}), START + 4, START + 20_004),
        (json!({ "timestamp": 0, "duration": null }), json!({}), 0, 0),
    ];
    for (number, (more, status, start, end)) in (100..).zip(cases) {
        let mut sent = span(number, json!({ "timestamp": START }));
        more.as_object().unwrap().iter().for_each(|(key, value)| sent[key] = value.clone());
        let trace = sent["traceId"].as_str().unwrap().to_owned();
        let spans = through(&server, JSON, list(&[sent]), &trace).await;
        let [(service, _, span)] = spans.as_slice() else { panic!("one span, not {spans:?}") };
        assert_eq!((service.as_str(), &span["kind"]), ("frontend", &json!(1)), "{more}");
        let told = |key: &str| span[key].as_str().unwrap().parse::<u64>().unwrap() / 1000;
        assert_eq!((told("startTimeUnixNano"), told("endTimeUnixNano")), (start, end), "{more}");
        let code =
            |status: &Value| (status["code"].clone(), status["message"].as_str().unwrap_or("").to_owned());
        assert_eq!(code(&span["status"]), code(&status), "{more}");
        assert_eq!(
            plain(span).get("error"),
            more["tags"].get("error").filter(|told| **told == "false"),
            "{more}"
        );
    }
    server.dashboard.stop().await;
}

#[tokio::test]
async fn client_and_server_of_one_id_stand_under_each_other_in_whichever_order_they_come() {
    for order in [[0, 1, 2], [2, 1, 0]] {
        let server = server().await;
        let at = now() / 1000 - 1_000_000;
        let of = |service: &str, more: Value| {
            let mut span =
                json!({ "traceId": "a3ce929d0e0e4736", "localEndpoint": { "serviceName": service } });
            more.as_object().unwrap().iter().for_each(|(key, value)| span[key] = value.clone());
            span
        };
        let spans = [
            of(
                "shop",
                json!({ "id": "a1", "kind": "CLIENT", "name": "call pets", "timestamp": at, "duration": 90_000 }),
            ),
            of(
                "pets",
                json!({
                    "id": "a1", "kind": "SERVER", "name": "answer", "timestamp": at + 9_000, "duration": 70_000, "shared": true
                }),
            ),
            of(
                "pets",
                json!({ "id": "b2", "parentId": "a1", "name": "count", "timestamp": at + 20_000, "duration": 9_000 }),
            ),
        ];
        for index in order {
            let trace = "0000000000000000a3ce929d0e0e4736";
            through(&server, JSON, list(&[spans[index].clone()]), trace).await;
        }
        // A 64-bit ID is found as it was written and with the zeros before it.
        for trace in ["a3ce929d0e0e4736", "0000000000000000a3ce929d0e0e4736"] {
            let page =
                common::client().get(server.page(&format!("/traces/{trace}?fold=off"))).send().await.unwrap();
            let html = page.text().await.unwrap();
            let rows: Vec<_> = html.split("aria-level=\"").skip(1).collect();
            let level = |name: &str| {
                let row = rows.iter().find(|row| row.contains(&format!(">{name}</a>")));
                row.unwrap_or_else(|| panic!("no row {name} in {html}")).split('"').next().unwrap().to_owned()
            };
            assert_eq!(["call pets", "answer", "count"].map(level), ["1", "2", "3"], "{order:?}");
            assert_eq!(rows.len(), 3, "{order:?}");
        }
        server.dashboard.stop().await;
    }
}
