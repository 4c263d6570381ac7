//! A run's tables as bytes: one page for each table and length of bucket.
//!
//! Format, version 1, before compression:
//! ```text
//! version: u8 = 1
//! names:   count, then length + tag and text each
//! series:  count, then each: four names (0 to 3 are no names, 4 is the first name), number of cells, and per cell
//!          the distance to the bucket before, count, errors, durations, times in the queue
//! ```
//! Instances have pages for the lengths of a minute and more only, and none for the whole run: they are asked for over
//! time. A run that lies in the range as a whole is read as one bucket, long steps out of long buckets; only where a range
//! cuts a run the shortest buckets are read for its sums.

use std::collections::HashMap;

use super::BUCKET;
use super::gather::{Sink, Sum};
use super::histogram::{put_signed, take_signed};
use super::names::Names;
use super::table::{Cell, Key, Table};
use crate::dashboard::model::Nanos;
use crate::dashboard::model::proto::{WireError, put_varint, take_bytes, take_varint};
use crate::dashboard::store::StoreError;
use crate::dashboard::store::block::{compress, damaged, decompress};

const VERSION: u8 = 1;
/// Lengths of the buckets: 10 s, 1 min, 10 min, in the shortest.
const TIERS: [u32; 3] = [1, 6, 60];
/// The tier behind them: the whole run is one bucket.
const WHOLE: usize = TIERS.len();
/// The shortest buckets of instances, as a tier.
const MINUTES: usize = 1;
/// Pages of each other table.
const PAGES: u32 = WHOLE as u32 + 1;

/// Which of the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Operations = 0,
    Calls = 1,
    Instances = 2,
}

/// Where a run's rates lie among its pages, and which buckets they are of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    first_page: u32,
    /// First bucket and the one after the last; the same where there is nothing.
    from: u32,
    to: u32,
    /// False for a run that was sealed before instances were counted.
    has_instances: bool,
}

/// The longest bucket that fits into `length`, as a number of its tier, and how long it is.
pub fn tier_within(length: Nanos) -> (usize, Nanos) {
    let fitting = TIERS.iter().rposition(|tier| Nanos::from(*tier) * BUCKET <= length).unwrap_or(0);
    (fitting, Nanos::from(TIERS[fitting]) * BUCKET)
}

impl Place {
    /// Whether it has buckets that begin in `from..to`.
    pub fn overlaps(&self, from: Nanos, to: Nanos) -> bool {
        self.from < self.to && Nanos::from(self.from) * BUCKET < to && Nanos::from(self.to) * BUCKET > from
    }

    /// The tier to read for sums over `from..to`.
    pub fn tier(&self, from: Nanos, to: Nanos) -> usize {
        let inside = Nanos::from(self.from) * BUCKET >= from && Nanos::from(self.to - 1) * BUCKET < to;
        if inside { WHOLE } else { 0 }
    }

    /// The number of a page; `None` where the run has none.
    pub fn page(&self, what: What, tier: usize) -> Option<u32> {
        let of_table = match what {
            What::Instances => tier.checked_sub(MINUTES).filter(|_| self.has_instances)?,
            What::Operations | What::Calls => tier,
        };
        Some(self.first_page + what as u32 * PAGES + of_table as u32)
    }

    /// The numbers of all its pages.
    pub fn pages(&self) -> std::ops::Range<u32> {
        let count = if self.from < self.to { 2 * PAGES } else { 0 };
        self.first_page..self.first_page + count
    }

    /// Appends the encoding.
    pub fn put(&self, out: &mut Vec<u8>) {
        let numbers = [self.first_page, self.from, self.to, u32::from(self.has_instances)];
        numbers.iter().for_each(|number| put_varint(out, u64::from(*number)));
    }

    /// Reads what [`Place::put`] wrote; before `instances` were counted it said nothing of them.
    pub fn take(bytes: &mut &[u8], instances: bool) -> Result<Self, WireError> {
        let mut next = || u32::try_from(take_varint(bytes)?).map_err(|_| WireError::Varint);
        let (first_page, from, to) = (next()?, next()?, next()?);
        Ok(Self { first_page, from, to, has_instances: instances && next()? != 0 })
    }
}

