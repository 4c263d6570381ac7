//! A run's rows as pages: the services' names, then the rows by time in chunks.
//!
//! Format, version 1, before compression (varints as in Protocol Buffers, differences to the row before):
//! ```text
//! services: version u8 = 1; count, then length + name each
//! chunk:    version u8 = 1; count; how many rows of the first one's time come before it; time of the first; then
//!           column by column: times, severities (u8), services, blocks (signed), offsets, numbers
//! ```
//! What every query needs of each chunk (its times, its blocks, how many logs of which severity) is the run's [`Index`],
//! in memory: some 48 bytes for a thousand logs.

use std::collections::HashMap;

use super::super::StoreError;
use super::super::block::{compress, damaged, decompress};
use super::super::entry::{Loc, put_text, take_text};
use super::super::rates::histogram::{put_signed, take_signed};
use super::{Place, Row, Rows};
use crate::dashboard::model::proto::{WireError, put_varint, take_bytes, take_varint};
use crate::dashboard::model::{Nanos, Severity};

const VERSION: u8 = 1;
/// Rows of a chunk.
const CHUNK: usize = 1024;

/// What is known of a run's rows without reading them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Index {
    /// The number of the page with the services; the chunks follow.
    first_page: u32,
    /// Oldest first. No chunk begins before the one before it ends.
    pub chunks: Vec<Chunk>,
}

/// A chunk of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    pub oldest: Nanos,
    pub newest: Nanos,
    /// The first and the last block that its logs lie in: who looks for the logs of one trace passes over most chunks.
    pub blocks: (u64, u64),
    /// Rows of each [`Severity`].
    pub counts: [u16; Severity::COUNT],
}

impl Chunk {
    fn of(rows: &[Row], block: impl Fn(&Row) -> u64) -> Self {
        let blocks = rows.iter().map(block);
        let blocks = blocks.fold((u64::MAX, 0), |(first, last), block| (first.min(block), last.max(block)));
        let mut counts = [0; Severity::COUNT];
        rows.iter().for_each(|row| counts[Severity::of(row.severity) as usize] += 1);
        Self { oldest: rows[0].time, newest: rows[rows.len() - 1].time, blocks, counts }
    }

    /// Whether it may have rows of a severity of at least this number.
    pub fn reaches(&self, least: u8) -> bool {
        self.counts[Severity::of(least) as usize..].iter().any(|count| *count > 0)
    }
}

impl Index {
    /// Seals the tail's rows behind a run's pages; `moved` says where the parts of blocks lie that were packed anew, and
    /// how many logs come before theirs.
    pub fn seal(
        rows: &Rows,
        moved: &HashMap<Loc, (Loc, u32)>,
        pages: &mut Vec<Vec<u8>>,
    ) -> Result<Self, StoreError> {
        let mut index = Self { first_page: pages.len() as u32, chunks: Vec::new() };
        if rows.all().len() == 0 {
            return Ok(index);
        }
        let mut raw = vec![VERSION];
        put_varint(&mut raw, rows.services().len() as u64);
        rows.services().iter().for_each(|name| put_text(&mut raw, name));
        pages.push(compress(&raw)?);
        let (mut all, mut before) = (rows.all(), (0, 0));
        loop {
            let chunk: Vec<Row> = all.by_ref().take(CHUNK).collect();
            let Some(first) = chunk.first() else { return Ok(index) };
            let rank = if first.time == before.0 { before.1 } else { 0 };
            let place = |row: &Row| place(row, moved);
            pages.push(compress(&encode(&chunk, rank, place))?);
            let last = chunk[chunk.len() - 1].time;
            let same = chunk.iter().rev().take_while(|row| row.time == last).count() as u32;
            before = (last, if same as usize == chunk.len() { rank + same } else { same });
            index.chunks.push(Chunk::of(&chunk, |row| place(row).loc.block));
        }
    }

    /// The number of the page with the services' names.
    pub fn services_page(&self) -> u32 {
        self.first_page
    }

    /// The number of a chunk's page.
    pub fn page(&self, chunk: usize) -> u32 {
        self.first_page + 1 + chunk as u32
    }

