//! GraphQL at the gateway, over the same services as its REST.
//!
//! A list of orders with their customers makes one call to users, however long it is: customers are asked for together.
//! What a query may cost is bounded before it runs: its depth, and its complexity, where a list counts as many times as it may
//! be long. Errors have a code and the correlation ID.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::dataloader::{DataLoader, Loader};
use async_graphql::{
    Context, EmptySubscription, Error, ErrorExtensions as _, InputObject, Object, Request, Response, Result,
    Schema,
};
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use opentelemetry::KeyValue;
use reqwest::Method;
use tonic::Code;
use utoipa::OpenApi;

use super::errors::{ShopError, told};
use crate::comms::grpc::{UserGrpcClient, is_rejected, user};
use crate::comms::http::{CallError, ServiceHttpClient};
use crate::comms::{correlation, deadline};
use crate::demo::api::{GraphAnswer, GraphQuery, Item, OrderV2, PlaceOrder, Product};
use crate::demo::world::{note, step};

/// How deep a query may be, and how much it may cost: a field costs 1, a list what one of it costs times its length, and a call to
/// another service [`CALL`], so that a query under many names makes 40 of them at most.
const DEPTH: usize = 8;
const COMPLEXITY: usize = 2_000;
const CALL: usize = 50;
/// Orders that a query may list.
const MOST: i32 = 100;

/// Whom the gateway asks.
#[derive(Clone)]
pub(super) struct Services {
    pub users: UserGrpcClient,
    pub orders: ServiceHttpClient,
    pub inventory: ServiceHttpClient,
}

type Shop = Schema<Query, Mutation, EmptySubscription>;

/// `POST /graphql`.
pub(super) fn routes(services: Services) -> Router {
    let schema = Schema::build(Query, Mutation, EmptySubscription)
        .limit_depth(DEPTH)
        .limit_complexity(COMPLEXITY)
        .limit_recursive_depth(32)
        .limit_directives(16)
        .data(services.clone())
        .finish();
    Router::new().route("/graphql", post(answer)).with_state((schema, services))
}

/// The interface, in GraphQL's own language.
pub(super) fn interface() -> String {
    Schema::build(Query, Mutation, EmptySubscription).finish().sdl()
}

/// How it is asked, as OpenAPI.
#[derive(OpenApi)]
#[openapi(paths(answer))]
struct Document;

pub(super) fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// Ask over GraphQL, or place an order
#[utoipa::path(
    post, path = "/graphql", operation_id = "graphql", request_body = GraphQuery,
    responses((
        status = 200, body = GraphAnswer,
        description = "also of a query that fails, in part or as a whole: `errors` says with what",
    )),
)]
async fn answer(
    State((schema, services)): State<(Shop, Services)>,
    Json(request): Json<Request>,
) -> Json<Response> {
    // Its customers are asked for together, and for this request alone.
    let users = DataLoader::new(Users(services.users), |work| {
        tokio::spawn(deadline::carry(correlation::carry(work)))
    });
    let operation = request.operation_name.clone().unwrap_or_default();
    let name: String = operation.chars().take(64).collect();
    note([KeyValue::new("graphql.operation.name", name.clone())]);
    let attributes = vec![KeyValue::new("graphql.operation.name", name)];
    let mut response =
        step("graphql.execute", attributes, schema.execute(request.data(Arc::new(users)))).await;
    let id = correlation::current().map(|id| id.as_str().to_owned());
    for error in &mut response.errors {
        let extensions = error.extensions.get_or_insert_default();
        if extensions.get("code").is_none() {
            extensions.set("code", "BAD_QUERY");
        }
        extensions.set("correlationId", id.clone());
    }
    if !response.errors.is_empty() {
        let first = response.errors.first().map_or("", |error| error.message.as_str());
        tracing::warn!(errors = response.errors.len(), "GraphQL query with errors: {first}");
        note([KeyValue::new("graphql.errors", i64::try_from(response.errors.len()).unwrap_or(i64::MAX))]);
    }
    Json(response)
}

