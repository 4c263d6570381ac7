//! Inventory over gRPC: what is generated from `proto/inventory.proto`, and the client of those who reserve.

use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use self::rpc::inventory_service_client::InventoryServiceClient;
use self::rpc::{ReleaseRequest, Reservation, ReserveRequest};
use super::api;
use super::security::Security;
use super::shop::ServiceName;
use crate::comms::grpc::{GrpcClient, channel, is_rejected};
use crate::comms::resilience::Policy;
use crate::config::demo::ServiceSettings;

/// Generated from `proto/inventory.proto`.
pub mod rpc {
    #![allow(clippy::all, clippy::pedantic, missing_docs)]
    tonic::include_proto!("inventory");

    /// The encoded `FileDescriptorSet` of it, for server reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/inventory.binpb"));
}

/// A client for the `InventoryService`; cheap to clone. None of its calls may be made twice, so none is tried again.
#[derive(Clone)]
pub struct InventoryGrpcClient {
    client: InventoryServiceClient<GrpcClient<Channel>>,
}

impl InventoryGrpcClient {
    /// A client for a service of the shop. It must be made within a runtime; the connection is made with the first call.
    ///
    /// # Errors
    /// The address is not a URI.
    pub fn new(settings: &ServiceSettings, security: &Security, policy: &Policy) -> anyhow::Result<Self> {
        let (caller, called) = (settings.name, ServiceName::Inventory);
        let credentials = security.credentials(caller, called);
        let (address, tls) = (&settings.inventory_url, security.tls.as_ref());
        let channel = channel(address, caller.text(), called.text(), policy, tls, credentials)?;
        Ok(Self { client: InventoryServiceClient::new(channel) })
    }

    /// Reserves all items for an order, or none.
    ///
    /// # Errors
    /// The call's status: `NOT_FOUND` for an unknown product, `FAILED_PRECONDITION` where one is out of stock.
    pub async fn reserve(&self, order_id: &str, items: &[api::Item]) -> Result<Reservation, Status> {
        let request = ReserveRequest { order_id: order_id.to_owned(), items: of_order(items) };
        told(self.client.clone().reserve(Request::new(request)).await)
    }

    /// Gives back what was reserved for an order.
    ///
    /// # Errors
    /// The call's status.
    pub async fn release(&self, order_id: &str, items: &[api::Item]) -> Result<(), Status> {
        let request = ReleaseRequest { order_id: order_id.to_owned(), items: of_order(items) };
        told(self.client.clone().release(Request::new(request)).await)?;
        Ok(())
    }
}

/// What was answered; a call that failed is logged.
fn told<T>(answer: Result<Response<T>, Status>) -> Result<T, Status> {
    // What a breaker turns away is no news: it said so when it opened.
    answer.map(Response::into_inner).inspect_err(|status| match is_rejected(status) {
        true => tracing::debug!("inventory was not called: {}", status.message()),
        false => tracing::warn!(code = ?status.code(), "inventory refused or failed: {}", status.message()),
    })
}

fn of_order(items: &[api::Item]) -> Vec<rpc::Item> {
    items.iter().map(|item| rpc::Item { sku: item.sku.clone(), quantity: item.quantity }).collect()
}
