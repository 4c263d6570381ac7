//! Blocks: some hundred spans and logs, grouped by trace, as one zstd frame.
//!
//! Format, version 1, before compression (varints and lengths as in Protocol Buffers):
//! ```text
//! version: u8 = 1
//! tables_length: u32 little endian
//! tables:  resources: count, then length + Resource message each
//!          scopes:    count, then length + InstrumentationScope message each
//! parts:   a part is what one flush brought of one trace:
//!          count, then per item: kind (0 span, 1 log), resource, scope, length + the item's OTLP message
//! ```
//! An entry points to a part by block and offset from the begin of the parts. Items stay the bytes that were
//! received: whatever OTLP adds later is kept, and decoding can improve after the fact.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::StoreError;
use crate::dashboard::model::otlp::decode;
use crate::dashboard::model::proto::{WireError, put_varint, take_bytes, take_varint};
use crate::dashboard::model::{LogRecord, Resource, Scope, Span};

const VERSION: u8 = 1;
const ZSTD_LEVEL: i32 = 1;
/// Largest block after decompression: a request's limit and room for its tables.
const MAX_RAW: u64 = 512 << 20;

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

/// Builds a block.
#[derive(Default)]
pub struct BlockBuilder {
    resources: Table,
    scopes: Table,
    parts: Vec<u8>,
    items: usize,
}

impl BlockBuilder {
    /// Items added so far.
    pub fn items(&self) -> usize {
        self.items
    }

    /// Bytes of items added so far.
    pub fn len(&self) -> usize {
        self.parts.len()
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
        let offset = self.parts.len() as u32;
        put_varint(&mut self.parts, count as u64);
        offset
    }

    /// Adds an item to the part begun last.
    pub fn item(&mut self, kind: ItemKind, resource: u32, scope: u32, message: &[u8]) {
        self.parts.push(kind as u8);
        put_varint(&mut self.parts, u64::from(resource));
        put_varint(&mut self.parts, u64::from(scope));
        put_varint(&mut self.parts, message.len() as u64);
        self.parts.extend_from_slice(message);
        self.items += 1;
    }

    /// Compresses the block and begins the next one in the same memory.
    pub fn finish(&mut self) -> Result<Vec<u8>, StoreError> {
        let tables = self.resources.bytes.len() + self.scopes.bytes.len() + 10;
        let mut raw = Vec::with_capacity(16 + tables + self.parts.len());
        raw.push(VERSION);
        raw.extend_from_slice(&[0; 4]);
        for table in [&self.resources, &self.scopes] {
            put_varint(&mut raw, table.known.len() as u64);
            raw.extend_from_slice(&table.bytes);
        }
        let length = (raw.len() - 5) as u32;
        raw[1..5].copy_from_slice(&length.to_le_bytes());
        raw.extend_from_slice(&self.parts);
        for table in [&mut self.resources, &mut self.scopes] {
            table.known.clear();
            table.bytes.clear();
        }
        self.parts.clear();
        self.items = 0;
        compress(&raw)
    }
}

thread_local! {
    // A context is some hundred KiB of tables: making one for every block would cost as much as small blocks do.
    static COMPRESSOR: RefCell<Option<zstd::bulk::Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Compresses as everything in the store is: one zstd frame that tells its size.
pub fn compress(raw: &[u8]) -> Result<Vec<u8>, StoreError> {
    let compressed = COMPRESSOR.with_borrow_mut(|kept| {
        let compressor = match kept {
            Some(compressor) => compressor,
            None => kept.insert(zstd::bulk::Compressor::new(ZSTD_LEVEL)?),
        };
        compressor.compress(raw)
    });
    compressed.map_err(|error| StoreError::Unavailable(error.to_string()))
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
    raw: Vec<u8>,
    parts: usize,
    resources: Vec<std::ops::Range<usize>>,
    scopes: Vec<std::ops::Range<usize>>,
}

impl Block {
    /// Decompresses a block and reads its tables.
    pub fn open(data: &[u8]) -> Result<Self, StoreError> {
        Self::read(decompress(data)?).map_err(damaged)
    }

    fn read(raw: Vec<u8>) -> Result<Self, WireError> {
        let mut rest = &raw[..];
        let head = take_bytes(&mut rest, 5)?;
        if head[0] != VERSION {
            return Err(WireError::Tag);
        }
        let length = u32::from_le_bytes(head[1..5].try_into().expect("four bytes")) as usize;
        let mut tables = take_bytes(&mut rest, length)?;
        let mut table = || -> Result<Vec<_>, WireError> {
            let count = take_varint(&mut tables)?;
            (0..count)
                .map(|_| {
                    let length = take_varint(&mut tables)? as usize;
                    let bytes = take_bytes(&mut tables, length)?;
                    let begin = bytes.as_ptr() as usize - raw.as_ptr() as usize;
                    Ok(begin..begin + length)
                })
                .collect()
        };
        let (resources, scopes) = (table()?, table()?);
        Ok(Self { parts: 5 + length, resources, scopes, raw })
    }

    /// The items of the part at `offset`.
    pub fn part(&self, offset: u32) -> Result<Vec<RawItem<'_>>, StoreError> {
        self.part_at(self.parts + offset as usize).map(|(items, _)| items).map_err(damaged)
    }

    /// All items of the block.
    pub fn items(&self) -> Result<Vec<RawItem<'_>>, StoreError> {
        let (mut all, mut at) = (Vec::new(), self.parts);
        while at < self.raw.len() {
            let (items, next) = self.part_at(at).map_err(damaged)?;
            all.extend(items);
            at = next;
        }
        Ok(all)
    }

    fn part_at(&self, at: usize) -> Result<(Vec<RawItem<'_>>, usize), WireError> {
        let mut rest = self.raw.get(at..).ok_or(WireError::Truncated)?;
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
        Ok((items, self.raw.len() - rest.len()))
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
