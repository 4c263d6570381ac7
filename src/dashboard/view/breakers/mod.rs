//! Circuit breakers: `/breakers`, one of them at `/breakers/one`, and the same as JSON under `/api/breakers`.
//!
//! * [`one`]: the page of one breaker; [`json`]: for programs; [`strip`]: states over time, drawn.

pub mod json;
pub mod one;
pub mod strip;

use std::sync::Arc;

use askama::Template;
use axum::extract::State as From;

use super::PageState;
use super::connect;
use super::error::PageError;
use super::escape::{Html, escaped};
use super::format;
use super::frame::{Frame, Nav};
use super::html::{PageResult, page};
use super::visit::{Params, Visit};
use super::zone;
use crate::dashboard::model::Nanos;
use crate::dashboard::query::breakers::kept::Listed;
use crate::dashboard::query::breakers::{Breaker, Key, Known, State};
use crate::dashboard::query::kept::Period;

/// Rows of a page where the address does not say, and at most.
const USUAL_LIMIT: usize = 200;
const MOST: usize = 1_000;
/// A share of failed calls from which it is drawn as an error.
const FAILING: f64 = 0.2;

/// The breakers of a visit's range.
pub async fn of(state: &PageState, visit: &Visit) -> Result<Arc<Listed>, PageError> {
    Ok(state.breakers.get(&*state.reader, period(visit)).await?)
}

/// Those in a service, and those of other services that guard it; the gravest first.
pub fn around<'a>(listed: &'a Listed, service: &str) -> Vec<&'a Breaker> {
    let concerns = |one: &&Breaker| one.key.service == service || one.peer.as_deref() == Some(service);
    listed.breakers.iter().filter(concerns).collect()
}

/// The time of a visit, as what is kept knows it.
pub fn period(visit: &Visit) -> Period {
    match visit.range.preset {
        Some(_) => Period::Last(visit.range.length()),
        None => Period::Fixed(visit.range.from, visit.range.to),
    }
}

/// What the address asks for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub service: Option<String>,
    pub state: Option<State>,
    pub limit: usize,
}

impl Asked {
    /// Reads it; an error names the field that cannot be read.
    pub fn read(visit: &Visit) -> Result<Self, PageError> {
        let state = match visit.params.text("state").filter(|word| *word != "any") {
            None => None,
            Some(word) => {
                let known = State::ALL.into_iter().find(|state| state.code() == word);
                Some(known.ok_or_else(|| {
                    let codes = State::ALL.map(State::code).join(", ");
                    PageError::bad(format!(
                        "“state” may be {codes} or any, not “{}”.",
                        format::shortened(word, 20)
                    ))
                })?)
            }
        };
        Ok(Self {
            service: visit.params.text("service").map(str::to_owned),
            state,
            limit: visit.params.number("limit", 1..=MOST, USUAL_LIMIT)?,
        })
    }

    /// Whether a breaker is wanted.
    pub fn wants(&self, breaker: &Breaker) -> bool {
        self.service.as_ref().is_none_or(|service| *service == breaker.key.service)
            && self.state.is_none_or(|state| state == breaker.state)
    }
}

#[derive(Template)]
#[template(path = "breakers.html")]
struct ListPage {
    frame: Frame,
    asked: Asked,
    /// Of all breakers of the range, filtered or not.
    headline: String,
    lede: String,
    services: Vec<String>,
    states: Vec<State>,
    filtered: bool,
    /// How many are wanted; the rows are no more than the limit.
    wanted: usize,
    rows: Vec<Row>,
    incomplete: bool,
}

/// A breaker in a list.
pub struct Row {
    pub name: String,
    pub href: String,
    pub service: String,
    pub peer: Option<String>,
    pub badge: Html,
    pub since: Html,
    pub here: String,
    pub failing: Html,
    pub rejected: Html,
    pub strip: Html,
    known: String,
    how: &'static str,
}

/// Handler of `GET /breakers`.
pub async fn list(From(state): From<PageState>, visit: Visit) -> PageResult {
    let asked = Asked::read(&visit)?;
    let listed = state.breakers.get(&*state.reader, period(&visit)).await?;
    if listed.breakers.is_empty() && !asked_for_more(&visit) {
        return connect::breakers::empty(&visit, &state);
    }
    let frame = visit.frame(Nav::Breakers, "Breakers").live();
    page(&draw(frame, asked, &listed))
}

