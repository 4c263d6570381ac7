//! Logs found by time, severity and service: one small row for each, in an index of its own.
//!
//! An entry's time is its trace's, and a log may name a trace that ended long ago, so the index of entries cannot
//! answer "the newest errors of orders". A row says when a log happened, how severe it is, who wrote it, and where it
//! lies; what it says is read there. What equality narrows (trace, correlation ID, attribute) still goes through terms:
//! they give places, and the rows at those places are the candidates.
//!
//! * [`filter`]: what may be asked, and what comes back.
//! * [`rows`]: rows of a flush, and the tail's.
//! * [`pages`]: a run's rows as pages.
//!
//! What must not live here: reading logs themselves (that is the `reader`).

pub mod filter;
mod pages;
mod rows;

pub use pages::{Chunk, Index, read_chunk, read_services};
pub use rows::{Gathered, Rows};

use super::entry::Loc;
use crate::dashboard::model::Nanos;

/// Where a log lies: its part, and which of the part's logs it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub loc: Loc,
    pub number: u32,
}

/// A log as the index knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// When it happened, or else was observed, or else was received.
    pub time: Nanos,
    pub place: Place,
    /// OTLP's number, 0 to 24.
    pub severity: u8,
    /// Who wrote it, as a number of its tail or run.
    pub service: u32,
}
