//! The critical path: what made a trace take as long as it did, as one line without a gap.
//!
//! Read backwards from the last end: a span waited for the child that ended last before, that child for its
//! own, and so on; what no child explains is the span's own work. A span's children may end after it (messages,
//! work in the background), so a child counts with everything below it. Nothing here calls itself.

use super::{Node, clock::Time};
use crate::dashboard::model::Nanos;

/// A stretch of the path within one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    pub row: usize,
    pub from: Nanos,
    pub to: Nanos,
    /// Nobody worked: a message lay in a queue, or nothing that was traced went on.
    pub waiting: bool,
}

/// The path's stretches, first to last. Each begins when the one before it ends.
pub(super) fn find(nodes: &[Node]) -> Vec<Segment> {
    let ends = ends_with_all_below(nodes);
    let mut walk = Walk { nodes, ends: &ends, children: Children::of(nodes), at: 0, segments: Vec::new() };
    walk.at = walk.children.roots.iter().map(|root| ends[*root]).max().unwrap_or(0);
    walk.run();
    walk.segments.reverse();
    walk.segments
}

/// The latest end of each row and all rows below it; 0 where no time is plausible.
fn ends_with_all_below(nodes: &[Node]) -> Vec<Nanos> {
    let mut ends: Vec<Nanos> =
        nodes.iter().map(|node| if node.time == Time::Plausible { node.end } else { 0 }).collect();
    for row in (0..nodes.len()).rev() {
        if let Some(parent) = nodes[row].parent {
            ends[parent] = ends[parent].max(ends[row]);
        }
    }
    ends
}

/// The rows under each row, as one list.
struct Children {
    roots: Vec<usize>,
    begins: Vec<usize>,
    rows: Vec<usize>,
}

impl Children {
    fn of(nodes: &[Node]) -> Self {
        let mut begins = vec![0usize; nodes.len() + 1];
        for parent in nodes.iter().filter_map(|node| node.parent) {
            begins[parent + 1] += 1;
        }
        for row in 0..nodes.len() {
            begins[row + 1] += begins[row];
        }
        let mut rows = vec![0usize; begins[nodes.len()]];
        let mut filled = begins.clone();
        let mut roots = Vec::new();
        for (row, node) in nodes.iter().enumerate() {
            match node.parent {
                None => roots.push(row),
                Some(parent) => {
                    rows[filled[parent]] = row;
                    filled[parent] += 1;
                }
            }
        }
        Self { roots, begins, rows }
    }
}

/// A row that is being explained; `None` stands above all roots.
struct Level {
    row: Option<usize>,
    /// Its children, the last to end first, and how many of them have been looked at.
    children: Vec<usize>,
    looked_at: usize,
    /// The child that was explained before: what lies between two children after the row's own end is its wait.
    later: Option<usize>,
}

struct Walk<'a> {
    nodes: &'a [Node],
    ends: &'a [Nanos],
    children: Children,
    /// How far back everything is explained.
    at: Nanos,
    segments: Vec<Segment>,
}

impl Walk<'_> {
    fn run(&mut self) {
        let mut levels = vec![self.level(None)];
        while let Some(level) = levels.last_mut() {
            let chosen = self.next_child(level);
            let begin = match (chosen, level.row) {
                (Some(child), _) => self.ends[child],
                (None, Some(row)) => self.nodes[row].start,
                // Above the roots nothing is left to explain.
                (None, None) => self.at,
            };
            self.explain(level.row, level.later, begin);
            match chosen {
                Some(child) => {
                    level.later = Some(child);
                    let below = self.level(Some(child));
                    levels.push(below);
                }
                None => {
                    levels.pop();
                }
            }
        }
    }

    fn level(&self, row: Option<usize>) -> Level {
        let mut children = match row {
            None => self.children.roots.clone(),
            Some(row) => {
                self.children.rows[self.children.begins[row]..self.children.begins[row + 1]].to_vec()
            }
        };
        children.retain(|child| self.nodes[*child].time == Time::Plausible);
        children.sort_by_key(|child| std::cmp::Reverse((self.ends[*child], self.nodes[*child].start)));
        Level { row, children, looked_at: 0, later: None }
    }

    /// The child that ended last, not after what is explained already. What went on after the row's own end is
    /// explained by one child alone: two consumers of one message do not wait for each other.
    fn next_child(&self, level: &mut Level) -> Option<usize> {
        let latest = match (level.row, level.later) {
            (Some(row), Some(_)) => self.at.min(self.nodes[row].end),
            _ => self.at,
        };
        while let Some(&child) = level.children.get(level.looked_at) {
            level.looked_at += 1;
            if self.ends[child] <= latest
                && self.nodes[child].start < self.at
                && self.ends[child] > self.nodes[child].start
            {
                return Some(child);
            }
        }
        None
    }

    /// Goes back to `begin`: within the row's own time that is its work, after it a wait of the child that came
    /// later.
    fn explain(&mut self, row: Option<usize>, later: Option<usize>, begin: Nanos) {
        let own_end = row.map_or(0, |row| self.nodes[row].end);
        if let Some(later) = later.or(row) {
            self.stretch(later, begin.max(own_end), true);
        }
        if let Some(row) = row {
            self.stretch(row, begin.max(self.nodes[row].start), false);
        }
        self.at = self.at.min(begin);
    }

    fn stretch(&mut self, row: usize, from: Nanos, waiting: bool) {
        if from < self.at {
            self.segments.push(Segment { row, from, to: self.at, waiting });
            self.at = from;
        }
    }
}
