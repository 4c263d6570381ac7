//! The messages of a queue: a look into it, what it has shown, and what can be done with them.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;

use super::message;
use super::{At, address, nature, peek_of, queue_link};
use crate::dashboard::keys::Role;
use crate::dashboard::operate::Place;
use crate::dashboard::operate::job::Job;
use crate::dashboard::operate::kept::Peeked;
use crate::dashboard::operate::order::Nature;
use crate::dashboard::view::PageState;
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::format;
use crate::dashboard::view::frame::{Frame, Nav};
use crate::dashboard::view::html::{PageResult, page};
use crate::dashboard::view::visit::Visit;

/// Characters of a body in a row.
const PREVIEW: usize = 140;
/// Redrives that are shown.
const JOBS: usize = 5;

#[derive(Template)]
#[template(path = "messages_taken.html")]
struct MessagesPage {
    frame: Frame,
    place: Place,
    nature: Nature,
    /// Why nothing can be done here: no way to the broker is set, or the visitor may not.
    hindrance: Option<(String, String)>,
    /// Messages that are ready, where somebody told.
    ready: Option<u64>,
    peeked: Option<Arc<Peeked>>,
    rows: Vec<Row>,
    jobs: Vec<Arc<Job>>,
    /// Different reasons and queues of death among the rows, for the form.
    reasons: Vec<String>,
    queues: Vec<String>,
}

/// A message in the list.
struct Row {
    mark: String,
    href: String,
    name: String,
    key: String,
    why: String,
    /// The redrive after which it failed again.
    again: Option<String>,
    died_in: String,
    correlation: Option<String>,
    size: String,
    preview: String,
}

