//! Reading breakers out of the store, the past of it once: states change seldom, samples come every few seconds, and a
//! page over a day would read millions of them anew for each look.
//!
//! What is older than some minutes is read once, a part of time after the other, and kept as stretches of states; what
//! is newer is read for each answer. When samples come late, as after a Collector's outage, all of it is read again.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::Mutex;

use super::evidence::{self, Change};
use super::gather::{self, Range, Seen};
use super::refused::Refused;
use super::track::{self, MOST_TRACKS, Tracks};
use super::{Breaker, signal};
use crate::dashboard::model::{Nanos, now};
use crate::dashboard::query::kept::{Answers, Period, RECENT};
use crate::dashboard::store::{Reader, Series, SeriesFilter, StoreError};

const S: Nanos = 1_000_000_000;
const H: Nanos = 3_600 * S;
/// The past goes on by so much at once: each time all series are looked through.
pub(super) const ADVANCE: Nanos = 60 * S;
/// Rates of calls are those of so long before the end.
pub const LATELY: Nanos = 300 * S;
/// So much before a range is looked at too.
const BEFORE: Nanos = H;
/// What is kept of the past at most.
const MOST_KEPT: Nanos = 8 * 24 * H;
/// What lies further back is read for a story alone, and not for all who come after.
const ASKED_ANEW: Nanos = 25 * H;
/// Who looks further back may do so again: the past begins at a multiple of this then.
const BACK: Nanos = 6 * H;
/// A part of time that is read at once, at least; and parts of one range at most.
const PART: Nanos = 2 * H;
const PARTS: u64 = 128;
/// Series of one answer.
const MOST_SERIES: usize = 4 * MOST_TRACKS;
/// Changes kept; the oldest go first.
const MOST_CHANGES: usize = 5_000;

/// The breakers of a time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Listed {
    pub from: Nanos,
    pub to: Nanos,
    /// The gravest first.
    pub breakers: Vec<Breaker>,
    /// Changes that spans and logs named, by time.
    pub changes: Vec<Change>,
    /// False where more was stored than is read.
    pub complete: bool,
}

/// What is known of the breakers of some services, without calls and rejections.
#[derive(Debug)]
pub struct Known {
    pub tracks: Tracks,
    /// By time.
    pub changes: Vec<Change>,
    pub range: Range,
}

/// What is kept for all who ask.
#[derive(Debug, Default)]
pub struct Breakers {
    lists: Answers<Listed>,
    past: Mutex<Past>,
    refused: Refused,
}

impl Breakers {
    /// The breakers of a time.
    pub async fn get(&self, reader: &dyn Reader, period: Period) -> Result<Arc<Listed>, StoreError> {
        self.lists.of(reader, period, |from, to| self.read(reader, from, to)).await
    }

    /// What is known of the breakers of some services in a time that may be long over. Of a longer time than is kept of
    /// the past, its end.
    pub async fn known(
        &self,
        reader: &dyn Reader,
        services: &HashSet<String>,
        from: Nanos,
        to: Nanos,
    ) -> Result<Known, StoreError> {
        let real_now = now();
        let to = to.min(real_now);
        let from = from.min(to).max(to.saturating_sub(MOST_KEPT));
        let base = from.saturating_sub(BEFORE);
        let settled = real_now.saturating_sub(RECENT).max(base);
        let (mut tracks, mut changes, until) = if base.saturating_add(ASKED_ANEW) >= real_now {
            let mut past = self.past.lock().await;
            let until = past.reaches(settled);
            past.cover(reader, base, until, real_now).await?;
            past.of_services(services, base)
        } else {
            let mut alone = Past::default();
            alone.cover(reader, base, to.saturating_add(1).min(settled), real_now).await?;
            alone.of_services(services, base)
        };
        if until <= to {
            let (found, _) = series(reader, until, to, Some(services)).await?;
            track::go_on(&mut tracks, &track::hear(found, until), real_now);
            let (mut new, _) = evidence::changes(reader, until, to, None).await?;
            new.retain(|change| services.contains(&change.service));
            add_changes(&mut changes, new);
        }
        Ok(Known { tracks, changes, range: Range { base, from, to, now: real_now } })
    }

