//! A tap on RabbitMQ: an exclusive queue of our own that is bound to every exchange it may listen to.
//!
//! The queue goes with the connection, holds so many messages and bytes at most and drops its oldest. What was delivered is
//! acknowledged in groups, and as many are on the way at once as their size allows, so that large bodies do not pile up here.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::uri::AMQPUri;
use lapin::{Channel, Connection, ConnectionProperties};

use super::exchanges::{Plan, Routes};
use super::sink::Sink;
use super::{QUEUE, TICK, TapSettings, Teller, WAITING, wire};
use crate::dashboard::collect::Broker;
use crate::dashboard::model::now;

/// How long one try to connect may take.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Bytes that wait in the tap's queue at most.
const WAITING_BYTES: i64 = 64 << 20;
/// Messages on the way at most, and bytes of them as far as the sizes seen lately tell.
const WINDOW: u16 = 512;
const WINDOW_BYTES: usize = 32 << 20;
/// Messages that are acknowledged together at most.
const ACK: u16 = 64;
/// After so many ticks the broker is asked for exchanges again.
const LOOK_EVERY: u32 = 15;

/// Listens until the connection is lost, and says why.
pub async fn session(
    uri: &AMQPUri,
    settings: &TapSettings,
    api: Option<&Broker>,
    sink: &Sink,
    teller: &mut Teller,
) -> String {
    match listen(uri, settings, api, sink, teller).await {
        Ok(()) => "the broker ended the subscription".to_owned(),
        Err(why) => why,
    }
}

fn short(text: &str) -> ShortString {
    text.into()
}

fn said(error: lapin::Error) -> String {
    error.to_string()
}

async fn listen(
    uri: &AMQPUri,
    settings: &TapSettings,
    api: Option<&Broker>,
    sink: &Sink,
    teller: &mut Teller,
) -> Result<(), String> {
    let properties = ConnectionProperties::default().with_connection_name(QUEUE.into());
    let connecting = Connection::connect_uri(uri.clone(), properties);
    let connection = tokio::time::timeout(ATTEMPT, connecting)
        .await
        .map_err(|_| format!("no answer within {} s", ATTEMPT.as_secs()))?
        .map_err(said)?;
    let channel = connection.create_channel().await.map_err(said)?;
    let queue = declare(&channel).await.map_err(said)?;
    let mut bound = Bound { queue: queue.clone(), ..Bound::default() };
    bound.refresh(&connection, uri, api, settings, teller).await?;
    let mut window = Window { size: WINDOW, largest: 0, since: Instant::now() };
    let shared = BasicQosOptions { global: true };
    channel.basic_qos(window.size, shared).await.map_err(said)?;
    let options = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
    let mut consumer = channel
        .basic_consume(short(&queue), short(QUEUE), options, FieldTable::default())
        .await
        .map_err(said)?;
    teller.listens();
    let mut tick = tokio::time::interval(TICK);
    let (mut last_tag, mut since_ack, mut ticks) = (0, 0_u16, 0_u32);
    loop {
        tokio::select! {
            delivery = consumer.next() => {
                let delivery = match delivery {
                    Some(delivery) => delivery.map_err(said)?,
                    None => return Ok(()),
                };
                last_tag = delivery.delivery_tag;
                since_ack += 1;
                let narrower = window.note(delivery.data.len());
                let mut message = wire::read(delivery, &teller.status.source, now(), sink.body);
                message.queues = bound.routes.of(&message.exchange, &message.routing_key);
                sink.take(message);
                if narrower {
                    channel.basic_qos(window.size, shared).await.map_err(said)?;
                }
                if since_ack >= ACK.min(window.size.div_ceil(2)) {
                    acknowledge(&channel, last_tag, &mut since_ack).await?;
                }
            }
            _ = tick.tick() => {
                if !connection.status().connected() {
                    return Err("the connection was lost".to_owned());
                }
                acknowledge(&channel, last_tag, &mut since_ack).await?;
                if window.wider() {
                    channel.basic_qos(window.size, shared).await.map_err(said)?;
                }
                ticks = ticks.wrapping_add(1);
                if ticks.is_multiple_of(LOOK_EVERY) {
                    bound.refresh(&connection, uri, api, settings, teller).await?;
                }
                teller.tell();
            }
        }
    }
}

async fn acknowledge(channel: &Channel, tag: u64, since: &mut u16) -> Result<(), String> {
    if *since > 0 {
        *since = 0;
        channel.basic_ack(tag, BasicAckOptions { multiple: true }).await.map_err(said)?;
    }
    Ok(())
}