/// Handler of `GET /queues/{broker}/{vhost}/{name}/messages`: `peek` is a look, `m` one of its messages.
pub async fn show(State(state): State<PageState>, visit: Visit, At(place): At) -> PageResult {
    let peek = visit.params.text("peek").map(|_| peek_of(&visit));
    let peeked = match peek {
        None => None,
        Some(peek) => {
            visit.must_be(Role::Operator)?;
            Some(peek.and_then(|peek| state.desk.kept.find(peek, &place)).ok_or_else(message::forgotten)?)
        }
    };
    if let (Some(peeked), Some(number)) = (&peeked, visit.params.text("m")) {
        let number = number.parse().map_err(|_| PageError::bad("“m” is the number of a message."))?;
        return message::draw(&visit, peeked.clone(), number, false);
    }
    let mut frame = visit.frame(Nav::Queues, format!("Messages of {}", format::shortened(&place.queue, 80)));
    let jobs: Vec<Arc<Job>> = state.desk.jobs.of(&place).into_iter().take(JOBS).collect();
    // While something is under way the page follows it; else it stands still for who reads and ticks.
    frame.refresh = peeked.is_none() && jobs.iter().any(|job| job.is_active());
    let hindrance = hindrance(&state, &visit, &place);
    let rows: Vec<Row> = peeked
        .iter()
        .flat_map(|peeked| {
            (1..).zip(&peeked.letters).map(|(number, letter)| row(&frame, peeked, number, letter))
        })
        .collect();
    let distinct = |of: fn(&Row) -> &String| {
        let mut all: Vec<String> = rows.iter().map(of).filter(|text| !text.is_empty()).cloned().collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    let (reasons, queues) = (distinct(|row| &row.why), distinct(|row| &row.died_in));
    let (nature, ready) = (nature(&state, &place), ready(&state, &place));
    page(&MessagesPage { frame, place, nature, hindrance, ready, peeked, rows, jobs, reasons, queues })
}

fn ready(state: &PageState, place: &Place) -> Option<u64> {
    let brokers = state.board.brokers();
    let broker = brokers.iter().find(|broker| broker.name == place.broker)?;
    let mut queues = broker.queues.iter();
    queues.find(|facts| facts.virtual_host == place.virtual_host && facts.name == place.queue)?.ready
}

/// What stands in the way, and what to do about it.
fn hindrance(state: &PageState, visit: &Visit, place: &Place) -> Option<(String, String)> {
    if !state.desk.can_act_on(&place.broker) {
        let broker = format::shortened(&place.broker, 60);
        return Some((
            format!("Throughline can only look at figures of “{broker}”."),
            format!(
                "To act on its messages start Throughline with --rabbitmq-amqp {broker}=amqp://USER:PASSWORD@HOST:5672."
            ),
        ));
    }
    let error = visit.must_be(Role::Operator).err()?;
    Some((error.to_string(), error.advice().to_owned()))
}

fn row(
    frame: &Frame,
    peeked: &Peeked,
    number: usize,
    letter: &crate::dashboard::operate::letter::Letter,
) -> Row {
    let id = letter.property("message_id").filter(|id| !id.is_empty());
    let params = [("peek", &*peeked.id.to_string()), ("m", &*number.to_string())];
    Row {
        mark: letter.mark.clone(),
        href: frame.link_with(&address(&peeked.place, "messages"), &params),
        name: id.map_or_else(|| format!("no ID, {}", &letter.mark[..8]), str::to_owned),
        key: format::shortened(&letter.routing_key, 60),
        why: format::shortened(&letter.reason().unwrap_or_default(), 80),
        again: letter.redriven().filter(|_| letter.reason().is_some()),
        died_in: letter.died_in().unwrap_or_default(),
        correlation: letter.correlation(),
        size: format::bytes(letter.size),
        preview: message::body_of(letter, false, &frame.visit.state.schemas).preview(PREVIEW),
    }
}

impl MessagesPage {
    fn to(&self, what: &str) -> String {
        address(&self.place, what)
    }

    fn queue(&self) -> String {
        queue_link(&self.frame, &self.place)
    }

    fn export(&self, ending: &str) -> String {
        let peek = self.peeked.as_ref().map_or(0, |peeked| peeked.id);
        format!("{}?peek={peek}", self.to(&format!("messages.{ending}")))
    }

    fn name(&self) -> String {
        format::shortened(&self.place.queue, 80)
    }

    fn headline(&self) -> String {
        match self.ready {
            Some(0) => format!("No message is ready in {}", self.name()),
            Some(count) => {
                format!("{} ready in {}", format::counted(count, "message is", "messages are"), self.name())
            }
            None => format!("Messages of {}", self.name()),
        }
    }

    /// How many a look has shown.
    fn seen(&self) -> String {
        match &self.peeked {
            Some(peeked) => format::counted(peeked.letters.len() as u64, "message", "messages"),
            None => "Nothing looked at yet".to_owned(),
        }
    }

    /// What a look does to a queue of this kind.
    fn warning(&self) -> String {
        if self.is_free() {
            return "A look changes nothing here.".to_owned();
        }
        match (self.nature.kind.as_deref(), self.nature.delivery_limit) {
            (Some("stream"), _) => "A stream is read from an offset on; nothing in it changes.".to_owned(),
            (Some("quorum"), Some(limit)) => format!(
                "A quorum queue: what is looked at goes to the back, and each look counts as one of the {limit} deliveries that are \
                 allowed. A message at its limit is put back as a copy, so that none is lost."
            ),
            (Some("quorum"), None) => "A quorum queue: what is looked at goes to the back of the queue, and is marked as \
                 delivered before."
                .to_owned(),
            (Some(_), _) => "What is looked at stays in its place, and is marked as delivered before.".to_owned(),
            (None, _) => "Nobody tells what kind of queue this is. In a quorum queue what is looked at goes to the back, and \
                 counts towards its delivery limit."
                .to_owned(),
        }
    }

    /// Whether a look has to be allowed to count.
    fn counts(&self) -> bool {
        match self.nature.kind.as_deref() {
            Some("quorum") => self.nature.delivery_limit.is_some(),
            Some(_) => false,
            None => !self.is_free(),
        }
    }

    fn is_free(&self) -> bool {
        self.frame.visit.state.desk.looks_are_free(&self.place.broker)
    }

    fn is_stream(&self) -> bool {
        self.nature.is("stream")
    }

    fn may_purge(&self) -> bool {
        self.frame.visit.visitor.may(Role::Admin)
    }

    /// A redrive in a line.
    fn line(&self, job: &Job) -> String {
        super::job::line(&job.progress(), job.order.is_dry)
    }
}
