//! Batches into one flush: what came twice is left out, the rest is grouped by trace, put into blocks and
//! summarised in one pass.
//!
//! A block holds spans or logs, never both, so that one kind can be removed before the other.

use xxhash_rust::xxh3::xxh3_128;

use super::StoreError;
use super::block::{BlockBuilder, ItemKind};
use super::entry::Loc;
use super::logs::{self, Gathered};
use super::part::{self, Part, PartBuilder, Sender};
use super::rates::Sides;
use super::seen::{Prints, Seen};
use crate::dashboard::model::otlp::Batch;
use crate::dashboard::model::{Nanos, TraceId};

/// Items of a full block. Larger ones pack no better and cost more to open.
pub const BLOCK_ITEMS: usize = 512;
/// Bytes after which a block is closed although it has fewer items.
const BLOCK_BYTES: usize = 4 << 20;

/// A batch with the fingerprints of its items.
pub struct Incoming {
    pub batch: Batch,
    prints: Prints,
}

impl Incoming {
    /// Takes the fingerprints: many senders' threads do it, so that the writer's need not.
    pub fn new(batch: Batch) -> Self {
        Self { prints: Prints::of(&batch), batch }
    }
}

/// A block that is to be committed.
pub struct PackedBlock {
    pub kind: ItemKind,
    pub items: usize,
    pub data: Vec<u8>,
}

/// What one commit writes.
#[derive(Default)]
pub struct Flush {
    /// In order of their numbers: those that the parts' places name until the commit gives them IDs.
    pub blocks: Vec<PackedBlock>,
    pub parts: Vec<Part>,
    /// The resources of all batches, some perhaps twice.
    pub senders: Vec<Sender>,
    /// What its spans contribute to rates.
    pub sides: Sides,
    /// Its logs, for their index.
    pub rows: Gathered,
    pub spans: u64,
    pub logs: u64,
    /// Items left out because they came before, by batch.
    pub duplicates: Vec<u64>,
    /// To be forgotten should the commit fail.
    pub fingerprints: Vec<u64>,
}

/// An item's group and place among the batches. Sorting by it groups by trace and keeps the order of arrival.
/// There is one for every item that comes, hence the packing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slot {
    /// The trace ID, or for logs without one a hash of what they are grouped by.
    group: [u64; 2],
    /// From the highest bit: whether it is a log without a trace (1), whether it is a log (1), its batch (15), its
    /// number in the batch (32).
    place: u64,
}

impl Slot {
    fn new(group: u128, orphan: bool, batch: usize, is_log: bool, item: u32) -> Self {
        let place =
            u64::from(orphan) << 63 | u64::from(is_log) << 62 | (batch as u64) << 32 | u64::from(item);
        Self { group: [(group >> 64) as u64, group as u64], place }
    }

    fn is_orphan(self) -> bool {
        self.place >> 63 != 0
    }

    fn batch(self) -> usize {
        (self.place << 2 >> 34) as usize
    }

    fn kind(self) -> ItemKind {
        if self.place >> 62 & 1 == 0 { ItemKind::Span } else { ItemKind::Log }
    }

    fn item(self) -> u32 {
        self.place as u32
    }

    fn trace_id(self) -> TraceId {
        let group = u128::from(self.group[0]) << 64 | u128::from(self.group[1]);
        TraceId(if self.is_orphan() { [0; 16] } else { group.to_be_bytes() })
    }
}

/// Packs flush after flush: remembers what came, and has the open blocks' memory at hand.
#[derive(Default)]
pub struct Packer {
    pub seen: Seen,
    /// The last flush's, for the sake of its memory.
    pub sides: Sides,
    /// The open block of each kind.
    builders: [BlockBuilder; 2],
}

impl Packer {
    /// Packs batches that were received at `now`.
    pub fn pack(&mut self, incoming: &[&Incoming], now: Nanos) -> Result<Flush, StoreError> {
        let sides = std::mem::take(&mut self.sides);
        let mut flush = Flush { duplicates: vec![0; incoming.len()], sides, ..Flush::default() };
        flush.sides.begin(now);
        let mut slots = Vec::with_capacity(incoming.iter().map(|one| one.batch.spans.len()).sum());
        for (index, incoming) in incoming.iter().enumerate() {
            fresh(index, incoming, &mut self.seen, &mut slots, &mut flush);
            flush.senders.extend(part::senders(&incoming.batch, &incoming.prints));
        }
        slots.sort_unstable();
        let [spans, logs] = &mut self.builders;
        let open = [OpenBlock::new(spans, incoming), OpenBlock::new(logs, incoming)];
        let mut packing = Packing { incoming, open, now, flush, closed: Vec::new() };
        for group in slots.chunk_by(|a, b| (a.group, a.is_orphan()) == (b.group, b.is_orphan())) {
            packing.group(group)?;
        }
        packing.finish()
    }
}

/// Adds the batch's items that did not come before.
fn fresh(index: usize, incoming: &Incoming, seen: &mut Seen, slots: &mut Vec<Slot>, flush: &mut Flush) {
    let Incoming { batch, prints } = incoming;
    for ((span, print), item) in batch.spans.iter().zip(&prints.spans).zip(0..) {
        if !seen.insert(*print) {
            flush.duplicates[index] += 1;
            continue;
        }
        flush.fingerprints.push(*print);
        flush.spans += 1;
        let group = u128::from_be_bytes(span.trace_id.0);
        slots.push(Slot::new(group, false, index, false, item));
    }
    // Equal log lines within one request are two lines; equal ones in a later request are the request again.
    let first = flush.fingerprints.len();
    let mut correlations = batch.log_correlations.iter().peekable();
    for ((log, print), item) in batch.logs.iter().zip(&prints.logs).zip(0..) {
        let mut value: &[u8] = &[];
        while let Some((of, place, _)) = correlations.next_if(|(of, ..)| *of <= item) {
            if *of == item {
                value = batch.at(place);
            }
        }
        if seen.contains(*print) {
            flush.duplicates[index] += 1;
            continue;
        }
        flush.fingerprints.push(*print);
        flush.logs += 1;
        let group = match log.trace_id {
            Some(id) => u128::from_be_bytes(id.0),
            None if value.is_empty() => xxh3_128(batch.at(&batch.resources[log.resource as usize].service)),
            None => xxh3_128(value),
        };
        slots.push(Slot::new(group, log.trace_id.is_none(), index, true, item));
    }
    for print in &flush.fingerprints[first..] {
        seen.insert(*print);
    }
}

