//! The place of a queue as a drawing: who sends, by which exchanges and keys, who takes, and where its dead letters go.
//!
//! Exchanges and keys are those of the broker's bindings, or else those that spans name; services are those of spans. Which
//! of several services sends to which of several exchanges is not known here, so their lines run together.

mod pen;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use self::pen::{BOX, OWN, boxed, lines, over, own};
use super::detail::Detail;
use super::words;
use crate::dashboard::query::queues::one::One;
use crate::dashboard::query::queues::{Key, Listed, Queue};
use crate::dashboard::view::escape::{Html, escaped};
use crate::dashboard::view::format;
use crate::dashboard::view::frame::Frame;

const WIDTH: f64 = 1080.0;
/// From one box of a column to the next.
const PITCH: f64 = 54.0;
/// Left edges of the columns: services that send, exchanges, the queue, services that take.
const SENDERS: f64 = 2.0;
const EXCHANGES: f64 = 226.0;
const QUEUE: f64 = 554.0;
const TAKERS: f64 = 906.0;
/// Where the lines of a column run together.
const GATHER: f64 = 200.0;
const ROUTE: f64 = 534.0;
const SPREAD: f64 = 884.0;
/// Boxes of a column.
const MOST: usize = 4;

/// A box: name, what stands below it, where it leads.
struct Node {
    shape: Shape,
    name: String,
    below: String,
    /// What stands below is bad news.
    is_bad: bool,
    href: Option<String>,
    /// Above the line that leads from it.
    line: String,
}

impl Node {
    /// One that leads nowhere.
    fn new(shape: Shape, name: impl Into<String>, below: impl Into<String>) -> Self {
        Self { shape, name: name.into(), below: below.into(), is_bad: false, href: None, line: String::new() }
    }

    /// A queue with its page.
    fn of(frame: &Frame, queue: &Queue, below: String) -> Self {
        let href = Some(frame.queue_link(&queue.key));
        Self { href, ..Self::new(Shape::Queue, &queue.key.name, below) }
    }
}

enum Shape {
    /// In the colour of its service.
    Service(String),
    Exchange,
    Queue,
    /// Somebody of whom no span tells.
    Somebody,
    /// What is left out.
    More,
}

/// What stands around the queue.
struct Around {
    senders: Vec<Node>,
    exchanges: Vec<Node>,
    /// Queues whose dead letters come here; they stand below the exchanges.
    feeders: Vec<Node>,
    takers: Vec<Node>,
    /// Queues that keep its messages for a time: whether it passes on to them, and whether they give back.
    delays: Vec<(Node, bool, bool)>,
    /// Where its dead letters go, or what it passes on after a time.
    dead: Vec<Node>,
    /// Why messages go there.
    why: String,
}

/// Draws it; nothing where nothing is known around it.
pub fn draw(frame: &Frame, queue: &Queue, one: &One, detail: &Detail, listed: &Listed) -> Option<Html> {
    let around = Around::of(frame, queue, one, detail, listed);
    let is_alone = around.senders.is_empty()
        && around.exchanges.is_empty()
        && around.feeders.is_empty()
        && around.takers.is_empty()
        && around.delays.is_empty()
        && around.dead.is_empty();
    (!is_alone).then(|| askama::filters::Safe(around.draw(queue)))
}

