//! Durations of traces over time: a dot a trace.

use std::fmt::Write;

use super::chart;
use super::escape::{Html, escaped};
use super::visit::Visit;
use crate::dashboard::model::Nanos;

/// Top of the plot and its ground line, in px.
const TOP: f64 = 14.0;
const GROUND: f64 = 130.0;
/// Labels on the axis of durations.
const MOST_LABELS: i32 = 4;
/// Shorter durations lie at the ground: most of them are no durations at all.
const SHORTEST: u64 = 100_000;

/// A trace in the chart of durations.
pub struct Point {
    pub at: Nanos,
    pub duration: u64,
    pub failed: bool,
    pub href: String,
}

/// Durations over time, logarithmic: a dot a trace, failed ones larger and above the others.
pub fn dots(visit: &Visit, points: &[Point], says: &str) -> Html {
    let range = &visit.range;
    let level = |ns: u64| (ns.max(SHORTEST) as f64).log10();
    let (low, high) = points
        .iter()
        .map(|point| level(point.duration))
        .fold((f64::MAX, f64::MIN), |(low, high), at| (low.min(at), high.max(at)));
    let (low, high) = if low > high { (6.0, 9.0) } else { (low.floor(), high.ceil().max(low.floor() + 1.0)) };
    let y = |at: f64| GROUND - 4.0 - (at - low) / (high - low) * (GROUND - TOP - 8.0);
    let mut out = format!(
        r#"<svg class="chart" height="150" role="img" aria-label="{}" data-drag="time" data-from="{}" data-to="{}">"#,
        escaped(says),
        range.from / 1_000_000,
        range.to / 1_000_000
    );
    let _ = write!(out, r#"<line class="base" x1="0" x2="100%" y1="{GROUND}" y2="{GROUND}"/>"#);
    let mut labels = String::new();
    let every = ((high - low) as i32).div_euclid(MOST_LABELS) + 1;
    for power in low as i32..=high as i32 {
        let at = y(f64::from(power));
        let _ = write!(out, r#"<line class="grid" x1="0" x2="100%" y1="{at:.1}" y2="{at:.1}"/>"#);
        if at > TOP && (high as i32 - power) % every == 0 {
            let label = power_label(power);
            let _ = write!(labels, r#"<text x="0" y="{:.1}">{label}</text>"#, at - 3.0);
        }
    }
    for (class, radius, failed) in [("d1", 2.2, false), ("d2", 2.8, true)] {
        let _ = write!(out, r#"<g class="{class}">"#);
        for point in points.iter().filter(|point| point.failed == failed) {
            let x = point.at.saturating_sub(range.from) as f64 / range.length() as f64 * 100.0;
            if x <= 100.0 {
                let _ = write!(
                    out,
                    r#"<a href="{}"><circle cx="{x:.1}%" cy="{:.1}" r="{radius}"/></a>"#,
                    escaped(&point.href),
                    y(level(point.duration))
                );
            }
        }
        out.push_str("</g>");
    }
    out.push_str(&labels);
    chart::times(&mut out, visit, range.from, range.to, GROUND + 15.0);
    out.push_str("</svg>");
    askama::filters::Safe(out)
}

/// `10 ms` for 10⁷ ns; minutes and more stay in seconds.
fn power_label(power: i32) -> String {
    let (unit, base) = match power {
        i32::MIN..6 => ("µs", 3),
        6..9 => ("ms", 6),
        _ => ("s", 9),
    };
    format!("{}\u{a0}{unit}", super::format::count(10u64.pow((power - base).clamp(0, 18) as u32)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_ten_have_their_unit() {
        let labels: Vec<_> = (5..=11).map(power_label).collect();
        let plain: Vec<_> = labels.iter().map(|label| label.replace(['\u{a0}', '\u{202f}'], " ")).collect();
        assert_eq!(plain, ["100 µs", "1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s"]);
    }
}
