//! Following a store that others write to as well: their blocks join the tail, their runs replace parts of it.
//!
//! Blocks become visible in the order of their IDs (see [`super::backend`]), so "all from here on" misses nothing.
//! When another dashboard has sealed, the tail is made anew out of the few blocks after that run. The same code
//! makes the tail at start.

use std::sync::Arc;
use std::time::Instant;

use super::backend::{Head, STEP};
use super::block::{Block, BlockKind, WalkedPart, decompress};
use super::engine::Index;
use super::logs::Gathered;
use super::part::{self, Part, Sender};
use super::rates::Sides;
use super::seen::Prints;
use super::series::code;
use super::series::live::{self, Piece};
use super::tail::Tail;
use super::writer::{TailBlock, Writer};
use super::{StoreError, kinds};
use crate::dashboard::model::now;

/// IDs before the tail whose blocks are read at start, to know what came lately.
const REMEMBERED: u64 = 512 * STEP;
/// IDs whose blocks are read at once.
const AT_ONCE: u64 = 32 * STEP;

/// What blocks are read for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    /// To know what came lately.
    Memory,
    /// To be found from now on. Parts are left out of which everything was stored before: a sender that was told of
    /// a failure came again, although the commit had gone through.
    Index,
    /// To be found in a tail that is made anew.
    NewIndex,
}

/// What the tail takes of a block.
#[derive(Default)]
struct Indexed {
    parts: Vec<Part>,
    senders: Vec<Sender>,
    sides: Sides,
    rows: Gathered,
    samples: Vec<Piece>,
}

impl Indexed {
    fn join(self, index: &mut Index) {
        index.tail.add(self.parts, self.senders);
        index.tail.count(&self.sides);
        index.tail.list(self.rows);
        index.live.add(self.samples, now());
    }
}

/// Blocks of the tail that were read, and their parts.
#[derive(Default)]
struct Read {
    blocks: Vec<TailBlock>,
    parts: Vec<Indexed>,
}

impl Writer {
    /// At start: reads the tail's blocks to make its index, and before them the newest ones, so that what was sent
    /// before a restart is known when it is sent again.
    pub(super) async fn recall(&mut self, next_block: u64) -> Result<(), StoreError> {
        let from = self.first_of_tail.min(next_block.saturating_sub(REMEMBERED));
        self.read(from, self.first_of_tail, For::Memory).await?;
        let read = self.read(self.first_of_tail, next_block, For::Index).await?;
        self.next = next_block;
        let sealed_until = self.shared.backend.samples_end().await?;
        self.shared.index.write().expect("no holder panics").live.missed(sealed_until);
        self.join(read);
        Ok(())
    }

    /// [`Writer::look`] and what follows from it; says once when it fails, and once when it works again.
    pub(super) async fn look_around(&mut self) {
        match self.look().await {
            Err(error) if !self.cut_off => {
                self.cut_off = true;
                tracing::warn!(%error, "what others write to the store cannot be seen for now");
            }
            Err(_) => {}
            Ok(()) => {
                if std::mem::take(&mut self.cut_off) {
                    tracing::info!("the store can be reached again");
                }
                self.seal_if_due().await;
            }
        }
    }

