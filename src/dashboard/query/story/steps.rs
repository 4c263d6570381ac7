//! All spans of a correlation in one list, tied to their parents, with times that can be drawn.
//!
//! Here hostile shapes end: cycles of parents are cut, IDs shared by client and server are told apart,
//! implausible times are replaced by their trace's begin. No recursion: a chain may be as long as a trace.
//! What must not live here: messages and words.

use std::collections::{HashMap, HashSet};

use super::read::{Deed, deed};
use crate::dashboard::model::{EARLIEST, Kind, Nanos, Span, SpanId, Trace, TraceId};

/// A span within the story.
#[derive(Debug)]
pub struct Step<'a> {
    pub span: &'a Span,
    /// Index of its trace.
    pub trace: usize,
    /// Index of its parent's step; cycles are cut.
    pub parent: Option<usize>,
    /// The outermost step of the same visit to this service: where the service was entered.
    pub entry: usize,
    /// Start and end fit to be drawn: `end` is never before `start`.
    pub start: Nanos,
    pub end: Nanos,
    /// False where the sent times cannot be true; `start` is then borrowed.
    pub plausible: bool,
    pub deed: Deed,
    /// Where it stands in the story: its start, but never before its parent's.
    pub order: Nanos,
    /// The failed step that made this one fail: itself, or one further in. Only for
    /// failed steps, and not for a refusal that its caller took as an answer.
    pub cause: Option<usize>,
}

impl Step<'_> {
    pub fn service(&self) -> &str {
        self.span.service()
    }

    pub fn failed(&self) -> bool {
        self.span.failed()
    }

    pub fn duration(&self) -> u64 {
        self.end - self.start
    }

    /// Whether it was answered with a 4xx status, which says that the caller erred.
    fn refused(&self) -> bool {
        matches!(&self.deed, Deed::Called(call) if call.http_status.is_some_and(|code| (400..500).contains(&code)))
    }
}

/// Two services whose clocks differ by at least this much, in ns: a child began before its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skew {
    pub ahead: String,
    pub behind: String,
    pub by: u64,
}

/// The list, with a way to find a step by its IDs.
#[derive(Debug, Default)]
pub struct Steps<'a> {
    pub list: Vec<Step<'a>>,
    /// Indices in an order in which parents come before their children.
    pub parents_first: Vec<usize>,
    pub skew: Option<Skew>,
    index: HashMap<(TraceId, SpanId), Vec<usize>>,
}

/// How far ahead of ours a clock may be before its times are not believed.
const AHEAD: u64 = 24 * 3600 * 1_000_000_000;
/// The longest span believed.
const LONGEST: u64 = 30 * AHEAD;
/// Smaller differences of clocks are not worth a word.
const SKEW_WORTH_SAYING: u64 = 1_000_000;

/// Whether a moment can be true.
pub fn plausible(time: Nanos, now: Nanos) -> bool {
    (EARLIEST..now.saturating_add(AHEAD)).contains(&time)
}

impl<'a> Steps<'a> {
    /// Takes the traces apart.
    pub fn of(traces: &'a [Trace], now: Nanos) -> Self {
        let mut steps = Self::default();
        for (number, trace) in traces.iter().enumerate() {
            let known = trace.spans.iter().map(|span| span.start).filter(|start| plausible(*start, now));
            let begin = known.min().unwrap_or(now);
            steps.list.extend(trace.spans.iter().map(|span| step(span, number, begin, now)));
        }
        for (at, step) in steps.list.iter().enumerate() {
            steps.index.entry((step.span.trace_id, step.span.span_id)).or_default().push(at);
        }
        steps.tie();
        steps.cut_cycles();
        steps.settle();
        steps.find_causes();
        steps
    }

    /// The step of a span. Where client and server share the ID, the server: it is the one that has children.
    pub fn find(&self, trace: TraceId, span: SpanId) -> Option<usize> {
        let same = self.index.get(&(trace, span))?;
        let server = same.iter().find(|at| self.list[**at].span.kind == Kind::Server);
        server.or(same.first()).copied()
    }

    fn tie(&mut self) {
        let parents: Vec<Option<usize>> = (0..self.list.len()).map(|at| self.parent_of(at)).collect();
        for (step, parent) in self.list.iter_mut().zip(parents) {
            step.parent = parent;
        }
    }

    fn parent_of(&self, at: usize) -> Option<usize> {
        let span = self.list[at].span;
        if span.kind == Kind::Server {
            let same = self.index.get(&(span.trace_id, span.span_id))?;
            let client = same.iter().find(|other| self.list[**other].span.kind == Kind::Client);
            if let Some(client) = client {
                return Some(*client);
            }
        }
        self.find(span.trace_id, span.parent?).filter(|parent| *parent != at)
    }

