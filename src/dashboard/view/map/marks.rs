//! The marks of breakers in the middle of the edges that they guard: a shape, a word and a colour for the gravest state.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::labels::Area;
use super::layout::Route;
use crate::dashboard::query::breakers::Breaker;
use crate::dashboard::query::map::Guards;
use crate::dashboard::view::breakers::{look, shown};
use crate::dashboard::view::escape::escaped;
use crate::dashboard::view::frame::Frame;

/// Half the width of a mark in px.
const RADIUS: f64 = 11.0;

/// The mark of an edge.
pub struct Mark<'a> {
    breaker: &'a Breaker,
    /// How many breakers guard the edge besides this one.
    others: usize,
    /// Its middle.
    at: (f64, f64),
}

/// The mark of each drawn edge that has a breaker, by its place in `edges`.
pub fn marks<'a>(guards: &'a Guards, edges: &[usize], routes: &[Route]) -> BTreeMap<usize, Mark<'a>> {
    let mut marks: BTreeMap<usize, Mark<'a>> = BTreeMap::new();
    for (number, (edge, route)) in edges.iter().zip(routes).enumerate() {
        let mut all = guards.on(*edge);
        let Some(breaker) = all.next() else { continue };
        // The middle of the line, or of another piece of it where a mark lies there already.
        let free = |at: &(f64, f64)| {
            let near = |mark: &Mark<'_>| (mark.at.0 - at.0).hypot(mark.at.1 - at.1) < 2.0 * RADIUS;
            !marks.values().any(near)
        };
        let at = [route.last, route.first].into_iter().find(free).unwrap_or(route.last);
        marks.insert(number, Mark { breaker, others: all.count(), at });
    }
    marks
}

/// The lines beside an edge, with the state of its breaker where that is trouble: behind what fails, before durations.
pub fn with_word(
    mut lines: Vec<(String, &'static str)>,
    mark: Option<&Mark<'_>>,
) -> Vec<(String, &'static str)> {
    if let Some(state) = mark.map(|mark| mark.breaker.state).filter(|state| state.is_trouble()) {
        let (class, _) = look(state);
        let class = if class == "err" { "e" } else { "w" };
        let at = lines.iter().position(|(text, _)| text.starts_with("p95")).unwrap_or(lines.len());
        lines.insert(at, (format!("breaker {}", state.word()), class));
    }
    lines
}

impl Mark<'_> {
    /// What labels have to leave free.
    pub fn area(&self) -> Area {
        let ((x, y), room) = (self.at, RADIUS + 1.0);
        (x - room, y - room, x + room, y + room)
    }

    /// `breaker payments: open in 3 of 10`.
    pub fn says(&self) -> String {
        let Breaker { key, state, here, heard, .. } = self.breaker;
        let mut says = format!("breaker {}: {}", shown(key), state.word());
        if *heard > 1 && state.is_trouble() {
            let _ = write!(says, " in {here} of {heard}");
        }
        if self.others > 0 {
            let _ = write!(says, ", and {} more", self.others);
        }
        says
    }

    /// Draws it.
    pub fn draw(&self, out: &mut String, frame: &Frame) {
        let (class, icon) = look(self.breaker.state);
        let (x, y) = self.at;
        let _ = write!(
            out,
            r##"<g class="guard {class}"><title>{}</title><circle cx="{x:.0}" cy="{y:.0}" r="{RADIUS}"/><use href="{}" x="{:.0}" y="{:.0}" width="16" height="16"/></g>"##,
            escaped(&self.says()),
            frame.icon_address(icon),
            x - 8.0,
            y - 8.0,
        );
    }
}
