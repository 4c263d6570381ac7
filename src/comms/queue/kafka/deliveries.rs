//! One consumer's deliveries: a thread that is a member of the queue's group, and what it hands over.
//!
//! The client library wants to be asked all the time, and tells of partitions that come and go from within: so it has a
//! thread of its own, which reads ahead as far as there is room, and stops where there is none.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::BoxFuture;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::client::{self, meaning};
use super::ledger::{Ledger, Place, Record, Ticket};
use super::settle::{self, Held, Lease, UNSETTLED};
use super::wire::{self, Read, millis};
use super::{Inner, ledger};
use crate::comms::queue::broker::{BrokerError, Deliveries, Delivery, MAX_BODY};

/// Kafka is told this often how far all is done.
const TELL: Duration = Duration::from_millis(100);
/// So much is read ahead; reading goes on when half of it is gone.
const AHEAD: usize = 512;
const AHEAD_BYTES: usize = 16 << 20;
/// Retries that are not due are held up to this many; then nothing more is read until some are.
const WAITING: usize = 10_000;
const WAITING_BYTES: usize = 64 << 20;
/// Records that nobody seems to want are looked at again, together, after so many of them.
const DOUBTFUL: usize = 500;

/// A subscription, for the handle that it belongs to.
pub(super) struct Subscription {
    pub queue: Arc<str>,
    pub ledger: Arc<Ledger>,
    /// Nobody waits for what is at hand.
    pub abandon: CancellationToken,
    /// The thread is over.
    pub over: CancellationToken,
}

pub(super) struct KafkaDeliveries {
    inner: Arc<Inner>,
    subscription: Arc<Subscription>,
    slots: Arc<Semaphore>,
    returns: mpsc::UnboundedSender<Lease>,
}

impl Drop for KafkaDeliveries {
    fn drop(&mut self) {
        self.subscription.ledger.stop();
    }
}

/// Becomes a member of the group of a queue, which is known.
pub(super) fn open(
    inner: &Arc<Inner>,
    queue: &str,
    prefetch: usize,
) -> Result<(KafkaDeliveries, Arc<Subscription>), BrokerError> {
    let ledger = Arc::new(Ledger::default());
    let member = Member { ledger: Arc::clone(&ledger), handover: inner.settings.handover };
    let config = client::consumer(&inner.settings, &inner.named(queue));
    let consumer: BaseConsumer<Member> = config.create_with_context(member).map_err(meaning)?;
    let subscription = Arc::new(Subscription {
        queue: queue.into(),
        ledger,
        abandon: CancellationToken::new(),
        over: CancellationToken::new(),
    });
    let reader = Reader {
        inner: Arc::clone(inner),
        subscription: Arc::clone(&subscription),
        consumer,
        topics: Vec::new(),
        doubtful: VecDeque::new(),
        is_paused: false,
    };
    let thread = std::thread::Builder::new().name("kafka-consumer".to_owned());
    thread.spawn(move || reader.run()).map_err(|error| BrokerError::Unavailable(error.into()))?;
    let (returns, dropped) = mpsc::unbounded_channel();
    tokio::spawn(settle::give_all_back(dropped));
    let slots = Arc::new(Semaphore::new(prefetch.clamp(1, Semaphore::MAX_PERMITS)));
    let deliveries =
        KafkaDeliveries { inner: Arc::clone(inner), subscription: Arc::clone(&subscription), slots, returns };
    Ok((deliveries, subscription))
}

impl Deliveries for KafkaDeliveries {
    fn next(&mut self) -> BoxFuture<'_, Result<Delivery, BrokerError>> {
        Box::pin(async move {
            let closed = || BrokerError::Unavailable("the connection is closed".into());
            loop {
                let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| closed())?;
                let ledger = &self.subscription.ledger;
                let record = loop {
                    if ledger.is_stopped() {
                        return Err(closed());
                    }
                    match ledger.hand_out() {
                        Some(record) => break record,
                        None => ledger.more.notified().await,
                    }
                };
                let lease = Lease {
                    inner: Arc::clone(&self.inner),
                    queue: Arc::clone(&self.subscription.queue),
                    ledger: Arc::clone(ledger),
                    record,
                    _slot: Some(slot),
                };
                if let Some(delivery) = self.delivery(lease).await {
                    return Ok(delivery);
                }
            }
        })
    }
}