    async fn read(&self, reader: &dyn Reader, from: Nanos, to: Nanos) -> Result<Listed, StoreError> {
        let real_now = now();
        // Nothing is known of what is to come, and nothing of it is kept.
        let to = to.min(real_now).max(from);
        // What changed shortly before the range is the state in which it begins.
        let base = from.saturating_sub(BEFORE);
        let (mut recent, mut is_over) = (to.saturating_sub(RECENT).max(base), false);
        let (tracks, changes, complete) = {
            let mut past = self.past.lock().await;
            if past.until <= to && base.saturating_add(MOST_KEPT) >= real_now {
                recent = past.reaches(recent);
                past.cover(reader, base, recent, real_now).await?;
                past.part_of(base, recent)
            } else if past.is_worth_it(reader.late_samples(), base, to, real_now) {
                let until = past.until;
                past.cover(reader, base, until, real_now).await?;
                is_over = true;
                past.part_of(base, to)
            } else {
                // Long ago: read for this answer alone.
                drop(past);
                let mut alone = Past::default();
                alone.cover(reader, base, recent, real_now).await?;
                alone.part_of(base, recent)
            }
        };
        let ends = Ends { base, from, recent, to, real_now, is_over };
        let rejections = self.refused.of(reader, (from, to), real_now).await?;
        let known = Seen { tracks, changes, rejections, ..Seen::default() };
        finish(reader, ends, known, complete).await
    }
}

/// The breakers of a time, all of it read for this answer.
pub async fn list(reader: &dyn Reader, from: Nanos, to: Nanos) -> Result<Listed, StoreError> {
    Breakers::default().read(reader, from, to).await
}

struct Ends {
    base: Nanos,
    from: Nanos,
    recent: Nanos,
    to: Nanos,
    real_now: Nanos,
    /// Tracks and changes tell what is recent too.
    is_over: bool,
}

/// Adds what is recent to what is known of the past.
async fn finish(
    reader: &dyn Reader,
    Ends { base, from, recent, to, real_now, is_over }: Ends,
    mut seen: Seen,
    complete: bool,
) -> Result<Listed, StoreError> {
    let (found, whole) = series(reader, recent, to, None).await?;
    let heard = track::hear(found, recent);
    let mut told = true;
    if !is_over {
        track::go_on(&mut seen.tracks, &heard, real_now);
        let (new, is_all) = evidence::changes(reader, recent, to, None).await?;
        add_changes(&mut seen.changes, new);
        told = is_all;
    }
    let lately = to.saturating_sub(LATELY).max(recent).max(from);
    seen.calls = track::calls(&heard, lately);
    if !seen.tracks.is_empty() || !seen.changes.is_empty() || !seen.rejections.is_empty() {
        seen.callees = gather::callees(&reader.calls(to.saturating_sub(H).max(from), to).await?);
    }
    let seconds = (to.saturating_sub(lately).max(S)) as f64 / 1e9;
    let range = gather::Range { base, from, to, now: real_now };
    let breakers = gather::gather(&seen, range, seconds);
    Ok(Listed { from, to, breakers, changes: seen.changes, complete: complete && whole && told })
}

fn add_changes(changes: &mut Vec<Change>, new: Vec<Change>) {
    for change in new {
        let same = |known: &Change| {
            (known.time, &known.service, &known.instance, &known.name, known.to, known.by_log)
                == (change.time, &change.service, &change.instance, &change.name, change.to, change.by_log)
        };
        if !changes.iter().rev().take_while(|known| known.time >= change.time).any(same) {
            changes.push(change);
        }
    }
    changes.sort_by_key(|change| change.time);
    let over = changes.len().saturating_sub(MOST_CHANGES);
    changes.drain(..over);
}

/// The series of metrics of breakers; of some services, or of all.
async fn series(
    reader: &dyn Reader,
    from: Nanos,
    to: Nanos,
    services: Option<&HashSet<String>>,
) -> Result<(Vec<Series>, bool), StoreError> {
    let filter = SeriesFilter {
        metrics: signal::metrics().collect(),
        services: services.cloned(),
        from,
        to,
        most: MOST_SERIES,
        ..SeriesFilter::default()
    };
    let found = reader.series(&filter).await?;
    let whole = found.is_whole();
    Ok((found.series, whole))
}

