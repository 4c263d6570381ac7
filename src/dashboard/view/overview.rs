//! The overview: `/`. What is wrong now, first; then the figures of the range, then the newest failed stories.

use askama::Template;
use axum::extract::State;

use super::chart::{self, Series};
use super::connect::{Connect, EmptyPage};
use super::error::PageError;
use super::escape::Html;
use super::frame::{Frame, Nav};
use super::html::{PageResult, page};
use super::visit::Visit;
use super::{PageState, format};
use crate::dashboard::model::{Failure, Nanos, TraceId, TraceSummary};
use crate::dashboard::query::outcome::{self, Outcome};
use crate::dashboard::query::prose::Prose;
use crate::dashboard::query::redact;
use crate::dashboard::query::trouble::{self, Trouble};
use crate::dashboard::store::{Activity, Reader, StatusFilter, TraceFilter};

/// Steps of the charts.
const STEPS: usize = 60;
/// Failed traces looked at for what is wrong.
const MOST_FAILED: usize = 500;
/// Failed stories listed.
const MOST_STORIES: usize = 10;

/// One line of "Wrong now".
struct Wrong {
    error: bool,
    kind: &'static str,
    place: Option<(String, String)>,
    what: Prose,
    trend: Option<Html>,
    now: String,
    unit: &'static str,
    since: Option<Nanos>,
}

/// A story that failed: a correlation ID, or a trace that has none.
struct Story {
    correlation: Option<String>,
    trace_id: TraceId,
    href: String,
    began_as: String,
    failure: Failure,
    failure_href: String,
    why: String,
    now: Outcome,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    verdict: String,
    bad: bool,
    lede: Prose,
    wrong: Vec<Wrong>,
    charts: Vec<Chart>,
    stories: Vec<Story>,
    failed: u64,
    failed_href: String,
    complete: bool,
}

struct Chart {
    title: &'static str,
    value: String,
    unit: &'static str,
    note: String,
    drawing: Html,
}

/// Handler of `GET /`.
pub async fn overview(State(state): State<PageState>, visit: Visit) -> PageResult {
    let holdings = state.reader.holdings().await?;
    if holdings.spans == 0 && holdings.logs == 0 {
        let mut frame = visit.frame(Nav::Overview, "No traces yet").live();
        frame.refresh = true;
        return page(&EmptyPage { connect: Connect::new(&visit, &state), frame });
    }
    let (from, to) = (visit.range.from, visit.range.to);
    let activity = state.reader.activity(from, to.max(from + 1), STEPS).await?;
    let filter = TraceFilter {
        from: Some(from),
        to: Some(to),
        status: Some(StatusFilter::Error),
        limit: MOST_FAILED,
        ..TraceFilter::default()
    };
    let failed = state.reader.traces(&filter).await?;
    let troubles = trouble::find(&failed.rows, &activity, from, to);
    let frame = visit.frame(Nav::Overview, "Overview").live();
    let stories = stories(&frame, state.reader.as_ref(), &failed.rows).await?;
    let (verdict, lede) = verdict(&visit, &troubles, &activity, failed.failed);
    page(&OverviewPage {
        bad: !troubles.is_empty(),
        wrong: troubles.iter().map(|trouble| wrong(&frame, trouble)).collect(),
        charts: charts(&frame, &activity),
        failed: failed.failed,
        failed_href: frame.link_with("/traces", &[("status", "error")]),
        complete: failed.complete,
        verdict,
        lede,
        stories,
        frame,
    })
}

/// The sentence at the top and the one under it.
fn verdict(visit: &Visit, troubles: &[Trouble], activity: &[Activity], failed: u64) -> (String, Prose) {
    let requests: u64 = activity.iter().map(|step| step.requests).sum();
    let spans: u64 = activity.iter().map(|step| step.spans).sum();
    let phrase = visit.range.phrase();
    let share = |failed: u64| {
        Prose::new().text(format!(
            "{} and {} {phrase}; {} of the requests failed.",
            format::counted(requests, "request", "requests"),
            format::counted(spans, "span", "spans"),
            format::count(failed)
        ))
    };
    match troubles.first() {
        Some(Trouble::Failing(one)) => {
            let title = match one.why.as_str() {
                "" => format!("Requests fail in {}", one.service),
                why => format!(
                    "Requests fail in {}: {}",
                    one.service,
                    format::shortened(&redact::shown("", why).0, 80)
                ),
            };
            (title, share(failed))
        }
        Some(Trouble::Slow { now, before }) => (
            format!("Requests take {}, usually {}", format::duration(*now), format::duration(*before)),
            share(failed),
        ),
        Some(Trouble::Silent { since }) => {
            (format!("Nothing has arrived for {}", format::age(*since, visit.now)), share(failed))
        }
        None if requests == 0 && spans == 0 => (
            format!("Nothing arrived {phrase}"),
            Prose::new().text(
                "There is older data: choose a longer time range, or look at what Throughline receives.",
            ),
        ),
        None => ("All quiet".to_owned(), share(failed)),
    }
}

