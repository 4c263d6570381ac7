//! A tower layer that lets calls come late or fail, all of them or every so many, to see what a service does then.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Poller, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tower::{Layer, Service};

/// The error of a call that failed because a test wanted it to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a fault was injected")]
pub struct Injected;

/// What a faulty call gives in place of an answer.
type Instead<R, E> = Arc<dyn Fn() -> Result<R, E> + Send + Sync>;

/// The layer, and at the same time the switch: a clone that a test has kept turns the faults on and off and counts.
///
/// With neither a delay nor an outcome it does nothing but count. `R` and `E` are answer and error of the service.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use throughline::comms::testing::Faults;
/// use tower::{BoxError, Service, ServiceBuilder, ServiceExt};
///
/// let faults = Faults::default().every(2).failing();
/// let double = tower::service_fn(|n: u32| async move { Ok::<u32, BoxError>(2 * n) });
/// let mut double = ServiceBuilder::new().layer(faults.clone()).service(double);
/// assert_eq!(double.ready().await.unwrap().call(4).await.unwrap(), 8);
/// assert!(double.ready().await.unwrap().call(4).await.is_err());
/// faults.off();
/// assert_eq!(double.ready().await.unwrap().call(4).await.unwrap(), 8);
/// assert_eq!((faults.calls(), faults.injected()), (3, 1));
/// # });
/// ```
pub struct Faults<R, E> {
    every: u64,
    delay: Duration,
    instead: Option<Instead<R, E>>,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    off: AtomicBool,
    /// Calls since the faults were last turned on; a lock keeps "every third" exact among many tasks.
    since: Mutex<u64>,
    calls: AtomicU64,
    injected: AtomicU64,
}

impl<R, E> Default for Faults<R, E> {
    /// Every call, without a delay and with its own answer.
    fn default() -> Self {
        Self { every: 1, delay: Duration::ZERO, instead: None, state: Arc::default() }
    }
}

impl<R, E> Clone for Faults<R, E> {
    fn clone(&self) -> Self {
        let state = Arc::clone(&self.state);
        Self { every: self.every, delay: self.delay, instead: self.instead.clone(), state }
    }
}

impl<R, E> fmt::Debug for Faults<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (calls, injected) = (self.calls(), self.injected());
        let fails = self.instead.is_some();
        write!(
            f,
            "Faults(every {}, delay {:?}, fails {fails}: {injected} of {calls})",
            self.every, self.delay
        )
    }
}

impl<R, E> Faults<R, E> {
    /// Only each `n`th call is faulty, the `n`th first; 0 counts as 1.
    #[must_use]
    pub fn every(self, n: u64) -> Self {
        Self { every: n.max(1), ..self }
    }

    /// Faulty calls come this much later.
    #[must_use]
    pub fn delayed(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Faulty calls are not made and end in [`Injected`].
    #[must_use]
    pub fn failing(self) -> Self
    where
        E: From<Injected>,
    {
        self.with(|| Err(Injected.into()))
    }

    /// Faulty calls are not made and end as `instead` says: with an error of the service's own, or an answer such as 503.
    #[must_use]
    pub fn with(self, instead: impl Fn() -> Result<R, E> + Send + Sync + 'static) -> Self {
        Self { instead: Some(Arc::new(instead)), ..self }
    }

    /// No faults from here on.
    pub fn off(&self) {
        self.state.off.store(true, Ordering::SeqCst);
    }

    /// Faults again; "every so many" counts from here.
    pub fn on(&self) {
        *self.state.since.lock().unwrap_or_else(PoisonError::into_inner) = 0;
        self.state.off.store(false, Ordering::SeqCst);
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.state.calls.load(Ordering::SeqCst)
    }

    /// How many of them were faulty.
    pub fn injected(&self) -> u64 {
        self.state.injected.load(Ordering::SeqCst)
    }

    /// Whether the call that begins now is faulty.
    fn hits(&self) -> bool {
        self.state.calls.fetch_add(1, Ordering::SeqCst);
        if self.state.off.load(Ordering::SeqCst) {
            return false;
        }
        let mut since = self.state.since.lock().unwrap_or_else(PoisonError::into_inner);
        *since += 1;
        let hits = since.is_multiple_of(self.every);
        if hits {
            self.state.injected.fetch_add(1, Ordering::SeqCst);
        }
        hits
    }
}

impl<S, R, E> Layer<S> for Faults<R, E> {
    type Service = Faulty<S, R, E>;

    fn layer(&self, inner: S) -> Faulty<S, R, E> {
        Faulty { inner, faults: self.clone() }
    }
}

/// A service with [`Faults`] around it.
pub struct Faulty<S, R, E> {
    inner: S,
    faults: Faults<R, E>,
}

impl<S: Clone, R, E> Clone for Faulty<S, R, E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), faults: self.faults.clone() }
    }
}

impl<S, Req> Service<Req> for Faulty<S, S::Response, S::Error>
where
    S: Service<Req>,
    S::Future: Send + 'static,
    S::Response: 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(poller)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        if !self.faults.hits() {
            return Box::pin(self.inner.call(request));
        }
        let delay = self.faults.delay;
        match self.faults.instead.clone() {
            Some(instead) => Box::pin(async move {
                tokio::time::sleep(delay).await;
                instead()
            }),
            None => {
                let late = self.inner.call(request);
                Box::pin(async move {
                    tokio::time::sleep(delay).await;
                    late.await
                })
            }
        }
    }
}
