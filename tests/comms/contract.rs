//! Messages against their contracts: old versions reach the handler as the newest, and what cannot be handled is in the
//! dead letters with a reason that names the field.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use throughline::comms::names;
use throughline::comms::queue::{
    Broker, Consumer, Contracts, Failure, Message, Publisher, QueueSpec, Received, RetryPolicy,
};
use throughline::comms::testing::memory_broker;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(20);

/// Three versions: cents became an amount with a currency, and then got a customer.
fn contracts() -> Contracts {
    let cents = json!({"type": "object", "required": ["cents"],
        "properties": {"cents": {"type": "integer", "minimum": 0}}});
    let amount = json!({"type": "object", "required": ["amount", "currency"], "additionalProperties": false,
        "properties": {"amount": {"type": "integer", "minimum": 0}, "currency": {"enum": ["EUR", "USD"]}}});
    let customer = json!({"type": "object", "required": ["amount", "currency", "customer"],
        "properties": {"amount": {"type": "integer"}, "customer": {"type": "string", "minLength": 1}}});
    Contracts::default()
        .first("order.placed", 1, &cents)
        .and_then(|c| {
            c.next("order.placed", 2, &amount, |old| Ok(json!({"amount": old["cents"], "currency": "EUR"})))
        })
        .and_then(|c| {
            c.next("order.placed", 3, &customer, |mut old| {
                if old["amount"] == 13 {
                    return Err("nobody orders for 13".to_owned());
                }
                // A mistake of this service: no customer has an empty name.
                old["customer"] = json!(if old["amount"] == 14 { "" } else { "unknown" });
                Ok(old)
            })
        })
        .expect("they are schemas and follow each other")
}

fn message(version: u32, body: &Value) -> Message {
    Message::json("order.placed", version, body).expect("JSON")
}

#[tokio::test]
async fn old_versions_are_handled_as_the_newest_and_bad_messages_are_dead_letters_with_the_reason() {
    let broker: Arc<dyn Broker> = Arc::new(memory_broker().await.expect("a broker"));
    broker.declare_exchange("shop").await.expect("an exchange");
    broker.declare_queue(&QueueSpec::durable("dead")).await.expect("a queue");
    broker.declare_queue(&QueueSpec::durable("mail").dead_letters_to("dead")).await.expect("a queue");
    broker.bind("shop", "#", "mail").await.expect("bound");
    let publisher = Publisher::new(Arc::clone(&broker));
    let stop = CancellationToken::new();
    let (tell, mut told) = mpsc::channel(10);
    let handler = move |received: Received| {
        let tell = tell.clone();
        async move {
            let body: Value =
                received.message.decode().map_err(|e| Failure::permanent("body", e.to_string()))?;
            tell.send((received.message.version, body)).await.expect("heard");
            Ok(())
        }
    };
    let policy = RetryPolicy { max_deliveries: 3, first_delay: Duration::from_secs(600) };
    let consumer = Consumer::new(Arc::clone(&broker), "mail").policy(policy);
    let consuming = tokio::spawn(consumer.run(stop.clone(), contracts().guard(handler)));

    for (version, body) in [
        (1, json!({"cents": 250})),
        (2, json!({"amount": 250, "currency": "EUR"})),
        (3, json!({"amount": 250, "currency": "EUR", "customer": "unknown"})),
    ] {
        publisher.publish("shop", "order", message(version, &body)).await.expect("published");
        let handled = tokio::time::timeout(SOON, told.recv()).await.expect("in time").expect("handled");
        assert_eq!(
            handled,
            (3, json!({"amount": 250, "currency": "EUR", "customer": "unknown"})),
            "{version}"
        );
    }

    let mut dead = broker.consume("dead", 1).await.expect("a consumer");
    let cut_off = Message { body: "{\"cents\": 2".into(), ..message(1, &json!(null)) };
    let other = Message { kind: "order.lost".into(), ..message(1, &json!({})) };
    for (bad, parts) in [
        (message(1, &json!({"cents": -1})), ["schema", "version 1", "/cents", "minimum"]),
        (message(1, &json!([])), ["schema", "version 1", "the body", "object"]),
        (message(2, &json!({"amount": 1})), ["schema", "version 2", "currency", "required"]),
        (message(4, &json!({})), ["unknown_version", "version 4", "known: 1, 2, 3", "order.placed"]),
        (message(0, &json!({})), ["unknown_version", "version 0", "known: 1, 2, 3", "order.placed"]),
        (cut_off, ["malformed_message", "version 1", "JSON", "EOF"]),
        (other, ["unknown_type", "order.lost", "known:", "order.placed"]),
        (message(1, &json!({"cents": 13})), ["upcast", "version 2", "version 3", "nobody orders for 13"]),
        (message(1, &json!({"cents": 14})), ["schema", "version 3", "/customer", "shorter"]),
    ] {
        publisher.publish("shop", "order", bad.clone()).await.expect("published");
        let letter = tokio::time::timeout(SOON, dead.next()).await.expect("in time").expect("a letter");
        let reason = letter.message.headers[names::HEADER_DEATH_REASON].clone();
        for part in parts {
            assert!(reason.contains(part), "{part:?} in {reason}");
        }
        assert_eq!(letter.message.headers[names::HEADER_DEATH_DELIVERIES], "1", "not tried again: {reason}");
        // As it was sent, for whoever repairs it.
        assert_eq!((&letter.message.body, letter.message.version), (&bad.body, bad.version));
        letter.ack().await.expect("ack");
    }
    stop.cancel();
    consuming.await.expect("ended").expect("in order");
}

