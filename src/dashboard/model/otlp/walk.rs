//! The one look that each request gets on arrival: where its spans and logs lie, and what indexes need of them.
//!
//! A [`Batch`] keeps the request's bytes and points into them. Nothing is copied or decoded; texts are taken as
//! bytes. Bad protobuf anywhere fails the whole request, since then no boundary can be trusted; a span with an
//! ID that is missing, of the wrong length or zero is left out alone and counted.

use super::super::correlation::{self, Keys, Origin};
use super::super::hash;
use super::super::proto::{WireError, fields};
use super::super::{SpanId, TraceId};
use super::batch::{Batch, LogRef, Place, Reason, Rejected, ResourceRef, SpanRef};
use super::peek::{check_depth, key_value, link_target, status_code, text_of};
use super::{log_field, peer, span_field};

/// Fields that hold the attributes of a resource, a scope, an event, a link.
const OF_RESOURCE: u32 = 1;
const OF_SCOPE: u32 = 3;
const OF_EVENT: u32 = 3;
const OF_LINK: u32 = 4;

/// Kinds of spans whose attributes tell of no other side.
const INTERNAL: u64 = 1;
const SERVER: u64 = 2;

/// Reads one item (span or log) of resource and scope.
type Item<'a> = fn(&mut Walker<'a>, &'a [u8], u32, u32) -> Result<(), WireError>;

/// A walk under way.
pub struct Walker<'a> {
    whole: &'a [u8],
    keys: &'a Keys,
    batch: Batch,
}

impl<'a> Walker<'a> {
    /// A walk over `whole`, looking for correlation IDs under `keys`.
    pub fn new(whole: &'a [u8], keys: &'a Keys) -> Self {
        Self { whole, keys, batch: Batch::default() }
    }

    /// Walks a whole export request.
    pub fn request(mut self, item: Item<'a>) -> Result<Batch, WireError> {
        for field in fields(self.whole) {
            let field = field?;
            if field.number == 1 {
                self.resource_items(field.bytes()?, item)?;
            }
        }
        Ok(self.batch)
    }

    /// What was walked so far.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// What was walked.
    pub fn finish(self) -> Batch {
        self.batch
    }

    /// Where `part`, a slice of the buffer, lies in it.
    #[inline]
    fn place(&self, part: &[u8]) -> Place {
        let start = part.as_ptr() as usize - self.whole.as_ptr() as usize;
        start as u32..(start + part.len()) as u32
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
        let index = self.resource(resource)?;
        for field in fields(message) {
            let field = field?;
            if field.number == 2 {
                self.scope_items(field.bytes()?, index, item)?;
            }
        }
        Ok(())
    }

    /// Takes a resource; gives its index.
    pub fn resource(&mut self, message: &'a [u8]) -> Result<u32, WireError> {
        let mut service = self.place(&self.whole[..0]);
        let from = self.batch.hashes.len() as u32;
        for field in fields(message) {
            let field = field?;
            if field.number == OF_RESOURCE {
                let (key, value) = key_value(field.bytes()?)?;
                check_depth(value, 0)?;
                hash::any(key, value, &mut self.batch.hashes)?;
                if key == b"service.name"
                    && let Some(text) = text_of(value)?
                {
                    service = self.place(text);
                }
            }
        }
        let hashes = from..self.batch.hashes.len() as u32;
        self.batch.resources.push(ResourceRef { message: self.place(message), service, hashes });
        Ok(self.batch.resources.len() as u32 - 1)
    }

    fn scope_items(&mut self, message: &'a [u8], resource: u32, item: Item<'a>) -> Result<(), WireError> {
        let mut scope: &[u8] = &message[..0];
        for field in fields(message) {
            let field = field?;
            if field.number == 1 {
                scope = field.bytes()?;
            }
        }
        let index = self.scope(scope)?;
        for field in fields(message) {
            let field = field?;
            if field.number == 2 {
                item(self, field.bytes()?, resource, index)?;
            }
        }
        Ok(())
    }

    /// Takes a scope; gives its index.
    pub fn scope(&mut self, message: &'a [u8]) -> Result<u32, WireError> {
        for field in fields(message) {
            let field = field?;
            if field.number == OF_SCOPE {
                check_depth(key_value(field.bytes()?)?.1, 0)?;
            }
        }
        self.batch.scopes.push(self.place(message));
        Ok(self.batch.scopes.len() as u32 - 1)
    }

