//! Failures of the scenarios, as a layer that is the same over HTTP and gRPC: a call comes late and is answered badly.

use std::task::{Context as Poller, Poll};

use axum::http::{Request, Response, StatusCode};
use futures_util::future::BoxFuture;
use tonic::Status;
use tower::{Layer, Service};

use super::service::Shared;
use super::services;

/// An answer that a service gives when it fails because it is meant to.
pub trait Failing {
    /// The answer of a failure that is `status` over HTTP.
    fn failing(status: StatusCode) -> Self;
}

impl Failing for Response<axum::body::Body> {
    fn failing(status: StatusCode) -> Self {
        services::failed(status)
    }
}

impl Failing for Response<tonic::body::Body> {
    /// With the code that says the same.
    fn failing(status: StatusCode) -> Self {
        let text = services::FAILING;
        let status = match status {
            StatusCode::SERVICE_UNAVAILABLE => Status::unavailable(text),
            StatusCode::GATEWAY_TIMEOUT => Status::deadline_exceeded(text),
            _ => Status::internal(text),
        };
        status.into_http()
    }
}

/// Answers late and badly where a scenario wants it. Within the layer that makes the call's span, so that it is seen.
#[derive(Clone)]
pub struct FaultLayer(Shared);

impl FaultLayer {
    pub fn new(shared: &Shared) -> Self {
        Self(shared.clone())
    }
}

impl<S> Layer<S> for FaultLayer {
    type Service = Faulty<S>;

    fn layer(&self, inner: S) -> Faulty<S> {
        Faulty { inner, shared: self.0.clone() }
    }
}

/// A service with [`FaultLayer`] around it.
#[derive(Clone)]
pub struct Faulty<S> {
    inner: S,
    shared: Shared,
}

impl<S, Req, Res> Service<Request<Req>> for Faulty<S>
where
    S: Service<Request<Req>, Response = Response<Res>>,
    S::Future: Send + 'static,
    Response<Res>: Failing,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(poller)
    }

    fn call(&mut self, request: Request<Req>) -> Self::Future {
        let Shared { settings, scenarios, pace, .. } = &self.shared;
        let Some((after, status)) = scenarios.fault(settings.name, &settings.service_version) else {
            return Box::pin(self.inner.call(request));
        };
        let (name, after) = (self.shared.name(), after.mul_f64(pace.0));
        Box::pin(async move {
            tokio::time::sleep(after).await;
            tracing::error!("{name} fails: a scenario of the demo is on");
            Ok(Response::failing(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic::Code;

    #[test]
    fn a_failure_over_grpc_says_what_it_says_over_http() {
        for (status, code) in [(503, Code::Unavailable), (504, Code::DeadlineExceeded), (500, Code::Internal)]
        {
            let status = StatusCode::from_u16(status).expect("a status");
            let answer = Response::<axum::body::Body>::failing(status);
            assert_eq!(answer.status(), status);
            let answer = Response::<tonic::body::Body>::failing(status);
            let told = Status::from_header_map(answer.headers()).expect("a status");
            assert_eq!((answer.status(), told.code()), (StatusCode::OK, code));
        }
    }
}
