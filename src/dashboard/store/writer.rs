//! The one task that writes: takes what is queued, packs it, commits it once, answers every sender, and seals.
//!
//! It has a thread of its own since packing is work for a processor, not waiting. While one group is being
//! committed the next one gathers in the queue: the slower the disk, the larger the groups. Where the store is
//! shared, it looks in between what others have written ([`super::follow`]).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use super::backend::{Loaded, STEP, Seal};
use super::block::{Block, BlockKind, in_block};
use super::engine::Shared;
use super::logs::{self, filter::LogKind};
use super::pack::{Flush, Incoming, Packer};
use super::series::chunk::{self, TIERS};
use super::series::live::PointFlush;
use super::{StoreError, Stored, repack, run};
use crate::dashboard::model::correlation::Keys;
use crate::dashboard::model::now;
use crate::dashboard::model::otlp::Points;

/// Items after which a group is full.
const GROUP_ITEMS: usize = 16_384;
/// Batches of a group at most.
const GROUP_BATCHES: usize = 64;
/// A tail this old is sealed although it is not full, so that it can grow old enough to be removed.
const SEAL_AGE: Duration = Duration::from_secs(3600);
/// Time between two looks at what others have written.
const LOOK: Duration = Duration::from_millis(250);

/// A request, the way back to its sender, and the room that it takes up until then.
pub struct Job {
    /// Spans or logs; empty for metrics.
    pub incoming: Incoming,
    /// What a metrics request brought; empty for others.
    pub points: Points,
    pub reply: oneshot::Sender<Result<Stored, StoreError>>,
    pub _room: OwnedSemaphorePermit,
}

/// A block of the tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TailBlock {
    pub id: u64,
    pub kind: BlockKind,
    pub items: usize,
}

/// The writer's own state.
pub struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) packer: Packer,
    pub(super) keys: Keys,
    /// The tail's first block, or where it will be.
    pub(super) first_of_tail: u64,
    /// All blocks before this one are known.
    pub(super) next: u64,
    /// Own blocks from `next` on; what lies between them is not known yet.
    pub(super) ahead: BTreeSet<u64>,
    /// The newest run that was seen, and the version of the runs.
    pub(super) newest_run: u64,
    pub(super) version: u64,
    pub(super) tail_blocks: Vec<TailBlock>,
    pub(super) tail_since: Instant,
    /// Set where a commit may have been stored although it failed.
    pub(super) in_doubt: bool,
    /// Set while the others' part of a shared store cannot be looked at.
    pub(super) cut_off: bool,
}

impl Writer {
    /// Makes the tail's index anew out of its blocks.
    pub async fn new(shared: Arc<Shared>, loaded: &Loaded, keys: &Keys) -> Result<Self, StoreError> {
        let mut writer = Self {
            packer: Packer::default(),
            keys: keys.clone(),
            first_of_tail: loaded.first_of_tail,
            next: loaded.first_of_tail,
            ahead: BTreeSet::new(),
            newest_run: shared.runs().last().map_or(0, |run| run.id),
            version: loaded.head.version,
            tail_blocks: Vec::new(),
            tail_since: Instant::now(),
            in_doubt: false,
            cut_off: false,
            shared,
        };
        writer.recall(loaded.head.next_block).await?;
        Ok(writer)
    }