/// A batch's resources and scopes: their indexes in the open block, where they are in it.
type Indexes = (Vec<Option<u32>>, Vec<Option<u32>>);

/// A block that is being filled.
struct OpenBlock<'a> {
    builder: &'a mut BlockBuilder,
    /// Its number, once it has an item.
    number: Option<u64>,
    /// Of each batch.
    tables: Vec<Indexes>,
}

impl<'a> OpenBlock<'a> {
    fn new(builder: &'a mut BlockBuilder, incoming: &[&Incoming]) -> Self {
        Self { builder, number: None, tables: tables(incoming) }
    }

    fn item(&mut self, slot: Slot, batch: &Batch, resource: u32, scope: u32, message: &[u8]) {
        let (resources, scopes) = &mut self.tables[slot.batch()];
        let resource = *resources[resource as usize].get_or_insert_with(|| {
            self.builder.resource(batch.at(&batch.resources[resource as usize].message))
        });
        let scope = *scopes[scope as usize]
            .get_or_insert_with(|| self.builder.scope(batch.at(&batch.scopes[scope as usize])));
        self.builder.item(slot.kind(), resource, scope, message);
    }
}

/// Each batch's resources and scopes: none is in the open block yet.
fn tables(incoming: &[&Incoming]) -> Vec<Indexes> {
    let blank = |batch: &Batch| (vec![None; batch.resources.len()], vec![None; batch.scopes.len()]);
    incoming.iter().map(|one| blank(&one.batch)).collect()
}

/// A flush that is being packed.
struct Packing<'a> {
    incoming: &'a [&'a Incoming],
    /// By [`ItemKind`].
    open: [OpenBlock<'a>; 2],
    now: Nanos,
    flush: Flush,
    /// By number; `None` while it is open.
    closed: Vec<Option<PackedBlock>>,
}

impl Packing<'_> {
    fn group(&mut self, slots: &[Slot]) -> Result<(), StoreError> {
        let mut part = PartBuilder::new(slots[0].trace_id(), self.now, slots.len());
        for of_kind in slots.chunk_by(|a, b| a.kind() == b.kind()) {
            // A part that is larger than a block by far (100,000 spans of one trace) is cut into several.
            for piece in of_kind.chunks(BLOCK_ITEMS * 4) {
                self.piece(piece, &mut part)?;
            }
        }
        self.flush.parts.push(part.finish());
        Ok(())
    }

    /// Puts items of one kind and one group into the open block of their kind.
    fn piece(&mut self, slots: &[Slot], part: &mut PartBuilder) -> Result<(), StoreError> {
        let kind = slots[0].kind();
        let open = &mut self.open[kind as usize];
        let block = *open.number.get_or_insert_with(|| {
            self.closed.push(None);
            self.closed.len() as u64 - 1
        });
        let loc = Loc { block, offset: open.builder.begin_part(slots.len()) };
        part.place(loc);
        for slot in slots {
            self.item(*slot, part);
        }
        if kind == ItemKind::Log {
            self.rows(slots, loc);
        }
        let builder = &self.open[kind as usize].builder;
        if builder.items() >= BLOCK_ITEMS || builder.len() >= BLOCK_BYTES {
            self.close(kind)?;
        }
        Ok(())
    }

    fn item(&mut self, slot: Slot, part: &mut PartBuilder) {
        let Incoming { batch, prints } = self.incoming[slot.batch()];
        let item = slot.item();
        let (message, resource, scope) = match slot.kind() {
            ItemKind::Log => {
                let log = &batch.logs[item as usize];
                part.log(batch, prints, item, log);
                (&log.message, log.resource, log.scope)
            }
            ItemKind::Span => {
                let span = &batch.spans[item as usize];
                part.span(batch, prints, item, span);
                self.flush.sides.span(batch, item, span);
                (&span.message, span.resource, span.scope)
            }
        };
        self.open[slot.kind() as usize].item(slot, batch, resource, scope, batch.at(message));
    }

    /// Notes the logs of a part for their index.
    fn rows(&mut self, slots: &[Slot], loc: Loc) {
        for (slot, number) in slots.iter().zip(0..) {
            let batch = &self.incoming[slot.batch()].batch;
            let log = &batch.logs[slot.item() as usize];
            self.flush.rows.add(batch, log, self.now, logs::Place { loc, number });
        }
    }

    fn close(&mut self, kind: ItemKind) -> Result<(), StoreError> {
        let open = &mut self.open[kind as usize];
        if let Some(number) = open.number.take() {
            let items = open.builder.items();
            let data = open.builder.finish(self.now)?;
            self.closed[number as usize] = Some(PackedBlock { kind, items, data });
            open.tables = tables(self.incoming);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Flush, StoreError> {
        self.close(ItemKind::Span)?;
        self.close(ItemKind::Log)?;
        // All that were opened are closed now.
        self.flush.blocks = self.closed.into_iter().flatten().collect();
        Ok(self.flush)
    }
}
