//! The throughline: the critical path as pieces per row, so that rows can be sent in any batch.

use std::ops::Range;

use super::axis::Axis;
use crate::dashboard::query::waterfall::{Segment, Shown};

/// Pieces closer than this, as a share of the axis, are drawn as one.
const CLOSE: f64 = 0.001;
/// Vertical pieces that only pass through a row, in all rows of a window: more would be a wall, and most of the page.
const MOST_PASSING: usize = 600;
/// Horizontal pieces of a row, and vertical ones.
const MOST_STRETCHES: usize = 200;

/// Where the line runs in one row, as shares of the axis.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pieces {
    /// Begin and end at the foot of the bar; `true` where somebody waited.
    pub stretches: Vec<(f64, f64, bool)>,
    /// Place of a vertical piece, and whether it reaches the row's upper and lower edge.
    pub verticals: Vec<(f64, bool, bool)>,
}

/// The pieces of the rows of `window`, which counts shown rows.
pub fn pieces(path: &[Segment], shown: &Shown, axis: &Axis, window: &Range<usize>) -> Vec<Pieces> {
    let mut rows = vec![Pieces::default(); window.len()];
    let places = places(path, shown);
    for (segment, &at) in path.iter().zip(&places) {
        if window.contains(&at) {
            add_stretch(&mut rows[at - window.start], axis, segment);
        }
    }
    let mut jumps = Vec::new();
    for (pair, ends) in path.windows(2).zip(places.windows(2)) {
        let (from, to) = (ends[0], ends[1]);
        let (upper, lower) = (from.min(to), from.max(to));
        if pair[0].to != pair[1].from || upper == lower || upper >= window.end || lower < window.start {
            continue;
        }
        let place = axis.share(pair[0].to);
        if !(0.0..=1.0).contains(&place) {
            continue;
        }
        jumps.push((upper, lower, place));
    }
    add_jumps(&mut rows, jumps, window);
    rows
}

/// For each segment the position of the shown row that stands for it. What lies between two segments of one run of
/// spans is the run's: else the line would go up and down between each of them and their caller.
fn places(path: &[Segment], shown: &Shown) -> Vec<usize> {
    let mut places: Vec<usize> = path.iter().map(|segment| shown.stands_for[segment.row] as usize).collect();
    for at in 1..places.len().saturating_sub(1) {
        let before = places[at - 1];
        if before == places[at + 1]
            && !path[at].waiting
            && shown.lines[before].run.as_ref().is_some_and(|run| !run.chain)
        {
            places[at] = before;
        }
    }
    places
}

/// Draws the jumps from row to row, short ones first; those for which nothing is left are drawn at their ends only.
fn add_jumps(rows: &mut [Pieces], mut jumps: Vec<(usize, usize, f64)>, window: &Range<usize>) {
    jumps.sort_by_key(|(upper, lower, _)| lower - upper);
    let mut left = MOST_PASSING;
    for (upper, lower, place) in jumps {
        let between = (upper + 1).max(window.start)..lower.min(window.end);
        if between.len() <= left {
            left -= between.len();
            for row in between {
                add_vertical(&mut rows[row - window.start], place, true, true);
            }
        }
        for end in [upper, lower] {
            if window.contains(&end) {
                add_vertical(&mut rows[end - window.start], place, end != upper, end != lower);
            }
        }
    }
}

fn add_stretch(row: &mut Pieces, axis: &Axis, segment: &Segment) {
    let (from, to) = (axis.share(segment.from).max(0.0), axis.share(segment.to).min(1.0));
    if from > to {
        return;
    }
    let room = row.stretches.len() < MOST_STRETCHES;
    match row.stretches.last_mut() {
        Some(last) if last.2 == segment.waiting && from - last.1 < CLOSE => last.1 = to.max(last.1),
        _ if room => row.stretches.push((from, to, segment.waiting)),
        _ => {}
    }
}

fn add_vertical(row: &mut Pieces, place: f64, up: bool, down: bool) {
    let close = row.verticals.iter_mut().rev().take(4).find(|(other, ..)| (place - *other).abs() < CLOSE);
    if let Some((_, other_up, other_down)) = close {
        *other_up |= up;
        *other_down |= down;
        return;
    }
    if row.verticals.len() < MOST_STRETCHES {
        row.verticals.push((place, up, down));
    }
}
