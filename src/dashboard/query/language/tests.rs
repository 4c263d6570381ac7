//! The language as a whole: read, written, judged, planned.

use super::tree::Spans;
use super::*;
use crate::dashboard::fixture::build::NOW;
use crate::dashboard::fixture::{reader, shop};

fn query(text: &str) -> Query {
    read(text).unwrap_or_else(|error| panic!("{text}: {error} at {}", error.column))
}

#[test]
fn what_is_written_is_read_again() {
    for text in [
        "service.name = payments and status = error and duration > 250ms",
        r#"name = "GET /a \"b\" \\" or kind = server"#,
        "not (status = error or duration <= 1500us) and .http.route != nil",
        "resource.host.name =~ \"db-[0-9]+\" and span.retry = true and span.ratio < 0.5",
        r#"span."a key with = in it" = "x""#,
        "{ service.name = gateway } >> { status = error }",
        "{ name = a } && ({ name = b } || { name = c }) ~ { }",
        "({ name = a } || { name = b }) > { event:name = exception }",
        "trace:duration >= 2s and trace:errors = 0 and rootName = \"GET /\" and correlation.id = abc-1",
        "http.request.method = GET and url.path = /users/{id}",
        "a.b = 1 and (c.d = 2 and e.f = 3)",
        "span.code = \"404\" and span.other = 404 and link.x = nil",
    ] {
        let tree = query(text);
        let written = tree.to_string();
        assert_eq!(query(&written), tree, "{text} written as {written}");
    }
}

#[test]
fn a_bad_query_says_where() {
    for (text, column) in [
        ("", 1),
        ("service.name", 13),
        ("name", 5),
        ("service.name =", 15),
        ("service.name payments", 14),
        ("= payments", 1),
        ("color = red", 1),
        ("status = maybe", 10),
        ("status > error", 8),
        ("kind = servant", 8),
        ("duration > 250", 12),
        ("name = a name = b", 10),
        ("name = \"a", 8),
        ("status = ok and", 16),
        ("name =~ \"(\"", 9),
        ("name =~ \"(a{1000}){1000}\"", 9),
        ("{ name = a", 11),
        ("{ name = a } { name = b }", 14),
        ("{ name = a } >", 15),
        ("name = a }", 10),
        ("(name = a", 10),
        ("{ name = a } | count() > 2", 14),
        ("duration > nil", 10),
        ("trace:spans = many", 15),
    ] {
        assert_eq!(read(text).expect_err(text).column, column, "{text}");
    }
    let deep = format!("{}name = a{}", "(".repeat(500), ")".repeat(500));
    assert!(read(&deep).unwrap_err().what.contains("nested"));
    let long = vec!["name = a"; 150].join(" or ");
    assert!(read(&long).unwrap_err().what.contains("at most 100"));
    assert!(read(&"x".repeat(3_000)).is_err());
}

/// The shop's declined order: what of its first trace holds.
#[test]
fn a_trace_is_judged() {
    let trace = shop::story(NOW).into_iter().next().expect("a first trace");
    let summary = reader::summary(&trace);
    let sample = trace.spans.iter().find(|span| span.attribute("http.request.method").is_some());
    assert!(sample.is_some(), "the shop speaks HTTP");
    for (text, wanted) in [
        ("service.name = payments", true),
        ("service.name = nobody", false),
        ("service.name != payments", true),
        ("http.request.method = POST", true),
        ("span.http.request.method = \"POST\"", true),
        ("span.http.request.method =~ P.ST", true),
        ("span.http.request.method =~ P", false),
        ("span.http.request.method = GET and service.name = gateway", false),
        ("resource.service.name =~ \"pay.*\"", true),
        ("resource.http.request.method = POST", false),
        ("http.response.status_code >= 400", true),
        ("http.response.status_code = 402", true),
        ("http.response.status_code > 1000000", false),
        ("status = error and service.name = payments", true),
        ("not (service.name = payments)", true),
        ("no.such.key = nil", true),
        ("no.such.key != nil", false),
        ("no.such.key != x", false),
        ("kind = server and service.name = gateway", true),
        ("duration > 1h", false),
        ("trace:spans > 3 and trace:errors > 0", true),
        ("{ service.name = gateway } && { service.name = payments }", true),
        ("{ service.name = gateway } && { service.name = nobody }", false),
        ("{ service.name = gateway } || { service.name = nobody }", true),
        ("{ service.name = gateway } >> { service.name = payments }", true),
        ("{ service.name = payments } >> { service.name = gateway }", false),
        ("{ service.name = gateway and kind = server } > { kind = client }", true),
        ("{ } ~ { }", true),
        ("{ }", true),
    ] {
        let tree = query(text);
        assert_eq!(judge::matches(&tree.spans, &summary, &trace), wanted, "{text}");
        // What is told from the summary alone is never at odds with the spans.
        match plan::of_summary(&tree.spans, &summary) {
            Verdict::Open => {}
            verdict => assert_eq!(verdict, Verdict::of(wanted), "{text}"),
        }
    }
}

