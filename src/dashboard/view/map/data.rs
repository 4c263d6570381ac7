//! `GET /api/map`: the map as JSON, for programs.

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::super::breakers;
use super::super::error::PageError;
use super::super::visit::Visit;
use super::PageState;
use super::queues;
use crate::dashboard::query::map::{Depths, Edge, Guards, Map, Node, Place, share};
use crate::dashboard::query::queues::Queue;
use crate::dashboard::store::{Histogram, Rates};

/// Handler of `GET /api/map`.
///
/// `last`, or `from` and `to`, are as on the pages, and so are `focus`, `find`, `show` and `failing`. Rates are per
/// second, shares from 0 to 1, times decimal strings of nanoseconds, durations nanoseconds; `null` is unknown. An edge has
/// the breakers that guard it, the gravest first, as `GET /api/breakers` has them; a queue has what waits in it where that
/// is known.
pub async fn show(State(state): State<PageState>, visit: Visit) -> Result<Json<Value>, PageError> {
    let map = super::of(&state, &visit).await?;
    let asked = super::read(&visit, &map)?;
    if let Some(missing) = asked.missing {
        let what = format!("Nothing on the map of this time range is called “{missing}”.");
        return Err(PageError::missing("Not on the map", what));
    }
    let guards = Guards::of(&map, breakers::of(&state, &visit).await?);
    let depths = Depths::of(&map, &queues::of(&state, &visit).await?.queues);
    let shown = map.narrowed(&asked.narrow);
    Ok(Json(json!({
        "from": map.from.to_string(),
        "to": map.to.to_string(),
        "nodes": shown.nodes.iter().map(|index| node(&map, &map.nodes[*index], depths.at(*index))).collect::<Vec<_>>(),
        "edges": shown.edges.iter().map(|index| edge(&map, &guards, *index)).collect::<Vec<_>>(),
        "nodesLeftOut": shown.nodes_left,
        "edgesLeftOut": shown.edges_left,
    })))
}

fn node(map: &Map, node: &Node, queue: Option<&Queue>) -> Value {
    let mut out = rates(&node.rates, map.seconds());
    out["id"] = json!(node.place.id());
    out["kind"] = json!(kind(&node.place));
    out["name"] = json!(node.place.name());
    if let Some(system) = system(&node.place) {
        out["system"] = json!(system);
    }
    if let Some(waited) = waits(&node.waited) {
        out["inQueue"] = waited;
    }
    if let Some(queue) = queue {
        out["queue"] = json!({
            "broker": queue.key.broker,
            "vhost": queue.key.virtual_host,
            "name": queue.key.name,
            "ready": queue.ready,
            "verdict": queue.verdict.code(),
        });
    }
    out
}

fn kind(place: &Place) -> &'static str {
    match place {
        Place::User => "user",
        Place::Caller => "unknownCaller",
        Place::Service(_) => "service",
        Place::Exchange(_) => "exchange",
        Place::Queue(_) => "queue",
        Place::Database { .. } => "database",
        Place::Outside(_) => "outside",
        Place::Peer => "unknownPeer",
        Place::Others => "others",
    }
}

fn system(place: &Place) -> Option<&str> {
    match place {
        Place::Exchange(at) | Place::Queue(at) => Some(&at.system),
        Place::Database { system, .. } => Some(system),
        _ => None,
    }
}

fn edge(map: &Map, guards: &Guards, index: usize) -> Value {
    let edge: &Edge = &map.edges[index];
    let mut out = rates(&edge.rates, map.seconds());
    out["from"] = json!(map.nodes[edge.from].place.id());
    out["to"] = json!(map.nodes[edge.to].place.id());
    out["kind"] = json!(edge.kind.word());
    out["breakers"] = guards.on(index).map(breakers::json::brief).collect();
    if let Some(waited) = waits(&edge.waited) {
        out["inQueue"] = waited;
    }
    out
}

/// Counts, rate, share of failures and durations.
pub(in crate::dashboard::view) fn rates(rates: &Rates, seconds: f64) -> Value {
    json!({
        "count": rates.count,
        "errors": rates.errors,
        "perSecond": rates.count as f64 / seconds,
        "failing": share(rates),
        "durations": quantiles(&rates.durations),
    })
}

/// In ns.
pub(in crate::dashboard::view) fn quantiles(of: &Histogram) -> Value {
    json!({ "p50": of.quantile(0.5), "p95": of.quantile(0.95), "p99": of.quantile(0.99) })
}

fn waits(waited: &Histogram) -> Option<Value> {
    waited.quantile(0.5).map(|_| quantiles(waited))
}
