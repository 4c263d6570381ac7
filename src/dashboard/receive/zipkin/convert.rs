//! Zipkin's spans into the OTLP request that everything else reads: one group for each service and scope.
//!
//! | Zipkin | OTLP |
//! |---|---|
//! | `localEndpoint.serviceName` | `service.name` of the resource |
//! | the local address and port | `network.local.address`, `network.local.port` |
//! | `remoteEndpoint.serviceName` | `peer.service` |
//! | the remote address and port | `network.peer.address`, `network.peer.port` |
//! | no kind | INTERNAL |
//! | `shared` | [`SHARED`], which says that the client's span has the same ID |
//! | no `timestamp` | the time of the first annotation, else no start |
//! | no `duration`, or 0, which Zipkin takes for none | no end |

use std::collections::HashMap;

use bytes::Bytes;

use super::parts::{bool_attribute, number_attribute, text_attribute};
use super::span::{Endpoint, Kind, Span};
use crate::dashboard::model::otlp::{SHARED, span_field};
use crate::dashboard::model::proto::{put_bytes, put_fixed64, put_message, put_uint};

/// Who made a span: service, name and version of the scope.
type Maker = [String; 3];

/// A conversion under way.
#[derive(Default)]
pub struct Converter {
    /// The spans of each maker, as fields of a `ScopeSpans`, in the order in which makers came.
    groups: Vec<(Maker, Vec<u8>)>,
    numbers: HashMap<Maker, usize>,
}

impl Converter {
    /// Takes a span in.
    pub fn add(&mut self, span: &Span<'_>) {
        let [scope, version] = &span.tags.scope;
        let maker = [&span.local_endpoint.service_name, scope, version].map(|text| text.to_string());
        let number = match self.numbers.get(&maker) {
            Some(number) => *number,
            None => {
                self.groups.push((maker.clone(), Vec::new()));
                self.numbers.insert(maker, self.groups.len() - 1);
                self.groups.len() - 1
            }
        };
        put_message(&mut self.groups[number].1, 2, |out| put_span(out, span));
    }

    /// The `ExportTraceServiceRequest`.
    pub fn finish(self) -> Bytes {
        let mut out = Vec::with_capacity(self.groups.iter().map(|(_, spans)| spans.len() + 64).sum());
        for ([service, scope, version], mut spans) in self.groups {
            put_message(&mut spans, 1, |out| {
                put_bytes(out, 1, scope.as_bytes());
                put_bytes(out, 2, version.as_bytes());
            });
            put_message(&mut out, 1, |out| {
                if !service.is_empty() {
                    put_message(out, 1, |out| text_attribute(out, 1, "service.name", &service));
                }
                put_bytes(out, 2, &spans);
            });
        }
        out.into()
    }
}

fn put_span(out: &mut Vec<u8>, span: &Span<'_>) {
    let texts: [(u32, &[u8]); 4] = [
        (span_field::TRACE_ID, &span.trace_id.0),
        (span_field::SPAN_ID, &span.id.0),
        (span_field::PARENT, &span.parent_id.0),
        (span_field::NAME, span.name.as_bytes()),
    ];
    // What is not told takes no room: a list may be of many spans that say nothing.
    texts
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .for_each(|(field, text)| put_bytes(out, field, text));
    // The kind stands before the attributes: who walks them wants to know it.
    put_uint(out, span_field::KIND, kind(span.kind));
    let (start, end) = times(span);
    let times = [(span_field::START, start), (span_field::END, end)];
    times.into_iter().filter(|(_, time)| *time != 0).for_each(|(field, time)| put_fixed64(out, field, time));
    put_endpoint(out, &span.remote_endpoint, ["network.peer.address", "network.peer.port"]);
    if !span.remote_endpoint.service_name.is_empty() {
        text_attribute(out, span_field::ATTRIBUTES, "peer.service", &span.remote_endpoint.service_name);
    }
    put_endpoint(out, &span.local_endpoint, ["network.local.address", "network.local.port"]);
    if span.shared && span.kind == Kind::Server {
        bool_attribute(out, span_field::ATTRIBUTES, SHARED, true);
    }
    out.extend_from_slice(&span.tags.attributes);
    out.extend_from_slice(&span.annotations.events);
    span.tags.put_status(out);
}

/// Numbers of `opentelemetry.proto.trace.v1.Span.SpanKind`.
fn kind(kind: Kind) -> u64 {
    match kind {
        Kind::Local => 1,
        Kind::Server => 2,
        Kind::Client => 3,
        Kind::Producer => 4,
        Kind::Consumer => 5,
    }
}

/// Start and end in ns; Zipkin counts µs.
fn times(span: &Span<'_>) -> (u64, u64) {
    let start = match span.timestamp.0 {
        0 => span.annotations.first.unwrap_or_default(),
        told => told,
    };
    let end = match span.duration.0 {
        0 => 0,
        duration => start.saturating_add(duration),
    };
    (start.saturating_mul(1000), end.saturating_mul(1000))
}

/// Where an endpoint is, under two keys.
fn put_endpoint(out: &mut Vec<u8>, endpoint: &Endpoint<'_>, [address, port]: [&str; 2]) {
    let known = [&endpoint.ipv4, &endpoint.ipv6].into_iter().find(|text| !text.is_empty());
    if let Some(known) = known {
        text_attribute(out, span_field::ATTRIBUTES, address, known);
    }
    if endpoint.port != 0 {
        number_attribute(out, span_field::ATTRIBUTES, port, u64::from(endpoint.port));
    }
}
