//! What one flush brought of one trace: its entry and the terms that it is found by.
//!
//! Made when the spans come, and made again from a stored block when the store is opened.

use std::ops::Range;

use super::block::WalkedPart;
use super::entry::{Entry, Loc, add_correlation, add_service, better_root, later};
use super::failure::{self, Broken};
use super::seen::Prints;
use super::term::Term;
use crate::dashboard::model::correlation::Origin;
use crate::dashboard::model::otlp::batch::{Batch, LogRef, Place, ResourceRef, SpanRef};
use crate::dashboard::model::span::UNKNOWN_SERVICE;
use crate::dashboard::model::{Correlation, Failure, Kind, Nanos, Root, TraceId};

/// A start further ahead of arrival than this is not believed.
pub const FUTURE: Nanos = 24 * 3600 * 1_000_000_000;

/// Terms of an item, about: memory is set aside for so many.
const TERMS_OF_AN_ITEM: usize = 16;

/// An entry with the terms it is found by.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub entry: Entry,
    /// Each once, in order; those of links among them.
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
    let parts = walked.iter().map(|part| {
        let (spans, logs) = (&batch.spans[items(&part.spans)], &batch.logs[items(&part.logs)]);
        let of_log = || logs.first().and_then(|log| log.trace_id);
        let trace = spans.first().map(|span| span.trace_id).or_else(of_log);
        let mut builder =
            PartBuilder::new(trace.unwrap_or(TraceId([0; 16])), received, spans.len() + logs.len());
        builder.place(Loc { block: id, offset: part.offset });
        for (span, item) in spans.iter().zip(part.spans.start..) {
            builder.span(batch, prints, item, span);
        }
        for (log, item) in logs.iter().zip(part.logs.start..) {
            builder.log(batch, prints, item, log);
        }
        builder.finish()
    });
    parts.collect()
}

/// Builds the entry and terms of one trace out of its spans and logs.
pub struct PartBuilder {
    entry: Entry,
    terms: Vec<Term>,
    links: Vec<Term>,
    now: Nanos,
    broke: Broken,
    service: String,
    /// The fingerprint of the last item's resource.
    resource: Option<u64>,
}

impl PartBuilder {
    /// A part of a trace, or with a zero ID of logs without one, received at `now`; about `items` are to come.
    pub fn new(id: TraceId, now: Nanos, items: usize) -> Self {
        let mut entry = Entry::blank(id);
        (entry.summary.start, entry.summary.end) = (now, now);
        let mut terms = Vec::with_capacity(items.min(4096) * TERMS_OF_AN_ITEM);
        terms.extend((!entry.is_orphan_logs()).then(|| Term::trace(id)));
        Self {
            entry,
            terms,
            links: Vec::new(),
            now,
            broke: Broken::default(),
            service: String::new(),
            resource: None,
        }
    }

    /// Notes where items of it lie.
    pub fn place(&mut self, loc: Loc) {
        self.entry.locs.push(loc);
    }

    /// Widens the entry's time by what is plausible.
    fn time(&mut self, start: Nanos, end: Nanos) {
        if start == 0 || start > self.now + FUTURE {
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

    /// Takes in the batch's span number `item`.
    pub fn span(&mut self, batch: &Batch, prints: &Prints, item: u32, span: &SpanRef) {
        self.time(span.start, span.end);
        self.read_service(batch, span.resource);
        let summary = &mut self.entry.summary;
        summary.spans += 1;
        summary.errors += u32::from(span.failed);
        if add_service(summary, &self.service, 1, u32::from(span.failed)) {
            self.terms.push(Term::service(&self.service));
        }
        self.of_resource(prints.resources[span.resource as usize]);
        self.terms.extend([Term::span(span.span_id), Term::span_name(batch.at(&span.name))]);
        self.terms.extend(batch.hashes(&span.hashes).iter().map(|hash| Term(*hash)));
        if span.failed {
            self.terms.extend([Term::error(), Term::service_error(&self.service)]);
            self.broken(batch, span);
        }
        self.root(batch, span);
        let from = batch.span_correlations.partition_point(|(of, ..)| *of < item);
        for (_, place, origin) in batch.span_correlations[from..].iter().take_while(|(of, ..)| *of == item) {
            self.correlation(batch, place, *origin);
        }
        let from = batch.links.partition_point(|(of, _)| *of < item);
        for (_, target) in batch.links[from..].iter().take_while(|(of, _)| *of == item) {
            self.links.push(Term::link_to(*target));
        }
    }

    /// Takes in the batch's log number `item`.
    pub fn log(&mut self, batch: &Batch, prints: &Prints, item: u32, log: &LogRef) {
        // A log can name a trace that ended long ago: it widens no trace that has spans.
        if self.entry.summary.spans == 0 {
            self.time(log.time, log.time);
        }
        self.entry.summary.logs += 1;
        self.of_resource(prints.resources[log.resource as usize]);
        self.terms.extend(batch.hashes(&log.hashes).iter().map(|hash| Term(*hash)));
        if self.entry.is_orphan_logs() {
            self.read_service(batch, log.resource);
            if add_service(&mut self.entry.summary, &self.service, 0, 0) {
                self.terms.push(Term::service(&self.service));
            }
        }
        let from = batch.log_correlations.partition_point(|(of, ..)| *of < item);
        for (_, place, origin) in batch.log_correlations[from..].iter().take_while(|(of, ..)| *of == item) {
            self.correlation(batch, place, *origin);
        }
    }

    /// Items of one resource mostly come one after the other.
    fn of_resource(&mut self, print: u64) {
        if self.resource != Some(print) {
            self.resource = Some(print);
            self.terms.push(Term::resource(print));
        }
    }

    fn read_service(&mut self, batch: &Batch, resource: u32) {
        let name = batch.at(&batch.resources[resource as usize].service);
        if self.service.is_empty() || self.service.as_bytes() != name {
            self.service = service(name);
        }
    }

    fn root(&mut self, batch: &Batch, span: &SpanRef) {
        let known = &self.entry.summary.root;
        let better = known.as_ref().is_none_or(|root| {
            (span.has_parent, span.start == 0, span.start) < (!root.parentless, root.start == 0, root.start)
        });
        if better {
            self.entry.summary.root = Some(Root {
                service: self.service.clone(),
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
            service: self.service.clone(),
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
        self.terms.push(Term::correlation(&value));
        if !self.entry.summary.correlations.iter().any(|known| known.value == value && known.origin <= origin)
        {
            add_correlation(&mut self.entry.summary, Correlation { value: value.into_owned(), origin });
        }
    }

    /// The part.
    pub fn finish(mut self) -> Part {
        if let Some(root) = &self.entry.summary.root
            && root.parentless
        {
            self.terms.push(Term::operation(&root.name));
        }
        (self.entry.summary.failure, self.entry.summary.refused) = std::mem::take(&mut self.broke).finish();
        if self.entry.summary.failed() {
            self.terms.push(Term::broke());
        }
        self.entry.summary.root = better_root(self.entry.summary.root, None);
        self.terms.extend(&self.links);
        self.terms.sort_unstable();
        self.terms.dedup();
        Part { entry: self.entry, terms: self.terms, links: self.links }
    }
}
