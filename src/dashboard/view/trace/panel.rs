//! One span opened beside the timeline.

use std::fmt::Write;

use super::axis::percent;
use crate::dashboard::model::correlation::Keys;
use crate::dashboard::model::{Kind, LogRecord, Nanos, Span, TraceId};
use crate::dashboard::query::breakers::{evidence, words};
use crate::dashboard::query::facts::{self, Entry};
use crate::dashboard::query::language::{self, tree::Scope};
use crate::dashboard::query::semantics::Semantics;
use crate::dashboard::query::waterfall::{Place, Waterfall};
use crate::dashboard::query::{prose::Prose, redact};
use crate::dashboard::view::escape::{Html, escaped};
use crate::dashboard::view::format;
use crate::dashboard::view::frame::Frame;
use crate::dashboard::view::logs;

/// Longer values are folded away.
const LONG: usize = 2_000;
/// What is sent of a long value; the download has all of it.
const MOST_OF_VALUE: usize = 16_000;
/// Attributes shown of one span or event, events of a span, logs of a span, links of a span.
const MOST_ATTRIBUTES: usize = 200;
const MOST_EVENTS: usize = 100;
const MOST_LOGS: usize = 100;
const MOST_LINKS: usize = 100;

/// The panel.
pub struct Panel {
    pub service: String,
    pub kind: &'static str,
    pub name: String,
    pub id: String,
    pub link: String,
    pub close: String,
    /// Draws its time alone, as dragging over the minimap would.
    pub zoom: Option<String>,
    pub failed: Option<String>,
    pub notes: Vec<String>,
    pub duration: u64,
    pub from: u64,
    pub to: u64,
    pub plausible: bool,
    pub sentence: Prose,
    pub broke_here: bool,
    /// The message in whose processing this span happened, where it is not the span itself.
    pub message: Option<(Prose, String)>,
    /// The message that it sent or took: what it is called, and its page.
    pub letter: Option<(String, String)>,
    /// What its events tell of breakers, with the page of each.
    pub breakers: Vec<(Prose, String)>,
    pub groups: Vec<Group>,
    pub attribute_count: usize,
    pub events: Vec<EventLine>,
    pub event_count: usize,
    pub event_drawing: Html,
    pub logs: Vec<LogLine>,
    pub log_count: usize,
    pub links: Vec<LinkLine>,
    pub link_count: usize,
    pub resource: Vec<Field>,
    pub resource_note: String,
    pub scope: Vec<Field>,
    pub scope_note: String,
    pub raw: Vec<Field>,
}

/// Attributes that belong together.
pub struct Group {
    pub name: &'static str,
    pub fields: Vec<Field>,
}

/// One attribute.
pub struct Field {
    pub key: String,
    pub text: String,
    /// The length that a long value had, and what is left out of it.
    pub long: Option<(String, String)>,
    pub masked: bool,
    /// Where `=` leads, for keys that can be searched.
    pub search: Option<String>,
}

/// An event.
pub struct EventLine {
    pub name: String,
    pub after: String,
    pub error: bool,
    /// An exception's own words.
    pub headline: Option<String>,
    pub stack: Option<(usize, String)>,
    pub fields: Vec<Field>,
}

/// A log record.
pub struct LogLine {
    pub time: Nanos,
    pub level: &'static str,
    pub bad: bool,
    pub service: String,
    pub text: String,
    pub fields: Vec<Field>,
}

/// A link to a span.
pub struct LinkLine {
    pub href: String,
    pub trace: TraceId,
    pub same_trace: bool,
    pub fields: Vec<Field>,
}

