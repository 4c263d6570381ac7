//! What one flush brought of one trace: its entry and the terms that it is found by.
//!
//! Made when the spans come, and made again from a stored block when the store is opened.

use std::ops::Range;
use std::sync::Arc;

use super::block::WalkedPart;
use super::entry::{Entry, Loc, add_correlation, add_service, later};
use super::failure::{self, Broken};
use super::rates::ByHash;
use super::seen::Prints;
use super::term::{Term, TermSet};
use crate::dashboard::model::correlation::Origin;
use crate::dashboard::model::otlp::batch::{Batch, LogRef, Place, ResourceRef, SpanRef};
use crate::dashboard::model::span::UNKNOWN_SERVICE;
use crate::dashboard::model::{Correlation, EARLIEST, Failure, Kind, Nanos, Root, TraceId};

/// A start further ahead of arrival than this is not believed, nor one before [`EARLIEST`].
pub const FUTURE: Nanos = 24 * 3600 * 1_000_000_000;

/// An entry with the terms it is found by.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub entry: Entry,
    /// Each once, in no order; those of links among them.
    pub terms: Vec<Term>,
    /// The terms of the traces that it links to.
    pub links: Vec<Term>,
}

/// What an index needs of a resource.
#[derive(Debug, Clone)]
pub struct Sender {
    pub term: Term,
    /// The hashes of its attributes.
    pub hashes: Vec<u32>,
    pub service: String,
}

/// The resources of a batch.
pub fn senders(batch: &Batch, prints: &Prints) -> Vec<Sender> {
    let of = |(resource, print): (&ResourceRef, &u64)| Sender {
        term: Term::resource(*print),
        hashes: batch.hashes(&resource.hashes).to_vec(),
        service: service(batch.at(&resource.service)),
    };
    batch.resources.iter().zip(&prints.resources).map(of).collect()
}

/// A service's name as it is shown.
pub fn service(name: &[u8]) -> String {
    if name.is_empty() { UNKNOWN_SERVICE.to_owned() } else { String::from_utf8_lossy(name).into_owned() }
}

/// Makes the parts of a stored block anew, given its walk.
pub fn of_block(
    id: u64,
    received: Nanos,
    batch: &Batch,
    prints: &Prints,
    walked: &[WalkedPart],
) -> Vec<Part> {
    let items = |range: &Range<u32>| range.start as usize..range.end as usize;
    let mut builder = PartBuilder::default();
    let parts = walked.iter().map(|part| {
        let (spans, logs) = (&batch.spans[items(&part.spans)], &batch.logs[items(&part.logs)]);
        let of_log = || logs.first().and_then(|log| log.trace_id);
        let trace = spans.first().map(|span| span.trace_id).or_else(of_log);
        builder.begin(trace.unwrap_or(TraceId([0; 16])), received);
        builder.place(Loc { block: id, offset: part.offset });
        spans.iter().for_each(|span| builder.span(batch, prints, span));
        logs.iter().for_each(|log| builder.log(batch, prints, log));
        builder.finish()
    });
    parts.collect()
}

/// Builds the entry and terms of one trace out of its spans and logs, one trace after the other.
#[derive(Default)]
pub struct PartBuilder {
    entry: Entry,
    terms: TermSet,
    links: Vec<Term>,
    now: Nanos,
    broke: Broken,
    services: Services,
    /// The fingerprint of the last item's resource.
    resource: Option<u64>,
}

/// Names of services, each once however many traces it has a span in.
struct Services {
    /// Of the last item's resource.
    current: Arc<str>,
    /// By the fingerprint of the resource.
    known: ByHash<Arc<str>>,
}

impl Default for Services {
    fn default() -> Self {
        Self { current: UNKNOWN_SERVICE.into(), known: ByHash::default() }
    }
}

impl Services {
    /// Resources remembered: another process of a service has another one.
    const MOST: usize = 4096;

    fn read(&mut self, batch: &Batch, print: u64, resource: u32) {
        if self.known.len() >= Self::MOST {
            self.known.clear();
        }
        let name = || service(batch.at(&batch.resources[resource as usize].service)).into();
        self.current = self.known.entry(print).or_insert_with(name).clone();
    }
}

impl PartBuilder {
    /// Begins with a part of a trace, or with a zero ID of logs without one, received at `now`.
    pub fn begin(&mut self, id: TraceId, now: Nanos) {
        self.entry = Entry::blank(id);
        (self.entry.summary.start, self.entry.summary.end) = (now, now);
        (self.now, self.resource) = (now, None);
        self.terms.extend((!self.entry.is_orphan_logs()).then(|| Term::trace(id)));
    }

    /// Notes where items of it lie.
    pub fn place(&mut self, loc: Loc) {
        self.entry.locs.push(loc);
    }

