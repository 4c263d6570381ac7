//! The page of a story, asked for as a browser would.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode, header};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::dashboard::model::{Correlation, SpanId, Trace, TraceId, TraceSummary, correlation::Origin};
use crate::dashboard::query::story::Material;
use crate::dashboard::query::story::fixture::{self, ID, Sheet};
use crate::dashboard::store::{
    Activity, Call, Correlated, CorrelatedTrace, Failing, FoundSeries, Holdings, InstanceRates, KeptMetrics,
    LogCounts, LogFilter, LogPage, Newest, OperationRates, Rates, Reader, SeriesFilter, ServiceRates,
    StoreError, TraceFilter, TracePage, Way,
};
use crate::dashboard::view::{PageSettings, PageState, ReceiveStatus, StatusSource, router};

/// A store that holds one story.
struct OneStory {
    id: String,
    material: Material,
    commits: watch::Sender<u64>,
}

impl OneStory {
    fn new(id: &str, material: Material) -> Self {
        Self { id: id.to_owned(), material, commits: watch::Sender::new(1) }
    }

    fn summary_of(&self, trace: &Trace) -> TraceSummary {
        let correlations = vec![Correlation { value: self.id.clone(), origin: Origin::Application }];
        TraceSummary {
            trace_id: trace.id,
            start: trace.spans.iter().map(|span| span.start).min().unwrap_or(0),
            end: trace.spans.iter().map(|span| span.end).max().unwrap_or(0),
            spans: trace.spans.len() as u32,
            errors: trace.spans.iter().filter(|span| span.failed()).count() as u32,
            refused: 0,
            logs: trace.logs.len() as u32,
            root: None,
            services: Vec::new(),
            more_services: 0,
            correlations,
            failure: None,
            settled: None,
        }
    }
}

#[async_trait]
impl Reader for OneStory {
    async fn trace(&self, id: TraceId) -> Result<Option<Trace>, StoreError> {
        Ok(self.material.traces.iter().find(|trace| trace.id == id).cloned())
    }
    async fn summary(&self, _: TraceId) -> Result<Option<TraceSummary>, StoreError> {
        Ok(None)
    }
    async fn traces_of_span(&self, _: SpanId) -> Result<Vec<TraceId>, StoreError> {
        Ok(Vec::new())
    }
    async fn traces(&self, _: &TraceFilter) -> Result<TracePage, StoreError> {
        Ok(TracePage::default())
    }
    async fn correlated(&self, correlation: &str) -> Result<Correlated, StoreError> {
        if correlation != self.id {
            return Ok(Correlated::default());
        }
        let tied = |trace: &Trace| self.material.tied_by_link.contains(&trace.id);
        let traces = self.material.traces.iter();
        let traces =
            traces.map(|trace| CorrelatedTrace { summary: self.summary_of(trace), carries_id: !tied(trace) });
        Ok(Correlated { traces: traces.collect(), logs: self.material.logs.clone(), ..Correlated::default() })
    }
    async fn logs(&self, _: &LogFilter) -> Result<LogPage, StoreError> {
        Ok(LogPage::default())
    }
    async fn log_counts(&self, _: &LogFilter, _: usize) -> Result<LogCounts, StoreError> {
        Ok(LogCounts::default())
    }
    async fn linking_to(&self, _: TraceId) -> Result<Vec<TraceSummary>, StoreError> {
        Ok(Vec::new())
    }
    async fn services(&self, _: u64, _: u64) -> Result<Vec<String>, StoreError> {
        Ok(Vec::new())
    }
    async fn activity(&self, _: u64, _: u64, _: usize) -> Result<Vec<Activity>, StoreError> {
        Ok(Vec::new())
    }
    async fn failing(&self, _: u64, _: u64) -> Result<Vec<Failing>, StoreError> {
        Ok(Vec::new())
    }
    async fn operations(&self, _: u64, _: u64, _: Option<&str>) -> Result<Vec<OperationRates>, StoreError> {
        Ok(Vec::new())
    }
    async fn calls(&self, _: u64, _: u64) -> Result<Vec<Call>, StoreError> {
        Ok(Vec::new())
    }
    async fn service_rates(&self, _: u64, _: u64, _: usize) -> Result<Vec<ServiceRates>, StoreError> {
        Ok(Vec::new())
    }
    async fn call_rates(
        &self,
        _: u64,
        _: u64,
        _: usize,
        _: &HashSet<Way>,
    ) -> Result<Vec<(u64, Rates)>, StoreError> {
        Ok(Vec::new())
    }
    async fn instance_rates(
        &self,
        _: u64,
        _: u64,
        _: usize,
        _: Option<&str>,
    ) -> Result<Vec<InstanceRates>, StoreError> {
        Ok(Vec::new())
    }
    async fn series(&self, _: &SeriesFilter) -> Result<FoundSeries, StoreError> {
        Ok(FoundSeries::default())
    }
    async fn newest_samples(&self, _: &SeriesFilter) -> Result<Vec<Newest>, StoreError> {
        Ok(Vec::new())
    }
    fn late_samples(&self) -> u64 {
        0
    }

