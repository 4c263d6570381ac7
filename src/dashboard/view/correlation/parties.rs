//! "Who spoke to whom" as SVG: parties as columns, exchanges as rows.

use std::fmt::Write;

use crate::dashboard::query::breakers::State;
use crate::dashboard::query::story::mail::Place;
use crate::dashboard::query::story::sequence::{Exchange, Party, Row, Sequence};
use crate::dashboard::query::story::{Story, Weight};
use crate::dashboard::view::breakers::{became, look};
use crate::dashboard::view::escape::{Html, escaped};
use crate::dashboard::view::frame::Frame;
use crate::dashboard::view::{assets, format};

/// The drawing's own units: it scales with its column.
const WIDTH: f64 = 640.0;
const MARGIN: f64 = 44.0;
const TOP: f64 = 48.0;
const ROW: f64 = 25.0;
const GAP: f64 = 38.0;
/// What a character takes, and the least room for a label in characters.
const CHAR: f64 = 5.7;
const LEAST: usize = 9;
/// The longest line of a party's name in characters.
const NAME: usize = 13;

/// The drawing, empty where nobody spoke to anybody.
pub fn svg(frame: &Frame, story: &Story) -> Html {
    let sequence = &story.sequence;
    if sequence.parties.len() < 2 {
        return askama::filters::Safe(String::new());
    }
    let pen = Pen::new(frame, sequence);
    let mut out = format!(
        r#"<svg class="seq" viewBox="0 0 {WIDTH} {}" role="img" aria-label="Sequence of services and queues; the story tells the same">"#,
        pen.bottom
    );
    pen.lives(&mut out);
    pen.rows(&mut out);
    pen.here(story, &mut out);
    pen.names(&mut out);
    out.push_str("</svg>");
    askama::filters::Safe(out)
}

struct Pen<'a> {
    frame: &'a Frame,
    sequence: &'a Sequence,
    /// The height of each row's line.
    ys: Vec<f64>,
    bottom: f64,
}

impl<'a> Pen<'a> {
    fn new(frame: &'a Frame, sequence: &'a Sequence) -> Self {
        let mut y = TOP + 2.0;
        let mut ys = Vec::with_capacity(sequence.rows.len());
        for row in &sequence.rows {
            y += if matches!(row, Row::Gap(_)) { GAP } else { ROW };
            ys.push(y);
        }
        let rest = if sequence.here.is_some() { 44.0 } else { 20.0 };
        Self { frame, sequence, ys, bottom: y + rest }
    }

    fn x(&self, party: usize) -> f64 {
        let steps = (self.sequence.parties.len() - 1).max(1) as f64;
        MARGIN + (WIDTH - 2.0 * MARGIN) * party as f64 / steps
    }

