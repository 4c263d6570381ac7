//! Queues: `/queues`, one of them at `/queues/one`, and the same as JSON under `/api/queues`.
//!
//! * [`one`]: the page of one queue; [`place`]: what leads into it and out of it, drawn; [`detail`]: what its broker says of it now; [`json`]: for programs; [`words`]: verdicts and figures as text.
//!
//! A queue's names may hold anything, slashes too, so its address has them as parameters.

mod detail;
pub mod json;
pub mod one;
mod place;
pub mod words;

use std::sync::Arc;

use askama::Template;
use axum::extract::State as From;

use super::PageState;
use super::breakers::period;
use super::connect;
use super::error::PageError;
use super::escape::Html;
use super::format;
use super::frame::{Frame, Nav};
use super::html::{PageResult, page};
use super::services::spark;
use super::visit::{Params, Visit};
use crate::dashboard::query::queues::{Key, Listed, Queue, Verdict};

/// Rows of a page where the address does not say, and at most.
const USUAL_LIMIT: usize = 200;
const MOST: usize = 1_000;

/// What the address asks for.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub find: Option<String>,
    pub broker: Option<String>,
    /// Those only that somebody should look at.
    pub trouble: bool,
    pub limit: usize,
}

impl Asked {
    /// Reads it; an error names the field that cannot be read.
    pub fn read(visit: &Visit) -> Result<Self, PageError> {
        let text = |key: &str| visit.params.text(key).map(str::to_owned);
        let limit = visit.params.number("limit", 1..=MOST, USUAL_LIMIT)?;
        Ok(Self { find: text("find"), broker: text("broker"), trouble: visit.params.on("trouble"), limit })
    }

    fn wants(&self, queue: &Queue) -> bool {
        // Of Kafka by the group's name too, which stands in the row.
        let group = if queue.is_kafka { queue.key.virtual_host.as_str() } else { "" };
        let holds = |text: &String| {
            [&queue.key.name, group].iter().any(|name| name.to_lowercase().contains(&text.to_lowercase()))
        };
        self.find.as_ref().is_none_or(holds)
            && self.broker.as_ref().is_none_or(|broker| *broker == queue.key.broker)
            && (!self.trouble || queue.verdict.is_trouble())
    }

    fn narrows(&self) -> bool {
        self.find.is_some() || self.broker.is_some() || self.trouble
    }
}

/// The queues of a visit.
pub async fn of(state: &PageState, visit: &Visit) -> Result<Arc<Listed>, PageError> {
    Ok(state.queues.get(&*state.reader, period(visit), state.board.brokers()).await?)
}

#[derive(Template)]
#[template(path = "queues.html")]
struct ListPage {
    frame: Frame,
    headline: String,
    lede: String,
    asked: Asked,
    brokers: Vec<String>,
    /// What is to be said of brokers: whether it is bad, and the sentence.
    banners: Vec<Banner>,
    wanted: usize,
    rows: Vec<Row>,
    incomplete: bool,
}

/// What is to be said of a broker.
pub struct Banner {
    name: String,
    what: &'static str,
    says: String,
}

/// A queue in the list.
struct Row {
    name: String,
    href: String,
    broker: String,
    badge: Html,
    kind: String,
    ready: Html,
    /// What messages that wait are called.
    waiting: &'static str,
    unacknowledged: Html,
    trend: Html,
    incoming: Html,
    outgoing: Html,
    consumers: Html,
    dead_letters: String,
    /// Its figures are old.
    stale: bool,
}

/// Handler of `GET /queues`.
pub async fn list(From(state): From<PageState>, visit: Visit) -> PageResult {
    let asked = Asked::read(&visit)?;
    let listed = of(&state, &visit).await?;
    if listed.queues.is_empty() && listed.brokers.is_empty() && !asked.narrows() {
        return connect::queues::empty(&visit, &state);
    }
    let frame = visit.frame(Nav::Queues, "Queues").live();
    page(&draw(frame, asked, &listed))
}

