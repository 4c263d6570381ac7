//! Batches into one flush: what came twice is left out, the rest is grouped by trace, put into blocks and
//! summarised in one pass.

use xxhash_rust::xxh3::xxh3_128;

use super::StoreError;
use super::block::{BlockBuilder, ItemKind, compress, damaged, decompress};
use super::entry::{self, Entry, Loc, add_correlation, add_service, better_root, later};
use super::failure::{self, Broken};
use super::seen::{Seen, fingerprint, resource_seed};
use super::term::Term;
use crate::dashboard::model::otlp::walk::{Batch, LogRef, Place, SpanRef};
use crate::dashboard::model::proto::{WireError, put_varint, take_bytes, take_varint};
use crate::dashboard::model::{Correlation, Failure, Kind, Nanos, Root, TraceId, correlation::Origin};

/// Items of a full block. Larger ones pack no better and cost more to open.
pub const BLOCK_ITEMS: usize = 512;
/// Bytes after which a block is closed although it has fewer items.
const BLOCK_BYTES: usize = 4 << 20;
/// A start further ahead of arrival than this is not believed.
const FUTURE: Nanos = 24 * 3600 * 1_000_000_000;

/// What one commit writes.
#[derive(Default)]
pub struct Flush {
    pub blocks: Vec<(u64, Vec<u8>)>,
    pub parts: Vec<Part>,
    pub spans: u64,
    pub logs: u64,
    /// Items left out because they came before, by batch.
    pub duplicates: Vec<u64>,
    /// To be forgotten should the commit fail.
    pub fingerprints: Vec<u64>,
}

/// An entry with the terms it is found by.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub entry: Entry,
    pub terms: Vec<Term>,
}

/// An item's group and place among the batches. Sorting by it groups by trace and keeps the order of arrival.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    /// The trace ID, or for logs without one a hash of what they are grouped by.
    group: u128,
    orphan: bool,
    batch: u32,
    is_log: bool,
    item: u32,
}

/// Packs batches. `first_block` is the ID of the first block; `now` is when they were received.
pub fn pack(batches: &[&Batch], seen: &mut Seen, first_block: u64, now: Nanos) -> Result<Flush, StoreError> {
    let mut flush = Flush { duplicates: vec![0; batches.len()], ..Flush::default() };
    let mut slots = Vec::new();
    for (index, batch) in batches.iter().enumerate() {
        fresh(index as u32, batch, seen, &mut slots, &mut flush);
    }
    slots.sort_unstable();
    let mut packer =
        Packer { batches, tables: tables(batches), block: BlockBuilder::default(), now, first_block, flush };
    for group in slots.chunk_by(|a, b| (a.group, a.orphan) == (b.group, b.orphan)) {
        packer.group(group)?;
    }
    packer.close_block()?;
    Ok(packer.flush)
}

/// Adds the batch's items that did not come before.
fn fresh(index: u32, batch: &Batch, seen: &mut Seen, slots: &mut Vec<Slot>, flush: &mut Flush) {
    let seeds: Vec<u64> =
        batch.resources.iter().map(|resource| resource_seed(batch.at(&resource.message))).collect();
    for (item, span) in batch.spans.iter().enumerate() {
        let print = fingerprint(batch.at(&span.message), seeds[span.resource as usize]);
        if !seen.insert(print) {
            flush.duplicates[index as usize] += 1;
            continue;
        }
        flush.fingerprints.push(print);
        flush.spans += 1;
        let group = u128::from_be_bytes(span.trace_id.0);
        slots.push(Slot { group, orphan: false, batch: index, is_log: false, item: item as u32 });
    }
    // Equal log lines within one request are two lines; equal ones in a later request are the request again.
    let first = flush.fingerprints.len();
    let mut correlations = batch.log_correlations.iter().peekable();
    for (item, log) in batch.logs.iter().enumerate() {
        let mut value: &[u8] = &[];
        while let Some((of, place, _)) = correlations.next_if(|(of, ..)| *of <= item as u32) {
            if *of == item as u32 {
                value = batch.at(place);
            }
        }
        let print = fingerprint(batch.at(&log.message), seeds[log.resource as usize]);
        if seen.contains(print) {
            flush.duplicates[index as usize] += 1;
            continue;
        }
        flush.fingerprints.push(print);
        flush.logs += 1;
        let group = match log.trace_id {
            Some(id) => u128::from_be_bytes(id.0),
            None if value.is_empty() => xxh3_128(batch.at(&batch.resources[log.resource as usize].service)),
            None => xxh3_128(value),
        };
        let orphan = log.trace_id.is_none();
        slots.push(Slot { group, orphan, batch: index, is_log: true, item: item as u32 });
    }
    for print in &flush.fingerprints[first..] {
        seen.insert(*print);
    }
}

/// A batch's resources and scopes: their indexes in the open block, where they are in it.
type Indexes = (Vec<Option<u32>>, Vec<Option<u32>>);

