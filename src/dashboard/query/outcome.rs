//! What became of a story that failed: where it is now, as far as summaries tell.

use crate::dashboard::model::TraceSummary;

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
pub fn of(failed: &TraceSummary, all: &[TraceSummary]) -> Outcome {
    let went_well = all.iter().any(|other| other.start > failed.start && !other.failed());
    // The settlement that came last counts: a message is retried before it is dead-lettered.
    if let Some(settled) = &failed.settled {
        let queue = Some(settled.queue.clone()).filter(|queue| !queue.is_empty());
        let queue = queue.unwrap_or_else(|| "its dead letters".to_owned());
        return match settled.dead {
            true => Outcome::DeadLettered { queue },
            // What waited is delivered meanwhile where a later trace of the story has begun and gone well.
            false if went_well => Outcome::RetriedWell,
            false => Outcome::WaitsIn { queue },
        };
    }
    if went_well {
        return Outcome::RetriedWell;
    }
    let answer = failed.root.as_ref().and_then(|root| root.answer);
    answer.map_or(Outcome::Failed, |status| Outcome::Answered { status: status.into() })
}
