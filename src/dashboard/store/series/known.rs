//! One series in memory: what is not sealed yet, and of what is sealed as much as reads of the last minutes look for.

use crate::dashboard::model::Nanos;
use crate::dashboard::model::series::Sample;

/// One series.
#[derive(Default)]
pub struct Known {
    /// Not sealed, by time.
    samples: Vec<Sample>,
    /// Sealed, and still here, by time.
    sealed: Vec<Sample>,
    /// The newest of what was sealed and is here no more.
    gone: Option<Sample>,
    newest: Option<Sample>,
    /// When something of it came last.
    pub heard: Nanos,
}

impl Known {
    /// Takes in a sample; false where its time is taken by one that is not sealed.
    pub fn add(&mut self, sample: Sample) -> bool {
        if self.newest.is_none_or(|newest| newest.time < sample.time) {
            self.newest = Some(sample);
        }
        insert(&mut self.samples, sample)
    }

    /// Whether there is a sample of that time. Of those that are sealed and here no more only the newest is known.
    pub fn holds(&self, time: Nanos) -> bool {
        let among = |samples: &[Sample]| samples.binary_search_by_key(&time, |one| one.time).is_ok();
        self.newest.is_some_and(|newest| newest.time == time) || among(&self.samples) || among(&self.sealed)
    }

    /// What is not sealed.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }

    /// The newest of all, whether it is still here or not.
    pub fn newest(&self) -> Option<Sample> {
        self.newest
    }

    /// Whether all from a time on, and the newest before it, is here.
    pub fn answers(&self, from: Nanos) -> bool {
        self.gone.is_none_or(|gone| gone.time < from)
    }

    /// What is here of `begin..=to`, in parts that each are in order of time; with or without what is sealed.
    pub fn between(&self, begin: Nanos, to: Nanos, sealed: bool) -> impl Iterator<Item = &[Sample]> {
        let parts = [self.gone.as_slice(), &self.sealed, &self.samples];
        parts.into_iter().skip(if sealed { 0 } else { 2 }).map(move |part| {
            let first = part.partition_point(|sample| sample.time < begin);
            let end = part.partition_point(|sample| sample.time <= to);
            &part[first..end.max(first)]
        })
    }

    /// The times of what is here from a time on.
    pub fn times_since(&self, time: Nanos) -> impl Iterator<Item = Nanos> {
        [&self.sealed, &self.samples].into_iter().flat_map(move |part| {
            part[part.partition_point(|sample| sample.time < time)..].iter().map(|sample| sample.time)
        })
    }

    /// All of it is sealed now; what is older than `cut` goes.
    pub fn seal(&mut self, cut: Nanos) {
        let first = self.samples.partition_point(|sample| sample.time < cut);
        let stayed = self.sealed.partition_point(|sample| sample.time < cut);
        let newest_of = |samples: &[Sample]| samples.last().copied();
        let went = [newest_of(&self.samples[..first]), newest_of(&self.sealed[..stayed]), self.gone];
        self.gone = went.into_iter().flatten().max_by_key(|sample| sample.time);
        let mut kept = self.sealed.split_off(stayed);
        kept.extend_from_slice(&self.samples[first..]);
        // What is there for each time, the later one comes second; mostly nothing has to move.
        kept.sort_by_key(|sample| sample.time);
        kept.dedup_by_key(|sample| sample.time);
        kept.shrink_to_fit();
        (self.sealed, self.samples) = (kept, Vec::new());
    }
}

/// Puts a sample at its place; false where its time is taken.
pub fn insert(samples: &mut Vec<Sample>, sample: Sample) -> bool {
    if samples.last().is_none_or(|last| last.time < sample.time) {
        samples.push(sample);
        return true;
    }
    match samples.binary_search_by_key(&sample.time, |one| one.time) {
        Ok(_) => false,
        Err(place) => {
            samples.insert(place, sample);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(times: &[Nanos]) -> Known {
        let mut known = Known::default();
        times.iter().for_each(|time| assert!(known.add(Sample::of(*time, 0, *time as f64))));
        known
    }

    fn times(known: &Known, begin: Nanos, to: Nanos) -> Vec<Nanos> {
        let mut times: Vec<_> = known.between(begin, to, true).flatten().map(|sample| sample.time).collect();
        times.sort_unstable();
        times
    }

    #[test]
    fn what_is_sealed_stays_until_it_is_too_old() {
        let mut known = known(&[10, 20, 30, 40]);
        assert!(known.answers(0), "nothing is anywhere else");
        known.seal(25);
        assert_eq!(known.samples(), []);
        assert_eq!((times(&known, 0, 99), times(&known, 25, 35)), (vec![20, 30, 40], vec![30]));
        assert_eq!((known.answers(20), known.answers(21)), (false, true), "10 and 20 went; 20 is remembered");
        assert_eq!(known.between(0, 99, false).flatten().count(), 0);
        assert_eq!((known.holds(30), known.holds(40), known.holds(10)), (true, true, false));
        // Between what is sealed, and after it.
        assert!(known.add(Sample::of(35, 0, 0.0)) && known.add(Sample::of(50, 0, 0.0)));
        assert_eq!(known.times_since(30).collect::<Vec<_>>(), [30, 40, 35, 50]);
        known.seal(36);
        assert_eq!(times(&known, 0, 99), [35, 40, 50]);
        assert_eq!((known.answers(35), known.answers(36)), (false, true));
        // One that comes late and goes at once is older than what went before.
        assert!(known.add(Sample::of(15, 0, 0.0)));
        known.seal(99);
        assert_eq!((times(&known, 0, 99), known.newest().map(|one| one.time)), (vec![50], Some(50)));
        assert!(!known.answers(50) && known.answers(51));
    }
}