/// Opens the span of `row`.
pub fn open(frame: &Frame, waterfall: &Waterfall<'_>, row: usize, broke_at: Option<usize>) -> Panel {
    let span = waterfall.span(row);
    let node = &waterfall.nodes[row];
    let said = Semantics(span);
    let id = span.span_id.to_string();
    let logs: Vec<_> = waterfall.trace.logs.iter().filter(|log| log.span_id == Some(span.span_id)).collect();
    let scope = &span.scope;
    let from = node.start.saturating_sub(waterfall.begin);
    let to = node.end.saturating_sub(waterfall.begin);
    let plausible = node.time.words().is_none();
    let zoom = format!("{from}-{to}");
    Panel {
        service: span.service().to_owned(),
        kind: span.kind.word(),
        name: format::shortened(&span.name, 300),
        link: frame.here(&[("span", Some(&id))]),
        close: frame.here(&[("span", None)]),
        zoom: (plausible && from < to).then(|| frame.here(&[("zoom", Some(&zoom)), ("span", Some(&id))])),
        id: id.clone(),
        failed: span.failed().then(|| {
            said.reason().map_or_else(|| "failed".to_owned(), |reason| short(&redact::shown("", &reason).0))
        }),
        notes: notes(waterfall, row),
        duration: node.end.saturating_sub(node.start),
        from,
        to,
        plausible,
        sentence: facts::sentence(waterfall, row),
        broke_here: broke_at == Some(row),
        message: message(frame, waterfall, row),
        letter: letter(frame, waterfall, span),
        breakers: breakers(frame, span),
        groups: groups(frame, span),
        attribute_count: span.attributes.len(),
        events: events(frame, span),
        event_count: span.events.len(),
        event_drawing: event_drawing(frame, span),
        log_count: logs.len(),
        logs: logs.into_iter().take(MOST_LOGS).map(|log| log_line(frame, log)).collect(),
        links: links(frame, span),
        link_count: span.links.len(),
        resource: fields(frame, Of::Resource, &span.resource.attributes),
        resource_note: resource_note(span),
        scope: fields(frame, Of::Scope, &scope.attributes),
        scope_note: format::shortened(format!("{} {}", scope.name, scope.version).trim(), 120),
        raw: raw(span),
    }
}

/// Changes of breakers that the span's events name, and whether a breaker turned its call away.
fn breakers(frame: &Frame, span: &Span) -> Vec<(Prose, String)> {
    let changes = span.events.iter().filter_map(|event| evidence::change(span, event)).take(MOST_EVENTS);
    let rejection = evidence::rejection(span);
    let rejected = rejection.iter().map(|one| {
        let page = match &one.name {
            Some(name) => frame.breaker_named(&one.service, name, None),
            None => frame.link_with("/breakers", &[("service", &one.service)]),
        };
        (words::rejected(one), page)
    });
    changes
        .map(|change| (words::changed(&change), frame.breaker_named(&change.service, &change.name, None)))
        .chain(rejected)
        .collect()
}

/// A log record as one line.
pub fn log_line(frame: &Frame, log: &LogRecord) -> LogLine {
    let text = log.body.to_text();
    let text = if text.is_empty() { log.event_name.clone() } else { text };
    LogLine {
        time: log.time,
        level: log.level(),
        bad: log.severity >= 17,
        service: log.service().to_owned(),
        text: format::shortened(&redact::shown("", &text).0, LONG),
        fields: fields(frame, Of::Log, &log.attributes),
    }
}

fn short(text: &str) -> String {
    format::shortened(text.lines().next().unwrap_or_default(), 160)
}

/// What is odd about the span.
fn notes(waterfall: &Waterfall<'_>, row: usize) -> Vec<String> {
    let (node, span) = (&waterfall.nodes[row], waterfall.span(row));
    let mut notes = Vec::new();
    match (node.place, span.parent) {
        (Place::ParentMissing, Some(parent)) => {
            notes.push(format!("Its parent {parent} has not arrived: it stands as a root until then."));
        }
        (Place::CycleCut, _) => {
            notes.push("Its parents lead back to itself: the circle is cut above it.".to_owned())
        }
        _ => {}
    }
    if let Some(words) = node.time.words() {
        notes.push(format!("Its times are not plausible: {words}. It is not on the scale."));
    }
    if node.moved != 0 {
        let by = format::duration(node.moved.unsigned_abs() as u64);
        let way = if node.moved > 0 { "later" } else { "earlier" };
        notes.push(format!("Clocks adjusted: shown {by} {way} than it was sent."));
    }
    if span.dropped > 0 {
        let dropped =
            format::counted(span.dropped, "attribute, event or link", "attributes, events and links");
        notes.push(format!("The SDK dropped {dropped} before sending."));
    }
    notes
}

