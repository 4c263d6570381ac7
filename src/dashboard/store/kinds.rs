//! A run of which one kind is gone: its spans or its logs were removed before the rest.
//!
//! A run's row counts the spans and logs that it still has. Where it has blocks of logs and counts no logs, those are
//! gone, or are just going; where it has them and counts no spans, all the other blocks are. So nothing else has to be
//! written down, and who follows the store sees it by the numbers. The run's index stays as it was sealed: what is
//! read out of it is cut down here.

use std::collections::HashMap;
use std::sync::Arc;

use super::backend::Kept;
use super::block::ItemKind;
use super::entry::Entry;
use super::run::RunMeta;

impl RunMeta {
    /// Whether it still has spans or logs.
    pub fn has(&self, kind: ItemKind) -> bool {
        match kind {
            ItemKind::Span => self.spans > 0,
            ItemKind::Log => self.logs > 0,
        }
    }

    /// Whether spans or logs can be removed and the rest stays: only where both are there, in blocks of their own.
    pub fn is_parted(&self) -> bool {
        self.has(ItemKind::Span) && self.has(ItemKind::Log) && !self.log_blocks.is_empty()
    }

    /// The kind that was removed, if one was.
    pub fn gone(&self) -> Option<ItemKind> {
        [ItemKind::Log, ItemKind::Span]
            .into_iter()
            .find(|kind| !self.log_blocks.is_empty() && !self.has(*kind))
    }

    /// Counts a kind no more. Rates were those of its spans, rows of logs lead to logs.
    pub fn forget(&mut self, kind: ItemKind) {
        match kind {
            ItemKind::Log => {
                self.logs = 0;
                self.log_index = self.log_index.take().map(|_| Default::default());
                self.message_index = self.message_index.take().map(|_| Default::default());
            }
            ItemKind::Span => {
                self.spans = 0;
                self.rollup = Default::default();
                self.failing = Default::default();
                self.rates = Default::default();
            }
        }
    }

    /// The same run as its row tells it: with nothing of what is gone.
    pub fn cut_down(mut self) -> Self {
        if let Some(kind) = self.gone() {
            self.forget(kind);
        }
        self
    }

    /// Which of its blocks hold a kind, out of all that it has.
    pub fn blocks_of(&self, kind: ItemKind, all: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let holds = |id: &u64| self.log_blocks.binary_search(id).is_ok() == (kind == ItemKind::Log);
        all.into_iter().filter(holds).collect()
    }

    /// What is left of one of its entries; `None` for nothing.
    pub fn left_of(&self, mut entry: Entry) -> Option<Entry> {
        let Some(gone) = self.gone() else { return Some(entry) };
        let summary = &mut entry.summary;
        match gone {
            ItemKind::Log => summary.logs = 0,
            ItemKind::Span => {
                (summary.spans, summary.errors, summary.refused) = (0, 0, 0);
                (summary.root, summary.failure, summary.settled) = (None, None, None);
            }
        }
        if gone == ItemKind::Span && !entry.is_orphan_logs() {
            entry.summary.services.clear();
            entry.summary.more_services = 0;
        }
        entry.locs.retain(|loc| self.log_blocks.binary_search(&loc.block).is_ok() != (gone == ItemKind::Log));
        (!entry.locs.is_empty()).then_some(entry)
    }
}

/// Lets go of runs that are not kept any more, and of what is gone of the others.
pub fn follow(runs: &mut Vec<Arc<RunMeta>>, kept: &HashMap<u64, Kept>) {
    runs.retain_mut(|run| {
        let Some(kept) = kept.get(&run.id) else { return false };
        for (kind, count) in [(ItemKind::Span, kept.spans), (ItemKind::Log, kept.logs)] {
            if count == 0 && run.has(kind) {
                Arc::make_mut(run).forget(kind);
            }
        }
        true
    });
}

#[cfg(test)]
mod tests {
    use super::super::entry::Loc;
    use super::*;
    use crate::dashboard::model::TraceId;

    fn entry(blocks: &[u64], spans: u32, logs: u32) -> Entry {
        let mut entry = Entry::blank(TraceId([1; 16]));
        (entry.summary.spans, entry.summary.logs) = (spans, logs);
        entry.locs = blocks.iter().map(|block| Loc { block: *block, offset: 13 }).collect();
        entry
    }

    fn run(spans: u64, logs: u64) -> RunMeta {
        RunMeta { spans, logs, log_blocks: vec![4, 9], ..RunMeta::default() }
    }

    #[test]
    fn what_is_gone_is_told_by_the_counts() {
        assert_eq!((run(5, 2).gone(), run(5, 2).is_parted()), (None, true));
        assert_eq!((run(5, 0).gone(), run(5, 0).is_parted()), (Some(ItemKind::Log), false));
        assert_eq!(run(0, 2).gone(), Some(ItemKind::Span));
        let never = RunMeta { log_blocks: Vec::new(), ..run(5, 0) };
        assert_eq!((never.gone(), never.is_parted()), (None, false), "it never had logs");
        let mixed = RunMeta { log_blocks: Vec::new(), ..run(5, 2) };
        assert!(!mixed.is_parted(), "an old run has both in one block");
    }

    #[test]
    fn an_entry_is_cut_down_to_what_is_left() {
        let places = |entry: Entry| entry.locs.iter().map(|loc| loc.block).collect::<Vec<_>>();
        let both = entry(&[2, 4, 6], 3, 1);
        assert_eq!(run(5, 2).left_of(both.clone()), Some(both.clone()));
        let spans = run(5, 0).left_of(both.clone()).expect("its spans");
        assert_eq!((spans.summary.spans, spans.summary.logs, places(spans)), (3, 0, vec![2, 6]));
        let logs = run(0, 2).left_of(both).expect("its logs");
        assert_eq!((logs.summary.spans, logs.summary.logs, places(logs)), (0, 1, vec![4]));
        assert_eq!(run(5, 0).left_of(entry(&[9], 0, 1)), None);
        assert_eq!(run(0, 2).blocks_of(ItemKind::Span, [2, 4, 6, 9]), [2, 6]);
    }
}
