//! The door for customers. It knows who is who and passes on what they want.

use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use opentelemetry::KeyValue;
use reqwest::Method;

use super::errors::ShopError;
use crate::comms::breaker::{BreakerConfig, Window};
use crate::comms::grpc::UserGrpcClient;
use crate::comms::http::ServiceHttpClient;
use crate::comms::resilience::{Policy, RateLimit, Retry, RetryBudget};
use crate::comms::retry::Backoff;
use crate::demo::api::{Order, PlaceOrder, Product};
use crate::demo::service::{Parts, Shared};
use crate::demo::shop::ServiceName;
use crate::demo::world::note;

#[derive(Clone)]
struct Gateway {
    users: UserGrpcClient,
    orders: ServiceHttpClient,
    inventory: ServiceHttpClient,
}

pub fn build(shared: &Shared) -> anyhow::Result<Parts> {
    let settings = &shared.settings;
    let gateway = Gateway {
        users: UserGrpcClient::new(&settings.users_url, shared.name(), Duration::from_secs(2))?,
        orders: shared.client_with(ServiceName::Orders, &settings.orders_url, patient())?,
        inventory: shared.client_with(ServiceName::Inventory, &settings.inventory_url, thrifty())?,
    };
    let router = Router::new()
        .route("/orders", post(place_order))
        .route("/orders/{id}", get(show_order))
        .route("/catalog", get(catalog))
        .route("/catalog/{sku}", get(product))
        .with_state(gateway);
    let limit = RateLimit::of_each(PER_SECOND, PER_SECOND);
    let router = router.layer(middleware::from_fn_with_state(limit, within_limit));
    let router = shared.instrument(router).merge(super::scenarios::door(shared));
    Ok(Parts { router, consumers: Vec::new() })
}

/// Requests a second that the gateway takes of one kind of client.
const PER_SECOND: u32 = 60;

/// Who asks for more than their share is told when to come again. Clients are told apart by what they say they are, as the
/// demo's customers have no other name.
async fn within_limit(State(limit): State<RateLimit<String>>, request: Request, next: Next) -> Response {
    let agent = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    // Any text may be sent; a long one is not to be kept.
    let client: String = agent.unwrap_or_default().chars().take(64).collect();
    match limit.check(&client) {
        Ok(()) => next.run(request).await,
        Err(refused) => ShopError::from(refused).into_response(),
    }
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
    State(gateway): State<Gateway>,
    Json(mut order): Json<PlaceOrder>,
) -> Result<(StatusCode, Json<Order>), ShopError> {
    note([KeyValue::new("user.id", order.user_id.clone())]);
    let user = gateway.users.get_user(&order.user_id).await?;
    order.email = user.email;
    let placed: Order =
        gateway.orders.request(Method::POST, "/orders").template("/orders").json(&order).send().await?;
    note([KeyValue::new("order.id", placed.id.clone())]);
    tracing::info!(order.id = %placed.id, user.id = %placed.user_id, amount = placed.amount, "order accepted");
    Ok((StatusCode::CREATED, Json(placed)))
}

async fn show_order(
    State(gateway): State<Gateway>,
    Path(id): Path<String>,
) -> Result<Json<Order>, ShopError> {
    note([KeyValue::new("order.id", id.clone())]);
    let path = format!("/orders/{}", path_segment(&id)?);
    read(&gateway.orders, &path, "/orders/{id}").await.map(Json)
}

async fn catalog(State(gateway): State<Gateway>) -> Result<Json<Vec<Product>>, ShopError> {
    read(&gateway.inventory, "/products", "/products").await.map(Json)
}

async fn product(
    State(gateway): State<Gateway>,
    Path(sku): Path<String>,
) -> Result<Json<Product>, ShopError> {
    let path = format!("/products/{}", path_segment(&sku)?);
    read(&gateway.inventory, &path, "/products/{sku}").await.map(Json)
}

/// A read; the client tries again what fails for a passing reason.
async fn read<T: serde::de::DeserializeOwned>(
    service: &ServiceHttpClient,
    path: &str,
    template: &'static str,
) -> Result<T, ShopError> {
    Ok(service.request(Method::GET, path).template(template).send().await?)
}

/// IDs become part of a path; whatever is not one must not choose another route.
fn path_segment(id: &str) -> Result<&str, ShopError> {
    let valid =
        !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    valid.then_some(id).ok_or_else(|| ShopError::not_found("such a thing"))
}
