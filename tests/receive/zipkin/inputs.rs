//! The classes of input, each with its answer.

use std::io::Write;

use serde_json::json;
use throughline::dashboard::model::proto::put_uint;

use super::{JSON, PROTOBUF, list, message, one, span, wire_list};
use crate::common::otlp::now;

/// One input, its answer's status and a part of its answer's text.
pub struct Case {
    pub name: &'static str,
    pub content_type: &'static str,
    pub encoding: Option<&'static str>,
    pub body: Vec<u8>,
    pub status: u16,
    pub says: &'static str,
}

/// A list in JSON that is taken whole.
fn json_case(name: &'static str, body: impl Into<Vec<u8>>) -> Case {
    Case { name, content_type: JSON, encoding: None, body: body.into(), status: 202, says: "" }
}
fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
/// What is taken; traces 1 to 16, of which those from 10 on bring what the answers tell.
pub fn taken() -> Vec<Case> {
    let gzipped = |body: Vec<u8>| Case { encoding: Some("gzip"), ..json_case("gzip", gzip(&body)) };
    let unknown = json!({ "later": [{}], "debug": true });
    let nulls =
        json!({ "parentId": null, "kind": null, "tags": null, "annotations": null, "remoteEndpoint": null });
    let partly = |name, body, says| Case { says, ..json_case(name, body) };
    vec![
        json_case("an empty list", *b"[]"),
        json_case("spaces around it", *b" [ ] \n"),
        json_case("unknown fields", one(1, unknown)),
        json_case("null for what is not told", one(2, nulls)),
        json_case(
            "numbers as texts",
            one(3, json!({ "timestamp": (now() / 1000).to_string(), "duration": "7" })),
        ),
        json_case("no times", one(4, json!({ "timestamp": null, "duration": null }))),
        json_case("largest times", one(5, json!({ "timestamp": u64::MAX, "duration": u64::MAX }))),
        json_case("its own parent", one(6, json!({ "parentId": "a1", "kind": "SERVER" }))),
        json_case("a tag of 1 MiB", one(7, json!({ "tags": { "long": "x".repeat(1 << 20) } }))),
        gzipped(one(8, json!({}))),
        Case {
            content_type: "Application/JSON; charset=UTF-8",
            ..json_case("with a charset", one(9, json!({})))
        },
        Case { content_type: PROTOBUF, ..json_case("protobuf", wire_list(&[message(&[0xb3; 16], &[1; 8])])) },
        partly(
            "an ID that is no hex beside a good span",
            list(&[
                span(10, json!({})),
                span(11, json!({ "traceId": "xyz" })),
                span(12, json!({ "id": "0" })),
            ]),
            "1 spans of \"frontend\": trace ID is not 16 bytes long; 1 spans of \"frontend\": span ID is all zeros",
        ),
        partly(
            "an ID that is too long",
            one(13, json!({ "id": "00000000000000001" })),
            "span ID is not 8 bytes long",
        ),
        partly("nothing told", b"[{}]".to_vec(), "1 spans of \"\": trace ID is not 16 bytes long"),
        Case {
            content_type: PROTOBUF,
            ..partly(
                "protobuf with an ID of nine bytes",
                wire_list(&[message(&[0xb4; 16], &[1; 9]), message(&[0xb4; 16], &[1; 8])]),
                "1 spans of \"\": span ID is not 8 bytes long",
            )
        },
    ]
}

/// What is refused whole. Each stands beside a span that would be taken alone.
pub fn refused() -> Vec<Case> {
    let wrong = |name, more, says| Case {
        says,
        status: 400,
        ..json_case(name, list(&[span(90, json!({})), span(90, more)]))
    };
    let body = |name, body: &[u8], says| Case { says, status: 400, ..json_case(name, body) };
    let good = one(90, json!({}));
    let zipped = gzip(&good);
    let mut cut = wire_list(&[message(&[0xb3; 16], &[2; 8])]);
    cut.pop();
    let mut number = Vec::new();
    put_uint(&mut number, 1, 7);
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    vec![
        wrong("a tag that is a number", json!({ "tags": { "a": "b", "n": 5 } }), "[1].tags.n: "),
        wrong("a tag that is null", json!({ "tags": { "n": null } }), "[1].tags.n: "),
        wrong("tags as a list", json!({ "tags": [] }), "[1].tags: "),
        wrong("a negative duration", json!({ "duration": -1 }), "[1].duration: "),
        wrong("a duration with a fraction", json!({ "duration": 1.5 }), "[1].duration: "),
        wrong("a time in words", json!({ "timestamp": "today" }), "[1].timestamp: "),
        wrong("a kind that is none", json!({ "kind": "MIDDLE" }), "[1].kind: "),
        wrong("an ID as a number", json!({ "traceId": 17 }), "[1].traceId: "),
        wrong(
            "a port out of range",
            json!({ "remoteEndpoint": { "port": 70_000 } }),
            "[1].remoteEndpoint.port: ",
        ),
        wrong("an annotation as a text", json!({ "annotations": [{}, "ws"] }), "[1].annotations[1]: "),
        wrong("a text for yes", json!({ "shared": "yes" }), "[1].shared: "),
        body("nothing", b"", "empty"),
        body("an object", b"{}", "a list of spans"),
        body("cut off", &good[..good.len() - 9], "EOF"),
        body("more behind it", b"[] []", "trailing"),
        body("no JSON", b"spans", "line 1 column 1"),
        body("null in the list", b"[null]", "[0]: "),
        body("nested 129 deep", format!(r#"[{{"x":{deep}}}]"#).as_bytes(), "nested"),
        Case { encoding: Some("gzip"), ..body("gzip cut off", &zipped[..zipped.len() / 2], "decompress") },
        Case { content_type: PROTOBUF, ..body("protobuf cut off", &cut, "after span 0") },
        Case {
            content_type: PROTOBUF,
            ..body("an ID as a number", &wire_list(&[number]), "span 0: field 1")
        },
        Case { content_type: PROTOBUF, ..body("no protobuf", &[], "empty") },
        Case {
            content_type: "text/plain",
            status: 415,
            ..body("another type", &good, "Content-Type must be")
        },
        Case { encoding: Some("br"), status: 415, ..body("another encoding", &good, "\"br\" is not known") },
        Case {
            encoding: Some("gzip"),
            status: 413,
            ..body("a bomb", &gzip(&vec![b' '; 4 << 20]), "larger than")
        },
        Case { status: 413, ..body("too large", &vec![b' '; 2 << 20], "larger than") },
    ]
}