impl KafkaDeliveries {
    /// The delivery, if a handler may get it; otherwise it goes to the dead letters with the reason.
    async fn delivery(&self, lease: Lease) -> Option<Delivery> {
        let (queue, returns) = (&self.subscription.queue, self.returns.clone());
        let Read { message, exchange, routing_key, number, .. } = lease.record.read.clone();
        let size = message.body.len();
        let (kind, reason) = if number > self.inner.max_deliveries(queue) {
            ("deliveries", UNSETTLED.to_owned())
        } else if size > MAX_BODY {
            ("body_size", format!("the body has {size} bytes, above the limit of {MAX_BODY}"))
        } else {
            let queue = queue.as_ref().to_owned();
            let settle = Box::new(Held { lease: Some(lease), returns });
            return Some(Delivery { message, exchange, routing_key, queue, number, settle });
        };
        // Dropped meanwhile, it is given back.
        let mut held = Held { lease: Some(lease), returns };
        self.inner.refused(queue, kind);
        // This delivery has reached nobody.
        match held.lease.as_ref()?.dead_letter(&reason, number - 1).await {
            Ok(settled) => {
                held.lease = None;
                tracing::error!(%queue, reason, ?settled, "message not handed out");
            }
            Err(error) => tracing::warn!(%queue, reason, %error, "message will be delivered again"),
        }
        None
    }
}

/// What the client library asks of a member of the group.
struct Member {
    ledger: Arc<Ledger>,
    handover: Duration,
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

fn now() -> u64 {
    u64::try_from(millis(SystemTime::now())).unwrap_or_default()
}

/// The thread that reads.
struct Reader {
    inner: Arc<Inner>,
    subscription: Arc<Subscription>,
    consumer: BaseConsumer<Member>,
    /// Subscribed to: the queue's own and those of its exchanges.
    topics: Vec<String>,
    /// Read, and wanted by no binding that is known here: there may be a newer one.
    doubtful: VecDeque<Record>,
    is_paused: bool,
}

impl Reader {
    fn run(mut self) {
        let ledger = Arc::clone(&self.subscription.ledger);
        let over = self.subscription.over.clone();
        let mut told = Instant::now();
        while !self.is_over() {
            self.subscribe();
            let next = ledger.promote(now());
            if told.elapsed() >= TELL || self.doubtful.len() >= DOUBTFUL {
                self.resolve();
                tell(&self.consumer, &ledger);
                told = Instant::now();
            }
            self.make_room(ledger.held());
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
        let queue = &self.subscription.queue;
        let exchanges = self.inner.register.known().exchanges_of(queue);
        let topics: Vec<String> = exchanges
            .iter()
            .map(String::as_str)
            .chain([queue.as_ref()])
            .map(|name| self.inner.named(name))
            .collect();
        if topics == self.topics {
            return;
        }
        if let Err(error) = self.begin(&exchanges) {
            // Only slower: the whole topic is read, and what is before the binding is left out.
            tracing::debug!(%queue, %error, "the group does not begin where its bindings do");
        }
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        match self.consumer.subscribe(&names) {
            Ok(()) => self.topics = topics,
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
    fn make_room(&mut self, held: ledger::Held) {
        let is_full = held.ready >= AHEAD
            || held.waiting >= WAITING
            || held.bytes >= if held.waiting > held.ready { WAITING_BYTES } else { AHEAD_BYTES };
        let has_room = held.ready <= AHEAD / 2 && held.waiting < WAITING && held.bytes < AHEAD_BYTES / 2;
        let result = if is_full {
            // Again each time: partitions may have come.
            self.is_paused = true;
            self.consumer.assignment().and_then(|all| self.consumer.pause(&all))
        } else if self.is_paused && (has_room || (held.ready == 0 && held.waiting < WAITING)) {
            self.is_paused = false;
            self.consumer.assignment().and_then(|all| self.consumer.resume(&all))
        } else {
            return;
        };
        if let Err(error) = result {
            tracing::debug!(%error, "cannot pause or resume");
        }
    }

    fn read(&mut self, wait: Duration) {
        let record = match self.consumer.poll(wait.max(Duration::from_millis(1))) {
            None => return,
            Some(Ok(record)) => record,
            Some(Err(error)) => return self.told(&error),
        };
        let ledger = &self.subscription.ledger;
        let Some(ticket) = ledger.take(record.topic(), record.partition(), record.offset()) else { return };
        let own = self.inner.named(&self.subscription.queue);
        let exchange = record.topic().strip_prefix(self.inner.settings.prefix.as_str());
        let exchange = exchange.filter(|_| record.topic() != own);
        let read = wire::read(&record, &self.subscription.queue, exchange);
        drop(record);
        let record = Record { ticket, read };
        if exchange_wants(&self.inner, &self.subscription.queue, &record, &own) {
            ledger.queue(record, now());
        } else {
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
        let own = self.inner.named(queue);
        for record in self.doubtful.drain(..) {
            if exchange_wants(&self.inner, queue, &record, &own) {
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
