//! Charts over time, drawn on the server: text in pixels, data stretched with the column.
//!
//! Dragging over one narrows the time range (`data-drag`, see `static/throughline.js`).

use std::fmt::Write;

use super::escape::{Html, escaped};
use super::visit::Visit;
use crate::dashboard::model::Nanos;

/// Height of a chart, of the ground line and of the drawing above it, in px.
const HEIGHT: f64 = 140.0;
const GROUND: f64 = 120.0;
const TOP: f64 = 14.0;
/// Steps between labels of the time axis, in seconds.
const STEPS: [u64; 14] =
    [10, 30, 60, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 21_600, 43_200, 86_400, 172_800];

/// One line over time.
pub struct Line<'a> {
    /// What is drawn, for those who cannot see it.
    pub label: &'a str,
    /// One value a step; `None` is a gap.
    pub values: &'a [Option<f64>],
    /// `""` is plain, `e` an error, `a` the one to read.
    pub class: &'a str,
    /// Writes a value on the axis.
    pub unit: fn(f64) -> String,
}

/// A moment that is marked over a chart.
pub struct Mark {
    pub at: Nanos,
    pub says: String,
}

/// Several lines over time, on one axis.
pub struct Lines<'a> {
    /// What is drawn, for those who cannot see it.
    pub label: &'a str,
    /// Values and class of each, the last on top. With one line the area below it is filled.
    pub lines: &'a [(&'a [Option<f64>], &'a str)],
    /// Writes a value on the axis.
    pub unit: fn(f64) -> String,
    pub marks: &'a [Mark],
}

/// Draws a line over `from..to`.
pub fn line(visit: &Visit, range: (Nanos, Nanos), line: &Line<'_>) -> Html {
    let Line { label, values, class, unit } = *line;
    lines(visit, range, &Lines { label, lines: &[(values, class)], unit, marks: &[] })
}

