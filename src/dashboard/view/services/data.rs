//! `GET /api/services` and `GET /api/services/{name}`: the same as JSON, for programs.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::super::PageState;
use super::super::breakers;
use super::super::error::PageError;
use super::super::format::ns_or_null;
use super::super::map::data::{quantiles, rates};
use super::super::map::period;
use super::super::visit::Visit;
use crate::dashboard::model::Nanos;
use crate::dashboard::query::services::{Change, Instance, Line, Neighbour, Operation, Service};
use crate::dashboard::store::{OTHERS, Rates};

/// Handler of `GET /api/services`.
///
/// `last`, or `from` and `to`, `find` and `order` are as on the page. Rates are per second, shares from 0 to 1, times
/// decimal strings of nanoseconds, durations nanoseconds; `null` is unknown.
pub async fn list(State(state): State<PageState>, visit: Visit) -> Result<Json<Value>, PageError> {
    let asked = super::read(&visit)?;
    let all = state.services.get(&*state.reader, period(&visit)).await?;
    let mut rows = super::sorted(&all, &asked);
    let left_out = rows.len().saturating_sub(super::ALL_ROWS);
    rows.truncate(super::ALL_ROWS);
    let line = |index: &usize| line(&all.services[*index], all.seconds);
    Ok(Json(json!({
        "from": visit.range.from.to_string(),
        "to": visit.range.to.to_string(),
        "services": rows.iter().map(line).collect::<Vec<_>>(),
        "leftOut": left_out,
    })))
}

fn line(line: &Line, seconds: f64) -> Value {
    let mut out = rates(&line.total, seconds);
    out["name"] = json!(line.name);
    out["lastSeen"] = json!(ns_or_null(line.last_seen));
    out["instances"] = json!(line.instances);
    out["versions"] = json!(line.versions);
    out["steps"] = steps(&line.steps);
    out
}

/// Handler of `GET /api/services/{name}`.
///
/// Parameters as of `GET /api/services`; `find`, `order` and `all` are of its operations.
pub async fn show(
    State(state): State<PageState>,
    Path(name): Path<String>,
    visit: Visit,
) -> Result<Json<Value>, PageError> {
    let wanted = super::one::read(&visit, &name)?;
    let service = super::one::of(&state, &visit, &name, &wanted).await?;
    let Service { seconds, .. } = service;
    let mut out = rates(&service.total, seconds);
    out["from"] = json!(visit.range.from.to_string());
    out["to"] = json!(visit.range.to.to_string());
    out["name"] = json!(service.name);
    out["lastSeen"] = json!(ns_or_null(service.last_seen));
    out["versions"] = json!(service.versions);
    out["steps"] = steps(&service.steps);
    let all = service.operations.iter().map(|one| operation(one, seconds));
    out["operations"] = json!(all.collect::<Vec<_>>());
    out["operationsLeftOut"] = json!(service.more_operations);
    let of = |list: &[Neighbour]| list.iter().map(|one| neighbour(one, seconds)).collect::<Vec<_>>();
    out["callers"] = json!(of(&service.callers));
    out["callees"] = json!(of(&service.callees));
    out["instances"] = json!(service.instances.iter().map(|one| instance(one, seconds)).collect::<Vec<_>>());
    out["instancesLeftOut"] = json!(service.all_instances - service.instances.len());
    out["versionChanges"] = json!(service.changes.iter().map(change).collect::<Vec<_>>());
    let all = breakers::of(&state, &visit).await?;
    let around = breakers::around(&all, &service.name);
    out["breakers"] = around.into_iter().map(breakers::json::brief).collect();
    let failed = service.failed.rows.iter().map(|trace| trace.trace_id.to_string());
    out["newestFailedTraces"] = json!(failed.collect::<Vec<_>>());
    Ok(Json(out))
}

fn operation(operation: &Operation, seconds: f64) -> Value {
    let mut out = rates(&operation.rates, seconds);
    out["name"] = json!(operation.name);
    out["query"] = json!(operation.query);
    out["othersTogether"] = json!(operation.name == OTHERS);
    out
}

fn neighbour(neighbour: &Neighbour, seconds: f64) -> Value {
    let mut out = rates(&neighbour.rates, seconds);
    out["id"] = json!(neighbour.place.id());
    out["name"] = json!(neighbour.place.name());
    out["kind"] = json!(neighbour.kind.word());
    out["inQueueP50"] = json!(neighbour.waited);
    out
}

fn instance(instance: &Instance, seconds: f64) -> Value {
    let mut out = rates(&instance.total, seconds);
    let text = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    out["instance"] = text(&instance.name);
    out["version"] = text(&instance.version);
    out["firstSeen"] = json!(ns_or_null(instance.first_seen));
    out["lastSeen"] = json!(ns_or_null(instance.last_seen));
    out["maybeEarlier"] = json!(instance.from_start);
    out
}

fn change(change: &Change) -> Value {
    json!({ "time": change.at.to_string(), "version": change.version, "again": change.again })
}

fn steps(steps: &[(Nanos, Rates)]) -> Value {
    let step = |(at, rates): &(Nanos, Rates)| {
        json!({
            "time": at.to_string(),
            "count": rates.count,
            "errors": rates.errors,
            "durations": quantiles(&rates.durations),
        })
    };
    Value::Array(steps.iter().map(step).collect())
}
