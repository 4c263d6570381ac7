//! One queue: how many messages wait, rates and consumers over time, what it is, and who uses it.

use askama::Template;
use axum::extract::State as From;

use super::detail::{self, Detail};
use super::{Banner, banners, of, place, words};
use crate::dashboard::query::breakers::{Breaker, State};
use crate::dashboard::query::language;
use crate::dashboard::query::queues::one::{self as query, One};
use crate::dashboard::query::queues::{Key, Listed, Queue, Verdict};
use crate::dashboard::view::PageState;
use crate::dashboard::view::breakers;
use crate::dashboard::view::chart::{self, Lines, Mark};
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::escape::Html;
use crate::dashboard::view::format;
use crate::dashboard::view::frame::{Frame, Nav};
use crate::dashboard::view::html::{PageResult, page};
use crate::dashboard::view::operate;
use crate::dashboard::view::visit::Visit;

/// Links to traces by the names that spans give the queue.
const LINKS: usize = 3;
/// Openings of breakers that are marked over the depth, the newest.
const MARKS: usize = 12;

#[derive(Template)]
#[template(path = "queue.html")]
struct OnePage {
    frame: Frame,
    queue: Queue,
    one: One,
    banners: Vec<Banner>,
    detail: Detail,
    place: Option<Html>,
    depth: Option<Html>,
    rates: Option<Html>,
    consumers: Option<Html>,
    settings: Vec<(String, String)>,
    traces: Vec<(String, String)>,
}

/// Who sends, or who takes, with the messages of each.
struct Side<'a> {
    title: &'static str,
    nobody: &'static str,
    services: &'a [(String, u64)],
}

/// What the address asks for.
fn asked(visit: &Visit) -> Result<Key, PageError> {
    let of = |key: &str| {
        visit.params.get(key).filter(|text| !text.is_empty()).map(str::to_owned).ok_or_else(|| {
            PageError::bad(format!("“{key}” is missing: the address of a queue has broker, vhost and name."))
        })
    };
    Ok(Key {
        broker: of("broker")?,
        virtual_host: visit.params.get("vhost").filter(|text| !text.is_empty()).unwrap_or("/").to_owned(),
        name: of("name")?,
    })
}

/// The queue that the address asks for, or why there is none.
pub fn wanted<'a>(visit: &Visit, listed: &'a Listed) -> Result<&'a Queue, PageError> {
    let key = asked(visit)?;
    listed.find(&key).ok_or_else(|| {
        PageError::missing(
            "No such queue",
            format!(
                "No queue “{}” of “{}”, virtual host (or consumer group) “{}”, was heard {}. Choose a longer time range, or look at the list of queues.",
                format::shortened(&key.name, 80),
                format::shortened(&key.broker, 60),
                format::shortened(&key.virtual_host, 60),
                visit.range.phrase()
            ),
        )
    })
}

/// Handler of `GET /queues/one?broker=&vhost=&name=`.
pub async fn show(From(state): From<PageState>, visit: Visit) -> PageResult {
    asked(&visit)?;
    let listed = of(&state, &visit).await?;
    let queue = wanted(&visit, &listed)?.clone();
    let one = query::one(&*state.reader, &queue, listed.from, listed.to).await?;
    let frame = visit.frame(Nav::Queues, words::shown(&queue)).live();
    let mut banners = banners(&frame, &listed);
    banners.retain(|banner| banner.name == format::shortened(&queue.key.broker, 60));
    // A queue that is gone is not known there any more.
    let detail = match queue.verdict {
        Verdict::Gone => Detail::NotAsked,
        _ => detail::of(&state.board, &queue.key).await,
    };
    let opened = match one.takers.is_empty() {
        true => Vec::new(),
        false => opened(&breakers::of(&state, &visit).await?.breakers, &one.takers),
    };
    page(&draw(frame, (queue, one, detail), banners, (&listed, &opened)))
}

/// When a breaker opened in a service that takes from the queue, or before it: why it may have grown.
fn opened(all: &[Breaker], takers: &[(String, u64)]) -> Vec<Mark> {
    let takes = |name: &str| takers.iter().any(|(taker, _)| taker == name);
    let mine = all.iter().filter(|one| takes(&one.key.service) || one.peer.as_deref().is_some_and(takes));
    let mut marks: Vec<Mark> = mine
        .flat_map(|one| {
            let says = format!("{} {}", breakers::shown(&one.key), breakers::became(State::Open));
            let begins =
                one.strip.windows(2).filter(|pair| !pair[0].state.is_open() && pair[1].state.is_open());
            begins.map(move |pair| Mark { at: pair[1].from, says: says.clone() })
        })
        .collect();
    marks.sort_by_key(|mark| mark.at);
    marks.drain(..marks.len().saturating_sub(MARKS));
    marks
}

fn draw(
    frame: Frame,
    (queue, one, detail): (Queue, One, Detail),
    banners: Vec<Banner>,
    (listed, opened): (&Listed, &[Mark]),
) -> OnePage {
    let range = (listed.from, listed.to);
    let told = |values: &[Option<f64>]| values.iter().any(Option::is_some);
    let draw = |label, lines: &[(&[Option<f64>], &str)], unit, marks| {
        let lines: Vec<_> = lines.iter().copied().filter(|(values, _)| told(values)).collect();
        (!lines.is_empty())
            .then(|| chart::lines(&frame.visit, range, &Lines { label, lines: &lines, unit, marks }))
    };
    let whole = |value: f64| match value.fract() {
        0.0 => format::count(value as u64),
        _ => format!("{value:.1}"),
    };
    OnePage {
        place: place::draw(&frame, &queue, &one, &detail, listed),
        depth: draw(
            "Messages ready and unacknowledged",
            &[(&one.unacknowledged, "q"), (&one.ready, "a")],
            whole,
            opened,
        ),
        rates: draw(
            "Messages a second, in and out",
            &[(&one.incoming, "q"), (&one.outgoing, "a")],
            format::often,
            &[],
        ),
        consumers: draw("Consumers", &[(&one.consumers, "")], whole, &[]),
        settings: settings(&queue),
        traces: traces(&frame, &queue, &one),
        banners,
        detail,
        queue,
        one,
        frame,
    }
}

