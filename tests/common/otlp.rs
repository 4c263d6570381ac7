//! OTLP requests made by hand, so that tests can also make bad ones.

use throughline::dashboard::model::proto::{put_bytes, put_fixed64, put_message, put_uint};

/// A span to be sent.
#[derive(Clone)]
pub struct TestSpan {
    pub trace_id: Vec<u8>,
    pub span_id: Vec<u8>,
    pub parent: Vec<u8>,
    pub name: Vec<u8>,
    pub kind: u64,
    pub start: u64,
    pub end: u64,
    pub failed: Option<String>,
    pub attributes: Vec<(String, String)>,
    pub links: Vec<Vec<u8>>,
}

/// A span with plain values: trace and span by number, started `ago_ms` ago, 20 ms long.
pub fn span(trace: u64, span: u64, name: &str, ago_ms: u64) -> TestSpan {
    let start = now() - ago_ms * 1_000_000;
    TestSpan {
        trace_id: trace_id(trace),
        span_id: (span + 1).to_be_bytes().to_vec(),
        parent: Vec::new(),
        name: name.as_bytes().to_vec(),
        kind: 2,
        start,
        end: start + 20_000_000,
        failed: None,
        attributes: Vec::new(),
        links: Vec::new(),
    }
}

/// The trace ID of a number.
pub fn trace_id(number: u64) -> Vec<u8> {
    let mut id = vec![0xa1; 8];
    id.extend(number.to_be_bytes());
    id
}

/// The same in hex.
pub fn trace_hex(number: u64) -> String {
    trace_id(number).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Nanoseconds since the epoch.
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}

impl TestSpan {
    pub fn parent(mut self, span: u64) -> Self {
        self.parent = (span + 1).to_be_bytes().to_vec();
        self
    }

    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.attributes.push((key.into(), value.into()));
        self
    }

    pub fn failed(mut self, why: &str) -> Self {
        self.failed = Some(why.into());
        self
    }

    pub fn linked(mut self, trace: u64) -> Self {
        self.links.push(trace_id(trace));
        self
    }

    /// The span's protobuf.
    pub fn message(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, 1, &self.trace_id);
        put_bytes(&mut out, 2, &self.span_id);
        if !self.parent.is_empty() {
            put_bytes(&mut out, 4, &self.parent);
        }
        put_bytes(&mut out, 5, &self.name);
        put_uint(&mut out, 6, self.kind);
        put_fixed64(&mut out, 7, self.start);
        put_fixed64(&mut out, 8, self.end);
        self.attributes
            .iter()
            .for_each(|(key, value)| put_message(&mut out, 9, |out| text_attribute(out, key, value)));
        for link in &self.links {
            put_message(&mut out, 13, |out| {
                put_bytes(out, 1, link);
                put_bytes(out, 2, &[9; 8]);
            });
        }
        if let Some(why) = &self.failed {
            put_message(&mut out, 15, |out| {
                put_bytes(out, 2, why.as_bytes());
                put_uint(out, 3, 2);
            });
        }
        out
    }
}

/// A `KeyValue` of a text.
pub fn text_attribute(out: &mut Vec<u8>, key: &str, value: &str) {
    put_bytes(out, 1, key.as_bytes());
    put_message(out, 2, |out| put_bytes(out, 1, value.as_bytes()));
}

/// An `ExportTraceServiceRequest` of one service.
pub fn request(service: &str, spans: &[TestSpan]) -> Vec<u8> {
    let messages: Vec<_> = spans.iter().map(TestSpan::message).collect();
    raw_request(service, &messages)
}

/// The same around span messages of any content.
pub fn raw_request(service: &str, spans: &[Vec<u8>]) -> Vec<u8> {
    resource_request(&[("service.name", service)], spans)
}

/// The same of a resource with any attributes.
pub fn resource_request(resource: &[(&str, &str)], spans: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, 1, |out| {
        put_message(out, 1, |out| {
            for (key, value) in resource {
                put_message(out, 1, |out| text_attribute(out, key, value));
            }
        });
        put_message(out, 2, |out| {
            put_message(out, 1, |out| put_bytes(out, 1, b"by-hand"));
            spans.iter().for_each(|span| put_bytes(out, 2, span));
        });
    });
    out
}

/// An `ExportLogsServiceRequest` of one service: text, trace number and correlation ID of each record.
pub fn logs(service: &str, records: &[(&str, Option<u64>, Option<&str>)]) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, 1, |out| {
        put_message(out, 1, |out| put_message(out, 1, |out| text_attribute(out, "service.name", service)));
        put_message(out, 2, |out| {
            for (text, trace, correlation) in records {
                put_message(out, 2, |out| {
                    put_fixed64(out, 1, now());
                    put_uint(out, 2, 9);
                    put_message(out, 5, |out| put_bytes(out, 1, text.as_bytes()));
                    if let Some(correlation) = correlation {
                        put_message(out, 6, |out| text_attribute(out, "correlation_id", correlation));
                    }
                    if let Some(trace) = trace {
                        put_bytes(out, 9, &trace_id(*trace));
                    }
                });
            }
        });
    });
    out
}