/// The nearest consumer above the span, and where it opens.
fn message(frame: &Frame, waterfall: &Waterfall<'_>, row: usize) -> Option<(Prose, String)> {
    let mut at = waterfall.nodes[row].parent?;
    while waterfall.span(at).kind != Kind::Consumer {
        at = waterfall.nodes[at].parent?;
    }
    let id = waterfall.span(at).span_id.to_string();
    Some((facts::sentence(waterfall, at), frame.here(&[("span", Some(&id))])))
}

/// By the ID that the span names, or as a tap saw it leave this span.
fn letter(frame: &Frame, waterfall: &Waterfall<'_>, span: &Span) -> Option<(String, String)> {
    let seen = || {
        let here = waterfall.trace.messages.iter().find(|message| message.span_id == Some(span.span_id));
        here.map(|message| message.name())
    };
    let id = Semantics(span).message_id().filter(|id| !id.is_empty()).or_else(seen)?;
    Some((format::short_id(id), frame.message_link(id)))
}

fn groups(frame: &Frame, span: &Span) -> Vec<Group> {
    let mut left = MOST_ATTRIBUTES;
    let groups = facts::groups(&span.attributes).into_iter().map(|group| {
        let fields: Vec<_> =
            group.entries.into_iter().take(left).map(|entry| field(frame, Of::Span, entry)).collect();
        left -= fields.len();
        Group { name: group.name, fields }
    });
    groups.filter(|group| !group.fields.is_empty()).collect()
}

fn fields(frame: &Frame, of: Of, attributes: &[(String, crate::dashboard::model::Value)]) -> Vec<Field> {
    let attributes = attributes[..attributes.len().min(MOST_ATTRIBUTES)].to_vec();
    facts::entries(&attributes).into_iter().map(|entry| field(frame, of, entry)).collect()
}

fn field(frame: &Frame, of: Of, entry: Entry) -> Field {
    let search = match (entry.masked, of, entry.key.as_str()) {
        (true, ..) => None,
        _ if entry.text.is_empty() || entry.text.len() > 256 => None,
        (_, _, "service.name") => Some(frame.link_with("/traces", &[("service", &entry.text)])),
        (_, _, key) if entry.kind == "text" && Keys::default().origin(key.as_bytes()).is_some() => {
            Some(frame.correlation_link(&entry.text))
        }
        (_, Of::Log, _) => logs::pair(&entry).map(|pair| frame.link_with("/logs", &[("attr", &pair)])),
        (_, of, key) => of
            .query_scope()
            .and_then(|scope| language::equality(scope, key, entry.kind, &entry.text))
            .map(|query| frame.link_with("/traces", &[("query", &query)])),
    };
    let long = (entry.text.len() > LONG).then(|| {
        let size = format::bytes(entry.text.len() as u64);
        let left = entry.text.len().saturating_sub(MOST_OF_VALUE);
        (size, if left > 0 { format::bytes(left as u64) } else { String::new() })
    });
    let text = if long.is_some() { cut(&entry.text, MOST_OF_VALUE).to_owned() } else { entry.text };
    Field { key: format::shortened(&entry.key, 300), text, long, masked: entry.masked, search }
}

/// What a field belongs to.
#[derive(Clone, Copy)]
enum Of {
    Span,
    Resource,
    Scope,
    Event,
    Link,
    Log,
}

impl Of {
    /// Where a query looks for it; a list of traces is about spans, so logs are not asked for.
    fn query_scope(self) -> Option<Scope> {
        match self {
            Of::Span => Some(Scope::Span),
            Of::Resource => Some(Scope::Resource),
            Of::Scope => Some(Scope::Instrumentation),
            Of::Event => Some(Scope::Event),
            Of::Link => Some(Scope::Link),
            Of::Log => None,
        }
    }
}

/// At most `most` bytes, whole characters.
fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn events(frame: &Frame, span: &Span) -> Vec<EventLine> {
    let mut sorted: Vec<_> = span.events.iter().collect();
    sorted.sort_by_key(|event| event.time);
    let line = |event: &&crate::dashboard::model::Event| {
        let text = |key: &str| {
            let found = event.attributes.iter().find(|(name, _)| name == key);
            found.and_then(|(_, value)| value.as_str()).filter(|text| !text.is_empty())
        };
        let headline = match (text("exception.type"), text("exception.message")) {
            (Some(kind), Some(message)) => Some(format!("{kind}: {message}")),
            (one, other) => one.or(other).map(str::to_owned),
        };
        let stack = text("exception.stacktrace")
            .map(|stack| (stack.lines().count(), cut(stack, MOST_OF_VALUE).to_owned()));
        let rest: Vec<_> =
            event.attributes.iter().filter(|(key, _)| !key.starts_with("exception.")).cloned().collect();
        EventLine {
            name: format::shortened(&event.name, 200),
            after: after(span, event.time),
            error: event.name == "exception",
            headline: headline.map(|text| redact::shown("", &format::shortened(&text, LONG)).0),
            stack,
            fields: fields(frame, Of::Event, &rest),
        }
    };
    sorted.iter().take(MOST_EVENTS).map(line).collect()
}

