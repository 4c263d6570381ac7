//! What a list of logs may be asked for, and what comes back.

use crate::dashboard::model::hash;
use crate::dashboard::model::value::{Attributes, find};
use crate::dashboard::model::{LogRecord, Nanos, Severity, TraceId, Value};

/// Which records a list is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogKind {
    /// What services logged.
    #[default]
    Logs,
    /// Messages that a tap saw; each kind has an index of its own, so that the many do not hide the few.
    Messages,
}

/// A question for logs, newest first. `Default` asks for the newest of all.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LogFilter {
    pub kind: LogKind,
    /// Earliest and latest time, both included. A log's time is when it happened, or else was observed; where neither
    /// was told, or it is more than a day ahead, when it was received.
    pub from: Option<Nanos>,
    pub to: Option<Nanos>,
    /// The service that wrote it, by its exact name.
    pub service: Option<String>,
    /// Least severity number; 0 is any, also one that was not told.
    pub least_severity: u8,
    /// The trace that it names.
    pub trace: Option<TraceId>,
    /// A correlation ID that the log itself carries, or anything else of its trace.
    pub correlation: Option<String>,
    /// Attributes of the log or of its resource, by their exact key and the text of their value, or of one in a list;
    /// all of them. Maps and bytes are not found.
    pub attributes: Vec<(String, String)>,
    /// Text that stands in it, in upper or lower case: in the body as it is shown, the event's name, or what an
    /// exception says (`exception.type`, `.message` and `.stacktrace`, where SDKs put what a log prints of one).
    pub text: Option<String>,
    /// Rows wanted, 1 to [`LogFilter::MAX_LIMIT`].
    pub limit: usize,
    /// Goes on after this row of the page before.
    pub after: Option<LogCursor>,
}

impl LogFilter {
    pub const MAX_LIMIT: usize = 1000;
    /// Rows of the index looked at before a page says that it is not complete.
    pub const ROWS: u64 = 1_000_000;
    /// Logs read before a page says so.
    pub const OPENED: u64 = 60_000;
    /// Blocks opened before a page says so.
    pub const BLOCKS: u64 = 1_000;
    /// Most traces of a correlation ID whose logs are looked for.
    pub const TRACES: usize = 1_000;

    /// Whether a row of the index cannot tell if a log is wanted, so that the log itself has to be read.
    pub fn reads_logs(&self) -> bool {
        self.text.is_some() || !self.attributes.is_empty()
    }
}

/// The last row of a page: its time, and its place among the logs of that very time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogCursor {
    pub time: Nanos,
    /// The run that it lies in; the tail counts as the run that it will become.
    pub run: u64,
    /// How many logs of the same time and run come before it.
    pub rank: u32,
}

/// A log that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundLog {
    /// What it is sorted by: its own time, or when it was received.
    pub time: Nanos,
    pub log: LogRecord,
}

/// A page of logs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogPage {
    pub rows: Vec<FoundLog>,
    /// Where the next page begins, if there is one.
    pub next: Option<LogCursor>,
    /// Rows of the index looked at.
    pub examined: u64,
    /// Logs read.
    pub opened: u64,
    /// False where the budget ended before the range did: there may be more.
    pub complete: bool,
    /// Logs in parts of the store that were sealed before there was an index of logs, and so were not looked at.
    pub not_indexed: u64,
    /// Logs left out since their block, or what leads to them, cannot be read; some of them may not match.
    pub unreadable: u64,
}

/// Logs over time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LogCounts {
    /// Begin of the first step, and their length.
    pub from: Nanos,
    pub step: Nanos,
    /// For each step how many of each [`Severity`]. Neither text nor attributes are looked at: with those asked for, it
    /// is what is looked through and not what matches. Of logs without a trace that were received together all count
    /// where one of them has the correlation ID.
    pub steps: Vec<[u64; Severity::COUNT]>,
    /// False where the budget ended before the range did.
    pub complete: bool,
}

impl LogCounts {
    /// All of them, by severity.
    pub fn totals(&self) -> [u64; Severity::COUNT] {
        let mut totals = [0; Severity::COUNT];
        for step in &self.steps {
            totals.iter_mut().zip(step).for_each(|(total, count)| *total += count);
        }
        totals
    }

    /// All of them.
    pub fn total(&self) -> u64 {
        self.totals().iter().sum()
    }
}

/// A text to look for, in upper or lower case.
pub struct Needle {
    folded: String,
}

impl Needle {
    pub fn new(text: &str) -> Self {
        Self { folded: fold(text) }
    }

    /// Whether a log has it; [`LogFilter::text`] says where.
    pub fn is_in(&self, log: &LogRecord) -> bool {
        let said =
            |key: &str| find(&log.attributes, key).is_some_and(|value| self.is_within(&value.to_text()));
        self.is_within(&log.body.to_text())
            || self.is_within(&log.event_name)
            || ["exception.type", "exception.message", "exception.stacktrace"].into_iter().any(said)
    }

    fn is_within(&self, text: &str) -> bool {
        fold(text).contains(&self.folded)
    }
}

/// Lower case, character by character: a letter is the same whatever stands around it (`Σ` is `σ`, also at the end).
fn fold(text: &str) -> String {
    if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        text.chars().flat_map(char::to_lowercase).collect()
    }
}

/// Whether one of the attributes has this key and a value with this text.
pub fn has(attributes: &Attributes, key: &str, text: &str) -> bool {
    let is = |value: &Value| match value {
        Value::Text(value) => value == text,
        Value::Bool(_) | Value::Int(_) | Value::Double(_) => value.to_text() == text,
        _ => false,
    };
    attributes.iter().filter(|(name, _)| name == key).any(|(_, value)| match value {
        Value::List(items) => items.iter().any(is),
        one => is(one),
    })
}

/// The [hashes](crate::dashboard::model::hash) that an attribute with a value of this text may have.
pub fn hashes(key: &str, text: &str) -> Vec<u32> {
    let values = [
        Some(Value::Text(text.to_owned())),
        text.parse().ok().map(Value::Bool),
        text.parse().ok().map(Value::Int),
        text.parse().ok().map(Value::Double),
    ];
    values.iter().flatten().filter_map(|value| hash::of(key, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_in_any_case_and_as_it_is() {
        for (text, needle, found) in [
            ("Card DECLINED", "declined", true),
            ("größe: GROSS", "GRÖSSE", false),
            ("GRÖẞE", "größe", true),
            ("ΣΊΣΥΦΟΣ", "σίσυφοσ", true),
            ("100% of a_b\\c", "% of a_b\\", true),
            ("100 of aXb", "a_b", false),
            ("", "a", false),
            ("İ", "i", true),
        ] {
            assert_eq!(Needle::new(needle).is_within(text), found, "{needle} in {text}");
        }
    }
}
