//! A RabbitMQ over AMQP 0-9-1: a connection for each deed, made for it and closed after it.
//!
//! * [`connect`]: making one, and what its errors mean; [`wire`]: messages as AMQP carries them.
//! * [`publish`]: sending with confirms; [`source`]: taking from a queue; this file: the rest.

mod connect;
mod publish;
mod source;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicGetOptions, BasicQosOptions, QueuePurgeOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection};

use super::letter::Letter;
use super::order::{Copy, Nature};
use super::{Hands, Look, Moved, Place, Source, Trouble};
use crate::amqp::{Passing, Way};
use connect::Asked;
use publish::Publisher;
use source::Taking;

/// Of a body that somebody looks at, in bytes.
const PREVIEW: usize = 64 << 10;
/// Bytes of bodies that one look may move.
const MOST_MOVED: u64 = 256 << 20;
/// How long a stream or a queue may be silent before there is nothing more.
const SILENCE: Duration = Duration::from_secs(2);

/// A RabbitMQ.
pub struct Amqp {
    name: String,
    way: Way,
    /// The one virtual host that the settings name; any where they name none.
    only: Option<String>,
}

impl Amqp {
    pub(super) fn new(name: String, way: Way, only: Option<String>) -> Self {
        Self { name, way, only }
    }

    /// A connection, and what is told of the messages that come over it: bodies come whole.
    async fn connect(&self, place: &Place) -> Result<(Connection, Passing), Trouble> {
        if let Some(only) = self.only.as_ref().filter(|only| **only != place.virtual_host) {
            return Err(Trouble::NoHands(format!(
                "--rabbitmq-amqp of “{}” is for the virtual host “{only}” alone; leave it out there to act on all",
                self.name
            )));
        }
        let passing = Passing::told(u64::MAX);
        let connection = connect::connect(&self.name, &self.way, &place.virtual_host, &passing).await?;
        Ok((connection, passing))
    }
}

#[async_trait]
impl Hands for Amqp {
    fn broker(&self) -> &str {
        &self.name
    }

    fn way(&self) -> Option<&Way> {
        Some(&self.way)
    }

    async fn peek(&self, place: &Place, nature: &Nature, look: &Look) -> Result<Vec<Letter>, Trouble> {
        let (connection, passing) = self.connect(place).await?;
        let channel = connect::channel(&connection).await?;
        // Of a queue that is gone nobody tells what kind it was either: that it is gone says more.
        let ready = connect::ready(&channel, &place.queue).await?;
        if let Err(refused) = may_look(nature, look) {
            connect::close(connection).await;
            return Err(refused);
        }
        let letters = if nature.is("stream") {
            read_stream(&channel, place, look, &passing).await
        } else {
            // No more than there are: what is put to the end as a copy is not to be met again.
            let count = look.count.min(usize::try_from(ready).unwrap_or(usize::MAX));
            get_and_give_back(&connection, &channel, (place, nature), count, &passing).await
        };
        connect::close(connection).await;
        letters
    }

    async fn open(&self, place: &Place, nature: &Nature) -> Result<Box<dyn Source>, Trouble> {
        if nature.is("stream") {
            return Err(Trouble::Refused(
                "a stream keeps its messages until they are old, so none can be taken out; publish copies instead".into(),
            ));
        }
        let (connection, passing) = self.connect(place).await?;
        Ok(Box::new(Taking::open(connection, passing, place, nature).await?))
    }

    async fn publish(&self, place: &Place, letter: &Letter, copy: &Copy) -> Result<(), Trouble> {
        let (connection, _) = self.connect(place).await?;
        let mut publisher = Publisher::open(&connection).await?;
        let sent = match publisher.exists(&connection, &copy.exchange).await {
            Ok(()) => {
                let body = copy.edit.body.as_deref().unwrap_or(&letter.body);
                let properties = wire::copy_of(&wire::properties(letter), copy);
                publisher.send(vec![(copy, properties, body)]).await.pop()
            }
            Err(why) => Some(Moved::Kept(why)),
        };
        connect::close(connection).await;
        match sent {
            Some(Moved::Sent) => Ok(()),
            Some(Moved::Kept(why)) => Err(Trouble::Refused(why)),
            Some(Moved::Unknown(why)) => Err(Trouble::Away(why)),
            None => Err(Trouble::Away("nothing was sent".into())),
        }
    }

    async fn purge(&self, place: &Place) -> Result<u64, Trouble> {
        let (connection, _) = self.connect(place).await?;
        let channel = connect::channel(&connection).await?;
        connect::ready(&channel, &place.queue).await?;
        let purged = channel.queue_purge(wire::short(&place.queue), QueuePurgeOptions::default()).await;
        let purged =
            purged.map(u64::from).map_err(|error| connect::trouble(&error, Asked::Queue(&place.queue)));
        connect::close(connection).await;
        purged
    }
}