    async fn kept_metrics(&self) -> Result<KeptMetrics, StoreError> {
        Ok(KeptMetrics::default())
    }
    fn damage(&self) -> Vec<String> {
        Vec::new()
    }
    async fn holdings(&self) -> Result<Holdings, StoreError> {
        Ok(Holdings::default())
    }
    fn commits(&self) -> watch::Receiver<u64> {
        self.commits.subscribe()
    }
}

struct Quiet;

impl StatusSource for Quiet {
    fn status(&self) -> ReceiveStatus {
        ReceiveStatus::default()
    }
}

fn app(id: &str, material: Material) -> axum::Router {
    router(PageState { reader: Arc::new(OneStory::new(id, material)), ..state() })
}

fn state() -> PageState {
    PageState {
        reader: Arc::new(OneStory::new("", Material::default())),
        board: Arc::default(),
        schemas: Arc::default(),
        desk: Arc::default(),
        queues: Arc::default(),
        overviews: Arc::default(),
        breakers: Arc::default(),
        maps: Arc::default(),
        services: Arc::default(),
        vocabulary: Arc::default(),
        status: Arc::new(Quiet),
        test_trace: None,
        scenarios: None,
        settings: Arc::new(PageSettings::default()),
        gate: Arc::default(),
        closing: CancellationToken::new(),
    }
}

async fn get(app: axum::Router, path: &str) -> (StatusCode, String, String) {
    let request = Request::get(path).header(header::HOST, "localhost:7070").body(Body::empty()).unwrap();
    let response = app.oneshot(request).await.unwrap();
    let kind = response.headers().get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_owned());
    let status = response.status();
    let body = to_bytes(response.into_body(), 4_000_000).await.unwrap();
    (status, kind.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap())
}

async fn story(material: Material, query: &str) -> String {
    let (status, _, body) = get(app(ID, material), &format!("/correlations/{ID}{query}")).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    no_inline(&body);
    body
}

/// Neither styles nor scripts nor handlers stand in the page itself.
fn no_inline(body: &str) {
    for bad in [" style=", "<style", " onclick", " onload", "javascript:", "NaN", "inf%"] {
        assert!(!body.contains(bad), "{bad} in the page");
    }
    for script in body.split("<script").skip(1) {
        assert!(
            script.contains("src=") && script.contains("></script>"),
            "{}",
            &script[..80.min(script.len())]
        );
    }
}

#[tokio::test]
async fn the_failing_order_is_told() {
    let body = story(fixture::dead_lettered(), "").await;
    assert!(
        body.contains(
            "Dead-lettered in orders.dlq after 3 deliveries: card_declined: do_not_honor</span></h1>"
        )
    );
    assert!(body.contains("First failure."));
    assert!(body.contains("Open where it broke"));
    let cause = format!("/traces/{}?span={}", fixture::trace_id(0xc3), fixture::span_id(32));
    assert!(body.contains(&cause), "no link to the cause");
    assert_eq!(body.matches("<li class=\"wait\">").count(), 3);
    assert_eq!(body.matches("<text class=\"head\"").count(), 3);
    assert_eq!(body.matches("class=\"fold\"").count(), 3);
    assert!(body.contains("it is here"));
    assert!(body.contains("id=\"log-0\""));
    assert!(body.len() < 100_000, "{} bytes", body.len());
}

#[tokio::test]
async fn every_fixture_makes_a_page() {
    for material in [
        fixture::retried(),
        fixture::waiting(),
        fixture::well(),
        fixture::pika(),
        fixture::old_names(),
        fixture::tied_by_link(),
        fixture::not_found(),
        fixture::gone_on(),
    ] {
        for query in
            ["", "?all=1", "?scale=true", "?service=payments", "?kind=messages", "?kind=logs&last=7d"]
        {
            let logs = material.logs.clone();
            let traces = material.traces.clone();
            let tied_by_link = material.tied_by_link.clone();
            let body = story(Material { traces, logs, tied_by_link, ..Material::default() }, query).await;
            assert!(body.contains("<h2>The story</h2>"), "{query}");
        }
    }
}

