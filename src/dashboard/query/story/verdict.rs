//! The ending in words: one sentence for the head of the page, a few more below it.

use super::ending::{Ending, State};
use super::mail::{Delivery, Mail, Place};
use super::read::{Call, Deed, shorten, why};
use super::steps::Steps;
use super::switches::{Did, Switch};
use super::{Facts, Scene};
use crate::dashboard::model::{Nanos, SpanId, TraceId};
use crate::dashboard::query::breakers::{State as BreakerState, evidence};
use crate::dashboard::query::prose::{Prose, counted};

/// What the page opens with.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub state: State,
    pub headline: Prose,
    pub lede: Prose,
    /// The span that shows why, for a link.
    pub cause: Option<(TraceId, SpanId)>,
}

/// How long a message may be on its way before it is remarked that nobody took it.
const UNSEEN: u64 = 5_000_000_000;
/// So much later than the call that it turned away may an export tell that a breaker had opened.
const LATE: u64 = 20_000_000_000;
/// Names listed before the rest is counted.
const MAX_NAMES: usize = 3;

/// Puts the ending into words.
pub(super) fn verdict(scene: &Scene) -> Verdict {
    let Scene { steps, mail, ending, facts, switches, now, .. } = *scene;
    let teller = Teller { steps, mail, ending, facts, switches, now };
    let cause = ending.cause.or(ending.first).map(|at| ids(steps, at));
    Verdict { state: ending.state, headline: teller.headline(), lede: teller.lede(), cause }
}

/// The IDs of a step's span.
pub fn ids(steps: &Steps, at: usize) -> (TraceId, SpanId) {
    let span = steps.list[at].span;
    (span.trace_id, span.span_id)
}

/// Why a delivery was not acknowledged: its failed span's word, else the consumer's reason.
pub fn delivery_why(steps: &Steps, delivery: &Delivery) -> Option<String> {
    let cause = steps.list[delivery.step].cause;
    let said = cause.and_then(|at| why(steps.list[at].span));
    said.or_else(|| delivery.reason.clone())
}

struct Teller<'a> {
    steps: &'a Steps<'a>,
    mail: &'a Mail,
    ending: &'a Ending,
    facts: &'a Facts,
    switches: &'a [Switch],
    now: Nanos,
}

