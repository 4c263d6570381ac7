//! The toolkit and the demo shop on real brokers. One RabbitMQ and one Kafka serve all of these tests; those that end a
//! RabbitMQ and start it again are in `comms_rabbitmq_faults.rs`.
#![cfg(unix)]

#[macro_use]
#[path = "../broker_contract/mod.rs"]
mod broker_contract;
#[path = "../common/mod.rs"]
mod common;
#[path = "../demo_support/mod.rs"]
mod demo_support;

#[cfg(feature = "kafka")]
mod demo_kafka;
mod demo_rabbitmq;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "kafka")]
mod lag;
mod rabbitmq;
mod server;
