//! One queue: its figures over time, and the services that send to it and take from it.

use std::collections::{BTreeMap, BTreeSet};

use super::gather::{key_of, samples, steps};
use super::{Key, Queue, kafka};
use crate::dashboard::model::Nanos;
use crate::dashboard::model::queues as names;
use crate::dashboard::query::growth;
use crate::dashboard::store::{Metric, Node, Reader, Series, SeriesFilter, StoreError};

/// Steps of the charts.
const STEPS: usize = 120;
/// Services of a side, and destinations whose traces are offered.
const MOST: usize = 20;

/// A queue over time.
#[derive(Debug, Clone, Default)]
pub struct One {
    pub ready: Vec<Option<f64>>,
    pub unacknowledged: Vec<Option<f64>>,
    pub consumers: Vec<Option<f64>>,
    /// Messages a second.
    pub incoming: Vec<Option<f64>>,
    pub outgoing: Vec<Option<f64>>,
    pub acknowledged: Vec<Option<f64>>,
    /// Who was seen sending what came here, and taking it, with the messages of the time.
    pub publishers: Vec<(String, u64)>,
    pub takers: Vec<(String, u64)>,
    /// What consumers' spans call it.
    pub destinations: Vec<String>,
}

/// Reads a queue over `from..to`.
pub async fn one(reader: &dyn Reader, queue: &Queue, from: Nanos, to: Nanos) -> Result<One, StoreError> {
    let mut one = One::default();
    let filter = SeriesFilter {
        metrics: match queue.is_kafka {
            true => kafka::metrics().collect(),
            false => vec![Metric::Begins("rabbitmq.".to_owned())],
        },
        // How many members a group of Kafka has is told of no topic.
        attributes: match queue.is_kafka {
            true => Vec::new(),
            false => vec![(names::QUEUE.to_owned(), queue.key.name.clone())],
        },
        from,
        to,
        step: to.saturating_sub(from) / STEPS as u64,
        ..SeriesFilter::default()
    };
    let found = reader.series(&filter).await?;
    let mine = |series: &Series| key_of(&series.identity).as_ref() == Some(&queue.key);
    let found: Vec<Series> = kafka::as_queues(found.series).into_iter().filter(mine).collect();
    let level = |metric, state| steps(&samples(found.iter(), metric, state), from, to, STEPS);
    one.ready = level(names::CURRENT, Some("ready"));
    one.unacknowledged = level(names::CURRENT, Some("unacknowledged"));
    one.consumers = level(names::CONSUMERS, None);
    let grown = growth::grown(&found, from);
    let rate = |metric: &str| {
        let of = found.iter().zip(&grown).filter(|(series, _)| series.identity.name == metric);
        // Of several senders of one total the one that told most.
        let grown = of.map(|(_, grown)| grown).max_by_key(|grown| grown.len());
        grown.map_or_else(Vec::new, |grown| growth::per_second(grown, from, to, STEPS))
    };
    one.incoming = rate(names::PUBLISHED);
    one.outgoing = rate(names::DELIVERED);
    one.acknowledged = rate(names::ACKNOWLEDGED);
    users(reader, &queue.key, (from, to), &mut one).await?;
    Ok(one)
}

/// Who sends and takes, as spans tell: a consumer names `exchange:key:queue`, or the queue alone.
async fn users(
    reader: &dyn Reader,
    key: &Key,
    (from, to): (Nanos, Nanos),
    one: &mut One,
) -> Result<(), StoreError> {
    let (mut publishers, mut takers) = (BTreeMap::<String, u64>::new(), BTreeMap::<String, u64>::new());
    let mut destinations = BTreeSet::new();
    for call in reader.calls(from, to).await? {
        let Some(taken) = &call.taken_from else { continue };
        let behind = taken.name.strip_suffix(key.name.as_str());
        if !behind.is_some_and(|before| before.is_empty() || before.ends_with(':')) {
            continue;
        }
        destinations.insert(taken.name.clone());
        if let Node::Service(name) = &call.caller {
            *publishers.entry(name.clone()).or_default() += call.rates.count;
        }
        if let Node::Service(name) = &call.callee {
            *takers.entry(name.clone()).or_default() += call.rates.count;
        }
    }
    let most_first = |all: BTreeMap<String, u64>| {
        let mut all: Vec<(String, u64)> = all.into_iter().collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all.truncate(MOST);
        all
    };
    one.publishers = most_first(publishers);
    one.takers = most_first(takers);
    one.destinations = destinations.into_iter().take(MOST).collect();
    Ok(())
}
