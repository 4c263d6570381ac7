//! Pages of logs, the newest first, and logs counted over time.

use std::collections::HashMap;

use super::super::StoreError;
use super::super::block::{Block, Decoder, Item, ItemKind};
use super::super::engine::Shared;
use super::super::entry::Loc;
use super::super::logs::Row;
use super::super::logs::filter::{FoundLog, LogFilter, LogPage};
use super::ahead::OpenBlocks;
use super::log_parts::Ask;
use super::log_walk::{Candidate, End, Walk};
use super::lookup::ATTEMPTS;
use crate::dashboard::model::LogRecord;

/// Candidates read together where each has to be read: the first time, and at most.
const FIRST_READ: usize = 256;
const MOST_READ: usize = 8192;
/// A page ends before its limit where its logs take more bytes than this.
const PAGE_BYTES: usize = 16 << 20;

/// The log at a place.
enum Read {
    Log(Box<LogRecord>, usize),
    Unreadable,
    /// Packed anew or dropped meanwhile.
    Gone,
}

impl Shared {
    pub(super) async fn log_page(&self, filter: &LogFilter) -> Result<LogPage, StoreError> {
        for _ in 1..ATTEMPTS {
            if let Some(page) = self.try_log_page(filter, false).await? {
                return Ok(page);
            }
        }
        // What goes on moving is left out.
        Ok(self.try_log_page(filter, true).await?.unwrap_or_default())
    }

    /// A page; `None` where something moved while it was read, unless that is to be `passed` over.
    async fn try_log_page(&self, filter: &LogFilter, passed: bool) -> Result<Option<LogPage>, StoreError> {
        let ask = self.ask(filter).await?;
        let mut walk = Walk::begin(self, &ask);
        let mut page =
            LogPage { complete: !ask.truncated, not_indexed: walk.not_indexed, ..LogPage::default() };
        let limit = filter.limit.clamp(1, LogFilter::MAX_LIMIT);
        let mut portion = if ask.has_to_read() { FIRST_READ } else { limit + 1 };
        let (mut open, mut bytes, mut blocks) = (OpenBlocks::default(), 0, 0);
        let mut before = None;
        loop {
            let (candidates, end) = walk.take(portion).await?;
            page.examined = walk.examined;
            page.unreadable += std::mem::take(&mut walk.unreadable);
            let mut wanted = vec![true; candidates.len()];
            if ask.has_to_read() {
                let Some(read) = self.judge_logs(&ask, &candidates, &mut wanted, passed).await? else {
                    return Ok(None);
                };
                blocks += read;
                page.opened += candidates.len() as u64;
            }
            for (candidate, _) in candidates.iter().zip(wanted).filter(|(_, wanted)| *wanted) {
                if page.rows.len() == limit || bytes > PAGE_BYTES {
                    page.next = before;
                    return Ok(Some(page));
                }
                match self.log_at(&candidate.row, &mut open).await? {
                    Read::Log(log, size) => {
                        bytes += size;
                        page.rows.push(FoundLog { time: candidate.row.time, log: *log });
                    }
                    Read::Gone if !passed => return Ok(None),
                    Read::Gone => {}
                    Read::Unreadable => page.unreadable += 1,
                }
                before = Some(walk.cursor_at(candidate));
            }
            match end {
                Some(End::Range) => return Ok(Some(page)),
                Some(End::Moved) if !passed => return Ok(None),
                Some(End::Moved) => return Ok(Some(page)),
                Some(End::Budget(cursor)) => {
                    (page.complete, page.next) = (false, Some(cursor));
                    return Ok(Some(page));
                }
                None => {}
            }
            if page.opened >= LogFilter::OPENED || blocks >= LogFilter::BLOCKS {
                page.complete = false;
                page.next = candidates.last().map(|last| walk.cursor_at(last));
                return Ok(Some(page));
            }
            portion = (portion * 2).min(MOST_READ).min((LogFilter::OPENED - page.opened) as usize);
        }
    }

    /// Reads candidates block by block and says of each whether it is wanted. Gives how many blocks were opened; `None`
    /// where one has moved.
    async fn judge_logs(
        &self,
        ask: &Ask<'_>,
        candidates: &[Candidate],
        wanted: &mut [bool],
        passed: bool,
    ) -> Result<Option<u64>, StoreError> {
        let mut by_block: HashMap<u64, Vec<usize>> = HashMap::new();
        for (at, candidate) in candidates.iter().enumerate() {
            by_block.entry(candidate.row.place.loc.block).or_default().push(at);
        }
        let blocks = by_block.len() as u64;
        for (id, mut list) in by_block {
            list.sort_unstable_by_key(|at| candidates[*at].row.place);
            let mut open = OpenBlocks::default();
            let block = match self.open_block(id, &mut open).await {
                Ok(Some(block)) => block,
                Ok(None) if !passed => return Ok(None),
                // It is told when it is wanted: whether it is cannot be known.
                Ok(None) | Err(StoreError::Damaged(_)) => continue,
                Err(error) => return Err(error),
            };
            let mut decoder = Decoder::default();
            for of_part in list.chunk_by(|a, b| candidates[*a].row.place.loc == candidates[*b].row.place.loc)
            {
                let offset = candidates[of_part[0]].row.place.loc.offset;
                let Ok(items) = block.part(offset) else { continue };
                let logs: Vec<_> = items.into_iter().filter(|item| item.kind == ItemKind::Log).collect();
                for at in of_part {
                    let Some(item) = logs.get(candidates[*at].row.place.number as usize) else { continue };
                    if let Ok(Some(Item::Log(log))) = decoder.item(&block, item) {
                        wanted[*at] = ask.wants(&log);
                    }
                }
            }
        }
        Ok(Some(blocks))
    }

    /// Reads the log of a row.
    async fn log_at(&self, row: &Row, open: &mut OpenBlocks) -> Result<Read, StoreError> {
        let Loc { block: id, offset } = row.place.loc;
        let block = match self.open_block(id, open).await {
            Ok(Some(block)) => block,
            Ok(None) => return Ok(Read::Gone),
            Err(StoreError::Damaged(_)) => return Ok(Read::Unreadable),
            Err(error) => return Err(error),
        };
        match nth_log(&block, offset, row.place.number) {
            Ok(Some((log, size))) => Ok(Read::Log(log, size)),
            Ok(None) | Err(StoreError::Damaged(_)) => Ok(Read::Unreadable),
            Err(error) => Err(error),
        }
    }
}

/// A part's log by its number, and the bytes of its message.
fn nth_log(block: &Block, offset: u32, number: u32) -> Result<Option<(Box<LogRecord>, usize)>, StoreError> {
    let items = block.part(offset)?;
    let mut logs = items.iter().filter(|item| item.kind == ItemKind::Log);
    let Some(item) = logs.nth(number as usize) else { return Ok(None) };
    Ok(match Decoder::default().item(block, item)? {
        Some(Item::Log(log)) => Some((log, item.message.len())),
        _ => None,
    })
}
