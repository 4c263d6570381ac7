//! The map: services, and the calls and messages between them and what lies around them, out of rates alone.
//!
//! * [`place`]: what stands on it. * [`build`]: nodes and edges out of calls. * [`narrow`](mod@narrow): the part of it
//!   that a page shows. * [`finding`]: the sentence above it. * [`guard`]: the breakers of its edges.
//! * [`depth`]: what waits in its queues.
//!
//! What must not live here: positions, colours, words in HTML. What other sources say of a node (the depth of a queue) is
//! joined by [`Place`] where a page is made.

mod build;
pub mod depth;
mod finding;
pub mod guard;
pub mod narrow;
pub mod place;

use crate::dashboard::model::Nanos;
use crate::dashboard::store::{
    Histogram, OperationRates, Rates, Reader, StatusFilter, StoreError, TraceFilter, TracePage, Way,
};

pub use depth::Depths;
pub use finding::Finding;
pub use guard::Guards;
pub use narrow::{Kinds, Narrow, Shown};
pub use place::Place;

use super::language;

/// From this share of failures on a call is sick, and from this one it is bad.
pub const SICK: f64 = 0.01;
pub const BAD: f64 = 0.05;

/// The map of a range of time.
#[derive(Debug, Clone, Default)]
pub struct Map {
    pub from: Nanos,
    pub to: Nanos,
    /// In order of their place.
    pub nodes: Vec<Node>,
    /// In order of their ends.
    pub edges: Vec<Edge>,
    /// Whether the store has anything at all, in the range or not.
    pub ever: bool,
}

/// A node with what happens there.
#[derive(Debug, Clone)]
pub struct Node {
    pub place: Place,
    /// Of a service what it serves and takes; of anything else the calls and messages that lead there.
    pub rates: Rates,
    /// Time in the queue.
    pub waited: Histogram,
}

/// What an edge stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EdgeKind {
    Call,
    /// A call of a database.
    Query,
    /// To an exchange or queue.
    Send,
    /// From an exchange to a queue.
    Route,
    /// From a queue.
    Take,
}

impl EdgeKind {
    /// In a word.
    pub fn word(self) -> &'static str {
        match self {
            EdgeKind::Call => "call",
            EdgeKind::Query => "query",
            EdgeKind::Send => "send",
            EdgeKind::Route => "route",
            EdgeKind::Take => "take",
        }
    }

    /// Whether messages go along it.
    pub fn is_message(self) -> bool {
        matches!(self, EdgeKind::Send | EdgeKind::Route | EdgeKind::Take)
    }
}

/// Calls or messages from one node to another.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Indexes into [`Map::nodes`].
    pub from: usize,
    pub to: usize,
    pub kind: EdgeKind,
    /// Durations are there where they are of this edge: of a call the whole of it, of [`EdgeKind::Take`] the processing,
    /// of [`EdgeKind::Send`] only while nobody took any of the messages.
    pub rates: Rates,
    /// Time in the queue.
    pub waited: Histogram,
    /// What it was made of, to ask the store for more about it.
    pub ways: Vec<Way>,
}

/// The share that failed, 0 to 1.
pub fn share(rates: &Rates) -> f64 {
    if rates.count == 0 { 0.0 } else { rates.errors.min(rates.count) as f64 / rates.count as f64 }
}

/// Asks the store for all of it.
pub async fn map(reader: &dyn Reader, from: Nanos, to: Nanos) -> Result<Map, StoreError> {
    let calls = reader.calls(from, to).await?;
    let operations = reader.operations(from, to, None).await?;
    let mut map = build::build(calls, &operations);
    (map.from, map.to, map.ever) = (from, to, true);
    if map.nodes.is_empty() {
        map.ever = has_any(reader).await?;
    }
    Ok(map)
}

/// Whether the store has any trace.
pub(super) async fn has_any(reader: &dyn Reader) -> Result<bool, StoreError> {
    let any = reader.traces(&TraceFilter { limit: 1, ..TraceFilter::default() }).await?;
    Ok(!any.rows.is_empty())
}

/// One node or edge, looked at more closely.
#[derive(Debug, Clone, Default)]
pub struct Details {
    /// What failed there last, and whether the whole range was looked through for it.
    pub failed: Option<Failed>,
    /// Of the service that is looked at or called, busiest first.
    pub operations: Vec<OperationRates>,
    /// More operations than are listed.
    pub more_operations: usize,
    /// Of an edge: what happened on it over time.
    pub steps: Vec<(Nanos, Rates)>,
}

