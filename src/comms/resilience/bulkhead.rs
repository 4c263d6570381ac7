//! A bulkhead: so many calls at a time and no more, so that one slow service does not take all that this one has.

use std::sync::Arc;
use std::task::{Context as Poller, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

use super::refused::Refused;
use crate::comms::metrics::Refusals;

/// So many calls at a time; clones share the places.
#[derive(Clone, Debug)]
pub struct Bulkhead {
    name: Arc<str>,
    places: Arc<Semaphore>,
    at_once: usize,
    wait: Duration,
    refusals: Refusals,
}

impl Bulkhead {
    /// `at_once` calls at a time, at least one; who finds no place waits for one so long and is then refused. Zero is no
    /// wait at all.
    pub fn new(name: &str, at_once: usize, wait: Duration) -> Self {
        let at_once = at_once.clamp(1, Semaphore::MAX_PERMITS);
        let (places, refusals) = (Arc::new(Semaphore::new(at_once)), Refusals::default());
        Self { name: name.into(), places, at_once, wait, refusals }
    }

    /// A place, to be kept for as long as the call takes. Those who wait get one in the order in which they came.
    ///
    /// # Errors
    /// [`Refused::Full`].
    pub async fn enter(&self) -> Result<OwnedSemaphorePermit, Refused> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let place = Arc::clone(&self.places).acquire_owned();
        match tokio::time::timeout(self.wait, place).await {
            // It is never closed.
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => {
                let (bulkhead, at_once, waited) = (Arc::clone(&self.name), self.at_once, self.wait);
                self.refusals.count_by(Some(&self.name), "bulkhead_full");
                Err(Refused::Full { bulkhead, at_once, waited }.noted())
            }
        }
    }

    /// Places that are free now.
    pub fn free(&self) -> usize {
        self.places.available_permits()
    }
}

/// Lets calls through a [`Bulkhead`].
#[derive(Clone, Debug)]
pub struct BulkheadLayer(Bulkhead);

impl BulkheadLayer {
    pub fn new(bulkhead: Bulkhead) -> Self {
        Self(bulkhead)
    }
}

impl<S> Layer<S> for BulkheadLayer {
    type Service = Bulkheaded<S>;

    fn layer(&self, inner: S) -> Bulkheaded<S> {
        Bulkheaded { inner, bulkhead: self.0.clone() }
    }
}

/// A service with [`BulkheadLayer`] around it.
#[derive(Clone, Debug)]
pub struct Bulkheaded<S> {
    inner: S,
    bulkhead: Bulkhead,
}

impl<S, Req> Service<Req> for Bulkheaded<S>
where
    S: Service<Req> + Clone + Send + 'static,
    S::Error: From<Refused>,
    S::Future: Send,
    Req: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(poller)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let mut inner = super::ready(&mut self.inner);
        let bulkhead = self.bulkhead.clone();
        Box::pin(async move {
            let _place = bulkhead.enter().await?;
            inner.call(request).await
        })
    }
}
