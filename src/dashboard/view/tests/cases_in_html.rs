//! The cases that break trace viewers, as their pages show them.

use axum::http::StatusCode;

use super::{Answer, get, pages};
use crate::dashboard::fixture::build::{MS, trace_id};
use crate::dashboard::fixture::{cases, shop};
use crate::dashboard::view::visit::now;

/// The page of one case, with its first span opened.
async fn case(name: &str) -> Answer {
    let trace = cases::named(name, now() - 900_000 * MS);
    let span = trace.spans.first().map(|span| format!("?span={}", span.span_id)).unwrap_or_default();
    let path = format!("/traces/{}{span}", trace.id);
    let answer = get(&pages(vec![trace, shop::placed(now())]), &path).await;
    assert_eq!(answer.status, StatusCode::OK, "{name}");
    answer
}

#[tokio::test]
async fn cases_of_the_tree_are_shown_and_marked() {
    case("missing parent").await.has(&["parent missing", "POST /orders", "validate", "has not arrived"]);
    let several = case("several roots").await;
    several.has(&["first root", "second root", "under the second"]);
    let at = |text: &str| several.text.find(text).unwrap();
    assert!(at(r#"title="first root""#) < at(r#"title="second root""#));
    let twice = case("sent twice").await;
    assert_eq!(twice.text.matches(r#"title="GET /""#).count(), 1);
    twice.has(&[r#"title="GET /other""#]);
    case("one ID for client and server").await.has(&[
        r#"aria-level="1""#,
        r#"aria-level="2""#,
        "handle call",
    ]);
    let cycle = case("a cycle of parents").await;
    cycle.has(&["cycle of parents, cut here", "below the cycle", "a real root"]);
    case("its own parent").await.has(&["cycle of parents, cut here", "below"]);
    case("only logs").await.has(&["Only logs have arrived", "nothing but a log"]);
}

#[tokio::test]
async fn cases_of_time_are_shown_and_marked() {
    let skewed = case("clock skew").await;
    skewed.has(&["Adjust clocks", "clocks disagree", "clock=adjusted"]);
    let trace = cases::named("clock skew", now() - 900_000 * MS);
    let path = format!("/traces/{}?clock=adjusted", trace.id);
    get(&pages(vec![trace]), &path).await.has(&["Clocks adjusted.", r#"aria-pressed="true">Adjust clocks"#]);
    case("implausible times").await.has(&[
        "zero duration",
        "ends before it starts",
        "no plausible start time",
        "starts in the future",
        "ends in the future",
        "no end time",
        "100\u{a0}ms",
    ]);
    let events = case("events out of order").await;
    let at = |text: &str| events.text.find(&format!("</span> {text}</p>")).unwrap();
    assert!(at("first") < at("second") && at("second") < at("third"));
}

#[tokio::test]
async fn values_are_readable_whatever_their_type() {
    let values = case("values of every type").await;
    values.has(&[
        "größe 大",
        "00ff10",
        "[1,&#34;zwei&#34;,null]",
        "NaN",
        "(empty)",
        "<summary>1.05\u{a0}MB</summary>",
        "more in the OTLP download",
    ]);
    assert!(values.text.len() < 100_000, "{} bytes", values.text.len());
}

#[tokio::test]
async fn linked_traces_are_shown_in_both_directions() {
    let begin = now() - 900_000 * MS;
    let links = cases::named("span links", begin);
    let (from, to) = (links.id, trace_id(1));
    let pages = pages(vec![shop::placed(begin), links]);
    get(&pages, &format!("/traces/{from}")).await.has(&["linked from here", &format!("/traces/{to}")]);
    get(&pages, &format!("/traces/{to}")).await.has(&["links here", &format!("/traces/{from}")]);
}

#[tokio::test]
async fn a_large_trace_is_sent_in_portions() {
    for chain in [true, false] {
        let trace = cases::large(500, now() - 900_000 * MS, 100_000, chain);
        let (path, middle) = (format!("/traces/{}", trace.id), trace.spans[70_000].span_id);
        let pages = pages(vec![trace]);
        let first = get(&pages, &path).await;
        first.has(&["Rows 1 to 150 of 100000", "row=150"]);
        if chain {
            continue;
        }
        let opened = get(&pages, &format!("{path}?span={middle}")).await;
        opened.has(&[r#"aria-selected="true""#, "Show the rows before"]);
        let last = get(&pages, &format!("{path}?row=99950")).await;
        last.has(&["Rows 99951 to 100000 of 100000"]);
        last.lacks("show the next");
    }
}
