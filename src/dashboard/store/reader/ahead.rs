//! Reading ahead: what a search will look at next, in few statements instead of one after the other. A statement costs
//! as much as ten pages or chunks more in it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio_util::task::AbortOnDropHandle;

use super::super::StoreError;
use super::super::backend::{Backend, Part};
use super::super::block::Block;
use super::super::damage::if_readable;
use super::super::engine::Shared;
use super::super::run::RunMeta;
use super::super::term::Term;
use super::needles::Needles;

/// Pages asked for in one statement.
pub(super) const PAGES_AT_ONCE: usize = 256;
/// Runs that are lined up first, and four times as many each further time.
pub(super) const RUNS_FIRST: usize = 8;

/// Blocks kept open while one trace after the other is read, some 250 kB each.
pub(super) const OPEN_BLOCKS: usize = 24;
/// Blocks that pay for another thread.
pub(super) const BLOCKS_A_THREAD: usize = 4;

/// Pages that were read, by run and number.
#[derive(Default)]
pub(super) struct Pages {
    read: HashMap<(u64, u32), Vec<u8>>,
    /// Of how many runs.
    pub runs: usize,
}

impl Pages {
    /// Pages that were read elsewhere.
    pub fn of_parts(parts: Vec<Part>) -> Self {
        Self { read: parts.into_iter().collect(), runs: 0 }
    }

    /// A page, if it was read.
    pub fn page(&self, run: u64, number: u32) -> Option<&[u8]> {
        self.read.get(&(run, number)).map(Vec::as_slice)
    }

    /// Where the pages lie that may hold a term: read ones or `None`.
    fn of(&self, run: &RunMeta, term: Term) -> Option<Vec<&[u8]>> {
        let Some((first, last)) = run.pages_of(term) else { return Some(Vec::new()) };
        (first..=last).map(|number| self.page(run.id, number)).collect()
    }
}

impl Shared {
    /// Reads the pages that `needles` need of the first of some runs.
    pub(super) async fn pages_ahead(
        &self,
        needles: &Needles,
        runs: &VecDeque<&Arc<RunMeta>>,
        most: usize,
    ) -> Result<Pages, StoreError> {
        let mut pages = Pages::default();
        let mut wanted = Vec::new();
        // Where nothing is looked up there is nothing to be read ahead.
        let most = if needles.want_all() { 1 } else { most };
        for run in runs.iter().take(most) {
            needles.pages_in(run, &mut wanted);
            pages.runs += 1;
            if wanted.len() >= PAGES_AT_ONCE {
                break;
            }
        }
        for wanted in wanted.chunks(PAGES_AT_ONCE) {
            pages.read.extend(if_readable(self.backend.pages_at(wanted).await)?);
        }
        Ok(pages)
    }

    /// Ordinals of a run's entries with a term, ascending; out of pages that were read ahead where they were.
    pub(super) async fn ordinals(
        &self,
        run: &RunMeta,
        term: Term,
        pages: &Pages,
    ) -> Result<Vec<u32>, StoreError> {
        match pages.of(run, term) {
            Some(pages) => self.find_in(run, term, &pages),
            None => self.run_ordinals(run, term).await,
        }
    }
}

/// Does work in shares side by side, of so many items each at least: one share here, for whom waking another thread is
/// dear, and the others beside it. A share reads for itself, so that one reads while another opens. What is done stands in the
/// order of the items.
pub(in super::super) async fn in_shares<T, R, F>(
    mut items: Vec<T>,
    least: usize,
    work: impl Fn(Vec<T>) -> F,
) -> Result<Vec<R>, StoreError>
where
    R: Send + 'static,
    F: Future<Output = Result<Vec<R>, StoreError>> + Send + 'static,
{
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(threads).max(least);
    let mut others = Vec::new();
    while items.len() > share {
        let work = work(items.split_off(items.len() - share));
        others.push(AbortOnDropHandle::new(tokio::spawn(work)));
    }
    let mut done = work(items).await?;
    // The last items were split off first.
    for other in others.into_iter().rev() {
        done.extend(other.await.map_err(|error| StoreError::Unavailable(error.to_string()))??);
    }
    Ok(done)
}

/// The blocks opened last, the newest at the end.
#[derive(Default)]
pub(super) struct OpenBlocks(VecDeque<(u64, Arc<Block>)>);

impl OpenBlocks {
    /// Keeps a block open instead of the one that was used longest ago.
    pub fn put(&mut self, id: u64, block: Arc<Block>) {
        if self.0.len() >= OPEN_BLOCKS {
            self.0.pop_front();
        }
        self.0.push_back((id, block));
    }

    /// A block, if it is open.
    pub fn get(&mut self, id: u64) -> Option<Arc<Block>> {
        let at = self.0.iter().position(|(known, _)| *known == id)?;
        let found = self.0.remove(at)?;
        self.0.push_back(found.clone());
        Some(found.1)
    }
}

/// Reads and opens blocks, but for those that cannot be.
pub(super) async fn opened(
    backend: Arc<dyn Backend>,
    ids: Vec<u64>,
) -> Result<Vec<(u64, Arc<Block>)>, StoreError> {
    let found = if_readable(backend.blocks_at(&ids).await)?;
    let opened = found.into_iter().filter_map(|(id, data)| Some((id, Arc::new(Block::open(&data).ok()?))));
    Ok(opened.collect())
}

impl Shared {
    /// One block; `None` where it was packed anew or dropped meanwhile.
    pub(super) async fn open_block(
        &self,
        id: u64,
        open: &mut OpenBlocks,
    ) -> Result<Option<Arc<Block>>, StoreError> {
        if let Some(block) = open.get(id) {
            return Ok(Some(block));
        }
        let at = |error| self.at(&format!("block {id}"), error);
        let Some(data) = self.backend.block(id).await.map_err(at)? else { return Ok(None) };
        let block = Arc::new(Block::open(&data).map_err(at)?);
        open.put(id, block.clone());
        Ok(Some(block))
    }
}
