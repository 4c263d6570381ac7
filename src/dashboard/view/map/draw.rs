//! The map as SVG: nodes in shapes of their own, edges in width and colour of what goes along them.
//!
//! What stands below a node's name, the depth of a queue too, and beside an edge is made in [`below`] and [`beside`]; the marks of breakers on edges are those of [`marks`](super::marks).

use std::collections::HashSet;
use std::fmt::Write;

use super::labels::Labels;
use super::layout::{self, Laid, Route, Size, Tie};
use super::marks::{self, Mark};
use crate::dashboard::query::map::{
    BAD, Depths, Edge, EdgeKind, Guards, Map, Node, Place, SICK, Shown, share,
};
use crate::dashboard::query::queues::{Queue, Verdict};
use crate::dashboard::store::Rates;
use crate::dashboard::view::escape::{Html, escaped};
use crate::dashboard::view::format;
use crate::dashboard::view::frame::Frame;

/// Characters of a name that fit into a node.
const NAME: usize = 24;
/// Width of a character in px: of names, and of smaller texts.
const WIDE: f64 = 7.2;
/// Edges up to which each has durations beside it, and up to which each has its rate.
const FEW: usize = 24;
const SOME: usize = 60;

/// What is chosen: the index of a node or an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    Node(usize),
    Edge(usize),
}

/// Draws the shown part of a map; `timed` says whether durations stand beside edges.
pub fn draw(
    frame: &Frame,
    (map, guards, depths): (&Map, &Guards, &Depths),
    shown: &Shown,
    (timed, chosen): (Option<bool>, Option<Chosen>),
) -> Html {
    let index_of = |node: usize| shown.nodes.binary_search(&node).unwrap_or_default();
    let sizes: Vec<Size> = shown.nodes.iter().map(|node| size(&map.nodes[*node].place)).collect();
    // Whoever is called stands right of its callers; that it takes messages too does not move it behind their queue.
    let is_called: HashSet<usize> =
        shown.edges.iter().filter_map(|edge| called(map, &map.edges[*edge])).collect();
    let tie = |edge: &usize| {
        let edge = &map.edges[*edge];
        let weak = edge.kind == EdgeKind::Take && is_called.contains(&edge.to);
        Tie { from: index_of(edge.from), to: index_of(edge.to), weak }
    };
    let ends: Vec<Tie> = shown.edges.iter().map(tie).collect();
    let laid = layout::laid(&sizes, &ends);
    let mut out = format!(
        r#"<svg width="{0:.0}" height="{1:.0}" viewBox="0 0 {0:.0} {1:.0}" role="group" aria-label="Map of services, queues and peers; the table below holds the same figures">"#,
        laid.width, laid.height
    );
    let marks = marks::marks(guards, &shown.edges, &laid.routes);
    let mut labels = Labels::around(&laid, &sizes, &ends);
    marks.iter().for_each(|(at, mark)| labels.take(*at, mark.area()));
    // Those that fail get their label first, and are drawn last, on top of others; so are those with a mark.
    let mut order: Vec<usize> = (0..shown.edges.len()).collect();
    order.sort_by_key(|at| (!is_bad(&map.edges[shown.edges[*at]].rates), !marks.contains_key(at), *at));
    let beside: Vec<_> = order
        .iter()
        .map(|at| {
            let lines = beside(map, &map.edges[shown.edges[*at]], shown.edges.len(), timed);
            let lines = marks::with_word(lines, marks.get(at));
            (*at, labels.place(*at, &laid.routes[*at], lines))
        })
        .collect();
    for (at, label) in beside.into_iter().rev() {
        let index = shown.edges[at];
        let on = chosen == Some(Chosen::Edge(index));
        edge(&mut out, frame, map, (index, on), (&laid.routes[at], marks.get(&at)), &label);
    }
    for (at, index) in shown.nodes.iter().enumerate() {
        let on = chosen == Some(Chosen::Node(*index));
        node(&mut out, frame, (map, depths), (*index, on), (laid.nodes[at], sizes[at]));
    }
    out.push_str("</svg>");
    askama::filters::Safe(out)
}

/// Whom a service calls.
fn called(map: &Map, edge: &Edge) -> Option<usize> {
    let by_service = edge.from != edge.to && map.nodes[edge.from].place.as_service().is_some();
    (edge.kind == EdgeKind::Call && by_service).then_some(edge.to)
}

fn is_bad(rates: &Rates) -> bool {
    rates.errors > 0 && share(rates) >= BAD
}

/// Room for its name and what is below it; no figure changes it.
fn size(place: &Place) -> Size {
    let length = place.name().chars().count().min(NAME + 1) as f64;
    let least = place.kind().chars().count().min(NAME) as f64 * 6.0 + 28.0;
    let width = (length * WIDE + 28.0).max(least);
    match place {
        Place::Exchange(_) => Size { width: (width + 24.0).max(116.0), height: 60.0, port: 0.0 },
        Place::Database { .. } => Size { width: width.max(104.0), height: 52.0, port: 10.0 },
        Place::Queue(_) => Size { width: (width + 12.0).max(164.0), height: 44.0, port: 13.0 },
        Place::Service(_) => Size { width: width.max(124.0), height: 46.0, port: 14.0 },
        _ => Size { width: width.max(108.0), height: 44.0, port: 7.0 },
    }
}

