//! The states and the rules between them. Time comes from outside, so that tests need none.

use std::time::{Duration, Instant};

use super::config::BreakerConfig;
use super::window::{Counts, Sliding, one};

/// Whether calls are let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// All are.
    Closed,
    /// None is, until some time has passed.
    Open,
    /// A few are, to try.
    HalfOpen,
    /// None is, until [`super::Breaker::reset`].
    ForcedOpen,
}

impl State {
    /// As telemetry has it: one of [`crate::comms::names::BREAKER_STATES`].
    pub fn text(self) -> &'static str {
        crate::comms::names::BREAKER_STATES[self as usize]
    }
}

/// A step from one state to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub from: State,
    pub to: State,
    pub reason: String,
}

/// Leave for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leave {
    pub state: State,
    /// The stay in that state that it belongs to: what comes back later says nothing about the present one.
    stay: u64,
}

/// No leave: the state, and when it is worth asking again, if that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub state: State,
    pub again_in: Option<Duration>,
}

/// Calls that were let through to try.
#[derive(Clone, Copy, Debug, Default)]
struct Probes {
    /// Let through and not given back, whether they are done or not.
    out: u32,
    done: Counts,
}

#[derive(Debug)]
pub(super) struct Machine {
    config: BreakerConfig,
    state: State,
    since: Instant,
    stay: u64,
    window: Sliding,
    probes: Probes,
}

