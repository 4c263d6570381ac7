//! The throughline: the critical path as pieces per row, so that rows can be sent in any batch.

use std::ops::Range;

use super::axis::Axis;
use crate::dashboard::query::waterfall::{Segment, Shown};

/// Pieces closer than this, as a share of the axis, are drawn as one.
const CLOSE: f64 = 0.001;
/// Vertical pieces that only pass through a row: more would be a wall, and megabytes.
const MOST_PASSING: usize = 16;
/// Horizontal pieces of a row.
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
    let position = |segment: &Segment| shown.stands_for[segment.row] as usize;
    for segment in path {
        let at = position(segment);
        if window.contains(&at) {
            add_stretch(&mut rows[at - window.start], axis, segment);
        }
    }
    let mut passing = 0;
    for pair in path.windows(2) {
        let (from, to) = (position(&pair[0]), position(&pair[1]));
        let (upper, lower) = (from.min(to), from.max(to));
        if pair[0].to != pair[1].from || upper == lower || upper >= window.end || lower < window.start {
            continue;
        }
        let place = axis.share(pair[0].to);
        if !(0.0..=1.0).contains(&place) {
            continue;
        }
        // A path with thousands of long jumps is drawn at their ends only.
        let long = lower - upper > window.len();
        passing += usize::from(long);
        if long && passing > MOST_PASSING {
            for end in [upper, lower] {
                if window.contains(&end) {
                    add_vertical(&mut rows[end - window.start], place, end != upper, end != lower);
                }
            }
            continue;
        }
        for row in upper.max(window.start)..=lower.min(window.end - 1) {
            add_vertical(&mut rows[row - window.start], place, row != upper, row != lower);
        }
    }
    rows
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
    let through = up && down;
    let close = row.verticals.iter().rev().take(4).any(|(other, other_up, other_down)| {
        (place - other).abs() < CLOSE && (*other_up, *other_down) == (up, down)
    });
    let most = if through { MOST_PASSING } else { MOST_STRETCHES };
    if !close && row.verticals.len() < most {
        row.verticals.push((place, up, down));
    }
}
