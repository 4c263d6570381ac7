//! Places orders: asks who the customer is, reserves stock, authorizes the card, tells everyone; then follows the payment. One
//! that fails late is taken back step by step: the stock is released, then the order is cancelled. Where that is stands in the
//! database, so that it goes on after a crash.

use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use opentelemetry::KeyValue;
use reqwest::Method;
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;

use super::errors::ShopError;
use crate::comms::breaker::{BreakerConfig, Window};
use crate::comms::correlation;
use crate::comms::grpc::UserGrpcClient;
use crate::comms::http::{CallError, ServiceHttpClient};
use crate::comms::queue::{Failure, Received};
use crate::comms::resilience::Policy;
use crate::demo::api::{Authorization, Authorize, CURRENCY, Item, Order, OrderStatus, OrderV2, PlaceOrder};
use crate::demo::database::orders::OrderBook;
use crate::demo::documents::{self, Problem};
use crate::demo::inventory::InventoryGrpcClient;
use crate::demo::messages::{
    OrderCancelled, OrderPlaced, Payment, PaymentFailed, ReleaseStock, StockReleased,
};
use crate::demo::security::scopes;
use crate::demo::service::{Parts, Shared, decode};
use crate::demo::shop::{ServiceName, keys, queues};
use crate::demo::world::{note, query};

#[derive(Clone)]
struct Orders {
    shared: Shared,
    users: UserGrpcClient,
    inventory: InventoryGrpcClient,
    payments: ServiceHttpClient,
    book: OrderBook,
}

pub async fn build(shared: &Shared) -> anyhow::Result<Parts> {
    let (book, relay) = OrderBook::open(&shared.settings, shared.publisher.clone()).await?;
    let orders = Orders {
        users: shared.users(Duration::from_secs(2))?,
        inventory: shared.inventory()?,
        payments: shared.client_with(
            ServiceName::Payments,
            &shared.settings.payments_url,
            guarded(shared),
        )?,
        shared: shared.clone(),
        book,
    };
    let (follower, canceller, asker) = (orders.clone(), orders.clone(), orders.book.clone());
    let payments = shared.consumer(queues::ORDERS_PAYMENTS, move |received| {
        let orders = follower.clone();
        async move { orders.follow_payment(received).await }
    });
    let cancelling = shared.consumer(queues::ORDERS_CANCELLING, move |received| {
        let orders = canceller.clone();
        async move { orders.end_cancellation(&received).await }
    });
    let stop = shared.stop.clone();
    let again = Box::pin(async move {
        ask_again(&asker, &stop).await;
        Ok(())
    });
    let router = routes(shared)?.with_state(orders);
    let router = shared.instrument(router).merge(documents::routes(document()));
    Ok(Parts { router, consumers: vec![payments, cancelling, shared.relay(relay), again] })
}

/// Version 1 is served on, under its own address and under the one from before there were versions, and says that it ends.
fn routes(shared: &Shared) -> anyhow::Result<Router<Orders>> {
    let order = documents::request::<PlaceOrder>()?;
    let writes = |handler: MethodRouter<Orders>| {
        shared.guard(Router::new().route("/orders", handler).layer(order.layer()), scopes::ORDERS_WRITE)
    };
    let reads = |routes: Router<Orders>| shared.guard(routes, scopes::ORDERS_READ);
    let first = || writes(post(place)).merge(reads(Router::new().route("/orders/{id}", get(show))));
    let list = Router::new().route("/orders", get(newest)).route("/orders/{id}", get(show_v2));
    let second = writes(post(place_v2)).merge(reads(list));
    let ending = documents::version_1().layer();
    Ok(first().layer(ending.clone()).nest("/v1", first().layer(ending)).nest("/v2", second))
}

/// What the service offers, for who calls it.
#[derive(OpenApi)]
#[openapi(paths(place, show, place_v2, show_v2, newest), components(schemas(Problem)))]
struct Document;

pub fn document() -> utoipa::openapi::OpenApi {
    documents::named(Document::openapi(), ServiceName::Orders)
}

