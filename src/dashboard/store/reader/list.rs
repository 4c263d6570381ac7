//! Pages of traces: the newest, longest or largest that match, within a budget.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::engine::Shared;
use super::super::entry::Entry;
use super::super::run::{CHUNK, RunMeta};
use super::super::term::Term;
use super::super::{Cursor, Dot, Order, StatusFilter, StoreError, TraceFilter, TracePage};
use crate::dashboard::model::{Nanos, TraceId, TraceSummary};

impl Shared {
    pub(super) async fn page(&self, filter: &TraceFilter) -> Result<TracePage, StoreError> {
        let mut search = Search::new(filter);
        let runs = {
            let index = self.index.read().expect("no holder panics");
            match search.term.and_then(|term| index.tail.rare(term, search.from, search.to)) {
                Some(found) => search.offer_newest(found.into_iter()),
                None => search.offer_newest(index.tail.newest(search.from, search.to)),
            }
            index.runs.clone()
        };
        let may_carry = |run: &RunMeta| filter.correlation.as_ref().is_none_or(|value| run.may_carry(value));
        let mut newest_first: Vec<_> =
            runs.iter().filter(|run| run.overlaps(search.from, search.to) && may_carry(run)).collect();
        newest_first.sort_by_key(|run| std::cmp::Reverse(run.max_start));
        for run in newest_first {
            if search.is_done_before(run.max_start) || search.examined >= TraceFilter::BUDGET as u64 {
                search.complete = false;
                break;
            }
            self.search_run(run, &mut search).await?;
        }
        self.finish(search, &runs).await
    }

    /// Offers a run's entries, newest first.
    async fn search_run(&self, run: &RunMeta, search: &mut Search<'_>) -> Result<(), StoreError> {
        let ordinals = match search.term {
            Some(term) => self.run_ordinals(run, term).await?,
            None => (0..run.entries).collect(),
        };
        let mut taken = 0;
        // Entries wanted in every fourth chunk or more often: then it pays to read neighbours along.
        let dense = ordinals.len() * CHUNK * 4 >= run.entries as usize;
        for ordinals in ordinals.chunk_by(|a, b| *a as usize / CHUNK == *b as usize / CHUNK).rev() {
            let number = (ordinals[0] as usize / CHUNK) as u32;
            let Some(chunk) = self.chunk(run.id, number, dense).await? else { return Ok(()) };
            for ordinal in ordinals.iter().rev() {
                let Some(entry) = chunk.entry(*ordinal)? else { continue };
                if entry.summary.start < search.from {
                    return Ok(());
                }
                taken += u64::from(search.offer(&entry));
                if search.filter.order == Order::Newest && taken >= search.want as u64 {
                    search.complete = false;
                    return Ok(());
                }
            }
            if search.examined >= TraceFilter::BUDGET as u64 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Sorts, takes the page, and completes its rows by parts that lie in other runs.
    async fn finish(&self, search: Search<'_>, runs: &[Arc<RunMeta>]) -> Result<TracePage, StoreError> {
        let filter = search.filter;
        let mut all: Vec<Entry> = search.found.into_values().collect();
        let sort_key = |entry: &Entry| (key(&entry.summary, filter.order), entry.summary.trace_id);
        all.sort_by_key(|entry| std::cmp::Reverse(sort_key(entry)));
        let mut page = TracePage {
            matched: all.len() as u64,
            failed: all.iter().filter(|entry| entry.summary.errors > 0).count() as u64,
            examined: search.examined,
            complete: search.complete,
            ..TracePage::default()
        };
        page.dots = dots(&all);
        let limit = filter.limit.clamp(1, TraceFilter::MAX_LIMIT);
        let rest = all
            .into_iter()
            .filter(|entry| filter.after.is_none_or(|after| sort_key(entry) < (after.key, after.trace_id)));
        let mut rows: Vec<Entry> = rest.take(limit + 1).collect();
        let more = rows.len() > limit;
        rows.truncate(limit);
        page.next = rows
            .last()
            .filter(|_| more)
            .map(|last| Cursor { key: key(&last.summary, filter.order), trace_id: last.summary.trace_id });
        for row in rows {
            let id = row.summary.trace_id;
            let in_tail = self.index.read().expect("no holder panics").tail.trace(id).is_some();
            let places = usize::from(in_tail) + runs.iter().filter(|run| run.may_hold(id)).count();
            // In one place only: then the row is whole as it is.
            let whole = if places > 1 { self.entry(id).await?.unwrap_or(row) } else { row };
            page.rows.push(whole.summary);
        }
        Ok(page)
    }
}

/// A search under way.
struct Search<'a> {
    filter: &'a TraceFilter,
    from: Nanos,
    to: Nanos,
    /// The rarest thing that is asked for.
    term: Option<Term>,
    /// Matches wanted before a search for the newest may end.
    want: usize,
    found: HashMap<TraceId, Entry>,
    examined: u64,
    complete: bool,
}

impl<'a> Search<'a> {
    fn new(filter: &'a TraceFilter) -> Self {
        let newest = filter.order == Order::Newest;
        let dots = if filter.dots { TracePage::MAX_DOTS } else { 0 };
        let to = filter.to.unwrap_or(Nanos::MAX);
        let before = filter.after.filter(|_| newest).map_or(Nanos::MAX, |after| after.key);
        let service_error = |service: &String| match filter.status {
            Some(StatusFilter::Error) => Term::service_error(service),
            _ => Term::service(service),
        };
        let term = filter
            .correlation
            .as_deref()
            .map(Term::correlation)
            .or_else(|| filter.operation.as_deref().map(Term::operation))
            .or_else(|| filter.service.as_ref().map(service_error))
            .or_else(|| match filter.status? {
                StatusFilter::Error => Some(Term::error()),
                StatusFilter::Broke => Some(Term::broke()),
                StatusFilter::Ok => None,
            });
        Self {
            filter,
            from: filter.from.unwrap_or(0),
            to: to.min(before),
            term,
            want: filter.limit.clamp(1, TraceFilter::MAX_LIMIT).max(dots) + 1,
            found: HashMap::new(),
            examined: 0,
            complete: true,
        }
    }