/// Refuses a look that counts as a delivery, unless that was accepted.
fn may_look(nature: &Nature, look: &Look) -> Result<(), Trouble> {
    if look.accepts_count {
        return Ok(());
    }
    match (nature.kind.as_deref(), nature.delivery_limit) {
        (Some("quorum"), Some(limit)) => Err(Trouble::Refused(format!(
            "this is a quorum queue with a delivery limit of {limit}: each look puts messages to the back and counts as one of \
             those deliveries; say that it may count, and look at as few as you need"
        ))),
        (None, _) => Err(Trouble::Refused(
            "nobody tells what kind of queue this is, and a look may count towards a delivery limit: start Throughline with \
             --rabbitmq-api, or say that it may count"
                .into(),
        )),
        _ => Ok(()),
    }
}

/// basic.get, one after the other, and all of it given back at the end.
async fn get_and_give_back(
    connection: &Connection,
    channel: &Channel,
    (place, nature): (&Place, &Nature),
    count: usize,
    passing: &Passing,
) -> Result<Vec<Letter>, Trouble> {
    let (mut letters, mut tags, mut moved) = (Vec::new(), Vec::new(), 0);
    let lost = |error: lapin::Error| connect::trouble(&error, Asked::Queue(&place.queue));
    while letters.len() < count && moved < MOST_MOVED {
        let got =
            channel.basic_get(wire::short(&place.queue), BasicGetOptions::default()).await.map_err(lost)?;
        let Some(got) = got else { break };
        let mut delivery: Delivery = got.delivery;
        let (tag, letter) = (delivery.delivery_tag, wire::letter(&mut delivery, passing));
        moved += letter.size;
        // No copy is like one that was altered on its way: it goes back, as it would have to at the latest now.
        if letter.returned() >= nature.last_return() && !letter.altered {
            // Given back once more it could be gone: a copy takes its place.
            save(connection, place, &delivery, &letter).await?;
            channel.basic_ack(tag, BasicAckOptions::default()).await.map_err(lost)?;
        } else {
            tags.push(tag);
        }
        letters.push(letter.cut(PREVIEW));
    }
    for tag in tags {
        channel.basic_nack(tag, wire::requeue()).await.map_err(lost)?;
    }
    // The answer to this comes after all of the above was done.
    channel.close(200, "looked".into()).await.map_err(lost)?;
    Ok(letters)
}

/// Puts a copy of a message to the end of its queue.
async fn save(
    connection: &Connection,
    place: &Place,
    delivery: &Delivery,
    letter: &Letter,
) -> Result<(), Trouble> {
    let mut publisher = Publisher::open(connection).await?;
    match publisher.back_to(&place.queue, &delivery.properties, &letter.body).await {
        Moved::Sent => Ok(()),
        Moved::Kept(why) | Moved::Unknown(why) => Err(Trouble::Refused(format!(
            "a message is at its delivery limit and no copy can be kept: {why}"
        ))),
    }
}

/// Reads a stream from an offset on; nothing is taken out of it.
async fn read_stream(
    channel: &Channel,
    place: &Place,
    look: &Look,
    passing: &Passing,
) -> Result<Vec<Letter>, Trouble> {
    let lost = |error: lapin::Error| connect::trouble(&error, Asked::Queue(&place.queue));
    let offset = match look.offset.as_str() {
        word @ ("first" | "last" | "next") => AMQPValue::LongString(word.into()),
        number => AMQPValue::LongLongInt(
            number
                .parse()
                .map_err(|_| Trouble::Invalid("“offset” is first, last, next or a whole number".into()))?,
        ),
    };
    let mut arguments = FieldTable::default();
    arguments.insert("x-stream-offset".into(), offset);
    let prefetch = u16::try_from(look.count).unwrap_or(u16::MAX);
    channel.basic_qos(prefetch, BasicQosOptions::default()).await.map_err(lost)?;
    let (queue, options) = (wire::short(&place.queue), BasicConsumeOptions::default());
    let mut consumer = channel.basic_consume(queue, "".into(), options, arguments).await.map_err(lost)?;
    let (mut letters, mut moved) = (Vec::new(), 0);
    while letters.len() < look.count && moved < MOST_MOVED {
        match tokio::time::timeout(SILENCE, consumer.next()).await {
            Err(_) | Ok(None) => break,
            Ok(Some(delivery)) => {
                let letter = wire::letter(&mut delivery.map_err(lost)?, passing);
                moved += letter.size;
                letters.push(letter.cut(PREVIEW));
            }
        }
    }
    Ok(letters)
}
