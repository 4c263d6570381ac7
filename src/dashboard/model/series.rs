//! Series of metrics: what tells one from another, and what a sample of it says.

use super::Nanos;

/// What a metric measures, as OTLP names it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Shape {
    #[default]
    Gauge,
    Sum,
    Histogram,
    ExponentialHistogram,
    Summary,
}

/// How samples of a series follow from one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Follows {
    /// A level: the newest counts, and how low and high it stood meanwhile.
    Level,
    /// A total since the start of the process: what it grew by counts, and it may begin anew.
    Total,
    /// What was added since the sample before: samples add up.
    Growth,
}

/// The kind of a series.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    pub shape: Shape,
    /// Of a sum: it never goes down, but for a new start.
    pub monotonic: bool,
    /// Sent as differences (delta) and not as totals (cumulative).
    pub delta: bool,
}

impl Kind {
    /// A gauge.
    pub const GAUGE: Self = Self { shape: Shape::Gauge, monotonic: false, delta: false };
    /// A sum that goes up and down: how many there are.
    pub const LEVEL: Self = Self { shape: Shape::Sum, monotonic: false, delta: false };
    /// A counter, sent as totals.
    pub const COUNTER: Self = Self { shape: Shape::Sum, monotonic: true, delta: false };

    /// How its samples follow from one another.
    pub fn follows(self) -> Follows {
        match self.shape {
            Shape::Gauge => Follows::Level,
            _ if self.delta => Follows::Growth,
            Shape::Sum if !self.monotonic => Follows::Level,
            _ => Follows::Total,
        }
    }

    /// `gauge`, `counter`, `sum`, `histogram`, `exponential histogram`, `summary`.
    pub fn word(self) -> &'static str {
        match self.shape {
            Shape::Gauge => "gauge",
            Shape::Sum if self.monotonic => "counter",
            Shape::Sum => "sum",
            Shape::Histogram => "histogram",
            Shape::ExponentialHistogram => "exponential histogram",
            Shape::Summary => "summary",
        }
    }
}

/// What tells one series from every other. In order, series of one metric stand together.
///
/// The version of a service is no part of it: a new release goes on with the series of the one before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Name of the metric.
    pub name: String,
    pub service: String,
    /// Which process of the service: its `service.instance.id`, or else what the resource says of pod, container, host
    /// and process. Empty where it says nothing: Micrometer's registry, for one.
    pub instance: String,
    /// Name of the instrumentation scope: the library, where it says so.
    pub scope: String,
    /// As sent: `s`, `By`, `{message}`; empty where there is none.
    pub unit: String,
    pub kind: Kind,
    /// Of the points, as text, by key, each key once.
    pub attributes: Vec<(String, String)>,
}

impl Identity {
    /// The value of an attribute.
    pub fn attribute(&self, key: &str) -> Option<&str> {
        let at = self.attributes.binary_search_by(|(known, _)| known.as_str().cmp(key)).ok()?;
        Some(&self.attributes[at].1)
    }
}

/// One sample of a series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// To the millisecond.
    pub time: Nanos,
    /// Since when a total counts, or from when on a growth was measured; 0 where it was not told.
    pub start: Nanos,
    /// A gauge's or sum's value; of a distribution the number of measurements.
    pub value: f64,
    /// Of a distribution: the sum of what was measured, where it was told.
    pub sum: Option<f64>,
    /// The lowest and highest: of a distribution where they were told, of a level where several samples became one.
    pub min: Option<f64>,
    pub max: Option<f64>,
}

impl Sample {
    /// A sample that is one number.
    pub fn of(time: Nanos, start: Nanos, value: f64) -> Self {
        Self { time, start, value, sum: None, min: None, max: None }
    }

    /// Whether a total began anew between `before` and this one: it is lower, or says that it counts since then.
    pub fn begins_anew(&self, before: &Self) -> bool {
        self.value < before.value || (self.start > before.start && self.start >= before.time)
    }
}
