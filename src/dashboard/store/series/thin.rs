//! Fewer samples that tell the same: what a longer step keeps of each kind of series.

use crate::dashboard::model::Nanos;
use crate::dashboard::model::series::{Follows, Sample};

/// New starts of a total within one step whose last sample before is kept, so that no growth is lost; more of them
/// than this are no service's life.
const STARTS: usize = 4;

/// One sample for each step of `width` ns that has any; `samples` are in order of time. A total keeps one more for each
/// time that it began anew. Thinned again by a multiple of the width, it is as if it had been so at once.
pub fn thin(follows: Follows, samples: &[Sample], width: Nanos) -> Vec<Sample> {
    let width = width.max(1);
    let mut kept = Vec::new();
    for step in samples.chunk_by(|a, b| a.time / width == b.time / width) {
        match (follows, step) {
            (_, [only]) => kept.push(*only),
            (Follows::Level, step) => kept.push(level(step)),
            (Follows::Growth, step) => kept.push(growth(step)),
            (Follows::Total, step) => {
                let ends = step.windows(2).filter(|pair| pair[1].begins_anew(&pair[0])).map(|pair| pair[0]);
                let ends: Vec<_> = ends.collect();
                kept.extend_from_slice(&ends[ends.len().saturating_sub(STARTS)..]);
                kept.extend(step.last());
            }
        }
    }
    kept
}

/// The newest, and between what it stood.
fn level(step: &[Sample]) -> Sample {
    let lowest = step.iter().map(|one| one.min.unwrap_or(one.value)).fold(f64::INFINITY, f64::min);
    let highest = step.iter().map(|one| one.max.unwrap_or(one.value)).fold(f64::NEG_INFINITY, f64::max);
    Sample { min: Some(lowest), max: Some(highest), ..step[step.len() - 1] }
}

/// All of it together.
fn growth(step: &[Sample]) -> Sample {
    let sums = step.iter().filter_map(|one| one.sum);
    Sample {
        time: step[step.len() - 1].time,
        start: step[0].start,
        value: step.iter().map(|one| one.value).sum(),
        sum: sums.reduce(|a, b| a + b),
        min: step.iter().filter_map(|one| one.min).reduce(f64::min),
        max: step.iter().filter_map(|one| one.max).reduce(f64::max),
    }
}

/// Thins a part of a series before its other parts are at hand. Growth stays as it is: the same growth may be in two
/// parts, where a request came again, and would count twice once it is added up.
pub fn thin_early(follows: Follows, samples: &[Sample], width: Nanos) -> Vec<Sample> {
    match follows {
        Follows::Growth => samples.to_vec(),
        _ => thin(follows, samples, width),
    }
}

/// Puts samples of one series from several places into order, each time once.
pub fn settle(samples: &mut Vec<Sample>) {
    // Of equal times the one that knows of others comes first.
    samples.sort_by_key(|one| (one.time, one.min.is_none()));
    samples.dedup_by_key(|one| one.time);
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Nanos = 1_000_000_000;

    fn at(second: u64, value: f64) -> Sample {
        Sample::of(second * S, 0, value)
    }

    #[test]
    fn a_level_keeps_its_newest_and_how_far_it_went() {
        let samples = [at(0, 5.0), at(3, 9.0), at(9, 7.0), at(10, 1.0), at(31, 4.0)];
        let thinned = thin(Follows::Level, &samples, 10 * S);
        let shown: Vec<_> = thinned.iter().map(|one| (one.time / S, one.value, one.min, one.max)).collect();
        assert_eq!(shown, [(9, 7.0, Some(5.0), Some(9.0)), (10, 1.0, None, None), (31, 4.0, None, None)]);
        let twice = thin(Follows::Level, &thinned, 60 * S);
        assert_eq!(twice, thin(Follows::Level, &samples, 60 * S));
        assert_eq!((twice[0].value, twice[0].min, twice[0].max), (4.0, Some(1.0), Some(9.0)));
    }

    #[test]
    fn a_total_loses_no_growth_where_it_began_anew() {
        let samples = [at(0, 10.0), at(4, 90.0), at(6, 3.0), at(9, 5.0), at(12, 8.0)];
        let thinned = thin(Follows::Total, &samples, 60 * S);
        assert_eq!(thinned, [at(4, 90.0), at(12, 8.0)]);
        assert_eq!(thin(Follows::Total, &thin(Follows::Total, &samples, 10 * S), 60 * S), thinned);
        // The new one may have overtaken the old one: its start tells.
        let overtaken = [at(0, 10.0), Sample::of(5 * S, 2 * S, 70.0)];
        assert_eq!(thin(Follows::Total, &overtaken, 60 * S), overtaken);
    }

    #[test]
    fn growth_adds_up() {
        let part = |second: u64, value: f64, max: f64| Sample {
            sum: Some(value * 2.0),
            max: Some(max),
            ..Sample::of(second * S, (second - 1) * S, value)
        };
        let samples = [part(1, 1.0, 5.0), part(2, 2.0, 9.0), part(3, 4.0, 1.0)];
        let thinned = thin(Follows::Growth, &samples, 60 * S);
        let all = Sample { sum: Some(14.0), max: Some(9.0), ..Sample::of(3 * S, 0, 7.0) };
        assert_eq!(thinned, [all]);
    }

    #[test]
    fn each_time_counts_once() {
        let wide = Sample { min: Some(1.0), max: Some(9.0), ..at(2, 5.0) };
        let mut samples = vec![at(3, 1.0), at(2, 5.0), wide, at(1, 0.0)];
        settle(&mut samples);
        assert_eq!(samples, [at(1, 0.0), wide, at(3, 1.0)]);
    }
}
