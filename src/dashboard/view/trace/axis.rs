//! The time axis of a trace: which part of it is drawn, its ticks, and positions on it.

use std::fmt::Write;

use crate::dashboard::model::Nanos;
use crate::dashboard::query::waterfall::Waterfall;

/// Bars are at least this wide, as a share of the axis, so that the shortest can be seen.
const MIN_WIDTH: f64 = 0.0025;

/// The part of the axis that is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    /// Begin of the trace: ticks count from here.
    pub origin: Nanos,
    pub begin: Nanos,
    pub end: Nanos,
}

/// A grid line with its label.
pub struct Tick {
    pub share: f64,
    /// The share as SVG takes it.
    pub x: String,
    pub label: String,
    /// Left out where there is little room.
    pub minor: bool,
}

impl Axis {
    /// The whole trace, or the part that `zoom` names in ns after its begin (`1000-2000`).
    pub fn new(waterfall: &Waterfall<'_>, zoom: Option<(u64, u64)>) -> Self {
        let (origin, end) = (waterfall.begin, waterfall.end);
        match zoom {
            Some((from, to)) if from < to && from < end - origin => Self {
                origin,
                begin: origin + from,
                end: origin.saturating_add(to).min(end).max(origin + from + 1),
            },
            _ => Self { origin, begin: origin, end },
        }
    }

    /// Where a moment lies, 0 to 1 within what is drawn, beyond it outside.
    pub fn share(&self, at: Nanos) -> f64 {
        (at as f64 - self.begin as f64) / (self.end - self.begin) as f64
    }

    /// Begin and width of a bar, cut to what is drawn; `None` where nothing of it is.
    pub fn bar(&self, from: Nanos, to: Nanos) -> Option<(f64, f64)> {
        let (from, to) = (self.share(from), self.share(to));
        if to < 0.0 || from > 1.0 {
            return None;
        }
        let begin = from.clamp(0.0, 1.0 - MIN_WIDTH);
        Some((begin, (to.min(1.0) - begin).max(MIN_WIDTH)))
    }

    /// About seven round moments.
    pub fn ticks(&self) -> Vec<Tick> {
        let length = self.end - self.begin;
        let step = round_step(length / 7);
        let first = (self.begin - self.origin).div_ceil(step);
        let last = (self.end - self.origin) / step;
        (first..=last)
            .take(20)
            .filter(|number| *number == 0 || self.share(self.origin + number * step) < 0.97)
            .map(|number| Tick {
                share: self.share(self.origin + number * step),
                x: percent(self.share(self.origin + number * step)),
                label: tick_label(number * step, step),
                minor: number % 2 == 1,
            })
            .collect()
    }
}

/// The least of 1, 2, 5 × 10ⁿ ns, and from a minute on of round minutes and hours, that is at least `wanted`.
fn round_step(wanted: u64) -> u64 {
    const LONG: [u64; 11] = [60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400, 604_800];
    let mut step = 1u64;
    while step < 50_000_000_000 {
        for factor in [1, 2, 5] {
            if step * factor >= wanted && step * factor <= 20_000_000_000 {
                return step * factor;
            }
        }
        step *= 10;
    }
    LONG.iter().map(|seconds| seconds * 1_000_000_000).find(|step| *step >= wanted).unwrap_or(wanted)
}

/// `100 ms`, `1.5 s`, `2 m`: as exact as the step asks for.
fn tick_label(at: u64, step: u64) -> String {
    let (size, unit) = match step {
        0..1_000 => (1, "ns"),
        1_000..1_000_000 => (1_000, "µs"),
        1_000_000..500_000_000 if at < 1_000_000_000 => (1_000_000, "ms"),
        1_000_000..60_000_000_000 => (1_000_000_000, "s"),
        60_000_000_000..3_600_000_000_000 => (60_000_000_000, "m"),
        _ => (3_600_000_000_000, "h"),
    };
    let mut out = String::new();
    let value = at as f64 / size as f64;
    let decimals = if at.is_multiple_of(size) { 0 } else { (size / step.min(size)).ilog10().max(1) as usize };
    let _ = write!(out, "{value:.decimals$}\u{a0}{unit}");
    out
}

/// A share as an SVG percentage with two decimals, without trailing zeros.
pub fn percent(share: f64) -> String {
    let text = format!("{:.2}", share * 100.0);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{}%", if text == "-0" { "0" } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let axis = Axis { origin: 0, begin: 0, end: 700_000_000 };
        let labels: Vec<_> = axis.ticks().into_iter().map(|tick| tick.label.replace('\u{a0}', " ")).collect();
        assert_eq!(labels, ["0 ms", "100 ms", "200 ms", "300 ms", "400 ms", "500 ms", "600 ms"]);
        for end in [1, 7, 1_500, 90_000_000_000, 86_400_000_000_000, u64::MAX / 2] {
            let ticks = Axis { origin: 0, begin: 0, end }.ticks();
            assert!((1..=10).contains(&ticks.len()), "{end}: {}", ticks.len());
        }
    }

    #[test]
    fn bars_are_cut_to_the_axis() {
        let axis = Axis { origin: 0, begin: 100, end: 200 };
        assert_eq!(axis.bar(0, 50), None);
        assert_eq!(axis.bar(250, 300), None);
        assert_eq!(axis.bar(0, 1000), Some((0.0, 1.0)));
        assert_eq!(axis.bar(150, 150), Some((0.5, MIN_WIDTH)));
        assert_eq!(percent(0.12399), "12.4%");
        assert_eq!(percent(0.0), "0%");
    }
}
