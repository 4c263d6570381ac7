//! What was accepted and refused: for `/metrics` (OpenMetrics) and for the Status page.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Mutex;
use std::time::{Instant, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::{Refusal, Signal};
use crate::dashboard::keys::Denied;
use crate::dashboard::model::now;
use crate::dashboard::model::otlp::batch::{Reason, Rejected};
use crate::dashboard::model::otlp::points::{PointReason, RejectedPoints};

/// Senders remembered by name among the refusals; later ones are counted without a name.
const MAX_SENDERS: usize = 1000;
/// Metrics remembered by name among those that are not kept; later ones are counted without a name.
const MAX_METRICS: usize = 1000;

/// The way a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    Grpc,
    Http,
    Zipkin,
}

impl Transport {
    /// The value of the `transport` label.
    fn label(self) -> &'static str {
        match self {
            Transport::Grpc => "grpc",
            Transport::Http => "http",
            Transport::Zipkin => "zipkin",
        }
    }

    fn labels(self) -> TransportLabels {
        TransportLabels { transport: self.label() }
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Ok,
    Partial,
    Malformed,
    TooLarge,
    Unauthenticated,
    Forbidden,
    Overloaded,
    StoreUnavailable,
}

impl Outcome {
    /// The outcome that a refusal is counted as.
    pub fn of(refusal: &Refusal) -> Self {
        use crate::dashboard::store::StoreError;
        match refusal {
            Refusal::Malformed(_) => Outcome::Malformed,
            Refusal::Denied(Denied::Unknown) => Outcome::Unauthenticated,
            Refusal::Denied(_) => Outcome::Forbidden,
            Refusal::Store(StoreError::Overloaded) => Outcome::Overloaded,
            Refusal::Store(_) => Outcome::StoreUnavailable,
        }
    }

    /// The value of the `outcome` label.
    fn label(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Partial => "partial",
            Outcome::Malformed => "malformed",
            Outcome::TooLarge => "too_large",
            Outcome::Unauthenticated => "unauthenticated",
            Outcome::Forbidden => "forbidden",
            Outcome::Overloaded => "overloaded",
            Outcome::StoreUnavailable => "store_unavailable",
        }
    }

    /// Words for the Status page.
    pub fn words(self) -> &'static str {
        match self {
            Outcome::Ok => "taken",
            Outcome::Partial => "taken in part",
            Outcome::Malformed => "not a valid request",
            Outcome::TooLarge => "larger than the limit",
            Outcome::Unauthenticated => "no valid key",
            Outcome::Forbidden => "a key that is for reading",
            Outcome::Overloaded => "more than could be written, sender told to come again",
            Outcome::StoreUnavailable => "store unavailable, sender told to come again",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    transport: &'static str,
    signal: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TransportLabels {
    transport: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MetricLabels {
    metric: String,
}

/// What became of a metrics request's data points that were not refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct PointCount {
    /// Committed now.
    pub kept: u64,
    /// Stored before.
    pub duplicates: u64,
    /// Of series beyond the limit.
    pub beyond: u64,
    /// They say that there was no value.
    pub blank: u64,
}

/// The receiver's counters.
#[derive(Default)]
pub struct Counters {
    requests: Family<RequestLabels, Counter>,
    bytes: Family<TransportLabels, Counter>,
    spans: Family<TransportLabels, Counter>,
    logs: Family<TransportLabels, Counter>,
    /// Data points of metrics, whatever became of them.
    points: Family<TransportLabels, Counter>,
    kept: Counter,
    beyond: Counter,
    blank: Counter,
    passed: Family<MetricLabels, Counter>,
    points_rejected: Family<ReasonLabels, Counter>,
    duplicates: Counter,
    rejected: Family<ReasonLabels, Counter>,
    seen: Mutex<Seen>,
}

/// Why an item was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Why {
    Span(Reason),
    Point(PointReason),
}

impl Why {
    /// Words for a person.
    pub fn words(self) -> &'static str {
        match self {
            Why::Span(reason) => reason.words(),
            Why::Point(reason) => reason.words(),
        }
    }
}

/// What the Status page shows beyond the counters.
#[derive(Default)]
struct Seen {
    heard: HashMap<Transport, Heard>,
    senders: HashMap<(Why, String), u64>,
    /// Data points of metrics that are not kept, by name.
    passed: BTreeMap<String, u64>,
    refused: HashMap<Outcome, u64>,
    minutes: VecDeque<MinuteCount>,
}

