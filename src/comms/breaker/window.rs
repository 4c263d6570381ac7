//! The window over the newest calls: how many, how many failed, how many were slow.

use std::time::{Duration, Instant};

use super::config::Window;

/// A time window is moved on in this many steps.
const SLICES: usize = 10;

/// Calls of a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub calls: u32,
    pub failed: u32,
    pub slow: u32,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.failed = self.failed.saturating_add(other.failed);
        self.slow = self.slow.saturating_add(other.slow);
    }

    fn take(&mut self, other: Self) {
        self.calls = self.calls.saturating_sub(other.calls);
        self.failed = self.failed.saturating_sub(other.failed);
        self.slow = self.slow.saturating_sub(other.slow);
    }

    /// The share of failed calls; none where there were no calls.
    pub fn failure_rate(self) -> Option<f64> {
        (self.calls > 0).then(|| f64::from(self.failed) / f64::from(self.calls))
    }

    /// The share of slow calls; none where there were no calls.
    pub fn slow_rate(self) -> Option<f64> {
        (self.calls > 0).then(|| f64::from(self.slow) / f64::from(self.calls))
    }
}

/// How one call went.
pub(super) fn one(failed: bool, slow: bool) -> Counts {
    Counts { calls: 1, failed: u32::from(failed), slow: u32::from(slow) }
}

/// Slides over calls or over time; adding a call costs the same whatever its size.
#[derive(Debug)]
pub(super) enum Sliding {
    Calls { ring: Box<[Counts]>, next: usize, sum: Counts },
    Time { slices: [Counts; SLICES], width: Duration, began: Instant, at: u64, sum: Counts },
}

impl Sliding {
    pub fn new(window: Window, now: Instant) -> Self {
        let none = Counts::default();
        match window {
            Window::Calls(calls) => {
                Self::Calls { ring: vec![none; calls.max(1) as usize].into(), next: 0, sum: none }
            }
            Window::Time(time) => {
                let width = (time / SLICES as u32).max(Duration::from_millis(1));
                Self::Time { slices: [none; SLICES], width, began: now, at: 0, sum: none }
            }
        }
    }

    pub fn add(&mut self, call: Counts, now: Instant) {
        self.slide(now);
        match self {
            Self::Calls { ring, next, sum } => {
                sum.take(std::mem::replace(&mut ring[*next], call));
                sum.add(call);
                *next = (*next + 1) % ring.len();
            }
            Self::Time { slices, at, sum, .. } => {
                slices[(*at % SLICES as u64) as usize].add(call);
                sum.add(call);
            }
        }
    }

    /// What the window holds now.
    pub fn counts(&mut self, now: Instant) -> Counts {
        self.slide(now);
        match self {
            Self::Calls { sum, .. } | Self::Time { sum, .. } => *sum,
        }
    }

    pub fn clear(&mut self) {
        match self {
            Self::Calls { ring, next, sum } => {
                ring.fill(Counts::default());
                (*next, *sum) = (0, Counts::default());
            }
            Self::Time { slices, sum, .. } => {
                (*slices, *sum) = ([Counts::default(); SLICES], Counts::default())
            }
        }
    }

    /// Empties the slices that time has gone over.
    fn slide(&mut self, now: Instant) {
        let Self::Time { slices, width, began, at, sum } = self else { return };
        let current = (now.saturating_duration_since(*began).as_nanos() / width.as_nanos()) as u64;
        let over = current.saturating_sub(*at).min(SLICES as u64);
        for step in 1..=over {
            let slice = &mut slices[((*at + step) % SLICES as u64) as usize];
            sum.take(std::mem::take(slice));
        }
        if over == SLICES as u64 {
            *slices = [Counts::default(); SLICES];
        }
        *at = current.max(*at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_calls_forgets_the_oldest() {
        let now = Instant::now();
        let mut window = Sliding::new(Window::Calls(3), now);
        for failed in [true, true, false, false] {
            window.add(one(failed, false), now);
        }
        assert_eq!(window.counts(now), Counts { calls: 3, failed: 1, slow: 0 });
        window.clear();
        assert_eq!(window.counts(now).failure_rate(), None);
    }

    #[test]
    fn a_window_of_time_forgets_what_is_older_however_long_nothing_came() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut window = Sliding::new(Window::Time(Duration::from_secs(1)), start);
        window.add(one(true, true), at(0));
        window.add(one(false, false), at(550));
        assert_eq!(window.counts(at(950)), Counts { calls: 2, failed: 1, slow: 1 });
        assert_eq!(window.counts(at(1000)), Counts { calls: 1, failed: 0, slow: 0 });
        window.add(one(true, false), at(1450));
        assert_eq!(window.counts(at(1450)).calls, 2);
        assert_eq!(window.counts(at(60_000)), Counts::default());
        window.add(one(true, false), at(60_001));
        assert_eq!(window.counts(at(60_001)).failure_rate(), Some(1.0));
        // A clock that seems to go back by a little takes nothing away.
        assert_eq!(window.counts(at(59_000)).calls, 1);
    }
}
