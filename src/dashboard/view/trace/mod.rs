//! A trace: `/traces/{id}`.
//!
//! Everything that changes the view is in the address, so that any view can be sent to a colleague:
//! `span` opens one, `find` and `match` look within the trace, `errors=1` shows failures only, `path=0` hides
//! the critical path, `collapse` hides children, `clock=adjusted` moves clocks, `zoom` draws a part of the time,
//! `row` begins further down. 100,000 spans are sent in portions of [`PORTION`] rows.

mod axis;
mod line;
mod minimap;
pub mod panel;
mod rows;

use std::collections::{BTreeSet, HashSet};

use askama::Template;
use axum::extract::{Path, State};

use super::error::PageError;
use super::escape::Html;
use super::frame::{Frame, Nav};
use super::html::{PageResult, page};
use super::visit::{Params, Visit};
use super::{PageState, format};
use crate::dashboard::model::{Nanos, SpanId, Trace, TraceId, TraceSummary};
use crate::dashboard::query::finding::{self, Finding};
use crate::dashboard::query::waterfall::{Clocks, Hide, Waterfall};
use axis::{Axis, Tick};
use panel::{LogLine, Panel};
use rows::{Drawing, Row};

/// Rows sent at once.
const PORTION: usize = 150;
/// Rows shown above the opened one.
const ABOVE: usize = 12;
/// A trace that began less than this ago is looked at again when something arrives.
const YOUNG: Nanos = 120_000_000_000;
/// Logs listed below the timeline.
const MOST_LOGS: usize = 200;
/// Collapsed spans in one address.
const MOST_COLLAPSED: usize = 200;
/// Traces linked from this one that are looked up.
const MOST_LINKS: usize = 50;

/// What the address asks for.
#[derive(Clone)]
pub struct Address {
    pub span: Option<SpanId>,
    find: String,
    wanted_match: Option<usize>,
    collapse: Vec<SpanId>,
    depth: Option<u32>,
    errors: bool,
    path: bool,
    adjusted: bool,
    zoom: Option<(u64, u64)>,
    row: Option<usize>,
}

impl Address {
    fn read(params: &Params) -> Result<Self, PageError> {
        let span = match params.text("span") {
            None => None,
            Some(id) => Some(SpanId::parse(id).map_err(|error| PageError::bad(format!("“span”: {error}.")))?),
        };
        let (mut collapse, mut depth) = (Vec::new(), None);
        for part in params.text("collapse").unwrap_or_default().split(',').filter(|part| !part.is_empty()) {
            match part.strip_prefix("depth:").map(str::parse) {
                Some(Ok(number)) => depth = Some(number),
                Some(Err(_)) => {
                    return Err(PageError::bad("“collapse”: after “depth:” comes a whole number."));
                }
                None => collapse.push(
                    SpanId::parse(part).map_err(|error| PageError::bad(format!("“collapse”: {error}.")))?,
                ),
            }
        }
        if collapse.len() > MOST_COLLAPSED {
            return Err(PageError::bad("“collapse” names too many spans."));
        }
        let zoom = match params.text("zoom") {
            None => None,
            Some(text) => Some(
                text.split_once('-')
                    .and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)))
                    .filter(|(from, to)| from < to)
                    .ok_or_else(|| {
                        PageError::bad("“zoom” is two numbers of nanoseconds, as in 1000-2000.")
                    })?,
            ),
        };
        let adjusted = match params.text("clock") {
            None | Some("sent") => false,
            Some("adjusted") => true,
            Some(_) => return Err(PageError::bad("“clock” may be “sent” or “adjusted”.")),
        };
        let number = |key: &str| match params.text(key) {
            None => Ok(None),
            Some(_) => params.number(key, 0..=10_000_000, 0).map(Some),
        };
        Ok(Self {
            span,
            find: params.text("find").unwrap_or_default().to_owned(),
            wanted_match: number("match")?,
            collapse,
            depth,
            errors: params.on("errors"),
            path: params.get("path") != Some("0"),
            adjusted,
            zoom,
            row: number("row")?,
        })
    }

    fn hide(&self) -> Hide {
        Hide {
            collapsed: self.collapse.iter().copied().collect(),
            below_depth: self.depth,
            all_but_errors: self.errors,
        }
    }

    /// `collapse` with one span added or taken away; a depth gives way to single spans.
    pub fn toggled(&self, id: SpanId) -> Option<String> {
        let mut ids: Vec<String> =
            self.collapse.iter().filter(|other| **other != id).map(SpanId::to_string).collect();
        if ids.len() == self.collapse.len() && self.depth.is_none() {
            ids.push(id.to_string());
        }
        (!ids.is_empty()).then(|| ids.join(","))
    }
}

/// A switch in the bar: its address when pressed, and whether it is on.
struct Switch {
    href: String,
    on: bool,
}

/// Where one stands in what was found.
struct Found {
    text: String,
    count: usize,
    /// Counted from 1; 0 where none is chosen.
    current: usize,
    previous: Option<String>,
    next: Option<String>,
}

