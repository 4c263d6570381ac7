//! Charts: SVG drawn on the server. The data stretches with the page, the texts stay as they are.

use std::fmt::Write;

use super::escape::{Html, escaped};
use super::frame::Frame;
use super::range::Range;
use super::zone::Zone;
use crate::dashboard::model::Nanos;

/// Top and bottom of the plot, in px.
const TOP: f64 = 14.0;

/// A label of the time axis.
struct TimeTick {
    share: f64,
    label: String,
    minor: bool,
    anchor: &'static str,
}

/// About six round moments of a range, and its ends.
fn time_ticks(range: &Range, zone: &Zone, now: Nanos) -> Vec<TimeTick> {
    const STEPS: [u64; 15] =
        [1, 5, 10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400, 43_200, 86_400, 604_800];
    let length = range.length();
    let second = 1_000_000_000u64;
    let step = STEPS.iter().map(|step| step * second).find(|step| length / step <= 7).unwrap_or(length / 6);
    let days = step >= 86_400 * second;
    let label = |at: Nanos| {
        if days {
            zone.day(at)
        } else if zone.same_day(at, now) || length < 86_400 * second {
            // The day stands in the time range above.
            zone.clock(at, at, step < 60 * second)
        } else {
            zone.clock(at, now, false)
        }
    };
    let tick = |at: Nanos, minor, anchor| TimeTick {
        share: (at - range.from) as f64 / length as f64,
        label: label(at),
        minor,
        anchor,
    };
    let mut ticks = vec![tick(range.from, false, "start")];
    for number in range.from / step + 1..=range.to / step {
        let inner = tick(number * step, number % 2 == 1, "middle");
        if inner.share > 0.08 && inner.share < 0.92 {
            ticks.push(inner);
        }
    }
    ticks.push(tick(range.to, false, "end"));
    ticks
}

fn time_axis(out: &mut String, range: &Range, frame: &Frame, y: f64) {
    for tick in time_ticks(range, &frame.visit.zone, frame.visit.now) {
        let _ = write!(
            out,
            r#"<text{} x="{:.1}%" y="{y}" text-anchor="{}">{}</text>"#,
            if tick.minor { r#" class="minor""# } else { "" },
            tick.share * 100.0,
            tick.anchor,
            escaped(&tick.label)
        );
    }
}

/// Opens an `<svg>` over which dragging narrows the time.
fn open(frame: &Frame, height: u32, says: &str) -> String {
    let range = &frame.visit.range;
    format!(
        r#"<svg class="chart" height="{height}" role="img" data-drag="time" data-from="{}" data-to="{}" aria-label="{}">"#,
        range.from / 1_000_000,
        range.to / 1_000_000,
        escaped(says)
    )
}

/// One series over the range of the page, from 0 up; `None` leaves a gap.
pub struct Series<'a> {
    pub values: &'a [Option<f64>],
    /// Class of line and area: empty is ink, `e` is errors, `a` the accent.
    pub class: &'static str,
    /// How a value is written at its grid line.
    pub write: fn(f64) -> String,
    /// What the chart is, for those who cannot see it.
    pub says: &'a str,
}

