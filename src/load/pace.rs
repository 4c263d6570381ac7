//! The rate that is kept to: a bucket of tokens that holds a tenth of a second's.
//!
//! What could not be sent in time is lost to the bucket, so that a receiver that was away is not met by a burst.

use std::time::{Duration, Instant};

/// What may be caught up: as much as a busy machine sleeps too long.
const DEPTH: Duration = Duration::from_millis(100);

/// When the next may go.
#[derive(Debug)]
pub struct Pace {
    per_s: f64,
    due: Instant,
    lost: Duration,
}

impl Pace {
    /// So many a second, the first at once.
    pub fn new(per_s: f64, now: Instant) -> Self {
        Self { per_s, due: now, lost: Duration::ZERO }
    }

    /// Takes `count` tokens; gives how long to wait before they may be used.
    pub fn take(&mut self, count: usize, now: Instant) -> Duration {
        if let Some(oldest) = now.checked_sub(DEPTH) {
            self.lost += oldest.saturating_duration_since(self.due);
            self.due = self.due.max(oldest);
        }
        let wait = self.due.saturating_duration_since(now);
        self.due += Duration::from_secs_f64(count as f64 / self.per_s);
        wait
    }

    /// The time whose tokens nobody took.
    pub fn lost(&self) -> Duration {
        self.lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tokens used within `seconds` by who takes ten at a time and is kept from it in the pause.
    fn taken(per_s: f64, seconds: f64, pause: Option<(f64, f64)>) -> f64 {
        let began = Instant::now();
        let mut pace = Pace::new(per_s, began);
        let (mut now, mut count) = (0.0, 0.0);
        while now < seconds {
            now += pace.take(10, began + Duration::from_secs_f64(now)).as_secs_f64();
            count += 10.0;
            if let Some((_, to)) = pause.filter(|(from, to)| (*from..*to).contains(&now)) {
                now = to;
            }
        }
        count
    }

    #[test]
    fn keeps_the_rate_and_makes_up_for_nothing_but_hiccups() {
        for (per_s, pause, expected) in [
            (1000.0, None, 10_000.0),
            (7.0, None, 70.0),
            (1000.0, Some((2.0, 2.05)), 10_000.0),
            // Four seconds are lost; a tenth of one is caught up.
            (1000.0, Some((2.0, 6.0)), 6_100.0),
        ] {
            let count = taken(per_s, 10.0, pause);
            assert!((count - expected).abs() <= 40.0, "{per_s}/s with {pause:?}: {count}");
        }
    }
}
