//! Circuit breakers: which there are, in what state each is, since when, and how that is known.
//!
//! No convention says how a breaker is told of, and libraries number their states differently, so nothing is decoded
//! from a bare number: only what a library names is read ([`signal`]). What is known stands in this order: a gauge that
//! names the state; an event on a span or log that names the change; a counter of changes that grew; and last calls that
//! were turned away, which are evidence of a breaker and not of its state now.
//!
//! * [`signal`]: what a series of a metric says of a breaker, library by library.
//! * [`track`]: the states of one instance over time, out of samples; [`order`]: which came last of changes that one
//!   export tells of.
//! * [`evidence`]: changes and rejections out of spans and logs.
//! * [`gather`]: instances into breakers; [`kept`]: what of the past is read once; [`refused`]: calls that were turned away, looked
//!   for once.
//! * [`one`]: one breaker, with what tripped it; [`near`]: changes around a story; [`words`]: changes and rejections as
//!   sentences.
//!
//! What must not live here: HTML, and what anything looks like.

pub mod evidence;
pub mod gather;
pub mod kept;
pub mod near;
pub mod one;
pub mod order;
pub mod refused;
pub mod signal;
pub mod track;
pub mod words;

#[cfg(test)]
mod tests;

use crate::dashboard::model::Nanos;
pub use evidence::{Change, Rejection};
pub use kept::{Breakers, list};

/// A state, the gravest first: of several instances the first one names the breaker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    Open,
    /// Opened by hand, until it is closed by hand.
    ForcedOpen,
    /// Some of the hosts behind it are left out (Envoy's outlier detection).
    Partly,
    HalfOpen,
    /// A limit on connections or requests is reached (Envoy).
    Saturated,
    Closed,
    /// Nothing was ever heard of it that would not be so of a closed one.
    Assumed,
    /// Switched off: every call goes through.
    Disabled,
    /// It counts and never opens.
    MetricsOnly,
    Unknown,
}

impl State {
    pub const ALL: [State; 10] = [
        State::Open,
        State::ForcedOpen,
        State::Partly,
        State::HalfOpen,
        State::Saturated,
        State::Closed,
        State::Assumed,
        State::Disabled,
        State::MetricsOnly,
        State::Unknown,
    ];

    /// The state of this name, as libraries write it; `None` for any other text, numbers among them.
    pub fn named(name: &str) -> Option<Self> {
        let folded: String = name.chars().filter(char::is_ascii_alphabetic).collect();
        Some(match folded.to_ascii_lowercase().as_str() {
            "closed" | "close" => State::Closed,
            "open" | "opened" => State::Open,
            "halfopen" | "halfopened" => State::HalfOpen,
            "forcedopen" | "isolated" => State::ForcedOpen,
            "disabled" => State::Disabled,
            "metricsonly" => State::MetricsOnly,
            _ => return None,
        })
    }

    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            State::Open => "open",
            State::ForcedOpen => "forced open",
            State::Partly => "partly open",
            State::HalfOpen => "half-open",
            State::Saturated => "saturated",
            State::Closed => "closed",
            State::Assumed => "closed (assumed)",
            State::Disabled => "disabled",
            State::MetricsOnly => "metrics only",
            State::Unknown => "unknown",
        }
    }

    /// The word in addresses and JSON.
    pub fn code(self) -> &'static str {
        match self {
            State::Open => "open",
            State::ForcedOpen => "forced_open",
            State::Partly => "partly_open",
            State::HalfOpen => "half_open",
            State::Saturated => "saturated",
            State::Closed => "closed",
            State::Assumed => "closed_assumed",
            State::Disabled => "disabled",
            State::MetricsOnly => "metrics_only",
            State::Unknown => "unknown",
        }
    }

    /// Whether calls are turned away.
    pub fn is_open(self) -> bool {
        matches!(self, State::Open | State::ForcedOpen)
    }

    /// Whether somebody should look.
    pub fn is_trouble(self) -> bool {
        self <= State::Saturated
    }
}

/// Who sends what is known of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Library {
    Resilience4j,
    Polly,
    Failsafe,
    Opossum,
    Hystrix,
    Envoy,
    /// The convention of this project: `circuit_breaker.state` and `circuit_breaker.state_change`.
    Convention,
}

impl Library {
    const ALL: [Library; 7] = [
        Library::Resilience4j,
        Library::Polly,
        Library::Failsafe,
        Library::Opossum,
        Library::Hystrix,
        Library::Envoy,
        Library::Convention,
    ];

