//! Breakers in a story: changes that its spans and logs name, changes of the same time that are known otherwise, and
//! calls that were turned away.

use super::acts::{Act, ActKind, Ref, Weight};
use super::{Material, Scene, steps};
use crate::dashboard::model::{Nanos, SpanId, TraceId};
use crate::dashboard::query::breakers::evidence::{self, Change};
use crate::dashboard::query::breakers::{State, words};
use crate::dashboard::query::prose::Prose;

/// A log and an event that tell of the same change lie within this.
const SAME: Nanos = 1_000_000_000;
/// And a change that is known from elsewhere, as from metrics, within this.
const ALIKE: Nanos = 20_000_000_000;
/// Acts of this kind told at once; the others are quiet.
const MOST: usize = 20;

/// What a breaker did.
#[derive(Debug, Clone)]
pub struct Switch {
    pub time: Nanos,
    pub service: String,
    /// `None` where it is not told.
    pub name: Option<String>,
    pub did: Did,
    pub said: Prose,
    /// The span that tells of it.
    pub place: Option<(TraceId, SpanId)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Did {
    /// It turned a call away.
    Rejected,
    /// It came into a state.
    Became(State),
}

impl Switch {
    /// Whether it is bad news.
    pub fn is_bad(&self) -> bool {
        match self.did {
            Did::Rejected => true,
            Did::Became(state) => state.is_open(),
        }
    }

    fn changed(change: &Change, said: Prose) -> Self {
        Self {
            time: change.time,
            service: change.service.clone(),
            name: Some(change.name.clone()).filter(|_| change.to != State::Unknown),
            did: Did::Became(change.to),
            said,
            place: change.trace.zip(change.span),
        }
    }
}

/// Every change and every rejected call, in order of time.
pub(super) fn all(material: &Material, steps: &steps::Steps) -> Vec<Switch> {
    let mut changes: Vec<Change> = Vec::new();
    let mut switches: Vec<Switch> = Vec::new();
    for step in &steps.list {
        changes.extend(step.span.events.iter().filter_map(|event| evidence::change(step.span, event)));
        let Some(rejection) = evidence::rejection(step.span) else { continue };
        // A service's spans may all tell of the one call that was turned away.
        let same = |told: &Switch| {
            told.did == Did::Rejected
                && told.place.map(|(trace, _)| trace) == rejection.trace
                && told.service == rejection.service
                && told.time.abs_diff(rejection.time) <= SAME
        };
        if !switches.iter().any(same) {
            switches.push(Switch {
                time: rejection.time,
                said: words::rejected(&rejection),
                service: rejection.service,
                name: rejection.name,
                did: Did::Rejected,
                place: rejection.trace.zip(rejection.span),
            });
        }
    }
    let logs = material.traces.iter().flat_map(|trace| &trace.logs).chain(&material.logs);
    for told in logs.filter_map(evidence::change_of_log) {
        if !changes.iter().any(|known| alike(known, &told, SAME)) {
            changes.push(told);
        }
    }
    switches.extend(changes.iter().map(|change| Switch::changed(change, words::changed(change))));
    for near in &material.changes {
        let change = near.as_change();
        if !changes.iter().any(|known| alike(known, &change, ALIKE)) {
            let said = words::changed_in(&change, near.change.instances.len(), near.change.exact);
            switches.push(Switch::changed(&change, said));
        }
    }
    switches.sort_by_key(|switch| switch.time);
    switches
}

/// Whether two tell of one change.
fn alike(one: &Change, other: &Change, within: Nanos) -> bool {
    (&one.service, &one.name, one.to) == (&other.service, &other.name, other.to)
        && one.time.abs_diff(other.time) <= within
}

/// All of them as acts.
pub(super) fn acts(scene: &Scene) -> Vec<Act> {
    let mut acts: Vec<Act> = scene.switches.iter().map(|switch| act(scene, switch)).collect();
    acts.iter_mut().skip(MOST).for_each(|act| act.quiet = true);
    acts
}

fn act(scene: &Scene, switch: &Switch) -> Act {
    let mut refs: Vec<Ref> = switch.place.map(|(trace, span)| Ref::Span(trace, span)).into_iter().collect();
    let breaker = switch.name.as_ref().map(|name| Ref::Breaker(switch.service.clone(), name.clone()));
    refs.extend(breaker);
    Act {
        at: Some(switch.time).filter(|time| steps::plausible(*time, scene.now)),
        weight: if switch.is_bad() { Weight::Bad } else { Weight::Side },
        kind: ActKind::Work,
        said: switch.said.clone(),
        services: vec![switch.service.clone()],
        refs,
        length: None,
        details: Vec::new(),
        first_failure: false,
        quiet: false,
        order: (switch.time, 4),
        cause: None,
    }
}