/// What came in one minute.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct MinuteCount {
    /// Begin of the minute in ns since the epoch.
    pub start: u64,
    /// Spans and logs committed.
    pub accepted: u64,
    /// Spans left out, and whole requests refused.
    pub refused: u64,
}

/// Minutes remembered.
const MINUTES: usize = 60;
const MINUTE_NS: u64 = 60_000_000_000;

impl Seen {
    /// The running minute.
    fn minute(&mut self) -> &mut MinuteCount {
        let now = now();
        let start = now - now % MINUTE_NS;
        if self.minutes.back().is_none_or(|last| last.start < start) {
            if self.minutes.len() >= MINUTES {
                self.minutes.pop_front();
            }
            self.minutes.push_back(MinuteCount { start, ..MinuteCount::default() });
        }
        self.minutes.back_mut().expect("a minute was just pushed")
    }
}

/// When and how much a transport brought lately: two windows of ten seconds, the running and the one before.
#[derive(Debug, Clone, Copy)]
struct Heard {
    last: SystemTime,
    window: Instant,
    running: u64,
    before: u64,
}

/// Length of a window.
const WINDOW_S: f64 = 10.0;

impl Heard {
    fn new() -> Self {
        Self { last: SystemTime::now(), window: Instant::now(), running: 0, before: 0 }
    }

    fn turn(&mut self) {
        let elapsed = self.window.elapsed().as_secs_f64();
        if elapsed >= WINDOW_S {
            self.before = if elapsed < 2.0 * WINDOW_S { self.running } else { 0 };
            (self.running, self.window) = (0, Instant::now());
        }
    }

    /// Items a second over the last window or so.
    fn rate(&mut self) -> f64 {
        self.turn();
        let elapsed = self.window.elapsed().as_secs_f64();
        let share = 1.0 - elapsed / WINDOW_S;
        (self.running as f64 + self.before as f64 * share) / WINDOW_S
    }
}

/// One transport on the Status page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TransportState {
    pub last_heard: Option<SystemTime>,
    /// Spans, logs and data points a second.
    pub rate: f64,
    pub spans: u64,
    pub logs: u64,
    pub points: u64,
    pub bytes: u64,
}

