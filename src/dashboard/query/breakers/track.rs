//! The states of instances over time, out of samples: each moment that something was exported at is settled as a whole.

use std::collections::HashMap;

use super::order::Moves;
use super::signal::{self, Says, Signal};
use super::{Key, Known, Outcome, State, Stretch};
use crate::dashboard::model::{Nanos, Sample};
use crate::dashboard::query::growth::{self, Growth, ONE_EXPORT};
use crate::dashboard::store::Series;

const S: Nanos = 1_000_000_000;
/// Export intervals without a word after which the state is unknown.
const SILENT: u64 = 3;
/// Assumed of who was heard once: what SDKs export at if they are not told.
const USUAL_INTERVAL: Nanos = 60 * S;
/// The shortest interval believed: a process that exports at its end does so soon after the time before.
const SHORTEST: Nanos = S;
/// Samples thin out as they grow old (decision 14): then so much lies between two of them at least.
const THINNED: [(Nanos, Nanos); 3] =
    [(3_600 * S, 10 * S), (24 * 3_600 * S, 60 * S), (7 * 24 * 3_600 * S, 600 * S)];
/// Stretches kept of one instance; the oldest go first.
const MOST_STRETCHES: usize = 1_000;
/// Instances kept at once.
pub const MOST_TRACKS: usize = 10_000;

/// An instance of a breaker.
pub type Place = (Key, String);

/// What was learned of one instance so far, in order of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    pub peer: Option<String>,
    pub known: Known,
    /// Without what was heard last: that stands until it is known how long.
    pub stretches: Vec<Stretch>,
    /// When it was heard first and last.
    pub first: Nanos,
    pub heard: Nanos,
    /// Between two exports, as far as was seen.
    pub interval: Nanos,
    /// The state that the last export told, and since when.
    state: State,
    since: Nanos,
    /// The newest value of each series that names a state.
    levels: Vec<(u64, State, f64, Nanos)>,
}

/// What one sample adds.
#[derive(Debug, Clone, Copy)]
enum Told {
    Level(u64, State, f64),
    Flag(u64, State, f64),
    Moved(State, f64),
    There,
}

/// One point of the series of that number.
#[derive(Debug, Clone, Copy)]
struct Point {
    time: Nanos,
    series: usize,
    told: Told,
}

/// The points of one instance in a part of time.
#[derive(Default)]
struct Points {
    peer: Option<String>,
    list: Vec<Point>,
}

/// Tracks by instance.
pub type Tracks = HashMap<Place, Track>;

/// A series that tells of a breaker, as it was found in a part of time.
#[derive(Debug)]
pub struct Heard {
    pub series: Series,
    pub signal: Signal,
    /// What the series grew by; of a level nothing.
    pub grown: Vec<Growth>,
}

/// What series of a part of time that begins at `from` tell of breakers.
pub fn hear(found: Vec<Series>, from: Nanos) -> Vec<Heard> {
    let grown = growth::grown(&found, from);
    let all = found.into_iter().zip(grown);
    all.filter_map(|(series, grown)| Some(Heard { signal: signal::of(&series.identity)?, series, grown }))
        .collect()
}

/// Goes on with tracks: takes in what was heard in a part of time, after all that was taken in before.
pub fn go_on(tracks: &mut Tracks, heard: &[Heard], now: Nanos) {
    let mut points: HashMap<(&Key, &str), Points> = HashMap::new();
    for (number, Heard { series, signal, grown }) in heard.iter().enumerate() {
        let Signal { key, instance, peer, says, slot } = signal;
        let place = points.entry((key, instance)).or_default();
        place.peer = place.peer.take().or_else(|| peer.clone());
        let point = |time, told| Point { time, series: number, told };
        let there = series.samples.iter().map(|sample| point(sample.time, Told::There));
        match *says {
            Says::Is(state) => {
                levels(&mut place.list, series, number, |value| Told::Level(*slot, state, value));
            }
            Says::Flag(state) => {
                levels(&mut place.list, series, number, |value| Told::Flag(*slot, state, value));
            }
            Says::Moved(state) => {
                place.list.extend(there);
                let moved = grown.iter().filter(|growth| growth.value > 0.0);
                place.list.extend(moved.map(|growth| point(growth.time, Told::Moved(state, growth.value))));
            }
            Says::Calls(_) | Says::FailureRate(_) | Says::There => place.list.extend(there),
        }
    }
    for ((key, instance), mut points) in points {
        let place = (key.clone(), instance.to_owned());
        points.list.sort_by_key(|point| point.time);
        if let Some(track) = tracks.get_mut(&place) {
            track.take(&points, now);
        } else if tracks.len() < MOST_TRACKS
            && let Some(mut track) = Track::begin(&points)
        {
            track.take(&points, now);
            tracks.insert(place, track);
        }
    }
}

