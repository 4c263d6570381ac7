//! Which rows are shown: collapsed ones, errors only, and what a search within the trace finds.

use std::collections::HashSet;

use super::Waterfall;
use crate::dashboard::model::{SpanId, value::Attributes};

/// What hides rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hide {
    /// Spans whose children are hidden.
    pub collapsed: HashSet<SpanId>,
    /// All rows deeper than this.
    pub below_depth: Option<u32>,
    /// All but failed spans and what is above them.
    pub all_but_errors: bool,
}

/// The rows that are shown, and for each row the shown one that stands for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// Indexes of rows, ascending.
    pub rows: Vec<usize>,
    /// For every row, the position in `rows` of itself or of the nearest row above it that is shown.
    pub stands_for: Vec<u32>,
}

impl Waterfall<'_> {
    /// Applies `hide`. A root is hidden only by "all but errors".
    pub fn shown(&self, hide: &Hide) -> Shown {
        let mut rows = Vec::with_capacity(self.nodes.len());
        let mut stands_for = vec![0u32; self.nodes.len()];
        // Rows up to this one are below something collapsed.
        let mut hidden_until = 0;
        for (row, node) in self.nodes.iter().enumerate() {
            let span = &self.trace.spans[node.span];
            let boring = hide.all_but_errors && !span.failed() && !node.error_below;
            if row < hidden_until || boring {
                stands_for[row] =
                    node.parent.map_or(rows.len().saturating_sub(1) as u32, |parent| stands_for[parent]);
                continue;
            }
            stands_for[row] = rows.len() as u32;
            rows.push(row);
            if self.is_collapsed(row, hide) {
                hidden_until = row + 1 + node.below as usize;
            }
        }
        Shown { rows, stands_for }
    }

    /// Whether the children of `row` are hidden.
    pub fn is_collapsed(&self, row: usize, hide: &Hide) -> bool {
        let node = &self.nodes[row];
        node.below > 0
            && (hide.collapsed.contains(&self.trace.spans[node.span].span_id)
                || hide.below_depth.is_some_and(|depth| node.depth >= depth))
    }

    /// Rows in which `text` occurs, in any case: service, name, status, keys and values of attributes and events.
    pub fn find(&self, text: &str) -> Vec<usize> {
        let wanted = text.to_lowercase();
        if wanted.is_empty() {
            return Vec::new();
        }
        let has = |within: &str| contains(within, &wanted);
        let any = |attributes: &Attributes| {
            attributes
                .iter()
                .any(|(key, value)| has(key) || value.as_str().map_or_else(|| has(&value.to_text()), has))
        };
        let matches = |row: &usize| {
            let span = &self.trace.spans[self.nodes[*row].span];
            has(&span.name)
                || has(span.service())
                || has(&span.status_message)
                || any(&span.attributes)
                || span.events.iter().any(|event| has(&event.name) || any(&event.attributes))
        };
        (0..self.nodes.len()).filter(matches).collect()
    }
}

/// Whether `wanted`, in lower case, occurs in `within`.
fn contains(within: &str, wanted: &str) -> bool {
    if within.is_ascii() && wanted.is_ascii() {
        return within.len() >= wanted.len()
            && within
                .as_bytes()
                .windows(wanted.len())
                .any(|window| window.eq_ignore_ascii_case(wanted.as_bytes()));
    }
    within.to_lowercase().contains(wanted)
}
