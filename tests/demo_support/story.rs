//! Orders as customers place them, and what is told of one whose card is declined.

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Value, json};
use throughline::comms::names;
use throughline::comms::queue::Broker;

use super::{Demo, Receiver, SOON, Seen, text};

/// A client of the gateway.
pub fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// Places an order under a correlation ID and gives its ID.
pub async fn place(demo: &Demo, correlation: &str, card: &str) -> String {
    let order = json!({ "user_id": "u-7", "items": [{ "sku": "lamp-brass", "quantity": 2 }], "card": card });
    let answer = client()
        .post(format!("{}/orders", demo.gateway()))
        .header("X-Correlation-ID", correlation)
        .json(&order)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.headers()[names::X_CORRELATION_ID], correlation, "the ID is echoed");
    let order: Value = answer.json().await.expect("an order");
    assert_eq!((&order["status"], &order["amount"]), (&json!("placed"), &json!(12_800)));
    order["id"].as_str().expect("an ID").to_owned()
}

/// Waits until an order has a status.
pub async fn wait_for_status(demo: &Demo, order: &str, status: &str) {
    let deadline = std::time::Instant::now() + SOON;
    loop {
        let url = format!("{}/orders/{order}", demo.gateway());
        let answer: Value =
            client().get(url).send().await.expect("an answer").json().await.expect("an order");
        if answer["status"] == status {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "still {answer}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// How many there are of what each order takes two of.
pub async fn in_stock(demo: &Demo) -> u64 {
    let answer = client().get(format!("{}/catalog/lamp-brass", demo.gateway())).send().await;
    let product: Value = answer.expect("an answer").json().await.expect("JSON");
    product["in_stock"].as_u64().expect("a number")
}

/// How many spans have a name.
pub fn count(spans: &[Seen], name: &str) -> usize {
    spans.iter().filter(|s| s.span.name == name).count()
}

/// Places an order, and waits for its status and until so many spans of these names have ended. Gives its spans.
async fn story(
    receiver: &Receiver,
    demo: &Demo,
    correlation: &str,
    card: &str,
    status: &str,
    ends: &[(&str, usize)],
) -> Vec<Seen> {
    let order = place(demo, correlation, card).await;
    wait_for_status(demo, &order, status).await;
    receiver.spans(correlation, |spans| ends.iter().all(|(name, number)| count(spans, name) == *number)).await
}

/// Places an order whose card is declined, and holds its story: three deliveries in three traces, the last to the dead
/// letters. Gives its spans.
pub async fn declined_story(receiver: &Receiver, demo: &Demo, correlation: &str) -> Vec<Seen> {
    let ends = &[("process payments.charge", 3), ("process inventory.release", 1)];
    let spans = story(receiver, demo, correlation, "tok_declined", "payment_failed", ends).await;
    let mut charges: Vec<_> = spans.iter().filter(|s| s.span.name == "process payments.charge").collect();
    charges.sort_by_key(|s| s.text(names::DELIVERY_NUMBER));
    let of = |key| charges.iter().map(|s| s.text(key)).collect::<Vec<_>>();
    assert_eq!(of(names::DELIVERY_NUMBER), ["1", "2", "3"]);
    assert_eq!(of(names::SETTLE_OUTCOME), ["retry", "retry", "dead_letter"]);
    assert_eq!(of(names::SETTLE_DESTINATION), ["payments.charge", "payments.charge", "orders.dlq"]);
    assert_eq!(of(names::SETTLE_DELAY_MS), ["50", "100", ""]);
    let traces: BTreeSet<_> = charges.iter().map(|s| &s.span.trace_id).collect();
    assert_eq!(traces.len(), 3, "each redelivery begins a trace");
    let first = &charges[0].span;
    assert!(!first.parent_span_id.is_empty() && first.links.is_empty());
    for again in &charges[1..] {
        assert!(again.span.parent_span_id.is_empty(), "a root");
        let linked: Vec<_> = again.span.links.iter().map(|l| (&l.trace_id, &l.span_id)).collect();
        assert_eq!(linked, [(&first.trace_id, &first.span_id)], "linked to the first failure");
    }
    for charge in &charges {
        let status = charge.span.status.clone().unwrap_or_default();
        assert_eq!(
            (status.code(), status.message.as_str()),
            (StatusCode::Error, "card_declined: do_not_honor")
        );
        let events: Vec<_> = charge.span.events.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(events[0], "exception");
        assert_eq!(
            text(&charge.span.events[0].attributes, "exception.message"),
            "card_declined: do_not_honor"
        );
    }
    let last = charges[2].span.events.last().expect("an event");
    assert_eq!(last.name, names::EVENT_DEAD_LETTERED);
    assert_eq!(text(&last.attributes, names::EVENT_REASON), "card_declined: do_not_honor");
    spans
}

/// Places an order that is paid, and holds its story: one trace across the broker. Gives the span that sent it and the one that
/// charged for it, its child.
pub async fn paid_story(receiver: &Receiver, demo: &Demo, correlation: &str) -> (Seen, Seen) {
    // Each service sends its spans when it likes.
    let listeners = ["handle stock.committed by labels", "handle stock.committed by purchasing"];
    let ends = &[
        ("process payments.charge", 1),
        ("process orders.payments", 1),
        ("process analytics.events", 2),
        ("process inventory.commit", 1),
        (listeners[0], 1),
        (listeners[1], 1),
    ];
    let spans = story(receiver, demo, correlation, "tok_visa", "paid", ends).await;
    let traces: BTreeSet<_> = spans.iter().map(|s| &s.span.trace_id).collect();
    assert_eq!(traces.len(), 1, "one trace holds all of it, across the broker");
    let of = |name: &str| spans.iter().find(|s| s.span.name == name).cloned();
    let send = of("send orders:order.placed").expect("a producer");
    let charge = of("process payments.charge").expect("a consumer");
    assert_eq!(charge.span.parent_span_id, send.span.span_id);
    let commit = of("process inventory.commit").expect("a consumer");
    for listener in listeners {
        let handled = of(listener).expect("a subscriber");
        assert_eq!(
            handled.span.parent_span_id, commit.span.span_id,
            "{listener} by the service's own event bus"
        );
    }
    (send, charge)
}

/// Takes the dead letter of an order whose card was declined, and holds what is said of it.
pub async fn dead_letter(broker: &impl Broker, correlation: &str) {
    let mut dead = broker.consume("orders.dlq", 1).await.expect("a consumer");
    let letter = tokio::time::timeout(SOON, dead.next()).await.expect("in time").expect("a letter");
    assert_eq!(letter.message.correlation_id.as_str(), correlation);
    let headers = &letter.message.headers;
    assert_eq!(headers[names::HEADER_DEATH_REASON], "card_declined: do_not_honor");
    assert_eq!(headers[names::HEADER_DEATH_QUEUE], "payments.charge");
    assert_eq!(headers[names::HEADER_DEATH_DELIVERIES], "3");
    letter.ack().await.expect("ack");
}
