//! The one task that writes: takes what is queued, packs it, commits it once, answers every sender.
//!
//! It has a thread of its own since packing is work for a processor, not waiting. While one group is being
//! committed the next one gathers in the queue: the slower the disk, the larger the groups.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::backend::Seal;
use super::block::{Block, in_block};
use super::engine::Shared;
use super::pack::{Flush, Incoming, Packer};
use super::rates::Sides;
use super::seen::Prints;
use super::{StoreError, Stored, part, repack, run};
use crate::dashboard::model::correlation::Keys;
use crate::dashboard::model::now;

/// Items after which a group is full.
const GROUP_ITEMS: usize = 16_384;
/// Batches of a group at most.
const GROUP_BATCHES: usize = 64;
/// Blocks read at start to know what came lately.
const REMEMBERED_BLOCKS: u64 = 512;
/// A tail this old is sealed although it is not full, so that it can grow old enough to be removed.
const SEAL_AGE: Duration = Duration::from_secs(3600);

/// A batch, the way back to its sender, and the room that it takes up until then.
pub struct Job {
    pub incoming: Incoming,
    pub reply: oneshot::Sender<Result<Stored, StoreError>>,
    pub _room: OwnedSemaphorePermit,
}

/// The writer's own state.
pub struct Writer {
    shared: Arc<Shared>,
    packer: Packer,
    next_block: u64,
    next_run: u64,
    /// Blocks of the tail with their items.
    tail_blocks: Vec<(u64, usize)>,
    tail_since: Instant,
}

impl Writer {
    /// Reads the tail's blocks to make its index anew, and before them the newest ones, so that what was sent
    /// before a restart is known when it is sent again.
    pub async fn new(
        shared: Arc<Shared>,
        first_of_tail: u64,
        next_block: u64,
        keys: &Keys,
    ) -> Result<Self, StoreError> {
        let runs = shared.runs();
        let mut writer = Self {
            packer: Packer::default(),
            next_block,
            next_run: runs.last().map_or(1, |run| run.id + 1),
            tail_blocks: Vec::new(),
            tail_since: Instant::now(),
            shared,
        };
        let mut from = first_of_tail.min(next_block.saturating_sub(REMEMBERED_BLOCKS));
        while from < next_block {
            let to = from + 31;
            for (id, data) in writer.shared.backend.blocks(from, to).await? {
                let items = writer.remember(id, &data, id >= first_of_tail, keys).unwrap_or_else(|error| {
                    let (error, store) = (in_block(id, error), writer.shared.backend.location());
                    tracing::error!(%error, store, "a block is left out; all others are readable");
                    usize::MAX
                });
                if id >= first_of_tail {
                    writer.tail_blocks.push((id, items));
                }
            }
            from = to + 1;
        }
        Ok(writer)
    }

    /// Takes in a stored block; gives the number of its items.
    fn remember(&mut self, id: u64, data: &[u8], of_tail: bool, keys: &Keys) -> Result<usize, StoreError> {
        let block = Block::open(data)?;
        let (batch, walked) = block.walk(keys)?;
        let prints = Prints::of(&batch);
        for print in prints.spans.iter().chain(&prints.logs) {
            self.packer.seen.insert(*print);
        }
        let sides = Sides::of_block(block.received, &batch);
        let tail = &mut self.shared.index.write().expect("no holder panics").tail;
        if of_tail {
            tail.add(part::of_block(id, block.received, &batch, &walked));
            tail.count(&sides);
        } else {
            tail.remember(&sides);
        }
        Ok(prints.spans.len() + prints.logs.len())
    }

