//! Circuit breakers: calls to what is down are not made at all, so that callers fail at once and the other side
//! gets the quiet to come back.
//!
//! A breaker stands before one other service. *Closed*, it lets every call through and keeps in mind how the newest
//! went. Where too many failed or were slow it *opens*: calls are [`Rejected`] without being made. After a while it is
//! *half-open* and lets a few through to try; they decide whether it closes or opens again.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use throughline::comms::breaker::{Breaker, BreakerConfig, BreakerError};
//!
//! let breaker = Breaker::new("warehouse", BreakerConfig::default()).with_peer("warehouse");
//! let answer = breaker.call(async { Ok::<_, std::io::Error>(7) }, |_| true).await;
//! assert_eq!(answer.unwrap(), 7);
//!
//! breaker.force_open();
//! match breaker.call(async { Ok::<_, std::io::Error>(7) }, |_| true).await {
//!     Err(BreakerError::Rejected(why)) => assert_eq!(why.breaker.as_ref(), "warehouse"),
//!     other => panic!("{other:?}"),
//! }
//! # });
//! ```
//!
//! | file | what lives there |
//! |---|---|
//! | `mod.rs` | [`Breaker`] and the [`Permit`] of one call |
//! | `config.rs` | [`BreakerConfig`] |
//! | `machine.rs` | the states and the rules between them |
//! | `window.rs` | the window over the newest calls |
//! | `classify.rs` | [`CountsAsFailure`]: what is a failure of the other side |
//! | `telemetry.rs` | metrics, events and logs |
//!
//! The clients of [`super::http`] and [`super::grpc`] have one by default. As a layer for any tower service it is
//! [`super::resilience::BreakerLayer`].

mod classify;
mod config;
mod machine;
mod telemetry;
mod window;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use self::classify::CountsAsFailure;
pub use self::config::{BreakerConfig, Window};
pub use self::machine::State;
use self::machine::{Change, Leave, Machine};
use self::telemetry::Totals;

/// A circuit breaker; cheap to clone, and clones are the same breaker.
#[derive(Clone)]
pub struct Breaker {
    inner: Arc<Inner>,
}

struct Inner {
    name: Arc<str>,
    peer: Option<Arc<str>>,
    config: BreakerConfig,
    machine: Mutex<Machine>,
    totals: Totals,
}

/// How a call that was let through went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The other side did its work, be it to say no.
    Success,
    /// The other side could not do its work, or was not reached.
    Failure,
}

/// A call that was not made, because the breaker is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    pub breaker: Arc<str>,
    /// The service that the breaker stands before, if it was named.
    pub peer: Option<Arc<str>>,
    pub state: State,
    /// When the next call is let through to try, if that is known.
    pub retry_after: Option<Duration>,
}

impl fmt::Display for Rejected {
    /// The same for all calls that are rejected in one state, so that they can be counted together.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(peer) = &self.peer {
            write!(f, "{peer} was not called: ")?;
        }
        let state = if self.state == State::HalfOpen { "half-open" } else { "open" };
        write!(f, "rejected by the {state} circuit breaker `{}`", self.breaker)?;
        match self.state {
            State::HalfOpen => f.write_str(", whose trial calls are on their way"),
            State::ForcedOpen => f.write_str(", which somebody opened by hand"),
            State::Closed | State::Open => Ok(()),
        }
    }
}

impl std::error::Error for Rejected {}

/// The error of a call behind a breaker.
#[derive(Debug, thiserror::Error)]
pub enum BreakerError<E> {
    /// It was not made.
    #[error(transparent)]
    Rejected(#[from] Rejected),
    /// It was made and failed.
    #[error("{0}")]
    Failed(E),
}

/// What is known of a breaker at a moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub state: State,
    /// How long it has been in that state.
    pub for_time: Duration,
    /// The share of failed calls, from 0 to 1, and of slow ones; none where no call is looked at.
    pub failure_rate: Option<f64>,
    pub slow_rate: Option<f64>,
    /// Calls since the start: success, failure, slow, rejected.
    pub calls: [u64; 4],
}

impl Breaker {
    /// A closed breaker. The name is what telemetry calls it: as a rule that of the called service.
    ///
    /// Breakers of one name in one process are one to telemetry: their calls are added, and the state is that of
    /// the one that lets least through.
    pub fn new(name: &str, config: BreakerConfig) -> Self {
        Self::made(name.into(), None, config)
    }

    /// A breaker of the same settings, closed, that names the service that it stands before, as `service.peer.name`.
    pub fn with_peer(self, peer: &str) -> Self {
        Self::made(Arc::clone(&self.inner.name), Some(peer.into()), self.inner.config.clone())
    }

