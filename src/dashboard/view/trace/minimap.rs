//! The whole trace, small: one line a span.

use std::fmt::Write;

use super::axis::{Axis, percent};
use crate::dashboard::query::waterfall::{Time, Waterfall};
use crate::dashboard::view::escape::{Html, escaped};
use crate::dashboard::view::format;

/// Lines drawn; a larger trace is thinned out, failed spans first in line.
const MOST: usize = 240;
const TOP: f64 = 4.0;
const ROOM: f64 = 46.0;

/// The drawing within the minimap's `<svg>`.
pub fn draw(waterfall: &Waterfall<'_>, axis: &Axis) -> Html {
    let whole = Axis { origin: waterfall.begin, begin: waterfall.begin, end: waterfall.end };
    let mut out = String::with_capacity(8192);
    for tick in whole.ticks().iter().filter(|tick| tick.share > 0.0) {
        let x = percent(tick.share);
        let _ = write!(
            out,
            r#"<line class="grid" x1="{x}" x2="{x}" y1="0" y2="64"/><text class="minor" x="{x}" dx="4" y="60">{}</text>"#,
            escaped(&tick.label)
        );
    }
    let count = waterfall.nodes.len().max(1);
    let step = (ROOM / count as f64).min(1.79);
    let every = count.div_ceil(MOST).max(1);
    let mut failed = 0;
    for (row, node) in waterfall.nodes.iter().enumerate() {
        let span = waterfall.span(row);
        let bad = span.failed() && failed < MOST;
        if node.time != Time::Plausible || !(bad || row % every == 0) {
            continue;
        }
        failed += usize::from(bad);
        let Some((x, width)) = whole.bar(node.start, node.end) else { continue };
        let (class, height) = if bad { ("me", 2.0) } else { ("m", (step * 0.75).clamp(0.6, 1.3)) };
        let _ = write!(
            out,
            r#"<rect class="{class} c{}" x="{}" width="{}" y="{:.1}" height="{height:.1}"/>"#,
            format::slot(span.service()),
            percent(x),
            percent(width),
            TOP + row as f64 * step
        );
    }
    for (share, anchor) in [(whole.share(axis.begin), "0"), (whole.share(axis.end), "1")] {
        let x = percent(share);
        let _ = write!(
            out,
            r#"<line class="grip" x1="{x}" x2="{x}" y1="0" y2="64"/><svg x="{x}" overflow="visible"><rect class="knob k{anchor}" x="-3" y="22" width="6" height="20" rx="2"/></svg>"#
        );
    }
    askama::filters::Safe(out)
}
