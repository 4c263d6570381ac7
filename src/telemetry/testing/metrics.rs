//! Metrics as they are when somebody looks.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use opentelemetry::{KeyValue, global};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, Metric, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, Temporality};

/// Nothing is collected but when somebody looks.
const NEVER: Duration = Duration::from_secs(86_400);

/// Keeps every metric of this process; cheap to clone.
///
/// ```
/// use opentelemetry::{KeyValue, global};
/// use throughline::telemetry::testing::MetricRecorder;
///
/// let recorder = MetricRecorder::install();
/// // After it: an instrument that is older counts nowhere.
/// let refused = global::meter("shop").u64_counter("orders.refused").build();
/// refused.add(1, &[KeyValue::new("reason", "schema"), KeyValue::new("shop", "north")]);
/// refused.add(2, &[KeyValue::new("reason", "schema"), KeyValue::new("shop", "south")]);
/// refused.add(4, &[KeyValue::new("reason", "sold_out"), KeyValue::new("shop", "north")]);
/// assert_eq!(recorder.sum("orders.refused", &[("reason", "schema")]), 3.0);
/// assert_eq!(recorder.sum("orders.refused", &[("reason", "schema"), ("shop", "south")]), 2.0);
/// assert_eq!(recorder.sum("orders.refused", &[("reason", "closed")]), 0.0);
/// ```
#[derive(Clone, Debug)]
pub struct MetricRecorder {
    provider: SdkMeterProvider,
    seen: Seen,
}

/// What the last look has found.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<Vec<Measured>>>);

impl PushMetricExporter for Seen {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let all = metrics.scope_metrics().flat_map(|scope| scope.metrics().flat_map(measured));
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = all.collect();
        Ok(())
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }

    fn temporality(&self) -> Temporality {
        Temporality::Cumulative
    }
}

impl MetricRecorder {
    /// The process's recorder. The first call makes it where all metrics go, in place of [`crate::telemetry::init`]. To be called
    /// before what is tested is made: see the [module](super). Tests that run side by side share it, so each looks at what it
    /// alone names: its route, its queue, its bulkhead.
    pub fn install() -> Self {
        static RECORDER: OnceLock<MetricRecorder> = OnceLock::new();
        let install = || {
            let seen = Seen::default();
            let reader = PeriodicReader::builder(seen.clone()).with_interval(NEVER).build();
            let provider = SdkMeterProvider::builder().with_reader(reader).build();
            global::set_meter_provider(provider.clone());
            Self { provider, seen }
        };
        RECORDER.get_or_init(install).clone()
    }

    /// All that a metric has measured by now with these attributes, given as text, and any others beside them.
    ///
    /// # Panics
    /// The process's provider was shut down.
    pub fn all(&self, name: &str, with: &[(&str, &str)]) -> Vec<Measured> {
        self.provider.force_flush().expect("nobody shuts a recorder down");
        let seen = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = |one: &&Measured| {
            one.name == name && with.iter().all(|(key, value)| one.attribute(key).as_deref() == Some(value))
        };
        seen.iter().filter(wanted).cloned().collect()
    }

    /// The sum of it: of a counter what it has counted, of a histogram what was recorded, of a gauge what it tells now. Zero where
    /// there is nothing.
    ///
    /// # Panics
    /// As [`Self::all`].
    pub fn sum(&self, name: &str, with: &[(&str, &str)]) -> f64 {
        self.all(name, with).iter().map(|one| one.sum).sum()
    }

    /// How often a histogram was recorded; of other metrics, how many series there are.
    ///
    /// # Panics
    /// As [`Self::all`].
    pub fn count(&self, name: &str, with: &[(&str, &str)]) -> u64 {
        self.all(name, with).iter().map(|one| one.count).sum()
    }
}

/// One series of a metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    pub name: String,
    pub unit: String,
    pub attributes: Vec<KeyValue>,
    /// What was counted or told, or the sum of what was recorded.
    pub sum: f64,
    /// How often it was recorded, where it is a histogram; 1 otherwise.
    pub count: u64,
    /// The upper boundaries of a histogram's buckets.
    pub boundaries: Vec<f64>,
}

impl Measured {
    /// An attribute as text; none where there is none.
    pub fn attribute(&self, key: &str) -> Option<String> {
        let found = self.attributes.iter().find(|attribute| attribute.key.as_str() == key)?;
        Some(found.value.as_str().into_owned())
    }
}

fn measured(metric: &Metric) -> Vec<Measured> {
    match metric.data() {
        AggregatedMetrics::F64(data) => series(metric, data, |value| value),
        // Nothing that a test counts is beyond what a float tells exactly.
        AggregatedMetrics::U64(data) => series(metric, data, |value| value as f64),
        AggregatedMetrics::I64(data) => series(metric, data, |value| value as f64),
    }
}

fn series<T: Copy>(metric: &Metric, data: &MetricData<T>, number: impl Fn(T) -> f64) -> Vec<Measured> {
    let one = |attributes: Vec<KeyValue>, sum: T, count: u64, boundaries: Vec<f64>| {
        let (name, unit) = (metric.name().to_owned(), metric.unit().to_owned());
        Measured { name, unit, attributes, sum: number(sum), count, boundaries }
    };
    match data {
        MetricData::Gauge(gauge) => {
            let points = gauge.data_points();
            points.map(|p| one(p.attributes().cloned().collect(), p.value(), 1, Vec::new())).collect()
        }
        MetricData::Sum(sum) => {
            let points = sum.data_points();
            points.map(|p| one(p.attributes().cloned().collect(), p.value(), 1, Vec::new())).collect()
        }
        MetricData::Histogram(histogram) => histogram
            .data_points()
            .map(|p| one(p.attributes().cloned().collect(), p.sum(), p.count(), p.bounds().collect()))
            .collect(),
        MetricData::ExponentialHistogram(histogram) => histogram
            .data_points()
            .map(|p| one(p.attributes().cloned().collect(), p.sum(), p.count() as u64, Vec::new()))
            .collect(),
    }
}