    fn made(name: Arc<str>, peer: Option<Arc<str>>, config: BreakerConfig) -> Self {
        let config = config.in_range();
        let machine = Mutex::new(Machine::new(config.clone(), Instant::now()));
        let inner = Arc::new(Inner { name, peer, config, machine, totals: Totals::default() });
        telemetry::watch(&inner);
        Self { inner }
    }

    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// For attributes, without a copy.
    pub(in crate::comms) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.inner.name)
    }

    pub fn peer(&self) -> Option<&str> {
        self.inner.peer.as_deref()
    }

    pub fn config(&self) -> &BreakerConfig {
        &self.inner.config
    }

    pub fn state(&self) -> State {
        self.inner.machine().state()
    }

    pub fn snapshot(&self) -> Snapshot {
        self.inner.snapshot()
    }

    /// Asks for leave to make a call. The answer comes at once.
    ///
    /// # Errors
    /// The breaker is open. The span at hand gets an event that says so.
    pub fn acquire(&self) -> Result<Permit, Rejected> {
        let now = Instant::now();
        let (answer, change) = self.inner.machine().ask(now);
        self.inner.tell(change);
        match answer {
            Ok(leave) => Ok(Permit { inner: Arc::clone(&self.inner), leave, began: now, done: false }),
            Err(refusal) => {
                self.inner.totals.rejected();
                let rejected = Rejected {
                    breaker: Arc::clone(&self.inner.name),
                    peer: self.inner.peer.clone(),
                    state: refusal.state,
                    retry_after: refusal.again_in,
                };
                telemetry::rejected(&rejected);
                Err(rejected)
            }
        }
    }

    /// Makes a call where the breaker lets it through. `is_failure` says which errors are the other side's fault; see
    /// [`CountsAsFailure`].
    ///
    /// # Errors
    /// The call's own, or that it was not made.
    pub async fn call<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>>,
        is_failure: impl FnOnce(&E) -> bool,
    ) -> Result<T, BreakerError<E>> {
        let permit = self.acquire()?;
        let result = work.await;
        permit.record(match &result {
            Err(error) if is_failure(error) => Outcome::Failure,
            _ => Outcome::Success,
        });
        result.map_err(BreakerError::Failed)
    }

    /// As [`Self::call`], and gives what `fallback` makes of a rejection: an older answer, or a lesser one.
    ///
    /// # Errors
    /// Those of a call that was made.
    pub async fn call_or<T, E>(
        &self,
        work: impl Future<Output = Result<T, E>>,
        is_failure: impl FnOnce(&E) -> bool,
        fallback: impl FnOnce(Rejected) -> T,
    ) -> Result<T, E> {
        match self.call(work, is_failure).await {
            Ok(answer) => Ok(answer),
            Err(BreakerError::Rejected(rejected)) => Ok(fallback(rejected)),
            Err(BreakerError::Failed(error)) => Err(error),
        }
    }

    /// Lets no call through until [`Self::reset`].
    pub fn force_open(&self) {
        let change = self.inner.machine().force(State::ForcedOpen, Instant::now());
        self.inner.tell(change);
    }

    /// Closes it and forgets what came before.
    pub fn reset(&self) {
        let change = self.inner.machine().force(State::Closed, Instant::now());
        self.inner.tell(change);
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("name", &self.inner.name).field("state", &self.state()).finish()
    }
}

impl Inner {
    /// A call that panicked while it held the lock has changed counts at most.
    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Outside of the lock.
    fn tell(&self, change: Option<Change>) {
        if let Some(change) = change {
            telemetry::changed(self, &change);
        }
    }

    fn snapshot(&self) -> Snapshot {
        let now = Instant::now();
        let mut machine = self.machine();
        let counts = machine.counts(now);
        Snapshot {
            state: machine.state(),
            for_time: now.saturating_duration_since(machine.since()),
            failure_rate: counts.failure_rate(),
            slow_rate: counts.slow_rate(),
            calls: self.totals.read(),
        }
    }
}

/// Leave for one call; to be told how the call went.
///
/// Dropped before that, the call counts as slow if it took as long as a slow call: its caller lost patience.
/// Otherwise it counts as not made.
#[must_use = "a permit that is dropped says nothing about the call"]
pub struct Permit {
    inner: Arc<Inner>,
    leave: Leave,
    began: Instant,
    done: bool,
}

impl Permit {
    /// The state in which the call was let through: closed or half-open.
    pub fn state(&self) -> State {
        self.leave.state
    }

    /// The breaker's name.
    pub fn breaker(&self) -> &str {
        &self.inner.name
    }

    /// Tells how the call went. How long it took is counted from [`Breaker::acquire`].
    pub fn record(mut self, outcome: Outcome) {
        self.done = true;
        self.finish(outcome);
    }

    fn finish(&self, outcome: Outcome) {
        let now = Instant::now();
        let failed = outcome == Outcome::Failure;
        let slow = self.is_slow(now);
        self.inner.totals.done(failed, slow);
        let change = self.inner.machine().done(self.leave, failed, slow, now);
        self.inner.tell(change);
    }

    fn is_slow(&self, now: Instant) -> bool {
        let slow_after = self.inner.config.slow_after;
        slow_after.is_some_and(|limit| now.saturating_duration_since(self.began) >= limit)
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("breaker", &self.inner.name).field("state", &self.leave.state).finish()
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        if self.is_slow(Instant::now()) {
            self.finish(Outcome::Success);
        } else {
            self.inner.machine().given_up(self.leave);
        }
    }
}
