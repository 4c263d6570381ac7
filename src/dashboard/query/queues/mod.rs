//! Queues of brokers: how many messages wait, whether they grow, who takes them, and what is to be done.
//!
//! Figures are series, whoever sent them: the collector of this process, an OpenTelemetry Collector, the toolkit's own
//! broker. What a queue is comes from the broker that is asked, where one is. Unknown is `None`, never 0.
//!
//! * [`read`]: the series of all queues out of the store; [`long`]: what of them is read once; [`gather`]: series into queues.
//! * [`kafka`]: Kafka's figures as those of queues.
//! * [`named`]: the queues that spans tell of.
//! * [`verdict`]: what is to be said of a queue; [`one`]: one queue over time, and who uses it.
//!
//! What must not live here: HTML, how anything is asked.

pub mod gather;
mod kafka;
pub mod long;
pub mod named;
pub mod one;
pub mod read;
pub mod verdict;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::kept::{Answers, Period};
use crate::dashboard::model::Nanos;
use crate::dashboard::model::queues::{BrokerStatus, QueueFacts};
use crate::dashboard::store::{Reader, StoreError};
use long::Long;
use read::Read;
pub use verdict::Verdict;

/// What tells one queue from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The name in the settings, or the node's where a Collector sends it.
    pub broker: String,
    /// RabbitMQ's virtual host, of which `/` is the usual one; of Kafka the consumer group.
    pub virtual_host: String,
    /// The queue's; of Kafka the topic's.
    pub name: String,
}

/// A queue at the end of a time.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    pub key: Key,
    /// It is what a consumer group has not read yet of a topic of Kafka: `ready` is the lag.
    pub is_kafka: bool,
    /// Messages that could be delivered, that are with consumers, and that wait for the end of a delay.
    pub ready: Option<f64>,
    pub unacknowledged: Option<f64>,
    pub delayed: Option<f64>,
    pub consumers: Option<f64>,
    /// Messages a second over the last minute.
    pub incoming: Option<f64>,
    pub outgoing: Option<f64>,
    /// Messages ready, in equal steps of the time; a step without a figure is `None`.
    pub trend: Vec<Option<f64>>,
    /// When its newest figure was taken.
    pub heard: Nanos,
    /// Who sent the figures; `None` where the broker itself was asked.
    pub sent_by: Option<String>,
    /// What the broker says that it is, where one is asked.
    pub facts: Option<QueueFacts>,
    /// It holds dead letters: brokers tell, or its name does.
    pub takes_dead_letters: bool,
    pub verdict: Verdict,
}

/// The queues of a time.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    pub from: Nanos,
    pub to: Nanos,
    /// The worst first.
    pub queues: Vec<Queue>,
    /// The brokers that are asked.
    pub brokers: Vec<Arc<BrokerStatus>>,
    /// False where more is stored than was read.
    pub complete: bool,
}

/// Answers that stay gathered, each with the series that it was gathered from.
const GATHERED: usize = 4;

/// What was read and gathered last, for all who ask.
#[derive(Debug, Default)]
pub struct Queues {
    kept: Answers<Read>,
    long: Long,
    /// Held while one is gathered, so that those who ask meanwhile wait for it.
    gathered: Mutex<VecDeque<(Arc<Read>, Arc<Listed>)>>,
}

impl Queues {
    /// The queues of a time, with what brokers tell of them now.
    pub async fn get(
        &self,
        reader: &dyn Reader,
        period: Period,
        brokers: Vec<Arc<BrokerStatus>>,
    ) -> Result<Arc<Listed>, StoreError> {
        let read = self.kept.of(reader, period, |from, to| read::read(reader, &self.long, from, to)).await?;
        let mut gathered = self.gathered.lock().await;
        let told = |listed: &Listed| {
            listed.brokers.len() == brokers.len()
                && listed.brokers.iter().zip(&brokers).all(|(before, now)| Arc::ptr_eq(before, now))
        };
        let known = gathered.iter().find(|(of, listed)| Arc::ptr_eq(of, &read) && told(listed));
        if let Some((_, listed)) = known {
            return Ok(Arc::clone(listed));
        }
        let queues = gather::gather(&read, &brokers);
        let listed =
            Arc::new(Listed { from: read.from, to: read.to, queues, brokers, complete: read.complete });
        // What nobody keeps any more is not asked for again.
        gathered.retain(|(read, _)| Arc::strong_count(read) > 1);
        gathered.push_front((read, Arc::clone(&listed)));
        gathered.truncate(GATHERED);
        Ok(listed)
    }
}

impl Listed {
    /// A queue by its names.
    pub fn find(&self, key: &Key) -> Option<&Queue> {
        self.queues.iter().find(|queue| queue.key == *key)
    }
}
