//! What a search for a page of traces has found so far, and when it may end.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::super::entry::Entry;
use super::super::{Cursor, Dot, Order, Selection, StatusFilter, TraceFilter, TracePage, Verdict};
use super::ahead::{OpenBlocks, RUNS_FIRST};
use super::judging::Judged;
use super::needles::Needles;
use crate::dashboard::model::{Nanos, TraceId, TraceSummary};

/// A search under way.
pub(super) struct Search<'a> {
    pub filter: &'a TraceFilter,
    pub from: Nanos,
    pub to: Nanos,
    pub needles: Needles,
    /// Matches wanted before a search for the newest may end.
    pub want: usize,
    /// Matches wanted for the page alone: nothing is opened for the chart's sake.
    pub rows: usize,
    pub found: HashMap<TraceId, Entry>,
    pub examined: u64,
    pub complete: bool,
    /// Traces opened, and their spans.
    pub opened: u64,
    pub spans: usize,
    pub open: OpenBlocks,
    /// Runs that are lined up next.
    pub runs_ahead: usize,
    /// Traces of which it is known whether they have parts in more than one place.
    pub in_pieces: HashMap<TraceId, bool>,
    /// Traces that were looked at ahead of their turn.
    pub judged: HashMap<TraceId, Judged>,
    /// Traces that were put together out of all their parts already.
    pub whole: HashSet<TraceId>,
    /// The start of the last trace that was opened.
    pub seen_down_to: Nanos,
    /// Whether it ended since it had looked at as much as it may.
    pub spent: bool,
}

impl<'a> Search<'a> {
    pub fn new(filter: &'a TraceFilter) -> Self {
        let newest = filter.order == Order::Newest;
        let dots = if filter.dots { TracePage::MAX_DOTS } else { 0 };
        let to = filter.to.unwrap_or(Nanos::MAX);
        let before = filter.after.filter(|_| newest).map_or(Nanos::MAX, |after| after.key);
        Self {
            filter,
            from: filter.from.unwrap_or(0),
            to: to.min(before),
            needles: Needles::of(filter),
            want: filter.limit.clamp(1, TraceFilter::MAX_LIMIT).max(dots) + 1,
            rows: filter.limit.clamp(1, TraceFilter::MAX_LIMIT) + 1,
            found: HashMap::new(),
            examined: 0,
            complete: true,
            opened: 0,
            spans: 0,
            open: OpenBlocks::default(),
            runs_ahead: RUNS_FIRST,
            in_pieces: HashMap::new(),
            judged: HashMap::new(),
            whole: HashSet::new(),
            seen_down_to: 0,
            spent: false,
        }
    }

    /// Looks at an entry, and takes it where it is wanted for certain.
    pub fn offer(&mut self, entry: &Entry) -> Verdict {
        self.examined += 1;
        // A page of the newest goes on below its cursor; what is above must not use up what is wanted.
        let above =
            |after: Cursor| (entry.summary.start, entry.summary.trace_id) >= (after.key, after.trace_id);
        let newest = self.filter.order == Order::Newest;
        if newest && self.filter.after.is_some_and(above) || !matches(entry, self.filter, self.from, self.to)
        {
            return Verdict::No;
        }
        self.seen_down_to = entry.summary.start;
        let verdict =
            self.filter.select.as_ref().map_or(Verdict::Yes, |select| select.of_summary(&entry.summary));
        if verdict == Verdict::Yes {
            match self.found.get_mut(&entry.summary.trace_id) {
                Some(known) => known.absorb(entry.clone()),
                None => drop(self.found.insert(entry.summary.trace_id, entry.clone())),
            }
        }
        verdict
    }

    /// Whether the spans of an entry will have to be looked at.
    pub fn would_open(&self, entry: &Entry) -> bool {
        let of_summary = |select: &Arc<dyn Selection>| select.of_summary(&entry.summary) == Verdict::Open;
        matches(entry, self.filter, self.from, self.to) && self.filter.select.as_ref().is_some_and(of_summary)
    }

    /// Looks at the tail's entries, newest first, until there are enough; gives the traces to be opened. From the
    /// first of those on, what is certain is opened as well, so that the newest come first.
    pub fn offer_newest<'b>(&mut self, entries: impl Iterator<Item = &'b Entry>) -> Vec<TraceId> {
        let mut open = Vec::new();
        for entry in entries {
            match self.offer(entry) {
                Verdict::Open => open.push(entry.summary.trace_id),
                Verdict::Yes if !open.is_empty() => {
                    self.found.remove(&entry.summary.trace_id);
                    open.push(entry.summary.trace_id);
                }
                _ => {}
            }
            if self.is_enough() {
                self.complete = false;
                break;
            }
        }
        open
    }

    pub fn is_enough(&self) -> bool {
        self.filter.order == Order::Newest && self.found.len() >= self.wanted()
    }

    /// Matches after which a search for the newest may end.
    pub fn wanted(&self) -> usize {
        if self.opened > 0 { self.rows } else { self.want }
    }

    /// How many traces are to be opened for the rows that are missing still, if those to come match as often as those so
    /// far.
    pub fn to_open(&self) -> usize {
        let missing = self.rows.saturating_sub(self.found.len()).max(1);
        missing * (self.opened as usize + 1) / (self.found.len() + 1).min(self.opened as usize + 1)
    }

    /// How many entries that were looked up are likely to be wanted: most of what has the terms of a query is.
    pub fn lookups(&self) -> usize {
        let wanted = if self.filter.select.is_some() { self.rows } else { self.wanted() };
        wanted.saturating_sub(self.found.len()).max(1)
    }

    /// Whether it has looked at as much as it may.
    pub fn is_spent(&mut self) -> bool {
        self.spent |= self.examined >= TraceFilter::BUDGET as u64 || self.spans >= TraceFilter::SPANS;
        self.spent
    }

    /// Whether nothing that starts at `start` or before can be among the newest wanted.
    pub fn is_done_before(&self, start: Nanos) -> bool {
        self.is_enough() && {
            let newer = self.found.values().filter(|entry| entry.summary.start > start).count();
            newer >= self.wanted()
        }
    }
}

fn matches(entry: &Entry, filter: &TraceFilter, from: Nanos, to: Nanos) -> bool {
    let summary = &entry.summary;
    if !entry.is_trace() || summary.start < from || summary.start > to {
        return false;
    }
    let share = filter.service.as_ref().map(|name| summary.share(name));
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
pub(super) fn key(summary: &TraceSummary, order: Order) -> u64 {
    match order {
        Order::Newest => summary.start,
        Order::Longest => summary.duration(),
        Order::MostSpans => u64::from(summary.spans),
        Order::MostErrors => u64::from(summary.errors),
    }
}

/// The newest of the matches, for the chart.
pub(super) fn dots(entries: &[Entry]) -> Vec<Dot> {
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