/// `+3.02 ms`, counted from the span's start.
fn after(span: &Span, at: Nanos) -> String {
    match at.checked_sub(span.start) {
        Some(after) => format!("+{}", format::duration(after)),
        None => format!("{} before it", format::duration(span.start - at)),
    }
}

/// The events on the span's own time.
fn event_drawing(frame: &Frame, span: &Span) -> Html {
    let mut out = String::new();
    let length = span.duration().max(1) as f64;
    let _ = write!(
        out,
        r#"<line class="lane" x1="0" x2="100%" y1="12" y2="12"/><rect class="b {}" x="0" y="9" width="100%" height="6" rx="1.5"/>"#,
        frame.slot(span.service())
    );
    let mut sorted: Vec<_> = span.events.iter().collect();
    sorted.sort_by_key(|event| event.time);
    for event in sorted.into_iter().take(MOST_EVENTS) {
        let share = (event.time.saturating_sub(span.start) as f64 / length).clamp(0.0, 1.0);
        let x = percent(share);
        let title = escaped(&format!("{} {}", format::shortened(&event.name, 100), after(span, event.time)));
        if event.name == "exception" {
            let _ = write!(
                out,
                r#"<svg x="{x}" overflow="visible"><path class="x" d="M-7 12 0 5 7 12 0 19Z"><title>{title}</title></path></svg>"#
            );
        } else {
            let _ = write!(
                out,
                r#"<line class="cap" x1="{x}" x2="{x}" y1="5" y2="19"><title>{title}</title></line>"#
            );
        }
    }
    askama::filters::Safe(out)
}

fn links(frame: &Frame, span: &Span) -> Vec<LinkLine> {
    let line = |link: &crate::dashboard::model::Link| {
        let path = format!("/traces/{}", link.trace_id);
        let id = link.span_id.map(|id| id.to_string());
        let params: Vec<_> = id.iter().map(|id| ("span", id.as_str())).collect();
        LinkLine {
            href: frame.link_with(&path, &params),
            trace: link.trace_id,
            same_trace: link.trace_id == span.trace_id,
            fields: fields(frame, Of::Link, &link.attributes),
        }
    };
    span.links.iter().take(MOST_LINKS).map(line).collect()
}

/// `payments 4.11.2 on payments-6c9fb7d5f4-x2k8q`.
fn resource_note(span: &Span) -> String {
    let text = |key: &str| {
        crate::dashboard::model::value::find(&span.resource.attributes, key).and_then(|value| value.as_str())
    };
    let mut note = span.service().to_owned();
    if let Some(version) = text("service.version") {
        let _ = write!(note, " {version}");
    }
    if let Some(place) = text("k8s.pod.name").or_else(|| text("host.name")) {
        let _ = write!(note, " on {place}");
    }
    format::shortened(&note, 120)
}

/// The fields that are no attributes.
fn raw(span: &Span) -> Vec<Field> {
    let plain = |key: &str, text: String| Field {
        key: key.to_owned(),
        text: format::shortened(&text, LONG),
        long: None,
        masked: false,
        search: None,
    };
    let mut fields = vec![
        plain("trace ID", span.trace_id.to_string()),
        plain("span ID", span.span_id.to_string()),
        plain("parent", span.parent.map_or_else(|| "—".to_owned(), |parent| parent.to_string())),
        plain("start", span.start.to_string()),
        plain("end", span.end.to_string()),
        plain("flags", format!("{:#x}", span.flags)),
    ];
    if !span.trace_state.is_empty() {
        fields.push(plain("tracestate", span.trace_state.clone()));
    }
    fields
}