#[test]
fn a_summary_tells_what_the_form_asks() {
    let trace = shop::story(NOW).into_iter().next().expect("a first trace");
    let summary = reader::summary(&trace);
    for text in [
        "service.name = payments",
        "service.name = nobody",
        "service.name = payments and status = error",
        "status = error",
        "trace:errors = 0",
        "trace:duration >= 1ms and trace:rootName = nothing",
        "service.name = gateway and trace:duration <= 1h",
    ] {
        assert_ne!(plan::of_summary(&query(text).spans, &summary), Verdict::Open, "{text}");
    }
}

#[test]
fn an_index_narrows_what_it_can() {
    for (text, rank) in [
        ("service.name = a", 1),
        ("service.name = a and status = error", 3),
        ("span.x = 1", 4),
        ("span.x = 1 or duration > 1s", 0),
        ("not span.x = 1", 0),
        ("span.x > 1 and name = b", 2),
        ("{ span.x = 1 } >> { service.name = a }", 4),
        ("trace:id = nonsense", 6),
    ] {
        assert_eq!(plan::of(&query(text).spans).rank(), rank, "{text}");
    }
    assert!(matches!(query("{ }").spans, Spans::Where(None)));
}

#[test]
fn the_form_takes_its_part_and_leaves_the_rest() {
    let form = Form::of(&query(
        "service.name = \"a b\" and status = error and trace:duration >= 5ms and span.x > 3",
    ));
    assert_eq!(form.service.as_deref(), Some("a b"));
    assert_eq!((form.failed, form.min, form.max), (Some(true), Some(5_000_000), None));
    assert_eq!(form.rest.as_deref(), Some("span.x > 3"));
    assert_eq!(Form::of(&query(&form.text().unwrap())), form);
    let joined = Form {
        service: Some("a".into()),
        rest: Some("{ name = b } >> { name = c }".into()),
        ..Form::default()
    };
    assert_eq!(joined.text().unwrap(), "{ service.name = a } && ({ name = b } >> { name = c })");
    let either =
        Form { service: Some("a".into()), rest: Some("name = b or name = c".into()), ..Form::default() };
    assert_eq!(either.text().unwrap(), "service.name = a and (name = b or name = c)");
    let number = Form { service: Some("404".into()), operation: Some("and".into()), ..Form::default() };
    assert_eq!(Form::of(&query(&number.text().unwrap())), number);
}

#[test]
fn a_value_is_written_as_the_query_that_finds_it() {
    for (scope, key, kind, text, wanted) in [
        (tree::Scope::Span, "http.route", "text", "/a/:id", Some("span.http.route = \"/a/:id\"")),
        (tree::Scope::Span, "code", "int", "404", Some("span.code = 404")),
        (tree::Scope::Resource, "a key", "bool", "true", Some("resource.\"a key\" = true")),
        (tree::Scope::Event, "x", "list", "[1]", None),
    ] {
        assert_eq!(equality(scope, key, kind, text).as_deref(), wanted, "{key}");
    }
}

#[test]
fn what_is_being_typed_is_known() {
    let value = |key: &str| Typed::Value(key.to_owned());
    for (line, wanted, part) in [
        ("", Typed::Key, ""),
        ("ser", Typed::Key, "ser"),
        ("service.name ", Typed::Operator, ""),
        ("service.name = ", value("service.name"), ""),
        ("service.name = pay", value("service.name"), "pay"),
        ("service.name = \"pay me", value("service.name"), "\"pay me"),
        ("service.name = pay ", Typed::Joint, ""),
        ("service.name = \"pay\" a", Typed::Joint, "a"),
        ("service.name = pay and sta", Typed::Key, "sta"),
        ("{ name = a } >> { st", Typed::Key, "st"),
        ("{ name = a } ", Typed::Nothing, ""),
        ("not (", Typed::Key, ""),
        ("\"open", Typed::Nothing, "\"open"),
    ] {
        let place = typed(line, line.chars().count());
        assert_eq!((place.wanted, place.part.as_str()), (wanted, part), "{line}");
    }
    assert_eq!(typed("naïve status = ", 5).part, "naïve");
    assert_eq!(typed("x", 900).from, 0);
}
