//! Messages: `/messages`, one of them at `/messages/{id}`, and the same as JSON and CSV under `/api/messages`.
//!
//! * [`asked`]: what the address of the list asks for.
//! * [`one`]: the page of one message; [`body`]: its body as HTML.
//! * [`json`]: for programs, and the exports.

mod asked;
pub mod body;
pub mod json;
pub mod one;

use askama::Template;
use axum::extract::State as From;

use super::bars;
use super::connect;
use super::error::PageError;
use super::escape::Html;
use super::frame::{Frame, Nav};
use super::html::{PageResult, page};
use super::news::News;
use super::visit::{Params, Visit};
use super::{PageState, format};
use crate::dashboard::model::messages::{Seen, TapStatus};
use crate::dashboard::model::{Message, Nanos};
use crate::dashboard::query::messages::body::{Schemas, Sent};
use crate::dashboard::query::messages::{self as query, deaths};
use crate::dashboard::query::queues;
use crate::dashboard::store::{LogCounts, LogFilter, LogPage};
use asked::Asked;

/// The row that counts newer messages.
const NEWS: News = News { path: "/messages", columns: 7, names: ("message", "messages") };
/// Columns of the chart, about.
const COLUMNS: usize = 90;
/// New messages that are counted where each has to be read for it.
const MOST_NEW: usize = 100;
/// Of a body, the bytes that are read for its line, and the characters of the line.
const PREVIEW: usize = 2 << 10;
const LINE: usize = 110;

