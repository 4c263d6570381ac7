//! Taking messages from a queue: a consumer with a bound on what is on its way, and another one when what was looked at and
//! not sent fills that bound. What is not sent stays unsettled, so that it is not met twice, and is given back at the end.

use std::collections::{HashMap, VecDeque};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, Consumer};

use super::super::order::{Copy, Nature};
use super::super::{Move, Moved, Place, Source, Taken, Trouble};
use super::connect::{self, Asked};
use super::publish::Publisher;
use super::wire;
use crate::amqp::Passing;

/// Messages that may be on their way to us: the first, before it is known how large they are, and ever.
const FIRST: u16 = 16;
const MOST: u16 = 512;
/// Bytes that may be on their way, and in one batch.
const MOST_BYTES: u64 = 16 << 20;
/// How long a message that was ready is waited for: one of 128 MiB takes some seconds. Where somebody else takes messages too, it
/// never comes.
const COMES: std::time::Duration = std::time::Duration::from_secs(20);
/// How long a batch waits for its next message before it is taken as it is.
const GATHER: std::time::Duration = std::time::Duration::from_millis(5);

/// What is needed to copy a message.
struct Original {
    properties: BasicProperties,
    body: Bytes,
    /// Whether it is not quite what lies in the queue.
    altered: bool,
}

/// A queue that is being taken from.
pub(super) struct Taking {
    connection: Connection,
    passing: Passing,
    channel: Channel,
    publisher: Publisher,
    queue: String,
    last_return: u64,
    ready: u64,
    /// Of those ready, how many are not looked at yet.
    left: u64,
    consumer: Option<Consumer>,
    prefetch: u16,
    /// Of this consumer: taken and not settled.
    unsettled: u16,
    /// Came from a consumer that was ended.
    waiting: VecDeque<Delivery>,
    /// Largest body of the last batch.
    largest: u64,
    /// Taken last, by their delivery tags.
    open: HashMap<u64, Original>,
    /// Looked at and left.
    aside: Vec<u64>,
}

impl Taking {
    pub async fn open(
        connection: Connection,
        passing: Passing,
        place: &Place,
        nature: &Nature,
    ) -> Result<Self, Trouble> {
        let channel = connect::channel(&connection).await?;
        let ready = connect::ready(&channel, &place.queue).await?;
        let publisher = Publisher::open(&connection).await?;
        Ok(Self {
            connection,
            passing,
            channel,
            publisher,
            queue: place.queue.clone(),
            last_return: nature.last_return(),
            ready,
            left: ready,
            consumer: None,
            prefetch: FIRST,
            unsettled: 0,
            waiting: VecDeque::new(),
            largest: 0,
            open: HashMap::new(),
            aside: Vec::new(),
        })
    }

    fn trouble(&self, error: &lapin::Error) -> Trouble {
        connect::trouble(error, Asked::Queue(&self.queue))
    }

    /// Begins a consumer where there is none, or another one where this one is full of what was left, or its bound does not
    /// fit the size of the messages.
    async fn consume(&mut self) -> Result<(), Trouble> {
        let fits = match self.largest {
            0 => FIRST,
            bytes => u16::try_from(MOST_BYTES / bytes).unwrap_or(MOST).clamp(2, MOST),
        };
        let is_full = self.unsettled > self.prefetch / 2;
        let is_unfit = fits >= self.prefetch.saturating_mul(4) || fits <= self.prefetch / 4;
        if self.consumer.is_some() && !is_full && !is_unfit {
            return Ok(());
        }
        self.end_consumer().await?;
        (self.prefetch, self.unsettled) = (fits, 0);
        let bound = self.channel.basic_qos(fits, BasicQosOptions::default()).await;
        bound.map_err(|error| self.trouble(&error))?;
        let (queue, options) = (wire::short(&self.queue), BasicConsumeOptions::default());
        let begun = self.channel.basic_consume(queue, "".into(), options, FieldTable::default()).await;
        self.consumer = Some(begun.map_err(|error| self.trouble(&error))?);
        Ok(())
    }

