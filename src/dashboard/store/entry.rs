//! Entries: what the store knows of a trace without opening a block.
//!
//! A flush makes one entry for each trace that it brings something of; entries of one trace are merged in the
//! tail, and once more at read time where a trace reached into two runs. The encoding is part of the stored
//! format; [`VERSION`] stands before each list of entries.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::dashboard::model::correlation::Origin;
use crate::dashboard::model::proto::{WireError, put_varint, take_bytes, take_varint};
use crate::dashboard::model::{
    Correlation, Failure, Kind, Nanos, Root, ServiceShare, Settled, SpanId, TraceId, TraceSummary,
};

/// Version of the encoding below.
pub const VERSION: u8 = 1;

/// Where a part lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Loc {
    pub block: u64,
    pub offset: u32,
}

/// A trace, or a group of logs that belong to none (then the trace ID is zero).
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub summary: TraceSummary,
    /// True while no plausible time was among its spans, so that `summary.start` is when it was received.
    pub time_is_arrival: bool,
    pub locs: Vec<Loc>,
}

impl Default for Entry {
    fn default() -> Self {
        Self::blank(TraceId([0; 16]))
    }
}

impl Entry {
    /// An entry of nothing yet.
    pub fn blank(trace_id: TraceId) -> Self {
        let summary = TraceSummary {
            trace_id,
            start: 0,
            end: 0,
            spans: 0,
            errors: 0,
            refused: 0,
            logs: 0,
            root: None,
            services: Vec::new(),
            more_services: 0,
            correlations: Vec::new(),
            failure: None,
            settled: None,
        };
        Self { summary, time_is_arrival: true, locs: Vec::new() }
    }

    /// Whether it is a trace with spans: what lists show.
    pub fn is_trace(&self) -> bool {
        self.summary.spans > 0
    }

    /// Whether it is a group of logs without a trace.
    pub fn is_orphan_logs(&self) -> bool {
        self.summary.trace_id == TraceId([0; 16])
    }

    /// Whether it carries this correlation ID; `None` where it carries more IDs than an entry keeps.
    pub fn carries(&self, value: &str) -> Option<bool> {
        let known = &self.summary.correlations;
        if known.iter().any(|correlation| correlation.value == value) {
            return Some(true);
        }
        (known.len() < TraceSummary::MAX_CORRELATIONS).then_some(false)
    }

    /// What its time is worth: that of arrival least, that of logs less than that of spans.
    fn trust_in_time(&self) -> u8 {
        if self.time_is_arrival { 0 } else { 1 + u8::from(self.is_trace()) }
    }

    /// Takes in what another flush brought of the same trace.
    pub fn absorb(&mut self, other: Entry) {
        let by_trust = self.trust_in_time().cmp(&other.trust_in_time());
        let (mine, theirs) = (&mut self.summary, other.summary);
        match by_trust {
            Ordering::Less => (mine.start, mine.end) = (theirs.start, theirs.end),
            Ordering::Greater => {}
            Ordering::Equal => {
                mine.start = mine.start.min(theirs.start);
                mine.end = mine.end.max(theirs.end);
            }
        }
        self.time_is_arrival &= other.time_is_arrival;
        mine.spans = mine.spans.saturating_add(theirs.spans);
        mine.errors = mine.errors.saturating_add(theirs.errors);
        mine.refused = mine.refused.saturating_add(theirs.refused);
        mine.logs = mine.logs.saturating_add(theirs.logs);
        mine.root = better_root(mine.root.take(), theirs.root);
        for share in theirs.services {
            add_service(mine, &share.name, share.spans, share.errors);
        }
        mine.more_services = mine.more_services.saturating_add(theirs.more_services);
        for correlation in theirs.correlations {
            add_correlation(mine, correlation);
        }
        let rank = |failure: &Failure| (failure.refused, failure.time);
        mine.failure = match (mine.failure.take(), theirs.failure) {
            (Some(a), Some(b)) => Some(if rank(&b) < rank(&a) { b } else { a }),
            (a, b) => a.or(b),
        };
        mine.settled = later(mine.settled.take(), theirs.settled);
        self.locs.extend(other.locs);
    }
}

/// The span that stands for the trace: one without a parent before one with, an earlier before a later.
pub fn better_root(a: Option<Root>, b: Option<Root>) -> Option<Root> {
    match (a, b) {
        (Some(a), Some(b)) => {
            let rank = |root: &Root| (!root.parentless, root.start == 0, root.start);
            Some(if rank(&b) < rank(&a) { b } else { a })
        }
        (a, b) => a.or(b),
    }
}

/// The settlement that came last.
pub fn later(a: Option<Settled>, b: Option<Settled>) -> Option<Settled> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if b.time > a.time { b } else { a }),
        (a, b) => a.or(b),
    }
}

