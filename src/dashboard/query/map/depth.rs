//! How many messages wait in the queues of the map: joined by name with what is known of queues.

use std::collections::{BTreeMap, HashMap};

use super::{Map, Place};
use crate::dashboard::query::queues::Queue;

/// The queues behind nodes of a map, by the node's index.
#[derive(Debug, Clone, Default)]
pub struct Depths(BTreeMap<usize, Queue>);

impl Depths {
    /// Joins them by name. Spans do not say which broker or virtual host a queue is of, so a name that several have stands
    /// for none of them.
    pub fn of(map: &Map, queues: &[Queue]) -> Self {
        let mut by_name: HashMap<&str, Option<&Queue>> = HashMap::new();
        for queue in queues {
            by_name.entry(&queue.key.name).and_modify(|known| *known = None).or_insert(Some(queue));
        }
        let of = |place: &Place| match place {
            Place::Queue(at) => by_name.get(at.name.as_str()).copied().flatten(),
            _ => None,
        };
        let found =
            map.nodes.iter().enumerate().filter_map(|(at, node)| Some((at, of(&node.place)?.clone())));
        Self(found.collect())
    }

    /// The queue of a node.
    pub fn at(&self, node: usize) -> Option<&Queue> {
        self.0.get(&node)
    }
}
