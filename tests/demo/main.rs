//! The demo shop on its embedded broker, as the processes that a user starts. On real brokers it is in `tests/brokers`.
#![cfg(unix)]

#[path = "../demo_support/mod.rs"]
mod demo_support;

#[cfg(target_os = "linux")]
mod analytics;
mod bank;
mod flow;
mod gateway;
mod interfaces;
mod inventory;
mod messages;
mod outage;
#[cfg(target_os = "linux")]
mod saga;
#[cfg(target_os = "linux")]
mod scenarios;
mod security;
mod users;
