//! The pages over the fixtures: every case that breaks viewers, hostile texts, bad addresses, headers.

#[cfg(feature = "comms")]
mod api;
mod breakers;
mod cases_in_html;
mod logs;
mod map;
mod messages;
mod queues;
mod rows;
pub mod serve;
mod services;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, Uri};
use tower::ServiceExt;

use super::frame::Nav;
use super::visit::Visit;
use super::{PageState, connect, format};
use crate::dashboard::fixture::build::{MS, SpanExt, TraceBuilder, trace_id};
use crate::dashboard::fixture::reader::Memory;
use crate::dashboard::fixture::{cases, shop};
use crate::dashboard::model::{Kind, Trace};
use crate::dashboard::view::visit::now;

/// An answer, read.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    /// Fails where the page lacks one of `texts`.
    #[track_caller]
    fn has(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.text.contains(text), "{text:?} is missing in:\n{}", main_of(&self.text));
        }
    }

    #[track_caller]
    fn lacks(&self, text: &str) {
        assert!(!self.text.contains(text), "{text:?} should not be in:\n{}", main_of(&self.text));
    }
}

fn main_of(html: &str) -> &str {
    html.find("<main").map_or(html, |at| &html[at..])
}

fn pages(traces: Vec<Trace>) -> Router {
    super::router(serve::state(traces))
}

/// The story and the cases, some minutes old.
fn usual() -> Router {
    let mut traces = shop::story(now() - 600_000 * MS);
    traces.extend(cases::all(now() - 900_000 * MS).into_iter().map(|case| case.trace));
    traces.extend((0..80).map(|number| shop::calm(number, now() - (1_000 + number * 20) * 1_000 * MS)));
    pages(traces)
}

async fn send(pages: &Router, request: Request<Body>) -> Answer {
    let response = pages.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 64 << 20).await.unwrap();
    Answer { status: parts.status, headers: parts.headers, text: String::from_utf8_lossy(&body).into_owned() }
}

