//! A timeout that whoever is called learns of: it is the deadline of what runs within (see [`crate::comms::deadline`]).

use std::task::{Context as Poller, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tower::{Layer, Service};

use super::refused::Refused;
use crate::comms::deadline;

/// Ends calls that take too long, or longer than the task's own deadline leaves.
#[derive(Clone, Copy, Debug)]
pub struct TimeoutLayer(Duration);

impl TimeoutLayer {
    pub fn new(timeout: Duration) -> Self {
        Self(timeout)
    }
}

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Timeout<S> {
        Timeout { inner, timeout: self.0 }
    }
}

/// A service with [`TimeoutLayer`] around it.
#[derive(Clone, Debug)]
pub struct Timeout<S> {
    inner: S,
    timeout: Duration,
}

impl<S, Req> Service<Req> for Timeout<S>
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
        let until = deadline::within(self.timeout);
        let given = until.saturating_duration_since(tokio::time::Instant::now());
        let work = deadline::scope(until, self.inner.call(request));
        Box::pin(async move {
            let late = |_| Err(Refused::TimedOut(given).noted().into());
            tokio::time::timeout_at(until, work).await.unwrap_or_else(late)
        })
    }
}