/// What the queue is, as pairs.
fn settings(queue: &Queue) -> Vec<(String, String)> {
    let cut = |text: &str| format::shortened(text, 200);
    if queue.is_kafka {
        let Key { broker, virtual_host: group, name: topic } = &queue.key;
        return [("Cluster", broker), ("Topic", topic), ("Consumer group", group)]
            .map(|(name, value)| (name.to_owned(), cut(value)))
            .into();
    }
    let Some(facts) = &queue.facts else { return Vec::new() };
    let yes = |value: Option<bool>| value.map(|value| if value { "yes" } else { "no" }.to_owned());
    let (exchange, key) = match &facts.dead_letters {
        None => (Some("none".to_owned()), None),
        Some((exchange, key)) if exchange.is_empty() => (Some("the default one".to_owned()), key.clone()),
        Some((exchange, key)) => (Some(exchange.clone()), key.clone()),
    };
    let queues = facts.dead_letter_queues.join(", ");
    let mut all: Vec<(String, String)> = [
        ("Type", facts.kind.clone()),
        ("State", facts.state.clone()),
        ("Node", facts.node.clone()),
        ("Durable", yes(facts.durable)),
        ("Exclusive", yes(facts.exclusive)),
        ("Auto-delete", yes(facts.auto_delete)),
        ("Policy", facts.policy.clone()),
        ("Limit", facts.limit.map(|limit| format::counted(limit, "message", "messages"))),
        ("Dead-letter exchange", exchange),
        ("Dead-letter routing key", key),
        ("Dead letters come to", (!queues.is_empty()).then_some(queues)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name.to_owned(), format::shortened(&value?, 200))))
    .collect();
    all.extend(facts.arguments.iter().map(|(key, value)| (cut(key), cut(value))));
    all
}

/// Where the traces are that went through the queue.
fn traces(frame: &Frame, queue: &Queue, one: &One) -> Vec<(String, String)> {
    let names: Vec<&str> = match one.destinations.as_slice() {
        [] => vec![&queue.key.name],
        all => all.iter().map(String::as_str).take(LINKS).collect(),
    };
    let query = |name: &str| format!("messaging.destination.name = {}", language::value(name));
    let link = |name: &&str| {
        let text = if names.len() == 1 {
            "Its traces".to_owned()
        } else {
            format!("Traces of {}", format::shortened(name, 60))
        };
        (text, frame.link_with("/traces", &[("query", &query(name))]))
    };
    names.iter().map(link).collect()
}

impl OnePage {
    /// `err`, `warn` or nothing.
    fn level(&self) -> &'static str {
        match self.queue.verdict {
            Verdict::NoConsumer { .. } | Verdict::Growing { .. } => "warn",
            Verdict::DeadLetters => "err",
            _ => "",
        }
    }

    fn headline(&self) -> String {
        words::finding(&self.queue, &self.frame)
    }

    fn lede(&self) -> String {
        let known = match &self.queue.sent_by {
            Some(sender) => format!("Its figures are sent by {}", format::shortened(sender, 60)),
            None => "The broker itself is asked for its figures".to_owned(),
        };
        match self.queue.heard {
            0 => format!("{known}, and it has told none yet."),
            heard => format!("{known}; the newest is {} old.", self.frame.age(&heard)),
        }
    }

    /// What a message that waits is called.
    fn waiting(&self) -> &'static str {
        if self.queue.is_kafka { "Lag" } else { "Ready" }
    }

    fn count(&self, value: &Option<f64>) -> Html {
        words::count(*value)
    }

    /// Where its messages are acted on, where Throughline can do so.
    fn messages(&self) -> Option<String> {
        let key = &self.queue.key;
        operate::messages_link(&self.frame, &key.broker, &key.virtual_host, &key.name)
    }

    fn rate(&self, value: &Option<f64>) -> Html {
        words::rate(*value)
    }

    /// Both sides with their titles and what is said where nobody was seen.
    fn sides(&self) -> [Side<'_>; 2] {
        [
            Side {
                title: "Sent by",
                nobody: "No trace tells who sends to it",
                services: &self.one.publishers,
            },
            Side {
                title: "Taken by",
                nobody: "No trace tells who takes from it",
                services: &self.one.takers,
            },
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::fixture::breakers as fixture;
    use crate::dashboard::fixture::reader::Memory;
    use crate::dashboard::query::breakers::kept::list;
    use crate::dashboard::view::visit::now;

    #[tokio::test]
    async fn a_breaker_that_opened_in_who_takes_or_before_them_is_marked() {
        let now = now();
        let mut memory = Memory::new(Vec::new());
        memory.series = fixture::series(now);
        let listed = list(&memory, now - 3_600_000_000_000, now).await.unwrap();
        let marks = |taker: &str| -> Vec<String> {
            let marks = opened(&listed.breakers, &[(taker.to_owned(), 1)]);
            assert!(marks.is_sorted_by_key(|mark| mark.at), "by time");
            marks.into_iter().map(|mark| mark.says).collect()
        };
        let (own, before) = ("card-processor opened", "payments opened");
        assert_eq!(marks("payments"), [before, own, own, before], "its own, and that of who calls it");
        assert_eq!(marks("orders"), [before, before]);
        assert_eq!(marks("analytics"), [""; 0]);
    }
}
