//! Times as they can be drawn: which are plausible, and what they would be if all clocks agreed.

use super::Node;
use crate::dashboard::model::{EARLIEST, Kind, Nanos, Span};

/// How far ahead of ours another clock may be.
const AHEAD: Nanos = 86_400_000_000_000;

/// What is to be said of a span's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    Plausible,
    /// Start is 0 or long before tracing was invented.
    NoStart,
    /// Start lies more than a day ahead.
    FutureStart,
    /// End is 0: not told.
    NoEnd,
    /// End lies more than a day ahead.
    FutureEnd,
    /// It ends before it starts.
    Backwards,
}

impl Time {
    /// Judges a span's times.
    pub fn of(span: &Span, now: Nanos) -> Self {
        let latest = now.saturating_add(AHEAD);
        if span.start < EARLIEST {
            Self::NoStart
        } else if span.start > latest {
            Self::FutureStart
        } else if span.end == 0 {
            Self::NoEnd
        } else if span.end > latest {
            Self::FutureEnd
        } else if span.end < span.start {
            Self::Backwards
        } else {
            Self::Plausible
        }
    }

    /// Whether the start can be placed on the scale.
    pub fn start_counts(self) -> bool {
        !matches!(self, Self::NoStart | Self::FutureStart)
    }

    /// What is wrong, in words.
    pub fn words(self) -> Option<&'static str> {
        Some(match self {
            Self::Plausible => return None,
            Self::NoStart => "no plausible start time",
            Self::FutureStart => "starts in the future",
            Self::NoEnd => "no end time",
            Self::FutureEnd => "ends in the future",
            Self::Backwards => "ends before it starts",
        })
    }
}

/// Whether a span that another process made begins before its parent, or ends after it, by its clock's fault:
/// a call cannot begin before it was made. Messages may well be taken long after they were sent.
fn is_call(parent: &Span, child: &Span) -> bool {
    parent.service() != child.service()
        && !matches!(parent.kind, Kind::Producer)
        && !matches!(child.kind, Kind::Consumer | Kind::Producer)
}

/// Whether any call begins before its caller.
pub(super) fn is_skewed(nodes: &[Node], spans: &[Span]) -> bool {
    nodes.iter().any(|node| {
        node.parent.is_some_and(|parent| {
            let parent = &nodes[parent];
            both_plausible(parent, node)
                && is_call(&spans[parent.span], &spans[node.span])
                && node.start < parent.start
        })
    })
}

/// Moves every called process' spans so that the call lies in the middle of its caller, as far as it has room:
/// the time on the way is taken to be the same in both directions. What is below moves along.
pub(super) fn adjust(nodes: &mut [Node], spans: &[Span]) {
    let mut shifts = vec![0i128; nodes.len()];
    for row in 0..nodes.len() {
        let Some(above) = nodes[row].parent else { continue };
        let (parent, node) = (nodes[above].clone(), &nodes[row]);
        if !both_plausible(&parent, node) {
            continue;
        }
        let same_process = spans[parent.span].service() == spans[node.span].service();
        let shift = if same_process {
            shifts[above]
        } else if is_call(&spans[parent.span], &spans[node.span]) {
            needed(&parent, node)
        } else {
            0
        };
        shifts[row] = shift;
        if shift != 0 {
            let node = &mut nodes[row];
            node.start = moved(node.start, shift);
            node.end = moved(node.end, shift);
            node.moved = shift;
        }
    }
}

fn both_plausible(one: &Node, other: &Node) -> bool {
    one.time == Time::Plausible && other.time == Time::Plausible
}

/// How far a call has to move, its caller being where it belongs.
fn needed(parent: &Node, node: &Node) -> i128 {
    let (room, length) = (parent.end - parent.start, node.end - node.start);
    if node.start >= parent.start && (node.end <= parent.end || length > room) {
        return 0;
    }
    let goal = if length > room { parent.start } else { parent.start + (room - length) / 2 };
    i128::from(goal) - i128::from(node.start)
}

fn moved(at: Nanos, shift: i128) -> Nanos {
    u64::try_from(i128::from(at) + shift).unwrap_or(at)
}
