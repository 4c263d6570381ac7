//! The ending in words: one sentence for the head of the page, a few more below it.

use super::Facts;
use super::ending::{Ending, State};
use super::mail::{Delivery, Mail, Place};
use super::phrase::{Phrase, counted};
use super::read::{Call, Deed, why};
use super::steps::Steps;
use crate::dashboard::model::{Nanos, SpanId, TraceId};

/// What the page opens with.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    pub state: State,
    pub headline: Phrase,
    pub lede: Phrase,
    /// The span that shows why, for a link.
    pub cause: Option<(TraceId, SpanId)>,
}

/// How long a message may be on its way before it is remarked that nobody took it.
const UNSEEN: u64 = 5_000_000_000;
/// Names listed before the rest is counted.
const MAX_NAMES: usize = 3;

/// Puts the ending into words.
pub fn verdict(steps: &Steps, mail: &Mail, ending: &Ending, facts: &Facts, now: Nanos) -> Verdict {
    let teller = Teller { steps, mail, ending, facts, now };
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
    now: Nanos,
}

impl Teller<'_> {
    fn headline(&self) -> Phrase {
        let say = Phrase::new();
        let extent = |say: Phrase| {
            say.words(format!("{} in ", counted(self.facts.services.len(), "service")))
                .length(self.facts.length())
        };
        match self.ending.state {
            State::DeadLettered => self.dead(),
            State::Failed => {
                let service = self.ending.cause.map(|at| self.steps.list[at].service());
                let say = say.words(format!("Failed in {}", service.unwrap_or("a service")));
                let many = self.delivery().filter(|delivery| delivery.number > 1);
                let say = match many {
                    Some(delivery) => say.words(format!(" after {} deliveries", delivery.number)),
                    None => say,
                };
                self.because(say)
            }
            State::Waiting | State::Overdue => {
                let Some(delivery) = self.delivery() else { return say };
                let (next, queue) = (delivery.number + 1, waits_in(delivery));
                let say = if self.ending.state == State::Waiting {
                    say.words(format!("Waiting in {queue} for delivery {next}"))
                } else {
                    say.words(format!("Delivery {next} from {queue} is overdue"))
                };
                self.because(say)
            }
            State::Retried => match self.why() {
                Some(why) => say.words(format!("Retried, then succeeded (at first: {why})")),
                None => say.words("Retried, then succeeded"),
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
                self.because(say.words(format!("Went through, though {who} failed")))
            }
            State::Refused => self.refused(),
            State::Running => extent(say.words("All well so far: ")),
            State::Well => extent(say.words("All went well: ")),
            State::OnlyLogs => {
                let logs = counted(self.facts.logs, "log");
                let services = counted(self.facts.services.len(), "service");
                say.words(format!("Only logs carry this ID: {logs} of {services}"))
            }
        }
    }

    fn dead(&self) -> Phrase {
        let Some(delivery) = self.delivery() else { return Phrase::new() };
        let queue = delivery.settled_to.as_ref().map(|queue| format!(" in {queue}")).unwrap_or_default();
        let times = match delivery.number {
            1 => "1 delivery".to_owned(),
            many => format!("{many} deliveries"),
        };
        self.because(Phrase::new().words(format!("Dead-lettered{queue} after {times}")))
    }

    fn refused(&self) -> Phrase {
        let step = self.ending.at.map(|at| &self.steps.list[at]);
        let Some((step, Deed::Served(call))) = step.map(|step| (step, &step.deed)) else {
            return Phrase::new();
        };
        let status = call.status.as_deref().unwrap_or("4xx");
        Phrase::new().words(format!("{} answered {status} to {}", step.service(), call.what))
    }

    fn because(&self, say: Phrase) -> Phrase {
        match self.why() {
            Some(why) => say.words(format!(": {why}")),
            None => say,
        }
    }

    fn why(&self) -> Option<String> {
        let cause = self.ending.cause.and_then(|at| why(self.steps.list[at].span));
        cause.or_else(|| self.delivery().and_then(|delivery| delivery.reason.clone()))
    }

    fn delivery(&self) -> Option<&Delivery> {
        self.ending.spot.map(|spot| self.mail.delivery(spot))
    }

    fn lede(&self) -> Phrase {
        let parts = [self.first_failure(), self.whereabouts(), self.answer(), self.others(), self.unseen()];
        let mut say = Phrase::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            say = if say.is_empty() { part } else { say.words(" ").then(part) };
        }
        say
    }

    /// Who failed first and when. Why is said only where the headline says something else.
    fn first_failure(&self) -> Phrase {
        let Some(first) = self.ending.first else { return Phrase::new() };
        let step = &self.steps.list[first];
        let say = Phrase::new().words("First failed in ").service(step.service()).words(" at ");
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
            Some(what) => say.words(format!(", {what}")),
            None => say,
        };
        match why(step.span).filter(|why| self.why().as_ref() != Some(why)) {
            Some(why) => say.words(": ").bad(&why).words("."),
            None => say.words("."),
        }
    }

    /// Where the message is now.
    fn whereabouts(&self) -> Phrase {
        let Some(delivery) = self.delivery() else { return self.last_heard() };
        let end = self.steps.list[delivery.step].end;
        let ago = self.now.saturating_sub(end);
        match self.ending.state {
            State::DeadLettered => match &delivery.settled_to {
                Some(queue) => Phrase::new()
                    .words("The message went to ")
                    .code(queue)
                    .words(" ")
                    .length(ago)
                    .words(" ago and has not been seen since."),
                None => Phrase::new().words("The message has not been seen for ").length(ago).words("."),
            },
            State::Waiting => match self.ending.due.map(|due| due.saturating_sub(self.now)) {
                Some(left) if left > 0 => Phrase::new().words("It is due in ").length(left).words("."),
                _ => Phrase::new().words("It is due now."),
            },
            State::Overdue => {
                let late = self.now.saturating_sub(self.ending.due.unwrap_or(end));
                Phrase::new().words("It was due ").length(late).words(" ago and has not been seen.")
            }
            State::Retried => {
                let Some(at) = self.ending.at else { return Phrase::new() };
                let step = &self.steps.list[at];
                let say = Phrase::new()
                    .service(step.service())
                    .words(format!(" succeeded with delivery {} at ", delivery.number));
                say.moment(step.end, Some(ids(self.steps, at))).words(".")
            }
            _ => Phrase::new(),
        }
    }

    fn last_heard(&self) -> Phrase {
        if self.ending.state != State::Running {
            return Phrase::new();
        }
        let ago = self.now.saturating_sub(self.facts.last);
        Phrase::new().words("Last heard from ").length(ago).words(" ago.")
    }

    /// What the first caller was told.
    fn answer(&self) -> Phrase {
        let roots = (0..self.steps.list.len()).filter(|at| self.steps.is_root(*at));
        let served = roots.filter(|at| matches!(self.steps.list[*at].deed, Deed::Served(_)));
        let Some(at) = served.min_by_key(|at| self.steps.list[*at].start) else { return Phrase::new() };
        let step = &self.steps.list[at];
        let Deed::Served(call) = &step.deed else { return Phrase::new() };
        let say = Phrase::new().service(step.service()).words(" answered ");
        let say = match (&call.status, self.ending.state == State::Refused) {
            (Some(status), false) => say.code(&call.what).words(format!(" with {status} after ")),
            _ => say.code(&call.what).words(" after "),
        };
        say.length(step.duration()).words(".")
    }

    fn others(&self) -> Phrase {
        let more = self.ending.more;
        match self.ending.state {
            State::DeadLettered if more > 0 => Phrase::new()
                .words(format!("{} went to the dead letters too.", counted(more, "other message"))),
            State::Waiting | State::Overdue if more > 0 => {
                Phrase::new().words(format!("{} waiting too.", counted(more, "other message")))
            }
            State::Failed if more > 0 => {
                Phrase::new().words(format!("{} too.", counted(more, "other failure")))
            }
            _ => Phrase::new(),
        }
    }

    /// Messages that no span is known to have taken.
    fn unseen(&self) -> Phrase {
        let old = |at: usize| self.now.saturating_sub(self.steps.list[at].end) > UNSEEN;
        let unseen: Vec<&str> = self
            .mail
            .posts
            .iter()
            .filter(|post| post.errands.is_empty() && post.sender.is_some_and(old))
            .map(|post| post.name.as_str())
            .collect();
        let Some((first, rest)) = unseen.split_first() else { return Phrase::new() };
        let mut say = Phrase::new().words("No span tells who took ").code(first);
        for name in rest.iter().take(MAX_NAMES - 1) {
            say = say.words(", ").code(name);
        }
        match rest.len().saturating_sub(MAX_NAMES - 1) {
            0 => say.words("."),
            more => say.words(format!(" and {more} more.")),
        }
    }
}

/// Where a message waits for its next delivery.
pub fn waits_in(delivery: &Delivery) -> &str {
    delivery.settled_to.as_deref().unwrap_or(Place::name(&delivery.place))
}
