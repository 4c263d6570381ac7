//! The rows of the timeline: what is written in them and what is drawn.

use std::collections::HashSet;
use std::fmt::Write;
use std::ops::Range;

use super::address::Address;
use super::axis::{Axis, percent};
use super::line::{self, Pieces};
use crate::dashboard::model::Kind;
use crate::dashboard::query::semantics::Semantics;
use crate::dashboard::query::waterfall::{Hide, Line, Place, Run, Segment, Shown, Time, Waterfall};
use crate::dashboard::query::{facts, redact};
use crate::dashboard::view::escape::{Html, escaped};
use crate::dashboard::view::format;
use crate::dashboard::view::frame::Frame;

/// Levels that are indented; deeper rows stay at the last.
const MOST_INDENTED: u32 = 12;
/// One character of a label, as a share of the axis' usual width: tells on which side it fits.
const LETTER: f64 = 0.0115;

/// Names that a row of a run has in its title.
const MOST_NAMES: usize = 12;

/// One row as the template writes it.
pub struct Row {
    pub level: u32,
    pub indent: u32,
    pub slot: String,
    pub service: String,
    /// It is of the same service as the row that it is under: only the colour is repeated.
    pub same: bool,
    pub name: String,
    /// What the name leaves out; the name itself where that may be cut by the column.
    pub title: String,
    pub href: String,
    pub toggle: Option<Toggle>,
    pub signs: Vec<Html>,
    pub duration: Html,
    pub drawing: Html,
    pub failed: bool,
    pub selected: bool,
    pub matched: bool,
    /// It stands for a run of internal spans.
    pub folded: bool,
}

/// Collapses or expands what is below a row.
pub struct Toggle {
    pub href: String,
    pub label: String,
    pub expanded: bool,
}

/// Everything that rows are made from.
pub struct Drawing<'a> {
    pub frame: &'a Frame,
    pub waterfall: &'a Waterfall<'a>,
    pub shown: &'a Shown,
    pub hide: &'a Hide,
    pub axis: Axis,
    pub address: &'a Address,
    pub matches: &'a HashSet<usize>,
    /// The critical path, empty where it is switched off.
    pub path: &'a [Segment],
}

