//! Queues as a broker's management interface tells of them, and the names under which their figures are kept.
//!
//! Figures over time are series under the names that the OpenTelemetry Collector's RabbitMQ receiver uses, so that what it
//! sends and what is collected here are read alike. What a queue *is* (its type, arguments, where it dead-letters) is no
//! series: it is known while the broker is asked.

use super::Nanos;

/// Messages by [`STATE`]: `ready`, `unacknowledged`, and `delayed` of brokers that tell it apart.
pub const CURRENT: &str = "rabbitmq.message.current";
pub const CONSUMERS: &str = "rabbitmq.consumer.count";
pub const PUBLISHED: &str = "rabbitmq.message.published";
pub const DELIVERED: &str = "rabbitmq.message.delivered";
pub const ACKNOWLEDGED: &str = "rabbitmq.message.acknowledged";

/// The attribute of [`CURRENT`].
pub const STATE: &str = "state";
/// What a queue is told apart by; of a resource where the Collector sends it, of the series here.
pub const QUEUE: &str = "rabbitmq.queue.name";
pub const VIRTUAL_HOST: &str = "rabbitmq.vhost.name";
pub const NODE: &str = "rabbitmq.node.name";
/// The broker's name, where it is not the node's: in the settings, or of a broker that is no RabbitMQ. Ours.
pub const BROKER: &str = "throughline.broker";

/// Which kind of broker a queue is of, where it is not RabbitMQ or alike, and that of Kafka. Never sent, set where series are read.
pub const SYSTEM: &str = "messaging.system";
pub const KAFKA: &str = "kafka";

/// A broker that is asked, and what it told last.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerStatus {
    pub name: String,
    /// Where it is asked, without user and password.
    pub address: String,
    /// When it answered last.
    pub reached: Option<Nanos>,
    /// Why it does not answer, and since when.
    pub failing: Option<(String, Nanos)>,
    /// Queues beyond the limit, of which nothing is kept.
    pub left_out: usize,
    /// As of `reached`.
    pub queues: Vec<QueueFacts>,
}

impl BrokerStatus {
    /// Of one that was not asked yet.
    pub fn new(name: String, address: String) -> Self {
        Self { name, address, reached: None, failing: None, left_out: 0, queues: Vec::new() }
    }
}

/// What a queue is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueueFacts {
    pub virtual_host: String,
    pub name: String,
    /// `classic`, `quorum`, `stream`.
    pub kind: Option<String>,
    pub node: Option<String>,
    /// `running`, `flow`, `down`.
    pub state: Option<String>,
    pub durable: Option<bool>,
    pub exclusive: Option<bool>,
    pub auto_delete: Option<bool>,
    /// Name of the policy that holds.
    pub policy: Option<String>,
    /// Arguments of the declaration, as text.
    pub arguments: Vec<(String, String)>,
    /// Exchange, empty for the default one, and routing key where it is set anew.
    pub dead_letters: Option<(String, Option<String>)>,
    /// The queues that its dead letters come to, as far as bindings tell.
    pub dead_letter_queues: Vec<String>,
    /// It holds messages for a time and passes them on: a queue of delays, with no consumer of its own.
    pub delays: bool,
    /// Other queues dead-letter into it.
    pub takes_dead_letters: bool,
    /// Messages that it takes at most.
    pub limit: Option<u64>,
    /// Returns of a message after which a quorum queue gives it up.
    pub delivery_limit: Option<u64>,
    /// The figures, as of the answer; `None` where the broker did not say.
    pub ready: Option<u64>,
    pub unacknowledged: Option<u64>,
    pub consumers: Option<u64>,
    pub published: Option<u64>,
    pub delivered: Option<u64>,
    pub acknowledged: Option<u64>,
}

/// What a broker says of one queue beyond its figures, asked while somebody looks at it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueueDetail {
    /// When it was asked.
    pub asked: Nanos,
    /// When the message at its head was published, where the publisher said so and the queue's type tells.
    pub head: Option<Nanos>,
    /// At most [`MOST_LISTED`], and how many there are.
    pub consumers: Vec<Consumer>,
    pub all_consumers: usize,
    /// Bindings that lead into it, without that of the default exchange; at most [`MOST_LISTED`], and how many there are.
    pub bindings: Vec<Bound>,
    pub all_bindings: usize,
}

/// Consumers and bindings of one queue that are told.
pub const MOST_LISTED: usize = 50;

/// Who takes from a queue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Consumer {
    pub tag: String,
    /// Name of the channel, with the connection's address.
    pub channel: Option<String>,
    pub user: Option<String>,
    /// Messages that it takes before it has to acknowledge one; 0 is without limit.
    pub prefetch: Option<u64>,
    /// Whether it acknowledges what it takes.
    pub acknowledges: Option<bool>,
    pub active: Option<bool>,
}

/// A binding into a queue.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bound {
    pub exchange: String,
    pub key: String,
    /// Of a headers exchange: what has to fit, as text.
    pub arguments: Vec<(String, String)>,
}
