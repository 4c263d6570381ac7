//! What is drawn on the lanes of the chart: bars, the line, brackets, marks and labels.

use std::collections::HashMap;

use super::axis::{Axis, PieceKind};
use super::chart::{Band, Bar, Head, Label, Lane, Mark, SwitchMark, WaitLabel, WayPart};
use super::mail::Place;
use super::read::{shorten, why};
use super::steps::Step;
use super::switches::Did;
use super::verdict::{ids, waits_in};
use super::way::Way;
use super::{Scene, steps};
use crate::dashboard::model::Nanos;

const MAX_BARS: usize = 200;
const MAX_BANDS: usize = 60;
const MAX_LEVELS: usize = 3;
const MAX_MARKS: usize = 40;
const MAX_SWITCHES: usize = 40;
/// Marks of one lane that lie nearer than this are drawn as one, in percent.
const NEAR: f64 = 1.0;
const MAX_LABELS: usize = 6;
const MAX_LABEL: usize = 30;
const MAX_LOGS: usize = 200;
const MAX_WAITS: usize = 12;
/// The narrowest bar, and the distance below which bars are joined, in percent.
const MIN_BAR: f64 = 0.25;
const JOIN: f64 = 0.1;
const JOIN_CROWDED: f64 = 1.5;
/// What a character of a label takes at the narrowest width of the chart, in percent.
const CHAR: f64 = 0.65;
/// Half of a mark and the space beside it, in percent.
const MARK: f64 = 1.4;

/// `A`, `B`, … `Z`, then numbers.
pub fn letter(trace: usize) -> String {
    match u8::try_from(trace) {
        Ok(number) if number < 26 => char::from(b'A' + number).to_string(),
        _ => (trace + 1).to_string(),
    }
}

/// First start and last end of each trace; `None` where no time in it can be true.
pub(super) fn extents(scene: &Scene) -> Vec<Option<(Nanos, Nanos)>> {
    let mut extents: Vec<Option<(Nanos, Nanos)>> = vec![None; scene.material.traces.len()];
    for step in scene.steps.list.iter().filter(|step| step.plausible) {
        let extent = extents[step.trace].get_or_insert((step.start, step.end));
        *extent = (extent.0.min(step.start), extent.1.max(step.end));
    }
    extents
}

/// Draws one chart.
pub(super) struct Artist<'a> {
    pub scene: &'a Scene<'a>,
    pub axis: &'a Axis,
    /// Row numbers of the lanes.
    pub rows: &'a HashMap<Lane, usize>,
}

