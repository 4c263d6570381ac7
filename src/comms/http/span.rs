//! The CLIENT span of one try of a call, the same for the client and for a gateway.

use opentelemetry::trace::{SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, global};
use reqwest::{Method, Url};

use super::redact;
use crate::comms::correlation::CorrelationId;
use crate::comms::{SCOPE, names};

/// What a try is about.
pub(in crate::comms) struct Try<'a> {
    pub method: &'a Method,
    pub url: &'a str,
    /// The path with its variables by name.
    pub template: Option<&'a str>,
    pub peer: Option<&'a str>,
    pub id: &'a CorrelationId,
    /// From 0.
    pub number: u32,
}

impl Try<'_> {
    /// Starts its span below the task's own.
    pub fn start(&self) -> Context {
        let mut attributes = vec![
            KeyValue::new(names::HTTP_REQUEST_METHOD, self.method.to_string()),
            KeyValue::new(names::URL_FULL, redact::url(self.url).into_owned()),
            KeyValue::new(names::CORRELATION_ID, self.id.as_str().to_owned()),
        ];
        if let Ok(url) = Url::parse(self.url) {
            if let Some(host) = url.host_str() {
                attributes.push(KeyValue::new(names::SERVER_ADDRESS, host.to_owned()));
            }
            if let Some(port) = url.port_or_known_default() {
                attributes.push(KeyValue::new(names::SERVER_PORT, i64::from(port)));
            }
        }
        if let Some(peer) = self.peer {
            attributes.push(KeyValue::new(names::SERVICE_PEER_NAME, peer.to_owned()));
        }
        if self.number > 0 {
            attributes.push(KeyValue::new(names::HTTP_REQUEST_RESEND_COUNT, i64::from(self.number)));
        }
        let name = match self.template {
            Some(template) => {
                attributes.push(KeyValue::new(names::URL_TEMPLATE, template.to_owned()));
                format!("{} {template}", self.method)
            }
            None => self.method.to_string(),
        };
        let tracer = global::tracer(SCOPE);
        let span =
            tracer.build(tracer.span_builder(name).with_kind(SpanKind::Client).with_attributes(attributes));
        Context::current_with_span(span)
    }
}
