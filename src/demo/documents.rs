//! What the services offer, told to programs: OpenAPI 3.1 of each REST service, AsyncAPI 3.0 of the messages, and the JSON
//! Schemas that requests are held against, all made of the types and handlers themselves.
//!
//! | address, at every service with REST | what |
//! |---|---|
//! | `/openapi.json` | its own interface |
//! | `/asyncapi.json` | the messages of the whole shop, in all versions that are accepted |

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::header;
use axum::routing::get;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{Deprecated as Mark, OpenApi, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::messages::{self, Version};
use super::services;
use super::shop::{BINDINGS, EXCHANGE, SERVICES, ServiceName, keys};
use crate::comms::http::{Deprecated, RequestSchema};

/// The body of an answer that says what is wrong: RFC 9457.
#[derive(Serialize, ToSchema)]
pub struct Problem {
    pub title: String,
    pub status: u16,
    pub detail: String,
    pub correlation_id: Option<String>,
    /// Of a request that does not fit: what is wrong with it.
    pub errors: Option<Vec<Fault>>,
}

/// What is wrong with a request.
#[derive(Serialize, ToSchema)]
pub struct Fault {
    /// The field, as a JSON pointer.
    pub pointer: String,
    pub detail: String,
}

/// 2026-09-01 and 2027-09-01.
const ENDS_SINCE: u64 = 1_788_220_800;
const SUNSET: u64 = 1_819_756_800;

/// What is said of version 1 of an interface.
pub fn version_1() -> Deprecated {
    let at = |seconds| -> SystemTime { UNIX_EPOCH + Duration::from_secs(seconds) };
    Deprecated::since(at(ENDS_SINCE)).sunset(at(SUNSET)).successor("/v1", "/v2")
}

/// Gives a document the name of its service, and marks what ends.
pub fn named(mut document: OpenApi, of: ServiceName) -> OpenApi {
    let line = SERVICES.iter().find(|service| service.name == of);
    document.info.title = format!("Throughline demo shop: {}", of.text());
    document.info.version = env!("CARGO_PKG_VERSION").to_owned();
    document.info.description = line.map(|line| line.does.to_owned());
    document.info.license = None;
    document.info.contact = None;
    for (path, item) in &mut document.paths.paths {
        if path.starts_with("/v1/") {
            let operations = [&mut item.get, &mut item.post];
            operations.into_iter().flatten().for_each(|one| one.deprecated = Some(Mark::True));
        }
    }
    document
}

/// The routes of the documents of a service. Without spans: no part of the shop's work.
pub fn routes(document: OpenApi) -> Router {
    let openapi = document.to_json().unwrap_or_default();
    let asyncapi = asyncapi().to_string();
    let show = |text: String| {
        get(move || std::future::ready(([(header::CONTENT_TYPE, "application/json")], text.clone())))
    };
    Router::new().route("/openapi.json", show(openapi)).route("/asyncapi.json", show(asyncapi))
}

/// What a request with this body is held against.
///
/// # Errors
/// Its schema is none.
pub fn request<T: ToSchema>() -> anyhow::Result<RequestSchema> {
    RequestSchema::new(&schema::<T>())
}

/// A type's JSON Schema, with all that it refers to.
pub fn schema<T: ToSchema>() -> Value {
    let mut parts = Vec::new();
    T::schemas(&mut parts);
    let parts: BTreeMap<String, RefOr<Schema>> = parts.into_iter().collect();
    let mut whole = serde_json::to_value(<T as PartialSchema>::schema()).unwrap_or_default();
    if let Some(whole) = whole.as_object_mut() {
        // Where references look for them.
        whole.insert("components".into(), json!({ "schemas": parts }));
    }
    whole
}

/// Where a service's interface is described, at the gateway, which people reach: a title and a path for each document.
pub fn of(service: ServiceName) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    if services::document(service).is_some() {
        all.push(("OpenAPI", format!("/documents/{}", service.text())));
    }
    // Queues are named after the service that consumes them.
    let own = format!("{}.", service.text());
    let is_sender = MESSAGES.iter().any(|told| told.by == service);
    if is_sender || BINDINGS.iter().any(|(queue, _)| queue.starts_with(&own)) {
        all.push(("AsyncAPI", "/asyncapi.json".to_owned()));
    }
    if service == ServiceName::Gateway {
        all.push(("GraphQL schema", "/schema.graphql".to_owned()));
    }
    all
}

/// A message of the shop: key and who sends it.
struct Told {
    key: &'static str,
    by: ServiceName,
    does: &'static str,
}

