//! HTTP between services: a client for the services one calls, middleware for the routes one serves.
//!
//! | file | what lives there |
//! |---|---|
//! | `client.rs`, `call.rs` | [`ServiceHttpClient`] and one call of it, with its tries |
//! | `transport.rs` | [`Transport`]: HTTP/2, and how large bodies may be |
//! | `error.rs` | [`CallError`]: what a failed call tells |
//! | `redact.rs` | URLs without their secrets |
//! | `server.rs` | [`instrument`]: spans, metrics and correlation ID of the routes one serves |

mod call;
pub mod client;
pub mod error;
mod redact;
pub mod server;
pub mod transport;

pub use call::Call;
pub use client::ServiceHttpClient;
pub use error::{CallError, CallErrorKind};
pub use server::instrument;
pub use transport::Transport;
