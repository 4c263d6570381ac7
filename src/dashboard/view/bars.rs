//! Logs over time by how severe they are: a column for each step, errors at its foot.

use std::fmt::Write;

use super::chart;
use super::escape::{Html, escaped};
use super::format;
use super::visit::Visit;
use crate::dashboard::model::Severity;
use crate::dashboard::store::LogCounts;

/// Height of the chart, of its ground line and of the drawing above it, in px.
const HEIGHT: f64 = 110.0;
const GROUND: f64 = 90.0;
const TOP: f64 = 14.0;
/// What a piece of a column has at least of the 100 parts of the drawing's height: one error among thousands is seen.
const LEAST: f64 = 3.0;

/// How many of one step are errors, warnings, and all else.
struct Column {
    errors: u64,
    warnings: u64,
    others: u64,
}

impl Column {
    fn of(counts: &[u64; Severity::COUNT]) -> Self {
        let of = |severity: Severity| counts[severity as usize];
        let errors = of(Severity::Error) + of(Severity::Fatal);
        let warnings = of(Severity::Warn);
        Self { errors, warnings, others: counts.iter().sum::<u64>() - errors - warnings }
    }

    fn total(&self) -> u64 {
        self.errors + self.warnings + self.others
    }

    /// `312 logs, 1 error, 4 warnings`.
    fn words(&self, (one, many): (&str, &str)) -> String {
        let mut words = format::counted(self.total(), one, many);
        for (count, one, many) in [(self.errors, "error", "errors"), (self.warnings, "warning", "warnings")] {
            if count > 0 {
                let _ = write!(words, ", {}", format::counted(count, one, many));
            }
        }
        words
    }
}

/// Draws the counts over the visit's range; `names` are what is counted, one and several. Dragging over it narrows the range.
pub fn bars(visit: &Visit, counts: &LogCounts, says: &str, names: (&str, &str)) -> Html {
    let (from, to) = (visit.range.from, visit.range.to);
    let columns: Vec<Column> = counts.steps.iter().map(Column::of).collect();
    let most = columns.iter().map(Column::total).max().unwrap_or(0) as f64;
    let (top, grid) = chart::scale(most);
    let mut out = format!(
        r#"<svg class="chart bars" height="{HEIGHT}" role="img" aria-label="{}" data-drag="time" data-from="{}" data-to="{}">"#,
        escaped(says),
        from / 1_000_000,
        to / 1_000_000
    );
    let y = |value: f64| GROUND - value / top * (GROUND - TOP);
    // Half a log is none.
    let grid: Vec<f64> = grid.into_iter().filter(|value| value.fract() == 0.0).collect();
    for value in &grid {
        let _ = write!(out, r#"<line class="grid" x1="0" x2="100%" y1="{0:.1}" y2="{0:.1}"/>"#, y(*value));
    }
    let _ = write!(
        out,
        r#"<svg x="0" y="{TOP}" width="100%" height="{}" viewBox="0 0 1000 100" preserveAspectRatio="none">"#,
        GROUND - TOP
    );
    let share =
        |at: u64| at.saturating_sub(from).min(visit.range.length()) as f64 / visit.range.length() as f64;
    for (column, at) in columns.iter().zip(0..).filter(|(column, _)| column.total() > 0) {
        let begin = counts.from.saturating_add(counts.step.saturating_mul(at));
        let (left, right) = (share(begin) * 1000.0, share(begin.saturating_add(counts.step)) * 1000.0);
        let title = format!("{}: {}", visit.zone.clock(begin, visit.now, true), column.words(names));
        let _ = write!(out, "<g><title>{}</title>", escaped(&title));
        let mut foot = 100.0;
        for (count, class) in [(column.errors, "e"), (column.warnings, "w"), (column.others, "o")] {
            if count > 0 {
                let height = (count as f64 / top * 100.0).max(LEAST);
                foot -= height;
                let width = (right - left - 1.5).max(1.0);
                let _ = write!(
                    out,
                    r#"<rect class="{class}" x="{left:.1}" y="{foot:.1}" width="{width:.1}" height="{height:.1}"/>"#
                );
            }
        }
        out.push_str("</g>");
    }
    out.push_str("</svg>");
    let _ = write!(out, r#"<line class="base" x1="0" x2="100%" y1="{GROUND}" y2="{GROUND}"/>"#);
    for value in &grid {
        let _ =
            write!(out, r#"<text x="0" y="{:.1}">{}</text>"#, y(*value) - 3.0, format::count(*value as u64));
    }
    chart::times(&mut out, visit, from, to, GROUND + 15.0);
    out.push_str("</svg>");
    askama::filters::Safe(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_says_what_it_holds() {
        let column = Column::of(&[1, 2, 3, 300, 4, 1, 1]);
        assert_eq!(
            column.words(("log", "logs")).replace(format::NBSP, " "),
            "312 logs, 2 errors, 4 warnings"
        );
        assert_eq!(
            Column::of(&[0, 0, 0, 1, 0, 0, 0]).words(("log", "logs")).replace(format::NBSP, " "),
            "1 log"
        );
    }
}
