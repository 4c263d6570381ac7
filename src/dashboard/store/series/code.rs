//! Samples as bytes: one format for the blocks that a commit writes and for the chunks that they become.
//!
//! Before compression (varints, lengths and texts as in blocks of spans):
//! ```text
//! version: u8 = 2, where blocks of spans and logs have 1
//! count, then per series, in order of identity: length + what follows
//!   name, service, instance, scope, unit; kind: u8; attributes: count, key and value each
//!   samples: count; then by column: times, starts, values, sums, lowest, highest
//! ```
//! Times and starts are in ms, as distances from the one before. A column begins with how it is written: whole numbers
//! as distances, others as the bits that differ from the one before. A series that is not wanted is passed over.

use super::super::StoreError;
use super::super::block::{compress, damaged, decompress};
use super::super::entry::{put_text, take_text};
use crate::dashboard::model::proto::{WireError, put_varint, take_bytes, take_varint};
use crate::dashboard::model::series::{Identity, Kind, Sample, Shape};

const VERSION: u8 = 2;
/// Samples of one series in one piece at most: what a stored length may claim.
const MAX_SAMPLES: u64 = 1 << 24;
const MS: u64 = 1_000_000;

/// How a column is written.
const ABSENT: u8 = 0;
const WHOLE: u8 = 1;
const BITS: u8 = 2;
const SOME: u8 = 3;

/// Whether a record, decompressed, holds samples and not spans or logs.
pub fn holds_samples(raw: &[u8]) -> bool {
    raw.first() == Some(&VERSION)
}

/// Writes series, which stand in order of their identity; the samples of each in order of time.
pub fn encode<'a>(
    series: impl ExactSizeIterator<Item = (&'a Identity, &'a [Sample])>,
) -> Result<Vec<u8>, StoreError> {
    let mut raw = vec![VERSION];
    put_varint(&mut raw, series.len() as u64);
    let mut one = Vec::new();
    for (identity, samples) in series {
        one.clear();
        put_identity(&mut one, identity);
        put_samples(&mut one, samples);
        put_varint(&mut raw, one.len() as u64);
        raw.extend_from_slice(&one);
    }
    compress(&raw)
}

/// Reads what [`encode`] wrote; hands over each series that is wanted.
pub fn decode(
    data: &[u8],
    wanted: impl FnMut(&Identity) -> bool,
    taken: impl FnMut(Identity, Vec<Sample>),
) -> Result<(), StoreError> {
    decode_raw(&decompress(data)?, wanted, taken)
}

/// The same of a record that is decompressed already.
pub fn decode_raw(
    raw: &[u8],
    mut wanted: impl FnMut(&Identity) -> bool,
    mut taken: impl FnMut(Identity, Vec<Sample>),
) -> Result<(), StoreError> {
    let mut read = || -> Result<(), WireError> {
        let mut rest = raw;
        if take_bytes(&mut rest, 1)?[0] != VERSION {
            return Err(WireError::Tag);
        }
        for _ in 0..take_varint(&mut rest)? {
            let length = take_varint(&mut rest)? as usize;
            let mut one = take_bytes(&mut rest, length)?;
            let identity = take_identity(&mut one)?;
            if wanted(&identity) {
                taken(identity, take_samples(&mut one)?);
            }
        }
        Ok(())
    };
    read().map_err(damaged)
}

fn put_identity(out: &mut Vec<u8>, identity: &Identity) {
    let Identity { name, service, instance, scope, unit, kind, attributes } = identity;
    for text in [name, service, instance, scope, unit] {
        put_text(out, text);
    }
    out.push(kind.shape as u8 | u8::from(kind.monotonic) << 3 | u8::from(kind.delta) << 4);
    put_varint(out, attributes.len() as u64);
    for (key, value) in attributes {
        put_text(out, key);
        put_text(out, value);
    }
}

