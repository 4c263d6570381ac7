//! The one look that each request gets on arrival: where its spans and logs lie, and what indexes need of them.
//!
//! A [`Batch`] keeps the request's bytes and points into them. Nothing is copied or decoded; texts are taken as
//! bytes. Bad protobuf anywhere fails the whole request, since then no boundary can be trusted; a span with an
//! ID that is missing, of the wrong length or zero is left out alone and counted.

use std::ops::Range;

use bytes::Bytes;

use super::super::correlation::{self, Keys, Origin};
use super::super::proto::{Field, WireError, fields};
use super::super::{Nanos, SpanId, TraceId};
use super::{MAX_DEPTH, log_field, span_field};

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
    /// Correlation IDs found: which item, where, from what. In item order, spans and logs apart.
    pub span_correlations: Vec<(u32, Place, Origin)>,
    pub log_correlations: Vec<(u32, Place, Origin)>,
    /// Traces that spans link to, in span order.
    pub links: Vec<(u32, TraceId)>,
    /// Spans left out, by reason and sender.
    pub rejected: Vec<Rejected>,
}

/// A resource: its message and where its `service.name` lies (empty where it has none).
#[derive(Debug, Clone)]
pub struct ResourceRef {
    pub message: Place,
    pub service: Place,
}

/// A span's place and what indexes need of it.
#[derive(Debug, Clone)]
pub struct SpanRef {
    pub trace_id: TraceId,
    pub span_id: SpanId,
    pub has_parent: bool,
    pub kind: u8,
    pub failed: bool,
    pub start: Nanos,
    pub end: Nanos,
    pub name: Place,
    pub message: Place,
    pub resource: u32,
    pub scope: u32,
}

/// A log record's place and what indexes need of it.
#[derive(Debug, Clone)]
pub struct LogRef {
    pub trace_id: Option<TraceId>,
    pub time: Nanos,
    pub message: Place,
    pub resource: u32,
    pub scope: u32,
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

    /// Spans left out.
    pub fn rejected_spans(&self) -> u64 {
        self.rejected.iter().map(|rejected| rejected.spans).sum()
    }

    /// The bytes at a place.
    #[inline]
    pub fn at(&self, place: &Place) -> &[u8] {
        &self.buffer[place.start as usize..place.end as usize]
    }
}

/// Reads one item (span or log) of resource and scope.
type Item<'a> = fn(&mut Walker<'a>, &'a [u8], u32, u32) -> Result<(), WireError>;

struct Walker<'a> {
    whole: &'a [u8],
    keys: &'a Keys,
    batch: Batch,
}

impl<'a> Walker<'a> {
    fn new(whole: &'a [u8], keys: &'a Keys) -> Self {
        Self { whole, keys, batch: Batch::default() }
    }

    /// Where `part`, a slice of the buffer, lies in it.
    #[inline]
    fn place(&self, part: &[u8]) -> Place {
        let start = part.as_ptr() as usize - self.whole.as_ptr() as usize;
        start as u32..(start + part.len()) as u32
    }

    fn request(mut self, item: Item<'a>) -> Result<Batch, WireError> {
        for field in fields(self.whole) {
            let field = field?;
            if field.number == 1 {
                self.resource_items(field.bytes()?, item)?;
            }
        }
        Ok(self.batch)
    }

    /// `ResourceSpans` or `ResourceLogs`. The resource may stand after its items, hence two passes.
    fn resource_items(&mut self, message: &'a [u8], item: Item<'a>) -> Result<(), WireError> {
        let mut resource: &[u8] = &message[..0];
        for field in fields(message) {
            let field = field?;
            if field.number == 1 {
                resource = field.bytes()?;
            }
        }
        let service = self.service(resource)?;
        let index = self.batch.resources.len() as u32;
        self.batch.resources.push(ResourceRef { message: self.place(resource), service });
        for field in fields(message) {
            let field = field?;
            if field.number == 2 {
                self.scope_items(field.bytes()?, index, item)?;
            }
        }
        Ok(())
    }

    /// Finds `service.name` in a resource.
    fn service(&self, resource: &'a [u8]) -> Result<Place, WireError> {
        let mut service = self.place(&self.whole[..0]);
        for field in fields(resource) {
            let field = field?;
            if field.number == 1 {
                let (key, value) = key_value(field.bytes()?)?;
                check_depth(value, 0)?;
                if key == b"service.name"
                    && let Some(text) = text_of(value)?
                {
                    service = self.place(text);
                }
            }
        }
        Ok(service)
    }

