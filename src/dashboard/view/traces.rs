//! The list of traces: `/traces`, and `/traces/new` for the line that counts what came since.

use askama::Template;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::connect;
use super::dots::{self, Point};
use super::error::PageError;
use super::escape::Html;
use super::frame::{Frame, Nav};
use super::html::{PageResult, page};
use super::news::News;
use super::visit::{Params, Visit};
use super::{PageState, format};
use crate::dashboard::model::{TraceId, TraceSummary};
use crate::dashboard::query::language::{self, Form, QueryError};
use crate::dashboard::store::{Cursor, Order, TraceFilter, TracePage};

/// The row that counts newer traces.
const NEWS: News = News { path: "/traces", columns: 8, names: ("trace", "traces") };
/// Rows of a page where the address does not say.
const USUAL_LIMIT: usize = 50;
/// What the language can do, where no query was asked yet.
const EXAMPLES: [&str; 3] = [
    "status = error and kind = consumer",
    "http.response.status_code >= 500",
    "{ kind = producer } >> { status = error }",
];
/// Services named in a row.
const MOST_SERVICES: usize = 4;

/// What the address asks for, or what is wrong with its query.
pub(super) struct Asked {
    pub filter: TraceFilter,
    /// The whole query as one line, as it was written where it cannot be read.
    pub query: String,
    form: Form,
    pub bad_query: Option<QueryError>,
}

/// One row.
struct Row {
    trace: TraceSummary,
    href: String,
    duration: Html,
    bar: String,
    more: usize,
}

