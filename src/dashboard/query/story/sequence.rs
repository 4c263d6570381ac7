//! Who spoke to whom: calls, messages and answers between services, queues and outside peers, in order.
//!
//! A drawing for reading, so it is bounded: the most telling parties and exchanges are kept, the others counted.

use std::collections::{HashMap, HashSet};

use super::axis::{Axis, PieceKind};
use super::chart::Chart;
use super::ending::State;
use super::mail::{Delivery, Place, Spot};
use super::read::{Call, Deed, Outcome, shorten, why};
use super::switches::{Did, Switch};
use super::verdict::delivery_why;
use super::way::Way;
use super::{Scene, Wish};
use crate::dashboard::model::Nanos;
use crate::dashboard::query::breakers::State as BreakerState;

/// The drawing: parties as columns, exchanges as rows.
#[derive(Debug, Default)]
pub struct Sequence {
    pub parties: Vec<Party>,
    pub rows: Vec<Row>,
    /// When a service was at work: party, first and last row.
    pub visits: Vec<(usize, usize, usize)>,
    /// The party where the message is now.
    pub here: Option<usize>,
    /// Exchanges for which there was no row or column.
    pub left_out: usize,
    /// Parties for which there was no column.
    pub unnamed: Vec<String>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Party {
    Service(String),
    Place(Place),
    /// Something that sends no spans: a host, a foreign system.
    Peer(String),
}

impl Party {
    pub fn name(&self) -> &str {
        match self {
            Party::Service(name) | Party::Peer(name) => name,
            Party::Place(place) => place.name(),
        }
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    Exchange {
        from: usize,
        to: usize,
        label: String,
        kind: Exchange,
        failed: bool,
    },
    /// Nothing was said for so long, in ns.
    Gap(u64),
    /// A breaker of a party changed.
    Change {
        party: usize,
        name: String,
        state: BreakerState,
    },
}

/// What passes between two parties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    Call,
    Answer,
    Message,
}

const MAX_PARTIES: usize = 8;
const MAX_ROWS: usize = 36;
const MAX_CHANGES: usize = 8;
/// Answers that say nothing new are drawn in short stories only.
const SHORT: usize = 22;

/// An exchange before it has a place in the drawing.
struct Talk {
    at: Nanos,
    from: Party,
    to: Party,
    label: String,
    kind: Exchange,
    failed: bool,
    /// Lower is kept longer.
    worth: u8,
    /// The visits at its two ends.
    ends: [Option<usize>; 2],
}

/// Draws who spoke to whom.
pub(super) fn draw(scene: &Scene, way: &Way, chart: &Chart, wish: &Wish) -> Sequence {
    let mut teller = Teller { scene, way, talks: Vec::new(), called: called(scene) };
    for at in 0..scene.steps.list.len() {
        teller.step(at);
    }
    let mut talks = teller.talks;
    if let Some(service) = &wish.service {
        let its = |party: &Party| matches!(party, Party::Service(name) if name == service);
        talks.retain(|talk| its(&talk.from) || its(&talk.to));
    }
    talks.sort_by_key(|talk| (talk.at, talk.kind == Exchange::Answer));
    if talks.len() > SHORT {
        talks.retain(|talk| talk.worth < 4);
    }
    let all = talks.len();
    let (talks, unnamed) = choose(talks);
    let parties = parties(&talks);
    let column: HashMap<&Party, usize> = parties.iter().enumerate().map(|(at, party)| (party, at)).collect();
    let mut rows = Vec::new();
    let mut spans: HashMap<usize, (usize, usize, usize)> = HashMap::new();
    let mut before: Option<Nanos> = None;
    let mut changes = changes(scene, &column).into_iter().peekable();
    for talk in &talks {
        while let Some((_, change)) = changes.next_if(|(time, _)| *time <= talk.at) {
            rows.push(change);
        }
        if let Some(gap) = before.and_then(|before| idle(&chart.axis, before, talk.at)) {
            rows.push(Row::Gap(gap));
        }
        before = Some(talk.at);
        let (from, to) = (column[&talk.from], column[&talk.to]);
        for (visit, party) in
            talk.ends.iter().zip([from, to]).filter_map(|(visit, party)| Some(((*visit)?, party)))
        {
            let span = spans.entry(visit).or_insert((party, rows.len(), rows.len()));
            span.2 = rows.len();
        }
        let (label, kind, failed) = (talk.label.clone(), talk.kind, talk.failed);
        rows.push(Row::Exchange { from, to, label, kind, failed });
    }
    rows.extend(changes.map(|(_, change)| change));
    let here = here(scene).and_then(|place| column.get(&Party::Place(place)).copied());
    let mut visits: Vec<_> = spans.into_values().collect();
    visits.sort_unstable();
    Sequence { left_out: all - talks.len(), unnamed, here, visits, rows, parties }
}

/// Changes of breakers of the parties, by time.
fn changes(scene: &Scene, column: &HashMap<&Party, usize>) -> Vec<(Nanos, Row)> {
    let row = |switch: &Switch| {
        let (Did::Became(state), Some(name)) = (switch.did, switch.name.clone()) else { return None };
        let party = *column.get(&Party::Service(switch.service.clone()))?;
        Some((switch.time, Row::Change { party, name, state }))
    };
    scene.switches.iter().filter_map(row).take(MAX_CHANGES).collect()
}

/// Where a message waits now.
fn here(scene: &Scene) -> Option<Place> {
    let waits = matches!(scene.ending.state, State::DeadLettered | State::Waiting | State::Overdue);
    let delivery = scene.mail.delivery(scene.ending.spot.filter(|_| waits)?);
    Some(settled(delivery))
}

fn settled(delivery: &Delivery) -> Place {
    delivery.settled_to.as_ref().map_or(delivery.place.clone(), |queue| Place::Queue(queue.clone()))
}

/// The length of the folded piece between two moments.
fn idle(axis: &Axis, from: Nanos, to: Nanos) -> Option<u64> {
    let folds = axis.pieces.iter().filter(|piece| piece.kind == PieceKind::Fold);
    folds.into_iter().find(|piece| from <= piece.from && to >= piece.to).map(|piece| piece.length())
}

/// Client steps whose call was seen by the called service.
fn called(scene: &Scene) -> HashSet<usize> {
    let served = scene.steps.list.iter().filter(|step| matches!(step.deed, Deed::Served(_)));
    served.filter_map(|step| step.parent).collect()
}

/// Keeps the parties and exchanges that tell most; names the parties that are left out.
fn choose(talks: Vec<Talk>) -> (Vec<Talk>, Vec<String>) {
    let mut best: HashMap<&Party, (u8, Nanos)> = HashMap::new();
    for talk in &talks {
        for party in [&talk.from, &talk.to] {
            let entry = best.entry(party).or_insert((talk.worth, talk.at));
            entry.0 = entry.0.min(talk.worth);
        }
    }
    let mut ranked: Vec<(&Party, (u8, Nanos))> = best.into_iter().collect();
    ranked.sort_by(|one, other| one.1.cmp(&other.1).then_with(|| one.0.name().cmp(other.0.name())));
    let kept: HashSet<Party> = ranked.iter().take(MAX_PARTIES).map(|(party, _)| (*party).clone()).collect();
    let unnamed = ranked.iter().skip(MAX_PARTIES).map(|(party, _)| party.name().to_owned()).collect();
    let mut talks: Vec<Talk> =
        talks.into_iter().filter(|talk| kept.contains(&talk.from) && kept.contains(&talk.to)).collect();
    if talks.len() > MAX_ROWS {
        let mut worth: Vec<(u8, usize)> =
            talks.iter().enumerate().map(|(at, talk)| (talk.worth, at)).collect();
        worth.sort_unstable();
        let kept: HashSet<usize> = worth.into_iter().take(MAX_ROWS).map(|(_, at)| at).collect();
        let mut at = 0;
        talks.retain(|_| {
            at += 1;
            kept.contains(&(at - 1))
        });
    }
    (talks, unnamed)
}

/// Columns by first appearance.
fn parties(talks: &[Talk]) -> Vec<Party> {
    let mut parties: Vec<Party> = Vec::new();
    for party in talks.iter().flat_map(|talk| [&talk.from, &talk.to]) {
        if !parties.contains(party) {
            parties.push(party.clone());
        }
    }
    parties
}

struct Teller<'a> {
    scene: &'a Scene<'a>,
    way: &'a Way,
    talks: Vec<Talk>,
    called: HashSet<usize>,
}

