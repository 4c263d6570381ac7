//! The strokes of the drawing of a queue's place: boxes, lines that run together, texts above them.

use std::fmt::Write;

use super::{Node, Shape, ready};
use crate::dashboard::query::queues::Queue;
use crate::dashboard::view::escape::escaped;
use crate::dashboard::view::format;
use crate::dashboard::view::queues::words;

/// Width and height of a box, and of the queue's own.
pub const BOX: (f64, f64) = (172.0, 40.0);
pub const OWN: (f64, f64) = (210.0, 48.0);
/// Characters of a name in a box, of the queue's own, and of a text above a line.
const NAME: usize = 23;
const OWN_NAME: usize = 28;
const TEXT: usize = 20;

/// Lines from boxes to boxes that run together in between, with an arrow at the end of each.
pub fn lines(
    out: &mut String,
    (from, right): (&[f64], f64),
    along: f64,
    (to, left): (&[f64], f64),
    class: &str,
) {
    if from.is_empty() || to.is_empty() {
        return;
    }
    let head = if class.ends_with(" t") { "ah t" } else { "ah" };
    let mut path = String::new();
    for y in from {
        let _ = write!(path, "M{right} {y}H{along}");
    }
    let all = || from.iter().chain(to).copied();
    let (top, bottom) = (all().fold(f64::MAX, f64::min), all().fold(f64::MIN, f64::max));
    if bottom > top {
        let _ = write!(path, "M{along} {top}V{bottom}");
    }
    for y in to {
        let _ = write!(path, "M{along} {y}H{}", left - 8.0);
    }
    let _ = write!(out, r#"<path class="{class}" d="{path}"/>"#);
    for y in to {
        let _ = write!(out, r#"<path class="{head}" d="M{left} {y}l-8-4v8Z"/>"#);
    }
}

/// A text above a line.
pub fn over(out: &mut String, x: f64, y: f64, text: &str) {
    if text.is_empty() {
        return;
    }
    let _ = write!(
        out,
        r#"<text class="l" x="{x}" y="{y}" text-anchor="middle"><title>{}</title>{}</text>"#,
        escaped(text),
        escaped(&format::shortened(text, TEXT))
    );
}

pub fn boxed(out: &mut String, node: &Node, (x, y): (f64, f64)) {
    let (width, height) = BOX;
    let _ = match &node.href {
        Some(href) => write!(out, r#"<a href="{}">"#, escaped(href)),
        None => write!(out, "<g>"),
    };
    let _ = write!(out, "<title>{}</title>", escaped(&node.name));
    let _ = match &node.shape {
        Shape::Service(slot) => write!(
            out,
            r#"<rect class="box" x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/><rect class="act {slot}" x="{x}" y="{y}" width="5" height="{height}" rx="2"/>"#
        ),
        Shape::Exchange => write!(
            out,
            r#"<path class="box" d="M{x} {0}l16-{1}h{2}l16 {1}-16 {1}h-{2}Z"/>"#,
            y + height / 2.0,
            height / 2.0,
            width - 32.0
        ),
        Shape::Queue => {
            write!(out, r#"<rect class="box" x="{x}" y="{y}" width="{width}" height="{height}"/>"#)
        }
        Shape::Somebody => {
            write!(out, r#"<rect class="box" x="{x}" y="{y}" width="{width}" height="{height}" rx="4"/>"#)
        }
        Shape::More => Ok(()),
    };
    let (at, anchor) = match node.shape {
        Shape::Exchange => (x + width / 2.0, r#" text-anchor="middle""#),
        _ => (x + 16.0, ""),
    };
    let class = if node.is_bad { "e" } else { "tt" };
    let _ = write!(
        out,
        r#"<text class="who" x="{at}" y="{}"{anchor}>{}</text><text class="{class}" x="{at}" y="{}"{anchor}>{}</text>"#,
        y + 18.0,
        escaped(&format::shortened(&node.name, NAME)),
        y + 32.0,
        escaped(&format::shortened(&node.below, NAME))
    );
    out.push_str(if node.href.is_some() { "</a>" } else { "</g>" });
}

/// The queue itself.
pub fn own(out: &mut String, queue: &Queue, (x, y): (f64, f64)) {
    let (width, height) = OWN;
    let class = if queue.verdict.is_trouble() { "box here" } else { "box" };
    let mut holds = ready(queue);
    if let Some(unacknowledged) = queue.unacknowledged.filter(|count| *count > 0.0) {
        let _ = write!(holds, ", {} unacked", format::count(unacknowledged.round() as u64));
    }
    let _ = write!(
        out,
        r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}"/><text class="who" x="{0}" y="{1}">{2}</text><text class="tt" x="{0}" y="{3}">{4}</text>"#,
        x + 12.0,
        y + 21.0,
        escaped(&format::shortened(&words::shown(queue), OWN_NAME)),
        y + 37.0,
        escaped(&holds)
    );
}
