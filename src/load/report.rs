//! The tally in the end: a table for people, an object for programs.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::Serialize;

use super::Settings;
use super::tally::{Counts, Tally};

/// Share of the time for which a rate may be missed without a word.
const TOLERATED: f64 = 0.05;

/// What was sent and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub traces: u64,
    pub spans: Items,
    pub log_records: Items,
    pub requests: u64,
    /// Tries after the first.
    pub retried: u64,
    /// Of protobuf, before compression.
    pub bytes: u64,
    /// The mean, with its share of resource and envelope.
    pub bytes_per_span: f64,
    pub seconds: f64,
    /// The rate that was asked for; none where there was no limit.
    pub offered_per_second: Option<f64>,
    /// Acknowledged spans a second.
    pub achieved_per_second: f64,
    pub fell_behind: Option<Behind>,
    pub latency_ms: Latency,
    /// Refused spans and log records by reason.
    pub refused_because: BTreeMap<String, u64>,
    /// Makes the same traces again.
    pub seed: u64,
}

/// Spans or log records.
#[derive(Debug, Clone, Serialize)]
pub struct Items {
    pub sent: u64,
    pub acknowledged: u64,
    pub refused: u64,
    /// The load ended before their answer.
    pub unanswered: u64,
}

/// Who could not keep up with the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Behind {
    Receiver,
    Load,
}

/// How long requests that were acknowledged took, in ms.
#[derive(Debug, Clone, Serialize)]
pub struct Latency {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub max: f64,
}

impl Items {
    fn of(counts: &Counts) -> Self {
        Self {
            sent: counts.sent(),
            acknowledged: counts.acknowledged(),
            refused: counts.refused(),
            unanswered: counts.unanswered(),
        }
    }

    fn lost(&self) -> u64 {
        self.sent - self.acknowledged
    }
}

impl Report {
    /// Reads the tally of a load that took `took`, and that missed its rate for the time `lost`.
    pub(super) fn new(settings: &Settings, tally: &Tally, lost: Duration, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        let spans = Items::of(&tally.spans);
        let [p50, p95, p99, max] = tally.latencies([0.5, 0.95, 0.99, 1.0]).map(|us| us as f64 / 1000.0);
        // Who made the other wait.
        let behind = if tally.held_up() > lost / 2 { Behind::Receiver } else { Behind::Load };
        Self {
            traces: tally.traces.load(Relaxed),
            log_records: Items::of(&tally.records),
            requests: tally.requests.load(Relaxed),
            retried: tally.retried.load(Relaxed),
            bytes: tally.bytes.load(Relaxed),
            bytes_per_span: tally.span_bytes.load(Relaxed) as f64 / spans.sent.max(1) as f64,
            seconds,
            offered_per_second: settings.rate,
            achieved_per_second: spans.acknowledged as f64 / seconds,
            fell_behind: (lost.as_secs_f64() > seconds * TOLERATED).then_some(behind),
            latency_ms: Latency { p50, p95, p99, max },
            refused_because: tally.reasons(),
            seed: settings.shape.seed,
            spans,
        }
    }

    /// Spans and log records that were sent and not acknowledged.
    pub fn lost(&self) -> u64 {
        self.spans.lost() + self.log_records.lost()
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<14}{:>14}{:>14}{:>14}{:>14}", "", "sent", "acknowledged", "refused", "unanswered")?;
        let kinds = [("spans", &self.spans), ("log records", &self.log_records)];
        for (name, items) in kinds.into_iter().filter(|(name, items)| *name == "spans" || items.sent > 0) {
            write!(f, "{name:<14}")?;
            for count in [items.sent, items.acknowledged, items.refused, items.unanswered] {
                write!(f, "{:>14}", grouped(count))?;
            }
            writeln!(f)?;
        }
        let row = |f: &mut Formatter<'_>, name: &str, value: String, more: String| {
            writeln!(f, "{}", format!("{name:<14}{value:>14}  {more}").trim_end())
        };
        row(f, "traces", grouped(self.traces), String::new())?;
        row(f, "requests", grouped(self.requests), format!("tried again {} times", grouped(self.retried)))?;
        row(f, "bytes", grouped(self.bytes), format!("{:.0} a span", self.bytes_per_span))?;
        let offered = match self.offered_per_second {
            Some(rate) => format!("offered {}", grouped(rate.round() as u64)),
            None => "no limit".to_owned(),
        };
        row(f, "spans/s", grouped(self.achieved_per_second.round() as u64), offered)?;
        row(f, "time", format!("{:.1} s", self.seconds), String::new())?;
        let Latency { p50, p95, p99, max } = self.latency_ms;
        let more = format!("p95 {p95:.1} ms, p99 {p99:.1} ms, max {max:.1} ms");
        row(f, "latency", format!("p50 {p50:.1} ms"), more)?;
        row(f, "seed", self.seed.to_string(), "--seed with it makes the same traces again".to_owned())?;
        for (reason, count) in &self.refused_because {
            row(f, "refused", grouped(*count), reason.clone())?;
        }
        match self.fell_behind {
            Some(Behind::Receiver) => writeln!(f, "the receiver did not keep up with the rate"),
            Some(Behind::Load) => writeln!(f, "this machine did not make spans at that rate"),
            None => Ok(()),
        }
    }
}

/// The line of a second.
pub(super) fn progress(tally: &Tally, since: Duration, acknowledged: u64) -> String {
    let spans = Items::of(&tally.spans);
    let mut line = format!(
        "{:>4} s  {} spans sent, {} acknowledged, {} in the last second",
        since.as_secs(),
        grouped(spans.sent),
        grouped(spans.acknowledged),
        grouped(acknowledged),
    );
    for (count, what) in [(spans.refused, "refused"), (tally.retried.load(Relaxed), "tried again")] {
        if count > 0 {
            line.push_str(&format!(", {} {what}", grouped(count)));
        }
    }
    line
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
