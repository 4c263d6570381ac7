//! Instruments that several parts of the toolkit make: durations, all with the same boundaries, and the count of what is refused.
//!
//! Whoever measures makes its own once, as it makes its tracer: the provider has to be there by then.

use std::sync::Arc;

use axum::extract::MatchedPath;
use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, StringValue, global};

use super::{SCOPE, names};

/// What semantic conventions advise for durations, in seconds. The SDK's own are meant for milliseconds: nearly every call would
/// be in the first of them.
const BOUNDARIES: [f64; 14] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

/// A histogram of durations in seconds.
pub(super) fn durations(name: &'static str, description: &'static str) -> Histogram<f64> {
    let meter = global::meter(SCOPE);
    let histogram = meter.f64_histogram(name).with_unit("s").with_description(description);
    histogram.with_boundaries(BOUNDARIES.to_vec()).build()
}

/// A counter of what its unit says, such as `{message}`.
pub(super) fn counter(name: &'static str, unit: &'static str, description: &'static str) -> Counter<u64> {
    global::meter(SCOPE).u64_counter(name).with_unit(unit).with_description(description).build()
}

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Http,
    Grpc,
}

/// Counts what is turned away: [`names::METRIC_REQUESTS_REFUSED`].
#[derive(Clone, Debug)]
pub(super) struct Refusals(Counter<u64>);

impl Default for Refusals {
    fn default() -> Self {
        let about = "Requests that were refused, or a part of which was, with the reason";
        Self(counter(names::METRIC_REQUESTS_REFUSED, "{request}", about))
    }
}

impl Refusals {
    /// A request that came. `place` is its route or its method, where known.
    pub fn count(&self, transport: Transport, place: Option<impl Into<StringValue>>, reason: &'static str) {
        let (transport, key) = match transport {
            Transport::Http => ("http", names::HTTP_ROUTE),
            Transport::Grpc => ("grpc", names::RPC_METHOD),
        };
        let mut attributes = Vec::with_capacity(3);
        attributes.push(KeyValue::new(names::REFUSED_REASON, reason));
        attributes.push(KeyValue::new(names::REFUSED_TRANSPORT, transport));
        attributes.extend(place.map(|place| KeyValue::new(key, place.into())));
        self.0.add(1, &attributes);
    }

    /// A request over HTTP, to a route where it has one.
    pub fn count_at(&self, route: Option<&MatchedPath>, reason: &'static str) {
        self.count(Transport::Http, route.map(|path| path.as_str().to_owned()), reason);
    }

    /// A call that one of the parts of [`super::resilience`] refused, with that one's name where it has one.
    pub fn count_by(&self, by: Option<&Arc<str>>, reason: &'static str) {
        let by = by.map(|by| KeyValue::new(names::REFUSED_BY, Arc::clone(by)));
        let attributes: Vec<_> =
            [KeyValue::new(names::REFUSED_REASON, reason)].into_iter().chain(by).collect();
        self.0.add(1, &attributes);
    }
}
