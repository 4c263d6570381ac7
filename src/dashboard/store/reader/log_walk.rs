//! Rows of logs that may be wanted, the newest first, out of the tail and the runs.
//!
//! Each of them gives its rows in portions, newest first. A row is handed on once no portion that is still to be read
//! can hold a newer one, so as little is read as the page needs.

use std::collections::{BinaryHeap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use super::super::StoreError;
use super::super::engine::{Index, Shared};
use super::super::entry::Loc;
use super::super::logs::filter::{LogCursor, LogFilter, LogKind};
use super::super::logs::{self, Place, Row};
use super::super::run::RunMeta;
use super::log_parts::{Ask, Wanted};
use crate::dashboard::model::Nanos;

/// Rows of the tail taken at once.
const PORTION: usize = 1024;
/// The tail among the runs: newer than each of them.
const TAIL: u64 = u64::MAX;

/// What rows are sorted by: time, run, and how many of that time and run come before. What lies in a run is found there
/// under the key that it had in the tail.
type Key = (Nanos, u64, u32);

/// A row that may be wanted.
pub(super) struct Candidate {
    key: Key,
    pub row: Row,
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

/// Why no more rows came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// There are none.
    Range,
    /// As much was looked at as may be; it can go on from here.
    Budget(LogCursor),
    /// The tail was sealed meanwhile.
    Moved,
}

/// Where the tail or a run goes on: all its rows that were not read have a key below `below`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Portion {
    below: Key,
    source: Source,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    /// A run by its index among the runs, and its chunk.
    Run(usize, usize),
    /// The tail's rows before this one.
    Tail(Option<(Nanos, Place)>),
}

/// A walk under way.
pub(super) struct Walk<'a> {
    shared: &'a Shared,
    ask: &'a Ask<'a>,
    runs: Arc<Vec<Arc<RunMeta>>>,
    /// All that is looked for has a key below this one.
    after: Key,
    portions: BinaryHeap<Portion>,
    rows: BinaryHeap<Candidate>,
    /// By index; `None` where the run has nothing that is wanted.
    wanted: HashMap<usize, Option<Wanted>>,
    wanted_of_tail: Option<Wanted>,
    /// Rows looked at.
    pub examined: u64,
    /// Logs in runs that have no index of them.
    pub not_indexed: u64,
    /// Logs whose rows cannot be read.
    pub unreadable: u64,
}

impl<'a> Walk<'a> {
    /// Begins at the newest row that is asked for.
    pub fn begin(shared: &'a Shared, ask: &'a Ask<'a>) -> Self {
        let index = shared.index.read().expect("no holder panics");
        let mut walk = Self {
            shared,
            ask,
            runs: index.runs.clone(),
            after: (Nanos::MAX, TAIL, u32::MAX),
            portions: BinaryHeap::new(),
            rows: BinaryHeap::new(),
            wanted: HashMap::new(),
            wanted_of_tail: Shared::wanted_of_tail(ask, &index),
            examined: 0,
            not_indexed: 0,
            unreadable: 0,
        };
        if let Some(LogCursor { time, run, rank }) = ask.filter.after {
            let found = walk.runs.iter().map(|known| known.id).find(|id| *id >= run);
            walk.after = (time, found.unwrap_or(TAIL), rank);
        }
        let newest = ask.to.min(walk.after.0);
        if walk.wanted_of_tail.is_some() && newest >= ask.from {
            let below = (newest, TAIL, u32::MAX);
            walk.portions.push(Portion { below, source: Source::Tail(None) });
        }
        for number in 0..walk.runs.len() {
            let run = walk.runs[number].clone();
            match run.index(ask.filter.kind) {
                Some(index) => {
                    let chunks = index.chunks.partition_point(|chunk| chunk.oldest <= newest);
                    walk.enqueue(number, chunks, (newest, run.id, u32::MAX));
                }
                // Before there was an index of messages there were none.
                None if ask.filter.kind == LogKind::Logs
                    && run.min_start <= newest
                    && run.sealed >= ask.from =>
                {
                    walk.not_indexed += run.logs;
                }
                None => {}
            }
        }
        walk
    }

    /// Queues the newest of a run's first `chunks` that may have something; what it has is below `below`.
    fn enqueue(&mut self, number: usize, chunks: usize, below: Key) {
        let run = &self.runs[number];
        let Some(index) = run.index(self.ask.filter.kind) else { return };
        for (at, chunk) in index.chunks[..chunks].iter().enumerate().rev() {
            if chunk.newest < self.ask.from {
                return;
            }
            let wanted = self.wanted.get(&number).and_then(Option::as_ref);
            let least = self.ask.filter.least_severity;
            if wanted.map_or(chunk.reaches(least), |wanted| wanted.may_be_in(chunk)) {
                let below = below.min((chunk.newest, run.id, u32::MAX));
                self.portions.push(Portion { below, source: Source::Run(number, at) });
                return;
            }
        }
    }

