//! Where the story broke, or where it is now: a state and the step that shows it. Words are the verdict's.

use std::collections::HashMap;

use super::Facts;
use super::mail::{Mail, Spot};
use super::read::{Deed, Outcome};
use super::steps::Steps;
use crate::dashboard::model::Nanos;

/// How things stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A message went to the dead letters and nobody has succeeded with it since.
    DeadLettered,
    /// A request or the last delivery of a message failed.
    Failed,
    /// A message waits for its next delivery.
    Waiting,
    /// It should have been delivered again, and has not been seen.
    Overdue,
    /// Something was tried again and then succeeded.
    Retried,
    /// Something failed, but what was asked for succeeded.
    Recovered,
    /// A request was answered with a 4xx status, which its server does not count as a failure.
    Refused,
    /// Heard from just now, and all is well so far.
    Running,
    Well,
    /// No span carries the ID.
    OnlyLogs,
}

impl State {
    /// Whether it needs a person.
    pub fn is_bad(self) -> bool {
        matches!(self, State::DeadLettered | State::Failed)
    }

    /// Whether it is worth a second look.
    pub fn is_warning(self) -> bool {
        matches!(self, State::Waiting | State::Overdue | State::Refused | State::Recovered)
    }
}

/// The end of the story so far.
#[derive(Debug)]
pub struct Ending {
    pub state: State,
    /// The step in which the story culminates.
    pub at: Option<usize>,
    /// That step's delivery, if it is one.
    pub spot: Option<Spot>,
    /// The step that says why.
    pub cause: Option<usize>,
    /// The step that failed first in the whole story.
    pub first: Option<usize>,
    /// When a waiting message is due.
    pub due: Option<Nanos>,
    /// Further messages in the same state.
    pub more: usize,
}

/// A story heard from within this time is still running.
const FRESH: u64 = 10_000_000_000;
/// A delivery so much later than promised is overdue.
const PATIENCE: u64 = 30_000_000_000;

impl Ending {
    /// Decides how the story ends.
    pub fn of(steps: &Steps, mail: &Mail, facts: &Facts, now: Nanos) -> Self {
        let first = steps.first_failure();
        let fate = dead(mail)
            .or_else(|| failed_delivery(mail))
            .or_else(|| failed_root(steps, mail))
            .or_else(|| pending(steps, mail, now))
            .or_else(|| retried(steps, mail))
            .or_else(|| refused(steps).filter(|_| first.is_none()))
            .or_else(|| first.map(|at| Fate::step(State::Recovered, at)))
            .unwrap_or_else(|| quiet(steps, facts, now));
        let at = fate.spot.map(|spot| mail.delivery(spot).step).or(fate.at);
        let cause = match fate.state {
            State::Retried | State::Recovered => first,
            _ => at.and_then(|at| steps.list[at].cause),
        };
        Ending { state: fate.state, at, spot: fate.spot, cause, first, due: fate.due, more: fate.more }
    }
}

/// What is being decided.
struct Fate {
    state: State,
    at: Option<usize>,
    spot: Option<Spot>,
    due: Option<Nanos>,
    more: usize,
}

impl Fate {
    fn step(state: State, at: usize) -> Self {
        Fate { state, at: Some(at), spot: None, due: None, more: 0 }
    }

    /// The first of `spots`, with the others counted.
    fn spots(state: State, spots: &[Spot]) -> Option<Self> {
        let spot = *spots.first()?;
        Some(Fate { state, at: None, spot: Some(spot), due: None, more: spots.len() - 1 })
    }
}

/// The last deliveries of all errands that pass a test.
fn last_deliveries(mail: &Mail, passes: impl Fn(Spot) -> bool) -> Vec<Spot> {
    let mut spots = Vec::new();
    for (p, post) in mail.posts.iter().enumerate() {
        for (e, errand) in post.errands.iter().enumerate() {
            let spot = Spot(p, e, errand.deliveries.len() - 1);
            if passes(spot) {
                spots.push(spot);
            }
        }
    }
    spots.sort_by_key(|spot| mail.delivery(*spot).start);
    spots
}

/// Whether the same service succeeded with the message in another errand, as after a redrive.
fn mended(mail: &Mail, spot: Spot) -> bool {
    let post = &mail.posts[spot.0];
    let service = &post.errands[spot.1].service;
    let others =
        post.errands.iter().enumerate().filter(|(e, other)| *e != spot.1 && other.service == *service);
    let failed_at = mail.delivery(spot).start;
    others.flat_map(|(_, other)| &other.deliveries).any(|later| !later.failed && later.start > failed_at)
}

