//! What a bus tells: an INTERNAL span for each event that a subscriber handles, how long that took, which events were missed.
//! Semantic conventions have no names for events within a process; those of [`crate::comms::names`] are ours.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};

use super::Event;
use crate::comms::correlation::CorrelationId;
use crate::comms::queue::Failure;
use crate::comms::{Tracer, metrics, names};

/// The instruments of a bus.
pub(super) struct Telemetry {
    duration: Histogram<f64>,
    missed: Counter<u64>,
    tracer: Tracer,
}

impl Default for Telemetry {
    fn default() -> Self {
        let about = "Duration of handling events of the process's own bus";
        let duration = metrics::durations(names::METRIC_EVENT_DURATION, about);
        let about = "Events that a subscriber had no room for";
        let missed = metrics::counter(names::METRIC_EVENT_MISSED, "{event}", about);
        Self { duration, missed, tracer: Tracer::default() }
    }
}

impl Telemetry {
    /// What a subscriber tells with.
    pub fn of<E: Event>(&self, subscriber: &Arc<str>) -> Told {
        Told {
            event: E::NAME,
            subscriber: Arc::clone(subscriber),
            duration: self.duration.clone(),
            tracer: self.tracer.clone(),
        }
    }

    /// What tells that an event of a type was missed.
    pub fn missing<E: Event>(&self, publisher: &Context) -> Missing {
        Missing { event: E::NAME, publisher: publisher.clone(), missed: self.missed.clone() }
    }
}

/// Tells that an event was missed.
pub(super) struct Missing {
    event: &'static str,
    publisher: Context,
    missed: Counter<u64>,
}

impl Missing {
    /// Counts it, notes it on the publisher's span, and logs it where it is news that the subscriber is behind.
    pub fn tell(&self, subscriber: &Arc<str>, is_news: bool) {
        let attributes = about(self.event, subscriber);
        self.missed.add(1, &attributes);
        self.publisher.span().add_event(names::EVENT_MISSED, attributes.to_vec());
        if is_news {
            tracing::warn!(event.name = self.event, %subscriber, "a subscriber is behind and misses events");
        }
    }
}

fn about(event: &'static str, subscriber: &Arc<str>) -> [KeyValue; 2] {
    [KeyValue::new(names::BUS_EVENT, event), KeyValue::new(names::BUS_SUBSCRIBER, Arc::clone(subscriber))]
}

/// What one subscriber tells about one type of event.
pub(super) struct Told {
    event: &'static str,
    subscriber: Arc<str>,
    duration: Histogram<f64>,
    tracer: Tracer,
}

impl Told {
    /// Starts the span of handling an event, below the publisher's.
    pub fn start(&self, published: &Context, id: &CorrelationId) -> Context {
        let mut attributes = about(self.event, &self.subscriber).to_vec();
        attributes.push(KeyValue::new(names::CORRELATION_ID, id.shared()));
        let name = ["handle ", self.event, " by ", &self.subscriber].concat();
        let builder = self.tracer.get().span_builder(name).with_kind(SpanKind::Internal);
        let span = self.tracer.get().build_with_context(builder.with_attributes(attributes), published);
        published.with_span(span)
    }

    /// Logs a failure, within the handling's context.
    pub fn failed(&self, failure: &Failure) {
        let (event, subscriber) = (self.event, &self.subscriber);
        tracing::warn!(event.name = event, %subscriber, reason = failure.reason(), "an event was not handled");
    }

    pub fn end(&self, context: &Context, took: Duration, failure: Option<Failure>) {
        let mut measured = about(self.event, &self.subscriber).to_vec();
        if let Some(failure) = failure {
            failure.record_in(context);
            measured.push(KeyValue::new(names::ERROR_TYPE, failure.kind));
        }
        self.duration.record(took.as_secs_f64(), &measured);
        context.span().end();
    }
}
