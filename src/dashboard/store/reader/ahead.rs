//! Reading ahead: what a search will look at next, in few statements instead of one after the other. A statement costs
//! as much as ten pages or chunks more in it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::super::StoreError;
use super::super::backend::Part;
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
const BLOCKS_A_THREAD: usize = 4;

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
    pub fn page(&self, run: &RunMeta, number: u32) -> Option<&[u8]> {
        self.read.get(&(run.id, number)).map(Vec::as_slice)
    }

    /// Where the pages lie that may hold a term: read ones or `None`.
    fn of(&self, run: &RunMeta, term: Term) -> Option<Vec<&[u8]>> {
        let Some((first, last)) = run.pages_of(term) else { return Some(Vec::new()) };
        (first..=last).map(|number| self.page(run, number)).collect()
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

/// Opens records, so many a thread at least: one share in this thread, for whom waking another one is dear, and the
/// others beside it. Leaves out those that cannot be opened.
pub(in super::super) async fn side_by_side<K: Send + 'static, T: Send + 'static>(
    found: Vec<(K, Vec<u8>)>,
    a_thread: usize,
    open: fn(&[u8]) -> Option<T>,
) -> Result<Vec<(K, T)>, StoreError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = found.len().div_ceil(threads).max(a_thread);
    let mut found = found.into_iter().peekable();
    let mut next = || found.by_ref().take(share).collect::<Vec<_>>();
    let open_all = move |share: Vec<(K, Vec<u8>)>| {
        let opened = share.into_iter().filter_map(|(key, data)| Some((key, open(&data)?)));
        opened.collect::<Vec<_>>()
    };
    let own = next();
    let others = std::iter::from_fn(|| Some(next()).filter(|share| !share.is_empty()));
    let others: Vec<_> = others.map(|share| tokio::task::spawn_blocking(move || open_all(share))).collect();
    let mut opened = open_all(own);
    for share in others {
        opened.extend(share.await.map_err(|error| StoreError::Unavailable(error.to_string()))?);
    }
    Ok(opened)
}

/// The blocks opened last, the newest at the end.
#[derive(Default)]
pub(super) struct OpenBlocks(VecDeque<(u64, Arc<Block>)>);

impl OpenBlocks {
    /// Whether a block is open.
    pub fn has(&self, id: u64) -> bool {
        self.0.iter().any(|(known, _)| *known == id)
    }

    fn put(&mut self, id: u64, block: Arc<Block>) {
        if self.0.len() >= OPEN_BLOCKS {
            self.0.pop_front();
        }
        self.0.push_back((id, block));
    }

    fn get(&mut self, id: u64) -> Option<Arc<Block>> {
        let at = self.0.iter().position(|(known, _)| *known == id)?;
        let found = self.0.remove(at)?;
        self.0.push_back(found.clone());
        Some(found.1)
    }
}

impl Shared {
    /// Opens blocks that are not open yet, side by side where there are several. Those that cannot be read are left
    /// to [`Shared::open_block`], which says so where it matters.
    pub(super) async fn open_ahead(&self, ids: &[u64], open: &mut OpenBlocks) -> Result<(), StoreError> {
        let mut ids: Vec<u64> = ids.iter().copied().filter(|id| !open.has(*id)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.truncate(OPEN_BLOCKS);
        if ids.len() < 2 {
            return Ok(());
        }
        let found = if_readable(self.backend.blocks_at(&ids).await)?;
        let opened = side_by_side(found, BLOCKS_A_THREAD, |data| Block::open(data).ok()).await?;
        opened.into_iter().for_each(|(id, block)| open.put(id, Arc::new(block)));
        Ok(())
    }

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
