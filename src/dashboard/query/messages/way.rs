//! A message's way as stops: who published it, by which exchange, in which queues it waited, who took it and how that ended.
//!
//! Spans tell who and when; taps tell exchange, key and queues, and of dead letters where no span does.

use super::super::prose::Prose;
use super::super::semantics::Semantics;
use super::super::story::mail::{Delivery, Mail, Post};
use super::super::story::read::Outcome;
use super::super::story::steps::Steps;
use super::super::story::verdict::delivery_why;
use super::{Known, name};
use crate::dashboard::model::messages::Seen;
use crate::dashboard::model::{Nanos, SpanId, TraceId};

/// Stops that are drawn.
const MOST_STOPS: usize = 60;

/// How a stop is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Plain,
    Bad,
    /// It waited here.
    Wait,
}

/// Who or what a stop is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    Service(String),
    Exchange(String),
    Queue(String),
    /// Anything else, in words.
    Words(String),
}

/// One stop.
#[derive(Debug, Clone, PartialEq)]
pub struct Stop {
    pub mark: Mark,
    pub who: Who,
    /// What happened: `published`, `acknowledged`; empty where `length` says it.
    pub what: String,
    /// For a wait: how long, in ns, and whether it goes on.
    pub length: Option<(u64, bool)>,
    pub at: Option<Nanos>,
    pub span: Option<(TraceId, SpanId)>,
    /// In smaller type: the routing key, why it failed.
    pub note: String,
}

/// How it ended, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Published, and nobody was seen to take it.
    Published,
    Taken,
    /// It failed and is to be delivered again.
    Failing,
    Dead,
    /// It was seen in no message and no span.
    Unknown,
}

/// All of it.
#[derive(Debug)]
pub struct Way {
    pub stops: Vec<Stop>,
    pub left: usize,
    pub end: End,
    /// Its title: a finding.
    pub title: String,
    /// What happened, in some sentences.
    pub told: Prose,
    /// Time that it waited in all, in ns, and how often.
    pub waited: (u64, usize),
    /// The span that published it.
    pub sent_by: Option<(TraceId, SpanId)>,
    pub correlation: Option<String>,
}

/// Puts the way together.
pub fn of(known: &Known, now: Nanos) -> Way {
    let steps = Steps::of(&known.traces, now);
    let mail = Mail::of(&steps);
    let post = mail.posts.iter().find(|post| is_it(known, &steps, post));
    let mut telling = Telling { known, steps: &steps, post, stops: Vec::new(), now };
    telling.published();
    let last = telling.deliveries();
    telling.dead();
    telling.finish(last)
}

/// Whether a post of the traces is this message.
fn is_it(known: &Known, steps: &Steps, post: &Post) -> bool {
    let names = |at: usize| Semantics(steps.list[at].span).message_id() == Some(known.id.as_str());
    let seen = |at: usize| {
        let span = steps.list[at].span;
        let ids = (Some(span.trace_id), Some(span.span_id));
        known.seen.iter().any(|message| message.id.is_empty() && (message.trace_id, message.span_id) == ids)
    };
    post.sender.is_some_and(|at| names(at) || seen(at))
        || post.errands.iter().flat_map(|errand| &errand.deliveries).any(|delivery| names(delivery.step))
}

struct Telling<'a> {
    known: &'a Known,
    steps: &'a Steps<'a>,
    post: Option<&'a Post>,
    stops: Vec<Stop>,
    now: Nanos,
}

/// What is known of the delivery that was made last.
struct Last {
    end: Nanos,
    outcome: Option<Outcome>,
    failed: bool,
    number: u32,
    service: String,
    why: Option<String>,
    to: Option<String>,
}

