//! The thread that is a member of a queue's group: it reads, makes room, and tells how far all is done.
//!
//! The client library wants to be asked all the time, and tells of partitions that come and go from within: so it has a
//! thread of its own, which reads ahead as far as there is room, and stops where there is none. What becomes of a
//! message does not belong here.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};

use super::Inner;
use super::client::meaning;
use super::deliveries::Subscription;
use super::ledger::{Ledger, Place, Record, Ticket};
use super::wire::{self, now};
use crate::comms::queue::broker::BrokerError;

/// Kafka is told this often how far all is done.
const TELL: Duration = Duration::from_millis(100);
/// So much is read ahead; reading goes on when half of it is gone.
const AHEAD: usize = 512;
const AHEAD_BYTES: usize = 16 << 20;
/// Retries that are not due are held up to this many; then the queue's own topic is not read until some are.
const WAITING: usize = 10_000;
const WAITING_BYTES: usize = 64 << 20;
/// Records that nobody seems to want are looked at again, together, after so many of them.
const DOUBTFUL: usize = 500;

/// What the client library asks of a member of the group.
pub(super) struct Member {
    pub ledger: Arc<Ledger>,
    /// How long what is at hand may hold up a partition that goes to another consumer.
    pub handover: Duration,
}

impl ClientContext for Member {}

impl ConsumerContext for Member {
    /// Partitions that go to another consumer are given away when what is at hand of them is settled.
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let Rebalance::Revoke(list) = rebalance else { return };
        let places: Vec<Place> =
            list.elements().iter().map(|of| (of.topic().to_owned(), of.partition())).collect();
        if !consumer.assignment_lost() {
            self.ledger.withdraw(&places, Instant::now() + self.handover);
            tell(consumer, &self.ledger);
        }
        self.ledger.forget(&places);
    }
}

/// Tells Kafka how far all is done, and waits for its answer: while partitions move it may say no, and is told again.
fn tell(consumer: &BaseConsumer<Member>, ledger: &Ledger) {
    let done = ledger.to_tell();
    if done.is_empty() {
        return;
    }
    let told = list(done).and_then(|list| consumer.commit(&list, CommitMode::Sync));
    if let Err(error) = told {
        tracing::debug!(%error, "Kafka was not told what is done");
        ledger.not_told();
    }
}

fn list(places: impl IntoIterator<Item = (Place, i64)>) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in places {
        list.add_partition_offset(&topic, partition, Offset::Offset(offset))?;
    }
    Ok(list)
}

/// The thread that reads.
pub(super) struct Reader {
    inner: Arc<Inner>,
    subscription: Arc<Subscription>,
    consumer: BaseConsumer<Member>,
    /// The queue's own topic.
    own: String,
    /// Subscribed to: the queue's own and those of its exchanges.
    topics: Vec<String>,
    /// How far the list of queues was known when it was last looked at for this: most records come without news of it.
    looked_at: Option<i64>,
    /// Read, and wanted by no binding that is known here: there may be a newer one.
    doubtful: VecDeque<Record>,
    doubtful_bytes: usize,
    reads: Reads,
}

/// What is read of what is ours.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    All,
    /// Not the queue's own topic.
    Exchanges,
    Nothing,
}

impl Reader {
    pub fn new(inner: Arc<Inner>, subscription: Arc<Subscription>, consumer: BaseConsumer<Member>) -> Self {
        Self {
            own: inner.named(&subscription.queue),
            inner,
            subscription,
            consumer,
            topics: Vec::new(),
            looked_at: None,
            doubtful: VecDeque::new(),
            doubtful_bytes: 0,
            reads: Reads::All,
        }
    }

    /// Reads until the subscription is stopped.
    pub fn run(mut self) {
        let ledger = Arc::clone(&self.subscription.ledger);
        let over = self.subscription.over.clone();
        let mut told = Instant::now();
        while !self.is_over() {
            self.subscribe();
            let next = ledger.promote(now());
            if told.elapsed() >= TELL || self.doubtful.len() >= DOUBTFUL || self.doubtful_bytes >= AHEAD_BYTES
            {
                self.resolve();
                tell(&self.consumer, &ledger);
                told = Instant::now();
            }
            self.make_room();
            let due = next.map(|next| Duration::from_millis(next.saturating_sub(now()).max(1)));
            self.read(due.unwrap_or(TELL).min(TELL.saturating_sub(told.elapsed())));
        }
        ledger.stop();
        tell(&self.consumer, &ledger);
        ledger.end();
        drop(self.consumer);
        over.cancel();
    }

    /// After the stop, what is at hand may still be settled, unless nobody waits for it.
    fn is_over(&self) -> bool {
        let Subscription { ledger, abandon, .. } = self.subscription.as_ref();
        ledger.is_stopped() && (abandon.is_cancelled() || ledger.held().at_hand == 0)
    }

    /// Subscribes to what the queue is bound to by now.
    fn subscribe(&mut self) {
        let at = Some(self.inner.register.reached());
        if at == self.looked_at {
            return;
        }
        let queue = &self.subscription.queue;
        let exchanges = self.inner.register.known().exchanges_of(queue);
        let of_exchanges = exchanges.iter().map(|name| self.inner.named(name));
        let topics: Vec<String> = of_exchanges.chain([self.own.clone()]).collect();
        if topics == self.topics {
            self.looked_at = at;
            return;
        }
        if let Err(error) = self.begin(&exchanges) {
            // Only slower: the whole topic is read, and what is before the binding is left out.
            tracing::debug!(%queue, %error, "the group does not begin where its bindings do");
        }
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        match self.consumer.subscribe(&names) {
            Ok(()) => (self.topics, self.looked_at) = (topics, at),
            Err(error) => tracing::warn!(%queue, %error, "cannot subscribe yet"),
        }
    }

