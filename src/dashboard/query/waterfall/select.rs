//! Which rows are shown: collapsed ones, folded ones, errors only, and what a search within the trace finds.

use std::collections::HashSet;

use super::{Run, Waterfall};
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
    /// Internal spans that say little: one row stands for each [`Run`].
    pub internal: bool,
    /// Spans whose run is shown all the same: it was opened, or has what was looked for.
    pub open: HashSet<SpanId>,
}

/// A row that is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// The row, or the first of the run.
    pub row: usize,
    /// How many shown rows are above it in the tree.
    pub depth: u32,
    /// The run that it stands for.
    pub run: Option<Run>,
}

impl Line {
    /// The row whose children stand below this line.
    pub fn head(&self) -> usize {
        self.run.as_ref().map_or(self.row, Run::last)
    }
}

/// The rows that are shown, and for each row the shown one that stands for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    /// By row, ascending.
    pub lines: Vec<Line>,
    /// For every row, the position in `lines` of itself, of the run that it is in, or of the nearest row above it
    /// that is shown.
    pub stands_for: Vec<u32>,
}

impl Waterfall<'_> {
    /// Applies `hide`. A root is hidden only by "all but errors".
    pub fn shown(&self, hide: &Hide) -> Shown {
        let mut lines: Vec<Line> = Vec::with_capacity(self.nodes.len());
        let mut stands_for = vec![0u32; self.nodes.len()];
        let runs = if hide.internal { self.runs() } else { Vec::new() };
        let mut runs = runs.into_iter().filter(|run| !self.is_open(run, hide)).peekable();
        // Rows up to this one are below something collapsed, or in the run of the last line.
        let (mut hidden_until, mut folded_until) = (0, 0);
        for (row, node) in self.nodes.iter().enumerate() {
            let boring = hide.all_but_errors && !self.span(row).failed() && !node.error_below;
            if row < folded_until || row < hidden_until || boring {
                let above = node.parent.map(|parent| stands_for[parent]);
                let last = lines.len().saturating_sub(1) as u32;
                stands_for[row] = if row < folded_until { last } else { above.unwrap_or(last) };
                continue;
            }
            while runs.next_if(|run| run.rows.start < row).is_some() {}
            let run = runs.next_if(|run| run.rows.start == row);
            let depth = node.parent.map_or(0, |above| lines[stands_for[above] as usize].depth + 1);
            stands_for[row] = lines.len() as u32;
            let line = Line { row, depth, run };
            let head = line.head();
            folded_until = head + 1;
            if self.is_collapsed(head, hide) {
                hidden_until = head + 1 + self.nodes[head].below as usize;
            }
            lines.push(line);
        }
        Shown { lines, stands_for }
    }

    /// Whether a run is shown span by span: one of it was asked for, or has its children hidden by itself.
    fn is_open(&self, run: &Run, hide: &Hide) -> bool {
        run.rows.clone().any(|row| {
            let id = self.span(row).span_id;
            let as_a_whole = run.chain && row == run.last();
            hide.open.contains(&id) || (hide.collapsed.contains(&id) && !as_a_whole)
        })
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
