//! Runs of internal spans that say little, each shown as one row until somebody asks for more.
//!
//! Frameworks make a span of every middleware, a dozen a request, with names that mean nothing to who looks for a
//! cause. Two shapes are known:
//!
//! * beside each other: siblings that follow one another and have only internal spans below them, short all
//!   together (express 4, and middleware of most frameworks);
//! * around each other: a chain, each the only child of the one before and about as long (express 5); what the
//!   last of them calls stays, under the chain's row.
//!
//! A span that failed, has an event, a link or an error's log, is linked to from within the trace, or has times that
//! are not plausible belongs to no run.

use std::collections::HashSet;
use std::ops::Range;

use super::{Node, Place, Time, Waterfall};
use crate::dashboard::model::{Kind, Nanos, Span, SpanId};

/// Fewer spans are no run: a row saved would not be worth their names.
const FEWEST: usize = 3;
/// A run is short when it takes less than this part of the trace; spans around each other are about as long when
/// their starts and ends differ by less.
const PART: u64 = 10;
/// The severity from which a log tells of an error.
const ERROR_LOG: u8 = 17;

/// A run of internal spans of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its rows, all that stand between.
    pub rows: Range<usize>,
    /// Each is around the next: below the last one there may be more.
    pub chain: bool,
    /// First start and last end.
    pub start: Nanos,
    pub end: Nanos,
}

impl Run {
    fn of(nodes: &[Node], rows: Range<usize>, chain: bool) -> Self {
        let members = &nodes[rows.clone()];
        let start = members.iter().map(|node| node.start).min().unwrap_or(0);
        let end = members.iter().map(|node| node.end).max().unwrap_or(0);
        Self { rows, chain, start, end }
    }

    /// Its last row: what is below a chain is below this one.
    pub fn last(&self) -> usize {
        self.rows.end - 1
    }
}

impl Waterfall<'_> {
    /// The runs of the trace, by row. They do not overlap.
    pub fn runs(&self) -> Vec<Run> {
        let finder = Finder::new(self);
        let mut runs: Vec<Run> = Vec::new();
        // Rows that are in a run already.
        let mut taken = HashSet::new();
        for row in 0..self.nodes.len() {
            if taken.contains(&row) {
                continue;
            }
            if let Some(run) = finder.chain(row) {
                taken.extend(run.rows.clone());
                finder.beside(run.last(), &mut taken, &mut runs);
                runs.push(run);
            } else {
                finder.beside(row, &mut taken, &mut runs);
            }
        }
        runs.sort_by_key(|run| run.rows.start);
        runs
    }
}

struct Finder<'a> {
    waterfall: &'a Waterfall<'a>,
    /// Whether a row by itself may be in a run.
    quiet: Vec<bool>,
    /// Whether it may with everything below it.
    quiet_below: Vec<bool>,
    limit: Nanos,
}

impl<'a> Finder<'a> {
    fn new(waterfall: &'a Waterfall<'a>) -> Self {
        let loud = loud(waterfall);
        let (nodes, spans) = (&waterfall.nodes, &waterfall.trace.spans);
        let quiet: Vec<bool> = nodes.iter().map(|node| is_quiet(node, &spans[node.span], &loud)).collect();
        let mut quiet_below = quiet.clone();
        for row in (0..nodes.len()).rev() {
            if let Some(parent) = nodes[row].parent
                && quiet_below[parent]
                && !(quiet_below[row] && waterfall.span(row).service() == waterfall.span(parent).service())
            {
                quiet_below[parent] = false;
            }
        }
        Self { waterfall, quiet, quiet_below, limit: (waterfall.end - waterfall.begin) / PART }
    }

    /// The chain that begins with `row`.
    fn chain(&self, row: usize) -> Option<Run> {
        let nodes = &self.waterfall.nodes;
        let first = &nodes[row];
        let continues = |next: usize| {
            let (node, above) = (&nodes[next], &nodes[next - 1]);
            self.quiet[next]
                && node.below + 1 == above.below
                && first.start.abs_diff(node.start).saturating_add(first.end.abs_diff(node.end)) <= self.limit
                && self.waterfall.span(next).service() == self.waterfall.span(row).service()
        };
        if !self.quiet[row] || first.below == 0 {
            return None;
        }
        let mut end = row + 1;
        while end < nodes.len() && nodes[end - 1].below > 0 && continues(end) {
            end += 1;
        }
        (end - row >= FEWEST).then(|| Run::of(nodes, row..end, true))
    }

