//! What became of a story that failed: where it is now, as far as its spans tell.

use crate::dashboard::model::{Kind, Nanos, Span, TraceSummary, Value};
use crate::dashboard::store::{Reader, StoreError};

/// Where a failed story is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A message of it lies in a dead-letter queue.
    DeadLettered { queue: String },
    /// A message of it waits to be delivered again.
    WaitsIn { queue: String },
    /// A later trace with the same ID went well.
    RetriedWell,
    /// The caller got this answer.
    Answered { status: i64 },
    /// Nothing more is known.
    Failed,
}

/// Reads the outcome off the newest failed trace and the story's other traces, `all` of which are newest first.
pub async fn of(
    reader: &dyn Reader,
    failed: &TraceSummary,
    all: &[TraceSummary],
) -> Result<Outcome, StoreError> {
    let later_well = |other: &TraceSummary| other.start > failed.start && other.errors == 0;
    let spans = reader.trace(failed.trace_id).await?.map(|trace| trace.spans).unwrap_or_default();
    // The settlement that came last counts: a message is retried before it is dead-lettered.
    let settled = spans.iter().filter(|span| span.kind == Kind::Consumer).max_by_key(|span| settled_at(span));
    if let Some(outcome) = settled.and_then(settlement) {
        // What waited is delivered meanwhile where a later trace of the story has begun and gone well.
        let went_well = matches!(outcome, Outcome::WaitsIn { .. }) && all.iter().any(later_well);
        return Ok(if went_well { Outcome::RetriedWell } else { outcome });
    }
    if all.iter().any(later_well) {
        return Ok(Outcome::RetriedWell);
    }
    let root = spans.iter().find(|span| span.parent.is_none());
    let status = root.and_then(|root| {
        ["http.response.status_code", "http.status_code"]
            .iter()
            .find_map(|key| root.attribute(key).and_then(Value::as_i64))
    });
    Ok(status.map_or(Outcome::Failed, |status| Outcome::Answered { status }))
}

/// When a consumer span settled its message otherwise than well; 0 where it did not say.
fn settled_at(span: &Span) -> Nanos {
    if settlement(span).is_some() { span.end } else { 0 }
}

fn settlement(span: &Span) -> Option<Outcome> {
    let text = |key: &str| span.attribute(key).and_then(Value::as_str);
    let queue = text("throughline.settle.destination").unwrap_or("its dead letters").to_owned();
    match text("throughline.settle.outcome")? {
        "dead_letter" => Some(Outcome::DeadLettered { queue }),
        "retry" => Some(Outcome::WaitsIn { queue }),
        _ => None,
    }
}
