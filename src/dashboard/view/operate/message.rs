//! One message of a look: its body, properties, headers, its deaths in words; and, revealed, as it is, to be edited.

use askama::Template;
use axum::extract::State;

use super::deeds::{Given, fields};
use super::{At, address, must_be, peek_of};
use crate::dashboard::keys::Role;
use crate::dashboard::model::audit::Action;
use crate::dashboard::model::{TraceId, Value};
use crate::dashboard::operate::Place;
use crate::dashboard::operate::kept::Peeked;
use crate::dashboard::operate::letter::{Death, Letter, text_of};
use crate::dashboard::query::messages::body::{self, Body, Form, Schemas, Sent};
use crate::dashboard::query::messages::deaths;
use crate::dashboard::query::redact;
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::escape::Html;
use crate::dashboard::view::frame::{Frame, Nav};
use crate::dashboard::view::html::{PageResult, page};
use crate::dashboard::view::messages::body as drawing;
use crate::dashboard::view::visit::Visit;
use crate::dashboard::view::{PageState, format};

/// Longest value of a header that is shown, in characters.
const MOST_VALUE: usize = 2_000;

/// A message as it is shown.
pub struct Shown {
    pub letter: Letter,
    /// Its number in the look, from 1.
    pub number: usize,
    pub body: Body,
    pub headers: Vec<Pair>,
    pub properties: Vec<Pair>,
}

/// A name and what may be shown of its value.
pub struct Pair {
    pub name: String,
    pub value: String,
    pub masked: bool,
}

/// The body of a message, its secrets masked unless they are revealed.
pub fn body_of(letter: &Letter, reveal: bool, schemas: &Schemas) -> Body {
    let headers: Vec<(String, Value)> =
        letter.headers.iter().map(|(name, value)| (name.clone(), Value::Text(text_of(value)))).collect();
    let of = |name: &str| letter.property(name).unwrap_or_default();
    let sent = Sent {
        body: &letter.body,
        size: letter.size,
        content_type: of("content_type"),
        content_encoding: of("content_encoding"),
        kind: of("type"),
        headers: &headers,
        reveal,
    };
    body::read(&sent, schemas)
}

/// What may be shown of headers, or of properties.
pub fn pairs<'a>(all: impl Iterator<Item = (&'a str, String)>, reveal: bool) -> Vec<Pair> {
    let pair = |(name, value): (&str, String)| {
        let (value, masked) = if reveal { (value, false) } else { redact::field(name, &value) };
        Pair { name: format::shortened(name, 255), value: format::shortened(&value, MOST_VALUE), masked }
    };
    all.map(pair).collect()
}

impl Shown {
    pub fn of(letter: &Letter, number: usize, reveal: bool, schemas: &Schemas) -> Self {
        let headers = letter.headers.iter().map(|(name, value)| (name.as_str(), text_of(value)));
        let properties = letter.properties.iter().map(|(name, value)| (*name, value.clone()));
        Self {
            number,
            body: body_of(letter, reveal, schemas),
            headers: pairs(headers, reveal),
            properties: pairs(properties, reveal),
            letter: letter.clone(),
        }
    }

    /// The body as on the page of a message that a tap saw.
    pub fn drawn(&self) -> Html {
        let form = self.body.forms().first().copied().unwrap_or(Form::Hex);
        drawing::draw(&self.body, form, None).html
    }

    /// What it is: `application/json, 1.18 kB`.
    pub fn what(&self) -> String {
        let kind = self.letter.property("content_type").unwrap_or("no content type");
        let what = format!("{}, {}", format::shortened(kind, 60), format::bytes(self.letter.size));
        std::iter::once(what).chain(drawing::steps(&self.body)).collect::<Vec<_>>().join("; ")
    }

    /// Whether its body can be edited as text: all of it is here, and it is text.
    pub fn text(&self) -> Option<&str> {
        let plain = self.letter.property("content_encoding").unwrap_or_default().is_empty();
        std::str::from_utf8(&self.letter.body).ok().filter(|_| plain && self.letter.is_whole())
    }
}

/// A message of a look, by its mark.
///
/// # Errors
/// The look or the message is not known any more.
pub fn find(
    state: &PageState,
    place: &Place,
    peek: Option<u64>,
    mark: Option<&str>,
) -> Result<Letter, PageError> {
    let peeked = peek.and_then(|peek| state.desk.kept.find(peek, place)).ok_or_else(forgotten)?;
    let letter = peeked.letters.iter().find(|letter| Some(letter.mark.as_str()) == mark);
    letter.cloned().ok_or_else(|| PageError::bad("“pick” names no message of this look."))
}

/// Why a look cannot be shown again.
pub fn forgotten() -> PageError {
    PageError::missing(
        "This look is over",
        "What was looked at is kept for half an hour and not beyond a restart. Look into the queue again.",
    )
}

#[derive(Template)]
#[template(path = "message_taken.html")]
struct MessagePage {
    frame: Frame,
    place: Place,
    peeked: std::sync::Arc<Peeked>,
    shown: Shown,
    /// Its secrets are shown, and it can be edited.
    revealed: bool,
}

