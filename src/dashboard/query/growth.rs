//! What totals grew by: counters and distributions are sent as totals since a start, and pages show what happened.
//!
//! A total that is lower than before, or says that it counts since a later moment, began anew: then all of it is growth.
//! A total without one before it needs a witness. Breakers' counters appear with the value 1 and were never 0: where the
//! process was heard before without it, or began to count within the range, its first appearance is growth. Else it may
//! have stood there for days before anybody looked.

use crate::dashboard::model::{Follows, Nanos, Sample};
use crate::dashboard::store::Series;

/// What came to a total since the sample before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Growth {
    /// When it was told; it happened between the sample before and then.
    pub time: Nanos,
    /// Of a distribution: the number of measurements.
    pub value: f64,
    /// Of a distribution: the sum of the measurements, where it is told.
    pub sum: Option<f64>,
}

/// What each series of an answer about `from` and later grew by, in the same order; nothing for levels.
pub fn grown(found: &[Series], from: Nanos) -> Vec<Vec<Growth>> {
    found.iter().map(|series| of_series(series, found, from)).collect()
}

/// Growth a second in `steps` equal steps of `from..to`; `None` where a step holds no sample.
pub fn per_second(growth: &[Growth], from: Nanos, to: Nanos, steps: usize) -> Vec<Option<f64>> {
    let length = (to.saturating_sub(from) / steps.max(1) as u64).max(1);
    let mut sums = vec![None; steps];
    for one in growth {
        let step = one.time.checked_sub(from).map(|offset| (offset / length) as usize);
        if let Some(sum) = step.and_then(|step| sums.get_mut(step)) {
            *sum = Some(sum.unwrap_or(0.0) + one.value);
        }
    }
    let seconds = length as f64 / 1e9;
    sums.into_iter().map(|sum| sum.map(|sum: f64| sum / seconds)).collect()
}

fn of_series(series: &Series, found: &[Series], from: Nanos) -> Vec<Growth> {
    let whole = |sample: &Sample| Growth { time: sample.time, value: sample.value, sum: sample.sum };
    match series.identity.kind.follows() {
        Follows::Level => Vec::new(),
        Follows::Growth => series.samples.iter().map(whole).collect(),
        Follows::Total => {
            let mut before = series.before;
            let mut grown = Vec::with_capacity(series.samples.len());
            for sample in &series.samples {
                match before {
                    Some(before) if !sample.begins_anew(&before) => grown.push(between(&before, sample)),
                    Some(_) => grown.push(whole(sample)),
                    None if appears(series, sample, found, from) => grown.push(whole(sample)),
                    None => {}
                }
                before = Some(*sample);
            }
            grown
        }
    }
}

fn between(before: &Sample, sample: &Sample) -> Growth {
    let sum = sample.sum.zip(before.sum).map(|(sum, before)| sum - before);
    Growth { time: sample.time, value: sample.value - before.value, sum }
}

/// Whether the first sample of a series is growth.
fn appears(series: &Series, first: &Sample, found: &[Series], from: Nanos) -> bool {
    let (name, service) = (&series.identity.name, &series.identity.service);
    let same_process = |other: &&Series| {
        (&other.identity.name, &other.identity.service) == (name, service)
            && (&other.identity.instance, &other.identity.scope)
                == (&series.identity.instance, &series.identity.scope)
    };
    // Heard of in an export before: not only in the one that lies nearest.
    let heard = |other: &Series| {
        let times: Vec<Nanos> = other.before.iter().chain(&other.samples).map(|sample| sample.time).collect();
        let nearest = times.iter().min_by_key(|time| time.abs_diff(first.time));
        times.first().is_some_and(|begin| begin + ONE_EXPORT < first.time || Some(begin) < nearest)
    };
    first.start >= from.max(1) || found.iter().filter(same_process).any(heard)
}