impl Telling<'_> {
    fn stop(&mut self, mark: Mark, who: Who, what: impl Into<String>) -> &mut Stop {
        let stop =
            Stop { mark, who, what: what.into(), length: None, at: None, span: None, note: String::new() };
        self.stops.push(stop);
        self.stops.last_mut().expect("one was pushed")
    }

    fn ids(&self, step: usize) -> (TraceId, SpanId) {
        (self.steps.list[step].span.trace_id, self.steps.list[step].span.span_id)
    }

    fn published(&mut self) {
        let first = self.known.first();
        let sender = self.post.and_then(|post| post.sender);
        if let Some(at) = sender {
            let step = &self.steps.list[at];
            let (service, time, failed) = (step.service().to_owned(), step.start, step.failed());
            let ids = self.ids(at);
            let (mark, what) =
                if failed { (Mark::Bad, "could not publish it") } else { (Mark::Plain, "published it") };
            let stop = self.stop(mark, Who::Service(service), what);
            (stop.at, stop.span) = (Some(time), Some(ids));
        } else if let Some(first) = first {
            let who = match first.property("app_id") {
                app if app.is_empty() => Who::Words("published".to_owned()),
                app => Who::Service(app),
            };
            self.stop(Mark::Plain, who, "published it, as a tap saw").at = Some(first.seen);
        }
        let Some(first) = first.filter(|first| first.how == Seen::Published) else { return };
        let queues = match first.queues.len() {
            0 => String::new(),
            1 => "to 1 queue".to_owned(),
            many => format!("to {many} queues"),
        };
        let note = match first.routing_key.as_str() {
            "" => "no routing key".to_owned(),
            key => format!("key {key}"),
        };
        let exchange = first.exchange.clone();
        self.stop(Mark::Plain, Who::Exchange(exchange), queues).note = note;
    }

    /// Waits and deliveries in their order; queues that nobody was seen to take from stand for themselves.
    fn deliveries(&mut self) -> Option<Last> {
        let mut all: Vec<&Delivery> = self
            .post
            .into_iter()
            .flat_map(|post| post.errands.iter().flat_map(|errand| &errand.deliveries))
            .collect();
        all.sort_by_key(|delivery| delivery.start);
        let taken: Vec<&str> = all.iter().map(|delivery| delivery.place.name()).collect();
        let queues = self.known.first().map(|first| first.queues.clone()).unwrap_or_default();
        for queue in queues.into_iter().filter(|queue| !taken.contains(&queue.as_str())) {
            self.stop(Mark::Plain, Who::Queue(queue), "nobody was seen to take it");
        }
        let mut last = None;
        for delivery in all {
            if let Some(wait) = &delivery.wait {
                let stop = self.stop(Mark::Wait, Who::Queue(wait.place.name().to_owned()), String::new());
                stop.length = Some((wait.length(), false));
                stop.note =
                    if wait.again { "until it was delivered again".to_owned() } else { String::new() };
            }
            last = Some(self.delivery(delivery));
        }
        last
    }

    fn delivery(&mut self, delivery: &Delivery) -> Last {
        let step = &self.steps.list[delivery.step];
        let service = step.service().to_owned();
        let why = delivery.failed.then(|| delivery_why(self.steps, delivery)).flatten();
        let number = match delivery.numbered {
            true => format!("delivery {} ", delivery.number),
            false => String::new(),
        };
        let what = match delivery.outcome {
            Some(Outcome::Ack) => format!("{number}acknowledged"),
            Some(Outcome::Retry) => format!("{number}failed, to be tried again"),
            Some(Outcome::DeadLetter) => format!("{number}given up"),
            None if delivery.failed => format!("{number}failed"),
            None => format!("{number}taken"),
        };
        let (time, ids) = (step.start, self.ids(delivery.step));
        let end = step.end;
        let mark = if delivery.failed { Mark::Bad } else { Mark::Plain };
        let stop = self.stop(mark, Who::Service(service.clone()), what);
        (stop.at, stop.span) = (Some(time), Some(ids));
        stop.note = why.clone().unwrap_or_default();
        Last {
            end,
            outcome: delivery.outcome,
            failed: delivery.failed,
            number: delivery.number,
            service,
            why,
            to: delivery.settled_to.clone(),
        }
    }

    /// Where it came to as a dead letter, as taps saw it.
    fn dead(&mut self) {
        let later: Vec<_> = self.known.seen.iter().skip(1).cloned().collect();
        let count = later.len();
        for (message, number) in later.into_iter().zip(1..) {
            let is_last = number == count;
            match message.how {
                Seen::DeadLettered => {
                    let queue = message.queues.first().cloned().unwrap_or_default();
                    let so_far = self.now.saturating_sub(message.seen);
                    let stop = self.stop(Mark::Wait, Who::Queue(queue), String::new());
                    stop.at = Some(message.seen);
                    (stop.length, stop.note) =
                        (is_last.then_some((so_far, true)), "as a dead letter".to_owned());
                }
                Seen::Published => {
                    let dead = !super::deaths::of(&message).is_empty();
                    let what = if dead { "dead-lettered to it" } else { "published again" };
                    let mark = if dead { Mark::Bad } else { Mark::Plain };
                    let stop = self.stop(mark, Who::Exchange(message.exchange.clone()), what);
                    stop.at = Some(message.seen);
                    stop.note = match &message.queues[..] {
                        [] => format!("key {}", message.routing_key),
                        queues => format!("to {}", queues.join(", ")),
                    };
                }
            }
        }
    }

    fn finish(mut self, last: Option<Last>) -> Way {
        let waits: Vec<u64> = self
            .stops
            .iter()
            .filter_map(|stop| stop.length.filter(|(_, goes_on)| !goes_on))
            .map(|(ns, _)| ns)
            .collect();
        let end = self.end(last.as_ref());
        let (title, told) = (self.title(end, last.as_ref()), self.told(end, last.as_ref()));
        let sent_by = self.post.and_then(|post| post.sender).map(|at| self.ids(at));
        let seen_by = || {
            let first = self.known.first()?;
            Some((first.trace_id?, first.span_id?))
        };
        let told_id = self.known.seen.iter().map(|message| &message.correlation_id).find(|id| !id.is_empty());
        let correlation = told_id.cloned();
        let sent_by = sent_by.or_else(seen_by);
        let left = self.stops.len().saturating_sub(MOST_STOPS);
        self.stops.truncate(MOST_STOPS);
        Way {
            stops: self.stops,
            left,
            end,
            title,
            told,
            waited: (waits.iter().sum(), waits.len()),
            sent_by,
            correlation,
        }
    }

    fn end(&self, last: Option<&Last>) -> End {
        let dead = self.known.dead_in().is_some()
            || self.known.seen.iter().skip(1).any(|message| !super::deaths::of(message).is_empty());
        match last {
            _ if dead => End::Dead,
            Some(last) if last.outcome == Some(Outcome::DeadLetter) => End::Dead,
            Some(last) if last.failed => End::Failing,
            Some(_) => End::Taken,
            None if self.stops.is_empty() => End::Unknown,
            None => End::Published,
        }
    }

    fn deliveries_made(&self, last: Option<&Last>) -> u32 {
        let told = self
            .known
            .last()
            .and_then(|message| super::deaths::of(message).first().and_then(|death| death.times));
        let told = told.and_then(|times| u32::try_from(times).ok()).unwrap_or(0);
        last.map_or(0, |last| last.number).max(told)
    }

    fn title(&self, end: End, last: Option<&Last>) -> String {
        let what = match (self.known.first(), self.post) {
            (Some(first), _) => name(first).to_owned(),
            (None, Some(post)) => post.name.clone(),
            (None, None) => "a message".to_owned(),
        };
        let takers = self.post.map_or(0, |post| post.errands.len());
        match end {
            End::Dead => match self.deliveries_made(last) {
                0 => format!("{what} is a dead letter"),
                1 => format!("{what} was delivered once, and is a dead letter"),
                many => format!("{what} was delivered {many} times, and is a dead letter"),
            },
            End::Failing => format!("{what} failed, and is to be delivered again"),
            End::Taken if takers > 1 => format!("{what} was taken by {takers} services"),
            End::Taken => match last {
                Some(last) => format!("{what} was taken by {}", last.service),
                None => format!("{what} was taken"),
            },
            End::Published | End::Unknown => format!("{what} was published, and nobody was seen to take it"),
        }
    }

    fn told(&self, end: End, last: Option<&Last>) -> Prose {
        let mut say = Prose::new();
        let sender = self.post.and_then(|post| post.sender);
        if let Some(at) = sender {
            let step = &self.steps.list[at];
            say = say
                .service(step.service())
                .text(" published it at ")
                .moment(step.start, Some(self.ids(at)))
                .text(". ");
        } else if let Some(first) = self.known.first() {
            say = say.text("A tap saw it at ").moment(first.seen, None).text(". ");
        }
        if let Some(last) = last.filter(|last| last.failed) {
            // What the consumer said itself, where it gave the message up.
            let given_up = self.known.dead_in().and_then(|(message, _)| super::deaths::reason(message));
            say = say.service(&last.service).text(" could not work on it");
            say = match given_up.as_ref().or(last.why.as_ref()) {
                Some(why) => say.text(": ").error(why).text(". "),
                None => say.text(". "),
            };
        }
        match (end, self.known.dead_in(), last) {
            (End::Dead, Some((message, queue)), _) => say
                .text("It has been in ")
                .code(queue)
                .text(" for ")
                .duration(self.now.saturating_sub(message.seen))
                .text("."),
            (_, None, Some(Last { to: Some(to), end, failed: true, .. })) => say
                .text("It went to ")
                .code(to)
                .text(", ")
                .duration(self.now.saturating_sub(*end))
                .text(" ago."),
            (End::Published, ..) => {
                say.text("Spans of who takes it would show here: they name its ID or its trace.")
            }
            _ => say,
        }
    }
}
