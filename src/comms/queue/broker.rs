//! What a broker is to a service, whichever product it is.
//!
//! The trait is small on purpose: what RabbitMQ, the embedded broker and a test can all keep. Spans, retries
//! and context are made above it, in [`super::publisher`] and [`super::consumer`], so they are the same on all.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::message::Message;

/// Larger bodies are refused, in bytes: messages are to be light.
pub const MAX_BODY: usize = 1024 * 1024;
/// The most that names and values of a message's headers may have together, in bytes: they travel in one frame.
pub const MAX_HEADERS: usize = 32 * 1024;
/// The longest name of an exchange, a queue or a header, and the longest routing key, message ID and type: what a
/// short string of AMQP 0-9-1 holds, in bytes.
pub const MAX_NAME: usize = 255;

/// What can go wrong between a service and its broker.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("there is no exchange `{0}`")]
    NoExchange(String),
    #[error("there is no queue `{0}`")]
    NoQueue(String),
    /// A mandatory publish that no binding matched: nothing was kept.
    #[error("no queue is bound to exchange `{exchange}` for routing key `{routing_key}`")]
    Unroutable { exchange: String, routing_key: String },
    /// The delivery took too long and was given to another consumer.
    #[error("the lease on message {0} was lost")]
    LeaseLost(String),
    #[error("the message has {size} bytes, above the limit of {limit}")]
    TooLarge { size: usize, limit: usize },
    /// A part of a message, an address or a name that no broker carries.
    #[error("{what} {why}")]
    Invalid { what: &'static str, why: String },
    /// An exchange or a queue is there already, and is another than what is declared.
    #[error("`{name}` is there already with other settings: {reason}; delete it or declare it as it is")]
    Conflict { name: String, reason: String },
    /// The broker does not let this user do it, or not in with this password.
    #[error("the broker refuses: {0}")]
    Denied(String),
    #[error("the file is not a broker's of this version: {0}")]
    Incompatible(String),
    /// The broker cannot be reached or cannot write; the same may work later.
    #[error("the broker is not available: {0}")]
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
}

impl BrokerError {
    /// The value of `error.type`, low in cardinality.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NoExchange(_) => "no_exchange",
            Self::NoQueue(_) => "no_queue",
            Self::Unroutable { .. } => "unroutable",
            Self::LeaseLost(_) => "lease_lost",
            Self::TooLarge { .. } => "too_large",
            Self::Invalid { .. } => "invalid",
            Self::Conflict { .. } => "conflict",
            Self::Denied(_) => "denied",
            Self::Incompatible(_) => "incompatible",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

/// Refuses what no broker may be asked to carry.
pub(super) fn check(exchange: &str, routing_key: &str, message: &Message) -> Result<(), BrokerError> {
    let size = message.body.len();
    if size > MAX_BODY {
        return Err(BrokerError::TooLarge { size, limit: MAX_BODY });
    }
    check_name("the name of the exchange", exchange)?;
    check_name("the routing key", routing_key)?;
    check_name("the message's ID", &message.id)?;
    check_name("the message's type", &message.kind)?;
    check_name("the content type", &message.content_type)?;
    for name in message.headers.keys() {
        check_name("the name of a header", name)?;
    }
    let headers = message.headers.iter().map(|(name, value)| name.len() + value.len());
    let together = headers.sum::<usize>() + message.causation_id.as_ref().map_or(0, String::len);
    if together > MAX_HEADERS {
        let why = format!("have {together} bytes together, above the limit of {MAX_HEADERS}");
        return Err(BrokerError::Invalid { what: "the headers", why });
    }
    Ok(())
}

/// Refuses a name that is too long.
pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), BrokerError> {
    if name.len() <= MAX_NAME {
        return Ok(());
    }
    let why = format!("has {} bytes, above the limit of {MAX_NAME}", name.len());
    Err(BrokerError::Invalid { what, why })
}

/// A durable queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueSpec {
    pub name: String,
    /// Deliveries after which a message is dead-lettered whatever its consumer wishes; the last defence against
    /// one that kills its consumer.
    pub max_deliveries: u32,
    /// Where dead letters go; without one they are dropped, as with RabbitMQ.
    pub dead_letter_queue: Option<String>,
    /// The oldest messages make room above this many.
    pub max_length: Option<u32>,
}

impl QueueSpec {
    /// A queue with ten deliveries, no dead-letter queue and no limit of length.
    pub fn durable(name: &str) -> Self {
        Self { name: name.to_owned(), max_deliveries: 10, dead_letter_queue: None, max_length: None }
    }

    pub fn max_deliveries(self, max_deliveries: u32) -> Self {
        Self { max_deliveries, ..self }
    }

    pub fn dead_letters_to(self, queue: &str) -> Self {
        Self { dead_letter_queue: Some(queue.to_owned()), ..self }
    }