fn draw(frame: Frame, asked: Asked, listed: &Listed) -> ListPage {
    let wanted: Vec<&Queue> = listed.queues.iter().filter(|queue| asked.wants(queue)).collect();
    let mut brokers: Vec<String> = listed.queues.iter().map(|queue| queue.key.broker.clone()).collect();
    brokers.extend(listed.brokers.iter().map(|broker| broker.name.clone()));
    brokers.sort_unstable();
    brokers.dedup();
    ListPage {
        headline: words::headline(&listed.queues, &frame),
        lede: words::lede(&listed.queues),
        brokers,
        banners: banners(&frame, listed),
        wanted: wanted.len(),
        rows: wanted.iter().take(asked.limit).map(|queue| row(&frame, queue)).collect(),
        incomplete: !listed.complete,
        asked,
        frame,
    }
}

/// Brokers that do not answer, and those that have more queues than are kept.
pub fn banners(frame: &Frame, listed: &Listed) -> Vec<Banner> {
    let mut all = Vec::new();
    for broker in &listed.brokers {
        let name = format::shortened(&broker.name, 60);
        if let Some((why, since)) = &broker.failing {
            let last = match broker.reached {
                Some(at) => format!(
                    "Its last figures are those of {}.",
                    frame.visit.zone.clock(at, frame.visit.now, true)
                ),
                None => "It was never reached.".to_owned(),
            };
            let says = format!("for {} at {}: {why}. {last}", frame.age(since), broker.address);
            all.push(Banner { name: name.clone(), what: "does not tell of its queues", says });
        }
        if broker.left_out > 0 {
            let says = format!(
                "{} without figures here: those with most messages are kept.",
                format::counted(broker.left_out as u64, "queue is", "queues are")
            );
            all.push(Banner { name, what: "has more queues than are kept:", says });
        }
    }
    all
}

fn row(frame: &Frame, queue: &Queue) -> Row {
    let facts = queue.facts.as_ref();
    let most = |most: f64| format!("at most {} ready", format::count(most as u64));
    Row {
        name: words::shown(queue),
        href: frame.queue_link(&queue.key),
        broker: words::place(queue),
        badge: words::badge(frame, queue),
        kind: facts
            .and_then(|facts| facts.kind.clone())
            .map_or_else(|| usual_kind(queue).to_owned(), |kind| format::shortened(&kind, 20)),
        ready: words::count(queue.ready),
        waiting: if queue.is_kafka { "lag" } else { "ready" },
        unacknowledged: words::count(queue.unacknowledged),
        trend: if queue.trend.iter().any(Option::is_some) {
            spark::values_of(&queue.trend, "", most)
        } else {
            words::unknown()
        },
        incoming: words::rate(queue.incoming),
        outgoing: words::rate(queue.outgoing),
        consumers: words::count(queue.consumers),
        dead_letters: words::dead_letters(facts),
        stale: matches!(queue.verdict, Verdict::Silent | Verdict::Gone),
    }
}

/// What is said of a queue's kind where its broker is not asked.
fn usual_kind(queue: &Queue) -> &'static str {
    if queue.is_kafka { "Kafka group" } else { "—" }
}

impl ListPage {
    fn heading(&self) -> String {
        format::counted(self.wanted as u64, "queue", "queues")
    }

    /// The address with all rows that one page shows.
    fn more(&self) -> String {
        self.frame.here(&[("limit", Some(&MOST.to_string()))])
    }
}

impl Frame {
    /// The page of a queue.
    pub fn queue_link(&self, key: &Key) -> String {
        // No address holds a NUL; its picture stands for it.
        let pair = |key: &str, text: &str| (key.to_owned(), text.replace('\0', "\u{2400}"));
        let mut pairs =
            vec![pair("broker", &key.broker), pair("vhost", &key.virtual_host), pair("name", &key.name)];
        pairs.extend(self.visit.range.params().into_iter().map(|(key, value)| (key.to_owned(), value)));
        format!("/queues/one{}", Params(pairs).write())
    }
}