/// Counts spans of a service; false where the service was counted before.
pub fn add_service(summary: &mut TraceSummary, name: &Arc<str>, spans: u32, errors: u32) -> bool {
    let same = |share: &&mut ServiceShare| Arc::ptr_eq(&share.name, name) || share.name == *name;
    if let Some(known) = summary.services.iter_mut().find(same) {
        known.spans = known.spans.saturating_add(spans);
        known.errors = known.errors.saturating_add(errors);
        return false;
    }
    if summary.services.len() < TraceSummary::MAX_SERVICES {
        summary.services.push(ServiceShare { name: name.clone(), spans, errors });
    } else {
        summary.more_services += 1;
    }
    true
}

/// Keeps a correlation ID, best origin first.
pub fn add_correlation(summary: &mut TraceSummary, correlation: Correlation) {
    let list = &mut summary.correlations;
    if let Some(known) = list.iter_mut().find(|known| known.value == correlation.value) {
        known.origin = known.origin.min(correlation.origin);
    } else if list.len() < TraceSummary::MAX_CORRELATIONS {
        list.push(correlation);
    } else {
        return;
    }
    list.sort_by_key(|known| known.origin);
}

/// Appends an entry's encoding; its parts lie at `locs`.
pub fn put(out: &mut Vec<u8>, entry: &Entry, locs: &[Loc]) {
    let summary = &entry.summary;
    out.extend_from_slice(&summary.trace_id.0);
    put_varint(out, summary.start);
    put_varint(out, summary.end.wrapping_sub(summary.start));
    let counts = [summary.spans, summary.errors, summary.refused, summary.logs, summary.more_services];
    for count in counts {
        put_varint(out, u64::from(count));
    }
    let flags = u64::from(entry.time_is_arrival)
        | u64::from(summary.root.is_some()) << 1
        | u64::from(summary.root.as_ref().is_some_and(|root| root.parentless)) << 2
        | u64::from(summary.failure.is_some()) << 3
        | u64::from(summary.failure.as_ref().is_some_and(|failure| failure.refused)) << 4
        | u64::from(summary.settled.is_some()) << 5
        | u64::from(summary.settled.as_ref().is_some_and(|settled| settled.dead)) << 6;
    put_varint(out, flags);
    put_varint(out, summary.services.len() as u64);
    for share in &summary.services {
        put_text(out, &share.name);
        put_varint(out, u64::from(share.spans));
        put_varint(out, u64::from(share.errors));
    }
    if let Some(root) = &summary.root {
        put_text(out, &root.service);
        put_text(out, &root.name);
        put_varint(out, root.kind as u64);
        put_varint(out, root.start.wrapping_sub(summary.start));
        put_varint(out, root.end.wrapping_sub(root.start));
        put_varint(out, root.answer.map_or(0, u64::from));
    }
    put_varint(out, summary.correlations.len() as u64);
    for correlation in &summary.correlations {
        put_varint(out, correlation.origin as u64);
        put_text(out, &correlation.value);
    }
    if let Some(failure) = &summary.failure {
        put_text(out, &failure.service);
        put_text(out, &failure.span_name);
        out.extend_from_slice(&failure.span_id.0);
        put_text(out, &failure.why);
        put_varint(out, failure.time.wrapping_sub(summary.start));
    }
    if let Some(settled) = &summary.settled {
        put_text(out, &settled.queue);
        put_varint(out, settled.time.wrapping_sub(summary.start));
    }
    put_varint(out, locs.len() as u64);
    for loc in locs {
        put_varint(out, loc.block);
        put_varint(out, u64::from(loc.offset));
    }
}

