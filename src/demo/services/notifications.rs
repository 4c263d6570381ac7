//! Writes to customers when an order was placed, when its payment failed, and when it was cancelled.

use axum::Router;
use opentelemetry::KeyValue;

use crate::comms::queue::{Failure, Received};
use crate::demo::messages::{OrderCancelled, OrderPlaced, PaymentFailed};
use crate::demo::service::{Parts, Shared, decode};
use crate::demo::shop::{keys, queues};
use crate::demo::world::{Outside, step};

pub fn build(shared: &Shared) -> Parts {
    let sender = shared.clone();
    let email = shared.consumer(queues::NOTIFICATIONS_EMAIL, move |received| {
        let shared = sender.clone();
        async move { send(&shared, &received).await }
    });
    Parts { router: Router::new(), consumers: vec![email] }
}

async fn send(shared: &Shared, received: &Received) -> Result<(), Failure> {
    let (template, order_id, email) = match received.message.kind.as_str() {
        keys::ORDER_PLACED => {
            let order: OrderPlaced = decode(received)?;
            ("order-confirmation", order.order_id, order.email)
        }
        keys::PAYMENT_FAILED => {
            let failed = decode::<PaymentFailed>(received)?.payment;
            ("payment-failed", failed.order_id, failed.email)
        }
        keys::ORDER_CANCELLED => {
            let cancelled: OrderCancelled = decode(received)?;
            ("order-cancelled", cancelled.order_id, cancelled.email)
        }
        other => return Err(Failure::permanent("unknown_type", format!("no letter for {other}"))),
    };
    let about = vec![KeyValue::new("order.id", order_id.clone()), KeyValue::new("mail.template", template)];
    step("render letter", about.clone(), shared.pace.pause(2..9)).await;
    // Only the domain: whom we write to is nobody's business but the customer's.
    let domain = email.rsplit('@').next().unwrap_or_default().to_owned();
    let mut attributes = about;
    attributes.push(KeyValue::new("mail.recipient.domain", domain));
    Outside { peer: "mail-relay", operation: "SMTP send", attributes, takes: 20..90 }
        .call(shared.pace, Ok(()))
        .await?;
    tracing::info!(order.id = %order_id, mail.template = template, "letter sent");
    Ok(())
}