#[tokio::test]
async fn the_markdown_is_for_a_note() {
    let path = format!("/correlations/{ID}?format=markdown");
    let (status, kind, body) = get(app(ID, fixture::dead_lettered()), &path).await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "text/markdown; charset=utf-8"));
    assert!(body.starts_with(
        "# Dead-lettered in orders.dlq after 3 deliveries: card\\_declined: do\\_not\\_honor\n"
    ));
    assert!(body.contains(&format!("<http://localhost:7070/correlations/{ID}>")));
    assert!(body.contains("- `13:03:22.092` **payments** took delivery 1 of **order.placed**"), "{body}");
    assert!(body.contains("waited in `payments.charge`"));
}

/// Whether a line is one that Mermaid's grammar takes, whatever names stand in it.
fn is_mermaid(line: &str) -> bool {
    let text = |text: &str| {
        let harmless = |sign: char| sign.is_alphanumeric() || " .,_/-()".contains(sign);
        let entity = |part: &str| {
            part.split_once(';')
                .is_some_and(|(code, rest)| code.parse::<u32>().is_ok() && rest.chars().all(harmless))
        };
        let mut parts = text.split('#');
        parts.next().is_some_and(|first| first.chars().all(harmless)) && parts.all(entity)
    };
    let party = |name: &str| name.strip_prefix('p').is_some_and(|number| number.parse::<u8>().is_ok());
    let line = line.trim_start();
    if let Some(rest) = line.strip_prefix("participant ") {
        return rest.split_once(" as ").is_some_and(|(name, said)| party(name) && text(said));
    }
    if let Some(rest) = line.strip_prefix("Note over ") {
        return rest.split_once(": ").is_some_and(|(who, said)| who.split(',').all(party) && text(said));
    }
    let arrow = ["-->>", "->>", "--x", "-x", "-)"].into_iter().find(|arrow| line.contains(arrow));
    let ends = arrow.and_then(|arrow| line.split_once(arrow));
    ends.is_some_and(|(from, rest)| {
        rest.split_once(": ").is_some_and(|(to, said)| party(from) && party(to) && text(said))
    })
}

#[tokio::test]
async fn the_sequence_is_mermaid_text_whatever_names_are_sent() {
    let path = format!("/correlations/{ID}?format=mermaid");
    let (status, kind, body) = get(app(ID, fixture::dead_lettered()), &path).await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "text/plain; charset=utf-8"));
    assert!(body.contains("participant p2 as orders\n"), "{body}");
    assert!(body.contains(" as payments.charge (queue)\n"), "{body}");
    assert!(body.contains("->>p2: POST /orders\n"), "{body}");
    assert!(body.contains("-x") && body.contains("card_declined#58; do_not_honor"), "{body}");
    assert!(body.ends_with(": it is here\n"), "{body}");
    let (_, _, note) =
        get(app(ID, fixture::dead_lettered()), &format!("/correlations/{ID}?format=markdown")).await;
    assert!(note.contains(&format!("```mermaid\n{body}```")), "the note holds the same drawing");

    let mut sheet = Sheet::new(1);
    let evil = "end; %%{init}%% #35;\n\"`a->>b: c";
    for (id, kind) in [(1, crate::dashboard::model::Kind::Client), (2, crate::dashboard::model::Kind::Server)]
    {
        sheet.span((id, id - 1), &format!("{evil}{id}"), (kind, evil), (0, 10), "http.method=GET");
    }
    let (_, _, hostile) = get(app(ID, fixture::story_of(vec![sheet])), &path).await;
    assert!(hostile.lines().count() >= 4, "{hostile}");
    for line in body.lines().chain(hostile.lines()).filter(|line| *line != "sequenceDiagram") {
        assert!(is_mermaid(line), "{line}");
    }
}

