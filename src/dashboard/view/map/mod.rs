//! `GET /map`: services, queues, databases and peers, and what goes between them; the same as a table.
//!
//! * [`layout`]: where all of it lies. * [`draw`]: it as SVG, [`labels`] beside its edges, [`marks`] of breakers on
//!   them. * [`panel`]: one node or edge looked at. * [`data`]: the same as JSON.

pub(super) mod data;
pub mod draw;
mod labels;
pub mod layout;
mod marks;
pub(super) mod panel;

use std::sync::Arc;

use askama::Template;
use axum::extract::State;

use self::draw::Chosen;
use self::panel::Panel;
use super::PageState;
use super::breakers::{self, Row};
use super::connect;
use super::error::PageError;
use super::escape::Html;
use super::format;
use super::frame::{Frame, Nav};
use super::html::{PageResult, page};
use super::queues;
use super::visit::Visit;
use crate::dashboard::query::kept::Period;
use crate::dashboard::query::map::narrow::{MAX_EDGES, MAX_NODES};
use crate::dashboard::query::map::{
    BAD, Depths, Edge, Finding, Guards, Kinds, Map, Narrow, Place, Shown, share,
};

pub use data::show as show_data;

/// Rows of the table, and with `all=1`.
const ROWS: usize = 25;
const ALL_ROWS: usize = 1_000;
/// Longest text of the filters, in bytes: what an ID of a node may have, and more.
const MAX_TEXT: usize = 1_000;

/// The page.
#[derive(Template)]
#[template(path = "map.html")]
struct MapPage {
    frame: Frame,
    map: Arc<Map>,
    guards: Guards,
    narrow: Narrow,
    shown: Shown,
    finding: Option<Finding>,
    drawing: Option<Html>,
    panel: Option<Panel>,
    /// What was asked for and is not on this map.
    missing: Option<String>,
    /// Indexes of edges, worst first.
    rows: Vec<usize>,
    more_rows: usize,
    chosen: Option<Chosen>,
    timed: Option<bool>,
}

/// What the address asks for.
struct Asked {
    narrow: Narrow,
    chosen: Option<Chosen>,
    missing: Option<String>,
    /// Whether durations stand beside edges; `None` where there are not too many.
    timed: Option<bool>,
}

/// Handler of `GET /map`.
pub async fn show(State(state): State<PageState>, visit: Visit) -> PageResult {
    let map = of(&state, &visit).await?;
    let asked = read(&visit, &map)?;
    if !map.ever {
        return connect::empty(&visit, &state, Nav::Map);
    }
    let Asked { narrow, chosen, missing, timed } = asked;
    let guards = Guards::of(&map, breakers::of(&state, &visit).await?);
    let depths = Depths::of(&map, &queues::of(&state, &visit).await?.queues);
    let shown = map.narrowed(&narrow);
    let frame = visit.frame(Nav::Map, "Map").live();
    let panel = match chosen {
        Some(chosen) => Some(panel::panel(&frame, &state, (&map, &guards, &depths), chosen).await?),
        None => None,
    };
    let limit = if visit.params.on("all") { ALL_ROWS } else { ROWS };
    let listed: Vec<usize> = shown.edges.iter().chain(&shown.halves).copied().collect();
    let mut rows = map.worst_first(&listed);
    let more_rows = rows.len().saturating_sub(limit);
    rows.truncate(limit);
    let drawing = (!shown.nodes.is_empty())
        .then(|| draw::draw(&frame, (&map, &guards, &depths), &shown, (timed, chosen)));
    let finding = map.finding(&shown.edges);
    page(&MapPage {
        frame,
        map,
        guards,
        narrow,
        shown,
        finding,
        drawing,
        panel,
        missing,
        rows,
        more_rows,
        chosen,
        timed,
    })
}

/// The range of a visit, as what is kept of one is found by.
pub(super) fn period(visit: &Visit) -> Period {
    match visit.range.preset {
        Some(_) => Period::Last(visit.range.length()),
        None => Period::Fixed(visit.range.from, visit.range.to),
    }
}

