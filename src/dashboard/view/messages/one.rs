//! One message: how it went, what its body says, why it is where it is, its properties and headers.

use askama::Template;
use axum::extract::{Path, State as From};

use super::body::{self, Drawn};
use super::{exchange, missing, sent_of};
use crate::dashboard::model::messages::Message;
use crate::dashboard::model::{Nanos, Value};
use crate::dashboard::query::messages::body::event::Event;
use crate::dashboard::query::messages::body::{self as reading, Body, Form, Sent};
use crate::dashboard::query::messages::deaths::{self, Death};
use crate::dashboard::query::messages::way::{self, End, Mark, Stop, Way, Who};
use crate::dashboard::query::messages::{self as query, Known, MOST_ID};
use crate::dashboard::query::redact;
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::escape::{Html, escaped};
use crate::dashboard::view::format;
use crate::dashboard::view::frame::{Frame, Nav};
use crate::dashboard::view::html::{PageResult, page};
use crate::dashboard::view::visit::Visit;
use crate::dashboard::view::{PageState, zone};

/// Longest text that is looked for in a body, in bytes.
const MAX_FIND: usize = 200;
/// Characters of a property or a header.
const VALUE: usize = 400;

#[derive(Template)]
#[template(path = "message.html")]
struct OnePage {
    frame: Frame,
    id: String,
    way: Way,
    stops: Vec<Drawing>,
    /// As it was seen: with which its body, properties and headers are shown.
    seen: Option<Shown>,
    deaths: Vec<Death>,
    /// Each time that it was seen, where that is more than once.
    sightings: Vec<Sighting>,
    traces: Vec<(String, String)>,
}

/// A stop of its way as it is drawn.
struct Drawing {
    class: &'static str,
    who: Html,
    what: Html,
    at: Option<Nanos>,
    link: Option<String>,
    note: String,
}