/// Adds the samples of a level. Of several that became one, a 1 among them is not lost.
fn levels(points: &mut Vec<Point>, found: &Series, series: usize, told: impl Fn(f64) -> Told) {
    for sample in found.before.iter().chain(&found.samples) {
        if sample.value < 0.5 && sample.max.is_some_and(|max| max >= 0.5) {
            let time = sample.time.saturating_sub(ONE_EXPORT * 2);
            points.push(Point { time, series, told: told(1.0) });
        }
        points.push(Point { time: sample.time, series, told: told(sample.value) });
    }
}

/// Splits points into exports: each ends before a series comes again, and after [`ONE_EXPORT`] at the latest.
fn exports(points: &[Point]) -> impl Iterator<Item = &[Point]> {
    let mut rest = points;
    std::iter::from_fn(move || {
        let begin = rest.first()?.time;
        let mut told: Vec<(usize, Nanos)> = Vec::new();
        let again = |point: &Point| {
            let before = told.iter().find(|(series, _)| *series == point.series).map(|(_, time)| *time);
            if before.is_none() {
                told.push((point.series, point.time));
            }
            point.time > begin.saturating_add(ONE_EXPORT) || before.is_some_and(|time| time < point.time)
        };
        let end = rest.iter().position(again).unwrap_or(rest.len());
        let (export, later) = rest.split_at(end);
        rest = later;
        Some(export)
    })
}

impl Track {
    fn begin(points: &Points) -> Option<Self> {
        let first = points.list.first()?.time;
        Some(Self {
            peer: None,
            known: Known::NeverMoved,
            stretches: Vec::new(),
            first,
            heard: first.saturating_sub(1),
            interval: 0,
            state: State::Assumed,
            since: first,
            levels: Vec::new(),
        })
    }

    fn take(&mut self, points: &Points, now: Nanos) {
        self.peer = points.peer.clone().or(self.peer.take());
        let fresh = &points.list[points.list.partition_point(|point| point.time <= self.heard)..];
        self.interval = interval(fresh, self.interval);
        for export in exports(fresh) {
            self.settle(export, now);
        }
        let over = self.stretches.len().saturating_sub(MOST_STRETCHES);
        self.stretches.drain(..over);
    }

    /// Takes in what one export tells.
    fn settle(&mut self, export: &[Point], now: Nanos) {
        let (time, end) = (export[0].time, export[export.len() - 1].time);
        let mut moves = Moves::default();
        for Point { time: at, told, .. } in export {
            match *told {
                Told::Level(slot, state, value) => self.level(Known::Gauge, slot, state, value, *at),
                Told::Flag(slot, state, value) => {
                    let known = if state == State::Open { Known::Gauge } else { Known::Limit };
                    self.level(known, slot, state, value, *at);
                }
                Told::Moved(state, count) => moves.add(state, count),
                Told::There => {}
            }
        }
        if self.known == Known::NeverMoved && !moves.is_empty() {
            self.known = Known::Counter;
        }
        let state = match self.known {
            Known::Gauge | Known::Limit => self.leveled(end),
            _ if moves.is_empty() => self.state,
            _ => moves.settle(self.state),
        };
        if time.saturating_sub(self.heard) > self.tolerance(time, now) {
            self.close(self.heard.saturating_add(self.lasts()));
            self.stretches.push(Stretch { from: self.since, to: time, state: State::Unknown });
            self.since = time;
            self.state = state;
        } else if state != self.state {
            self.close(time);
            self.state = state;
        }
        self.heard = end.max(self.heard);
    }