/// What a metric measures, and how its points follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    Gauge,
    Counter,
    UpDown,
    Delta,
    Histogram,
}

/// A data point to be sent: of a histogram the value is the count, and the sum is half of it.
#[derive(Debug, Clone, Default)]
pub struct TestPoint {
    pub time: u64,
    pub start: u64,
    pub value: f64,
    pub attributes: Vec<(String, String)>,
}

/// A data point of a value at a time.
pub fn point(time: u64, value: f64) -> TestPoint {
    TestPoint { time, value, ..TestPoint::default() }
}

impl TestPoint {
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.attributes.push((key.into(), value.into()));
        self
    }

    pub fn since(self, start: u64) -> Self {
        Self { start, ..self }
    }

    /// The point's protobuf.
    pub fn message(&self, measure: Measure) -> Vec<u8> {
        let mut out = Vec::new();
        let field = if measure == Measure::Histogram { 9 } else { 7 };
        for (key, value) in &self.attributes {
            put_message(&mut out, field, |out| text_attribute(out, key, value));
        }
        if self.start > 0 {
            put_fixed64(&mut out, 2, self.start);
        }
        put_fixed64(&mut out, 3, self.time);
        if measure == Measure::Histogram {
            put_fixed64(&mut out, 4, self.value as u64);
            put_fixed64(&mut out, 5, (self.value / 2.0).to_bits());
        } else {
            put_fixed64(&mut out, 4, self.value.to_bits());
        }
        out
    }
}

/// An `ExportMetricsServiceRequest` of one metric of one service.
pub fn metrics(service: &str, name: &str, measure: Measure, points: &[TestPoint]) -> Vec<u8> {
    let messages: Vec<_> = points.iter().map(|point| point.message(measure)).collect();
    raw_metrics(service, name, measure, &messages)
}

/// The same around point messages of any content.
pub fn raw_metrics(service: &str, name: &str, measure: Measure, points: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, 1, |out| {
        put_message(out, 1, |out| put_message(out, 1, |out| text_attribute(out, "service.name", service)));
        put_message(out, 2, |out| {
            put_message(out, 2, |out| {
                put_bytes(out, 1, name.as_bytes());
                let field = match measure {
                    Measure::Gauge => 5,
                    Measure::Counter | Measure::UpDown | Measure::Delta => 7,
                    Measure::Histogram => 9,
                };
                put_message(out, field, |out| {
                    points.iter().for_each(|point| put_bytes(out, 1, point));
                    if measure != Measure::Gauge {
                        put_uint(out, 2, if measure == Measure::Delta { 1 } else { 2 });
                    }
                    if matches!(measure, Measure::Counter | Measure::Delta) {
                        put_uint(out, 3, 1);
                    }
                });
            });
        });
    });
    out
}

/// A log record to be sent. What is 0 or empty is left out.
#[derive(Clone, Default)]
pub struct TestLog {
    pub time: u64,
    pub observed: u64,
    pub severity: u64,
    pub body: Vec<u8>,
    pub trace: Option<u64>,
    pub attributes: Vec<(String, String)>,
}

/// A log record of some severity that happened at `time`.
pub fn log(body: &str, severity: u64, time: u64) -> TestLog {
    TestLog { time, severity, body: body.as_bytes().to_vec(), ..TestLog::default() }
}

impl TestLog {
    pub fn of(mut self, trace: u64) -> Self {
        self.trace = Some(trace);
        self
    }

    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.attributes.push((key.into(), value.into()));
        self
    }

    fn put(&self, out: &mut Vec<u8>) {
        for (field, time) in [(1, self.time), (11, self.observed)] {
            if time > 0 {
                put_fixed64(out, field, time);
            }
        }
        if self.severity > 0 {
            put_uint(out, 2, self.severity);
        }
        put_message(out, 5, |out| put_bytes(out, 1, &self.body));
        for (key, value) in &self.attributes {
            put_message(out, 6, |out| text_attribute(out, key, value));
        }
        if let Some(trace) = self.trace {
            put_bytes(out, 9, &trace_id(trace));
        }
    }
}

/// An `ExportLogsServiceRequest` of one service, or of one that does not say who it is.
pub fn log_request(service: Option<&str>, logs: &[TestLog]) -> Vec<u8> {
    let mut out = Vec::new();
    put_message(&mut out, 1, |out| {
        if let Some(service) = service {
            let name = |out: &mut Vec<u8>| text_attribute(out, "service.name", service);
            put_message(out, 1, |out| put_message(out, 1, name));
        }
        put_message(out, 2, |out| logs.iter().for_each(|log| put_message(out, 2, |out| log.put(out))));
    });
    out
}
