//! The communication toolkit: what a service needs so that one request can be followed through all of them.
//!
//! | module | what lives there |
//! |---|---|
//! | [`names`] | attribute keys and header names, each with its source; shared with the dashboard |
//! | [`correlation`] | the correlation ID, and which one the current task works for |
//! | [`propagation`] | trace context, baggage and correlation ID into and out of headers |
//! | [`http`] | a client for the services one calls, and middleware for the routes one serves |
//! | [`grpc`] | the same for gRPC, and the `UserService` of the demo shop |
//! | [`gateway`] | the one door to several services: table of routes, limits, cache, aggregation |
//! | [`security`] | who calls, and what they may do |
//! | [`queue`] | exchanges, queues and consumers, behind a `Broker` trait: RabbitMQ, or a broker on a file |
//! | [`bus`] | events within one process, for parts of it that do not know each other |
//! | [`retry`] | trying again what failed for a passing reason |
//! | [`breaker`] | circuit breakers: what is down is not called |
//! | [`resilience`] | timeouts, retries within a budget, bulkheads, rate limits, caches, and their order |
//! | [`deadline`] | how long somebody still waits for what a task does |
//! | `metrics` | instruments that several of them make |
//! | `handling` | running a handler that may take too long or panic |
//! | [`shutdown`] | one signal that tells all parts of a process to end |
//! | [`testing`] | for tests of services: a broker in memory, calls that fail when they are to |
//!
//! What must not live here: anything of the shop or of the dashboard, and the OpenTelemetry SDK. The toolkit
//! uses the API crate alone, so a team keeps its own exporter setup, or takes [`crate::telemetry`].

pub mod names;

#[cfg(feature = "comms")]
pub mod breaker;
#[cfg(feature = "comms")]
pub mod bus;
#[cfg(feature = "comms")]
pub mod correlation;
#[cfg(feature = "comms")]
pub mod deadline;
#[cfg(feature = "comms")]
pub mod gateway;
#[cfg(feature = "comms")]
pub mod grpc;
#[cfg(feature = "comms")]
mod handling;
#[cfg(feature = "comms")]
pub mod http;
#[cfg(feature = "comms")]
mod metrics;
#[cfg(feature = "comms")]
pub mod propagation;
#[cfg(feature = "comms")]
pub mod queue;
#[cfg(feature = "comms")]
pub mod resilience;
#[cfg(feature = "comms")]
pub mod retry;
#[cfg(feature = "comms")]
pub mod security;
#[cfg(feature = "comms")]
pub mod shutdown;
#[cfg(feature = "comms")]
pub mod testing;

/// The instrumentation scope of every span and metric that the toolkit makes.
pub const SCOPE: &str = "throughline.comms";

/// The tracer of the toolkit's spans, asked for when the first span is made: whoever makes spans keeps one, and may be there before
/// the provider is. Clones are one.
#[cfg(feature = "comms")]
#[derive(Clone, Default)]
struct Tracer(std::sync::Arc<std::sync::OnceLock<opentelemetry::global::BoxedTracer>>);

#[cfg(feature = "comms")]
impl Tracer {
    fn get(&self) -> &opentelemetry::global::BoxedTracer {
        self.0.get_or_init(|| opentelemetry::global::tracer(SCOPE))
    }
}
