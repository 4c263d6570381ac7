//! The shop's inventory over gRPC: what orders asks of it, what customers are told of it, and what any other client finds.

use std::time::Duration;

use crate::demo_support::story::{client, in_stock, place};
use crate::demo_support::{Demo, Receiver, Seen};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use serde_json::{Value, json};
use throughline::comms::correlation::{self, CorrelationId};
use throughline::comms::grpc::{GrpcClient, channel};
use throughline::comms::names;
use throughline::comms::resilience::Policy;
use throughline::comms::security::{SigningKey, TokenSource};
use throughline::demo::inventory::rpc::inventory_service_client::InventoryServiceClient;
use throughline::demo::inventory::rpc::{Item, ReleaseRequest, ReserveRequest};
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

/// The span of a call, by who made it or served it.
fn call<'a>(spans: &'a [Seen], service: &str, method: &str, kind: SpanKind) -> Option<&'a Seen> {
    spans.iter().find(|seen| seen.service == service && seen.span.name == method && seen.span.kind() == kind)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_asks_users_and_inventory_over_grpc() {
    let (receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    place(&demo, "test-grpc-1", "tok_visa").await;
    let methods =
        [("users", "user.UserService/GetUser"), ("inventory", "inventory.InventoryService/Reserve")];
    let spans = receiver
        .spans("test-grpc-1", |spans| {
            let served = |&(service, method)| call(spans, service, method, SpanKind::Server).is_some();
            methods.iter().all(served) && call(spans, "orders", "POST /orders", SpanKind::Server).is_some()
        })
        .await;
    let order = call(&spans, "orders", "POST /orders", SpanKind::Server).expect("the order");
    for (service, method) in methods {
        let asks = call(&spans, "orders", method, SpanKind::Client).expect("orders asks");
        assert_eq!(asks.span.parent_span_id, order.span.span_id, "{method} is below the order");
        let served = call(&spans, service, method, SpanKind::Server).expect("it is served");
        assert_eq!(served.span.parent_span_id, asks.span.span_id, "{method}");
        for seen in [asks, served] {
            assert_eq!(seen.text(names::RPC_SYSTEM_NAME), "grpc", "{method}");
            assert_eq!(seen.text(names::RPC_RESPONSE_STATUS_CODE), "OK", "{method}");
        }
        assert_eq!(asks.text(names::BREAKER_NAME), service);
        assert_eq!(asks.text(names::SERVICE_PEER_NAME), service);
    }
    assert!(call(&spans, "gateway", methods[0].1, SpanKind::Client).is_none(), "the gateway need not ask");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_told_what_is_out_of_stock_or_unknown() {
    let (_receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    let before = in_stock(&demo).await;
    for (user, sku, status, says) in [
        ("u-7", "clock-first-edition", 409, "clock-first-edition is out of stock"),
        ("u-7", "sofa-blue", 404, "product not found"),
        ("u-999", "lamp-brass", 404, "User not found"),
    ] {
        let items = json!([{ "sku": "lamp-brass", "quantity": 1 }, { "sku": sku, "quantity": 1 }]);
        for version in ["", "/v1", "/v2"] {
            let url = format!("{}{version}/orders", demo.gateway());
            let order = json!({ "user_id": user, "items": items });
            let answer = client().post(url).json(&order).send().await.expect("an answer");
            assert_eq!(answer.status(), status, "{version} {user} {sku}");
            let told: Value = answer.json().await.expect("a reason");
            assert_eq!(told["error"], says, "{version}");
        }
        let query = format!(
            "mutation {{ placeOrder(order: {{ userId: \"{user}\", items: [{{ sku: \"{sku}\", quantity: 1 }}] }}) {{ id }} }}"
        );
        let url = format!("{}/graphql", demo.gateway());
        let asked = client().post(url).json(&json!({ "query": query })).send().await.expect("an answer");
        let told: Value = asked.json().await.expect("JSON");
        assert_eq!(told["errors"][0]["message"], says, "{told}");
        assert_eq!(told["errors"][0]["extensions"]["code"], "REFUSED", "{told}");
    }
    assert_eq!(in_stock(&demo).await, before, "all of an order is reserved or none");
}

fn items(of: &[(&str, u32)]) -> Vec<Item> {
    of.iter().map(|(sku, quantity)| Item { sku: (*sku).into(), quantity: *quantity }).collect()
}

fn reserve(of: &[(&str, u32)]) -> ReserveRequest {
    ReserveRequest { order_id: "o-1".into(), items: items(of) }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_inventory_service_serves_reservations_health_and_reflection_beside_its_products() {
    let (receiver, otlp) = Receiver::start().await;
    let key = SigningKey::generate("test").expect("a key");
    let demo = Demo::start_with(otlp, &[format!("--trust-key={}", key.public())]);
    let address = format!("http://{}", demo.services[4]);
    let policy = Policy::plain(Duration::from_secs(20));
    let source = TokenSource::new(key);
    let inventory = |scope: Option<&str>| -> InventoryServiceClient<GrpcClient<Channel>> {
        let credentials = scope.map(|scope| source.for_audience("inventory", &[scope]));
        let channel = channel(&address, "test", "inventory", &policy, None, credentials);
        InventoryServiceClient::new(channel.expect("a channel"))
    };
    let before = in_stock(&demo).await;
    for (scope, code) in [(None, Code::Unauthenticated), (Some("stock:read"), Code::PermissionDenied)] {
        let id = CorrelationId::parse("test-refused-1").expect("an ID");
        let mut client = inventory(scope);
        let refused = correlation::scope(id, client.reserve(reserve(&[("lamp-brass", 1)]))).await;
        assert_eq!(refused.expect_err("refused").code(), code);
        let request = ReleaseRequest { order_id: "o-1".into(), items: items(&[("lamp-brass", 1)]) };
        assert_eq!(inventory(scope).release(request).await.expect_err("refused").code(), code);
    }
    let why = |spans: &[Seen]| spans.iter().map(|seen| seen.text(names::ERROR_TYPE)).collect::<Vec<_>>();
    let spans = receiver.spans("test-refused-1", |spans| spans.len() == 2).await;
    assert_eq!(why(&spans), ["no_token", "insufficient_scope"], "their spans say so");
    let mut inventory = inventory(Some("stock:write"));
    for (wanted, code) in [
        (&[][..], Code::InvalidArgument),
        (&[("lamp-brass", 0)][..], Code::InvalidArgument),
        (&[("lamp-brass", 1), ("sofa-blue", 1)][..], Code::NotFound),
        (&[("lamp-brass", 1), ("clock-first-edition", 1)][..], Code::FailedPrecondition),
    ] {
        let refused = inventory.reserve(reserve(wanted)).await.expect_err("refused");
        assert_eq!(refused.code(), code, "{wanted:?}: {refused}");
    }
    let wanted = [("lamp-brass", 2), ("vase-clay", 1)];
    let made = inventory.reserve(reserve(&wanted)).await.expect("reserved").into_inner();
    assert_eq!((made.amount, made.id.starts_with("res-")), (16_050, true), "{made:?}");
    let request = ReleaseRequest { order_id: "o-1".into(), items: items(&wanted) };
    inventory.release(request).await.expect("released");
    let none = ReleaseRequest { order_id: "o-1".into(), items: Vec::new() };
    assert_eq!(inventory.release(none).await.expect_err("refused").code(), Code::InvalidArgument);
    assert_eq!(in_stock(&demo).await, before, "what was reserved is given back");
    // What is asked for over gRPC is not there over REST, nor anything else.
    for path in ["/reservations", "/releases", "/elsewhere"] {
        let answer = client().post(format!("{address}{path}")).send().await.expect("an answer");
        assert_eq!(answer.status(), 404, "{path}");
    }
    tells_of_itself(address).await;
}

/// Health and reflection, which want no token.
async fn tells_of_itself(address: String) {
    let channel = Endpoint::try_from(address).expect("a URI").connect().await.expect("connected");
    let mut health = HealthClient::new(channel.clone());
    for service in ["", "inventory.InventoryService"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.expect("an answer");
        assert_eq!(answer.into_inner().status, 1, "{service:?} serves");
    }
    let mut reflection = ServerReflectionClient::new(channel);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol("inventory.InventoryService".into())),
    };
    let answers = reflection.server_reflection_info(futures_util::stream::iter([request])).await;
    let answer = answers.expect("a stream").into_inner().message().await.expect("told").expect("an answer");
    assert!(format!("{answer:?}").contains("FileDescriptorResponse"), "{answer:?}");
}
