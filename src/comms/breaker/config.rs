//! When a breaker opens, and how it finds out that it may close.

use std::fmt;
use std::time::Duration;

/// The calls that are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The newest so many calls, however old they are.
    Calls(u32),
    /// The calls of the newest so much time, to a tenth of it.
    Time(Duration),
}

/// A breaker's settings. What is out of range is brought into it when a breaker is made.
#[derive(Clone, Debug, PartialEq)]
pub struct BreakerConfig {
    /// The calls that are looked at; the newest 20 by default. At most 10,000 calls.
    pub window: Window,
    /// With fewer calls than this in the window it stays closed; 10 by default.
    pub minimum_calls: u32,
    /// Opens where this share of the calls failed, above 0 to 1; 0.5 by default.
    pub failure_rate: f64,
    /// Opens where so many calls of the window failed, whatever their share and with fewer than
    /// [`Self::minimum_calls`] too, at least 1; none by default, so that the share alone decides.
    pub failures: Option<u32>,
    /// A call that took this long counts as slow, whatever came of it; none is slow by default.
    pub slow_after: Option<Duration>,
    /// Opens where this share of the calls was slow, above 0 to 1; 0.5 by default.
    pub slow_rate: f64,
    /// How long no call is let through once it is open; 10 s by default.
    pub open_for: Duration,
    /// So many calls are let through to try when that time is over; 3 by default. It closes when all came back
    /// and fewer of them than the two shares were bad, and opens again as soon as that can no longer be.
    pub probes: u32,
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            window: Window::Calls(20),
            minimum_calls: 10,
            failure_rate: 0.5,
            failures: None,
            slow_after: None,
            slow_rate: 0.5,
            open_for: Duration::from_secs(10),
            probes: 3,
        }
    }
}

impl BreakerConfig {
    /// The same with every number in range.
    pub(super) fn in_range(mut self) -> Self {
        let share = |rate: f64| if rate.is_nan() { 0.5 } else { rate.clamp(0.001, 1.0) };
        self.failure_rate = share(self.failure_rate);
        self.slow_rate = share(self.slow_rate);
        self.failures = self.failures.map(|failures| failures.max(1));
        self.probes = self.probes.clamp(1, 1000);
        self.minimum_calls = self.minimum_calls.max(1);
        self.window = match self.window {
            Window::Calls(calls) => {
                let calls = calls.clamp(1, 10_000);
                // More calls than the window holds would never come together.
                self.minimum_calls = self.minimum_calls.min(calls);
                self.failures = self.failures.map(|failures| failures.min(calls));
                Window::Calls(calls)
            }
            Window::Time(time) => Window::Time(time.max(Duration::from_millis(10))),
        };
        self
    }
}

impl fmt::Display for BreakerConfig {
    /// Such as "opens at 50 % of 20 calls, tries again after 10 s with 3 calls".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "opens at {} % ", percent(self.failure_rate))?;
        match self.window {
            Window::Calls(calls) => write!(f, "of {calls} calls")?,
            Window::Time(time) => write!(f, "of the calls in {time:?}")?,
        }
        write!(f, ", {} or more", self.minimum_calls)?;
        if let Some(failures) = self.failures {
            write!(f, ", or where {failures} fail")?;
        }
        if let Some(slow_after) = self.slow_after {
            write!(f, ", or where {} % take {slow_after:?}", percent(self.slow_rate))?;
        }
        write!(f, "; tries again after {:?} with {} calls", self.open_for, self.probes)
    }
}

fn percent(share: f64) -> f64 {
    (share * 1000.0).round() / 10.0
}
