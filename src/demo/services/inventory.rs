//! Keeps the stock: reserves it for an order, commits it when the order is placed, releases it when the
//! payment failed. What runs low is restocked, except for what is out of print.
//!
//! Products are read over REST, which lets them be kept; reserving is gRPC, in `reservations.rs`, on the same port.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::{HeaderName, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use futures_util::FutureExt as _;
use opentelemetry::KeyValue;
use utoipa::OpenApi;

use super::errors::ShopError;
use super::shelf::{self, StockCommitted};
use crate::comms::bus::EventBus;
use crate::comms::queue::{Failure, Received};
use crate::comms::security::AccessLayer;
use crate::demo::api::Product;
use crate::demo::database::stock::Stock;
use crate::demo::documents;
use crate::demo::inventory::rpc::DESCRIPTORS;
use crate::demo::inventory::rpc::inventory_service_server::InventoryServiceServer;
use crate::demo::messages::{OrderPlaced, ReleaseStock, StockReleased};
use crate::demo::security::scopes;
use crate::demo::service::{Parts, Shared, decode};
use crate::demo::shop::{self, ServiceName, keys, queues};
use crate::demo::world::{note, query, step};

/// SKU, name, price in cents. The last is sold out for good.
pub const CATALOG: [(&str, &str, u64); 6] = [
    ("desk-oak", "Oak desk", 48_900),
    ("chair-ash", "Ash chair", 12_950),
    ("lamp-brass", "Brass lamp", 6_400),
    ("rug-wool", "Wool rug", 21_000),
    ("vase-clay", "Clay vase", 3_250),
    ("clock-first-edition", "Wall clock, first edition", 99_000),
];
const RESTOCKED: u32 = 500;

#[derive(Clone)]
pub(super) struct Inventory {
    pub shared: Shared,
    pub stock: Stock,
    bus: EventBus,
}

pub async fn build(shared: &Shared) -> anyhow::Result<Parts> {
    let sold_out = CATALOG.len() - 1;
    let full = CATALOG.iter().enumerate().map(|(n, p)| (p.0, if n == sold_out { 0 } else { RESTOCKED }));
    let (stock, bus) = (Stock::open(&shared.settings, full).await?, shelf::bus(shared.pace));
    let inventory = Inventory { shared: shared.clone(), stock, bus: bus.clone() };
    let (committer, releaser) = (inventory.clone(), inventory.clone());
    let commit = shared.consumer(queues::INVENTORY_COMMIT, move |received| {
        let inventory = committer.clone();
        async move { inventory.commit(&received).await }
    });
    // Who listens has what the last messages led to before the service ends.
    let commit = commit.then(async move |result| {
        bus.close().await;
        result
    });
    let release = shared.consumer(queues::INVENTORY_RELEASE, move |received| {
        let inventory = releaser.clone();
        async move { inventory.release(&received).await }
    });
    let guard = shared.security.tokens.clone();
    let guard = guard.map(|tokens| AccessLayer::scope(tokens, scopes::STOCK_WRITE));
    let service = InventoryServiceServer::new(inventory.clone());
    let (rpc, told) = shared.grpc(service, DESCRIPTORS, guard).await?;
    let reads = Router::new().route("/products", get(products)).route("/products/{sku}", get(product));
    let reads = shared.guard(reads, scopes::STOCK_READ).with_state(inventory);
    // What neither has is not found, and no method that is missing.
    let router = shared.instrument(reads).merge(documents::routes(document())).merge(rpc.reset_fallback());
    Ok(Parts { router, consumers: vec![Box::pin(commit), release, told] })
}

/// What the service offers, for who calls it.
#[derive(OpenApi)]
#[openapi(paths(products, product))]
struct Document;

pub fn document() -> utoipa::openapi::OpenApi {
    documents::named(Document::openapi(), ServiceName::Inventory)
}

/// A second old is good enough for a page of products: what is left is asked for when it is ordered.
const HOLDS: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "max-age=1")];

/// All products
#[utoipa::path(get, path = "/products", responses((status = 200, body = [Product])))]
async fn products(State(inventory): State<Inventory>) -> Result<impl IntoResponse, ShopError> {
    // Now and then the page is not in the cache.
    let takes = if rand::random_range(0..20) == 0 { 500..1100 } else { 5..40 };
    query(inventory.shared.pace, "SELECT", "products", takes).await;
    let stock = inventory.stock.all().await?;
    let all: Vec<Product> = CATALOG.iter().map(|entry| product_of(entry, &stock)).collect();
    Ok((HOLDS, Json(all)))
}

/// One product
#[utoipa::path(
    get, path = "/products/{sku}", params(("sku" = String, Path)),
    responses((status = 200, body = Product), (status = 404, description = "there is no such product")),
)]
async fn product(
    State(inventory): State<Inventory>,
    Path(sku): Path<String>,
) -> Result<Json<Product>, ShopError> {
    query(inventory.shared.pace, "SELECT", "products", 2..12).await;
    let found = CATALOG.iter().find(|p| p.0 == sku).ok_or_else(|| ShopError::not_found("product"))?;
    Ok(Json(product_of(found, &inventory.stock.all().await?)))
}

fn product_of((sku, name, price): &(&str, &str, u64), stock: &BTreeMap<String, u32>) -> Product {
    let in_stock = stock.get(*sku).copied().unwrap_or(0);
    Product { sku: (*sku).into(), name: (*name).into(), price: *price, in_stock }
}

impl Inventory {
    async fn commit(&self, received: &Received) -> Result<(), Failure> {
        let order: OrderPlaced = decode(received)?;
        note([KeyValue::new("order.id", order.order_id.clone())]);
        query(self.shared.pace, "UPDATE", "stock", 3..20).await;
        let restocked = self.stock.restock(received, RESTOCKED / 5, RESTOCKED).await?;
        tracing::info!(order.id = %order.order_id, ?restocked, "stock committed");
        let committed = StockCommitted { order_id: order.order_id, ran_low: restocked };
        // Who misses it is told by the bus, and the stock is committed all the same.
        self.bus.publish(committed).await.ok();
        Ok(())
    }

    /// A step of cancelling an order. Done twice it is told twice, under one ID, and changes the stock once.
    async fn release(&self, received: &Received) -> Result<(), Failure> {
        if received.message.kind != keys::STOCK_RELEASE {
            // A queue of an older build is bound to more than this.
            tracing::debug!(kind = %received.message.kind, "not asked for anything");
            return Ok(());
        }
        let release: ReleaseStock = decode(received)?;
        let attributes = vec![KeyValue::new("order.id", release.order_id.clone())];
        step("release stock", attributes, async {
            query(self.shared.pace, "UPDATE", "stock", 3..20).await;
            self.stock.put_back(received, &release.items).await
        })
        .await?;
        tracing::info!(order.id = %release.order_id, "stock released");
        let released = StockReleased { order_id: release.order_id };
        let message = self.shared.message(keys::STOCK_RELEASED, &released)?;
        let told = self.shared.publisher.publish(shop::EXCHANGE, keys::STOCK_RELEASED, message).await;
        told.map_err(|error| Failure::transient("broker_unavailable", error.to_string()))
    }
}