    /// Runs until every sender is gone and everything queued is written.
    pub fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let Ok(runtime) = runtime else { return tracing::error!("the store's writer has no runtime") };
        runtime.block_on(async {
            let mut looks = tokio::time::interval(LOOK);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let is_shared = self.shared.backend.is_shared();
            let mut group = Vec::new();
            loop {
                tokio::select! {
                    received = queue.recv_many(&mut group, 1) => match received {
                        0 => break,
                        _ => self.write(gather(&mut group, &mut queue)).await,
                    },
                    _ = looks.tick(), if is_shared => self.look_around().await,
                }
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
        let result = self.store(&jobs).await;
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
            let answer = result.as_ref().map(|stored| stored[index]);
            // A sender that is gone has no use for the answer.
            let _ = job.reply.send(answer.map_err(StoreError::clone));
        }
        if committed {
            self.seal_if_due().await;
        }
    }

    /// Packs and commits; gives what became of each request.
    async fn store(&mut self, jobs: &[Job]) -> Result<Vec<Stored>, StoreError> {
        if self.in_doubt && self.shared.backend.is_shared() {
            // Senders come again with what may have been stored after all.
            self.look().await?;
            self.in_doubt = false;
        }
        // Before the spans, which the packer remembers: what fails here must not have been seen.
        let points = self.sift(jobs);
        let samples = points.block()?;
        let has_samples = samples.is_some();
        let incoming: Vec<&Incoming> = jobs.iter().map(|job| &job.incoming).collect();
        let mut flush = self.packer.pack(&incoming, now())?;
        let answers = flush.duplicates.iter().zip(&points.duplicates).zip(&points.beyond);
        let answers =
            answers.map(|((items, points), beyond)| Stored { duplicates: items + points, beyond: *beyond });
        let answers = answers.collect();
        let data: Vec<_> = flush.blocks.iter_mut().map(|block| std::mem::take(&mut block.data)).collect();
        if data.is_empty() && !has_samples {
            self.note_points(points);
            return Ok(answers);
        }
        let data = data.into_iter().chain(samples).collect();
        let committed = self.shared.backend.commit(data).await;
        let first = committed.inspect_err(|_| {
            self.packer.seen.forget(&flush.fingerprints);
            self.in_doubt = true;
        })?;
        // The block of samples is the last.
        let samples = has_samples.then_some(first + flush.blocks.len() as u64 * STEP);
        self.note_commit(first, flush, samples);
        self.note_points(points);
        Ok(answers)
    }

    /// What of the metrics in a group is to be committed.
    fn sift(&self, jobs: &[Job]) -> PointFlush {
        let points: Vec<&Points> = jobs.iter().map(|job| &job.points).collect();
        self.shared.index.read().expect("no holder panics").live.sift(&points)
    }

    /// Takes committed samples into the index.
    fn note_points(&mut self, points: PointFlush) {
        if points.is_empty() {
            return;
        }
        self.shared.index.write().expect("no holder panics").live.note(points, now());
    }

    /// Takes a committed flush into the index; `samples` is the block of samples behind its own.
    fn note_commit(&mut self, first: u64, mut flush: Flush, samples: Option<u64>) {
        for loc in flush.parts.iter_mut().flat_map(|part| &mut part.entry.locs) {
            loc.block = first + loc.block * STEP;
        }
        flush.rows.renumber(|number| first + number * STEP);
        let ids = (first..).step_by(STEP as usize);
        let blocks = ids.zip(&flush.blocks).map(|(id, block)| TailBlock {
            id,
            kind: block.kind.into(),
            items: block.items,
        });
        let samples = samples.map(|id| TailBlock { id, kind: BlockKind::Samples, items: 0 });
        let before = self.tail_blocks.len();
        self.tail_blocks.extend(blocks.chain(samples));
        let new = &self.tail_blocks[before..];
        if first == self.next {
            self.next += new.len() as u64 * STEP;
        } else {
            self.ahead.extend(new.iter().map(|block| block.id));
        }
        let mut index = self.shared.index.write().expect("no holder panics");
        if index.is_sealed() {
            self.tail_since = Instant::now();
        }
        index.tail.add(flush.parts, flush.senders);
        index.tail.count(&flush.sides);
        index.tail.list(flush.rows);
        self.packer.sides = flush.sides;
    }

    pub(super) async fn seal_if_due(&mut self) {
        {
            let index = self.shared.index.read().expect("no holder panics");
            let due = index.is_full() || self.tail_since.elapsed() > SEAL_AGE;
            if !due || index.is_sealed() || !self.shared.backend.is_keeper() {
                return;
            }
        }
        if let Err(error) = self.seal().await {
            tracing::warn!(%error, "the tail could not be sealed; it will be tried again with the next commit");
        }
    }

    /// Turns the tail into a run. What was committed stays readable throughout.
    async fn seal(&mut self) -> Result<(), StoreError> {
        if self.shared.backend.is_shared() {
            // The run is to hold all blocks of its range, the others' too.
            self.look().await?;
        }
        let (first, last) = (self.first_of_tail, self.next - 1);
        let mut packed = repack::Packed::default();
        let mut free = repack::free_ids(&self.tail_blocks, first, last);
        for (kind, group) in repack::groups(&self.tail_blocks) {
            let mut open = HashMap::new();
            for id in group {
                let data = self.shared.backend.block(id).await?;
                let data =
                    data.ok_or_else(|| StoreError::Damaged(format!("block {id} of the tail is missing")))?;
                open.insert(id, Block::open(&data).map_err(|error| in_block(id, error))?);
            }
            let index = self.shared.index.read().expect("no holder panics");
            repack::pack(index.tail.entries(), kind, &open, &mut free, &mut packed)?;
        }
        let (mut run, samples) = {
            let index = self.shared.index.read().expect("no holder panics");
            let mut run = run::seal(first, (first, last), now(), &index.tail, &packed.moved)?;
            let mut seal =
                |kind| logs::Index::seal(index.tail.rows(kind), &packed.moved_logs, &mut run.pages).map(Some);
            (run.meta.log_index, run.meta.message_index) = (seal(LogKind::Logs)?, seal(LogKind::Messages)?);
            (run, chunk::cut(&index.live.pieces(), TIERS[0])?)
        };
        let blocks_of_samples = self.tail_blocks.iter().filter(|block| block.kind == BlockKind::Samples);
        packed.replaced.extend(blocks_of_samples.map(|block| block.id));
        run.meta.log_blocks = log_blocks(&self.tail_blocks, &packed);
        let meta = Arc::new(run.meta.clone());
        let seal = Seal { run, replaced: packed.replaced, blocks: packed.blocks, samples };
        self.shared.backend.seal(seal).await?;
        self.newest_run = meta.id;
        self.first_of_tail = last + 1;
        self.tail_blocks.clear();
        tracing::debug!(run = meta.id, entries = meta.entries, "sealed the tail into a run");
        let _sealed = {
            let mut index = self.shared.index.write().expect("no holder panics");
            index.live.next(now());
            Arc::make_mut(&mut index.runs).push(meta);
            index.tail.begin_anew()
        };
        Ok(())
    }
}

/// The IDs of the blocks that hold logs, once small blocks are packed together.
fn log_blocks(tail: &[TailBlock], packed: &repack::Packed) -> Vec<u64> {
    let kept =
        tail.iter().filter(|block| block.kind == BlockKind::Logs && !packed.replaced.contains(&block.id));
    let mut ids: Vec<u64> = kept.map(|block| block.id).chain(packed.log_blocks.iter().copied()).collect();
    ids.sort_unstable();
    ids
}

/// A group: the batch that came and what is queued behind it.
fn gather(first: &mut Vec<Job>, queue: &mut mpsc::Receiver<Job>) -> Vec<Job> {
    let mut group = std::mem::take(first);
    let mut items: usize = group.iter().map(size).sum();
    while items < GROUP_ITEMS && group.len() < GROUP_BATCHES {
        let Ok(job) = queue.try_recv() else { break };
        items += size(&job);
        group.push(job);
    }
    group
}

fn size(job: &Job) -> usize {
    job.incoming.batch.spans.len() + job.incoming.batch.logs.len() + job.points.samples.len()
}