    fn scope_items(&mut self, message: &'a [u8], resource: u32, item: Item<'a>) -> Result<(), WireError> {
        let mut scope: &[u8] = &message[..0];
        for field in fields(message) {
            let field = field?;
            if field.number == 1 {
                scope = field.bytes()?;
            }
        }
        for field in fields(scope) {
            let field = field?;
            if field.number == 3 {
                check_depth(key_value(field.bytes()?)?.1, 0)?;
            }
        }
        let index = self.batch.scopes.len() as u32;
        self.batch.scopes.push(self.place(scope));
        for field in fields(message) {
            let field = field?;
            if field.number == 2 {
                item(self, field.bytes()?, resource, index)?;
            }
        }
        Ok(())
    }

    fn span(&mut self, message: &'a [u8], resource: u32, scope: u32) -> Result<(), WireError> {
        let (mut trace_id, mut span_id, mut parent, mut name): (&[u8], &[u8], &[u8], &[u8]) =
            (&[], &[], &[], &message[..0]);
        let (mut start, mut end, mut kind, mut failed) = (0, 0, 0, false);
        let item = self.batch.spans.len() as u32;
        let (correlations, links) = (self.batch.span_correlations.len(), self.batch.links.len());
        for field in fields(message) {
            let field = field?;
            match field.number {
                span_field::TRACE_ID => trace_id = field.bytes()?,
                span_field::SPAN_ID => span_id = field.bytes()?,
                span_field::PARENT => parent = field.bytes()?,
                span_field::NAME => name = field.bytes()?,
                span_field::KIND => kind = field.varint()?,
                span_field::START => start = field.fixed64()?,
                span_field::END => end = field.fixed64()?,
                span_field::ATTRIBUTES => {
                    if let Some((place, origin)) = self.attribute(&field)? {
                        self.batch.span_correlations.push((item, place, origin));
                    }
                }
                span_field::EVENTS => check_inner(field.bytes()?, 3)?,
                span_field::LINKS => {
                    let link = field.bytes()?;
                    check_inner(link, 4)?;
                    if let Some(target) = link_target(link)? {
                        self.batch.links.push((item, target));
                    }
                }
                span_field::STATUS => failed = status_code(field.bytes()?)? == 2,
                span_field::TRACE_STATE => drop(field.bytes()?),
                span_field::FLAGS => drop(field.fixed32()?),
                _ => {}
            }
        }
        match ids(trace_id, span_id) {
            Ok((trace_id, span_id)) => self.batch.spans.push(SpanRef {
                trace_id,
                span_id,
                has_parent: parent.iter().any(|byte| *byte != 0),
                kind: kind.min(255) as u8,
                failed,
                start,
                end,
                name: self.place(name),
                message: self.place(message),
                resource,
                scope,
            }),
            Err(reason) => {
                self.batch.span_correlations.truncate(correlations);
                self.batch.links.truncate(links);
                self.reject(reason, resource);
            }
        }
        Ok(())
    }

    fn log(&mut self, message: &'a [u8], resource: u32, scope: u32) -> Result<(), WireError> {
        let (mut time, mut observed, mut trace_id): (u64, u64, &[u8]) = (0, 0, &[]);
        let item = self.batch.logs.len() as u32;
        for field in fields(message) {
            let field = field?;
            match field.number {
                log_field::TIME => time = field.fixed64()?,
                log_field::OBSERVED => observed = field.fixed64()?,
                log_field::TRACE_ID => trace_id = field.bytes()?,
                log_field::BODY => check_depth(field.bytes()?, 0)?,
                log_field::ATTRIBUTES => {
                    if let Some((place, origin)) = self.attribute(&field)? {
                        self.batch.log_correlations.push((item, place, origin));
                    }
                }
                log_field::SEVERITY => drop(field.varint()?),
                log_field::SEVERITY_TEXT | log_field::SPAN_ID | log_field::EVENT_NAME => drop(field.bytes()?),
                _ => {}
            }
        }
        self.batch.logs.push(LogRef {
            trace_id: TraceId::from_slice(trace_id),
            time: if time == 0 { observed } else { time },
            message: self.place(message),
            resource,
            scope,
        });
        Ok(())
    }

