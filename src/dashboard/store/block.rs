//! Blocks: some hundred spans or logs, grouped by trace, as one zstd frame.
//!
//! Format, version 1, before compression (varints and lengths as in Protocol Buffers):
//! ```text
//! version:  u8 = 1
//! tables:   u32 little endian, where the tables begin
//! received: u64 little endian, when its items were received
//! parts:    a part is what one flush brought of one trace:
//!           count, then per item: kind (0 span, 1 log), resource, scope, length + the item's OTLP message
//! tables:   resources: count, then length + Resource message each
//!           scopes:    count, then length + InstrumentationScope message each
//! ```
//! An entry points to a part by block and offset from the begin of the block. Items stay the bytes that were
//! received: whatever OTLP adds later is kept, and decoding can improve after the fact. A block alone is enough
//! to make its entries and terms anew.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use super::StoreError;
use crate::dashboard::model::correlation::Keys;
use crate::dashboard::model::otlp::{Batch, decode};
use crate::dashboard::model::proto::{WireError, put_varint, take_bytes, take_varint};
use crate::dashboard::model::{LogRecord, Nanos, Resource, Scope, Span};

const VERSION: u8 = 1;
/// Version, place of the tables, time of arrival.
const HEAD: usize = 13;
const ZSTD_LEVEL: i32 = 1;
/// Largest block after decompression: a request's limit and room for its tables.
const MAX_RAW: u64 = 512 << 20;

/// What a block holds; never two of them, so that each can be removed by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockKind {
    Spans,
    Logs,
    /// Samples of metrics, in the format of [`super::series::code`].
    Samples,
}

impl From<ItemKind> for BlockKind {
    fn from(kind: ItemKind) -> Self {
        match kind {
            ItemKind::Span => BlockKind::Spans,
            ItemKind::Log => BlockKind::Logs,
        }
    }
}

/// What an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    Span = 0,
    Log = 1,
}

/// A table of byte strings, each once.
#[derive(Default)]
struct Table {
    known: HashMap<u64, u32>,
    bytes: Vec<u8>,
}

impl Table {
    fn index(&mut self, message: &[u8]) -> u32 {
        let next = self.known.len() as u32;
        *self.known.entry(xxh3_64(message)).or_insert_with(|| {
            put_varint(&mut self.bytes, message.len() as u64);
            self.bytes.extend_from_slice(message);
            next
        })
    }
}

/// Builds blocks, one after the other in the same memory.
pub struct BlockBuilder {
    resources: Table,
    scopes: Table,
    raw: Vec<u8>,
    items: usize,
}

impl Default for BlockBuilder {
    fn default() -> Self {
        Self { resources: Table::default(), scopes: Table::default(), raw: vec![0; HEAD], items: 0 }
    }
}

impl BlockBuilder {
    /// Items added so far.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Bytes of items added so far.
    pub fn len(&self) -> usize {
        self.raw.len() - HEAD
    }

    /// The index of a resource in this block.
    pub fn resource(&mut self, message: &[u8]) -> u32 {
        self.resources.index(message)
    }

    /// The index of a scope in this block.
    pub fn scope(&mut self, message: &[u8]) -> u32 {
        self.scopes.index(message)
    }

    /// Begins a part of `count` items and gives its offset.
    pub fn begin_part(&mut self, count: usize) -> u32 {
        let offset = self.raw.len() as u32;
        put_varint(&mut self.raw, count as u64);
        offset
    }

    /// Adds an item to the part begun last.
    #[inline]
    pub fn item(&mut self, kind: ItemKind, resource: u32, scope: u32, message: &[u8]) {
        self.raw.push(kind as u8);
        put_varint(&mut self.raw, u64::from(resource));
        put_varint(&mut self.raw, u64::from(scope));
        put_varint(&mut self.raw, message.len() as u64);
        self.raw.extend_from_slice(message);
        self.items += 1;
    }

    /// Compresses the block and begins the next one.
    pub fn finish(&mut self, received: Nanos) -> Result<Vec<u8>, StoreError> {
        let tables = self.raw.len() as u32;
        self.raw[0] = VERSION;
        self.raw[1..5].copy_from_slice(&tables.to_le_bytes());
        self.raw[5..HEAD].copy_from_slice(&received.to_le_bytes());
        for table in [&mut self.resources, &mut self.scopes] {
            put_varint(&mut self.raw, table.known.len() as u64);
            self.raw.append(&mut table.bytes);
            table.known.clear();
        }
        let compressed = compress(&self.raw);
        self.raw.truncate(HEAD);
        self.items = 0;
        compressed
    }
}

