//! What the services ask of each other over REST: the bodies of requests and answers. Messages are in [`super::messages`],
//! gRPC in `proto/`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Amounts are in the smallest unit of their currency.
pub const CURRENCY: &str = "EUR";

/// How the bank treats a card; customers of the load pick one.
pub mod cards {
    pub const GOOD: &str = "tok_visa";
    /// Authorized, but declined whenever it is to be charged.
    pub const DECLINED: &str = "tok_declined";
    /// The bank gives no answer to the first charge.
    pub const SLOW_BANK: &str = "tok_slow_bank";
}

/// `POST /orders`, at the gateway and at orders.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PlaceOrder {
    #[schema(min_length = 1, max_length = 64)]
    pub user_id: String,
    #[schema(min_items = 1, max_items = 50)]
    pub items: Vec<Item>,
    #[serde(default = "good_card")]
    #[schema(max_length = 64)]
    pub card: String,
}

fn good_card() -> String {
    cards::GOOD.to_owned()
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Item {
    #[schema(min_length = 1, max_length = 64)]
    pub sku: String,
    #[schema(minimum = 1, maximum = 1000)]
    pub quantity: u32,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    Placed,
    Paid,
    PaymentFailed,
    /// The payment failed and what was reserved is released. In version 1 that is `payment_failed`, as it was.
    Cancelled,
}

impl OrderStatus {
    /// In the words of version 1.
    #[must_use]
    pub fn in_version_1(self) -> Self {
        if self == Self::Cancelled { Self::PaymentFailed } else { self }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Order {
    pub id: String,
    pub user_id: String,
    pub status: OrderStatus,
    pub amount: u64,
    pub currency: String,
}

/// An amount of money.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Money {
    /// In the smallest unit of the currency.
    pub amount: u64,
    #[schema(min_length = 3, max_length = 3)]
    pub currency: String,
}

/// An order in version 2: its amount is one thing, it says when it was placed, and it may be cancelled.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct OrderV2 {
    pub id: String,
    pub user_id: String,
    pub status: OrderStatus,
    pub total: Money,
    /// In milliseconds since 1970; none where that is not known any more.
    pub placed_at_ms: Option<u64>,
}

impl From<Order> for OrderV2 {
    fn from(order: Order) -> Self {
        let id = order.id.strip_prefix("o-").and_then(|id| uuid::Uuid::parse_str(id).ok());
        let placed = id.and_then(|id| id.get_timestamp()).map(|time| time.to_unix());
        Self {
            placed_at_ms: placed.map(|(seconds, nanos)| seconds * 1000 + u64::from(nanos / 1_000_000)),
            id: order.id,
            user_id: order.user_id,
            status: order.status,
            total: Money { amount: order.amount, currency: order.currency },
        }
    }
}

/// `POST /authorizations` at payments.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Authorize {
    #[schema(min_length = 1, max_length = 64)]
    pub order_id: String,
    #[schema(min_length = 1, max_length = 64)]
    pub card: String,
    pub amount: u64,
    #[schema(min_length = 3, max_length = 3)]
    pub currency: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Authorization {
    pub id: String,
}

/// `POST /v1/authorizations` and `POST /v1/captures` at the bank.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BankRequest {
    pub order_id: String,
    pub card: String,
    pub amount: u64,
    pub currency: String,
    /// How often it was asked for this, this time included.
    pub attempt: u32,
}

/// What the bank answers when it agrees.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BankAnswer {
    pub id: String,
}

/// `GET /products` at inventory, `GET /catalog` at the gateway.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Product {
    pub sku: String,
    pub name: String,
    pub price: u64,
    pub in_stock: u32,
}

/// `GET /pages/order/{id}` at the gateway, which joins what two services say. Described here and made there.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OrderPage {
    pub order: Order,
    /// All products; null where inventory does not answer.
    #[schema(required)]
    pub catalog: Option<Vec<Product>>,
    /// What is missing; not there where nothing is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<MissingPart>,
}

/// A part of a joined answer that is missing.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MissingPart {
    /// The member that is null.
    pub part: String,
    /// Of the answer that there should have been.
    pub status: u16,
    pub detail: String,
}

/// `POST /graphql` at the gateway; the schema is at `/schema.graphql`.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GraphQuery {
    pub query: String,
    /// Which of the query's operations is meant, where it has several.
    pub operation_name: Option<String>,
    #[schema(value_type = Option<Object>)]
    pub variables: Option<serde_json::Value>,
}

/// What is answered to it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GraphAnswer {
    /// What was asked for; null where nothing of it can be said.
    #[schema(value_type = Option<Object>, required)]
    pub data: Option<serde_json::Value>,
    /// Not there where all went well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<GraphError>,
}

/// What went wrong with a query or a part of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GraphError {
    pub message: String,
    pub extensions: GraphErrorCode,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GraphErrorCode {
    /// For programs, such as `BAD_QUERY`.
    pub code: String,
    pub correlation_id: Option<String>,
}
