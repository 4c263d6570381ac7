//! Rate limits: so many calls a second, of all or of each caller, by governor's cell rate algorithm.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::task::{Context as Poller, Poll};

use futures_util::future::BoxFuture;
use governor::clock::{Clock as _, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};
use tower::{Layer, Service};

use super::refused::Refused;
use crate::comms::metrics::Refusals;

/// With more keys than this, those that have their whole burst again are forgotten.
const MOST_KEYS: usize = 10_000;

/// So many calls a second; clones share the count. `K` tells callers apart.
pub struct RateLimit<K: Hash + Eq + Clone = ()> {
    limiter: Arc<Limiter<K>>,
    clock: DefaultClock,
    name: Option<Arc<str>>,
    refusals: Refusals,
}

type Limiter<K> = RateLimiter<K, DefaultKeyedStateStore<K>, DefaultClock, StateInformationMiddleware>;

impl<K: Hash + Eq + Clone> Clone for RateLimit<K> {
    fn clone(&self) -> Self {
        let (name, refusals) = (self.name.clone(), self.refusals.clone());
        Self { limiter: Arc::clone(&self.limiter), clock: self.clock.clone(), name, refusals }
    }
}

impl<K: Hash + Eq + Clone> std::fmt::Debug for RateLimit<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimit").finish_non_exhaustive()
    }
}

impl RateLimit {
    /// So many calls a second in all, at least one, and as many at once after a pause.
    pub fn per_second(calls: u32) -> Self {
        Self::of_each(calls, calls)
    }
}

impl<K: Hash + Eq + Clone> RateLimit<K> {
    /// So many calls a second of each key, and `burst` at once after a pause; both at least one.
    pub fn of_each(per_second: u32, burst: u32) -> Self {
        let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst));
        Self {
            limiter: Arc::new(RateLimiter::keyed(quota).with_middleware()),
            clock: DefaultClock::default(),
            name: None,
            refusals: Refusals::default(),
        }
    }

    /// What metrics call it, where they count what it refuses ([`names::REFUSED_BY`](crate::comms::names::REFUSED_BY)).
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Counts a call.
    ///
    /// # Errors
    /// [`Refused::Limited`], with the time until the next is allowed.
    pub fn check(&self, key: &K) -> Result<(), Refused> {
        self.take(key).map(drop)
    }

    /// Counts a call, and gives how many more are allowed at once.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn take(&self, key: &K) -> Result<u32, Refused> {
        self.try_take(key).inspect_err(|_| self.refusals.count_by(self.name.as_ref(), "rate_limited"))
    }

    /// As [`Self::take`], for one who counts what is refused itself.
    pub(in crate::comms) fn try_take(&self, key: &K) -> Result<u32, Refused> {
        if self.limiter.len() > MOST_KEYS {
            self.limiter.retain_recent();
        }
        self.limiter.check_key(key).map(|left| left.remaining_burst_capacity()).map_err(|not_until| {
            let retry_after = not_until.wait_time_from(self.clock.now());
            Refused::Limited { retry_after }.noted()
        })
    }
}

/// Lets calls through within a [`RateLimit`] of all of them.
#[derive(Clone, Debug)]
pub struct RateLimitLayer(RateLimit);

impl RateLimitLayer {
    pub fn new(limit: RateLimit) -> Self {
        Self(limit)
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimited<S>;

    fn layer(&self, inner: S) -> RateLimited<S> {
        RateLimited { inner, limit: self.0.clone() }
    }
}

/// A service with [`RateLimitLayer`] around it.
#[derive(Clone, Debug)]
pub struct RateLimited<S> {
    inner: S,
    limit: RateLimit,
}

impl<S, Req> Service<Req> for RateLimited<S>
where
    S: Service<Req>,
    S::Error: From<Refused>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(poller)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        match self.limit.check(&()) {
            Ok(()) => Box::pin(self.inner.call(request)),
            Err(refused) => Box::pin(async move { Err(refused.into()) }),
        }
    }
}
