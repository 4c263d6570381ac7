//! The list of logs: what it shows, where it leads, and that what others write does it no harm.

use axum::http::StatusCode;

use super::{Answer, get, main_of, pages, usual};
use crate::dashboard::fixture::build::{MS, TraceBuilder, span_id, trace_id};
use crate::dashboard::fixture::{cases, shop};
use crate::dashboard::model::{Trace, Value};
use crate::dashboard::view::format;
use crate::dashboard::view::visit::now;

/// What the rows say, the first line of each.
fn lines(page: &Answer) -> Vec<&str> {
    let part = |rest: &'static str| rest;
    let (begin, end) = (part("<summary>"), part("</summary>"));
    main_of(&page.text).split(begin).skip(1).filter_map(|rest| rest.split(end).next()).collect()
}

/// A trace of logs alone: number, severity and text of each, the first the newest.
fn logs(records: &[(u8, &str)]) -> Trace {
    let mut t = TraceBuilder::new(900, now() - 60_000 * MS);
    for ((severity, text), at) in records.iter().zip(0..) {
        t.log(1, "orders", f64::from(1_000 - at), *severity, text);
    }
    t.build()
}

#[tokio::test]
async fn a_log_leads_to_its_trace_and_to_its_story() {
    let page = get(&usual(), "/logs?severity=error").await;
    page.has(&[
        "error or worse.",
        "capture failed for ord_90412",
        &format!("/traces/{}?span=", trace_id(1)),
        &format!("/correlations/{}", shop::CORRELATION),
        r#"class="badge err""#,
        "#i-err\"",
    ]);
    page.lacks(r#"class="badge warn""#);
    page.lacks("hunter2");
}

#[tokio::test]
async fn each_filter_narrows_and_is_kept_in_the_form() {
    let records =
        [(9, "Card accepted"), (13, "card slow"), (17, "CARD declined"), (0, "100% of a_b"), (24, "gone")];
    let pages = pages(vec![logs(&records), shop::placed(now() - 7_200_000 * MS)]);
    for (query, wanted) in [
        ("", vec!["Card accepted", "card slow", "CARD declined", "100% of a_b", "gone"]),
        ("?text=card", vec!["Card accepted", "card slow", "CARD declined"]),
        ("?text=%25%20of%20a_", vec!["100% of a_b"]),
        ("?severity=warn", vec!["card slow", "CARD declined", "gone"]),
        ("?severity=error&text=card", vec!["CARD declined"]),
        ("?service=orders&severity=fatal", vec!["gone"]),
        ("?service=order", vec![]),
        ("?correlation=nobody", vec![]),
    ] {
        let page = get(&pages, &format!("/logs{query}")).await;
        assert_eq!(lines(&page), wanted, "{query}");
    }
    let page =
        get(&pages, "/logs?text=card&severity=warn&service=orders&attr=a%3Db&attr=c%3Dd&correlation=k").await;
    page.has(&[
        r#"name="text" value="card""#,
        r#"<option value="warn" selected>"#,
        r#"<option selected value="orders">"#,
        r#"name="attr" value="a=b""#,
        r#"name="correlation" placeholder="any" value="k""#,
        // Without the one attribute the other stays.
        r#"href="/logs?text=card&amp;severity=warn&amp;service=orders&amp;attr=c%3Dd&amp;correlation=k""#,
        "Nothing matches.",
    ]);
    get(&pages, "/logs?text=declined").await.has(&["What is looked through", "5 logs before the text"]);
}

#[tokio::test]
async fn an_attribute_of_a_log_narrows_the_list_to_what_has_it() {
    let mut trace = logs(&[(9, "one"), (9, "two"), (9, "three")]);
    for (log, number) in trace.logs.iter_mut().zip(0..) {
        log.attributes = vec![
            ("order.id".into(), Value::Int(number / 2)),
            ("password".into(), Value::Text("hunter2".into())),
            ("a=b".into(), Value::Text("c".into())),
            ("map".into(), Value::Map(vec![("k".into(), Value::Int(1))])),
        ];
    }
    let pages = pages(vec![trace]);
    let page = get(&pages, "/logs?severity=info").await;
    page.has(&["•••"]);
    page.lacks("hunter2");
    let links: Vec<_> = page.text.split("<a class=\"by\" href=\"").skip(1).collect();
    let hrefs: Vec<String> =
        links.iter().map(|rest| rest[..rest.find('"').unwrap()].replace("&amp;", "&")).collect();
    let own = |number| format!("/logs?severity=info&attr=order.id%3D{number}");
    let of_order: Vec<_> = hrefs.iter().filter(|href| href.contains("order.id")).collect();
    assert_eq!(of_order, [&own(1), &own(0), &own(0)]);
    assert!(hrefs.iter().any(|href| href.contains("attr=host.name%3D")), "{hrefs:?}");
    assert!(!hrefs.iter().any(|href| href.contains("a%3Db") || href.contains("map")), "{hrefs:?}");
    assert_eq!(lines(&get(&pages, &own(0)).await), ["two", "three"]);
}

#[tokio::test]
async fn pages_of_logs_neither_lose_nor_repeat_one() {
    let texts: Vec<String> = (0..53).map(|number| format!("log {number}.")).collect();
    let mut trace = logs(&texts.iter().map(|text| (9, text.as_str())).collect::<Vec<_>>());
    // Seven at a time are of one moment.
    trace.logs.iter_mut().for_each(|log| log.time -= log.time % (7 * MS));
    let pages = pages(vec![trace]);
    let (mut path, mut seen) = ("/logs?limit=5".to_owned(), Vec::new());
    for _ in 0..20 {
        let page = get(&pages, &path).await;
        seen.extend(lines(&page).into_iter().map(str::to_owned));
        let Some(at) = page.text.find("\">Next 5") else { break };
        let begin = page.text[..at].rfind("href=\"").unwrap() + 6;
        path = page.text[begin..at].replace("&amp;", "&");
    }
    seen.sort();
    let mut wanted = texts;
    wanted.sort();
    assert_eq!(seen, wanted);
}

#[tokio::test]
async fn what_came_since_is_one_row() {
    let pages = pages(vec![logs(&[(17, "a"), (9, "b"), (9, "card")])]);
    let list = get(&pages, "/logs").await;
    let since = now() - 120_000 * MS;
    list.has(&[r#"id="new-rows" hx-get="/logs/new?since="#]);
    for (query, words) in
        [("", "3 new logs"), ("&severity=error", "1 new log<"), ("&text=card&last=5m", "1 new log<")]
    {
        get(&pages, &format!("/logs/new?since={since}{query}")).await.has(&[words, "href=\"/logs"]);
    }
    get(&pages, &format!("/logs/new?since={}", now())).await.has(&["hidden"]);
    get(&pages, "/logs?from=2026-01-01T00:00&to=2026-01-02T00:00").await.lacks("new-rows");
}

#[tokio::test]
async fn the_page_stays_short_and_whole_whatever_a_log_says() {
    let long = "x".repeat(1 << 20);
    let lines_of_text = "line\r\n".repeat(50_000);
    let texts = [
        (9, "<script>alert(1)</script><img src=x onerror=alert(2)>"),
        (9, "\u{1b}[31mred\u{1b}[0m"),
        (9, "one\r\ntwo"),
        (17, "nul \0 and \u{202e}turned"),
        (9, ""),
        (9, " \n "),
        (9, &long),
        (9, &lines_of_text),
    ];
    let mut all: Vec<_> = texts.to_vec();
    all.extend([(9, long.as_str()); 300]);
    let mut trace = logs(&all);
    for log in &mut trace.logs {
        log.attributes =
            (0..300).map(|number| (format!("<b>{number}"), Value::Text(cases::HOSTILE.repeat(40)))).collect();
    }
    let page = get(&pages(vec![trace]), "/logs?limit=1000").await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(lines(&page).len(), 308);
    page.has(&[
        "&lt;script&gt;alert(1)",
        "␛[31mred",
        "<summary>one</summary>",
        "one␍\ntwo",
        "nul ␀ and ⟨U+202E⟩turned",
        "(no text)",
        "more in the download",
        "more attributes in the download",
        "More than this page can hold.",
    ]);
    for bad in ["<script>alert", "<img src=x", "\u{202e}", "\0", "\u{1b}"] {
        page.lacks(bad);
    }
    assert!(page.text.len() < 2_500_000, "{} bytes", page.text.len());
}

#[tokio::test]
async fn logs_are_given_as_lines_of_otlp() {
    let pages = pages(vec![logs(&[(17, "one\ntwo"), (9, "three")])]);
    let file = get(&pages, "/logs/otlp.jsonl?severity=error").await;
    assert_eq!(file.headers["content-type"], "application/x-ndjson");
    assert!(file.headers["content-disposition"].to_str().unwrap().contains("logs.otlp.jsonl"));
    let lines: Vec<serde_json::Value> =
        file.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1);
    let record = &lines[0]["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
    assert_eq!(record["body"]["stringValue"], "one\ntwo");
    assert_eq!(record["spanId"], span_id(1).to_string());
}

#[tokio::test]
async fn where_there_are_no_logs_the_page_teaches_how_to_send_them() {
    let pages = pages(vec![cases::named("several roots", now() - 60_000 * MS)]);
    for (query, text) in [
        ("", "OTEL_PYTHON_LOGGING_AUTO_INSTRUMENTATION_ENABLED=true"),
        ("?l=node", "OTEL_LOGS_EXPORTER=otlp\nnode"),
        ("?l=java", "http://127.0.0.1:4318"),
        ("?l=go", "otlploggrpc.New(ctx)"),
        ("?l=dotnet", "OTEL_DOTNET_AUTO_LOGS_INCLUDE_FORMATTED_MESSAGE=true"),
        ("?l=rust", "OpenTelemetryTracingBridge"),
        ("?l=browser", "http://127.0.0.1:4318/v1/logs"),
        ("?l=cobol", "opentelemetry-instrument"),
    ] {
        get(&pages, &format!("/logs{query}")).await.has(&["No logs yet", text]);
    }
}

#[tokio::test]
async fn a_log_beside_its_span_leads_to_logs_with_the_same_attribute() {
    let mut trace = shop::placed(now() - 60_000 * MS);
    let span = trace.logs[0].span_id.unwrap();
    trace.logs[0].attributes = vec![("order.id".into(), Value::Int(42))];
    let path = format!("/traces/{}?span={span}", trace.id);
    get(&pages(vec![trace]), &path).await.has(&[r#"href="/logs?attr=order.id%3D42""#]);
}

#[tokio::test]
async fn other_pages_lead_to_logs() {
    let pages = usual();
    let trace = trace_id(1);
    for (path, link) in [
        ("/".to_owned(), "href=\"/logs\"".to_owned()),
        (format!("/traces/{trace}"), format!("/logs?trace={trace}&amp;from=")),
        (
            format!("/correlations/{}", shop::CORRELATION),
            format!("/logs?correlation={}&amp;from=", shop::CORRELATION),
        ),
        ("/search?q=no-such%20thing".to_owned(), "/logs?text=no-such%20thing".to_owned()),
        ("/search?q=a000000000000001".to_owned(), "/logs?text=a000000000000001".to_owned()),
    ] {
        let page = get(&pages, &path).await;
        page.has(&[&link]);
        let at = page.text.find(&link).unwrap() + if link.starts_with("href") { 6 } else { 0 };
        let href = page.text[at..at + page.text[at..].find('"').unwrap()].replace("&amp;", "&");
        let list = get(&pages, &href).await;
        assert_eq!(list.status, StatusCode::OK, "{href}");
        if path.contains("/traces/") || path.contains("/correlations/") {
            assert!(!lines(&list).is_empty(), "{} leads to nothing", format::shortened(&href, 200));
        }
    }
}