/// A line with the area under it.
pub fn line(frame: &Frame, series: &Series<'_>) -> Html {
    const BOTTOM: f64 = 120.0;
    let most = series.values.iter().flatten().copied().fold(0.0, f64::max);
    let top = nice_above(most);
    let mut out = open(frame, 140, series.says);
    let _ = write!(out, r#"<line class="base" x1="0" x2="100%" y1="{BOTTOM}" y2="{BOTTOM}"/>"#);
    let mut labels = String::new();
    for share in if most > 0.0 { [0.5, 1.0].as_slice() } else { &[] } {
        let y = BOTTOM - (BOTTOM - TOP) * share;
        let _ = write!(out, r#"<line class="grid" x1="0" x2="100%" y1="{y:.1}" y2="{y:.1}"/>"#);
        let _ = write!(
            labels,
            r#"<text x="0" y="{:.1}">{}</text>"#,
            y - 3.0,
            escaped(&(series.write)(top * share))
        );
    }
    let _ = write!(
        out,
        r#"<svg x="0" y="{TOP}" width="100%" height="{}" viewBox="0 0 1000 100" preserveAspectRatio="none">"#,
        BOTTOM - TOP
    );
    for run in runs(series.values) {
        let count = series.values.len().max(2) as f64 - 1.0;
        let point = |(at, value): &(usize, f64)| {
            format!("{:.1} {:.1}", *at as f64 / count * 1000.0, 100.0 - value / top * 100.0)
        };
        let points: Vec<String> = run.iter().map(point).collect();
        let (first, last) = (run[0].0 as f64 / count * 1000.0, run[run.len() - 1].0 as f64 / count * 1000.0);
        let path = points.join("L");
        let class = series.class;
        let _ = write!(out, r#"<path class="ar {class}" d="M{path}L{last:.1} 100L{first:.1} 100Z"/>"#);
        let _ = write!(out, r#"<path class="ln {class}" d="M{path}"/>"#);
    }
    out.push_str("</svg>");
    out.push_str(&labels);
    time_axis(&mut out, &frame.visit.range, frame, 135.0);
    out.push_str("</svg>");
    askama::filters::Safe(out)
}

/// Stretches without a gap.
fn runs(values: &[Option<f64>]) -> Vec<Vec<(usize, f64)>> {
    let mut runs: Vec<Vec<(usize, f64)>> = Vec::new();
    let mut open = false;
    for (at, value) in values.iter().enumerate() {
        match value {
            None => open = false,
            Some(value) => {
                if !open {
                    runs.push(Vec::new());
                    open = true;
                }
                if let Some(run) = runs.last_mut() {
                    run.push((at, *value));
                }
            }
        }
    }
    runs
}

/// The least of 1, 2, 4, 5, 8 × 10ⁿ above `value`.
fn nice_above(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let size = 10f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 5.0, 8.0, 10.0]
        .iter()
        .map(|factor| factor * size)
        .find(|top| *top >= value)
        .unwrap_or(value)
}

/// A trend in a table's row: the area of `values`, its greatest in the title.
pub fn spark(values: &[u64], class: &str, says: &str) -> Html {
    let most = values.iter().copied().max().unwrap_or(0).max(1) as f64;
    let count = values.len().max(2) as f64 - 1.0;
    let points: Vec<String> = values
        .iter()
        .enumerate()
        .map(|(at, value)| {
            format!("{:.1} {:.1}", at as f64 / count * 100.0, 20.0 - *value as f64 / most * 18.5)
        })
        .collect();
    let path = points.join("L");
    askama::filters::Safe(format!(
        r#"<svg class="spark" viewBox="0 0 100 20" preserveAspectRatio="none" role="img" aria-label="{0}"><title>{0}</title><path class="ar {class}" d="M{path}L100 20L0 20Z"/><path class="ln {class}" d="M{path}"/></svg>"#,
        escaped(says)
    ))
}

/// A trace in the chart of durations.
pub struct Point {
    pub at: Nanos,
    pub duration: u64,
    pub failed: bool,
    pub href: String,
}

/// Durations over time, logarithmic: a dot a trace, failed ones larger and above the others.
pub fn dots(frame: &Frame, points: &[Point], says: &str) -> Html {
    const BOTTOM: f64 = 130.0;
    let range = &frame.visit.range;
    let level = |ns: u64| (ns.max(1_000) as f64).log10();
    let (low, high) = points
        .iter()
        .map(|point| level(point.duration))
        .fold((f64::MAX, f64::MIN), |(low, high), at| (low.min(at), high.max(at)));
    let (low, high) = if low > high { (6.0, 9.0) } else { (low.floor(), high.ceil().max(low.floor() + 1.0)) };
    let y = |at: f64| BOTTOM - 4.0 - (at - low) / (high - low) * (BOTTOM - TOP - 8.0);
    let mut out = open(frame, 150, says);
    let _ = write!(out, r#"<line class="base" x1="0" x2="100%" y1="{BOTTOM}" y2="{BOTTOM}"/>"#);
    let mut labels = String::new();
    for power in low as i32..=high as i32 {
        let at = y(f64::from(power));
        let _ = write!(out, r#"<line class="grid" x1="0" x2="100%" y1="{at:.1}" y2="{at:.1}"/>"#);
        if at > TOP {
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
    time_axis(&mut out, range, frame, 145.0);
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
    fn axes_end_at_round_numbers() {
        for (value, top) in
            [(0.0, 1.0), (0.7, 0.8), (3.1, 4.0), (66.0, 80.0), (1842.0, 2000.0), (1000.0, 1000.0)]
        {
            assert!((nice_above(value) - top).abs() < 1e-9, "{value}");
        }
    }

    #[test]
    fn times_are_round_and_few() {
        let now = 1_795_440_068_000_000_000;
        for length in [300u64, 900, 3_600, 21_600, 86_400, 604_800, 3] {
            let range = Range { from: now - length * 1_000_000_000, to: now, preset: None };
            let ticks = time_ticks(&range, &Zone::utc(), now);
            assert!((2..=10).contains(&ticks.len()), "{length}: {}", ticks.len());
        }
    }

    #[test]
    fn gaps_stay_gaps() {
        assert_eq!(runs(&[None, Some(1.0), Some(2.0), None, Some(3.0)]).len(), 2);
        assert!(runs(&[None, None]).is_empty());
    }
}