fn dead(mail: &Mail) -> Option<Fate> {
    let is_dead = |spot| mail.delivery(spot).outcome == Some(Outcome::DeadLetter) && !mended(mail, spot);
    Fate::spots(State::DeadLettered, &last_deliveries(mail, is_dead))
}

fn failed_delivery(mail: &Mail) -> Option<Fate> {
    let failed = |spot| {
        let delivery = mail.delivery(spot);
        let open = matches!(delivery.outcome, None | Some(Outcome::Ack));
        delivery.failed && open && !mended(mail, spot)
    };
    Fate::spots(State::Failed, &last_deliveries(mail, failed))
}

/// A failed root that nobody tried again with success.
fn failed_root(steps: &Steps, mail: &Mail) -> Option<Fate> {
    let successes = Successes::of(steps);
    let failed: Vec<usize> = roots(steps)
        .filter(|at| steps.list[*at].failed() && !mail.taken.contains_key(at))
        .filter(|at| successes.after(steps, *at).is_none())
        .collect();
    let last = *failed.iter().max_by_key(|at| steps.list[**at].end)?;
    Some(Fate { more: failed.len() - 1, ..Fate::step(State::Failed, last) })
}

fn roots<'a>(steps: &'a Steps) -> impl Iterator<Item = usize> + 'a {
    (0..steps.list.len()).filter(|at| steps.is_root(*at))
}

/// The last root of each service and name that did not fail.
struct Successes<'a>(HashMap<(&'a str, &'a str), usize>);

impl<'a> Successes<'a> {
    fn of(steps: &'a Steps) -> Self {
        let mut last: HashMap<(&str, &str), usize> = HashMap::new();
        for at in roots(steps).filter(|at| !steps.list[*at].failed()) {
            let step = &steps.list[at];
            let known = last.entry((step.service(), &step.span.name)).or_insert(at);
            if steps.list[*known].start < step.start {
                *known = at;
            }
        }
        Self(last)
    }

    /// The same request, tried again later with success.
    fn after(&self, steps: &Steps, failed: usize) -> Option<usize> {
        let before = &steps.list[failed];
        let success = self.0.get(&(before.service(), before.span.name.as_str()))?;
        (steps.list[*success].start > before.start).then_some(*success)
    }
}

fn pending(steps: &Steps, mail: &Mail, now: Nanos) -> Option<Fate> {
    let waits = |spot| mail.delivery(spot).outcome == Some(Outcome::Retry) && !mended(mail, spot);
    let mut fate = Fate::spots(State::Waiting, &last_deliveries(mail, waits))?;
    let delivery = mail.delivery(fate.spot?);
    let end = steps.list[delivery.step].end;
    let due = end.saturating_add(delivery.delay.unwrap_or(0));
    if now > due.saturating_add(PATIENCE) {
        fate.state = State::Overdue;
    }
    fate.due = Some(due);
    Some(fate)
}

/// An errand, or a root, that failed and then succeeded.
fn retried(steps: &Steps, mail: &Mail) -> Option<Fate> {
    let again = |spot: Spot| {
        let deliveries = &mail.posts[spot.0].errands[spot.1].deliveries;
        let earlier = deliveries[..spot.2].iter().any(|delivery| delivery.failed);
        !mail.delivery(spot).failed && earlier
    };
    let mended = |spot: Spot| mail.delivery(spot).failed && mended(mail, spot);
    let spots = last_deliveries(mail, |spot| again(spot) || mended(spot));
    Fate::spots(State::Retried, &spots).or_else(|| {
        let successes = Successes::of(steps);
        let success =
            roots(steps).filter(|at| steps.list[*at].failed()).find_map(|at| successes.after(steps, at))?;
        Some(Fate::step(State::Retried, success))
    })
}

fn refused(steps: &Steps) -> Option<Fate> {
    let refuses = |at: &usize| matches!(&steps.list[*at].deed, Deed::Served(call) if call.http_status.is_some_and(|code| code >= 400));
    roots(steps).filter(refuses).last().map(|at| Fate::step(State::Refused, at))
}

/// Nothing failed: still running, over, or never seen in spans.
fn quiet(steps: &Steps, facts: &Facts, now: Nanos) -> Fate {
    let fresh = now.saturating_sub(facts.last) < FRESH;
    let visits = steps.list.iter().enumerate().filter(|(at, step)| step.entry == *at && step.plausible);
    let last =
        visits.max_by_key(|(_, step)| step.end).map(|(at, _)| at).or(steps.parents_first.first().copied());
    match last {
        None => Fate { state: State::OnlyLogs, at: None, spot: None, due: None, more: 0 },
        Some(at) => Fate::step(if fresh { State::Running } else { State::Well }, at),
    }
}
