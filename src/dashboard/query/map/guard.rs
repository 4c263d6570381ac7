//! Which breakers guard which edges of a map: by the service that they are in and what they guard.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Map, Place};
use crate::dashboard::query::breakers::Breaker;
use crate::dashboard::query::breakers::kept::Listed;

/// The breakers of a map's edges. One that guards nobody knows what, or that was asked about no call of the time, is on
/// none.
#[derive(Debug, Clone, Default)]
pub struct Guards {
    listed: Arc<Listed>,
    /// By the index of the edge: indexes of breakers, the gravest first.
    by_edge: BTreeMap<usize, Vec<usize>>,
}

impl Guards {
    /// Joins a map with the breakers of the same time.
    pub fn of(map: &Map, listed: Arc<Listed>) -> Self {
        let mut by_ends: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
        for (index, breaker) in listed.breakers.iter().enumerate() {
            if let Some(peer) = breaker.peer.as_deref() {
                by_ends.entry((&breaker.key.service, peer)).or_default().push(index);
            }
        }
        let mut by_edge = BTreeMap::new();
        for (index, edge) in map.edges.iter().enumerate() {
            let [from, to] = [edge.from, edge.to].map(|end| &map.nodes[end].place);
            let Some((service, peer)) = from.as_service().zip(guarded(to)) else { continue };
            if let Some(found) = by_ends.get(&(service, peer)) {
                by_edge.insert(index, found.clone());
            }
        }
        Self { listed, by_edge }
    }

    /// Those of an edge, the gravest first.
    pub fn on(&self, edge: usize) -> impl Iterator<Item = &Breaker> {
        self.by_edge.get(&edge).into_iter().flatten().map(|index| &self.listed.breakers[*index])
    }

    /// Whether any edge has one.
    pub fn is_empty(&self) -> bool {
        self.by_edge.is_empty()
    }
}

/// The name by which a breaker tells what it guards.
fn guarded(place: &Place) -> Option<&str> {
    match place {
        Place::User | Place::Caller | Place::Peer | Place::Others => None,
        place => Some(place.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::query::breakers::{Key, Known, Library, State};
    use crate::dashboard::query::map::{Edge, EdgeKind, Node};
    use crate::dashboard::store::{Histogram, Rates};

    fn breaker(service: &str, name: &str, peer: Option<&str>, state: State) -> Breaker {
        Breaker {
            key: Key { service: service.to_owned(), name: name.to_owned(), library: Library::Polly },
            peer: peer.map(str::to_owned),
            state,
            since: None,
            older: false,
            known: Known::Gauge,
            here: 1,
            heard: 1,
            failing: None,
            rejected: None,
            rejection: None,
            strip: Vec::new(),
            instances: Vec::new(),
        }
    }

    fn map(edges: &[(Place, Place)]) -> Map {
        let mut map = Map::default();
        for (from, to) in edges {
            let at = map.nodes.len();
            for place in [from, to] {
                let (rates, waited) = (Rates::default(), Histogram::default());
                map.nodes.push(Node { place: place.clone(), rates, waited });
            }
            let (rates, waited, ways) = (Rates::default(), Histogram::default(), Vec::new());
            map.edges.push(Edge { from: at, to: at + 1, kind: EdgeKind::Call, rates, waited, ways });
        }
        map
    }

    #[test]
    fn a_breaker_is_on_the_edge_from_its_service_to_what_it_guards() {
        let service = |name: &str| Place::Service(name.to_owned());
        let redis = Place::Database { system: "redis".to_owned(), name: String::new() };
        let map = map(&[
            (service("orders"), service("payments")),
            (service("payments"), Place::Outside("bank".to_owned())),
            (service("orders"), redis),
            (service("gateway"), service("payments")),
            (service("orders"), Place::Peer),
            (Place::User, service("payments")),
        ]);
        let listed = Listed {
            breakers: vec![
                breaker("orders", "pay", Some("payments"), State::Open),
                breaker("orders", "pay-v2", Some("payments"), State::Closed),
                breaker("payments", "bank", Some("bank"), State::HalfOpen),
                breaker("orders", "cache", Some("redis"), State::Closed),
                breaker("gateway", "payments", None, State::Open),
                breaker("orders", "odd", Some("unknown peer"), State::Open),
                breaker("user", "odd", Some("payments"), State::Open),
            ],
            ..Listed::default()
        };
        let guards = Guards::of(&map, Arc::new(listed));
        let names = |edge| guards.on(edge).map(|one| one.key.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names(0), ["pay", "pay-v2"]);
        assert_eq!((names(1), names(2)), (vec!["bank"], vec!["cache"]));
        assert!([3, 4, 5].into_iter().all(|edge| names(edge).is_empty()));
        assert!(!guards.is_empty() && Guards::default().is_empty());
    }
}
