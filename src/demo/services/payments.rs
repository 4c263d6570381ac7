//! Authorizes cards while the customer waits, and charges them afterwards, from a queue.
//!
//! What the card processor does to a card is the card's own property (see `api::cards`), so that a failing
//! order fails the same way each time it is tried.

use std::ops::Range;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use opentelemetry::KeyValue;

use super::errors::ShopError;
use crate::comms::http::instrument;
use crate::comms::queue::{Failure, Received};
use crate::demo::api::{Authorization, Authorize, OrderPlaced, PaymentResult, cards};
use crate::demo::service::{Parts, Shared, decode};
use crate::demo::shop::{keys, queues};
use crate::demo::world::{Outside, note, query};

pub fn build(shared: &Shared) -> Parts {
    let payments = shared.clone();
    let charge = shared.consumer(queues::PAYMENTS_CHARGE, move |received| {
        let shared = payments.clone();
        async move { charge(&shared, &received).await }
    });
    let router = Router::new().route("/authorizations", post(authorize)).with_state(shared.clone());
    Parts { router: instrument(router, shared.name()), consumers: vec![charge] }
}

async fn authorize(
    State(shared): State<Shared>,
    Json(request): Json<Authorize>,
) -> Result<(StatusCode, Json<Authorization>), ShopError> {
    note(about(&request.order_id, request.amount, &request.currency));
    processor("POST /v1/authorizations", &request.order_id, request.amount, 30..110)
        .call(shared.pace, Ok(()))
        .await
        .map_err(|failure| ShopError::new(StatusCode::BAD_GATEWAY, failure.reason()))?;
    query(shared.pace, "INSERT", "authorizations", 1..6).await;
    let id = format!("auth-{}", uuid::Uuid::now_v7().simple());
    tracing::info!(order.id = %request.order_id, payment.amount = request.amount, "card authorized");
    Ok((StatusCode::CREATED, Json(Authorization { id })))
}

/// Handles `order.placed`.
async fn charge(shared: &Shared, received: &Received) -> Result<(), Failure> {
    let order: OrderPlaced = decode(received)?;
    note(about(&order.order_id, order.amount, &order.currency));
    let (takes, answer) = capture(&order.card, received.number);
    let captured =
        processor("POST /v1/captures", &order.order_id, order.amount, takes).call(shared.pace, answer).await;
    let reason = match captured {
        Ok(()) => {
            query(shared.pace, "INSERT", "captures", 2..8).await;
            tracing::info!(order.id = %order.order_id, payment.amount = order.amount, "card charged");
            None
        }
        Err(failure) => {
            let (delivery, reason) = (received.number, failure.reason());
            tracing::error!(order.id = %order.order_id, delivery, "card not charged: {reason}");
            if !received.is_last {
                return Err(failure);
            }
            Some(failure)
        }
    };
    let key = if reason.is_none() { keys::PAYMENT_CAPTURED } else { keys::PAYMENT_FAILED };
    let result = PaymentResult {
        order_id: order.order_id,
        user_id: order.user_id,
        email: order.email,
        amount: order.amount,
        currency: order.currency,
        reason: reason.as_ref().map(Failure::reason),
        items: order.items,
    };
    shared
        .publish(key, &result)
        .await
        .map_err(|error| Failure::transient("broker_unavailable", format!("{error:#}")))?;
    reason.map_or(Ok(()), Err)
}

/// What the processor does with a card, and how long it takes.
fn capture(card: &str, delivery: u32) -> (Range<u64>, Result<(), Failure>) {
    match card {
        cards::DECLINED => (120..300, Err(Failure::transient("card_declined", "do_not_honor"))),
        cards::SLOW_BANK if delivery == 1 => {
            (1500..1501, Err(Failure::transient("bank_timeout", "the issuing bank gave no answer in 1.5 s")))
        }
        _ => (60..220, Ok(())),
    }
}

fn processor(operation: &'static str, order_id: &str, amount: u64, takes: Range<u64>) -> Outside {
    let attributes = vec![
        KeyValue::new("http.request.method", "POST"),
        KeyValue::new("order.id", order_id.to_owned()),
        KeyValue::new("payment.amount", i64::try_from(amount).unwrap_or(i64::MAX)),
    ];
    Outside { peer: "card-processor", operation, attributes, takes }
}

fn about(order_id: &str, amount: u64, currency: &str) -> [KeyValue; 3] {
    [
        KeyValue::new("order.id", order_id.to_owned()),
        KeyValue::new("payment.amount", i64::try_from(amount).unwrap_or(i64::MAX)),
        KeyValue::new("payment.currency", currency.to_owned()),
    ]
}
