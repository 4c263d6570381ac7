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

use super::errors::ShopError;
use crate::demo::api::{BankAnswer, BankRequest, cards};
use crate::demo::service::{Parts, Shared};
use crate::demo::world::note;

pub fn build(shared: &Shared) -> Parts {
    let router = Router::new()
        .route("/v1/authorizations", post(authorize))
        .route("/v1/captures", post(capture))
        .with_state(shared.clone());
    Parts { router: shared.instrument(router), consumers: Vec::new() }
}

async fn authorize(
    State(shared): State<Shared>,
    Json(request): Json<BankRequest>,
) -> Result<(StatusCode, Json<BankAnswer>), ShopError> {
    about(&request);
    shared.pace.pause(30..110).await;
    agreed("hold")
}

async fn capture(
    State(shared): State<Shared>,
    Json(request): Json<BankRequest>,
) -> Result<(StatusCode, Json<BankAnswer>), ShopError> {
    about(&request);
    match request.card.as_str() {
        cards::DECLINED => {
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
