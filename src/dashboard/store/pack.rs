//! Batches into one flush: what came twice is left out, the rest is grouped by trace, put into blocks and
//! summarised in one pass.
//!
//! A block holds spans or logs, never both, so that one kind can be removed before the other.

use xxhash_rust::xxh3::xxh3_128;

use super::StoreError;
use super::block::{BlockBuilder, ItemKind};
use super::entry::Loc;
use super::group::{Group, Groups, Slot};
use super::logs::{self, Gathered};
use super::part::{self, Part, PartBuilder, Sender};
use super::rates::Sides;
use super::seen::{Prints, Seen};
use crate::dashboard::model::Nanos;
use crate::dashboard::model::otlp::Batch;

/// Items of a full block. Larger ones pack no better and cost more to open.
pub const BLOCK_ITEMS: usize = 192;
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

/// Packs flush after flush: remembers what came, and has the open blocks' memory at hand.
#[derive(Default)]
pub struct Packer {
    pub seen: Seen,
    /// The last flush's, for the sake of its memory.
    pub sides: Sides,
    /// The open block of each kind.
    builders: [BlockBuilder; 2],
    part: PartBuilder,
    groups: Groups,
}

impl Packer {
    /// Packs batches that were received at `now`.
    pub fn pack(&mut self, incoming: &[&Incoming], now: Nanos) -> Result<Flush, StoreError> {
        let sides = std::mem::take(&mut self.sides);
        let mut flush = Flush { duplicates: vec![0; incoming.len()], sides, ..Flush::default() };
        flush.sides.begin(now);
        self.groups.clear();
        for (batch, incoming) in (0..).zip(incoming) {
            fresh(batch, incoming, &mut self.seen, &mut self.groups, &mut flush);
            flush.senders.extend(part::senders(&incoming.batch, &incoming.prints));
        }
        let [spans, logs] = &mut self.builders;
        let open = [OpenBlock::new(spans, incoming), OpenBlock::new(logs, incoming)];
        let part = &mut self.part;
        let mut packing = Packing { incoming, open, part, now, flush, closed: Vec::new() };
        for (group, range) in self.groups.sort() {
            packing.group(group, self.groups.slots(range))?;
        }
        packing.finish()
    }
}

/// Adds the batch's items that did not come before.
fn fresh(number: u32, incoming: &Incoming, seen: &mut Seen, groups: &mut Groups, flush: &mut Flush) {
    let Incoming { batch, prints } = incoming;
    seen.insert_each(&prints.spans, |item, is_new| {
        if !is_new {
            flush.duplicates[number as usize] += 1;
            return;
        }
        flush.fingerprints.push(prints.spans[item]);
        flush.spans += 1;
        let group = Group::Trace(u128::from_be_bytes(batch.spans[item].trace_id.0));
        groups.add(group, Slot { batch: number, item: item as u32, is_log: false });
    });
    // Equal log lines within one request are two lines; equal ones in a later request are the request again.
    let first = flush.fingerprints.len();
    for ((log, print), item) in batch.logs.iter().zip(&prints.logs).zip(0..) {
        if seen.contains(*print) {
            flush.duplicates[number as usize] += 1;
            continue;
        }
        flush.fingerprints.push(*print);
        flush.logs += 1;
        let group = match log.trace_id {
            Some(id) => Group::Trace(u128::from_be_bytes(id.0)),
            None => Group::Logs(xxh3_128(batch.at(match batch.correlations(&log.correlations).last() {
                Some((value, _)) => value,
                None => &batch.resources[log.resource as usize].service,
            }))),
        };
        groups.add(group, Slot { batch: number, item, is_log: true });
    }
    seen.extend(&flush.fingerprints[first..]);
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
        let (resources, scopes) = &mut self.tables[slot.batch as usize];
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
    part: &'a mut PartBuilder,
    now: Nanos,
    flush: Flush,
    /// By number; `None` while it is open.
    closed: Vec<Option<PackedBlock>>,
}

impl Packing<'_> {
    fn group(&mut self, group: Group, slots: &[Slot]) -> Result<(), StoreError> {
        self.part.begin(group.trace_id(), self.now);
        for of_kind in slots.chunk_by(|a, b| a.kind() == b.kind()) {
            // A part that is larger than a block by far (100,000 spans of one trace) is cut into several.
            for piece in of_kind.chunks(BLOCK_ITEMS * 4) {
                self.piece(piece)?;
            }
        }
        self.flush.parts.push(self.part.finish());
        Ok(())
    }

    /// Puts items of one kind and one group into the open block of their kind.
    fn piece(&mut self, slots: &[Slot]) -> Result<(), StoreError> {
        let kind = slots[0].kind();
        let open = &mut self.open[kind as usize];
        let block = *open.number.get_or_insert_with(|| {
            self.closed.push(None);
            self.closed.len() as u64 - 1
        });
        let loc = Loc { block, offset: open.builder.begin_part(slots.len()) };
        self.part.place(loc);
        for slot in slots {
            self.item(*slot);
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

    fn item(&mut self, slot: Slot) {
        let Incoming { batch, prints } = self.incoming[slot.batch as usize];
        let item = slot.item;
        let (message, resource, scope) = match slot.kind() {
            ItemKind::Log => {
                let log = &batch.logs[item as usize];
                self.part.log(batch, prints, log);
                (&log.message, log.resource, log.scope)
            }
            ItemKind::Span => {
                let span = &batch.spans[item as usize];
                self.part.span(batch, prints, span);
                self.flush.sides.span(batch, span);
                (&span.message, span.resource, span.scope)
            }
        };
        self.open[slot.kind() as usize].item(slot, batch, resource, scope, batch.at(message));
    }

    /// Notes the logs of a part for their index.
    fn rows(&mut self, slots: &[Slot], loc: Loc) {
        for (slot, number) in slots.iter().zip(0..) {
            let batch = &self.incoming[slot.batch as usize].batch;
            let log = &batch.logs[slot.item as usize];
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