    /// Up to `most` rows, newest first, and why there are no more of them.
    pub async fn take(&mut self, most: usize) -> Result<(Vec<Candidate>, Option<End>), StoreError> {
        let mut taken = Vec::new();
        while taken.len() < most {
            let next = self.portions.peek().map(|portion| portion.below);
            if self.rows.peek().is_some_and(|row| next.is_none_or(|below| row.key >= below)) {
                taken.extend(self.rows.pop());
                continue;
            }
            let Some(below) = next else { return Ok((taken, Some(End::Range))) };
            if self.examined >= LogFilter::ROWS {
                return Ok((taken, Some(End::Budget(self.cursor(below)))));
            }
            let Some(portion) = self.portions.pop() else { continue };
            match portion.source {
                Source::Run(number, chunk) => self.read_chunk(number, chunk, portion.below).await?,
                Source::Tail(before) => {
                    let shared = self.shared;
                    let index = shared.index.read().expect("no holder panics");
                    if !Arc::ptr_eq(&index.runs, &self.runs) {
                        return Ok((taken, Some(End::Moved)));
                    }
                    self.read_tail(&index, before);
                }
            }
        }
        Ok((taken, None))
    }

    /// Where a page goes on that ended with this row.
    pub fn cursor_at(&self, candidate: &Candidate) -> LogCursor {
        self.cursor(candidate.key)
    }

    fn cursor(&self, (time, run, rank): Key) -> LogCursor {
        // What is in the tail will be in a run that begins behind the last one.
        let next_run = || self.runs.last().map_or(0, |last| last.last_block + 1);
        LogCursor { time, run: if run == TAIL { next_run() } else { run }, rank }
    }

    fn read_tail(&mut self, index: &Index, before: Option<(Nanos, Place)>) {
        let rows = index.tail.rows(self.ask.filter.kind);
        let last = Place { loc: Loc { block: u64::MAX, offset: u32::MAX }, number: u32::MAX };
        let before = match before {
            Some(before) => Bound::Excluded(before),
            None => Bound::Included((self.ask.to.min(self.after.0), last)),
        };
        let (mut read, mut at) = (0, None::<(Row, u32)>);
        for row in rows.older(self.ask.from, before).take(PORTION) {
            let rank = match at {
                Some((newer, rank)) if newer.time == row.time => rank - 1,
                _ => rows.rank(&row),
            };
            (read, at) = (read + 1, Some((row, rank)));
            let key = (row.time, TAIL, rank);
            self.offer(key, row, |walk| walk.wanted_of_tail.as_ref());
        }
        if let Some((row, rank)) = at.filter(|_| read == PORTION) {
            let source = Source::Tail(Some((row.time, row.place)));
            self.portions.push(Portion { below: (row.time, TAIL, rank), source });
        }
    }

    async fn read_chunk(&mut self, number: usize, chunk: usize, below: Key) -> Result<(), StoreError> {
        let run = self.runs[number].clone();
        let Some(index) = run.index(self.ask.filter.kind) else { return Ok(()) };
        if !self.wanted.contains_key(&number) {
            let wanted = self.shared.wanted_of_run(self.ask, &run, index).await?;
            self.wanted.insert(number, wanted);
        }
        let Some(wanted) = &self.wanted[&number] else { return Ok(()) };
        if !wanted.may_be_in(&index.chunks[chunk]) {
            self.enqueue(number, chunk, below);
            return Ok(());
        }
        let rows = self.shared.read_page(run.id, index.page(chunk), logs::read_chunk).await;
        let Some(rows) = self.shared.readable(rows)? else {
            self.unreadable += index.chunks[chunk].counts.iter().map(|count| u64::from(*count)).sum::<u64>();
            self.enqueue(number, chunk, below);
            return Ok(());
        };
        // Gone where the run was dropped meanwhile.
        let Some(rows) = rows else { return Ok(()) };
        let oldest = rows.first().map(|(row, rank)| (row.time, run.id, *rank));
        for (row, rank) in rows {
            self.offer((row.time, run.id, rank), row, |walk| walk.wanted[&number].as_ref());
        }
        self.enqueue(number, chunk, oldest.unwrap_or(below).min(below));
        Ok(())
    }

    /// Looks at a row.
    fn offer(&mut self, key: Key, row: Row, wanted: impl Fn(&Self) -> Option<&Wanted>) {
        // What came on pages before is not counted, so that every page comes further.
        if key >= self.after || row.time > self.ask.to {
            return;
        }
        self.examined += 1;
        if row.time >= self.ask.from && wanted(self).is_some_and(|wanted| wanted.has(&row)) {
            self.rows.push(Candidate { key, row });
        }
    }
}
