//! Where the time went: lanes of services and queues on a folded axis, with bars, marks and the line to follow.
//!
//! Positions across are percentages, down they are lane numbers. Everything is bounded: what does not fit is
//! counted.

use std::collections::HashMap;

use super::artist::Artist;
use super::axis::{Axis, Tick};
use super::ending::State;
use super::mail::Place;
use super::way::Way;
use super::{Scene, Wish, steps};
use crate::dashboard::model::{Nanos, SpanId, TraceId};
use crate::dashboard::query::breakers::State as BreakerState;

/// The drawing.
#[derive(Debug)]
pub struct Chart {
    pub axis: Axis,
    pub ticks: Vec<Tick>,
    pub lanes: Vec<Lane>,
    /// Services and queues for which there was no lane.
    pub more_lanes: usize,
    pub bands: Vec<Band>,
    pub heads: Vec<Head>,
    pub bars: Vec<Bar>,
    /// Stretches of lanes in which a visit failed: lane, x, width.
    pub roofs: Vec<(usize, f64, f64)>,
    pub way: Vec<WayPart>,
    pub marks: Vec<Mark>,
    pub switches: Vec<SwitchMark>,
    /// Logs: lane, x, whether it tells of an error.
    pub logs: Vec<(usize, f64, bool)>,
    pub waits: Vec<WaitLabel>,
    /// Where the message is now: lane and x.
    pub here: Option<(usize, f64)>,
}

/// A row of the chart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Lane {
    Service(String),
    Place(Place),
}

/// A trace's bracket over the lanes.
#[derive(Debug, Clone)]
pub struct Band {
    pub trace: TraceId,
    pub letter: String,
    pub x: f64,
    pub width: f64,
    /// Overlapping brackets are stacked.
    pub level: usize,
}

/// The heading of a busy piece.
#[derive(Debug, Clone)]
pub struct Head {
    pub x: f64,
    pub width: f64,
    /// The one trace in it, with its letter, and service and name of its root; `None` where there are more.
    pub one: Option<(TraceId, String, String)>,
    /// Whether that trace began in an earlier piece.
    pub goes_on: bool,
    pub traces: usize,
    pub by_link: bool,
    pub length: u64,
    pub spans: usize,
    pub errors: usize,
}

/// Work in a service.
#[derive(Debug, Clone)]
pub struct Bar {
    pub lane: usize,
    pub x: f64,
    pub width: f64,
    /// The first visit in it, for a link, and what it is.
    pub span: (TraceId, SpanId),
    pub name: String,
    pub length: u64,
}

/// A piece of the line to follow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WayPart {
    Across { lane: usize, from: f64, to: f64, waits: bool },
    Down { x: f64, from: usize, to: usize },
}

/// Where something failed.
#[derive(Debug, Clone)]
pub struct Mark {
    pub lane: usize,
    pub x: f64,
    /// Only where there is room for it.
    pub label: Option<Label>,
    pub span: (TraceId, SpanId),
    pub why: String,
}

/// Where a breaker changed.
#[derive(Debug, Clone, PartialEq)]
pub struct SwitchMark {
    /// Of the service that has it.
    pub lane: usize,
    pub x: f64,
    pub service: String,
    pub name: String,
    pub state: BreakerState,
    /// Whether something failed at the same place, so that it has to stand beside that mark.
    pub beside: bool,
}

/// A text beside a mark.
#[derive(Debug, Clone)]
pub struct Label {
    pub text: String,
    /// The end of the bar that it stands beside.
    pub x: f64,
    /// Left of it instead of right.
    pub before: bool,
    pub on_fold: bool,
}

/// The length of a wait, written into its lane.
#[derive(Debug, Clone)]
pub struct WaitLabel {
    pub lane: usize,
    pub x: f64,
    pub length: u64,
    /// In the middle of the wait; else it ends at `x`.
    pub middle: bool,
    pub on_fold: bool,
}

const MAX_LANES: usize = 18;