    /// Runs until every sender is gone and everything queued is written.
    pub fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let Ok(runtime) = runtime else { return tracing::error!("the store's writer has no runtime") };
        runtime.block_on(async {
            let mut group = Vec::new();
            while queue.recv_many(&mut group, 1).await > 0 {
                let mut items = size(&group[0]);
                while items < GROUP_ITEMS && group.len() < GROUP_BATCHES {
                    let Ok(job) = queue.try_recv() else { break };
                    items += size(&job);
                    group.push(job);
                }
                self.write(std::mem::take(&mut group)).await;
            }
        });
    }

    async fn write(&mut self, mut jobs: Vec<Job>) {
        // Who was told to come again is not waited for by anybody and sends it again.
        jobs.retain(|job| !job.reply.is_closed());
        if jobs.is_empty() {
            return;
        }
        let began = Instant::now();
        let incoming: Vec<&Incoming> = jobs.iter().map(|job| &job.incoming).collect();
        let result = match self.packer.pack(&incoming, self.next_block, now()) {
            Ok(flush) => self.commit(flush).await,
            Err(error) => Err(error),
        };
        match &result {
            Ok(_) => self.shared.latency.record(began.elapsed()),
            Err(error) => {
                tracing::warn!(%error, batches = jobs.len(), "not stored; senders were told to come again")
            }
        }
        let committed = result.is_ok();
        if committed {
            // Before the answers: who has one finds that the count has changed.
            self.shared.commits.send_modify(|count| *count += 1);
        }
        for (index, job) in jobs.into_iter().enumerate() {
            let answer = result.as_ref().map(|duplicates| Stored { duplicates: duplicates[index] });
            // A sender that is gone has no use for the answer.
            let _ = job.reply.send(answer.map_err(StoreError::clone));
        }
        if committed {
            self.seal_if_due().await;
        }
    }

    /// Commits a flush; gives the duplicates of each batch.
    async fn commit(&mut self, flush: Flush) -> Result<Vec<u64>, StoreError> {
        if flush.parts.is_empty() {
            return Ok(flush.duplicates);
        }
        let ids: Vec<u64> = flush.blocks.iter().map(|(id, _)| *id).collect();
        if let Err(error) = self.shared.backend.commit(flush.blocks).await {
            self.packer.seen.forget(&flush.fingerprints);
            return Err(error);
        }
        self.next_block += ids.len() as u64;
        let items = (flush.spans + flush.logs) as usize / ids.len().max(1);
        self.tail_blocks.extend(ids.into_iter().map(|id| (id, items)));
        let mut index = self.shared.index.write().expect("no holder panics");
        if index.tail.is_empty() {
            self.tail_since = Instant::now();
        }
        index.tail.add(flush.parts);
        index.tail.count(&flush.sides);
        self.packer.sides = flush.sides;
        Ok(flush.duplicates)
    }

    async fn seal_if_due(&mut self) {
        {
            let index = self.shared.index.read().expect("no holder panics");
            if !(index.tail.is_full() || self.tail_since.elapsed() > SEAL_AGE) || index.tail.is_empty() {
                return;
            }
        }
        if let Err(error) = self.seal().await {
            tracing::warn!(%error, "the tail could not be sealed; it will be tried again with the next commit");
        }
    }

    /// Turns the tail into a run. What was committed stays readable throughout.
    async fn seal(&mut self) -> Result<(), StoreError> {
        let mut packed = repack::Packed::default();
        for group in repack::groups(&self.tail_blocks) {
            let mut open = HashMap::new();
            for id in group {
                let data = self.shared.backend.block(id).await?;
                let data =
                    data.ok_or_else(|| StoreError::Damaged(format!("block {id} of the tail is missing")))?;
                open.insert(id, Block::open(&data).map_err(|error| in_block(id, error))?);
            }
            let index = self.shared.index.read().expect("no holder panics");
            repack::pack(index.tail.entries(), &open, self.next_block, &mut packed)?;
        }
        let first = self.tail_blocks.first().map_or(self.next_block, |(id, _)| *id);
        let last = (self.next_block + packed.blocks.len() as u64).saturating_sub(1);
        let run = {
            let index = self.shared.index.read().expect("no holder panics");
            run::seal(self.next_run, (first, last), now(), &index.tail, &packed.moved)?
        };
        let meta = Arc::new(run.meta.clone());
        self.shared.backend.seal(Seal { run, replaced: packed.replaced, blocks: packed.blocks }).await?;
        self.next_run += 1;
        self.next_block = last + 1;
        self.tail_blocks.clear();
        tracing::debug!(run = meta.id, entries = meta.entries, "sealed the tail into a run");
        let mut index = self.shared.index.write().expect("no holder panics");
        index.tail = std::mem::take(&mut index.tail).next();
        Arc::make_mut(&mut index.runs).push(meta);
        Ok(())
    }
}

fn size(job: &Job) -> usize {
    job.incoming.batch.spans.len() + job.incoming.batch.logs.len()
}
