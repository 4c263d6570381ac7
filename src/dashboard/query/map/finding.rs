//! What a map says first: which call fails worst, and how far down the failing goes.

use super::{BAD, EdgeKind, Map, share};

/// Calls that fail on an edge before anybody is told: one that failed once is no finding.
const LEAST: u64 = 2;

/// What is the matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finding {
    /// Index of the edge on which most fails.
    pub worst: usize,
    /// The last failing edge down the way from there, where that is another one.
    pub furthest: Option<usize>,
    /// How many edges fail as badly, the worst among them.
    pub bad: usize,
}

impl Map {
    /// The worst of the edges; `None` where none fails badly.
    pub fn finding(&self, edges: &[usize]) -> Option<Finding> {
        let is_bad = |edge: &&usize| {
            let edge = &self.edges[**edge];
            edge.rates.errors >= LEAST && share(&edge.rates) >= BAD
        };
        let bad: Vec<usize> = edges.iter().filter(is_bad).copied().collect();
        // What an end user does not get is told by what the service behind it cannot do.
        let rank = |edge: &usize| {
            let edge = &self.edges[*edge];
            let by_service =
                self.nodes[edge.from].place.as_service().is_some() || edge.kind == EdgeKind::Take;
            (by_service, edge.rates.errors)
        };
        let worst = *bad.iter().max_by_key(|edge| (rank(edge), std::cmp::Reverse(**edge)))?;
        let mut furthest = worst;
        let mut passed = vec![worst];
        let errors = |edge: &&usize| self.edges[**edge].rates.errors;
        while let Some(next) = bad
            .iter()
            .filter(|edge| self.edges[**edge].from == self.edges[furthest].to && !passed.contains(edge))
            .max_by_key(errors)
        {
            furthest = *next;
            passed.push(*next);
        }
        Some(Finding { worst, furthest: (furthest != worst).then_some(furthest), bad: bad.len() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::query::map::{Edge, Node, Place};
    use crate::dashboard::store::{Histogram, Rates};

    fn map(edges: &[(usize, usize, u64)]) -> Map {
        let nodes = ["a", "b", "c", "d"].map(|name| Node {
            place: Place::Service(name.into()),
            rates: Rates::default(),
            waited: Histogram::default(),
        });
        let edge = |&(from, to, errors): &(usize, usize, u64)| Edge {
            from,
            to,
            kind: EdgeKind::Call,
            rates: Rates { count: 100, errors, ..Rates::default() },
            waited: Histogram::default(),
            ways: Vec::new(),
        };
        Map { nodes: nodes.into(), edges: edges.iter().map(edge).collect(), ..Map::default() }
    }

    #[test]
    fn failing_is_followed_down_and_rings_end() {
        let finding = |map: Map| map.finding(&(0..map.edges.len()).collect::<Vec<_>>());
        assert_eq!(finding(map(&[(0, 1, 4), (1, 2, 1)])), None);
        let down = finding(map(&[(0, 1, 60), (1, 2, 50), (1, 3, 10), (2, 3, 0)]));
        assert_eq!(down, Some(Finding { worst: 0, furthest: Some(1), bad: 3 }));
        let ring = finding(map(&[(0, 1, 60), (1, 0, 50)]));
        assert_eq!(ring, Some(Finding { worst: 0, furthest: Some(1), bad: 2 }));
        let own = finding(map(&[(0, 0, 60)]));
        assert_eq!(own, Some(Finding { worst: 0, furthest: None, bad: 1 }));
    }
}