/// Draws the chart.
pub(super) fn draw(scene: &Scene, way: &Way, wish: &Wish) -> Chart {
    let ends_waiting = matches!(scene.ending.state, State::DeadLettered | State::Waiting | State::Overdue);
    let logs = scene.logs.iter().filter(|log| log.trace.is_none() || log.late.is_some());
    let logs = logs.filter(|log| steps::plausible(log.time, scene.now)).map(|log| (log.time, log.time));
    let work = scene.steps.list.iter().filter(|step| step.plausible).map(|step| (step.start, step.end));
    let busy = work.chain(logs).collect();
    let axis = Axis::of(busy, ends_waiting.then_some(scene.now), wish.true_scale);
    let (lanes, more_lanes) = lanes(scene, way, wish);
    let rows: HashMap<Lane, usize> =
        lanes.iter().cloned().enumerate().map(|(row, lane)| (lane, row)).collect();
    let artist = Artist { scene, axis: &axis, rows: &rows };
    let (bars, roofs) = artist.bars();
    let way = artist.way(way, ends_waiting);
    let marks = artist.marks(&bars);
    Chart {
        ticks: axis.ticks(),
        bands: artist.bands(),
        heads: artist.heads(),
        switches: artist.switches(&marks),
        marks,
        logs: artist.logs(),
        waits: artist.waits(&way),
        here: way.iter().rev().find_map(|part| match part {
            WayPart::Across { lane, to, waits: true, .. } if ends_waiting => Some((*lane, *to)),
            _ => None,
        }),
        bars,
        roofs,
        way,
        more_lanes,
        lanes,
        axis: axis.clone(),
    }
}

/// Lanes by first appearance. Queues have one only if the line passes them, or if it passes none, or if the
/// reader asks for messages.
fn lanes(scene: &Scene, way: &Way, wish: &Wish) -> (Vec<Lane>, usize) {
    let mut first: HashMap<Lane, (bool, Nanos)> = HashMap::new();
    let mut note = |lane: Lane, on_way: bool, at: Nanos| {
        let entry = first.entry(lane).or_insert((on_way, at));
        *entry = (entry.0 || on_way, entry.1.min(at));
    };
    for (at, step) in scene.steps.list.iter().enumerate().filter(|(at, step)| step.entry == *at) {
        note(Lane::Service(step.service().to_owned()), way.steps.contains(&at), step.order);
    }
    for log in scene.logs {
        note(Lane::Service(log.service.clone()), false, log.time);
    }
    for (_, delivery) in scene.mail.deliveries() {
        let step = &scene.steps.list[delivery.step];
        let on_way = way.steps.contains(&delivery.step) || delivery.failed;
        let of_service = wish.service.as_ref().is_none_or(|name| step.service() == name);
        let Some(wait) = delivery.wait.as_ref().filter(|_| of_service) else { continue };
        note(Lane::Place(wait.place.clone()), on_way, wait.from);
    }
    if let Some(delivery) = scene.ending.spot.map(|spot| scene.mail.delivery(spot)).filter(|d| d.failed) {
        let place =
            delivery.settled_to.as_ref().map_or(delivery.place.clone(), |queue| Place::Queue(queue.clone()));
        note(Lane::Place(place), true, scene.steps.list[delivery.step].end);
    }
    let passes_queues = first.iter().any(|(lane, (on_way, _))| *on_way && matches!(lane, Lane::Place(_)));
    let all_queues = !passes_queues || wish.kind == Some(super::ActKind::Message);
    let mut found: Vec<(Lane, bool, Nanos)> = first
        .into_iter()
        .map(|(lane, (on_way, at))| (lane, on_way, at))
        .filter(|(lane, on_way, _)| match lane {
            Lane::Service(name) => wish.service.as_ref().is_none_or(|wished| wished == name),
            Lane::Place(_) => *on_way || all_queues,
        })
        .collect();
    found.sort_by_key(|found| (!found.1, found.2));
    let more = found.len().saturating_sub(MAX_LANES);
    found.truncate(MAX_LANES);
    found.sort_by(|one, other| one.2.cmp(&other.2).then_with(|| name(&one.0).cmp(name(&other.0))));
    (found.into_iter().map(|(lane, ..)| lane).collect(), more)
}

fn name(lane: &Lane) -> &str {
    match lane {
        Lane::Service(name) => name,
        Lane::Place(place) => place.name(),
    }
}
