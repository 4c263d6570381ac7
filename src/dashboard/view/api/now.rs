//! `/api/overview`, `/api/status`, `/api/search` and `/api/scenarios`.

use axum::Json;
use axum::extract::{Path, State as From};
use serde_json::{Value, json};

use super::traces;
use crate::dashboard::query::outcome::Outcome;
use crate::dashboard::query::overview::{FailedStory, Trouble};
use crate::dashboard::query::redact;
use crate::dashboard::query::search::{self, Hit};
use crate::dashboard::view::breakers::{self, period};
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::format::ns;
use crate::dashboard::view::state::Scenario;
use crate::dashboard::view::visit::Visit;
use crate::dashboard::view::{Health, PageState, SourceStatus, queues, scenarios, status};

/// Open breakers, and queues that need somebody, that are told; the others are in their own lists.
const MOST: usize = 20;

/// Handler of `GET /api/overview`.
pub async fn overview(From(state): From<PageState>, visit: Visit) -> Result<Json<Value>, PageError> {
    let overview = state.overviews.get(&*state.reader, period(&visit)).await?;
    let listed = state.breakers.get(&*state.reader, period(&visit)).await?;
    let queues = queues::of(&state, &visit).await?;
    let open = listed.breakers.iter().filter(|one| one.state.is_open());
    let needy = queues.queues.iter().filter(|queue| queue.verdict.is_trouble());
    Ok(Json(json!({
        "from": ns(visit.range.from),
        "to": ns(visit.range.to),
        "spans": overview.spans,
        "requests": overview.requests,
        "failedRequests": overview.failed,
        "troubles": overview.troubles.iter().map(trouble).collect::<Vec<_>>(),
        "openBreakers": open.take(MOST).map(breakers::json::brief).collect::<Vec<_>>(),
        "queues": needy.take(MOST).map(queues::json::of_queue).collect::<Vec<_>>(),
        "failedStories": overview.stories.iter().map(failed).collect::<Vec<_>>(),
        "steps": overview.steps.iter().map(|step| json!({
            "time": ns(step.start), "spans": step.spans, "requests": step.requests,
            "failedRequests": step.failed, "p95Nanos": step.p95,
        })).collect::<Vec<_>>(),
    })))
}

fn trouble(trouble: &Trouble) -> Value {
    let (kind, place) = match trouble {
        Trouble::Slow { now, usual, since } => {
            return json!({ "kind": "slow", "since": ns(*since), "p95Nanos": now, "usualNanos": usual });
        }
        Trouble::Errors(place) => ("errors", place),
        Trouble::Refused(place) => ("refused", place),
    };
    json!({
        "kind": kind,
        "since": ns(place.since),
        "service": place.service,
        "operation": place.operation,
        "why": redact::shown("", &place.why).0,
        "brokeIn": place.broke,
        "ofTraces": place.touched,
        "newest": place.newest.to_string(),
    })
}

fn failed(story: &FailedStory) -> Value {
    let (word, queue, status) = match &story.outcome {
        Outcome::DeadLettered { queue } => ("dead_lettered", Some(queue), None),
        Outcome::WaitsIn { queue } => ("waits", Some(queue), None),
        Outcome::RetriedWell => ("retried_well", None, None),
        Outcome::Answered { status } => ("answered", None, Some(status)),
        Outcome::Failed => ("failed", None, None),
    };
    json!({
        "correlation": story.correlation,
        "outcome": word,
        "queue": queue,
        "status": status,
        "trace": traces::summary(&story.trace),
    })
}

