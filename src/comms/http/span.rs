//! The CLIENT span of one try of a call, the same for the client and for a gateway.

use std::sync::Arc;

use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue};
use reqwest::Method;

use super::address::Address;
use super::attributes::{of_method, span_name};
use super::redact;
use crate::comms::correlation::CorrelationId;
use crate::comms::names;

/// As many attributes as a try has by its end, with room for a failure's.
const ATTRIBUTES: usize = 12;

/// What a try is about.
pub(in crate::comms) struct Try<'a> {
    pub method: &'a Method,
    pub url: &'a str,
    pub server: &'a Address,
    /// The path with its variables by name.
    pub template: Option<&'a str>,
    pub peer: Option<&'a Arc<str>>,
    pub id: &'a CorrelationId,
    /// From 0.
    pub number: u32,
}

impl Try<'_> {
    /// Starts its span below the task's own.
    pub fn start(&self, tracer: &BoxedTracer) -> Context {
        let mut attributes = Vec::with_capacity(ATTRIBUTES);
        of_method(self.method, &mut attributes);
        attributes.push(KeyValue::new(names::URL_FULL, redact::url(self.url).into_owned()));
        attributes.push(KeyValue::new(names::CORRELATION_ID, self.id.shared()));
        attributes.extend(self.server.attributes());
        if let Some(peer) = self.peer {
            attributes.push(KeyValue::new(names::SERVICE_PEER_NAME, Arc::clone(peer)));
        }
        if self.number > 0 {
            attributes.push(KeyValue::new(names::HTTP_REQUEST_RESEND_COUNT, i64::from(self.number)));
        }
        if let Some(template) = self.template {
            attributes.push(KeyValue::new(names::URL_TEMPLATE, template.to_owned()));
        }
        let name = span_name(self.method, self.template);
        let builder = tracer.span_builder(name).with_kind(SpanKind::Client).with_attributes(attributes);
        Context::current_with_span(tracer.build(builder))
    }
}
