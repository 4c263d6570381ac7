//! What a read of series asks for, and what comes back.

use std::collections::HashSet;
use std::sync::Arc;

use crate::dashboard::model::Nanos;
use crate::dashboard::model::series::{Identity, Sample};

/// Series of one answer at most.
pub const MAX_SERIES: usize = 500;
/// Steps of one answer at most.
pub const MAX_STEPS: u64 = 1_000;
const MS: Nanos = 1_000_000;

/// All names of metrics between two, by their bytes, both included: the last may be what no name is, but begins like some.
pub type Names = (String, Vec<u8>);

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

    /// The first and the last name, as bytes, between which all that fit lie and nothing else.
    fn bounds(&self) -> Names {
        match self {
            Metric::Named(name) => (name.clone(), name.clone().into_bytes()),
            // No UTF-8 holds 0xff.
            Metric::Begins(begin) => (begin.clone(), [begin.as_bytes(), &[0xff]].concat()),
        }
    }
}

/// Which series, and of when.
#[derive(Debug, Clone, Default)]
pub struct SeriesFilter {
    /// Any of these; none is none.
    pub metrics: Vec<Metric>,
    /// Of any of these services; `None` is all.
    pub services: Option<HashSet<String>>,
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
            && self.services.as_ref().is_none_or(|services| services.contains(&identity.service))
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

    /// The names that are asked for: in order, none in two of them.
    pub fn names(&self) -> Vec<Names> {
        let mut bounds: Vec<Names> = self.metrics.iter().map(Metric::bounds).collect();
        bounds.sort_unstable();
        let mut apart: Vec<Names> = Vec::with_capacity(bounds.len());
        for (low, high) in bounds {
            match apart.last_mut() {
                Some(last) if low.as_bytes() <= &last.1[..] => last.1 = high.max(std::mem::take(&mut last.1)),
                _ => apart.push((low, high)),
            }
        }
        apart
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

impl FoundSeries {
    /// Whether nothing that was asked for is missing.
    pub fn is_whole(&self) -> bool {
        self.complete && self.left_out == 0
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_overlap_are_one_range() {
        let begins = |text: &str| Metric::Begins(text.into());
        let named = |text: &str| Metric::Named(text.into());
        let metrics = vec![begins("b.c"), named("a"), begins("b"), named("b.x"), named("a"), named("c")];
        let names = SeriesFilter { metrics, ..SeriesFilter::default() }.names();
        let range = |low: &str, high: &[u8]| (low.to_owned(), high.to_vec());
        assert_eq!(names, [range("a", b"a"), range("b", b"b\xff"), range("c", b"c")]);
        assert!(SeriesFilter::default().names().is_empty());
        let all = SeriesFilter { metrics: vec![named("a"), begins("")], ..SeriesFilter::default() };
        assert_eq!(all.names(), [range("", b"\xff")]);
    }
}