    /// Notes for a group that has not read from an exchange yet that it begins where its binding does. Kafka takes this
    /// from nobody else while the group has members.
    fn begin(&self, exchanges: &[String]) -> Result<(), BrokerError> {
        let (register, patience) = (&self.inner.register, self.inner.settings.patience);
        let mut asked = TopicPartitionList::new();
        let mut starts = Vec::new();
        for exchange in exchanges {
            let topic = self.inner.named(exchange);
            for partition in 0..register.partitions(&topic, patience)? {
                asked.add_partition(&topic, partition);
                let start = register.known().starts(&self.subscription.queue, exchange, partition);
                starts.push(((topic.clone(), partition), start));
            }
        }
        if starts.iter().all(|(_, start)| *start == 0) {
            return Ok(());
        }
        let committed = self.consumer.committed_offsets(asked, patience).map_err(meaning)?;
        let is_new = |(topic, partition): &Place| {
            let found = committed.find_partition(topic, *partition);
            found.is_some_and(|found| !matches!(found.offset(), Offset::Offset(_)))
        };
        starts.retain(|(place, start)| *start > 0 && is_new(place));
        if starts.is_empty() {
            return Ok(());
        }
        let list = list(starts).map_err(meaning)?;
        self.consumer.commit(&list, CommitMode::Sync).map_err(meaning)
    }

    /// Stops reading where enough is held, and goes on where there is room.
    fn make_room(&mut self) {
        let ledger = &self.subscription.ledger;
        let held = ledger.held();
        let is_full = held.ready >= AHEAD || held.ready_bytes >= AHEAD_BYTES;
        let has_room = held.ready <= AHEAD / 2 && held.ready_bytes <= AHEAD_BYTES / 2;
        let reads = if is_full || (self.reads == Reads::Nothing && !has_room) || ledger.is_stopped() {
            Reads::Nothing
        } else if held.waiting >= WAITING || held.waiting_bytes >= WAITING_BYTES {
            Reads::Exchanges
        } else {
            Reads::All
        };
        // Where something is paused, again each time: partitions may have come.
        if reads == Reads::All && self.reads == Reads::All {
            return;
        }
        let was = std::mem::replace(&mut self.reads, reads);
        if let Err(error) = self.pause(was) {
            tracing::debug!(%error, "cannot pause or resume");
            self.reads = was;
        }
    }

    fn pause(&self, was: Reads) -> KafkaResult<()> {
        let all = self.consumer.assignment()?;
        if self.reads != was && was != Reads::All {
            self.consumer.resume(&all)?;
        }
        let mut paused = TopicPartitionList::new();
        for of in all.elements() {
            if self.reads == Reads::Nothing || (self.reads == Reads::Exchanges && of.topic() == self.own) {
                paused.add_partition(of.topic(), of.partition());
            }
        }
        self.consumer.pause(&paused)
    }

    fn read(&mut self, wait: Duration) {
        let record = match self.consumer.poll(wait.max(Duration::from_millis(1))) {
            None => return,
            Some(Ok(record)) => record,
            Some(Err(error)) => return self.told(&error),
        };
        let ledger = &self.subscription.ledger;
        let Some(ticket) = ledger.take(record.topic(), record.partition(), record.offset()) else { return };
        let exchange = record.topic().strip_prefix(self.inner.settings.prefix.as_str());
        let exchange = exchange.filter(|_| record.topic() != self.own);
        let read = wire::read(&record, &self.subscription.queue, exchange);
        drop(record);
        let record = Record { ticket, read };
        if exchange_wants(&self.inner, &self.subscription.queue, &record, &self.own) {
            ledger.queue(record, now());
        } else {
            self.doubtful_bytes += record.size();
            self.doubtful.push_back(record);
        }
    }

    /// What the client library says that is no record. It goes on by itself.
    fn told(&self, error: &KafkaError) {
        let queue = &self.subscription.queue;
        tracing::warn!(%queue, %error, "no messages from Kafka now");
    }

    /// Leaves out what no binding wants. A binding that was made before the record may not be known here yet, so the list
    /// is read to its end first.
    fn resolve(&mut self) {
        if self.doubtful.is_empty() {
            return;
        }
        if let Err(error) = self.inner.register.catch_up(self.inner.settings.patience) {
            tracing::debug!(%error, "cannot tell yet what is wanted");
            return;
        }
        let (ledger, queue) = (&self.subscription.ledger, &self.subscription.queue);
        self.doubtful_bytes = 0;
        for record in self.doubtful.drain(..) {
            if exchange_wants(&self.inner, queue, &record, &self.own) {
                ledger.queue(record, now());
            } else {
                ledger.settle(&record.ticket);
            }
        }
    }
}

/// Whether the queue gets a record: all of its own topic, and of an exchange's what a binding wants.
fn exchange_wants(inner: &Inner, queue: &str, record: &Record, own: &str) -> bool {
    let Ticket { place: (topic, partition), offset, .. } = &record.ticket;
    let read = &record.read;
    topic == own
        || inner.register.known().wants(queue, &read.exchange, (*partition, *offset), &read.routing_key)
}
