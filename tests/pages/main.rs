//! The pages and their JSON from the socket: what came in by OTLP, from a real RabbitMQ or from the embedded broker is asked for
//! as a browser and a program would. How pages look and behave in a browser is in `browser.rs`.
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../process/mod.rs"]
mod process;

mod breakers;
mod calls;
mod documents;
mod keys;
mod map;
mod messages;
mod metrics;
mod operate;
mod overview;
mod queues;
mod rates;
mod rates_support;
mod scenarios;
mod search;
