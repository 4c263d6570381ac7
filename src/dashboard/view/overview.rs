//! `GET /`: what is wrong now, first; then rates; then what failed lately.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;

use super::PageState;
use super::breakers::{self, period};
use super::chart::{self, Line};
use super::connect;
use super::escape::Html;
use super::format;
use super::frame::{Frame, Nav};
use super::html::{PageResult, page};
use super::queues;
use super::visit::Visit;
use crate::dashboard::query::breakers::Breaker;
use crate::dashboard::query::breakers::kept::Listed;
use crate::dashboard::query::outcome::Outcome;
use crate::dashboard::query::overview::{FailedStory, Overview, Place, Trouble};
use crate::dashboard::query::queues::{Queue, Verdict};
use crate::dashboard::store::Activity;

/// Open breakers that are listed; the others are on their own page.
const MOST_OPEN: usize = 10;
/// Queues that are listed; they stand the worst first.
const MOST_QUEUES: usize = 5;

/// The page.
#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    overview: Arc<Overview>,
    breakers: Arc<Listed>,
    queues: Vec<Queue>,
    spans: Figure,
    failing: Figure,
    slow: Figure,
}

/// A chart with the figure above it.
struct Figure {
    now: String,
    unit: &'static str,
    note: String,
    chart: Html,
}

/// Handler of `GET /`.
pub async fn show(State(state): State<PageState>, visit: Visit) -> PageResult {
    let overview = state.overviews.get(&*state.reader, period(&visit)).await?;
    let breakers = state.breakers.get(&*state.reader, period(&visit)).await?;
    let listed = queues::of(&state, &visit).await?;
    if !overview.ever && breakers.breakers.is_empty() && listed.queues.is_empty() {
        return connect::empty(&visit, &state, Nav::Overview);
    }
    let (spans, failing, slow) = figures(&visit, &overview.steps);
    let frame = visit.frame(Nav::Overview, "Overview").live();
    let needy = listed.queues.iter().filter(|queue| queue.verdict.is_trouble());
    let queues = needy.take(MOST_QUEUES).cloned().collect();
    page(&OverviewPage { frame, overview, breakers, queues, spans, failing, slow })
}

fn figures(visit: &Visit, steps: &[Activity]) -> (Figure, Figure, Figure) {
    let range = (visit.range.from, visit.range.to);
    let step = match steps {
        [first, second, ..] => second.start.saturating_sub(first.start),
        _ => visit.range.length(),
    };
    let step_s = (step as f64 / 1e9).max(1e-9);
    let rates = |of: fn(&Activity) -> u64| -> Vec<Option<f64>> {
        steps.iter().map(|step| Some(of(step) as f64 / step_s)).collect()
    };
    // What the last step holds is still arriving: the figure above the chart is the greater of the last two.
    let newest = |values: &[Option<f64>]| values.iter().rev().take(2).flatten().copied().fold(0.0, f64::max);
    let spans = rates(|step| step.spans);
    let failed = rates(|step| step.failed);
    let p95: Vec<Option<f64>> = steps.iter().map(|step| step.p95.map(|p95| p95 as f64)).collect();
    let mut usual: Vec<f64> = p95.iter().flatten().copied().collect();
    usual.sort_by(f64::total_cmp);
    let median = usual.get(usual.len() / 2).copied();
    let requests: u64 = steps.iter().map(|step| step.requests).sum();
    let failures: u64 = steps.iter().map(|step| step.failed).sum();
    let draw = |label, values: &[Option<f64>], class, unit| {
        chart::line(visit, range, &Line { label, values, class, unit })
    };
    let (slow_now, slow_unit) = match p95.iter().flatten().next_back() {
        Some(p95) => format::duration_parts(*p95 as u64),
        None => ("—".to_owned(), ""),
    };
    let often = |values: &[Option<f64>]| match format::often_parts(newest(values)) {
        (now, "/s") => (now, "per second"),
        (now, "/min") => (now, "per minute"),
        (now, _) => (now, "per hour"),
    };
    let ((spans_now, spans_unit), (failed_now, failed_unit)) = (often(&spans), often(&failed));
    (
        Figure {
            now: spans_now,
            unit: spans_unit,
            note: String::new(),
            chart: draw("Spans a second", &spans, "", format::often),
        },
        Figure {
            now: failed_now,
            unit: failed_unit,
            note: match requests {
                0 => "no requests".to_owned(),
                _ => format!("{} of all requests", format::percent(failures as f64 / requests as f64)),
            },
            chart: draw("Failing requests a second", &failed, "e", format::often),
        },
        Figure {
            now: slow_now,
            unit: slow_unit,
            note: median
                .map_or_else(String::new, |median| format!("median {}", format::duration(median as u64))),
            chart: draw("p95 of requests", &p95, "a", |value| format::duration(value as u64)),
        },
    )
}

