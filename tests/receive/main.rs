//! The receivers from the wire: each protocol, good input and bad, senders who are slow, hostile or too many.
#![cfg(unix)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../process/mod.rs"]
mod process;

#[cfg(target_os = "linux")]
mod bad_input;
mod exports;
mod grpc;
mod http;
mod http2;
mod overload;
mod slow_clients;
mod zipkin;
