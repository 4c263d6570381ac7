//! The rows that hold sealed samples: which tier, which window of time, which names.
//!
//! Every window of time lies in one tier, and the older it is the longer it is and the wider its steps: at most 360
//! samples of a series in a chunk. Windows nest, so that what is merged fills one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::StoreError;
use super::live::{Piece, encode};
use super::select::Names;
use crate::dashboard::model::Nanos;
use crate::dashboard::model::series::Sample;

/// Series of a chunk: what is decompressed to see one of them.
const PART: usize = 128;
const S: Nanos = 1_000_000_000;
const H: Nanos = 3_600 * S;

/// How samples of some age are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    pub number: u8,
    /// One sample a step of this width in ns; 0 is as sent.
    pub width: Nanos,
    /// Length of the window that a chunk covers.
    pub window: Nanos,
    /// A window comes into this tier when it ended so long ago.
    pub after: Nanos,
}

/// As sent, until the hour is over; then a sample each ten seconds for a day, each minute for a week, and each ten
/// minutes until it is removed. The first five minutes of an hour wait for what comes late of the one before.
pub const TIERS: [Tier; 4] = [
    Tier { number: 0, width: 0, window: H, after: 0 },
    Tier { number: 1, width: 10 * S, window: H, after: 300 * S },
    Tier { number: 2, width: 60 * S, window: 6 * H, after: 24 * H },
    Tier { number: 3, width: 600 * S, window: 48 * H, after: 7 * 24 * H },
];

impl Tier {
    /// The window that holds a time: its begin and its end, which is not in it.
    pub fn window_of(self, time: Nanos) -> (Nanos, Nanos) {
        let begin = time - time % self.window;
        (begin, begin.saturating_add(self.window))
    }

    /// The tier that a window of time belongs into, `begin` being its begin.
    pub fn due(begin: Nanos, now: Nanos) -> Self {
        let is_due = |tier: &&Tier| tier.window_of(begin).1.saturating_add(tier.after) <= now;
        *TIERS[1..].iter().rev().find(is_due).unwrap_or(&TIERS[0])
    }
}

/// A chunk that is to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct NewChunk {
    pub tier: u8,
    /// Its window; the end is not in it.
    pub begin: Nanos,
    pub end: Nanos,
    /// Names of the first and the last metric in it.
    pub first_name: Vec<u8>,
    pub last_name: Vec<u8>,
    pub data: Vec<u8>,
}

/// A chunk that is stored, without what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkInfo {
    pub id: u64,
    pub tier: u8,
    pub begin: Nanos,
    pub end: Nanos,
    pub bytes: u64,
}

/// Which chunks are read: those with samples in `begin..end` of metrics with some of these names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub begin: Nanos,
    pub end: Nanos,
    pub names: Vec<Names>,
}

impl Wanted {
    /// All that lies in a range of time.
    pub fn all(begin: Nanos, end: Nanos) -> Self {
        Self { begin, end, names: vec![(String::new(), vec![0xff])] }
    }
}

/// Chunks read at once at most, the newest first: some 60 MB of the largest.
pub const MAX_READ: usize = 1_024;

/// Pieces, in order of identity, as chunks of a tier, each in its window.
pub fn cut(pieces: &[Piece], tier: Tier) -> Result<Vec<NewChunk>, StoreError> {
    let mut windows: BTreeMap<Nanos, Vec<Piece>> = BTreeMap::new();
    for (identity, samples) in pieces {
        for inside in samples.chunk_by(|a, b| tier.window_of(a.time) == tier.window_of(b.time)) {
            let inside: &[Sample] = inside;
            let window = windows.entry(tier.window_of(inside[0].time).0).or_default();
            window.push((Arc::clone(identity), inside.to_vec()));
        }
    }
    let mut chunks = Vec::new();
    for (begin, pieces) in windows {
        for part in pieces.chunks(PART) {
            let name = |piece: Option<&Piece>| piece.map_or_else(Vec::new, |one| one.0.name.clone().into());
            chunks.push(NewChunk {
                tier: tier.number,
                begin,
                end: begin.saturating_add(tier.window),
                first_name: name(part.first()),
                last_name: name(part.last()),
                data: encode(part)?,
            });
        }
    }
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_nest_and_hold_no_more_than_they_should() {
        for pair in TIERS.windows(2) {
            assert_eq!(pair[1].window % pair[0].window, 0);
            assert!(pair[1].window / pair[1].width <= 360 && pair[1].after >= pair[0].after);
            assert_eq!(pair[1].width % pair[0].width.max(1), 0);
        }
    }

    #[test]
    fn a_window_grows_old_step_by_step() {
        let now = 30 * 48 * H;
        let tier = |begin: Nanos| Tier::due(begin, now).number;
        assert_eq!(tier(now), 0, "the hour that is under way");
        assert_eq!(tier(now - H), 0, "the hour before waits for what is late");
        assert_eq!(Tier::due(now - H, now + 301 * S).number, 1);
        assert_eq!(tier(now - 2 * H), 1);
        assert_eq!(tier(now - 24 * H), 1);
        assert_eq!(tier(now - 30 * H), 2);
        assert_eq!(tier(now - 7 * 24 * H), 2);
        assert_eq!(tier(now - 11 * 24 * H), 3);
        assert_eq!(tier(now + 48 * H), 0, "what lies ahead");
    }
}
