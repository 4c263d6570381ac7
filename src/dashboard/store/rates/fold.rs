//! Counts sides as they come, and joins those that are two halves of one call.
//!
//! Whoever answers or takes is the child here, whoever calls or sends the parent, although a link may tie them.
//! Every child counts once: one call of a client that two servers answered is two calls. What is counted does not
//! depend on which half came first, nor on how they were put into requests.

use super::gather::Sink;
use super::halves::{Half, Halves};
use super::histogram::class;
use super::names::Names;
use super::pages::{self, Place, What};
use super::side::{NO_KEY, Role, Side, Sides};
use super::table::{Event, Key, Table};
use crate::dashboard::store::StoreError;

/// Sides whose keys are looked for together.
const LOOKED_AHEAD: usize = 16;
/// Buckets of a minute: instances are counted by the minute, since they are many and nobody asks for less.
const MINUTE: u32 = 6;

/// The rates of what is not sealed yet.
#[derive(Default)]
pub struct Fold {
    names: Names,
    operations: Table,
    calls: Table,
    instances: Table,
    halves: Halves,
    pending: Pending,
}

/// What counts by itself once a flush is through: halves that came together never do.
#[derive(Default)]
struct Pending {
    list: Vec<Option<(Key, Event)>>,
    /// Number of the first in the list, and of the next to come.
    first: u32,
    next: u32,
}

impl Pending {
    fn add(&mut self, key: Key, event: Event) -> u32 {
        self.list.push(Some((key, event)));
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        number
    }

    /// The number of none in the list.
    fn none(&self) -> u32 {
        self.first.wrapping_sub(1)
    }

    /// Leaves one out; false where it was counted in an earlier flush.
    fn leave_out(&mut self, number: u32) -> bool {
        let place = self.list.get_mut(number.wrapping_sub(self.first) as usize);
        place.is_some_and(|place| place.take().is_some())
    }
}

/// What two halves are together.
#[derive(Default)]
struct Join {
    /// Which of them no longer count by themselves.
    child_goes: bool,
    parent_goes: bool,
    call: Option<(Key, Event)>,
}

impl Fold {
    /// Counts what a flush brought.
    pub fn add(&mut self, sides: &Sides) {
        self.take(sides, true);
    }

    /// Takes in what a run has counted already: its halves may be waited for.
    pub fn remember(&mut self, sides: &Sides) {
        self.take(sides, false);
    }

    fn take(&mut self, sides: &Sides, counting: bool) {
        let services: Vec<u32> =
            sides.services.iter().map(|service| self.names.id(service, &sides.texts)).collect();
        let instances: Vec<u32> =
            sides.instances.iter().map(|instance| self.names.id(instance, &sides.texts)).collect();
        for part in sides.sides.chunks(LOOKED_AHEAD) {
            self.halves.look_ahead(part.iter().flat_map(|side| [side.key, side.other]));
            for side in part {
                self.count(side, services[side.service as usize], &instances, &sides.texts, counting);
            }
        }
        for (key, event) in self.pending.list.drain(..).flatten() {
            self.calls.count(key, event, 1);
        }
        self.pending.first = self.pending.next;
    }

    fn count(&mut self, side: &Side, service: u32, instances: &[u32], texts: &[u8], counting: bool) {
        let peer = side.peer.as_ref().map_or(Names::UNKNOWN, |peer| self.names.id(peer, texts));
        if let Some(name) = side.operation.as_ref().filter(|_| counting) {
            let key = [service, self.names.id(name, texts), Names::NONE, Names::NONE];
            let event = Event { bucket: side.bucket, class: side.class, failed: side.error, waited: None };
            self.operations.count(key, event, 1);
            // Only what is an operation has one.
            let instance = instances[side.instance as usize];
            let event = Event { bucket: event.bucket - event.bucket % MINUTE, ..event };
            self.instances.count([service, instance, Names::NONE, Names::NONE], event, 1);
        }
        self.side(side, Half::of(side, service, peer), counting);
    }

    /// Joins a span with its other half where that is known, keeps it for the others, and counts it.
    fn side(&mut self, side: &Side, mut half: Half, counting: bool) {
        let Self { calls, halves, pending, .. } = self;
        // Of two spans of one ID, the first is the one that others are joined with.
        let mut next = halves.awaited(side.key).map_or(NO_KEY, |awaited| awaited.next);
        let known = next != NO_KEY;
        let mut settle = |join: Join, goes: Option<&mut Half>| {
            if let Some(goes) = goes.filter(|half| half.solo) {
                goes.solo = false;
                if counting && !pending.leave_out(goes.pending) {
                    calls.count(goes.solo_key(), goes.event(), -1);
                }
            }
            if let Some((key, event)) = join.call.filter(|_| counting) {
                calls.count(key, event, 1);
            }
        };
        if let Some(twin) = halves.twin(side.key, &half)
            && let Some(join) = twins(&half, twin)
        {
            half.solo = false;
            settle(join, Some(twin));
        }
        if side.other != NO_KEY && matches!(side.role, Role::Serve | Role::Take | Role::Send) {
            match halves.get(side.other) {
                Some(parent) if parent.role.is_some() => {
                    let join = join(&half, parent);
                    half.solo &= !join.child_goes;
                    half.joined = true;
                    let goes = join.parent_goes.then_some(parent);
                    settle(join, goes);
                }
                Some(awaited) => half.next = std::mem::replace(&mut awaited.next, side.key),
                None => halves.expect(side.other, side.key, side.role != Role::Serve),
            }
        }
        while next != NO_KEY
            && let Some(child) = halves.get(next).filter(|child| child.role.is_some())
        {
            next = std::mem::replace(&mut child.next, NO_KEY);
            if std::mem::replace(&mut child.joined, true) {
                continue;
            }
            let join = join(child, &half);
            half.solo &= !join.parent_goes;
            let goes = join.child_goes.then_some(child);
            settle(join, goes);
        }
        half.pending =
            if half.solo && counting { pending.add(half.solo_key(), half.event()) } else { pending.none() };
        halves.keep(side.key, half, known);
    }