impl Machine {
    pub fn new(config: BreakerConfig, now: Instant) -> Self {
        let window = Sliding::new(config.window, now);
        Self { config, state: State::Closed, since: now, stay: 0, window, probes: Probes::default() }
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn since(&self) -> Instant {
        self.since
    }

    /// The calls that the next decision rests on: those to try while it is half-open, else the window's.
    pub fn counts(&mut self, now: Instant) -> Counts {
        if self.state == State::HalfOpen { self.probes.done } else { self.window.counts(now) }
    }

    /// Asks to make a call.
    pub fn ask(&mut self, now: Instant) -> (Result<Leave, Refusal>, Option<Change>) {
        let passed = now.saturating_duration_since(self.since);
        let mut change = None;
        match self.state {
            State::Closed => {}
            State::ForcedOpen => return (Err(Refusal { state: self.state, again_in: None }), None),
            State::Open => match self.config.open_for.checked_sub(passed) {
                Some(left) if !left.is_zero() => {
                    return (Err(Refusal { state: self.state, again_in: Some(left) }), None);
                }
                _ => {
                    let reason = format!("{:?} had passed", self.config.open_for);
                    change = Some(self.step(State::HalfOpen, reason, now));
                }
            },
            // Whoever holds all the probes has not come back for long: others try.
            State::HalfOpen if self.probes.out >= self.config.probes && passed >= self.longest_try() => {
                (self.since, self.stay, self.probes) = (now, self.stay + 1, Probes::default());
            }
            State::HalfOpen => {}
        }
        if self.state == State::HalfOpen {
            if self.probes.out >= self.config.probes {
                return (Err(Refusal { state: self.state, again_in: None }), change);
            }
            self.probes.out += 1;
        }
        (Ok(Leave { state: self.state, stay: self.stay }), change)
    }

    fn longest_try(&self) -> Duration {
        self.config.open_for.max(Duration::from_secs(30))
    }

    /// A call came back.
    pub fn done(&mut self, leave: Leave, failed: bool, slow: bool, now: Instant) -> Option<Change> {
        if leave.stay != self.stay {
            return None;
        }
        match self.state {
            State::Closed => {
                self.window.add(one(failed, slow), now);
                let counts = self.window.counts(now);
                let reason = self.too_bad(counts)?;
                Some(self.step(State::Open, reason, now))
            }
            State::HalfOpen => {
                let done = &mut self.probes.done;
                *done = Counts {
                    calls: done.calls + 1,
                    failed: done.failed + u32::from(failed),
                    slow: done.slow + u32::from(slow),
                };
                self.judge_probes(now)
            }
            State::Open | State::ForcedOpen => None,
        }
    }

    /// A call was given up before anything was known about it.
    pub fn given_up(&mut self, leave: Leave) {
        if leave.stay == self.stay && self.state == State::HalfOpen {
            self.probes.out = self.probes.out.saturating_sub(1);
        }
    }

    /// Goes into a state because somebody wants it.
    pub fn force(&mut self, to: State, now: Instant) -> Option<Change> {
        (self.state != to).then(|| self.step(to, "by hand".to_owned(), now))
    }

    /// Why the calls of the window are reason to open, if they are.
    fn too_bad(&self, counts: Counts) -> Option<String> {
        let Counts { calls, failed, slow } = counts;
        if self.is_too_often(failed) {
            return Some(format!("{failed} calls failed"));
        }
        if calls < self.config.minimum_calls {
            return None;
        }
        if counts.failure_rate()? >= self.config.failure_rate {
            return Some(format!("{failed} of {calls} calls failed"));
        }
        if counts.slow_rate()? >= self.config.slow_rate {
            return Some(format!("{slow} of {calls} calls were slow"));
        }
        None
    }

    /// Whether so many failures are enough, whatever their share.
    fn is_too_often(&self, failed: u32) -> bool {
        self.config.failures.is_some_and(|failures| failed >= failures)
    }

    fn judge_probes(&mut self, now: Instant) -> Option<Change> {
        let (done, all) = (self.probes.done, f64::from(self.config.probes));
        if self.is_too_often(done.failed) || f64::from(done.failed) / all >= self.config.failure_rate {
            let reason = format!("{} of {} trial calls failed", done.failed, done.calls);
            return Some(self.step(State::Open, reason, now));
        }
        if f64::from(done.slow) / all >= self.config.slow_rate {
            let reason = format!("{} of {} trial calls were slow", done.slow, done.calls);
            return Some(self.step(State::Open, reason, now));
        }
        (done.calls >= self.config.probes).then(|| {
            let passed = done.calls - done.failed;
            self.step(State::Closed, format!("{passed} of {} trial calls passed", done.calls), now)
        })
    }

    fn step(&mut self, to: State, reason: String, now: Instant) -> Change {
        let from = std::mem::replace(&mut self.state, to);
        (self.since, self.stay, self.probes) = (now, self.stay + 1, Probes::default());
        if to == State::Closed {
            self.window.clear();
        }
        Change { from, to, reason }
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::Window;
    use super::*;

    struct Run {
        machine: Machine,
        start: Instant,
        now: Instant,
    }

    fn run(config: BreakerConfig) -> Run {
        let start = Instant::now();
        Run { machine: Machine::new(config.in_range(), start), start, now: start }
    }

    fn config() -> BreakerConfig {
        BreakerConfig { window: Window::Calls(4), minimum_calls: 4, probes: 2, ..BreakerConfig::default() }
    }

    impl Run {
        fn at(&mut self, secs: u64) {
            self.now = self.start + Duration::from_secs(secs);
        }

        fn ask(&mut self) -> Result<Leave, Refusal> {
            self.machine.ask(self.now).0
        }

        fn call(&mut self, failed: bool) -> Option<Change> {
            let leave = self.ask().expect("let through");
            self.machine.done(leave, failed, false, self.now)
        }

        fn open(&mut self) {
            let changes: Vec<_> = (0..4).filter_map(|_| self.call(true)).collect();
            assert_eq!(changes.len(), 1);
            assert_eq!(self.machine.state(), State::Open);
        }
    }

    #[test]
    fn opens_at_the_share_and_not_before_there_are_enough_calls() {
        let mut run = run(config());
        for failed in [true, true, false] {
            assert_eq!(run.call(failed), None, "three calls are too few");
        }
        let change = run.call(false).expect("two of four");
        assert_eq!((change.from, change.to), (State::Closed, State::Open));
        assert_eq!(change.reason, "2 of 4 calls failed");
        let refused = run.ask().expect_err("open");
        assert_eq!(refused, Refusal { state: State::Open, again_in: Some(Duration::from_secs(10)) });
    }

    #[test]
    fn old_failures_do_not_count_for_ever() {
        let mut run = run(config());
        for failed in [true, false, false, false, true, false, false, false, true] {
            assert_eq!(run.call(failed), None, "never more than one in four");
        }
    }

    #[test]
    fn lets_a_few_through_after_a_while_and_closes_when_they_pass() {
        let mut run = run(config());
        run.open();
        run.at(9);
        assert_eq!(run.ask().expect_err("still open").again_in, Some(Duration::from_secs(1)));
        run.at(10);
        let (first, change) = run.machine.ask(run.now);
        assert_eq!(change.expect("a step").reason, "10s had passed");
        let (first, second) = (first.expect("a probe"), run.ask().expect("a probe"));
        assert_eq!(run.ask(), Err(Refusal { state: State::HalfOpen, again_in: None }), "two and no more");
        assert_eq!(run.machine.done(first, false, false, run.now), None);
        let change = run.machine.done(second, false, false, run.now).expect("closed");
        assert_eq!((change.to, change.reason.as_str()), (State::Closed, "2 of 2 trial calls passed"));
        assert_eq!(run.call(true), None, "the old failures are forgotten");
    }

    #[test]
    fn one_failed_probe_of_two_opens_again_and_the_other_says_nothing_any_more() {
        let mut run = run(config());
        run.open();
        run.at(10);
        let (first, second) = (run.ask().expect("a probe"), run.ask().expect("a probe"));
        let change = run.machine.done(first, true, false, run.now).expect("opens");
        assert_eq!((change.from, change.to), (State::HalfOpen, State::Open));
        assert_eq!(run.machine.done(second, false, false, run.now), None);
        run.at(19);
        assert!(run.ask().is_err(), "the time begins anew");
        run.at(20);
        assert!(run.ask().is_ok());
    }

    #[test]
    fn calls_from_before_do_not_count_as_probes() {
        let mut run = run(config());
        let early = [run.ask().expect("closed"), run.ask().expect("closed")];
        run.open();
        run.at(10);
        let probe = run.ask().expect("a probe");
        for leave in early {
            assert_eq!(run.machine.done(leave, false, false, run.now), None);
        }
        assert_eq!(run.machine.state(), State::HalfOpen);
        assert_eq!(run.machine.done(probe, false, false, run.now), None, "the first of two");
    }

    #[test]
    fn a_probe_that_is_given_up_or_never_comes_back_makes_room() {
        let mut run = run(config());
        run.open();
        run.at(10);
        let (first, _lost) = (run.ask().expect("a probe"), run.ask().expect("a probe"));
        run.machine.given_up(first);
        let _lost_too = run.ask().expect("the place of the first");
        assert!(run.ask().is_err());
        run.at(41);
        assert!(run.ask().is_ok() && run.ask().is_ok() && run.ask().is_err(), "two others try");
    }

    #[test]
    fn slow_calls_open_it_by_their_own_share() {
        let mut run = run(BreakerConfig { slow_rate: 0.75, ..config() });
        let mut reasons = Vec::new();
        for slow in [true, true, false, true] {
            let leave = run.ask().expect("closed");
            reasons.extend(run.machine.done(leave, false, slow, run.now).map(|change| change.reason));
        }
        assert_eq!(reasons, ["3 of 4 calls were slow"]);
        assert_eq!(run.machine.state(), State::Open);
    }

    #[test]
    fn a_count_of_failures_opens_it_whatever_their_share() {
        let by_count = |window| BreakerConfig {
            window,
            minimum_calls: 100,
            failures: Some(3),
            failure_rate: 1.0,
            probes: 10,
            ..config()
        };
        for window in [Window::Calls(200), Window::Time(Duration::from_secs(60))] {
            let mut run = run(by_count(window));
            let changes: Vec<_> = [true, false, true, false, false].map(|failed| run.call(failed)).into();
            assert!(changes.iter().all(Option::is_none), "two are too few: {changes:?}");
            assert_eq!(run.call(true).expect("the third").reason, "3 calls failed");
            assert_eq!(run.machine.state(), State::Open);
            run.at(10);
            for n in 1..=3 {
                let leave = run.ask().expect("a probe");
                let change = run.machine.done(leave, true, false, run.now);
                assert_eq!(change.is_some(), n == 3, "as many while it tries, too");
            }
        }
        let mut old = run(by_count(Window::Time(Duration::from_secs(10))));
        old.call(true);
        old.call(true);
        old.at(60);
        assert_eq!(old.call(true), None, "failures of long ago are not counted");
    }

    #[test]
    fn forced_open_stays_until_it_is_reset() {
        let mut run = run(config());
        assert!(run.machine.force(State::ForcedOpen, run.now).is_some());
        run.at(100_000);
        assert_eq!(run.ask(), Err(Refusal { state: State::ForcedOpen, again_in: None }));
        assert!(run.machine.force(State::Closed, run.now).is_some());
        assert!(run.machine.force(State::Closed, run.now).is_none(), "it is already");
        assert!(run.ask().is_ok());
    }

    #[test]
    fn nonsense_is_brought_into_range() {
        let config = BreakerConfig {
            window: Window::Calls(0),
            minimum_calls: 0,
            failure_rate: f64::NAN,
            slow_rate: 7.0,
            probes: 0,
            ..config()
        };
        let mut run = run(config);
        assert!(run.call(true).is_some(), "one call is the whole window");
    }
}
