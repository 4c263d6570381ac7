//! Instances put together into breakers, whatever they are known from.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::evidence::{Change, Rejection};
use super::track::{Calls, Track, Tracks, join};
use super::{Breaker, Instance, Key, Known, Library, State, Stretch};
use crate::dashboard::model::Nanos;
use crate::dashboard::store::{Call, Node};

/// A change that a span names and one that an export tells of are the same within this.
const SAME: Nanos = 5_000_000_000;

/// The time that is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Range {
    /// From when on anything was read.
    pub base: Nanos,
    pub from: Nanos,
    pub to: Nanos,
    /// When it is looked at.
    pub now: Nanos,
}

/// Everything that is known before it is put together.
#[derive(Debug, Default)]
pub struct Seen {
    pub tracks: Tracks,
    /// By time.
    pub changes: Vec<Change>,
    pub rejections: Vec<Rejection>,
    /// Of the last minutes.
    pub calls: HashMap<Key, Calls>,
    /// What services call, by service.
    pub callees: HashMap<String, HashSet<String>>,
}

/// What each service calls: services, databases, what is outside.
pub fn callees(calls: &[Call]) -> HashMap<String, HashSet<String>> {
    let mut all: HashMap<String, HashSet<String>> = HashMap::new();
    for call in calls {
        let Node::Service(caller) = &call.caller else { continue };
        let name = match &call.callee {
            Node::Service(name) | Node::Outside(name) | Node::Database { name, .. } => name,
            _ => continue,
        };
        all.entry(caller.clone()).or_default().insert(name.clone());
    }
    all
}

#[derive(Default)]
struct Parts<'a> {
    peer: Option<String>,
    instances: Vec<Instance>,
    /// Instances by gauge or counter, as far as there are any.
    tracks: HashMap<&'a str, &'a Track>,
    changes: Vec<&'a Change>,
    rejection: Option<&'a Rejection>,
}

/// The breakers of a time, the gravest first. Calls were counted over so many seconds.
pub fn gather(seen: &Seen, range: Range, seconds: f64) -> Vec<Breaker> {
    let mut all: BTreeMap<Key, Parts<'_>> = BTreeMap::new();
    for ((key, instance), track) in &seen.tracks {
        let parts = all.entry(key.clone()).or_default();
        parts.peer = parts.peer.take().or_else(|| track.peer.clone());
        parts.tracks.insert(instance, track);
    }
    let mut by_name: HashMap<(&str, &str), Key> = HashMap::new();
    for key in seen.tracks.keys().map(|(key, _)| key) {
        by_name.entry((&key.service, &key.name)).or_insert_with(|| key.clone());
    }
    for change in &seen.changes {
        let known = by_name.entry((&change.service, &change.name)).or_insert_with(|| Key {
            service: change.service.clone(),
            name: change.name.clone(),
            library: Library::Convention,
        });
        let parts = all.entry(known.clone()).or_default();
        parts.peer = change.peer.clone().or(parts.peer.take());
        parts.changes.push(change);
    }
    for rejection in &seen.rejections {
        let key = key_of(rejection, &all);
        all.entry(key).or_default().rejection = Some(rejection);
    }
    let mut breakers: Vec<Breaker> = all
        .into_iter()
        .map(|(key, mut parts)| {
            parts.fill(range);
            let calls = seen.calls.get(&key);
            let named = seen.callees.get(&key.service).is_some_and(|names| names.contains(&key.name));
            let peer = parts.peer.take().or_else(|| named.then(|| key.name.clone()));
            let mut breaker = together(key, parts, range);
            breaker.peer = peer;
            breaker.failing = calls.and_then(Calls::failing);
            breaker.rejected = calls.and_then(|calls| calls.rejected).map(|count| count / seconds);
            breaker
        })
        .collect();
    breakers.sort_by(|a, b| {
        let rejected = |breaker: &Breaker| breaker.rejected.unwrap_or(0.0);
        (a.state, a.rejection.is_none())
            .cmp(&(b.state, b.rejection.is_none()))
            .then_with(|| rejected(b).total_cmp(&rejected(a)))
            .then_with(|| a.key.cmp(&b.key))
    });
    breakers
}

/// The breaker that turned a call away: the one it names, else the only one that it can be.
fn key_of(rejection: &Rejection, all: &BTreeMap<Key, Parts<'_>>) -> Key {
    let of_service = all.keys().filter(|key| key.service == rejection.service);
    let fits = |key: &&Key| match &rejection.name {
        Some(name) => key.name == *name,
        None => key.library == rejection.library,
    };
    let mut found = of_service.filter(fits);
    match (found.next(), found.next(), &rejection.name) {
        (Some(only), None, _) | (Some(only), _, Some(_)) => only.clone(),
        _ => Key {
            service: rejection.service.clone(),
            name: rejection.name.clone().unwrap_or_default(),
            library: rejection.library,
        },
    }
}