    pub fn max_length(self, messages: u32) -> Self {
        Self { max_length: Some(messages), ..self }
    }
}

/// How full a queue is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    pub name: String,
    /// Could be delivered now.
    pub ready: u64,
    /// With a consumer, not settled yet.
    pub unsettled: u64,
    /// Waiting for the end of a retry's delay.
    pub delayed: u64,
}

/// How a consumer ends a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done; the message is gone.
    Ack,
    /// Again after the delay. The message's headers become those given here.
    Retry { delay: Duration, headers: std::collections::BTreeMap<String, String> },
    /// Not again; to the queue's dead letters.
    DeadLetter { reason: String },
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    Acked,
    /// Back in the queue named here.
    Retried {
        queue: String,
    },
    /// In the dead-letter queue named here, or dropped where the queue has none.
    DeadLettered {
        queue: Option<String>,
    },
}

/// One message with one consumer. Dropped unsettled, it is delivered again, as after a crash.
pub struct Delivery {
    pub message: Message,
    pub exchange: String,
    pub routing_key: String,
    pub queue: String,
    /// 1 for the first.
    pub number: u32,
    pub(crate) settle: Box<dyn Settle>,
}

impl Delivery {
    /// # Errors
    /// The broker is away, or the delivery's lease was lost; the message will be delivered again.
    pub async fn settle(self, outcome: Outcome) -> Result<Settled, BrokerError> {
        self.settle.settle(outcome).await
    }

    /// # Errors
    /// As [`Self::settle`].
    pub async fn ack(self) -> Result<(), BrokerError> {
        self.settle(Outcome::Ack).await.map(drop)
    }

    /// # Errors
    /// As [`Self::settle`].
    pub async fn retry(self, delay: Duration) -> Result<Settled, BrokerError> {
        let headers = self.message.headers.clone();
        self.settle(Outcome::Retry { delay, headers }).await
    }

    /// # Errors
    /// As [`Self::settle`].
    pub async fn dead_letter(self, reason: &str) -> Result<Settled, BrokerError> {
        self.settle(Outcome::DeadLetter { reason: reason.to_owned() }).await
    }
}

/// The broker's side of ending a delivery.
pub trait Settle: Send + Sync {
    fn settle(self: Box<Self>, outcome: Outcome) -> BoxFuture<'static, Result<Settled, BrokerError>>;
}

/// The deliveries of one consumer.
pub trait Deliveries: Send {
    /// Waits for the next one, and for room where as many as the prefetch are unsettled. Dropping the future
    /// loses nothing.
    fn next(&mut self) -> BoxFuture<'_, Result<Delivery, BrokerError>>;
}

/// A message broker. Everything declared is durable, and declaring again is not an error.
pub trait Broker: Send + Sync + 'static {
    /// The value of `messaging.system`.
    fn system(&self) -> &'static str;

    /// Host and port, where there is a server: the values of `server.address` and `server.port`.
    fn server(&self) -> Option<(&str, u16)> {
        None
    }

    /// # Errors
    /// In general [`BrokerError::Unavailable`], here and below.
    fn declare_exchange<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<(), BrokerError>>;

    /// # Errors
    /// See [`BrokerError`].
    fn declare_queue<'a>(&'a self, spec: &'a QueueSpec) -> BoxFuture<'a, Result<(), BrokerError>>;

    /// Sends what is published to `exchange` with a key that matches `pattern` to `queue`.
    ///
    /// # Errors
    /// Exchange or queue do not exist.
    fn bind<'a>(
        &'a self,
        exchange: &'a str,
        pattern: &'a str,
        queue: &'a str,
    ) -> BoxFuture<'a, Result<(), BrokerError>>;

    /// Publishes, mandatory and confirmed: success means that at least one queue has it durably.
    ///
    /// # Errors
    /// No such exchange, no queue bound for the key, too large, or not kept for certain.
    fn publish<'a>(
        &'a self,
        exchange: &'a str,
        routing_key: &'a str,
        message: &'a Message,
    ) -> BoxFuture<'a, Result<(), BrokerError>>;

    /// Becomes a consumer of a queue, with at most `prefetch` deliveries unsettled.
    ///
    /// # Errors
    /// No such queue.
    fn consume<'a>(
        &'a self,
        queue: &'a str,
        prefetch: usize,
    ) -> BoxFuture<'a, Result<Box<dyn Deliveries>, BrokerError>>;

    /// Ends the connection in order. What is not settled by then is delivered again, to whoever consumes.
    fn close(&self) -> BoxFuture<'_, ()>;

    /// Queues by name: all of them, or as many as a broker tells of to one who may only send and receive.
    ///
    /// # Errors
    /// See [`BrokerError`].
    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueStats>, BrokerError>>;
}
