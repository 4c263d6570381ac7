//! Reads a whole store and says what of it cannot be read.
//!
//! Every block is decompressed, its checksum compared and its spans walked; every page and entry is decoded, and
//! every place that an entry points to is looked up. Nothing is changed.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use super::backend::{Backend, Loaded};
use super::block::{Block, ItemKind, decompress, in_block};
use super::entry::{Entry, Loc};
use super::logs::{self, filter::LogKind};
use super::postgres::Postgres;
use super::rates;
use super::run::{CHUNK, Chunk, RunMeta, check_page, resources_with};
use super::series::chunk::Wanted;
use super::series::code;
use super::sqlite::Sqlite;
use super::{Location, OpenError, StoreError};
use crate::dashboard::model::Nanos;
use crate::dashboard::model::correlation::Keys;
use crate::dashboard::model::otlp::Batch;
use crate::dashboard::model::series::{Identity, Sample};

/// IDs whose blocks are read at once.
const AT_ONCE: u64 = 64;
/// Troubles named; more are counted.
const NAMED: usize = 50;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checked {
    pub runs: u64,
    pub blocks: u64,
    pub spans: u64,
    pub logs: u64,
    /// Samples of metrics.
    pub samples: u64,
    /// What cannot be read, each in one line that names its place; at most 50.
    pub troubles: Vec<String>,
    /// All troubles, those named among them.
    pub trouble_count: u64,
}

impl Checked {
    fn trouble(&mut self, what: String) {
        self.trouble_count += 1;
        if self.troubles.len() < NAMED {
            self.troubles.push(what);
        }
    }
}

/// Checks the store at a place; no dashboard may have a SQLite file open meanwhile. `progress` is told how many of
/// how many block IDs are done.
pub async fn check(location: &Location, mut progress: impl FnMut(u64, u64)) -> Result<Checked, OpenError> {
    location.must_exist()?;
    let backend: Box<dyn Backend> = match location {
        Location::Sqlite(path) => Box::new(Sqlite::open(path).await?),
        Location::Postgres(url) => Box::new(Postgres::open(url).await?),
    };
    let unreadable =
        |error: StoreError| OpenError::Damaged { path: backend.location(), why: error.to_string() };
    let loaded = backend.load().await.map_err(unreadable)?;
    let Loaded { runs, first_of_tail, head } = loaded;
    let mut checking = Checking { backend: &*backend, checked: Checked::default() };
    for run in &runs {
        checking.run(run).await.map_err(unreadable)?;
        progress(run.last_block, head.next_block);
    }
    checking.blocks(first_of_tail..head.next_block, None).await.map_err(unreadable)?;
    checking.samples().await.map_err(unreadable)?;
    progress(head.next_block, head.next_block);
    Ok(checking.checked)
}

/// The places of a block's parts, by the block's ID.
type Places = HashMap<u64, HashSet<u32>>;

struct Checking<'a> {
    backend: &'a dyn Backend,
    checked: Checked,
}

