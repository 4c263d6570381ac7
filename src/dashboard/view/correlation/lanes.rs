//! "Where the time went" as SVG: the names of the lanes in a list, the drawing beside it.
//!
//! Across, all positions are percentages, so that the drawing stretches and its texts do not.

use std::fmt::Write;

use crate::dashboard::query::story::Story;
use crate::dashboard::query::story::axis::{PieceKind, TickAt};
use crate::dashboard::query::story::chart::{Chart, Head, Lane, Mark, SwitchMark, WayPart};
use crate::dashboard::query::story::mail::Place;
use crate::dashboard::view::breakers::{became, look};
use crate::dashboard::view::escape::{Html, escaped};
use crate::dashboard::view::frame::Frame;
use crate::dashboard::view::{assets, format};

/// Where the first lane begins, and how high a lane is, in px.
const TOP: f64 = 76.5;
const LANE: f64 = 30.0;
/// The narrowest width of the drawing in px (54 rem), and what a character takes.
const WIDTH: f64 = 864.0;
const CHAR_HEAD: f64 = 6.9;
const CHAR_SMALL: f64 = 6.0;
/// Bars that are links, and brackets that are drawn in full, before there are too many of them.
const FEW_BARS: usize = 120;
const FEW_BANDS: usize = 12;
/// The longest name of a lane in characters.
const NAME: usize = 18;

/// The list of lanes and the drawing.
pub fn svg(frame: &Frame, story: &Story) -> Html {
    let chart = &story.chart;
    if chart.axis.pieces.is_empty() || chart.lanes.is_empty() {
        return askama::filters::Safe(String::new());
    }
    let mut out = names(frame, &chart.lanes);
    let bottom = TOP + LANE * chart.lanes.len() as f64;
    let _ = write!(
        out,
        r#"<svg class="tl" height="{}" role="img" aria-label="Timeline of {}; the same is told in the story below">"#,
        bottom + 2.0,
        escaped(&format::counted(story.facts.traces as u64, "trace", "traces")),
    );
    let pen = Pen { frame, chart, bottom };
    pen.folds(&mut out);
    pen.grid(story, &mut out);
    pen.heads(&mut out);
    pen.bars(&mut out);
    pen.way(&mut out);
    pen.marks(&mut out);
    out.push_str("</svg>");
    askama::filters::Safe(out)
}

