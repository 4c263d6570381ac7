//! How each act is told: a sentence for a request, a message, a wait, a failure, a log that stands alone.

use std::collections::{HashMap, HashSet};

use super::acts::{Act, ActKind, Ref, Weight};
use super::ending::State;
use super::mail::{Delivery, Place, Spot, Wait};
use super::read::{Call, Deed, Outcome, shorten, why};
use super::verdict::{delivery_why, ids, waits_in};
use super::way::Way;
use super::{LogLine, Scene};
use crate::dashboard::model::Nanos;
use crate::dashboard::query::prose::{Prose, counted};

/// A first wait shorter than this, or than this share of the story, is drawn but not told.
const WAIT_WORTH_SAYING: u64 = 250_000_000;
const WAIT_SHARE: u64 = 50;
/// Logs told as acts; the others are in the list of logs.
const MAX_LOG_ACTS: usize = 12;
/// All acts of a story, in no order.
pub(super) fn all(scene: &Scene, way: &Way) -> Vec<Act> {
    let parents = scene.steps.list.iter().filter_map(|step| step.parent).collect();
    let mut teller = Teller { scene, way, logs: logs_of_visits(scene), parents, acts: Vec::new() };
    for at in 0..scene.steps.list.len() {
        teller.step(at);
    }
    teller.lone_logs();
    teller.end();
    teller.acts
}

/// Logs of one visit: the index of the gravest, and how many.
type VisitLogs = HashMap<usize, (usize, usize)>;

fn logs_of_visits(scene: &Scene) -> VisitLogs {
    let mut found = VisitLogs::new();
    for (index, log) in scene.logs.iter().enumerate() {
        let step = log.trace.zip(log.span).and_then(|(trace, span)| scene.steps.find(trace, span));
        let Some(step) = step.filter(|_| log.late.is_none()) else { continue };
        let entry = found.entry(scene.steps.list[step].entry).or_insert((index, 0));
        entry.1 += 1;
        if log.severity > scene.logs[entry.0].severity {
            entry.0 = index;
        }
    }
    found
}

struct Teller<'a> {
    scene: &'a Scene<'a>,
    way: &'a Way,
    logs: VisitLogs,
    /// Steps that have children.
    parents: HashSet<usize>,
    acts: Vec<Act>,
}

