//! Durations counted by class: OpenTelemetry's base-2 exponential histogram at scale 5.
//!
//! 32 classes for each doubling, each open below and closed above; class 0 is for durations of 0 ns. A class
//! stands for a value that is at most 1.1 % off. Histograms merge by adding class by class, so a quantile over
//! many of them is as good as over one. Rule:
//! <https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram>.

use crate::dashboard::model::proto::{WireError, put_varint, take_varint};

/// Classes within a doubling.
const STEPS: f64 = 32.0;

/// Durations by class.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Histogram {
    /// Class and count, by class; a count is never 0. It may be less while a count is taken back from what was
    /// counted elsewhere.
    counts: Vec<(u16, i32)>,
}

/// The class of a duration in ns.
#[inline]
pub fn class(duration: u64) -> u16 {
    if duration == 0 { 0 } else { ((duration as f64).log2() * STEPS).ceil() as u16 + 1 }
}

/// The duration that a class stands for: as far from its lower end as from its upper one, in shares.
fn middle(class: u16) -> u64 {
    if class == 0 {
        return 0;
    }
    let upper = (f64::from(class - 1) / STEPS).exp2();
    let lower = (f64::from(class) - 2.0) / STEPS;
    (2.0 * upper * lower.exp2() / (upper + lower.exp2())).round() as u64
}

impl Histogram {
    /// Counts `count` durations of a class; less than none takes them back.
    #[inline]
    pub(in crate::dashboard::store) fn add(&mut self, class: u16, count: i32) {
        match self.counts.binary_search_by_key(&class, |(known, _)| *known) {
            Ok(index) => self.add_at(index, count),
            Err(index) => self.counts.insert(index, (class, count)),
        }
    }

    fn add_at(&mut self, index: usize, count: i32) {
        let known = &mut self.counts[index].1;
        *known = known.saturating_add(count);
        if *known == 0 {
            self.counts.remove(index);
        }
    }

    /// Counts a duration in ns.
    pub fn record(&mut self, duration: u64) {
        self.add(class(duration), 1);
    }

    /// Adds another one's counts.
    pub fn merge(&mut self, other: &Histogram) {
        self.merge_sorted(other.counts.iter().copied());
    }

    /// Adds counts that come by class: both lists are walked once.
    fn merge_sorted(&mut self, counts: impl Iterator<Item = (u16, i32)>) {
        let mut at = 0;
        for (class, count) in counts {
            while self.counts.get(at).is_some_and(|(known, _)| *known < class) {
                at += 1;
            }
            match self.counts.get(at) {
                Some((known, _)) if *known == class => self.add_at(at, count),
                _ => self.counts.insert(at, (class, count)),
            }
        }
    }

    /// How many durations it holds.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|(_, count)| u64::from((*count).max(0).unsigned_abs())).sum()
    }

    /// The duration in ns that a share (0 to 1) of all stayed within, at most 1.1 % off; `None` without any.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let rank = ((self.count() as f64 * share).ceil() as u64).max(1);
        let mut below = 0;
        self.counts.iter().find_map(|(class, count)| {
            below += u64::from((*count).max(0).unsigned_abs());
            (below >= rank).then(|| middle(*class))
        })
    }

    pub(in crate::dashboard::store) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Appends the encoding.
    pub(in crate::dashboard::store) fn put(&self, out: &mut Vec<u8>) {
        put_varint(out, self.counts.len() as u64);
        let mut before = 0;
        for (class, count) in &self.counts {
            put_varint(out, u64::from(class - before));
            put_signed(out, i64::from(*count));
            before = *class;
        }
    }

    /// Adds what [`Histogram::put`] wrote.
    pub(in crate::dashboard::store) fn take(&mut self, bytes: &mut &[u8]) -> Result<(), WireError> {
        let (mut class, mut failed) = (0u16, None);
        let count = take_varint(bytes)?;
        let counts = (0..count).map_while(|_| {
            let mut read = || {
                let step = u16::try_from(take_varint(bytes)?).map_err(|_| WireError::Varint)?;
                class = class.checked_add(step).ok_or(WireError::Varint)?;
                Ok((class, take_signed(bytes)?.clamp(i32::MIN.into(), i32::MAX.into()) as i32))
            };
            read().map_err(|error| failed = Some(error)).ok()
        });
        self.merge_sorted(counts);
        failed.map_or(Ok(()), Err)
    }
}

/// Appends a number that may be negative, small ones short ("zigzag").
pub(in crate::dashboard::store) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_varint(out, ((number << 1) ^ (number >> 63)) as u64);
}

/// Reads what [`put_signed`] wrote.
pub(in crate::dashboard::store) fn take_signed(bytes: &mut &[u8]) -> Result<i64, WireError> {
    take_varint(bytes).map(|number| (number >> 1) as i64 ^ -((number & 1) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_stands_for_its_durations_within_the_promise() {
        for power in 0..64 {
            for duration in [1u64 << power, (1 << power) + (1 << power) / 3, u64::MAX >> power] {
                let read = middle(class(duration)) as f64;
                // Half a nanosecond more, since what is read is a whole number.
                let promised = duration as f64 * 0.011 + 0.5;
                assert!((read - duration as f64).abs() <= promised, "{duration} read as {read}");
            }
        }
        assert_eq!((middle(class(0)), class(1)), (0, 1));
    }

    #[test]
    fn merging_and_storing_keep_every_count() {
        let (mut whole, mut first, mut second) =
            (Histogram::default(), Histogram::default(), Histogram::default());
        for duration in 0..5_000u64 {
            let duration = duration * duration * 977;
            whole.add(class(duration), 1);
            if duration % 3 == 0 { &mut first } else { &mut second }.add(class(duration), 1);
        }
        second.add(7, -1);
        whole.add(7, -1);
        let mut bytes = Vec::new();
        second.put(&mut bytes);
        first.merge(&Histogram::default());
        let mut rest = &bytes[..];
        first.take(&mut rest).unwrap();
        assert!(rest.is_empty());
        assert_eq!(first, whole);
        assert_eq!(whole.count(), 5_000, "what is taken back too much counts nothing");
        for length in 0..bytes.len() {
            assert!(Histogram::default().take(&mut &bytes[..length]).is_err(), "cut at {length}");
        }
        first.add(7, 1);
        assert!(!first.is_empty() && first.quantile(0.0) == Some(0));
        assert_eq!(Histogram::default().quantile(0.5), None);
    }
}