thread_local! {
    // A context is some hundred KiB of tables: making one for every block would cost as much as small blocks do.
    static COMPRESSOR: RefCell<Option<(zstd::bulk::Compressor<'static>, Vec<u8>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Compresses as everything in the store is: one zstd frame that tells its size.
pub fn compress(raw: &[u8]) -> Result<Vec<u8>, StoreError> {
    let compressed = COMPRESSOR.with_borrow_mut(|kept| {
        let (compressor, room) = match kept {
            Some(kept) => kept,
            None => kept.insert((self::compressor(ZSTD_LEVEL)?, Vec::new())),
        };
        // The bound is as long as the input: what is given back is a copy of the few bytes that came of it.
        room.clear();
        room.reserve(zstd::zstd_safe::compress_bound(raw.len()));
        compressor.compress_to_buffer(raw, room)?;
        Ok(room.as_slice().to_vec())
    });
    compressed.map_err(|error: std::io::Error| StoreError::Unavailable(error.to_string()))
}

/// The same contents in as few bytes as `compressor` makes of them; `None` where that is no gain or `data` is no frame.
pub fn pack_tighter(compressor: &mut zstd::bulk::Compressor<'_>, data: &[u8]) -> Option<Vec<u8>> {
    let is_frame = data.starts_with(&zstd::zstd_safe::MAGICNUMBER.to_le_bytes());
    let raw = if is_frame { decompress(data).ok()? } else { return None };
    let packed = compressor.compress(&raw).ok()?;
    let is_same = || decompress(&packed).is_ok_and(|again| again == raw);
    (packed.len() < data.len() && is_same()).then_some(packed)
}

/// Makes what [`pack_tighter`] packs with, as frames are made here.
pub fn compressor(level: i32) -> std::io::Result<zstd::bulk::Compressor<'static>> {
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    // A flipped bit is found out when the frame is opened.
    compressor.include_checksum(true)?;
    Ok(compressor)
}

/// Undoes [`compress`]; refuses a frame that claims to be larger than any of ours.
pub fn decompress(data: &[u8]) -> Result<Vec<u8>, StoreError> {
    let size = zstd::zstd_safe::get_frame_content_size(data).ok().flatten().unwrap_or(u64::MAX);
    if size > MAX_RAW {
        return Err(StoreError::Damaged("a record is no zstd frame of a plausible size".into()));
    }
    let raw = DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(zstd::bulk::Decompressor::new()?),
        };
        decompressor.decompress(data, size as usize)
    });
    raw.map_err(|error: std::io::Error| {
        StoreError::Damaged(format!("a record cannot be decompressed: {error}"))
    })
}

/// An item of a block, still bytes.
#[derive(Debug, Clone, Copy)]
pub struct RawItem<'a> {
    pub kind: ItemKind,
    pub resource: u32,
    pub scope: u32,
    pub message: &'a [u8],
}

/// A block, opened.
pub struct Block {
    raw: Bytes,
    /// Where the parts end and the tables begin.
    tables: usize,
    /// When its items were received.
    pub received: Nanos,
    resources: Vec<Range<usize>>,
    scopes: Vec<Range<usize>>,
}

/// A part of a walked block: its offset, and which of the batch's spans and logs are its items.
pub struct WalkedPart {
    pub offset: u32,
    pub spans: Range<u32>,
    pub logs: Range<u32>,
}

impl Block {
    /// Decompresses a block and reads its tables.
    pub fn open(data: &[u8]) -> Result<Self, StoreError> {
        Self::of_raw(decompress(data)?)
    }

    /// Reads the tables of a block that is decompressed already.
    pub fn of_raw(raw: Vec<u8>) -> Result<Self, StoreError> {
        Self::read(raw.into()).map_err(damaged)
    }

    fn read(raw: Bytes) -> Result<Self, WireError> {
        let mut head = &raw[..];
        let [version] = take_bytes(&mut head, 1)? else { return Err(WireError::Truncated) };
        if *version != VERSION {
            return Err(WireError::Tag);
        }
        let tables = u32::from_le_bytes(take_bytes(&mut head, 4)?.try_into().expect("four bytes")) as usize;
        let received = u64::from_le_bytes(take_bytes(&mut head, 8)?.try_into().expect("eight bytes"));
        let mut rest = raw.get(tables..).filter(|_| tables >= HEAD).ok_or(WireError::Truncated)?;
        let mut table = || -> Result<Vec<_>, WireError> {
            let count = take_varint(&mut rest)?;
            (0..count)
                .map(|_| {
                    let length = take_varint(&mut rest)? as usize;
                    let bytes = take_bytes(&mut rest, length)?;
                    let begin = bytes.as_ptr() as usize - raw.as_ptr() as usize;
                    Ok(begin..begin + length)
                })
                .collect()
        };
        let (resources, scopes) = (table()?, table()?);
        Ok(Self { tables, received, resources, scopes, raw })
    }

