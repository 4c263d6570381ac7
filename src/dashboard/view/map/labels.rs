//! Where texts beside edges find room: at the end where an edge is apart from others, and on nothing else.

use std::collections::HashSet;

use super::layout::{Laid, Route, Size, Tie};

/// Width of a character and height of a line, in px.
const WIDE: f64 = 6.0;
const HIGH: f64 = 13.0;

/// How much further from its line a label stands where a mark is between them.
const BESIDE_MARK: f64 = 12.0;

/// Around a label, and half as much above and below.
const ROOM: f64 = 4.0;

/// A box: left, top, right, bottom.
pub type Area = (f64, f64, f64, f64);

/// Lines of a label with their place: x, y, anchor, text, class.
pub type Label = Vec<(f64, f64, &'static str, String, &'static str)>;

/// What is taken.
pub struct Labels {
    taken: Vec<Area>,
    /// Edges with a mark in their middle.
    marked: HashSet<usize>,
    /// Of each edge whether it shares its begin with fewer others than its end.
    at_begin: Vec<bool>,
}

impl Labels {
    /// Room around the nodes and arrows of a drawing.
    pub fn around(laid: &Laid, sizes: &[Size], ends: &[Tie]) -> Self {
        let taken =
            laid.nodes.iter().zip(sizes).map(|((x, y), size)| (*x, *y, x + size.width, y + size.height));
        let head = |route: &Route| {
            let (x, y) = route.tip;
            match route.angle {
                0 => (x - 8.0, y - 5.0, x, y + 5.0),
                180 => (x, y - 5.0, x + 8.0, y + 5.0),
                _ => (x - 5.0, y - 8.0, x + 5.0, y),
            }
        };
        let taken = taken.chain(laid.routes.iter().map(head));
        let (mut out, mut into) = (vec![0usize; sizes.len()], vec![0usize; sizes.len()]);
        for tie in ends {
            out[tie.from] += 1;
            into[tie.to] += 1;
        }
        let at_begin = ends.iter().map(|tie| out[tie.from] < into[tie.to]).collect();
        Self { taken: taken.collect(), marked: HashSet::new(), at_begin }
    }

    /// Keeps labels off the mark of an edge.
    pub fn take(&mut self, edge: usize, mark: Area) {
        self.taken.push(mark);
        self.marked.insert(edge);
    }

    /// Finds room for a label's lines; without room there is no label, since the table says the same.
    pub fn place(&mut self, edge: usize, route: &Route, lines: Vec<(String, &'static str)>) -> Label {
        // Shorter ones where the whole does not fit: what comes last goes first.
        for count in (1..=lines.len()).rev() {
            for (x, y, anchor) in self.candidates(edge, route, count) {
                let area = area(&lines[..count], x, y, anchor);
                if self.taken.iter().all(|other| apart(area, *other)) {
                    self.taken.push(area);
                    let line = |(number, (text, class)): (usize, (String, &'static str))| {
                        (x, y + number as f64 * HIGH, anchor, text, class)
                    };
                    return lines.into_iter().take(count).enumerate().map(line).collect();
                }
            }
        }
        Vec::new()
    }

    /// Where the first line's foot may stand, best first.
    fn candidates(&self, edge: usize, route: &Route, count: usize) -> Vec<(f64, f64, &'static str)> {
        let above = -6.0 - (count - 1) as f64 * HIGH;
        let below = 14.0;
        if route.own.is_some() {
            return vec![(route.first.0 + 16.0, route.first.1 - 2.0, "start")];
        }
        let toward = if route.back { -1.0 } else { 1.0 };
        let (before_tip, after_begin) = if route.back { ("start", "end") } else { ("end", "start") };
        let tip = (route.tip.0 - 12.0 * toward, route.tip.1, before_tip);
        let begin = (route.begin.0 + 8.0 * toward, route.begin.1, after_begin);
        let middles = [(route.last.0, route.last.1, "middle"), (route.first.0, route.first.1, "middle")];
        let [near, far] = if self.at_begin[edge] { [begin, tip] } else { [tip, begin] };
        let level = (route.begin.1 - route.tip.1).abs() < 1.0;
        let order =
            if level { [middles[0], near, middles[1], far] } else { [near, middles[0], middles[1], far] };
        let marked = self.marked.contains(&edge);
        order
            .into_iter()
            .flat_map(|(x, y, anchor)| {
                let off = if marked && anchor == "middle" { BESIDE_MARK } else { 0.0 };
                [(x, y + above - off, anchor), (x, y + below + off, anchor)]
            })
            .collect()
    }
}

fn area(lines: &[(String, &'static str)], x: f64, y: f64, anchor: &str) -> Area {
    let longest = lines.iter().map(|(text, _)| text.chars().count()).max().unwrap_or(0);
    let width = longest as f64 * WIDE;
    let left = match anchor {
        "start" => x,
        "end" => x - width,
        _ => x - width / 2.0,
    };
    let top = y - HIGH + 3.0;
    (left - ROOM, top - ROOM / 2.0, left + width + ROOM, top + lines.len() as f64 * HIGH + ROOM / 2.0)
}

fn apart(a: Area, b: Area) -> bool {
    a.2 <= b.0 || b.2 <= a.0 || a.3 <= b.1 || b.3 <= a.1
}