    /// Appends the encoding.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, u64::from(self.first_page));
        put_varint(out, self.chunks.len() as u64);
        let mut before = 0;
        for Chunk { oldest, newest, blocks, counts } in &self.chunks {
            put_varint(out, oldest - before);
            put_varint(out, newest - oldest);
            put_varint(out, blocks.0);
            put_varint(out, blocks.1 - blocks.0);
            counts.iter().for_each(|count| put_varint(out, u64::from(*count)));
            before = *newest;
        }
    }

    /// Reads what [`Index::put`] wrote.
    pub fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        let first_page = u32::try_from(take_varint(bytes)?).map_err(|_| WireError::Varint)?;
        let (mut chunks, mut before) = (Vec::new(), 0u64);
        for _ in 0..take_varint(bytes)? {
            let oldest = before.wrapping_add(take_varint(bytes)?);
            let newest = oldest.wrapping_add(take_varint(bytes)?);
            let first = take_varint(bytes)?;
            let blocks = (first, first.wrapping_add(take_varint(bytes)?));
            let mut counts = [0; Severity::COUNT];
            for count in &mut counts {
                *count = u16::try_from(take_varint(bytes)?).map_err(|_| WireError::Varint)?;
            }
            chunks.push(Chunk { oldest, newest, blocks, counts });
            before = newest;
        }
        Ok(Self { first_page, chunks })
    }
}

/// Where a row's log lies once parts have moved.
fn place(row: &Row, moved: &HashMap<Loc, (Loc, u32)>) -> Place {
    match moved.get(&row.place.loc) {
        Some((loc, before)) => Place { loc: *loc, number: before + row.place.number },
        None => row.place,
    }
}

fn encode(rows: &[Row], rank: u32, place: impl Fn(&Row) -> Place) -> Vec<u8> {
    let mut raw = vec![VERSION];
    put_varint(&mut raw, rows.len() as u64);
    put_varint(&mut raw, u64::from(rank));
    let mut before = 0;
    for row in rows {
        put_varint(&mut raw, row.time - before);
        before = row.time;
    }
    raw.extend(rows.iter().map(|row| row.severity));
    rows.iter().for_each(|row| put_varint(&mut raw, u64::from(row.service)));
    let mut before = 0;
    for row in rows {
        let block = place(row).loc.block;
        put_signed(&mut raw, block.wrapping_sub(before) as i64);
        before = block;
    }
    rows.iter().for_each(|row| put_varint(&mut raw, u64::from(place(row).loc.offset)));
    rows.iter().for_each(|row| put_varint(&mut raw, u64::from(place(row).number)));
    raw
}

/// The services' names of a run's rows, by number.
pub fn read_services(page: &[u8]) -> Result<Vec<String>, StoreError> {
    let raw = decompress(page)?;
    let read = |mut raw: &[u8]| {
        if take_bytes(&mut raw, 1)?[0] != VERSION {
            return Err(WireError::Tag);
        }
        (0..take_varint(&mut raw)?).map(|_| take_text(&mut raw)).collect()
    };
    read(&raw).map_err(damaged)
}

/// The rows of a chunk, oldest first, each with how many rows of its time come before it.
pub fn read_chunk(page: &[u8]) -> Result<Vec<(Row, u32)>, StoreError> {
    decode(&decompress(page)?).map_err(damaged)
}