/// A message that a tap saw.
struct Shown {
    body: Body,
    drawn: Drawn,
    /// The ways to show it: word, name, whether it is this one.
    forms: Vec<(String, &'static str, bool)>,
    find: String,
    about: String,
    steps: Vec<String>,
    copy: Option<String>,
    event: Vec<(&'static str, String)>,
    properties: Vec<Pair>,
    headers: Vec<Pair>,
    headers_left: u64,
    source: String,
}

/// A property or a header.
struct Pair {
    key: String,
    text: String,
    masked: bool,
    href: Option<String>,
}

/// One time that a tap saw it.
struct Sighting {
    at: Nanos,
    what: String,
    href: String,
    current: bool,
}

/// Handler of `GET /messages/{id}`.
pub async fn show(From(state): From<PageState>, Path(id): Path<String>, visit: Visit) -> PageResult {
    page_of(&state, visit, &id).await
}

/// The page of the message with this ID.
pub async fn page_of(state: &PageState, visit: Visit, id: &str) -> PageResult {
    let known = known(state, id).await?;
    let wanted = visit.params.number("seen", 1..=known.seen.len().max(1), known.seen.len().max(1))?;
    let form = match visit.params.text("as") {
        None => None,
        Some(word) => Some(Form::parse(word).ok_or_else(|| {
            PageError::bad(format!("“as” may be json, text or hex, not “{}”.", format::shortened(word, 20)))
        })?),
    };
    let find = visit.params.text("find").map(str::to_owned);
    if find.as_ref().is_some_and(|find| find.len() > MAX_FIND) {
        return Err(PageError::bad(format!("“find” is longer than {MAX_FIND} bytes.")));
    }
    let way = way::of(&known, visit.now);
    let frame = visit.frame(Nav::Messages, way.title.clone()).live();
    page(&draw(frame, state, &known, way, wanted, form, find))
}

/// What is known of a message, or why there is none.
///
/// # Errors
/// The ID cannot be one, nothing is known of it, or the store does not answer.
pub async fn known(state: &PageState, id: &str) -> Result<Known, PageError> {
    if id.is_empty() || id.contains('\0') || id.len() > MOST_ID {
        return Err(PageError::bad(format!(
            "A message's ID is at most {MOST_ID} bytes long and holds no NUL character."
        )));
    }
    let known = query::find(&*state.reader, id).await?;
    if known.seen.is_empty() && known.traces.is_empty() {
        return Err(missing(id));
    }
    Ok(known)
}

fn draw(
    frame: Frame,
    state: &PageState,
    known: &Known,
    way: Way,
    wanted: usize,
    form: Option<Form>,
    find: Option<String>,
) -> OnePage {
    let shown = known.seen.get(wanted - 1);
    let sighting = |(message, number): (&Message, usize)| Sighting {
        at: message.seen,
        what: place(message),
        href: frame.here(&[("seen", Some(&number.to_string()))]),
        current: number == wanted,
    };
    let many = known.seen.len() > 1;
    let sightings = known.seen.iter().zip(1..).filter(|_| many).map(sighting).collect();
    let trace = |trace: &crate::dashboard::model::Trace| {
        let id = trace.id.to_string();
        (format::short_id(&id), frame.trace_link(&trace.id))
    };
    OnePage {
        stops: way.stops.iter().map(|stop| drawing(&frame, known, stop)).collect(),
        deaths: known.last().map(deaths::of).unwrap_or_default(),
        traces: known.traces.iter().map(trace).collect(),
        seen: shown.map(|message| Shown::of(&frame, state, message, form, find)),
        sightings,
        id: known.id.clone(),
        way,
        frame,
    }
}

/// Where it was seen.
fn place(message: &Message) -> String {
    let queues = message.queues.join(", ");
    match message.how {
        crate::dashboard::model::messages::Seen::DeadLettered => {
            format!("as a dead letter in {}", format::shortened(&queues, 80))
        }
        crate::dashboard::model::messages::Seen::Published => {
            let exchange = exchange(&message.exchange);
            format!("at exchange {exchange}, key {}", format::shortened(&message.routing_key, 80))
        }
    }
}

fn drawing(frame: &Frame, known: &Known, stop: &Stop) -> Drawing {
    let who = match &stop.who {
        Who::Service(name) => frame.svc(name).0,
        Who::Exchange(name) => format!("exchange {}", escaped(&exchange(name))),
        Who::Queue(name) => match known.first() {
            Some(first) => format!(
                r#"<a href="{}">{}</a>"#,
                escaped(&frame.queue_of(first, name)),
                escaped(&format::shortened(name, 60))
            ),
            None => escaped(&format::shortened(name, 60)),
        },
        Who::Words(words) => escaped(words),
    };
    let what = match stop.length {
        Some((ns, true)) => format!("{} so far", frame.duration(&ns).0),
        Some((ns, false)) => frame.duration(&ns).0,
        None => escaped(&stop.what),
    };
    Drawing {
        class: match stop.mark {
            Mark::Plain => "",
            Mark::Bad => "bad",
            Mark::Wait => "wait",
        },
        who: askama::filters::Safe(who),
        what: askama::filters::Safe(what),
        at: stop.at,
        link: stop.span.map(|(trace, span)| frame.span_link(&trace, &span)),
        note: format::shortened(&redact::shown("", &stop.note).0, 140),
    }
}

impl Shown {
    fn of(
        frame: &Frame,
        state: &PageState,
        message: &Message,
        form: Option<Form>,
        find: Option<String>,
    ) -> Self {
        let (content_type, encoding) =
            (message.property("content_type"), message.property("content_encoding"));
        let sent = Sent { content_type: &content_type, content_encoding: &encoding, ..sent_of(message) };
        let body = reading::read(&sent, &state.schemas);
        let all = body.forms();
        let form = form.filter(|form| all.contains(form)).or(all.first().copied()).unwrap_or(Form::Hex);
        let name = |form: Form| match form {
            Form::Json => "JSON",
            Form::Text => "Text",
            Form::Hex => "Hex",
        };
        let forms = all.iter().map(|one| (frame.with("as", one.word()), name(*one), *one == form));
        let kind = if content_type.is_empty() { "no content type" } else { &content_type };
        let about = format!("{}, {}", format::shortened(kind, 80), format::bytes(message.size));
        Self {
            drawn: body::draw(&body, form, find.as_deref()),
            forms: forms.collect(),
            find: find.unwrap_or_default(),
            about,
            steps: body::steps(&body),
            copy: body.text.clone().filter(|_| form != Form::Hex),
            event: body.event.as_ref().map(envelope).unwrap_or_default(),
            properties: properties(frame, message),
            headers: headers(message),
            headers_left: message.headers_left,
            source: source(message),
            body,
        }
    }
}

fn source(message: &Message) -> String {
    let source = &message.source;
    let host = match source.virtual_host.as_str() {
        "" => String::new(),
        host => format!(", virtual host {host}"),
    };
    format::shortened(&format!("{} at {}{host}", source.broker, source.server), 160)
}

/// What the envelope of a CloudEvent says.
fn envelope(event: &Event) -> Vec<(&'static str, String)> {
    let all = [
        ("id", &event.id),
        ("source", &event.source),
        ("type", &event.kind),
        ("subject", &event.subject),
        ("time", &event.time),
        ("dataschema", &event.schema),
        ("datacontenttype", &event.data_type),
    ];
    let told = all.into_iter().filter(|(_, text)| !text.is_empty());
    told.map(|(key, text)| (key, format::shortened(&redact::shown(key, text).0, VALUE))).collect()
}

fn properties(frame: &Frame, message: &Message) -> Vec<Pair> {
    let plain = |key: &str, text: &str| {
        let (text, masked) = redact::shown(key, text);
        Pair { key: key.to_owned(), text: format::shortened(&text, VALUE), masked, href: None }
    };
    let mut all = Vec::new();
    if !message.id.is_empty() {
        all.push(plain("message_id", &message.id));
    }
    if !message.correlation_id.is_empty() {
        let href = Some(frame.correlation_link(&message.correlation_id));
        all.push(Pair { href, ..plain("correlation_id", &message.correlation_id) });
    }
    if !message.kind.is_empty() {
        all.push(plain("type", &message.kind));
    }
    for (key, value) in &message.properties {
        let text = match (key.as_str(), value.as_i64()) {
            ("delivery_mode", Some(1)) => "1, kept in memory".to_owned(),
            ("delivery_mode", Some(2)) => "2, kept on disk".to_owned(),
            ("timestamp", Some(seconds)) => {
                match u64::try_from(seconds).ok().and_then(|at| at.checked_mul(1_000_000_000)) {
                    Some(at) => zone::utc(at),
                    None => seconds.to_string(),
                }
            }
            ("expiration", Some(ms)) => format!("{ms} ms"),
            _ => value.to_text(),
        };
        all.push(plain(key, &text));
    }
    all
}

fn headers(message: &Message) -> Vec<Pair> {
    let pair = |(key, value): &(String, Value)| {
        let (text, masked) = redact::field(key, &value.to_text());
        Pair { key: format::shortened(key, 120), text: format::shortened(&text, VALUE), masked, href: None }
    };
    message.headers.iter().map(pair).collect()
}

impl OnePage {
    /// `err`, or nothing.
    fn is_bad(&self) -> bool {
        matches!(self.way.end, End::Dead | End::Failing)
    }

    /// How long it waited, in words.
    fn waited(&self) -> String {
        let (ns, times) = self.way.waited;
        match times {
            0 => String::new(),
            _ => {
                format!("{}, {} in all", format::counted(times as u64, "wait", "waits"), format::duration(ns))
            }
        }
    }

    /// The link to the span that published it.
    fn sent_by(&self) -> Option<String> {
        let (trace, span) = self.way.sent_by?;
        Some(self.frame.span_link(&trace, &span))
    }

    fn times(&self, times: &Option<u64>) -> String {
        times.map_or_else(|| "—".to_owned(), format::count)
    }

    fn masked(&self, count: &usize) -> String {
        format::counted(*count as u64, "place masked", "places masked")
    }

    fn cut(&self, cut: &(u64, u64)) -> String {
        format!("Of its {} the first {} are kept.", format::bytes(cut.1), format::bytes(cut.0))
    }

    fn hits(&self, hits: &usize) -> String {
        format::counted(*hits as u64, "line", "lines")
    }
}