/// The map of a visit's range.
pub(super) async fn of(state: &PageState, visit: &Visit) -> Result<Arc<Map>, PageError> {
    Ok(state.maps.get(&*state.reader, period(visit)).await?)
}

fn read(visit: &Visit, map: &Map) -> Result<Asked, PageError> {
    let params = &visit.params;
    for key in ["focus", "node", "caller", "callee", "find"] {
        if params.text(key).is_some_and(|text| text.len() > MAX_TEXT) {
            return Err(PageError::bad(format!("“{key}” is longer than {MAX_TEXT} bytes.")));
        }
    }
    let kinds = match params.text("show") {
        None | Some("all") => Kinds::All,
        Some("calls") => Kinds::Calls,
        Some("messages") => Kinds::Messages,
        Some(other) => {
            let other = format::shortened(other, 20);
            return Err(PageError::bad(format!("“show” may be all, calls or messages, not “{other}”.")));
        }
    };
    let timed = match params.text("label") {
        None | Some("auto") => None,
        Some("rate") => Some(false),
        Some("p95") => Some(true),
        Some(other) => {
            let other = format::shortened(other, 20);
            return Err(PageError::bad(format!("“label” may be rate or p95, not “{other}”.")));
        }
    };
    let mut missing = None;
    let mut node = |key: &str| {
        let text = params.text(key)?;
        let found = map.find(text);
        if found.is_none() {
            missing = Some(text.split_once(':').map_or(text, |(_, name)| name).to_owned());
        }
        found
    };
    let (focus, own, caller, callee) = (node("focus"), node("node"), node("caller"), node("callee"));
    let chosen = match (own, caller, callee) {
        (Some(node), ..) => Some(Chosen::Node(node)),
        (None, Some(from), Some(to)) => map.edge(from, to).map(Chosen::Edge),
        _ => None,
    };
    let find = params.text("find").map(str::to_owned);
    Ok(Asked { narrow: Narrow { focus, find, failing: params.on("failing"), kinds }, chosen, missing, timed })
}

impl MapPage {
    fn place(&self, node: usize) -> &Place {
        &self.map.nodes[node].place
    }

    /// The sentence that the page opens with.
    fn verdict(&self) -> String {
        let phrase = self.frame.visit.range.phrase();
        let Some(finding) = self.finding else {
            return match self.map.edges.is_empty() {
                true if self.map.nodes.is_empty() => format!("Nothing came {phrase}"),
                true => format!("No service called another {phrase}"),
                false => "No call keeps failing".to_owned(),
            };
        };
        let edge = &self.map.edges[finding.worst];
        let failing = share(&edge.rates);
        let [from, to] = [edge.from, edge.to].map(|end| format::shortened(self.place(end).name(), 60));
        let percent = format::percent(failing);
        match (self.place(edge.from), edge.kind.is_message()) {
            (_, true) if self.place(edge.to).as_service().is_some() => {
                format!("{to} fails at {percent} of what it takes from {from}")
            }
            (Place::User | Place::Caller, _) => format!("{to} fails: {percent} of the calls from outside"),
            _ if failing >= 0.5 => format!("{from} can hardly reach {to}: {percent} of its calls fail"),
            _ => format!("{from} has trouble with {to}: {percent} of its calls fail"),
        }
    }

    /// The sentence below it.
    fn lede(&self) -> String {
        let Some(Finding { bad, furthest, .. }) = self.finding else {
            return match (self.map.nodes.is_empty(), self.map.edges.is_empty()) {
                (true, _) => "Older traces are kept; choose a longer time range to see them.".to_owned(),
                (false, true) => {
                    "Calls and messages between services are drawn here once there are any.".to_owned()
                }
                (false, false) => format!("Fewer than {} fail on each way.", format::percent(BAD)),
            };
        };
        let mut out = String::new();
        if let Some(furthest) = furthest {
            let edge = &self.map.edges[furthest];
            let [from, to] = [edge.from, edge.to].map(|end| format::shortened(self.place(end).name(), 60));
            out = format!(
                "Furthest down, {} fail from {from} to {to}: look there first. ",
                format::percent(share(&edge.rates))
            );
        }
        match bad {
            1 => out.push_str("Elsewhere fewer than 5\u{a0}% fail."),
            _ => out.push_str(&format!("On {bad} ways 5\u{a0}% or more fail.")),
        }
        out
    }