/// Declares the queue under a name that no other tap has.
async fn declare(channel: &Channel) -> Result<String, lapin::Error> {
    let name = format!("{QUEUE}.{:016x}", RandomState::new().build_hasher().finish());
    let text = |text: &str| AMQPValue::LongString(text.into());
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("classic"));
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(WAITING.into()));
    arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(WAITING_BYTES));
    arguments.insert("x-overflow".into(), text("drop-head"));
    let options =
        QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(short(&name), options, arguments).await?;
    Ok(name)
}

/// How many messages may be on the way.
struct Window {
    size: u16,
    /// Bytes of the largest body seen lately.
    largest: usize,
    since: Instant,
}

impl Window {
    fn of(largest: usize) -> u16 {
        let fit = WINDOW_BYTES / largest.max(1);
        u16::try_from(fit).unwrap_or(WINDOW).clamp(1, WINDOW)
    }

    /// Notes a body; true where fewer may be on the way from now on.
    fn note(&mut self, bytes: usize) -> bool {
        if bytes <= self.largest {
            return false;
        }
        (self.largest, self.since) = (bytes, Instant::now());
        let size = Self::of(bytes);
        let is_narrower = size < self.size;
        self.size = self.size.min(size);
        is_narrower
    }

    /// Forgets large bodies when none came for a while; true where more may be on the way.
    fn wider(&mut self) -> bool {
        if self.size == WINDOW || self.since.elapsed() < Duration::from_secs(10) {
            return false;
        }
        (self.largest, self.since) = (self.largest / 4, Instant::now());
        let before = std::mem::replace(&mut self.size, Self::of(self.largest));
        self.size > before
    }
}

/// What the queue is bound to so far.
#[derive(Default)]
struct Bound {
    queue: String,
    keys: BTreeMap<String, BTreeSet<String>>,
    /// Exchanges that the broker does not let us listen to, and why.
    refused: BTreeMap<String, String>,
    routes: Routes,
}

impl Bound {
    /// Looks which exchanges there are, and binds those that are new.
    async fn refresh(
        &mut self,
        connection: &Connection,
        uri: &AMQPUri,
        api: Option<&Broker>,
        settings: &TapSettings,
        teller: &mut Teller,
    ) -> Result<(), String> {
        if api.is_none() && settings.exchanges.is_empty() {
            return Err(
                "which exchanges there are is not known: name the broker's management interface with \
                        --rabbitmq-api, or exchanges with --tap-exchange"
                    .to_owned(),
            );
        }
        let plan = match Plan::of(api, &uri.vhost, settings).await {
            Ok(plan) => plan,
            Err(refusal) if self.keys.is_empty() => {
                return Err(format!("its exchanges are not known: {refusal}"));
            }
            // What is bound stays so.
            Err(_) => return Ok(()),
        };
        for (exchange, keys) in &plan.bind {
            for key in keys {
                let known = self.keys.get(exchange).is_some_and(|known| known.contains(key));
                if known || self.refused.contains_key(exchange) {
                    continue;
                }
                match bind(connection, &self.queue, exchange, key).await {
                    Ok(()) => {
                        self.keys.entry(exchange.clone()).or_default().insert(key.clone());
                    }
                    Err(error) if connection.status().connected() => {
                        self.refused.insert(exchange.clone(), said(error));
                    }
                    Err(error) => return Err(said(error)),
                }
            }
        }
        self.keys.retain(|exchange, _| plan.bind.contains_key(exchange));
        self.refused.retain(|exchange, _| plan.bind.contains_key(exchange));
        self.routes = plan.routes;
        teller.status.exchanges = self.keys.keys().cloned().collect();
        let refused = self.refused.iter().map(|(exchange, why)| (exchange.clone(), why.clone()));
        teller.status.left_out = refused.chain(plan.left_out).collect();
        Ok(())
    }
}

/// Binds by a channel of its own: a refusal closes it. Arguments count for headers exchanges alone, keys for all others.
async fn bind(connection: &Connection, queue: &str, exchange: &str, key: &str) -> Result<(), lapin::Error> {
    let channel = connection.create_channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-match".into(), AMQPValue::LongString("all".into()));
    channel
        .queue_bind(short(queue), short(exchange), short(key), QueueBindOptions::default(), arguments)
        .await?;
    // It would be closed with the connection too.
    let _ = channel.close(200, "bound".into()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_bodies_are_the_fewer_are_on_the_way() {
        let mut window = Window { size: WINDOW, largest: 0, since: Instant::now() };
        for (bytes, narrower, size) in [
            (1_000, false, WINDOW),
            (1 << 20, true, 32),
            (1_000, false, 32),
            (128 << 20, true, 1),
            (0, false, 1),
        ] {
            assert_eq!((window.note(bytes), window.size), (narrower, size), "{bytes}");
        }
        assert!(!window.wider(), "not at once");
    }
}
