//! What the store's engine needs of a database: to put bytes down together and to find them by key.
//!
//! All meaning (terms, entries, blocks) is the engine's; a backend sees numbers and blobs. That is what lets
//! SQLite and PostgreSQL share one format.

use async_trait::async_trait;

use super::StoreError;
use super::run::{RunMeta, SealedRun};

/// A database under the store.
#[async_trait]
pub trait Backend: Send + Sync {
    /// `SQLite` or `PostgreSQL`.
    fn engine(&self) -> &'static str;

    /// Where the data is, without any password.
    fn location(&self) -> String;

    /// What a start needs to know.
    async fn load(&self) -> Result<Loaded, StoreError>;

    /// Writes blocks, all or nothing, durable when it returns.
    async fn commit(&self, blocks: Vec<(u64, Vec<u8>)>) -> Result<(), StoreError>;

    /// Writes a run over the blocks of the tail, all or nothing.
    async fn seal(&self, seal: Seal) -> Result<(), StoreError>;

    /// One block; `None` where it was packed anew or dropped meanwhile.
    async fn block(&self, id: u64) -> Result<Option<Vec<u8>>, StoreError>;

    /// Blocks of a range of IDs, in order.
    async fn blocks(&self, first: u64, last: u64) -> Result<Vec<(u64, Vec<u8>)>, StoreError>;

    /// Pages `first..=last` of a run in order; none where the run was dropped meanwhile.
    async fn pages(&self, run: u64, first: u32, last: u32) -> Result<Vec<Vec<u8>>, StoreError>;

    /// Chunks `first..=last` of a run with their numbers; none where the run was dropped meanwhile.
    async fn chunks(&self, run: u64, first: u32, last: u32) -> Result<Vec<(u32, Vec<u8>)>, StoreError>;

    /// Removes a run with its blocks, in steps that hold nobody up, and gives the space back.
    async fn drop_run(&self, run: &RunMeta) -> Result<(), StoreError>;

    /// Removes blocks that belong to nothing.
    async fn drop_blocks(&self, first: u64, last: u64) -> Result<(), StoreError>;

    /// Bytes on disk that hold data.
    async fn bytes(&self) -> Result<u64, StoreError>;
}

/// What a start needs to know.
#[derive(Default)]
pub struct Loaded {
    /// In order of their ID.
    pub runs: Vec<RunMeta>,
    /// The tail's blocks are those from here on.
    pub first_of_tail: u64,
    pub next_block: u64,
}

/// A tail turned into a run.
pub struct Seal {
    pub run: SealedRun,
    /// Small blocks that were packed into larger ones.
    pub replaced: Vec<u64>,
    pub blocks: Vec<(u64, Vec<u8>)>,
}