    /// `9 services, 6 queues, 3 databases, 2 outside`.
    fn counts(&self) -> String {
        let of = |is: fn(&Place) -> bool| self.map.count(is) as u64;
        let counts = [
            (of(|place| place.as_service().is_some()), "service", "services"),
            (of(|place| matches!(place, Place::Exchange(_))), "exchange", "exchanges"),
            (of(|place| matches!(place, Place::Queue(_))), "queue", "queues"),
            (of(|place| matches!(place, Place::Database { .. })), "database", "databases"),
            (of(|place| matches!(place, Place::Outside(_))), "outside", "outside"),
        ];
        let some = counts.into_iter().filter(|(count, ..)| *count > 0);
        some.map(|(count, one, many)| format::counted(count, one, many)).collect::<Vec<_>>().join(", ")
    }

    /// What is left out of the drawing, if anything.
    fn left_out(&self) -> Option<String> {
        let Shown { nodes_left, edges_left, nodes, edges, .. } = &self.shown;
        let (all_nodes, all_edges) = (nodes.len() + nodes_left, edges.len() + edges_left);
        match (nodes_left, edges_left) {
            (0, 0) => None,
            (0, _) => Some(format!("The {MAX_EDGES} busiest of {all_edges} ways are drawn.")),
            _ => Some(format!("The {MAX_NODES} busiest of {all_nodes} nodes are drawn, what fails first.")),
        }
    }

    /// A node in a table: a service leads to its page.
    fn name(&self, node: &usize) -> Html {
        panel::name(&self.frame, self.place(*node))
    }

    fn edge(&self, index: &usize) -> &Edge {
        &self.map.edges[*index]
    }

    fn level(&self, edge: &Edge) -> &'static str {
        panel::level(&edge.rates)
    }

    fn focused(&self, node: &usize) -> String {
        format::shortened(self.place(*node).name(), 30)
    }

    /// This page with nothing chosen.
    fn all_of_it(&self) -> String {
        self.frame.here(&[("focus", None), ("node", None), ("caller", None), ("callee", None)])
    }

    fn is_chosen(&self, index: &usize) -> bool {
        self.chosen == Some(Chosen::Edge(*index))
    }

    fn edge_link(&self, edge: &Edge) -> String {
        let [from, to] = [edge.from, edge.to].map(|end| self.place(end).id());
        self.frame.here(&[("node", None), ("caller", Some(&from)), ("callee", Some(&to))])
    }

    fn rate(&self, edge: &Edge) -> Html {
        self.frame.often(edge.rates.count, self.map.seconds())
    }

    fn failing(&self, edge: &Edge) -> Html {
        panel::failing(&edge.rates)
    }

    fn quantile(&self, edge: &Edge, of: f64) -> Html {
        panel::duration(&self.frame, edge.rates.durations.quantile(of))
    }

    /// The gravest breaker of an edge, and how many there are besides.
    fn breaker(&self, index: &usize) -> Option<(Row, usize)> {
        let mut all = self.guards.on(*index);
        let first = breakers::row(&self.frame, all.next()?);
        Some((first, all.count()))
    }

    fn waited(&self, edge: &Edge) -> Html {
        panel::duration(&self.frame, edge.waited.quantile(0.95))
    }

    /// The hidden fields that the filter form sends along.
    fn kept(&self) -> Vec<&(String, String)> {
        let own = ["find", "show", "label", "failing"];
        self.frame.visit.params.0.iter().filter(|(key, _)| !own.contains(&key.as_str())).collect()
    }
}