fn take_identity(bytes: &mut &[u8]) -> Result<Identity, WireError> {
    let mut text = || take_text(bytes);
    let (name, service, instance, scope, unit) = (text()?, text()?, text()?, text()?, text()?);
    let byte = take_bytes(bytes, 1)?[0];
    let shape = match byte & 7 {
        0 => Shape::Gauge,
        1 => Shape::Sum,
        2 => Shape::Histogram,
        3 => Shape::ExponentialHistogram,
        4 => Shape::Summary,
        _ => return Err(WireError::Tag),
    };
    let kind = Kind { shape, monotonic: byte & 8 != 0, delta: byte & 16 != 0 };
    let attributes = (0..take_varint(bytes)?)
        .map(|_| Ok((take_text(bytes)?, take_text(bytes)?)))
        .collect::<Result<_, _>>()?;
    Ok(Identity { name, service, instance, scope, unit, kind, attributes })
}

fn put_samples(out: &mut Vec<u8>, samples: &[Sample]) {
    put_varint(out, samples.len() as u64);
    let (mut time, mut start) = (0, 0);
    for sample in samples {
        put_distance(out, (sample.time / MS) as i64, &mut time);
    }
    for sample in samples {
        put_distance(out, (sample.start / MS) as i64, &mut start);
    }
    let column = |of: fn(&Sample) -> Option<f64>| samples.iter().map(of).collect::<Vec<_>>();
    put_column(out, &column(|sample| Some(sample.value)));
    put_column(out, &column(|sample| sample.sum));
    put_column(out, &column(|sample| sample.min));
    put_column(out, &column(|sample| sample.max));
}

fn take_samples(bytes: &mut &[u8]) -> Result<Vec<Sample>, WireError> {
    let count = take_varint(bytes)?;
    if count > MAX_SAMPLES {
        return Err(WireError::Truncated);
    }
    let count = count as usize;
    let mut samples = Vec::with_capacity(count.min(4096));
    let (mut time, mut start) = (0, 0);
    for _ in 0..count {
        samples.push(Sample::of((take_distance(bytes, &mut time)? as u64).saturating_mul(MS), 0, 0.0));
    }
    for sample in &mut samples {
        sample.start = (take_distance(bytes, &mut start)? as u64).saturating_mul(MS);
    }
    let mut each = |set: fn(&mut Sample, Option<f64>)| take_column(bytes, &mut samples, set);
    each(|sample, value| sample.value = value.unwrap_or_default())?;
    each(|sample, value| sample.sum = value)?;
    each(|sample, value| sample.min = value)?;
    each(|sample, value| sample.max = value)?;
    Ok(samples)
}

/// Whether a number is a whole one that an `i64` and its distances hold exactly.
fn is_whole(number: f64) -> bool {
    number.fract() == 0.0 && number.abs() < 9e15 && (number != 0.0 || number.is_sign_positive())
}

fn put_column(out: &mut Vec<u8>, column: &[Option<f64>]) {
    let all: Option<Vec<f64>> = column.iter().copied().collect();
    match all {
        Some(all) if all.iter().all(|number| is_whole(*number)) => {
            out.push(WHOLE);
            let mut before = 0;
            all.iter().for_each(|number| put_distance(out, *number as i64, &mut before));
        }
        Some(all) => {
            out.push(BITS);
            let mut before = 0;
            for number in all {
                out.extend_from_slice(&(number.to_bits() ^ before).to_le_bytes());
                before = number.to_bits();
            }
        }
        None if column.iter().all(Option::is_none) => out.push(ABSENT),
        None => {
            out.push(SOME);
            for number in column {
                out.push(u8::from(number.is_some()));
                out.extend_from_slice(&number.unwrap_or_default().to_le_bytes());
            }
        }
    }
}

fn take_column(
    bytes: &mut &[u8],
    samples: &mut [Sample],
    set: fn(&mut Sample, Option<f64>),
) -> Result<(), WireError> {
    let eight = |bytes: &mut &[u8]| -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(take_bytes(bytes, 8)?.try_into().expect("eight bytes were taken")))
    };
    let way = take_bytes(bytes, 1)?[0];
    let (mut whole, mut bits) = (0, 0);
    for sample in samples {
        let number = match way {
            ABSENT => None,
            WHOLE => Some(take_distance(bytes, &mut whole)? as f64),
            BITS => {
                bits ^= eight(bytes)?;
                Some(f64::from_bits(bits))
            }
            SOME => {
                let is_there = take_bytes(bytes, 1)?[0] != 0;
                let number = f64::from_bits(eight(bytes)?);
                is_there.then_some(number)
            }
            _ => return Err(WireError::Tag),
        };
        set(sample, number);
    }
    Ok(())
}

