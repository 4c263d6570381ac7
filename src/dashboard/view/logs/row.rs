//! One log in the list: its line, and what shows when it is opened.

use std::collections::HashMap;

use crate::dashboard::model::{LogRecord, Nanos, Severity, TraceId};
use crate::dashboard::query::facts::{self, Entry};
use crate::dashboard::query::logs;
use crate::dashboard::store::FoundLog;
use crate::dashboard::view::format;
use crate::dashboard::view::frame::Frame;

/// Characters of the one line, of the whole text or a stack trace, and of any other value.
const LINE: usize = 240;
const WHOLE: usize = 4_000;
const VALUE: usize = 300;
/// Attributes shown of one log.
const MOST_ATTRIBUTES: usize = 40;
/// Characters of HTML around a value, about.
const AROUND: usize = 120;
/// Characters of HTML that opened rows may have on average; what comes when all of it is taken has its line only.
const OPENED: usize = 2_400;
/// Attributes of a resource that are shown: those that it is worth to filter by.
const PLACES: [&str; 9] = [
    "service.version",
    "service.instance.id",
    "service.namespace",
    "deployment.environment",
    "deployment.environment.name",
    "host.name",
    "container.id",
    "k8s.pod.name",
    "k8s.namespace.name",
];

/// One row.
pub struct Row {
    pub time: Nanos,
    pub severity: Severity,
    /// What the sender called it.
    pub severity_note: String,
    pub service: String,
    pub line: String,
    /// Where its trace opens, at its span where it names one, and the trace's ID.
    pub trace: Option<(String, String)>,
    /// Its own, or else its trace's.
    pub correlation: Option<String>,
    pub opened: Opened,
}

/// What shows when a row is opened.
#[derive(Default)]
pub struct Opened {
    /// The text where the line is not all of it, and what is left out even here.
    pub whole: Option<(String, String)>,
    pub fields: Vec<Field>,
    pub resource: Vec<Field>,
    /// Attributes that are not shown.
    pub more: usize,
    /// Set where the page has no room for it.
    pub too_much: bool,
}

/// An attribute.
pub struct Field {
    pub key: String,
    pub text: String,
    pub masked: bool,
    /// Where the list of what has it is.
    pub search: Option<String>,
}

/// The rows of a page; `stories` are the correlation IDs of traces.
pub fn rows(frame: &Frame, found: &[FoundLog], stories: &HashMap<TraceId, String>) -> Vec<Row> {
    let mut left = OPENED * found.len().max(10);
    let of_trace = |log: &LogRecord| log.trace_id.and_then(|id| stories.get(&id).cloned());
    let mut rows = Vec::with_capacity(found.len());
    for one in found {
        let correlation = logs::correlation(&one.log).map(str::to_owned).or_else(|| of_trace(&one.log));
        rows.push(Row { correlation, ..row(frame, one, &mut left) });
    }
    rows
}

fn row(frame: &Frame, FoundLog { time, log }: &FoundLog, left: &mut usize) -> Row {
    let text = logs::text(log);
    let line = format::shortened(text.trim_start().lines().next().unwrap_or_default(), LINE);
    let severity = Severity::of(log.severity);
    let note = match log.severity_text.as_str() {
        "" => format!("severity {}", log.severity),
        text => format!("{} ({})", format::shortened(text, 40), log.severity),
    };
    let trace = log.trace_id.map(|trace| {
        let to = match log.span_id {
            Some(span) => frame.span_link(&trace, &span),
            None => frame.trace_link(&trace),
        };
        (to, trace.to_string())
    });
    Row {
        time: *time,
        severity,
        severity_note: note,
        service: log.service().to_owned(),
        opened: opened(frame, log, &text, &line, left),
        line,
        trace,
        correlation: None,
    }
}

fn opened(frame: &Frame, log: &LogRecord, text: &str, line: &str, left: &mut usize) -> Opened {
    let whole = (line != text.trim()).then(|| {
        let cut = text.chars().count().saturating_sub(WHOLE);
        let note =
            if cut > 0 { format::counted(cut as u64, "character", "characters") } else { String::new() };
        (format::shortened(text, WHOLE), note)
    });
    let own = fields(&log.attributes, |entry| filter_by(frame, entry));
    let places = log.resource.attributes.iter().filter(|(key, _)| PLACES.contains(&key.as_str()));
    let resource = fields(&places.cloned().collect::<Vec<_>>(), |entry| filter_by(frame, entry));
    let size = |field: &Field| {
        AROUND + 2 * field.key.len() + field.text.len() + field.search.as_ref().map_or(0, String::len)
    };
    let fields = own.iter().chain(&resource).map(size).sum::<usize>();
    let size = fields + whole.as_ref().map_or(0, |(text, _)| text.len());
    if size > *left {
        return Opened { too_much: true, ..Opened::default() };
    }
    *left -= size;
    let more = log.attributes.len().saturating_sub(MOST_ATTRIBUTES);
    Opened { whole, fields: own, resource, more, too_much: false }
}

fn fields(
    attributes: &[(String, crate::dashboard::model::Value)],
    search: impl Fn(&Entry) -> Option<String>,
) -> Vec<Field> {
    let shown = attributes[..attributes.len().min(MOST_ATTRIBUTES)].to_vec();
    let field = |entry: Entry| Field {
        search: search(&entry),
        key: format::shortened(&entry.key, 120),
        text: format::shortened(&entry.text, if entry.key.ends_with("stacktrace") { WHOLE } else { VALUE }),
        masked: entry.masked,
    };
    facts::entries(&shown).into_iter().map(field).collect()
}

/// An attribute as the address asks for it (`attr=…`), where that is possible.
pub fn pair(entry: &Entry) -> Option<String> {
    let is_simple = matches!(entry.kind, "text" | "int" | "double" | "bool");
    let fits = !entry.key.is_empty() && !entry.key.contains('=') && entry.key.trim() == entry.key;
    let is_short = !entry.text.is_empty() && entry.text.len() <= 256;
    (!entry.masked && is_simple && fits && is_short).then(|| format!("{}={}", entry.key, entry.text))
}

/// This list, narrowed to what has the attribute too.
fn filter_by(frame: &Frame, entry: &Entry) -> Option<String> {
    let pair = pair(entry)?;
    let mut params = frame.visit.params.with(&[("after", None), ("since", None)]);
    if !params.0.iter().any(|(key, value)| key == "attr" && *value == pair) {
        params.0.push(("attr".to_owned(), pair));
    }
    Some(format!("{}{}", frame.visit.path, params.write()))
}
