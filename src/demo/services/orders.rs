//! Places orders: reserves stock, authorizes the card, tells everyone; then follows the payment.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use opentelemetry::KeyValue;
use reqwest::Method;

use super::errors::ShopError;
use crate::comms::breaker::{BreakerConfig, Window};
use crate::comms::http::{CallError, ServiceHttpClient};
use crate::comms::queue::{Failure, Message, Received};
use crate::comms::resilience::Policy;
use crate::demo::api::{
    Authorization, Authorize, CURRENCY, Order, OrderPlaced, OrderStatus, PaymentResult, PlaceOrder,
    Reservation, Reserve,
};
use crate::demo::database::orders::OrderBook;
use crate::demo::security::scopes;
use crate::demo::service::{Parts, Shared, decode};
use crate::demo::shop::{ServiceName, keys, queues};
use crate::demo::world::{note, query};

#[derive(Clone)]
struct Orders {
    shared: Shared,
    inventory: ServiceHttpClient,
    payments: ServiceHttpClient,
    book: OrderBook,
}

pub async fn build(shared: &Shared) -> anyhow::Result<Parts> {
    let (book, relay) = OrderBook::open(&shared.settings, shared.publisher.clone()).await?;
    let orders = Orders {
        inventory: shared.client(ServiceName::Inventory, &shared.settings.inventory_url)?,
        payments: shared.client_with(
            ServiceName::Payments,
            &shared.settings.payments_url,
            guarded(shared),
        )?,
        shared: shared.clone(),
        book,
    };
    let follower = orders.clone();
    let payments = shared.consumer(queues::ORDERS_PAYMENTS, move |received| {
        let orders = follower.clone();
        async move { orders.follow_payment(received).await }
    });
    let writes = shared.guard(Router::new().route("/orders", post(place)), scopes::ORDERS_WRITE);
    let reads = shared.guard(Router::new().route("/orders/{id}", get(show)), scopes::ORDERS_READ);
    let router = writes.merge(reads).with_state(orders);
    let stop = shared.stop.clone();
    let relay = Box::pin(async move {
        relay.run(stop).await;
        Ok(())
    });
    Ok(Parts { router: shared.instrument(router), consumers: vec![payments, relay] })
}

/// Payments hang on a bank that the shop does not run: while that is out, orders are turned away at once.
fn guarded(shared: &Shared) -> Policy {
    let breaker = BreakerConfig {
        window: Window::Calls(20),
        minimum_calls: 6,
        slow_after: Some(Duration::from_millis(1500)),
        open_for: shared.settings.behaviour.breaker_wait(),
        ..BreakerConfig::default()
    };
    Policy::with_timeout(Duration::from_secs(4)).breaker(breaker)
}

async fn place(
    State(orders): State<Orders>,
    Json(request): Json<PlaceOrder>,
) -> Result<(StatusCode, Json<Order>), ShopError> {
    if request.items.is_empty() || request.items.iter().any(|i| i.quantity == 0) {
        return Err(ShopError::new(StatusCode::UNPROCESSABLE_ENTITY, "an order needs items"));
    }
    let id = format!("o-{}", uuid::Uuid::now_v7().simple());
    note([KeyValue::new("order.id", id.clone()), KeyValue::new("user.id", request.user_id.clone())]);
    let reserve = Reserve { order_id: id.clone(), items: request.items.clone() };
    let reservation: Reservation = post_to(&orders.inventory, "/reservations", &reserve).await?;
    let authorize = Authorize {
        order_id: id.clone(),
        card: request.card.clone(),
        amount: reservation.amount,
        currency: CURRENCY.to_owned(),
    };
    let authorization: Authorization = match post_to(&orders.payments, "/authorizations", &authorize).await {
        Ok(authorization) => authorization,
        Err(error) => return Err(orders.not_authorized(error, &reserve).await),
    };
    let order = Order {
        id: id.clone(),
        user_id: request.user_id.clone(),
        status: OrderStatus::Placed,
        amount: reservation.amount,
        currency: CURRENCY.to_owned(),
    };
    let placed = OrderPlaced {
        order_id: id,
        user_id: request.user_id,
        email: request.email,
        items: request.items,
        amount: reservation.amount,
        currency: CURRENCY.to_owned(),
        card: request.card,
        authorization_id: authorization.id,
    };
    let message = Message::json(keys::ORDER_PLACED, 1, &placed).map_err(anyhow::Error::from)?;
    query(orders.shared.pace, "INSERT", "orders", 2..9).await;
    // Together: an order that nobody hears of would never be paid, and a message without one could not be followed.
    orders.book.place(&order, &message).await?;
    tracing::info!(order.id = %order.id, amount = order.amount, "order placed");
    Ok((StatusCode::CREATED, Json(order)))
}

/// A path without variables is its own template.
async fn post_to<T: serde::de::DeserializeOwned>(
    service: &ServiceHttpClient,
    path: &'static str,
    body: &impl serde::Serialize,
) -> Result<T, CallError> {
    service.request(Method::POST, path).template(path).json(body).send().await
}

async fn show(State(orders): State<Orders>, Path(id): Path<String>) -> Result<Json<Order>, ShopError> {
    query(orders.shared.pace, "SELECT", "orders", 1..6).await;
    orders.book.find(&id).await?.map(Json).ok_or_else(|| ShopError::not_found("order"))
}

impl Orders {
    /// Gives the stock back and says why there is no order.
    async fn not_authorized(&self, error: CallError, reserved: &Reserve) -> ShopError {
        let released: Result<(), _> = post_to(&self.inventory, "/releases", reserved).await;
        if let Err(error) = released {
            tracing::error!(order.id = %reserved.order_id, "stock stays reserved: {error}");
        }
        let rejected = error.rejected().map(|rejected| (rejected.breaker.to_string(), rejected.retry_after));
        let Some((breaker, retry_after)) = rejected else { return error.into() };
        let when = retry_after
            .map_or_else(|| "shortly".to_owned(), |wait| format!("in {:.0} s", wait.as_secs_f64().ceil()));
        tracing::warn!(order.id = %reserved.order_id, circuit_breaker.name = %breaker, "order turned away");
        let message = format!("payments are out: the order was not placed, please try again {when}");
        ShopError::turned_away(&breaker, message, retry_after)
    }

    async fn follow_payment(&self, received: Received) -> Result<(), Failure> {
        let result: PaymentResult = decode(&received)?;
        let status = if result.reason.is_none() { OrderStatus::Paid } else { OrderStatus::PaymentFailed };
        note([KeyValue::new("order.id", result.order_id.clone())]);
        query(self.shared.pace, "UPDATE", "orders", 2..8).await;
        self.book.follow(&received, &result.order_id, status).await?;
        match &result.reason {
            None => tracing::info!(order.id = %result.order_id, "order paid"),
            Some(reason) => tracing::warn!(order.id = %result.order_id, reason, "order could not be paid"),
        }
        Ok(())
    }
}
