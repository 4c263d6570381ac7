//! HTTP between services: a client for the services one calls, middleware for the routes one serves.

mod call;
pub mod client;
pub mod error;
pub mod server;

pub use call::Call;
pub use client::ServiceHttpClient;
pub use error::{CallError, CallErrorKind};
pub use server::instrument;