/// Reads an entry off the front of `bytes`.
pub fn take(bytes: &mut &[u8]) -> Result<Entry, WireError> {
    let trace_id = TraceId(take_bytes(bytes, 16)?.try_into().expect("sixteen bytes"));
    let mut entry = Entry::blank(trace_id);
    let summary = &mut entry.summary;
    summary.start = take_varint(bytes)?;
    summary.end = summary.start.wrapping_add(take_varint(bytes)?);
    summary.spans = take_u32(bytes)?;
    summary.errors = take_u32(bytes)?;
    summary.refused = take_u32(bytes)?;
    summary.logs = take_u32(bytes)?;
    summary.more_services = take_u32(bytes)?;
    let flags = take_varint(bytes)?;
    entry.time_is_arrival = flags & 1 != 0;
    for _ in 0..take_varint(bytes)? {
        let name = take_text(bytes)?.into();
        summary.services.push(ServiceShare { name, spans: take_u32(bytes)?, errors: take_u32(bytes)? });
    }
    if flags & 2 != 0 {
        let (service, name) = (take_text(bytes)?, take_text(bytes)?);
        let kind = Kind::from_wire(take_varint(bytes)?);
        let start: Nanos = summary.start.wrapping_add(take_varint(bytes)?);
        let end = start.wrapping_add(take_varint(bytes)?);
        let answer = u16::try_from(take_varint(bytes)?).ok().filter(|status| *status > 0);
        summary.root = Some(Root { service, name, kind, start, end, parentless: flags & 4 != 0, answer });
    }
    for _ in 0..take_varint(bytes)? {
        let origin = origin(take_varint(bytes)?);
        summary.correlations.push(Correlation { value: take_text(bytes)?, origin });
    }
    if flags & 8 != 0 {
        let (service, span_name) = (take_text(bytes)?, take_text(bytes)?);
        let span_id = SpanId(take_bytes(bytes, 8)?.try_into().expect("eight bytes"));
        let why = take_text(bytes)?;
        let time = summary.start.wrapping_add(take_varint(bytes)?);
        let refused = flags & 16 != 0;
        summary.failure = Some(Failure { service, span_name, span_id, why, time, refused });
    }
    if flags & 32 != 0 {
        let queue = take_text(bytes)?;
        let time = summary.start.wrapping_add(take_varint(bytes)?);
        summary.settled = Some(Settled { time, dead: flags & 64 != 0, queue });
    }
    for _ in 0..take_varint(bytes)? {
        entry.locs.push(Loc { block: take_varint(bytes)?, offset: take_u32(bytes)? });
    }
    Ok(entry)
}

fn origin(number: u64) -> Origin {
    match number {
        0 => Origin::Application,
        1 => Origin::Header,
        2 => Origin::Message,
        _ => Origin::Request,
    }
}

/// Appends a text with its length before it.
pub fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Reads a text with its length before it.
pub fn take_text(bytes: &mut &[u8]) -> Result<String, WireError> {
    let length = take_varint(bytes)? as usize;
    Ok(String::from_utf8_lossy(take_bytes(bytes, length)?).into_owned())
}

fn take_u32(bytes: &mut &[u8]) -> Result<u32, WireError> {
    u32::try_from(take_varint(bytes)?).map_err(|_| WireError::Varint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(start: u64, parentless: bool) -> Entry {
        let mut entry = Entry::blank(TraceId([7; 16]));
        entry.time_is_arrival = false;
        entry.summary.start = start;
        entry.summary.end = start + 50;
        entry.summary.spans = 3;
        add_service(&mut entry.summary, &"orders".into(), 3, 1);
        entry.summary.root = Some(Root {
            service: "orders".into(),
            name: format!("root {start}"),
            kind: Kind::Server,
            start,
            end: start + 5,
            parentless,
            answer: Some(500),
        });
        add_correlation(&mut entry.summary, Correlation { value: "r".into(), origin: Origin::Request });
        add_correlation(&mut entry.summary, Correlation { value: "a".into(), origin: Origin::Application });
        entry.summary.failure = Some(Failure {
            service: "orders".into(),
            span_name: "charge".into(),
            span_id: SpanId([1; 8]),
            why: "declined".into(),
            time: start + 3,
            refused: false,
        });
        entry.summary.settled = Some(Settled { time: start + 4, dead: true, queue: "orders.dlq".into() });
        entry.locs.push(Loc { block: start, offset: 9 });
        entry
    }

    #[test]
    fn reads_what_it_writes() {
        let (mut bytes, entry) = (Vec::new(), sample(1_000, true));
        put(&mut bytes, &entry, &entry.locs);
        let mut rest = &bytes[..];
        assert_eq!(take(&mut rest).unwrap(), entry);
        assert!(rest.is_empty());
        assert_eq!(entry.summary.correlation().unwrap().value, "a");
    }

    #[test]
    fn refuses_every_cut() {
        let mut bytes = Vec::new();
        put(&mut bytes, &sample(1_000, true), &[]);
        for length in 0..bytes.len() {
            assert!(take(&mut &bytes[..length]).is_err(), "cut at {length}");
        }
    }

    #[test]
    fn the_root_is_the_one_without_a_parent_and_the_first_failure_wins() {
        let mut entry = sample(2_000, false);
        entry.absorb(sample(3_000, true));
        entry.absorb(sample(1_500, false));
        assert_eq!(entry.summary.root.as_ref().unwrap().name, "root 3000");
        assert_eq!((entry.summary.start, entry.summary.end), (1_500, 3_050));
        assert_eq!(entry.summary.failure.as_ref().unwrap().time, 1_503);
        assert_eq!((entry.summary.spans, entry.locs.len()), (9, 3));
        assert_eq!(entry.summary.services[0].spans, 9);
    }
}