/// Asks users for several at once.
struct Users(UserGrpcClient);

impl Loader<String> for Users {
    type Value = user::User;
    type Error = Error;

    async fn load(&self, ids: &[String]) -> Result<HashMap<String, user::User>> {
        let users = self.0.get_users(ids).await.map_err(of_status)?;
        Ok(users.into_iter().map(|user| (user.id.clone(), user)).collect())
    }
}

struct Query;

#[Object]
impl Query {
    /// The newest orders, newest first.
    #[graphql(complexity = "CALL + usize::try_from(limit).unwrap_or(1) * child_complexity")]
    async fn orders(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 10, validator(minimum = 1, maximum = 100))] limit: i32,
    ) -> Result<Vec<OrderNode>> {
        let path = format!("/v2/orders?limit={}", limit.clamp(1, MOST));
        let orders: Vec<OrderV2> = get(&services(ctx)?.orders, &path, "/v2/orders").await?;
        Ok(orders.into_iter().map(OrderNode).collect())
    }

    /// One order; none where there is no such order.
    #[graphql(complexity = "CALL + child_complexity")]
    async fn order(
        &self,
        ctx: &Context<'_>,
        #[graphql(validator(min_length = 1, max_length = 64))] id: String,
    ) -> Result<Option<OrderNode>> {
        found(one(&services(ctx)?.orders, "/v2/orders/", &id, "/v2/orders/{id}").await)
            .map(|order| order.map(OrderNode))
    }

    /// All products.
    #[graphql(complexity = "CALL + 20 * child_complexity")]
    async fn products(&self, ctx: &Context<'_>) -> Result<Vec<ProductNode>> {
        let products: Vec<Product> = get(&services(ctx)?.inventory, "/products", "/products").await?;
        Ok(products.into_iter().map(ProductNode).collect())
    }

    /// One product; none where there is no such product.
    #[graphql(complexity = "CALL + child_complexity")]
    async fn product(
        &self,
        ctx: &Context<'_>,
        #[graphql(validator(min_length = 1, max_length = 64))] sku: String,
    ) -> Result<Option<ProductNode>> {
        found(one(&services(ctx)?.inventory, "/products/", &sku, "/products/{sku}").await)
            .map(|product| product.map(ProductNode))
    }

    /// One customer; none where nobody has that ID.
    async fn user(
        &self,
        ctx: &Context<'_>,
        #[graphql(validator(min_length = 1, max_length = 64))] id: String,
    ) -> Result<Option<UserNode>> {
        customer(ctx, id).await
    }
}

struct Mutation;

/// An order as it is placed.
#[derive(InputObject)]
struct OrderInput {
    #[graphql(validator(min_length = 1, max_length = 64))]
    user_id: String,
    #[graphql(validator(min_items = 1, max_items = 50))]
    items: Vec<ItemInput>,
    card: Option<String>,
}

#[derive(InputObject)]
struct ItemInput {
    #[graphql(validator(min_length = 1, max_length = 64))]
    sku: String,
    #[graphql(validator(minimum = 1, maximum = 1000))]
    quantity: u32,
}

#[Object]
impl Mutation {
    /// Places an order.
    #[graphql(complexity = "CALL + child_complexity")]
    async fn place_order(&self, ctx: &Context<'_>, order: OrderInput) -> Result<OrderNode> {
        let items = order.items.into_iter().map(|item| Item { sku: item.sku, quantity: item.quantity });
        let order = PlaceOrder {
            user_id: order.user_id,
            items: items.collect(),
            card: order.card.unwrap_or_else(|| crate::demo::api::cards::GOOD.to_owned()),
        };
        let orders = &services(ctx)?.orders;
        let call = orders.request(Method::POST, "/v2/orders").template("/v2/orders").json(&order);
        Ok(OrderNode(call.send().await.map_err(of_call)?))
    }
}

