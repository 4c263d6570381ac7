//! A trace: `/traces/{id}`.
//!
//! Everything that changes the view is in the address, so that any view can be sent to a colleague:
//! `span` opens one, `find` and `match` look within the trace, `errors=1` shows failures only, `path=0` hides
//! the critical path, `collapse` hides children, `fold=off` shows every internal span and `unfold` those of one run, `clock=adjusted` moves clocks, `zoom` draws a part of the time,
//! `row` begins further down. 100,000 spans are sent in portions of [`PORTION`] rows.

mod address;
mod axis;
mod line;
mod minimap;
pub mod panel;
mod rows;
mod tools;

use std::collections::{BTreeSet, HashSet};

use askama::Template;
use axum::extract::{Path, State};

use super::PageState;
use super::error::PageError;
use super::escape::Html;
use super::frame::{Frame, Nav};
use super::html::{PageResult, page};
use super::visit::Visit;
use crate::dashboard::model::{Nanos, Trace, TraceId, TraceSummary};
use crate::dashboard::query::finding::{self, Finding};
use crate::dashboard::query::waterfall::{Clocks, Waterfall};
use address::Address;
use axis::{Axis, Tick};
use panel::{LogLine, Panel};
use rows::{Drawing, Row};
use tools::Tools;

/// Rows sent at once.
const PORTION: usize = 150;
/// Rows shown above the opened one.
const ABOVE: usize = 12;
/// A trace that began less than this ago is looked at again when something arrives.
const YOUNG: Nanos = 120_000_000_000;
/// Logs listed below the timeline.
const MOST_LOGS: usize = 200;
/// Traces linked from this one that are looked up.
const MOST_LINKS: usize = 50;

/// The line of facts under the title.
struct Figures {
    begin: Nanos,
    length: u64,
    /// How long the first root took, where its times are plausible.
    answer: Option<u64>,
    /// The last end, where that is later.
    last_end: Option<u64>,
    spans: u64,
    services: u64,
    errors: u64,
    messages: u64,
    waited: u64,
}

impl Figures {
    fn of(waterfall: &Waterfall<'_>) -> Self {
        let nodes = &waterfall.nodes;
        let root = nodes.iter().find(|node| node.parent.is_none());
        let answer = root.filter(|node| node.time.words().is_none()).map(|node| node.end - node.start);
        let length = waterfall.end - waterfall.begin;
        let services: BTreeSet<&str> = waterfall.trace.spans.iter().map(|span| span.service()).collect();
        Self {
            begin: waterfall.begin,
            length,
            answer,
            last_end: answer.filter(|answer| *answer < length).map(|_| length),
            spans: nodes.len() as u64,
            services: services.len() as u64,
            errors: (0..nodes.len()).filter(|row| waterfall.span(*row).failed()).count() as u64,
            messages: waterfall.messages() as u64,
            waited: waterfall.waited(),
        }
    }
}

#[derive(Template)]
#[template(path = "trace.html")]
struct TracePage {
    frame: Frame,
    id: TraceId,
    title: String,
    finding: Finding,
    summary: Option<TraceSummary>,
    figures: Figures,
    ticks: Vec<Tick>,
    minimap: Html,
    rows: Vec<Row>,
    shown: usize,
    first_row: usize,
    before: Option<String>,
    after: Option<String>,
    tools: Tools,
    panel: Option<Panel>,
    logs: Vec<LogLine>,
    log_count: usize,
    /// The same in the list of logs.
    logs_href: String,
    links: Links,
    adjusted: bool,
}

/// Reads the ID of the path.
pub fn trace_id(text: &str) -> Result<TraceId, PageError> {
    TraceId::parse(text).map_err(|error| PageError::bad(format!("That is not a trace ID: {error}.")))
}

/// Reads a trace, or says that it is not there.
pub async fn load(state: &PageState, id: TraceId) -> Result<Trace, PageError> {
    state.reader.trace(id).await?.ok_or_else(|| {
        PageError::missing(
            "No such trace",
            format!("Nothing of trace {id} is here. If a service just sent it, it arrives within a second."),
        )
    })
}

/// Handler of `GET /traces/{id}`.
pub async fn show(State(state): State<PageState>, Path(id): Path<String>, visit: Visit) -> PageResult {
    let id = trace_id(&id)?;
    let address = Address::read(&visit.params)?;
    let trace = load(&state, id).await?;
    let summary = state.reader.summary(id).await?;
    let links = Links { into: state.reader.linking_to(id).await?, out: linked_from(&state, &trace).await? };
    let clocks = if address.adjusted { Clocks::Adjusted } else { Clocks::AsSent };
    let waterfall = Waterfall::new(&trace, visit.now, clocks);
    page(&draw(&visit, &address, &waterfall, summary, links))
}