fn decode(mut raw: &[u8]) -> Result<Vec<(Row, u32)>, WireError> {
    let raw = &mut raw;
    if take_bytes(raw, 1)?[0] != VERSION {
        return Err(WireError::Tag);
    }
    let small = |raw: &mut &[u8]| u32::try_from(take_varint(raw)?).map_err(|_| WireError::Varint);
    let count = take_varint(raw)?;
    let mut rank = small(raw)?;
    let place = Place { loc: Loc { block: 0, offset: 0 }, number: 0 };
    let (mut rows, mut time) = (Vec::with_capacity(count.min(CHUNK as u64) as usize), 0u64);
    for number in 0..count {
        let later = take_varint(raw)?;
        time = time.wrapping_add(later);
        if number > 0 {
            rank = if later == 0 { rank.saturating_add(1) } else { 0 };
        }
        rows.push((Row { time, place, severity: 0, service: 0 }, rank));
    }
    let severities = take_bytes(raw, rows.len())?;
    rows.iter_mut().zip(severities).for_each(|((row, _), severity)| row.severity = *severity);
    for (row, _) in &mut rows {
        row.service = small(raw)?;
    }
    let mut block = 0u64;
    for (row, _) in &mut rows {
        block = block.wrapping_add(take_signed(raw)? as u64);
        row.place.loc.block = block;
    }
    for (row, _) in &mut rows {
        row.place.loc.offset = small(raw)?;
    }
    for (row, _) in &mut rows {
        row.place.number = small(raw)?;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::super::Gathered;
    use super::*;
    use crate::dashboard::model::correlation::Keys;
    use crate::dashboard::model::otlp::Batch;
    use crate::dashboard::model::proto::{put_fixed64, put_message, put_uint};

    /// Rows of logs with these times, one a part, of severities 1 to 24 in turn.
    fn rows(times: &[Nanos]) -> Rows {
        let mut request = Vec::new();
        put_message(&mut request, 1, |out| {
            put_message(out, 2, |out| {
                for (time, number) in times.iter().zip(0..) {
                    put_message(out, 2, |out| {
                        put_fixed64(out, 1, *time);
                        put_uint(out, 2, number % 24 + 1);
                    });
                }
            });
        });
        let batch = Batch::logs(request.into(), &Keys::default()).unwrap();
        let mut gathered = Gathered::default();
        for (log, number) in batch.logs.iter().zip(0..) {
            let loc = Loc { block: 2 * u64::from(number / 100), offset: 13 + number % 100 * 7 };
            gathered.add(&batch, log, 1_000_000, Place { loc, number: number % 3 });
        }
        let mut rows = Rows::default();
        rows.join(gathered.logs);
        rows
    }

    #[test]
    fn reads_what_it_seals() {
        // Late ones, equal ones across three chunks, and some in between.
        let mut times: Vec<Nanos> = (0..500).map(|number| 5_000 + number * 37 % 1_000).collect();
        times.extend([7_777; 2_500]);
        let tail = rows(&times);
        let from = tail.all().next().unwrap().place.loc;
        let moved = HashMap::from([(from, (Loc { block: 99, offset: 4 }, 1_000))]);
        let mut pages = vec![Vec::new(); 3];
        let index = Index::seal(&tail, &moved, &mut pages).unwrap();
        let mut kept = Vec::new();
        index.put(&mut kept);
        assert_eq!(Index::take(&mut &kept[..]).unwrap(), index);
        assert_eq!((index.services_page(), index.page(0), index.chunks.len()), (3, 4, 3));
        assert_eq!(read_services(&pages[3]).unwrap(), ["unknown_service"]);
        let mut read = Vec::new();
        for (chunk, page) in index.chunks.iter().zip(&pages[4..]) {
            let rows = read_chunk(page).unwrap();
            assert_eq!((chunk.oldest, chunk.newest), (rows[0].0.time, rows.last().unwrap().0.time));
            let blocks = rows.iter().map(|(row, _)| row.place.loc.block);
            assert_eq!(chunk.blocks, (blocks.clone().min().unwrap(), blocks.max().unwrap()));
            assert_eq!(chunk.counts.iter().map(|count| usize::from(*count)).sum::<usize>(), rows.len());
            read.extend(rows);
        }
        for ((row, rank), before) in read.iter().zip(tail.all()) {
            let wanted = match before.place.loc == from {
                true => Place { loc: Loc { block: 99, offset: 4 }, number: 1_000 + before.place.number },
                false => before.place,
            };
            assert_eq!((*row, *rank), (Row { place: wanted, ..before }, tail.rank(&before)));
        }
        assert_eq!(read.len(), times.len());
    }

    #[test]
    fn refuses_every_cut() {
        let tail = rows(&[5, 6, 7]);
        let raw = encode(&tail.all().collect::<Vec<_>>(), 0, |row| row.place);
        assert_eq!(decode(&raw).unwrap().len(), 3);
        for length in 0..raw.len() {
            assert!(decode(&raw[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn a_time_that_cannot_be_is_that_of_arrival() {
        let day: Nanos = 24 * 3600 * 1_000_000_000;
        let times: Vec<_> = rows(&[0, u64::MAX, day, 3]).all().map(|row| row.time).collect();
        assert_eq!(times, [3, 1_000_000, 1_000_000, day]);
    }
}
