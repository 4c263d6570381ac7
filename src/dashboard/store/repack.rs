//! Small blocks into large ones, when the tail is sealed.
//!
//! A quiet system commits a few spans at a time, each commit a block of its own, and a trace's parts lie in as
//! many blocks as services sent them. Packed again they take a fraction of the room, and a trace lies together.

use std::collections::HashMap;

use super::StoreError;
use super::backend::Backend;
use super::block::{Block, BlockBuilder, RawItem};
use super::entry::{Entry, Loc};
use super::pack::BLOCK_ITEMS;

/// A block with fewer items is packed anew.
const SMALL: usize = BLOCK_ITEMS / 2;
/// Items held in memory at once.
const AT_ONCE: usize = 32_768;

/// What the seal has to write.
#[derive(Default)]
pub struct Packed {
    pub replaced: Vec<u64>,
    pub blocks: Vec<(u64, Vec<u8>)>,
}

/// Packs the small ones of `blocks` (ID and items) into new blocks from `next_block` on, and corrects the
/// entries that point to them.
pub async fn repack(
    backend: &dyn Backend,
    entries: &mut [Entry],
    blocks: &[(u64, usize)],
    next_block: u64,
) -> Result<Packed, StoreError> {
    let small: Vec<_> = blocks.iter().filter(|(_, items)| *items < SMALL).collect();
    let mut packed = Packed::default();
    if small.len() < 2 {
        return Ok(packed);
    }
    let mut group = Vec::new();
    let mut items = 0;
    for (index, (id, count)) in small.iter().enumerate() {
        group.push(*id);
        items += count;
        if items >= AT_ONCE || index + 1 == small.len() {
            pack_group(backend, entries, &group, next_block, &mut packed).await?;
            group.clear();
            items = 0;
        }
    }
    Ok(packed)
}

async fn pack_group(
    backend: &dyn Backend,
    entries: &mut [Entry],
    group: &[u64],
    next_block: u64,
    packed: &mut Packed,
) -> Result<(), StoreError> {
    let mut open = HashMap::new();
    for id in group {
        let data = backend.block(*id).await?;
        let data = data.ok_or_else(|| StoreError::Damaged(format!("block {id} of the tail is missing")))?;
        open.insert(*id, Block::open(&data)?);
    }
    let mut builder = BlockBuilder::default();
    for entry in entries.iter_mut() {
        if !entry.locs.iter().any(|loc| open.contains_key(&loc.block)) {
            continue;
        }
        let mut parts: Vec<(&Block, RawItem<'_>)> = Vec::new();
        for loc in &entry.locs {
            if let Some(block) = open.get(&loc.block) {
                parts.extend(block.part(loc.offset)?.into_iter().map(|item| (block, item)));
            }
        }
        entry.locs.retain(|loc| !open.contains_key(&loc.block));
        let block = next_block + packed.blocks.len() as u64;
        entry.locs.push(Loc { block, offset: builder.begin_part(parts.len()) });
        for (block, item) in parts {
            let resource = builder.resource(block.resource(item.resource));
            let scope = builder.scope(block.scope(item.scope));
            builder.item(item.kind, resource, scope, item.message);
        }
        if builder.items() >= BLOCK_ITEMS {
            packed.blocks.push((block, builder.finish()?));
        }
    }
    if builder.items() > 0 {
        packed.blocks.push((next_block + packed.blocks.len() as u64, builder.finish()?));
    }
    packed.replaced.extend(group);
    Ok(())
}
