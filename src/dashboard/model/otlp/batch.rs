//! A request that was walked: its bytes, and where everything in it lies.

use std::ops::Range;

use bytes::Bytes;

use super::super::correlation::{Keys, Origin};
use super::super::messages;
use super::super::proto::WireError;
use super::super::{Nanos, SpanId, TraceId};
use super::peer::Told;
use super::walk::Walker;

/// A place in a batch's buffer.
pub type Place = Range<u32>;

/// A request, walked.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    pub buffer: Bytes,
    pub resources: Vec<ResourceRef>,
    /// Scope messages, empty where the sender gave none.
    pub scopes: Vec<Place>,
    pub spans: Vec<SpanRef>,
    pub logs: Vec<LogRef>,
    /// [Hashes](super::super::hash) of attributes; resources, spans and logs have a range of them each.
    pub hashes: Vec<u32>,
    /// Correlation IDs found: where, from what. Spans and logs have a range of them each.
    pub correlations: Vec<(Place, Origin)>,
    /// What attributes of spans that call, send or take tell of the other side: each where its `AnyValue` is. Spans
    /// have a range of them each.
    pub told: Vec<(Told, Place)>,
    /// Traces that spans link to; spans have a range of them each.
    pub links: Vec<TraceId>,
    /// Spans left out, by reason and sender.
    pub rejected: Vec<Rejected>,
}

/// A resource: its message and where its `service.name` lies (empty where it has none), its `service.version`, and what
/// tells its instance from others of the service.
#[derive(Debug, Clone)]
pub struct ResourceRef {
    pub message: Place,
    pub service: Place,
    pub version: Place,
    pub instance: Place,
    /// Its attributes' hashes in [`Batch::hashes`].
    pub hashes: Range<u32>,
}

/// A span's place and what indexes need of it.
#[derive(Debug, Clone)]
pub struct SpanRef {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub has_parent: bool,
    /// `None` also where the parent's ID is no valid one; the span's own where it [shares](super::SHARED) its ID.
    pub parent: Option<SpanId>,
    pub kind: u8,
    pub failed: bool,
    pub start: Nanos,
    pub end: Nanos,
    pub name: Place,
    pub message: Place,
    pub resource: u32,
    pub scope: u32,
    /// The hashes of its attributes, those of its events and links included, in [`Batch::hashes`].
    pub hashes: Range<u32>,
    /// In [`Batch::correlations`].
    pub correlations: Range<u32>,
    /// In [`Batch::told`].
    pub told: Range<u32>,
    /// In [`Batch::links`].
    pub links: Range<u32>,
}

/// A log record's place and what indexes need of it.
#[derive(Debug, Clone)]
pub struct LogRef {
    pub trace_id: Option<TraceId>,
    pub time: Nanos,
    /// OTLP's number; 0 is not told, what is above 24 is 24.
    pub severity: u8,
    pub message: Place,
    pub resource: u32,
    pub scope: u32,
    /// Its attributes' hashes in [`Batch::hashes`].
    pub hashes: Range<u32>,
    /// In [`Batch::correlations`].
    pub correlations: Range<u32>,
}

/// Why a span was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    TraceIdLength,
    TraceIdZero,
    SpanIdLength,
    SpanIdZero,
}

impl Reason {
    /// Words for a person and for `partial_success.error_message`.
    pub fn words(self) -> &'static str {
        match self {
            Reason::TraceIdLength => "trace ID is not 16 bytes long",
            Reason::TraceIdZero => "trace ID is all zeros",
            Reason::SpanIdLength => "span ID is not 8 bytes long",
            Reason::SpanIdZero => "span ID is all zeros",
        }
    }

    /// The value of the `reason` label in `/metrics`.
    pub fn label(self) -> &'static str {
        match self {
            Reason::TraceIdLength => "trace_id_length",
            Reason::TraceIdZero => "trace_id_zero",
            Reason::SpanIdLength => "span_id_length",
            Reason::SpanIdZero => "span_id_zero",
        }
    }
}

