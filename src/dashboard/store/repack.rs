//! Small blocks into large ones, when the tail is sealed.
//!
//! A quiet system commits a few spans at a time, each commit a block of its own, and a trace's parts lie in as
//! many blocks as services sent them. Packed again they take a fraction of the room, and a trace lies together.

use std::collections::{HashMap, HashSet};

use super::StoreError;
use super::block::{Block, BlockBuilder, ItemKind, RawItem};
use super::entry::{Entry, Loc};
use super::pack::BLOCK_ITEMS;
use super::writer::TailBlock;

/// A block with fewer items is packed anew.
const SMALL: usize = BLOCK_ITEMS / 2;
/// Items held in memory at once.
const AT_ONCE: usize = 32_768;

/// What the seal has to write.
#[derive(Default)]
pub struct Packed {
    pub replaced: HashSet<u64>,
    pub blocks: Vec<(u64, Vec<u8>)>,
    /// Which of the blocks hold logs.
    pub log_blocks: Vec<u64>,
    /// Where all parts of the entries lie of which some were moved, by the entries' index.
    pub moved: HashMap<u32, Vec<Loc>>,
    /// Where the logs of moved parts lie: the part that they are in now, and how many of its logs come before them.
    pub moved_logs: HashMap<Loc, (Loc, u32)>,
}

/// The small ones of `blocks`, in groups of one kind to be packed together; none where that does not pay.
pub fn groups(blocks: &[TailBlock]) -> Vec<(ItemKind, Vec<u64>)> {
    let mut groups = Vec::new();
    for kind in [ItemKind::Span, ItemKind::Log] {
        let of_kind = blocks.iter().filter(|block| block.kind == kind.into());
        let small: Vec<_> = of_kind.filter(|block| block.items < SMALL).collect();
        let mut items = AT_ONCE;
        for block in small.iter().filter(|_| small.len() > 1) {
            if items >= AT_ONCE {
                groups.push((kind, Vec::new()));
                items = 0;
            }
            groups.last_mut().expect("one was just pushed").1.push(block.id);
            items += block.items;
        }
    }
    groups
}

/// The IDs that blocks packed anew may take: those of the range `first..=last` that no block of it has.
pub fn free_ids(blocks: &[TailBlock], first: u64, last: u64) -> impl Iterator<Item = u64> + use<> {
    let taken: HashSet<u64> = blocks.iter().map(|block| block.id).collect();
    (first..=last).filter(move |id| !taken.contains(id))
}

/// Packs a group of open blocks of one kind into new ones with IDs out of `free`. Of a store that was written before IDs were
/// left free there may be too few; then the group stays as it is.
pub fn pack(
    entries: &[Entry],
    kind: ItemKind,
    open: &HashMap<u64, Block>,
    free: &mut impl Iterator<Item = u64>,
    packed: &mut Packed,
) -> Result<(), StoreError> {
    // A block made of small ones is as large as two of them or more, but for the last.
    let ids: Vec<u64> = free.take(open.len() / 2 + 1).collect();
    if ids.len() <= open.len() / 2 {
        return Ok(());
    }
    let before = packed.blocks.len();
    let mut ids = ids.into_iter();
    let mut block = ids.next().expect("there is one");
    let mut builder = BlockBuilder::default();
    let received = open.values().map(|block| block.received).max().unwrap_or_default();
    for (entry, index) in entries.iter().zip(0..) {
        let locs = packed.moved.get(&index).unwrap_or(&entry.locs);
        if !locs.iter().any(|loc| open.contains_key(&loc.block)) {
            continue;
        }
        let mut parts: Vec<(&Block, RawItem<'_>)> = Vec::new();
        let (mut moved_logs, mut logs) = (Vec::new(), 0);
        for loc in locs {
            if let Some(block) = open.get(&loc.block) {
                let items = block.part(loc.offset)?;
                // Where spans and logs are in one part, logs come last.
                if items.last().is_some_and(|item| item.kind == ItemKind::Log) {
                    moved_logs.push((*loc, logs));
                    logs += items.iter().filter(|item| item.kind == ItemKind::Log).count() as u32;
                }
                parts.extend(items.into_iter().map(|item| (block, item)));
            }
        }
        let mut now: Vec<Loc> = locs.iter().filter(|loc| !open.contains_key(&loc.block)).copied().collect();
        let place = Loc { block, offset: builder.begin_part(parts.len()) };
        now.push(place);
        packed.moved.insert(index, now);
        packed.moved_logs.extend(moved_logs.into_iter().map(|(loc, before)| (loc, (place, before))));
        for (block, item) in parts {
            let resource = builder.resource(block.resource(item.resource));
            let scope = builder.scope(block.scope(item.scope));
            builder.item(item.kind, resource, scope, item.message);
        }
        if builder.items() >= BLOCK_ITEMS {
            packed.blocks.push((block, builder.finish(received)?));
            block =
                ids.next().ok_or_else(|| StoreError::Damaged("small blocks became more of them".into()))?;
        }
    }
    if builder.items() > 0 {
        packed.blocks.push((block, builder.finish(received)?));
    }
    if kind == ItemKind::Log {
        packed.log_blocks.extend(packed.blocks[before..].iter().map(|(id, _)| *id));
    }
    packed.replaced.extend(open.keys());
    Ok(())
}