impl Parts<'_> {
    /// Makes the instances: a gauge has the last word, then changes that were named, then counters.
    fn fill(&mut self, range: Range) {
        let mut by_instance: BTreeMap<&str, Vec<&Change>> = BTreeMap::new();
        for change in &self.changes {
            by_instance.entry(&change.instance).or_default().push(change);
        }
        // Micrometer's registry names no instance where the spans of the same process do, and a span may name another
        // than metrics: such changes are no instances of their own, they say when.
        let strange: Vec<&Change> = by_instance
            .iter()
            .filter(|(name, _)| !self.tracks.contains_key(*name))
            .flat_map(|(_, changes)| changes.iter().copied())
            .collect();
        if self.tracks.is_empty() {
            let told = by_instance.iter();
            self.instances.extend(told.map(|(name, changes)| by_changes(name, changes, 0, range)));
        }
        for (name, track) in &self.tracks {
            let changes = by_instance.get(*name).unwrap_or(&strange);
            let own = by_instance.contains_key(*name) || self.tracks.len() == 1;
            self.instances.push(if own && track.known > Known::Log && !changes.is_empty() {
                by_changes(name, changes, track.heard, range)
            } else {
                by_track(name, track, changes, range)
            });
        }
        self.instances.sort_by(|a, b| (a.state, &a.name).cmp(&(b.state, &b.name)));
    }
}

fn by_track(name: &str, track: &Track, changes: &[&Change], range: Range) -> Instance {
    let (state, mut since, mut strip) = track.until(range.from, range.to, range.now);
    // A span or log says to the millisecond what an export told later.
    let late = track.interval.max(SAME) + SAME;
    let exact = changes.iter().rev().find(|change| {
        change.to == state
            && change.time <= since.saturating_add(SAME)
            && since.saturating_sub(change.time) <= late
    });
    if let Some(change) = exact {
        since = change.time;
        if let [.., before, last] = &mut strip[..]
            && before.from < since
        {
            (before.to, last.from) = (since, since);
        }
    }
    Instance {
        name: name.to_owned(),
        state,
        since: Some(since),
        known: track.known,
        heard: track.heard,
        strip,
    }
}

fn by_changes(name: &str, changes: &[&Change], heard: Nanos, range: Range) -> Instance {
    let Range { from, to, .. } = range;
    let (first, last) = (changes[0], changes[changes.len() - 1]);
    let mut strip = Vec::with_capacity(changes.len() + 1);
    strip.push(Stretch { from, to: first.time, state: first.from.unwrap_or(State::Unknown) });
    for (change, next) in changes.iter().zip(changes.iter().skip(1)) {
        strip.push(Stretch { from: change.time, to: next.time, state: change.to });
    }
    strip.push(Stretch { from: last.time, to, state: last.to });
    Instance {
        name: name.to_owned(),
        state: last.to,
        since: Some(last.time),
        known: if last.by_log { Known::Log } else { Known::Event },
        heard: heard.max(last.time),
        strip: join(strip, from, to),
    }
}

fn together(key: Key, parts: Parts<'_>, range: Range) -> Breaker {
    let Range { base, from, to, .. } = range;
    let Parts { instances, rejection, .. } = parts;
    // A process that is gone says nothing of those that are there.
    let heard = instances.iter().filter(|one| one.state != State::Unknown);
    let state = heard.clone().map(|one| one.state).min().unwrap_or(State::Unknown);
    let here = heard.clone().filter(|one| one.state == state).count();
    let strip = gravest(&instances, from, to);
    let begin = strip.last().filter(|last| last.state == state).map(|last| last.from);
    let of_state = instances.iter().filter(|one| one.state == state);
    let begin = match begin {
        Some(begin) if begin > from => Some(begin),
        _ => of_state.clone().filter_map(|one| one.since).min(),
    };
    let known = of_state.map(|one| one.known).min().unwrap_or(Known::Rejections);
    let since = match state {
        State::Unknown => instances.iter().map(|one| one.heard).max(),
        State::Assumed => None,
        _ => begin,
    };
    Breaker {
        key,
        peer: None,
        state,
        since,
        older: state != State::Unknown && since.is_some_and(|since| since <= base.saturating_add(SAME)),
        known,
        here,
        heard: heard.count(),
        failing: None,
        rejected: None,
        rejection: rejection.cloned(),
        strip,
        instances,
    }
}

/// At each moment the gravest of what instances are in; unknown only where all are.
fn gravest(instances: &[Instance], from: Nanos, to: Nanos) -> Vec<Stretch> {
    if let [only] = instances {
        return only.strip.clone();
    }
    let mut ends: Vec<Nanos> =
        instances.iter().flat_map(|one| &one.strip).flat_map(|one| [one.from, one.to]).collect();
    ends.sort_unstable();
    ends.dedup();
    let mut at = vec![0; instances.len()];
    let mut strip = Vec::with_capacity(ends.len());
    for pair in ends.windows(2) {
        let mut state = None;
        for (one, at) in instances.iter().zip(&mut at) {
            while one.strip.get(*at).is_some_and(|stretch| stretch.to <= pair[0]) {
                *at += 1;
            }
            let here = one.strip.get(*at).filter(|stretch| stretch.from <= pair[0]);
            state = here.map(|stretch| stretch.state).into_iter().chain(state).min();
        }
        if let Some(state) = state {
            strip.push(Stretch { from: pair[0], to: pair[1], state });
        }
    }
    join(strip, from, to)
}
