//! What a query asks of the store: by what an index finds candidates, and who judges them.
//!
//! The store knows no query language. It is given a [`Plan`], which every trace wanted satisfies, and a
//! [`Selection`], which says of a summary or a whole trace whether it is wanted.

use crate::dashboard::model::{SpanId, Trace, TraceId, TraceSummary};

/// Chooses traces.
pub trait Selection: Send + Sync {
    /// The query as text: two selections are the same where their texts are.
    fn text(&self) -> &str;

    /// What every trace that is wanted is found by.
    fn plan(&self) -> &Plan;

    /// Whether a trace is wanted, as far as its summary tells.
    fn of_summary(&self, summary: &TraceSummary) -> Verdict;

    /// Whether a trace is wanted.
    fn of_trace(&self, summary: &TraceSummary, trace: &Trace) -> bool;
}

impl PartialEq for dyn Selection {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl std::fmt::Debug for dyn Selection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Selection({:?})", self.text())
    }
}

/// What a summary tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Yes,
    No,
    /// The spans have to be looked at.
    Open,
}

impl Verdict {
    /// A verdict that is certain.
    pub fn of(wanted: bool) -> Self {
        if wanted { Verdict::Yes } else { Verdict::No }
    }
}

/// What an index can be asked for. A trace found by it need not be wanted; one not found by it is not.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    Everything,
    Nothing,
    Trace(TraceId),
    Span(SpanId),
    /// Traces with a link to this one.
    LinkTo(TraceId),
    Service(String),
    /// Traces with a failed span of the service.
    ServiceError(String),
    /// Traces with a failed span.
    Error,
    RootName(String),
    SpanName(String),
    Correlation(String),
    /// An attribute of a span, event, link or log, by any of these [hashes](crate::dashboard::model::hash).
    Attribute(Vec<u32>),
    /// An attribute of a resource, by any of these hashes.
    Resource(Vec<u32>),
    All(Vec<Plan>),
    Any(Vec<Plan>),
}

impl Plan {
    /// What satisfies all of `plans`.
    pub fn all(plans: impl IntoIterator<Item = Plan>) -> Self {
        let mut plans: Vec<Plan> = plans.into_iter().filter(|plan| *plan != Plan::Everything).collect();
        match plans.len() {
            0 => Plan::Everything,
            1 => plans.remove(0),
            _ => Plan::All(plans),
        }
    }

    /// What satisfies any of `plans`.
    pub fn any(plans: impl IntoIterator<Item = Plan>) -> Self {
        let mut plans: Vec<Plan> = plans.into_iter().filter(|plan| *plan != Plan::Nothing).collect();
        match plans.len() {
            0 => Plan::Nothing,
            1 => plans.remove(0),
            _ if plans.contains(&Plan::Everything) => Plan::Everything,
            _ => Plan::Any(plans),
        }
    }

    /// How much it narrows, roughly; 0 not at all.
    pub fn rank(&self) -> u32 {
        match self {
            Plan::Everything => 0,
            Plan::Service(_) => 1,
            Plan::Error | Plan::SpanName(_) => 2,
            Plan::ServiceError(_) | Plan::RootName(_) | Plan::Resource(_) => 3,
            Plan::Attribute(_) => 4,
            Plan::Correlation(_) | Plan::Trace(_) | Plan::Span(_) | Plan::LinkTo(_) => 5,
            Plan::Nothing => 6,
            Plan::All(plans) => plans.iter().map(Plan::rank).max().unwrap_or(0),
            Plan::Any(plans) => plans.iter().map(Plan::rank).min().unwrap_or(6),
        }
    }
}
