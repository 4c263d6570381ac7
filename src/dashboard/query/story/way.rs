//! The one line to follow: from the first cause of the story to where it ends, through calls, messages and
//! waits. It is found backwards: from the last step to what led to it.

use std::collections::HashSet;

use super::ending::Ending;
use super::mail::{Mail, Spot, Wait};
use super::read::Deed;
use super::steps::Steps;
use crate::dashboard::model::Nanos;

/// The line, first visit first.
#[derive(Debug, Default)]
pub struct Way {
    pub visits: Vec<Visit>,
    /// All steps that the line goes through.
    pub steps: HashSet<usize>,
}

/// A service's part of the line.
#[derive(Debug, Clone, PartialEq)]
pub struct Visit {
    /// The step where the service was entered.
    pub entry: usize,
    pub from: Nanos,
    /// When the line goes on, or the end of the last visit.
    pub to: Nanos,
    /// The wait that the message went through before this visit.
    pub waited: Option<Wait>,
}

/// The longest line drawn, in visits.
const MAX_VISITS: usize = 200;

impl Way {
    /// Finds the line to the ending.
    pub fn of(steps: &Steps, mail: &Mail, ending: &Ending) -> Self {
        let mut way = Way::default();
        let target = ending.at.map(|at| inner(steps, ending, at));
        let mut next = target.map(|at| (at, steps.list[at].end));
        while let Some((at, leaves)) = next {
            if !way.steps.insert(at) || way.visits.len() > MAX_VISITS {
                break;
            }
            let entry = steps.list[at].entry;
            let begin = steps.list[entry].start;
            let waited = mail.taken.get(&entry).and_then(|spot| mail.delivery(*spot).wait.clone());
            way.steps.insert(entry);
            way.visits.push(Visit { entry, from: begin, to: leaves.max(begin), waited });
            next = before(steps, mail, entry);
        }
        way.visits.reverse();
        way
    }
}

/// A failed request is followed to where it broke.
fn inner(steps: &Steps, ending: &Ending, at: usize) -> usize {
    if steps.list[at].failed() && ending.spot.is_none() { ending.cause.unwrap_or(at) } else { at }
}

/// What led to a visit, and when the line left it: the delivery before, the producer, or the caller.
fn before(steps: &Steps, mail: &Mail, entry: usize) -> Option<(usize, Nanos)> {
    let begin = steps.list[entry].start;
    if let Some(&Spot(post, errand, number)) = mail.taken.get(&entry) {
        let delivery = mail.delivery(Spot(post, errand, number));
        let again = delivery.wait.as_ref().is_some_and(|wait| wait.again);
        if again && number > 0 {
            let previous = mail.posts[post].errands[errand].deliveries[number - 1].step;
            return Some((previous, steps.list[previous].end));
        }
        if let Some(sender) = mail.posts[post].sender {
            let left = delivery.wait.as_ref().map_or(begin, |wait| wait.from);
            return Some((sender, left));
        }
    }
    let caller = steps.list[entry].parent.or_else(|| linked(steps, entry))?;
    let sent = matches!(steps.list[caller].deed, Deed::Sent(_));
    let left = if sent { steps.list[caller].end.min(begin) } else { begin };
    Some((caller, left))
}

/// The earlier step that a root links to.
fn linked(steps: &Steps, entry: usize) -> Option<usize> {
    let step = &steps.list[entry];
    let links = step.span.links.iter().filter_map(|link| steps.find(link.trace_id, link.span_id?));
    links.filter(|to| steps.list[*to].start <= step.start).max_by_key(|to| steps.list[*to].start)
}
