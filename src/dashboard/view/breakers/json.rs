//! `GET /api/breakers` and `GET /api/breakers/one`: breakers as JSON, for programs. Times are nanoseconds since the Unix
//! epoch as decimal strings, as in OTLP/JSON.

use axum::Json;
use axum::extract::State as From;
use serde_json::{Value, json};

use super::{Asked, one, period};
use crate::dashboard::query::breakers::one::{self as query, Because, Cause, Rejected, Transition};
use crate::dashboard::query::breakers::{Breaker, Instance, Rejection, Stretch};
use crate::dashboard::view::PageState;
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::format::ns;
use crate::dashboard::view::visit::Visit;

/// Handler of `GET /api/breakers`: `service`, `state`, `limit` (at most 1 000) and the time range as on the page.
pub async fn list(From(state): From<PageState>, visit: Visit) -> Result<Json<Value>, PageError> {
    let asked = Asked::read(&visit)?;
    let listed = state.breakers.get(&*state.reader, period(&visit)).await?;
    let wanted: Vec<&Breaker> = listed.breakers.iter().filter(|breaker| asked.wants(breaker)).collect();
    let shown = wanted.iter().take(asked.limit);
    Ok(Json(json!({
        "from": ns(listed.from),
        "to": ns(listed.to),
        "complete": listed.complete,
        "leftOut": wanted.len().saturating_sub(asked.limit),
        "breakers": shown.map(|breaker| one_of(breaker)).collect::<Vec<_>>(),
    })))
}

/// Handler of `GET /api/breakers/one`: `service`, `name`, `library` where two of one name differ by it.
pub async fn show(From(state): From<PageState>, visit: Visit) -> Result<Json<Value>, PageError> {
    one::asked(&visit)?;
    let listed = state.breakers.get(&*state.reader, period(&visit)).await?;
    let breaker = one::wanted(&visit, &listed)?;
    let one = query::one(&*state.reader, &listed, breaker).await?;
    let mut out = one_of(breaker);
    out["instances"] = breaker.instances.iter().map(instance).collect();
    out["transitions"] = one.transitions.iter().map(transition).collect();
    out["calls"] = one
        .calls
        .iter()
        .map(|(outcome, values)| json!({ "result": outcome.word(), "perSecond": values }))
        .collect();
    out["settings"] = one
        .settings
        .iter()
        .map(|(key, value)| (key.clone(), json!(value)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    out["rejectedCalls"] = one.rejected.iter().map(rejected).collect();
    out["from"] = json!(ns(listed.from));
    out["to"] = json!(ns(listed.to));
    Ok(Json(out))
}

fn one_of(breaker: &Breaker) -> Value {
    let mut out = brief(breaker);
    out["states"] = strip(&breaker.strip);
    out
}

/// A breaker without its states over time.
pub fn brief(breaker: &Breaker) -> Value {
    json!({
        "service": breaker.key.service,
        "name": breaker.key.name,
        "library": breaker.key.library.code(),
        "guards": breaker.peer,
        "state": breaker.state.code(),
        "since": breaker.since.map(ns),
        "sinceIsAtLeast": breaker.older,
        "knownFrom": breaker.known.word(),
        "instancesInState": breaker.here,
        "instancesHeard": breaker.heard,
        "failureShare": breaker.failing,
        "rejectedPerSecond": breaker.rejected,
        "newestRejection": breaker.rejection.as_ref().map(rejection),
    })
}

fn instance(instance: &Instance) -> Value {
    json!({
        "instance": instance.name,
        "state": instance.state.code(),
        "since": instance.since.map(ns),
        "knownFrom": instance.known.word(),
        "heard": ns(instance.heard),
        "states": strip(&instance.strip),
    })
}

fn strip(states: &[Stretch]) -> Value {
    states
        .iter()
        .map(|one| json!({ "from": ns(one.from), "to": ns(one.to), "state": one.state.code() }))
        .collect()
}

fn transition(one: &Transition) -> Value {
    let (because, causes) = match &one.because {
        Because::Failures(causes, count) => (json!({ "failedCalls": count }), causes.as_slice()),
        Because::Waited(ns) => (json!({ "waited": ns.to_string() }), &[][..]),
        Because::TrialsPassed => (json!({ "trials": "passed" }), &[][..]),
        Because::TrialFailed => (json!({ "trials": "failed" }), &[][..]),
        Because::Untold => (Value::Null, &[][..]),
    };
    json!({
        "at": ns(one.at),
        "exact": one.exact,
        "from": one.from.code(),
        "to": one.to.code(),
        "instances": one.instances,
        "traceId": one.told.map(|(trace, _)| trace.to_string()),
        "spanId": one.told.map(|(_, span)| span.to_string()),
        "because": because,
        "reason": one.reason,
        "failedSpans": causes.iter().map(cause).collect::<Vec<_>>(),
    })
}

fn cause(cause: &Cause) -> Value {
    json!({
        "traceId": cause.trace.to_string(),
        "spanId": cause.span.to_string(),
        "name": cause.name,
        "peer": cause.peer,
        "why": cause.why,
        "time": ns(cause.time),
        "correlation": cause.correlation,
    })
}

fn rejection(rejection: &Rejection) -> Value {
    json!({
        "time": ns(rejection.time),
        "traceId": rejection.trace.map(|trace| trace.to_string()),
        "spanId": rejection.span.map(|span| span.to_string()),
        "what": rejection.what,
        "answered": rejection.answered,
    })
}

fn rejected(rejected: &Rejected) -> Value {
    let mut out = rejection(&rejected.rejection);
    out["root"] = json!(rejected.root);
    out["rootAnswered"] = json!(rejected.answered);
    out["correlation"] = json!(rejected.correlation);
    out
}
