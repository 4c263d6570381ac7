//! The audit: a row before each deed, its end added afterwards. Kept apart from what is received, so that no limit on
//! that removes it; it goes by an age of its own.

use async_trait::async_trait;

use super::{Store, StoreError};
use crate::dashboard::model::audit::{AuditFilter, Audited, Ending, Intent};

/// Rows of one page at most.
pub const MOST_ROWS: usize = 1_000;
/// Characters of a text at most: what is said of a deed is words, not messages.
const MOST_TEXT: usize = 2_000;

/// Who writes down what is done.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Writes a row, durable when it returns, and gives its number. Where it fails nothing may be done.
    async fn begin_audit(&self, intent: Intent) -> Result<u64, StoreError>;

    /// Adds how it ended.
    async fn end_audit(&self, id: u64, ending: Ending) -> Result<(), StoreError>;

    /// Rows, the newest first.
    async fn audited(&self, filter: &AuditFilter) -> Result<Vec<Audited>, StoreError>;
}

#[async_trait]
impl AuditLog for Store {
    async fn begin_audit(&self, intent: Intent) -> Result<u64, StoreError> {
        let id = self.shared.backend.begin_audit(cleaned(intent)).await?;
        self.shared.commits.send_modify(|count| *count += 1);
        Ok(id)
    }

    async fn end_audit(&self, id: u64, ending: Ending) -> Result<(), StoreError> {
        let ending = Ending { outcome: clean(&ending.outcome), ..ending };
        self.shared.backend.end_audit(id, ending).await?;
        self.shared.commits.send_modify(|count| *count += 1);
        Ok(())
    }

    async fn audited(&self, filter: &AuditFilter) -> Result<Vec<Audited>, StoreError> {
        let most = filter.most.clamp(1, MOST_ROWS);
        self.shared.backend.audited(&AuditFilter { most, ..filter.clone() }).await
    }
}

fn cleaned(intent: Intent) -> Intent {
    Intent {
        role: clean(&intent.role),
        who: clean(&intent.who),
        session: intent.session.as_deref().map(clean),
        broker: clean(&intent.broker),
        virtual_host: clean(&intent.virtual_host),
        queue: clean(&intent.queue),
        detail: clean(&intent.detail),
        ..intent
    }
}

/// A text that any database takes, cut. PostgreSQL has no NUL in texts.
fn clean(text: &str) -> String {
    text.chars().take(MOST_TEXT).map(|sign| if sign == '\0' { '␀' } else { sign }).collect()
}
