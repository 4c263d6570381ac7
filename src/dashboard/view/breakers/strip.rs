//! A strip of states over time: low is closed, hatched and half as high is half-open, full is open, dashes are unknown.

use std::fmt::Write;

use crate::dashboard::model::Nanos;
use crate::dashboard::query::breakers::{State, Stretch};
use crate::dashboard::view::escape::{Html, escaped};
use crate::dashboard::view::visit::Visit;

/// Stretches that are told in words, the newest.
const TOLD: usize = 6;
/// Pieces that are drawn; of more than a screen has points for, the gravest of neighbours is.
const MOST: usize = 300;
/// Least width in percent, so that a short change is seen.
const LEAST: f64 = 0.25;

/// Draws the states of the visit's range.
pub fn strip(visit: &Visit, states: &[Stretch], class: &str) -> Html {
    let (from, length) = (visit.range.from, visit.range.length() as f64);
    let mut out =
        format!(r#"<svg class="strip {class}" role="img" aria-label="{}">"#, escaped(&words(visit, states)));
    let share = |at: Nanos| at.saturating_sub(from) as f64 / length * 100.0;
    for one in thinned(states) {
        let (x, end) = (share(one.from).clamp(0.0, 100.0), share(one.to).clamp(0.0, 100.0));
        let width = (end - x).max(LEAST);
        let x = x.min(100.0 - width);
        let _ = match shape(one.state) {
            Some((class, y, height)) => write!(
                out,
                r#"<rect class="{class}" x="{x:.2}%" width="{width:.2}%" y="{y}" height="{height}"/>"#
            ),
            None => write!(
                out,
                r#"<line class="st-unknown" x1="{x:.2}%" x2="{:.2}%" y1="14.5" y2="14.5"/>"#,
                x + width
            ),
        };
    }
    out.push_str("</svg>");
    askama::filters::Safe(out)
}

/// Class, top and height of a state's rectangle; `None` is a dashed line.
fn shape(state: State) -> Option<(&'static str, u8, u8)> {
    match state {
        State::Open | State::ForcedOpen => Some(("st-open", 1, 15)),
        State::Partly | State::HalfOpen => Some(("st-half", 7, 9)),
        State::Saturated => Some(("st-sat", 4, 12)),
        State::Closed | State::Assumed | State::Disabled | State::MetricsOnly => Some(("st-closed", 13, 3)),
        State::Unknown => None,
    }
}

/// No more stretches than can be seen.
fn thinned(states: &[Stretch]) -> Vec<Stretch> {
    let group = states.len().div_ceil(MOST).max(1);
    let groups = states.chunks(group);
    groups
        .filter_map(|group| {
            let gravest = group.iter().map(|one| one.state).min()?;
            Some(Stretch { from: group[0].from, to: group[group.len() - 1].to, state: gravest })
        })
        .collect()
}

/// `closed, open from 13:58 to 14:03, closed since 14:04`.
fn words(visit: &Visit, states: &[Stretch]) -> String {
    let clock = |at: Nanos| visit.zone.clock(at, visit.now, true);
    let skipped = states.len().saturating_sub(TOLD);
    let mut parts = Vec::new();
    if skipped > 0 {
        parts.push(format!("{skipped} changes before"));
    }
    let last = states.len().saturating_sub(1);
    for (number, one) in states.iter().enumerate().skip(skipped) {
        let word = one.state.word();
        parts.push(match (number, number == last) {
            (0, true) => format!("{word} all the time"),
            (0, false) => word.to_owned(),
            (_, true) => format!("{word} since {}", clock(one.from)),
            (_, false) => format!("{word} from {} to {}", clock(one.from), clock(one.to)),
        });
    }
    if parts.is_empty() { "nothing is known".to_owned() } else { parts.join(", ") }
}
