//! What a body says, in tables of what may come.

use std::io::Write as _;

use prost_reflect::prost::Message as _;
use prost_reflect::prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, field_descriptor_proto,
};

use super::json::{Member, Node};
use super::*;

fn sent<'a>(content_type: &'a str, body: &'a [u8]) -> Sent<'a> {
    Sent { body, size: body.len() as u64, content_type, ..Sent::default() }
}

fn read_plain(sent: &Sent<'_>) -> Body {
    read(sent, &Schemas::default())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn members(body: &Body) -> &[Member] {
    match &body.tree.as_ref().expect("a tree").root {
        Node::Object(members) | Node::Array(members) => members,
        other => panic!("{other:?} has no members"),
    }
}

/// A descriptor set with `shop.OrderPlaced { string order_id = 1; int64 cents = 2; string api_key = 3; }`.
fn schemas() -> (tempfile::NamedTempFile, Schemas) {
    let field = |name: &str, number, kind: field_descriptor_proto::Type| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        r#type: Some(kind as i32),
        label: Some(field_descriptor_proto::Label::Optional as i32),
        ..Default::default()
    };
    let message = DescriptorProto {
        name: Some("OrderPlaced".to_owned()),
        field: vec![
            field("order_id", 1, field_descriptor_proto::Type::String),
            field("cents", 2, field_descriptor_proto::Type::Int64),
            field("api_key", 3, field_descriptor_proto::Type::String),
        ],
        ..Default::default()
    };
    let file = FileDescriptorProto {
        name: Some("shop.proto".to_owned()),
        package: Some("shop".to_owned()),
        message_type: vec![message],
        syntax: Some("proto3".to_owned()),
        ..Default::default()
    };
    let mut kept = tempfile::NamedTempFile::new().unwrap();
    kept.write_all(&FileDescriptorSet { file: vec![file] }.encode_to_vec()).unwrap();
    let schemas = Schemas::read(&[kept.path()]).unwrap();
    (kept, schemas)
}

#[test]
fn json_is_shown_as_it_was_sent_but_for_its_secrets() {
    let text = br#"{"total": 248.90, "id":12345678901234567890123, "cardNumber":"4242424242424242",
        "a":1,"a":2, "key":{"password":{"x":1,"y":2}}, "note":"Bearer abcdefghijkl", "e":"\u00e9"}"#;
    let body = read_plain(&sent("application/json", text));
    let of = |at: usize| (members(&body)[at].key.clone().unwrap(), members(&body)[at].value.clone());
    assert_eq!(of(0), ("\"total\"".into(), Node::Number("248.90".into())), "all digits");
    assert_eq!(of(1).1, Node::Number("12345678901234567890123".into()));
    assert_eq!(of(2).1, Node::Masked("16 characters".into()));
    assert_eq!((of(3).0, of(4).0), ("\"a\"".into(), "\"a\"".into()), "both of a key that came twice");
    let Node::Object(key) = of(5).1 else { panic!("an object") };
    assert_eq!(key[0].value, Node::Masked("2 fields".into()));
    assert_eq!(of(6).1, Node::Text("\"Bearer •••\"".into()));
    assert_eq!(of(7).1, Node::Text("\"\\u00e9\"".into()));
    assert_eq!(body.masked, 3);
    let shown = body.text.clone().unwrap();
    assert!(!shown.contains("4242") && !shown.contains("abcdefgh") && shown.contains("248.90"), "{shown}");
    let bytes = body.hex.clone().unwrap();
    assert!(!bytes.lines.iter().any(|line| line.signs.contains("4242")), "the bytes do not show it either");
    let revealed = read_plain(&Sent { reveal: true, ..sent("application/json", text) });
    assert_eq!((revealed.masked, revealed.text.unwrap().as_bytes()), (0, &text[..]));
}

