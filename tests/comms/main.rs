//! The communication toolkit through its public doors, without a server of anybody else: calls, messages on the embedded broker
//! and the one in memory, resilience, security, the gateway. What needs a RabbitMQ or a Kafka is in `tests/brokers`.

#[macro_use]
#[path = "../broker_contract/mod.rs"]
mod broker_contract;
#[path = "../common/mod.rs"]
mod common;

mod breaker;
mod bus;
mod calls;
mod consumer;
mod contract;
mod correlation;
mod embedded_broker;
mod examples;
mod gateway;
mod grpc;
mod lines;
mod measured;
mod memory_broker;
mod outbox;
mod refused;
mod resilience;
mod rest;
mod security;
mod testing;
mod versions;