/// Traces that link here, and traces linked from here with what is known of them.
struct Links {
    into: Vec<TraceSummary>,
    out: Vec<(TraceId, Option<TraceSummary>)>,
}

/// The traces that this one's spans link to.
async fn linked_from(
    state: &PageState,
    trace: &Trace,
) -> Result<Vec<(TraceId, Option<TraceSummary>)>, PageError> {
    let links = trace.spans.iter().flat_map(|span| &span.links).map(|link| link.trace_id);
    let targets: BTreeSet<TraceId> = links.filter(|id| *id != trace.id).collect();
    let mut known = Vec::new();
    for id in targets.into_iter().take(MOST_LINKS) {
        known.push((id, state.reader.summary(id).await?));
    }
    Ok(known)
}

fn draw(
    visit: &Visit,
    address: &Address,
    waterfall: &Waterfall<'_>,
    summary: Option<TraceSummary>,
    links: Links,
) -> TracePage {
    let trace = waterfall.trace;
    let finding = finding::of(waterfall);
    let title = visit.plain(&finding.title);
    let mut frame = visit.frame(Nav::Traces, title.clone());
    frame.refresh = waterfall.begin.saturating_add(YOUNG) > visit.now || trace.spans.is_empty();
    let matches = waterfall.find(&address.find);
    let selected = selected_row(address, waterfall, &matches);
    let wanted = matches.iter().copied().chain(selected).map(|row| waterfall.span(row).span_id);
    let hide = address.hide(wanted);
    let shown = waterfall.shown(&hide);
    let window = window(address, shown.lines.len(), selected.map(|row| shown.stands_for[row] as usize));
    let axis = Axis::new(waterfall, address.zoom);
    let path = if address.path { waterfall.critical_path() } else { Vec::new() };
    let selected_id = selected.map(|row| waterfall.span(row).span_id);
    let opened = Address { span: selected_id, ..address.clone() };
    let match_set: HashSet<usize> = matches.iter().copied().collect();
    let rows = Drawing {
        frame: &frame,
        waterfall,
        shown: &shown,
        hide: &hide,
        axis,
        address: &opened,
        matches: &match_set,
        path: &path,
    }
    .rows(window.clone());
    let go = |row: usize| frame.here(&[("row", Some(&row.to_string())), ("span", None), ("match", None)]);
    TracePage {
        id: trace.id,
        figures: Figures::of(waterfall),
        ticks: axis.ticks(),
        minimap: minimap::draw(waterfall, &axis),
        before: (window.start > 0).then(|| go(window.start.saturating_sub(PORTION))),
        after: (window.end < shown.lines.len()).then(|| go(window.end)),
        first_row: window.start,
        shown: shown.lines.len(),
        rows,
        tools: Tools::new(&frame, address, waterfall, &matches, selected),
        panel: selected.map(|row| panel::open(&frame, waterfall, row, finding.broke_at)),
        logs: trace.logs.iter().take(MOST_LOGS).map(|log| panel::log_line(&frame, log)).collect(),
        log_count: trace.logs.len(),
        logs_href: frame
            .logs_link(trace.logs.iter().map(|log| log.time), &[("trace", &trace.id.to_string())]),
        links,
        adjusted: waterfall.adjusted,
        title,
        finding,
        summary,
        frame,
    }
}

/// The opened row: the span of the address, else the chosen match.
fn selected_row(address: &Address, waterfall: &Waterfall<'_>, matches: &[usize]) -> Option<usize> {
    match (address.span, address.wanted_match) {
        (Some(id), _) => waterfall.row_of(id),
        (None, Some(number)) => matches.get(number.saturating_sub(1)).copied(),
        (None, None) => None,
    }
}

/// The shown rows that are sent.
fn window(address: &Address, shown: usize, selected: Option<usize>) -> std::ops::Range<usize> {
    let start = match (address.row, selected) {
        (Some(row), _) => row.min(shown.saturating_sub(1)),
        (None, Some(selected)) if selected >= PORTION - ABOVE => selected - ABOVE,
        _ => 0,
    };
    start..(start + PORTION).min(shown)
}
