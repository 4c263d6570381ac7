//! The eight services. Each file offers `build`, which gives a router and consumers.

mod analytics;
mod bank;
mod errors;
mod gateway;
mod graphql;
mod inventory;
mod notifications;
mod orders;
mod payments;
mod reservations;
mod scenarios;
mod shelf;
mod users;

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use self::errors::ShopError;
pub use self::inventory::CATALOG;
use super::service::{Parts, Shared};
use super::shop::ServiceName;

/// What a service says that fails because it is meant to.
pub const FAILING: &str = "it fails at the moment";

/// The answer of such a service.
pub fn failed(status: StatusCode) -> Response {
    ShopError::new(status, FAILING).into_response()
}

/// The interface of a service with REST, as OpenAPI.
pub fn document(of: ServiceName) -> Option<utoipa::openapi::OpenApi> {
    match of {
        ServiceName::Gateway => Some(gateway::document()),
        ServiceName::Orders => Some(orders::document()),
        ServiceName::Payments => Some(payments::document()),
        ServiceName::Inventory => Some(inventory::document()),
        ServiceName::Analytics => Some(analytics::document()),
        ServiceName::Bank => Some(bank::document()),
        // gRPC alone, with reflection, and messages alone.
        ServiceName::Users | ServiceName::Notifications => None,
    }
}

/// The parts of the service that the settings name.
///
/// # Errors
/// A setting is wrong.
pub async fn build(shared: &Shared) -> anyhow::Result<Parts> {
    match shared.settings.name {
        ServiceName::Gateway => gateway::build(shared),
        ServiceName::Orders => orders::build(shared).await,
        ServiceName::Users => users::build(shared).await,
        ServiceName::Payments => payments::build(shared).await,
        ServiceName::Inventory => inventory::build(shared).await,
        ServiceName::Notifications => Ok(notifications::build(shared)),
        ServiceName::Analytics => analytics::build(shared).await,
        ServiceName::Bank => bank::build(shared).await,
    }
}