impl Teller<'_> {
    fn step(&mut self, at: usize) {
        let step = &self.scene.steps.list[at];
        match &step.deed {
            Deed::Served(call) => self.served(at, call),
            Deed::Called(call) if !self.called.contains(&at) => self.called_outside(at, call),
            Deed::Sent(_) => self.sent(at),
            Deed::Took(_) => self.took(at),
            _ => {}
        }
    }

    fn service(&self, at: usize) -> Party {
        Party::Service(self.scene.steps.list[at].service().to_owned())
    }

    fn worth(&self, at: usize) -> u8 {
        if self.way.steps.contains(&at) { 0 } else { 2 }
    }

    fn served(&mut self, at: usize, call: &Call) {
        let step = &self.scene.steps.list[at];
        let Some(parent) = step.parent else { return };
        let (from, to) = (self.service(parent), self.service(at));
        if from == to {
            return;
        }
        let ends = [Some(self.scene.steps.list[parent].entry), Some(step.entry)];
        let worth = if step.failed() { self.worth(at).min(1) } else { self.worth(at) };
        let label = call.what.clone();
        self.talks.push(Talk {
            at: step.order,
            from: from.clone(),
            to: to.clone(),
            label,
            kind: Exchange::Call,
            failed: false,
            worth,
            ends,
        });
        let status = call.status.clone();
        let (label, worth) = if step.failed() {
            (status.or_else(|| why(step.span)).unwrap_or_else(|| "failed".to_owned()), worth)
        } else {
            (status.unwrap_or_else(|| "answered".to_owned()), 4)
        };
        self.talks.push(Talk {
            at: step.end.max(step.order),
            from: to,
            to: from,
            label,
            kind: Exchange::Answer,
            failed: step.failed(),
            worth,
            ends: [ends[1], ends[0]],
        });
    }

    fn called_outside(&mut self, at: usize, call: &Call) {
        let step = &self.scene.steps.list[at];
        let Some(peer) = &call.peer else { return };
        let (from, to) = (self.service(at), Party::Peer(peer.clone()));
        let worth = if step.failed() { 1 } else { 3 };
        let ends = [Some(step.entry), None];
        self.talks.push(Talk {
            at: step.order,
            from: from.clone(),
            to: to.clone(),
            label: call.what.clone(),
            kind: Exchange::Call,
            failed: false,
            worth,
            ends,
        });
        if let Some(label) = why(step.span) {
            self.talks.push(Talk {
                at: step.end.max(step.order),
                from: to,
                to: from,
                label,
                kind: Exchange::Answer,
                failed: true,
                worth,
                ends: [None, ends[0]],
            });
        }
    }

    fn sent(&mut self, at: usize) {
        let step = &self.scene.steps.list[at];
        let Some(post) = self.scene.mail.sent.get(&at).map(|post| &self.scene.mail.posts[*post]) else {
            return;
        };
        if post.sender != Some(at) {
            return;
        }
        let mut places: Vec<(Place, bool)> = Vec::new();
        for delivery in post.errands.iter().filter_map(|errand| errand.deliveries.first()) {
            let on_way = self.way.steps.contains(&delivery.step);
            match places.iter_mut().find(|(place, _)| *place == delivery.place) {
                Some(known) => known.1 |= on_way,
                None => places.push((delivery.place.clone(), on_way)),
            }
        }
        if places.is_empty() {
            places.push((Place::Destination(post.name.clone()), false));
        }
        for (place, on_way) in places {
            let worth = if on_way { 0 } else { 3 };
            self.talks.push(Talk {
                at: step.order,
                from: self.service(at),
                to: Party::Place(place),
                label: post.name.clone(),
                kind: Exchange::Message,
                failed: step.failed(),
                worth,
                ends: [Some(step.entry), None],
            });
        }
    }

    fn took(&mut self, at: usize) {
        let Some(&Spot(post, errand, number)) = self.scene.mail.taken.get(&at) else { return };
        let step = &self.scene.steps.list[at];
        let delivery = self.scene.mail.delivery(Spot(post, errand, number));
        let from =
            delivery.wait.as_ref().filter(|wait| wait.again).map_or(&delivery.place, |wait| &wait.place);
        let many = self.scene.mail.posts[post].errands[errand].deliveries.len() > 1 || delivery.failed;
        let label = if many && delivery.numbered {
            format!("delivery {}", delivery.number)
        } else {
            self.scene.mail.posts[post].name.clone()
        };
        // Where it is not told what became of a failed delivery, the delivery itself is marked.
        let marked = delivery.failed && delivery.outcome.is_none();
        let label = match delivery_why(self.scene.steps, delivery).filter(|_| marked) {
            Some(why) => format!("{label}: {why}"),
            None => label,
        };
        let worth = if delivery.failed { 0 } else { self.worth(at).min(3) };
        self.talks.push(Talk {
            at: step.order,
            from: Party::Place(from.clone()),
            to: self.service(at),
            label,
            kind: Exchange::Message,
            failed: marked,
            worth,
            ends: [None, Some(at)],
        });
        let label = match delivery.outcome {
            Some(Outcome::Retry) => "retry",
            Some(Outcome::DeadLetter) => "dead-lettered",
            _ => return,
        };
        let why = delivery_why(self.scene.steps, delivery).filter(|_| label != "retry");
        let label = why.map_or(label.to_owned(), |why| format!("{label}: {}", shorten(&why)));
        self.talks.push(Talk {
            at: step.end.max(step.order),
            from: self.service(at),
            to: Party::Place(settled(delivery)),
            label,
            kind: Exchange::Message,
            failed: true,
            worth: 0,
            ends: [Some(at), None],
        });
    }
}