/// Handler of `GET /api/status`.
pub async fn status(From(state): From<PageState>, visit: Visit) -> Result<Json<Value>, PageError> {
    let told = status::of(&state);
    let (holdings, kept) = (state.reader.holdings().await?, state.reader.kept_metrics().await?);
    let limit = |limit: u64| (limit > 0).then_some(limit);
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started": ns(state.settings.started),
        "now": ns(visit.now),
        "sources": told.sources.iter().map(source).collect::<Vec<_>>(),
        "acceptedSpans": told.accepted_spans,
        "acceptedLogs": told.accepted_logs,
        "keptPoints": told.metrics.kept,
        "receivedBytes": told.bytes,
        "commitP95Nanos": told.commit_p95,
        "turnedAway": told.turned_away,
        "refused": told.refused.iter().map(|one| json!({
            "reason": one.reason, "service": one.service, "count": one.count,
        })).collect::<Vec<_>>(),
        "metricsNotKept": told.metrics.passed.iter()
            .map(|(name, points)| json!({ "name": name, "points": points })).collect::<Vec<_>>(),
        "store": {
            "engine": holdings.engine,
            "location": holdings.location,
            "spans": holdings.spans,
            "logs": holdings.logs,
            "series": kept.series,
            "bytes": holdings.bytes,
            "maxBytes": limit(holdings.max_bytes),
            "maxAgeSeconds": limit(holdings.max_age_s),
            "maxLogAgeSeconds": limit(holdings.max_log_age_s),
            "full": holdings.is_full,
            "oldest": holdings.oldest.map(ns),
            "queued": holdings.queued,
            "queueCapacity": holdings.queue_capacity,
            "unreadable": state.reader.damage(),
        },
    })))
}

fn source(source: &SourceStatus) -> Value {
    json!({
        "name": source.name,
        "kind": source.kind,
        "state": match source.health {
            Health::Well => "well",
            Health::Silent => "silent",
            Health::Broken => "broken",
        },
        "lastHeard": source.last_heard.map(ns),
        "perSecond": source.rate,
        "note": source.note,
    })
}

/// Handler of `GET /api/search`.
pub async fn search(From(state): From<PageState>, visit: Visit) -> Result<Json<Value>, PageError> {
    let text = visit.params.text("q").unwrap_or_default();
    if text.is_empty() || text.len() > search::MAX_LEN {
        let most = search::MAX_LEN;
        return Err(PageError::bad(format!(
            "“q” is what is looked for: an ID, a service or a query of 1 to {most} bytes."
        )));
    }
    let found = search::find(state.reader.as_ref(), text, visit.now).await?;
    if let Some(Err(error)) = found.query {
        return Err(PageError::Query(error));
    }
    Ok(Json(json!({
        "hits": found.hits.iter().map(hit).collect::<Vec<_>>(),
        "isQuery": found.query.is_some(),
        "tried": found.tried,
    })))
}

fn hit(hit: &Hit) -> Value {
    match hit {
        Hit::Trace(trace) => json!({ "kind": "trace", "id": trace.trace_id.to_string() }),
        Hit::Span(span, trace) => {
            json!({ "kind": "span", "id": span.to_string(), "traceId": trace.to_string() })
        }
        Hit::Correlation(id, count) => json!({ "kind": "correlation", "id": id, "tracesAndLogs": count }),
        Hit::Message(id) => json!({ "kind": "message", "id": id }),
        Hit::Service(name) => json!({ "kind": "service", "id": name }),
    }
}

/// Handler of `GET /api/scenarios`.
pub async fn scenarios(From(state): From<PageState>, _: Visit) -> Result<Json<Value>, PageError> {
    let all = scenarios::door(&state)?.list().await.map_err(PageError::Elsewhere)?;
    Ok(Json(json!({ "scenarios": all.iter().map(scenario).collect::<Vec<_>>() })))
}

fn scenario(one: &Scenario) -> Value {
    json!({
        "name": one.name,
        "title": one.title,
        "does": one.does,
        "look": one.look,
        "page": one.page,
        "on": one.on,
        "until": one.until.map(ns),
    })
}

/// Handler of `POST /api/scenarios/{name}/on`.
pub async fn switch_on(state: From<PageState>, name: Path<String>) -> Result<Json<Value>, PageError> {
    switch(state, name, true).await
}

/// Handler of `POST /api/scenarios/{name}/off`.
pub async fn switch_off(state: From<PageState>, name: Path<String>) -> Result<Json<Value>, PageError> {
    switch(state, name, false).await
}

async fn switch(
    From(state): From<PageState>,
    Path(name): Path<String>,
    on: bool,
) -> Result<Json<Value>, PageError> {
    scenarios::switched(&state, &name, on).await?;
    Ok(Json(json!({ "name": name, "on": on })))
}
