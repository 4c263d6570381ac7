//! What a list needs to know of a trace without opening it.

use std::sync::Arc;

use super::{Correlation, Kind, Nanos, Settled, SpanId, TraceId};

/// A trace in a list. Traces grow: every figure is of what has arrived so far.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceSummary {
    pub trace_id: TraceId,
    /// Earliest start of any span, the implausible ones left out where others exist.
    pub start: Nanos,
    /// Latest end of any span.
    pub end: Nanos,
    pub spans: u32,
    /// Spans whose status is ERROR.
    pub errors: u32,
    /// Of them, calls that the other side refused ([`refused`](super::answer::refused)) and that did not make their
    /// caller fail.
    pub refused: u32,
    pub logs: u32,
    /// `None` while only logs have arrived.
    pub root: Option<Root>,
    /// In order of first appearance; at most [`TraceSummary::MAX_SERVICES`], `more_services` counts the rest.
    pub services: Vec<ServiceShare>,
    pub more_services: u32,
    /// Highest ranked first; at most [`TraceSummary::MAX_CORRELATIONS`].
    pub correlations: Vec<Correlation>,
    /// Where it broke: the failed span that ended first, refused calls after all others.
    pub failure: Option<Failure>,
    /// The delivery that last put a message back or gave it up.
    pub settled: Option<Settled>,
}

impl TraceSummary {
    /// A service's part, if it is among those listed.
    pub fn share(&self, service: &str) -> Option<&ServiceShare> {
        self.services.iter().find(|share| *share.name == *service)
    }

    pub const MAX_SERVICES: usize = 32;
    pub const MAX_CORRELATIONS: usize = 8;

    /// Nanoseconds from first start to last end.
    pub fn duration(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether something in it failed otherwise than by being refused.
    pub fn failed(&self) -> bool {
        self.errors > self.refused
    }

    /// The correlation ID to show where there is room for one.
    pub fn correlation(&self) -> Option<&Correlation> {
        self.correlations.first()
    }
}

/// The span that stands for a trace: the one without a parent, else the earliest seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Root {
    pub service: String,
    pub name: String,
    pub kind: Kind,
    pub start: Nanos,
    pub end: Nanos,
    /// False while no span without a parent has arrived.
    pub parentless: bool,
    /// The status of its HTTP answer, where it has no parent and told one.
    pub answer: Option<u16>,
}

/// One service's part in a trace.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceShare {
    /// Shared by the many traces that the service has a span in.
    pub name: Arc<str>,
    pub spans: u32,
    pub errors: u32,
}

/// Where a trace broke first.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    pub service: String,
    pub span_name: String,
    pub span_id: SpanId,
    /// The status message, or the exception's type and message, or the HTTP or gRPC status; may be empty.
    pub why: String,
    /// When the failed span ended.
    pub time: Nanos,
    /// Whether it is a call that was refused and did not make its caller fail.
    pub refused: bool,
}
