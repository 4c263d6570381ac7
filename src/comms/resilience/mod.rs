//! Calls that live with failure: timeouts, retries within a budget, breakers, and what else keeps one service's trouble
//! from becoming everybody's.
//!
//! Each part is a thing of its own, with a tower layer around any service whose error can say [`Refused`]. From the outside
//! in they stack in one order:
//!
//! | | layer | why here |
//! |---|---|---|
//! | 1 | [`CacheLayer`] | an answer at hand needs none of the rest; on an error an old one may do |
//! | 2 | [`RateLimitLayer`] | what is refused must not cost anything further in |
//! | 3 | [`TimeoutLayer`] | for the whole call: the caller's patience, retries and their waits included |
//! | 4 | [`RetryLayer`] | outside of what follows, so that each try asks breaker and bulkhead anew and holds no place while it waits |
//! | 5 | [`BulkheadLayer`] | a wait for a place is not the other side's slowness, so it is outside of the breaker |
//! | 6 | [`BreakerLayer`] | sees each try, and how long it took |
//! | 7 | [`TimeoutLayer`] | for one try: the breaker has to see that it took too long |
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use std::time::Duration;
//! use throughline::comms::breaker::{Breaker, BreakerConfig};
//! use throughline::comms::resilience::*;
//! use tower::{BoxError, ServiceBuilder, ServiceExt};
//!
//! let stock = tower::service_fn(|sku: String| async move { Ok::<_, BoxError>(format!("{sku}: 3 left")) });
//! let stock = ServiceBuilder::new()
//!     .layer(CacheLayer::new(Cache::new(CacheConfig::default()), |sku: &String| Some(sku.clone())))
//!     .layer(RateLimitLayer::new(RateLimit::per_second(100)))
//!     .layer(TimeoutLayer::new(Duration::from_secs(2)))
//!     .layer(RetryLayer::new(Retry::default()))
//!     .layer(BulkheadLayer::new(Bulkhead::new("stock", 20, Duration::from_millis(100))))
//!     .layer(BreakerLayer::new(Breaker::new("stock", BreakerConfig::default())))
//!     .layer(TimeoutLayer::new(Duration::from_millis(500)))
//!     .service(stock);
//! assert_eq!(stock.oneshot("lamp".to_owned()).await.unwrap(), "lamp: 3 left");
//! # });
//! ```
//!
//! The clients of [`super::http`] and [`super::grpc`] have 3, 4, 6 and 7 built in, in this order, with the settings of a
//! [`Policy`]; `examples/resilience.rs` shows a service behind all of them fail and come back.
//!
//! | file | what lives there |
//! |---|---|
//! | `policy.rs` | [`Policy`]: the settings of a client |
//! | `refused.rs` | [`Refused`]: a call that one of these parts ended |
//! | `timeout.rs`, `retry.rs`, `bulkhead.rs`, `breaker.rs`, `limit.rs`, `cache.rs` | the parts and their layers |

pub mod breaker;
pub mod bulkhead;
pub mod cache;
pub mod limit;
pub mod policy;
pub mod refused;
pub mod retry;
pub mod timeout;

pub use breaker::{BreakerLayer, Classify, Errors, HttpStatus};
pub use bulkhead::{Bulkhead, BulkheadLayer};
pub use cache::{Cache, CacheConfig, CacheLayer, Lifetimes};
pub use limit::{RateLimit, RateLimitLayer};
pub use policy::Policy;
pub use refused::Refused;
pub use retry::{Retry, RetryBudget, RetryLayer, Transient};
pub use timeout::TimeoutLayer;

/// Takes the service that `poll_ready` found ready, and leaves another in its place.
fn ready<S: Clone>(service: &mut S) -> S {
    let other = service.clone();
    std::mem::replace(service, other)
}
