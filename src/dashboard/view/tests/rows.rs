//! The rows of a trace: runs of internal spans on the page, and how long the page is.

use super::{Answer, get, pages};
use crate::dashboard::fixture::build::{MS, SpanExt, span_id, trace_id};
use crate::dashboard::fixture::{cases, express, shop};
use crate::dashboard::view::visit::now;

/// The trace of an express 5 service, with `query` after its address.
async fn chain(query: &str) -> Answer {
    let trace = express::chain(510, now() - 900_000 * MS).build();
    get(&pages(vec![trace]), &format!("/traces/{}{query}", trace_id(510))).await
}

/// The names of the rows, and the address of the one that stands for a run.
fn rows(page: &Answer) -> (Vec<&str>, Option<String>) {
    let links = page.text.split("<a class=\"op").skip(1);
    let names = links.clone().map(|link| &link[link.find('>').unwrap() + 1..link.find("</a>").unwrap()]);
    let run = links.into_iter().find(|link| link.starts_with(" run")).map(|link| {
        let href = link.split("href=\"").nth(1).unwrap();
        href[..href.find('"').unwrap()].replace("&amp;", "&")
    });
    (names.collect(), run)
}

const FOLDED: [&str; 4] = ["GET /price/:sku", "3 internal spans", "GET", "tcp.connect"];
const WHOLE: [&str; 6] = [
    "GET /price/:sku",
    "middleware - patched",
    "request handler",
    "request handler - /price/:sku",
    "GET",
    "tcp.connect",
];

#[tokio::test]
async fn a_run_is_one_row_that_opens_by_its_link() {
    let page = chain("").await;
    let (names, run) = rows(&page);
    assert_eq!(names, FOLDED);
    page.has(&[
        "<dt>Spans</dt><dd>6</dd>",
        r#"title="middleware - patched, request handler, request handler - /price/:sku""#,
        r#"aria-pressed="true">Fold internal"#,
    ]);
    let opened = chain(&run.unwrap()).await;
    assert_eq!(rows(&opened), (WHOLE.to_vec(), None));
    opened.has(&[r#"aria-pressed="false">Fold internal"#]);
}

#[tokio::test]
async fn the_line_passes_a_run_once() {
    let trace = express::row(511, now() - 900_000 * MS).build();
    let pages = pages(vec![trace]);
    let path = format!("/traces/{}", trace_id(511));
    let verticals = async |query: &str| {
        get(&pages, &format!("{path}{query}")).await.text.matches(r#"class="thru v""#).count()
    };
    let (folded, whole) = (verticals("").await, verticals("?fold=off").await);
    assert!(folded <= 14 && whole > 60, "{folded} pieces folded, {whole} not");
}

#[tokio::test]
async fn what_is_looked_for_is_never_in_a_run() {
    let inner = span_id(3);
    for query in [
        "?fold=off".to_owned(),
        format!("?span={inner}"),
        format!("?unfold={inner}"),
        "?find=patched".to_owned(),
        "?find=patched&match=1".to_owned(),
    ] {
        assert_eq!(rows(&chain(&query).await).0, WHOLE, "{query}");
    }
    for query in ["?find=tcp", "?collapse=depth:5", "?span=ffffffffffffffff"] {
        assert_eq!(rows(&chain(query).await).0, FOLDED, "{query}");
    }
    assert_eq!(rows(&chain(&format!("?collapse={}", span_id(4))).await).0, FOLDED[..2]);
}

#[tokio::test]
async fn errors_are_seen_past_a_run() {
    let mut t = express::chain(510, now() - 900_000 * MS);
    t.spans[4].fail("timeout");
    let pages = pages(vec![t.build()]);
    let path = format!("/traces/{}", trace_id(510));
    let page = get(&pages, &path).await;
    assert_eq!(rows(&page).0, FOLDED);
    assert_eq!(page.text.matches(r#"aria-label="error further down""#).count(), 2);
    assert_eq!(rows(&get(&pages, &format!("{path}?errors=1")).await).0, FOLDED[..3]);
}

#[tokio::test]
async fn no_portion_of_a_trace_is_long() {
    let begin = now() - 900_000 * MS;
    for (what, trace, rows) in [
        ("wide", cases::large(500, begin, 2_000, false), [0, 1_000]),
        ("a chain", cases::large(500, begin, 20_000, true), [0, 10_000]),
        ("a usual one", shop::placed(begin), [0, 1]),
    ] {
        let path = format!("/traces/{}", trace.id);
        let pages = pages(vec![trace]);
        for row in rows {
            let bytes = get(&pages, &format!("{path}?row={row}")).await.text.len();
            assert!(bytes < 160_000, "{what}, from row {row}: {bytes} bytes");
        }
    }
}
