//! Keeps the stock: reserves it for an order, commits it when the order is placed, releases it when the
//! payment failed. What runs low is restocked, except for what is out of print.

use std::collections::BTreeMap;

use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::FutureExt as _;
use opentelemetry::KeyValue;
use utoipa::OpenApi;

use super::errors::ShopError;
use super::shelf::{self, StockCommitted};
use crate::comms::bus::EventBus;
use crate::comms::queue::{Failure, Received};
use crate::demo::api::{Item, Product, Reservation, Reserve};
use crate::demo::database::stock::{NotTaken, Stock};
use crate::demo::documents::{self, Problem};
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
struct Inventory {
    shared: Shared,
    stock: Stock,
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
    let writes = Router::new().route("/reservations", post(reserve)).route("/releases", post(give_back));
    let writes = writes.layer(documents::request::<Reserve>()?.layer());
    let reads = Router::new().route("/products", get(products)).route("/products/{sku}", get(product));
    let router = shared.guard(writes, scopes::STOCK_WRITE).merge(shared.guard(reads, scopes::STOCK_READ));
    let router = router.with_state(inventory);
    let router = shared.instrument(router).merge(documents::routes(document()));
    Ok(Parts { router, consumers: vec![Box::pin(commit), release] })
}

/// What the service offers, for who calls it.
#[derive(OpenApi)]
#[openapi(paths(reserve, give_back, products, product), components(schemas(Problem)))]
struct Document;

pub fn document() -> utoipa::openapi::OpenApi {
    documents::named(Document::openapi(), ServiceName::Inventory)
}

/// Reserve stock for an order, all of it or none
#[utoipa::path(
    post, path = "/reservations", request_body = Reserve,
    responses(
        (status = 201, body = Reservation),
        (status = 409, description = "out of stock"),
        (status = 422, description = "the request does not fit", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn reserve(
    State(inventory): State<Inventory>,
    Json(request): Json<Reserve>,
) -> Result<(StatusCode, Json<Reservation>), ShopError> {
    note([KeyValue::new("order.id", request.order_id.clone())]);
    query(inventory.shared.pace, "SELECT", "stock", 2..14).await;
    let amount = inventory.take(&request.items).await?;
    query(inventory.shared.pace, "UPDATE", "stock", 2..10).await;
    tracing::info!(order.id = %request.order_id, items = request.items.len(), "stock reserved");
    let id = format!("res-{}", uuid::Uuid::now_v7().simple());
    Ok((StatusCode::CREATED, Json(Reservation { id, amount })))
}

/// Give back what was reserved for an order that is not to be
#[utoipa::path(post, path = "/releases", request_body = Reserve, responses((status = 204)))]
async fn give_back(
    State(inventory): State<Inventory>,
    Json(request): Json<Reserve>,
) -> Result<StatusCode, ShopError> {
    note([KeyValue::new("order.id", request.order_id.clone())]);
    query(inventory.shared.pace, "UPDATE", "stock", 2..10).await;
    inventory.stock.give_back(&request.items).await?;
    tracing::info!(order.id = %request.order_id, "stock released");
    Ok(StatusCode::NO_CONTENT)
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
    /// Takes all items or none, and gives the price.
    async fn take(&self, items: &[Item]) -> Result<u64, ShopError> {
        let mut amount = 0_u64;
        for item in items {
            let known = CATALOG.iter().find(|p| p.0 == item.sku);
            let (_, _, price) = known.ok_or_else(|| ShopError::not_found("product"))?;
            amount = amount.saturating_add(price.saturating_mul(u64::from(item.quantity)));
        }
        self.stock.take(items).await.map_err(|error| match error {
            NotTaken::Unknown => ShopError::not_found("product"),
            NotTaken::OutOfStock { sku } => {
                tracing::warn!(sku, "out of stock");
                ShopError::new(StatusCode::CONFLICT, format!("{sku} is out of stock"))
            }
            NotTaken::Database(error) => anyhow::Error::from(error).into(),
        })?;
        Ok(amount)
    }

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
