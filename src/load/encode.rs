//! Spans and log records as OTLP requests, batched as they are sent.
//!
//! What must not live here: where a request goes, and when.

use std::collections::BTreeMap;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;

use super::attributes::{self, text};
use super::plan::{INSTANCES, Shape, System};
use super::send::Signal;
use super::tree::{Draft, Tree};
use crate::comms::names;

/// The flags of a span whose trace is sampled.
const SAMPLED: u32 = 1;

/// A request that is ready to be sent.
#[derive(Debug, Clone)]
pub struct Parcel {
    pub signal: Signal,
    /// Spans or log records.
    pub items: u64,
    pub bytes: Bytes,
}

/// Who sends: a service and which of its instances.
pub type Source = (usize, usize);

/// The resources of a system, by source.
pub struct Resources(Vec<Resource>);

impl Resources {
    /// Name, version, instance and host of each.
    pub fn of(system: &System) -> Self {
        let each = |service: &super::plan::Service| {
            (0..INSTANCES)
                .map(|instance| Resource {
                    attributes: vec![
                        text("service.name", service.name.as_str()),
                        text("service.version", service.version.as_str()),
                        text("service.instance.id", format!("{}-{instance}", service.name)),
                        text("host.name", format!("node-{}", (service.layer * 3 + instance) % 8)),
                    ],
                    ..Default::default()
                })
                .collect::<Vec<_>>()
        };
        Self(system.services.iter().flat_map(each).collect())
    }

    fn get(&self, (service, instance): Source) -> Option<Resource> {
        self.0.get(service * INSTANCES + instance).cloned()
    }
}

/// A span on the wire; `begin` is when its tree began, in ns since 1970.
pub fn span(system: &System, shape: &Shape, tree: &Tree, draft: &Draft, begin: u64) -> Span {
    let mut out = Span {
        trace_id: draft.trace.to_vec(),
        span_id: draft.id.to_vec(),
        parent_span_id: draft.parent.map(Vec::from).unwrap_or_default(),
        flags: SAMPLED,
        name: attributes::name(system, draft),
        kind: attributes::kind(draft.role) as i32,
        start_time_unix_nano: begin + draft.start,
        end_time_unix_nano: begin + draft.end,
        attributes: attributes::of(system, shape, tree, draft),
        ..Default::default()
    };
    if let Some((trace, id)) = draft.link {
        out.links.push(Link {
            trace_id: trace.to_vec(),
            span_id: id.to_vec(),
            flags: SAMPLED,
            ..Default::default()
        });
    }
    if let Some(failure) = draft.failure {
        let (breakage, message) = attributes::reason(system, draft, failure);
        out.events.push(Event {
            time_unix_nano: out.end_time_unix_nano.saturating_sub(50_000).max(out.start_time_unix_nano),
            name: names::EXCEPTION.into(),
            attributes: vec![
                text(names::EXCEPTION_TYPE, if failure.origin { breakage.kind } else { "UpstreamError" }),
                text(names::EXCEPTION_MESSAGE, message.as_str()),
            ],
            ..Default::default()
        });
        out.status = Some(Status { code: StatusCode::Error as i32, message });
    }
    out
}

/// The log record that goes with a span.
pub fn record(system: &System, tree: &Tree, draft: &Draft, begin: u64) -> LogRecord {
    let at = begin + draft.end;
    let (severity, body) = match draft.failure {
        Some(failure) => (SeverityNumber::Error, attributes::reason(system, draft, failure).1),
        None => (SeverityNumber::Info, format!("{} done", attributes::name(system, draft))),
    };
    LogRecord {
        time_unix_nano: at,
        observed_time_unix_nano: at,
        severity_number: severity as i32,
        severity_text: if severity == SeverityNumber::Error { "ERROR" } else { "INFO" }.into(),
        body: Some(AnyValue { value: Some(Value::StringValue(body)) }),
        attributes: tree.correlation.iter().map(|id| text(names::CORRELATION_ID, id.as_str())).collect(),
        trace_id: draft.trace.to_vec(),
        span_id: draft.id.to_vec(),
        flags: SAMPLED,
        ..Default::default()
    }
}

fn scope() -> Option<InstrumentationScope> {
    let version = env!("CARGO_PKG_VERSION").into();
    Some(InstrumentationScope { name: "throughline.load".into(), version, ..Default::default() })
}

/// An `ExportTraceServiceRequest`.
pub fn traces(resources: &Resources, groups: BTreeMap<Source, Vec<Span>>) -> Parcel {
    let items = groups.values().map(|spans| spans.len() as u64).sum();
    let resource_spans = groups
        .into_iter()
        .map(|(source, spans)| ResourceSpans {
            resource: resources.get(source),
            scope_spans: vec![ScopeSpans { scope: scope(), spans, ..Default::default() }],
            ..Default::default()
        })
        .collect();
    let bytes = ExportTraceServiceRequest { resource_spans }.encode_to_vec().into();
    Parcel { signal: Signal::Traces, items, bytes }
}

/// An `ExportLogsServiceRequest`.
pub fn logs(resources: &Resources, groups: BTreeMap<Source, Vec<LogRecord>>) -> Parcel {
    let items = groups.values().map(|records| records.len() as u64).sum();
    let resource_logs = groups
        .into_iter()
        .map(|(source, log_records)| ResourceLogs {
            resource: resources.get(source),
            scope_logs: vec![ScopeLogs { scope: scope(), log_records, ..Default::default() }],
            ..Default::default()
        })
        .collect();
    let bytes = ExportLogsServiceRequest { resource_logs }.encode_to_vec().into();
    Parcel { signal: Signal::Logs, items, bytes }
}

/// Spans or records that wait for their request to be full.
pub struct Batches<T> {
    most: usize,
    /// One batch, or one a service.
    by_service: bool,
    waiting: BTreeMap<usize, (usize, BTreeMap<Source, Vec<T>>)>,
}

impl<T> Batches<T> {
    /// Batches of at most so many.
    pub fn new(most: usize, by_service: bool) -> Self {
        Self { most, by_service, waiting: BTreeMap::new() }
    }

    /// Adds one; gives the batch that is full with it.
    pub fn add(&mut self, source: Source, item: T) -> Option<BTreeMap<Source, Vec<T>>> {
        let key = if self.by_service { source.0 } else { 0 };
        let (count, groups) = self.waiting.entry(key).or_default();
        groups.entry(source).or_default().push(item);
        *count += 1;
        if *count < self.most {
            return None;
        }
        self.waiting.remove(&key).map(|(_, groups)| groups)
    }

    /// All that waits, full or not.
    pub fn rest(&mut self) -> impl Iterator<Item = BTreeMap<Source, Vec<T>>> + use<T> {
        std::mem::take(&mut self.waiting).into_values().map(|(_, groups)| groups)
    }
}
