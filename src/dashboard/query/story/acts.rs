//! The story in order, one line an act: who took what, sent what, waited where, failed why.
//!
//! A visit of a request to a service is an act, and so is a message sent, taken, waiting or dead-lettered, and
//! a log that stands alone. What else a service did is quiet: told only when all is asked for.

use std::collections::HashSet;

use super::way::Way;
use super::{Scene, Wish, about, switches, tapped, telling};
use crate::dashboard::model::{Nanos, SpanId, TraceId};
use crate::dashboard::query::prose::Prose;

/// One line of the story.
#[derive(Debug, Clone)]
pub struct Act {
    /// `None` where the sent time cannot be true.
    pub at: Option<Nanos>,
    pub weight: Weight,
    pub kind: ActKind,
    pub said: Prose,
    /// The services that it is about, for the filter.
    pub services: Vec<String>,
    pub refs: Vec<Ref>,
    /// For a wait: how long, in ns.
    pub length: Option<u64>,
    /// What the application says of its subject, where this act is the first to show it.
    pub details: Vec<(String, String)>,
    /// Marked as the first failure of the story.
    pub first_failure: bool,
    /// Told only when all is asked for.
    pub quiet: bool,
    pub(super) order: (Nanos, u8),
    pub(super) cause: Option<usize>,
}

/// How an act is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// On the way of the story's line.
    Main,
    Side,
    Bad,
    Wait,
    /// The end: where it is now.
    Now,
}

/// What an act is, for the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActKind {
    Request,
    Message,
    Log,
    Work,
}

/// Where an act can be looked at closer.
#[derive(Debug, Clone, PartialEq)]
pub enum Ref {
    Span(TraceId, SpanId),
    /// The span in which it broke.
    Cause(TraceId, SpanId),
    /// Index in the story's logs, and how many logs there are of the act.
    Log(usize, usize),
    /// A message, by its ID.
    Message(String),
    /// A breaker, by its service and name.
    Breaker(String, String),
}

/// The story's acts.
#[derive(Debug, Default)]
pub struct Acts {
    pub list: Vec<Act>,
    /// Quiet spans left out.
    pub quiet: usize,
    /// Acts that the reader's filter leaves out.
    pub filtered: usize,
}

/// Details of the application told with one act.
const MAX_DETAILS: usize = 3;
/// A story of more acts than this is long.
const LONG: usize = 80;

/// Tells the acts that the reader wishes to see.
pub(super) fn tell(scene: &Scene, way: &Way, wish: &Wish) -> Acts {
    let mut acts = telling::all(scene, way);
    acts.extend(switches::acts(scene));
    acts.extend(tapped::acts(scene));
    acts.sort_by_key(|act| act.order);
    mark_first_failure(scene, &mut acts);
    thin_out(&mut acts);
    add_details(scene, &mut acts);
    let all = acts.len();
    let wanted = |act: &Act| {
        let service = wish.service.as_ref().is_none_or(|name| act.services.contains(name));
        service && wish.kind.is_none_or(|kind| act.kind == kind)
    };
    acts.retain(wanted);
    let filtered = all - acts.len();
    let wished = acts.len();
    acts.retain(|act| wish.quiet || !act.quiet);
    Acts { quiet: wished - acts.len(), filtered, list: acts }
}

fn mark_first_failure(scene: &Scene, acts: &mut [Act]) {
    let Some(first) = scene.ending.first else { return };
    let entry = scene.steps.list[first].entry;
    let same = |act: &&mut Act| {
        !act.quiet
            && act.weight == Weight::Bad
            && act.cause.is_some_and(|cause| cause == first || scene.steps.list[cause].entry == entry)
    };
    if let Some(act) = acts.iter_mut().find(same) {
        act.first_failure = true;
    }
}

/// In a long story, calls between services that went well and are off its line are quiet too.
fn thin_out(acts: &mut [Act]) {
    if acts.iter().filter(|act| !act.quiet).count() <= LONG {
        return;
    }
    let nested =
        |act: &&mut Act| act.kind == ActKind::Request && act.weight == Weight::Side && act.services.len() > 1;
    for act in acts.iter_mut().filter(nested) {
        act.quiet = true;
    }
}

/// Adds what the application says of its subject, each fact with the first act that shows it.
fn add_details(scene: &Scene, acts: &mut [Act]) {
    let mut told: HashSet<(String, String)> = HashSet::new();
    for act in acts.iter_mut().filter(|act| !act.quiet && act.kind != ActKind::Log) {
        let spans = act.refs.iter().filter_map(|reference| match reference {
            Ref::Span(trace, span) | Ref::Cause(trace, span) => scene.steps.find(*trace, *span),
            Ref::Log(..) | Ref::Breaker(..) | Ref::Message(_) => None,
        });
        act.details = spans
            .flat_map(|at| about::of_span(scene.steps.list[at].span))
            .map(|(key, value)| (key.to_owned(), value))
            .filter(|detail| told.insert(detail.clone()))
            .take(MAX_DETAILS)
            .collect();
    }
}
