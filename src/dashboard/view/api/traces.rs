//! `/api/traces` and `/api/traces/{id}`: the list of traces and one trace, as their pages know them.

use axum::Json;
use axum::extract::{Path, State as From};
use serde_json::{Map, Value, json};

use crate::dashboard::model::value::Attributes;
use crate::dashboard::model::{LogRecord, Span, TraceSummary};
use crate::dashboard::query::finding;
use crate::dashboard::query::waterfall::{Clocks, Waterfall};
use crate::dashboard::query::{logs, redact};
use crate::dashboard::store::TraceFilter;
use crate::dashboard::view::PageState;
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::format::{ns, ns_or_null};
use crate::dashboard::view::messages::json::redacted;
use crate::dashboard::view::visit::Visit;
use crate::dashboard::view::{trace, traces};

/// Spans of one answer where the address does not say, and at most.
pub const USUAL_SPANS: usize = 1_000;
pub const MOST_SPANS: usize = 10_000;
/// Logs of a trace that are told.
const MOST_LOGS: usize = 1_000;

/// Handler of `GET /api/traces`.
pub async fn list(From(state): From<PageState>, visit: Visit) -> Result<Json<Value>, PageError> {
    let asked = traces::read(&visit)?;
    if let Some(error) = asked.bad_query {
        return Err(PageError::Query(error));
    }
    let filter = TraceFilter { dots: false, ..asked.filter };
    let found = state.reader.traces(&filter).await?;
    Ok(Json(json!({
        "from": ns(visit.range.from),
        "to": ns(visit.range.to),
        "query": asked.query,
        "examined": found.examined,
        "opened": found.opened,
        "complete": found.complete,
        "next": found.next.map(|cursor| traces::write_cursor(cursor, filter.order)),
        "traces": found.rows.iter().map(summary).collect::<Vec<_>>(),
    })))
}

/// A trace in a list.
pub fn summary(trace: &TraceSummary) -> Value {
    json!({
        "traceId": trace.trace_id.to_string(),
        "start": ns(trace.start),
        "durationNanos": trace.duration(),
        "spans": trace.spans,
        "errors": trace.errors,
        "refused": trace.refused,
        "logs": trace.logs,
        "root": trace.root.as_ref().map(|root| json!({
            "service": root.service, "name": root.name, "kind": root.kind.word(),
            "durationNanos": root.end.saturating_sub(root.start), "parentless": root.parentless,
        })),
        "services": trace.services.iter()
            .map(|share| json!({ "name": &*share.name, "spans": share.spans, "errors": share.errors }))
            .collect::<Vec<_>>(),
        "servicesLeftOut": trace.more_services,
        "correlations": trace.correlations.iter().map(|one| &one.value).collect::<Vec<_>>(),
        "brokeAt": trace.failure.as_ref().map(|failure| json!({
            "service": failure.service, "name": failure.span_name, "spanId": failure.span_id.to_string(),
            "why": redact::shown("", &failure.why).0,
        })),
    })
}

/// Handler of `GET /api/traces/{id}`.
pub async fn show(
    From(state): From<PageState>,
    Path(id): Path<String>,
    visit: Visit,
) -> Result<Json<Value>, PageError> {
    let id = trace::trace_id(&id)?;
    let most = visit.params.number("limit", 1..=MOST_SPANS, USUAL_SPANS)?;
    let first = visit.params.number("row", 0..=usize::MAX >> 1, 0)?;
    let clocks = match visit.params.text("clock") {
        None | Some("sent") => Clocks::AsSent,
        Some("adjusted") => Clocks::Adjusted,
        Some(_) => return Err(PageError::bad("“clock” may be sent or adjusted.")),
    };
    let trace = trace::load(&state, id).await?;
    let summary = state.reader.summary(id).await?;
    let waterfall = Waterfall::new(&trace, visit.now, clocks);
    let found = finding::of(&waterfall);
    let rows = waterfall.nodes.len();
    let path = waterfall.critical_path();
    let id_of = |row: usize| waterfall.span(row).span_id.to_string();
    Ok(Json(json!({
        "traceId": id.to_string(),
        "title": visit.plain(&found.title),
        "says": visit.plain(&found.sentence),
        "start": ns(waterfall.begin),
        "durationNanos": waterfall.end - waterfall.begin,
        "waitedNanos": waterfall.waited(),
        "clocksDiffer": waterfall.skewed,
        "brokeAt": found.broke_at.map(id_of),
        "correlations": summary.iter().flat_map(|known| &known.correlations).map(|one| &one.value).collect::<Vec<_>>(),
        "criticalPath": path.iter().map(|part| json!({
            "spanId": id_of(part.row), "from": ns(part.from), "to": ns(part.to), "waiting": part.waiting,
        })).collect::<Vec<_>>(),
        "spans": (first.min(rows)..rows).take(most).map(|row| span(&waterfall, row)).collect::<Vec<_>>(),
        "allSpans": rows,
        "logs": trace.logs.iter().take(MOST_LOGS).map(log).collect::<Vec<_>>(),
        "allLogs": trace.logs.len(),
        "messages": trace.messages.iter().map(|message| message.name()).collect::<Vec<_>>(),
    })))
}

fn span(waterfall: &Waterfall<'_>, row: usize) -> Value {
    let (node, span): (_, &Span) = (&waterfall.nodes[row], waterfall.span(row));
    json!({
        "spanId": span.span_id.to_string(),
        "parentSpanId": span.parent.map(|parent| parent.to_string()),
        "depth": node.depth,
        "service": span.service(),
        "instance": instance(span),
        "scope": span.scope.name,
        "name": span.name,
        "kind": span.kind.word(),
        "start": ns(node.start),
        "durationNanos": node.end.saturating_sub(node.start),
        "waitedNanos": node.wait.as_ref().map(|wait| node.start.saturating_sub(wait.from)),
        "status": span.status.word(),
        "statusMessage": some(redact::shown("", &span.status_message).0),
        "attributes": attributes(&span.attributes),
        "events": span.events.iter().map(|event| json!({
            "time": ns(event.time), "name": event.name, "attributes": attributes(&event.attributes),
        })).collect::<Vec<_>>(),
        "links": span.links.iter().map(|link| json!({
            "traceId": link.trace_id.to_string(), "spanId": link.span_id.map(|id| id.to_string()),
            "attributes": attributes(&link.attributes),
        })).collect::<Vec<_>>(),
    })
}

fn instance(span: &Span) -> Option<String> {
    let found = span.resource.attributes.iter().find(|(key, _)| key == "service.instance.id");
    found.map(|(_, value)| value.to_text())
}

/// Attributes, secrets masked: what is masked is text.
pub fn attributes(all: &Attributes) -> Map<String, Value> {
    all.iter().map(|(key, value)| (key.clone(), redacted(key, value))).collect()
}

/// A log record.
pub fn log(log: &LogRecord) -> Value {
    json!({
        "time": ns_or_null(log.time),
        "service": log.service(),
        "severity": log.severity,
        "level": (log.severity > 0).then(|| log.level()),
        "text": redact::shown("", &logs::text(log)).0,
        "eventName": some(log.event_name.clone()),
        "attributes": attributes(&log.attributes),
        "correlation": logs::correlation(log),
        "traceId": log.trace_id.map(|id| id.to_string()),
        "spanId": log.span_id.map(|id| id.to_string()),
    })
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