/// The page of one message.
pub fn draw(visit: &Visit, peeked: std::sync::Arc<Peeked>, number: usize, revealed: bool) -> PageResult {
    let letter = number.checked_sub(1).and_then(|at| peeked.letters.get(at)).ok_or_else(|| {
        PageError::missing("No such message", format!("This look has {} messages.", peeked.letters.len()))
    })?;
    let shown = Shown::of(letter, number, revealed, &visit.state.schemas);
    let title = shown.letter.property("message_id").unwrap_or("A message").to_owned();
    let frame = visit.frame(Nav::Queues, format::shortened(&title, 80));
    let place = peeked.place.clone();
    page(&MessagePage { frame, place, peeked: peeked.clone(), shown, revealed })
}

/// Handler of `POST …/reveal`: shows a message as it is, once that was written down. The answer is the page itself, so that
/// looking again is recorded again.
pub async fn reveal(State(state): State<PageState>, visit: Visit, At(place): At, form: Given) -> PageResult {
    must_be(&visit, Role::Operator, Action::Reveal, &place).await?;
    let fields = fields(form)?;
    let number = |name: &str| fields.get(name).and_then(|text| text.parse::<u64>().ok());
    let peeked =
        number("peek").or_else(|| peek_of(&visit)).and_then(|peek| state.desk.kept.find(peek, &place));
    let peeked = peeked.ok_or_else(forgotten)?;
    let number = number("m").unwrap_or(0) as usize;
    let letter = number.checked_sub(1).and_then(|at| peeked.letters.get(at));
    if let Some(letter) = letter {
        let id = letter.property("message_id").unwrap_or(&letter.mark);
        let what = format!("message {} of look {}", format::shortened(id, 120), peeked.id);
        state.desk.reveal(&visit.visitor, &place, &what).await?;
    }
    draw(&visit, peeked, number, true)
}

impl MessagePage {
    fn to(&self, what: &str) -> String {
        address(&self.place, what)
    }

    fn list(&self) -> String {
        let params = [("peek", &*self.peeked.id.to_string())];
        self.frame.link_with(&self.to("messages"), &params)
    }

    fn headline(&self) -> String {
        let what = self.shown.letter.property("type").filter(|kind| !kind.is_empty());
        let what = format::shortened(what.unwrap_or("A message"), 80);
        match (self.shown.letter.reason(), self.shown.letter.died_in()) {
            (Some(reason), Some(queue)) => {
                format!(
                    "{what} died in {}: {}",
                    format::shortened(&queue, 80),
                    format::shortened(&reason, 160)
                )
            }
            _ => format!("{what} waits in {}", format::shortened(&self.place.queue, 80)),
        }
    }

    fn is_dead(&self) -> bool {
        self.shown.letter.reason().is_some()
    }

    fn origin(&self) -> Option<String> {
        self.shown.letter.origin().map(|(exchange, key)| match exchange.as_str() {
            "" => format!("queue {}", format::shortened(&key, 120)),
            exchange => {
                format!("{} with key {}", format::shortened(exchange, 120), format::shortened(&key, 120))
            }
        })
    }

    fn died_in(&self) -> Option<String> {
        self.shown.letter.died_in().map(|queue| format::shortened(&queue, 120))
    }

    /// The redrive after which it failed again.
    fn again(&self) -> Option<String> {
        self.shown.letter.redriven().filter(|_| self.is_dead())
    }

    fn correlation(&self) -> Option<String> {
        self.shown.letter.correlation()
    }

    fn trace(&self) -> Option<String> {
        let parent = self.shown.letter.header_text("traceparent")?;
        let id = TraceId::parse(parent.split('-').nth(1)?).ok()?;
        Some(self.frame.trace_link(&id))
    }

    fn deaths(&self) -> Vec<Death> {
        self.shown.letter.deaths().into_iter().take(50).collect()
    }

    fn masked(&self) -> Option<String> {
        let masked = self.shown.body.masked as u64;
        (masked > 0).then(|| format::counted(masked, "value is masked", "values are masked"))
    }

    /// What happened, and what that means.
    fn words(&self, death: &Death) -> (String, &'static str) {
        let (what, means) = deaths::in_words(&death.reason);
        (format::shortened(what, 60), means)
    }

    fn died_at(&self, death: &Death) -> Html {
        self.frame.time_short(&death.at.unwrap_or(0).saturating_mul(1_000_000_000))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_hold_what_is_a_persons_are_masked_until_they_are_revealed() {
        let headers = [("x-session-token", "t-1"), ("customer.email", "a@b.example"), ("x-tenant", "eu")];
        let all = || headers.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let masked: Vec<bool> = pairs(all(), false).iter().map(|pair| pair.masked).collect();
        assert_eq!(masked, [true, true, false]);
        assert!(pairs(all(), true).iter().all(|pair| !pair.masked));
    }
}
