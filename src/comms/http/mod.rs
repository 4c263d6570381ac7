//! HTTP between services: a client for the services one calls, middleware for the routes one serves.
//!
//! | file | what lives there |
//! |---|---|
//! | `client.rs`, `call.rs` | [`ServiceHttpClient`] and one call of it, with its tries |
//! | `transport.rs` | [`Transport`]: HTTP/2, and how large bodies may be |
//! | `error.rs` | [`CallError`]: what a failed call tells |
//! | `address.rs` | where a client's calls go |
//! | `span.rs` | the CLIENT span of one try |
//! | `attributes.rs` | what both sides of a request say in the same words |
//! | `redact.rs` | URLs without their secrets |
//! | `server.rs` | [`instrument`]: spans, metrics and correlation ID of the routes one serves |
//! | `versions.rs` | [`Deprecated`]: an interface that will end says so |
//! | `validate.rs` | [`RequestSchema`]: requests held against a JSON Schema |
//! | `problem.rs` | [`Problem`]: answers that say what is wrong, as `application/problem+json` |

pub(in crate::comms) mod address;
pub(in crate::comms) mod attributes;
mod call;
pub mod client;
pub mod error;
pub mod problem;
pub(in crate::comms) mod redact;
pub mod server;
pub(in crate::comms) mod span;
pub mod transport;
pub mod validate;
pub mod versions;

pub use call::Call;
pub use client::ServiceHttpClient;
pub use error::{CallError, CallErrorKind};
pub use problem::Problem;
pub use server::instrument;
pub use transport::Transport;
pub use validate::RequestSchema;
pub use versions::Deprecated;