    /// Its name for a reader.
    pub fn name(self) -> &'static str {
        match self {
            Library::Resilience4j => "resilience4j",
            Library::Polly => "Polly",
            Library::Failsafe => "failsafe",
            Library::Opossum => "opossum",
            Library::Hystrix => "Hystrix",
            Library::Envoy => "Envoy",
            Library::Convention => "circuit_breaker.*",
        }
    }

    /// Its word in addresses and JSON.
    pub fn code(self) -> &'static str {
        match self {
            Library::Resilience4j => "resilience4j",
            Library::Polly => "polly",
            Library::Failsafe => "failsafe",
            Library::Opossum => "opossum",
            Library::Hystrix => "hystrix",
            Library::Envoy => "envoy",
            Library::Convention => "convention",
        }
    }

    /// The library of a [`code`](Self::code).
    pub fn coded(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|library| library.code() == code)
    }
}

/// How a state is known, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Known {
    /// A gauge names it.
    Gauge,
    /// A gauge says that a limit is reached or that hosts are left out.
    Limit,
    /// An event on a span named the change.
    Event,
    /// A log named the change.
    Log,
    /// A counter of changes grew.
    Counter,
    /// There are counters, and none of changes ever grew.
    NeverMoved,
    /// Only calls that it turned away are known.
    Rejections,
}

impl Known {
    /// In a few words.
    pub fn word(self) -> &'static str {
        match self {
            Known::Gauge => "gauge",
            Known::Limit => "limit",
            Known::Event => "event",
            Known::Log => "log",
            Known::Counter => "counter",
            Known::NeverMoved => "counter, never seen moving",
            Known::Rejections => "rejected calls",
        }
    }

    /// The whole of it.
    pub fn sentence(self) -> &'static str {
        match self {
            Known::Gauge => "A gauge names the state: the series that is 1 is the state.",
            Known::Limit => "A gauge says whether a limit is reached or hosts are left out.",
            Known::Event => "An event on a span named the last change.",
            Known::Log => "A log named the last change.",
            Known::Counter => "The counter of changes that grew last.",
            Known::NeverMoved => {
                "The library only counts changes, and none was seen: closed is what a breaker begins as."
            }
            Known::Rejections => {
                "Only calls that it turned away are known: it was open then, what it is now nobody told."
            }
        }
    }
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    Succeeded,
    Failed,
    /// Turned away without being tried.
    Rejected,
}

impl Outcome {
    pub const ALL: [Outcome; 3] = [Outcome::Succeeded, Outcome::Failed, Outcome::Rejected];

    pub fn word(self) -> &'static str {
        match self {
            Outcome::Succeeded => "succeeded",
            Outcome::Failed => "failed",
            Outcome::Rejected => "rejected",
        }
    }
}

/// What tells one breaker from another; its instances are processes of the service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    pub service: String,
    pub name: String,
    pub library: Library,
}

/// A state from one moment to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub from: Nanos,
    pub to: Nanos,
    pub state: State,
}

/// A breaker in one process.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// As [`Identity::instance`](crate::dashboard::model::Identity) has it; empty where the sender does not say.
    pub name: String,
    pub state: State,
    /// Since when, as far as was looked back.
    pub since: Option<Nanos>,
    pub known: Known,
    /// When it was last heard.
    pub heard: Nanos,
    /// Its states over the range, in order, each beginning where the one before ends.
    pub strip: Vec<Stretch>,
}

/// A breaker, all its instances together.
#[derive(Debug, Clone, PartialEq)]
pub struct Breaker {
    pub key: Key,
    /// What it guards, where it was told or follows from the calls of its service.
    pub peer: Option<String>,
    /// The gravest of its instances that are heard; unknown where none is.
    pub state: State,
    /// Since when.
    pub since: Option<Nanos>,
    /// The state is as old as what was looked at, or older.
    pub older: bool,
    pub known: Known,
    /// Instances that are in that state, and all that are heard; both 0 where none is.
    pub here: usize,
    pub heard: usize,
    /// Share of the calls that were tried and failed, 0 to 1, over the last minutes; `None` where it is not told.
    pub failing: Option<f64>,
    /// Calls turned away a second over the last minutes; `None` where it is not told.
    pub rejected: Option<f64>,
    /// The newest rejected call that a span tells of.
    pub rejection: Option<Rejection>,
    /// The gravest state of its instances over the range.
    pub strip: Vec<Stretch>,
    /// The gravest first.
    pub instances: Vec<Instance>,
}
