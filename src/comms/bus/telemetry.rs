//! What a bus tells: an INTERNAL span for each event that a subscriber handles, how long that took, which events were missed.
//! Semantic conventions have no names for events within a process; those of [`crate::comms::names`] are ours.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};

use super::Event;
use crate::comms::correlation::CorrelationId;
use crate::comms::queue::Failure;
use crate::comms::{SCOPE, metrics, names};

/// The instruments of a bus.
pub(super) struct Telemetry {
    duration: Histogram<f64>,
    missed: Counter<u64>,
    tracer: Arc<BoxedTracer>,
}

impl Default for Telemetry {
    fn default() -> Self {
        let about = "Duration of handling events of the process's own bus";
        let duration = metrics::durations(names::METRIC_EVENT_DURATION, about);
        let missed = global::meter(SCOPE)
            .u64_counter(names::METRIC_EVENT_MISSED)
            .with_unit("{event}")
            .with_description("Events that a subscriber had no room for")
            .build();
        Self { duration, missed, tracer: crate::comms::tracer() }
    }
}

impl Telemetry {
    /// What a subscriber tells with.
    pub fn of<E: Event>(&self, subscriber: &Arc<str>) -> Told {
        Told {
            event: E::NAME,
            subscriber: Arc::clone(subscriber),
            duration: self.duration.clone(),
            tracer: Arc::clone(&self.tracer),
        }
    }

    /// No room for an event at some of its subscribers.
    pub fn missed(&self, context: &Context, event: &'static str, subscribers: &[Arc<str>]) {
        for subscriber in subscribers {
            let attributes = about(event, subscriber);
            self.missed.add(1, &attributes);
            context.span().add_event(names::EVENT_MISSED, attributes.to_vec());
            tracing::warn!(event.name = event, %subscriber, "an event was missed: no room for it");
        }
    }
}

/// Notes on the publisher's span that an event was published.
pub(super) fn published(context: &Context, event: &'static str, subscribers: usize) {
    let subscribers = i64::try_from(subscribers).unwrap_or(i64::MAX);
    context.span().add_event(
        names::EVENT_PUBLISHED,
        vec![KeyValue::new(names::BUS_EVENT, event), KeyValue::new(names::BUS_SUBSCRIBERS, subscribers)],
    );
}

fn about(event: &'static str, subscriber: &Arc<str>) -> [KeyValue; 2] {
    [KeyValue::new(names::BUS_EVENT, event), KeyValue::new(names::BUS_SUBSCRIBER, Arc::clone(subscriber))]
}

/// What one subscriber tells about one type of event.
pub(super) struct Told {
    event: &'static str,
    subscriber: Arc<str>,
    duration: Histogram<f64>,
    tracer: Arc<BoxedTracer>,
}

impl Told {
    /// Starts the span of handling an event, below the publisher's.
    pub fn start(&self, published: &Context, id: &CorrelationId) -> Context {
        let mut attributes = about(self.event, &self.subscriber).to_vec();
        attributes.push(KeyValue::new(names::CORRELATION_ID, id.shared()));
        let name = ["handle ", self.event, " by ", &self.subscriber].concat();
        let builder = self.tracer.span_builder(name).with_kind(SpanKind::Internal);
        let span = self.tracer.build_with_context(builder.with_attributes(attributes), published);
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