impl Checking<'_> {
    async fn run(&mut self, run: &RunMeta) -> Result<(), StoreError> {
        self.checked.runs += 1;
        let places = self.blocks(run.first_block..run.last_block + 1, run.gone()).await?;
        for number in 0..run.resources_page() {
            self.page(run, number, |page| check_page(page, number, run.pairs)).await?;
        }
        self.page(run, run.resources_page(), |page| resources_with(page, &[])).await?;
        for number in run.rates.pages() {
            self.page(run, number, |page| rates::read(page, &mut Nothing)).await?;
        }
        self.logs(run, &places).await?;
        let chunks = run.entries.div_ceil(CHUNK as u32);
        for number in 0..chunks {
            let found = self.backend.chunks(run.id, number, number).await;
            let what = || format!("run {}: chunk {number}", run.id);
            let Some(found) = self.readable(what, found)? else { continue };
            match found.first().map(|(_, data)| entries(data, run, number)) {
                Some(Ok(entries)) => self.entries(run, &entries, &places),
                Some(Err(error)) => self.checked.trouble(format!("{}: {error}", what())),
                None => self.checked.trouble(format!("{} is missing", what())),
            }
        }
        Ok(())
    }

    /// What is read out of a page; `None` where that was a trouble.
    async fn page<T>(
        &mut self,
        run: &RunMeta,
        number: u32,
        read: impl FnOnce(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let what = || format!("run {}: page {number}", run.id);
        let pages = self.backend.pages(run.id, number, number).await;
        let Some(pages) = self.readable(what, pages)? else { return Ok(None) };
        match pages.first() {
            Some(page) => self.readable(what, read(page)),
            None => {
                self.checked.trouble(format!("{} is missing", what()));
                Ok(None)
            }
        }
    }

    /// What was read; `None` where it is damaged, which is a trouble.
    fn readable<T>(
        &mut self,
        what: impl Fn() -> String,
        read: Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(error @ StoreError::Damaged(_)) => {
                self.checked.trouble(format!("{}: {error}", what()));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The indexes of its logs and messages.
    async fn logs(&mut self, run: &RunMeta, places: &Places) -> Result<(), StoreError> {
        for kind in [LogKind::Logs, LogKind::Messages] {
            self.records(run, kind, places).await?;
        }
        Ok(())
    }

    async fn records(&mut self, run: &RunMeta, kind: LogKind, places: &Places) -> Result<(), StoreError> {
        let Some(index) = run.index(kind) else { return Ok(()) };
        if !index.chunks.is_empty() {
            self.page(run, index.services_page(), logs::read_services).await?;
        }
        for chunk in 0..index.chunks.len() {
            let rows = self.page(run, index.page(chunk), logs::read_chunk).await?;
            let Some(rows) = rows else { continue };
            let is_there = |loc: Loc| places.get(&loc.block).is_some_and(|parts| parts.contains(&loc.offset));
            if let Some((row, _)) = rows.iter().find(|(row, _)| !is_there(row.place.loc)) {
                let block = row.place.loc.block;
                self.checked.trouble(format!("run {}: a log is not in block {block}", run.id));
            }
        }
        Ok(())
    }

    fn entries(&mut self, run: &RunMeta, entries: &[Entry], places: &Places) {
        for entry in entries {
            let lost =
                |loc: &&Loc| !places.get(&loc.block).is_some_and(|offsets| offsets.contains(&loc.offset));
            if let Some(loc) = entry.locs.iter().find(lost) {
                let (id, block) = (entry.summary.trace_id, loc.block);
                self.checked.trouble(format!("run {}: a part of trace {id} is not in block {block}", run.id));
            }
        }
    }

    /// `going` is a kind that nobody is led to any more; what is still there of it does not count.
    async fn blocks(&mut self, ids: Range<u64>, going: Option<ItemKind>) -> Result<Places, StoreError> {
        let (mut places, mut from) = (Places::new(), ids.start);
        while from < ids.end {
            let last = (from + AT_ONCE).min(ids.end) - 1;
            for (id, data) in self.some_blocks(from, last).await? {
                let walked = decompress(&data).and_then(|raw| match code::holds_samples(&raw) {
                    true => self.count(|count| code::decode_raw(&raw, |_| true, count)).map(|()| None),
                    false => Block::of_raw(raw).and_then(|block| block.walk(&Keys::default())).map(Some),
                });
                match walked {
                    Ok(None) => self.checked.blocks += 1,
                    Ok(Some((batch, _))) if going == Some(kind(&batch)) => {}
                    Ok(Some((batch, parts))) => {
                        self.checked.blocks += 1;
                        self.checked.spans += batch.spans.len() as u64;
                        self.checked.logs += batch.logs.len() as u64;
                        places.insert(id, parts.into_iter().map(|part| part.offset).collect());
                    }
                    Err(error) => {
                        self.checked.blocks += 1;
                        self.checked.trouble(in_block(id, error).to_string());
                    }
                }
            }
            from = last + 1;
        }
        Ok(places)
    }
}

impl Checking<'_> {
    /// Blocks of a range; one by one where they cannot be read together.
    async fn some_blocks(&mut self, first: u64, last: u64) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        match self.backend.blocks(first, last).await {
            Err(StoreError::Damaged(_)) => {}
            read => return read,
        }
        let mut found = Vec::new();
        for id in first..=last {
            let read = self.backend.blocks(id, id).await;
            found.extend(self.readable(|| format!("block {id}"), read)?.into_iter().flatten());
        }
        Ok(found)
    }

    /// Every chunk of samples, window by window.
    async fn samples(&mut self) -> Result<(), StoreError> {
        let mut windows: BTreeMap<(u64, u64), Vec<u64>> = BTreeMap::new();
        for chunk in self.backend.sample_chunks().await? {
            windows.entry((chunk.begin, chunk.end)).or_default().push(chunk.id);
        }
        for ((begin, end), ids) in windows {
            let stored = self.backend.samples(&Wanted::all(begin, end)).await?;
            for (id, data) in stored.into_iter().filter(|(id, _)| ids.contains(id)) {
                if let Err(error) = self.count(|count| code::decode(&data, |_| true, count)) {
                    self.checked.trouble(format!("chunk {id} of samples: {error}"));
                }
            }
        }
        Ok(())
    }

    /// Counts the samples that `read` hands over.
    fn count(
        &mut self,
        read: impl FnOnce(&mut dyn FnMut(Identity, Vec<Sample>)) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        read(&mut |_, samples| self.checked.samples += samples.len() as u64)
    }
}

/// Takes nothing of a table of rates.
struct Nothing;

impl rates::Sink for Nothing {
    fn series<'a>(&mut self, _: rates::Key, _: impl Fn(u32) -> &'a [u8]) -> Option<usize> {
        None
    }

    fn slot(&mut self, _: usize, _: Nanos) -> Option<&mut rates::Sum> {
        None
    }
}

/// What a block holds.
fn kind(batch: &Batch) -> ItemKind {
    if batch.spans.is_empty() { ItemKind::Log } else { ItemKind::Span }
}

/// What is left of the entries of a chunk.
fn entries(data: &[u8], run: &RunMeta, number: u32) -> Result<Vec<Entry>, StoreError> {
    let chunk = Chunk::open(data)?;
    let first = number * CHUNK as u32;
    let missing = || StoreError::Damaged("an entry is missing".into());
    let ordinals = first..run.entries.min(first + CHUNK as u32);
    let entries =
        ordinals.map(|ordinal| chunk.entry(ordinal)?.ok_or_else(missing).map(|entry| run.left_of(entry)));
    entries.filter_map(Result::transpose).collect()
}
