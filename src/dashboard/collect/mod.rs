//! Asks brokers how their queues do, where nobody sends it: RabbitMQ's management interface, every few seconds, or RabbitMQ itself
//! where it has none.
//!
//! * [`address`]: a broker in the settings; [`management`]: the interface, its answers and its refusals;
//!   [`passive`]: the same over AMQP, as far as that tells; [`points`]: figures as samples; [`detail`]: one queue, while somebody looks at it.
//! * [`cluster`]: a Kafka in the settings; `kafka`: how far its groups are, in a build with the feature `kafka`.
//! * [`tap`]: sees the messages that are published, and keeps them.
//!
//! What is asked of the interface only reads, so a user with the tag `monitoring` is enough, with a
//! permission for nothing (`^$`) in each virtual host: without one RabbitMQ shows none of its queues. Figures go into the store by
//! its own door, like those that a Collector sends; what a queue is stands on the [`Board`] for the pages. A broker that
//! does not answer is said so there and asked again; nothing else waits for it. Passwords are in no log, page or error.
//!
//! What must not live here: what figures mean, HTML.

pub mod address;
pub mod cluster;
pub mod detail;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod management;
pub mod passive;
pub mod points;
pub mod tap;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::model::messages::TapStatus;
use super::model::now;
use super::model::queues::{BrokerStatus, QueueDetail, QueueFacts};
use super::store::Ingest;
pub use address::{Address, Broker, WrongAddress};
pub use cluster::Cluster;
use detail::Clerk;
use management::{Management, Refusal};
use passive::Passive;
pub use tap::{Tap, TapSettings};

/// How often a broker is asked, unless set: RabbitMQ's own figures are renewed as often.
pub const EVERY: Duration = Duration::from_secs(5);
/// Queues of a broker of which something is kept.
pub const MOST_QUEUES: usize = 1_000;

/// What each broker told last; cheap to read.
#[derive(Debug, Default)]
pub struct Board {
    brokers: Mutex<Vec<Arc<BrokerStatus>>>,
    taps: Mutex<Vec<TapStatus>>,
    clerks: Mutex<Vec<Arc<Clerk>>>,
}