/// The line below a node's name: text and whether it is `e`rror or `w`arning.
fn below(map: &Map, node: &Node, queue: Option<&Queue>) -> (String, &'static str) {
    let rate = || format::often(node.rates.count as f64 / map.seconds());
    match &node.place {
        Place::Service(_) => {
            let failing = share(&node.rates);
            let class = match failing {
                bad if bad >= BAD => "e",
                sick if sick >= SICK => "w",
                _ => "",
            };
            (format!("{} · {}", rate(), format::percent(failing)), class)
        }
        Place::Queue(_) if queue.is_some_and(|queue| queue.ready.is_some()) => {
            let (text, level) = queue.map(waiting).unwrap_or_default();
            match (level, node.waited.quantile(0.95)) {
                ("", Some(waited)) => (format!("{text} · waits {}", format::duration(waited)), ""),
                _ => (text, level),
            }
        }
        Place::Queue(_) => match node.waited.quantile(0.95) {
            Some(waited) => (format!("{} · waits {}", rate(), format::duration(waited)), ""),
            None => (format!("{} · {}", rate(), node.place.kind()), ""),
        },
        place => (format::shortened(place.kind(), NAME), ""),
    }
}

/// How many messages wait in a queue, and what is to be said of that.
fn waiting(queue: &Queue) -> (String, &'static str) {
    let ready = format::count(queue.ready.unwrap_or(0.0).max(0.0).round() as u64);
    match queue.verdict {
        Verdict::Growing { .. } => (format!("{ready} ready, growing"), "w"),
        Verdict::NoConsumer { .. } => (format!("{ready} ready, no consumer"), "w"),
        Verdict::DeadLetters => (format!("{ready} dead"), "e"),
        Verdict::Draining { .. } => (format!("{ready} ready, draining"), ""),
        Verdict::Silent | Verdict::Gone => (format!("{ready} ready, long ago"), ""),
        _ => (format!("{ready} ready"), ""),
    }
}

/// The lines beside an edge: text and class.
fn beside(map: &Map, edge: &Edge, edges: usize, timed: Option<bool>) -> Vec<(String, &'static str)> {
    let rates = &edge.rates;
    let bad = is_bad(rates);
    if edges > SOME && share(rates) < SICK {
        return Vec::new();
    }
    let mut lines = vec![(format::often(rates.count as f64 / map.seconds()), "")];
    if rates.errors > 0 && share(rates) >= SICK {
        let text = format!("{} fail", format::percent(share(rates)));
        lines.push((text, if bad { "e" } else { "" }));
    }
    let timed = matches!(edge.kind, EdgeKind::Call | EdgeKind::Query) && timed.unwrap_or(edges <= FEW || bad);
    if let Some(p95) = rates.durations.quantile(0.95).filter(|_| timed) {
        lines.push((format!("p95 {}", format::duration(p95)), ""));
    }
    lines
}

/// Width of a line in px: 1 + log₂ of the rate, halved, at most 6.
fn stroke(per_second: f64) -> f64 {
    (1.0 + per_second.max(1.0).log2() / 2.0).min(6.0)
}

