//! What is wrong now, in what order to look at it, and what failed lately.
//!
//! It stands on counts, rates and lists alone; no trace is opened for it. What must not live here: words in HTML,
//! times in a zone.

use std::collections::HashSet;

use super::outcome::{self, Outcome};
use crate::dashboard::model::{Failure, Nanos, TraceId, TraceSummary};
use crate::dashboard::store::{Activity, Failing, Reader, Reason, StatusFilter, StoreError, TraceFilter};

/// "Now" is this long before the end of the range.
const NOW: Nanos = 300 * 1_000_000_000;
/// Steps of the charts.
const STEPS: usize = 60;
/// Failed stories that are listed.
const STORIES: usize = 10;
/// Failed traces looked at to find them, a page at a time: one story may be many traces.
const FAILED_PAGE: usize = 25;
const FAILED_PAGES: usize = 8;
/// Traces of a story that are looked at.
const STORY_TRACES: usize = 20;
/// Services listed as failing, and as refused.
const SERVICES: usize = 20;
/// A service that broke in fewer traces than this is no trouble yet.
const LEAST: u64 = 2;
/// A p95 is out of its band from this many times its usual value, with this many requests behind it.
const SLOW: f64 = 2.0;
const SLOW_REQUESTS: u64 = 20;

/// The page's content.
#[derive(Debug, Clone, Default)]
pub struct Overview {
    pub steps: Vec<Activity>,
    /// Worst first.
    pub troubles: Vec<Trouble>,
    /// Newest first.
    pub stories: Vec<FailedStory>,
    /// Failed requests (not those in which calls were only refused) and all requests of the range.
    pub failed: u64,
    pub requests: u64,
    /// Spans of the range.
    pub spans: u64,
    /// Whether the store has any trace at all, in the range or not.
    pub ever: bool,
}

/// Something that is wrong now.
#[derive(Debug, Clone, PartialEq)]
pub enum Trouble {
    /// Traces break in a service.
    Errors(Place),
    /// Requests take longer than usual.
    Slow { now: u64, usual: u64, since: Nanos },
    /// Calls of a service are refused (HTTP 404, gRPC NOT_FOUND), and nothing else in those traces fails.
    Refused(Place),
}

/// A service with what fails there.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    pub service: String,
    /// The operation and reason that most of them have.
    pub operation: String,
    pub why: String,
    /// Traces that broke there, and traces that touched it.
    pub broke: u64,
    pub touched: u64,
    /// When the oldest of them broke.
    pub since: Nanos,
    /// The newest that broke for that reason.
    pub newest: TraceId,
}

/// A correlation ID, or a trace without one, that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct FailedStory {
    pub correlation: Option<String>,
    /// Of its traces the newest that failed.
    pub trace: TraceSummary,
    /// What its first trace in the range was, where that is another.
    pub began: TraceSummary,
    pub failure: Failure,
    pub outcome: Outcome,
}

/// Asks the store for all of it.
pub async fn overview(reader: &dyn Reader, from: Nanos, to: Nanos) -> Result<Overview, StoreError> {
    let steps = reader.activity(from, to, STEPS).await?;
    let failing = reader.failing(to.saturating_sub(NOW).max(from), to).await?;
    let total = |of: fn(&Activity) -> u64| steps.iter().map(of).sum();
    let mut overview = Overview {
        troubles: troubles(failing, &steps, to),
        stories: stories(reader, from, to).await?,
        failed: total(|step| step.failed),
        requests: total(|step| step.requests),
        spans: total(|step| step.spans),
        steps,
        ever: true,
    };
    if overview.spans == 0 && overview.stories.is_empty() {
        let any = reader.traces(&TraceFilter { limit: 1, ..TraceFilter::default() }).await?;
        overview.ever = !any.rows.is_empty();
    }
    Ok(overview)
}

