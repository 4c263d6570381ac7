//! The part of a map that a page shows: near one node, what fails, one kind of edges; and never more than can be drawn.

use std::collections::BTreeSet;

use super::{Map, Place, SICK, share};

/// Nodes and edges that are drawn at most.
pub const MAX_NODES: usize = 150;
pub const MAX_EDGES: usize = 400;

/// One in so many is stray.
const STRAY: u64 = 50;

/// What is wanted of a map.
#[derive(Debug, Clone, Default)]
pub struct Narrow {
    /// Index of a node: it and its neighbours.
    pub focus: Option<usize>,
    /// Those whose name holds it, in any case, and their neighbours.
    pub find: Option<String>,
    /// Only what fails, and between what.
    pub failing: bool,
    pub kinds: Kinds,
}

/// Kinds of edges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kinds {
    #[default]
    All,
    Calls,
    Messages,
}

/// What is shown: indexes into the map's nodes and edges, in their order.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    pub nodes: Vec<usize>,
    pub edges: Vec<usize>,
    /// Wanted, and left out since there are too many.
    pub nodes_left: usize,
    pub edges_left: usize,
    /// Edges with an end that was not seen, so few beside what else goes on at the other end that they are most likely
    /// halves still under way: in the table, and not drawn, since they come and go.
    pub halves: Vec<usize>,
}

impl Map {
    /// The part that is wanted. Where it is too much, what fails comes first and then what is busiest.
    pub fn narrowed(&self, narrow: &Narrow) -> Shown {
        let mut edges: Vec<usize> = (0..self.edges.len()).collect();
        edges.retain(|edge| match narrow.kinds {
            Kinds::All => true,
            Kinds::Calls => !self.edges[*edge].kind.is_message(),
            Kinds::Messages => self.edges[*edge].kind.is_message(),
        });
        let mut nodes: BTreeSet<usize> = match narrow.kinds {
            Kinds::All => (0..self.nodes.len()).collect(),
            _ => self.ends(&edges),
        };
        if let Some(text) = &narrow.find {
            let text = text.to_lowercase();
            let named = |node: &usize| self.nodes[*node].place.name().to_lowercase().contains(&text);
            let found: BTreeSet<usize> = nodes.iter().copied().filter(named).collect();
            self.near(&found, &mut nodes, &mut edges);
        }
        if let Some(focus) = narrow.focus {
            self.near(&BTreeSet::from([focus]), &mut nodes, &mut edges);
        }
        if narrow.failing {
            let fails = |edge: &usize| share(&self.edges[*edge].rates) >= SICK;
            let mut kept = self.ends(&edges.iter().copied().filter(fails).collect::<Vec<_>>());
            kept.extend(nodes.iter().copied().filter(|node| share(&self.nodes[*node].rates) >= SICK));
            nodes.retain(|node| kept.contains(node) || narrow.focus == Some(*node));
            edges.retain(|edge| self.is_within(*edge, &nodes));
        }
        let focused = narrow.focus.is_some();
        let (halves, edges): (Vec<_>, Vec<_>) =
            edges.into_iter().partition(|edge| !focused && self.is_stray(*edge));
        let alone = |node: &usize| {
            matches!(self.nodes[*node].place, Place::Caller | Place::Peer)
                && !edges.iter().any(|edge| self.edges[*edge].from == *node || self.edges[*edge].to == *node)
        };
        nodes.retain(|node| !alone(node));
        Shown { halves, ..self.bounded(nodes, edges) }
    }

    /// Whether an edge is a few halves of calls whose other half was not seen, beside very many that were.
    fn is_stray(&self, edge: usize) -> bool {
        let edge = &self.edges[edge];
        let [from, to] = [edge.from, edge.to].map(|end| &self.nodes[end]);
        let many = match (&from.place, &to.place) {
            (Place::Caller, _) => to.rates.count,
            (_, Place::Peer) => from.rates.count,
            _ => return false,
        };
        edge.rates.count * STRAY < many
    }

    fn ends(&self, edges: &[usize]) -> BTreeSet<usize> {
        edges.iter().flat_map(|edge| [self.edges[*edge].from, self.edges[*edge].to]).collect()
    }

    fn is_within(&self, edge: usize, nodes: &BTreeSet<usize>) -> bool {
        nodes.contains(&self.edges[edge].from) && nodes.contains(&self.edges[edge].to)
    }

    /// Keeps some nodes with their neighbours.
    fn near(&self, wanted: &BTreeSet<usize>, nodes: &mut BTreeSet<usize>, edges: &mut Vec<usize>) {
        edges.retain(|edge| {
            let edge = &self.edges[*edge];
            wanted.contains(&edge.from) || wanted.contains(&edge.to)
        });
        *nodes = self.ends(edges);
        nodes.extend(wanted);
    }