/// Each batch's resources and scopes as indexes of the open block, once they are in it.
fn tables(batches: &[&Batch]) -> Vec<Indexes> {
    batches.iter().map(|batch| (vec![None; batch.resources.len()], vec![None; batch.scopes.len()])).collect()
}

struct Packer<'a> {
    batches: &'a [&'a Batch],
    tables: Vec<Indexes>,
    block: BlockBuilder,
    now: Nanos,
    first_block: u64,
    flush: Flush,
}

impl Packer<'_> {
    fn group(&mut self, slots: &[Slot]) -> Result<(), StoreError> {
        let id = if slots[0].orphan { TraceId([0; 16]) } else { TraceId(slots[0].group.to_be_bytes()) };
        let mut part = PartBuilder::new(id, self.now);
        // A part that is larger than a block by far (100,000 spans of one trace) is cut into several.
        for piece in slots.chunks(BLOCK_ITEMS * 4) {
            let offset = self.block.begin_part(piece.len());
            let block = self.first_block + self.flush.blocks.len() as u64;
            part.entry.locs.push(Loc { block, offset });
            for slot in piece {
                self.item(slot, &mut part);
            }
            if self.block.items() >= BLOCK_ITEMS || self.block.len() >= BLOCK_BYTES {
                self.close_block()?;
            }
        }
        self.flush.parts.push(part.finish());
        Ok(())
    }

    fn item(&mut self, slot: &Slot, part: &mut PartBuilder) {
        let batch = self.batches[slot.batch as usize];
        let (message, resource, scope, kind) = if slot.is_log {
            let log = &batch.logs[slot.item as usize];
            part.log(batch, slot.item, log);
            (&log.message, log.resource, log.scope, ItemKind::Log)
        } else {
            let span = &batch.spans[slot.item as usize];
            part.span(batch, slot.item, span);
            (&span.message, span.resource, span.scope, ItemKind::Span)
        };
        let (resources, scopes) = &mut self.tables[slot.batch as usize];
        let resource = *resources[resource as usize].get_or_insert_with(|| {
            self.block.resource(batch.at(&batch.resources[resource as usize].message))
        });
        let scope = *scopes[scope as usize]
            .get_or_insert_with(|| self.block.scope(batch.at(&batch.scopes[scope as usize])));
        self.block.item(kind, resource, scope, batch.at(message));
    }

    fn close_block(&mut self) -> Result<(), StoreError> {
        if self.block.items() > 0 {
            let id = self.first_block + self.flush.blocks.len() as u64;
            self.flush.blocks.push((id, self.block.finish()?));
            self.tables = tables(self.batches);
        }
        Ok(())
    }
}

/// Builds the entry and terms of one trace out of its spans and logs.
struct PartBuilder {
    entry: Entry,
    terms: Vec<Term>,
    now: Nanos,
    broke: Broken,
    service: String,
}

impl PartBuilder {
    fn new(id: TraceId, now: Nanos) -> Self {
        let mut entry = Entry::blank(id);
        (entry.summary.start, entry.summary.end) = (now, now);
        let terms = if entry.is_orphan_logs() { Vec::new() } else { vec![Term::trace(id)] };
        Self { entry, terms, now, broke: Broken::default(), service: String::new() }
    }

    /// Widens the entry's time by what is plausible.
    fn time(&mut self, start: Nanos, end: Nanos) {
        if start == 0 || start > self.now + FUTURE {
            return;
        }
        let end = if end > self.now + FUTURE { start } else { end.max(start) };
        let summary = &mut self.entry.summary;
        if self.entry.time_is_arrival {
            (summary.start, summary.end) = (start, end);
            self.entry.time_is_arrival = false;
        } else {
            (summary.start, summary.end) = (summary.start.min(start), summary.end.max(end));
        }
    }

    fn span(&mut self, batch: &Batch, item: u32, span: &SpanRef) {
        self.time(span.start, span.end);
        self.read_service(batch, span.resource);
        let summary = &mut self.entry.summary;
        summary.spans += 1;
        summary.errors += u32::from(span.failed);
        add_service(summary, &self.service, 1, u32::from(span.failed));
        self.terms.push(Term::span(span.span_id));
        self.terms.push(Term::service(&self.service));
        if span.failed {
            self.terms.extend([Term::error(), Term::service_error(&self.service)]);
            self.broken(batch, span);
        }
        self.root(batch, span);
        let from = batch.span_correlations.partition_point(|(of, ..)| *of < item);
        for (_, place, origin) in batch.span_correlations[from..].iter().take_while(|(of, ..)| *of == item) {
            self.correlation(batch, place, *origin);
        }
        let from = batch.links.partition_point(|(of, _)| *of < item);
        for (_, target) in batch.links[from..].iter().take_while(|(of, _)| *of == item) {
            self.terms.push(Term::link_to(*target));
        }
    }