    /// Ends the consumer; what is on its way to us is kept.
    async fn end_consumer(&mut self) -> Result<(), Trouble> {
        let Some(mut consumer) = self.consumer.take() else { return Ok(()) };
        let ended = self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default()).await;
        ended.map_err(|error| self.trouble(&error))?;
        while let Some(Some(delivery)) = consumer.next().now_or_never() {
            self.waiting.push_back(delivery.map_err(|error| self.trouble(&error))?);
        }
        Ok(())
    }

    /// The next message; `None` where none comes within a time.
    async fn receive(&mut self, patience: std::time::Duration) -> Result<Option<Delivery>, Trouble> {
        if let Some(delivery) = self.waiting.pop_front() {
            return Ok(Some(delivery));
        }
        let Some(consumer) = &mut self.consumer else { return Ok(None) };
        let next = match tokio::time::timeout(patience, consumer.next()).await {
            Err(_) => return Ok(None),
            Ok(None) => return Err(Trouble::NoQueue(self.queue.clone())),
            Ok(Some(next)) => next,
        };
        let delivery = next.map_err(|error| connect::trouble(&error, Asked::Queue(&self.queue)))?;
        self.unsettled += 1;
        Ok(Some(delivery))
    }

    /// Puts a message that a return could lose to the end of the queue, as a copy.
    async fn save(&mut self, tag: u64, original: &Original) -> Result<(), Trouble> {
        match self.publisher.back_to(&self.queue, &original.properties, &original.body).await {
            Moved::Sent => self.acknowledge(tag).await,
            Moved::Kept(why) | Moved::Unknown(why) => {
                tracing::warn!(
                    queue = self.queue,
                    why,
                    "a message at its delivery limit is given back all the same"
                );
                self.aside.push(tag);
                Ok(())
            }
        }
    }

    async fn acknowledge(&mut self, tag: u64) -> Result<(), Trouble> {
        let done = self.channel.basic_ack(tag, BasicAckOptions::default()).await;
        self.unsettled = self.unsettled.saturating_sub(1);
        done.map_err(|error| self.trouble(&error))
    }

    /// Lays aside what was taken and not sent.
    async fn lay_aside(&mut self) -> Result<(), Trouble> {
        let mut left: Vec<(u64, Original)> = self.open.drain().collect();
        left.sort_unstable_by_key(|(tag, _)| *tag);
        for (tag, original) in left {
            if wire::returned(&original.properties) >= self.last_return && !original.altered {
                self.save(tag, &original).await?;
            } else {
                self.aside.push(tag);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Source for Taking {
    fn ready(&self) -> u64 {
        self.ready
    }

    async fn next(&mut self, most: usize) -> Result<Vec<Taken>, Trouble> {
        self.lay_aside().await?;
        self.largest = self.largest.min(MOST_BYTES);
        let (mut taken, mut bytes) = (Vec::new(), 0);
        let mut largest = 0;
        if self.left > 0 {
            self.consume().await?;
        }
        while self.left > 0 && taken.len() < most.min(usize::from(MOST / 2)) && bytes < MOST_BYTES {
            let patience = if taken.is_empty() { COMES } else { GATHER };
            let Some(mut delivery) = self.receive(patience).await? else { break };
            self.left -= 1;
            let letter = wire::letter(&mut delivery, &self.passing);
            bytes += letter.size;
            largest = largest.max(letter.size.max(1));
            let token = delivery.delivery_tag;
            let (properties, body) = (delivery.properties, letter.body.clone());
            self.open.insert(token, Original { properties, body, altered: letter.altered });
            taken.push(Taken { token, letter });
        }
        self.largest = if largest > 0 { largest } else { self.largest };
        Ok(taken)
    }

    async fn would(&mut self, copy: &Copy) -> Result<(), String> {
        if !copy.exchange.is_empty() {
            return self.publisher.exists(&self.connection, &copy.exchange).await;
        }
        let probe = connect::channel(&self.connection).await.map_err(|trouble| trouble.to_string())?;
        connect::ready(&probe, &copy.routing_key).await.map(drop).map_err(|trouble| trouble.to_string())
    }

    async fn send(&mut self, moves: Vec<Move>) -> Vec<Moved> {
        let mut answers: Vec<Option<Moved>> = Vec::with_capacity(moves.len());
        let mut going = Vec::new();
        for one in &moves {
            let exists = self.publisher.exists(&self.connection, &one.copy.exchange).await;
            match (exists, self.open.get(&one.token)) {
                (Err(why), _) => answers.push(Some(Moved::Kept(why))),
                (Ok(()), None) => answers.push(Some(Moved::Kept("it was not taken".to_owned()))),
                (Ok(()), Some(original)) => {
                    let body = one.copy.edit.body.as_deref().unwrap_or(&original.body);
                    going.push((&one.copy, wire::copy_of(&original.properties, &one.copy), body));
                    answers.push(None);
                }
            }
        }
        let mut sent = self.publisher.send(going).await.into_iter();
        let mut done = Vec::with_capacity(moves.len());
        for (one, answer) in moves.iter().zip(answers) {
            let answer =
                answer.or_else(|| sent.next()).unwrap_or(Moved::Unknown("it was not sent".to_owned()));
            if answer == Moved::Sent {
                self.open.remove(&one.token);
                // Where this fails the connection is gone, and the next step says so: the message may then be there twice.
                let _ = self.acknowledge(one.token).await;
            }
            done.push(answer);
        }
        done
    }

    async fn finish(mut self: Box<Self>) -> Result<(), Trouble> {
        self.lay_aside().await?;
        let ended = self.end_consumer().await;
        let on_the_way = self.waiting.iter().map(|delivery| delivery.delivery_tag);
        let mut tags: Vec<u64> = self.aside.iter().copied().chain(on_the_way).collect();
        tags.sort_unstable();
        for tag in tags {
            let given = self.channel.basic_nack(tag, wire::requeue()).await;
            given.map_err(|error| self.trouble(&error))?;
        }
        // The answer to this comes after all of the above was done.
        let closed = self.channel.close(200, "done".into()).await.map_err(|error| self.trouble(&error));
        connect::close(self.connection).await;
        ended.and(closed)
    }
}
