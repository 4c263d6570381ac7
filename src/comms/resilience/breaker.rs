//! The circuit breaker as a layer; see [`crate::comms::breaker`].

use std::task::{Context as Poller, Poll};

use axum::http::{Response, StatusCode};
use futures_util::future::BoxFuture;
use tower::{Layer, Service};

use super::refused::Refused;
use crate::comms::breaker::{Breaker, CountsAsFailure, Outcome};

/// Tells a breaker how a call went.
pub trait Classify<Res, E> {
    fn outcome(&self, result: &Result<Res, E>) -> Outcome;
}

/// Every answer is a success; errors tell by [`CountsAsFailure`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Errors;

impl<Res, E: CountsAsFailure> Classify<Res, E> for Errors {
    fn outcome(&self, result: &Result<Res, E>) -> Outcome {
        match result {
            Err(error) if error.counts_as_failure() => Outcome::Failure,
            _ => Outcome::Success,
        }
    }
}

/// As [`Errors`], and an HTTP status of 500 or more is a failure.
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpStatus;

impl<B, E: CountsAsFailure> Classify<Response<B>, E> for HttpStatus {
    fn outcome(&self, result: &Result<Response<B>, E>) -> Outcome {
        match result {
            Ok(response) if response.status() >= StatusCode::INTERNAL_SERVER_ERROR => Outcome::Failure,
            _ => Errors.outcome(result),
        }
    }
}

impl<Res, E, F: Fn(&Result<Res, E>) -> Outcome> Classify<Res, E> for F {
    fn outcome(&self, result: &Result<Res, E>) -> Outcome {
        self(result)
    }
}

/// Lets calls through a [`Breaker`].
#[derive(Clone, Debug)]
pub struct BreakerLayer<C = Errors> {
    breaker: Breaker,
    classify: C,
}

impl BreakerLayer {
    /// Errors alone are failures.
    pub fn new(breaker: Breaker) -> Self {
        Self { breaker, classify: Errors }
    }

    /// Another opinion on what is a failure: [`HttpStatus`], or a function.
    pub fn classify<C>(self, classify: C) -> BreakerLayer<C> {
        BreakerLayer { breaker: self.breaker, classify }
    }
}

impl<S, C: Clone> Layer<S> for BreakerLayer<C> {
    type Service = Guarded<S, C>;

    fn layer(&self, inner: S) -> Guarded<S, C> {
        Guarded { inner, breaker: self.breaker.clone(), classify: self.classify.clone() }
    }
}

/// A service with [`BreakerLayer`] around it.
#[derive(Clone, Debug)]
pub struct Guarded<S, C = Errors> {
    inner: S,
    breaker: Breaker,
    classify: C,
}

impl<S, C, Req> Service<Req> for Guarded<S, C>
where
    S: Service<Req>,
    S::Error: From<Refused> + Send + 'static,
    S::Response: Send + 'static,
    S::Future: Send + 'static,
    C: Classify<S::Response, S::Error> + Clone + Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(poller)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let permit = match self.breaker.acquire() {
            Ok(permit) => permit,
            Err(rejected) => return Box::pin(async move { Err(Refused::from(rejected).into()) }),
        };
        let (work, classify) = (self.inner.call(request), self.classify.clone());
        Box::pin(async move {
            let result = work.await;
            permit.record(classify.outcome(&result));
            result
        })
    }
}