impl Drawing<'_> {
    /// The rows of `window`, which counts shown rows.
    pub fn rows(&self, window: Range<usize>) -> Vec<Row> {
        let pieces = line::pieces(self.path, self.shown, &self.axis, &window);
        window.clone().zip(pieces).map(|(at, pieces)| self.row(at, window.start, &pieces)).collect()
    }

    fn row(&self, at: usize, first: usize, pieces: &Pieces) -> Row {
        let line = &self.shown.lines[at];
        if let Some(run) = &line.run {
            return self.run(at, first, line, run, pieces);
        }
        let row = line.row;
        let node = &self.waterfall.nodes[row];
        let span = self.waterfall.span(row);
        let id = span.span_id.to_string();
        let name = format::shortened(if span.name.is_empty() { "(no name)" } else { &span.name }, 200);
        Row {
            level: line.depth + 1,
            indent: line.depth.min(MOST_INDENTED),
            slot: self.frame.slot(span.service()),
            service: format::shortened(span.service(), 60),
            same: self.is_same(at, first),
            title: name.clone(),
            name,
            href: self.here(&[("span", Some(&id))]),
            toggle: self.collapse(row),
            signs: self.signs(row),
            duration: match node.time {
                Time::Plausible => self.frame.duration(&(node.end - node.start)),
                _ => askama::filters::Safe("—".to_owned()),
            },
            drawing: askama::filters::Safe(self.drawing(row, pieces)),
            failed: span.failed(),
            selected: self.address.span == Some(span.span_id),
            matched: self.matches.contains(&row),
            folded: false,
        }
    }

    /// A row that stands for a run of internal spans: its name opens the run.
    fn run(&self, at: usize, first: usize, line: &Line, run: &Run, pieces: &Pieces) -> Row {
        let span = self.waterfall.span(line.row);
        let href = self.here(&[("unfold", Some(&self.address.unfolded(span.span_id))), ("row", None)]);
        let count = run.rows.len() as u64;
        let toggle = if run.chain {
            self.collapse(run.last())
        } else {
            let label = format!("Expand {} internal spans", format::count(count));
            Some(Toggle { href: href.clone(), label, expanded: false })
        };
        let below = &self.waterfall.nodes[run.last()];
        let mut signs = Vec::new();
        if below.error_below {
            signs.push(self.frame.sign("err-in", "err-t", "error further down"));
        }
        Row {
            level: line.depth + 1,
            indent: line.depth.min(MOST_INDENTED),
            slot: self.frame.slot(span.service()),
            service: format::shortened(span.service(), 60),
            same: self.is_same(at, first),
            name: format!("{} internal spans", format::count(count)),
            title: self.names(run),
            href,
            toggle,
            signs,
            duration: self.frame.duration(&(run.end - run.start)),
            drawing: askama::filters::Safe(self.run_drawing(run, pieces)),
            failed: false,
            selected: false,
            matched: false,
            folded: true,
        }
    }

    /// The names of a run's spans, each once, the first few.
    fn names(&self, run: &Run) -> String {
        let mut names: Vec<&str> = Vec::new();
        for row in run.rows.clone() {
            let name = self.waterfall.span(row).name.as_str();
            if names.contains(&name) {
                continue;
            }
            if names.len() == MOST_NAMES {
                names.push("…");
                break;
            }
            names.push(name);
        }
        format::shortened(&names.join(", "), 200)
    }

    /// This page's address with changes, as a link within the page: rows are many, and their paths all the same.
    fn here(&self, changes: &[(&str, Option<&str>)]) -> String {
        let query = self.frame.visit.params.with(changes).write();
        if query.is_empty() { "?".to_owned() } else { query }
    }

    /// Whether the service need not be named again: the row is under one of the same service, or beside one in the
    /// row above. What is in rows before `first`, which begin another portion, does not count.
    fn is_same(&self, at: usize, first: usize) -> bool {
        let service = |at: usize| self.waterfall.span(self.shown.lines[at].row).service();
        let parent = |at: usize| {
            let parent = self.waterfall.nodes[self.shown.lines[at].row].parent?;
            Some(self.shown.stands_for[parent] as usize)
        };
        let under = parent(at).filter(|parent| *parent >= first);
        let beside = (at > first && parent(at).is_some() && parent(at) == parent(at - 1)).then(|| at - 1);
        under.into_iter().chain(beside).any(|other| service(other) == service(at))
    }

    /// What hides or shows the rows below `row`.
    fn collapse(&self, row: usize) -> Option<Toggle> {
        let below = self.waterfall.nodes[row].below;
        (below > 0 && !self.hide.all_but_errors).then(|| {
            let expanded = !self.waterfall.is_collapsed(row, self.hide);
            let word = if expanded { "Collapse" } else { "Expand" };
            let ids = self.address.toggled(self.waterfall.span(row).span_id);
            Toggle {
                href: self.here(&[("collapse", ids.as_deref()), ("row", None)]),
                label: format!("{word} {} below", format::count(u64::from(below))),
                expanded,
            }
        })
    }

    fn signs(&self, row: usize) -> Vec<Html> {
        let node = &self.waterfall.nodes[row];
        let span = self.waterfall.span(row);
        let mut signs = Vec::new();
        match node.place {
            Place::ParentMissing => signs.push(self.frame.sign("unknown", "warn-t", "parent missing")),
            Place::CycleCut => signs.push(self.frame.sign("redo", "warn-t", "cycle of parents, cut here")),
            Place::Root | Place::Child => {}
        }
        if let Some(words) = node.time.words() {
            signs.push(self.frame.sign("warn", "warn-t", words));
        }
        if span.failed() {
            signs.push(self.frame.sign("err", "err-t", "error"));
        } else if node.error_below {
            signs.push(self.frame.sign("err-in", "err-t", "error further down"));
        }
        if matches!(span.kind, Kind::Producer | Kind::Consumer) {
            signs.push(self.frame.sign("msg", "", "message"));
        }
        signs
    }

    /// The SVG of a row: wait, bar, line, label.
    fn drawing(&self, row: usize, pieces: &Pieces) -> String {
        let node = &self.waterfall.nodes[row];
        let mut out = String::with_capacity(320);
        let bar = match node.time {
            Time::Plausible => self.axis.bar(node.start, node.end),
            _ => None,
        };
        let wait = node.wait.as_ref().map(|wait| self.axis.share(wait.from));
        if let (Some(from), Some((begin, _))) = (wait, bar)
            && from < 1.0
        {
            let (x, end) = (percent(from.max(0.0)), percent(begin));
            let _ = write!(out, r#"<line class="wait" x1="{x}" x2="{end}" y1="11.5" y2="11.5"/>"#);
            let _ = write!(out, r#"<line class="cap" x1="{x}" x2="{x}" y1="7" y2="16"/>"#);
        }
        if let Some((begin, width)) = bar {
            let (x, width) = (percent(begin), percent(width));
            let _ = write!(out, r#"<rect class="b" x="{x}" y="6" width="{width}" height="11" rx="1.5"/>"#);
            if self.waterfall.span(row).failed() {
                let _ = write!(out, r#"<rect class="roof" x="{x}" y="2" width="{width}" height="2.5"/>"#);
            }
        } else if node.time.start_counts() && node.time != Time::Plausible {
            let share = self.axis.share(node.start);
            if (0.0..=1.0).contains(&share) {
                let x = percent(share);
                let _ = write!(out, r#"<line class="cap" x1="{x}" x2="{x}" y1="4" y2="19"/>"#);
            }
        }
        draw_line(&mut out, pieces);
        self.labels(row, bar, wait, &mut out);
        out
    }

    /// The SVG of a run: a thin bar, and the line.
    fn run_drawing(&self, run: &Run, pieces: &Pieces) -> String {
        let mut out = String::with_capacity(160);
        if let Some((begin, width)) = self.axis.bar(run.start, run.end) {
            let (x, width) = (percent(begin), percent(width));
            let _ = write!(out, r#"<rect class="b" x="{x}" y="9" width="{width}" height="5" rx="1.5"/>"#);
        }
        draw_line(&mut out, pieces);
        out
    }

    /// What stands beside the bar: the wait before it; the reason, the outcome or what is wrong with its times.
    fn labels(&self, row: usize, bar: Option<(f64, f64)>, wait: Option<f64>, out: &mut String) {
        let node = &self.waterfall.nodes[row];
        if let (Some(wait), Some(from), Some((begin, width))) = (&node.wait, wait, bar) {
            let waited = format::duration(node.start - wait.from);
            let text = match &wait.queue {
                Some(queue) => format!("{waited} in {}", format::shortened(queue, 40)),
                None => format!("{waited} waiting"),
            };
            if from > text.chars().count() as f64 * LETTER {
                label(out, from, -8, "end", "", &text);
            } else if let Some(side) = side_for(&text, begin + width, None) {
                label(out, side.0, side.1, side.2, "", &text);
            }
        }
        let (class, text) = match node.time.words() {
            Some(words) => ("warn", words.to_owned()),
            None => match self.remark(row) {
                Some(remark) => remark,
                None => return,
            },
        };
        let (begin, end) = match bar {
            Some((begin, width)) => (begin, begin + width),
            None if node.time == Time::FutureStart => return label(out, 1.0, -8, "end", class, &text),
            None => {
                let at =
                    if node.time.start_counts() { self.axis.share(node.start).clamp(0.0, 1.0) } else { 0.0 };
                (at, at)
            }
        };
        // Before a bar that was waited for stands the wait.
        let before = wait.is_none().then_some(begin);
        if let Some((x, dx, anchor)) = side_for(&text, end, before) {
            label(out, x, dx, anchor, class, &text);
        }
    }

    /// The one thing worth saying of a row, and its class.
    fn remark(&self, row: usize) -> Option<(&'static str, String)> {
        let span = self.waterfall.span(row);
        let said = Semantics(span);
        let queue = |prefix: &str| {
            let to = said.settled_to().unwrap_or_default();
            format!("{prefix}{}", format::shortened(to, 40))
        };
        let back = || {
            let delay = said.settle_delay_ms().map(|ms| format::duration(ms.saturating_mul(1_000_000)));
            delay.map_or_else(|| "tried again later".to_owned(), |delay| format!("back in {delay}"))
        };
        match said.settled() {
            Some("dead_letter") => return Some(("err", queue("given up, to "))),
            Some("retry") => return Some(("err", back())),
            _ => {}
        }
        if span.failed() && !self.waterfall.children(row).any(|child| self.waterfall.span(child).failed()) {
            let reason = said.reason().map(|reason| redact::shown("", &reason).0)?;
            let status = said.http_status().filter(|status| *status >= 400).map(|status| status.to_string());
            let line = reason.lines().next().unwrap_or_default();
            let text = match status {
                Some(status) if !line.contains(&status) => format!("{status} {line}"),
                _ => line.to_owned(),
            };
            return Some(("err", format::shortened(&text, 48)));
        }
        if span.kind == Kind::Producer {
            let takers = self
                .waterfall
                .children(row)
                .filter(|child| self.waterfall.span(*child).kind == Kind::Consumer);
            let count = takers.count();
            return (count > 1).then(|| ("", format!("to {count} queues")));
        }
        let unseen = span.kind == Kind::Client && self.waterfall.nodes[row].below == 0;
        let callee = unseen.then(|| facts::callee(self.waterfall, row)).flatten();
        match callee {
            Some(facts::Callee::Named(name)) if !span.name.contains(name) => {
                Some(("quiet", format!("at {}", format::shortened(name, 30))))
            }
            _ => None,
        }
    }
}

/// Where a label goes: after the bar if that ends early enough, else before it, else nowhere.
fn side_for(text: &str, end: f64, before: Option<f64>) -> Option<(f64, i32, &'static str)> {
    let length = text.chars().count() as f64 * LETTER + 0.02;
    if end < 0.65 && end + length < 1.05 {
        Some((end, 8, "start"))
    } else {
        before
            .filter(|begin| *begin > length)
            .map(|begin| (begin, -8, "end"))
            .or((end + length < 1.0).then_some((end, 8, "start")))
    }
}

fn label(out: &mut String, x: f64, dx: i32, anchor: &str, class: &str, text: &str) {
    let anchor = if anchor == "end" { r#" text-anchor="end""# } else { "" };
    let _ = write!(
        out,
        r#"<text class="halo {class}" x="{}" dx="{dx}" y="15.5"{anchor}>{}</text>"#,
        percent(x),
        escaped(text)
    );
}

fn draw_line(out: &mut String, pieces: &Pieces) {
    for (at, up, down) in &pieces.verticals {
        let (x, y1, y2) = (percent(*at), if *up { 0 } else { 20 }, if *down { 26 } else { 20 });
        let _ = write!(out, r#"<line class="thru v" x1="{x}" x2="{x}" y1="{y1}" y2="{y2}"/>"#);
    }
    for (from, to, waiting) in &pieces.stretches {
        // Where nothing of it could be seen, the vertical pieces meet.
        let (from, to) = (percent(*from), percent(*to));
        if from == to && !pieces.verticals.is_empty() {
            continue;
        }
        let dash = if *waiting { " dash" } else { "" };
        let _ = write!(out, r#"<line class="thru{dash}" x1="{from}" x2="{to}" y1="20" y2="20"/>"#);
    }
}
