//! How much waits in each queue: the ends of its topics, less how far its group is. Blocks, all of it.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::{Offset, TopicPartitionList};

use super::Inner;
use super::client::{self, meaning};
use crate::comms::queue::broker::{BrokerError, QueueStats};

/// The queues that are known, by name.
pub(super) fn all(inner: &Inner) -> Result<Vec<QueueStats>, BrokerError> {
    inner.register.catch_up(inner.settings.patience)?;
    let (names, mut ends) = (inner.register.known().queues(), Ends::new());
    names.into_iter().map(|name| one(inner, name, &mut ends)).collect()
}

/// The ends of each topic's partitions: many queues read the same exchange, which is asked once.
type Ends = HashMap<String, Vec<i64>>;

fn one(inner: &Inner, name: String, ends: &mut Ends) -> Result<QueueStats, BrokerError> {
    let lag = lag(inner, &name, ends)?;
    let (mut unsettled, mut delayed) = (0, 0);
    for of in inner.subscriptions().iter().filter(|of| *of.queue == *name) {
        let held = of.ledger.held();
        unsettled += held.at_hand as u64;
        delayed += held.waiting as u64;
    }
    // All three are read one after the other, while messages come and go.
    let unsettled = unsettled.min(lag);
    let delayed = delayed.min(lag - unsettled);
    Ok(QueueStats { name, ready: lag - unsettled - delayed, unsettled, delayed })
}

fn lag(inner: &Inner, queue: &str, known: &mut Ends) -> Result<u64, BrokerError> {
    let (register, patience) = (&inner.register, inner.settings.patience);
    let exchanges = register.known().exchanges_of(queue);
    let mut asked = TopicPartitionList::new();
    // Topic, partition, where it starts for a group that has not begun, and its end.
    let mut ends: Vec<(String, i32, i64, i64)> = Vec::new();
    let own = (inner.named(queue), None);
    let topics = exchanges.iter().map(|exchange| (inner.named(exchange), Some(exchange))).chain([own]);
    for (topic, exchange) in topics {
        if !known.contains_key(&topic) {
            known.insert(topic.clone(), register.ends(&topic, patience)?);
        }
        for (partition, end) in (0..).zip(known[&topic].iter().copied()) {
            asked.add_partition(&topic, partition);
            let start = exchange.map_or(0, |exchange| register.known().starts(queue, exchange, partition));
            ends.push((topic.clone(), partition, start, end));
        }
    }
    let committed = eye(inner, queue)?.committed_offsets(asked, patience).map_err(meaning)?;
    let waits = ends.iter().map(|(topic, partition, start, end)| {
        let found = committed.find_partition(topic, *partition).map(|found| found.offset());
        let from = match found {
            Some(Offset::Offset(offset)) => offset,
            _ => *start,
        };
        u64::try_from(end - from).unwrap_or_default()
    });
    Ok(waits.sum())
}

/// The client that asks for a queue's group.
fn eye(inner: &Inner, queue: &str) -> Result<Arc<BaseConsumer>, BrokerError> {
    let mut eyes = inner.eyes.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(eye) = eyes.get(queue) {
        return Ok(Arc::clone(eye));
    }
    let eye: BaseConsumer =
        client::consumer(&inner.settings, &inner.named(queue)).create().map_err(meaning)?;
    let eye = Arc::new(eye);
    eyes.insert(queue.to_owned(), Arc::clone(&eye));
    Ok(eye)
}