    /// Walks up from every step once; a step met again on the same walk loses its parent. Notes the order.
    fn cut_cycles(&mut self) {
        const NEW: u32 = 0;
        let mut walked = vec![NEW; self.list.len()];
        let mut done = vec![false; self.list.len()];
        for first in 0..self.list.len() {
            let walk = first as u32 + 1;
            let mut path = Vec::new();
            let mut next = Some(first);
            while let Some(at) = next.filter(|at| !done[*at]) {
                walked[at] = walk;
                path.push(at);
                next = self.list[at].parent;
                if next.is_some_and(|parent| !done[parent] && walked[parent] == walk) {
                    self.list[at].parent = None;
                    next = None;
                }
            }
            for at in path.into_iter().rev() {
                done[at] = true;
                self.parents_first.push(at);
            }
        }
    }

    /// Fills in what follows from the parent: where the service was entered, and the place in the story.
    fn settle(&mut self) {
        let mut skew: Option<Skew> = None;
        for &at in &self.parents_first {
            let step = &self.list[at];
            let boundary = matches!(step.span.kind, Kind::Server | Kind::Consumer);
            let parent = step.parent.map(|parent| &self.list[parent]);
            let same = parent.filter(|parent| !boundary && parent.service() == step.service());
            let entry = same.map_or(at, |parent| parent.entry);
            let order = parent.map_or(step.start, |parent| parent.order.max(step.start));
            if let Some(parent) = parent.filter(|parent| parent.plausible && step.plausible) {
                let by = parent.start.saturating_sub(step.start);
                let apart = parent.service() != step.service();
                if apart && by > skew.as_ref().map_or(SKEW_WORTH_SAYING, |skew| skew.by) {
                    let (ahead, behind) = (parent.service().to_owned(), step.service().to_owned());
                    skew = Some(Skew { ahead, behind, by });
                }
            }
            let step = &mut self.list[at];
            (step.entry, step.order) = (entry, order);
        }
        self.skew = skew;
    }

    /// A failed step failed because of the failed child that ended last, if it has one. Taking a message is
    /// not part of sending it, so a failure does not pass from a consumer to its producer.
    ///
    /// Clients count a 4xx answer as their failure, servers do not (HTTP semantic conventions). Where the
    /// caller then went on without failing, it was an answer like any other and has no cause.
    fn find_causes(&mut self) {
        let mut latest: Vec<Option<usize>> = vec![None; self.list.len()];
        let mut served: HashSet<usize> = HashSet::new();
        for &at in self.parents_first.iter().rev() {
            let step = &self.list[at];
            if !step.failed() {
                served.extend(step.parent.filter(|_| matches!(step.deed, Deed::Served(_))));
                continue;
            }
            let went_on = step.parent.is_some_and(|parent| !self.list[parent].failed());
            if went_on && served.contains(&at) && step.refused() {
                continue;
            }
            let inner = latest[at].and_then(|child| self.list[child].cause);
            self.list[at].cause = Some(inner.unwrap_or(at));
            let step = &self.list[at];
            if let Some(parent) = step.parent.filter(|_| step.span.kind != Kind::Consumer)
                && latest[parent].is_none_or(|other| self.list[other].end < step.end)
            {
                latest[parent] = Some(at);
            }
        }
    }

    /// The step that failed first: the failed one that ended first, the innermost of those.
    pub fn first_failure(&self) -> Option<usize> {
        let failed = self.list.iter().enumerate().filter(|(_, step)| step.cause.is_some());
        let first = failed.min_by_key(|(_, step)| (!step.plausible, step.end))?.0;
        self.list[first].cause
    }

    /// Whether the step has no parent among the spans kept.
    pub fn is_root(&self, at: usize) -> bool {
        self.list[at].parent.is_none()
    }

    /// The step and its ancestors, innermost first.
    pub fn upwards(&self, at: usize) -> impl Iterator<Item = usize> + '_ {
        std::iter::successors(Some(at), |at| self.list[*at].parent)
    }
}

fn step(span: &Span, trace: usize, begin: Nanos, now: Nanos) -> Step<'_> {
    let plausible = plausible(span.start, now);
    let start = if plausible { span.start } else { begin };
    let fits = plausible && span.end >= span.start && span.end - span.start < LONGEST;
    let end = if fits { span.end } else { start };
    Step {
        span,
        trace,
        parent: None,
        entry: 0,
        start,
        end,
        plausible,
        deed: deed(span),
        order: start,
        cause: None,
    }
}
