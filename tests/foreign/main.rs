//! Services of other languages that send what their own libraries make of it; `scripts/prepare` fetches those. What the pages show
//! is the test.
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../process/mod.rs"]
mod process;

mod breakers;
mod exporters;
mod messages;
mod services;
mod zipkin;
