//! Everything that one correlation ID ties together: the traces and logs that carry it, and the traces tied to
//! those by span links, in either direction.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet, VecDeque};

use super::super::engine::Shared;
use super::super::entry::Entry as Stored;
use super::super::{Correlated, CorrelatedTrace, StoreError};
use super::ahead::OpenBlocks;
use super::lookup::{Contents, Sought};
use crate::dashboard::model::correlation;
use crate::dashboard::model::span::apart;
use crate::dashboard::model::value::Attributes;
use crate::dashboard::model::{LogRecord, Trace, TraceId, TraceSummary, Value};

/// Groups of logs without a trace that are opened.
const MAX_LOG_GROUPS: usize = 200;

impl Shared {
    pub(super) async fn correlated(&self, value: &str) -> Result<Correlated, StoreError> {
        let mut answer = Correlated::default();
        if value.is_empty() || value.len() > correlation::MAX_LEN {
            return Ok(answer);
        }
        let mut carriers: HashMap<TraceId, bool> = HashMap::new();
        let mut queue = VecDeque::new();
        let mut log_groups = Vec::new();
        // What belongs to one story was sent together, and lies together.
        let mut open = OpenBlocks::default();
        for entry in self.entries_in(Sought::Correlation(value)).await? {
            if entry.is_orphan_logs() {
                log_groups.push(entry);
            } else if self.carries(&entry, value).await?
                && carriers.insert(entry.summary.trace_id, true).is_none()
            {
                queue.push_back(entry.summary.trace_id);
            }
        }
        self.orphan_logs(log_groups, value, &mut open, &mut answer).await?;
        while let Some(id) = queue.pop_front() {
            if answer.traces.len() >= Correlated::MAX_TRACES {
                answer.truncated = true;
                break;
            }
            let Some(entry) = self.entry(id).await? else { continue };
            for tied in self.tied(id, &entry, &mut open).await? {
                if let Entry::Vacant(place) = carriers.entry(tied) {
                    place.insert(false);
                    queue.push_back(tied);
                }
            }
            let carries_id = carriers.get(&id).copied().unwrap_or_default();
            answer.traces.push(CorrelatedTrace { summary: entry.summary, carries_id });
        }
        answer.traces.sort_by_key(|trace| trace.summary.start);
        Ok(answer)
    }

    /// Whether an entry that was found by the term really carries the ID.
    pub(super) async fn carries(&self, entry: &Stored, value: &str) -> Result<bool, StoreError> {
        if let Some(sure) = entry.carries(value) {
            return Ok(sure);
        }
        let trace = self.left_out(self.whole_trace(entry.summary.trace_id).await)?;
        Ok(trace.is_some_and(|trace| trace_carries(&trace, value)))
    }

    async fn orphan_logs(
        &self,
        groups: Vec<Stored>,
        value: &str,
        open: &mut OpenBlocks,
        answer: &mut Correlated,
    ) -> Result<(), StoreError> {
        answer.truncated |= groups.len() > MAX_LOG_GROUPS;
        for group in groups.into_iter().take(MAX_LOG_GROUPS) {
            let read = self.contents_with(&group.locs, open).await.map(Some);
            if let Some(Contents::Read(_, logs)) = self.left_out(read)? {
                answer.logs.extend(logs.into_iter().filter(|log| log_carries(log, value)));
            }
        }
        let (messages, logs) = apart(std::mem::take(&mut answer.logs));
        (answer.messages, answer.logs) = (messages, logs);
        answer.messages.sort_by_key(|message| message.seen);
        answer.logs.sort_by_key(|log| log.time);
        Ok(())
    }

    /// Traces that a trace links to, and those that link to it.
    async fn tied(
        &self,
        id: TraceId,
        entry: &Stored,
        open: &mut OpenBlocks,
    ) -> Result<Vec<TraceId>, StoreError> {
        let mut tied: Vec<TraceId> = Vec::new();
        if entry.summary.spans > 0
            && let Some(trace) = self.left_out(self.whole_trace_with(id, open).await)?
        {
            tied.extend(trace.spans.iter().flat_map(|span| &span.links).map(|link| link.trace_id));
        }
        tied.extend(self.linking_to(id).await?.into_iter().map(|summary| summary.trace_id));
        tied.retain(|other| *other != id);
        Ok(tied)
    }

    /// The traces with a span that links to `id`, oldest first.
    pub(super) async fn linking_to(&self, id: TraceId) -> Result<Vec<TraceSummary>, StoreError> {
        let (mut found, mut known) = (Vec::new(), HashSet::new());
        for candidate in self.may_link(id).await? {
            if candidate == id || !known.insert(candidate) || found.len() >= Correlated::MAX_TRACES {
                continue;
            }
            let trace = self.left_out(self.whole_trace(candidate).await)?;
            let links = |trace: &Trace| {
                trace.spans.iter().flat_map(|span| &span.links).any(|link| link.trace_id == id)
            };
            if trace.is_some_and(|trace| links(&trace)) {
                found.extend(self.entry(candidate).await?.map(|entry| entry.summary));
            }
        }
        found.sort_by_key(|summary| summary.start);
        Ok(found)
    }
}

fn trace_carries(trace: &Trace, value: &str) -> bool {
    trace.spans.iter().any(|span| carried(&span.attributes, value))
        || trace.logs.iter().any(|log| log_carries(log, value))
}

pub(super) fn log_carries(log: &LogRecord, value: &str) -> bool {
    carried(&log.attributes, value)
}

/// Whether an attribute has the value. Under which key is not asked again: the term says that one of the
/// correlation keys, the user's included, had it, and here only a collision of terms has to be told apart.
fn carried(attributes: &Attributes, value: &str) -> bool {
    attributes.iter().any(|(_, held)| match held {
        Value::Text(text) => text == value,
        Value::List(items) => items.first().and_then(Value::as_str) == Some(value),
        _ => false,
    })
}
