//! The door for customers. It knows who is who and passes on what they want.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use opentelemetry::KeyValue;
use reqwest::Method;

use super::errors::ShopError;
use crate::comms::breaker::BreakerConfig;
use crate::comms::grpc::UserGrpcClient;
use crate::comms::http::ServiceHttpClient;
use crate::comms::resilience::Policy;
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
        inventory: shared.client(ServiceName::Inventory, &settings.inventory_url)?,
    };
    let router = Router::new()
        .route("/orders", post(place_order))
        .route("/orders/{id}", get(show_order))
        .route("/catalog", get(catalog))
        .route("/catalog/{sku}", get(product))
        .with_state(gateway);
    let router = shared.instrument(router).merge(super::scenarios::door(shared));
    Ok(Parts { router, consumers: Vec::new() })
}

/// Orders still answers reads while it cannot take an order, so more has to fail before it is not asked at all.
fn patient() -> Policy {
    let policy = Policy::with_timeout(Duration::from_secs(8));
    policy.breaker(BreakerConfig { failure_rate: 0.8, ..BreakerConfig::default() })
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