impl Artist<'_> {
    fn service_row(&self, service: &str) -> Option<usize> {
        self.rows.get(&Lane::Service(service.to_owned())).copied()
    }

    fn place_row(&self, place: &Place) -> Option<usize> {
        self.rows.get(&Lane::Place(place.clone())).copied()
    }

    /// Bars of visits, joined where they touch, and the roofs over failed ones.
    pub fn bars(&self) -> (Vec<Bar>, Vec<(usize, f64, f64)>) {
        let mut bars = Vec::new();
        let mut roofs = Vec::new();
        for (at, step) in self.scene.steps.list.iter().enumerate() {
            if step.entry != at || !step.plausible {
                continue;
            }
            let Some(lane) = self.service_row(step.service()) else { continue };
            let x = self.axis.x(step.start);
            let width = (self.axis.x(step.end) - x).max(MIN_BAR);
            let name = shorten(&step.span.name);
            bars.push(Bar { lane, x, width, span: ids(self.scene.steps, at), name, length: step.duration() });
            if step.failed() {
                roofs.push((lane, x, width));
            }
        }
        bars.sort_by(|one, other| one.lane.cmp(&other.lane).then(one.x.total_cmp(&other.x)));
        roofs.sort_by(|one, other| one.0.cmp(&other.0).then(one.1.total_cmp(&other.1)));
        let crowded = bars.len() > MAX_BARS;
        let join = if crowded { JOIN_CROWDED } else { JOIN };
        let mut joined: Vec<Bar> = Vec::new();
        for bar in bars {
            match joined.last_mut() {
                Some(last) if last.lane == bar.lane && bar.x <= last.x + last.width + join => {
                    last.width = last.width.max(bar.x + bar.width - last.x);
                }
                _ => joined.push(bar),
            }
        }
        let mut merged: Vec<(usize, f64, f64)> = Vec::new();
        for (lane, x, width) in roofs {
            match merged.last_mut() {
                Some(last) if last.0 == lane && x <= last.1 + last.2 + join => {
                    last.2 = last.2.max(x + width - last.1);
                }
                _ => merged.push((lane, x, width)),
            }
        }
        (joined, merged)
    }

    /// The line along the lanes. A wait is drawn in its queue's lane, dashed.
    pub fn way(&self, way: &Way, ends_waiting: bool) -> Vec<WayPart> {
        let mut parts = Vec::new();
        let mut before: Option<usize> = None;
        let mut across = |lane: Option<usize>, from: Nanos, to: Nanos, waits: bool| {
            let Some(lane) = lane else { return };
            let x = self.axis.x(from);
            if let Some(other) = before.replace(lane).filter(|other| *other != lane) {
                parts.push(WayPart::Down { x, from: other, to: lane });
            }
            parts.push(WayPart::Across { lane, from: x, to: self.axis.x(to).max(x), waits });
        };
        for visit in &way.visits {
            if let Some(wait) = &visit.waited {
                across(self.place_row(&wait.place), wait.from, wait.to, true);
            }
            let step = &self.scene.steps.list[visit.entry];
            across(self.service_row(step.service()), visit.from, visit.to, false);
        }
        if let Some(delivery) =
            self.scene.ending.spot.filter(|_| ends_waiting).map(|spot| self.scene.mail.delivery(spot))
        {
            let place = Place::Queue(waits_in(delivery).to_owned());
            let row = self.place_row(&place).or_else(|| self.place_row(&delivery.place));
            across(row, self.scene.steps.list[delivery.step].end, self.scene.now, true);
        }
        if ends_waiting && let Some(WayPart::Across { to, .. }) = parts.last_mut() {
            *to = (*to - 1.0).max(0.0);
        }
        parts
    }

    /// Brackets of the traces, stacked where they overlap.
    pub fn bands(&self) -> Vec<Band> {
        let mut ends = [f64::NEG_INFINITY; MAX_LEVELS];
        let mut extents: Vec<_> = extents(self.scene).into_iter().enumerate().collect();
        extents.sort_by_key(|(_, extent)| *extent);
        let mut bands = Vec::new();
        for (number, extent) in extents {
            let Some((from, to)) = extent else { continue };
            let (x, end) = (self.axis.x(from), self.axis.x(to));
            let Some(level) = ends.iter().position(|taken| *taken < x - JOIN) else { continue };
            ends[level] = end.max(x + MIN_BAR);
            let trace = self.scene.material.traces[number].id;
            bands.push(Band { trace, letter: letter(number), x, width: (end - x).max(MIN_BAR), level });
            if bands.len() == MAX_BANDS {
                break;
            }
        }
        bands
    }

    /// A heading for each busy piece: its trace, or how many there are.
    pub fn heads(&self) -> Vec<Head> {
        let traces = &self.scene.material.traces;
        let extents = extents(self.scene);
        let mut heads = Vec::new();
        for piece in self.axis.pieces.iter().filter(|piece| piece.is_busy()) {
            let here = |step: &&Step| step.plausible && (piece.from..=piece.to).contains(&step.start);
            let mut inside: Vec<usize> = Vec::new();
            let (mut spans, mut errors) = (0, 0);
            for step in self.scene.steps.list.iter().filter(here) {
                (spans, errors) = (spans + 1, errors + usize::from(step.failed()));
                inside.push(step.trace);
            }
            inside.sort_unstable();
            inside.dedup();
            let one = match inside[..] {
                [only] => Some((traces[only].id, letter(only), self.root(only))),
                _ => None,
            };
            let began = |number: &usize| extents[*number].is_some_and(|(from, _)| from < piece.from);
            let linked = |number: &usize| self.scene.material.tied_by_link.contains(&traces[*number].id);
            heads.push(Head {
                x: piece.x,
                width: piece.width,
                goes_on: one.is_some() && inside.iter().all(began),
                one,
                traces: inside.len(),
                by_link: !inside.is_empty() && inside.iter().all(linked),
                length: piece.length(),
                spans,
                errors,
            });
        }
        heads
    }

    /// Service and name of a trace's earliest root.
    fn root(&self, trace: usize) -> String {
        let steps = self.scene.steps.list.iter();
        let roots = steps.filter(|step| step.trace == trace && step.parent.is_none());
        let root = roots.min_by_key(|step| (!step.plausible, step.start));
        root.map(|step| format!("{} {}", step.service(), shorten(&step.span.name))).unwrap_or_default()
    }

    /// Where visits broke; labels where they fit beside the bars of their lane.
    pub fn marks(&self, bars: &[Bar]) -> Vec<Mark> {
        let mut causes: Vec<usize> = self.scene.steps.list.iter().filter_map(|step| step.cause).collect();
        causes.sort_unstable();
        causes.dedup();
        causes.sort_by_key(|at| self.scene.steps.list[*at].end);
        let mut marks: Vec<Mark> = Vec::new();
        let mut labels = 0;
        for at in causes {
            let step = &self.scene.steps.list[at];
            let row = self.service_row(step.service()).filter(|_| step.plausible);
            let Some(lane) = row else { continue };
            let x = self.axis.x(step.end);
            let near = |mark: &Mark| mark.lane == lane && (mark.x - x).abs() < NEAR;
            if marks.iter().any(near) {
                continue;
            }
            let why = why(step.span).unwrap_or_default();
            let label = self.label(&why, lane, x, bars).filter(|_| labels < MAX_LABELS);
            labels += usize::from(label.is_some());
            marks.push(Mark { lane, x, label, span: ids(self.scene.steps, at), why });
            if marks.len() == MAX_MARKS {
                break;
            }
        }
        marks
    }

    fn label(&self, why: &str, lane: usize, x: f64, bars: &[Bar]) -> Option<Label> {
        let own = bars.iter().filter(|bar| bar.lane == lane);
        let own: Vec<&Bar> = own.collect();
        let bar = own.iter().find(|bar| x >= bar.x - JOIN && x <= bar.x + bar.width + JOIN)?;
        let (left, right) = (bar.x, bar.x + bar.width);
        let free = |from: f64, to: f64| {
            from >= 0.0 && to <= 100.0 && !own.iter().any(|bar| bar.x < to && bar.x + bar.width > from)
        };
        let on_fold =
            |x: f64| self.axis.piece_at(x).is_some_and(|piece| !matches!(piece.kind, PieceKind::Busy { .. }));
        // The whole reason where there is room for it, else what stands before its colon.
        let first = why.split(": ").next().unwrap_or(why);
        for text in [why, first].into_iter().filter(|text| (1..=MAX_LABEL).contains(&text.chars().count())) {
            let room = MARK + text.chars().count() as f64 * CHAR;
            let edge = |before| if before { left.min(x) } else { right.max(x) };
            let label = |before, middle| {
                Some(Label { text: text.to_owned(), x: edge(before), before, on_fold: on_fold(middle) })
            };
            if free(right + JOIN, right + room) {
                return label(false, right + room / 2.0);
            }
            if free(left - room, left - JOIN) && bar.width < 4.0 {
                return label(true, left - room / 2.0);
            }
        }
        None
    }

    /// Where breakers changed; of several at one place in a lane the gravest.
    pub fn switches(&self, failures: &[Mark]) -> Vec<SwitchMark> {
        let mut marks: Vec<SwitchMark> = Vec::new();
        let plausible = |time| steps::plausible(time, self.scene.now);
        for switch in self.scene.switches.iter().filter(|switch| plausible(switch.time)) {
            let (Did::Became(state), Some(name)) = (switch.did, &switch.name) else { continue };
            let Some(lane) = self.service_row(&switch.service) else { continue };
            let x = self.axis.x(switch.time);
            let beside = failures.iter().any(|mark| mark.lane == lane && (mark.x - x).abs() < NEAR);
            let mark =
                SwitchMark { lane, x, service: switch.service.clone(), name: name.clone(), state, beside };
            let near = |other: &SwitchMark| other.lane == lane && (other.x - x).abs() < NEAR;
            match marks.iter().rposition(near) {
                Some(at) if state < marks[at].state => marks[at] = mark,
                Some(_) => {}
                None if marks.len() < MAX_SWITCHES => marks.push(mark),
                None => {}
            }
        }
        marks
    }

    pub fn logs(&self) -> Vec<(usize, f64, bool)> {
        let mut ticks: Vec<(usize, f64, bool)> = Vec::new();
        // Logs come by time, so only the last tick of a lane can be near.
        let mut last: HashMap<usize, usize> = HashMap::new();
        for log in self.scene.logs.iter().filter(|log| steps::plausible(log.time, self.scene.now)) {
            let Some(lane) = self.service_row(&log.service) else { continue };
            let (x, bad) = (self.axis.x(log.time), log.severity >= 17);
            match last.get(&lane).filter(|tick| (ticks[**tick].1 - x).abs() < 0.3) {
                Some(tick) => ticks[*tick].2 |= bad,
                None => {
                    last.insert(lane, ticks.len());
                    ticks.push((lane, x, bad));
                }
            }
        }
        // Where there are too many, only those that tell of an error say anything.
        if ticks.len() > MAX_LOGS {
            ticks.retain(|(.., bad)| *bad);
            ticks.truncate(MAX_LOGS);
        }
        ticks
    }

    /// Lengths of the waits that the line goes through.
    pub fn waits(&self, way: &[WayPart]) -> Vec<WaitLabel> {
        let waits = self.scene.mail.deliveries().filter_map(|(_, delivery)| delivery.wait.as_ref());
        let mut labels = Vec::new();
        for wait in waits {
            let Some(lane) = self.place_row(&wait.place) else { continue };
            let (from, to) = (self.axis.x(wait.from), self.axis.x(wait.to));
            let drawn = |part: &WayPart| matches!(part, WayPart::Across { lane: row, from: x, waits: true, .. } if *row == lane && (x - from).abs() < 0.01);
            if labels.len() == MAX_WAITS || !way.iter().any(drawn) {
                continue;
            }
            let middle = to - from > 6.0;
            if !middle && from < 6.0 {
                continue;
            }
            let x = if middle { (from + to) / 2.0 } else { from };
            let on_fold = self.axis.piece_at(x).is_some_and(|piece| !piece.is_busy());
            labels.push(WaitLabel { lane, x, length: wait.length(), middle, on_fold });
        }
        labels
    }
}