impl Around {
    fn of(frame: &Frame, queue: &Queue, one: &One, detail: &Detail, listed: &Listed) -> Self {
        let services = |all: &[(String, u64)]| {
            let node = |(name, messages): &(String, u64)| Node {
                href: Some(frame.service_link(name)),
                ..Node::new(
                    Shape::Service(frame.slot(name)),
                    name,
                    format::counted(*messages, "message", "messages"),
                )
            };
            cut(all.iter().map(node).collect())
        };
        let mut exchanges: Vec<(String, Vec<String>)> = Vec::new();
        let bindings = Some(detail.bindings()).filter(|told| !told.is_empty());
        for (name, fits) in bindings.unwrap_or_else(|| seen(queue, one)) {
            match exchanges.iter_mut().find(|(known, _)| *known == name) {
                Some((_, all)) => all.push(fits),
                None => exchanges.push((name, vec![fits])),
            }
        }
        let exchange = |(name, fits): (String, Vec<String>)| Node {
            line: fits.join(", "),
            ..Node::new(Shape::Exchange, name, "exchange")
        };
        let (delays, dead, why) = passed_on(frame, queue, listed);
        let mut takers = services(&one.takers);
        // Who is asked about this queue knows it sooner than the list of all queues does.
        let now = detail.told().map(|told| told.all_consumers as u64).filter(|count| *count > 0);
        let count = now.or(queue.consumers.map(|count| count as u64)).unwrap_or(0);
        if takers.is_empty() && count > 0 {
            let name = format::counted(count, "consumer", "consumers");
            takers.push(Node::new(Shape::Somebody, name, "no span tells of it"));
        }
        Self {
            senders: services(&one.publishers),
            exchanges: cut(exchanges.into_iter().map(exchange).collect()),
            feeders: cut(feeders(frame, queue, listed)),
            takers,
            delays,
            dead,
            why,
        }
    }

    fn draw(&self, queue: &Queue) -> String {
        let leading = self.exchanges.len() + self.feeders.len();
        let rows = self.senders.len().max(leading).max(self.takers.len()).max(1);
        let middle = rows as f64 * PITCH / 2.0;
        let beneath = self.delays.len().max(self.dead.len());
        let height = rows as f64 * PITCH + beneath as f64 * PITCH;
        let mut out = format!(
            r#"<svg class="seq flowd" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{}">"#,
            escaped(&self.told(queue))
        );
        let ys = |all: usize| -> Vec<f64> {
            (0..all).map(|at| middle + (at as f64 - (all as f64 - 1.0) / 2.0) * PITCH).collect()
        };
        let (senders, takers) = (ys(self.senders.len()), ys(self.takers.len()));
        let leading = ys(leading);
        let (exchanges, feeders) = leading.split_at(self.exchanges.len());
        if exchanges.is_empty() {
            lines(&mut out, (&senders, SENDERS + BOX.0), ROUTE, (&[middle], QUEUE), "msg t");
        } else {
            lines(&mut out, (&senders, SENDERS + BOX.0), GATHER, (exchanges, EXCHANGES), "msg");
            lines(&mut out, (exchanges, EXCHANGES + BOX.0), ROUTE, (&[middle], QUEUE), "msg t");
        }
        lines(&mut out, (feeders, EXCHANGES + BOX.0), ROUTE, (&[middle], QUEUE), "msg d");
        let between = || self.exchanges.iter().chain(&self.feeders).zip(&leading);
        for (node, y) in between() {
            over(&mut out, (EXCHANGES + BOX.0 + ROUTE) / 2.0, y - 6.0, &node.line);
        }
        lines(&mut out, (&[middle], QUEUE + OWN.0), SPREAD, (&takers, TAKERS), "msg t");
        if !self.takers.is_empty() {
            over(&mut out, (QUEUE + OWN.0 + SPREAD) / 2.0, middle - 6.0, &outward(queue));
        }
        self.beneath(&mut out, middle, rows as f64 * PITCH);
        between().for_each(|(node, y)| boxed(&mut out, node, (EXCHANGES, y - BOX.1 / 2.0)));
        for (nodes, ys, x) in [(&self.senders, &senders, SENDERS), (&self.takers, &takers, TAKERS)] {
            nodes.iter().zip(ys).for_each(|(node, y)| boxed(&mut out, node, (x, y - BOX.1 / 2.0)));
        }
        own(&mut out, queue, (QUEUE, middle - OWN.1 / 2.0));
        out.push_str("</svg>");
        out
    }