    fn bounded(&self, nodes: BTreeSet<usize>, mut edges: Vec<usize>) -> Shown {
        let (wanted_nodes, wanted_edges) = (nodes.len(), edges.len());
        let mut nodes = nodes;
        if nodes.len() > MAX_NODES {
            let busy = |node: usize| {
                let of = edges.iter().map(|edge| &self.edges[*edge]);
                let own = of.filter(|edge| edge.from == node || edge.to == node);
                own.map(|edge| (edge.rates.errors, edge.rates.count))
                    .fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
            };
            let mut ranked: Vec<_> = nodes
                .iter()
                .map(|node| {
                    let rates = &self.nodes[*node].rates;
                    let (errors, count) = busy(*node);
                    ((errors > 0, errors + rates.errors, count + rates.count), *node)
                })
                .collect();
            ranked.sort_by_key(|(rank, node)| (std::cmp::Reverse(*rank), *node));
            nodes = ranked.into_iter().take(MAX_NODES).map(|(_, node)| node).collect();
            edges.retain(|edge| self.is_within(*edge, &nodes));
        }
        if edges.len() > MAX_EDGES {
            let rank = |edge: &usize| (self.edges[*edge].rates.errors, self.edges[*edge].rates.count);
            edges.sort_by_key(|edge| (std::cmp::Reverse(rank(edge)), *edge));
            edges.truncate(MAX_EDGES);
            edges.sort_unstable();
        }
        Shown {
            nodes_left: wanted_nodes - nodes.len(),
            edges_left: wanted_edges - edges.len(),
            nodes: nodes.into_iter().collect(),
            edges,
            halves: Vec::new(),
        }
    }

    /// Edges of a part, worst first: by share of failures where there are enough to tell, then by rate.
    pub fn worst_first(&self, edges: &[usize]) -> Vec<usize> {
        let mut sorted = edges.to_vec();
        let rank = |edge: &usize| {
            let rates = &self.edges[*edge].rates;
            ((share(rates) * 10_000.0) as u64, rates.errors, rates.count)
        };
        sorted.sort_by_key(|edge| (std::cmp::Reverse(rank(edge)), *edge));
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::query::map::{Edge, EdgeKind, Node, Place};
    use crate::dashboard::store::{Histogram, Rates};

    /// Services in a row, each calling the next; every tenth call fails half of the time.
    fn row(length: usize) -> Map {
        let rates = |errors| Rates { count: 100, errors, ..Rates::default() };
        let node = |number: usize| Node {
            place: Place::Service(format!("s-{number:04}")),
            rates: rates(0),
            waited: Histogram::default(),
        };
        let edge = |from: usize| Edge {
            from,
            to: from + 1,
            kind: EdgeKind::Call,
            rates: rates(if from % 10 == 3 { 50 } else { 0 }),
            waited: Histogram::default(),
            ways: Vec::new(),
        };
        let edges = (0..length - 1).map(edge).collect();
        Map { nodes: (0..length).map(node).collect(), edges, ..Map::default() }
    }

    #[test]
    fn parts_are_what_they_say() {
        let map = row(30);
        let shown = |narrow: Narrow| {
            let shown = map.narrowed(&narrow);
            (shown.nodes, shown.edges)
        };
        let focus = Narrow { focus: map.find("s-0005"), ..Narrow::default() };
        assert_eq!(shown(focus), (vec![4, 5, 6], vec![4, 5]));
        let find = Narrow { find: Some("S-000".into()), kinds: Kinds::Calls, ..Narrow::default() };
        assert_eq!(shown(find).0, (0..=10).collect::<Vec<_>>());
        let failing = Narrow { failing: true, ..Narrow::default() };
        assert_eq!(shown(failing), (vec![3, 4, 13, 14, 23, 24], vec![3, 13, 23]));
        let nothing = Narrow { find: Some("nobody".into()), ..Narrow::default() };
        assert_eq!(shown(nothing), (vec![], vec![]));
        assert_eq!(shown(Narrow { kinds: Kinds::Messages, ..Narrow::default() }), (vec![], vec![]));
        assert_eq!(map.worst_first(&[1, 2, 3, 13])[..2], [3, 13]);
    }

    #[test]
    fn a_few_halves_are_listed_and_not_drawn() {
        let mut map = row(3);
        map.nodes.push(Node { place: Place::Caller, ..map.nodes[0].clone() });
        map.edges.push(Edge {
            from: 3,
            to: 1,
            rates: Rates { count: 1, ..Rates::default() },
            ..map.edges[0].clone()
        });
        let shown = map.narrowed(&Narrow::default());
        assert_eq!((shown.nodes, shown.edges, shown.halves), (vec![0, 1, 2], vec![0, 1], vec![2]));
        map.edges[2].rates.count = 2;
        assert_eq!(map.narrowed(&Narrow::default()).nodes, [0, 1, 2, 3]);
    }

    #[test]
    fn what_fails_is_never_left_out_before_what_does_not() {
        let map = row(1_000);
        let shown = map.narrowed(&Narrow::default());
        assert_eq!((shown.nodes.len(), shown.nodes_left), (MAX_NODES, 850));
        assert!(shown.edges_left > 0 && shown.edges.len() + shown.edges_left == 999);
        let failing = (0..999).filter(|edge| map.edges[*edge].rates.errors > 0).count();
        let kept = shown.edges.iter().filter(|edge| map.edges[**edge].rates.errors > 0).count();
        assert!(kept >= MAX_NODES / 2 && kept <= failing, "{kept} of {failing} that fail");
    }
}