    fn log(&mut self, batch: &Batch, item: u32, log: &LogRef) {
        // A log can name a trace that ended long ago: it widens no trace that has spans.
        if self.entry.summary.spans == 0 {
            self.time(log.time, log.time);
        }
        self.entry.summary.logs += 1;
        if self.entry.is_orphan_logs() {
            self.read_service(batch, log.resource);
            add_service(&mut self.entry.summary, &self.service, 0, 0);
            self.terms.push(Term::service(&self.service));
        }
        let from = batch.log_correlations.partition_point(|(of, ..)| *of < item);
        for (_, place, origin) in batch.log_correlations[from..].iter().take_while(|(of, ..)| *of == item) {
            self.correlation(batch, place, *origin);
        }
    }

    fn read_service(&mut self, batch: &Batch, resource: u32) {
        let name = batch.at(&batch.resources[resource as usize].service);
        if self.service.as_bytes() != name {
            self.service = String::from_utf8_lossy(name).into_owned();
        }
        if self.service.is_empty() {
            self.service = crate::dashboard::model::span::UNKNOWN_SERVICE.to_owned();
        }
    }

    fn root(&mut self, batch: &Batch, span: &SpanRef) {
        let known = &self.entry.summary.root;
        let better = known.as_ref().is_none_or(|root| {
            (span.has_parent, span.start == 0, span.start) < (!root.parentless, root.start == 0, root.start)
        });
        if better {
            self.entry.summary.root = Some(Root {
                service: self.service.clone(),
                name: String::from_utf8_lossy(batch.at(&span.name)).into_owned(),
                kind: Kind::from_wire(u64::from(span.kind)),
                start: span.start,
                end: span.end,
                parentless: !span.has_parent,
                answer: if span.has_parent { None } else { failure::answer(batch.at(&span.message)) },
            });
        }
    }

    /// Keeps where it broke; only what can tell is decoded.
    fn broken(&mut self, batch: &Batch, span: &SpanRef) {
        let kind = Kind::from_wire(u64::from(span.kind));
        if !self.broke.wants(span.span_id, kind, span.end) {
            return;
        }
        let read = failure::read(batch.at(&span.message));
        let settled = &mut self.entry.summary.settled;
        *settled = later(settled.take(), read.settled);
        let failure = Failure {
            service: self.service.clone(),
            span_name: String::from_utf8_lossy(batch.at(&span.name)).into_owned(),
            span_id: span.span_id,
            why: read.why,
            time: span.end,
            refused: read.refused,
        };
        self.broke.add(failure, read.parent);
    }

    fn correlation(&mut self, batch: &Batch, place: &Place, origin: Origin) {
        let value = String::from_utf8_lossy(batch.at(place));
        self.terms.push(Term::correlation(&value));
        if !self.entry.summary.correlations.iter().any(|known| known.value == value && known.origin <= origin)
        {
            add_correlation(&mut self.entry.summary, Correlation { value: value.into_owned(), origin });
        }
    }

    fn finish(mut self) -> Part {
        if let Some(root) = &self.entry.summary.root
            && root.parentless
        {
            self.terms.push(Term::operation(&root.name));
        }
        (self.entry.summary.failure, self.entry.summary.refused) = std::mem::take(&mut self.broke).finish();
        if self.entry.summary.failed() {
            self.terms.push(Term::broke());
        }
        self.entry.summary.root = better_root(self.entry.summary.root, None);
        self.terms.sort_unstable();
        self.terms.dedup();
        Part { entry: self.entry, terms: self.terms }
    }
}

/// Encodes parts for the row of the tail, from which a restart builds the tail again.
pub fn encode_parts(parts: &[Part]) -> Result<Vec<u8>, StoreError> {
    let mut raw = vec![entry::VERSION];
    put_varint(&mut raw, parts.len() as u64);
    for part in parts {
        entry::put(&mut raw, &part.entry);
        put_varint(&mut raw, part.terms.len() as u64);
        for term in &part.terms {
            raw.extend_from_slice(&term.0.to_le_bytes());
        }
    }
    compress(&raw)
}

/// Reads what [`encode_parts`] wrote.
pub fn decode_parts(data: &[u8]) -> Result<Vec<Part>, StoreError> {
    read_parts(&decompress(data)?).map_err(damaged)
}

fn read_parts(mut raw: &[u8]) -> Result<Vec<Part>, WireError> {
    if take_bytes(&mut raw, 1)?[0] != entry::VERSION {
        return Err(WireError::Tag);
    }
    (0..take_varint(&mut raw)?)
        .map(|_| {
            let entry = entry::take(&mut raw)?;
            let terms = (0..take_varint(&mut raw)?)
                .map(|_| {
                    Ok(Term(u32::from_le_bytes(take_bytes(&mut raw, 4)?.try_into().expect("four bytes"))))
                })
                .collect::<Result<_, WireError>>()?;
            Ok(Part { entry, terms })
        })
        .collect()
}