    /// Whether it should become a run's.
    pub fn is_full(&self) -> bool {
        self.operations.is_full() || self.calls.is_full() || self.instances.is_full()
    }

    /// Adds its tables' pages to a run's.
    pub fn seal(&self, pages: &mut Vec<Vec<u8>>) -> Result<Place, StoreError> {
        pages::seal(&self.names, [&self.operations, &self.calls, &self.instances], pages)
    }

    /// What goes on when it is sealed: the halves that may still be joined. Where there are very many names, they
    /// begin anew, and the halves with them.
    pub fn next(self) -> Self {
        if self.names.are_many() {
            return Self::default();
        }
        Self { names: self.names, halves: self.halves, ..Self::default() }
    }

    /// Adds all that a sink wants.
    pub fn read(&self, what: What, sink: &mut impl Sink) {
        match what {
            What::Operations => self.operations.read(&self.names, sink),
            What::Calls => self.calls.read(&self.names, sink),
            What::Instances => self.instances.read(&self.names, sink),
        }
    }
}

impl Half {
    fn of(side: &Side, service: u32, peer: u32) -> Self {
        Self {
            next: NO_KEY,
            at: side.at,
            service,
            peer,
            bucket: side.bucket,
            class: side.class,
            role: Some(side.role),
            failed: side.failed,
            alone: side.alone,
            linked: side.linked,
            solo: side.counts,
            joined: false,
            pending: 0,
        }
    }

    /// What it counts as while the other half is not known.
    fn solo_key(&self) -> Key {
        match self.role {
            Some(Role::Serve) if self.alone => [Names::USER, self.service, Names::NONE, Names::NONE],
            Some(Role::Serve) => [Names::UNKNOWN, self.service, Names::NONE, Names::NONE],
            Some(Role::Send) => [self.service, Names::UNKNOWN, self.peer, Names::NONE],
            Some(Role::Take) => [Names::UNKNOWN, self.service, Names::NONE, self.peer],
            Some(Role::Call | Role::Inside) | None => [self.service, self.peer, Names::NONE, Names::NONE],
        }
    }

    fn event(&self) -> Event {
        Event { bucket: self.bucket, class: self.class, failed: self.failed, waited: None }
    }
}

/// What client and server of one ID are together, whichever of them is known.
fn twins(half: &Half, known: &Half) -> Option<Join> {
    let shares = |server: &Half, client: &Half| {
        server.linked && server.role == Some(Role::Serve) && client.role == Some(Role::Call)
    };
    if shares(half, known) {
        Some(join(half, known))
    } else if shares(known, half) {
        Some(join(known, half))
    } else {
        None
    }
}

/// What a child and its parent are together.
fn join(child: &Half, parent: &Half) -> Join {
    let same_service = child.service == parent.service;
    let (Some(answers), Some(calls)) = (child.role, parent.role) else { return Join::default() };
    match (answers, calls) {
        (Role::Serve, Role::Call) => Join {
            child_goes: true,
            parent_goes: true,
            call: Some((
                [parent.service, child.service, Names::NONE, Names::NONE],
                Event { failed: child.failed || parent.failed, ..parent.event() },
            )),
        },
        (Role::Serve, _) => Join {
            child_goes: true,
            call: (!same_service)
                .then(|| ([parent.service, child.service, Names::NONE, Names::NONE], child.event())),
            ..Join::default()
        },
        // One message, taken in two steps: the one that is linked to what sent it tells more, else the outer one.
        (Role::Take, Role::Take) if same_service => {
            Join { child_goes: !child.linked, parent_goes: child.linked, call: None }
        }
        (Role::Take, _) if child.linked => Join::default(),
        (Role::Take, Role::Send | Role::Call) => {
            Join { child_goes: true, parent_goes: true, call: Some(message(child, parent)) }
        }
        (Role::Take, _) if !same_service => {
            Join { child_goes: true, parent_goes: false, call: Some(message(child, parent)) }
        }
        // pika makes two nested spans of one publish; the message is the inner one's.
        (Role::Send, Role::Send) if same_service => Join { parent_goes: true, ..Join::default() },
        _ => Join::default(),
    }
}

fn message(child: &Half, parent: &Half) -> (Key, Event) {
    let sent_to = if parent.role == Some(Role::Send) { parent.peer } else { Names::NONE };
    let waited = Some(class(child.at.saturating_sub(parent.at)));
    ([parent.service, child.service, sent_to, child.peer], Event { waited, ..child.event() })
}