impl Teller<'_> {
    fn headline(&self) -> Prose {
        let say = Prose::new();
        let extent = |say: Prose| {
            say.text(format!("{} in ", counted(self.facts.services.len(), "service")))
                .duration(self.facts.length())
        };
        match self.ending.state {
            State::DeadLettered => self.dead(),
            State::Failed => {
                let service = self.ending.cause.map(|at| self.steps.list[at].service());
                let say = say.text(format!("Failed in {}", service.unwrap_or("a service")));
                let many = self.delivery().filter(|delivery| delivery.number > 1);
                let say = match many {
                    Some(delivery) => say.text(format!(" after {} deliveries", delivery.number)),
                    None => say,
                };
                self.because(say)
            }
            State::Waiting | State::Overdue => {
                let Some(delivery) = self.delivery() else { return say };
                let (next, queue) = (delivery.number + 1, waits_in(delivery));
                let say = if self.ending.state == State::Waiting {
                    say.text(format!("Waiting in {queue} for delivery {next}"))
                } else {
                    say.text(format!("Delivery {next} from {queue} is overdue"))
                };
                self.because(say)
            }
            State::Retried => match self.why() {
                Some(why) => say.text(format!("Retried, then succeeded (at first: {why})")),
                None => say.text("Retried, then succeeded"),
            },
            State::Recovered => {
                let step = self.ending.cause.map(|at| &self.steps.list[at]);
                let service = step.map_or("a service", |step| step.service());
                let who = match step.map(|step| &step.deed) {
                    Some(Deed::Called(Call { peer: Some(peer), .. })) => {
                        format!("{service}’s call to {peer}")
                    }
                    _ => service.to_owned(),
                };
                self.because(say.text(format!("Went through, though {who} failed")))
            }
            State::Refused => self.refused(),
            State::Running => extent(say.text("All well so far: ")),
            State::Well => extent(say.text("All went well: ")),
            State::OnlyLogs => {
                let logs = counted(self.facts.logs, "log");
                let services = counted(self.facts.services.len(), "service");
                say.text(format!("Only logs carry this ID: {logs} of {services}"))
            }
        }
    }

    fn dead(&self) -> Prose {
        let Some(delivery) = self.delivery() else { return Prose::new() };
        let queue = delivery.settled_to.as_ref().map(|queue| format!(" in {queue}")).unwrap_or_default();
        let times = match delivery.number {
            1 => "1 delivery".to_owned(),
            many => format!("{many} deliveries"),
        };
        self.because(Prose::new().text(format!("Dead-lettered{queue} after {times}")))
    }

    fn refused(&self) -> Prose {
        let step = self.ending.at.map(|at| &self.steps.list[at]);
        let Some((step, Deed::Served(call))) = step.map(|step| (step, &step.deed)) else {
            return Prose::new();
        };
        let status = call.status.as_deref().unwrap_or("4xx");
        Prose::new().text(format!("{} answered {status} to {}", step.service(), call.what))
    }

    fn because(&self, say: Prose) -> Prose {
        match self.why() {
            Some(why) => say.text(format!(": {why}")),
            None => say,
        }
    }

    fn why(&self) -> Option<String> {
        let cause = self.ending.cause.map(|at| self.steps.list[at].span);
        let breaker = cause.and_then(evidence::rejection).and_then(|rejection| rejection.name);
        let breaker =
            breaker.filter(|name| !name.is_empty()).map(|name| format!("the breaker {name} was open"));
        let cause = breaker.map(|why| shorten(&why)).or_else(|| cause.and_then(why));
        cause.or_else(|| self.delivery().and_then(|delivery| delivery.reason.clone()))
    }

    fn delivery(&self) -> Option<&Delivery> {
        self.ending.spot.map(|spot| self.mail.delivery(spot))
    }

    fn lede(&self) -> Prose {
        let parts = [
            self.first_failure(),
            self.breaker(),
            self.whereabouts(),
            self.answer(),
            self.others(),
            self.unseen(),
        ];
        let mut say = Prose::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            say = if say.is_empty() { part } else { say.text(" ").join(part) };
        }
        say
    }

    /// Who failed first and when. Why is said only where the headline says something else.
    fn first_failure(&self) -> Prose {
        let Some(first) = self.ending.first else { return Prose::new() };
        let step = &self.steps.list[first];
        let say = Prose::new().text("First failed in ").service(step.service()).text(" at ");
        let say = say.moment(step.end, Some(ids(self.steps, first)));
        let what = match &step.deed {
            Deed::Called(call) => Some(match &call.peer {
                Some(peer) => format!("calling {peer}"),
                None => call.what.clone(),
            }),
            Deed::Served(call) => Some(call.what.clone()),
            _ => Some(super::read::shorten(&step.span.name)).filter(|name| !name.is_empty()),
        };
        let say = match what {
            Some(what) => say.text(format!(", {what}")),
            None => say,
        };
        match why(step.span).filter(|why| self.why().as_ref() != Some(why)) {
            Some(why) => say.text(": ").error(&why).text("."),
            None => say.text("."),
        }
    }

    /// The breaker that turned a call away, else the first that opened meanwhile: since when, and until when.
    fn breaker(&self) -> Prose {
        let rejected =
            self.switches.iter().find(|switch| switch.did == Did::Rejected && switch.name.is_some());
        let of = |one: &Switch, other: &Switch| (&one.service, &one.name) == (&other.service, &other.name);
        let opens = |switch: &&Switch| matches!(switch.did, Did::Became(state) if state.is_open());
        let opened = match rejected {
            // An export tells of it a little late.
            Some(rejected) => {
                let before = |switch: &&Switch| of(switch, rejected) && switch.time <= rejected.time + LATE;
                self.switches.iter().filter(opens).rfind(before)
            }
            None => self.switches.iter().find(opens),
        };
        let Some(one) = rejected.or(opened) else { return Prose::new() };
        let name = one.name.as_deref().unwrap_or_default();
        let say = Prose::new().text("The breaker ").breaker(&one.service, name).text(" of ");
        let say = say.service(&one.service);
        let say = match (rejected, opened) {
            (Some(rejected), Some(opened)) => {
                let say = say.text(" turned a call away at ").moment(rejected.time, rejected.place);
                say.text("; it had opened at ").moment(opened.time, opened.place)
            }
            (Some(rejected), None) => {
                say.text(" turned a call away at ").moment(rejected.time, rejected.place)
            }
            (None, Some(opened)) => say.text(" opened at ").moment(opened.time, opened.place),
            (None, None) => return Prose::new(),
        };
        let begin = opened.map_or(one.time, |opened| opened.time);
        let closes = |switch: &&Switch| {
            of(switch, one) && switch.did == Did::Became(BreakerState::Closed) && switch.time >= begin
        };
        match self.switches.iter().find(closes) {
            Some(closed) => say.text(" and closed at ").moment(closed.time, closed.place).text("."),
            None => say.text("."),
        }
    }

    /// Where the message is now.
    fn whereabouts(&self) -> Prose {
        let Some(delivery) = self.delivery() else { return self.last_heard() };
        let end = self.steps.list[delivery.step].end;
        let ago = self.now.saturating_sub(end);
        match self.ending.state {
            State::DeadLettered => match &delivery.settled_to {
                Some(queue) => Prose::new()
                    .text("The message went to ")
                    .code(queue)
                    .text(" ")
                    .duration(ago)
                    .text(" ago and has not been seen since."),
                None => Prose::new().text("The message has not been seen for ").duration(ago).text("."),
            },
            State::Waiting => match self.ending.due.map(|due| due.saturating_sub(self.now)) {
                Some(left) if left > 0 => Prose::new().text("It is due in ").duration(left).text("."),
                _ => Prose::new().text("It is due now."),
            },
            State::Overdue => {
                let late = self.now.saturating_sub(self.ending.due.unwrap_or(end));
                Prose::new().text("It was due ").duration(late).text(" ago and has not been seen.")
            }
            State::Retried => {
                let Some(at) = self.ending.at else { return Prose::new() };
                let step = &self.steps.list[at];
                let say = Prose::new()
                    .service(step.service())
                    .text(format!(" succeeded with delivery {} at ", delivery.number));
                say.moment(step.end, Some(ids(self.steps, at))).text(".")
            }
            _ => Prose::new(),
        }
    }

    fn last_heard(&self) -> Prose {
        if self.ending.state != State::Running {
            return Prose::new();
        }
        let ago = self.now.saturating_sub(self.facts.last);
        Prose::new().text("Last heard from ").duration(ago).text(" ago.")
    }

    /// What the first caller was told.
    fn answer(&self) -> Prose {
        let roots = (0..self.steps.list.len()).filter(|at| self.steps.is_root(*at));
        let served = roots.filter(|at| matches!(self.steps.list[*at].deed, Deed::Served(_)));
        let Some(at) = served.min_by_key(|at| self.steps.list[*at].start) else { return Prose::new() };
        let step = &self.steps.list[at];
        let Deed::Served(call) = &step.deed else { return Prose::new() };
        let say = Prose::new().service(step.service()).text(" answered ");
        let say = match (&call.status, self.ending.state == State::Refused) {
            (Some(status), false) => say.code(&call.what).text(format!(" with {status} after ")),
            _ => say.code(&call.what).text(" after "),
        };
        say.duration(step.duration()).text(".")
    }

    fn others(&self) -> Prose {
        let more = self.ending.more;
        match self.ending.state {
            State::DeadLettered if more > 0 => {
                Prose::new().text(format!("{} went to the dead letters too.", counted(more, "other message")))
            }
            State::Waiting | State::Overdue if more > 0 => {
                Prose::new().text(format!("{} waiting too.", counted(more, "other message")))
            }
            State::Failed if more > 0 => {
                Prose::new().text(format!("{} too.", counted(more, "other failure")))
            }
            _ => Prose::new(),
        }
    }

    /// Messages that no span is known to have taken.
    fn unseen(&self) -> Prose {
        let old = |at: usize| self.now.saturating_sub(self.steps.list[at].end) > UNSEEN;
        let unseen: Vec<&str> = self
            .mail
            .posts
            .iter()
            .filter(|post| post.errands.is_empty() && post.sender.is_some_and(old))
            .map(|post| post.name.as_str())
            .collect();
        let Some((first, rest)) = unseen.split_first() else { return Prose::new() };
        let mut say = Prose::new().text("No span tells who took ").code(*first);
        for name in rest.iter().take(MAX_NAMES - 1) {
            say = say.text(", ").code(*name);
        }
        match rest.len().saturating_sub(MAX_NAMES - 1) {
            0 => say.text("."),
            more => say.text(format!(" and {more} more.")),
        }
    }
}

/// Where a message waits for its next delivery.
pub fn waits_in(delivery: &Delivery) -> &str {
    delivery.settled_to.as_deref().unwrap_or(Place::name(&delivery.place))
}
