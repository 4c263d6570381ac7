//! The row above a list that says how many came since the list was made, and leads to them.

use askama::Template;

use super::error::PageError;
use super::format;
use super::html::{PageResult, page};
use super::visit::Visit;
use crate::dashboard::model::Nanos;

/// A list that has such a row.
pub struct News {
    /// The list's address; the row's own is below it.
    pub path: &'static str,
    /// Columns that the row spans.
    pub columns: u8,
    /// What the list is of: one, and several.
    pub names: (&'static str, &'static str),
}

#[derive(Template)]
#[template(path = "news.html")]
struct Row {
    columns: u8,
    count: u64,
    number: String,
    name: &'static str,
    href: String,
    again: String,
}

impl News {
    /// Where the row comes from that counts what is newer than `since`.
    pub fn address(&self, visit: &Visit, since: Nanos) -> String {
        let params = visit.params.with(&[("since", Some(&since.to_string())), ("after", None)]);
        format!("{}/new{}", self.path, params.write())
    }

    /// Since when is asked.
    pub fn since(visit: &Visit) -> Result<Nanos, PageError> {
        let since = visit.params.text("since").and_then(|text| text.parse().ok());
        since.ok_or_else(|| PageError::bad("“since” is a number of nanoseconds."))
    }

    /// The row; with `more` there are more than were counted.
    pub fn row(&self, visit: &Visit, count: u64, more: bool) -> PageResult {
        let list = visit.params.with(&[("since", None), ("after", None)]);
        page(&Row {
            columns: self.columns,
            count,
            number: format!("{}{}", format::count(count), if more { "+" } else { "" }),
            name: if count == 1 && !more { self.names.0 } else { self.names.1 },
            href: format!("{}{}", self.path, list.write()),
            again: format!("{}/new{}", self.path, visit.params.write()),
        })
    }
}
