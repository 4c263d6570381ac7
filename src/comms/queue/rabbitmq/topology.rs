//! What is declared: exchanges, queues, bindings, and the queues in which retries wait.
//!
//! All of it is remembered and declared again on a new connection, so a broker that came back empty is set up by
//! whoever uses it.
//!
//! ```text
//!  exchange ──▶ queue ──▶ consumer ──▶ (copy, then ack) ──▶ queue.wait.2000
//!                 ▲                                              │ time is up
//!                 └──────────────────────────────────────────────┘ dead-lettered back
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ExchangeKind};
use tokio::time::Instant;

use super::refusal::{self, Refusal};
use crate::comms::queue::broker::{BrokerError, QueueSpec, QueueStats, check_name};

/// A queue for retries that nobody used for this long beyond its delay is removed by the broker.
const UNUSED: Duration = Duration::from_secs(60 * 60);
/// The longest delay of a retry: a day.
const LONGEST: u64 = 24 * 60 * 60 * 1000;

/// What was declared through this handle.
pub(super) struct Topology {
    /// [`super::Settings::settling`].
    settling: Duration,
    known: Mutex<Known>,
}

#[derive(Clone, Default)]
struct Known {
    exchanges: BTreeSet<String>,
    queues: BTreeMap<String, QueueSpec>,
    /// Exchange, pattern, queue.
    bindings: BTreeSet<(String, String, String)>,
    /// Queue and delay in milliseconds.
    waits: BTreeMap<(String, u64), Wait>,
    /// When the queues that were declared last can take messages.
    settled: Option<Instant>,
}

/// A queue in which retries wait.
#[derive(Clone, Copy)]
struct Wait {
    /// Not before this time.
    made: Instant,
    used: Instant,
    /// Whether it may not be there any more.
    is_new: bool,
}