/// A signed number as the distance from the one before, small ones short whatever their sign.
fn put_distance(out: &mut Vec<u8>, number: i64, before: &mut i64) {
    let distance = number.wrapping_sub(*before);
    *before = number;
    put_varint(out, (distance << 1 ^ distance >> 63) as u64);
}

fn take_distance(bytes: &mut &[u8], before: &mut i64) -> Result<i64, WireError> {
    let folded = take_varint(bytes)?;
    *before = before.wrapping_add((folded >> 1) as i64 ^ -((folded & 1) as i64));
    Ok(*before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(name: &str, kind: Kind) -> Identity {
        Identity {
            name: name.into(),
            service: "pay\u{301}ments".into(),
            instance: String::new(),
            scope: "io.opentelemetry.micrometer-1.5".into(),
            unit: "By".into(),
            kind,
            attributes: vec![("name".into(), "card".into()), ("state".into(), "open".into())],
        }
    }

    fn round(series: &[(Identity, Vec<Sample>)]) -> Vec<(Identity, Vec<Sample>)> {
        let data = encode(series.iter().map(|(identity, samples)| (identity, &samples[..]))).unwrap();
        let mut read = Vec::new();
        decode(&data, |_| true, |identity, samples| read.push((identity, samples))).unwrap();
        read
    }

    #[test]
    fn reads_what_it_writes_whatever_the_numbers() {
        let counter = Kind::COUNTER;
        let histogram = Kind { shape: Shape::Histogram, monotonic: false, delta: true };
        let numbers = [0.0, -0.0, 1.0, -1.0, 0.1, 9e15, -9.1e15, f64::MAX, f64::MIN_POSITIVE, 1.8e19];
        let times = (0..10u64).map(|number| (1_800_000_000_000 + number * 9_973) * MS);
        let odd: Vec<_> =
            times.zip(numbers).map(|(time, value)| Sample::of(time, time - 5_000 * MS, value)).collect();
        let even: Vec<_> = (0..500u64).map(|at| Sample::of(at * 10_000 * MS, 0, at as f64)).collect();
        let partly: Vec<_> = (1..9u64)
            .map(|at| Sample {
                sum: (at % 2 == 0).then_some(at as f64 / 3.0),
                min: Some(-1.5),
                max: Some(at as f64),
                ..Sample::of(at * MS, at * MS, 3.0)
            })
            .collect();
        let series = [
            (identity("a", Kind::GAUGE), odd),
            (identity("b", counter), even),
            (identity("c", histogram), partly),
            (identity("d", Kind::GAUGE), Vec::new()),
        ];
        let read = round(&series);
        assert_eq!(read, series);
        let bits = |samples: &[Sample]| samples.iter().map(|one| one.value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read[0].1), bits(&series[0].1), "a negative zero stays one");
    }

    #[test]
    fn a_regular_series_takes_little_room() {
        let samples: Vec<_> = (0..360u64)
            .map(|at| Sample::of((1_800_000_000 + at * 10) * 1_000 * MS, 5 * MS, (at * at) as f64))
            .collect();
        let data = encode([(&identity("a", Kind::GAUGE), &samples[..])].into_iter()).unwrap();
        assert!(data.len() < 360 * 3, "{} bytes for 360 samples", data.len());
    }

    #[test]
    fn what_is_broken_is_an_error_and_never_a_panic() {
        let series = [(identity("a", Kind::GAUGE), vec![Sample::of(5 * MS, 0, 0.5); 3])];
        let data = encode(series.iter().map(|(identity, samples)| (identity, &samples[..]))).unwrap();
        let raw = decompress(&data).unwrap();
        let read = |raw: &[u8]| decode_raw(raw, |_| true, |_, _| {});
        assert!(read(&raw).is_ok());
        for length in 0..raw.len() {
            assert!(read(&raw[..length]).is_err(), "cut to {length}");
        }
        for place in 0..raw.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut broken = raw.clone();
                broken[place] = value;
                // Many a change is another valid record: it is to end, and not to take memory that is not there.
                let _ = read(&broken);
            }
        }
    }
}
