//! The bank: authorizes and captures. It is not the shop's, it is slow at times, and it can be out altogether (see
//! [`crate::demo::scenarios`]).
//!
//! What it does to a card is the card's own property (see `api::cards`), so that a failing order fails the same way each
//! time it is tried.
//!
//! A capture with an `Idempotency-Key` is done once: the same key gets the same answer. A refusal moves no money and is kept
//! for nobody: a card that is declined today may be good in a minute.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use opentelemetry::KeyValue;
use utoipa::OpenApi;

use super::errors::ShopError;
use crate::demo::api::{BankAnswer, BankRequest, cards};
use crate::demo::database::captures::{Captures, Known};
use crate::demo::documents;
use crate::demo::service::{Parts, Shared};
use crate::demo::shop::ServiceName;
use crate::demo::world::note;

/// The longest key that is taken, in bytes.
const LONGEST_KEY: usize = 255;

#[derive(Clone)]
struct Bank {
    shared: Shared,
    captures: Captures,
}

pub async fn build(shared: &Shared) -> anyhow::Result<Parts> {
    let bank = Bank { shared: shared.clone(), captures: Captures::open(&shared.settings).await? };
    let router = Router::new()
        .route("/v1/authorizations", post(authorize))
        .route("/v1/captures", post(capture))
        .with_state(bank);
    let router = shared.instrument(router).merge(documents::routes(document()));
    Ok(Parts { router, consumers: Vec::new() })
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
    State(bank): State<Bank>,
    Json(request): Json<BankRequest>,
) -> Result<(StatusCode, Json<BankAnswer>), ShopError> {
    about(&request);
    bank.shared.pace.pause(30..110).await;
    agreed(name("hold"))
}

/// Take an amount
#[utoipa::path(
    post, path = "/v1/captures", request_body = BankRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "the same key is the same capture, done once")),
    responses(
        (status = 201, body = BankAnswer),
        (status = 400, description = "the key is none"),
        (status = 402, description = "declined"),
        (status = 422, description = "another capture was asked for by that key"),
    ),
)]
async fn capture(
    State(bank): State<Bank>,
    headers: HeaderMap,
    Json(request): Json<BankRequest>,
) -> Result<(StatusCode, Json<BankAnswer>), ShopError> {
    about(&request);
    let key = key(&headers)?;
    // Whatever became of the card since: the money is taken.
    if let Some(key) = key
        && let Some(known) = bank.captures.find(key, &request).await?
    {
        return again(known);
    }
    let shared = &bank.shared;
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
            let id = name("capture");
            match bank.captures.capture(&id, key, &request).await? {
                None => agreed(id),
                // Asked for twice at the same time.
                Some(known) => again(known),
            }
        }
    }
}

/// The key of a request, where it has one.
fn key(headers: &HeaderMap) -> Result<Option<&str>, ShopError> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
    let wrong = || format!("an Idempotency-Key has 1 to {LONGEST_KEY} visible characters");
    key.map(Some).ok_or_else(|| ShopError::new(StatusCode::BAD_REQUEST, wrong()))
}

/// The answer to a capture that was done before.
fn again(known: Known) -> Result<(StatusCode, Json<BankAnswer>), ShopError> {
    match known {
        Known::Same(id) => {
            tracing::info!("captured before: the same answer, and no more money");
            agreed(id)
        }
        Known::Other => {
            let text = "the Idempotency-Key was another capture's";
            Err(ShopError::new(StatusCode::UNPROCESSABLE_ENTITY, text))
        }
    }
}

fn name(what: &str) -> String {
    format!("{what}-{}", uuid::Uuid::now_v7().simple())
}

fn agreed(id: String) -> Result<(StatusCode, Json<BankAnswer>), ShopError> {
    Ok((StatusCode::CREATED, Json(BankAnswer { id })))
}

fn about(request: &BankRequest) {
    note([
        KeyValue::new("order.id", request.order_id.clone()),
        KeyValue::new("payment.amount", i64::try_from(request.amount).unwrap_or(i64::MAX)),
        KeyValue::new("payment.attempt", i64::from(request.attempt)),
    ]);
}
