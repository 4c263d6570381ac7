//! What a list of traces may be asked for, and what comes back.

use std::sync::Arc;

use super::Selection;
use crate::dashboard::model::{Nanos, TraceId, TraceSummary};

/// A question for a list of traces. `Default` asks for the newest of all.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TraceFilter {
    /// Earliest and latest start, both included.
    pub from: Option<Nanos>,
    pub to: Option<Nanos>,
    /// A service that has a span in the trace, by its exact name.
    pub service: Option<String>,
    pub status: Option<StatusFilter>,
    /// The exact name of the root span.
    pub operation: Option<String>,
    /// Bounds of the whole trace's duration in ns, both included.
    pub min_duration: Option<u64>,
    pub max_duration: Option<u64>,
    pub correlation: Option<String>,
    /// A query, on top of all this.
    pub select: Option<Arc<dyn Selection>>,
    pub order: Order,
    /// Rows wanted, 1 to [`TraceFilter::MAX_LIMIT`].
    pub limit: usize,
    /// Whether to look on for the chart's sake, up to [`TracePage::MAX_DOTS`] matches.
    pub dots: bool,
    /// Goes on after this row of the page before.
    pub after: Option<Cursor>,
}

impl TraceFilter {
    pub const MAX_LIMIT: usize = 1000;
    /// Summaries looked at before a page says that it is not complete.
    pub const BUDGET: usize = 50_000;
    /// Spans decoded, where a summary does not tell, before a page says that it is not complete.
    pub const SPANS: usize = 60_000;
}

/// The status of a trace: whether any of its spans failed. With a service, whether one of that service's did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFilter {
    Error,
    Ok,
    /// More than calls that were refused failed: [`TraceSummary::failed`]. Whichever service's.
    Broke,
}

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    #[default]
    Newest,
    Longest,
    MostSpans,
    MostErrors,
}

/// The last row of a page: its sort key (start, duration or spans) and its ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub key: u64,
    pub trace_id: TraceId,
}

/// A page of traces.
#[derive(Debug, Clone, Default)]
pub struct TracePage {
    pub rows: Vec<TraceSummary>,
    /// Where the next page begins, if there is one.
    pub next: Option<Cursor>,
    /// Traces that match in the whole range, as far as was looked, this page's and all others'.
    pub matched: u64,
    /// Of them, those with a failed span.
    pub failed: u64,
    /// Summaries looked at.
    pub examined: u64,
    /// Of these, traces whose spans had to be looked at.
    pub opened: u64,
    /// False where the budget ended before the range did: there may be more.
    pub complete: bool,
    /// Up to [`TracePage::MAX_DOTS`] of the matching traces, the newest, for the chart.
    pub dots: Vec<Dot>,
}

impl TracePage {
    pub const MAX_DOTS: usize = 600;
}

/// A trace in the chart of durations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dot {
    pub trace_id: TraceId,
    pub start: Nanos,
    pub duration: u64,
    pub failed: bool,
}
