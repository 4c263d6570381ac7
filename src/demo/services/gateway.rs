//! The door for customers, on the toolkit's gateway: reads are passed on by its table, an order is placed by a handler of its
//! own that refuses what does not fit before anybody is asked.

use std::time::Duration;

use axum::extract::{MatchedPath, Path, State};
use axum::http::request::Parts as RequestHead;
use axum::http::{StatusCode, header};
use axum::routing::{get, post};
use axum::{Json, Router};
use opentelemetry::KeyValue;
use reqwest::Method;
use serde_json::Value;
use utoipa::OpenApi;

use super::errors::ShopError;
use super::graphql::{self, Services};
use crate::comms::breaker::{BreakerConfig, Window};
use crate::comms::gateway::{Aggregate, CacheRule, ClientLimit, Gateway, Route, Upstream};
use crate::comms::http::ServiceHttpClient;
use crate::comms::resilience::{Policy, Retry, RetryBudget};
use crate::comms::retry::Backoff;
use crate::comms::security::Principal;
use crate::demo::api::{OrderPage, PlaceOrder};
use crate::demo::documents;
use crate::demo::service::{Parts, Shared};
use crate::demo::shop::{SERVICES, ServiceName};
use crate::demo::world::note;

pub fn build(shared: &Shared) -> anyhow::Result<Parts> {
    let settings = &shared.settings;
    let services = Services {
        users: shared.users(Duration::from_secs(2))?,
        orders: shared.client_with(ServiceName::Orders, &settings.orders_url, patient())?,
        inventory: shared.client_with(ServiceName::Inventory, &settings.inventory_url, thrifty())?,
    };
    // Asking a service and passing a request on to it are two ways to the same: one breaker before it.
    let behind = |peer, url: &str, policy, client: &ServiceHttpClient| {
        let upstream = shared.upstream(peer, url, policy)?;
        anyhow::Ok(client.breaker().cloned().into_iter().fold(upstream, Upstream::with_breaker))
    };
    let orders = behind(ServiceName::Orders, &settings.orders_url, patient(), &services.orders)?;
    let stock = behind(ServiceName::Inventory, &settings.inventory_url, thrifty(), &services.inventory)?;
    let gateway = TABLE.iter().fold(
        Gateway::new(shared.name()).upstream(orders).upstream(stock),
        |gateway, (pattern, service, target)| {
            let route = Route::get(pattern).to(service.text(), target);
            gateway.route(if *pattern == "/catalog" { route.cached(CATALOG_RULE) } else { route })
        },
    );
    let gateway = gateway
        .aggregate(page_of_order())
        .own(places(&services)?)
        .own(graphql::routes(services))
        .limit(ClientLimit::new(PER_SECOND, PER_SECOND).by(kind_of_client))
        .most_body(MOST_BODY);
    let router = shared
        .instrument(gateway.into_router()?)
        .merge(super::scenarios::door(shared))
        .merge(documents::routes(document()))
        .merge(interfaces());
    Ok(Parts { router, consumers: Vec::new() })
}

/// Reads, and where they go.
const TABLE: [(&str, ServiceName, &str); 6] = [
    ("/orders/{id}", ServiceName::Orders, "/orders/{id}"),
    ("/v1/orders/{id}", ServiceName::Orders, "/v1/orders/{id}"),
    ("/v2/orders/{id}", ServiceName::Orders, "/v2/orders/{id}"),
    ("/v2/orders", ServiceName::Orders, "/v2/orders"),
    ("/catalog", ServiceName::Inventory, "/products"),
    ("/catalog/{sku}", ServiceName::Inventory, "/products/{sku}"),
];

/// An order is placed by the gateway itself, which knows what one looks like.
fn places(services: &Services) -> anyhow::Result<Router> {
    let ending = documents::version_1().layer();
    let first = Router::new().route("/orders", post(place_order)).route("/v1/orders", post(place_order));
    let all = first.layer(ending).route("/v2/orders", post(place_order));
    let order = documents::request::<PlaceOrder>()?;
    Ok(all.layer(order.layer()).with_state(services.clone()))
}

/// One order and all products, joined
///
/// Where inventory does not answer, `catalog` is null and `errors` says why.
#[utoipa::path(
    get, path = "/pages/order/{id}", operation_id = "showOrderPage", params(("id" = String, Path)),
    responses((status = 200, body = OrderPage), (status = 404, description = "there is no such order")),
)]
fn page_of_order() -> Aggregate {
    Aggregate::get("/pages/order/{id}").required("order", "orders", "/orders/{id}").optional(
        "catalog",
        "inventory",
        "/products",
    )
}

