//! What the store's engine needs of a database: to put bytes down together and to find them by key.
//!
//! All meaning (terms, entries, blocks) is the engine's; a backend sees numbers and blobs. That is what lets
//! SQLite and PostgreSQL share one format.
//!
//! Blocks get their IDs at the commit, in the order in which commits become visible: who has seen a block has seen
//! all before it. That is what lets several dashboards follow one store.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;

use super::StoreError;
use super::block::ItemKind;
use super::run::{RunMeta, SealedRun};
use super::series::chunk::{ChunkInfo, NewChunk, Wanted};
use crate::dashboard::model::Nanos;
use crate::dashboard::model::audit::{AuditFilter, Audited, Ending, Intent};

/// From one committed block's ID to the next one's. The IDs between are left free for blocks that are packed anew
/// when the tail is sealed, so that they lie in the run's range whatever others commit meanwhile.
pub const STEP: u64 = 2;

/// A page or chunk by its run and number.
pub type Part = ((u64, u32), Vec<u8>);

/// A database under the store.
#[async_trait]
pub trait Backend: Send + Sync {
    /// `SQLite` or `PostgreSQL`.
    fn engine(&self) -> &'static str;

    /// Where the data is, without any password.
    fn location(&self) -> String;

    /// What a start needs to know.
    async fn load(&self) -> Result<Loaded, StoreError>;

    /// Writes blocks, all or nothing, durable when it returns. Gives the first one's ID; each further one is
    /// [`STEP`] above the one before. After an error they may be stored all the same.
    async fn commit(&self, blocks: Vec<Vec<u8>>) -> Result<u64, StoreError>;

    /// Writes a run over the blocks of the tail, all or nothing; nothing where the tail does not begin with the
    /// run's first block any more.
    async fn seal(&self, seal: Seal) -> Result<(), StoreError>;

    /// Whether other dashboards may write to the same store.
    fn is_shared(&self) -> bool {
        false
    }

    /// Whether it is this dashboard that seals and removes. Of those that share a store one does, as found out by
    /// [`Backend::head`].
    fn is_keeper(&self) -> bool {
        true
    }

    /// How far the store has come; asked of a shared one only.
    async fn head(&self) -> Result<Head, StoreError> {
        Ok(Head::default())
    }

    /// The runs with an ID above `after`, in order.
    async fn runs(&self, after: u64) -> Result<Vec<RunMeta>, StoreError>;

    /// What there is of all runs, by their IDs.
    async fn kept(&self) -> Result<HashMap<u64, Kept>, StoreError>;