async fn get(pages: &Router, path: &str) -> Answer {
    send(pages, Request::get(path).header("host", "localhost:7070").body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn a_trace_says_what_happened() {
    let pages = usual();
    let path = format!("/traces/{}", trace_id(1));
    let page = get(&pages, &format!("{path}?span=a000000000000019")).await;
    page.has(&[
        "payments: card_declined",
        "Whole story of 7f3a…4f17",
        "46.0\u{a0}ms in payments.charge",
        "to 3 queues",
        "This is where the trace broke first.",
        "402 card_declined",
        "capture failed for ord_90412",
        r#"class="thru""#,
        r#"aria-label="error further down""#,
        "zoom=452000000-668000000",
        "Zoom to it",
    ]);
    let hidden = get(&pages, &format!("{path}?path=0")).await;
    assert!(hidden.text.matches(r#"class="thru""#).count() <= 1);
    let errors = get(&pages, &format!("{path}?errors=1")).await;
    errors.has(&["process payments.charge"]);
    errors.lacks("validate cart");
    let collapsed = get(&pages, &format!("{path}?collapse=depth:1")).await;
    collapsed.has(&[r#"aria-expanded="false""#]);
    collapsed.lacks("validate cart");
    get(&pages, &format!("{path}?find=card&match=2")).await.has(&["2 of 3", r#"aria-selected="true""#]);
    get(&pages, &format!("{path}?find=nope")).await.has(&["nothing found"]);
}

#[tokio::test]
async fn every_simple_value_leads_to_the_traces_that_have_it() {
    let pages = usual();
    let trace = format!("/traces/{}", trace_id(1));
    let page = get(&pages, &format!("{trace}?span=a000000000000019")).await;
    let mut keys = Vec::new();
    for link in page.text.split("<a ").filter(|link| link.contains("Everything with this ")) {
        let part = |before: &str| link.split(before).nth(1).and_then(|rest| rest.split('"').next());
        let key = part("Everything with this ").expect("a key");
        let href = part("href=\"").expect("an address").replace("&amp;", "&");
        let found = get(&pages, &href).await;
        found.has(&[&trace]);
        found.lacks("cannot be read");
        keys.push(key.to_owned());
    }
    for key in ["http.response.status_code", "order.id", "payment.amount", "correlation.id", "host.name"] {
        assert!(keys.iter().any(|known| known == key), "{key} is not among {keys:?}");
    }
}

#[tokio::test]
async fn secrets_are_not_shown() {
    let pages = usual();
    for span in ["a000000000000001", "a000000000000005"] {
        let page = get(&pages, &format!("/traces/{}?span={span}", trace_id(1))).await;
        page.has(&["•••"]);
        for secret in ["abcdefghijklmnop", "shop:secret", "hunter2"] {
            page.lacks(secret);
        }
    }
}

/// Every page that shows users' texts.
fn all_pages() -> Vec<String> {
    let hostile = cases::named("hostile texts", now()).id;
    let quoted = format::segment(cases::HOSTILE);
    vec![
        "/".to_owned(),
        "/traces".to_owned(),
        "/traces?order=longest&last=24h".to_owned(),
        "/traces?query=status%20%3D%20%3Cscript%3E".to_owned(),
        "/traces?service=%22%3E%3Cscript%3E&name=%22%3E%3Cscript%3E".to_owned(),
        format!("/traces/{hostile}"),
        format!("/traces/{hostile}?span=a000000000000001&find=%22%3E%3Cscript%3E"),
        format!("/traces/{}?span=a000000000000019", trace_id(1)),
        format!("/correlations/{}", format::segment(shop::CORRELATION)),
        format!("/correlations/{}", quoted.replace("%00", "")),
        "/logs".to_owned(),
        "/logs?last=24h&limit=1000".to_owned(),
        "/logs?text=%22%3E%3Cscript%3E&service=%22%3E%3Cscript%3E&correlation=%22%3E%3Cscript%3E".to_owned(),
        "/logs?attr=%22%3E%3Cscript%3E%3D%22%3E%3Cscript%3Ealert(1)".to_owned(),
        "/search".to_owned(),
        "/search?q=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E".to_owned(),
        "/map".to_owned(),
        "/map?show=messages&failing=1&all=1&label=p95".to_owned(),
        "/map?find=%22%3E%3Cscript%3Ealert(1)&show=calls".to_owned(),
        "/map?focus=%22%3E%3Cscript%3Ealert(1)&node=orders".to_owned(),
        "/map?last=24h&caller=service:payments&callee=outside:card-processor".to_owned(),
        format!("/map?node={quoted}").replace("%00", ""),
        "/services".to_owned(),
        "/services?find=%22%3E%3Cscript%3E&order=p95".to_owned(),
        "/services/payments?find=%22%3E%3Cscript%3E".to_owned(),
        format!("/services/{quoted}").replace("%00", ""),
        "/services/%3Cscript%3Ealert(1)".to_owned(),
        "/status".to_owned(),
        "/nope/%3Cscript%3E".to_owned(),
        "/traces/%3Cscript%3E".to_owned(),
    ]
}

#[tokio::test]
async fn no_page_obeys_what_it_shows() {
    let pages = usual();
    for path in all_pages() {
        let page = get(&pages, &path).await;
        for bad in ["<script>alert", "<img src=x", "\u{202e}", "\0", "onerror=alert(2)\"", "\"><script"] {
            assert!(!page.text.contains(bad), "{bad:?} in {path}");
        }
    }
}

#[tokio::test]
async fn no_page_has_anything_inline_and_all_have_the_headers() {
    let pages = usual();
    for path in all_pages() {
        let page = get(&pages, &path).await;
        let policy = page.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self'") && !policy.contains("unsafe"));
        assert_eq!(page.headers["x-content-type-options"], "nosniff");
        assert_eq!(page.headers["referrer-policy"], "same-origin");
        assert_eq!(page.headers["content-type"], "text/html; charset=utf-8", "{path}");
        for inline in [" style=", "<style", " onclick=", " onload=", "hx-on", "javascript:"] {
            assert!(!page.text.contains(inline), "{inline} in {path}");
        }
        let scripts = page.text.matches("<script").count();
        assert_eq!(scripts, page.text.matches("<script defer src=\"/static/").count(), "{path}");
        assert!(page.text.len() < 200_000, "{path}: {} bytes", page.text.len());
    }
}

#[tokio::test]
async fn bad_addresses_are_answered_as_such() {
    let pages = usual();
    let trace = format!("/traces/{}", trace_id(1));
    for (path, status) in [
        ("/nope".to_owned(), 404),
        ("/traces/abc".to_owned(), 400),
        ("/traces/%00".to_owned(), 400),
        ("/traces/..%2f..%2fetc%2fpasswd".to_owned(), 400),
        ("/traces/%ff".to_owned(), 400),
        (format!("/traces/{}", "0".repeat(32)), 400),
        (format!("/traces/{}", "f".repeat(32)), 404),
        (format!("/traces/{}/otlp.json", "f".repeat(32)), 404),
        (format!("{trace}?span=zz"), 400),
        (format!("{trace}?row=-1"), 400),
        (format!("{trace}?row=abc"), 400),
        (format!("{trace}?zoom=9-1"), 400),
        (format!("{trace}?collapse=depth:x"), 400),
        (format!("{trace}?clock=mine"), 400),
        (format!("{trace}?find=%00"), 400),
        (format!("{trace}?fold=maybe"), 400),
        (format!("{trace}?unfold=zz"), 400),
        (format!("{trace}?row=9999999&zoom=0-1&span=ffffffffffffffff"), 200),
        ("/traces?limit=-1".to_owned(), 400),
        ("/traces?limit=1e9".to_owned(), 400),
        ("/traces?limit=1000000000".to_owned(), 400),
        ("/traces?limit=abc".to_owned(), 400),
        ("/traces?limit=1000".to_owned(), 200),
        ("/traces?from=2026-11-24T00:00&to=2026-11-23T00:00".to_owned(), 400),
        ("/traces?from=soon".to_owned(), 400),
        ("/traces?last=9y".to_owned(), 400),
        ("/traces?after=0-9d9d9d9d9d9d9d9d0000000000000001-00000000".to_owned(), 400),
        ("/traces?min=fast".to_owned(), 400),
        ("/traces?status=maybe".to_owned(), 400),
        ("/traces?order=random".to_owned(), 400),
        ("/traces?query=color%20%3D%20red".to_owned(), 200),
        ("/traces?service=%27%20OR%201%3D1--&name=%25_%5C".to_owned(), 200),
        ("/logs?severity=loud".to_owned(), 400),
        ("/logs?severity=%E2%80%94".to_owned(), 400),
        ("/logs?severity=any&service=%27%20OR%201%3D1--&text=%25_%5C".to_owned(), 200),
        ("/logs?trace=abc".to_owned(), 400),
        (format!("/logs?trace={}", "0".repeat(32)), 400),
        (format!("/logs?trace={}", "f".repeat(32)), 200),
        ("/logs?attr=order.id".to_owned(), 400),
        ("/logs?attr=%3D5".to_owned(), 400),
        (format!("/logs?{}", ["attr=a%3Db"; 9].join("&")), 400),
        (format!("/logs?text={}", "x".repeat(1_001)), 400),
        (format!("/logs?correlation={}", "x".repeat(257)), 400),
        ("/logs?text=%00".to_owned(), 400),
        ("/logs?limit=0".to_owned(), 400),
        ("/logs?limit=1001".to_owned(), 400),
        ("/logs?after=0-0-0-00000000".to_owned(), 400),
        ("/logs?last=9y".to_owned(), 400),
        ("/logs/new".to_owned(), 400),
        ("/logs/new?since=soon".to_owned(), 400),
        ("/logs/otlp.jsonl?severity=loud".to_owned(), 400),
        ("/map?show=colours".to_owned(), 400),
        ("/map?label=colour".to_owned(), 400),
        (format!("/map?focus={}", "x".repeat(1_001)), 400),
        ("/map?last=9y".to_owned(), 400),
        ("/map?focus=nobody&node=nobody&caller=a&callee=b".to_owned(), 200),
        ("/services?order=luck".to_owned(), 400),
        (format!("/services?find={}", "x".repeat(1_001)), 400),
        ("/services?from=1970-01-01T00:00&to=2554-07-01T00:00".to_owned(), 200),
        ("/services/payments?from=1970-01-01T00:00&to=2554-07-01T00:00".to_owned(), 200),
        ("/map?from=1970-01-01T00:00&to=2554-07-01T00:00&caller=user&callee=gateway".to_owned(), 200),
        ("/services/nobody".to_owned(), 404),
        ("/services/%2E%2E%2Fetc".to_owned(), 404),
        ("/services/%ff".to_owned(), 400),
        ("/services/%00".to_owned(), 400),
        (format!("/services/{}", "x".repeat(1_001)), 400),
        ("/services/payments?order=luck".to_owned(), 400),
        ("/services/payments?last=9y".to_owned(), 400),
        ("/static/0/look.css".to_owned(), 404),
        ("/static/0/..%2f..%2fCargo.toml".to_owned(), 400),
    ] {
        let answer = get(&pages, &path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        if status >= 400 {
            answer.has(&["<h1>", r#"href="/traces""#]);
        }
    }
}

#[tokio::test]
async fn filters_match_literally() {
    let page = get(&usual(), "/traces?service=%25").await;
    page.has(&["No trace matches", "Nothing matches."]);
}

#[tokio::test]
async fn foreign_hosts_and_sites_are_refused() {
    let pages = usual();
    let foreign = Request::get("/").header("host", "evil.example.com").body(Body::empty()).unwrap();
    assert_eq!(send(&pages, foreign).await.status, StatusCode::MISDIRECTED_REQUEST);
    let cross = Request::post("/test-trace")
        .header("host", "localhost:7070")
        .header("sec-fetch-site", "cross-site")
        .body(Body::empty())
        .unwrap();
    assert_eq!(send(&pages, cross).await.status, StatusCode::FORBIDDEN);
    let wrong_method =
        Request::delete("/traces").header("host", "localhost:7070").body(Body::empty()).unwrap();
    let answer = send(&pages, wrong_method).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(answer.headers.contains_key("allow"));
}

#[tokio::test]
async fn the_list_pages_by_cursor_without_losing_or_repeating_a_trace() {
    let pages = usual();
    let mut path = "/traces?limit=17".to_owned();
    let mut seen = Vec::new();
    for _ in 0..20 {
        let page = get(&pages, &path).await;
        let table = &page.text[page.text.find("<tbody").unwrap()..];
        seen.extend(table.split("href=\"/traces/").skip(1).map(|rest| rest[..32].to_owned()));
        let Some(at) = page.text.find("\">Next 17") else { break };
        let begin = page.text[..at].rfind("href=\"").unwrap() + 6;
        path = page.text[begin..at].replace("&amp;", "&");
    }
    let count = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), count), (95, 95));
}

#[tokio::test]
async fn the_search_leads_to_pages() {
    let pages = usual();
    let trace = trace_id(1).to_string();
    for (text, place) in [
        (trace.as_str(), format!("/traces/{trace}")),
        (shop::CORRELATION, format!("/correlations/{}", shop::CORRELATION)),
        ("payments", "/services/payments".to_owned()),
        ("status = error", "/traces?query=status%20%3D%20error".to_owned()),
    ] {
        let answer = get(&pages, &format!("/search?q={}", format::encoded(text))).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{text}");
        assert_eq!(answer.headers["location"], place.as_str());
    }
    get(&pages, "/search?q=nothing-here")
        .await
        .has(&["Nothing found", "a correlation ID, a message ID, a service"]);
    get(&pages, "/search?q=status%20%3D%20maybe")
        .await
        .has(&["cannot be read", "status is error, ok or unset"]);
    get(&pages, "/search?q=a000000000000001").await.has(&["things are called", "Span"]);
}

#[tokio::test]
async fn the_cause_of_a_failed_order_is_two_clicks_from_the_overview() {
    let pages = usual();
    let overview = get(&pages, "/").await;
    let story = format!("/correlations/{}", shop::CORRELATION);
    overview.has(&[&story, "card_declined", "in orders.dlq"]);
    get(&pages, &story).await.has(&["card_declined", &format!("/traces/{}", trace_id(1))]);
}

#[tokio::test]
async fn refused_calls_alone_are_named_and_alarm_nobody() {
    let refused = |number: u64| {
        let mut t = TraceBuilder::new(number, now() - 60_000 * MS);
        t.span(1, 0, "gateway", "GET /stock/{sku}", Kind::Server, 0.0, 20.0).http("GET", "/stock/9", 404);
        t.span(2, 1, "gateway", "GET /items", Kind::Client, 1.0, 9.0).http("GET", "/items/9", 404).fail("");
        t.build()
    };
    let page = get(&pages(vec![refused(1), refused(2)]), "/").await;
    page.has(&["All quiet", "none failed", "Refused now", "2 of 2 traces through it have a call refused"]);
    page.lacks("gateway fails");
    page.lacks("Wrong now");
}

#[tokio::test]
async fn empty_pages_teach() {
    let pages = pages(Vec::new());
    for path in ["/", "/traces", "/map", "/services"] {
        let page = get(&pages, path).await;
        page.has(&[
            "No traces yet",
            "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317",
            "Refused so far: 17",
        ]);
    }
    for (language, text) in [
        ("node", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318"),
        ("java", "-javaagent:opentelemetry-javaagent.jar"),
        ("go", "otlptracegrpc.New(ctx)"),
        ("dotnet", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
        ("rust", "with_tonic()"),
        ("browser", "http://127.0.0.1:4318/v1/traces"),
        ("cobol", "opentelemetry-instrument"),
    ] {
        get(&pages, &format!("/traces?l={language}")).await.has(&[text]);
    }
}

#[tokio::test]
async fn times_are_in_the_zone_of_the_cookie() {
    let request = Request::get("/traces")
        .header("host", "localhost:7070")
        .header("cookie", "tz=Asia%2FTokyo; theme=dark")
        .body(Body::empty())
        .unwrap();
    send(&usual(), request).await.has(&["JST", r#"data-theme="dark""#, "data-tz-told", " UTC · "]);
}

#[tokio::test]
async fn assets_are_served_for_ever() {
    let pages = usual();
    for name in ["look.css", "icons.svg", "throughline.js", "mark.svg"] {
        let answer = get(&pages, &super::assets::address(name)).await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
        assert!(answer.headers["cache-control"].to_str().unwrap().contains("immutable"));
    }
}

#[tokio::test]
async fn the_stream_says_where_the_store_stands() {
    use futures_util::StreamExt;
    let request = Request::get("/live").header("host", "localhost:7070").body(Body::empty()).unwrap();
    let response = usual().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body().into_data_stream();
    let first = body.next().await.unwrap().unwrap();
    let text = String::from_utf8_lossy(&first);
    assert!(
        text.contains("event: changed") && text.contains("retry: 1000") && text.contains("-1\n"),
        "{text}"
    );
}

#[tokio::test]
async fn what_comes_while_a_page_is_made_counts_as_not_seen() {
    let memory = Arc::new(Memory::new(Vec::new()));
    let state = PageState { reader: memory.clone(), ..serve::state(Vec::new()) };
    let visit = Visit::read(&HeaderMap::new(), &Uri::from_static("/"), &state, true).unwrap();
    memory.commit();
    let drawn = connect::empty(&visit, &state, Nav::Overview).unwrap();
    let body = to_bytes(drawn.into_body(), 1 << 20).await.unwrap();
    assert!(String::from_utf8_lossy(&body).contains(&format!("data-seen=\"{}-1\"", state.settings.started)));
}