const MESSAGES: [Told; 6] = [
    Told {
        key: keys::ORDER_PLACED,
        by: ServiceName::Orders,
        does: "An order was placed and its card authorized.",
    },
    Told { key: keys::PAYMENT_CAPTURED, by: ServiceName::Payments, does: "An order's card was charged." },
    Told {
        key: keys::PAYMENT_FAILED,
        by: ServiceName::Payments,
        does: "An order's card could not be charged.",
    },
    Told {
        key: keys::STOCK_RELEASE,
        by: ServiceName::Orders,
        does: "What was reserved for an order is to be given back.",
    },
    Told {
        key: keys::STOCK_RELEASED,
        by: ServiceName::Inventory,
        does: "What was reserved for an order was given back.",
    },
    Told {
        key: keys::ORDER_CANCELLED,
        by: ServiceName::Orders,
        does: "An order was cancelled: nothing is owed and nothing reserved.",
    },
];

/// Whether a queue's pattern takes a key. The shop's patterns have `#` alone and one `*` at the end.
fn takes(pattern: &str, key: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => key.starts_with(start),
        None => pattern == "#" || pattern == key,
    }
}

/// A version's name among the document's messages: the newest is called as its key, an older one says which it is.
fn name_of(key: &str, version: u32, newest: u32) -> String {
    if version == newest { key.to_owned() } else { format!("{key}.v{version}") }
}

/// A version of a message, for [`asyncapi`].
fn message(told: &Told, version: &Version, newest: u32) -> Value {
    let (key, number) = (told.key, version.number);
    let is_old = number != newest;
    let old = if is_old { " An older version: taken and made new, and not sent any more." } else { "" };
    json!({
        "name": key,
        "title": format!("{key}, version {number}"),
        "summary": format!("{}{old}", told.does),
        "contentType": "application/json",
        "payload": version.schema,
        "correlationId": { "location": "$message.header#/x-correlation-id" },
        "headers": { "type": "object", "properties": {
            "x-correlation-id": { "type": "string" },
            "traceparent": { "type": "string" },
            "x-message-version": { "type": "integer", "const": number },
        } },
    })
}

