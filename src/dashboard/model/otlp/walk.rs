//! The one look that each request gets on arrival: where its spans and logs lie, and what indexes need of them.
//!
//! A [`Batch`] keeps the request's bytes and points into them. Nothing is copied or decoded; texts are taken as
//! bytes. Bad protobuf anywhere fails the whole request, since then no boundary can be trusted; a span with an
//! ID that is missing, of the wrong length or zero is left out alone and counted.

use super::super::correlation::{self, Keys};
use super::super::hash;
use super::super::proto::{WireError, fields};
use super::super::{SpanId, TraceId};
use super::batch::{Batch, LogRef, Place, Reason, Rejected, ResourceRef, SpanRef};
use super::peek::{check_depth, key_value, link_target, status_code, text_of};
use super::peer::Told;
use super::{MAX_ITEMS, SHARED, log_field, span_field};

/// Fields that hold the attributes of a resource, a scope, an event, a link.
const OF_RESOURCE: u32 = 1;
const OF_SCOPE: u32 = 3;
const OF_EVENT: u32 = 3;
const OF_LINK: u32 = 4;

/// Kinds of spans whose attributes tell of no other side.
const INTERNAL: u64 = 1;
const SERVER: u64 = 2;

/// Attributes of a resource that tell instances of a service apart, best first. `service.instance.id` is the conventions';
/// many SDKs send none, and then the pod or the host is what people know an instance by.
const INSTANCE_KEYS: [&[u8]; 3] = [b"service.instance.id", b"k8s.pod.name", b"host.name"];

/// Usual sizes, for setting memory aside. None of it is set aside for logs, which have lists of their own.
const BYTES_OF_A_SPAN: usize = 400;
const BYTES_OF_AN_ATTRIBUTE: usize = 40;

/// Reads one item (span or log) of resource and scope.
type Item<'a> = fn(&mut Walker<'a>, &'a [u8], u32, u32) -> Result<(), WireError>;

/// A walk under way.
pub struct Walker<'a> {
    whole: &'a [u8],
    keys: &'a Keys,
    batch: Batch,
}

/// An attribute: its key, its `AnyValue`, and its value where that is a text.
struct Attribute<'a> {
    key: &'a [u8],
    value: &'a [u8],
    text: Option<&'a [u8]>,
}

/// How much of each list a batch had before an item.
struct Marks {
    hashes: u32,
    correlations: u32,
    told: u32,
    links: u32,
}

