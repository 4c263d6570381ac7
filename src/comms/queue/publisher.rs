//! Sending messages: a PRODUCER span each, with trace context and correlation ID in the headers.

use std::sync::Arc;

use opentelemetry::context::FutureExt as _;
use opentelemetry::metrics::Counter;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};

use super::broker::{Broker, BrokerError};
use super::message::Message;
use crate::comms::propagation::{self, IntoMap};
use crate::comms::{Tracer, metrics, names};

/// As many attributes as a message's span has by its end, with room for what a failure or a settlement adds.
pub(super) const ATTRIBUTES: usize = 20;

/// Sends messages through a broker; cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    broker: Arc<dyn Broker>,
    sent: Counter<u64>,
    tracer: Tracer,
}

impl Publisher {
    pub fn new(broker: Arc<dyn Broker>) -> Self {
        let about = "Messages sent, with the error where it failed";
        let sent = metrics::counter("messaging.client.sent.messages", "{message}", about);
        Self { broker, sent, tracer: Tracer::default() }
    }

    /// Sends a message and waits until the broker has it durably.
    ///
    /// # Errors
    /// No queue wants it, or the broker did not confirm it: it may then be sent again under the same ID.
    pub async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        mut message: Message,
    ) -> Result<(), BrokerError> {
        let destination: Arc<str> = [exchange, routing_key].join(":").into();
        let context = self.start_span(&destination, routing_key, &message);
        propagation::inject(&context, &message.correlation_id, &mut IntoMap(&mut message.headers));
        let result = self.broker.publish(exchange, routing_key, &message).with_context(context.clone()).await;
        let mut measured = Vec::with_capacity(4);
        measured.push(KeyValue::new(names::MESSAGING_SYSTEM, self.broker.system()));
        measured.push(KeyValue::new(names::MESSAGING_OPERATION_NAME, "send"));
        measured.push(KeyValue::new(names::MESSAGING_DESTINATION_NAME, destination));
        let span = context.span();
        if let Err(error) = &result {
            let error_type = KeyValue::new(names::ERROR_TYPE, error.kind());
            span.set_attribute(error_type.clone());
            span.set_status(Status::error(error.to_string()));
            measured.push(error_type);
        }
        self.sent.add(1, &measured);
        span.end();
        result
    }

    fn start_span(&self, destination: &Arc<str>, routing_key: &str, message: &Message) -> Context {
        let mut attributes = Vec::with_capacity(ATTRIBUTES);
        attributes.extend([
            KeyValue::new(names::MESSAGING_SYSTEM, self.broker.system()),
            KeyValue::new(names::MESSAGING_OPERATION_TYPE, "send"),
            KeyValue::new(names::MESSAGING_OPERATION_NAME, "send"),
            KeyValue::new(names::MESSAGING_DESTINATION_NAME, Arc::clone(destination)),
            KeyValue::new(names::MESSAGING_ROUTING_KEY, routing_key.to_owned()),
        ]);
        attributes.extend(server_attributes(self.broker.server()));
        attributes.extend(message_attributes(message));
        let builder = self.tracer.get().span_builder(["send ", destination].concat());
        let builder = builder.with_kind(SpanKind::Producer).with_attributes(attributes);
        Context::current_with_span(self.tracer.get().build(builder))
    }
}

/// Where the broker is.
pub(super) fn server_attributes(server: Option<(&str, u16)>) -> impl Iterator<Item = KeyValue> {
    server.into_iter().flat_map(|(address, port)| {
        let address = KeyValue::new(names::SERVER_ADDRESS, address.to_owned());
        [address, KeyValue::new(names::SERVER_PORT, i64::from(port))]
    })
}

/// What both sides say about a message.
pub(super) fn message_attributes(message: &Message) -> impl Iterator<Item = KeyValue> {
    let id = message.correlation_id.shared();
    let size = i64::try_from(message.body.len()).unwrap_or(i64::MAX);
    let cause = message.causation_id.iter();
    [
        KeyValue::new(names::MESSAGING_MESSAGE_ID, message.id.clone()),
        KeyValue::new(names::MESSAGING_CONVERSATION_ID, Arc::clone(&id)),
        KeyValue::new(names::CORRELATION_ID, id),
        KeyValue::new(names::MESSAGING_BODY_SIZE, size),
        KeyValue::new(names::MESSAGE_TYPE, message.kind.clone()),
        KeyValue::new(names::MESSAGE_VERSION, i64::from(message.version)),
    ]
    .into_iter()
    .chain(cause.map(|cause| KeyValue::new(names::MESSAGE_CAUSATION_ID, cause.clone())))
}
