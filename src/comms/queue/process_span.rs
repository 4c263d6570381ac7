//! The CONSUMER span of one delivery: its parent or link, its attributes, how it ended.

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::trace::{Link, SpanContext, SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};

use super::broker::{Broker, BrokerError, Delivery, Settled};
use super::consumer::Failure;
use super::publisher::{ATTRIBUTES, message_attributes, server_attributes};
use crate::comms::names;
use crate::comms::propagation::{self, FromMap, IntoMap};

/// The span under which one delivery is handled.
pub(super) struct ProcessSpan {
    context: Context,
}

impl ProcessSpan {
    pub fn start(tracer: &BoxedTracer, broker: &dyn Broker, delivery: &Delivery) -> Self {
        let incoming = propagation::extract(&FromMap(&delivery.message.headers)).context;
        let mut builder = tracer
            .span_builder(format!("process {}", delivery.queue))
            .with_kind(SpanKind::Consumer)
            .with_attributes(attributes(broker, delivery));
        let parent = match first_failure(&delivery.message.headers) {
            None => incoming,
            Some(failed) => {
                let of = KeyValue::new(names::MESSAGING_MESSAGE_ID, delivery.message.id.clone());
                builder = builder.with_links(vec![Link::new(failed, vec![of], 0)]);
                // A root of its own, but with the baggage that came along. Not the context with an invalid
                // span in it: samplers take that for a parent that was not sampled.
                let baggage = incoming.baggage().iter();
                Context::new()
                    .with_baggage(baggage.map(|(key, (value, _))| KeyValue::new(key.clone(), value.clone())))
            }
        };
        let span = tracer.build_with_context(builder, &parent);
        Self { context: parent.with_span(span) }
    }

    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Notes this span as the one that later deliveries link to, unless an earlier one is.
    pub fn mark_first_failure(&self, headers: &mut BTreeMap<String, String>) {
        if headers.contains_key(names::HEADER_FIRST_FAILURE) {
            return;
        }
        let mut written = BTreeMap::new();
        global::get_text_map_propagator(|p| p.inject_context(&self.context, &mut IntoMap(&mut written)));
        if let Some(traceparent) = written.remove(names::TRACEPARENT) {
            headers.insert(names::HEADER_FIRST_FAILURE.to_owned(), traceparent);
        }
    }

    pub fn settled(&self, settled: &Settled, delay: Option<Duration>, failure: Option<&Failure>) {
        let span = self.context.span();
        let reason = failure.map(Failure::reason).unwrap_or_default();
        let outcome = |name: &'static str| KeyValue::new(names::SETTLE_OUTCOME, name);
        let destination = |queue: &str| KeyValue::new(names::SETTLE_DESTINATION, queue.to_owned());
        match settled {
            Settled::Acked => span.set_attribute(outcome(names::OUTCOME_ACK)),
            Settled::Retried { queue } => {
                let delay_ms = i64::try_from(delay.unwrap_or_default().as_millis()).unwrap_or(i64::MAX);
                let delay = KeyValue::new(names::SETTLE_DELAY_MS, delay_ms);
                span.set_attributes([outcome(names::OUTCOME_RETRY), destination(queue), delay.clone()]);
                let reason = KeyValue::new(names::EVENT_REASON, reason);
                span.add_event(names::EVENT_RETRIED, vec![reason, destination(queue), delay]);
            }
            Settled::DeadLettered { queue } => {
                span.set_attribute(outcome(names::OUTCOME_DEAD_LETTER));
                let mut event = vec![KeyValue::new(names::EVENT_REASON, reason)];
                if let Some(queue) = queue {
                    span.set_attribute(destination(queue));
                    event.push(destination(queue));
                }
                span.add_event(names::EVENT_DEAD_LETTERED, event);
            }
        }
    }

    /// The broker did not take the outcome, so there will be another delivery.
    pub fn not_settled(&self, error: &BrokerError) {
        let span = self.context.span();
        span.set_attribute(KeyValue::new(names::ERROR_TYPE, "not_settled"));
        span.set_status(Status::error(error.to_string()));
    }

    pub fn end(&self) {
        self.context.span().end();
    }
}

/// The process span that failed first, where this is a delivery after a retry.
fn first_failure(headers: &BTreeMap<String, String>) -> Option<SpanContext> {
    let traceparent = headers.get(names::HEADER_FIRST_FAILURE)?;
    let carrier = BTreeMap::from([(names::TRACEPARENT.to_owned(), traceparent.clone())]);
    let context = propagation::extract(&FromMap(&carrier)).context;
    let failed = context.span().span_context().clone();
    failed.is_valid().then_some(failed)
}

fn attributes(broker: &dyn Broker, delivery: &Delivery) -> Vec<KeyValue> {
    let destination = format!("{}:{}:{}", delivery.exchange, delivery.routing_key, delivery.queue);
    let mut attributes = Vec::with_capacity(ATTRIBUTES);
    attributes.extend([
        KeyValue::new(names::MESSAGING_SYSTEM, broker.system()),
        KeyValue::new(names::MESSAGING_OPERATION_TYPE, "process"),
        KeyValue::new(names::MESSAGING_OPERATION_NAME, "process"),
        KeyValue::new(names::MESSAGING_DESTINATION_NAME, destination),
        KeyValue::new(names::MESSAGING_ROUTING_KEY, delivery.routing_key.clone()),
        KeyValue::new(names::QUEUE, delivery.queue.clone()),
        KeyValue::new(names::DELIVERY_NUMBER, i64::from(delivery.number)),
    ]);
    if broker.system() == names::SYSTEM_KAFKA {
        attributes.push(KeyValue::new(names::MESSAGING_CONSUMER_GROUP_NAME, delivery.queue.clone()));
    }
    attributes.extend(server_attributes(broker.server()));
    attributes.extend(message_attributes(&delivery.message));
    let refused = delivery.message.headers.get(names::HEADER_REFUSED_CORRELATION_ID);
    attributes.extend(refused.map(|id| KeyValue::new(names::REFUSED_CORRELATION_ID, id.clone())));
    attributes
}