#[derive(Template)]
#[template(path = "messages.html")]
struct ListPage {
    frame: Frame,
    asked: Asked,
    /// Headers asked for, with the address that is without each.
    headers: Vec<(String, String, String)>,
    filtered: bool,
    counts: LogCounts,
    chart: Option<Html>,
    found: LogPage,
    rows: Vec<Row>,
    next: Option<String>,
    first: Option<String>,
    new_rows: Option<String>,
    downloads: [(&'static str, String); 2],
    banners: Vec<String>,
    listening: String,
}

/// A message in the list.
struct Row {
    time: Nanos,
    href: String,
    name: String,
    preview: String,
    /// `dead letter`, where it is one.
    dead: bool,
    exchange: String,
    key: String,
    queues: Vec<(String, String)>,
    more_queues: usize,
    size: String,
    trace: Option<(String, String)>,
    correlation: Option<String>,
}

/// Handler of `GET /messages`.
pub async fn list(From(state): From<PageState>, visit: Visit) -> PageResult {
    let asked = Asked::read(&visit)?;
    let filter = asked.filter(&visit, asked::USUAL_LIMIT)?;
    let counts = state.reader.log_counts(&filter, COLUMNS).await?;
    let found = state.reader.logs(&filter).await?;
    if found.rows.is_empty() && !asked.narrows() && state.board.taps().is_empty() {
        return connect::messages::empty(&visit, &state);
    }
    let mut frame = visit.frame(Nav::Messages, "Messages");
    frame.stream = visit.range.preset.is_some();
    page(&draw(frame, asked, &filter, counts, found))
}

fn draw(frame: Frame, asked: Asked, filter: &LogFilter, counts: LogCounts, found: LogPage) -> ListPage {
    let state = frame.visit.state.clone();
    let visit = &frame.visit;
    let messages: Vec<Message> = found.rows.iter().filter_map(|row| Message::of(&row.log)).collect();
    let headers = asked.headers.iter().map(|(key, value)| {
        let pair = format!("{key}={value}");
        let to = format!("/messages{}", visit.params.without("header", &pair).write());
        (pair, format!("{} = {}", format::shortened(key, 60), format::shortened(value, 60)), to)
    });
    let newest = found.rows.first().map_or(visit.range.from, |row| row.time);
    let live = frame.stream && filter.after.is_none();
    let says = format!("{} messages over time", counts.total());
    let export = |path: &str| format!("{path}{}", visit.params.with(&[("limit", None)]).write());
    let taps = state.board.taps();
    ListPage {
        headers: headers.collect(),
        filtered: asked.narrows(),
        chart: (counts.total() > 0).then(|| bars::bars(visit, &counts, &says, ("message", "messages"))),
        next: found.next.map(|cursor| frame.here(&[("after", Some(&super::logs::write_cursor(cursor)))])),
        first: filter.after.map(|_| frame.here(&[("after", None)])),
        new_rows: live.then(|| NEWS.address(visit, newest)),
        downloads: [("JSON", export("/api/messages.json")), ("CSV", export("/api/messages.csv"))],
        banners: taps.iter().flat_map(|tap| banners(&frame, tap)).collect(),
        listening: listening(&frame, &taps),
        rows: messages.iter().map(|message| row(&frame, message)).collect(),
        counts,
        found,
        asked,
        frame,
    }
}

fn row(frame: &Frame, message: &Message) -> Row {
    let queue = |name: &String| (format::shortened(name, 40), frame.queue_of(message, name));
    let trace = message.trace_id.map(|trace| {
        let to = match message.span_id {
            Some(span) => frame.span_link(&trace, &span),
            None => frame.trace_link(&trace),
        };
        (to, trace.to_string())
    });
    Row {
        time: message.seen,
        href: frame.message_link(message.name()),
        name: format::shortened(query::name(message), 60),
        preview: preview(message),
        dead: message.how == Seen::DeadLettered || !deaths::of(message).is_empty(),
        exchange: exchange(&message.exchange),
        key: format::shortened(&message.routing_key, 60),
        queues: message.queues.iter().take(2).map(queue).collect(),
        more_queues: message.queues.len().saturating_sub(2),
        size: format::bytes(message.size),
        trace,
        correlation: Some(message.correlation_id.clone()).filter(|id| !id.is_empty()),
    }
}

/// The name of an exchange.
fn exchange(name: &str) -> String {
    if name.is_empty() { "(default)".to_owned() } else { format::shortened(name, 60) }
}

/// The beginning of a body in one line.
fn preview(message: &Message) -> String {
    let kept = message.body.len().min(PREVIEW);
    let (content_type, encoding) = (message.property("content_type"), message.property("content_encoding"));
    let sent = Sent {
        body: &message.body[..kept],
        content_type: &content_type,
        content_encoding: &encoding,
        ..sent_of(message)
    };
    query::body::read(&sent, &Schemas::default()).preview(LINE)
}

/// A message as its body is read from.
fn sent_of(message: &Message) -> Sent<'_> {
    Sent {
        body: &message.body,
        size: message.size,
        kind: &message.kind,
        headers: &message.headers,
        ..Sent::default()
    }
}

/// What is wrong with a tap.
fn banners(frame: &Frame, tap: &TapStatus) -> Vec<String> {
    let mut all = Vec::new();
    let name = tap_name(tap);
    if let Some((why, since)) = &tap.failing {
        let last = match tap.last() {
            Some(at) => format!("The last message came {} ago.", frame.age(&at)),
            None => "None came yet.".to_owned(),
        };
        all.push(format!("{name}: messages are not seen for {}: {why}. {last}", frame.age(since)));
    }
    if tap.dropped() > 0 {
        all.push(format!(
            "{name}: {} let go since the start, as more came than can be kept.",
            format::counted(tap.dropped(), "message was", "messages were")
        ));
    }
    all
}

/// `RabbitMQ eu-1 at 127.0.0.1:5672, virtual host /`.
pub fn tap_name(tap: &TapStatus) -> String {
    let source = &tap.source;
    let system = if source.system == "rabbitmq" { "RabbitMQ" } else { "The embedded broker" };
    let host = match source.virtual_host.as_str() {
        "" => String::new(),
        name => format!(", virtual host {}", format::shortened(name, 60)),
    };
    format!(
        "{system} {} at {}{host}",
        format::shortened(&source.broker, 60),
        format::shortened(&source.server, 80)
    )
}

/// What is listened to, in a sentence.
fn listening(frame: &Frame, taps: &[TapStatus]) -> String {
    if taps.is_empty() {
        return "No tap is on, so nothing new is seen: start the dashboard with --tap.".to_owned();
    }
    let one = |tap: &TapStatus| {
        let since = tap.listening.map(|since| format!(" for {}", frame.age(&since)));
        let left = match tap.left_out.len() {
            0 => String::new(),
            some => format!(", {some} left out"),
        };
        let seen = format::count(tap.seen());
        let exchanges = format::counted(tap.exchanges.len() as u64, "exchange", "exchanges");
        Some(format!(
            "{exchanges} of {}{}{left}: {seen} seen",
            format::shortened(&tap.source.broker, 60),
            since?
        ))
    };
    let all: Vec<String> = taps.iter().filter_map(one).collect();
    if all.is_empty() { String::new() } else { format!("Listening to {}.", all.join("; ")) }
}

impl ListPage {
    /// How many there are, as one sentence.
    fn lede(&self) -> String {
        let phrase = self.frame.visit.range.phrase();
        let shown = self.rows.len() as u64;
        let is_part = self.found.next.is_some() || self.first.is_some();
        match (self.filtered, shown) {
            (true, 0) => format!("No message matches {phrase}."),
            (true, _) if is_part => format!("Messages that match {phrase}, the newest first."),
            (true, some) => {
                let verb = if some == 1 { "matches" } else { "match" };
                format!("{} {verb} {phrase}.", format::counted(some, "message", "messages"))
            }
            (false, _) => match self.counts.total() {
                0 => format!("No message was seen {phrase}."),
                all => {
                    let least = if self.counts.complete { "" } else { "At least " };
                    format!("{least}{} {phrase}.", format::counted(all, "message", "messages"))
                }
            },
        }
    }

