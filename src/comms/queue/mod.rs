//! Messages between services: topic exchanges, durable queues, consumers that retry and give up in order.
//!
//! ```text
//! Publisher ──▶ exchange ──(bindings, topic wildcards)──▶ queue ──▶ Consumer ──▶ ack
//!                                                          ▲           │ retry, after a delay
//!                                                          └───────────┤
//!                                                 dead-letter queue ◀──┘ dead letter, with the reason
//! ```
//!
//! | module | what lives there |
//! |---|---|
//! | [`broker`] | the `Broker` trait and what it speaks of: specs, deliveries, settlements, errors |
//! | [`message`] | a message: identity, type, version, correlation, causation, headers, body |
//! | [`topic`] | the wildcards of a binding |
//! | [`publisher`] | sending, with a PRODUCER span and the context in the headers |
//! | [`consumer`] | the handling loop, with a CONSUMER span per delivery and the retry policy |
//! | [`contract`] | which types and versions a consumer takes: JSON Schemas, and the way from old versions to the newest |
//! | [`depth`] | how many messages wait, as metrics |
//! | [`outbox`] | sending what belongs to a change of state: both happen or neither |
//! | [`inbox`] | handling a message that is delivered twice once |
//! | `given_up` | what is said of messages that no handler handles |
//! | [`embedded`] | a broker on one SQLite file, durable and shared between processes |
//! | [`rabbitmq`] | RabbitMQ, 3.10 or newer |
//! | `kafka` | Kafka, with the Cargo feature of that name |
//!
//! What must not live here: what a message means. Handlers are the services' own.

pub mod broker;
pub mod consumer;
pub mod contract;
pub mod depth;
pub mod embedded;
mod given_up;
pub mod inbox;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod message;
pub mod outbox;
mod process_span;
pub mod publisher;
pub mod rabbitmq;
pub mod topic;

pub use broker::{Broker, BrokerError, Delivery, Outcome, QueueSpec, QueueStats, Settled};
pub use consumer::{Consumer, Failure, Received, RetryPolicy};
pub use contract::Contracts;
pub use embedded::EmbeddedBroker;
#[cfg(feature = "kafka")]
pub use kafka::KafkaBroker;
pub use message::Message;
pub use publisher::Publisher;
pub use rabbitmq::RabbitMqBroker;