#[tokio::test]
async fn what_users_send_is_never_markup() {
    let evil = "<script>alert(1)</script>\"'&\u{202e}";
    let mut sheet = Sheet::new(1);
    let attrs = format!("http.method=GET|http.target=/{evil}|{evil}.id={evil}|messaging.message.id={evil}");
    for (id, kind) in [
        (1, crate::dashboard::model::Kind::Server),
        (2, crate::dashboard::model::Kind::Producer),
        (3, crate::dashboard::model::Kind::Consumer),
        (4, crate::dashboard::model::Kind::Client),
    ] {
        let more =
            format!("{attrs}|messaging.destination={evil}|throughline.queue={evil}|peer.service={evil}");
        let span = sheet.span((id, id - 1), &format!("{evil}{id}"), (kind, evil), (0, 10), &more);
        fixture::fail(span, evil);
    }
    sheet.log(1, evil, 17, 5, evil);
    for query in ["", "?all=1", "?format=markdown", "?format=mermaid"] {
        let material = fixture::story_of(vec![Sheet { trace: sheet.trace.clone() }]);
        let path = format!("/correlations/%3Cscript%3Ealert(1)%3C%2Fscript%3E{query}");
        let (status, _, body) = get(app("<script>alert(1)</script>", material), &path).await;
        assert_eq!(status, StatusCode::OK);
        // In Markdown, what stands between backticks is code and never markup.
        let code = |(at, part): (usize, &str)| (at % 2 == 0).then(|| part.to_owned());
        let markup: String = match query {
            "?format=markdown" => body.split('`').enumerate().filter_map(code).collect(),
            _ => body.clone(),
        };
        assert!(!markup.contains("<script>alert") && !body.contains('\u{202e}'), "{query}");
        assert!(body.contains("alert(1)"));
    }
}

#[tokio::test]
async fn an_id_that_nothing_carries_is_said_to_be_searched_for() {
    let (status, _, body) = get(app(ID, Material::default()), "/correlations/order%2F42%20x").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(body.contains("Nothing carries this ID yet") && body.contains("order/42 x"));
    assert!(body.contains("messaging.conversation_id"));
    no_inline(&body);
}

#[tokio::test]
async fn bad_addresses_are_refused() {
    let long = format!("/correlations/{}", "x".repeat(257));
    for path in [
        "/correlations/a%00b",
        "/correlations/%FF",
        "/correlations/..%2F..%2Fetc",
        "/correlations/a%0Ab",
        &long,
        &format!("/correlations/{ID}?kind=all"),
        &format!("/correlations/{ID}?format=pdf"),
        &format!("/correlations/{ID}?act=-1"),
        &format!("/correlations/{ID}?log=abc"),
        &format!("/correlations/{ID}?log=100000000000"),
    ] {
        let (status, _, body) = get(app(ID, fixture::well()), path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
        assert!(body.contains("<h1>"), "{path}");
    }
    for literal in ["'%20OR%201=1--", "%25_%5C"] {
        let (status, ..) = get(app(ID, fixture::well()), &format!("/correlations/{literal}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{literal}");
    }
}

#[tokio::test]
async fn a_story_of_many_traces_is_bounded_and_paged() {
    let mut sheets = Vec::new();
    for number in 1..=50u8 {
        let mut sheet = Sheet::new(number);
        for id in 1..=40u16 {
            let name = format!("service-{}", id % 9);
            let at = (u64::from(number) * 20_000, u64::from(number) * 20_000 + 40);
            let attrs = "http.method=GET|http.target=/p|http.status_code=200";
            sheet.span((id, id - 1), &name, (crate::dashboard::model::Kind::Server, "GET /p"), at, attrs);
            sheet.log(id, &name, 9, at.0, "a line of text that says what happened");
        }
        sheets.push(sheet);
    }
    let copies = sheets.iter().map(|sheet| Sheet { trace: sheet.trace.clone() }).collect();
    let body = story(fixture::story_of(copies), "").await;
    assert!(body.contains("50\u{a0}traces") && !body.contains("Later acts"), "only the 50 roots are told");
    let body = story(fixture::story_of(sheets), "?all=1").await;
    assert!(body.len() < 200_000, "{} bytes", body.len());
    assert!(body.contains("Later acts") && body.contains("Later logs"));
    assert!(body.contains("act=120") && body.contains("log=80"));
}

#[tokio::test]
async fn a_trace_too_large_for_the_story_is_named() {
    let mut large = Sheet::new(9);
    for id in 1..=20_001u16 {
        large.span((id, 0), "import", (crate::dashboard::model::Kind::Internal, "row"), (0, 1), "");
    }
    let mut material = fixture::well();
    material.traces.push(large.trace);
    let body = story(material, "").await;
    assert!(body.contains("1 trace was too large"));
    assert!(body.contains(&format!("/traces/{}", fixture::trace_id(9))));
}