fn names(frame: &Frame, lanes: &[Lane]) -> String {
    let mut out = String::from("<ol>");
    for lane in lanes {
        let (class, name, inner) = match lane {
            Lane::Service(name) => {
                let class = frame.slot(name);
                let short = escaped(&format::shortened(name, NAME));
                let href = frame.service_link(name);
                let inner =
                    format!(r#"<a href="{}"><span class="svc {class}">{short}</span></a>"#, escaped(&href));
                ("", name.as_str(), inner)
            }
            Lane::Place(place) => {
                let (icon, says) = match place {
                    Place::Queue(_) => ("queue", "queue"),
                    Place::Destination(_) => ("exchange", "exchange or topic"),
                };
                let short = escaped(&format::shortened(place.name(), NAME));
                (r#" class="q""#, place.name(), format!("{}{short}", frame.sign(icon, "", says).0))
            }
        };
        let _ = write!(out, r#"<li{class} title="{}">{inner}</li>"#, escaped(name));
    }
    out.push_str("</ol>");
    out
}

struct Pen<'a> {
    frame: &'a Frame,
    chart: &'a Chart,
    bottom: f64,
}

/// Two decimals are a hundredth of a percent: less than a pixel.
fn pc(x: f64) -> String {
    let text = format!("{x:.2}");
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

fn top(lane: usize) -> f64 {
    TOP + LANE * lane as f64
}

impl Pen<'_> {
    /// Strips that stand for time in which nothing happened, with its length on top.
    fn folds(&self, out: &mut String) {
        for piece in &self.chart.axis.pieces {
            let note = match piece.kind {
                PieceKind::Busy { .. } => continue,
                PieceKind::Fold => "folded",
                PieceKind::UntilNow => "until now",
            };
            let (x, width, middle) = (pc(piece.x), pc(piece.width), pc(piece.x + piece.width / 2.0));
            let length = format::duration(piece.length());
            let _ = write!(
                out,
                r#"<rect class="fold" x="{x}" width="{width}" y="0" height="{}"/><text class="big" x="{middle}" y="14" text-anchor="middle">{length}</text><text x="{middle}" y="30" text-anchor="middle">{note}</text>"#,
                self.bottom
            );
        }
    }

    fn grid(&self, story: &Story, out: &mut String) {
        for lane in 0..=self.chart.lanes.len() {
            let y = top(lane);
            let _ = write!(out, r#"<line class="lane" x1="0" x2="100%" y1="{y}" y2="{y}"/>"#);
        }
        let zone = &self.frame.visit.zone;
        for tick in &self.chart.ticks {
            let x = pc(tick.x);
            let text = match tick.at {
                TickAt::Moment(at) => zone.moment(at, at),
                TickAt::Plus(ns) => format!("+{}", round(ns)),
            };
            let _ = write!(
                out,
                r#"<line class="grid" x1="{x}" x2="{x}" y1="58" y2="{}"/><text class="tick" x="{x}" dx="3" y="69">{text}</text>"#,
                self.bottom
            );
        }
        if self.chart.axis.pieces.last().is_some_and(|piece| piece.kind == PieceKind::UntilNow) {
            let now = zone.clock(story.now, story.now, true);
            let _ =
                write!(out, r#"<text class="tick" x="100%" dx="-4" y="69" text-anchor="end">{now}</text>"#);
        }
    }

    /// Headings and brackets of the traces.
    fn heads(&self, out: &mut String) {
        for head in &self.chart.heads {
            let room = head.width / 100.0 * WIDTH;
            let x = pc(head.x + 0.4);
            let (title, whole) = title(head, (room / CHAR_HEAD) as usize);
            let facts = facts(head, (room / CHAR_SMALL) as usize);
            let text = format!(
                r#"<text class="head" x="{x}" y="14">{}</text><text x="{x}" y="30">{facts}</text><title>{}</title>"#,
                escaped(&title),
                escaped(&whole)
            );
            match &head.one {
                Some((trace, ..)) => {
                    let _ = write!(out, r#"<a href="{}">{text}</a>"#, escaped(&self.frame.trace_link(trace)));
                }
                None => {
                    let _ = write!(out, "<g>{text}</g>");
                }
            }
        }
        for piece in &self.chart.axis.pieces {
            let PieceKind::Busy { stretch } = piece.kind else { continue };
            if stretch >= 1.5 && piece.length() > 0 {
                let stretch =
                    if stretch < 9.5 { format!("{stretch:.1}") } else { format::count(stretch as u64) };
                let x = pc(self.chart.axis.x(piece.from));
                let _ = write!(out, r#"<text class="tick" x="{x}" dx="3" y="56">scale ×{stretch}</text>"#);
            }
        }
        let few = self.chart.bands.len() <= FEW_BANDS;
        for band in &self.chart.bands {
            let (x1, x2, y) = (pc(band.x), pc(band.x + band.width), 38.5 + 4.0 * band.level as f64);
            let _ = write!(
                out,
                r#"<a href="{}"><title>trace {}</title><line class="brk" x1="{x1}" x2="{x2}" y1="{y}" y2="{y}"/>"#,
                escaped(&self.frame.trace_link(&band.trace)),
                band.letter
            );
            for x in [x1, x2].iter().filter(|_| few) {
                let _ = write!(out, r#"<line class="brk" x1="{x}" x2="{x}" y1="{y}" y2="{}"/>"#, y + 5.5);
            }
            out.push_str("</a>");
        }
    }

    fn bars(&self, out: &mut String) {
        let few = self.chart.bars.len() <= FEW_BARS;
        for bar in &self.chart.bars {
            let Some(Lane::Service(service)) = self.chart.lanes.get(bar.lane) else { continue };
            let (slot, x, width, y) =
                (self.frame.slot(service), pc(bar.x), pc(bar.width), top(bar.lane) + 7.5);
            let rect =
                format!(r#"<rect class="b {slot}" x="{x}" y="{y}" width="{width}" height="11" rx="1.5""#);
            if !few {
                out.push_str(&rect);
                out.push_str("/>");
                continue;
            }
            let _ = write!(
                out,
                r#"<a href="{}">{rect}><title>{} {}, {}</title></rect></a>"#,
                escaped(&self.frame.span_link(&bar.span.0, &bar.span.1)),
                escaped(service),
                escaped(&bar.name),
                format::duration(bar.length)
            );
        }
        for (lane, x, width) in &self.chart.roofs {
            let y = top(*lane) + 3.5;
            let _ = write!(
                out,
                r#"<rect class="roof" x="{}" y="{y}" width="{}" height="2.5"/>"#,
                pc(*x),
                pc(*width)
            );
        }
        for (lane, x, bad) in &self.chart.logs {
            let class = if *bad { "x" } else { "log" };
            let y = top(*lane) + if *bad { 0.5 } else { 2.0 };
            let height = if *bad { 5.5 } else { 4.0 };
            let _ = write!(
                out,
                r#"<rect class="{class}" x="{}" y="{y}" width="1.5" height="{height}"/>"#,
                pc(*x)
            );
        }
    }

    /// Where the line runs in a lane: at the foot of a service's bar, in the middle of a queue.
    fn foot(&self, lane: usize) -> f64 {
        match self.chart.lanes.get(lane) {
            Some(Lane::Place(_)) => top(lane) + 15.0,
            _ => top(lane) + 23.0,
        }
    }

    fn way(&self, out: &mut String) {
        for part in &self.chart.way {
            let _ = match part {
                WayPart::Across { lane, from, to, waits } => {
                    let (y, class) = (self.foot(*lane), if *waits { "thru dash" } else { "thru" });
                    write!(
                        out,
                        r#"<line class="{class}" x1="{}" x2="{}" y1="{y}" y2="{y}"/>"#,
                        pc(*from),
                        pc(*to)
                    )
                }
                WayPart::Down { x, from, to } => {
                    let (x, y1, y2) = (pc(*x), self.foot(*from), self.foot(*to));
                    write!(out, r#"<line class="thru" x1="{x}" x2="{x}" y1="{y1}" y2="{y2}"/>"#)
                }
            };
        }
        for wait in &self.chart.waits {
            let y = self.foot(wait.lane) + if wait.middle { -6.0 } else { 4.0 };
            let (anchor, dx) = if wait.middle { ("middle", 0) } else { ("end", -6) };
            let class = if wait.on_fold { "halo on-fold" } else { "halo" };
            let text = if wait.middle {
                format!("waits {}", format::duration(wait.length))
            } else {
                format::duration(wait.length)
            };
            let _ = write!(
                out,
                r#"<text class="{class}" x="{}" dx="{dx}" y="{y}" text-anchor="{anchor}">{text}</text>"#,
                pc(wait.x)
            );
        }
    }

    fn marks(&self, out: &mut String) {
        for mark in &self.chart.marks {
            self.mark(mark, out);
        }
        for switch in &self.chart.switches {
            self.switch(switch, out);
        }
        if let Some((lane, x)) = self.chart.here {
            let y = self.foot(lane);
            let _ = write!(
                out,
                r#"<svg x="{0}" y="{y}" overflow="visible"><circle class="dot" r="6"/></svg><text class="big halo on-fold" x="{0}" dx="6" y="{1}" text-anchor="end">it is here</text>"#,
                pc(x),
                y - 10.0
            );
        }
    }

    /// A breaker's change: its shape on a disc, beside what failed there.
    fn switch(&self, switch: &SwitchMark, out: &mut String) {
        let (class, icon) = look(switch.state);
        let (y, dx) = (top(switch.lane) + 13.0, if switch.beside { 18 } else { 0 });
        let _ = write!(
            out,
            r##"<a href="{}"><svg x="{}" y="{y}" overflow="visible"><title>breaker {} of {} {}</title><circle class="disc {class}" cx="{dx}" r="9"/><use class="sw {class}" href="{}#i-{icon}" x="{}" y="-7" width="14" height="14"/></svg></a>"##,
            escaped(&self.frame.breaker_named(&switch.service, &switch.name, None)),
            pc(switch.x),
            escaped(&switch.name),
            escaped(&switch.service),
            became(switch.state),
            assets::address("icons.svg"),
            dx - 7,
        );
    }

    fn mark(&self, mark: &Mark, out: &mut String) {
        let y = top(mark.lane) + 5.0;
        let _ = write!(
            out,
            r##"<a href="{}"><svg x="{}" y="{y}" overflow="visible"><title>{}</title><use class="sw err" href="{}#i-err" x="-8" width="16" height="16"/></svg></a>"##,
            escaped(&self.frame.span_link(&mark.span.0, &mark.span.1)),
            pc(mark.x),
            escaped(&mark.why),
            assets::address("icons.svg")
        );
        let Some(label) = &mark.label else { return };
        let class = if label.on_fold { "halo err on-fold" } else { "halo err" };
        // Clear of the mark where that sits at the bar's end.
        let clear = if (label.x - mark.x).abs() < 1.0 { 12 } else { 6 };
        let (anchor, dx) = if label.before { ("end", -clear) } else { ("start", clear) };
        let _ = write!(
            out,
            r#"<text class="{class}" x="{}" dx="{dx}" y="{}" text-anchor="{anchor}">{}</text>"#,
            pc(label.x),
            y + 12.0,
            escaped(&label.text)
        );
    }
}

/// A heading that fits, and the whole of it.
fn title(head: &Head, room: usize) -> (String, String) {
    match &head.one {
        Some((_, letter, root)) if head.goes_on => {
            let whole = format!("Trace {letter} goes on");
            (if room < 14 { letter.clone() } else { whole.clone() }, format!("{whole} · {root}"))
        }
        Some((_, letter, root)) => {
            let whole = format!("Trace {letter} · {root}");
            let tie = if head.by_link { ", tied by a link" } else { "" };
            let short =
                if room < 24 { format!("Trace {letter}") } else { format::shortened(&whole, room - 1) };
            (short, format!("{whole}{tie}"))
        }
        None if head.traces == 0 => ("Logs".to_owned(), "Logs without a trace".to_owned()),
        None => {
            let whole = format::counted(head.traces as u64, "trace", "traces");
            (whole.clone(), whole)
        }
    }
}

/// As many figures of a heading as fit.
fn facts(head: &Head, room: usize) -> String {
    let counted = |number: usize, one: &str, many: &str| format::counted(number as u64, one, many);
    let mut parts = vec![format::duration(head.length)];
    if head.errors > 0 {
        parts.push(counted(head.errors, "error", "errors"));
    }
    if head.spans > 0 {
        parts.insert(1, counted(head.spans, "span", "spans"));
    }
    if head.by_link {
        parts.push("tied by a link".to_owned());
    }
    while parts.len() > 1 && parts.join(", ").chars().count() > room {
        parts.pop();
    }
    parts.join(", ")
}

/// A round length without needless zeros: `200 ms`, `2 s`, `5 m`.
fn round(ns: u64) -> String {
    let text = format::duration(ns);
    let Some((number, unit)) = text.split_once(format::NBSP) else { return text };
    match number.split_once('.') {
        Some((whole, rest)) if rest.bytes().all(|digit| digit == b'0') => {
            format!("{whole}{}{unit}", format::NBSP)
        }
        _ => text,
    }
}
