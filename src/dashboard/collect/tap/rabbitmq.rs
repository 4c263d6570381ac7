//! A tap on RabbitMQ: an exclusive queue of our own that is bound to every exchange it may listen to.
//!
//! The queue goes with the connection, holds so many messages and bytes at most and drops its oldest. What was delivered is
//! acknowledged in groups. What comes from the broker passes the screen of [`crate::amqp`] first.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

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
use crate::amqp::{self, Passing, Way};
use crate::dashboard::collect::Broker;
use crate::dashboard::collect::address::RABBITMQ_CA;
use crate::dashboard::model::now;

/// How long one try to connect may take.
const ATTEMPT: Duration = Duration::from_secs(5);
/// Bytes that wait in the tap's queue at most.
const WAITING_BYTES: i64 = 64 << 20;
/// Messages on the way at most: with bodies cut and headers in one frame each, some tens of MiB.
const PREFETCH: u16 = 256;
/// Messages that are acknowledged together.
const ACK: u16 = 64;
/// After so many ticks the broker is asked for exchanges again.
const LOOK_EVERY: u32 = 15;

/// Listens until the connection is lost, and says why.
pub async fn session(
    way: &Way,
    settings: &TapSettings,
    api: Option<&Broker>,
    sink: &Sink,
    teller: &mut Teller,
) -> String {
    let ended = listen(way, settings, api, sink, teller).await;
    ended.err().unwrap_or_else(|| "the broker ended the subscription".to_owned())
}

fn no_answer() -> String {
    format!("no answer within {} s", ATTEMPT.as_secs())
}

fn short(text: &str) -> ShortString {
    text.into()
}

fn said(error: lapin::Error) -> String {
    amqp::told(&error, RABBITMQ_CA).map_or_else(|| error.to_string(), |(told, _)| told)
}

async fn listen(
    way: &Way,
    settings: &TapSettings,
    api: Option<&Broker>,
    sink: &Sink,
    teller: &mut Teller,
) -> Result<(), String> {
    let uri = way.uri();
    let properties = ConnectionProperties::default().with_connection_name(QUEUE.into());
    let passing = Passing::told(sink.body as u64);
    let connecting = way.connect(properties, passing.clone());
    let connection =
        tokio::time::timeout(ATTEMPT, connecting).await.map_err(|_| no_answer())?.map_err(said)?;
    let channel = connection.create_channel().await.map_err(said)?;
    let queue = declare(&channel).await.map_err(said)?;
    let mut bound = Bound { queue: queue.clone(), ..Bound::default() };
    bound.refresh(&connection, uri, api, settings, teller).await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.map_err(said)?;
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
                let mut message = wire::read(delivery, &teller.status.source, now(), sink.body);
                message.size = passing.next().map_or(message.size, |passed| passed.size);
                message.queues = bound.routes.of(&message.exchange, &message.routing_key);
                sink.take(message);
                if since_ack >= ACK {
                    acknowledge(&channel, last_tag, &mut since_ack).await?;
                }
            }
            _ = tick.tick() => {
                if !connection.status().connected() {
                    return Err("the connection was lost".to_owned());
                }
                acknowledge(&channel, last_tag, &mut since_ack).await?;
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
            // Those of the settings are known all the same.
            Err(_) if self.keys.is_empty() && !settings.exchanges.is_empty() => {
                Plan::of(None, &uri.vhost, settings).await.map_err(|refusal| refusal.to_string())?
            }
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
