//! A service behind all layers of `comms::resilience`, and what a caller sees while it fails and comes back.
//!
//! ```text
//! cargo run --example resilience --no-default-features --features comms -- http://127.0.0.1:4317
//! ```
//!
//! With a dashboard at that address, the breaker `stock` is on it, with each change of its state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use throughline::comms::breaker::{Breaker, BreakerConfig, Window};
use throughline::comms::resilience::{
    BreakerLayer, Bulkhead, BulkheadLayer, Cache, CacheConfig, CacheLayer, RateLimit, RateLimitLayer, Retry,
    RetryLayer, TimeoutLayer,
};
use throughline::telemetry;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt as _};

/// What is asked of the service: how many of something there are. It never answers while it is ill.
#[derive(Clone, Default)]
struct Stock {
    ill: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
}

impl Stock {
    async fn left(self, sku: &'static str) -> Result<String, BoxError> {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        if self.ill.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Ok(format!("{sku}: {} left", 100 - asked))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let telemetry = telemetry::init(&telemetry::Settings {
        otlp_endpoint: std::env::args().nth(1),
        ..telemetry::Settings::new("shelf", "1.0.0")
    })?;
    let stock = Stock::default();
    let asked = stock.clone();
    let breaker = Breaker::new(
        "stock",
        BreakerConfig {
            window: Window::Calls(10),
            minimum_calls: 4,
            open_for: Duration::from_millis(400),
            probes: 2,
            ..BreakerConfig::default()
        },
    )
    .with_peer("stock");
    let cache = CacheConfig {
        fresh_for: Duration::from_millis(50),
        stale_for: Duration::from_secs(1),
        ..CacheConfig::default()
    };
    // From the outside in; the module's docs say why in this order.
    let mut service = ServiceBuilder::new()
        .layer(CacheLayer::new(Cache::new(cache), |sku: &&'static str| Some(*sku)))
        .layer(RateLimitLayer::new(RateLimit::per_second(200)))
        .layer(TimeoutLayer::new(Duration::from_millis(300)))
        .layer(RetryLayer::new(Retry::default()))
        .layer(BulkheadLayer::new(Bulkhead::new("stock", 8, Duration::from_millis(20))))
        .layer(BreakerLayer::new(breaker.clone()))
        .layer(TimeoutLayer::new(Duration::from_millis(60)))
        .service(tower::service_fn(move |sku| asked.clone().left(sku)));

    println!("well:        {}", show(&mut service, "lamp").await);
    stock.ill.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(60)).await;
    println!("ill:         {} (an old answer)", show(&mut service, "lamp").await);
    println!("ill:         {} (there is none of it)", show(&mut service, "desk").await);
    println!("ill:         {}", show(&mut service, "desk").await);
    println!("breaker:     {:?} after {} calls", breaker.state(), stock.asked.load(Ordering::Relaxed));
    stock.ill.store(false, Ordering::Relaxed);
    while breaker.state() != throughline::comms::breaker::State::Closed {
        tokio::time::sleep(Duration::from_millis(100)).await;
        println!("well again:  {} (breaker: {:?})", show(&mut service, "desk").await, breaker.state());
    }
    telemetry.shutdown().await;
    Ok(())
}

async fn show<S>(service: &mut S, sku: &'static str) -> String
where
    S: Service<&'static str, Response = String, Error = BoxError>,
{
    let answer = async { service.ready().await?.call(sku).await }.await;
    answer.unwrap_or_else(|error| format!("no answer: {error}"))
}
