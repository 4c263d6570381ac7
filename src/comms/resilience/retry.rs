//! Retries with jitter, within a budget.
//!
//! A retry helps when a failure is one's own bad luck, and harms when everybody has it: then all callers multiply the
//! load on what is down already. So retries draw on a *budget* that calls fill: by default one retry for five calls,
//! and ten a second beyond that for callers that call rarely. Where it is empty, the failure is passed on at once.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, KeyValue};
use tokio::time::Instant;
use tower::retry::budget::{Budget as _, TpsBudget};

use crate::comms::metrics::Refusals;
use crate::comms::retry::Backoff;
use crate::comms::{deadline, names};

/// How many retries calls pay for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryBudget {
    /// Retries for each call, from 0 to 10; 0.2 by default.
    pub per_call: f32,
    /// Further retries a second, however few calls there are; 10 by default.
    pub per_second: u32,
    /// For how long a call pays, from 1 to 60 s; 10 s by default.
    pub remembered_for: Duration,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { per_call: 0.2, per_second: 10, remembered_for: Duration::from_secs(10) }
    }
}

/// Whether it is worth to try again, and when.
pub trait Transient {
    /// The same call may succeed in a moment.
    fn is_transient(&self) -> bool;

    /// The other side asked to be left alone for so long.
    fn retry_after(&self) -> Option<Duration> {
        None
    }
}

/// Tries again what failed for a passing reason; clones share the budget.
///
/// Only for calls that may be made twice.
#[derive(Clone)]
pub struct Retry {
    backoff: Backoff,
    budget: Arc<TpsBudget>,
    name: Option<Arc<str>>,
    refusals: Refusals,
}

impl Default for Retry {
    /// Two retries within the default budget.
    fn default() -> Self {
        Self::new(Backoff { retries: 2, ..Backoff::default() }, RetryBudget::default())
    }
}

impl std::fmt::Debug for Retry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retry").field("backoff", &self.backoff).finish_non_exhaustive()
    }
}

impl Retry {
    /// A budget out of range is brought into it.
    pub fn new(backoff: Backoff, budget: RetryBudget) -> Self {
        let per_call = if budget.per_call.is_nan() { 0.0 } else { budget.per_call.clamp(0.0, 10.0) };
        let remembered = budget.remembered_for.clamp(Duration::from_secs(1), Duration::from_secs(60));
        let budget = TpsBudget::new(remembered, budget.per_second.min(1_000_000), per_call);
        Self { backoff, budget: Arc::new(budget), name: None, refusals: Refusals::default() }
    }

    /// What metrics call them, where they count what the budget did not pay for
    /// ([`names::REFUSED_BY`](crate::comms::names::REFUSED_BY)).
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// As [`Self::named`], unless they have a name.
    pub(in crate::comms) fn named_or(self, name: &str) -> Self {
        if self.name.is_some() { self } else { self.named(name) }
    }

    /// Makes a call, and makes it again while it fails for a passing reason, there are retries left, the budget pays,
    /// and the wait ends before `until`. `attempt` is told its number, from 0.
    ///
    /// # Errors
    /// The last try's.
    pub async fn run<T, E, Fut>(
        &self,
        until: Option<Instant>,
        mut attempt: impl FnMut(u32) -> Fut,
    ) -> Result<T, E>
    where
        E: Transient,
        Fut: Future<Output = Result<T, E>>,
    {
        let mut course = self.begin();
        for number in 0.. {
            let error = match attempt(number).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match course.wait_after(self, &error, until) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(error),
            }
        }
        unreachable!("the retries end before the numbers")
    }

    /// Begins a call that may be made again.
    fn begin(&self) -> Course {
        self.budget.deposit();
        self.course()
    }

    fn course(&self) -> Course {
        let delays = ExponentialBuilder::default()
            .with_min_delay(self.backoff.first)
            .with_max_delay(self.backoff.longest)
            .with_max_times(self.backoff.retries)
            .with_jitter()
            .build();
        Course { delays }
    }
}

/// The retries of one call.
struct Course {
    delays: backon::ExponentialBackoff,
}

impl Course {
    /// How long to wait before the next try; none where there is to be none.
    fn wait_after(
        &mut self,
        retry: &Retry,
        error: &impl Transient,
        until: Option<Instant>,
    ) -> Option<Duration> {
        if !error.is_transient() {
            return None;
        }
        let wait = self.delays.next()?.max(error.retry_after().unwrap_or_default());
        if until.is_some_and(|until| Instant::now() + wait >= until) {
            return None;
        }
        if !retry.budget.withdraw() {
            retry.refusals.count_by(retry.name.as_ref(), "retry_budget_exhausted");
            let attributes = vec![KeyValue::new(names::EVENT_REASON, "too many calls fail at the moment")];
            Context::map_current(|context| {
                context.span().add_event(names::EVENT_RETRY_BUDGET_EXHAUSTED, attributes);
            });
            return None;
        }
        Some(wait)
    }
}