/// The messages of the shop as AsyncAPI 3.0: a channel for each key, with all versions that are accepted; who sends, which is the
/// newest version alone, and which queues receive.
pub fn asyncapi() -> Value {
    let (mut channels, mut operations, mut messages) = (json!({}), json!({}), json!({}));
    for told in &MESSAGES {
        let Told { key, by, does } = *told;
        let versions = messages::versions(key);
        let newest = versions.last().map_or(0, |version| version.number);
        let (mut all, mut received) = (json!({}), Vec::new());
        for version in &versions {
            let name = name_of(key, version.number, newest);
            received.push(json!({ "$ref": format!("#/channels/{key}/messages/{name}") }));
            all[&name] = json!({ "$ref": format!("#/components/messages/{name}") });
            messages[&name] = message(told, version, newest);
        }
        let channel = json!({ "$ref": format!("#/channels/{key}") });
        channels[key] = json!({
            "address": key,
            "description": does,
            "messages": all,
            "bindings": { "amqp": {
                "is": "routingKey",
                "exchange": { "name": EXCHANGE, "type": "topic", "durable": true },
                "bindingVersion": "0.3.0",
            } },
        });
        operations[format!("{}.sends.{key}", by.text())] = json!({
            "action": "send",
            "channel": channel,
            "summary": does,
            "messages": [{ "$ref": format!("#/channels/{key}/messages/{key}") }],
        });
        for (queue, _) in BINDINGS.iter().filter(|(_, pattern)| takes(pattern, key)) {
            operations[format!("{queue}.receives.{key}")] = json!({
                "action": "receive",
                "channel": channel,
                "summary": format!("Queue {queue}"),
                "messages": received,
                "bindings": { "amqp": { "ack": true, "bindingVersion": "0.3.0" } },
            });
        }
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Throughline demo shop: messages",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What the services tell each other over the topic exchange.",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All references of a document, with where they lead.
    fn references(at: &Value, found: &mut Vec<String>) {
        match at {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    /// Holds that each reference below `at` leads somewhere in the document.
    fn assert_references(document: &Value, at: &Value) {
        let mut found = Vec::new();
        references(at, &mut found);
        for reference in found {
            let pointer = reference.trim_start_matches('#').to_owned();
            assert!(document.pointer(&pointer).is_some(), "{reference} leads nowhere");
        }
    }

    #[test]
    fn every_message_has_a_sender_and_a_queue_and_a_schema_that_can_be_used() {
        let document = asyncapi();
        for Told { key, by, .. } in MESSAGES {
            assert!(document["operations"].get(format!("{}.sends.{key}", by.text())).is_some(), "{key}");
            let receives = document["operations"].as_object().expect("operations").keys();
            assert!(receives.clone().any(|name| name.ends_with(&format!(".receives.{key}"))), "{key}");
        }
        assert_references(&document, &document["operations"]);
        assert_references(&document, &document["channels"]);
    }

    #[test]
    fn every_version_that_is_accepted_is_a_message_with_its_own_schema() {
        let document = asyncapi();
        let contracts = messages::contracts().expect("schemas");
        let mut accepted: Vec<_> =
            contracts.versions().map(|(key, version)| (key.to_owned(), version)).collect();
        let told = document["components"]["messages"].as_object().expect("messages");
        let mut described: Vec<_> = told
            .values()
            .map(|message| {
                RequestSchema::new(&message["payload"]).expect("a schema");
                let version = &message["headers"]["properties"]["x-message-version"]["const"];
                let version = version.as_u64().and_then(|number| u32::try_from(number).ok());
                (message["name"].as_str().expect("a name").to_owned(), version.expect("a version"))
            })
            .collect();
        accepted.sort_unstable();
        described.sort_unstable();
        assert_eq!(described, accepted);

        let [old, new] = ["payment.failed.v1", "payment.failed"].map(|name| &told[name]["payload"]);
        assert_eq!(old["properties"]["reason"]["type"], "string");
        assert_eq!(new["properties"]["reason"]["type"], "object");
        let of = |operation: &str| document["operations"][operation]["messages"].as_array().map(Vec::len);
        assert_eq!(of("payments.sends.payment.failed"), Some(1), "the newest alone is sent");
        assert_eq!(of("orders.payments.receives.payment.failed"), Some(2), "and both are taken");
    }

    #[test]
    fn each_service_leads_to_what_describes_it() {
        let titles = |of_service| of(of_service).into_iter().map(|(title, _)| title).collect::<Vec<_>>();
        for service in SERVICES {
            let expected: &[&str] = match service.text {
                "gateway" => &["OpenAPI", "GraphQL schema"],
                "orders" | "payments" | "inventory" | "analytics" => &["OpenAPI", "AsyncAPI"],
                "notifications" => &["AsyncAPI"],
                "bank" => &["OpenAPI"],
                _ => &[],
            };
            assert_eq!(titles(service.name), expected, "{}", service.text);
            assert_eq!(service.speaks.contains("REST"), expected.contains(&"OpenAPI"), "{}", service.text);
            assert_eq!(
                service.speaks.contains("messages"),
                expected.contains(&"AsyncAPI"),
                "{}",
                service.text
            );
        }
    }

    #[test]
    fn what_an_interface_refers_to_is_in_its_document() {
        for service in SERVICES {
            let Some(document) = services::document(service.name) else { continue };
            let document = serde_json::to_value(document).expect("JSON");
            assert_references(&document, &document);
        }
    }

    #[test]
    fn a_request_that_does_not_fit_is_told_by_its_field() {
        let order = request::<crate::demo::api::PlaceOrder>().expect("a schema");
        let item = r#"{"sku":"lamp-brass","quantity":1}"#;
        order.check(format!(r#"{{"user_id":"u-1","items":[{item}]}}"#).as_bytes()).expect("it fits");
        for (body, status, pointer) in [
            ("{", 400, ""),
            ("[]", 422, ""),
            (r#"{"items":[]}"#, 422, ""),
            (r#"{"user_id":"u-1","items":[]}"#, 422, "/items"),
            (r#"{"user_id":"","items":[{"sku":"a","quantity":1}]}"#, 422, "/user_id"),
            (r#"{"user_id":7,"items":[{"sku":"a","quantity":1}]}"#, 422, "/user_id"),
            (r#"{"user_id":"u-1","items":[{"sku":"a","quantity":0}]}"#, 422, "/items/0/quantity"),
            (r#"{"user_id":"u-1","items":[{"sku":"a","quantity":"hunter2"}]}"#, 422, "/items/0/quantity"),
        ] {
            let problem = order.check(body.as_bytes()).expect_err(body);
            assert_eq!(problem.status().as_u16(), status, "{body}");
            let told = Value::Object(problem.body());
            assert!(!told.to_string().contains("hunter2"), "no value is told: {told}");
            if status == 422 {
                let errors = told["errors"].as_array().expect("told");
                assert!(errors.iter().any(|fault| fault["pointer"] == pointer), "{body}: {told}");
            }
        }
    }
}
