//! Inventory's `InventoryService` over gRPC: stock is reserved for an order, and given back where there is to be none.

use opentelemetry::KeyValue;
use tonic::{Request, Response, Status};

use super::errors::internal;
use super::inventory::{CATALOG, Inventory};
use crate::demo::api::Item;
use crate::demo::database::stock::NotTaken;
use crate::demo::inventory::rpc::inventory_service_server::InventoryService;
use crate::demo::inventory::rpc::{self, ReleaseRequest, ReleaseResponse, Reservation, ReserveRequest};
use crate::demo::world::{note, query};

/// Items of one order, and pieces of one item.
const MOST_ITEMS: usize = 50;
const MOST_PIECES: u32 = 1000;

#[tonic::async_trait]
impl InventoryService for Inventory {
    async fn reserve(&self, request: Request<ReserveRequest>) -> Result<Response<Reservation>, Status> {
        let ReserveRequest { order_id, items } = request.into_inner();
        let items = usable(&order_id, items)?;
        note([KeyValue::new("order.id", order_id.clone())]);
        query(self.shared.pace, "SELECT", "stock", 2..14).await;
        query(self.shared.pace, "UPDATE", "stock", 2..10).await;
        // Last: a caller that gives up waiting ends the handler where it waits, and stock that was taken by then would be lost.
        let amount = self.take(&items).await?;
        tracing::info!(order.id = %order_id, items = items.len(), "stock reserved");
        let id = format!("res-{}", uuid::Uuid::now_v7().simple());
        Ok(Response::new(Reservation { id, amount }))
    }

    async fn release(&self, request: Request<ReleaseRequest>) -> Result<Response<ReleaseResponse>, Status> {
        let ReleaseRequest { order_id, items } = request.into_inner();
        let items = usable(&order_id, items)?;
        note([KeyValue::new("order.id", order_id.clone())]);
        query(self.shared.pace, "UPDATE", "stock", 2..10).await;
        self.stock.give_back(&items).await.map_err(internal)?;
        tracing::info!(order.id = %order_id, "stock released");
        Ok(Response::new(ReleaseResponse {}))
    }
}

impl Inventory {
    /// Takes all items or none, and gives the price.
    async fn take(&self, items: &[Item]) -> Result<u64, Status> {
        let unknown = || Status::not_found("product not found");
        let mut amount = 0_u64;
        for item in items {
            let (_, _, price) = CATALOG.iter().find(|p| p.0 == item.sku).ok_or_else(unknown)?;
            amount = amount.saturating_add(price.saturating_mul(u64::from(item.quantity)));
        }
        self.stock.take(items).await.map_err(|error| match error {
            NotTaken::Unknown => unknown(),
            NotTaken::OutOfStock { sku } => {
                tracing::warn!(sku, "out of stock");
                Status::failed_precondition(format!("{sku} is out of stock"))
            }
            NotTaken::Database(error) => internal(error.into()),
        })?;
        Ok(amount)
    }
}

/// The items of a request, where they are some.
fn usable(order_id: &str, items: Vec<rpc::Item>) -> Result<Vec<Item>, Status> {
    if !(1..=64).contains(&order_id.len()) {
        return Err(Status::invalid_argument("an order's ID has 1 to 64 bytes"));
    }
    if !(1..=MOST_ITEMS).contains(&items.len()) {
        return Err(Status::invalid_argument(format!("an order has 1 to {MOST_ITEMS} items")));
    }
    let fits =
        |item: &rpc::Item| (1..=64).contains(&item.sku.len()) && (1..=MOST_PIECES).contains(&item.quantity);
    if !items.iter().all(fits) {
        let text = format!("an item has an SKU of 1 to 64 bytes and a quantity of 1 to {MOST_PIECES}");
        return Err(Status::invalid_argument(text));
    }
    Ok(items.into_iter().map(|item| Item { sku: item.sku, quantity: item.quantity }).collect())
}