impl Teller<'_> {
    fn step(&mut self, at: usize) {
        let step = &self.scene.steps.list[at];
        match &step.deed {
            Deed::Served(call) if step.entry == at => self.served(at, call),
            Deed::Sent(_) => self.sent(at),
            Deed::Took(_) => match self.scene.mail.taken.get(&at) {
                Some(spot) => self.took(at, *spot),
                None => self.quietly(at),
            },
            _ => self.worked(at),
        }
    }

    /// A request: told at its begin, and a failure when it came.
    fn served(&mut self, at: usize, call: &Call) {
        let (root, nested) = (self.scene.steps.is_root(at), self.same_service_above(at));
        let step = &self.scene.steps.list[at];
        let caller = step.parent.map(|parent| self.scene.steps.list[parent].service().to_owned());
        let own_fault = step.cause.is_some_and(|cause| self.scene.steps.list[cause].entry == at);
        if !step.failed() || root || !own_fault {
            let mut say = Prose::new().service(step.service());
            say = match (&call.status, step.failed()) {
                (_, true) => say.text(" took ").strong(&call.what),
                (Some(status), false) => say
                    .text(" answered ")
                    .strong(&call.what)
                    .text(format!(" with {status} after "))
                    .duration(step.duration()),
                (None, false) => {
                    say.text(" answered ").strong(&call.what).text(" after ").duration(step.duration())
                }
            };
            let say = match &caller {
                Some(caller) if caller != step.service() => say.text(" for ").service(caller).text("."),
                _ => say.text("."),
            };
            let mut act = self.act(at, self.weight(at), ActKind::Request, say);
            act.services.extend(caller.clone());
            act.quiet = nested;
            self.acts.push(act);
        }
        if step.failed() && (root || own_fault) {
            let say = Prose::new().service(step.service());
            let say = match (own_fault, &call.status) {
                (true, _) => say.text(" failed ").strong(&call.what),
                (false, Some(status)) => say.text(format!(" answered {status} to ")).strong(&call.what),
                (false, None) => say.text(" could not answer ").strong(&call.what),
            };
            let say = match (own_fault, step.cause.and_then(|cause| why(self.scene.steps.list[cause].span))) {
                (true, Some(why)) => say.text(": ").error(&why).text("."),
                _ => say.text(" after ").duration(step.duration()).text("."),
            };
            let moment = if own_fault { step.cause.unwrap_or(at) } else { at };
            let mut act = self.failing(at, moment, ActKind::Request, say);
            act.services.extend(caller);
            self.acts.push(act);
        }
    }

    fn sent(&mut self, at: usize) {
        let Some(&post) = self.scene.mail.sent.get(&at) else { return self.quietly(at) };
        let post = &self.scene.mail.posts[post];
        let step = &self.scene.steps.list[at];
        if post.sender != Some(at) {
            return self.quietly(at);
        }
        if step.failed() {
            let say = Prose::new().service(step.service()).text(" could not send ").strong(&post.name);
            let say = say.text(": ").error(why(step.span).unwrap_or_default()).text(".");
            let act = self.failing(at, at, ActKind::Message, say);
            return self.acts.push(act);
        }
        let say = Prose::new().service(step.service()).text(" published ").strong(&post.name);
        let mut places: Vec<&Place> = Vec::new();
        for delivery in post.errands.iter().filter_map(|errand| errand.deliveries.first()) {
            if !places.contains(&&delivery.place) {
                places.push(&delivery.place);
            }
        }
        let queues = places.iter().filter(|place| matches!(place, Place::Queue(_))).count();
        let say = match (queues, &places[..]) {
            (1, [Place::Queue(name)]) => say.text(" to ").code(name).text("."),
            (2.., _) => say.text(format!("; it reached {queues} queues.")),
            _ if post.errands.len() > 1 => {
                say.text(format!("; {} took it.", counted(post.errands.len(), "service")))
            }
            _ => say.text("."),
        };
        let act = self.act(at, self.weight(at), ActKind::Message, say);
        self.acts.push(act);
    }

    fn took(&mut self, at: usize, spot: Spot) {
        let mail = self.scene.mail;
        let (post, delivery) = (&mail.posts[spot.0], mail.delivery(spot));
        if let Some(wait) = &delivery.wait {
            self.wait(at, delivery, wait);
        }
        let step = &self.scene.steps.list[at];
        let counts = delivery.numbered && (delivery.number > 1 || delivery.failed);
        let number = if counts { format!(" delivery {} of ", delivery.number) } else { " ".to_owned() };
        let say = Prose::new().service(step.service()).text(" took").text(number).strong(&post.name);
        let say = match &delivery.place {
            Place::Queue(queue) if delivery.number == 1 => say.text(" from ").code(queue),
            _ => say,
        };
        if !delivery.failed {
            let act = self.act(at, self.weight(at), ActKind::Message, say.text("."));
            return self.acts.push(act);
        }
        let say = match delivery_why(self.scene.steps, delivery) {
            Some(why) => say.text(": ").error(&why).text("."),
            None => say.text(" and failed."),
        };
        let say = match delivery.outcome {
            Some(Outcome::Retry) => {
                let say = say.text(" Back to ").code(waits_in(delivery));
                match delivery.delay {
                    Some(delay) => say.text(", to be delivered again in ").duration(delay).text("."),
                    None => say.text("."),
                }
            }
            _ => say,
        };
        let act = self.failing(at, step.cause.unwrap_or(at), ActKind::Message, say);
        self.acts.push(act);
        if delivery.outcome == Some(Outcome::DeadLetter) {
            let say = Prose::new().text("That was the last delivery: the message went to ");
            let say = match &delivery.settled_to {
                Some(queue) => say.code(queue).text("."),
                None => say.text("the dead letters."),
            };
            let mut act = self.failing(at, at, ActKind::Message, say);
            act.order.1 = 6;
            act.cause = None;
            act.refs.truncate(1);
            self.acts.push(act);
        }
    }

    fn wait(&mut self, at: usize, delivery: &Delivery, wait: &Wait) {
        let share = self.scene.facts.length() / WAIT_SHARE;
        let told = wait.again || wait.length() >= WAIT_WORTH_SAYING.max(share);
        let say = Prose::new().text("waited in ").code(wait.place.name());
        let mut act = self.act(at, Weight::Wait, ActKind::Message, say);
        act.order = (self.scene.steps.list[delivery.step].order, 0);
        act.length = Some(wait.length());
        act.refs.clear();
        act.quiet = !told;
        self.acts.push(act);
    }

    /// Anything else: quiet, unless it is where a trace began, or it failed and its service went on.
    fn worked(&mut self, at: usize) {
        let step = &self.scene.steps.list[at];
        let above = step.parent.map(|parent| &self.scene.steps.list[parent]);
        let alone = step.failed() && above.is_some_and(|above| !above.failed());
        if step.parent.is_none() {
            let name = shorten(&step.span.name);
            let say = Prose::new().service(step.service()).text(" began ").strong(&name).text(".");
            let mut act = self.act(at, self.weight(at), ActKind::Request, say);
            act.quiet = name.is_empty()
                || (step.span.attributes.is_empty() && !step.failed() && self.parents.contains(&at));
            self.acts.push(act);
        }
        if alone || (step.failed() && above.is_none()) {
            let what = match &step.deed {
                Deed::Called(Call { peer: Some(peer), what, .. }) => format!("{what} of {peer}"),
                _ => shorten(&step.span.name),
            };
            let cause = step.cause.unwrap_or(at);
            let inside = self.scene.steps.list[cause].entry == step.entry;
            let say = Prose::new().service(step.service()).text(if alone {
                " went on without "
            } else {
                " failed "
            });
            let say = say.strong(&what);
            let say = match why(self.scene.steps.list[cause].span) {
                Some(why) => say.text(": ").error(&why).text("."),
                None => say.text("."),
            };
            let mut act = self.failing(at, if inside { cause } else { at }, ActKind::Request, say);
            // Told by the service that broke, if that is another one.
            act.quiet = alone && (!inside || step.cause.is_none());
            self.acts.push(act);
        } else if step.parent.is_some() {
            self.quietly(at);
        }
    }

    /// A quiet act: its name and how long it took.
    fn quietly(&mut self, at: usize) {
        let step = &self.scene.steps.list[at];
        let name = shorten(&step.span.name);
        let say = Prose::new().service(step.service()).text(format!(" · {} ", step.span.kind.word()));
        let say = say.strong(if name.is_empty() { "(no name)" } else { &name });
        let say = match why(step.span) {
            Some(why) => say.text(": ").error(&why),
            None => say.text(" took ").duration(step.duration()),
        };
        let mut act = self.act(at, Weight::Side, ActKind::Work, say);
        act.quiet = true;
        self.acts.push(act);
    }

    /// Logs without a trace, long after theirs, or telling of an error where no span does.
    fn lone_logs(&mut self) {
        let mut told = 0;
        for (index, log) in self.scene.logs.iter().enumerate() {
            let step = log.trace.zip(log.span).and_then(|(trace, span)| self.scene.steps.find(trace, span));
            let visit = step.map(|step| &self.scene.steps.list[self.scene.steps.list[step].entry]);
            let unheard = log.severity >= 17 && visit.is_some_and(|visit| !visit.failed());
            if !(log.trace.is_none() || log.late.is_some() || unheard) {
                continue;
            }
            told += 1;
            let mut act = log_act(index, log, self.scene.now);
            act.quiet = told > MAX_LOG_ACTS;
            self.acts.push(act);
        }
    }

    /// Where it is now, if that is somewhere.
    fn end(&mut self) {
        let scene = self.scene;
        let Some(delivery) = scene.ending.spot.map(|spot| scene.mail.delivery(spot)) else { return };
        let step = &scene.steps.list[delivery.step];
        let ago = scene.now.saturating_sub(step.end);
        let (waits, now) = match scene.ending.state {
            State::DeadLettered => (
                Prose::new().text("not seen again since it went to ").code(waits_in(delivery)),
                Prose::new()
                    .text(format!("It is here. Another try would be delivery {}.", delivery.number + 1)),
            ),
            State::Waiting | State::Overdue => (
                Prose::new().text("waits in ").code(waits_in(delivery)),
                match scene.ending.due.map(|due| due.saturating_sub(scene.now)) {
                    Some(left) if left > 0 => Prose::new()
                        .text(format!("It is here. Delivery {} is due in ", delivery.number + 1))
                        .duration(left)
                        .text("."),
                    _ => Prose::new().text(format!("Delivery {} has not been seen.", delivery.number + 1)),
                },
            ),
            _ => return,
        };
        let mut wait = self.act(delivery.step, Weight::Wait, ActKind::Message, waits);
        (wait.order, wait.length) = ((Nanos::MAX, 0), Some(ago));
        wait.refs.clear();
        let mut here = self.act(delivery.step, Weight::Now, ActKind::Message, now);
        (here.order, here.at) = ((Nanos::MAX, 1), Some(scene.now));
        here.refs.clear();
        self.acts.extend([wait, here]);
    }

    fn same_service_above(&self, at: usize) -> bool {
        let step = &self.scene.steps.list[at];
        step.parent.is_some_and(|parent| self.scene.steps.list[parent].service() == step.service())
    }

    fn weight(&self, at: usize) -> Weight {
        if self.way.steps.contains(&at) { Weight::Main } else { Weight::Side }
    }

    fn act(&self, at: usize, weight: Weight, kind: ActKind, said: Prose) -> Act {
        let step = &self.scene.steps.list[at];
        let (trace, span) = ids(self.scene.steps, at);
        let mut refs = vec![Ref::Span(trace, span)];
        if let Some((index, count)) = self.logs.get(&at) {
            refs.push(Ref::Log(*index, *count));
        }
        if let Deed::Sent(letter) | Deed::Took(letter) = &step.deed
            && let Some(id) = letter.id.as_ref().filter(|_| kind == ActKind::Message)
        {
            refs.push(Ref::Message(id.clone()));
        }
        Act {
            at: Some(step.start).filter(|_| step.plausible),
            weight,
            kind,
            said,
            services: vec![step.service().to_owned()],
            refs,
            length: None,
            details: Vec::new(),
            first_failure: false,
            quiet: false,
            order: (step.order, 2),
            cause: None,
        }
    }

    /// An act of `at` that went wrong, told at the end of the step in which it broke.
    fn failing(&self, at: usize, broke: usize, kind: ActKind, said: Prose) -> Act {
        let mut act = self.act(at, Weight::Bad, kind, said);
        let broken = &self.scene.steps.list[broke];
        act.at = Some(broken.end).filter(|_| broken.plausible);
        act.order = (broken.end.max(broken.order), 5);
        act.cause = self.scene.steps.list[at].cause;
        if let Some(cause) = act.cause.filter(|cause| *cause != at) {
            let (trace, span) = ids(self.scene.steps, cause);
            act.refs.insert(1, Ref::Cause(trace, span));
        }
        act
    }
}

fn log_act(index: usize, log: &LogLine, now: Nanos) -> Act {
    let text = shorten(&log.text);
    let say = Prose::new().service(&log.service).text(" logged: ");
    let say = if log.severity >= 17 { say.error(&text) } else { say.text(text) };
    let say = match log.late {
        Some(late) => say.text(", ").duration(late).text(" after its trace had ended."),
        None => say,
    };
    Act {
        at: Some(log.time).filter(|time| super::steps::plausible(*time, now)),
        weight: Weight::Side,
        kind: ActKind::Log,
        said: say,
        services: vec![log.service.clone()],
        refs: vec![Ref::Log(index, 1)],
        length: None,
        details: Vec::new(),
        first_failure: false,
        quiet: false,
        order: (log.time, 3),
        cause: None,
    }
}
