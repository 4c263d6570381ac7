//! gRPC between services: layers for client and server, the standard services, and the `UserService` of the demo shop.
//!
//! Both layers sit below the generated code, so a service and its callers are written as if they were not
//! there. A span ends when the call's status is known, which for a success is in the trailers.
//!
//! | file | what lives there |
//! |---|---|
//! | `client.rs`, `server.rs`, `call.rs` | the layers, and the span of one call |
//! | `channel.rs` | a connection with the client's layer and a policy around it |
//! | `standard.rs` | the health service and server reflection |
//! | `users.rs` | [`UserGrpcClient`] |

mod call;
mod channel;
pub mod client;
pub mod server;
pub mod standard;
pub mod users;

pub use channel::channel;
pub use client::{GrpcClient, GrpcClientLayer, is_rejected, rejected_by};
pub use server::GrpcServerLayer;
pub use users::UserGrpcClient;

/// Generated from `proto/user.proto`.
pub mod user {
    #![allow(clippy::all, clippy::pedantic, missing_docs)]
    tonic::include_proto!("user");

    /// The encoded `FileDescriptorSet` of it, for server reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/user.binpb"));
}