#[derive(Template)]
#[template(path = "traces.html")]
struct ListPage {
    frame: Frame,
    filter: TraceFilter,
    form: Form,
    query: String,
    bad_query: Option<(String, String)>,
    orders: Vec<(String, &'static str, bool)>,
    /// Queries to begin with, and where they lead.
    examples: Vec<(&'static str, String)>,
    services: Vec<String>,
    min: String,
    max: String,
    filtered: bool,
    chart: Option<Html>,
    page: TracePage,
    rows: Vec<Row>,
    next: Option<String>,
    first: Option<String>,
    new_rows: Option<String>,
}

/// Handler of `GET /traces`.
pub async fn list(State(state): State<PageState>, visit: Visit) -> PageResult {
    let asked = read(&visit)?;
    let mut frame = visit.frame(Nav::Traces, "Traces");
    frame.stream = visit.range.preset.is_some();
    let nothing_kept = {
        let holdings = state.reader.holdings().await?;
        holdings.spans == 0 && holdings.logs == 0
    };
    if nothing_kept {
        return connect::empty(&visit, &state, Nav::Traces);
    }
    let services = state.reader.services(visit.range.from, visit.range.to.saturating_add(1)).await?;
    let found = match asked.bad_query {
        None => state.reader.traces(&asked.filter).await?,
        Some(_) => TracePage { complete: true, ..TracePage::default() },
    };
    page(&draw(frame, &visit, asked, services, found))
}

fn draw(frame: Frame, visit: &Visit, asked: Asked, services: Vec<String>, found: TracePage) -> ListPage {
    let Asked { filter, query, form, bad_query } = asked;
    let longest = found.rows.iter().map(TraceSummary::duration).max().unwrap_or(0);
    let rows: Vec<Row> = found.rows.iter().map(|trace| row(&frame, trace.clone(), longest)).collect();
    let points: Vec<Point> = found
        .dots
        .iter()
        .map(|dot| Point {
            at: dot.start,
            duration: dot.duration,
            failed: dot.failed,
            href: format!("/traces/{}", dot.trace_id),
        })
        .collect();
    let says = format!("Duration of {} traces over time; failed ones are larger and red", points.len());
    let orders = [
        ("newest", "Newest", Order::Newest),
        ("longest", "Longest", Order::Longest),
        ("spans", "Most spans", Order::MostSpans),
        ("errors", "Most errors", Order::MostErrors),
    ]
    .map(|(word, name, order)| {
        let word = (order != Order::Newest).then_some(word);
        (frame.here(&[("order", word), ("after", None)]), name, filter.order == order)
    })
    .into();
    let shown = |ns: Option<u64>| ns.map(language::written).unwrap_or_default();
    let bad_query =
        bad_query.map(|error| (error.to_string(), " ".repeat(error.column.saturating_sub(1)) + "^"));
    let newest = found.rows.first().map(|trace| trace.start);
    let live = frame.stream && filter.order == Order::Newest && filter.after.is_none() && bad_query.is_none();
    let example = |text| (text, frame.link_with("/traces", &[("query", text)]));
    ListPage {
        examples: EXAMPLES.into_iter().map(example).collect(),
        filtered: !query.is_empty(),
        min: shown(form.min),
        max: shown(form.max),
        chart: (!points.is_empty()).then(|| dots::dots(visit, &points, &says)),
        next: found.next.map(|cursor| frame.here(&[("after", Some(&write_cursor(cursor, filter.order)))])),
        first: filter.after.map(|_| frame.here(&[("after", None)])),
        new_rows: live.then(|| NEWS.address(visit, newest.unwrap_or(visit.range.from))),
        query,
        form,
        bad_query,
        orders,
        services,
        page: found,
        rows,
        filter,
        frame,
    }
}

fn row(frame: &Frame, mut trace: TraceSummary, longest: u64) -> Row {
    // They come in the order of arrival, which is nobody's; the one that the trace began in goes first.
    if let Some(root) = &trace.root {
        trace.services.sort_by_key(|share| *share.name != *root.service);
    }
    let level = |ns: u64| (1.0 + ns as f64 / 1e5).ln();
    let bar = if longest > 0 { level(trace.duration()) / level(longest) * 100.0 } else { 0.0 };
    Row {
        href: frame.trace_link(&trace.trace_id),
        duration: frame.duration(&trace.duration()),
        bar: format!("{:.0}%", bar.clamp(1.0, 100.0)),
        more: trace.services.len().saturating_sub(MOST_SERVICES) + trace.more_services as usize,
        trace,
    }
}

/// Reads the query line and the form; what the form says comes on top of the line.
pub(super) fn read(visit: &Visit) -> Result<Asked, PageError> {
    let params = &visit.params;
    let line = params.text("query").unwrap_or_default();
    if line.len() > language::MAX_LEN {
        return Err(PageError::bad("The query is too long."));
    }
    let mut form = Form::default();
    let mut bad_query = None;
    if !line.is_empty() {
        match language::read(line) {
            Ok(query) => form = Form::of(&query),
            Err(error) => bad_query = Some(error),
        }
    }
    read_form(params, &mut form)?;
    let mut filter = TraceFilter::default();
    let mut query = line.to_owned();
    if bad_query.is_none() {
        let whole = form.text().and_then(|text| match text.is_empty() {
            true => Ok(None),
            false => language::read(&text).map(Some),
        });
        match whole {
            Ok(whole) => {
                query = whole.as_ref().map(ToString::to_string).unwrap_or_default();
                filter.select = whole.map(language::Query::selection);
            }
            Err(error) => bad_query = Some(error),
        }
    }
    filter.order = match params.text("order") {
        None | Some("newest") => Order::Newest,
        Some("longest") => Order::Longest,
        Some("spans") => Order::MostSpans,
        Some("errors") => Order::MostErrors,
        Some(_) => return Err(PageError::bad("“order” may be newest, longest, spans or errors.")),
    };
    filter.limit = params.number("limit", 1..=TraceFilter::MAX_LIMIT, USUAL_LIMIT)?;
    filter.dots = true;
    filter.from = Some(visit.range.from);
    filter.to = Some(visit.range.to);
    filter.after = params.after(|text| read_cursor(text, filter.order))?;
    Ok(Asked { filter, query, form, bad_query })
}

/// Reads the form beside the line.
fn read_form(params: &Params, form: &mut Form) -> Result<(), PageError> {
    let text = |key: &str| params.text(key).map(str::to_owned);
    form.service = text("service").or(form.service.take());
    form.operation = text("name").or(form.operation.take());
    form.correlation = text("correlation").or(form.correlation.take());
    match params.text("status") {
        None | Some("any") => {}
        Some("error") => form.failed = Some(true),
        Some("ok") => form.failed = Some(false),
        Some(_) => return Err(PageError::bad("“status” may be error, ok or any.")),
    }
    let duration = |key: &str| match params.text(key) {
        None => Ok(None),
        Some(text) => language::duration(text).map(Some).ok_or_else(|| {
            PageError::bad(format!(
                "“{key}” is a duration such as 250ms or 1.5s, not “{}”.",
                format::shortened(text, 20)
            ))
        }),
    };
    form.min = duration("min")?.or(form.min);
    form.max = duration("max")?.or(form.max);
    Ok(())
}

/// A cursor as text, with a check so that a changed one is noticed.
pub(super) fn write_cursor(cursor: Cursor, order: Order) -> String {
    format!("{:x}-{}-{:08x}", cursor.key, cursor.trace_id, check(cursor, order))
}

fn read_cursor(text: &str, order: Order) -> Option<Cursor> {
    let mut parts = text.splitn(3, '-');
    let key = u64::from_str_radix(parts.next()?, 16).ok()?;
    let trace_id = TraceId::parse(parts.next()?).ok()?;
    let cursor = Cursor { key, trace_id };
    (parts.next()? == format!("{:08x}", check(cursor, order))).then_some(cursor)
}

fn check(cursor: Cursor, order: Order) -> u32 {
    let text = format!("{} {} {order:?}", cursor.key, cursor.trace_id);
    xxhash_rust::xxh3::xxh3_64(text.as_bytes()) as u32
}

/// Handler of `GET /traces/new`: one row that says how many traces came since.
pub async fn new_rows(State(state): State<PageState>, visit: Visit) -> PageResult {
    let since = News::since(&visit)?;
    let mut asked = read(&visit)?;
    (asked.filter.from, asked.filter.to, asked.filter.limit) = (Some(since.saturating_add(1)), None, 1);
    let found = state.reader.traces(&asked.filter).await?;
    NEWS.row(&visit, found.matched, false)
}

/// Handler of `GET /traces/complete?line=…&at=…`: what can stand at that character of the line, as
/// `{"from":0,"to":3,"items":["name"]}`.
pub async fn complete(State(state): State<PageState>, visit: Visit) -> Result<Json<Value>, PageError> {
    let line = visit.params.get("line").unwrap_or_default();
    if line.len() > language::MAX_LEN {
        return Err(PageError::bad("The query is too long."));
    }
    let at = visit.params.number("at", 0..=language::MAX_LEN, line.chars().count())?;
    let found = state.vocabulary.suggest(&*state.reader, line, at, visit.range.to).await?;
    Ok(Json(json!({ "from": found.from, "to": found.to, "items": found.items })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::fixture::build::trace_id;

    #[test]
    fn a_changed_cursor_is_noticed() {
        let cursor = Cursor { key: 1_795_440_068_000_000_000, trace_id: trace_id(7) };
        let text = write_cursor(cursor, Order::Newest);
        assert_eq!(read_cursor(&text, Order::Newest), Some(cursor));
        assert_eq!(read_cursor(&text, Order::Longest), None);
        for changed in ["", "a-b-c", &text[1..], &format!("{text}0"), &text.replace('1', "2")] {
            assert_eq!(read_cursor(changed, Order::Newest), None, "{changed}");
        }
    }
}