    /// Ends the state that stood until now.
    fn close(&mut self, at: Nanos) {
        if at > self.since {
            self.stretches.push(Stretch { from: self.since, to: at, state: self.state });
        }
        self.since = at;
    }

    fn level(&mut self, known: Known, slot: u64, state: State, value: f64, at: Nanos) {
        self.known = self.known.min(known);
        match self.levels.iter_mut().find(|(known, ..)| *known == slot) {
            Some(level) => (level.2, level.3) = (value, at),
            None => self.levels.push((slot, state, value, at)),
        }
    }

    /// What the levels say together: of a set the one that is 1, the newest of them; of flags the gravest that is on.
    fn leveled(&self, now: Nanos) -> State {
        let lately = now.saturating_sub(self.interval.max(S).saturating_mul(SILENT));
        let on = |level: &&(u64, State, f64, Nanos)| level.2 >= 0.5 && level.3 >= lately;
        // A set has its own series for closed; flags are all off then.
        let is_set = self.levels.iter().any(|level| level.1 == State::Closed);
        let on = self.levels.iter().filter(on);
        if is_set {
            // Of two that are 1, as between two exports, the later one.
            on.max_by_key(|level| level.3 / ONE_EXPORT).map_or(State::Unknown, |level| level.1)
        } else {
            let one = on.map(|level| level.1).min();
            let named =
                |level: &(u64, State, f64, Nanos)| matches!(level.1, State::HalfOpen | State::Disabled);
            // A set whose part for closed is not sent is not closed because the others are 0.
            let off = if self.levels.iter().any(named) { State::Unknown } else { State::Closed };
            one.unwrap_or(off)
        }
    }

    /// How long what an export tells is taken to last.
    fn lasts(&self) -> Nanos {
        if self.interval == 0 { USUAL_INTERVAL } else { self.interval.min(USUAL_INTERVAL) }
    }

    /// How long nothing may be heard before the state is unknown.
    fn tolerance(&self, time: Nanos, now: Nanos) -> Nanos {
        let age = now.saturating_sub(time);
        let thinned = THINNED.iter().rev().find(|(from, _)| age >= *from).map_or(0, |(_, width)| *width);
        let interval = if self.interval == 0 { USUAL_INTERVAL } else { self.interval.max(SHORTEST) };
        interval.max(thinned).saturating_mul(SILENT)
    }

    /// The state at `now`, since when, and all states of `from..now`.
    pub fn until(&self, from: Nanos, now: Nanos, real_now: Nanos) -> (State, Nanos, Vec<Stretch>) {
        let mut strip: Vec<Stretch> = self.stretches.iter().filter(|one| one.to > from).copied().collect();
        let silent = now.saturating_sub(self.heard) > self.tolerance(self.heard, real_now);
        let (state, since) = if silent {
            let quiet = self.heard.saturating_add(self.lasts()).min(now);
            strip.push(Stretch { from: self.since, to: quiet, state: self.state });
            strip.push(Stretch { from: quiet, to: now, state: State::Unknown });
            (State::Unknown, self.heard)
        } else {
            strip.push(Stretch { from: self.since, to: now.max(self.since), state: self.state });
            (self.state, self.since)
        };
        (state, since, join(strip, from, now))
    }

    /// A copy without what ended before `at`.
    pub fn since(&self, at: Nanos) -> Self {
        let first = self.stretches.partition_point(|one| one.to <= at);
        Self {
            peer: self.peer.clone(),
            stretches: self.stretches[first..].to_vec(),
            levels: self.levels.clone(),
            ..*self
        }
    }

