//! The shop's messages: what each holds, as a type of ours and as a JSON Schema for everybody else, and how an old version
//! becomes the newest.
//!
//! | type | version | |
//! |---|---|---|
//! | `order.placed` | 1 | |
//! | `payment.captured` | 1 | |
//! | `payment.failed` | 1 | the reason is one text, `CODE: WORDS` |
//! | | 2 | the reason has its code apart from its words |
//! | `stock.release` | 1 | a step of cancelling an order, asked for |
//! | `stock.released` | 1 | and done |
//! | `order.cancelled` | 1 | |
//!
//! Services send the newest version and handle the newest version; what is still under way in an old one is made new before
//! a handler sees it.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::Item;
use super::shop::keys;
use crate::comms::queue::Contracts;

/// `order.placed`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OrderPlaced {
    pub order_id: String,
    pub user_id: String,
    pub email: String,
    pub items: Vec<Item>,
    pub amount: u64,
    pub currency: String,
    pub card: String,
    pub authorization_id: String,
}

/// `payment.captured`, and what `payment.failed` has beside its reason.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Payment {
    pub order_id: String,
    pub user_id: String,
    pub email: String,
    pub amount: u64,
    pub currency: String,
    /// What was ordered, so that it can be released.
    pub items: Vec<Item>,
}

/// `payment.failed`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PaymentFailed {
    #[serde(flatten)]
    pub payment: Payment,
    pub reason: Reason,
}

/// Why a card could not be charged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reason {
    /// For programs, such as `card_declined`.
    pub code: String,
    /// For people.
    pub text: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.code, self.text)
    }
}

/// `stock.release`: what was reserved for an order that is not to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReleaseStock {
    pub order_id: String,
    pub items: Vec<Item>,
}

/// `stock.released`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StockReleased {
    pub order_id: String,
}

/// `order.cancelled`: nothing is owed and nothing is reserved any more.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct OrderCancelled {
    pub order_id: String,
    pub user_id: String,
    pub email: String,
    pub reason: String,
}

/// How a body becomes one of the next version; an error says why it cannot.
type Upcast = fn(Value) -> Result<Value, String>;

/// A version of a message of the shop.
pub struct Version {
    pub number: u32,
    /// The JSON Schema of its body.
    pub schema: Value,
    /// From the version before; none for the first.
    upcast: Option<Upcast>,
}

impl Version {
    fn first(schema: Value) -> Self {
        Self { number: 1, schema, upcast: None }
    }

    fn next(number: u32, schema: Value, upcast: Upcast) -> Self {
        Self { number, schema, upcast: Some(upcast) }
    }
}

/// The versions of a message of the shop that are accepted, oldest first; none of what is no message of the shop.
pub fn versions(key: &str) -> Vec<Version> {
    match key {
        keys::ORDER_PLACED => vec![Version::first(order_placed())],
        keys::PAYMENT_CAPTURED => vec![Version::first(payment(&[]))],
        keys::PAYMENT_FAILED => vec![
            Version::first(payment(&[("reason", json!({ "type": "string" }))])),
            Version::next(2, payment(&[("reason", reason())]), with_code),
        ],
        keys::STOCK_RELEASE => vec![Version::first(stock_release())],
        keys::STOCK_RELEASED => vec![Version::first(object([("order_id", text())]))],
        keys::ORDER_CANCELLED => vec![Version::first(order_cancelled())],
        _ => Vec::new(),
    }
}

/// Every message of the shop with all its versions.
///
/// # Errors
/// A schema above is none, or a version does not follow the one before.
pub fn contracts() -> anyhow::Result<Contracts> {
    let all = keys::ALL.iter().flat_map(|key| versions(key).into_iter().map(move |version| (key, version)));
    all.into_iter().try_fold(Contracts::default(), |contracts, (key, Version { number, schema, upcast })| {
        match upcast {
            None => contracts.first(key, number, &schema),
            Some(upcast) => contracts.next(key, number, &schema, upcast),
        }
    })
}