    /// Takes in what others have committed, sealed and removed.
    pub(super) async fn look(&mut self) -> Result<(), StoreError> {
        let head = self.shared.backend.head().await?;
        if head.version != self.version {
            self.follow_runs(head).await?;
        }
        if head.next_block <= self.next {
            return Ok(());
        }
        let mut read = Read::default();
        let mut from = self.next;
        // Own blocks are in the index already: what lies between them is read.
        let own: Vec<u64> = self.ahead.iter().copied().chain([head.next_block]).collect();
        for id in own {
            if from < id {
                let between = self.read(from, id, For::Index).await?;
                read.blocks.extend(between.blocks);
                read.parts.extend(between.parts);
            }
            from = id + STEP;
        }
        self.next = head.next_block;
        self.ahead.clear();
        if self.join(read) {
            self.shared.commits.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    /// Adds what was read to the tail; true where that was anything.
    fn join(&mut self, read: Read) -> bool {
        if read.blocks.is_empty() {
            return false;
        }
        self.tail_blocks.extend(read.blocks);
        let mut index = self.shared.index.write().expect("no holder panics");
        if index.is_sealed() {
            self.tail_since = Instant::now();
        }
        read.parts.into_iter().for_each(|block| block.join(&mut index));
        true
    }

    /// Takes in runs that others sealed, and lets go of those that they removed.
    async fn follow_runs(&mut self, head: Head) -> Result<(), StoreError> {
        let backend = self.shared.backend.clone();
        let (new, kept) = (backend.runs(self.newest_run).await?, backend.kept().await?);
        let Some(newest) = new.last() else {
            let mut index = self.shared.index.write().expect("no holder panics");
            kinds::follow(Arc::make_mut(&mut index.runs), &kept);
            self.version = head.version;
            self.shared.forget_read();
            return Ok(());
        };
        let (newest_run, first_of_tail) = (newest.id, newest.last_block + 1);
        // Blocks that were sealed before anybody here had seen them may have held samples.
        let missed_until = if self.next < first_of_tail { backend.samples_end().await? } else { 0 };
        // The blocks after the run, own ones among them, make the new tail.
        let next = head.next_block.max(first_of_tail);
        let read = self.read(first_of_tail, next, For::NewIndex).await?;
        {
            let mut index = self.shared.index.write().expect("no holder panics");
            let runs = Arc::make_mut(&mut index.runs);
            runs.extend(new.into_iter().map(Arc::new));
            kinds::follow(runs, &kept);
            index.tail = Tail::default();
            index.live.next(now());
            index.live.missed(missed_until);
            read.parts.into_iter().for_each(|block| block.join(&mut index));
        }
        (self.newest_run, self.first_of_tail, self.next) = (newest_run, first_of_tail, next);
        (self.tail_blocks, self.tail_since) = (read.blocks, Instant::now());
        self.ahead.clear();
        self.version = head.version;
        self.shared.commits.send_modify(|count| *count += 1);
        tracing::debug!(run = newest_run, "another dashboard has sealed a run");
        Ok(())
    }

    /// Reads the blocks from `from` to before `to`.
    async fn read(&mut self, from: u64, to: u64, what_for: For) -> Result<Read, StoreError> {
        let (mut read, mut from) = (Read::default(), from);
        while from < to {
            let last = (from + AT_ONCE).min(to) - 1;
            for (id, data) in self.shared.backend.blocks(from, last).await? {
                match self.remember(id, &data, what_for) {
                    Ok((block, parts)) => {
                        read.blocks.push(block);
                        read.parts.push(parts);
                    }
                    Err(error) => {
                        let error = self.shared.at(&format!("block {id}"), error);
                        self.shared.left_out(Err::<(), _>(error))?;
                        // As full as can be: nobody tries to pack it anew.
                        read.blocks.push(TailBlock { id, kind: BlockKind::Spans, items: usize::MAX });
                    }
                }
            }
            from = last + 1;
        }
        Ok(read)
    }

    /// Remembers a stored block's items; gives what it is, and the parts for the index with their senders.
    fn remember(&mut self, id: u64, data: &[u8], what_for: For) -> Result<(TailBlock, Indexed), StoreError> {
        let raw = decompress(data)?;
        if code::holds_samples(&raw) {
            // What came lately is not asked of samples: they have their time.
            let samples = if what_for == For::Memory { Vec::new() } else { live::decode(&raw)? };
            let block = TailBlock { id, kind: BlockKind::Samples, items: 0 };
            return Ok((block, Indexed { samples, ..Indexed::default() }));
        }
        let block = Block::of_raw(raw)?;
        let (batch, mut walked) = block.walk(&self.keys)?;
        let prints = Prints::of(&batch);
        let known = self.mark_seen(&prints);
        let mut sides = Sides::of_block(block.received, &batch);
        match what_for {
            For::Memory => {
                self.shared.index.write().expect("no holder panics").tail.remember(&sides);
                sides = Sides::default();
                walked.clear();
            }
            For::Index => walked.retain(|part| !is_known(part, &known)),
            For::NewIndex => {}
        }
        let parts = part::of_block(id, block.received, &batch, &prints, &walked);
        let senders = if walked.is_empty() { Vec::new() } else { part::senders(&batch, &prints) };
        let rows = Gathered::of_block(id, block.received, &batch, &walked);
        let kind = if batch.spans.is_empty() { BlockKind::Logs } else { BlockKind::Spans };
        let block = TailBlock { id, kind, items: batch.spans.len() + batch.logs.len() };
        Ok((block, Indexed { parts, senders, sides, rows, samples: Vec::new() }))
    }

    /// For each span and log whether it was seen before; now all are.
    fn mark_seen(&mut self, prints: &Prints) -> (Vec<bool>, Vec<bool>) {
        let mut mark = |prints: &[u64]| -> Vec<bool> {
            let known = prints.iter().map(|print| self.packer.seen.contains(*print)).collect();
            self.packer.seen.extend(prints);
            known
        };
        (mark(&prints.spans), mark(&prints.logs))
    }
}

fn is_known(part: &WalkedPart, (spans, logs): &(Vec<bool>, Vec<bool>)) -> bool {
    let of = |known: &[bool], range: &std::ops::Range<u32>| {
        known[range.start as usize..range.end as usize].iter().all(|known| *known)
    };
    of(spans, &part.spans) && of(logs, &part.logs)
}
