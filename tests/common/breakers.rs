//! Metrics of breakers in OTLP/JSON, as libraries send them; written down by us.

use serde_json::{Value, json};

const S: u64 = 1_000_000_000;

/// Attributes of texts.
pub fn attributes(pairs: &[(&str, &str)]) -> Value {
    pairs.iter().map(|(key, value)| json!({ "key": key, "value": { "stringValue": value } })).collect()
}

/// What a metric measures.
#[derive(Clone, Copy)]
pub enum Kind {
    Gauge,
    Counter,
    Histogram,
}

/// A metric of one point.
pub fn metric(name: &str, kind: Kind, pairs: &[(&str, &str)], time: u64, value: f64) -> Value {
    let mut point = json!({ "attributes": attributes(pairs), "timeUnixNano": time.to_string() });
    match kind {
        Kind::Gauge => {
            point["asDouble"] = json!(value);
            json!({ "name": name, "gauge": { "dataPoints": [point] } })
        }
        Kind::Counter => {
            point["asDouble"] = json!(value);
            point["startTimeUnixNano"] = json!((time - 3_000 * S).to_string());
            json!({ "name": name, "sum": { "aggregationTemporality": 2, "isMonotonic": true, "dataPoints": [point] } })
        }
        Kind::Histogram => {
            point["count"] = json!((value as u64).to_string());
            point["startTimeUnixNano"] = json!((time - 3_000 * S).to_string());
            json!({ "name": name, "histogram": { "aggregationTemporality": 2, "dataPoints": [point] } })
        }
    }
}

/// A request of metrics of one process.
pub fn request(service: &str, instance: &str, metrics: Vec<Value>) -> Value {
    let mut resource = vec![("service.name", service)];
    resource.extend((!instance.is_empty()).then_some(("service.instance.id", instance)));
    json!({ "resourceMetrics": [{
        "resource": { "attributes": attributes(&resource) },
        "scopeMetrics": [{ "scope": { "name": "test" }, "metrics": metrics }],
    }] })
}

/// Several requests as one.
pub fn together(requests: impl IntoIterator<Item = Value>) -> Value {
    let parts = requests
        .into_iter()
        .flat_map(|request| request["resourceMetrics"].as_array().cloned().unwrap_or_default());
    json!({ "resourceMetrics": parts.collect::<Vec<_>>() })
}

/// What resilience4j sends by Micrometer's registry at one export: six states, calls, rejections, the failure rate. Each
/// series has its own time.
pub fn resilience4j(name: &str, state: &str, time: u64, calls: [f64; 3], rate: f64) -> Vec<Value> {
    let states = ["closed", "open", "half_open", "forced_open", "disabled", "metrics_only"];
    let mut all: Vec<Value> = (0u64..)
        .zip(states)
        .map(|(number, one)| {
            let value = f64::from(u8::from(one == state));
            let time = time + number * 4_000_000;
            metric(
                "resilience4j.circuitbreaker.state",
                Kind::Gauge,
                &[("name", name), ("state", one)],
                time,
                value,
            )
        })
        .collect();
    for (kind, count) in [("successful", calls[0]), ("failed", calls[1])] {
        let pairs = [("name", name), ("kind", kind)];
        all.push(metric("resilience4j.circuitbreaker.calls", Kind::Histogram, &pairs, time, count));
    }
    let pairs = [("name", name), ("kind", "not_permitted")];
    all.push(metric(
        "resilience4j.circuitbreaker.not.permitted.calls",
        Kind::Counter,
        &pairs,
        time,
        calls[2],
    ));
    all.push(metric("resilience4j.circuitbreaker.failure.rate", Kind::Gauge, &[("name", name)], time, rate));
    all
}

/// The gauge of the convention at one export.
pub fn own(name: &str, state: &str, time: u64) -> Vec<Value> {
    let states = ["closed", "open", "half_open"];
    let one = |one: &str| {
        let pairs = [("circuit_breaker.name", name), ("circuit_breaker.state", one)];
        metric("circuit_breaker.state", Kind::Gauge, &pairs, time, f64::from(u8::from(one == state)))
    };
    states.map(one).into()
}
