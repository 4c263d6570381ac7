//! What a run's row holds beside its numbers: services, places, the filter and where each page begins.
//!
//! Since version 5 it tells a checksum of those numbers too, as they were when the run was sealed. A record is compressed
//! with a checksum of its own, so a flipped bit in either is damage.

use xxhash_rust::xxh3::xxh3_64;

use super::super::StoreError;
use super::super::block::{compress, damaged, decompress};
use super::super::entry::{put_text, take_text};
use super::super::failing::Minutes;
use super::super::logs;
use super::super::rates;
use super::super::rollup::Rollup;
use super::{PairFormat, RunMeta};
use crate::dashboard::model::proto::{WireError, put_varint, take_bytes, take_varint};

/// Version of [`RunMeta::encode_rest`].
const VERSION: u8 = 5;

impl RunMeta {
    /// The columns that need no own place: services, rates and the filter.
    pub fn encode_rest(&self) -> Result<Vec<u8>, StoreError> {
        let mut raw = vec![VERSION];
        raw.extend_from_slice(&self.columns_sum(self.spans, self.logs).to_le_bytes());
        put_varint(&mut raw, self.spans);
        put_varint(&mut raw, self.logs);
        put_varint(&mut raw, self.services.len() as u64);
        for service in &self.services {
            put_text(&mut raw, service);
        }
        self.rollup.put(&mut raw);
        self.failing.put(&mut raw);
        self.rates.put(&mut raw);
        put_varint(&mut raw, self.log_blocks.len() as u64);
        let mut before = self.first_block;
        for block in &self.log_blocks {
            put_varint(&mut raw, block - before);
            before = *block;
        }
        for index in [&self.log_index, &self.message_index] {
            match index {
                Some(index) => index.put(&mut raw),
                None => logs::Index::default().put(&mut raw),
            }
        }
        put_varint(&mut raw, self.chunk_starts.len() as u64);
        let mut before = self.min_start;
        for start in &self.chunk_starts {
            put_varint(&mut raw, start - before);
            before = *start;
        }
        raw.push(u8::from(self.any_correlation));
        put_varint(&mut raw, self.filter.len() as u64);
        raw.extend_from_slice(&self.filter);
        let mut before = 0;
        for first in &self.page_firsts {
            put_varint(&mut raw, first - before);
            before = *first;
        }
        compress(&raw)
    }

    /// A checksum of the columns that have a place of their own, as they were when it was sealed with so many spans and
    /// logs. The rest has one as every record that is compressed, and holds this.
    fn columns_sum(&self, spans: u64, logs: u64) -> u64 {
        let numbers =
            [self.id, self.first_block, self.last_block, self.min_start, self.max_start, self.sealed];
        let numbers = numbers.into_iter().chain([u64::from(self.entries), spans, logs]);
        xxh3_64(&numbers.flat_map(u64::to_le_bytes).collect::<Vec<u8>>())
    }

    /// Whether the columns are those that were written. Of spans and logs there may be none any more (see
    /// [`kinds`](super::super::kinds)).
    fn check_columns(&self, raw: &mut &[u8]) -> Result<bool, WireError> {
        let sum = u64::from_le_bytes(take_bytes(raw, 8)?.try_into().expect("eight bytes"));
        let (spans, logs) = (take_varint(raw)?, take_varint(raw)?);
        let is_left = |left: u64, sealed: u64| left == sealed || left == 0;
        Ok(sum == self.columns_sum(spans, logs) && is_left(self.spans, spans) && is_left(self.logs, logs))
    }

    /// Reads what [`RunMeta::encode_rest`] wrote.
    pub fn with_rest(self, data: &[u8]) -> Result<Self, StoreError> {
        let raw = decompress(data)?;
        let mut rest = raw.as_slice();
        let version = take_bytes(&mut rest, 1).map_err(damaged)?[0];
        if !(1..=VERSION).contains(&version) {
            return Err(damaged(WireError::Tag));
        }
        // Version 4 had no checksum of the other columns.
        if version > 4 && !self.check_columns(&mut rest).map_err(damaged)? {
            return Err(StoreError::Damaged("its row is not the one that was written".into()));
        }
        self.read_rest(version, rest).map_err(damaged)
    }

