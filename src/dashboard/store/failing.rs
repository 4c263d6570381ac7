//! Which services traces break in, minute by minute, so that the Overview reads no traces for it.
//!
//! Runs keep it ready; for the tail it is counted when it is asked for. A trace counts in the minute of its start.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::entry::{Entry, put_text, take_text};
use crate::dashboard::model::proto::{WireError, put_varint, take_bytes, take_varint};
use crate::dashboard::model::{Nanos, TraceId};

/// Length of a step.
pub const MINUTE: Nanos = 60 * 1_000_000_000;
/// Reasons kept apart for a service and minute; further ones are counted without words.
const MAX_REASONS: usize = 8;
/// Services kept for a minute; bounds what one sender with made-up names can cost.
const MAX_SERVICES: usize = 1_000;

/// A service that traces break in, or whose calls are refused.
#[derive(Debug, Clone, PartialEq)]
pub struct Failing {
    pub service: String,
    /// True for traces in which nothing failed but calls that this service made and others refused.
    pub refused: bool,
    /// Traces that broke there.
    pub broke: u64,
    /// Traces with a span of the service.
    pub touched: u64,
    /// When the oldest of them broke.
    pub since: Nanos,
    /// In no order; at least one.
    pub reasons: Vec<Reason>,
}

/// What broke, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Reason {
    /// Name of the span that failed.
    pub operation: String,
    /// As [`Failure::why`](crate::dashboard::model::Failure).
    pub why: String,
    pub traces: u64,
    /// The newest of them and when it broke.
    pub newest: TraceId,
    pub time: Nanos,
}

/// Counts of a run, minute by minute since the epoch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Minutes {
    names: Vec<String>,
    minutes: BTreeMap<u64, Minute>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Minute {
    /// Traces by the index of a service that they touched.
    touched: BTreeMap<u32, u64>,
    failing: Vec<Failing>,
}

impl Minutes {
    /// Counts a run's entries.
    pub fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Self {
        let (mut minutes, mut indexes) = (Self::default(), HashMap::<&str, u32>::new());
        for entry in entries.filter(|entry| entry.is_trace()) {
            let minute = minutes.minutes.entry(entry.summary.start / MINUTE).or_default();
            for share in &entry.summary.services {
                let next = indexes.len() as u32;
                let index = *indexes.entry(&share.name).or_insert(next);
                if index == next {
                    minutes.names.push(share.name.to_string());
                }
                if minute.touched.len() < MAX_SERVICES || minute.touched.contains_key(&index) {
                    *minute.touched.entry(index).or_default() += 1;
                }
            }
            count(&mut minute.failing, entry);
        }
        minutes
    }

    /// Appends the encoding.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.names.len() as u64);
        self.names.iter().for_each(|name| put_text(out, name));
        put_varint(out, self.minutes.len() as u64);
        for (number, minute) in &self.minutes {
            put_varint(out, *number);
            put_varint(out, minute.touched.len() as u64);
            for (service, count) in &minute.touched {
                put_varint(out, u64::from(*service));
                put_varint(out, *count);
            }
            put_varint(out, minute.failing.len() as u64);
            minute.failing.iter().for_each(|failing| put_failing(out, failing));
        }
    }

    /// Reads what [`Minutes::put`] wrote.
    pub fn take(bytes: &mut &[u8]) -> Result<Self, WireError> {
        let names = (0..take_varint(bytes)?).map(|_| take_text(bytes)).collect::<Result<_, _>>()?;
        let mut minutes = Self { names, ..Self::default() };
        for _ in 0..take_varint(bytes)? {
            let (number, mut minute) = (take_varint(bytes)?, Minute::default());
            for _ in 0..take_varint(bytes)? {
                let service = u32::try_from(take_varint(bytes)?).map_err(|_| WireError::Varint)?;
                minute.touched.insert(service, take_varint(bytes)?);
            }
            for _ in 0..take_varint(bytes)? {
                minute.failing.push(take_failing(bytes)?);
            }
            minutes.minutes.insert(number, minute);
        }
        Ok(minutes)
    }

    fn within(&self, from: Nanos, to: Nanos) -> impl Iterator<Item = &Minute> {
        let range = from / MINUTE..(to / MINUTE + 1).max(from / MINUTE);
        self.minutes.range(range).map(|(_, minute)| minute)
    }
}