/// Whether the address narrows so much that an empty list may be the answer to it.
fn asked_for_more(visit: &Visit) -> bool {
    ["service", "state"].iter().any(|key| visit.params.text(key).is_some())
}

fn draw(frame: Frame, asked: Asked, listed: &Listed) -> ListPage {
    let all = &listed.breakers;
    let wanted: Vec<&Breaker> = all.iter().filter(|breaker| asked.wants(breaker)).collect();
    let mut services: Vec<String> = all.iter().map(|breaker| breaker.key.service.clone()).collect();
    services.sort();
    services.dedup();
    ListPage {
        headline: headline(all),
        lede: lede(all),
        services,
        states: State::ALL.into_iter().filter(|state| all.iter().any(|one| one.state == *state)).collect(),
        filtered: asked.service.is_some() || asked.state.is_some(),
        wanted: wanted.len(),
        rows: wanted.iter().take(asked.limit).map(|breaker| row(&frame, breaker)).collect(),
        incomplete: !listed.complete,
        asked,
        frame,
    }
}

/// A breaker as lists show it.
pub fn row(frame: &Frame, breaker: &Breaker) -> Row {
    let unknown = || askama::filters::Safe(r#"<span class="none" title="not told">—</span>"#.to_owned());
    let number = |number: String, unit: &str, class: &str| {
        askama::filters::Safe(format!(
            r#"<span class="{class}">{number}</span>{}<span class="unit">{unit}</span>"#,
            format::NBSP
        ))
    };
    let failing = breaker.failing.map_or_else(unknown, |share| {
        let text = format::percent(share);
        let class = if share >= FAILING { "err-t" } else { "" };
        let value = text.split(format::NBSP).next().unwrap_or_default().to_owned();
        number(value, "%", class)
    });
    let rejected = breaker.rejected.map_or_else(unknown, |rate| number(format::rate(rate), "/s", ""));
    Row {
        name: shown(&breaker.key),
        href: frame.breaker_link(&breaker.key),
        service: breaker.key.service.clone(),
        peer: breaker.peer.as_ref().map(|peer| format::shortened(peer, 60)),
        badge: badge(frame, breaker.state),
        since: since(frame, breaker),
        here: here(breaker),
        failing,
        rejected,
        strip: strip::strip(&frame.visit, &breaker.strip, "long"),
        known: known(frame, breaker),
        how: breaker.known.sentence(),
    }
}

/// A breaker's name as text; some libraries know breakers without one.
pub fn shown(key: &Key) -> String {
    if key.name.trim().is_empty() { "(not named)".to_owned() } else { format::shortened(&key.name, 60) }
}

/// `3 of 10`: instances in the breaker's state, where that is trouble; else how many are heard.
fn here(breaker: &Breaker) -> String {
    match (breaker.heard, breaker.state.is_trouble()) {
        (0, _) => "—".to_owned(),
        (heard, true) => format!("{} of {heard}", breaker.here),
        (heard, false) => heard.to_string(),
    }
}

/// How long it has been in its state.
fn since(frame: &Frame, breaker: &Breaker) -> Html {
    let Some(since) = breaker.since else {
        return askama::filters::Safe(r#"<span class="none" title="not told">—</span>"#.to_owned());
    };
    let age = frame.age(&since);
    let (before, title) = match breaker.older {
        true => (">\u{a0}", "longer than was looked back".to_owned()),
        false => ("", format!("since {}", frame.visit.zone.moment(since, frame.visit.now))),
    };
    askama::filters::Safe(format!(
        r#"<span title="{}">{}{}</span>"#,
        escaped(&title),
        escaped(before),
        escaped(&age)
    ))
}

/// How the state is known, in a few words.
fn known(frame: &Frame, breaker: &Breaker) -> String {
    match breaker.state {
        State::Unknown if breaker.known != Known::Rejections => match breaker.since {
            Some(heard) => format!("silent for {}", frame.age(&heard)),
            None => "silent".to_owned(),
        },
        _ => breaker.known.word().to_owned(),
    }
}

/// The colour's class of a state and its icon.
pub fn look(state: State) -> (&'static str, &'static str) {
    match state {
        State::Open | State::ForcedOpen => ("err", "open"),
        State::Partly | State::HalfOpen => ("warn", "half"),
        State::Saturated => ("warn", "sat"),
        State::Closed => ("", "closed"),
        State::Assumed | State::Disabled | State::MetricsOnly => ("quiet", "closed"),
        State::Unknown => ("quiet", "unknown"),
    }
}

/// What a breaker did that is in a state now, in a word or two: for drawings.
pub fn became(state: State) -> &'static str {
    match state {
        State::Open => "opened",
        State::ForcedOpen => "was opened by hand",
        State::Closed => "closed",
        State::HalfOpen => "is half-open",
        other => other.word(),
    }
}

/// A state with its shape, word and colour.
pub fn badge(frame: &Frame, state: State) -> Html {
    let (class, icon) = look(state);
    let class = if class.is_empty() { String::new() } else { format!(" {class}") };
    askama::filters::Safe(format!(
        r#"<span class="badge{class}">{}{}</span>"#,
        frame.icon(icon).0,
        escaped(state.word())
    ))
}

/// The worst of them as a sentence: `payments is open in 3 of 10 instances of orders`.
pub fn finding(breaker: &Breaker) -> String {
    let (name, service) = (shown(&breaker.key), format::shortened(&breaker.key.service, 60));
    let word = breaker.state.word();
    match breaker.heard {
        0 | 1 => format!("{name} is {word} in {service}"),
        heard => format!("{name} is {word} in {} of {heard} instances of {service}", breaker.here),
    }
}

fn headline(all: &[Breaker]) -> String {
    let open = all.iter().filter(|breaker| breaker.state.is_open()).count();
    match (all.first().filter(|first| first.state.is_trouble()), open) {
        (Some(first), 0 | 1) => finding(first),
        (Some(first), open) => {
            format!(
                "{open} breakers are open, {} of {} first",
                shown(&first.key),
                format::shortened(&first.key.service, 60)
            )
        }
        (None, _) if all.is_empty() => "No breakers".to_owned(),
        (None, _) if all.iter().all(|breaker| breaker.state == State::Unknown) => {
            "Nothing is known of any breaker now".to_owned()
        }
        (None, _) => "No breaker is open".to_owned(),
    }
}

/// How many are in each state.
fn lede(all: &[Breaker]) -> String {
    let counts = State::ALL.into_iter().filter_map(|state| {
        let count = all.iter().filter(|breaker| breaker.state == state).count();
        (count > 0).then(|| format!("{} {}", format::count(count as u64), state.word()))
    });
    let counts: Vec<String> = counts.collect();
    match all.len() {
        0 => String::new(),
        all => format!("{}: {}.", format::counted(all as u64, "breaker", "breakers"), counts.join(", ")),
    }
}

impl ListPage {
    fn is_state(&self, state: &State) -> bool {
        self.asked.state.as_ref() == Some(state)
    }

    fn heading(&self) -> String {
        format::counted(self.wanted as u64, "breaker", "breakers")
    }

    /// The address with all rows that one page shows.
    fn more(&self) -> String {
        self.frame.here(&[("limit", Some(&MOST.to_string()))])
    }
}

impl Frame {
    /// The page of a breaker.
    pub fn breaker_link(&self, key: &Key) -> String {
        let library = key.library.code();
        self.breaker_named(&key.service, &key.name, Some(library))
    }

    /// The page of a breaker at a time that this page's range may not hold.
    pub fn breaker_at(&self, service: &str, name: &str, at: Nanos) -> String {
        const AROUND: Nanos = 900_000_000_000;
        let range = &self.visit.range;
        if (range.from..=range.to).contains(&at) {
            return self.breaker_named(service, name, None);
        }
        let (from, to) = (zone::rfc3339(at.saturating_sub(AROUND)), zone::rfc3339(at.saturating_add(AROUND)));
        let text = |text: &str| text.replace('\0', "\u{2400}");
        let pairs = [("service", text(service)), ("name", text(name)), ("from", from), ("to", to)];
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value));
        format!("/breakers/one{}", Params(pairs.into()).write())
    }

    /// The page of a breaker of which no library is known.
    pub fn breaker_named(&self, service: &str, name: &str, library: Option<&str>) -> String {
        // No address holds a NUL; its picture stands for it.
        let text = |text: &str| text.replace('\0', "\u{2400}");
        let mut pairs = vec![("service".to_owned(), text(service)), ("name".to_owned(), text(name))];
        pairs.extend(library.map(|library| ("library".to_owned(), library.to_owned())));
        pairs.extend(self.visit.range.params().into_iter().map(|(key, value)| (key.to_owned(), value)));
        format!("/breakers/one{}", Params(pairs).write())
    }
}