#[derive(Template)]
#[template(path = "trace.html")]
struct TracePage {
    frame: Frame,
    id: TraceId,
    title: String,
    finding: Finding,
    summary: Option<TraceSummary>,
    answer: Option<u64>,
    last_end: Option<u64>,
    spans: u64,
    services: u64,
    errors: u64,
    messages: u64,
    waited: u64,
    begin: Nanos,
    length: u64,
    ticks: Vec<Tick>,
    minimap: Html,
    rows: Vec<Row>,
    shown: usize,
    first_row: usize,
    before: Option<String>,
    after: Option<String>,
    found: Found,
    errors_only: Switch,
    path: Switch,
    collapse: Switch,
    clocks: Option<Switch>,
    whole: Option<String>,
    panel: Option<Panel>,
    logs: Vec<LogLine>,
    log_count: usize,
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
    let title = finding.title.plain(format::duration);
    let mut frame = visit.frame(Nav::Traces, title.clone());
    frame.refresh = waterfall.begin.saturating_add(YOUNG) > visit.now || trace.spans.is_empty();
    let matches = waterfall.find(&address.find);
    let hide = address.hide();
    let shown = waterfall.shown(&hide);
    let selected = selected_row(address, waterfall, &matches);
    let window = window(address, &shown.rows, selected.map(|row| shown.stands_for[row] as usize));
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
    let root = waterfall.nodes.iter().position(|node| node.parent.is_none());
    let plausible = |row: &usize| waterfall.nodes[*row].time.words().is_none();
    let answer = root.filter(plausible).map(|row| waterfall.nodes[row].end - waterfall.nodes[row].start);
    let length = waterfall.end - waterfall.begin;
    let go = |row: usize| frame.here(&[("row", Some(&row.to_string())), ("span", None), ("match", None)]);
    let mut services: Vec<_> = trace.spans.iter().map(|span| span.service()).collect();
    services.sort_unstable();
    services.dedup();
    TracePage {
        id: trace.id,
        answer,
        last_end: answer.filter(|answer| *answer < length).map(|_| length),
        spans: waterfall.nodes.len() as u64,
        services: services.len() as u64,
        errors: (0..waterfall.nodes.len()).filter(|row| waterfall.span(*row).failed()).count() as u64,
        messages: waterfall.messages() as u64,
        waited: waterfall.waited(),
        begin: waterfall.begin,
        length,
        ticks: axis.ticks(),
        minimap: minimap::draw(waterfall, &axis),
        before: (window.start > 0).then(|| go(window.start.saturating_sub(PORTION))),
        after: (window.end < shown.rows.len()).then(|| go(window.end)),
        first_row: window.start,
        shown: shown.rows.len(),
        rows,
        found: found(&frame, address, waterfall, &matches, selected),
        errors_only: switch(&frame, "errors", "1", address.errors),
        path: Switch { href: frame.here(&[("path", address.path.then_some("0"))]), on: address.path },
        collapse: Switch {
            href: frame.here(&[
                ("collapse", (address.depth.is_none() && address.collapse.is_empty()).then_some("depth:1")),
                ("row", None),
            ]),
            on: address.depth.is_some() || !address.collapse.is_empty(),
        },
        clocks: waterfall.skewed.then(|| switch(&frame, "clock", "adjusted", address.adjusted)),
        whole: address.zoom.map(|_| frame.here(&[("zoom", None)])),
        panel: selected.map(|row| panel::open(&frame, waterfall, row, finding.broke_at)),
        logs: trace.logs.iter().take(MOST_LOGS).map(|log| panel::log_line(&frame, log)).collect(),
        log_count: trace.logs.len(),
        links,
        adjusted: waterfall.adjusted,
        title,
        finding,
        summary,
        frame,
    }
}

fn switch(frame: &Frame, key: &str, value: &str, on: bool) -> Switch {
    Switch { href: frame.here(&[(key, (!on).then_some(value)), ("row", None)]), on }
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
fn window(address: &Address, rows: &[usize], selected: Option<usize>) -> std::ops::Range<usize> {
    let start = match (address.row, selected) {
        (Some(row), _) => row.min(rows.len().saturating_sub(1)),
        (None, Some(selected)) if selected >= PORTION - ABOVE => selected - ABOVE,
        _ => 0,
    };
    start..(start + PORTION).min(rows.len())
}

fn found(
    frame: &Frame,
    address: &Address,
    waterfall: &Waterfall<'_>,
    matches: &[usize],
    selected: Option<usize>,
) -> Found {
    let count = matches.len();
    let current = selected.and_then(|row| matches.iter().position(|at| *at == row)).map_or(0, |at| at + 1);
    let open = |number: usize| {
        let id = waterfall.span(matches[number - 1]).span_id.to_string();
        frame.here(&[("span", Some(&id)), ("match", None), ("row", None)])
    };
    let wrap = |number: usize| {
        if number == 0 {
            count
        } else if number > count {
            1
        } else {
            number
        }
    };
    Found {
        text: address.find.clone(),
        count,
        current,
        previous: (count > 0).then(|| open(wrap(current.saturating_sub(1)))),
        next: (count > 0).then(|| open(wrap(current + 1))),
    }
}
