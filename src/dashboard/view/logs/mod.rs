//! The list of logs: `/logs`, `/logs/new` for the line that counts what came since, and `/logs/otlp.jsonl`.
//!
//! * [`asked`]: what the address asks for.
//! * [`row`]: one log in the list.

mod asked;
mod row;

use std::collections::{HashMap, HashSet};

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::bars;
use super::connect;
use super::download::file;
use super::error::PageError;
use super::escape::Html;
use super::frame::{Frame, Nav};
use super::html::{PageResult, page};
use super::news::News;
use super::visit::Visit;
use super::{PageState, format};
use crate::dashboard::model::{Severity, TraceId};
use crate::dashboard::query::{export, logs};
use crate::dashboard::store::{LogCounts, LogFilter, LogPage};
pub use asked::{USUAL_LIMIT, read, read_cursor, write_cursor};
use row::Row;
pub use row::pair;

/// The row that counts newer logs.
const NEWS: News = News { path: "/logs", columns: 6, names: ("log", "logs") };
/// Columns of the chart, about.
const COLUMNS: usize = 90;
/// Traces that are asked for their correlation ID.
const MOST_TRACES: usize = 50;
/// New logs that are counted where each has to be read for it.
const MOST_NEW: usize = 100;

#[derive(Template)]
#[template(path = "logs.html")]
struct ListPage {
    frame: Frame,
    filter: LogFilter,
    severity: Option<Severity>,
    services: Vec<String>,
    /// Attributes asked for, with the address that is without each.
    attributes: Vec<(String, String, String)>,
    filtered: bool,
    counts: LogCounts,
    chart: Option<Html>,
    page: LogPage,
    rows: Vec<Row>,
    next: Option<String>,
    first: Option<String>,
    new_rows: Option<String>,
    download: String,
}

/// Handler of `GET /logs`.
pub async fn list(State(state): State<PageState>, visit: Visit) -> PageResult {
    let filter = asked::read(&visit, asked::USUAL_LIMIT)?;
    let severity = asked::severity(&visit.params)?;
    if state.reader.holdings().await?.logs == 0 {
        return connect::logs::empty(&visit, &state);
    }
    let mut frame = visit.frame(Nav::Logs, "Logs");
    frame.stream = visit.range.preset.is_some();
    let services = state.reader.services(visit.range.from, visit.range.to.saturating_add(1)).await?;
    let counts = state.reader.log_counts(&filter, COLUMNS).await?;
    let found = state.reader.logs(&filter).await?;
    let stories = stories(&state, &found).await?;
    page(&draw(frame, filter, severity, services, counts, found, &stories))
}

/// The correlation IDs of the traces that logs belong to which carry none themselves.
async fn stories(state: &PageState, found: &LogPage) -> Result<HashMap<TraceId, String>, PageError> {
    let mut stories = HashMap::new();
    let mut known = HashSet::new();
    let without = found.rows.iter().filter(|row| logs::correlation(&row.log).is_none());
    for id in without.filter_map(|row| row.log.trace_id) {
        if known.len() >= MOST_TRACES {
            break;
        }
        if known.insert(id)
            && let Some(summary) = state.reader.summary(id).await?
            && let Some(correlation) = summary.correlation()
        {
            stories.insert(id, correlation.value.clone());
        }
    }
    Ok(stories)
}

fn draw(
    frame: Frame,
    filter: LogFilter,
    severity: Option<Severity>,
    services: Vec<String>,
    counts: LogCounts,
    found: LogPage,
    stories: &HashMap<TraceId, String>,
) -> ListPage {
    let rows = row::rows(&frame, &found.rows, stories);
    let visit = &frame.visit;
    let attributes = filter.attributes.iter().map(|(key, value)| {
        let pair = format!("{key}={value}");
        let to = format!("/logs{}", visit.params.without("attr", &pair).write());
        (pair, format!("{} = {}", format::shortened(key, 60), format::shortened(value, 60)), to)
    });
    let newest = found.rows.first().map_or(visit.range.from, |row| row.time);
    let live = frame.stream && filter.after.is_none();
    let says = format!("{} logs over time by severity, errors at the foot", counts.total());
    ListPage {
        severity,
        services,
        attributes: attributes.collect(),
        filtered: filter.service.is_some()
            || severity.is_some()
            || filter.trace.is_some()
            || filter.correlation.is_some()
            || filter.reads_logs(),
        chart: (counts.total() > 0).then(|| bars::bars(visit, &counts, &says, ("log", "logs"))),
        next: found.next.map(|cursor| frame.here(&[("after", Some(&asked::write_cursor(cursor)))])),
        first: filter.after.map(|_| frame.here(&[("after", None)])),
        new_rows: live.then(|| NEWS.address(visit, newest)),
        download: format!("/logs/otlp.jsonl{}", visit.params.with(&[("limit", None)]).write()),
        counts,
        page: found,
        rows,
        filter,
        frame,
    }
}

