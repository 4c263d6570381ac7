//! `GET /api/series`: samples of metrics as JSON, for programs.

use std::collections::HashSet;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};

use super::PageState;
use super::error::PageError;
use super::visit::Visit;
use crate::dashboard::model::Sample;
use crate::dashboard::query::growth::{self, Growth};
use crate::dashboard::store::{FoundSeries, Metric, Series, SeriesFilter};

/// Metrics and attributes that one request may name.
const MAX_NAMED: usize = 20;
const SECOND: u64 = 1_000_000_000;

/// Handler of `GET /api/series`.
///
/// `name` is a metric's name, or with `*` at its end what names begin with, and may be repeated; `service` and
/// `attribute=KEY:VALUE` narrow; `last`, or `from` and `to`, are as on the pages; `step` is in seconds.
pub async fn show(State(state): State<PageState>, visit: Visit) -> Result<Json<Value>, PageError> {
    let filter = filter(&visit)?;
    let found = state.reader.series(&filter).await?;
    Ok(Json(answer(&filter, &found)))
}

fn filter(visit: &Visit) -> Result<SeriesFilter, PageError> {
    let all = |key: &'static str| {
        visit.params.0.iter().filter(move |(name, value)| name == key && !value.is_empty())
    };
    let metrics: Vec<_> = all("name").map(|(_, name)| metric(name)).collect();
    if metrics.is_empty() {
        return Err(PageError::bad("“name” is missing: a metric’s name, or its beginning and “*”."));
    }
    let attributes = all("attribute").map(|(_, text)| {
        let pair = text.split_once(':').map(|(key, value)| (key.to_owned(), value.to_owned()));
        pair.ok_or_else(|| PageError::bad("“attribute” is a key and a value with a colon between them."))
    });
    let attributes: Vec<_> = attributes.collect::<Result<_, _>>()?;
    if metrics.len() > MAX_NAMED || attributes.len() > MAX_NAMED {
        return Err(PageError::bad(format!("At most {MAX_NAMED} names and attributes can be asked for.")));
    }
    Ok(SeriesFilter {
        metrics,
        services: visit.params.text("service").map(|name| HashSet::from([name.to_owned()])),
        attributes,
        from: visit.range.from,
        to: visit.range.to,
        step: visit.params.number("step", 0..=31_536_000, 0)? as u64 * SECOND,
        most: 0,
    })
}

fn metric(name: &str) -> Metric {
    match name.strip_suffix('*') {
        Some(begin) => Metric::Begins(begin.to_owned()),
        None => Metric::Named(name.to_owned()),
    }
}

fn answer(filter: &SeriesFilter, found: &FoundSeries) -> Value {
    let grown = growth::grown(&found.series, filter.from);
    json!({
        // 64-bit numbers are decimal strings, as in OTLP/JSON.
        "from": filter.from.to_string(),
        "to": filter.to.to_string(),
        "step": filter.width().to_string(),
        "complete": found.complete,
        "leftOut": found.left_out,
        "series": found.series.iter().zip(&grown).map(|(series, grown)| one(series, grown)).collect::<Vec<_>>(),
    })
}

fn one(series: &Series, grown: &[Growth]) -> Value {
    let identity = &series.identity;
    let attributes: Map<String, Value> =
        identity.attributes.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    json!({
        "name": identity.name,
        "service": identity.service,
        "instance": identity.instance,
        "scope": identity.scope,
        "unit": identity.unit,
        "kind": identity.kind.word(),
        "temporality": if identity.kind.delta { "delta" } else { "cumulative" },
        "attributes": attributes,
        "before": series.before.as_ref().map(sample),
        "samples": series.samples.iter().map(sample).collect::<Vec<_>>(),
        "growth": grown
            .iter()
            .map(|one| sample(&Sample { sum: one.sum, ..Sample::of(one.time, 0, one.value) }))
            .collect::<Vec<_>>(),
    })
}

fn sample(sample: &Sample) -> Value {
    let mut out = json!({ "time": sample.time.to_string(), "value": sample.value });
    if sample.start > 0 {
        out["start"] = json!(sample.start.to_string());
    }
    for (key, number) in [("sum", sample.sum), ("min", sample.min), ("max", sample.max)] {
        if let Some(number) = number {
            out[key] = json!(number);
        }
    }
    out
}
