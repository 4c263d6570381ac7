//! The bank: authorizes and captures. It is not the shop's, it is slow at times, and it can be out altogether (see
//! [`crate::demo::scenarios`]).
//!
//! What it does to a card is the card's own property (see `api::cards`), so that a failing order fails the same way each
//! time it is tried.

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use opentelemetry::KeyValue;
use utoipa::OpenApi;

use super::errors::ShopError;
use crate::demo::api::{BankAnswer, BankRequest, cards};
use crate::demo::documents;
use crate::demo::service::{Parts, Shared};
use crate::demo::shop::ServiceName;
use crate::demo::world::note;

pub fn build(shared: &Shared) -> Parts {
    let router = Router::new()
        .route("/v1/authorizations", post(authorize))
        .route("/v1/captures", post(capture))
        .with_state(shared.clone());
    let router = shared.instrument(router).merge(documents::routes(document()));
    Parts { router, consumers: Vec::new() }
}

/// What the bank offers, for who calls it.
#[derive(OpenApi)]
#[openapi(paths(authorize, capture))]
struct Document;

pub fn document() -> utoipa::openapi::OpenApi {
    // The bank has one version, and it does not end.
    let mut document = documents::named(Document::openapi(), ServiceName::Bank);
    for item in document.paths.paths.values_mut() {
        item.post.iter_mut().for_each(|one| one.deprecated = None);
    }
    document
}

/// Hold an amount
#[utoipa::path(post, path = "/v1/authorizations", request_body = BankRequest, responses((status = 201, body = BankAnswer)))]
async fn authorize(
    State(shared): State<Shared>,
    Json(request): Json<BankRequest>,
) -> Result<(StatusCode, Json<BankAnswer>), ShopError> {
    about(&request);
    shared.pace.pause(30..110).await;
    agreed("hold")
}

/// Take an amount
#[utoipa::path(
    post, path = "/v1/captures", request_body = BankRequest,
    responses((status = 201, body = BankAnswer), (status = 402, description = "declined")),
)]
async fn capture(
    State(shared): State<Shared>,
    Json(request): Json<BankRequest>,
) -> Result<(StatusCode, Json<BankAnswer>), ShopError> {
    about(&request);
    match request.card.as_str() {
        card if card == cards::DECLINED || shared.scenarios.declines() => {
            shared.pace.pause(120..300).await;
            Err(ShopError::new(StatusCode::PAYMENT_REQUIRED, "do_not_honor"))
        }
        cards::SLOW_BANK if request.attempt == 1 => {
            shared.pace.pause(1500..1501).await;
            Err(ShopError::new(StatusCode::GATEWAY_TIMEOUT, "the issuing bank gave no answer in 1.5 s"))
        }
        _ => {
            shared.pace.pause(60..220).await;
            agreed("capture")
        }
    }
}

fn agreed(what: &str) -> Result<(StatusCode, Json<BankAnswer>), ShopError> {
    let id = format!("{what}-{}", uuid::Uuid::now_v7().simple());
    Ok((StatusCode::CREATED, Json(BankAnswer { id })))
}

fn about(request: &BankRequest) {
    note([
        KeyValue::new("order.id", request.order_id.clone()),
        KeyValue::new("payment.amount", i64::try_from(request.amount).unwrap_or(i64::MAX)),
        KeyValue::new("payment.attempt", i64::from(request.attempt)),
    ]);
}
