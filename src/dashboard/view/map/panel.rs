//! One node or edge of the map, looked at.

use super::draw::Chosen;
use crate::dashboard::model::TraceSummary;
use crate::dashboard::query::map::{Depths, Details, EdgeKind, Guards, Map, Place, share};
use crate::dashboard::query::queues::{Queue, Verdict};
use crate::dashboard::store::{Histogram, OTHERS, Rates};
use crate::dashboard::view::PageState;
use crate::dashboard::view::breakers::{self, Row};
use crate::dashboard::view::chart::{self, Line};
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::escape::{Html, escaped};
use crate::dashboard::view::format;
use crate::dashboard::view::frame::Frame;
use crate::dashboard::view::queues::words;

/// The panel.
pub struct Panel {
    /// `edge, call`, `queue`.
    pub kind: String,
    pub title: Html,
    /// The same as plain text.
    pub label: String,
    pub close: String,
    /// Where its neighbours alone are shown, and, of a service, its page.
    pub focus: Option<String>,
    pub service: Option<String>,
    /// The page of a queue.
    pub queue: Option<String>,
    /// One sentence.
    pub says: String,
    /// Name and figure.
    pub facts: Vec<(&'static str, Html)>,
    /// Of an edge: those that guard it, the gravest first.
    pub breakers: Vec<Row>,
    /// Failures over time, of an edge on which some failed.
    pub chart: Option<Html>,
    pub failed: Vec<TraceSummary>,
    /// Where all of them are listed; `None` where nothing failed.
    pub all_failed: Option<String>,
    /// Whether not all of the range was looked through.
    pub cut: bool,
    /// Name, rate, share of failures, and where traces of it are.
    pub operations: Vec<(String, Html, Html, Option<String>)>,
    pub more_operations: usize,
    pub operations_of: String,
}

/// A place by name and kind; a service leads to its page.
pub fn name(frame: &Frame, place: &Place) -> Html {
    match place {
        Place::Service(name) => frame.svc_link(name),
        place => askama::filters::Safe(format!(
            r#"{} <span class="unit">{}</span>"#,
            escaped(&format::shortened(place.name(), 80)),
            escaped(&format::shortened(place.kind(), 30))
        )),
    }
}

/// The share of failures.
pub fn failing(rates: &Rates) -> Html {
    let failing = share(rates);
    let text = format::percent(failing);
    let (number, unit) = text.split_once(format::NBSP).unwrap_or((&text, ""));
    askama::filters::Safe(format!(r#"{number}{}<span class="unit">{unit}</span>"#, format::NBSP))
}

/// The class of a share of failures in a table.
pub fn level(rates: &Rates) -> &'static str {
    use crate::dashboard::query::map::{BAD, SICK};
    match share(rates) {
        bad if bad >= BAD => " err-t",
        sick if sick >= SICK => " warn-t",
        _ => "",
    }
}

/// A duration that may be unknown.
pub fn duration(frame: &Frame, ns: Option<u64>) -> Html {
    match ns {
        Some(ns) => frame.duration(&ns),
        None => askama::filters::Safe(r#"<span class="none">—</span>"#.to_owned()),
    }
}

/// Looks at what is chosen.
pub async fn panel(
    frame: &Frame,
    state: &PageState,
    (map, guards, depths): (&Map, &Guards, &Depths),
    chosen: Chosen,
) -> Result<Panel, PageError> {
    let reader = &*state.reader;
    Ok(match chosen {
        Chosen::Node(node) => {
            let panel = of_node(frame, map, node, map.node_details(reader, node).await?);
            with_depth(frame, panel, depths.at(node))
        }
        Chosen::Edge(edge) => {
            let panel = of_edge(frame, map, edge, map.edge_details(reader, edge).await?);
            Panel { breakers: guards.on(edge).map(|one| breakers::row(frame, one)).collect(), ..panel }
        }
    })
}

fn of_node(frame: &Frame, map: &Map, index: usize, details: Details) -> Panel {
    let node = &map.nodes[index];
    let into = map.edges.iter().filter(|edge| edge.to == index).count() as u64;
    let out = map.edges.iter().filter(|edge| edge.from == index).count() as u64;
    let says = match (&node.place, into, out) {
        (Place::Queue(_) | Place::Exchange(_), _, 0) => "Nobody was seen taking from it.".to_owned(),
        (_, 0, 0) => "It calls nobody, and nobody calls it.".to_owned(),
        (_, into, out) => format!("{into} {} in, {out} {} out.", ways(into), ways(out)),
    };
    let mut facts = figures(frame, map, &node.rates, "Calls and messages");
    if node.place.as_service().is_some() {
        facts[0].0 = "Requests";
    }
    waits(frame, &mut facts, &node.waited);
    let title = name(frame, &node.place);
    let mut panel = base(frame, map, details, node.place.as_service());
    panel.kind = node.place.kind().to_owned();
    panel.label = node.place.name().to_owned();
    panel.focus = Some(frame.here(&[("focus", Some(&node.place.id())), ("find", None)]));
    panel.service = node.place.as_service().map(|name| frame.service_link(name));
    (panel.title, panel.says, panel.facts) = (title, says, facts);
    panel
}

/// The panel of a queue of which it is known what waits in it.
fn with_depth(frame: &Frame, mut panel: Panel, queue: Option<&Queue>) -> Panel {
    let Some(queue) = queue else { return panel };
    panel.facts.insert(0, ("Ready", words::count(queue.ready)));
    panel.facts.insert(1, ("Consumers", words::count(queue.consumers)));
    panel.says = format!("It is {}.", words::verdict(queue, frame)).replace("It is no ", "It has no ");
    if let Verdict::DeadLetters = queue.verdict {
        panel.says = format!("It holds {}.", words::verdict(queue, frame));
    }
    panel.queue = Some(frame.queue_link(&queue.key));
    panel
}

fn ways(count: u64) -> &'static str {
    if count == 1 { "way" } else { "ways" }
}

fn of_edge(frame: &Frame, map: &Map, index: usize, details: Details) -> Panel {
    let edge = &map.edges[index];
    let [from, to] = [edge.from, edge.to].map(|end| &map.nodes[end].place);
    let title = format!("{} → {}", name(frame, from).0, name(frame, to).0);
    let what = if edge.kind.is_message() { "Messages" } else { "Calls" };
    let mut facts = figures(frame, map, &edge.rates, what);
    waits(frame, &mut facts, &edge.waited);
    let chart = (edge.rates.errors > 0).then(|| failing_chart(frame, &details.steps)).flatten();
    let mut panel = base(frame, map, details, to.as_service());
    panel.kind = format!("edge, {}", edge.kind.word());
    panel.label = format!("{} to {}", from.name(), to.name());
    panel.says = match edge.kind {
        _ if edge.rates.errors > 0 => {
            let errors = format::count(edge.rates.errors);
            format!("{errors} of {} failed.", format::count(edge.rates.count))
        }
        EdgeKind::Send => "How long sending took is known only of messages that nobody took yet.".to_owned(),
        EdgeKind::Route => "Which queue a message went to is known once it was taken.".to_owned(),
        EdgeKind::Take => "The durations are those of the processing.".to_owned(),
        EdgeKind::Call | EdgeKind::Query => "None failed.".to_owned(),
    };
    (panel.title, panel.facts, panel.chart) = (askama::filters::Safe(title), facts, chart);
    panel
}

/// What all panels have.
fn base(frame: &Frame, map: &Map, details: Details, service: Option<&str>) -> Panel {
    let Details { failed, operations, more_operations, .. } = details;
    let traces = |query: &str| frame.link_with("/traces", &[("query", query)]);
    let operation = |one: crate::dashboard::store::OperationRates| {
        let query = (one.operation != OTHERS).then(|| {
            let query = crate::dashboard::query::services::of_operation(&one.service, &one.operation);
            traces(&query)
        });
        (one.operation, frame.often(one.rates.count, map.seconds()), failing(&one.rates), query)
    };
    Panel {
        kind: String::new(),
        title: askama::filters::Safe(String::new()),
        label: String::new(),
        close: frame.here(&[("node", None), ("caller", None), ("callee", None)]),
        focus: None,
        service: None,
        queue: None,
        says: String::new(),
        facts: Vec::new(),
        breakers: Vec::new(),
        chart: None,
        all_failed: failed.as_ref().map(|failed| traces(&failed.query)),
        cut: failed.as_ref().is_some_and(|failed| !failed.page.complete),
        failed: failed.map(|failed| failed.page.rows).unwrap_or_default(),
        operations: operations.into_iter().map(operation).collect(),
        more_operations,
        operations_of: service.unwrap_or_default().to_owned(),
    }
}

fn figures(frame: &Frame, map: &Map, rates: &Rates, what: &'static str) -> Vec<(&'static str, Html)> {
    let quantiles = [0.5, 0.95, 0.99].map(|share| match rates.durations.quantile(share) {
        Some(ns) => frame.duration(&ns).0,
        None => "—".to_owned(),
    });
    let share = format!(r#"<span class="{}">{}</span>"#, level(rates).trim(), failing(rates).0);
    vec![
        (what, frame.often(rates.count, map.seconds())),
        ("Failing", askama::filters::Safe(share)),
        ("p50 · p95 · p99", askama::filters::Safe(quantiles.join(" · "))),
    ]
}

fn waits(frame: &Frame, facts: &mut Vec<(&'static str, Html)>, waited: &Histogram) {
    if let (Some(p50), Some(p95)) = (waited.quantile(0.5), waited.quantile(0.95)) {
        let text = format!("{} · {}", frame.duration(&p50).0, frame.duration(&p95).0);
        facts.push(("In queue p50 · p95", askama::filters::Safe(text)));
    }
}

/// The share of failures over time.
fn failing_chart(frame: &Frame, steps: &[(u64, Rates)]) -> Option<Html> {
    let values: Vec<Option<f64>> =
        steps.iter().map(|(_, rates)| (rates.count > 0).then(|| share(rates))).collect();
    let (first, _) = steps.first()?;
    let range = (*first, frame.visit.range.to.max(*first + 1));
    let line = Line {
        label: "Share of failing calls over time",
        values: &values,
        class: "e",
        unit: format::percent,
    };
    Some(chart::line(&frame.visit, range, &line))
}