    /// Widens the entry's time by what is plausible.
    fn time(&mut self, start: Nanos, end: Nanos) {
        if !(EARLIEST..=self.now + FUTURE).contains(&start) {
            return;
        }
        let end = if end > self.now + FUTURE { start } else { end.max(start) };
        let summary = &mut self.entry.summary;
        if self.entry.time_is_arrival {
            (summary.start, summary.end) = (start, end);
            self.entry.time_is_arrival = false;
        } else {
            (summary.start, summary.end) = (summary.start.min(start), summary.end.max(end));
        }
    }

    /// Takes in a span of the batch.
    pub fn span(&mut self, batch: &Batch, prints: &Prints, span: &SpanRef) {
        self.time(span.start, span.end);
        self.of_resource(batch, prints, span.resource);
        let summary = &mut self.entry.summary;
        summary.spans += 1;
        summary.errors += u32::from(span.failed);
        if add_service(summary, &self.services.current, 1, u32::from(span.failed)) {
            self.terms.insert(Term::service(&self.services.current));
        }
        self.terms.extend([Term::span(span.span_id), Term::span_name(batch.at(&span.name))]);
        self.terms.extend(batch.hashes(&span.hashes).iter().map(|hash| Term(*hash)));
        if span.failed {
            self.terms.extend([Term::error(), Term::service_error(&self.services.current)]);
            self.broken(batch, span);
        }
        self.root(batch, span);
        for (place, origin) in batch.correlations(&span.correlations) {
            self.correlation(batch, place, *origin);
        }
        self.links.extend(batch.links(&span.links).iter().map(|target| Term::link_to(*target)));
    }

    /// Takes in a log of the batch.
    pub fn log(&mut self, batch: &Batch, prints: &Prints, log: &LogRef) {
        // A log can name a trace that ended long ago: it widens no trace that has spans.
        if self.entry.summary.spans == 0 {
            self.time(log.time, log.time);
        }
        self.entry.summary.logs += 1;
        self.of_resource(batch, prints, log.resource);
        self.terms.extend(batch.hashes(&log.hashes).iter().map(|hash| Term(*hash)));
        // A tap is no service.
        if self.entry.is_orphan_logs() && !batch.is_message(log) {
            let service = &self.services.current;
            if add_service(&mut self.entry.summary, service, 0, 0) {
                self.terms.insert(Term::service(service));
            }
        }
        for (place, origin) in batch.correlations(&log.correlations) {
            self.correlation(batch, place, *origin);
        }
    }

    /// Items of one resource mostly come one after the other.
    fn of_resource(&mut self, batch: &Batch, prints: &Prints, resource: u32) {
        let print = prints.resources[resource as usize];
        if self.resource != Some(print) {
            self.resource = Some(print);
            self.terms.insert(Term::resource(print));
            self.services.read(batch, print, resource);
        }
    }

    fn root(&mut self, batch: &Batch, span: &SpanRef) {
        let known = &self.entry.summary.root;
        let better = known.as_ref().is_none_or(|root| {
            (span.has_parent, span.start == 0, span.start) < (!root.parentless, root.start == 0, root.start)
        });
        if better {
            self.entry.summary.root = Some(Root {
                service: self.services.current.to_string(),
                name: String::from_utf8_lossy(batch.at(&span.name)).into_owned(),
                kind: Kind::from_wire(u64::from(span.kind)),
                start: span.start,
                end: span.end,
                parentless: !span.has_parent,
                answer: if span.has_parent { None } else { failure::answer(batch.at(&span.message)) },
            });
        }
    }

    /// Keeps where it broke; only what can tell is decoded.
    fn broken(&mut self, batch: &Batch, span: &SpanRef) {
        let kind = Kind::from_wire(u64::from(span.kind));
        if !self.broke.wants(span.span_id, kind, span.end) {
            return;
        }
        let read = failure::read(batch.at(&span.message));
        let settled = &mut self.entry.summary.settled;
        *settled = later(settled.take(), read.settled);
        let failure = Failure {
            service: self.services.current.to_string(),
            span_name: String::from_utf8_lossy(batch.at(&span.name)).into_owned(),
            span_id: span.span_id,
            why: read.why,
            time: span.end,
            refused: read.refused,
        };
        self.broke.add(failure, read.parent);
    }

    fn correlation(&mut self, batch: &Batch, place: &Place, origin: Origin) {
        let value = String::from_utf8_lossy(batch.at(place));
        self.terms.insert(Term::correlation(&value));
        if !self.entry.summary.correlations.iter().any(|known| known.value == value && known.origin <= origin)
        {
            add_correlation(&mut self.entry.summary, Correlation { value: value.into_owned(), origin });
        }
    }

    /// The part that was begun last.
    pub fn finish(&mut self) -> Part {
        let mut entry = std::mem::take(&mut self.entry);
        if let Some(root) = &entry.summary.root
            && root.parentless
        {
            self.terms.insert(Term::operation(&root.name));
        }
        (entry.summary.failure, entry.summary.refused) = std::mem::take(&mut self.broke).finish();
        if entry.summary.failed() {
            self.terms.insert(Term::broke());
        }
        self.terms.extend(self.links.iter().copied());
        Part { entry, terms: self.terms.take(), links: std::mem::take(&mut self.links) }
    }
}
