//! A metrics request, walked: the samples of what is [of interest](super::interest), and how much of the rest came.
//!
//! Metrics that are not kept are counted by name and not looked into. Of those that are, a distribution is its count,
//! its sum and, where told, its bounds: buckets and exemplars are passed over. Bad protobuf fails the whole request;
//! a point that cannot be placed is left out alone and counted. [`label`] makes what tells series apart, within bounds.

mod label;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::super::Nanos;
use super::super::proto::{WireError, fields};
use super::super::series::{Identity, Kind, Sample, Shape};
use super::super::value::{Attributes, Value};
use super::decode;
use super::interest::Interest;
use label::{cut, instance, plain, text};

use label::MAX_TEXT;
#[cfg(test)]
use label::{CUT, MAX_ATTRIBUTES, MAX_KEY};

/// A point further ahead than this is not believed: its time is then that of its arrival, as for spans.
const FUTURE: Nanos = 24 * 3600 * 1_000_000_000;
/// Samples taken of one request; real ones have some thousands.
pub const MAX_SAMPLES: usize = 250_000;
/// Names of metrics that are told apart among those that are not kept.
const MAX_NAMES: usize = 1_000;
const MS: Nanos = 1_000_000;
/// Metrics of brokers, and the attributes of resources that say of which queue or cluster they are, begin alike.
const BROKERS: [&str; 2] = ["rabbitmq.", "kafka."];

/// What a metrics request brought.
#[derive(Debug, Clone, Default)]
pub struct Points {
    /// Bytes of the request.
    pub bytes: usize,
    /// Each once.
    pub series: Vec<Arc<Identity>>,
    /// Each with its number among `series`.
    pub samples: Vec<(u32, Sample)>,
    /// Data points of metrics that are not kept, by name; beyond [`MAX_NAMES`] names under no name.
    pub passed: BTreeMap<String, u64>,
    /// Points that say that there was no value, or hold none that is a number.
    pub blank: u64,
    /// Points left out, by reason and sender.
    pub rejected: Vec<RejectedPoints>,
}

/// Why a point was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PointReason {
    NoTime,
    TooOld,
    NoValue,
    Temporality,
    TooMany,
}

impl PointReason {
    /// Words for a person and for `partial_success.error_message`.
    pub fn words(self) -> &'static str {
        match self {
            PointReason::NoTime => "data point has no time",
            PointReason::TooOld => "data point is older than metrics are kept, or than a year",
            PointReason::NoValue => "data point has no value",
            PointReason::Temporality => "metric is neither delta nor cumulative",
            PointReason::TooMany => "more than 250 000 data points in one request",
        }
    }

    /// The value of the `reason` label in `/metrics`.
    pub fn label(self) -> &'static str {
        match self {
            PointReason::NoTime => "no_time",
            PointReason::TooOld => "too_old",
            PointReason::NoValue => "no_value",
            PointReason::Temporality => "temporality",
            PointReason::TooMany => "too_many",
        }
    }
}

/// Points of one sender left out for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedPoints {
    pub reason: PointReason,
    pub service: String,
    pub points: u64,
}

/// When a request came, and how far back its points may reach.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    pub now: Nanos,
    pub oldest: Nanos,
}

/// The fields of a data point that differ from shape to shape; 0 where it has none.
pub struct Layout {
    pub attributes: u32,
    pub flags: u32,
    pub min: u32,
    pub max: u32,
    /// Whether its value is one number and no distribution.
    pub is_number: bool,
}

/// Fields of all data points.
const START: u32 = 2;
const TIME: u32 = 3;
/// A number's.
const AS_DOUBLE: u32 = 4;
const AS_INT: u32 = 6;
/// A distribution's.
const COUNT: u32 = 4;
const SUM: u32 = 5;
/// `DataPointFlags`: there was no value.
const NO_RECORDED_VALUE: u64 = 1;

/// The fields of `Metric` that hold data, and how their points are laid out (opentelemetry-proto 1.11).
pub fn layout(field: u32) -> Option<(Shape, Layout)> {
    let number = Layout { attributes: 7, flags: 8, min: 0, max: 0, is_number: true };
    Some(match field {
        5 => (Shape::Gauge, number),
        7 => (Shape::Sum, number),
        9 => (Shape::Histogram, Layout { attributes: 9, flags: 10, min: 11, max: 12, is_number: false }),
        10 => (
            Shape::ExponentialHistogram,
            Layout { attributes: 1, flags: 10, min: 12, max: 13, is_number: false },
        ),
        11 => (Shape::Summary, Layout { is_number: false, ..number }),
        _ => return None,
    })
}

