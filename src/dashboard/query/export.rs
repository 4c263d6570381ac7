//! Traces and logs as files that others read: OTLP JSON, and the JSON that the Jaeger UI uploads.
//!
//! Nothing is masked here: it is what was received, for whoever may read the store.

use base64::Engine;
use serde_json::{Value as Json, json};

use super::semantics::Semantics;
use crate::dashboard::model::value::Attributes;
use crate::dashboard::model::{Event, Kind, LogRecord, Span, StatusCode, Trace, Value};

/// OTLP/JSON `{"resourceSpans":[…]}` (opentelemetry-proto, JSON mapping): IDs in hex, 64-bit numbers as text.
pub fn otlp(trace: &Trace) -> Json {
    let mut resources: Vec<(&Span, Vec<&Span>)> = Vec::new();
    for span in &trace.spans {
        match resources.iter_mut().find(|(first, _)| first.resource == span.resource) {
            Some((_, spans)) => spans.push(span),
            None => resources.push((span, vec![span])),
        }
    }
    let resource_spans: Vec<Json> = resources
        .into_iter()
        .map(|(first, spans)| {
            let mut scopes: Vec<(&Span, Vec<Json>)> = Vec::new();
            for span in spans {
                match scopes.iter_mut().find(|(other, _)| other.scope == span.scope) {
                    Some((_, list)) => list.push(otlp_span(span)),
                    None => scopes.push((span, vec![otlp_span(span)])),
                }
            }
            let scopes: Vec<Json> = scopes
                .into_iter()
                .map(|(span, spans)| {
                    let scope = &span.scope;
                    json!({
                        "scope": {
                            "name": scope.name,
                            "version": scope.version,
                            "attributes": otlp_attributes(&scope.attributes),
                        },
                        "spans": spans,
                    })
                })
                .collect();
            json!({
                "resource": { "attributes": otlp_attributes(&first.resource.attributes) },
                "scopeSpans": scopes,
            })
        })
        .collect();
    json!({ "resourceSpans": resource_spans })
}

fn otlp_span(span: &Span) -> Json {
    let kind = match span.kind {
        Kind::Unspecified => 0,
        Kind::Internal => 1,
        Kind::Server => 2,
        Kind::Client => 3,
        Kind::Producer => 4,
        Kind::Consumer => 5,
    };
    let status = match span.status {
        StatusCode::Unset => json!({}),
        StatusCode::Ok => json!({ "code": 1 }),
        StatusCode::Error => json!({ "code": 2, "message": span.status_message }),
    };
    let event = |event: &Event| {
        json!({
            "timeUnixNano": event.time.to_string(),
            "name": event.name,
            "attributes": otlp_attributes(&event.attributes),
        })
    };
    let links: Vec<Json> = span
        .links
        .iter()
        .map(|link| {
            json!({
                "traceId": link.trace_id.to_string(),
                "spanId": link.span_id.map(|id| id.to_string()).unwrap_or_default(),
                "attributes": otlp_attributes(&link.attributes),
            })
        })
        .collect();
    json!({
        "traceId": span.trace_id.to_string(),
        "spanId": span.span_id.to_string(),
        "parentSpanId": span.parent.map(|id| id.to_string()).unwrap_or_default(),
        "traceState": span.trace_state,
        "flags": span.flags,
        "name": span.name,
        "kind": kind,
        "startTimeUnixNano": span.start.to_string(),
        "endTimeUnixNano": span.end.to_string(),
        "attributes": otlp_attributes(&span.attributes),
        "events": span.events.iter().map(event).collect::<Vec<_>>(),
        "links": links,
        "status": status,
    })
}

/// One log as a line of OTLP's file format (opentelemetry-specification, "OpenTelemetry Protocol File Exporter"):
/// `{"resourceLogs":[…]}`.
pub fn otlp_log(log: &LogRecord) -> Json {
    let mut record = json!({
        "timeUnixNano": log.time.to_string(),
        "severityNumber": log.severity,
        "severityText": log.severity_text,
        "body": otlp_value(&log.body),
        "attributes": otlp_attributes(&log.attributes),
    });
    let ids = [
        ("traceId", log.trace_id.map(|id| id.to_string())),
        ("spanId", log.span_id.map(|id| id.to_string())),
        ("eventName", Some(log.event_name.clone()).filter(|name| !name.is_empty())),
    ];
    for (key, value) in ids.into_iter().filter_map(|(key, value)| Some((key, value?))) {
        record[key] = json!(value);
    }
    json!({ "resourceLogs": [{
        "resource": { "attributes": otlp_attributes(&log.resource.attributes) },
        "scopeLogs": [{
            "scope": { "name": log.scope.name, "version": log.scope.version },
            "logRecords": [record],
        }],
    }] })
}