/// Times of one export lie within this: Micrometer stamps each series of one by itself, some milliseconds apart. Exports may
/// lie closer together, and none tells a series twice.
pub const ONE_EXPORT: Nanos = 500_000_000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dashboard::model::Identity;
    use crate::dashboard::model::series::{Kind, Shape};

    const S: Nanos = 1_000_000_000;
    const FROM: Nanos = 1_000 * S;

    fn series(kind: Kind, event: &str, before: Option<Sample>, samples: &[Sample]) -> Series {
        let identity = Identity {
            name: "circuit".into(),
            service: "shop".into(),
            instance: "one".into(),
            scope: "opossum-metrics".into(),
            unit: String::new(),
            kind,
            attributes: vec![("event".into(), event.into())],
        };
        Series { identity: Arc::new(identity), before, samples: samples.to_vec() }
    }

    /// A sample so many seconds after the begin of the range, of a process that began long before.
    fn at(second: u64, value: f64) -> Sample {
        Sample::of(FROM + second * S, 10 * S, value)
    }

    fn values(found: &[Series], number: usize) -> Vec<f64> {
        grown(found, FROM)[number].iter().map(|growth| growth.value).collect()
    }

    #[test]
    fn a_total_grows_from_the_sample_before_the_range() {
        let found =
            [series(Kind::COUNTER, "fire", Some(at(0, 7.0)), &[at(10, 9.0), at(20, 9.0), at(30, 12.0)])];
        assert_eq!(values(&found, 0), [2.0, 0.0, 3.0]);
    }

    #[test]
    fn a_total_that_begins_anew_is_growth_itself() {
        // Lower than before; and higher than before, but of a process that began in between.
        let overtaken = Sample { start: FROM + 25 * S, ..at(30, 40.0) };
        let found = [series(Kind::COUNTER, "fire", Some(at(0, 7.0)), &[at(10, 9.0), at(20, 3.0), overtaken])];
        assert_eq!(values(&found, 0), [2.0, 3.0, 40.0]);
    }

    #[test]
    fn a_first_appearance_is_growth_where_there_is_a_witness() {
        let alone = [series(Kind::COUNTER, "open", None, &[at(10, 1.0), at(20, 2.0)])];
        assert_eq!(values(&alone, 0), [1.0], "it may have stood there for long");
        let with = [
            series(Kind::COUNTER, "fire", Some(at(0, 7.0)), &[at(10, 9.0)]),
            series(Kind::COUNTER, "open", None, &[at(10, 1.0), at(20, 2.0)]),
        ];
        assert_eq!(values(&with, 1), [1.0, 1.0], "its process was heard before without it");
        let together = [
            series(Kind::COUNTER, "fire", None, &[Sample { time: FROM + 10 * S - 3_000_000, ..at(10, 9.0) }]),
            series(Kind::COUNTER, "open", None, &[at(10, 1.0)]),
        ];
        assert_eq!(values(&together, 1), [0.0; 0], "one export, stamped apart, is no witness");
        let half = |half: u64| Sample { time: FROM + half * S / 2, ..at(0, 9.0) };
        let quick = [
            series(
                Kind::COUNTER,
                "fire",
                None,
                &[half(19), Sample { time: half(20).time + 3_000_000, ..half(20) }],
            ),
            series(Kind::COUNTER, "open", None, &[at(10, 1.0)]),
        ];
        assert_eq!(values(&quick, 1), [1.0], "half a second before it was heard without it");
        let young = Sample { start: FROM + 5 * S, ..at(10, 4.0) };
        assert_eq!(
            values(&[series(Kind::COUNTER, "open", None, &[young])], 0),
            [4.0],
            "all of it is of this range"
        );
        let untold = Sample { start: 0, ..at(10, 4.0) };
        assert_eq!(values(&[series(Kind::COUNTER, "open", None, &[untold])], 0), [0.0; 0]);
    }

    #[test]
    fn growth_is_taken_as_it_is_and_levels_have_none() {
        let delta = Kind { delta: true, ..Kind::COUNTER };
        let sent = [at(10, 2.0), at(20, 1.0)];
        let found =
            [series(delta, "fire", None, &sent), series(Kind::GAUGE, "fire", Some(at(0, 1.0)), &sent)];
        assert_eq!(values(&found, 0), [2.0, 1.0]);
        assert_eq!(values(&found, 1), [0.0; 0]);
    }

    #[test]
    fn sums_of_distributions_grow_too() {
        let kind = Kind { shape: Shape::Histogram, monotonic: false, delta: false };
        let with = |second: u64, count: f64, sum: f64| Sample { sum: Some(sum), ..at(second, count) };
        let found =
            [series(kind, "fire", Some(with(0, 4.0, 2.0)), &[with(10, 6.0, 5.0), with(20, 1.0, 0.5)])];
        let grown: Vec<_> = grown(&found, FROM)[0].iter().map(|one| (one.value, one.sum)).collect();
        assert_eq!(grown, [(2.0, Some(3.0)), (1.0, Some(0.5))]);
    }

    #[test]
    fn rates_are_per_second_and_unknown_where_nothing_came() {
        let growth = |second: u64, value: f64| Growth { time: FROM + second * S, value, sum: None };
        let all = [growth(1, 5.0), growth(9, 15.0), growth(25, 0.0), growth(99, 7.0)];
        assert_eq!(per_second(&all, FROM, FROM + 30 * S, 3), [Some(2.0), None, Some(0.0)]);
        assert_eq!(per_second(&all, FROM, FROM, 0), [None; 0]);
    }
}
