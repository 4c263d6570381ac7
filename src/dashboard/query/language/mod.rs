//! The query language of the search box and of `/traces?query=`. Names and operators are TraceQL's
//! (<https://grafana.com/docs/tempo/latest/traceql/>), and a condition may stand without braces:
//!
//! ```text
//! service.name = payments and status = error and duration > 250ms
//! { resource.service.name = "gateway" } >> { span.http.response.status_code >= 500 }
//! ```
//!
//! All conditions within one pair of braces hold for one span; `&&`, `||`, `>` (child), `>>` (descendant) and `~`
//! (sibling) join pairs of braces to something about the spans of one trace. A trace is found when some of its
//! spans satisfy the whole.
//!
//! * [`token`]: a text cut into words and signs; [`read`]: those into a [`tree`]; [`write`]: the tree as text.
//! * [`judge`]: whether a trace satisfies it; [`plan`]: what of it an index can answer, and what a summary can.
//! * [`form`]: the conditions that the form beside the query line shows; [`typed`](mod@typed): what is being typed.
//!
//! What must not live here: HTML, the store's layout.

mod form;
mod judge;
mod plan;
mod read;
#[cfg(test)]
mod tests;
mod token;
pub mod tree;
mod typed;
mod write;

use std::sync::Arc;

pub use form::Form;
pub use token::duration;
pub use tree::Query;
pub use typed::{JOINTS, OPERATORS, Place, Typed, key, keys, typed, words_of};
pub use write::{duration as written, equality, value};

use crate::dashboard::model::{Trace, TraceSummary};
use crate::dashboard::store::{Plan, Selection, Verdict};

/// Longest query, in bytes.
pub const MAX_LEN: usize = 2_000;

/// Why a query cannot be read, and where: the column counts characters from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct QueryError {
    pub column: usize,
    pub what: String,
}

/// Whether a text is meant as a query: it compares something.
pub fn looks_like_query(text: &str) -> bool {
    text.contains(['=', '<', '>', '{'])
}

/// Reads a query.
pub fn read(text: &str) -> Result<Query, QueryError> {
    if text.len() > MAX_LEN {
        return Err(QueryError { column: 1, what: format!("a query is at most {MAX_LEN} bytes long") });
    }
    read::query(text)
}

impl Query {
    /// What the store looks for.
    pub fn selection(self) -> Arc<dyn Selection> {
        Arc::new(Selected { plan: plan::of(&self.spans), text: self.to_string(), query: self })
    }
}

/// A query on its way through the store.
struct Selected {
    query: Query,
    plan: Plan,
    text: String,
}

impl Selection for Selected {
    fn text(&self) -> &str {
        &self.text
    }

    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn of_summary(&self, summary: &TraceSummary) -> Verdict {
        plan::of_summary(&self.query.spans, summary)
    }

    fn of_trace(&self, summary: &TraceSummary, trace: &Trace) -> bool {
        judge::matches(&self.query.spans, summary, trace)
    }
}
