//! A PRODUCER span, a metric and their context around lapin's publish by the OpenTelemetry crates alone, with the attributes that
//! the semantic conventions for messaging require or recommend. No correlation ID by itself, envelope, waiting through an outage, sending
//! again, or telling of what no queue wants.

use lapin::types::{AMQPValue, FieldTable};
use opentelemetry::metrics::Counter;
use opentelemetry::propagation::Injector;
use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, global};

const SCOPE: &str = "by-hand";

struct Headers<'a>(&'a mut FieldTable);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        self.0.insert(key.into(), AMQPValue::LongString(value.into()));
    }
}

/// What sends tell of.
pub struct Traced {
    sent: Counter<u64>,
}

impl Traced {
    pub fn new() -> Self {
        Self { sent: global::meter(SCOPE).u64_counter("messaging.client.sent.messages").build() }
    }

    /// Begins a send: its context goes into the headers.
    pub fn begin(&self, id: &str, body: usize, headers: &mut FieldTable) -> Context {
        let tracer = global::tracer(SCOPE);
        let builder = tracer.span_builder("send orders:order.placed").with_kind(SpanKind::Producer);
        let span = tracer.build(builder.with_attributes([
            KeyValue::new("messaging.system", "rabbitmq"),
            KeyValue::new("messaging.operation.type", "send"),
            KeyValue::new("messaging.operation.name", "send"),
            KeyValue::new("messaging.destination.name", "orders:order.placed"),
            KeyValue::new("messaging.rabbitmq.destination.routing_key", "order.placed"),
            KeyValue::new("messaging.message.id", id.to_owned()),
            KeyValue::new("messaging.message.body.size", body as i64),
            KeyValue::new("server.address", "127.0.0.1"),
            KeyValue::new("server.port", 5672),
        ]));
        let context = Context::current_with_span(span);
        global::get_text_map_propagator(|p| p.inject_context(&context, &mut Headers(headers)));
        context
    }

    pub fn end(&self, context: &Context) {
        let attributes = [
            KeyValue::new("messaging.system", "rabbitmq"),
            KeyValue::new("messaging.destination.name", "orders:order.placed"),
        ];
        self.sent.add(1, &attributes);
        context.span().end();
    }
}
