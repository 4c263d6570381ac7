//! Which logs of the tail, or of one run, may be wanted: what equality narrows, by way of the index of terms.

use std::collections::HashSet;

use super::super::StoreError;
use super::super::engine::{Index, Shared};
use super::super::entry::{Entry, Loc};
use super::super::logs::filter::{LogFilter, Needle, has, hashes};
use super::super::logs::{self, Row};
use super::super::run::{CHUNK, RunMeta};
use super::super::term::Term;
use super::ahead::Pages;
use super::closure::log_carries;
use super::lookup::Sought;
use super::needles::{Needles, common};
use crate::dashboard::model::{LogRecord, Nanos, TraceId};

/// A question, and what of it is the same for all runs.
pub(super) struct Ask<'a> {
    pub filter: &'a LogFilter,
    pub from: Nanos,
    pub to: Nanos,
    text: Option<Needle>,
    /// The traces that carry the correlation ID.
    carriers: Option<HashSet<TraceId>>,
    /// Whether there are more of them than are looked for.
    pub truncated: bool,
    attributes: Option<Needles>,
}

impl Ask<'_> {
    /// Whether rows alone cannot tell what is wanted.
    pub fn has_to_read(&self) -> bool {
        self.filter.reads_logs() || self.filter.correlation.is_some()
    }

    /// Whether a log is wanted.
    pub fn wants(&self, log: &LogRecord) -> bool {
        let filter = self.filter;
        let carried = |value: &String| {
            let of_trace = |carriers: &HashSet<_>| log.trace_id.is_some_and(|id| carriers.contains(&id));
            self.carriers.as_ref().is_some_and(of_trace) || log_carries(log, value)
        };
        log.severity >= filter.least_severity
            && filter.service.as_ref().is_none_or(|name| log.service() == name)
            && filter.trace.is_none_or(|id| log.trace_id == Some(id))
            && filter.correlation.as_ref().is_none_or(carried)
            && filter.attributes.iter().all(|(key, text)| {
                has(&log.attributes, key, text) || has(&log.resource.attributes, key, text)
            })
            && self.text.as_ref().is_none_or(|text| text.is_in(log))
    }

    fn may_be_in(&self, entry: &Entry) -> bool {
        let id = entry.summary.trace_id;
        entry.summary.logs > 0
            && self.filter.trace.is_none_or(|wanted| wanted == id)
            && self.filter.correlation.as_ref().is_none_or(|value| match entry.is_orphan_logs() {
                true => entry.carries(value) != Some(false),
                false => self.carriers.as_ref().is_some_and(|carriers| carriers.contains(&id)),
            })
    }

    /// What is looked up in the index of terms by ID.
    fn lookups(&self) -> Vec<Needles> {
        let correlation = self.filter.correlation.as_ref().map(|value| {
            let traces = self.carriers.iter().flatten().map(|id| Needles::Trace(*id));
            Needles::Either(std::iter::once(Needles::Correlation(value.clone())).chain(traces).collect())
        });
        self.filter.trace.map(Needles::Trace).into_iter().chain(correlation).collect()
    }
}

/// Which rows of the tail or of one run may be wanted.
pub(super) struct Wanted {
    service: Option<u32>,
    least: u8,
    /// The parts that they lie in; `None` where any may have one.
    parts: Option<HashSet<Loc>>,
    /// The blocks of those parts, in order.
    blocks: Vec<u64>,
}

impl Wanted {
    pub fn has(&self, row: &Row) -> bool {
        row.severity >= self.least
            && self.service.is_none_or(|service| row.service == service)
            && self.parts.as_ref().is_none_or(|parts| parts.contains(&row.place.loc))
    }

    /// Whether a chunk may have any of them.
    pub fn may_be_in(&self, chunk: &logs::Chunk) -> bool {
        let at = self.blocks.partition_point(|block| *block < chunk.blocks.0);
        let is_there = || self.blocks.get(at).is_some_and(|block| *block <= chunk.blocks.1);
        chunk.reaches(self.least) && (self.parts.is_none() || is_there())
    }

    /// Whether severity alone decides.
    pub fn is_by_severity(&self) -> bool {
        self.service.is_none() && self.parts.is_none()
    }
}

