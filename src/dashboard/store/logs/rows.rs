//! Rows of a flush, and of the tail: in memory, in order of time.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use super::super::block::WalkedPart;
use super::super::entry::Loc;
use super::super::part::{FUTURE, service};
use super::{Place, Row};
use crate::dashboard::model::Nanos;
use crate::dashboard::model::otlp::Batch;
use crate::dashboard::model::otlp::batch::LogRef;

/// Rows after which the tail is sealed: some 16 MB of them.
const SEAL_ROWS: usize = 1 << 18;

/// Services by number.
#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: HashMap<String, u32>,
    pub texts: Vec<String>,
}

impl Names {
    fn number(&mut self, name: &str) -> u32 {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let next = self.texts.len() as u32;
        self.numbers.insert(name.to_owned(), next);
        self.texts.push(name.to_owned());
        next
    }

    /// The number of a name, where it has one.
    fn find(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }
}

/// The rows of one flush or block.
#[derive(Debug, Default)]
pub struct Gathered {
    pub logs: OfKind,
    pub messages: OfKind,
}

/// Those of one kind.
#[derive(Debug, Default)]
pub struct OfKind {
    names: Names,
    rows: Vec<Row>,
}

impl Gathered {
    /// Takes in a log of a batch that was received at `now` and lies at `place`.
    pub fn add(&mut self, batch: &Batch, log: &LogRef, now: Nanos, place: Place) {
        let name = service(batch.at(&batch.resources[log.resource as usize].service));
        let time = if log.time == 0 || log.time > now.saturating_add(FUTURE) { now } else { log.time };
        let of_kind = if batch.is_message(log) { &mut self.messages } else { &mut self.logs };
        let service = of_kind.names.number(&name);
        of_kind.rows.push(Row { time, place, severity: log.severity, service });
    }

    /// The rows of a stored block's parts, given its walk.
    pub fn of_block(id: u64, received: Nanos, batch: &Batch, walked: &[WalkedPart]) -> Self {
        let mut gathered = Self::default();
        for part in walked {
            let logs = &batch.logs[part.logs.start as usize..part.logs.end as usize];
            for (log, number) in logs.iter().zip(0..) {
                let loc = Loc { block: id, offset: part.offset };
                gathered.add(batch, log, received, Place { loc, number });
            }
        }
        gathered
    }

    /// Gives blocks the IDs that they got at the commit.
    pub fn renumber(&mut self, id: impl Fn(u64) -> u64) {
        let rows = self.logs.rows.iter_mut().chain(&mut self.messages.rows);
        rows.for_each(|row| row.place.loc.block = id(row.place.loc.block));
    }
}

/// The tail's rows.
#[derive(Debug, Default)]
pub struct Rows {
    names: Names,
    /// Severity and service by time and place.
    by_time: BTreeMap<(Nanos, Place), (u8, u32)>,
}

impl Rows {
    /// Takes in the rows of a flush.
    pub fn join(&mut self, gathered: OfKind) {
        let numbers: Vec<u32> = gathered.names.texts.iter().map(|name| self.names.number(name)).collect();
        for row in gathered.rows {
            self.by_time.insert((row.time, row.place), (row.severity, numbers[row.service as usize]));
        }
    }

    /// Whether it is time to seal.
    pub fn is_full(&self) -> bool {
        self.by_time.len() >= SEAL_ROWS
    }

    /// The number of a service that wrote any of them.
    pub fn service(&self, name: &str) -> Option<u32> {
        self.names.find(name)
    }

    /// Names of the services, by number.
    pub fn services(&self) -> &[String] {
        &self.names.texts
    }

    /// Rows from `from` on, newest first; those at and behind `before` are left out.
    pub fn older(&self, from: Nanos, before: Bound<(Nanos, Place)>) -> impl Iterator<Item = Row> {
        let first = (from, Place { loc: Loc { block: 0, offset: 0 }, number: 0 });
        let is_empty = match before {
            Bound::Included(last) => last < first,
            Bound::Excluded(last) => last <= first,
            Bound::Unbounded => false,
        };
        let range = if is_empty { None } else { Some(self.by_time.range((Bound::Included(first), before))) };
        range.into_iter().flatten().rev().map(row)
    }

    /// How many rows of the same time come before this one.
    pub fn rank(&self, row: &Row) -> u32 {
        let first = Place { loc: Loc { block: 0, offset: 0 }, number: 0 };
        self.by_time.range((row.time, first)..(row.time, row.place)).count() as u32
    }

    /// All of them, oldest first.
    pub fn all(&self) -> impl ExactSizeIterator<Item = Row> {
        self.by_time.iter().map(row)
    }
}

fn row((&(time, place), &(severity, service)): (&(Nanos, Place), &(u8, u32))) -> Row {
    Row { time, place, severity, service }
}