/// Draws lines over `from..to`.
pub fn lines(visit: &Visit, (from, to): (Nanos, Nanos), lines: &Lines<'_>) -> Html {
    let values = lines.lines.iter().flat_map(|(values, _)| *values);
    let most = values.flatten().copied().fold(0.0, f64::max);
    let (top, grid) = scale(most);
    let mut out = format!(
        r#"<svg class="chart" height="{HEIGHT}" role="img" aria-label="{}" data-drag="time" data-from="{}" data-to="{}">"#,
        escaped(lines.label),
        from / 1_000_000,
        to / 1_000_000
    );
    let y = |value: f64| GROUND - value / top * (GROUND - TOP);
    let _ = write!(out, r#"<line class="base" x1="0" x2="100%" y1="{GROUND}" y2="{GROUND}"/>"#);
    for value in &grid {
        let _ = write!(out, r#"<line class="grid" x1="0" x2="100%" y1="{0:.1}" y2="{0:.1}"/>"#, y(*value));
    }
    let _ = write!(
        out,
        r#"<svg x="0" y="{TOP}" width="100%" height="{}" viewBox="0 0 1000 100" preserveAspectRatio="none">"#,
        GROUND - TOP
    );
    let filled = lines.lines.len() == 1;
    for (values, class) in lines.lines {
        for (area, path) in paths(values, top) {
            if filled {
                let _ = write!(out, r#"<path class="ar {class}" d="{area}"/>"#);
            }
            let _ = write!(out, r#"<path class="ln {class}" d="{path}"/>"#);
        }
    }
    out.push_str("</svg>");
    marks(&mut out, lines.marks, from, to);
    for value in &grid {
        let _ = write!(
            out,
            r#"<text x="0" y="{:.1}">{}</text>"#,
            y(*value) - 3.0,
            escaped(&(lines.unit)(*value))
        );
    }
    times(&mut out, visit, from, to, GROUND + 15.0);
    out.push_str("</svg>");
    askama::filters::Safe(out)
}

/// A dotted line and a text for each mark; texts that would lie on one another are left to the line's title.
fn marks(out: &mut String, marks: &[Mark], from: Nanos, to: Nanos) {
    let length = to.saturating_sub(from).max(1) as f64;
    let mut free = 0.0;
    for mark in marks.iter().filter(|mark| (from..=to).contains(&mark.at)) {
        let share = (mark.at - from) as f64 / length * 100.0;
        let says = escaped(&mark.says).to_string();
        let _ = write!(
            out,
            r#"<g><title>{says}</title><line class="mark" x1="{share:.1}%" x2="{share:.1}%" y1="6" y2="{GROUND}"/></g>"#
        );
        if share < free {
            continue;
        }
        let (dx, anchor) = if share < 60.0 { (4, "start") } else { (-4, "end") };
        let _ = write!(
            out,
            r#"<text class="mark-l" x="{share:.1}%" dx="{dx}" y="11" text-anchor="{anchor}">{says}</text>"#
        );
        free = share + mark.says.chars().count() as f64 * 1.6;
    }
}

/// The value at the top, and the one or two that get a line of the grid: round, the upper one within the drawing.
pub(super) fn scale(most: f64) -> (f64, Vec<f64>) {
    if most <= 0.0 {
        return (1.0, Vec::new());
    }
    let magnitude = 10f64.powf(most.log10().floor());
    let step = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0]
        .into_iter()
        .map(|factor| factor * magnitude)
        .find(|step| most / step < 3.0)
        .unwrap_or(magnitude * 5.0);
    let grid = [step, step * 2.0].into_iter().filter(|value| *value <= most * 1.05).collect();
    (most * 1.05, grid)
}

/// The areas and lines between gaps, in a box of 1000 by 100.
fn paths(values: &[Option<f64>], top: f64) -> Vec<(String, String)> {
    let width = 1000.0 / values.len().saturating_sub(1).max(1) as f64;
    let points: Vec<Option<(f64, f64)>> = values
        .iter()
        .enumerate()
        .map(|(index, value)| value.map(|value| (index as f64 * width, 100.0 - value / top * 100.0)))
        .collect();
    points
        .split(Option::is_none)
        .filter(|run| !run.is_empty())
        .map(|run| {
            let mut run: Vec<(f64, f64)> = run.iter().flatten().copied().collect();
            if let [(x, y)] = run[..] {
                // A single value between gaps is drawn as a short piece, else it would not be seen.
                run = vec![((x - width / 4.0).max(0.0), y), ((x + width / 4.0).min(1000.0), y)];
            }
            let mut path = String::new();
            for (index, (x, y)) in run.iter().enumerate() {
                let _ = write!(path, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' });
            }
            let (first, last) = (run[0].0, run[run.len() - 1].0);
            (format!("{path}L{last:.1} 100L{first:.1} 100Z"), path)
        })
        .collect()
}

/// Labels of the time axis at height `y`: both ends, and round times between.
pub(super) fn times(out: &mut String, visit: &Visit, from: Nanos, to: Nanos, y: f64) {
    let seconds = to.saturating_sub(from) / 1_000_000_000;
    let step = STEPS.into_iter().find(|step| seconds / step <= 6).unwrap_or(604_800) * 1_000_000_000;
    let with_seconds = step < 60_000_000_000;
    let day = |at: Nanos| visit.zone.day(at);
    let clock = |at: Nanos| match step >= 86_400_000_000_000 {
        true => day(at),
        false => visit.zone.clock(at, at, with_seconds),
    };
    let length = to.saturating_sub(from).max(1) as f64;
    let _ = write!(out, r#"<text x="0%" y="{y}">{}</text>"#, escaped(&clock(from)));
    let mut at = from - from % step + step;
    let mut number = 0;
    while at < to {
        let share = (at - from) as f64 / length * 100.0;
        if (12.0..88.0).contains(&share) {
            let class = if number % 2 == 0 { r#" class="minor""# } else { "" };
            let text = escaped(&clock(at));
            let _ = write!(out, r#"<text{class} x="{share:.1}%" y="{y}" text-anchor="middle">{text}</text>"#);
        }
        number += 1;
        at += step;
    }
    let _ = write!(out, r#"<text x="100%" y="{y}" text-anchor="end">{}</text>"#, escaped(&clock(to)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_is_round_and_within_the_drawing() {
        for (most, grid) in
            [(1842.0, vec![1000.0]), (2100.0, vec![1000.0, 2000.0]), (66.0, vec![50.0]), (0.0, vec![])]
        {
            let (top, lines) = scale(most);
            assert_eq!(lines, grid, "{most}");
            assert!(top >= most);
        }
    }

    #[test]
    fn gaps_part_the_line() {
        let values = [Some(1.0), Some(2.0), None, Some(1.0)];
        let paths = paths(&values, 2.0);
        assert_eq!(paths.len(), 2);
        assert!(paths[1].1.starts_with("M9") && paths[1].1.ends_with("L1000.0 50.0"), "{paths:?}");
    }
}
