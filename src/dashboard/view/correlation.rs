//! `GET /correlations/{id}`: everything that carries one correlation ID, as one story.
//!
//! * [`words`]: sentences as HTML and as Markdown.
//! * [`lanes`]: where the time went, as SVG.
//! * [`parties`]: who spoke to whom, as SVG; [`mermaid`]: the same as text.
//!
//! What must not live here: what a trace or a message means; that is [`story`].

mod lanes;
mod mermaid;
mod parties;
mod words;

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use askama::Template;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;

use super::escape::Html;
use super::frame::{Frame, Nav};
use super::html::{PageResult, page};
use super::visit::{Params, Visit};
use super::{PageState, error::PageError, format};
use crate::dashboard::model::correlation::MAX_LEN;
use crate::dashboard::model::{EARLIEST, LogRecord, Nanos, Trace, TraceId, TraceSummary};
use crate::dashboard::query::breakers::near::{Near, near};
use crate::dashboard::query::story::{
    self, Act, ActKind, LogLine, Material, State as How, Story, Weight, Wish,
};
use crate::dashboard::store::{Correlated, CorrelatedTrace, StoreError};

/// Spans read for one story. Traces that would exceed it are named and left to their own pages.
const MAX_SPANS: usize = 20_000;
/// A breaker that opened so long before a story began may be why it went as it did; exports tell of a change late.
const BEFORE: Nanos = 60_000_000_000;
const AFTER: Nanos = 60_000_000_000;
/// Acts and logs on one page.
const ACTS: usize = 120;
const LOGS: usize = 80;
/// The highest number of a page's first act or log.
const FARTHEST: usize = 10_000_000;
/// Traces left out that are named.
const MAX_NAMED: usize = 10;

/// The page of a story.
#[derive(Template)]
#[template(path = "correlation.html")]
struct StoryPage {
    frame: Frame,
    id: String,
    story: Story,
    wish: Wish,
    /// Service and kind as they stand in the address.
    kind: &'static str,
    left_out: Vec<TraceId>,
    truncated: bool,
    chart: Html,
    sequence: Html,
    markdown: String,
    /// The same drawing as text; empty where there is none.
    mermaid: String,
    /// First act and first log on this page.
    first_act: usize,
    first_log: usize,
}

/// The page where nothing carries the ID.
#[derive(Template)]
#[template(path = "correlation_none.html")]
struct NonePage {
    frame: Frame,
    id: String,
}

/// Handler of `GET /correlations/{id}`.
pub async fn correlation(
    State(state): State<PageState>,
    Path(id): Path<String>,
    visit: Visit,
    headers: HeaderMap,
) -> PageResult {
    check(&id)?;
    let wish = wish(&visit.params)?;
    let first_act = visit.params.number("act", 0..=FARTHEST, 0)?;
    let first_log = visit.params.number("log", 0..=FARTHEST, 0)?;
    let found = state.reader.correlated(&id).await?;
    if found.traces.is_empty() && found.logs.is_empty() && found.messages.is_empty() {
        return nothing(&visit, id);
    }
    let truncated = found.truncated;
    let (material, left_out) = gather(&state, found).await?;
    let story = story::tell(&material, &wish, visit.now);
    let mermaid = mermaid::text(&story);
    let markdown = words::markdown(&visit, &id, &story, &mermaid, headers.get(header::HOST));
    let plain = |kind: &'static str, text: String| Ok(([(header::CONTENT_TYPE, kind)], text).into_response());
    match visit.params.text("format") {
        Some("markdown") => return plain("text/markdown; charset=utf-8", markdown),
        Some("mermaid") => return plain("text/plain; charset=utf-8", mermaid),
        Some(other) => {
            let other = format::shortened(other, 20);
            return Err(PageError::bad(format!("“format” may be markdown or mermaid, not “{other}”.")));
        }
        None => {}
    }
    let mut frame = visit.frame(Nav::Other, visit.plain(&story.verdict.headline));
    frame.refresh = true;
    let chart = lanes::svg(&frame, &story);
    let sequence = parties::svg(&frame, &story);
    let kind = wish.kind.map_or("", kind_word);
    page(&StoryPage {
        frame,
        id,
        story,
        wish,
        kind,
        left_out,
        truncated,
        chart,
        sequence,
        markdown,
        mermaid,
        first_act,
        first_log,
    })
}

