//! Time that a message spent in a queue: from the end of its sending to the start of its processing.

use std::collections::HashMap;

use super::{Node, clock::Time};
use crate::dashboard::model::{Kind, Nanos, Span, SpanId};
use crate::dashboard::query::semantics::Semantics;

/// A wait before a span.
#[derive(Debug, Clone, PartialEq)]
pub struct Wait {
    /// When the message was sent; the wait ends with the span's start.
    pub from: Nanos,
    /// The queue, where anything names it.
    pub queue: Option<String>,
    /// The row of the sender.
    pub sender: usize,
}

/// Sets the waits of all consumers whose sender is in the trace: its parent, else a span that it links to.
pub(super) fn set(nodes: &mut [Node], spans: &[Span]) {
    let producers: HashMap<SpanId, usize> = nodes
        .iter()
        .enumerate()
        .filter(|(_, node)| spans[node.span].kind == Kind::Producer)
        .map(|(row, node)| (spans[node.span].span_id, row))
        .collect();
    if producers.is_empty() {
        return;
    }
    for row in 0..nodes.len() {
        let span = &spans[nodes[row].span];
        if span.kind != Kind::Consumer || nodes[row].time != Time::Plausible {
            continue;
        }
        let parent = nodes[row].parent.filter(|parent| spans[nodes[*parent].span].kind == Kind::Producer);
        let linked = || {
            let of_this_trace = span.links.iter().filter(|link| link.trace_id == span.trace_id);
            of_this_trace.filter_map(|link| link.span_id).find_map(|id| producers.get(&id).copied())
        };
        let Some(sender) = parent.or_else(linked).filter(|sender| *sender != row) else { continue };
        if nodes[sender].time != Time::Plausible || nodes[sender].end >= nodes[row].start {
            continue;
        }
        let queue = Semantics(span).queue().map(str::to_owned);
        nodes[row].wait = Some(Wait { from: nodes[sender].end, queue, sender });
    }
}
