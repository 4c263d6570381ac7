//! Reads a whole store and says what of it cannot be read.
//!
//! Every block is decompressed, its checksum compared and its spans walked; every page and entry is decoded, and
//! every place that an entry points to is looked up. Nothing is changed.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::backend::{Backend, Loaded};
use super::block::{Block, in_block};
use super::entry::{Entry, Loc};
use super::logs;
use super::postgres::Postgres;
use super::run::{CHUNK, Chunk, RunMeta, check_page};
use super::sqlite::Sqlite;
use super::{Location, OpenError, StoreError};
use crate::dashboard::model::correlation::Keys;

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
    let backend: Box<dyn Backend> = match location {
        Location::Sqlite(path) if !path.exists() => {
            let why = "there is no such file".to_owned();
            return Err(OpenError::Unwritable { path: path.display().to_string(), why });
        }
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
    checking.blocks(first_of_tail..head.next_block).await.map_err(unreadable)?;
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
        let places = self.blocks(run.first_block..run.last_block + 1).await?;
        for number in 0..run.resources_page() {
            let pages = self.backend.pages(run.id, number, number).await?;
            if !pages.first().is_some_and(|page| check_page(page)) {
                self.checked.trouble(format!("run {}: page {number} is missing or cannot be read", run.id));
            }
        }
        self.logs(run, &places).await?;
        let chunks = run.entries.div_ceil(CHUNK as u32);
        for number in 0..chunks {
            let found = self.backend.chunks(run.id, number, number).await?;
            let entries = found.first().map(|(_, data)| entries(data, run.entries, number));
            match entries {
                Some(Ok(entries)) => self.entries(run, &entries, &places),
                Some(Err(error)) => {
                    self.checked.trouble(format!("run {}: chunk {number}: {error}", run.id));
                }
                None => self.checked.trouble(format!("run {}: chunk {number} is missing", run.id)),
            }
        }
        Ok(())
    }

    /// The index of its logs.
    async fn logs(&mut self, run: &RunMeta, places: &Places) -> Result<(), StoreError> {
        let Some(index) = &run.log_index else { return Ok(()) };
        for chunk in 0..index.chunks.len() {
            let number = index.page(chunk);
            let pages = self.backend.pages(run.id, number, number).await?;
            let rows = pages.first().map(|page| logs::read_chunk(page));
            let Some(Ok(rows)) = rows else {
                self.checked.trouble(format!("run {}: page {number} is missing or cannot be read", run.id));
                continue;
            };
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

    async fn blocks(&mut self, ids: Range<u64>) -> Result<Places, StoreError> {
        let (mut places, mut from) = (Places::new(), ids.start);
        while from < ids.end {
            let last = (from + AT_ONCE).min(ids.end) - 1;
            for (id, data) in self.backend.blocks(from, last).await? {
                self.checked.blocks += 1;
                let walked = Block::open(&data).and_then(|block| block.walk(&Keys::default()));
                match walked {
                    Ok((batch, parts)) => {
                        self.checked.spans += batch.spans.len() as u64;
                        self.checked.logs += batch.logs.len() as u64;
                        places.insert(id, parts.into_iter().map(|part| part.offset).collect());
                    }
                    Err(error) => self.checked.trouble(in_block(id, error).to_string()),
                }
            }
            from = last + 1;
        }
        Ok(places)
    }
}

/// All entries of a chunk.
fn entries(data: &[u8], all: u32, number: u32) -> Result<Vec<Entry>, StoreError> {
    let chunk = Chunk::open(data)?;
    let first = number * CHUNK as u32;
    let missing = || StoreError::Damaged("an entry is missing".into());
    (first..all.min(first + CHUNK as u32)).map(|ordinal| chunk.entry(ordinal)?.ok_or_else(missing)).collect()
}