fn wrong(frame: &Frame, trouble: &Trouble) -> Wrong {
    match trouble {
        Trouble::Failing(one) => {
            let before = match one.before {
                0 => "none in the five before".to_owned(),
                before => format!("{} in the five before", format::count(before)),
            };
            let mut what = Prose::new().text(format!(
                "{} broke here in the last five minutes, {before}; ",
                format::counted(one.recent, "request", "requests")
            ));
            what = if one.at_operation == one.recent { what.text("all at ") } else { what.text("most at ") };
            what = what.strong(&one.operation);
            if !one.why.is_empty() {
                what = what.text(": ").error(redact::shown("", &one.why).0);
            }
            let most = one.over_time.iter().max().copied().unwrap_or(0);
            Wrong {
                error: true,
                kind: "Errors",
                place: Some((
                    one.service.clone(),
                    frame.link_with("/traces", &[("service", &one.service), ("status", "error")]),
                )),
                what,
                trend: Some(chart::spark(
                    &one.over_time,
                    "e",
                    &format!("failures over time, at most {most} a step"),
                )),
                now: format::count(one.recent),
                unit: "failed",
                since: Some(one.since),
            }
        }
        Trouble::Slow { now, before } => Wrong {
            error: false,
            kind: "Slow",
            place: None,
            what: Prose::new()
                .text("95 % of requests were answered within ")
                .duration(*before)
                .text(" before, now within ")
                .duration(*now),
            trend: None,
            now: format::duration(*now),
            unit: "",
            since: None,
        },
        Trouble::Silent { since } => Wrong {
            error: false,
            kind: "Silent",
            place: None,
            what: Prose::new().text("spans had arrived steadily, then stopped"),
            trend: None,
            now: "0".to_owned(),
            unit: "spans",
            since: Some(*since),
        },
    }
}

fn charts(frame: &Frame, activity: &[Activity]) -> Vec<Chart> {
    let seconds = frame.visit.range.length() as f64 / 1e9 / activity.len().max(1) as f64;
    // The last step is not over yet: its figures would always seem to fall.
    let whole = &activity[..activity.len().saturating_sub(1)];
    let recent = &whole[whole.len().saturating_sub(5)..];
    let rate = |count: fn(&Activity) -> u64| {
        let values: Vec<Option<f64>> = whole.iter().map(|step| Some(count(step) as f64 / seconds)).collect();
        let now = recent.iter().map(count).sum::<u64>() as f64 / seconds / recent.len().max(1) as f64;
        (values, now)
    };
    let (spans, spans_now) = rate(|step| step.spans);
    let (failed, failed_now) = rate(|step| step.failed);
    let p95: Vec<Option<f64>> = whole.iter().map(|step| step.p95.map(|ns| ns as f64)).collect();
    let (p95_now, p95_unit) = whole
        .iter()
        .rev()
        .find_map(|step| step.p95)
        .map_or_else(|| ("—".to_owned(), ""), format::duration_parts);
    let requests: u64 = activity.iter().map(|step| step.requests).sum();
    let failures: u64 = activity.iter().map(|step| step.failed).sum();
    let share =
        if requests > 0 { format::percent(failures as f64 / requests as f64) } else { "—".to_owned() };
    let per_second = |value: f64| format!("{}\u{a0}/s", plain(value));
    let series = |values, class, write, says| chart::line(frame, &Series { values, class, write, says });
    vec![
        Chart {
            title: "Spans",
            value: format::rate(spans_now),
            unit: "per second",
            note: String::new(),
            drawing: series(&spans, "", per_second, "Spans per second"),
        },
        Chart {
            title: "Failing requests",
            value: format::rate(failed_now),
            unit: "per second",
            note: format!("{share} of all"),
            drawing: series(&failed, "e", per_second, "Failing requests per second"),
        },
        Chart {
            title: "p95 of requests",
            value: p95_now,
            unit: p95_unit,
            note: String::new(),
            drawing: series(
                &p95,
                "a",
                |ns| format::duration(ns as u64),
                "95th percentile of request durations",
            ),
        },
    ]
}

/// A grid line's value without needless digits.
fn plain(value: f64) -> String {
    if value >= 1000.0 {
        format::count(value as u64)
    } else {
        format!("{}", (value * 1000.0).round() / 1000.0)
    }
}

/// The newest failures, one line a correlation ID.
async fn stories(
    frame: &Frame,
    reader: &dyn Reader,
    failed: &[TraceSummary],
) -> Result<Vec<Story>, PageError> {
    let mut stories: Vec<Story> = Vec::new();
    for trace in failed {
        if stories.len() == MOST_STORIES {
            break;
        }
        let Some(failure) = &trace.failure else { continue };
        let correlation = trace.correlation().map(|one| one.value.clone());
        if correlation.is_some() && stories.iter().any(|story| story.correlation == correlation) {
            continue;
        }
        stories.push(story(frame, reader, trace, failure, correlation).await?);
    }
    Ok(stories)
}

async fn story(
    frame: &Frame,
    reader: &dyn Reader,
    trace: &TraceSummary,
    failure: &Failure,
    correlation: Option<String>,
) -> Result<Story, PageError> {
    let all = match &correlation {
        Some(id) => reader.correlated(id).await?.traces.into_iter().map(|one| one.summary).collect(),
        None => vec![trace.clone()],
    };
    // A story begins with its first trace, and broke where that or a later one failed first.
    let first = all.first().unwrap_or(trace);
    let broken = all.iter().find(|one| one.failure.is_some()).unwrap_or(trace);
    let first_failure = broken.failure.as_ref().unwrap_or(failure);
    let now = outcome::of(reader, trace, &all).await?;
    let span = first_failure.span_id.to_string();
    Ok(Story {
        href: match &correlation {
            Some(id) => frame.correlation_link(id),
            None => frame.trace_link(&trace.trace_id),
        },
        trace_id: broken.trace_id,
        began_as: first
            .root
            .as_ref()
            .map_or_else(|| "—".to_owned(), |root| format::shortened(&root.name, 80)),
        failure_href: frame.link_with(&format!("/traces/{}", broken.trace_id), &[("span", &span)]),
        why: match first_failure.why.as_str() {
            "" => first_failure.span_name.clone(),
            why => redact::shown("", why.lines().next().unwrap_or_default()).0,
        },
        failure: first_failure.clone(),
        correlation,
        now,
    })
}
