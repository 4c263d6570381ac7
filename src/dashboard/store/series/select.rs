//! What a read of series asks for, and what comes back.

use std::sync::Arc;

use crate::dashboard::model::Nanos;
use crate::dashboard::model::series::{Identity, Sample};

/// Series of one answer at most.
pub const MAX_SERIES: usize = 500;
/// Steps of one answer at most.
pub const MAX_STEPS: u64 = 1_000;
const MS: Nanos = 1_000_000;

/// Which metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metric {
    Named(String),
    /// All whose names begin so; an empty text is all.
    Begins(String),
}

impl Metric {
    fn fits(&self, name: &str) -> bool {
        match self {
            Metric::Named(named) => name == named,
            Metric::Begins(begin) => name.starts_with(begin.as_str()),
        }
    }

    /// The first and the last name, as bytes, between which all that fit lie.
    fn bounds(&self) -> (Vec<u8>, Vec<u8>) {
        match self {
            Metric::Named(name) => (name.clone().into_bytes(), name.clone().into_bytes()),
            // No UTF-8 holds 0xff.
            Metric::Begins(begin) => (begin.clone().into_bytes(), [begin.as_bytes(), &[0xff]].concat()),
        }
    }
}

/// Which series, and of when.
#[derive(Debug, Clone, Default)]
pub struct SeriesFilter {
    /// Any of these; none is none.
    pub metrics: Vec<Metric>,
    pub service: Option<String>,
    /// Attributes that a series has, all of them.
    pub attributes: Vec<(String, String)>,
    /// Both ends included.
    pub from: Nanos,
    pub to: Nanos,
    /// The step that is wanted in ns; 0 is as fine as [`MAX_STEPS`] allow.
    pub step: Nanos,
    /// Series of the answer at most; 0 is [`MAX_SERIES`].
    pub most: usize,
}

impl SeriesFilter {
    /// Whether a series is asked for.
    pub fn fits(&self, identity: &Identity) -> bool {
        self.metrics.iter().any(|metric| metric.fits(&identity.name))
            && self.service.as_ref().is_none_or(|service| *service == identity.service)
            && self.attributes.iter().all(|(key, value)| identity.attribute(key) == Some(value))
    }

    /// Series of the answer at most.
    pub fn room(&self) -> usize {
        if self.most == 0 { MAX_SERIES } else { self.most }
    }

    /// The step that is answered with.
    pub fn width(&self) -> Nanos {
        let finest = self.to.saturating_sub(self.from) / MAX_STEPS;
        self.step.max(finest).max(MS)
    }

    /// The first and the last name of a metric that is asked for; `None` where none is.
    pub fn names(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        self.metrics
            .iter()
            .map(Metric::bounds)
            .reduce(|(low, high), (other_low, other_high)| (low.min(other_low), high.max(other_high)))
    }
}

/// A series in a range of time.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub identity: Arc<Identity>,
    /// The newest sample before the range, where there was one lately: what a level stood at, and what a total's growth
    /// begins from.
    pub before: Option<Sample>,
    /// By time, at most one a step; a total has one more where it began anew.
    pub samples: Vec<Sample>,
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FoundSeries {
    /// By identity; those without a sample in the range are left out.
    pub series: Vec<Series>,
    /// Series beyond [`SeriesFilter::room`] that were left out.
    pub left_out: u64,
    /// False where more was stored than one answer reads: then the oldest part is missing.
    pub complete: bool,
}

/// The newest of a series.
#[derive(Debug, Clone, PartialEq)]
pub struct Newest {
    pub identity: Arc<Identity>,
    pub sample: Sample,
}

/// A metric that is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptMetric {
    pub name: String,
    pub unit: String,
    /// As [`Kind::word`](crate::dashboard::model::series::Kind::word) says.
    pub kind: &'static str,
    /// Series heard lately.
    pub series: u64,
    /// Services that sent them, by name.
    pub services: Vec<String>,
    /// Time of the newest sample.
    pub newest: Nanos,
}

/// What is known of the metrics that came lately.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeptMetrics {
    /// By name.
    pub metrics: Vec<KeptMetric>,
    /// Series heard lately, and how many may be.
    pub series: u64,
    pub max_series: u64,
    /// Points left out since the start because there were too many series, by name of the metric.
    pub beyond: Vec<(String, u64)>,
}
