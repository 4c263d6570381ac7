//! How many bytes the logs of runs take, so that they can be limited apart from traces.
//!
//! Counted are the blocks that hold logs: what goes with them. A run's count is kept until it may have changed, since
//! blocks are never written again but by a compaction.

use std::collections::HashMap;

use super::StoreError;
use super::block::ItemKind;
use super::engine::Shared;
use super::run::RunMeta;

/// Blocks whose sizes are asked for in one statement.
const AT_ONCE: usize = 256;

/// Bytes of the logs of runs, by the run's ID.
#[derive(Default)]
pub struct LogBytes(HashMap<u64, u64>);

impl LogBytes {
    /// Those of all runs.
    pub async fn total(&mut self, shared: &Shared) -> Result<u64, StoreError> {
        let (runs, mut total) = (shared.runs(), 0);
        self.0.retain(|id, _| runs.binary_search_by_key(id, |run| run.id).is_ok());
        for run in runs.iter() {
            total += self.of(shared, run).await?;
        }
        Ok(total)
    }

    /// Those of one run.
    pub async fn of(&mut self, shared: &Shared, run: &RunMeta) -> Result<u64, StoreError> {
        if !run.has(ItemKind::Log) {
            return Ok(0);
        }
        if let Some(known) = self.0.get(&run.id) {
            return Ok(*known);
        }
        let mut bytes = 0;
        for ids in run.log_blocks.chunks(AT_ONCE) {
            bytes += shared.backend.bytes_of(ids).await?;
        }
        self.0.insert(run.id, bytes);
        Ok(bytes)
    }

    /// Counts anew from the next time on.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}