    /// What the list is of.
    fn heading(&self) -> String {
        let is_part = self.filtered || self.first.is_some();
        let count = if is_part { self.rows.len() as u64 } else { self.counts.total() };
        format::counted(count, "message", "messages")
    }
}

/// Handler of `GET /messages/new`: one row that says how many messages came since.
pub async fn new_rows(From(state): From<PageState>, visit: Visit) -> PageResult {
    if visit.params.get("since").is_none() {
        // Somebody looks for a message of this name.
        return one::page_of(&state, visit, "new").await;
    }
    let since = News::since(&visit)?;
    let filter = Asked::read(&visit)?.filter(&visit, MOST_NEW)?;
    let filter =
        LogFilter { from: Some(since.saturating_add(1)), to: None, limit: MOST_NEW, after: None, ..filter };
    let (count, more) = if filter.reads_logs() {
        let found = state.reader.logs(&filter).await?;
        (found.rows.len() as u64, found.next.is_some())
    } else {
        let counts = state.reader.log_counts(&filter, 1).await?;
        (counts.total(), !counts.complete)
    };
    NEWS.row(&visit, count, more)
}

impl Frame {
    /// The page of a message.
    pub fn message_link(&self, id: &str) -> String {
        // No address holds a NUL; its picture stands for it.
        self.link(&format!("/messages/{}", format::segment(&id.replace('\0', "\u{2400}"))))
    }

    /// The page of a queue that a message came to.
    fn queue_of(&self, message: &Message, name: &str) -> String {
        let host = if message.source.virtual_host.is_empty() { "/" } else { &message.source.virtual_host };
        self.queue_link(&queues::Key {
            broker: message.source.broker.clone(),
            virtual_host: host.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The list of messages that came to a queue.
    pub fn messages_of_queue(&self, name: &str) -> String {
        let mut pairs = vec![("queue".to_owned(), name.to_owned())];
        pairs.extend(self.visit.range.params().into_iter().map(|(key, value)| (key.to_owned(), value)));
        format!("/messages{}", Params(pairs).write())
    }
}

/// An error for an ID that no message has.
fn missing(id: &str) -> PageError {
    PageError::missing(
        "No such message",
        format!(
            "No message “{}” was seen by a tap, and no span that is kept names it.",
            format::shortened(id, 120)
        ),
    )
}