/// Refuses what no correlation ID can be.
pub(super) fn check(id: &str) -> Result<(), PageError> {
    if id.len() > MAX_LEN {
        return Err(PageError::bad(format!(
            "A correlation ID has at most {MAX_LEN} bytes; this has {}.",
            id.len()
        )));
    }
    if id.chars().any(char::is_control) {
        return Err(PageError::bad("A correlation ID has no control characters."));
    }
    if id.contains("../") || id.contains("..\\") {
        return Err(PageError::bad("This is a path, not a correlation ID."));
    }
    Ok(())
}

pub(super) fn wish(params: &Params) -> Result<Wish, PageError> {
    let kind = match params.text("kind") {
        None => None,
        Some("requests") => Some(ActKind::Request),
        Some("messages") => Some(ActKind::Message),
        Some("logs") => Some(ActKind::Log),
        Some(other) => {
            let other = format::shortened(other, 20);
            return Err(PageError::bad(format!("“kind” may be requests, messages or logs, not “{other}”.")));
        }
    };
    let true_scale = params.on("scale");
    Ok(Wish { service: params.text("service").map(str::to_owned), kind, quiet: params.on("all"), true_scale })
}

pub(super) fn kind_word(kind: ActKind) -> &'static str {
    match kind {
        ActKind::Request | ActKind::Work => "requests",
        ActKind::Message => "messages",
        ActKind::Log => "logs",
    }
}

/// Says that nothing carries the ID, with a status that says the same.
fn nothing(visit: &Visit, id: String) -> PageResult {
    let mut frame = visit.frame(Nav::Other, format!("Nothing carries {}", format::shortened(&id, 60)));
    frame.refresh = true;
    Ok((StatusCode::NOT_FOUND, page(&NonePage { frame, id })?).into_response())
}

/// Reads the traces, within the budget of spans: failed ones first, then small ones.
pub(super) async fn gather(
    state: &PageState,
    found: Correlated,
) -> Result<(Material, Vec<TraceId>), PageError> {
    let mut by_worth: Vec<&CorrelatedTrace> = found.traces.iter().collect();
    by_worth.sort_by_key(|trace| (trace.summary.errors == 0, trace.summary.spans));
    let mut room = MAX_SPANS;
    let mut left_out = Vec::new();
    for trace in by_worth {
        match room.checked_sub(trace.summary.spans as usize) {
            Some(rest) => room = rest,
            None => left_out.push(trace.summary.trace_id),
        }
    }
    let wanted: Vec<TraceId> =
        found.traces.iter().map(|trace| trace.summary.trace_id).filter(|id| !left_out.contains(id)).collect();
    let mut traces: Vec<Trace> = Vec::with_capacity(wanted.len());
    for (id, read) in state.reader.each_trace(&wanted).await {
        match read {
            Err(error @ StoreError::Damaged(_)) => {
                tracing::error!(trace = %id, %error, "left out of a story; all else is readable");
                left_out.push(id);
            }
            read => traces.extend(read?),
        }
    }
    let changes = changes(state, &traces, &found.logs).await?;
    let by_link = |trace: &&CorrelatedTrace| !trace.carries_id;
    let id = |summary: &TraceSummary| summary.trace_id;
    let material = Material {
        traces,
        tied_by_link: found.traces.iter().filter(by_link).map(|trace| id(&trace.summary)).collect(),
        logs: found.logs,
        messages: found.messages,
        changes,
        left_out: left_out.len(),
    };
    left_out.truncate(MAX_NAMED);
    Ok((material, left_out))
}

/// What the breakers of the story's services did from shortly before it to shortly after it.
async fn changes(state: &PageState, traces: &[Trace], logs: &[LogRecord]) -> Result<Vec<Near>, PageError> {
    let spans = || traces.iter().flat_map(|trace| &trace.spans);
    let services: HashSet<String> = spans().map(|span| span.service().to_owned()).collect();
    let times = spans().flat_map(|span| [span.start, span.end.max(span.start)]);
    let times = times.chain(logs.iter().map(|log| log.time)).filter(|time| *time >= EARLIEST);
    let ends = times.fold(None, |ends: Option<(Nanos, Nanos)>, at| {
        Some(ends.map_or((at, at), |(first, last)| (first.min(at), last.max(at))))
    });
    let Some((first, last)) = ends else { return Ok(Vec::new()) };
    let range = (first.saturating_sub(BEFORE), last.saturating_add(AFTER));
    match near(&state.breakers, &*state.reader, &services, range).await {
        Err(error @ StoreError::Damaged(_)) => {
            tracing::error!(%error, "a story is told without its breakers");
            Ok(Vec::new())
        }
        changes => Ok(changes?),
    }
}