impl Board {
    /// Of all brokers, in the order of the settings.
    pub fn brokers(&self) -> Vec<Arc<BrokerStatus>> {
        self.brokers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How taps do, in the order in which they began.
    pub fn taps(&self) -> Vec<TapStatus> {
        self.taps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts up how a tap does.
    pub fn put_tap(&self, status: TapStatus) {
        let mut all = self.taps.lock().unwrap_or_else(PoisonError::into_inner);
        match all.iter_mut().find(|known| known.source == status.source) {
            Some(known) => *known = status,
            None => all.push(status),
        }
    }

    /// Puts up what is known of a broker, in place of what was known before.
    pub fn put(&self, status: BrokerStatus) {
        let mut all = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        let status = Arc::new(status);
        match all.iter_mut().find(|known| known.name == status.name) {
            Some(known) => *known = status,
            None => all.push(status),
        }
    }

    /// What a broker says of one queue now; `None` where it is none that is asked. The error is for a person.
    pub async fn detail(
        &self,
        broker: &str,
        virtual_host: &str,
        name: &str,
    ) -> Option<Result<Arc<QueueDetail>, String>> {
        let clerk = {
            let clerks = self.clerks.lock().unwrap_or_else(PoisonError::into_inner);
            clerks.iter().find(|clerk| clerk.broker() == broker)?.clone()
        };
        Some(clerk.detail(virtual_host, name).await.map_err(|refusal| refusal.to_string()))
    }
}

/// Who is asked for queues.
pub enum Asked {
    Management(Broker),
    Passive(Box<Passive>),
}

impl Asked {
    fn status(&self) -> BrokerStatus {
        let (name, address) = match self {
            Self::Management(broker) => (broker.name.clone(), broker.shown()),
            Self::Passive(passive) => (passive.name.clone(), passive.shown()),
        };
        BrokerStatus::new(name, address)
    }
}

/// Who is being asked.
enum Asking {
    Management(Management),
    Passive(Box<Passive>),
}

impl Asking {
    async fn queues(&mut self) -> Result<Vec<QueueFacts>, Refusal> {
        match self {
            Self::Management(management) => management.queues().await,
            Self::Passive(passive) => passive.queues().await,
        }
    }
}

/// Asks a broker until `stop`.
pub async fn watch(
    asked: Asked,
    every: Duration,
    ingest: Arc<dyn Ingest>,
    board: Arc<Board>,
    stop: CancellationToken,
) {
    let mut status = asked.status();
    board.put(status.clone());
    let mut asking = match asked {
        Asked::Management(broker) => {
            let clerk = Arc::new(Clerk::new(broker.clone()));
            board.clerks.lock().unwrap_or_else(PoisonError::into_inner).push(clerk);
            Asking::Management(Management::new(broker))
        }
        Asked::Passive(passive) => Asking::Passive(passive),
    };
    loop {
        let answer = tokio::select! {
            () = stop.cancelled() => return,
            answer = asking.queues() => answer,
        };
        tell(&mut status, answer);
        board.put(status.clone());
        if status.failing.is_none() {
            let points = points::of(&status.name, &status.queues, now());
            if let Err(error) = ingest.keep(points).await {
                tracing::warn!(broker = %status.name, "figures of queues are not kept: {error}");
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// Notes an answer; what changed between well and ill is said once in the log.
fn tell(status: &mut BrokerStatus, answer: Result<Vec<QueueFacts>, Refusal>) {
    match answer {
        Ok(mut queues) => {
            // A tap is nobody's queue.
            queues.retain(|queue| !queue.name.starts_with(tap::QUEUE));
            // Those that hold messages are wanted most.
            queues.sort_by(|a, b| {
                let waiting = |queue: &QueueFacts| queue.ready.unwrap_or(0);
                let name = |queue: &QueueFacts| (queue.virtual_host.clone(), queue.name.clone());
                waiting(b).cmp(&waiting(a)).then_with(|| name(a).cmp(&name(b)))
            });
            status.left_out = queues.len().saturating_sub(MOST_QUEUES);
            queues.truncate(MOST_QUEUES);
            status.queues = queues;
            well(status);
        }
        Err(refusal) => failed(status, &refusal),
    }
}

/// Notes that a broker has answered.
fn well(status: &mut BrokerStatus) {
    status.reached = Some(now());
    if status.failing.take().is_some() {
        tracing::info!(broker = %status.name, "the broker answers again");
    }
}

/// Notes that a broker has not.
fn failed(status: &mut BrokerStatus, refusal: &Refusal) {
    let why = refusal.to_string();
    let same = status.failing.as_ref().is_some_and(|(before, _)| *before == why);
    if !same {
        tracing::warn!(broker = %status.name, address = %status.address, "queues are not known: {why}");
    }
    let since = status.failing.as_ref().map_or_else(now, |(_, since)| *since);
    status.failing = Some((why, since));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_fails_keeps_what_it_told_and_since_when() {
        let mut status = BrokerStatus::new("eu".into(), "http://127.0.0.1:1/".into());
        let queue = |number: usize| QueueFacts {
            name: format!("q{number}"),
            ready: Some(u64::from(number == 1_001)),
            ..QueueFacts::default()
        };
        tell(&mut status, Ok((0..1_002).map(queue).collect()));
        assert_eq!((status.queues.len(), status.left_out), (MOST_QUEUES, 2));
        assert_eq!(status.queues[0].name, "q1001", "who holds messages is never left out for who holds none");
        tell(&mut status, Err(Refusal::TooSlow(Duration::from_secs(4))));
        let (_, since) = status.failing.clone().expect("it fails");
        tell(&mut status, Err(Refusal::Login("monitor".into())));
        let (why, still) = status.failing.clone().expect("it fails");
        assert_eq!((still, status.queues.len()), (since, MOST_QUEUES));
        assert!(why.contains("monitor"), "{why}");
        tell(&mut status, Ok(Vec::new()));
        assert_eq!((status.failing, status.queues.len()), (None, 0));
    }
}
