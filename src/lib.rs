//! Throughline: follow one request through every service, call, message and breaker that it touched.
//!
//! The map of the house. Data flows one way through the dashboard:
//! `receive → model → store → query → view`. The demo shop is built on the toolkit and never on the
//! dashboard. `tests/layers.rs` reads the imports and holds these rules; `docs/ARCHITECTURE.md` draws them.
//!
//! | module | feature | what lives there |
//! |---|---|---|
//! | [`config`] | | settings, one file a concern; the only reader of the environment |
//! | [`telemetry`] | `comms` | our own traces, metrics and logs; the only user of the OpenTelemetry SDK |
//! | [`amqp`] | `amqp` | the way to a RabbitMQ, for the toolkit and the dashboard: TLS, and a screen before the client |
//! | [`comms`] | `comms` | the toolkit: correlation, HTTP client and server, gRPC, messages, retry; its names always |
//! | [`demo`] | `demo` | the demo shop: eight services, their load, their supervisor |
//! | [`load`] | `load` | the load generator: made-up traces for any receiver |
//! | [`dashboard`] | `dashboard` | receiver, store, queries and pages |
//! | [`cli`] | all | one file a command |

pub mod config;

#[cfg(feature = "amqp")]
pub mod amqp;
pub mod comms;
#[cfg(feature = "comms")]
pub mod telemetry;

#[cfg(feature = "demo")]
pub mod demo;

#[cfg(feature = "load")]
pub mod load;

#[cfg(feature = "dashboard")]
pub mod dashboard;

#[cfg(all(feature = "dashboard", feature = "demo", feature = "load"))]
pub mod cli;
