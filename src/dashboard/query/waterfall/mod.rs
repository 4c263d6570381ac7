//! The spans of a trace as rows, from whatever has arrived so far.
//!
//! * [`tree`]: who is under whom.
//! * [`clock`]: which times are plausible; the view with clocks adjusted.
//! * [`wait`]: time in queues.
//! * [`path`]: the critical path.
//! * [`fold`]: runs of internal spans that one row stands for.
//! * [`select`]: which rows are shown.

mod clock;
mod fold;
mod path;
mod select;
#[cfg(test)]
mod tests;
mod tree;
mod wait;

pub use clock::Time;
pub use fold::Run;
pub use path::Segment;
pub use select::{Hide, Line, Shown};
pub use tree::Place;
pub use wait::Wait;

use crate::dashboard::model::{Nanos, Span, SpanId, Trace};

/// Whose times are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Clocks {
    /// As they were sent.
    #[default]
    AsSent,
    /// Called processes moved into their callers.
    Adjusted,
}

/// A trace laid out.
#[derive(Debug)]
pub struct Waterfall<'a> {
    pub trace: &'a Trace,
    /// Rows in the order of reading: each before its children, roots and siblings by time.
    pub nodes: Vec<Node>,
    /// Begin and end of the time axis: of all that is plausible. `end` is after `begin`.
    pub begin: Nanos,
    pub end: Nanos,
    /// Whether a call begins before its caller, so that adjusting would change something.
    pub skewed: bool,
    /// Whether times are adjusted.
    pub adjusted: bool,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Index into the trace's spans.
    pub span: usize,
    /// The row above it in the tree.
    pub parent: Option<usize>,
    pub depth: u32,
    /// How many rows are below it in the tree; they follow it directly.
    pub below: u32,
    pub place: Place,
    pub time: Time,
    /// As they are drawn: raw, or adjusted.
    pub start: Nanos,
    pub end: Nanos,
    /// How far the times were moved, in ns.
    pub moved: i128,
    /// Whether any span below failed.
    pub error_below: bool,
    pub wait: Option<Wait>,
}

impl<'a> Waterfall<'a> {
    /// Lays out `trace`. `now` tells what lies in the future.
    pub fn new(trace: &'a Trace, now: Nanos, clocks: Clocks) -> Self {
        let mut nodes: Vec<Node> = tree::rows(&trace.spans)
            .into_iter()
            .map(|placed| {
                let span = &trace.spans[placed.span];
                Node {
                    span: placed.span,
                    parent: placed.parent,
                    depth: placed.depth,
                    below: 0,
                    place: placed.place,
                    time: Time::of(span, now),
                    start: span.start,
                    end: span.end,
                    moved: 0,
                    error_below: false,
                    wait: None,
                }
            })
            .collect();
        count_below(&mut nodes, &trace.spans);
        let skewed = clock::is_skewed(&nodes, &trace.spans);
        let adjusted = clocks == Clocks::Adjusted && skewed;
        if adjusted {
            clock::adjust(&mut nodes, &trace.spans);
        }
        wait::set(&mut nodes, &trace.spans);
        let (begin, end) = extent(&nodes);
        Self { trace, nodes, begin, end, skewed, adjusted }
    }

    /// The span of a row.
    pub fn span(&self, row: usize) -> &'a Span {
        &self.trace.spans[self.nodes[row].span]
    }

    /// The first row of a span.
    pub fn row_of(&self, id: SpanId) -> Option<usize> {
        (0..self.nodes.len()).find(|row| self.span(*row).span_id == id)
    }

    /// The critical path, first stretch to last.
    pub fn critical_path(&self) -> Vec<Segment> {
        path::find(&self.nodes)
    }

    /// The rows directly under `row`.
    pub fn children(&self, row: usize) -> impl Iterator<Item = usize> + '_ {
        let end = row + 1 + self.nodes[row].below as usize;
        let mut next = row + 1;
        std::iter::from_fn(move || {
            (next < end).then(|| {
                let child = next;
                next += 1 + self.nodes[child].below as usize;
                child
            })
        })
    }

    /// Where a moment lies on the axis, 0 to 1.
    pub fn share(&self, at: Nanos) -> f64 {
        let length = (self.end - self.begin) as f64;
        (at.saturating_sub(self.begin) as f64 / length).clamp(0.0, 1.0)
    }

    /// Time in queues, all waits together.
    pub fn waited(&self) -> u64 {
        self.nodes.iter().filter_map(|node| Some(node.start.saturating_sub(node.wait.as_ref()?.from))).sum()
    }

    /// Messages in the trace, counted by their ID: instrumentations may make two producer spans for one.
    /// Producers without an ID count each, unless they are around another producer.
    pub fn messages(&self) -> usize {
        use crate::dashboard::model::Kind::{Consumer, Producer};
        let mut ids = std::collections::HashSet::new();
        let mut nameless = 0;
        for (row, node) in self.nodes.iter().enumerate() {
            let span = &self.trace.spans[node.span];
            if !matches!(span.kind, Producer | Consumer) {
                continue;
            }
            match super::semantics::Semantics(span).message_id() {
                Some(id) => {
                    ids.insert(id);
                }
                None if span.kind == Producer
                    && !self.children(row).any(|child| self.span(child).kind == Producer) =>
                {
                    nameless += 1;
                }
                None => {}
            }
        }
        ids.len() + nameless
    }
}

/// Sets `below` and `error_below`. Children come after their parents, so one pass backwards is enough.
fn count_below(nodes: &mut [Node], spans: &[Span]) {
    for row in (0..nodes.len()).rev() {
        let Some(parent) = nodes[row].parent else { continue };
        let (below, failed) = (nodes[row].below, nodes[row].error_below || spans[nodes[row].span].failed());
        nodes[parent].below += below + 1;
        nodes[parent].error_below |= failed;
    }
}

/// First start and last end of what is plausible; `end` is made to be after `begin`.
fn extent(nodes: &[Node]) -> (Nanos, Nanos) {
    let starts = nodes.iter().filter(|node| node.time.start_counts()).map(|node| node.start);
    let begin = starts.clone().min().unwrap_or(0);
    let ends = nodes.iter().filter(|node| node.time == Time::Plausible).map(|node| node.end);
    let end = ends.chain(starts).max().unwrap_or(0);
    (begin, end.max(begin + 1))
}