impl Topology {
    pub fn new(settling: Duration) -> Self {
        Self { settling, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The spec of a queue, if it was declared through this handle.
    pub fn spec(&self, queue: &str) -> Option<QueueSpec> {
        self.known().queues.get(queue).cloned()
    }

    pub async fn declare_exchange(&self, connection: &Connection, name: &str) -> Result<(), Refusal> {
        check_name("the name of the exchange", name)?;
        declare_exchange(&open(connection).await?, name).await?;
        self.known().exchanges.insert(name.to_owned());
        Ok(())
    }

    pub async fn declare_queue(&self, connection: &Connection, spec: &QueueSpec) -> Result<(), Refusal> {
        check_name("the name of the queue", &spec.name)?;
        declare_queue(&open(connection).await?, &spec.name, arguments(spec)).await?;
        let mut known = self.known();
        known.queues.insert(spec.name.clone(), spec.clone());
        // It may have been there for long, but nothing tells.
        known.settled = Some(Instant::now() + self.settling);
        Ok(())
    }

    pub async fn bind(
        &self,
        connection: &Connection,
        exchange: &str,
        pattern: &str,
        queue: &str,
    ) -> Result<(), Refusal> {
        check_name("the pattern of the binding", pattern)?;
        bind(&open(connection).await?, exchange, pattern, queue).await?;
        self.known().bindings.insert((exchange.to_owned(), pattern.to_owned(), queue.to_owned()));
        Ok(())
    }

    /// Waits until the queues that were declared last through this handle can take messages.
    pub async fn settled(&self) {
        let settled = self.known().settled;
        let Some(settled) = settled else { return };
        tokio::time::sleep_until(settled).await;
        let mut known = self.known();
        if known.settled == Some(settled) {
            known.settled = None;
        }
    }

    /// Declares the queue in which retries of `queue` wait for a delay, and gives its name and when it can take messages.
    /// To be done before every use, since it renews the time after which the broker removes the queue.
    pub async fn wait_queue(
        &self,
        connection: &Connection,
        queue: &str,
        delay: Duration,
    ) -> Result<(String, Instant), Refusal> {
        let millis = rounded(delay);
        let name = wait_name(queue, millis);
        check_name("the name of the queue for retries", &name)?;
        declare_queue(&open(connection).await?, &name, wait_arguments(queue, millis)).await?;
        let used = Instant::now();
        let mut known = self.known();
        let new = Wait { made: used, used, is_new: false };
        let wait = known.waits.entry((queue.to_owned(), millis)).or_insert(new);
        // The broker may have removed one that nobody used.
        if wait.is_new || used.duration_since(wait.used) >= UNUSED {
            *wait = new;
        }
        wait.used = used;
        Ok((name, wait.made + self.settling))
    }

    /// Declares a queue again that this handle knows, with its bindings; whether it knows it.
    pub async fn declare_queue_again(&self, connection: &Connection, queue: &str) -> Result<bool, Refusal> {
        let known = self.known().clone();
        let Some(spec) = known.queues.get(queue) else { return Ok(false) };
        declare_queue(&open(connection).await?, queue, arguments(spec)).await?;
        self.known().settled = Some(Instant::now() + self.settling);
        for (exchange, pattern, _) in known.bindings.iter().filter(|(_, _, of)| of == queue) {
            declare_exchange(&open(connection).await?, exchange).await?;
            bind(&open(connection).await?, exchange, pattern, queue).await?;
        }
        Ok(true)
    }

    /// Declares everything again. What the broker refuses is told and left: the rest may still do.
    pub async fn declare_again(&self, connection: &Connection) {
        let known = {
            let mut known = self.known();
            // A broker that came back empty makes them anew, when they are used next.
            known.waits.values_mut().for_each(|wait| wait.is_new = true);
            known.clone()
        };
        for name in &known.exchanges {
            told("exchange", name, self.declare_exchange(connection, name).await);
        }
        for spec in known.queues.values() {
            // One that is still there has been there for long.
            if !matches!(ready(connection, &spec.name).await, Ok(Some(_))) {
                told("queue", &spec.name, self.declare_queue(connection, spec).await);
            }
        }
        for (exchange, pattern, queue) in &known.bindings {
            told("binding", pattern, self.bind(connection, exchange, pattern, queue).await);
        }
    }

    /// How many messages wait in the queues that this handle knows. `unsettled` is left to who knows it.
    pub async fn stats(&self, connection: &Connection) -> Result<Vec<QueueStats>, Refusal> {
        let known = self.known().clone();
        let mut all = Vec::new();
        for name in known.queues.keys() {
            let ready = ready(connection, name).await?.unwrap_or_default();
            let mut delayed = 0;
            for (_, millis) in known.waits.keys().filter(|(queue, _)| queue == name) {
                delayed += self::ready(connection, &wait_name(name, *millis)).await?.unwrap_or_default();
            }
            all.push(QueueStats { name: name.clone(), ready, unsettled: 0, delayed });
        }
        Ok(all)
    }
}

fn told(what: &str, name: &str, result: Result<(), Refusal>) {
    if let Err(refusal) = result {
        tracing::warn!(what, name, %refusal, "could not be declared again");
    }
}

/// A channel for one operation: the broker closes it when it refuses one.
async fn open(connection: &Connection) -> Result<Channel, Refusal> {
    connection.create_channel().await.map_err(Refusal::Lost)
}

async fn declare_exchange(channel: &Channel, name: &str) -> Result<(), Refusal> {
    let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
    channel
        .exchange_declare(short(name), ExchangeKind::Topic, options, FieldTable::default())
        .await
        .map_err(|error| refusal::of(error, refusal::Asked::Exchange(name)))
}

async fn declare_queue(channel: &Channel, name: &str, arguments: FieldTable) -> Result<(), Refusal> {
    let options = QueueDeclareOptions { durable: true, ..Default::default() };
    let declared = channel.queue_declare(short(name), options, arguments).await;
    declared.map(drop).map_err(|error| refusal::of(error, refusal::Asked::Queue(name)))
}

async fn bind(channel: &Channel, exchange: &str, pattern: &str, queue: &str) -> Result<(), Refusal> {
    let (queue_name, exchange_name) = (short(queue), short(exchange));
    channel
        .queue_bind(
            queue_name,
            exchange_name,
            short(pattern),
            QueueBindOptions::default(),
            FieldTable::default(),
        )
        .await
        .map_err(|error| refusal::of(error, refusal::Asked::Binding { exchange, queue }))
}

/// How many messages are ready in a queue, where there is one.
async fn ready(connection: &Connection, queue: &str) -> Result<Option<u64>, Refusal> {
    let channel = open(connection).await?;
    let options = QueueDeclareOptions { passive: true, ..Default::default() };
    match channel.queue_declare(short(queue), options, FieldTable::default()).await {
        Ok(queue) => Ok(Some(u64::from(queue.message_count()))),
        Err(error) => match refusal::of(error, refusal::Asked::Queue(queue)) {
            Refusal::Final(BrokerError::NoQueue(_)) => Ok(None),
            other => Err(other),
        },
    }
}

/// A name that was checked to be short enough; one that was not is cut and so names nothing.
pub(super) fn short(name: &str) -> ShortString {
    let end = (0..=name.len().min(crate::comms::queue::broker::MAX_NAME)).rev();
    let end = end.into_iter().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    ShortString::from(&name[..end])
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

/// Quorum queues: they count deliveries, and a message that is confirmed survives.
fn arguments(spec: &QueueSpec) -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    // Our consumers bury a message themselves, with the reason, when it comes once more than it may: after as many
    // returns. The broker does so one return later, for consumers that are not ours.
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(i64::from(spec.max_deliveries)));
    if let Some(dead) = &spec.dead_letter_queue {
        arguments.insert("x-dead-letter-exchange".into(), text(""));
        arguments.insert("x-dead-letter-routing-key".into(), text(dead));
    }
    match spec.max_length {
        Some(messages) => {
            arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(i64::from(messages)));
            arguments.insert("x-overflow".into(), text("drop-head"));
        }
        // The broker confirms to itself what it dead-letters, which it does with this overflow only.
        None if spec.dead_letter_queue.is_some() => {
            arguments.insert("x-overflow".into(), text("reject-publish"));
            arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
        }
        None => {}
    }
    arguments
}

