//! A connection to another service, as a generated client takes it: made when first needed, and again when it was lost.

use std::time::Duration;

use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use tower::Layer as _;

use super::client::{GrpcClient, GrpcClientLayer};
use crate::comms::breaker::Breaker;
use crate::comms::resilience::Policy;
use crate::comms::security::{Credentials, Tls};

/// Calls to the service `peer` at `address` (such as `http://127.0.0.1:7082`) on behalf of `service_name`, with the policy's
/// timeout and a breaker of the peer's name; with a certificate of its own for an address that begins with `https`, and with
/// a token. Retries are the caller's: only it knows which calls may be made twice. It must be made within a runtime.
///
/// # Errors
/// The address is not a URI.
pub fn channel(
    address: &str,
    service_name: &str,
    peer: &str,
    policy: &Policy,
    tls: Option<&Tls>,
    credentials: Option<Credentials>,
) -> anyhow::Result<GrpcClient<Channel>> {
    let timeout = policy.timeout;
    let uri: Uri = address.parse().map_err(|e| anyhow::anyhow!("`{address}` is not a URI: {e}"))?;
    let endpoint =
        Endpoint::from(uri.clone()).connect_timeout(timeout.min(Duration::from_secs(2))).timeout(timeout);
    let endpoint = match tls {
        Some(tls) => endpoint.tls_config(tls.grpc())?,
        None => endpoint,
    };
    let mut layer = GrpcClientLayer::new(service_name, peer, uri).with_timeout(timeout);
    if let Some(config) = policy.breaker.clone() {
        layer = layer.with_breaker(Breaker::new(peer, config).with_peer(peer));
    }
    if let Some(credentials) = credentials {
        layer = layer.with_credentials(credentials);
    }
    Ok(layer.layer(endpoint.connect_lazy()))
}