    /// Walks the block as if it had just come, to make its entries and terms anew.
    pub fn walk(&self, keys: &Keys) -> Result<(Batch, Vec<WalkedPart>), StoreError> {
        let place = |range: &Range<usize>| range.start as u32..range.end as u32;
        let mut again =
            Batch::again(&self.raw, self.resources.iter().map(place), self.scopes.iter().map(place), keys)
                .map_err(damaged)?;
        let (mut parts, mut at) = (Vec::new(), HEAD);
        while at < self.tables {
            let (items, next) = self.part_at(at).map_err(damaged)?;
            let before = again.counts();
            for item in items {
                again
                    .item(item.kind == ItemKind::Log, item.message, item.resource, item.scope)
                    .map_err(damaged)?;
            }
            let after = again.counts();
            let part = WalkedPart { offset: at as u32, spans: before.0..after.0, logs: before.1..after.1 };
            parts.push(part);
            at = next;
        }
        Ok((again.finish(), parts))
    }

    /// The items of the part at `offset`.
    pub fn part(&self, offset: u32) -> Result<Vec<RawItem<'_>>, StoreError> {
        self.part_at(offset as usize).map(|(items, _)| items).map_err(damaged)
    }

    fn part_at(&self, at: usize) -> Result<(Vec<RawItem<'_>>, usize), WireError> {
        let mut rest = self.raw.get(at..self.tables).ok_or(WireError::Truncated)?;
        let count = take_varint(&mut rest)?;
        let mut items = Vec::with_capacity(count.min(4096) as usize);
        for _ in 0..count {
            let kind = if take_bytes(&mut rest, 1)?[0] == 0 { ItemKind::Span } else { ItemKind::Log };
            let resource = take_varint(&mut rest)? as u32;
            let scope = take_varint(&mut rest)? as u32;
            let length = take_varint(&mut rest)? as usize;
            let message = take_bytes(&mut rest, length)?;
            items.push(RawItem { kind, resource, scope, message });
        }
        Ok((items, self.tables - rest.len()))
    }

    /// A resource's message.
    pub fn resource(&self, index: u32) -> &[u8] {
        self.resources.get(index as usize).map_or(&[], |place| &self.raw[place.clone()])
    }

    /// A scope's message.
    pub fn scope(&self, index: u32) -> &[u8] {
        self.scopes.get(index as usize).map_or(&[], |place| &self.raw[place.clone()])
    }
}

/// Decodes items of one block, each resource and scope once.
#[derive(Default)]
pub struct Decoder {
    resources: HashMap<u32, Arc<Resource>>,
    scopes: HashMap<u32, Arc<Scope>>,
}

/// An item, decoded.
pub enum Item {
    Span(Box<Span>),
    Log(Box<LogRecord>),
}

impl Decoder {
    /// Decodes one item. `None` for a span with an invalid ID, which nothing stored has.
    pub fn item(&mut self, block: &Block, item: &RawItem<'_>) -> Result<Option<Item>, StoreError> {
        self.decode(block, item).map_err(damaged)
    }

    fn decode(&mut self, block: &Block, item: &RawItem<'_>) -> Result<Option<Item>, WireError> {
        let resource = match self.resources.get(&item.resource) {
            Some(known) => known.clone(),
            None => {
                let read = Arc::new(decode::resource(block.resource(item.resource))?);
                self.resources.entry(item.resource).or_insert(read).clone()
            }
        };
        let scope = match self.scopes.get(&item.scope) {
            Some(known) => known.clone(),
            None => {
                let read = Arc::new(decode::scope(block.scope(item.scope))?);
                self.scopes.entry(item.scope).or_insert(read).clone()
            }
        };
        Ok(match item.kind {
            ItemKind::Span => {
                decode::span(item.message, &resource, &scope)?.map(|span| Item::Span(Box::new(span)))
            }
            ItemKind::Log => Some(Item::Log(Box::new(decode::log(item.message, &resource, &scope)?))),
        })
    }
}

/// A wire error in what we wrote ourselves.
pub fn damaged(error: WireError) -> StoreError {
    StoreError::Damaged(format!("a stored record cannot be read: {error}"))
}

/// Says in which block something is wrong.
pub fn in_block(id: u64, error: StoreError) -> StoreError {
    match error {
        StoreError::Damaged(why) => StoreError::Damaged(format!("block {id}: {why}")),
        other => other,
    }
}