impl StoryPage {
    /// Icon, its class and its word for the verdict.
    fn sign(&self) -> Html {
        let state = self.story.verdict.state;
        let (name, class, says) = match state {
            How::Well => ("ok", "", "all well"),
            How::Running => ("right", "", "under way"),
            How::Retried => ("redo", "", "retried"),
            How::OnlyLogs => ("log", "", "logs only"),
            _ if state.is_bad() => ("err", "err-t", "failed"),
            _ => ("warn", "warn-t", "look at this"),
        };
        self.frame.sign(name, class, says)
    }

    /// The acts of this page.
    fn acts(&self) -> &[Act] {
        window(&self.story.acts.list, self.first_act, ACTS)
    }

    fn logs(&self) -> impl Iterator<Item = (usize, &LogLine)> {
        let window = window(&self.story.logs, self.first_log, LOGS);
        window.iter().enumerate().map(|(at, log)| (at + self.first_log, log))
    }

    /// Links to the acts or logs before and after those of this page: key, first before, first after.
    fn more_acts(&self) -> (Option<usize>, Option<usize>) {
        neighbours(self.first_act, ACTS, self.story.acts.list.len())
    }

    fn more_logs(&self) -> (Option<usize>, Option<usize>) {
        neighbours(self.first_log, LOGS, self.story.logs.len())
    }

    /// This page's address, going on with another act or log.
    fn from(&self, key: &str, first: &usize) -> String {
        let first = (*first > 0).then(|| first.to_string());
        self.frame.here(&[(key, first.as_deref())])
    }

    fn class(&self, act: &Act) -> &'static str {
        match act.weight {
            Weight::Main => "",
            Weight::Side => "side",
            Weight::Bad => "bad",
            Weight::Wait => "wait",
            Weight::Now => "now",
        }
    }

    /// The time of an act: when, and how long after the begin; for a wait its length.
    fn when(&self, act: &Act) -> Html {
        words::when(&self.frame, act, self.story.facts.first, self.story.now)
    }

    /// Links of an act. A trace is named where it is another one than that of the act before.
    fn refs(&self, act: &Act) -> Html {
        let shown = self.first_log..self.first_log + LOGS;
        words::refs(&self.frame, act, &shown)
    }

    /// The story's logs in the list of logs.
    fn logs_page(&self) -> String {
        let times = self.story.logs.iter().map(|log| log.time);
        self.frame.logs_link(times, &[("correlation", &self.id)])
    }

    /// The time of day of a log.
    fn clock(&self, at: &u64) -> Html {
        words::clock(&self.frame, *at)
    }

    /// `trace A` and so on, where there is more than one trace.
    fn span_page(&self, log: &LogLine) -> Option<String> {
        let trace = log.trace?;
        Some(match log.span {
            Some(span) => self.frame.link_with(&format!("/traces/{trace}"), &[("span", &span.to_string())]),
            None => self.frame.trace_link(&trace),
        })
    }

    /// What the form of the filters has to send along.
    fn kept(&self) -> Vec<&(String, String)> {
        let own = |key: &str| matches!(key, "service" | "kind" | "act" | "log" | "format");
        self.frame.visit.params.0.iter().filter(|(key, _)| !own(key)).collect()
    }

    /// Whether the story began on another day than today, and which.
    fn day(&self) -> Option<String> {
        let zone = &self.frame.visit.zone;
        let (first, now) = (self.story.facts.first, self.story.now);
        (!zone.same_day(first, now)).then(|| zone.day(first))
    }

    fn is_kind(&self, word: &str) -> bool {
        self.kind == word
    }

    fn number(&self, number: &usize) -> String {
        format::count(*number as u64)
    }

    /// A level of a log as a badge's class.
    fn level(&self, log: &LogLine) -> &'static str {
        match log.severity {
            17.. => "err",
            13..=16 => "warn",
            _ => "quiet",
        }
    }

    /// The first lines of a log, and the whole where it is longer.
    fn cut(&self, text: &str) -> (String, Option<String>) {
        const SHORT: usize = 300;
        let short = format::shortened(text, SHORT);
        let whole = (text.chars().count() > SHORT).then(|| text.to_owned());
        (short, whole)
    }
}

/// At most `most` of `list`, from `first`.
fn window<T>(list: &[T], first: usize, most: usize) -> &[T] {
    let first = first.min(list.len());
    &list[first..(first + most).min(list.len())]
}

fn neighbours(first: usize, most: usize, all: usize) -> (Option<usize>, Option<usize>) {
    let before = (first > 0).then(|| first.saturating_sub(most));
    (before, Some(first + most).filter(|next| *next < all))
}