    /// Adds the runs among the children of `row` to `runs`, and their rows to `taken`.
    fn beside(&self, row: usize, taken: &mut HashSet<usize>, runs: &mut Vec<Run>) {
        let nodes = &self.waterfall.nodes;
        let mut open: Option<(Range<usize>, usize)> = None;
        let mut close = |open: &mut Option<(Range<usize>, usize)>| {
            let Some((rows, siblings)) = open.take() else { return };
            let run = Run::of(nodes, rows, false);
            if siblings > 1 && run.rows.len() >= FEWEST && run.end - run.start <= self.limit {
                taken.extend(run.rows.clone());
                runs.push(run);
            }
        };
        for child in self.waterfall.children(row) {
            let end = child + 1 + nodes[child].below as usize;
            let brief = nodes[child].end - nodes[child].start.min(nodes[child].end) <= self.limit;
            if !(self.quiet_below[child] && brief) {
                close(&mut open);
                continue;
            }
            let service = self.waterfall.span(child).service();
            match &mut open {
                Some((rows, siblings)) if self.waterfall.span(rows.start).service() == service => {
                    rows.end = end;
                    *siblings += 1;
                }
                _ => {
                    close(&mut open);
                    open = Some((child..end, 1));
                }
            }
        }
        close(&mut open);
    }
}

/// Spans that others speak of: those that are linked to, and those in which an error was logged.
fn loud(waterfall: &Waterfall<'_>) -> HashSet<SpanId> {
    let trace = waterfall.trace;
    let links = trace.spans.iter().flat_map(|span| &span.links).filter(|link| link.trace_id == trace.id);
    let errors = trace.logs.iter().filter(|log| log.severity >= ERROR_LOG);
    links.filter_map(|link| link.span_id).chain(errors.filter_map(|log| log.span_id)).collect()
}

fn is_quiet(node: &Node, span: &Span, loud: &HashSet<SpanId>) -> bool {
    span.kind == Kind::Internal
        && node.place == Place::Child
        && node.time == Time::Plausible
        && !span.failed()
        && span.events.is_empty()
        && span.links.is_empty()
        && !loud.contains(&span.span_id)
}

#[cfg(test)]
mod tests {
    use super::super::{Clocks, Hide};
    use super::*;
    use crate::dashboard::fixture::build::{MS, NOW, SpanExt, TraceBuilder, span_id};
    use crate::dashboard::fixture::{cases, express, shop};
    use crate::dashboard::model::Trace;

    /// The shown rows as text: depth as dots, then the name, or how many spans the row stands for.
    fn drawn(trace: &Trace, hide: &Hide) -> Vec<String> {
        let waterfall = Waterfall::new(trace, NOW, Clocks::AsSent);
        let line = |line: &super::super::Line| {
            let dots = ".".repeat(line.depth as usize);
            match &line.run {
                Some(run) => format!("{dots}{} internal", run.rows.len()),
                None => format!("{dots}{}", waterfall.span(line.row).name),
            }
        };
        waterfall.shown(hide).lines.iter().map(line).collect()
    }

    fn folded() -> Hide {
        Hide { internal: true, ..Hide::default() }
    }

    const CHAIN: [&str; 4] = ["GET /price/:sku", ".3 internal", "..GET", "..tcp.connect"];
    const ROW: [&str; 4] =
        ["GET /orders/:id", ".12 internal", ".request handler - /orders/:id", "..SELECT orders"];

    #[test]
    fn what_express_sends_is_folded_and_its_work_stays() {
        let (chain, row) = (express::chain(1, NOW).build(), express::row(1, NOW).build());
        assert_eq!(drawn(&chain, &folded()), CHAIN);
        assert_eq!(drawn(&row, &folded()), ROW);
        assert_eq!(drawn(&chain, &Hide::default()).len(), 6);
        let waterfall = Waterfall::new(&row, NOW, Clocks::AsSent);
        let shown = waterfall.shown(&folded());
        let run = shown.lines[1].run.clone().unwrap();
        assert_eq!((run.rows.clone(), run.chain, run.end - run.start), (1..13, false, 1_180_000));
        assert_eq!(shown.stands_for, [0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3]);
    }

