//! What is wrong now, in what order to look at it, and what failed lately.
//!
//! It stands on lists and rates alone; of the stories that failed only the newest trace of each is opened. What
//! must not live here: words in HTML, times in a zone.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::outcome::{self, Outcome};
use crate::dashboard::model::{Failure, Nanos, TraceId, TraceSummary};
use crate::dashboard::store::{Activity, Reader, StatusFilter, StoreError, TraceFilter, TracePage};

/// "Now" is this long before the end of the range.
const NOW: Nanos = 300 * 1_000_000_000;
/// Steps of the charts.
const STEPS: usize = 60;
/// Failed stories that are listed.
const STORIES: usize = 10;
/// Failed traces looked at to find them: one story may be many traces.
const FAILED: usize = 200;
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
    /// Failed requests and all requests of the range.
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
    Errors {
        service: String,
        /// The operation and reason that most of them have.
        operation: String,
        why: String,
        /// Traces that broke there, and traces that touched it, of the newest looked at.
        broke: u64,
        touched: u64,
        /// When the oldest of them broke.
        since: Nanos,
        /// The newest of them.
        newest: TraceId,
    },
    /// Requests take longer than usual.
    Slow { now: u64, usual: u64, since: Nanos },
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
    let recent = TraceFilter {
        from: Some(to.saturating_sub(NOW).max(from)),
        to: Some(to),
        limit: TracePage::MAX_DOTS,
        ..TraceFilter::default()
    };
    let recent = reader.traces(&recent).await?;
    let failed = TraceFilter {
        from: Some(from),
        to: Some(to),
        status: Some(StatusFilter::Error),
        limit: FAILED,
        ..TraceFilter::default()
    };
    let failed = reader.traces(&failed).await?;
    let total = |of: fn(&Activity) -> u64| steps.iter().map(of).sum();
    let mut overview = Overview {
        troubles: troubles(&recent.rows, &steps, to),
        failed: total(|step| step.failed),
        requests: total(|step| step.requests),
        spans: total(|step| step.spans),
        steps,
        ever: !recent.rows.is_empty() || !failed.rows.is_empty(),
        ..Overview::default()
    };
    if !overview.ever {
        let any = reader.traces(&TraceFilter { limit: 1, ..TraceFilter::default() }).await?;
        overview.ever = !any.rows.is_empty();
    }
    overview.stories = stories(reader, failed.rows, from, to).await?;
    Ok(overview)
}

/// The troubles that the newest traces and the rates show.
fn troubles(recent: &[TraceSummary], steps: &[Activity], to: Nanos) -> Vec<Trouble> {
    let mut found: Vec<Trouble> = broken_services(recent);
    found.extend(slow(steps, to));
    found
}

fn broken_services(recent: &[TraceSummary]) -> Vec<Trouble> {
    let mut broke: BTreeMap<&str, Vec<(&TraceSummary, &Failure)>> = BTreeMap::new();
    for trace in recent {
        if let Some(failure) = &trace.failure {
            broke.entry(&failure.service).or_default().push((trace, failure));
        }
    }
    let mut troubles: Vec<Trouble> = broke
        .into_iter()
        .filter(|(_, traces)| traces.len() as u64 >= LEAST)
        .map(|(service, traces)| {
            let touches = |trace: &&TraceSummary| trace.services.iter().any(|share| share.name == service);
            let (operation, why) = most_common(&traces);
            Trouble::Errors {
                service: service.to_owned(),
                operation,
                why,
                broke: traces.len() as u64,
                touched: recent.iter().filter(touches).count() as u64,
                since: traces.iter().map(|(_, failure)| failure.time).min().unwrap_or_default(),
                newest: traces[0].0.trace_id,
            }
        })
        .collect();
    troubles.sort_by_key(|trouble| match trouble {
        Trouble::Errors { broke, .. } => std::cmp::Reverse(*broke),
        Trouble::Slow { .. } => std::cmp::Reverse(0),
    });
    troubles
}

/// The operation and reason that come most often.
fn most_common(traces: &[(&TraceSummary, &Failure)]) -> (String, String) {
    let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
    for (_, failure) in traces {
        *counts.entry((&failure.span_name, &failure.why)).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(words, count)| (*count, std::cmp::Reverse(*words)));
    most.map_or_else(Default::default, |((operation, why), _)| (operation.to_owned(), why.to_owned()))
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

/// The newest failed stories, each once.
async fn stories(
    reader: &dyn Reader,
    failed: Vec<TraceSummary>,
    from: Nanos,
    to: Nanos,
) -> Result<Vec<FailedStory>, StoreError> {
    let (mut stories, mut known) = (Vec::new(), HashSet::new());
    for trace in failed {
        let correlation = trace.correlation().map(|correlation| correlation.value.clone());
        if correlation.as_ref().is_some_and(|value| !known.insert(value.clone())) {
            continue;
        }
        let Some(failure) = trace.failure.clone() else { continue };
        let (began, outcome) = match &correlation {
            Some(value) => {
                let filter = TraceFilter {
                    from: Some(from),
                    to: Some(to),
                    correlation: Some(value.clone()),
                    limit: 20,
                    ..TraceFilter::default()
                };
                let page = reader.traces(&filter).await?;
                let began = page.rows.last().cloned().unwrap_or_else(|| trace.clone());
                let outcome = outcome::of(reader, &trace, &page.rows).await?;
                (began, outcome)
            }
            None => (trace.clone(), outcome::of(reader, &trace, &[]).await?),
        };
        stories.push(FailedStory { correlation, trace, began, failure, outcome });
        if stories.len() >= STORIES {
            break;
        }
    }
    Ok(stories)
}