/// The troubles that failures and rates show: what broke, what is slow, and last what was only refused.
fn troubles(failing: Vec<Failing>, steps: &[Activity], to: Nanos) -> Vec<Trouble> {
    let (mut refused, mut broke): (Vec<_>, Vec<_>) =
        failing.into_iter().filter(|failing| failing.broke >= LEAST).partition(|failing| failing.refused);
    for list in [&mut broke, &mut refused] {
        list.sort_by(|a, b| b.broke.cmp(&a.broke).then_with(|| a.service.cmp(&b.service)));
        list.truncate(SERVICES);
    }
    let errors = broke.into_iter().filter_map(|failing| place(failing).map(Trouble::Errors));
    let refusals = refused.into_iter().filter_map(|failing| place(failing).map(Trouble::Refused));
    errors.chain(slow(steps, to)).chain(refusals).collect()
}

/// A failing service with the operation and reason that most of its traces have.
fn place(failing: Failing) -> Option<Place> {
    let Failing { service, broke, touched, since, reasons, .. } = failing;
    let most = reasons.into_iter().max_by_key(|reason| (reason.traces, reason.time))?;
    let Reason { operation, why, newest, .. } = most;
    Some(Place { service, operation, why, broke, touched, since, newest })
}

/// A p95 that left its band: the last minutes against the median of the steps before.
fn slow(steps: &[Activity], to: Nanos) -> Option<Trouble> {
    let begin = to.saturating_sub(NOW);
    let (before, now): (Vec<_>, Vec<_>) =
        steps.iter().filter(|step| step.p95.is_some()).partition(|step| step.start < begin);
    let mut usual: Vec<u64> = before.iter().filter_map(|step| step.p95).collect();
    usual.sort_unstable();
    let usual = *usual.get(usual.len() / 2).filter(|_| usual.len() >= 5)?;
    let requests: u64 = now.iter().map(|step| step.requests).sum();
    let worst = now.iter().filter(|step| step.p95.is_some_and(|p95| p95 as f64 > usual as f64 * SLOW));
    let since = worst.clone().map(|step| step.start).min()?;
    // Most of the last minutes have to be slow: one slow request is a dot in the chart, not a trouble.
    (requests >= SLOW_REQUESTS && worst.clone().count() * 2 > now.len()).then_some(())?;
    let now = worst.filter_map(|step| step.p95).max()?;
    Some(Trouble::Slow { now, usual, since })
}

/// The newest failed stories, each once. What was only refused is none.
async fn stories(reader: &dyn Reader, from: Nanos, to: Nanos) -> Result<Vec<FailedStory>, StoreError> {
    let (mut stories, mut known) = (Vec::new(), HashSet::new());
    let mut filter = TraceFilter {
        from: Some(from),
        to: Some(to),
        status: Some(StatusFilter::Broke),
        limit: FAILED_PAGE,
        ..TraceFilter::default()
    };
    for _ in 0..FAILED_PAGES {
        let page = reader.traces(&filter).await?;
        for trace in page.rows {
            let Some(failure) = trace.failure.clone() else { continue };
            let correlation = trace.correlation().map(|correlation| correlation.value.clone());
            if correlation.as_ref().is_some_and(|value| !known.insert(value.clone())) {
                continue;
            }
            stories.push(story(reader, trace, failure, correlation, (from, to)).await?);
            if stories.len() >= STORIES {
                return Ok(stories);
            }
        }
        filter.after = page.next;
        if filter.after.is_none() {
            break;
        }
    }
    Ok(stories)
}

/// A failed trace with what else its correlation ID has within the range.
async fn story(
    reader: &dyn Reader,
    trace: TraceSummary,
    failure: Failure,
    correlation: Option<String>,
    (from, to): (Nanos, Nanos),
) -> Result<FailedStory, StoreError> {
    let mut all = Vec::new();
    if correlation.is_some() {
        let filter = TraceFilter {
            from: Some(from),
            to: Some(to),
            correlation: correlation.clone(),
            limit: STORY_TRACES,
            ..TraceFilter::default()
        };
        all = reader.traces(&filter).await?.rows;
    }
    let outcome = outcome::of(&trace, &all);
    let began = all.pop().unwrap_or_else(|| trace.clone());
    Ok(FailedStory { correlation, trace, began, failure, outcome })
}