    #[test]
    fn a_span_that_says_something_is_in_no_run() {
        type Change = fn(&mut TraceBuilder);
        // Spans 2 to 13 are the middleware; the change is to the third.
        let changes: [(&str, Change); 9] = [
            ("failed", |t| {
                t.spans[3].fail("no session");
            }),
            ("an event", |t| {
                t.spans[3].event(0.0, "cache miss", &[]);
            }),
            ("a link", |t| {
                let id = t.id;
                t.spans[3].link(id, 1);
            }),
            ("linked to", |t| {
                let id = t.id;
                t.spans[0].link(id, 4);
            }),
            ("an error's log", |t| {
                t.log(4, "orders", 0.7, 17, "session store is slow");
            }),
            ("no end", |t| t.spans[3].end = 0),
            ("not internal", |t| t.spans[3].kind = Kind::Client),
            ("long", |t| t.spans[3].end += 10 * MS),
            ("a call below", |t| {
                t.span(30, 4, "orders", "GET", Kind::Client, 0.6, 0.65);
            }),
        ];
        for (why, change) in changes {
            let mut t = express::row(1, NOW);
            change(&mut t);
            let lines = drawn(&t.build(), &folded());
            let at = lines.iter().position(|line| line == ".middleware - helmet");
            assert!(at.is_some(), "{why}: {lines:?}");
            assert!(lines.contains(&".9 internal".to_owned()), "{why}: {lines:?}");
        }
        let mut t = express::chain(1, NOW);
        t.spans[2].fail("no price");
        assert_eq!(drawn(&t.build(), &folded()).len(), 6);
    }

    #[test]
    fn a_log_that_is_no_error_keeps_nothing_open() {
        let mut t = express::chain(1, NOW);
        t.log(4, "prices", 100.0, 9, "priced");
        assert_eq!(drawn(&t.build(), &folded()), CHAIN);
    }

    #[test]
    fn what_is_asked_for_is_shown() {
        let trace = express::row(1, NOW).build();
        for id in [2, 7, 13] {
            let hide = Hide { open: [span_id(id)].into(), ..folded() };
            assert_eq!(drawn(&trace, &hide).len(), 15, "span {id}");
        }
        let hide = Hide { open: [span_id(20)].into(), ..folded() };
        assert_eq!(drawn(&trace, &hide), ROW);
    }

    #[test]
    fn runs_go_with_collapsing_and_with_errors_only() {
        let mut t = express::chain(1, NOW);
        t.spans[4].fail("timeout");
        let trace = t.build();
        let errors = Hide { all_but_errors: true, ..folded() };
        assert_eq!(drawn(&trace, &errors), ["GET /price/:sku", ".3 internal", "..GET"]);
        for (hide, lines) in [
            (Hide { collapsed: [span_id(1)].into(), ..folded() }, &CHAIN[..1]),
            (Hide { collapsed: [span_id(4)].into(), ..folded() }, &CHAIN[..2]),
            (Hide { below_depth: Some(1), ..folded() }, &CHAIN[..2]),
        ] {
            assert_eq!(drawn(&trace, &hide), lines);
        }
        // A span of the run that hides its children by itself is shown doing so.
        let inner = Hide { collapsed: [span_id(3)].into(), ..folded() };
        assert_eq!(drawn(&trace, &inner), ["GET /price/:sku", ".middleware - patched", "..request handler"]);
    }

    #[test]
    fn work_of_an_application_is_not_folded() {
        for trace in
            [shop::placed(NOW), cases::large(1, NOW, 1_000, false), cases::large(1, NOW, 1_000, true)]
        {
            let spans = trace.spans.len();
            assert_eq!(drawn(&trace, &folded()).len(), spans);
        }
        // A batch is made of internal spans: together they are the trace.
        let mut t = TraceBuilder::new(1, NOW);
        t.span(1, 0, "batch", "nightly", Kind::Internal, 0.0, 1_000.0);
        for id in 2..=1_000 {
            t.span(id, 1, "batch", "settle one", Kind::Internal, id as f64 - 1.0, id as f64);
        }
        assert_eq!(drawn(&t.build(), &folded()).len(), 1_000);
    }
}
