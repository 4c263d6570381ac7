//! Where nodes and edges of a map lie: in columns, callers left of what they call.
//!
//! The same graph gives the same picture, in every process. Only names and ends matter, no figure does, so that a picture
//! stands still while its figures change. Why it is made here: decision 22.
//!
//! * [`columns`]: which column each node is in, rings cut open. * [`order`]: who is above whom, with few crossings.
//! * [`rows`]: at what height. * [`route`]: the lines between.
//!
//! What must not live here: what is drawn, colours, texts.

mod columns;
mod order;
mod route;
mod rows;

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex};

pub use route::Route;

/// Room between columns, in px: labels and arrows lie there.
const GAP: f64 = 98.0;
/// Around the drawing, and between nodes that are tied to nothing.
const MARGIN: f64 = 12.0;
const BETWEEN: f64 = 24.0;
/// Nodes that are tied to nothing fill lines of at least this width.
const LEAST_WIDTH: f64 = 1_056.0;
/// Drawings that are remembered.
const KEPT: usize = 64;

/// A node's size in px.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    pub width: f64,
    pub height: f64,
    /// How far from the middle of its sides edges may begin and end.
    pub port: f64,
}

/// A drawing, in px.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Laid {
    pub width: f64,
    pub height: f64,
    /// The left upper corner of each node.
    pub nodes: Vec<(f64, f64)>,
    pub routes: Vec<Route>,
}

/// An edge: its ends as indexes of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tie {
    pub from: usize,
    pub to: usize,
    /// Does not push what it leads to to the right of what it comes from: it may as well lead back.
    pub weak: bool,
}

type Key = (Vec<[u64; 3]>, Vec<Tie>);
type Kept = VecDeque<(Key, Arc<Laid>)>;

static LAID: LazyLock<Mutex<Kept>> = LazyLock::new(Mutex::default);

/// Lays a graph out, or finds the drawing that was made of it before.
pub fn laid(nodes: &[Size], edges: &[Tie]) -> Arc<Laid> {
    let bits = |size: &Size| [size.width, size.height, size.port].map(f64::to_bits);
    let key: Key = (nodes.iter().map(bits).collect(), edges.to_vec());
    let known = {
        let mut laid = LAID.lock().expect("no holder panics");
        let at = laid.iter().position(|(known, _)| *known == key);
        at.and_then(|at| laid.remove(at)).map(|entry| {
            laid.push_front(entry.clone());
            entry.1
        })
    };
    known.unwrap_or_else(|| {
        let made = Arc::new(lay_out(nodes, edges));
        let mut laid = LAID.lock().expect("no holder panics");
        laid.push_front((key, made.clone()));
        laid.truncate(KEPT);
        made
    })
}

/// Lays a graph out.
pub fn lay_out(nodes: &[Size], edges: &[Tie]) -> Laid {
    let mut tied = vec![false; nodes.len()];
    for tie in edges.iter().filter(|tie| tie.from != tie.to) {
        (tied[tie.from], tied[tie.to]) = (true, true);
    }
    let graph = columns::columns(nodes, edges, &tied);
    let graph = order::ordered(graph);
    let middles = rows::rows(&graph);
    let mut laid = Laid { nodes: vec![(0.0, 0.0); nodes.len()], ..Laid::default() };
    let lefts = lefts(&graph);
    for (vertex, middle) in graph.vertices.iter().zip(&middles) {
        let Some(index) = vertex.node.filter(|node| tied[*node]) else { continue };
        // In the middle of its column.
        let left = lefts[vertex.column] + (graph.widths[vertex.column] - vertex.width) / 2.0;
        laid.nodes[index] = (left, middle - vertex.height / 2.0);
    }
    let right = lefts.last().zip(graph.widths.last()).map_or(0.0, |(left, width)| left + width);
    let lowest = graph.vertices.iter().zip(&middles).map(|(vertex, middle)| middle + vertex.height / 2.0);
    laid.width = (right + MARGIN).max(2.0 * MARGIN);
    laid.height = lowest.fold(MARGIN, f64::max) + MARGIN;
    laid.routes = route::routes(&graph, &laid.nodes, &middles, &lefts, nodes, edges);
    loose(&mut laid, nodes, &tied);
    laid
}

/// The left end of each column.
fn lefts(graph: &columns::Graph) -> Vec<f64> {
    let mut at = MARGIN;
    let left = |width: &f64| {
        let left = at;
        at += width + GAP;
        left
    };
    graph.widths.iter().map(left).collect()
}