impl Points {
    /// Walks an `ExportMetricsServiceRequest`.
    pub fn read(request: &[u8], interest: &Interest, arrival: Arrival) -> Result<Self, WireError> {
        let points = Points { bytes: request.len(), ..Points::default() };
        let mut reading = Reading { interest, arrival, points, numbers: HashMap::new() };
        for field in fields(request) {
            let field = field?;
            if field.number == 1 {
                reading.resource(field.bytes()?)?;
            }
        }
        Ok(reading.points)
    }

    /// Points left out.
    pub fn rejected_points(&self) -> u64 {
        self.rejected.iter().map(|rejected| rejected.points).sum()
    }

    /// Points of metrics that are not kept.
    pub fn passed_points(&self) -> u64 {
        self.passed.values().sum()
    }
}

/// Whose metrics are being read.
struct Source {
    service: String,
    instance: String,
    /// What of the resource tells queues apart: the Collector describes each queue as a resource of its own.
    queue: Attributes,
}

struct Reading<'a> {
    interest: &'a Interest,
    arrival: Arrival,
    points: Points,
    numbers: HashMap<Arc<Identity>, u32>,
}

impl Reading<'_> {
    /// `ResourceMetrics`. The resource may stand after its metrics, hence two passes.
    fn resource(&mut self, message: &[u8]) -> Result<(), WireError> {
        let resource = decode::resource(only(message, 1)?)?;
        let of_queue = |(key, _): &&(String, Value)| BROKERS.iter().any(|begin| key.starts_with(begin));
        let source = Source {
            service: cut(resource.service(), MAX_TEXT).0,
            instance: instance(&resource),
            queue: resource.attributes.iter().filter(of_queue).cloned().collect(),
        };
        each(message, 2, |scope| {
            let name = decode::scope(only(scope, 1)?)?.name;
            each(scope, 2, |metric| self.metric(metric, &source, &name))
        })
    }

    fn metric(&mut self, message: &[u8], source: &Source, scope: &str) -> Result<(), WireError> {
        let (name, unit) = (only(message, 1)?, only(message, 3)?);
        let kept = self.interest.topic(name).is_some();
        for field in fields(message) {
            let field = field?;
            let Some((shape, layout)) = layout(field.number) else { continue };
            let data = field.bytes()?;
            if !kept {
                self.pass(name, data)?;
                continue;
            }
            let Some(kind) = kind(shape, data)? else {
                self.reject(PointReason::Temporality, source, count(data)?);
                continue;
            };
            let series = Identity {
                name: text(name),
                service: source.service.clone(),
                instance: source.instance.clone(),
                scope: cut(scope, MAX_TEXT).0,
                unit: text(unit),
                kind,
                attributes: Vec::new(),
            };
            each(data, 1, |point| self.point(point, &layout, &series, source))?;
        }
        Ok(())
    }

    /// Counts the points of a metric that is not kept.
    fn pass(&mut self, name: &[u8], data: &[u8]) -> Result<(), WireError> {
        let (points, name) = (count(data)?, text(name));
        let known = self.points.passed.contains_key(&name) || self.points.passed.len() < MAX_NAMES;
        *self.points.passed.entry(if known { name } else { String::new() }).or_default() += points;
        Ok(())
    }

    fn reject(&mut self, reason: PointReason, source: &Source, points: u64) {
        if points == 0 {
            return;
        }
        let same = |known: &&mut RejectedPoints| known.reason == reason && known.service == source.service;
        match self.points.rejected.iter_mut().find(same) {
            Some(known) => known.points += points,
            None => {
                self.points.rejected.push(RejectedPoints { reason, service: source.service.clone(), points })
            }
        }
    }

    fn point(
        &mut self,
        message: &[u8],
        layout: &Layout,
        metric: &Identity,
        source: &Source,
    ) -> Result<(), WireError> {
        let read = read_point(message, layout)?;
        let mut attributes = decode::attributes(message, layout.attributes)?;
        if let Some(begin) = BROKERS.iter().find(|begin| metric.name.starts_with(**begin)) {
            attributes.extend(source.queue.iter().filter(|(key, _)| key.starts_with(begin)).cloned());
        }
        match self.place(&read) {
            Ok(Some(sample)) => {
                let series = self.number(Identity { attributes: plain(attributes), ..metric.clone() });
                self.points.samples.push((series, sample));
            }
            Ok(None) => self.points.blank += 1,
            Err(reason) => self.reject(reason, source, 1),
        }
        Ok(())
    }

    /// The sample that a point is, where it holds a value; or why it cannot be placed.
    fn place(&self, read: &Read) -> Result<Option<Sample>, PointReason> {
        if read.blank {
            return Ok(None);
        }
        let time = match read.time {
            0 => return Err(PointReason::NoTime),
            time if time > self.arrival.now.saturating_add(FUTURE) => self.arrival.now,
            time => time,
        };
        let value = read.value.ok_or(PointReason::NoValue)?;
        if time < self.arrival.oldest {
            return Err(PointReason::TooOld);
        }
        if self.points.samples.len() >= MAX_SAMPLES {
            return Err(PointReason::TooMany);
        }
        let finite = |number: Option<f64>| number.filter(|number| number.is_finite());
        Ok(value.is_finite().then(|| Sample {
            sum: finite(read.sum),
            min: finite(read.min),
            max: finite(read.max),
            ..Sample::of(time - time % MS, read.start - read.start % MS, value)
        }))
    }

    /// The number of a series in this request.
    fn number(&mut self, series: Identity) -> u32 {
        let series = Arc::new(series);
        let next = self.points.series.len() as u32;
        *self.numbers.entry(series).or_insert_with_key(|series| {
            self.points.series.push(series.clone());
            next
        })
    }
}