fn edge(
    out: &mut String,
    frame: &Frame,
    map: &Map,
    (index, on): (usize, bool),
    (route, mark): (&Route, Option<&Mark<'_>>),
    label: &[(f64, f64, &'static str, String, &'static str)],
) {
    let edge = &map.edges[index];
    let [from, to] = [edge.from, edge.to].map(|end| &map.nodes[end].place);
    let per_second = edge.rates.count as f64 / map.seconds();
    let href = frame.here(&[("node", None), ("caller", Some(&from.id())), ("callee", Some(&to.id()))]);
    let mut says = format!("{} to {}, {}", short(from.name()), short(to.name()), format::often(per_second));
    if edge.rates.errors > 0 {
        let _ = write!(says, ", {} fail", format::percent(share(&edge.rates)));
    }
    if let Some(mark) = mark {
        let _ = write!(says, ", {}", mark.says());
    }
    let class = match (is_bad(&edge.rates), on) {
        (true, true) => " e on",
        (true, false) => " e",
        (false, true) => " on",
        (false, false) => "",
    };
    let _ = write!(
        out,
        r#"<a class="edge{class}" href="{}" aria-label="{}"><title>{1}</title>"#,
        escaped(&href),
        escaped(&says)
    );
    let path = &route.path;
    if on {
        let _ = write!(out, r#"<path class="under" d="{path}"/>"#);
    }
    let dashed = if edge.kind == EdgeKind::Route { r#" stroke-dasharray="5 4""# } else { "" };
    let _ = write!(
        out,
        r#"<path class="grip" d="{path}"/><path d="{path}" stroke-width="{:.1}"{dashed}/><path class="ah" transform="translate({:.1} {:.1}) rotate({})" d="M0 0-8-4.5v9Z"/>"#,
        stroke(per_second),
        route.tip.0,
        route.tip.1,
        route.angle
    );
    for (x, y, anchor, text, class) in label {
        let class = if class.is_empty() { String::new() } else { format!(r#" class="{class}""#) };
        let _ = write!(
            out,
            r#"<text{class} x="{x:.0}" y="{y:.0}" text-anchor="{anchor}">{}</text>"#,
            escaped(text)
        );
    }
    if let Some(mark) = mark {
        mark.draw(out, frame);
    }
    out.push_str("</a>");
}

fn short(name: &str) -> String {
    format::shortened(name, 80)
}

fn node(
    out: &mut String,
    frame: &Frame,
    (map, depths): (&Map, &Depths),
    (index, on): (usize, bool),
    ((x, y), size): ((f64, f64), Size),
) {
    let node = &map.nodes[index];
    let place = &node.place;
    let href = frame.here(&[("node", Some(&place.id())), ("caller", None), ("callee", None)]);
    let (text, level) = below(map, node, depths.at(index));
    let kind = match place {
        Place::Service(name) => format!("svc {}", frame.slot(name)),
        Place::Exchange(_) => "ex".to_owned(),
        Place::Queue(_) => "q".to_owned(),
        Place::Database { .. } => "db".to_owned(),
        _ => "ext".to_owned(),
    };
    let mut says = format!("{}, {}", short(place.name()), place.kind());
    if text != place.kind() {
        let _ = write!(says, ", {text}");
    }
    let state = match level {
        "e" => " bad",
        "w" => " sick",
        _ => "",
    };
    let _ = write!(
        out,
        r#"<a class="node {kind}{state}{}" href="{}" aria-label="{}"><title>{}</title>"#,
        if on { " on" } else { "" },
        escaped(&href),
        escaped(&says),
        escaped(&format::shortened(place.name(), 300)),
    );
    shape(out, place, (x, y), size);
    let name = escaped(&format::shortened(place.name(), NAME)).to_string();
    let sub = if level.is_empty() { "sub".to_owned() } else { format!("sub {level}") };
    let centred = matches!(place, Place::Exchange(_) | Place::Database { .. });
    let (at, anchor) = match (centred, place) {
        (true, _) => (x + size.width / 2.0, r#" text-anchor="middle""#),
        (false, Place::Queue(_)) => (x + 10.0, ""),
        (false, _) => (x + 14.0, ""),
    };
    let (first, second) = match place {
        Place::Exchange(_) => (y + 31.0, y + 44.0),
        Place::Database { .. } => (y + 30.0, y + 44.0),
        _ => (y + 19.0, y + 36.0),
    };
    let _ = write!(
        out,
        r#"<text x="{at:.0}" y="{first:.0}"{anchor}>{name}</text><text class="{sub}" x="{at:.0}" y="{second:.0}"{anchor}>{}</text></a>"#,
        escaped(&text)
    );
}

/// The outline that tells what a node is.
fn shape(out: &mut String, place: &Place, (x, y): (f64, f64), size: Size) {
    let Size { width, height, .. } = size;
    let (right, bottom) = (x + width, y + height);
    let _ = match place {
        Place::Service(_) => write!(
            out,
            r#"<rect class="shape" x="{x:.0}" y="{y:.0}" width="{width:.0}" height="{height:.0}" rx="4"/><rect class="key" x="{x:.0}" y="{y:.0}" width="5" height="{height:.0}" rx="2"/>"#
        ),
        Place::Exchange(_) => {
            let (middle_x, middle_y) = (x + width / 2.0, y + height / 2.0);
            write!(
                out,
                r#"<path class="shape" d="M{middle_x:.0} {y:.0}L{right:.0} {middle_y:.0}L{middle_x:.0} {bottom:.0}L{x:.0} {middle_y:.0}Z"/>"#
            )
        }
        Place::Queue(_) => write!(
            out,
            r#"<rect class="shape" x="{x:.0}" y="{y:.0}" width="{width:.0}" height="{height:.0}"/><path class="shape" d="M{:.0} {y:.0}v{height:.0}m-5 {:.0}v{height:.0}"/>"#,
            right - 6.0,
            -height
        ),
        Place::Database { .. } => {
            let (top, low) = (y + 6.0, bottom - 6.0);
            write!(
                out,
                r#"<path class="shape" d="M{x:.0} {top:.0}c0-9 {width:.0}-9 {width:.0} 0V{low:.0}c0 9-{width:.0} 9-{width:.0} 0Zc0 9 {width:.0} 9 {width:.0} 0"/>"#
            )
        }
        _ => write!(
            out,
            r#"<rect class="shape" x="{x:.0}" y="{y:.0}" width="{width:.0}" height="{height:.0}" rx="{:.0}"/>"#,
            height / 2.0
        ),
    };
}

/// How large the drawing of all of `nodes` and `edges` is, for the benchmark: the layout without the cache.
#[doc(hidden)]
pub fn measure(places: &[Place], edges: &[Tie]) -> Laid {
    let sizes: Vec<Size> = places.iter().map(size).collect();
    layout::lay_out(&sizes, edges)
}
