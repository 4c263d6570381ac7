//! What was done to brokers and seen of what is masked: who, when, what, on which queue, and what came of it.

use super::Nanos;

/// What somebody does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Takes messages to look at and gives them back.
    Peek,
    /// Sees what is masked, or a message as it is to edit it.
    Reveal,
    /// Looks at what a redrive would do; messages are taken and given back.
    DryRun,
    /// Sends messages again and takes them out of where they were.
    Redrive,
    /// Sends a copy and leaves the original.
    Republish,
    /// Removes all messages of a queue.
    Purge,
}

impl Action {
    pub const ALL: [Self; 6] =
        [Self::Peek, Self::Reveal, Self::DryRun, Self::Redrive, Self::Republish, Self::Purge];

    /// As it is stored and written in addresses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Peek => "peek",
            Self::Reveal => "reveal",
            Self::DryRun => "dry-run",
            Self::Redrive => "redrive",
            Self::Republish => "republish",
            Self::Purge => "purge",
        }
    }

    /// The action of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// What is about to be done; written before it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    pub at: Nanos,
    pub action: Action,
    /// `viewer`, `operator` or `admin`.
    pub role: String,
    /// The person or program, as far as it is known.
    pub who: String,
    /// What tells the session from others.
    pub session: Option<String>,
    pub broker: String,
    pub virtual_host: String,
    pub queue: String,
    /// What exactly is to be done, in words.
    pub detail: String,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    pub at: Nanos,
    /// Whether all of it was done.
    pub is_done: bool,
    /// Messages that it was done to.
    pub messages: u64,
    /// In words.
    pub outcome: String,
}

/// A row of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audited {
    pub id: u64,
    pub intent: Intent,
    /// `None` while it is under way, and for ever where the process ended in the middle of it.
    pub ending: Option<Ending>,
}

/// Which rows are wanted; all that is given must fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of time, the end not in it; 0 is no bound.
    pub from: Nanos,
    pub to: Nanos,
    pub action: Option<Action>,
    /// Part of who did it, whatever the case.
    pub who: Option<String>,
    pub broker: Option<String>,
    pub virtual_host: Option<String>,
    /// Part of the queue's name, whatever the case.
    pub queue: Option<String>,
    /// Only what was not done as wanted: it failed, or its end is not known.
    pub only_trouble: bool,
    /// Only rows older than this one.
    pub before: Option<u64>,
    /// Rows at most.
    pub most: usize,
}
