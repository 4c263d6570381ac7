//! Counts by series and bucket, in memory.
//!
//! A series is up to four names: service and operation, or caller, callee, where messages were sent to and where they
//! were taken from. Series are bounded: what comes when there is no room is counted as others of the same first name,
//! and then as others altogether.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_64;

use super::gather::{Sink, Sum};
use super::histogram::Histogram;
use super::names::{ByHash, Names};
use super::{BUCKET, Rates};
use crate::dashboard::model::Nanos;

/// Series kept apart.
const MAX_SERIES: usize = 8_192;
/// Of one first name.
const MAX_OF_ONE: u32 = 512;
/// Cells after which the tail is full.
const MAX_CELLS: usize = 262_144;

/// The names of a series.
pub type Key = [u32; 4];

/// What is counted at once.
#[derive(Debug, Clone, Copy)]
pub struct Event {
    pub bucket: u32,
    pub class: u16,
    pub failed: bool,
    /// The class of a message's time in the queue.
    pub waited: Option<u16>,
}

/// What happened in one bucket.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    pub bucket: u32,
    pub sum: Sum,
}

/// Series with their cells in order of time.
#[derive(Default)]
pub struct Table {
    index: ByHash<u32>,
    series: Vec<(Key, Vec<Cell>)>,
    of_one: HashMap<u32, u32>,
    cells: usize,
}

impl Table {
    /// Counts an event `times` times; less than none takes it back.
    pub fn count(&mut self, key: Key, event: Event, times: i32) {
        let index = self.series(key);
        let cells = &mut self.series[index as usize].1;
        let at = match cells.last() {
            Some(last) if last.bucket == event.bucket => Ok(cells.len() - 1),
            Some(last) if last.bucket < event.bucket => Err(cells.len()),
            _ => cells.binary_search_by_key(&event.bucket, |cell| cell.bucket),
        };
        let at = at.unwrap_or_else(|at| {
            cells.insert(at, Cell { bucket: event.bucket, ..Cell::default() });
            self.cells += 1;
            at
        });
        let sum = &mut cells[at].sum;
        sum.count += i64::from(times);
        sum.errors += i64::from(event.failed) * i64::from(times);
        sum.durations.add(event.class, times);
        if let Some(waited) = event.waited {
            sum.waited.add(waited, times);
        }
    }

    fn series(&mut self, key: Key) -> u32 {
        let hash = hash(key);
        match self.index.get(&hash) {
            Some(known) => *known,
            None => self.new_series(key, hash),
        }
    }

    fn new_series(&mut self, key: Key, hash: u64) -> u32 {
        let [first, second, ..] = key;
        let of_one = self.of_one.entry(first).or_default();
        let named = first >= Names::FIRST;
        let full = self.series.len() >= MAX_SERIES || named && *of_one >= MAX_OF_ONE;
        let reserve = self.series.len() < 2 * MAX_SERIES;
        if full && second != Names::OTHERS {
            return self.series([first, Names::OTHERS, Names::NONE, Names::NONE]);
        }
        if full && !reserve && first != Names::OTHERS {
            return self.series([Names::OTHERS, Names::OTHERS, Names::NONE, Names::NONE]);
        }
        *of_one += 1;
        let index = self.series.len() as u32;
        self.series.push((key, Vec::new()));
        self.index.insert(hash, index);
        index
    }

    /// Whether it should become a run's.
    pub fn is_full(&self) -> bool {
        self.cells >= MAX_CELLS
    }

    /// Series with what was counted.
    pub fn series_with_cells(&self) -> impl Iterator<Item = (Key, &[Cell])> {
        self.series.iter().map(|(key, cells)| (*key, cells.as_slice())).filter(|(_, cells)| !cells.is_empty())
    }

    /// Adds all that a sink wants.
    pub fn read(&self, names: &Names, sink: &mut impl Sink) {
        for (key, cells) in self.series_with_cells() {
            let Some(series) = sink.series(key, |id| names.text(id)) else { continue };
            for cell in cells {
                if let Some(sum) = sink.slot(series, Nanos::from(cell.bucket) * BUCKET) {
                    sum.merge(&cell.sum);
                }
            }
        }
    }
}

fn hash(key: Key) -> u64 {
    let mut bytes = [0; 16];
    for (part, place) in key.iter().zip(bytes.chunks_exact_mut(4)) {
        place.copy_from_slice(&part.to_le_bytes());
    }
    xxh3_64(&bytes)
}

impl Sum {
    /// Adds another one's counts.
    pub fn merge(&mut self, other: &Sum) {
        self.count += other.count;
        self.errors += other.errors;
        self.durations.merge(&other.durations);
        self.waited.merge(&other.waited);
    }

    /// Whether everything in it was taken back.
    pub fn is_nothing(&self) -> bool {
        self.count == 0 && self.errors == 0 && self.durations.is_empty() && self.waited.is_empty()
    }

    /// What it says, nothing below none; and the time in the queue.
    pub fn finish(self) -> (Rates, Histogram) {
        let counted = |number: i64| u64::try_from(number).unwrap_or_default();
        let rates =
            Rates { count: counted(self.count), errors: counted(self.errors), durations: self.durations };
        (rates, self.waited)
    }
}