/// Puts what is tied to nothing below, in lines.
fn loose(laid: &mut Laid, nodes: &[Size], tied: &[bool]) {
    let most = laid.width.max(LEAST_WIDTH);
    let (mut x, mut y, mut line) =
        (MARGIN, laid.height + if tied.contains(&true) { MARGIN } else { 0.0 }, 0.0f64);
    for (index, size) in nodes.iter().enumerate().filter(|(index, _)| !tied[*index]) {
        if x > MARGIN && x + size.width + MARGIN > most {
            (x, y, line) = (MARGIN, y + line + BETWEEN, 0.0);
        }
        laid.nodes[index] = (x, y);
        x += size.width + BETWEEN;
        line = line.max(size.height);
        laid.width = laid.width.max(x - BETWEEN + MARGIN);
        laid.height = y + line + MARGIN;
    }
    for route in &mut laid.routes {
        let Some(own) = route.own else { continue };
        *route = Route::of_itself(own, laid.nodes[own], nodes[own]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(count: usize) -> Vec<Size> {
        (0..count).map(|n| Size { width: 100.0 + (n % 5) as f64 * 12.0, height: 46.0, port: 12.0 }).collect()
    }

    fn ties(edges: &[(usize, usize)]) -> Vec<Tie> {
        edges.iter().map(|&(from, to)| Tie { from, to, weak: to % 7 == 3 && from % 2 == 1 }).collect()
    }

    /// Numbers that look random and are the same each time.
    fn some(count: usize, edges: usize) -> Vec<Tie> {
        let mut state = 7u64;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let mut all: Vec<_> = (0..edges * 2).map(|_| (next(count), next(count))).collect();
        all.sort_unstable();
        all.dedup();
        all.truncate(edges);
        ties(&all)
    }

    fn overlaps(laid: &Laid, sizes: &[Size]) -> Option<(usize, usize)> {
        let apart = |a: usize, b: usize| {
            let ((ax, ay), (bx, by)) = (laid.nodes[a], laid.nodes[b]);
            ax + sizes[a].width <= bx
                || bx + sizes[b].width <= ax
                || ay + sizes[a].height <= by
                || by + sizes[b].height <= ay
        };
        (0..sizes.len()).flat_map(|a| (a + 1..sizes.len()).map(move |b| (a, b))).find(|(a, b)| !apart(*a, *b))
    }

    #[test]
    fn nothing_overlaps_whatever_the_graph() {
        let ring: Vec<_> = (0..9).map(|n| (n, (n + 1) % 9)).collect();
        let star: Vec<_> = (1..40).map(|n| (0, n)).collect();
        let both_ways = vec![(0, 1), (1, 0), (1, 1), (2, 1)];
        for (count, edges) in [
            (0, vec![]),
            (1, vec![]),
            (1, ties(&[(0, 0)])),
            (30, vec![]),
            (4, ties(&both_ways)),
            (9, ties(&ring)),
            (40, ties(&star)),
            (150, some(150, 400)),
        ] {
            let sizes = sizes(count);
            let laid = lay_out(&sizes, &edges);
            assert_eq!(overlaps(&laid, &sizes), None, "{count} nodes");
            assert_eq!(laid.routes.len(), edges.len());
            for ((x, y), size) in laid.nodes.iter().zip(&sizes) {
                assert!(*x >= 0.0 && x + size.width <= laid.width, "{x} of {}", laid.width);
                assert!(*y >= 0.0 && y + size.height <= laid.height, "{y} of {}", laid.height);
            }
            assert_eq!(lay_out(&sizes, &edges), laid, "the same again");
        }
    }

    #[test]
    fn callers_stand_left_of_what_they_call_but_for_what_comes_back() {
        let edges = [(0, 1), (1, 2), (2, 3), (3, 1), (0, 3)];
        let laid = lay_out(&sizes(4), &ties(&edges));
        let left = |node: usize| laid.nodes[node].0;
        assert!(left(0) < left(1) && left(1) < left(2) && left(2) < left(3));
        assert_eq!(
            laid.routes.iter().map(|route| route.back).collect::<Vec<_>>(),
            [false, false, false, true, false]
        );
    }

    #[test]
    fn a_weak_edge_pushes_nobody_to_the_right() {
        // 0 calls 1 calls 2; 1 sends to 3, from which 2 takes, and 4, whom nobody calls.
        let edges = [(0, 1), (1, 2), (1, 3), (3, 2), (3, 4), (2, 5)];
        let weak = |from: usize, to: usize| (from, to) == (3, 2);
        let ties: Vec<Tie> = edges.iter().map(|&(from, to)| Tie { from, to, weak: weak(from, to) }).collect();
        let laid = lay_out(&sizes(6), &ties);
        let left = |node: usize| laid.nodes[node].0;
        assert!(left(2) < left(3) && left(3) < left(4), "{:?}", laid.nodes);
        assert!(laid.routes[3].back && !laid.routes[4].back);
        // Where it leads on to what it comes from, it does not close a ring.
        let ring = [(0, 1, false), (1, 2, true), (2, 3, false), (3, 1, true)];
        let ties: Vec<Tie> = ring.iter().map(|&(from, to, weak)| Tie { from, to, weak }).collect();
        assert_eq!(lay_out(&sizes(4), &ties).routes.len(), 4);
    }

    #[test]
    fn one_more_node_moves_no_other_past_its_neighbours() {
        let mut edges = vec![(0, 1), (0, 2), (0, 3), (1, 4), (2, 5), (3, 6), (4, 7)];
        let before = lay_out(&sizes(8), &ties(&edges));
        edges.push((2, 8));
        let after = lay_out(&sizes(9), &ties(&edges));
        let order = |laid: &Laid| {
            let mut order: Vec<usize> = (0..8).collect();
            order.sort_by(|a, b| {
                let ((ax, ay), (bx, by)) = (laid.nodes[*a], laid.nodes[*b]);
                (ax as i64, ay).partial_cmp(&(bx as i64, by)).expect("numbers")
            });
            order
        };
        assert_eq!(order(&before), order(&after));
    }

    #[test]
    fn it_is_made_once() {
        let (sizes, edges) = (sizes(12), some(12, 20));
        assert!(Arc::ptr_eq(&laid(&sizes, &edges), &laid(&sizes, &edges)));
        assert!(!Arc::ptr_eq(&laid(&sizes, &edges), &laid(&sizes, &edges[1..])));
    }
}
