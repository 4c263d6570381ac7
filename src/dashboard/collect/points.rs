//! Figures of queues as samples of series, named as the Collector's RabbitMQ receiver names them.

use std::sync::Arc;

use crate::dashboard::model::otlp::points::Points;
use crate::dashboard::model::queues::{self as names, QueueFacts};
use crate::dashboard::model::series::Kind;
use crate::dashboard::model::{Identity, Nanos, Sample};

const MS: Nanos = 1_000_000;
/// Who says it: this process, of a broker that it asks.
pub(super) const SCOPE: &str = "throughline";

/// Adds a sample of a series.
pub(super) fn add(points: &mut Points, mut identity: Identity, at: Nanos, value: f64) {
    identity.attributes.sort_unstable();
    let number = points.series.len() as u32;
    points.series.push(Arc::new(identity));
    points.samples.push((number, Sample::of(at - at % MS, 0, value)));
}

/// A sample of each figure that the broker told; what it did not tell is no sample, and never 0.
pub fn of(broker: &str, queues: &[QueueFacts], at: Nanos) -> Points {
    let mut points = Points::default();
    for queue in queues {
        let figures = [
            (names::CURRENT, "{messages}", Kind::LEVEL, Some("ready"), queue.ready),
            (names::CURRENT, "{messages}", Kind::LEVEL, Some("unacknowledged"), queue.unacknowledged),
            (names::CONSUMERS, "{consumers}", Kind::LEVEL, None, queue.consumers),
            (names::PUBLISHED, "{messages}", Kind::COUNTER, None, queue.published),
            (names::DELIVERED, "{messages}", Kind::COUNTER, None, queue.delivered),
            (names::ACKNOWLEDGED, "{messages}", Kind::COUNTER, None, queue.acknowledged),
        ];
        for (name, unit, kind, state, value) in figures {
            let Some(value) = value else { continue };
            let mut attributes = vec![
                (names::QUEUE.to_owned(), queue.name.clone()),
                (names::VIRTUAL_HOST.to_owned(), queue.virtual_host.clone()),
                (names::BROKER.to_owned(), broker.to_owned()),
            ];
            attributes.extend(state.map(|state| (names::STATE.to_owned(), state.to_owned())));
            let identity = Identity {
                name: name.to_owned(),
                service: "rabbitmq".to_owned(),
                instance: broker.to_owned(),
                scope: SCOPE.to_owned(),
                unit: unit.to_owned(),
                kind,
                attributes,
            };
            add(&mut points, identity, at, value as f64);
        }
    }
    points
}