/// What is the gateway's own, beside GraphQL.
#[derive(OpenApi)]
#[openapi(paths(page_of_order))]
struct Document;

/// What customers are offered: its own, and what the services behind say of it, under the gateway's own paths.
pub fn document() -> utoipa::openapi::OpenApi {
    let mut document = super::orders::document();
    let behind = super::inventory::document();
    let paths = &behind.paths.paths;
    for (pattern, service, target) in TABLE {
        if let Some(item) = paths.get(target).filter(|_| service == ServiceName::Inventory) {
            document.paths.paths.insert(pattern.to_owned(), item.clone());
        }
    }
    if let (Some(own), Some(theirs)) = (&mut document.components, behind.components) {
        own.schemas.extend(theirs.schemas);
    }
    document.merge(Document::openapi());
    document.merge(graphql::document());
    documents::named(document, ServiceName::Gateway)
}

/// The interfaces of all services, for people: they cannot reach all of them. `/documents/{service}` is OpenAPI.
fn interfaces() -> Router {
    let show = |Path(name): Path<String>| async move {
        let found = SERVICES
            .iter()
            .find(|service| service.text == name)
            .and_then(|service| super::document(service.name));
        found.map(Json).ok_or_else(|| ShopError::not_found("a document of such a service"))
    };
    let language = || async { ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], graphql::interface()) };
    Router::new().route("/documents/{name}", get(show)).route("/schema.graphql", get(language))
}

/// Requests a second that the gateway takes of one kind of client.
const PER_SECOND: u32 = 60;
/// An order is short, in bytes.
const MOST_BODY: usize = 64 << 10;

/// Inventory says for how long its products hold; ten seconds longer where it fails.
const CATALOG_RULE: CacheRule =
    CacheRule { fresh_for: Duration::ZERO, stale_if_error: Duration::from_secs(10), most_body: 256 << 10 };

/// Clients are told apart by what they say they are, as the demo's customers have no other name and all one address.
fn kind_of_client(request: &RequestHead, _: Option<&Principal>) -> String {
    let agent = request.headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    agent.unwrap_or_default().to_owned()
}

/// The catalog is what most customers look at: when it fails, trying again must not double its load.
fn thrifty() -> Policy {
    let budget = RetryBudget { per_second: 1, ..RetryBudget::default() };
    Policy::default().retry(Retry::new(Backoff { retries: 2, ..Backoff::default() }, budget))
}

/// Orders still answers reads while it cannot take an order, and its own breaker needs some failed orders to see that;
/// so more has to fail before orders is not asked at all.
fn patient() -> Policy {
    let breaker = BreakerConfig {
        window: Window::Time(Duration::from_secs(30)),
        minimum_calls: 20,
        failure_rate: 0.8,
        ..BreakerConfig::default()
    };
    Policy::with_timeout(Duration::from_secs(8)).breaker(breaker)
}

/// By the version that was asked for, if any: orders has the same paths.
async fn place_order(
    State(services): State<Services>,
    path: MatchedPath,
    Json(order): Json<PlaceOrder>,
) -> Result<(StatusCode, Json<Value>), ShopError> {
    note([KeyValue::new("user.id", order.user_id.clone())]);
    let path = path.as_str().to_owned();
    let call = services.orders.request(Method::POST, path.clone()).template(path).json(&order);
    let placed: Value = call.send().await?;
    let id = placed["id"].as_str().unwrap_or_default().to_owned();
    note([KeyValue::new("order.id", id.clone())]);
    tracing::info!(order.id = %id, user.id = %order.user_id, "order accepted");
    Ok((StatusCode::CREATED, Json(placed)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_holds_all_that_customers_are_offered() {
        let paths = document().paths.paths;
        // What has no version in its path is there for who knew it before there were versions.
        let table = TABLE.iter().map(|(pattern, ..)| *pattern).filter(|pattern| *pattern != "/orders/{id}");
        for path in table.chain(["/v1/orders", "/v2/orders", "/graphql", "/pages/order/{id}"]) {
            assert!(paths.contains_key(path), "{path}");
        }
        assert!(paths["/v2/orders"].get.is_some() && paths["/v2/orders"].post.is_some());
        assert!(paths["/graphql"].post.is_some() && paths["/pages/order/{id}"].get.is_some());
    }
}