    fn lives(&self, out: &mut String) {
        for (at, party) in self.sequence.parties.iter().enumerate() {
            let x = self.x(at);
            let dash = if matches!(party, Party::Service(_)) { "" } else { r#" stroke-dasharray="2 3""# };
            let _ = write!(
                out,
                r#"<line class="life" x1="{x:.1}" x2="{x:.1}" y1="42" y2="{}"{dash}/>"#,
                self.bottom - 8.0
            );
        }
        for (party, first, last) in &self.sequence.visits {
            let Party::Service(name) = &self.sequence.parties[*party] else { continue };
            let (y, end) = (self.ys[*first] - 6.0, self.ys[*last] + 6.0);
            let _ = write!(
                out,
                r#"<rect class="act {}" x="{:.1}" y="{y:.1}" width="8" height="{:.1}" rx="1.5"/>"#,
                self.frame.slot(name),
                self.x(*party) - 4.0,
                end - y
            );
        }
    }

    fn rows(&self, out: &mut String) {
        for (row, y) in self.sequence.rows.iter().zip(&self.ys) {
            match row {
                Row::Gap(length) => {
                    let _ = write!(
                        out,
                        r#"<rect class="gap" x="0" y="{:.1}" width="{WIDTH}" height="22"/><text class="tt" x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
                        y - 19.0,
                        WIDTH - 8.0,
                        y - 4.0,
                        format::duration(*length)
                    );
                }
                Row::Change { party, name, state } => self.change(*party, name, *state, *y, out),
                Row::Exchange { from, to, label, kind, failed } => {
                    self.exchange((*from, *to), label, (*kind, *failed), *y, out);
                }
            }
        }
    }

    /// A breaker's change beside the line of its service.
    fn change(&self, party: usize, name: &str, state: State, y: f64, out: &mut String) {
        let Party::Service(service) = &self.sequence.parties[party] else { return };
        let (class, icon) = look(state);
        let x = self.x(party);
        let (dx, anchor) = if x > WIDTH / 2.0 { (-12.0, "end") } else { (12.0, "start") };
        let red = if class == "err" { " e" } else { "" };
        let text = format!("breaker {} {}", format::shortened(name, 24), became(state));
        let _ = write!(
            out,
            r##"<a href="{0}"><title>{1}: breaker {2} {7}</title><circle class="box" cx="{x:.1}" cy="{3:.1}" r="9"/><use class="sw {class}" href="{4}#i-{icon}" x="{5:.1}" y="{6:.1}" width="14" height="14"/><text class="l{red}" x="{8:.1}" y="{9:.1}" text-anchor="{anchor}">{10}</text></a>"##,
            escaped(&self.frame.breaker_named(service, name, None)),
            escaped(service),
            escaped(name),
            y - 4.0,
            assets::address("icons.svg"),
            x - 7.0,
            y - 11.0,
            became(state),
            x + dx,
            y,
            escaped(&text)
        );
    }

    fn exchange(
        &self,
        (from, to): (usize, usize),
        label: &str,
        (kind, failed): (Exchange, bool),
        y: f64,
        out: &mut String,
    ) {
        let (start, end) = (self.x(from), self.x(to));
        let right = if end >= start { 1.0 } else { -1.0 };
        let class = match (failed, kind) {
            (true, _) => " e",
            (false, Exchange::Message) => " t",
            (false, _) => "",
        };
        let (start, tip) = (start + 5.0 * right, end - 5.0 * right);
        let base = tip - 7.0 * right;
        let room = (((tip - start).abs() - 8.0) / CHAR) as usize;
        let text = format::shortened(label, room.max(LEAST));
        let (middle, over) = ((start + tip) / 2.0, y - 5.0);
        let red = if failed { " e" } else { "" };
        let _ = write!(
            out,
            r#"<g><title>{0} → {1}: {2}</title><path class="msg{class}" d="M{start:.1} {y:.1}H{base:.1}"/><path class="ah{class}" d="M{tip:.1} {y:.1}L{base:.1} {3:.1}V{4:.1}Z"/><text class="l{red}" x="{middle:.1}" y="{over:.1}" text-anchor="middle">{5}</text></g>"#,
            escaped(self.sequence.parties[from].name()),
            escaped(self.sequence.parties[to].name()),
            escaped(label),
            y - 3.5,
            y + 3.5,
            escaped(&text)
        );
    }

    fn here(&self, story: &Story, out: &mut String) {
        let Some(party) = self.sequence.here else { return };
        let wait =
            story.acts.list.iter().rev().find(|act| act.weight == Weight::Wait).and_then(|act| act.length);
        let since = wait.map(|length| format!(", {}", format::duration(length))).unwrap_or_default();
        let (x, y) = (self.x(party), self.bottom - 20.0);
        let (dx, anchor) = if x > WIDTH / 2.0 { (-10.0, "end") } else { (10.0, "start") };
        let _ = write!(
            out,
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="5" class="ah t"/><text class="who" x="{:.1}" y="{:.1}" text-anchor="{anchor}">it is here{since}</text>"#,
            x + dx,
            y + 4.0
        );
    }

    fn names(&self, out: &mut String) {
        for (at, party) in self.sequence.parties.iter().enumerate() {
            let x = self.x(at);
            let icon = |name: &str| {
                format!(
                    r##"<use href="{}#i-{name}" x="{:.1}" y="31" width="14" height="14"/>"##,
                    assets::address("icons.svg"),
                    x - 7.0
                )
            };
            let sign = match party {
                Party::Service(name) => format!(
                    r#"<rect class="act {}" x="{:.1}" y="34" width="8" height="8" rx="2"/>"#,
                    self.frame.slot(name),
                    x - 4.0
                ),
                Party::Place(Place::Queue(_)) => icon("queue"),
                Party::Place(Place::Destination(_)) => icon("exchange"),
                Party::Peer(_) => format!(r#"<circle class="box" cx="{x:.1}" cy="38" r="4"/>"#),
            };
            let _ = write!(out, "<g><title>{}</title>{sign}", escaped(party.name()));
            let lines = lines(party.name());
            let first = if lines.len() > 1 { 12.0 } else { 26.0 };
            for (line, y) in lines.iter().zip([first, 26.0]) {
                let _ = write!(
                    out,
                    r#"<text class="who" x="{x:.1}" y="{y}" text-anchor="middle">{}</text>"#,
                    escaped(line)
                );
            }
            out.push_str("</g>");
        }
    }
}

/// A name in one line or, where it is long, in two, parted at a dot or dash near its middle.
fn lines(name: &str) -> Vec<String> {
    let length = name.chars().count();
    if length <= NAME - 2 {
        return vec![name.to_owned()];
    }
    let breaks = name.char_indices().filter(|(_, sign)| matches!(sign, '.' | '-' | '_' | ':' | '/'));
    let half = name.len() / 2;
    match breaks.map(|(at, sign)| at + sign.len_utf8()).min_by_key(|at| at.abs_diff(half)) {
        Some(at) if at < name.len() => {
            vec![format::shortened(&name[..at], NAME), format::shortened(&name[at..], NAME)]
        }
        _ => vec![format::shortened(name, NAME)],
    }
}
