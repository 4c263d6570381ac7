//! What acts on messages: looks into queues, redrives dead letters, publishes copies, purges.
//!
//! Everything else of the dashboard only looks; this is the one room that changes something at a broker, and only at one that
//! the settings name. Each deed is written into the audit before it is done ([`desk`]).
//!
//! * [`letter`]: a message as it was taken, and where its headers say that it came from and died.
//! * [`order`]: which messages are meant, where they are to go and what is to be changed in them.
//! * [`desk`]: who may do what was asked before; here it is written down, done, and its end is added.
//! * [`job`]: redrives that are under way or done; [`run`]: how one goes. [`kept`]: messages that somebody looks at.
//! * [`refused`]: attempts of those who may not. [`address`]: brokers in the settings; [`amqp`] and [`embedded`]: how each is spoken to, behind [`Hands`].
//!
//! What must not live here: HTML, roles (the pages ask for those), what telemetry says of messages.

pub mod address;
mod amqp;
pub mod desk;
mod embedded;
pub mod job;
pub mod kept;
pub mod letter;
pub mod order;
mod refused;
mod run;

use async_trait::async_trait;

pub use address::{Brokers, WrongAddress};
pub use desk::Desk;
use letter::Letter;
use order::{Copy, Nature};

use super::store::StoreError;
use crate::amqp::Way;

/// Messages that are published together, and taken away together once the broker has all of them: what a kill in the middle
/// can leave in both places.
pub const BATCH: usize = 128;

/// Which queue of which broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The name in the settings.
    pub broker: String,
    pub virtual_host: String,
    pub queue: String,
}

/// Why something was not done. Each text is for a person, names what to do, and holds no password.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Trouble {
    /// The settings name no way to act on this broker.
    #[error("{0}")]
    NoHands(String),
    /// The broker cannot be reached, does not want us, or was lost on the way.
    #[error("{0}")]
    Away(String),
    /// There is no such queue, or no more.
    #[error("there is no queue “{0}” at the broker any more")]
    NoQueue(String),
    /// It would do harm, or cannot be done to this queue.
    #[error("{0}")]
    Refused(String),
    /// What was asked for makes no sense; the text names the field.
    #[error("{0}")]
    Invalid(String),
    /// The audit cannot be written, so nothing is done.
    #[error("nothing was done, because it cannot be written down: {0}")]
    Audit(#[from] StoreError),
}

/// A message that was taken out of its queue for now.
#[derive(Debug)]
pub struct Taken {
    /// Names it to the [`Source`] it came from.
    pub token: u64,
    pub letter: Letter,
}

/// A copy of a taken message, to be published in its place.
#[derive(Debug)]
pub struct Move {
    pub token: u64,
    pub copy: Copy,
}

/// What became of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// The broker has it, and the original is gone.
    Sent,
    /// It was not taken, and the original is where it was; why.
    Kept(String),
    /// Nobody knows whether the broker had it when the connection was lost; the original is where it was.
    Unknown(String),
}

/// One broker.
#[async_trait]
pub trait Hands: Send + Sync {
    /// The name in the settings.
    fn broker(&self) -> &str;

    /// How it is reached over AMQP, where it is a RabbitMQ.
    fn way(&self) -> Option<&Way> {
        None
    }

    /// Whether a look changes nothing at all.
    fn looks_are_free(&self) -> bool {
        false
    }

    /// Looks at the first messages of a queue and gives them back.
    async fn peek(&self, place: &Place, nature: &Nature, look: &Look) -> Result<Vec<Letter>, Trouble>;

    /// Begins to take messages out.
    async fn open(&self, place: &Place, nature: &Nature) -> Result<Box<dyn Source>, Trouble>;

    /// Publishes one message and waits until the broker has it.
    async fn publish(&self, place: &Place, letter: &Letter, copy: &Copy) -> Result<(), Trouble>;

    /// Removes all messages that are ready; gives how many.
    async fn purge(&self, place: &Place) -> Result<u64, Trouble>;
}

/// How to look into a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// Messages at most, 1 to 200.
    pub count: usize,
    /// Of a stream: `first`, `last`, `next` or an offset.
    pub offset: String,
    /// Whether it may count as a delivery.
    pub accepts_count: bool,
}

/// A queue that messages are taken from. Those that are neither sent nor given back when it is dropped go back too, as after
/// a crash.
#[async_trait]
pub trait Source: Send {
    /// Messages that were ready when it was opened: no more than these are taken.
    fn ready(&self) -> u64;

    /// The next messages, in order; none where there are no more. Those taken before and not sent stay in the queue.
    async fn next(&mut self, most: usize) -> Result<Vec<Taken>, Trouble>;

    /// What would become of a copy, as far as that is known without sending it.
    async fn would(&mut self, copy: &Copy) -> Result<(), String>;

    /// Publishes copies, waits until the broker has them, and takes the originals of those away that it has. The answers are in
    /// the order of `moves`.
    async fn send(&mut self, moves: Vec<Move>) -> Vec<Moved>;

    /// Gives back what was not sent.
    async fn finish(self: Box<Self>) -> Result<(), Trouble>;
}