/// Tries again by [`Retry`] what fails for a passing reason.
pub struct RetryLayer<Req> {
    policy: Retries<Req>,
}

impl<Req> RetryLayer<Req> {
    /// Every request may be made twice.
    pub fn new(retry: Retry) -> Self {
        Self { policy: Retries { retry, may: None, course: None } }
    }

    /// Only requests of which this is true may be made twice.
    pub fn only(mut self, may: impl Fn(&Req) -> bool + Send + Sync + 'static) -> Self {
        self.policy.may = Some(Arc::new(may));
        self
    }
}

impl<Req> Clone for RetryLayer<Req> {
    fn clone(&self) -> Self {
        Self { policy: self.policy.clone() }
    }
}

impl<S, Req> tower::Layer<S> for RetryLayer<Req> {
    type Service = tower::retry::Retry<Retries<Req>, S>;

    fn layer(&self, inner: S) -> Self::Service {
        tower::retry::Retry::new(self.policy.clone(), inner)
    }
}

/// Whether a request may be made twice.
type May<Req> = dyn Fn(&Req) -> bool + Send + Sync;

/// [`Retry`] as tower's retries ask for it.
pub struct Retries<Req> {
    retry: Retry,
    may: Option<Arc<May<Req>>>,
    /// Once the first try has failed.
    course: Option<Course>,
}

impl<Req> Clone for Retries<Req> {
    /// For another call.
    fn clone(&self) -> Self {
        Self { retry: self.retry.clone(), may: self.may.clone(), course: None }
    }
}

impl<Req: Clone, Res, E: Transient> tower::retry::Policy<Req, Res, E> for Retries<Req> {
    type Future = tokio::time::Sleep;

    fn retry(&mut self, _: &mut Req, result: &mut Result<Res, E>) -> Option<Self::Future> {
        let error = result.as_ref().err()?;
        let course = self.course.get_or_insert_with(|| self.retry.course());
        course.wait_after(&self.retry, error, deadline::current()).map(tokio::time::sleep)
    }

    fn clone_request(&mut self, request: &Req) -> Option<Req> {
        // Asked before each try; the first one pays.
        if self.course.is_none() {
            self.retry.budget.deposit();
        }
        self.may.as_ref().is_none_or(|may| may(request)).then(|| request.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Fault {
        passes: bool,
        after: Option<Duration>,
    }

    impl Transient for Fault {
        fn is_transient(&self) -> bool {
            self.passes
        }

        fn retry_after(&self) -> Option<Duration> {
            self.after
        }
    }

    const PASSES: Fault = Fault { passes: true, after: None };

    fn quick(retries: usize, budget: RetryBudget) -> Retry {
        let millis = Duration::from_millis;
        Retry::new(Backoff { first: millis(1), longest: millis(2), retries }, budget)
    }

    /// How many tries a call that always fails makes.
    async fn tries(retry: &Retry, until: Option<Instant>, fault: fn() -> Fault) -> u32 {
        let tries = AtomicU32::new(0);
        let result: Result<(), _> = retry
            .run(until, |number| {
                assert_eq!(tries.fetch_add(1, Ordering::Relaxed), number);
                async move { Err(fault()) }
            })
            .await;
        assert_eq!(result, Err(fault()));
        tries.into_inner()
    }

    #[tokio::test]
    async fn tries_again_what_passes_and_nothing_else() {
        let retry = quick(3, RetryBudget::default());
        assert_eq!(tries(&retry, None, || PASSES).await, 4);
        assert_eq!(tries(&retry, None, || Fault { passes: false, after: None }).await, 1);
    }

    #[tokio::test]
    async fn an_empty_budget_ends_retries_until_calls_have_filled_it() {
        let retry = quick(1, RetryBudget { per_call: 0.25, per_second: 0, ..RetryBudget::default() });
        let mut made = 0;
        for _ in 0..40 {
            made += tries(&retry, None, || PASSES).await;
        }
        // A quarter of 40, give or take the one that is being paid for.
        assert!((49..=50).contains(&made), "{made} tries for 40 calls");
    }

    #[tokio::test]
    async fn waits_as_long_as_it_is_asked_to_but_not_beyond_the_deadline() {
        let retry = quick(1, RetryBudget::default());
        let asked = || Fault { passes: true, after: Some(Duration::from_millis(50)) };
        let began = Instant::now();
        assert_eq!(tries(&retry, Some(began + Duration::from_millis(40)), asked).await, 1);
        assert_eq!(tries(&retry, Some(began + Duration::from_secs(60)), asked).await, 2);
        assert!(began.elapsed() >= Duration::from_millis(50));
    }
}