    /// Removes what readers are not led to any more, and could only just have been.
    async fn tidy(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// One block; `None` where it was packed anew or dropped meanwhile.
    async fn block(&self, id: u64) -> Result<Option<Vec<u8>>, StoreError>;

    /// Blocks of a range of IDs, in order.
    async fn blocks(&self, first: u64, last: u64) -> Result<Vec<(u64, Vec<u8>)>, StoreError>;

    /// Pages `first..=last` of a run in order; none where the run was dropped meanwhile.
    async fn pages(&self, run: u64, first: u32, last: u32) -> Result<Vec<Vec<u8>>, StoreError>;

    /// Pages by run and number, in no order; without those that are not there.
    async fn pages_at(&self, places: &[(u64, u32)]) -> Result<Vec<Part>, StoreError>;

    /// Chunks by run and number, in no order; without those that are not there.
    async fn chunks_at(&self, places: &[(u64, u32)]) -> Result<Vec<Part>, StoreError>;

    /// Blocks by ID, in no order; without those that are not there.
    async fn blocks_at(&self, ids: &[u64]) -> Result<Vec<(u64, Vec<u8>)>, StoreError>;

    /// Chunks `first..=last` of a run with their numbers; none where the run was dropped meanwhile.
    async fn chunks(&self, run: u64, first: u32, last: u32) -> Result<Vec<(u32, Vec<u8>)>, StoreError>;

    /// Removes a run with its blocks, in steps that hold nobody up, and gives the space back.
    async fn drop_run(&self, run: &RunMeta) -> Result<(), StoreError>;

    /// Removes blocks of a range, and pages and chunks of runs with an ID in it, in the same way. None of them
    /// belongs to anything any more.
    async fn drop_range(&self, first: u64, last: u64) -> Result<(), StoreError>;

    /// Counts a kind of a run no more, so that nobody is led to its blocks.
    async fn forget(&self, run: &RunMeta, kind: ItemKind) -> Result<(), StoreError>;

    /// The IDs of the blocks of a range, in order.
    async fn block_ids(&self, first: u64, last: u64) -> Result<Vec<u64>, StoreError>;

    /// Removes blocks that nobody is led to, in steps that hold nobody up, and gives the space back.
    async fn drop_listed(&self, ids: Vec<u64>) -> Result<(), StoreError>;

    /// Whether the room kept for a full disk is missing.
    fn is_short_of_room(&self) -> bool {
        false
    }

    /// Whether that room was given up, since the disk is full: nothing is taken in until it is back.
    fn is_full(&self) -> bool {
        false
    }

    /// Waits until it is given up.
    async fn filled(&self) {
        std::future::pending().await
    }

    /// Takes it back where there is room again.
    async fn make_room(&self) {}

    /// Chunks of samples with their IDs, the newest windows first, [`MAX_READ`](super::series::chunk::MAX_READ) at most.
    async fn samples(&self, wanted: &Wanted) -> Result<Vec<(u64, Vec<u8>)>, StoreError>;

    /// When the last window that holds samples ends; 0 where there is none.
    async fn samples_end(&self) -> Result<Nanos, StoreError>;

    /// All chunks of samples, without what is in them.
    async fn sample_chunks(&self) -> Result<Vec<ChunkInfo>, StoreError>;

    /// Puts chunks of samples in the place of others, all or nothing; nothing where one of the others is gone already.
    async fn replace_samples(&self, old: Vec<u64>, new: Vec<NewChunk>) -> Result<(), StoreError>;

    /// Writes a row of the audit, durable when it returns, and gives its number.
    async fn begin_audit(&self, intent: Intent) -> Result<u64, StoreError>;

    /// Adds to a row how it ended.
    async fn end_audit(&self, id: u64, ending: Ending) -> Result<(), StoreError>;

    /// Rows of the audit, the newest first.
    async fn audited(&self, filter: &AuditFilter) -> Result<Vec<Audited>, StoreError>;

    /// Removes rows of the audit that are older; gives how many.
    async fn prune_audit(&self, before: Nanos) -> Result<u64, StoreError>;

    /// Bytes of some blocks, without those that are not there.
    async fn bytes_of(&self, blocks: &[u64]) -> Result<u64, StoreError>;

    /// Bytes on disk that hold data.
    async fn bytes(&self) -> Result<u64, StoreError>;
}

/// What a start needs to know, as it was at one moment.
#[derive(Default)]
pub struct Loaded {
    /// In order of their ID.
    pub runs: Vec<RunMeta>,
    /// The tail's blocks are those from here on.
    pub first_of_tail: u64,
    pub head: Head,
}

/// What there is of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    pub spans: u64,
    pub logs: u64,
}

/// How far a shared store has come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    /// The ID that the next block gets: all below are visible, or will never be.
    pub next_block: u64,
    /// Changes whenever a run is sealed or removed.
    pub version: u64,
}

/// A tail turned into a run. The run's ID is that of its first block, so that no ID is used twice.
pub struct Seal {
    pub run: SealedRun,
    /// Small blocks that were packed into larger ones; a reader may just be on its way to them.
    pub replaced: HashSet<u64>,
    pub blocks: Vec<(u64, Vec<u8>)>,
    /// The samples of the blocks that held some; those are among the replaced ones.
    pub samples: Vec<NewChunk>,
}
