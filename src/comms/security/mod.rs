//! Who calls, what they may do, and how nobody listens in.
//!
//! | file | what lives there |
//! |---|---|
//! | `principal.rs` | [`Principal`], and [`Authenticate`]: how one is found out |
//! | `tokens.rs`, `keys.rs` | tokens between services: [`TokenSource`] makes them, [`Tokens`] checks them |
//! | `layer.rs` | [`AccessLayer`]: what a route wants, for axum and gRPC |
//! | `tls.rs` | [`Tls`] and [`TlsListener`]: mutual TLS |
//! | `authority.rs` | [`Authority`]: certificates for development |
//!
//! Tokens say who calls and what for, whoever passes the call on; TLS says that nobody in between reads or writes it. One
//! does not stand in for the other.

pub mod authority;
pub mod keys;
pub mod layer;
pub mod principal;
pub mod tls;
pub mod tokens;

pub use authority::Authority;
pub use keys::{PublicKey, SigningKey};
pub use layer::{AccessLayer, Refusal};
pub use principal::{Access, Authenticate, Denied, Fault, Principal};
pub use tls::{Tls, TlsListener};
pub use tokens::{Credentials, TokenSource, Tokens};
