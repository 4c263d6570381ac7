//! What the services ask of each other: the bodies of requests and answers. Messages are in [`super::messages`].

use serde::{Deserialize, Serialize};

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
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlaceOrder {
    pub user_id: String,
    pub items: Vec<Item>,
    #[serde(default = "good_card")]
    pub card: String,
    /// Filled in by the gateway.
    #[serde(default)]
    pub email: String,
}

fn good_card() -> String {
    cards::GOOD.to_owned()
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Item {
    pub sku: String,
    pub quantity: u32,
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    Placed,
    Paid,
    PaymentFailed,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    pub id: String,
    pub user_id: String,
    pub status: OrderStatus,
    pub amount: u64,
    pub currency: String,
}

/// `POST /reservations` at inventory, and `POST /releases` to take it back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reserve {
    pub order_id: String,
    pub items: Vec<Item>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reservation {
    pub id: String,
    pub amount: u64,
}

/// `POST /authorizations` at payments.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Authorize {
    pub order_id: String,
    pub card: String,
    pub amount: u64,
    pub currency: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Authorization {
    pub id: String,
}

/// `POST /v1/authorizations` and `POST /v1/captures` at the bank.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BankRequest {
    pub order_id: String,
    pub card: String,
    pub amount: u64,
    pub currency: String,
    /// How often it was asked for this, this time included.
    pub attempt: u32,
}

/// What the bank answers when it agrees.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BankAnswer {
    pub id: String,
}

/// `GET /products` at inventory, `GET /catalog` at the gateway.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Product {
    pub sku: String,
    pub name: String,
    pub price: u64,
    pub in_stock: u32,
}
