//! The door for customers, on the toolkit's gateway: reads are passed on by its table, an order is placed by a handler of its
//! own that knows who is who.

use std::time::Duration;

use axum::extract::State;
use axum::http::request::Parts as RequestHead;
use axum::http::{StatusCode, header};
use axum::routing::post;
use axum::{Json, Router};
use opentelemetry::KeyValue;
use reqwest::Method;

use super::errors::ShopError;
use crate::comms::breaker::{BreakerConfig, Window};
use crate::comms::gateway::{Aggregate, CacheRule, ClientLimit, Gateway, Route, Upstream};
use crate::comms::grpc::UserGrpcClient;
use crate::comms::http::ServiceHttpClient;
use crate::comms::resilience::{Policy, Retry, RetryBudget};
use crate::comms::retry::Backoff;
use crate::comms::security::Principal;
use crate::demo::api::{Order, PlaceOrder};
use crate::demo::service::{Parts, Shared};
use crate::demo::shop::ServiceName;
use crate::demo::world::note;

#[derive(Clone)]
struct Shop {
    users: UserGrpcClient,
    orders: ServiceHttpClient,
}

pub fn build(shared: &Shared) -> anyhow::Result<Parts> {
    let settings = &shared.settings;
    let shop = Shop {
        users: shared.users(Duration::from_secs(2))?,
        orders: shared.client_with(ServiceName::Orders, &settings.orders_url, patient())?,
    };
    // Placing an order and passing a request on are two ways to the same service: one breaker before it.
    let orders = shared.upstream(ServiceName::Orders, &settings.orders_url, patient())?;
    let orders = shop.orders.breaker().cloned().into_iter().fold(orders, Upstream::with_breaker);
    let stock = shared.upstream(ServiceName::Inventory, &settings.inventory_url, thrifty())?;
    let gateway = Gateway::new(shared.name())
        .upstream(orders)
        .upstream(stock)
        .route(Route::get("/orders/{id}").to("orders", "/orders/{id}"))
        .route(Route::get("/catalog").to("inventory", "/products").cached(CATALOG_RULE))
        .route(Route::get("/catalog/{sku}").to("inventory", "/products/{sku}"))
        .aggregate(Aggregate::get("/pages/order/{id}").required("order", "orders", "/orders/{id}").optional(
            "catalog",
            "inventory",
            "/products",
        ))
        .own(Router::new().route("/orders", post(place_order)).with_state(shop))
        .limit(ClientLimit::new(PER_SECOND, PER_SECOND).by(kind_of_client))
        .most_body(MOST_BODY);
    let router = shared.instrument(gateway.into_router()?).merge(super::scenarios::door(shared));
    Ok(Parts { router, consumers: Vec::new() })
}

/// Requests a second that the gateway takes of one kind of client.
const PER_SECOND: u32 = 60;
/// An order is short, in bytes.
const MOST_BODY: usize = 64 << 10;

/// Inventory says for how long its products hold; ten seconds longer where it fails.
const CATALOG_RULE: CacheRule =
    CacheRule { fresh_for: Duration::ZERO, stale_if_error: Duration::from_secs(10), most_body: 256 << 10 };

/// Clients are told apart by what they say they are, as the demo's customers have no other name and all one address.
fn kind_of_client(request: &RequestHead, _: Option<&Principal>) -> String {
    let agent = request.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    agent.unwrap_or_default().to_owned()
}

/// The catalog is what most customers look at: when it fails, trying again must not double its load.
fn thrifty() -> Policy {
    let budget = RetryBudget { per_second: 1, ..RetryBudget::default() };
    Policy::default().retry(Retry::new(Backoff { retries: 2, ..Backoff::default() }, budget))
}

/// Orders still answers reads while it cannot take an order, and its own breaker needs some failed orders to see that;
/// so more has to fail before orders is not asked at all.
fn patient() -> Policy {
    let breaker = BreakerConfig {
        window: Window::Time(Duration::from_secs(30)),
        minimum_calls: 20,
        failure_rate: 0.8,
        ..BreakerConfig::default()
    };
    Policy::with_timeout(Duration::from_secs(8)).breaker(breaker)
}

async fn place_order(
    State(shop): State<Shop>,
    Json(mut order): Json<PlaceOrder>,
) -> Result<(StatusCode, Json<Order>), ShopError> {
    note([KeyValue::new("user.id", order.user_id.clone())]);
    let user = shop.users.get_user(&order.user_id).await?;
    order.email = user.email;
    let placed: Order =
        shop.orders.request(Method::POST, "/orders").template("/orders").json(&order).send().await?;
    note([KeyValue::new("order.id", placed.id.clone())]);
    tracing::info!(order.id = %placed.id, user.id = %placed.user_id, amount = placed.amount, "order accepted");
    Ok((StatusCode::CREATED, Json(placed)))
}