/// Failed traces with the query that finds them.
#[derive(Debug, Clone)]
pub struct Failed {
    pub query: String,
    pub page: TracePage,
}

/// Failed traces and operations that a panel lists, and steps of its chart.
const FAILED: usize = 5;
const OPERATIONS: usize = 6;
const STEPS: usize = 60;

impl Map {
    /// The index of the node that an address names: by its ID, or a service, or anything of that name.
    pub fn find(&self, text: &str) -> Option<usize> {
        let by = |fits: &dyn Fn(&Place) -> bool| self.nodes.iter().position(|node| fits(&node.place));
        by(&|place| place.id() == text)
            .or_else(|| by(&|place| place.as_service() == Some(text)))
            .or_else(|| by(&|place| place.name() == text))
    }

    /// The index of the edge between two nodes.
    pub fn edge(&self, from: usize, to: usize) -> Option<usize> {
        self.edges.iter().position(|edge| (edge.from, edge.to) == (from, to))
    }

    /// Its length in seconds.
    pub fn seconds(&self) -> f64 {
        (self.to.saturating_sub(self.from) as f64 / 1e9).max(1e-9)
    }

    /// How many of its nodes are of one sort.
    pub fn count(&self, is: impl Fn(&Place) -> bool) -> usize {
        self.nodes.iter().filter(|node| is(&node.place)).count()
    }

    /// More about a node.
    pub async fn node_details(&self, reader: &dyn Reader, node: usize) -> Result<Details, StoreError> {
        let Node { place, rates, .. } = &self.nodes[node];
        let mut details = Details::default();
        let Some(service) = place.as_service() else { return Ok(details) };
        let failing =
            rates.errors > 0 || self.edges.iter().any(|one| one.from == node && one.rates.errors > 0);
        if failing {
            details.failed = Some(self.failed(reader, failed_in(service)).await?);
        }
        self.add_operations(&mut details, reader, service).await?;
        Ok(details)
    }

    /// More about an edge.
    pub async fn edge_details(&self, reader: &dyn Reader, edge: usize) -> Result<Details, StoreError> {
        let edge = &self.edges[edge];
        let ways = edge.ways.iter().cloned().collect();
        let steps = reader.call_rates(self.from, self.to, STEPS, &ways).await?;
        let mut details = Details { steps, ..Details::default() };
        let ends = [edge.from, edge.to].map(|end| self.nodes[end].place.as_service());
        let query = match (edge.kind, ends) {
            (EdgeKind::Call, [Some(caller), Some(callee)]) => Some(failed_call(caller, callee)),
            (EdgeKind::Take, [_, Some(service)]) => Some(failed_in(service)),
            (_, [Some(caller), None]) => Some(failed_in(caller)),
            (_, [None, Some(callee)]) => Some(failed_in(callee)),
            _ => None,
        };
        if let Some(query) = query.filter(|_| edge.rates.errors > 0) {
            details.failed = Some(self.failed(reader, query).await?);
        }
        if let Some(callee) = ends[1] {
            self.add_operations(&mut details, reader, callee).await?;
        }
        Ok(details)
    }

    async fn failed(&self, reader: &dyn Reader, query: String) -> Result<Failed, StoreError> {
        let select = language::read(&query).ok().map(language::Query::selection);
        let filter = TraceFilter {
            from: Some(self.from),
            to: Some(self.to),
            status: Some(StatusFilter::Error),
            select,
            limit: FAILED,
            ..TraceFilter::default()
        };
        Ok(Failed { page: reader.traces(&filter).await?, query })
    }

    async fn add_operations(
        &self,
        details: &mut Details,
        reader: &dyn Reader,
        service: &str,
    ) -> Result<(), StoreError> {
        details.operations = reader.operations(self.from, self.to, Some(service)).await?;
        details.operations.sort_by_key(|one| std::cmp::Reverse(one.rates.count));
        details.more_operations = details.operations.len().saturating_sub(OPERATIONS);
        details.operations.truncate(OPERATIONS);
        Ok(())
    }
}

/// Traces in which a span of the service failed.
pub fn failed_in(service: &str) -> String {
    format!("service.name = {} and status = error", language::value(service))
}

/// Traces through both in which something of the caller failed: a call fails with its caller's own span.
fn failed_call(caller: &str, callee: &str) -> String {
    let [caller, callee] = [caller, callee].map(language::value);
    format!("{{ service.name = {caller} and status = error }} && {{ service.name = {callee} }}")
}
