//! The lines: out of the right side of a node, into the left side of the next, straight through columns that they pass.

use std::fmt::Write;

use super::columns::Graph;
use super::order::places;
use super::{Size, Tie};

/// Between two lines that begin or end at one side of a node, at most.
const SPREAD: f64 = 9.0;
/// Length of the arrow's head.
const HEAD: f64 = 7.0;

/// The line of an edge.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Route {
    /// As the `d` of a path, up to the arrow's head.
    pub path: String,
    /// The tip of the arrow, and where it points: degrees from the right, clockwise.
    pub tip: (f64, f64),
    pub angle: i32,
    /// Where the line leaves its node.
    pub begin: (f64, f64),
    /// The middle of its first and of its last piece between two columns.
    pub first: (f64, f64),
    pub last: (f64, f64),
    /// From right to left.
    pub back: bool,
    /// The node, where it leads from a node to itself.
    pub own: Option<usize>,
}

impl Route {
    /// A loop at the upper right corner of a node.
    pub fn of_itself(node: usize, (x, y): (f64, f64), size: Size) -> Self {
        let (from, to) = (x + size.width - 40.0, x + size.width - 16.0);
        let top = y - 16.0;
        Self {
            path: format!("M{from:.0} {y:.0}C{from:.0} {top:.0} {to:.0} {top:.0} {to:.0} {:.0}", y - HEAD),
            tip: (to, y),
            angle: 90,
            begin: (from, y),
            first: ((from + to) / 2.0, top + 4.0),
            last: ((from + to) / 2.0, top + 4.0),
            back: false,
            own: Some(node),
        }
    }
}

/// The line of each edge.
pub fn routes(
    graph: &Graph,
    corners: &[(f64, f64)],
    middles: &[f64],
    lefts: &[f64],
    sizes: &[Size],
    edges: &[Tie],
) -> Vec<Route> {
    let ports = ports(graph, sizes);
    let mut routes = Vec::with_capacity(edges.len());
    for (number, ((chain, back), tie)) in graph.chains.iter().zip(edges).enumerate() {
        let (Some(first), Some(last)) = (chain.first(), chain.last()) else {
            routes.push(Route::of_itself(tie.from, corners[tie.from], sizes[tie.from]));
            continue;
        };
        let mut points =
            vec![(corners[*first].0 + graph.vertices[*first].width, middles[*first] + ports[number].0)];
        for vertex in &chain[1..chain.len() - 1] {
            let left = lefts[graph.vertices[*vertex].column];
            points.push((left, middles[*vertex]));
            points.push((left + graph.vertices[*vertex].width, middles[*vertex]));
        }
        points.push((corners[*last].0, middles[*last] + ports[number].1));
        if *back {
            points.reverse();
        }
        routes.push(line(&points, *back));
    }
    routes
}

/// Draws a line through pairs of points: curves within a pair, straight between pairs.
fn line(points: &[(f64, f64)], back: bool) -> Route {
    let toward = if back { -1.0 } else { 1.0 };
    let tip = points[points.len() - 1];
    let mut path = format!("M{:.1} {:.1}", points[0].0, points[0].1);
    let count = points.len() / 2;
    for (piece, pair) in points.chunks_exact(2).enumerate() {
        let ((x1, y1), (mut x2, y2)) = (pair[0], pair[1]);
        if piece > 0 {
            let _ = write!(path, "L{x1:.1} {y1:.1}");
        }
        if piece + 1 == count {
            x2 -= HEAD * toward;
        }
        if (y1 - y2).abs() < 0.5 {
            let _ = write!(path, "L{x2:.1} {y2:.1}");
        } else {
            let bend = (x2 - x1) / 2.0;
            let _ = write!(path, "C{:.1} {y1:.1} {:.1} {y2:.1} {x2:.1} {y2:.1}", x1 + bend, x2 - bend);
        }
    }
    let middle = |pair: &[(f64, f64)]| ((pair[0].0 + pair[1].0) / 2.0, (pair[0].1 + pair[1].1) / 2.0);
    Route {
        path,
        tip,
        angle: if back { 180 } else { 0 },
        begin: points[0],
        first: middle(&points[..2]),
        last: middle(&points[points.len() - 2..]),
        back,
        own: None,
    }
}

/// How far from the middle of its nodes' sides each edge begins and ends: side by side in the order of the other ends.
fn ports(graph: &Graph, sizes: &[Size]) -> Vec<(f64, f64)> {
    let places = places(graph);
    let mut ports = vec![(0.0, 0.0); graph.chains.len()];
    let mut sides: Vec<[Vec<(usize, usize)>; 2]> = vec![Default::default(); sizes.len()];
    for (number, (chain, _)) in graph.chains.iter().enumerate().filter(|(_, (chain, _))| chain.len() > 1) {
        let (first, last) = (chain[0], chain[chain.len() - 1]);
        sides[first][1].push((places[chain[1]], number));
        sides[last][0].push((places[chain[chain.len() - 2]], number));
    }
    for (side, size) in sides.iter_mut().zip(sizes) {
        for (which, edges) in side.iter_mut().enumerate() {
            edges.sort_unstable();
            let count = edges.len();
            let step = if count > 1 { (size.port * 2.0 / (count - 1) as f64).min(SPREAD) } else { 0.0 };
            for (place, (_, number)) in edges.iter().enumerate() {
                let offset = (place as f64 - (count - 1) as f64 / 2.0) * step;
                if which == 1 {
                    ports[*number].0 = offset;
                } else {
                    ports[*number].1 = offset;
                }
            }
        }
    }
    ports
}