/// Spans of one sender left out for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    pub reason: Reason,
    pub service: String,
    pub spans: u64,
}

impl Batch {
    /// Walks an `ExportTraceServiceRequest`.
    pub fn traces(buffer: Bytes, keys: &Keys) -> Result<Self, WireError> {
        Walker::new(&buffer, keys).request(Walker::span).map(|batch| Self { buffer, ..batch })
    }

    /// Walks an `ExportLogsServiceRequest`: the same shape around other items.
    pub fn logs(buffer: Bytes, keys: &Keys) -> Result<Self, WireError> {
        Walker::new(&buffer, keys).request(Walker::log).map(|batch| Self { buffer, ..batch })
    }

    /// Begins to walk items that were walked before, one by one: `whole` holds their messages and, at some
    /// places, those of their resources and scopes.
    pub fn again<'a>(
        whole: &'a Bytes,
        resources: impl Iterator<Item = Place>,
        scopes: impl Iterator<Item = Place>,
        keys: &'a Keys,
    ) -> Result<Again<'a>, WireError> {
        let mut walker = Walker::new(whole, keys);
        let at = |place: Place| &whole[place.start as usize..place.end as usize];
        for resource in resources {
            walker.resource(at(resource))?;
        }
        for scope in scopes {
            walker.scope(at(scope))?;
        }
        Ok(Again { whole, walker })
    }

    /// Spans left out.
    pub fn rejected_spans(&self) -> u64 {
        self.rejected.iter().map(|rejected| rejected.spans).sum()
    }

    /// The bytes at a place.
    #[inline]
    pub fn at(&self, place: &Place) -> &[u8] {
        &self.buffer[place.start as usize..place.end as usize]
    }

    /// Whether a log is a message that a tap saw.
    pub fn is_message(&self, log: &LogRef) -> bool {
        messages::is_scope(self.at(&self.scopes[log.scope as usize]))
    }

    /// The hashes in a range.
    #[inline]
    pub fn hashes(&self, range: &Range<u32>) -> &[u32] {
        &self.hashes[range.start as usize..range.end as usize]
    }

    /// The correlation IDs in a range.
    #[inline]
    pub fn correlations(&self, range: &Range<u32>) -> &[(Place, Origin)] {
        &self.correlations[range.start as usize..range.end as usize]
    }

    /// What a range tells of the other side.
    #[inline]
    pub fn told(&self, range: &Range<u32>) -> &[(Told, Place)] {
        &self.told[range.start as usize..range.end as usize]
    }

    /// The traces that a range links to.
    #[inline]
    pub fn links(&self, range: &Range<u32>) -> &[TraceId] {
        &self.links[range.start as usize..range.end as usize]
    }
}

/// A walk over items that were walked before.
pub struct Again<'a> {
    whole: &'a Bytes,
    walker: Walker<'a>,
}

impl<'a> Again<'a> {
    /// Spans and logs so far.
    pub fn counts(&self) -> (u32, u32) {
        let batch = self.walker.batch();
        (batch.spans.len() as u32, batch.logs.len() as u32)
    }

    /// Walks one more; `message` lies in the bytes that the walk began with.
    pub fn item(
        &mut self,
        is_log: bool,
        message: &'a [u8],
        resource: u32,
        scope: u32,
    ) -> Result<(), WireError> {
        let batch = self.walker.batch();
        if resource as usize >= batch.resources.len() || scope as usize >= batch.scopes.len() {
            return Err(WireError::Truncated);
        }
        if is_log {
            self.walker.log(message, resource, scope)
        } else {
            self.walker.span(message, resource, scope)
        }
    }

    /// All of them.
    pub fn finish(self) -> Batch {
        Batch { buffer: self.whole.clone(), ..self.walker.finish() }
    }
}