/// What was read once: `from..until`.
#[derive(Debug, Default)]
struct Past {
    from: Nanos,
    until: Nanos,
    /// As the reader counted them when this was begun.
    late: u64,
    tracks: Tracks,
    changes: Vec<Change>,
    incomplete: bool,
}

impl Past {
    /// Until when it is to be read, where `settled` is wanted: not yet further than it is if that is nearly there, nor less
    /// far, since somebody who came a moment later may have been faster.
    fn reaches(&self, settled: Nanos) -> Nanos {
        if self.until.saturating_add(ADVANCE) > settled { self.until } else { settled }
    }

    /// Reads what is missing of `from..until`.
    async fn cover(
        &mut self,
        reader: &dyn Reader,
        from: Nanos,
        until: Nanos,
        now: Nanos,
    ) -> Result<(), StoreError> {
        let late = reader.late_samples();
        let apart = from > self.until.saturating_add(PART);
        let further = self.from < self.until && from < self.from;
        if self.from == self.until || further || apart || late != self.late {
            let from = if further { from - from % BACK } else { from };
            *self = Self { from, until: from, late, ..Self::default() };
        }
        let begun = self.until;
        if begun >= until {
            return Ok(());
        }
        // Before anything goes on: what fails half-way is read again, and what is there already is not added twice.
        let (changes, whole) = evidence::changes(reader, begun, until - 1, None).await?;
        self.incomplete |= !whole;
        add_changes(&mut self.changes, changes);
        let part = PART.max((until - begun) / PARTS);
        while self.until < until {
            let to = self.until.saturating_add(part).min(until);
            let (found, whole) = series(reader, self.until, to - 1, None).await?;
            track::go_on(&mut self.tracks, &track::hear(found, self.until), now);
            self.incomplete |= !whole;
            self.until = to;
        }
        let oldest = now.saturating_sub(MOST_KEPT);
        if self.from < oldest {
            self.from = oldest.min(self.until);
            self.tracks.retain(|_, track| track.heard >= oldest);
            self.tracks.values_mut().for_each(|track| track.forget(oldest));
            self.changes.retain(|change| change.time >= oldest);
        }
        Ok(())
    }

    /// What of it matters to some services in a range that begins at `from`, and until when it was read.
    fn of_services(&self, services: &HashSet<String>, from: Nanos) -> (Tracks, Vec<Change>, Nanos) {
        let of_them = |key: &super::Key| services.contains(&key.service);
        let heard = self.tracks.iter().filter(|((key, _), track)| track.heard >= from && of_them(key));
        let tracks = heard.map(|(place, track)| (place.clone(), track.since(from))).collect();
        let changes = self.changes.iter().filter(|change| change.time >= from);
        let changes = changes.filter(|change| services.contains(&change.service)).cloned().collect();
        (tracks, changes, self.until)
    }

    /// Whether a range that is over is to be answered out of this: it has the range already, or reading on from there until it
    /// has costs about as much as the range alone would.
    fn is_worth_it(&self, late: u64, from: Nanos, to: Nanos, now: Nanos) -> bool {
        let is_there = self.late == late && self.from < self.until && self.from <= from;
        let read = self.until.saturating_sub(from - from % BACK);
        let is_near = read <= to.saturating_sub(from).saturating_mul(2).saturating_add(BACK);
        from.saturating_add(MOST_KEPT) >= now && self.until > to && (is_there || is_near)
    }

    /// What of it matters to a range, as it stood at its end.
    fn part_of(&self, from: Nanos, to: Nanos) -> (Tracks, Vec<Change>, bool) {
        let heard = self.tracks.iter().filter(|(_, track)| track.heard >= from);
        let tracks = heard.filter_map(|(place, track)| Some((place.clone(), track.between(from, to)?)));
        let tracks = tracks.filter(|(_, track)| track.heard >= from).collect();
        let changes = self.changes.iter().filter(|change| (from..=to).contains(&change.time));
        (tracks, changes.cloned().collect(), !self.incomplete)
    }
}