    /// What is passed on, below the queue: delays to the left, dead letters to the right.
    fn beneath(&self, out: &mut String, middle: f64, top: f64) {
        let foot = middle + OWN.1 / 2.0;
        for (at, (node, there, back)) in self.delays.iter().enumerate() {
            let y = top + (at as f64 + 0.5) * PITCH;
            let (x, right) = (QUEUE + 46.0, EXCHANGES + BOX.0);
            let from = if *there { right + 8.0 } else { right };
            let _ = write!(out, r#"<path class="msg d" d="M{x} {foot}V{y}H{from}"/>"#);
            if *there {
                let _ = write!(out, r#"<path class="ah" d="M{right} {y}l8-4v8Z"/>"#);
            }
            if *back {
                let _ = write!(out, r#"<path class="ah" d="M{x} {foot}l-4 8h8Z"/>"#);
            }
            over(out, (right + x) / 2.0, y - 6.0, if *there { "kept for a time" } else { "given back" });
            boxed(out, node, (EXCHANGES, y - BOX.1 / 2.0));
        }
        for (at, node) in self.dead.iter().enumerate() {
            let y = top + (at as f64 + 0.5) * PITCH;
            let (x, class) = (QUEUE + OWN.0 - 46.0, if node.is_bad { " e" } else { "" });
            let _ = write!(
                out,
                r#"<path class="msg d{class}" d="M{x} {foot}V{y}H{}"/><path class="ah{class}" d="M{TAKERS} {y}l-8-4v8Z"/>"#,
                TAKERS - 8.0
            );
            over(out, (x + TAKERS) / 2.0, y - 6.0, &self.why);
            boxed(out, node, (TAKERS, y - BOX.1 / 2.0));
        }
    }

    /// The drawing in words.
    fn told(&self, queue: &Queue) -> String {
        let names = |nodes: &[Node]| {
            let all: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
            format::shortened(&all.join(", "), 200)
        };
        let mut said = vec![match (self.senders.is_empty(), self.exchanges.is_empty()) {
            (true, true) => format!("The place of {}", words::shown(queue)),
            (false, true) => format!("{} send to {}", names(&self.senders), words::shown(queue)),
            (true, false) => format!("{} lead to {}", names(&self.exchanges), words::shown(queue)),
            (false, false) => format!(
                "{} send by {} to {}",
                names(&self.senders),
                names(&self.exchanges),
                words::shown(queue)
            ),
        }];
        if !self.feeders.is_empty() {
            said.push(match is_delay(queue) {
                true => format!("{} pass on to it", names(&self.feeders)),
                false => format!("dead letters of {} come to it", names(&self.feeders)),
            });
        }
        if !self.takers.is_empty() {
            said.push(format!("taken by {}", names(&self.takers)));
        }
        for (node, ..) in &self.delays {
            said.push(format!("{} keeps messages for a time", format::shortened(&node.name, 80)));
        }
        if !self.dead.is_empty() {
            said.push(format!("{} go to {}", self.why, names(&self.dead)));
        }
        said.join("; ")
    }
}

/// The queues whose dead letters come here, those of delays left out: what they pass on is none.
fn feeders(frame: &Frame, queue: &Queue, listed: &Listed) -> Vec<Node> {
    let leads_here = |other: &&Queue| {
        let facts = other.facts.as_ref();
        other.key != queue.key
            && is_beside(queue, other)
            && facts.is_some_and(|facts| !facts.delays && facts.dead_letter_queues.contains(&queue.key.name))
    };
    // A queue that is one of delays gets what is to wait.
    let line = if is_delay(queue) { "to wait" } else { "dead letters" };
    let node = |other: &Queue| Node { line: line.to_owned(), ..Node::of(frame, other, ready(other)) };
    listed.queues.iter().filter(leads_here).map(node).collect()
}

fn is_beside(queue: &Queue, other: &Queue) -> bool {
    (&other.key.broker, &other.key.virtual_host) == (&queue.key.broker, &queue.key.virtual_host)
}

fn is_delay(queue: &Queue) -> bool {
    queue.facts.as_ref().is_some_and(|facts| facts.delays)
}

/// Exchanges and keys by which messages came, as consumers' spans name them: `exchange:key:queue` (semantic conventions for
/// RabbitMQ, `messaging.destination.name`), without the key where it is the queue's name or empty.
fn seen(queue: &Queue, one: &One) -> Vec<(String, String)> {
    let named = one.destinations.iter().filter_map(|name| {
        let before = name.strip_suffix(queue.key.name.as_str())?.strip_suffix(':')?;
        let (exchange, key) = before.split_once(':').unwrap_or((before, ""));
        (!exchange.is_empty()).then(|| (exchange.to_owned(), key.to_owned()))
    });
    named.filter(|_| !queue.is_kafka).collect()
}

/// At most [`MOST`] boxes, the last of which says how many are left out.
fn cut(mut nodes: Vec<Node>) -> Vec<Node> {
    if nodes.len() > MOST {
        let more = nodes.len() - (MOST - 1);
        nodes.truncate(MOST - 1);
        nodes.push(Node::new(Shape::More, format!("and {more} more"), ""));
    }
    nodes
}

/// Where messages go that nobody took: queues of delays with whether it passes on to them and they to it, the others, and
/// why they go to those.
fn passed_on(frame: &Frame, queue: &Queue, listed: &Listed) -> (Vec<(Node, bool, bool)>, Vec<Node>, String) {
    let beside = |name: &str| {
        let key = Key { name: name.to_owned(), ..queue.key.clone() };
        listed.find(&key)
    };
    let facts = queue.facts.as_ref();
    let targets = facts.map_or(&[][..], |facts| &facts.dead_letter_queues);
    let mut delays: Vec<(Node, bool, bool)> = listed
        .queues
        .iter()
        .filter(|other| other.key != queue.key && is_beside(queue, other) && is_delay(other))
        .filter_map(|other| {
            let there = targets.contains(&other.key.name);
            let facts = other.facts.as_ref()?;
            let back = facts.dead_letter_queues.contains(&queue.key.name);
            let below = format!("{}, for a time", ready(other));
            (there || back).then(|| (Node::of(frame, other, below), there, back))
        })
        .collect();
    delays.truncate(MOST);
    let is_own_delay = is_delay(queue);
    let others = targets.iter().filter(|name| !delays.iter().any(|(node, ..)| node.name == **name));
    let mut dead: Vec<Node> = others
        .map(|name| match beside(name) {
            Some(other) if is_own_delay || !other.takes_dead_letters => Node::of(frame, other, ready(other)),
            Some(other) => {
                let holds = other.ready.map_or_else(
                    || "dead letters".to_owned(),
                    |ready| format::counted(ready.max(0.0) as u64, "dead letter", "dead letters"),
                );
                let is_bad = other.ready.is_some_and(|ready| ready > 0.0);
                Node { is_bad, ..Node::of(frame, other, holds) }
            }
            None => Node::new(Shape::Queue, name, "not heard of"),
        })
        .collect();
    if let Some((exchange, key)) = facts.and_then(|facts| facts.dead_letters.as_ref())
        && targets.is_empty()
    {
        let name = if exchange.is_empty() { "the default one" } else { exchange };
        dead.push(Node::new(Shape::Exchange, name, key.as_deref().unwrap_or("no queue bound")));
    }
    let why = match facts.and_then(|facts| facts.delivery_limit) {
        _ if is_own_delay => "after its time".to_owned(),
        Some(limit) => format!("after {}", format::counted(limit, "return", "returns")),
        None => "dead letters".to_owned(),
    };
    (delays, cut(dead), why)
}

fn ready(queue: &Queue) -> String {
    match queue.ready {
        Some(ready) => format!("{} ready", format::count(ready.max(0.0).round() as u64)),
        None => "depth unknown".to_owned(),
    }
}

/// `21.4/s, 4 consumers`, as far as it is known.
fn outward(queue: &Queue) -> String {
    let rate = queue.outgoing.map(format::often);
    let consumers = queue.consumers.map(|count| format::counted(count as u64, "consumer", "consumers"));
    rate.into_iter().chain(consumers).collect::<Vec<_>>().join(", ")
}