/// A data point of any shape.
#[derive(Default)]
struct Read {
    time: Nanos,
    start: Nanos,
    value: Option<f64>,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    blank: bool,
}

fn read_point(message: &[u8], layout: &Layout) -> Result<Read, WireError> {
    let mut read = Read::default();
    let is_number = layout.is_number;
    if !is_number {
        // A count that is 0 is not on the wire.
        read.value = Some(0.0);
    }
    for field in fields(message) {
        let field = field?;
        let double = || field.fixed64().map(|bits| Some(f64::from_bits(bits)));
        match field.number {
            START => read.start = field.fixed64()?,
            TIME => read.time = field.fixed64()?,
            AS_DOUBLE if is_number => read.value = double()?,
            AS_INT if is_number => read.value = Some(field.fixed64()? as i64 as f64),
            COUNT if !is_number => read.value = Some(field.fixed64()? as f64),
            SUM if !is_number => read.sum = double()?,
            number if number == layout.flags => read.blank = field.varint()? & NO_RECORDED_VALUE != 0,
            number if number == layout.min => read.min = double()?,
            number if number == layout.max => read.max = double()?,
            _ => {}
        }
    }
    Ok(read)
}

/// The kind of a metric's data; `None` where it does not say how points follow from one another.
fn kind(shape: Shape, data: &[u8]) -> Result<Option<Kind>, WireError> {
    let (mut temporality, mut monotonic) = (0, false);
    if matches!(shape, Shape::Gauge | Shape::Summary) {
        return Ok(Some(Kind { shape, ..Kind::GAUGE }));
    }
    for field in fields(data) {
        let field = field?;
        match field.number {
            2 => temporality = field.varint()?,
            3 => monotonic = field.varint()? != 0,
            _ => {}
        }
    }
    let monotonic = monotonic && shape == Shape::Sum;
    Ok(match temporality {
        1 | 2 => Some(Kind { shape, monotonic, delta: temporality == 1 }),
        _ => None,
    })
}

/// The data points of a `Gauge`, `Sum`, …
fn count(data: &[u8]) -> Result<u64, WireError> {
    let mut count = 0;
    each(data, 1, |_| {
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

/// A field of bytes that stands once; its last.
fn only(message: &[u8], number: u32) -> Result<&[u8], WireError> {
    let mut found: &[u8] = &[];
    for field in fields(message) {
        let field = field?;
        if field.number == number {
            found = field.bytes()?;
        }
    }
    Ok(found)
}

fn each<'a>(
    message: &'a [u8],
    number: u32,
    mut visit: impl FnMut(&'a [u8]) -> Result<(), WireError>,
) -> Result<(), WireError> {
    for field in fields(message) {
        let field = field?;
        if field.number == number {
            visit(field.bytes()?)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