/// Looks from time to time for cancellations that nobody goes on with: an answer was lost, or this service was ended in the
/// middle of one.
async fn ask_again(book: &OrderBook, stop: &CancellationToken) {
    // At the start at once: what is open then was open when it ended.
    let mut after = Duration::ZERO;
    loop {
        match book.ask_again(after).await {
            Ok(0) => {}
            Ok(asked) => tracing::warn!(asked, "orders that are being cancelled are asked for again"),
            Err(error) => tracing::error!("open cancellations cannot be read: {error:#}"),
        }
        after = PATIENCE;
        tokio::select! {
            () = tokio::time::sleep(PATIENCE) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// How long a step of a cancellation may take before it is asked for again.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// Place an order
#[utoipa::path(
    post, path = "/v1/orders", operation_id = "placeOrderV1", request_body = PlaceOrder,
    responses(
        (status = 201, body = Order),
        (status = 402, description = "the bank declines"),
        (status = 404, description = "there is no such customer or product"),
        (status = 409, description = "out of stock"),
        (status = 422, description = "the request does not fit", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn place(
    State(orders): State<Orders>,
    Json(request): Json<PlaceOrder>,
) -> Result<(StatusCode, Json<Order>), ShopError> {
    Ok((StatusCode::CREATED, Json(orders.place(request).await?)))
}

/// Place an order
#[utoipa::path(
    post, path = "/v2/orders", operation_id = "placeOrder", request_body = PlaceOrder,
    responses(
        (status = 201, body = OrderV2),
        (status = 402, description = "the bank declines"),
        (status = 404, description = "there is no such customer or product"),
        (status = 409, description = "out of stock"),
        (status = 422, description = "the request does not fit", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn place_v2(
    State(orders): State<Orders>,
    Json(request): Json<PlaceOrder>,
) -> Result<(StatusCode, Json<OrderV2>), ShopError> {
    Ok((StatusCode::CREATED, Json(orders.place(request).await?.into())))
}

/// One order
#[utoipa::path(
    get, path = "/v1/orders/{id}", operation_id = "showOrderV1", params(("id" = String, Path)),
    responses((status = 200, body = Order), (status = 404, description = "there is no such order")),
)]
async fn show(State(orders): State<Orders>, Path(id): Path<String>) -> Result<Json<Order>, ShopError> {
    let order = orders.find(&id).await?;
    Ok(Json(Order { status: order.status.in_version_1(), ..order }))
}

/// One order
#[utoipa::path(
    get, path = "/v2/orders/{id}", operation_id = "showOrder", params(("id" = String, Path)),
    responses((status = 200, body = OrderV2), (status = 404, description = "there is no such order")),
)]
async fn show_v2(State(orders): State<Orders>, Path(id): Path<String>) -> Result<Json<OrderV2>, ShopError> {
    Ok(Json(orders.find(&id).await?.into()))
}

#[derive(serde::Deserialize, utoipa::IntoParams)]
struct Newest {
    /// How many, from 1 to 100; 20 unless said.
    limit: Option<u32>,
}

/// The newest orders, newest first
#[utoipa::path(
    get, path = "/v2/orders", operation_id = "newestOrders", params(Newest),
    responses((status = 200, body = [OrderV2])),
)]
async fn newest(
    State(orders): State<Orders>,
    Query(asked): Query<Newest>,
) -> Result<Json<Vec<OrderV2>>, ShopError> {
    query(orders.shared.pace, "SELECT", "orders", 2..12).await;
    let newest = orders.book.newest(asked.limit.unwrap_or(20).clamp(1, 100)).await?;
    Ok(Json(newest.into_iter().map(OrderV2::from).collect()))
}

impl Orders {
    async fn find(&self, id: &str) -> Result<Order, ShopError> {
        query(self.shared.pace, "SELECT", "orders", 1..6).await;
        self.book.find(id).await?.ok_or_else(|| ShopError::not_found("order"))
    }

    async fn place(&self, request: PlaceOrder) -> Result<Order, ShopError> {
        let id = format!("o-{}", uuid::Uuid::now_v7().simple());
        note([KeyValue::new("order.id", id.clone()), KeyValue::new("user.id", request.user_id.clone())]);
        let user = self.users.get_user(&request.user_id).await?;
        let reservation = self.inventory.reserve(&id, &request.items).await?;
        let authorize = Authorize {
            order_id: id.clone(),
            card: request.card.clone(),
            amount: reservation.amount,
            currency: CURRENCY.to_owned(),
        };
        let authorization: Authorization = match post_to(&self.payments, "/authorizations", &authorize).await
        {
            Ok(authorization) => authorization,
            Err(error) => return Err(self.not_authorized(error, &id, &request.items).await),
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
            email: user.email,
            items: request.items,
            amount: reservation.amount,
            currency: CURRENCY.to_owned(),
            card: request.card,
            authorization_id: authorization.id,
        };
        let message = self.shared.message(keys::ORDER_PLACED, &placed);
        let message = message.map_err(|failure| anyhow::anyhow!(failure.reason()))?;
        query(self.shared.pace, "INSERT", "orders", 2..9).await;
        // Together: an order that nobody hears of would never be paid, and a message without one could not be followed.
        self.book.place(&order, &message).await?;
        self.shared.poison(keys::ORDER_PLACED).await;
        tracing::info!(order.id = %order.id, amount = order.amount, "order placed");
        Ok(order)
    }
}

/// A path without variables is its own template.
async fn post_to<T: serde::de::DeserializeOwned>(
    service: &ServiceHttpClient,
    path: &'static str,
    body: &impl serde::Serialize,
) -> Result<T, CallError> {
    service.request(Method::POST, path).template(path).json(body).send().await
}

impl Orders {
    /// Gives the stock back and says why there is no order.
    async fn not_authorized(&self, error: CallError, order_id: &str, reserved: &[Item]) -> ShopError {
        // In a task of its own, which has time whatever the customer has left, and goes on when the customer hangs up.
        let (inventory, order, items) = (self.inventory.clone(), order_id.to_owned(), reserved.to_vec());
        let releasing = tokio::spawn(correlation::carry(async move {
            if let Err(error) = inventory.release(&order, &items).await {
                tracing::error!(order.id = order, "stock stays reserved: {error}");
            }
        }));
        if releasing.await.is_err() {
            tracing::error!(order.id = order_id, "stock stays reserved: its release broke off");
        }
        let rejected = error.rejected().map(|rejected| (rejected.breaker.to_string(), rejected.retry_after));
        let Some((breaker, retry_after)) = rejected else { return error.into() };
        let when = retry_after
            .map_or_else(|| "shortly".to_owned(), |wait| format!("in {:.0} s", wait.as_secs_f64().ceil()));
        tracing::warn!(order.id = order_id, circuit_breaker.name = %breaker, "order turned away");
        let message = format!("payments are out: the order was not placed, please try again {when}");
        ShopError::turned_away(&breaker, message, retry_after)
    }

    async fn follow_payment(&self, received: Received) -> Result<(), Failure> {
        if received.message.kind == keys::PAYMENT_FAILED {
            return self.begin_cancellation(&received).await;
        }
        let payment: Payment = decode(&received)?;
        note([KeyValue::new("order.id", payment.order_id.clone())]);
        query(self.shared.pace, "UPDATE", "orders", 2..8).await;
        self.book.follow(&received, &payment.order_id, OrderStatus::Paid).await?;
        tracing::info!(order.id = %payment.order_id, "order paid");
        Ok(())
    }

    /// The first step: what was reserved is to be released.
    async fn begin_cancellation(&self, received: &Received) -> Result<(), Failure> {
        let failed: PaymentFailed = decode(received)?;
        let (order_id, items) = (failed.payment.order_id.clone(), failed.payment.items.clone());
        note([KeyValue::new("order.id", order_id.clone())]);
        query(self.shared.pace, "UPDATE", "orders", 2..8).await;
        let message = self.shared.message(keys::STOCK_RELEASE, &ReleaseStock { order_id, items })?;
        self.book.cancel(received, &failed, &message).await?;
        let (code, text) = (failed.reason.code, failed.reason.text);
        tracing::warn!(order.id = %failed.payment.order_id, code, "order could not be paid and is being cancelled: {text}");
        Ok(())
    }

    /// The last step: what was reserved is released.
    async fn end_cancellation(&self, received: &Received) -> Result<(), Failure> {
        let released: StockReleased = decode(received)?;
        note([KeyValue::new("order.id", released.order_id.clone())]);
        query(self.shared.pace, "UPDATE", "orders", 2..8).await;
        let told = |failed: &PaymentFailed| {
            let cancelled = OrderCancelled {
                order_id: failed.payment.order_id.clone(),
                user_id: failed.payment.user_id.clone(),
                email: failed.payment.email.clone(),
                reason: failed.reason.to_string(),
            };
            self.shared.message(keys::ORDER_CANCELLED, &cancelled)
        };
        if let Some(failed) = self.book.cancelled(received, &released.order_id, told).await? {
            let reason = failed.reason.to_string();
            tracing::info!(order.id = %released.order_id, reason, "order cancelled; nothing is reserved any more");
        }
        Ok(())
    }
}
