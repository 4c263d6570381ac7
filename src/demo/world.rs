//! What lies outside the shop, simulated: mail relay, databases, and the time they take.
//!
//! Everything here appears in traces as a call to a named peer, as the real thing would.

use std::ops::Range;
use std::time::Duration;

use opentelemetry::context::FutureExt as _;
use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, global};

use crate::comms::names;
use crate::comms::queue::Failure;

/// The scope of the spans that the shop makes itself.
const SCOPE: &str = "throughline.demo";

/// How slow the world is.
#[derive(Clone, Copy, Debug)]
pub struct Pace(pub f64);

impl Pace {
    /// Lets some time pass, as work or a network would.
    pub async fn pause(self, millis: Range<u64>) {
        if self.0 > 0.0 && !millis.is_empty() {
            let picked = Duration::from_millis(rand::random_range(millis));
            tokio::time::sleep(picked.mul_f64(self.0)).await;
        }
    }
}

/// A call to something outside.
pub struct Outside {
    /// The peer's name on the graph.
    pub peer: &'static str,
    /// The span's name.
    pub operation: &'static str,
    pub attributes: Vec<KeyValue>,
    /// How long it takes, in milliseconds.
    pub takes: Range<u64>,
}

impl Outside {
    /// Spends the time of the call in a CLIENT span, then gives `result`, recorded as an exception if it is a
    /// failure.
    ///
    /// # Errors
    /// `result`'s.
    pub async fn call<T>(self, pace: Pace, result: Result<T, Failure>) -> Result<T, Failure> {
        let mut attributes = self.attributes;
        attributes.push(KeyValue::new(names::SERVICE_PEER_NAME, self.peer));
        attributes.push(KeyValue::new(names::SERVER_ADDRESS, self.peer));
        let context = span(self.operation, SpanKind::Client, attributes);
        pace.pause(self.takes).with_context(context.clone()).await;
        if let Err(failure) = &result {
            failure.record_in(&context);
        }
        context.span().end();
        result
    }
}

/// A query to a service's own database.
pub async fn query(pace: Pace, statement: &'static str, collection: &'static str, takes: Range<u64>) {
    let attributes = vec![
        KeyValue::new("db.system.name", "postgresql"),
        KeyValue::new("db.operation.name", statement),
        KeyValue::new("db.collection.name", collection),
        KeyValue::new(names::SERVER_ADDRESS, "shop-db"),
    ];
    let context = span(&format!("{statement} {collection}"), SpanKind::Client, attributes);
    pace.pause(takes).with_context(context.clone()).await;
    context.span().end();
}

/// A step of work inside a service.
pub async fn step<F: Future>(name: &'static str, attributes: Vec<KeyValue>, work: F) -> F::Output {
    let context = span(name, SpanKind::Internal, attributes);
    let output = work.with_context(context.clone()).await;
    context.span().end();
    output
}

/// Adds attributes to the span at hand.
pub fn note<const N: usize>(attributes: [KeyValue; N]) {
    Context::map_current(|context| context.span().set_attributes(attributes));
}

fn span(name: &str, kind: SpanKind, attributes: Vec<KeyValue>) -> Context {
    let tracer = global::tracer(SCOPE);
    let builder = tracer.span_builder(name.to_owned()).with_kind(kind).with_attributes(attributes);
    Context::current_with_span(tracer.build(builder))
}