    /// Takes a `Span`.
    pub fn span(&mut self, message: &'a [u8], resource: u32, scope: u32) -> Result<(), WireError> {
        let (mut trace_id, mut span_id, mut parent, mut name): (&[u8], &[u8], &[u8], &[u8]) =
            (&[], &[], &[], &message[..0]);
        let (mut start, mut end, mut kind, mut failed) = (0, 0, 0, false);
        let item = self.batch.spans.len() as u32;
        let before =
            (self.batch.span_correlations.len(), self.batch.links.len(), self.batch.hashes.len() as u32);
        let peers_before = self.batch.peers.len();
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
                    let message = field.bytes()?;
                    let (key, text) = self.attribute(message)?;
                    if let Some((place, origin)) = self.correlation(key, text) {
                        self.batch.span_correlations.push((item, place, origin));
                    }
                    if !matches!(kind, INTERNAL | SERVER) && peer::tells(key) {
                        let place = self.place(message);
                        self.batch.peers.push((item, place));
                    }
                }
                span_field::EVENTS => self.inner(field.bytes()?, OF_EVENT)?,
                span_field::LINKS => {
                    let link = field.bytes()?;
                    self.inner(link, OF_LINK)?;
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
                parent: SpanId::from_slice(parent),
                kind: kind.min(255) as u8,
                failed,
                start,
                end,
                name: self.place(name),
                message: self.place(message),
                resource,
                scope,
                hashes: before.2..self.batch.hashes.len() as u32,
            }),
            Err(reason) => {
                self.batch.span_correlations.truncate(before.0);
                self.batch.links.truncate(before.1);
                self.batch.peers.truncate(peers_before);
                self.batch.hashes.truncate(before.2 as usize);
                self.reject(reason, resource);
            }
        }
        Ok(())
    }

    /// Takes a `LogRecord`.
    pub fn log(&mut self, message: &'a [u8], resource: u32, scope: u32) -> Result<(), WireError> {
        let (mut time, mut observed, mut severity, mut trace_id): (u64, u64, u64, &[u8]) = (0, 0, 0, &[]);
        let item = self.batch.logs.len() as u32;
        let from = self.batch.hashes.len() as u32;
        for field in fields(message) {
            let field = field?;
            match field.number {
                log_field::TIME => time = field.fixed64()?,
                log_field::OBSERVED => observed = field.fixed64()?,
                log_field::TRACE_ID => trace_id = field.bytes()?,
                log_field::BODY => check_depth(field.bytes()?, 0)?,
                log_field::ATTRIBUTES => {
                    let (key, text) = self.attribute(field.bytes()?)?;
                    if let Some((place, origin)) = self.correlation(key, text) {
                        self.batch.log_correlations.push((item, place, origin));
                    }
                }
                log_field::SEVERITY => severity = field.varint()?,
                log_field::SEVERITY_TEXT | log_field::SPAN_ID | log_field::EVENT_NAME => drop(field.bytes()?),
                _ => {}
            }
        }
        self.batch.logs.push(LogRef {
            trace_id: TraceId::from_slice(trace_id),
            time: if time == 0 { observed } else { time },
            severity: severity.min(24) as u8,
            message: self.place(message),
            resource,
            scope,
            hashes: from..self.batch.hashes.len() as u32,
        });
        Ok(())
    }

    /// Looks at one attribute: takes its hash; is it nested too deep? Gives its key, and its value where that is a text.
    #[inline]
    fn attribute(&mut self, message: &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), WireError> {
        Ok(match hash::common(message) {
            Some(common) => {
                self.batch.hashes.push(common.hash);
                (common.key, common.text)
            }
            None => {
                let (key, value) = key_value(message)?;
                check_depth(value, 0)?;
                hash::any(key, value, &mut self.batch.hashes)?;
                (key, text_of(value)?)
            }
        })
    }

    /// Is it a correlation ID?
    #[inline]
    fn correlation(&self, key: &[u8], text: Option<&[u8]>) -> Option<(Place, Origin)> {
        let text = text.filter(|text| !text.is_empty() && text.len() <= correlation::MAX_LEN)?;
        self.keys.origin(key).map(|origin| (self.place(text), origin))
    }

    /// Checks an event or link and takes its attributes' hashes; they stand in field `attributes`.
    fn inner(&mut self, message: &'a [u8], attributes: u32) -> Result<(), WireError> {
        for field in fields(message) {
            let field = field?;
            if field.number == attributes {
                // A correlation ID on an event is the event's own matter.
                self.attribute(field.bytes()?)?;
            }
        }
        Ok(())
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