    /// Looks at an entry; true where it matches.
    fn offer(&mut self, entry: &Entry) -> bool {
        self.examined += 1;
        // A page of the newest goes on below its cursor; what is above must not use up what is wanted.
        let above =
            |after: Cursor| (entry.summary.start, entry.summary.trace_id) >= (after.key, after.trace_id);
        let newest = self.filter.order == Order::Newest;
        if newest && self.filter.after.is_some_and(above) || !matches(entry, self.filter, self.from, self.to)
        {
            return false;
        }
        match self.found.get_mut(&entry.summary.trace_id) {
            Some(known) => known.absorb(entry.clone()),
            None => drop(self.found.insert(entry.summary.trace_id, entry.clone())),
        }
        true
    }

    /// Looks at the tail's entries, newest first, until there are enough.
    fn offer_newest<'b>(&mut self, entries: impl Iterator<Item = &'b Entry>) {
        for entry in entries {
            self.offer(entry);
            if self.is_enough() {
                self.complete = false;
                return;
            }
        }
    }

    fn is_enough(&self) -> bool {
        self.filter.order == Order::Newest && self.found.len() >= self.want
    }

    /// Whether nothing that starts at `start` or before can be among the newest wanted.
    fn is_done_before(&self, start: Nanos) -> bool {
        self.is_enough() && {
            let newer = self.found.values().filter(|entry| entry.summary.start > start).count();
            newer >= self.want
        }
    }
}

fn matches(entry: &Entry, filter: &TraceFilter, from: Nanos, to: Nanos) -> bool {
    let summary = &entry.summary;
    if !entry.is_trace() || summary.start < from || summary.start > to {
        return false;
    }
    let share = filter.service.as_ref().map(|name| summary.services.iter().find(|share| share.name == *name));
    if matches!(share, Some(None)) && summary.more_services == 0 {
        return false;
    }
    let errors = share.flatten().map_or(summary.errors, |share| share.errors);
    let status = match filter.status {
        Some(StatusFilter::Error) => errors > 0,
        Some(StatusFilter::Ok) => errors == 0,
        Some(StatusFilter::Broke) => summary.failed(),
        None => true,
    };
    status
        && filter
            .operation
            .as_ref()
            .is_none_or(|name| summary.root.as_ref().is_some_and(|root| root.name == *name))
        && filter.min_duration.is_none_or(|least| summary.duration() >= least)
        && filter.max_duration.is_none_or(|most| summary.duration() <= most)
        && filter.correlation.as_ref().is_none_or(|value| entry.carries(value).unwrap_or(true))
}

/// What a list is sorted by.
fn key(summary: &TraceSummary, order: Order) -> u64 {
    match order {
        Order::Newest => summary.start,
        Order::Longest => summary.duration(),
        Order::MostSpans => u64::from(summary.spans),
    }
}

/// The newest of the matches, for the chart.
fn dots(entries: &[Entry]) -> Vec<Dot> {
    let mut dots: Vec<Dot> = entries
        .iter()
        .map(|Entry { summary, .. }| Dot {
            trace_id: summary.trace_id,
            start: summary.start,
            duration: summary.duration(),
            failed: summary.errors > 0,
        })
        .collect();
    dots.sort_by_key(|dot| std::cmp::Reverse(dot.start));
    dots.truncate(TracePage::MAX_DOTS);
    dots
}
