//! `/api/correlations/{id}`: the story of a correlation ID.

use axum::Json;
use axum::extract::{Path, State as From};
use serde_json::{Map, Value, json};

use crate::dashboard::query::story::{self, Act, LogLine, Ref, State};
use crate::dashboard::view::PageState;
use crate::dashboard::view::correlation::{check, gather, kind_word, wish};
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::format::{self, ns};
use crate::dashboard::view::visit::Visit;

/// Acts of one answer where the address does not say, and at most.
pub const USUAL_ACTS: usize = 200;
pub const MOST_ACTS: usize = 5_000;
/// Logs of one answer.
const MOST_LOGS: usize = 1_000;

/// Handler of `GET /api/correlations/{id}`.
pub async fn show(
    From(state): From<PageState>,
    Path(id): Path<String>,
    visit: Visit,
) -> Result<Json<Value>, PageError> {
    check(&id)?;
    let wish = wish(&visit.params)?;
    let most = visit.params.number("limit", 1..=MOST_ACTS, USUAL_ACTS)?;
    let first = visit.params.number("act", 0..=usize::MAX >> 1, 0)?;
    let found = state.reader.correlated(&id).await?;
    if found.traces.is_empty() && found.logs.is_empty() && found.messages.is_empty() {
        let what =
            format!("No trace, log or message carries the correlation ID {}.", format::shortened(&id, 60));
        return Err(PageError::missing("Nothing carries it", what));
    }
    let truncated = found.truncated;
    let traces: Vec<String> = found.traces.iter().map(|one| one.summary.trace_id.to_string()).collect();
    let (material, _) = gather(&state, found).await?;
    let story = story::tell(&material, &wish, visit.now);
    let (verdict, facts, acts) = (&story.verdict, &story.facts, &story.acts.list);
    Ok(Json(json!({
        "id": id,
        "state": word(verdict.state),
        "needsSomebody": verdict.state.is_bad(),
        "headline": visit.plain(&verdict.headline),
        "says": visit.plain(&verdict.lede),
        "cause": verdict.cause.map(|(trace, span)| json!({ "traceId": trace.to_string(), "spanId": span.to_string() })),
        "first": ns(facts.first),
        "last": ns(facts.last),
        "waitedNanos": facts.waiting,
        "traces": traces,
        "tracesLeftOut": facts.left_out,
        "complete": !truncated && facts.left_out == 0,
        "spans": facts.spans,
        "messages": facts.messages,
        "services": facts.services,
        "about": facts.about.iter().map(|(key, value)| (key.clone(), json!(value))).collect::<Map<_, _>>(),
        "acts": acts.iter().skip(first).take(most).map(|one| act(&visit, one)).collect::<Vec<_>>(),
        "allActs": acts.len(),
        "quietActs": story.acts.quiet,
        "filteredActs": story.acts.filtered,
        "logs": story.logs.iter().take(MOST_LOGS).map(log).collect::<Vec<_>>(),
        "allLogs": story.logs.len(),
    })))
}

fn word(state: State) -> &'static str {
    match state {
        State::DeadLettered => "dead_lettered",
        State::Failed => "failed",
        State::Waiting => "waiting",
        State::Overdue => "overdue",
        State::Retried => "retried",
        State::Recovered => "recovered",
        State::Refused => "refused",
        State::Running => "running",
        State::Well => "well",
        State::OnlyLogs => "only_logs",
    }
}

fn act(visit: &Visit, act: &Act) -> Value {
    json!({
        "at": act.at.map(ns),
        "kind": kind_word(act.kind),
        "says": visit.plain(&act.said),
        "services": act.services,
        "lengthNanos": act.length,
        "firstFailure": act.first_failure,
        "details": act.details.iter().map(|(key, value)| (key.clone(), json!(value))).collect::<Map<_, _>>(),
        "refs": act.refs.iter().filter_map(reference).collect::<Vec<_>>(),
    })
}

/// Where an act can be looked at closer; its logs are in the list.
fn reference(to: &Ref) -> Option<Value> {
    Some(match to {
        Ref::Span(trace, span) => {
            json!({ "to": "span", "traceId": trace.to_string(), "spanId": span.to_string() })
        }
        Ref::Cause(trace, span) => {
            json!({ "to": "cause", "traceId": trace.to_string(), "spanId": span.to_string() })
        }
        Ref::Message(id) => json!({ "to": "message", "id": id }),
        Ref::Breaker(service, name) => json!({ "to": "breaker", "service": service, "name": name }),
        Ref::Log(..) => return None,
    })
}

fn log(log: &LogLine) -> Value {
    json!({
        "time": ns(log.time),
        "service": log.service,
        "severity": log.severity,
        "level": (log.severity > 0).then_some(log.level),
        "text": log.text,
        "traceId": log.trace.map(|id| id.to_string()),
        "spanId": log.span.map(|id| id.to_string()),
    })
}