/// Adds the tables' pages to a run's and says where they are.
pub fn seal(
    names: &Names,
    [operations, calls, instances]: [&Table; 3],
    pages: &mut Vec<Vec<u8>>,
) -> Result<Place, StoreError> {
    let buckets = || {
        let series = [operations, calls].into_iter().flat_map(|table| table.series_with_cells());
        series.flat_map(|(_, cells)| cells.iter().map(|cell| cell.bucket))
    };
    let (Some(from), Some(last)) = (buckets().min(), buckets().max()) else { return Ok(Place::default()) };
    let first_page = pages.len() as u32;
    let place = Place { first_page, from, to: last.saturating_add(1), has_instances: true };
    for (table, tiers) in [(operations, 0..=WHOLE), (calls, 0..=WHOLE), (instances, MINUTES..=WHOLE - 1)] {
        for tier in tiers {
            let bucket = |bucket: u32| TIERS.get(tier).map_or(from, |length| bucket / length * length);
            pages.push(compress(&encode(names, table, bucket))?);
        }
    }
    Ok(place)
}

fn encode(names: &Names, table: &Table, bucket: impl Fn(u32) -> u32) -> Vec<u8> {
    let (mut local, mut texts, mut body) = (HashMap::<u32, u32>::new(), Vec::new(), Vec::new());
    let mut count = 0;
    for (key, cells) in table.series_with_cells() {
        let cells = coarser(cells, &bucket);
        if cells.is_empty() {
            continue;
        }
        count += 1;
        for id in key {
            let next = Names::FIRST + texts.len() as u32;
            let number = if id < Names::FIRST { id } else { *local.entry(id).or_insert(next) };
            if number == next {
                texts.push(names.text(id));
            }
            put_varint(&mut body, u64::from(number));
        }
        put_cells(&mut body, &cells);
    }
    let mut raw = vec![VERSION];
    put_varint(&mut raw, texts.len() as u64);
    for text in texts {
        put_varint(&mut raw, text.len() as u64);
        raw.extend_from_slice(text);
    }
    put_varint(&mut raw, count);
    raw.extend_from_slice(&body);
    raw
}

/// Cells of longer buckets, `longer` giving the one that a bucket lies in; those in which everything was taken back are left out.
fn coarser(cells: &[Cell], longer: impl Fn(u32) -> u32) -> Vec<Cell> {
    let mut coarse: Vec<Cell> = Vec::new();
    for cell in cells {
        let bucket = longer(cell.bucket);
        match coarse.last_mut() {
            Some(last) if last.bucket == bucket => last.sum.merge(&cell.sum),
            _ => coarse.push(Cell { bucket, sum: cell.sum.clone() }),
        }
    }
    coarse.retain(|cell| !cell.sum.is_nothing());
    coarse
}

fn put_cells(out: &mut Vec<u8>, cells: &[Cell]) {
    put_varint(out, cells.len() as u64);
    let mut before = 0;
    for Cell { bucket, sum } in cells {
        put_varint(out, u64::from(bucket - before));
        put_signed(out, sum.count);
        put_signed(out, sum.errors);
        sum.durations.put(out);
        sum.waited.put(out);
        before = *bucket;
    }
}

/// Adds all of a page that a sink wants.
pub fn read(page: &[u8], sink: &mut impl Sink) -> Result<(), StoreError> {
    decode(&decompress(page)?, sink).map_err(damaged)
}

fn decode(mut raw: &[u8], sink: &mut impl Sink) -> Result<(), WireError> {
    if take_bytes(&mut raw, 1)?[0] != VERSION {
        return Err(WireError::Tag);
    }
    let mut texts: Vec<&[u8]> = Vec::new();
    for _ in 0..take_varint(&mut raw)? {
        let length = take_varint(&mut raw)? as usize;
        texts.push(take_bytes(&mut raw, length)?);
    }
    let text = |id: u32| {
        id.checked_sub(Names::FIRST).and_then(|index| texts.get(index as usize)).copied().unwrap_or_default()
    };
    for _ in 0..take_varint(&mut raw)? {
        let mut key: Key = [0; 4];
        for id in &mut key {
            *id = u32::try_from(take_varint(&mut raw)?).map_err(|_| WireError::Varint)?;
        }
        let series = sink.series(key, text);
        let mut bucket = 0u64;
        for _ in 0..take_varint(&mut raw)? {
            bucket = bucket.wrapping_add(take_varint(&mut raw)?);
            let begin = bucket.saturating_mul(BUCKET);
            let mut unwanted = Sum::default();
            let slot = series.and_then(|series| sink.slot(series, begin)).unwrap_or(&mut unwanted);
            slot.count = slot.count.saturating_add(take_signed(&mut raw)?);
            slot.errors = slot.errors.saturating_add(take_signed(&mut raw)?);
            slot.durations.take(&mut raw)?;
            slot.waited.take(&mut raw)?;
        }
    }
    Ok(())
}