    /// Looks at one attribute: is it nested too deep, and is it a correlation ID?
    #[inline]
    fn attribute(&self, field: &Field<'a>) -> Result<Option<(Place, Origin)>, WireError> {
        let (key, value) = key_value(field.bytes()?)?;
        check_depth(value, 0)?;
        let Some(origin) = self.keys.origin(key) else { return Ok(None) };
        Ok(match text_of(value)? {
            Some(text) if !text.is_empty() && text.len() <= correlation::MAX_LEN => {
                Some((self.place(text), origin))
            }
            _ => None,
        })
    }

    fn reject(&mut self, reason: Reason, resource: u32) {
        let service = &self.batch.resources[resource as usize].service;
        let service = &self.whole[service.start as usize..service.end as usize];
        let service = String::from_utf8_lossy(service).into_owned();
        match self.batch.rejected.iter_mut().find(|known| known.reason == reason && known.service == service)
        {
            Some(known) => known.spans += 1,
            None => self.batch.rejected.push(Rejected { reason, service, spans: 1 }),
        }
    }
}

/// Both IDs, or why one is not valid.
fn ids(trace_id: &[u8], span_id: &[u8]) -> Result<(TraceId, SpanId), Reason> {
    if trace_id.len() != 16 {
        return Err(Reason::TraceIdLength);
    }
    if span_id.len() != 8 {
        return Err(Reason::SpanIdLength);
    }
    Ok((
        TraceId::from_slice(trace_id).ok_or(Reason::TraceIdZero)?,
        SpanId::from_slice(span_id).ok_or(Reason::SpanIdZero)?,
    ))
}

/// The key and the value message of a `KeyValue`.
#[inline]
pub fn key_value(message: &[u8]) -> Result<(&[u8], &[u8]), WireError> {
    let (mut key, mut value): (&[u8], &[u8]) = (&[], &[]);
    for field in fields(message) {
        let field = field?;
        match field.number {
            1 => key = field.bytes()?,
            2 => value = field.bytes()?,
            _ => {}
        }
    }
    Ok((key, value))
}

/// The text of an `AnyValue`; of an array its first text (captured headers are arrays of one).
fn text_of(value: &[u8]) -> Result<Option<&[u8]>, WireError> {
    for field in fields(value) {
        let field = field?;
        match field.number {
            1 => return field.bytes().map(Some),
            5 => {
                for element in fields(field.bytes()?) {
                    let element = element?;
                    if element.number == 1 {
                        return text_of(element.bytes()?);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(None)
}

/// Checks an `AnyValue`'s wire types and that its nesting ends in time.
fn check_depth(value: &[u8], depth: usize) -> Result<(), WireError> {
    for field in fields(value) {
        let field = field?;
        match field.number {
            1 | 7 => drop(field.bytes()?),
            2 | 3 => drop(field.varint()?),
            4 => drop(field.fixed64()?),
            5 | 6 if depth >= MAX_DEPTH => return Err(WireError::TooDeep),
            5 => {
                for element in fields(field.bytes()?) {
                    check_depth(element?.bytes()?, depth + 1)?;
                }
            }
            6 => {
                for entry in fields(field.bytes()?) {
                    check_depth(key_value(entry?.bytes()?)?.1, depth + 1)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Checks an event or link: its frame, and its attributes, which stand in field `attributes`.
fn check_inner(message: &[u8], attributes: u32) -> Result<(), WireError> {
    for field in fields(message) {
        let field = field?;
        if field.number == attributes {
            check_depth(key_value(field.bytes()?)?.1, 0)?;
        }
    }
    Ok(())
}

/// The trace that a link points to.
fn link_target(link: &[u8]) -> Result<Option<TraceId>, WireError> {
    for field in fields(link) {
        let field = field?;
        if field.number == 1 {
            return Ok(TraceId::from_slice(field.bytes()?));
        }
    }
    Ok(None)
}

/// The code of a `Status`.
fn status_code(status: &[u8]) -> Result<u64, WireError> {
    let mut code = 0;
    for field in fields(status) {
        let field = field?;
        match field.number {
            2 => drop(field.bytes()?),
            3 => code = field.varint()?,
            _ => {}
        }
    }
    Ok(code)
}