#[test]
fn a_message_is_made_in_the_newest_version_and_fits() {
    let body = json!({"amount": 250, "currency": "EUR", "customer": "ada"});
    let made = contracts().message("order.placed", &body).expect("it fits");
    assert_eq!((made.version, made.decode::<Value>().expect("JSON")), (3, body));
    for (kind, body, reason) in [
        ("order.placed", json!({"amount": 250}), "schema: `order.placed` version 3"),
        ("order.lost", json!({}), "unknown_type: `order.lost`"),
    ] {
        let failure = contracts().message(kind, &body).expect_err("it fits nothing");
        assert!(failure.reason().starts_with(reason), "{}", failure.reason());
    }
}

#[test]
fn a_reason_is_short_and_tells_no_value() {
    let many: Vec<Value> = (0..50).map(|_| json!({})).collect();
    let schema = json!({"items": {"type": "string"}, "maxItems": 1});
    let contracts = Contracts::default().first("list", 1, &schema).expect("a schema");
    let failure =
        contracts.check(&Message::json("list", 1, &many).expect("JSON")).expect_err("it does not fit");
    assert!(failure.message.len() < 600 && failure.message.ends_with("and more"), "{}", failure.message);
    let schema = json!({"properties": {"card": {"type": "integer"}}});
    let contracts = Contracts::default().first("card", 1, &schema).expect("a schema");
    let secret = Message::json("card", 1, &json!({"card": "4111111111111111"})).expect("JSON");
    let failure = contracts.check(&secret).expect_err("it does not fit");
    assert!(failure.message.contains("/card") && !failure.message.contains("4111"), "{}", failure.message);
    assert!(!failure.transient);
}

#[test]
fn contracts_that_make_no_sense_are_refused_when_they_are_made() {
    let any = json!(true);
    let refused =
        |made: anyhow::Result<Contracts>| made.err().map(|error| error.to_string()).expect("refused");
    let one = || Contracts::default().first("order", 1, &any).expect("a schema");
    assert!(refused(one().first("order", 2, &any)).contains("already"));
    for version in [1, 3] {
        let text = refused(one().next("order", version, &any, Ok));
        assert!(text.contains("does not follow"), "{text}");
    }
    assert!(refused(Contracts::default().next("order", 1, &any, Ok)).contains("does not follow"));
    for schema in [json!({"type": "objekt"}), json!({"$ref": "http://127.0.0.1:9/elsewhere.json"}), json!(7)]
    {
        let text = refused(Contracts::default().first("order", 1, &schema));
        assert!(text.contains("`order` version 1"), "{text}");
    }
}