fn otlp_attributes(attributes: &Attributes) -> Json {
    attributes.iter().map(|(key, value)| json!({ "key": key, "value": otlp_value(value) })).collect()
}

fn otlp_value(value: &Value) -> Json {
    match value {
        Value::Empty => json!({}),
        Value::Text(text) => json!({ "stringValue": text }),
        Value::Bool(truth) => json!({ "boolValue": truth }),
        Value::Int(number) => json!({ "intValue": number.to_string() }),
        Value::Double(number) if number.is_finite() => json!({ "doubleValue": number }),
        // The JSON mapping of Protocol Buffers writes these as texts.
        Value::Double(number) if number.is_nan() => json!({ "doubleValue": "NaN" }),
        Value::Double(number) if *number > 0.0 => json!({ "doubleValue": "Infinity" }),
        Value::Double(_) => json!({ "doubleValue": "-Infinity" }),
        Value::Bytes(bytes) => json!({ "bytesValue": base64(bytes) }),
        Value::List(values) => {
            json!({ "arrayValue": { "values": values.iter().map(otlp_value).collect::<Vec<_>>() } })
        }
        Value::Map(entries) => {
            let values: Vec<Json> = entries
                .iter()
                .map(|(key, value)| json!({ "key": key, "value": otlp_value(value) }))
                .collect();
            json!({ "kvlistValue": { "values": values } })
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// `{"data":[trace]}` as the Jaeger UI uploads it (contracts of its query API v1). Times are in µs.
pub fn jaeger(trace: &Trace) -> Json {
    let mut processes = serde_json::Map::new();
    let mut resources = Vec::new();
    let mut spans = Vec::with_capacity(trace.spans.len());
    for span in &trace.spans {
        let at = resources.iter().position(|other| *other == &span.resource).unwrap_or_else(|| {
            resources.push(&span.resource);
            let tags: Vec<_> = span.resource.attributes.iter().filter(|(key, _)| key != "service.name").collect();
            processes.insert(
                format!("p{}", resources.len()),
                json!({ "serviceName": span.service(), "tags": tags.into_iter().map(|(key, value)| tag(key, value)).collect::<Vec<_>>() }),
            );
            resources.len() - 1
        });
        spans.push(jaeger_span(span, &format!("p{}", at + 1)));
    }
    json!({ "data": [{ "traceID": trace.id.to_string(), "spans": spans, "processes": processes, "warnings": null }] })
}

fn jaeger_span(span: &Span, process: &str) -> Json {
    let mut references = Vec::new();
    if let Some(parent) = span.parent {
        references.push(json!({
            "refType": "CHILD_OF", "traceID": span.trace_id.to_string(), "spanID": parent.to_string(),
        }));
    }
    for link in &span.links {
        references.push(json!({
            "refType": "FOLLOWS_FROM",
            "traceID": link.trace_id.to_string(),
            "spanID": link.span_id.map(|id| id.to_string()).unwrap_or_default(),
        }));
    }
    let mut tags: Vec<Json> = span.attributes.iter().map(|(key, value)| tag(key, value)).collect();
    let mut add = |key: &str, value: &str| {
        if !value.is_empty() {
            tags.push(tag(key, &Value::Text(value.to_owned())));
        }
    };
    if span.kind != Kind::Unspecified {
        add("span.kind", span.kind.word());
    }
    match span.status {
        StatusCode::Unset => {}
        StatusCode::Ok => add("otel.status_code", "OK"),
        StatusCode::Error => {
            add("otel.status_code", "ERROR");
            add("otel.status_description", &Semantics(span).reason().unwrap_or_default());
        }
    }
    add("otel.scope.name", &span.scope.name);
    add("otel.scope.version", &span.scope.version);
    add("w3c.tracestate", &span.trace_state);
    if span.failed() {
        tags.push(tag("error", &Value::Bool(true)));
    }
    let logs: Vec<Json> = span
        .events
        .iter()
        .map(|event| {
            let name = tag("event", &Value::Text(event.name.clone()));
            let rest = event.attributes.iter().map(|(key, value)| tag(key, value));
            json!({ "timestamp": event.time / 1000, "fields": std::iter::once(name).chain(rest).collect::<Vec<_>>() })
        })
        .collect();
    json!({
        "traceID": span.trace_id.to_string(),
        "spanID": span.span_id.to_string(),
        "operationName": span.name,
        "references": references,
        "startTime": span.start / 1000,
        "duration": span.duration() / 1000,
        "tags": tags,
        "logs": logs,
        "processID": process,
        "warnings": null,
    })
}

/// One tag. An int64 beyond what JavaScript counts exactly goes as text, and so do lists and maps as JSON.
fn tag(key: &str, value: &Value) -> Json {
    const EXACT: u64 = (1 << 53) - 1;
    let (kind, value) = match value {
        Value::Bool(truth) => ("bool", json!(truth)),
        Value::Int(number) if number.unsigned_abs() <= EXACT => ("int64", json!(number)),
        Value::Int(number) => ("int64", json!(number.to_string())),
        Value::Double(number) if number.is_finite() => ("float64", json!(number)),
        Value::Bytes(bytes) => ("binary", json!(base64(bytes))),
        other => ("string", json!(other.to_text())),
    };
    json!({ "key": key, "type": kind, "value": value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::fixture::build::NOW;
    use crate::dashboard::fixture::{cases, shop};

    #[test]
    fn otlp_json_holds_every_span_under_its_resource() {
        let trace = shop::placed(NOW);
        let json = otlp(&trace);
        let resources = json["resourceSpans"].as_array().unwrap();
        assert_eq!(resources.len(), 7);
        let spans: usize = resources
            .iter()
            .map(|resource| resource["scopeSpans"][0]["spans"].as_array().unwrap().len())
            .sum();
        assert_eq!(spans, trace.spans.len());
        let first = &resources[0]["scopeSpans"][0]["spans"][0];
        assert_eq!(first["traceId"], trace.id.to_string());
        assert_eq!(first["startTimeUnixNano"], trace.spans[0].start.to_string());
        assert_eq!(first["kind"], 2);
    }

    #[test]
    fn a_log_is_one_line_of_otlp() {
        let trace = shop::placed(NOW);
        let log = trace.logs.iter().find(|log| log.severity >= 17).unwrap();
        let json = otlp_log(log);
        let record = &json["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0];
        assert_eq!(record["body"]["stringValue"], log.body.to_text());
        assert_eq!(record["traceId"], trace.id.to_string());
        assert_eq!(record["severityNumber"], 17);
        assert!(record.get("eventName").is_none() && !json.to_string().contains('\n'));
    }

    #[test]
    fn values_of_every_type_have_their_form() {
        let trace = cases::named("values of every type", NOW);
        let json = otlp(&trace);
        let attributes =
            json["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["attributes"].as_array().unwrap();
        let of = |key: &str| &attributes.iter().find(|one| one["key"] == key).unwrap()["value"];
        assert_eq!(of("a.int"), &json!({ "intValue": "-7" }));
        assert_eq!(of("a.nan"), &json!({ "doubleValue": "NaN" }));
        assert_eq!(of("a.bytes"), &json!({ "bytesValue": "AP8Q" }));
        assert_eq!(of("a.list")["arrayValue"]["values"][1], json!({ "stringValue": "zwei" }));
        let jaeger = jaeger(&trace);
        let tags = jaeger["data"][0]["spans"][0]["tags"].as_array().unwrap();
        let of = |key: &str| tags.iter().find(|one| one["key"] == key).unwrap();
        assert_eq!(of("a.int")["type"], "int64");
        assert_eq!(of("a.bytes")["value"], "AP8Q");
        assert_eq!(of("a.list")["value"], "[1,\"zwei\",null]");
    }

    #[test]
    fn jaeger_json_has_references_processes_and_errors() {
        let trace = shop::retried(NOW);
        let json = jaeger(&trace);
        let data = &json["data"][0];
        assert_eq!(data["spans"][0]["references"][0]["refType"], "FOLLOWS_FROM");
        assert_eq!(data["spans"][1]["references"][0]["refType"], "CHILD_OF");
        assert_eq!(data["processes"]["p1"]["serviceName"], "payments");
        let tags = data["spans"][0]["tags"].as_array().unwrap();
        assert!(tags.contains(&json!({ "key": "error", "type": "bool", "value": true })));
        assert_eq!(tag("n", &Value::Int(i64::MAX))["value"], i64::MAX.to_string());
    }
}
