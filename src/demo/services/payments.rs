//! Authorizes cards while the customer waits, and charges them afterwards, from a queue. The bank decides.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use opentelemetry::KeyValue;
use reqwest::Method;
use utoipa::OpenApi;

use super::errors::{ShopError, told};
use crate::comms::http::{Call, CallError, CallErrorKind, ServiceHttpClient};
use crate::comms::queue::{Failure, Received};
use crate::comms::resilience::Policy;
use crate::demo::api::{Authorization, Authorize, BankAnswer, BankRequest};
use crate::demo::database::ledger::Ledger;
use crate::demo::documents;
use crate::demo::messages::{OrderPlaced, Payment, PaymentFailed, Reason};
use crate::demo::security::scopes;
use crate::demo::service::{Parts, Shared, decode};
use crate::demo::shop::{ServiceName, keys, queues};
use crate::demo::world::{note, query};

/// How long the bank may take.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone)]
struct Payments {
    shared: Shared,
    bank: ServiceHttpClient,
    ledger: Ledger,
}

pub async fn build(shared: &Shared) -> anyhow::Result<Parts> {
    // No breaker here: the one that guards all of payments is that of its caller, so that an outage of the bank is one
    // breaker's story. Charges wait in their queue.
    let policy = Policy::plain(PATIENCE);
    let bank = shared.client_with(ServiceName::Bank, &shared.settings.bank_url, policy)?;
    let (ledger, relay) = Ledger::open(&shared.settings, shared.publisher.clone()).await?;
    let payments = Payments { shared: shared.clone(), bank, ledger };
    let charging = payments.clone();
    let charge = shared.consumer(queues::PAYMENTS_CHARGE, move |received| {
        let payments = charging.clone();
        async move { payments.charge(&received).await }
    });
    let relay = shared.relay(relay);
    let router = Router::new().route("/authorizations", post(authorize)).with_state(payments);
    let router = router.layer(documents::request::<Authorize>()?.layer());
    let router = shared.instrument(shared.guard(router, scopes::PAYMENTS_WRITE));
    Ok(Parts { router: router.merge(documents::routes(document())), consumers: vec![charge, relay] })
}

/// What the service offers, for who calls it.
#[derive(OpenApi)]
#[openapi(paths(authorize))]
struct Document;

pub fn document() -> utoipa::openapi::OpenApi {
    documents::named(Document::openapi(), ServiceName::Payments)
}

/// Authorize a card for an order
#[utoipa::path(
    post, path = "/authorizations", request_body = Authorize,
    responses((status = 201, body = Authorization), (status = 402, description = "the bank declines")),
)]
async fn authorize(
    State(payments): State<Payments>,
    Json(request): Json<Authorize>,
) -> Result<(StatusCode, Json<Authorization>), ShopError> {
    note(about(&request.order_id, request.amount, &request.currency));
    let ask = BankRequest {
        order_id: request.order_id.clone(),
        card: request.card,
        amount: request.amount,
        currency: request.currency,
        attempt: 1,
    };
    payments.ask("/v1/authorizations", &ask).send::<BankAnswer>().await.map_err(|error| {
        match error.kind {
            CallErrorKind::Timeout => ShopError::new(StatusCode::GATEWAY_TIMEOUT, "the bank gives no answer"),
            CallErrorKind::Status(status) if status.is_client_error() => {
                ShopError::new(StatusCode::PAYMENT_REQUIRED, format!("the bank declines: {}", told(&error)))
            }
            _ => ShopError::new(StatusCode::BAD_GATEWAY, "the bank is not available"),
        }
    })?;
    query(payments.shared.pace, "INSERT", "authorizations", 1..6).await;
    let id = format!("auth-{}", uuid::Uuid::now_v7().simple());
    tracing::info!(order.id = %request.order_id, payment.amount = request.amount, "card authorized");
    Ok((StatusCode::CREATED, Json(Authorization { id })))
}

impl Payments {
    fn ask(&self, path: &'static str, request: &BankRequest) -> Call<'_> {
        self.bank.request(Method::POST, path).template(path).json(request)
    }

    /// Once for an order, also where this service dies before it has noted that the bank did it.
    async fn capture(&self, request: &BankRequest) -> Result<BankAnswer, CallError> {
        let key = format!("capture-{}", request.order_id);
        self.ask("/v1/captures", request).idempotency_key(key).send().await
    }

    /// Handles `order.placed`.
    async fn charge(&self, received: &Received) -> Result<(), Failure> {
        let order: OrderPlaced = decode(received)?;
        note(about(&order.order_id, order.amount, &order.currency));
        if let Some(outcome) = self.ledger.find(&order.order_id).await? {
            return outcome.map_err(|reason| Failure::permanent(reason.code, reason.text));
        }
        let request = BankRequest {
            order_id: order.order_id.clone(),
            card: order.card.clone(),
            amount: order.amount,
            currency: order.currency.clone(),
            attempt: received.number,
        };
        match self.capture(&request).await.map_err(|error| not_charged(&error)) {
            Ok(_) => {
                query(self.shared.pace, "INSERT", "captures", 2..8).await;
                tracing::info!(order.id = %order.order_id, payment.amount = order.amount, "card charged");
                self.tell(received, order, None).await
            }
            Err(failure) => {
                let (delivery, reason) = (received.number, failure.reason());
                tracing::error!(order.id = %order.order_id, delivery, "card not charged: {reason}");
                if received.is_last {
                    let reason = Reason { code: failure.kind.clone(), text: failure.message.clone() };
                    self.tell(received, order, Some(reason)).await?;
                }
                Err(failure)
            }
        }
    }

    /// Writes down what became of a payment and tells everyone: both or neither.
    async fn tell(
        &self,
        received: &Received,
        order: OrderPlaced,
        why: Option<Reason>,
    ) -> Result<(), Failure> {
        let OrderPlaced { order_id, user_id, email, items, amount, currency, .. } = order;
        let payment = Payment { order_id, user_id, email, amount, currency, items };
        let (key, told) = match &why {
            None => (keys::PAYMENT_CAPTURED, self.shared.message(keys::PAYMENT_CAPTURED, &payment)?),
            Some(reason) => {
                let failed = PaymentFailed { payment: payment.clone(), reason: reason.clone() };
                (keys::PAYMENT_FAILED, self.shared.message(keys::PAYMENT_FAILED, &failed)?)
            }
        };
        self.ledger.settle(received, &payment, why.as_ref(), &told).await?;
        self.shared.poison(key).await;
        Ok(())
    }
}

/// Why the bank did not pay. All of it may pass: a card that is declined today may be good in a minute.
fn not_charged(error: &CallError) -> Failure {
    match error.kind {
        CallErrorKind::Status(status) if status.is_client_error() => {
            Failure::transient("card_declined", told(error))
        }
        CallErrorKind::Status(StatusCode::GATEWAY_TIMEOUT) => Failure::transient("bank_timeout", told(error)),
        CallErrorKind::Timeout => {
            let text = format!("the bank gave no answer in {} s", PATIENCE.as_secs());
            Failure::transient("bank_timeout", text)
        }
        _ => Failure::transient("bank_unavailable", "the bank is not available"),
    }
}

fn about(order_id: &str, amount: u64, currency: &str) -> [KeyValue; 3] {
    [
        KeyValue::new("order.id", order_id.to_owned()),
        KeyValue::new("payment.amount", i64::try_from(amount).unwrap_or(i64::MAX)),
        KeyValue::new("payment.currency", currency.to_owned()),
    ]
}
