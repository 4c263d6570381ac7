//! For tests of services that are built on the toolkit: a broker in memory, and a layer that lets calls fail.
//!
//! | part | what it is for |
//! |---|---|
//! | [`memory_broker`] | messages without a server and without a file, with the whole contract of a [`Broker`](super::queue::Broker) |
//! | [`LosableBroker`] | a broker before another, whose connection can be cut and mended |
//! | [`Faults`] | a tower layer around any client or service: late, failed, every so many calls, on and off while it runs |
//!
//! Assertions over spans and metrics are in [`crate::telemetry::testing`], since they need the OpenTelemetry SDK, and the toolkit does
//! without it. `examples/testing.rs` puts most of them to use.

mod faults;
mod losable;

pub use faults::{Faults, Injected};
pub use losable::LosableBroker;

use crate::comms::queue::{BrokerError, EmbeddedBroker};

/// A broker of its own in memory; what is in it is gone with its last clone. All who are to meet share clones: there is
/// no address to find it by.
///
/// Leases are short, so that what a test drops unsettled comes again within a second.
///
/// # Errors
/// SQLite cannot be set up.
pub async fn memory_broker() -> Result<EmbeddedBroker, BrokerError> {
    EmbeddedBroker::in_memory(std::time::Duration::from_millis(500)).await
}
