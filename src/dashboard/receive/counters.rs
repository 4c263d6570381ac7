//! What was accepted and refused: for `/metrics` (OpenMetrics) and for the Status page.

use std::collections::{HashMap, VecDeque};
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

/// Senders remembered by name among the refusals; later ones are counted without a name.
const MAX_SENDERS: usize = 1000;

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

/// The receiver's counters.
#[derive(Default)]
pub struct Counters {
    requests: Family<RequestLabels, Counter>,
    bytes: Family<TransportLabels, Counter>,
    spans: Family<TransportLabels, Counter>,
    logs: Family<TransportLabels, Counter>,
    points: Family<TransportLabels, Counter>,
    duplicates: Counter,
    rejected: Family<ReasonLabels, Counter>,
    seen: Mutex<Seen>,
}

/// What the Status page shows beyond the counters.
#[derive(Default)]
struct Seen {
    heard: HashMap<Transport, Heard>,
    senders: HashMap<(Reason, String), u64>,
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
        registry.register("metric_points", "Metric data points answered and not kept", self.points.clone());
        registry.register("duplicates", "Spans and logs that were stored before", self.duplicates.clone());
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

    /// Counts metric data points.
    pub fn metric_points(&self, transport: Transport, points: u64) {
        self.points.get_or_create(&transport.labels()).inc_by(points);
        self.rate(transport, points);
    }

    fn rate(&self, transport: Transport, items: u64) {
        let mut seen = self.seen.lock().expect("no holder panics");
        let heard = seen.heard.entry(transport).or_insert_with(Heard::new);
        heard.turn();
        heard.running += items;
    }

    /// Counts spans left out.
    pub fn rejected(&self, rejected: &[Rejected]) {
        if rejected.is_empty() {
            return;
        }
        let mut seen = self.seen.lock().expect("no holder panics");
        for Rejected { reason, service, spans } in rejected {
            self.rejected.get_or_create(&ReasonLabels { reason: reason.label() }).inc_by(*spans);
            let full = seen.senders.len() >= MAX_SENDERS;
            let name = if full { String::new() } else { service.clone() };
            *seen.senders.entry((*reason, name)).or_default() += spans;
            seen.minute().refused += spans;
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

    /// Spans left out, by reason and sender, most first. An empty name stands for several or none.
    pub fn rejections(&self) -> Vec<(Reason, String, u64)> {
        let seen = self.seen.lock().expect("no holder panics");
        let mut all: Vec<_> =
            seen.senders.iter().map(|((reason, name), spans)| (*reason, name.clone(), *spans)).collect();
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