impl Shared {
    /// Makes a question ready to be asked of the tail and of runs.
    pub(super) async fn ask<'a>(&self, filter: &'a LogFilter) -> Result<Ask<'a>, StoreError> {
        let attributes = filter.attributes.iter().map(|(key, text)| {
            let hashes = hashes(key, text);
            let terms = hashes.iter().map(|hash| Term(*hash)).collect();
            Needles::Either(vec![Needles::Terms(terms), Needles::Resource(hashes)])
        });
        let attributes: Vec<Needles> = attributes.collect();
        let mut ask = Ask {
            filter,
            from: filter.from.unwrap_or(0),
            to: filter.to.unwrap_or(Nanos::MAX),
            text: filter.text.as_deref().map(Needle::new),
            carriers: None,
            truncated: false,
            attributes: (!attributes.is_empty()).then_some(Needles::Both(attributes)),
        };
        if let Some(value) = &filter.correlation {
            let mut carriers = HashSet::new();
            for entry in self.entries_in(Sought::Correlation(value)).await? {
                let id = entry.summary.trace_id;
                if entry.is_orphan_logs() || carriers.contains(&id) || !self.carries(&entry, value).await? {
                    continue;
                }
                if carriers.len() >= LogFilter::TRACES {
                    ask.truncated = true;
                    break;
                }
                carriers.insert(id);
            }
            ask.carriers = Some(carriers);
        }
        Ok(ask)
    }

    /// What of the tail may be wanted; `None` where nothing is.
    pub(super) fn wanted_of_tail(ask: &Ask<'_>, index: &Index) -> Option<Wanted> {
        let tail = &index.tail;
        let service = match &ask.filter.service {
            Some(name) => Some(tail.rows(ask.filter.kind).service(name)?),
            None => None,
        };
        let entries = tail.entries();
        let lookups = ask.lookups();
        let exact = lookups.iter().filter_map(|lookup| lookup.in_tail(tail)).reduce(|a, b| common(&a, &b));
        let attributes = ask.attributes.as_ref().and_then(|needles| needles.in_tail(tail));
        let found = join(exact, attributes, entries.len());
        let parts = found.map(|ordinals| {
            let found = ordinals.iter().map(|ordinal| &entries[*ordinal as usize]);
            found.filter(|entry| ask.may_be_in(entry)).flat_map(|entry| entry.locs.iter().copied()).collect()
        });
        narrowed(service, ask.filter.least_severity, parts)
    }

    /// What of a run may be wanted; `None` where nothing is, or the run was dropped meanwhile.
    pub(super) async fn wanted_of_run(
        &self,
        ask: &Ask<'_>,
        run: &RunMeta,
        index: &logs::Index,
    ) -> Result<Option<Wanted>, StoreError> {
        let mut service = None;
        if let Some(name) = &ask.filter.service {
            let names = self.read_page(run.id, index.services_page(), logs::read_services).await;
            let Some(names) = self.left_out(names)? else { return Ok(None) };
            let Some(number) = names.iter().position(|known| known == name) else { return Ok(None) };
            service = Some(number as u32);
        }
        let mut exact: Option<Vec<u32>> = None;
        for lookup in ask.lookups() {
            let found = self.narrowing(&lookup, run, &Pages::default()).await?;
            // Rows do not tell it: where the index cannot, all entries are looked at.
            let found = found.unwrap_or_else(|| (0..run.entries).collect());
            exact = Some(exact.map_or_else(|| found.clone(), |exact| common(&exact, &found)));
        }
        if exact.as_ref().is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        let attributes = match &ask.attributes {
            Some(needles) => self.narrowing(needles, run, &Pages::default()).await?,
            None => None,
        };
        let mut parts = None;
        if let Some(ordinals) = join(exact, attributes, run.entries as usize) {
            let parts = parts.insert(HashSet::new());
            for ordinals in ordinals.chunk_by(|a, b| *a as usize / CHUNK == *b as usize / CHUNK) {
                let number = (ordinals[0] as usize / CHUNK) as u32;
                let Some(chunk) = self.chunk(run.id, number, false).await? else { return Ok(None) };
                for ordinal in ordinals {
                    let entry = self.left_out(chunk.entry(*ordinal))?.filter(|entry| ask.may_be_in(entry));
                    parts.extend(entry.into_iter().flat_map(|entry| entry.locs));
                }
            }
        }
        Ok(narrowed(service, ask.filter.least_severity, parts))
    }
}

fn narrowed(service: Option<u32>, least: u8, parts: Option<HashSet<Loc>>) -> Option<Wanted> {
    let is_nothing = parts.as_ref().is_some_and(HashSet::is_empty);
    let mut blocks: Vec<u64> = parts.iter().flatten().map(|loc| loc.block).collect();
    blocks.sort_unstable();
    blocks.dedup();
    (!is_nothing).then_some(Wanted { service, least, parts, blocks })
}

/// What is found by ID and what is found by attributes, which are not worth following where half of all have them.
fn join(exact: Option<Vec<u32>>, attributes: Option<Vec<u32>>, entries: usize) -> Option<Vec<u32>> {
    let attributes = attributes.filter(|found| found.len() <= entries / 2 || found.len() <= CHUNK);
    match (exact, attributes) {
        (Some(a), Some(b)) => Some(common(&a, &b)),
        (a, b) => a.or(b),
    }
}