fn wait_arguments(queue: &str, millis: u64) -> FieldTable {
    let mut arguments = FieldTable::default();
    let number = |millis: u64| AMQPValue::LongLongInt(i64::try_from(millis).unwrap_or(i64::MAX));
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-message-ttl".into(), number(millis));
    arguments.insert("x-expires".into(), number(millis.saturating_mul(2) + UNUSED.as_millis() as u64));
    arguments.insert("x-dead-letter-exchange".into(), text(""));
    arguments.insert("x-dead-letter-routing-key".into(), text(queue));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    arguments
}

fn wait_name(queue: &str, millis: u64) -> String {
    format!("{queue}.wait.{millis}")
}

/// In milliseconds, rounded up to two digits, so that delays of any kind lead to few queues.
fn rounded(delay: Duration) -> u64 {
    let millis = u64::try_from(delay.as_millis()).unwrap_or(LONGEST).clamp(1, LONGEST);
    let mut step = 1;
    while millis / step >= 100 {
        step *= 10;
    }
    millis.div_ceil(step) * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_rounded_up_to_two_digits() {
        let of = |millis| rounded(Duration::from_millis(millis));
        for same in [1, 50, 99, 100, 200, 2_000, 4_000, 64_000] {
            assert_eq!(of(same), same);
        }
        assert_eq!((of(0), of(101), of(1_234), of(99_001)), (1, 110, 1_300, 100_000));
        assert_eq!(rounded(Duration::MAX), 87_000_000, "bounded");
        let queues: BTreeSet<u64> = (0..100_000).map(of).collect();
        assert!(queues.len() < 400, "{}", queues.len());
    }

    #[test]
    fn a_name_too_long_is_cut_between_characters() {
        assert_eq!(short("mail").as_str(), "mail");
        assert_eq!(short(&"ü".repeat(200)).as_str().len(), 254);
    }
}
