//! The seven services. Each file offers `build`, which gives a router and consumers.

mod analytics;
mod errors;
mod gateway;
mod inventory;
mod notifications;
mod orders;
mod payments;
mod users;

pub use self::inventory::CATALOG;
use super::service::{Parts, Shared};
use super::shop::ServiceName;

/// The parts of the service that the settings name.
///
/// # Errors
/// A setting is wrong.
pub async fn build(shared: &Shared) -> anyhow::Result<Parts> {
    match shared.settings.name {
        ServiceName::Gateway => gateway::build(shared),
        ServiceName::Orders => orders::build(shared).await,
        ServiceName::Users => Ok(users::build(shared)),
        ServiceName::Payments => Ok(payments::build(shared)),
        ServiceName::Inventory => inventory::build(shared).await,
        ServiceName::Notifications => Ok(notifications::build(shared)),
        ServiceName::Analytics => Ok(analytics::build(shared)),
    }
}