fn put_failing(out: &mut Vec<u8>, failing: &Failing) {
    put_text(out, &failing.service);
    for number in [u64::from(failing.refused), failing.broke, failing.since, failing.reasons.len() as u64] {
        put_varint(out, number);
    }
    for reason in &failing.reasons {
        put_text(out, &reason.operation);
        put_text(out, &reason.why);
        put_varint(out, reason.traces);
        out.extend_from_slice(&reason.newest.0);
        put_varint(out, reason.time);
    }
}

fn take_failing(bytes: &mut &[u8]) -> Result<Failing, WireError> {
    let mut failing = Failing {
        service: take_text(bytes)?,
        refused: take_varint(bytes)? != 0,
        broke: take_varint(bytes)?,
        since: take_varint(bytes)?,
        touched: 0,
        reasons: Vec::new(),
    };
    for _ in 0..take_varint(bytes)? {
        failing.reasons.push(Reason {
            operation: take_text(bytes)?,
            why: take_text(bytes)?,
            traces: take_varint(bytes)?,
            newest: TraceId(take_bytes(bytes, 16)?.try_into().expect("sixteen bytes")),
            time: take_varint(bytes)?,
        });
    }
    Ok(failing)
}

/// Counts an entry where it broke.
fn count(list: &mut Vec<Failing>, entry: &Entry) {
    let Some(failure) = &entry.summary.failure else { return };
    let reason = Reason {
        operation: failure.span_name.clone(),
        why: failure.why.clone(),
        traces: 1,
        newest: entry.summary.trace_id,
        time: failure.time,
    };
    add(list, &failure.service, !entry.summary.failed(), (1, failure.time), [reason]);
}

/// Adds so many traces, the oldest of which broke `since`, with their reasons.
fn add(
    list: &mut Vec<Failing>,
    service: &str,
    refused: bool,
    (broke, since): (u64, Nanos),
    reasons: impl IntoIterator<Item = Reason>,
) {
    let known = list.iter().position(|one| one.refused == refused && one.service == service);
    let index = known.unwrap_or(list.len());
    if known.is_none() {
        if list.len() >= MAX_SERVICES {
            return;
        }
        let service = service.to_owned();
        list.push(Failing { service, refused, broke: 0, touched: 0, since, reasons: Vec::new() });
    }
    let failing = &mut list[index];
    failing.broke += broke;
    failing.since = failing.since.min(since);
    for reason in reasons {
        let same = |one: &&mut Reason| one.operation == reason.operation && one.why == reason.why;
        let room = failing.reasons.len() < MAX_REASONS;
        match failing.reasons.iter_mut().find(same) {
            Some(one) => {
                one.traces += reason.traces;
                if reason.time > one.time {
                    (one.newest, one.time) = (reason.newest, reason.time);
                }
            }
            None if room => failing.reasons.push(reason),
            None => {}
        }
    }
}

/// Puts together what the tail and the runs know of `from..=to`; `from` goes down to the full minute. The tail's
/// entries are walked twice, and nothing of them is counted but what some trace broke in.
pub fn gather<'a, T: Iterator<Item = &'a Entry>>(
    tail: impl Fn(Nanos, Nanos) -> T,
    runs: &[&Minutes],
    from: Nanos,
    to: Nanos,
) -> Vec<Failing> {
    let from = from - from % MINUTE;
    let mut list = Vec::new();
    tail(from, to).filter(|entry| entry.is_trace()).for_each(|entry| count(&mut list, entry));
    for one in runs.iter().flat_map(|run| run.within(from, to)).flat_map(|minute| &minute.failing) {
        add(&mut list, &one.service, one.refused, (one.broke, one.since), one.reasons.iter().cloned());
    }
    let services: BTreeSet<String> = list.iter().map(|one| one.service.clone()).collect();
    let mut touched: Vec<(&str, u64)> = services.iter().map(|name| (name.as_str(), 0)).collect();
    if touched.is_empty() {
        return list;
    }
    for share in tail(from, to).filter(|entry| entry.is_trace()).flat_map(|entry| &entry.summary.services) {
        if let Ok(at) = touched.binary_search_by(|(name, _)| (*name).cmp(&*share.name)) {
            touched[at].1 += 1;
        }
    }
    for run in runs {
        let minutes: Vec<&Minute> = run.within(from, to).collect();
        for (name, count) in &mut touched {
            let Some(index) = run.names.iter().position(|known| known == name) else { continue };
            *count += minutes.iter().filter_map(|minute| minute.touched.get(&(index as u32))).sum::<u64>();
        }
    }
    for one in &mut list {
        one.touched = touched.iter().find(|(name, _)| *name == one.service).map_or(0, |(_, count)| *count);
    }
    list
}
