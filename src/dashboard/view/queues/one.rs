//! One queue: how many messages wait, rates and consumers over time, what it is, and who uses it.

use askama::Template;
use axum::extract::State as From;

use super::detail::{self, Detail};
use super::{Banner, banners, of, words};
use crate::dashboard::model::Nanos;
use crate::dashboard::query::language;
use crate::dashboard::query::queues::one::{self as query, One};
use crate::dashboard::query::queues::{Key, Listed, Queue, Verdict};
use crate::dashboard::view::PageState;
use crate::dashboard::view::chart::{self, Lines};
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::escape::Html;
use crate::dashboard::view::format;
use crate::dashboard::view::frame::{Frame, Nav};
use crate::dashboard::view::html::{PageResult, page};
use crate::dashboard::view::operate;
use crate::dashboard::view::visit::Visit;

/// Links to traces by the names that spans give the queue.
const LINKS: usize = 3;

#[derive(Template)]
#[template(path = "queue.html")]
struct OnePage {
    frame: Frame,
    queue: Queue,
    one: One,
    banners: Vec<Banner>,
    detail: Detail,
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
    page(&draw(frame, (queue, one, detail), banners, (listed.from, listed.to)))
}

fn draw(
    frame: Frame,
    (queue, one, detail): (Queue, One, Detail),
    banners: Vec<Banner>,
    range: (Nanos, Nanos),
) -> OnePage {
    let told = |values: &[Option<f64>]| values.iter().any(Option::is_some);
    let draw = |label, lines: &[(&[Option<f64>], &str)], unit| {
        let lines: Vec<_> = lines.iter().copied().filter(|(values, _)| told(values)).collect();
        (!lines.is_empty())
            .then(|| chart::lines(&frame.visit, range, &Lines { label, lines: &lines, unit, marks: &[] }))
    };
    let whole = |value: f64| match value.fract() {
        0.0 => format::count(value as u64),
        _ => format!("{value:.1}"),
    };
    OnePage {
        depth: draw(
            "Messages ready and unacknowledged",
            &[(&one.unacknowledged, "q"), (&one.ready, "a")],
            whole,
        ),
        rates: draw(
            "Messages a second, in and out",
            &[(&one.incoming, "q"), (&one.outgoing, "a")],
            format::often,
        ),
        consumers: draw("Consumers", &[(&one.consumers, "")], whole),
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
