//! Messages as taps saw them, and as spans tell of them.
//!
//! * [`find`]: everything that is known of one message, by its ID.
//! * [`way`]: how it went: published, routed, waited, taken, given up.
//! * [`deaths`]: what `x-death` says, in words.
//! * [`body`]: what a body says, whatever it was sent as.
//!
//! What must not live here: HTML, AMQP, where messages come from.

pub mod body;
pub mod deaths;
pub mod way;

use std::collections::BTreeSet;

use super::language;
use crate::dashboard::model::messages::{ID, KEY, Seen};
use crate::dashboard::model::{Message, Trace, TraceId};
use crate::dashboard::store::{LogFilter, LogKind, Reader, StoreError, TraceFilter};

/// Longest ID that is looked for, in bytes: what AMQP's short strings hold, and as much again for other brokers.
pub const MOST_ID: usize = 512;
/// How often a message is shown that was seen again and again.
const MOST_SIGHTINGS: usize = 100;
/// Traces that are read for its way, and that are looked up by its ID.
const MOST_TRACES: usize = 8;
/// A trace of more spans is not read for it.
const MOST_SPANS: u32 = 20_000;

/// Everything that is known of one message.
#[derive(Debug, Default)]
pub struct Known {
    pub id: String,
    /// Each time that a tap saw it, oldest first.
    pub seen: Vec<Message>,
    /// The traces with spans that tell of it.
    pub traces: Vec<Trace>,
}

impl Known {
    /// As it was published first, as far as it was seen.
    pub fn first(&self) -> Option<&Message> {
        self.seen.first()
    }

    /// As it was seen last: with what happened to it meanwhile.
    pub fn last(&self) -> Option<&Message> {
        self.seen.last()
    }

    /// The queue of dead letters that it was seen to come to last.
    pub fn dead_in(&self) -> Option<(&Message, &str)> {
        let last = self.last().filter(|last| last.how == Seen::DeadLettered)?;
        Some((last, last.queues.first().map(String::as_str).unwrap_or_default()))
    }
}

/// Looks a message up by its ID, or by what it is called by where it has none.
///
/// # Errors
/// The store cannot answer.
pub async fn find(reader: &dyn Reader, id: &str) -> Result<Known, StoreError> {
    let mut known = Known { id: id.to_owned(), ..Known::default() };
    if id.is_empty() || id.len() > MOST_ID {
        return Ok(known);
    }
    known.seen = sightings(reader, id).await?;
    let mut ids: BTreeSet<TraceId> = known.seen.iter().filter_map(|message| message.trace_id).collect();
    ids.extend(told_of(reader, id).await?);
    for id in ids.into_iter().take(MOST_TRACES) {
        let small =
            reader.summary(id).await?.is_some_and(|summary| (1..=MOST_SPANS).contains(&summary.spans));
        if small && let Some(trace) = reader.trace(id).await? {
            known.traces.push(trace);
        }
    }
    known.traces.sort_by_key(|trace| trace.spans.first().map_or(u64::MAX, |span| span.start));
    Ok(known)
}

/// Whether anything is known of a message with this ID.
///
/// # Errors
/// As [`find`].
pub async fn is_known(reader: &dyn Reader, id: &str) -> Result<bool, StoreError> {
    if id.is_empty() || id.len() > MOST_ID {
        return Ok(false);
    }
    Ok(!sightings(reader, id).await?.is_empty() || !told_of(reader, id).await?.is_empty())
}

/// Each time that taps saw it, oldest first.
async fn sightings(reader: &dyn Reader, id: &str) -> Result<Vec<Message>, StoreError> {
    let key = if id.starts_with('~') { KEY } else { ID };
    let filter = LogFilter {
        kind: LogKind::Messages,
        attributes: vec![(key.to_owned(), id.to_owned())],
        limit: MOST_SIGHTINGS,
        ..LogFilter::default()
    };
    let page = reader.logs(&filter).await?;
    let mut seen: Vec<Message> = page.rows.iter().filter_map(|row| Message::of(&row.log)).collect();
    seen.sort_by_key(|message| message.seen);
    Ok(seen)
}

/// The traces with a span that names the message.
async fn told_of(reader: &dyn Reader, id: &str) -> Result<Vec<TraceId>, StoreError> {
    let wanted = language::value(id);
    let query = format!("messaging.message.id = {wanted} or messaging.message_id = {wanted}");
    let Ok(query) = language::read(&query) else { return Ok(Vec::new()) };
    let filter =
        TraceFilter { select: Some(query.selection()), limit: MOST_TRACES, ..TraceFilter::default() };
    Ok(reader.traces(&filter).await?.rows.into_iter().map(|summary| summary.trace_id).collect())
}

/// What a person calls a message: what its sender calls it, or its routing key, or where it was sent.
pub fn name(message: &Message) -> &str {
    let names = [&message.kind, &message.routing_key, &message.exchange];
    names.into_iter().find(|name| !name.is_empty()).map_or("a message", String::as_str)
}