impl Counters {
    /// Registers everything under `throughline_receive_…`.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("receive");
        registry.register("requests", "Requests by transport, signal and outcome", self.requests.clone());
        registry.register("bytes", "Bytes of requests that were read, decompressed", self.bytes.clone());
        registry.register("spans_accepted", "Spans committed", self.spans.clone());
        registry.register("logs_accepted", "Log records committed", self.logs.clone());
        registry.register("metric_points", "Data points of metrics that came", self.points.clone());
        registry.register("metric_points_kept", "Data points of metrics committed", self.kept.clone());
        registry.register(
            "metric_points_passed",
            "Data points of metrics that are answered and not kept, by name",
            self.passed.clone(),
        );
        registry.register(
            "metric_points_beyond",
            "Data points not kept because there are too many series",
            self.beyond.clone(),
        );
        registry.register("metric_points_blank", "Data points that hold no value", self.blank.clone());
        registry.register(
            "metric_points_rejected",
            "Data points left out of their request",
            self.points_rejected.clone(),
        );
        registry.register(
            "duplicates",
            "Spans, logs and data points that were stored before",
            self.duplicates.clone(),
        );
        registry.register("spans_rejected", "Spans left out of their request", self.rejected.clone());
    }

    /// Counts a request.
    pub fn request(&self, transport: Transport, signal: Signal, outcome: Outcome, bytes: u64) {
        let labels =
            RequestLabels { transport: transport.label(), signal: signal.word(), outcome: outcome.label() };
        self.requests.get_or_create(&labels).inc();
        self.bytes.get_or_create(&transport.labels()).inc_by(bytes);
        let mut seen = self.seen.lock().expect("no holder panics");
        if !matches!(outcome, Outcome::Ok | Outcome::Partial) {
            *seen.refused.entry(outcome).or_default() += 1;
            seen.minute().refused += 1;
        }
        seen.heard.entry(transport).or_insert_with(Heard::new).last = SystemTime::now();
    }

    /// Counts what was committed; `duplicates` of it were stored before.
    pub fn accepted(&self, transport: Transport, spans: u64, logs: u64, duplicates: u64) {
        self.spans.get_or_create(&transport.labels()).inc_by(spans);
        self.logs.get_or_create(&transport.labels()).inc_by(logs);
        self.duplicates.inc_by(duplicates);
        self.rate(transport, spans + logs);
        self.seen.lock().expect("no holder panics").minute().accepted += spans + logs - duplicates;
    }

    /// Counts data points of metrics: what became of those of interest, and the others by name.
    pub fn points(&self, transport: Transport, count: PointCount, passed: &BTreeMap<String, u64>) {
        let PointCount { kept, duplicates, beyond, blank } = count;
        let points = kept + duplicates + beyond + blank + passed.values().sum::<u64>();
        self.points.get_or_create(&transport.labels()).inc_by(points);
        self.kept.inc_by(kept);
        self.duplicates.inc_by(duplicates);
        self.beyond.inc_by(beyond);
        self.blank.inc_by(blank);
        self.rate(transport, points);
        let mut seen = self.seen.lock().expect("no holder panics");
        for (name, points) in passed {
            let known = seen.passed.contains_key(name) || seen.passed.len() < MAX_METRICS;
            let name = if known { name.as_str() } else { "" };
            *seen.passed.entry(name.to_owned()).or_default() += points;
            self.passed.get_or_create(&MetricLabels { metric: name.to_owned() }).inc_by(*points);
        }
    }

    /// Data points of metrics kept, and those that hold no value.
    pub fn kept_points(&self) -> (u64, u64) {
        (self.kept.get(), self.blank.get())
    }

    /// Data points of metrics that are not kept, by name, most first. An empty name stands for several or none.
    pub fn passed(&self) -> Vec<(String, u64)> {
        let seen = self.seen.lock().expect("no holder panics");
        let mut all: Vec<_> = seen.passed.iter().map(|(name, points)| (name.clone(), *points)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        all
    }

    /// Counts data points left out.
    pub fn rejected_points(&self, rejected: &[RejectedPoints]) {
        for RejectedPoints { reason, service, points } in rejected {
            self.points_rejected.get_or_create(&ReasonLabels { reason: reason.label() }).inc_by(*points);
            self.refuse(Why::Point(*reason), service, *points);
        }
    }

    /// Remembers who sent items that were left out.
    fn refuse(&self, why: Why, service: &str, items: u64) {
        let mut seen = self.seen.lock().expect("no holder panics");
        let full = seen.senders.len() >= MAX_SENDERS;
        let name = if full { String::new() } else { service.to_owned() };
        *seen.senders.entry((why, name)).or_default() += items;
        seen.minute().refused += items;
    }

    fn rate(&self, transport: Transport, items: u64) {
        let mut seen = self.seen.lock().expect("no holder panics");
        let heard = seen.heard.entry(transport).or_insert_with(Heard::new);
        heard.turn();
        heard.running += items;
    }

    /// Counts spans left out.
    pub fn rejected(&self, rejected: &[Rejected]) {
        for Rejected { reason, service, spans } in rejected {
            self.rejected.get_or_create(&ReasonLabels { reason: reason.label() }).inc_by(*spans);
            self.refuse(Why::Span(*reason), service, *spans);
        }
    }

    /// One transport's state.
    pub fn transport(&self, transport: Transport) -> TransportState {
        let labels = transport.labels();
        let mut seen = self.seen.lock().expect("no holder panics");
        let heard = seen.heard.get_mut(&transport);
        let (last_heard, rate) = heard.map_or((None, 0.0), |heard| (Some(heard.last), heard.rate()));
        TransportState {
            last_heard,
            rate,
            spans: self.spans.get_or_create(&labels).get(),
            logs: self.logs.get_or_create(&labels).get(),
            points: self.points.get_or_create(&labels).get(),
            bytes: self.bytes.get_or_create(&labels).get(),
        }
    }

    /// Items left out, by reason and sender, most first. An empty name stands for several or none.
    pub fn rejections(&self) -> Vec<(Why, String, u64)> {
        let seen = self.seen.lock().expect("no holder panics");
        let mut all: Vec<_> =
            seen.senders.iter().map(|((why, name), items)| (*why, name.clone(), *items)).collect();
        all.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.cmp(b)));
        all
    }

    /// The last hour by minute, oldest first; minutes without a request are left out.
    pub fn minutes(&self) -> Vec<MinuteCount> {
        self.seen.lock().expect("no holder panics").minutes.iter().copied().collect()
    }

    /// Requests refused whole, most first.
    pub fn refusals(&self) -> Vec<(Outcome, u64)> {
        let seen = self.seen.lock().expect("no holder panics");
        let mut all: Vec<_> = seen.refused.iter().map(|(outcome, count)| (*outcome, *count)).collect();
        all.sort_by_key(|(outcome, count)| (std::cmp::Reverse(*count), *outcome as u8));
        all
    }
}
