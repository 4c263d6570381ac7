//! What somebody may do with the pages: look, act on messages, or take them away for good.

use std::fmt;
use std::sync::Arc;

/// A role; each may do what those before it may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Reads the pages.
    #[default]
    Viewer,
    /// Peeks into queues, reveals what is masked, redrives and publishes again.
    Operator,
    /// Purges queues.
    Admin,
}

impl Role {
    /// As it is written in the audit, in answers and in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who asks: a role, and what is known of the person or the program behind it. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    pub role: Role,
    /// In words: `alice, key 3f9a21c4`, or who nobody was asked for a key.
    pub who: Arc<str>,
    /// What tells this session from others, where there is one; says nothing of its token.
    pub session: Option<Arc<str>>,
}

impl Visitor {
    /// Somebody who was asked for no key.
    pub fn unknown(role: Role) -> Self {
        Self { role, who: "somebody without a key".into(), session: None }
    }

    /// The holder of a key.
    pub(super) fn keyed(role: Role, key: &super::Key, name: Option<&str>) -> Self {
        let who = match name {
            Some(name) => format!("{name}, {}", key.mark()),
            None => key.mark(),
        };
        Self { role, who: who.into(), session: None }
    }

    /// Whether this visitor may do what takes `role`.
    pub fn may(&self, role: Role) -> bool {
        self.role >= role
    }
}
