//! Breakers in a story: changes that its spans and logs name, and calls that were turned away.

use super::acts::{Act, ActKind, Ref, Weight};
use super::{Scene, steps};
use crate::dashboard::model::{Nanos, SpanId, TraceId};
use crate::dashboard::query::breakers::evidence::{self, Change};
use crate::dashboard::query::breakers::{State, words};
use crate::dashboard::query::prose::Prose;

/// A log and an event that tell of the same change lie within this.
const SAME: Nanos = 1_000_000_000;
/// Acts of this kind told at once; the others are quiet.
const MOST: usize = 20;

/// Every change and every rejected call, in order of time.
pub(super) fn acts(scene: &Scene) -> Vec<Act> {
    let mut changes: Vec<Change> = Vec::new();
    let mut acts = Vec::new();
    // A service's spans may all tell of the one call that was turned away.
    let mut told: Vec<(Option<TraceId>, String, Nanos)> = Vec::new();
    for step in &scene.steps.list {
        changes.extend(step.span.events.iter().filter_map(|event| evidence::change(step.span, event)));
        if let Some(rejection) = evidence::rejection(step.span) {
            let same = |(trace, service, time): &(Option<TraceId>, String, Nanos)| {
                *trace == rejection.trace
                    && *service == rejection.service
                    && time.abs_diff(rejection.time) <= SAME
            };
            if told.iter().any(same) {
                continue;
            }
            told.push((rejection.trace, rejection.service.clone(), rejection.time));
            let place = rejection.trace.zip(rejection.span);
            let said = words::rejected(&rejection);
            acts.push(act(
                scene,
                rejection.time,
                Weight::Bad,
                said,
                (&rejection.service, rejection.name.as_deref()),
                place,
            ));
        }
    }
    let logs = scene.material.traces.iter().flat_map(|trace| &trace.logs).chain(&scene.material.logs);
    for told in logs.filter_map(evidence::change_of_log) {
        let same = |known: &Change| {
            (&known.service, &known.name, known.to) == (&told.service, &told.name, told.to)
                && known.time.abs_diff(told.time) <= SAME
        };
        if !changes.iter().any(same) {
            changes.push(told);
        }
    }
    for change in &changes {
        let weight = if change.to.is_open() { Weight::Bad } else { Weight::Side };
        let place = change.trace.zip(change.span);
        let said = words::changed(change);
        let name = Some(change.name.as_str()).filter(|_| change.to != State::Unknown);
        acts.push(act(scene, change.time, weight, said, (&change.service, name), place));
    }
    acts.sort_by_key(|act| act.order);
    acts.iter_mut().skip(MOST).for_each(|act| act.quiet = true);
    acts
}

fn act(
    scene: &Scene,
    time: Nanos,
    weight: Weight,
    said: Prose,
    (service, name): (&str, Option<&str>),
    place: Option<(TraceId, SpanId)>,
) -> Act {
    let mut refs: Vec<Ref> = place.map(|(trace, span)| Ref::Span(trace, span)).into_iter().collect();
    refs.extend(name.map(|name| Ref::Breaker(service.to_owned(), name.to_owned())));
    Act {
        at: Some(time).filter(|time| steps::plausible(*time, scene.now)),
        weight,
        kind: ActKind::Work,
        said,
        services: vec![service.to_owned()],
        refs,
        length: None,
        details: Vec::new(),
        first_failure: false,
        quiet: false,
        order: (time, 4),
        cause: None,
    }
}