impl OverviewPage {
    /// The sentence that the page opens with.
    fn verdict(&self) -> String {
        if let Some(first) = self.open().next() {
            return breakers::finding(first);
        }
        let calm = matches!(self.overview.troubles.first(), Some(Trouble::Refused(_)) | None);
        if let Some(queue) = self.queues.first().filter(|_| calm) {
            return queues::words::finding(queue, &self.frame);
        }
        match self.overview.troubles.first() {
            Some(Trouble::Errors(Place { service, why, operation, .. })) if why.is_empty() => {
                format!("{} fails at {}", format::shortened(service, 60), format::shortened(operation, 80))
            }
            Some(Trouble::Errors(Place { service, why, .. })) => {
                format!("{} fails: {}", format::shortened(service, 60), format::shortened(why, 120))
            }
            Some(Trouble::Slow { now, usual, .. }) => format!(
                "Requests are slow: p95 is {}, usually {}",
                format::duration(*now),
                format::duration(*usual)
            ),
            _ if self.overview.requests == 0 => {
                format!("Nothing came {}", self.frame.visit.range.phrase())
            }
            // Refused calls are no reason to get up.
            _ if self.overview.failed > 0 => "No service keeps failing".to_owned(),
            _ => "All quiet".to_owned(),
        }
    }

    /// `err`, `warn` or nothing.
    fn level(&self) -> &'static str {
        if self.open().next().is_some() {
            return "err";
        }
        match self.overview.troubles.first() {
            Some(Trouble::Errors(_)) => "err",
            Some(Trouble::Slow { .. }) => "warn",
            Some(Trouble::Refused(_)) | None if !self.queues.is_empty() => "warn",
            Some(Trouble::Refused(_)) | None => "",
        }
    }

    /// The sentence below it.
    fn lede(&self) -> String {
        let overview = &self.overview;
        let requests = format::counted(overview.requests, "request", "requests");
        let phrase = self.frame.visit.range.phrase();
        match overview.failed {
            0 if overview.requests == 0 => {
                "Older traces are kept; choose a longer time range to see them.".to_owned()
            }
            0 => format!("{requests} {phrase}, none failed."),
            failed => format!("{} of {requests} failed {phrase}.", format::count(failed)),
        }
    }

    /// Breakers that are open now: they come before all else, since they say where to look.
    fn open(&self) -> impl Iterator<Item = &Breaker> {
        self.breakers.breakers.iter().filter(|breaker| breaker.state.is_open()).take(MOST_OPEN)
    }

    /// A breaker's name.
    fn breaker_name(&self, breaker: &Breaker) -> String {
        breakers::shown(&breaker.key)
    }

    /// What is to be said of an open breaker.
    fn breaker_says(&self, breaker: &Breaker) -> String {
        let mut said = match breaker.heard {
            0 | 1 => String::new(),
            heard => format!(" in {} of {heard} instances", breaker.here),
        };
        if let Some(peer) = &breaker.peer {
            said.push_str(&format!(", guards {}", format::shortened(peer, 60)));
        }
        if let Some(failing) = breaker.failing {
            said.push_str(&format!(", {} of its calls fail", format::percent(failing)));
        }
        said
    }

    /// Calls that an open breaker turns away a second.
    fn turned_away(&self, breaker: &Breaker) -> String {
        breaker
            .rejected
            .map_or_else(|| "—".to_owned(), |rate| format!("{}{}/s", format::rate(rate), format::NBSP))
    }

    /// How a queue does.
    fn queue_badge(&self, queue: &Queue) -> Html {
        queues::words::badge(&self.frame, queue)
    }

    /// A queue's name, and where it is.
    fn queue_name(&self, queue: &Queue) -> String {
        queues::words::shown(queue)
    }

    fn queue_place(&self, queue: &Queue) -> String {
        queues::words::place(queue)
    }

    /// Messages that wait in it.
    fn queue_ready(&self, queue: &Queue) -> Html {
        queues::words::count(queue.ready)
    }

    /// For how long it is so, where that is known.
    fn queue_since(&self, queue: &Queue) -> String {
        match queue.verdict {
            Verdict::NoConsumer { since: Some(since) } => self.frame.age(&since),
            _ => "—".to_owned(),
        }
    }

    /// Whether anything is wrong beyond refused calls.
    fn is_wrong(&self) -> bool {
        self.open().next().is_some()
            || !self.queues.is_empty()
            || self.overview.troubles.iter().any(|trouble| !matches!(trouble, Trouble::Refused(_)))
    }

    /// The share of an error row, `9.80 %`.
    fn share(&self, broke: &u64, touched: &u64) -> String {
        format::percent(*broke as f64 / (*touched).max(1) as f64)
    }

    /// Where the failed traces of a service are listed.
    fn failed_of(&self, service: &str) -> String {
        self.frame.link_with("/traces", &[("service", service), ("status", "error")])
    }

    /// The span in which a story broke.
    fn broken_span(&self, story: &FailedStory) -> String {
        let path = format!("/traces/{}", story.trace.trace_id);
        self.frame.link_with(&path, &[("span", &story.failure.span_id.to_string())])
    }

    /// Whether a dead letter: the only outcome that somebody has to act on.
    fn is_stuck(&self, outcome: &Outcome) -> bool {
        matches!(outcome, Outcome::DeadLettered { .. })
    }

    /// The outcome in words.
    fn outcome(&self, outcome: &Outcome) -> String {
        match outcome {
            Outcome::DeadLettered { queue } => format!("in {queue}"),
            Outcome::WaitsIn { queue } => format!("waits in {queue}"),
            Outcome::RetriedWell => "retried, succeeded".to_owned(),
            Outcome::Answered { status } => format!("answered {status}"),
            Outcome::Failed => "failed".to_owned(),
        }
    }

    /// A text cut to what fits into a row.
    fn cut(&self, text: &str) -> String {
        format::shortened(text, 140)
    }
}