impl<'a> Walker<'a> {
    /// A walk over `whole`, looking for correlation IDs under `keys`.
    pub fn new(whole: &'a [u8], keys: &'a Keys) -> Self {
        let mut batch = Batch::default();
        // As much as spans of the usual size need, so that little is moved while they grow.
        batch.spans.reserve(whole.len() / BYTES_OF_A_SPAN);
        batch.hashes.reserve(whole.len() / BYTES_OF_AN_ATTRIBUTE);
        Self { whole, keys, batch }
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

    /// Whether there is room for one more of anything.
    #[inline]
    fn room(&self) -> Result<(), WireError> {
        let Batch { resources, scopes, spans, logs, .. } = &self.batch;
        if resources.len() + scopes.len() + spans.len() + logs.len() >= MAX_ITEMS {
            return Err(WireError::TooMany);
        }
        Ok(())
    }

    /// Takes a resource; gives its index.
    pub fn resource(&mut self, message: &'a [u8]) -> Result<u32, WireError> {
        self.room()?;
        let none = self.place(&self.whole[..0]);
        let (mut service, mut version, mut instance) = (none.clone(), none.clone(), none);
        let mut best = INSTANCE_KEYS.len();
        let from = self.batch.hashes.len() as u32;
        for field in fields(message) {
            let field = field?;
            if field.number == OF_RESOURCE {
                let (key, value) = key_value(field.bytes()?)?;
                check_depth(value, 0)?;
                hash::any(key, value, &mut self.batch.hashes)?;
                let rank = INSTANCE_KEYS.iter().position(|known| *known == key);
                let wanted = rank.is_some() || matches!(key, b"service.name" | b"service.version");
                if let Some(text) = text_of(value)?.filter(|_| wanted) {
                    match (key, rank) {
                        (b"service.name", _) => service = self.place(text),
                        (b"service.version", _) => version = self.place(text),
                        (_, Some(rank)) if rank < best => (best, instance) = (rank, self.place(text)),
                        _ => {}
                    }
                }
            }
        }
        let hashes = from..self.batch.hashes.len() as u32;
        self.batch.resources.push(ResourceRef {
            message: self.place(message),
            service,
            version,
            instance,
            hashes,
        });
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
        self.room()?;
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
        self.room()?;
        let (mut trace_id, mut span_id, mut parent, mut name): (&[u8], &[u8], &[u8], &[u8]) =
            (&[], &[], &[], &message[..0]);
        let (mut start, mut end, mut kind, mut failed, mut shared) = (0, 0, 0, false, false);
        let before = self.marks();
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
                    let attribute = self.attribute(field.bytes()?)?;
                    shared |= kind == SERVER && attribute.key == SHARED.as_bytes();
                    if !matches!(kind, INTERNAL | SERVER)
                        && let Some(told) = Told::by(attribute.key)
                    {
                        let place = self.place(attribute.value);
                        self.batch.told.push((told, place));
                    }
                }
                span_field::EVENTS => self.inner(field.bytes()?, OF_EVENT)?,
                span_field::LINKS => {
                    let link = field.bytes()?;
                    self.inner(link, OF_LINK)?;
                    if let Some(target) = link_target(link)? {
                        self.batch.links.push(target);
                    }
                }
                span_field::STATUS => failed = status_code(field.bytes()?)? == 2,
                span_field::TRACE_STATE => drop(field.bytes()?),
                span_field::FLAGS => drop(field.fixed32()?),
                _ => {}
            }
        }
        if shared {
            parent = span_id;
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
                hashes: before.hashes..self.batch.hashes.len() as u32,
                correlations: before.correlations..self.batch.correlations.len() as u32,
                told: before.told..self.batch.told.len() as u32,
                links: before.links..self.batch.links.len() as u32,
            }),
            Err(reason) => {
                self.back_to(&before);
                self.reject(reason, resource);
            }
        }
        Ok(())
    }

    /// Takes a `LogRecord`.
    pub fn log(&mut self, message: &'a [u8], resource: u32, scope: u32) -> Result<(), WireError> {
        self.room()?;
        let (mut time, mut observed, mut severity, mut trace_id): (u64, u64, u64, &[u8]) = (0, 0, 0, &[]);
        let before = self.marks();
        for field in fields(message) {
            let field = field?;
            match field.number {
                log_field::TIME => time = field.fixed64()?,
                log_field::OBSERVED => observed = field.fixed64()?,
                log_field::TRACE_ID => trace_id = field.bytes()?,
                log_field::BODY => check_depth(field.bytes()?, 0)?,
                log_field::ATTRIBUTES => {
                    self.attribute(field.bytes()?)?;
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
            hashes: before.hashes..self.batch.hashes.len() as u32,
            correlations: before.correlations..self.batch.correlations.len() as u32,
        });
        Ok(())
    }

    /// Looks at one attribute: takes its hash, and whether it is a correlation ID; is it nested too deep?
    #[inline]
    fn attribute(&mut self, message: &'a [u8]) -> Result<Attribute<'a>, WireError> {
        let attribute = self.hashed(message)?;
        if let Some(text) =
            attribute.text.filter(|text| !text.is_empty() && text.len() <= correlation::MAX_LEN)
            && let Some(origin) = self.keys.origin(attribute.key)
        {
            let place = self.place(text);
            self.batch.correlations.push((place, origin));
        }
        Ok(attribute)
    }

    #[inline]
    fn hashed(&mut self, message: &'a [u8]) -> Result<Attribute<'a>, WireError> {
        Ok(match hash::common(message) {
            Some(common) => {
                self.batch.hashes.push(common.hash);
                Attribute { key: common.key, value: common.value, text: common.text }
            }
            None => {
                let (key, value) = key_value(message)?;
                check_depth(value, 0)?;
                hash::any(key, value, &mut self.batch.hashes)?;
                Attribute { key, value, text: text_of(value)? }
            }
        })
    }

    /// Checks an event or link and takes its attributes' hashes; they stand in field `attributes`.
    fn inner(&mut self, message: &'a [u8], attributes: u32) -> Result<(), WireError> {
        for field in fields(message) {
            let field = field?;
            if field.number == attributes {
                // A correlation ID on an event is the event's own matter.
                self.hashed(field.bytes()?)?;
            }
        }
        Ok(())
    }

    /// How much was noted so far.
    fn marks(&self) -> Marks {
        let Batch { hashes, correlations, told, links, .. } = &self.batch;
        Marks {
            hashes: hashes.len() as u32,
            correlations: correlations.len() as u32,
            told: told.len() as u32,
            links: links.len() as u32,
        }
    }

    /// Takes back what was noted since.
    fn back_to(&mut self, marks: &Marks) {
        self.batch.hashes.truncate(marks.hashes as usize);
        self.batch.correlations.truncate(marks.correlations as usize);
        self.batch.told.truncate(marks.told as usize);
        self.batch.links.truncate(marks.links as usize);
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