/// An order.
struct OrderNode(OrderV2);

#[Object(name = "Order")]
impl OrderNode {
    async fn id(&self) -> &str {
        &self.0.id
    }

    /// placed, paid, payment_failed or cancelled.
    async fn status(&self) -> String {
        serde_json::to_value(self.0.status)
            .ok()
            .and_then(|v| Some(v.as_str()?.to_owned()))
            .unwrap_or_default()
    }

    /// In the smallest unit of the currency.
    async fn amount(&self) -> u64 {
        self.0.total.amount
    }

    async fn currency(&self) -> &str {
        &self.0.total.currency
    }

    /// In milliseconds since 1970.
    async fn placed_at_ms(&self) -> Option<u64> {
        self.0.placed_at_ms
    }

    /// Who placed it; none where nobody has that ID any more.
    async fn user(&self, ctx: &Context<'_>) -> Result<Option<UserNode>> {
        customer(ctx, self.0.user_id.clone()).await
    }
}

/// A product.
struct ProductNode(Product);

#[Object(name = "Product")]
impl ProductNode {
    async fn sku(&self) -> &str {
        &self.0.sku
    }

    async fn name(&self) -> &str {
        &self.0.name
    }

    /// In cents.
    async fn price(&self) -> u64 {
        self.0.price
    }

    async fn in_stock(&self) -> u32 {
        self.0.in_stock
    }
}

/// A customer.
struct UserNode(user::User);

#[Object(name = "User")]
impl UserNode {
    async fn id(&self) -> &str {
        &self.0.id
    }

    async fn name(&self) -> &str {
        &self.0.name
    }
}

fn services<'a>(ctx: &Context<'a>) -> Result<&'a Services> {
    ctx.data::<Services>()
}

async fn customer(ctx: &Context<'_>, id: String) -> Result<Option<UserNode>> {
    Ok(ctx.data::<Arc<DataLoader<Users>>>()?.load_one(id).await?.map(UserNode))
}

async fn get<T: serde::de::DeserializeOwned>(
    service: &ServiceHttpClient,
    path: &str,
    template: &'static str,
) -> Result<T> {
    service.request(Method::GET, path).template(template).send().await.map_err(of_call)
}

/// One thing by its ID, which is a segment of the path: what is none leads to no other route.
async fn one<T: serde::de::DeserializeOwned>(
    service: &ServiceHttpClient,
    before: &str,
    id: &str,
    template: &'static str,
) -> Result<T, Option<CallError>> {
    if !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(None);
    }
    let path = format!("{before}{id}");
    service.request(Method::GET, path).template(template).send().await.map_err(Some)
}

/// What is not there is `null` and no error.
fn found<T>(answer: Result<T, Option<CallError>>) -> Result<Option<T>> {
    match answer {
        Ok(thing) => Ok(Some(thing)),
        Err(None) => Ok(None),
        Err(Some(error)) if error.status().is_some_and(|status| status == 404) => Ok(None),
        Err(Some(error)) => Err(of_call(error)),
    }
}

fn of_call(error: CallError) -> Error {
    let code = match error.status() {
        Some(status) if status.is_client_error() => "REFUSED",
        _ => "UNAVAILABLE",
    };
    let message = match error.status() {
        Some(status) if status.is_client_error() => told(&error),
        _ => ShopError::from(error).message,
    };
    coded(code, message)
}

fn of_status(status: tonic::Status) -> Error {
    match status.code() {
        Code::NotFound | Code::InvalidArgument => coded("REFUSED", status.message()),
        _ if is_rejected(&status) => coded("UNAVAILABLE", "users is not available right now"),
        _ => coded("UNAVAILABLE", "a service did not answer"),
    }
}

fn coded(code: &'static str, message: impl Into<String>) -> Error {
    Error::new(message).extend_with(|_, extensions| extensions.set("code", code))
}