/// Version 1 of `payment.failed` wrote code and words as one text.
fn with_code(mut failed: Value) -> Result<Value, String> {
    let text = failed["reason"].as_str().ok_or("it has no reason")?;
    let (code, text) = text.split_once(": ").unwrap_or(("unknown", text));
    let reason = Reason { code: code.to_owned(), text: text.to_owned() };
    failed["reason"] = serde_json::to_value(reason).map_err(|error| error.to_string())?;
    Ok(failed)
}

fn order_placed() -> Value {
    let own = [("card", text()), ("authorization_id", text())];
    object(common().into_iter().chain(own))
}

fn payment(own: &[(&'static str, Value)]) -> Value {
    object(common().into_iter().chain(own.iter().cloned()))
}

fn stock_release() -> Value {
    object([("order_id", text()), ("items", items())])
}

fn order_cancelled() -> Value {
    let any = || json!({ "type": "string" });
    object([("order_id", text()), ("user_id", text()), ("email", any()), ("reason", any())])
}

fn reason() -> Value {
    object([("code", text()), ("text", json!({ "type": "string" }))])
}

/// What all of them have.
fn common() -> [(&'static str, Value); 6] {
    [
        ("order_id", text()),
        ("user_id", text()),
        ("email", json!({ "type": "string" })),
        ("items", items()),
        ("amount", json!({ "type": "integer", "minimum": 0 })),
        ("currency", json!({ "type": "string", "pattern": "^[A-Z]{3}$" })),
    ]
}

fn items() -> Value {
    let item = object([("sku", text()), ("quantity", json!({ "type": "integer", "minimum": 1 }))]);
    json!({ "type": "array", "minItems": 1, "items": item })
}

fn text() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

/// All fields are required. Others are let through, so that a field can be added without a new version.
fn object(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let (mut required, mut properties) = (Vec::new(), serde_json::Map::new());
    for (name, schema) in fields {
        required.push(name);
        properties.insert(name.to_owned(), schema);
    }
    json!({ "type": "object", "required": required, "properties": properties })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payment() -> Payment {
        Payment {
            order_id: "o-1".into(),
            user_id: "u-7".into(),
            email: "u-7@example.com".into(),
            amount: 12_800,
            currency: "EUR".into(),
            items: vec![Item { sku: "lamp-brass".into(), quantity: 2 }],
        }
    }

    #[test]
    fn the_types_fit_their_schemas() {
        let contracts = contracts().expect("schemas");
        let reason = Reason { code: "card_declined".into(), text: String::new() };
        let failed = PaymentFailed { payment: payment(), reason };
        let Payment { order_id, user_id, email, amount, currency, items } = payment();
        let (card, authorization_id) = ("tok_visa".to_owned(), "auth-1".to_owned());
        let placed =
            OrderPlaced { order_id, user_id, email, items, amount, currency, card, authorization_id };
        let made = [
            contracts.message(keys::ORDER_PLACED, &placed),
            contracts.message(keys::PAYMENT_CAPTURED, &payment()),
            contracts.message(keys::PAYMENT_FAILED, &failed),
        ];
        assert_eq!(made.map(|message| message.expect("it fits").version), [1, 1, 2]);
    }

    #[test]
    fn the_first_version_of_a_failed_payment_becomes_the_second() {
        let contracts = contracts().expect("schemas");
        for (old, code, text) in [
            ("card_declined: do_not_honor", "card_declined", "do_not_honor"),
            ("out of order", "unknown", "out of order"),
        ] {
            let mut body = serde_json::to_value(payment()).expect("JSON");
            body["reason"] = json!(old);
            let message = crate::comms::queue::Message::json(keys::PAYMENT_FAILED, 1, &body).expect("JSON");
            let failed: PaymentFailed =
                contracts.accept(message).expect("taken").decode().expect("the newest");
            assert_eq!((failed.reason.code.as_str(), failed.reason.text.as_str()), (code, text));
            assert_eq!(failed.payment.order_id, "o-1");
        }
    }
}