    /// Reads what stands behind version and checksum.
    fn read_rest(mut self, version: u8, mut raw: &[u8]) -> Result<Self, WireError> {
        self.pairs = match version {
            1 | 2 => PairFormat::Whole,
            3 | 4 => PairFormat::Short,
            _ => PairFormat::Checked,
        };
        self.services = (0..take_varint(&mut raw)?).map(|_| take_text(&mut raw)).collect::<Result<_, _>>()?;
        self.rollup = Rollup::take(&mut raw)?;
        self.failing = Minutes::take(&mut raw)?;
        self.rates = rates::Place::take(&mut raw, version > 3)?;
        let mut block = self.first_block;
        // Version 1 had spans and logs in the same blocks.
        let log_blocks = if version > 1 { take_varint(&mut raw)? } else { 0 };
        for _ in 0..log_blocks {
            block = block.wrapping_add(take_varint(&mut raw)?);
            self.log_blocks.push(block);
        }
        // Version 2 had no index of logs.
        self.log_index = if version > 2 { Some(logs::Index::take(&mut raw)?) } else { None };
        // Nor had version 4 one of messages.
        self.message_index = if version > 4 { Some(logs::Index::take(&mut raw)?) } else { None };
        let mut start = self.min_start;
        // Nor did version 3 tell where chunks begin.
        let chunks = if version > 3 { take_varint(&mut raw)? } else { 0 };
        for _ in 0..chunks {
            start = start.wrapping_add(take_varint(&mut raw)?);
            self.chunk_starts.push(start);
        }
        self.any_correlation = take_bytes(&mut raw, 1)?[0] != 0;
        let length = take_varint(&mut raw)? as usize;
        self.filter = take_bytes(&mut raw, length)?.to_vec();
        let mut first = 0u64;
        while !raw.is_empty() {
            first = first.wrapping_add(take_varint(&mut raw)?);
            self.page_firsts.push(first);
        }
        Ok(self.cut_down())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_versions_before_say_what_they_lack() {
        let written = RunMeta {
            log_blocks: vec![7],
            log_index: Some(logs::Index::default()),
            message_index: Some(logs::Index::default()),
            ..RunMeta::default()
        };
        let bytes = written.encode_rest().unwrap();
        assert_eq!(RunMeta::default().with_rest(&bytes).unwrap(), written);
        // Version 4 had no checksum of the row, and none in its pages: eight bytes, and the counts of spans and logs.
        let mut raw = decompress(&bytes).unwrap();
        raw.drain(1..11);
        raw[0] = 4;
        // Nor an index of messages, behind that of logs.
        raw.drain(raw.len() - 5..raw.len() - 3);
        let bytes = compress(&raw).unwrap();
        let written = RunMeta { pairs: PairFormat::Short, message_index: None, ..written };
        assert_eq!(RunMeta::default().with_rest(&bytes).unwrap(), written);
        // It ends with the index of no chunks of logs (its first page and their count), then the count of its own chunks,
        // then whether any entry has too many correlation IDs, then the length of the filter.
        let mut raw = decompress(&bytes).unwrap();
        let end = raw.len();
        raw[0] = 3;
        raw.remove(end - 3);
        // Nor was anything said of instances: the last of the four pages of rates.
        let mut before_rates = vec![4, 0];
        written.rollup.put(&mut before_rates);
        written.failing.put(&mut before_rates);
        assert_eq!(raw[before_rates.len()..][..4], [0; 4]);
        raw.remove(before_rates.len() + 3);
        assert_eq!(RunMeta::default().with_rest(&compress(&raw).unwrap()).unwrap(), written);
        raw[0] = 2;
        raw.drain(end - 6..end - 4);
        let before = RunMeta::default().with_rest(&compress(&raw).unwrap()).unwrap();
        assert_eq!(before, RunMeta { log_index: None, pairs: PairFormat::Whole, ..written });
    }

    #[test]
    fn a_row_that_is_not_the_one_that_was_written_is_damage() {
        let row = RunMeta {
            id: 4,
            first_block: 4,
            last_block: 9,
            entries: 700,
            spans: 90,
            logs: 8,
            ..RunMeta::default()
        };
        let bytes = row.encode_rest().unwrap();
        let read = |row: RunMeta| row.with_rest(&bytes);
        assert_eq!(read(row.clone()).unwrap().entries, 700);
        for kind in [RunMeta { spans: 0, ..row.clone() }, RunMeta { logs: 0, ..row.clone() }] {
            assert!(read(kind).is_ok(), "a kind may be removed");
        }
        for other in [
            RunMeta { id: 6, ..row.clone() },
            RunMeta { first_block: 2, ..row.clone() },
            RunMeta { last_block: 8, ..row.clone() },
            RunMeta { min_start: 1, ..row.clone() },
            RunMeta { max_start: 1, ..row.clone() },
            RunMeta { sealed: 1, ..row.clone() },
            RunMeta { entries: 701, ..row.clone() },
            RunMeta { spans: 91, ..row.clone() },
            RunMeta { logs: 1, ..row.clone() },
        ] {
            assert!(matches!(read(other.clone()), Err(StoreError::Damaged(_))), "{other:?}");
        }
    }
}