impl ListPage {
    /// How many there are, as one sentence.
    fn lede(&self) -> String {
        let phrase = self.frame.visit.range.phrase();
        if self.filter.reads_logs() {
            return match self.rows.len() as u64 {
                0 if self.page.complete => format!("No log matches {phrase}."),
                0 => format!("No log matches among the {} that were read.", format::count(self.page.opened)),
                some if self.page.next.is_some() || self.filter.after.is_some() => {
                    format!(
                        "Logs that match {phrase}, the newest first; {} on this page.",
                        format::count(some)
                    )
                }
                some => format!(
                    "{} {} {phrase}.",
                    format::counted(some, "log", "logs"),
                    if some == 1 { "matches" } else { "match" }
                ),
            };
        }
        let counts = self.counts.totals();
        let of = |severity: Severity| counts[severity as usize];
        let (errors, warnings) = (of(Severity::Error) + of(Severity::Fatal), of(Severity::Warn));
        let least = if self.counts.complete { "" } else { "At least " };
        match self.counts.total() {
            0 if self.filtered => format!("No log matches {phrase}."),
            0 => format!("No log {phrase}."),
            all if self.severity >= Some(Severity::Error) => {
                let logs = format::counted(all, "log", "logs");
                format!("{least}{logs} {phrase}, error or worse.")
            }
            all => format!(
                "{least}{} {phrase}; {}, {}.",
                format::counted(all, "log", "logs"),
                if errors == 0 { "no errors".to_owned() } else { format::counted(errors, "error", "errors") },
                match warnings {
                    0 => "no warnings".to_owned(),
                    some => format::counted(some, "warning", "warnings"),
                }
            ),
        }
    }

    /// What stands above the list.
    fn heading(&self) -> String {
        let is_part = self.filter.reads_logs() || self.filter.after.is_some();
        format::counted(if is_part { self.rows.len() as u64 } else { self.counts.total() }, "log", "logs")
    }

    /// Words of severity to choose from.
    fn severities(&self) -> impl Iterator<Item = Severity> {
        Severity::ALL.into_iter().skip(1)
    }

    fn is_least(&self, severity: &Severity) -> bool {
        self.severity.as_ref() == Some(severity)
    }

    /// The class of a badge, and the icon before the word: colour never says it alone.
    fn badge(&self, severity: &Severity) -> (&'static str, Option<&'static str>) {
        match severity {
            Severity::Error | Severity::Fatal => ("err", Some("err")),
            Severity::Warn => ("warn", Some("warn")),
            Severity::Info => ("", None),
            _ => ("quiet", None),
        }
    }

    /// Logs left out for a reason that the reader has to know.
    fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        if self.page.not_indexed > 0 {
            gaps.push(format!(
                "{} were stored before logs could be searched and are not among these; the pages of their traces show them.",
                format::counted(self.page.not_indexed, "log", "logs")
            ));
        }
        if self.page.unreadable > 0 {
            gaps.push(format!(
                "{} cannot be read: the store is damaged there. “throughline store check” names the place.",
                format::counted(self.page.unreadable, "log", "logs")
            ));
        }
        gaps
    }
}

/// Handler of `GET /logs/new`: one row that says how many logs came since.
pub async fn new_rows(State(state): State<PageState>, visit: Visit) -> PageResult {
    let since = News::since(&visit)?;
    let filter = asked::read(&visit, MOST_NEW)?;
    let filter =
        LogFilter { from: Some(since.saturating_add(1)), to: None, limit: MOST_NEW, after: None, ..filter };
    let (count, more) = if filter.reads_logs() {
        let found = state.reader.logs(&filter).await?;
        (found.rows.len() as u64, found.next.is_some())
    } else {
        let counts = state.reader.log_counts(&filter, 1).await?;
        (counts.total(), !counts.complete)
    };
    NEWS.row(&visit, count, more)
}

/// Handler of `GET /logs/otlp.jsonl`: the logs of a page, up to a thousand, in OTLP's file format.
pub async fn download(State(state): State<PageState>, visit: Visit) -> Result<Response, PageError> {
    let filter = asked::read(&visit, LogFilter::MAX_LIMIT)?;
    let found = state.reader.logs(&filter).await?;
    let mut lines = String::new();
    for row in &found.rows {
        lines.push_str(&export::otlp_log(&row.log).to_string());
        lines.push('\n');
    }
    Ok(file("logs.otlp.jsonl", "application/x-ndjson", lines))
}