    /// The same, as it stood at `to`; `None` where it was not heard by then. A silence that began before `to` is known to be one
    /// at once.
    pub fn between(&self, from: Nanos, to: Nanos) -> Option<Self> {
        let mut cut = self.since(from);
        if to < cut.since {
            let last = cut.stretches.partition_point(|one| one.from <= to).checked_sub(1);
            let stood = last.map(|last| (last, cut.stretches[last]));
            match stood {
                Some((last, Stretch { from: since, state, .. })) => {
                    cut.stretches.truncate(last);
                    (cut.state, cut.since) = (state, since);
                    if state == State::Unknown {
                        cut.heard = since;
                    }
                }
                // It changed so often since then that this is forgotten.
                None => {
                    cut.stretches.clear();
                    (cut.state, cut.since) = (State::Unknown, from.max(cut.first));
                }
            }
        }
        cut.heard = cut.heard.min(to);
        (cut.first <= to).then_some(cut)
    }

    /// Lets go of what ended before `at`.
    pub fn forget(&mut self, at: Nanos) {
        self.stretches.retain(|one| one.to > at);
    }
}

/// Stretches of one strip cut to a range, neighbours of one state joined.
pub fn join(strip: Vec<Stretch>, from: Nanos, to: Nanos) -> Vec<Stretch> {
    let mut joined: Vec<Stretch> = Vec::with_capacity(strip.len());
    for one in strip {
        let one = Stretch { from: one.from.clamp(from, to), to: one.to.clamp(from, to), ..one };
        match joined.last_mut() {
            Some(last) if last.state == one.state && last.to >= one.from => last.to = one.to,
            _ if one.to > one.from => joined.push(one),
            _ => {}
        }
    }
    joined
}

/// The usual time between two exports.
fn interval(points: &[Point], before: Nanos) -> Nanos {
    let exports: Vec<Nanos> = exports(points).map(|export| export[0].time).collect();
    let mut between: Vec<Nanos> = exports.windows(2).map(|pair| pair[1] - pair[0]).collect();
    between.sort_unstable();
    // Two exports may lie apart for any reason; what was seen before weighs more than that.
    match (between.len(), before) {
        (0, _) => before,
        (1 | 2, 0) => between[0],
        (1 | 2, _) => before,
        (many, _) => between[many / 2],
    }
}

/// Calls of instances of a breaker, by what became of them, over some time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Calls {
    /// How many; `None` where it is not told.
    pub succeeded: Option<f64>,
    pub failed: Option<f64>,
    pub rejected: Option<f64>,
    /// Sum of the newest failure rates, 0 to 1, and how many told one.
    rates: (f64, u32),
}

impl Calls {
    /// Share of the tried calls that failed, 0 to 1.
    pub fn failing(&self) -> Option<f64> {
        let tried = self.failed.unwrap_or(0.0) + self.succeeded.unwrap_or(0.0);
        let told = self.failed.is_some() || self.succeeded.is_some();
        let rate = (self.rates.1 > 0).then(|| self.rates.0 / f64::from(self.rates.1));
        (told && tried > 0.0).then(|| self.failed.unwrap_or(0.0) / tried).or(rate)
    }
}

/// What became of calls from `since` on, by breaker.
pub fn calls(heard: &[Heard], since: Nanos) -> HashMap<Key, Calls> {
    let mut all: HashMap<Key, Calls> = HashMap::new();
    for Heard { series, signal, grown } in heard {
        match signal.says {
            Says::Calls(outcome) => {
                let calls = all.entry(signal.key.clone()).or_default();
                let sum = match outcome {
                    Outcome::Succeeded => &mut calls.succeeded,
                    Outcome::Failed => &mut calls.failed,
                    Outcome::Rejected => &mut calls.rejected,
                };
                let lately = grown.iter().filter(|one| one.time >= since).map(|one| one.value).sum::<f64>();
                *sum = Some(sum.unwrap_or(0.0) + lately);
            }
            Says::FailureRate(whole) => {
                let newest: Option<&Sample> = series.samples.last().filter(|sample| sample.time >= since);
                if let Some(sample) = newest.filter(|sample| sample.value >= 0.0) {
                    let rates = &mut all.entry(signal.key.clone()).or_default().rates;
                    *rates = (rates.0 + sample.value / f64::from(whole), rates.1 + 1);
                }
            }
            _ => {}
        }
    }
    all
}
