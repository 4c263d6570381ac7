//! Who is under whom: the forest of a trace's spans, whatever their parents say.
//!
//! A missing parent makes a root, a cycle is cut where it begins, client and server of one ID (Zipkin) hang
//! together, the same span twice counts once. Nothing here calls itself: a chain may be 100,000 deep.

use crate::dashboard::model::{Kind, Span, SpanId};

/// Why a span stands where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It has no parent.
    Root,
    /// It is under its parent.
    Child,
    /// It names a parent that has not arrived.
    ParentMissing,
    /// Its parents lead back to itself; the circle was cut above it.
    CycleCut,
}

/// A span at its place. Rows are in the order of reading: each before its children, children by time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    /// Index into the trace's spans.
    pub span: usize,
    /// Index of the parent's row.
    pub parent: Option<usize>,
    pub depth: u32,
    pub place: Place,
}

/// The rows of `spans`, which are sorted by start.
pub(super) fn rows(spans: &[Span]) -> Vec<Placed> {
    let index = Index::new(spans);
    let mut parents: Vec<Link> = (0..spans.len())
        .map(|at| if index.is_repeated(at) { Link::Repeated } else { index.parent(at) })
        .collect();
    cut_cycles(&mut parents);
    order(&parents)
}

/// What is above a span.
#[derive(Clone, Copy, PartialEq)]
enum Link {
    /// The same span was seen before: it is left out.
    Repeated,
    None(Place),
    Under(usize),
}

/// Spans by ID, in time order within one ID.
struct Index<'a> {
    spans: &'a [Span],
    by_id: Vec<(SpanId, usize)>,
}

impl<'a> Index<'a> {
    fn new(spans: &'a [Span]) -> Self {
        let mut by_id: Vec<_> = spans.iter().enumerate().map(|(at, span)| (span.span_id, at)).collect();
        by_id.sort_unstable();
        Self { spans, by_id }
    }

    fn with(&self, id: SpanId) -> &[(SpanId, usize)] {
        let begin = self.by_id.partition_point(|(other, _)| *other < id);
        let length = self.by_id[begin..].partition_point(|(other, _)| *other == id);
        &self.by_id[begin..begin + length]
    }

    /// Whether an equal span comes before this one.
    fn is_repeated(&self, at: usize) -> bool {
        let span = &self.spans[at];
        self.with(span.span_id)
            .iter()
            .take_while(|(_, other)| *other < at)
            .any(|(_, other)| self.spans[*other] == *span)
    }

    fn parent(&self, at: usize) -> Link {
        let span = &self.spans[at];
        if span.kind == Kind::Server {
            let client = self
                .with(span.span_id)
                .iter()
                .find(|(_, other)| *other != at && self.spans[*other].kind == Kind::Client);
            if let Some(&(_, client)) = client {
                return Link::Under(client);
            }
        }
        let Some(parent) = span.parent else { return Link::None(Place::Root) };
        if parent == span.span_id {
            return Link::None(Place::CycleCut);
        }
        match self.with(parent) {
            [] => Link::None(Place::ParentMissing),
            [(_, only)] => Link::Under(*only),
            several => {
                // Client and server share the ID: what happened within the server is under the server.
                let rank = |other: &Span| {
                    (other.service() == span.service(), other.kind == Kind::Server, other.start <= span.start)
                };
                // `max_by_key` takes the last of equals; the first arrived is the better guess.
                let best = several.iter().rev().max_by_key(|(_, other)| rank(&self.spans[*other]));
                best.map_or(Link::None(Place::ParentMissing), |(_, best)| Link::Under(*best))
            }
        }
    }
}

/// Cuts every circle of parents above its earliest span.
fn cut_cycles(parents: &mut [Link]) {
    const NEW: usize = 0;
    // The number of the walk that saw a span; walks count from 1.
    let mut seen_by = vec![NEW; parents.len()];
    for begin in 0..parents.len() {
        let walk = begin + 1;
        let mut at = begin;
        while seen_by[at] == NEW {
            seen_by[at] = walk;
            match parents[at] {
                Link::Under(parent) => at = parent,
                _ => break,
            }
        }
        let closed = seen_by[at] == walk && matches!(parents[at], Link::Under(_));
        if !closed {
            continue;
        }
        let mut earliest = at;
        let mut round = at;
        while let Link::Under(parent) = parents[round] {
            round = parent;
            earliest = earliest.min(round);
            if round == at {
                break;
            }
        }
        parents[earliest] = Link::None(Place::CycleCut);
    }
}

/// Parents before children, roots and siblings by time.
fn order(parents: &[Link]) -> Vec<Placed> {
    // Children as one list: those of span `at` are `children[begins[at]..begins[at + 1]]`.
    let mut begins = vec![0usize; parents.len() + 1];
    for link in parents {
        if let Link::Under(parent) = link {
            begins[parent + 1] += 1;
        }
    }
    for at in 0..parents.len() {
        begins[at + 1] += begins[at];
    }
    let mut children = vec![0usize; begins[parents.len()]];
    let mut filled = begins.clone();
    for (at, link) in parents.iter().enumerate() {
        if let Link::Under(parent) = link {
            children[filled[*parent]] = at;
            filled[*parent] += 1;
        }
    }
    let mut rows: Vec<Placed> = Vec::with_capacity(parents.len());
    let mut waiting: Vec<Placed> = parents
        .iter()
        .enumerate()
        .rev()
        .filter_map(|(span, link)| match link {
            Link::None(place) => Some(Placed { span, parent: None, depth: 0, place: *place }),
            _ => None,
        })
        .collect();
    while let Some(next) = waiting.pop() {
        let row = rows.len();
        rows.push(next);
        waiting.extend(children[begins[next.span]..begins[next.span + 1]].iter().rev().map(|&span| Placed {
            span,
            parent: Some(row),
            depth: next.depth + 1,
            place: Place::Child,
        }));
    }
    rows
}