#[test]
fn every_body_is_shown_somehow_and_says_why_not_better() {
    let gz = gzip(br#"{"a":1}"#);
    let deep = "[".repeat(200);
    let bomb = gzip(&vec![b' '; 3 << 20]);
    for (name, sent, forms, trouble) in [
        ("nothing", sent("application/json", b""), "text,hex", "EOF"),
        ("no JSON", sent("application/json", b"{oops"), "text,hex", "It is no JSON"),
        ("too deep", sent("application/json", deep.as_bytes()), "text,hex", "more than 128 deep"),
        ("no content type", sent("", b"{\"a\":1}"), "json,text,hex", ""),
        ("text that begins as JSON", sent("", b"[warn] a"), "text,hex", ""),
        ("a scalar", sent("application/json", b"7"), "json,text,hex", ""),
        ("bytes", sent("application/octet-stream", b"\x00\x01\xff"), "hex", ""),
        ("bytes said to be text", sent("text/plain", b"abc\xff"), "hex", "byte 3 is no UTF-8"),
        ("latin", sent("text/plain; charset=ISO-8859-1", b"gr\xf6\xdfe"), "text,hex", ""),
        ("utf-16", sent("text/plain; charset=utf-16", b"\xff\xfea\0b\0"), "text,hex", ""),
        ("gzip", Sent { content_encoding: "gzip", ..sent("application/json", &gz) }, "json,text,hex", ""),
        ("gzip unsaid", sent("", &gz), "json,text,hex", ""),
        (
            "gzip that is none",
            Sent { content_encoding: "gzip", ..sent("", b"{}") },
            "json,text,hex",
            "cannot be inflated",
        ),
        ("a bomb", Sent { content_encoding: "gzip", ..sent("text/plain", &bomb) }, "text,hex", ""),
        ("brotli", Sent { content_encoding: "br", ..sent("", b"\x01") }, "hex", "not read here"),
        ("no schema", sent("application/x-protobuf", b"\x0a\x01a"), "hex", "--descriptor-set FILE"),
    ] {
        let body = read_plain(&sent);
        let shown: Vec<_> = body.forms().iter().map(|form| form.word()).collect();
        assert_eq!(shown.join(","), forms, "{name}");
        let troubles = body.troubles.join(" ");
        assert!(
            troubles.contains(trouble) && troubles.is_empty() == trouble.is_empty(),
            "{name}: {troubles}"
        );
    }
    let whole = |body: &Body| match body.steps[0] {
        Step::Inflated { whole, to, .. } => (whole, to),
        ref other => panic!("{other:?}"),
    };
    assert_eq!(whole(&read_plain(&sent("", &gz))), (true, 7));
    assert_eq!(whole(&read_plain(&sent("", &bomb))), (false, inflate::MOST));
}

#[test]
fn the_beginning_of_a_body_is_read_as_far_as_it_goes() {
    let whole = br#"{"id":"ord_1","password":"hunter2hunter2","items":[{"n":1},{"n":2}]}"#;
    for length in 1..whole.len() {
        let cut = Sent { size: whole.len() as u64, ..sent("application/json", &whole[..length]) };
        let body = read_plain(&cut);
        assert_eq!(body.cut, Some((length as u64, whole.len() as u64)));
        assert!(body.tree.is_some(), "at {length}: {:?}", body.troubles);
        assert!(!body.text.unwrap().contains("hunt"), "at {length}");
    }
    let gz = gzip(whole);
    let cut = Sent { size: gz.len() as u64, ..sent("application/json", &gz[..gz.len() - 9]) };
    let body = read_plain(&cut);
    assert!(body.text.is_some(), "{body:?}");
    // A sign of three bytes, cut in its middle.
    let body = read_plain(&Sent { size: 11, ..sent("text/plain", &"größe €".as_bytes()[..9]) });
    assert_eq!(body.text.as_deref(), Some("größe "));
}

#[test]
fn large_bodies_are_bounded() {
    let many = format!("[{}1]", "{\"a\":[1,2,3]},".repeat(20_000));
    let body = read_plain(&sent("application/json", many.as_bytes()));
    let tree = body.tree.unwrap();
    assert!(tree.nodes <= json::MOST_NODES + 8 && tree.left > 10_000, "{} and {}", tree.nodes, tree.left);
    assert_eq!((body.text.unwrap().len(), body.text_left), (MOST_TEXT, many.len() - MOST_TEXT));
    let hex = body.hex.unwrap();
    assert_eq!((hex.lines.len() * 16, hex.left), (hex::MOST, many.len() - hex::MOST));
}

#[test]
fn events_are_recognised_in_body_and_headers() {
    let structured = br#"{"specversion":"1.0","id":"e1","source":"/shop","type":"order.placed","datacontenttype":"application/json","data_base64":"eyJhIjoxfQ=="}"#;
    let body = read_plain(&sent("application/cloudevents+json", structured));
    let event = body.event.clone().expect("an event");
    assert_eq!(
        (event.mode, event.id.as_str(), event.kind.as_str()),
        (Mode::Structured, "e1", "order.placed")
    );
    assert_eq!(body.steps, [Step::CloudEvent(Mode::Structured), Step::Data64]);
    assert_eq!(members(&body)[0].key.as_deref(), Some("\"a\""));
    for prefix in ["cloudEvents:", "cloudEvents_", "ce-", "ce_"] {
        let headers: Vec<_> = [("specversion", "1.0"), ("id", "e2"), ("source", "/s"), ("type", "t")]
            .map(|(key, value)| (format!("{prefix}{key}"), Value::Text(value.to_owned())))
            .into();
        let body = read_plain(&Sent { headers: &headers, ..sent("application/json", b"{}") });
        let event = body.event.expect(prefix);
        assert_eq!((event.mode, event.id.as_str(), event.kind.as_str()), (Mode::Binary, "e2", "t"));
    }
    let plain = read_plain(&sent("application/json", br#"{"specversion":"1.0"}"#));
    assert_eq!(plain.event, None);
}

#[test]
fn protocol_buffers_are_decoded_by_descriptor_sets() {
    let (_file, schemas) = schemas();
    let bytes = b"\x0a\x05ord_1\x10\x89\x06\x1a\x06s3cret";
    for sent in [
        Sent { kind: "order.placed", ..sent("application/x-protobuf", bytes) },
        Sent { kind: "shop.OrderPlaced", ..sent("", bytes) },
        sent("application/protobuf; proto=shop.OrderPlaced", bytes),
        Sent {
            headers: &[("X-Protobuf-Type".to_owned(), Value::Text("shop.OrderPlaced".to_owned()))],
            ..sent("application/x-protobuf", bytes)
        },
    ] {
        let body = read(&sent, &schemas);
        assert_eq!(body.steps, [Step::Protobuf("shop.OrderPlaced".into())], "{sent:?} {:?}", body.troubles);
        let text = body.text.unwrap();
        assert!(text.contains("ord_1") && text.contains("777") && !text.contains("s3cret"), "{text}");
        assert_eq!((body.masked, body.hex), (1, None), "its bytes would show the key");
    }
    for (kind, bytes, trouble) in [
        ("order.placed", &b"\x0a\x7fshort"[..], "cannot be decoded as shop.OrderPlaced"),
        ("order.placed", b"\x7a\x01a", "none of its fields is known"),
        ("user.made", b"\x0a\x01a", "None of the 1 messages"),
        ("", b"\x0a\x01a", "nothing says which message"),
    ] {
        let body = read(&Sent { kind, ..sent("application/x-protobuf", bytes) }, &schemas);
        assert!(body.troubles.join(" ").contains(trouble), "{kind}: {:?}", body.troubles);
        assert!(body.hex.is_some(), "{kind}");
    }
    let no_set = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(no_set.path(), b"\xff\xff").unwrap();
    for file in [no_set.path(), std::path::Path::new("/nowhere.bin")] {
        let error = Schemas::read(&[file]).unwrap_err().to_string();
        assert!(error.starts_with("--descriptor-set (THROUGHLINE_DESCRIPTOR_SET)"), "{error}");
    }
}

#[test]
fn secrets_in_texts_and_bytes_are_masked() {
    let body = read_plain(&sent("application/x-www-form-urlencoded", b"user=a&password=hunter2"));
    assert_eq!((body.text.as_deref(), body.masked), (Some("user=a&password=•••"), 1));
    let body = read_plain(&sent("", b"\x00\xffAuthorization: Bearer abcdefghijkl"));
    assert_eq!((&body.text, &body.hex), (&None, &None));
    assert!(body.troubles[0].contains("secret"));
    let body = read_plain(&sent("text/plain", "a  long\ntext \u{202e}of words".as_bytes()));
    assert_eq!(body.preview(11), "a long text…");
}
