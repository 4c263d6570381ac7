//! What a route wants of its callers, as a tower layer: for axum's routes and for gRPC services.

use std::sync::Arc;
use std::task::{Context as Poller, Poll};

use axum::http::{Request, Response};
use axum::response::IntoResponse as _;
use futures_util::future::BoxFuture;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, KeyValue};
use tonic::Status;
use tower::{Layer, Service};

use super::principal::{Access, Denied, Principal};
use super::tokens::Tokens;
use crate::comms::metrics::{Refusals, Transport};
use crate::comms::names;

/// An answer that can say that its request was refused.
pub trait Refusal {
    /// Whether it is one of gRPC: a refusal is counted by the method then, and by the route otherwise.
    const IS_GRPC: bool = false;

    fn refusal(denied: &Denied) -> Self;
}

impl Refusal for Response<axum::body::Body> {
    /// 401 or 403, as `application/problem+json`.
    fn refusal(denied: &Denied) -> Self {
        denied.clone().into_response()
    }
}

impl Refusal for Response<tonic::body::Body> {
    const IS_GRPC: bool = true;

    /// `UNAUTHENTICATED` or `PERMISSION_DENIED`.
    fn refusal(denied: &Denied) -> Self {
        let text = denied.to_string();
        let status = match denied {
            Denied::Unknown | Denied::Invalid { .. } => Status::unauthenticated(text),
            Denied::Scope { .. } => Status::permission_denied(text),
        };
        status.into_http()
    }
}

/// Lets requests through whose token holds and has what is wanted; who calls is an extension of the request.
///
/// Inside of the layer that makes the request's span, so that a refusal is seen: the span gets `error.type` and the caller's
/// name, and never the token. Refusals are counted ([`names::METRIC_REQUESTS_REFUSED`]).
#[derive(Clone, Debug)]
pub struct AccessLayer {
    tokens: Tokens,
    access: Access,
    /// Paths that want something else.
    apart: Arc<Vec<(String, Access)>>,
    refusals: Refusals,
}

impl AccessLayer {
    /// Wants this of every request.
    pub fn new(tokens: Tokens, access: Access) -> Self {
        Self { tokens, access, apart: Arc::default(), refusals: Refusals::default() }
    }

    /// Wants a scope.
    pub fn scope(tokens: Tokens, scope: &str) -> Self {
        Self::new(tokens, Access::Scope(scope.to_owned()))
    }

    /// Wants another scope of the requests for one path, in place of what it wants of the others. It is compared as it comes,
    /// so this is for methods of gRPC, which have one spelling: `/user.UserService/CreateUser`.
    #[must_use]
    pub fn method(mut self, path: &str, scope: &str) -> Self {
        Arc::make_mut(&mut self.apart).push((path.to_owned(), Access::Scope(scope.to_owned())));
        self
    }

    /// What is wanted of the requests for a path.
    fn access(&self, path: &str) -> &Access {
        self.apart.iter().find(|(apart, _)| apart == path).map_or(&self.access, |(_, access)| access)
    }

    fn count<Req, Res: Refusal>(&self, request: &Request<Req>, reason: &'static str) {
        if Res::IS_GRPC {
            let method = request.uri().path().trim_start_matches('/').to_owned();
            return self.refusals.count(Transport::Grpc, Some(method), reason);
        }
        self.refusals.count_at(request.extensions().get(), reason);
    }
}

impl<S> Layer<S> for AccessLayer {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, layer: self.clone() }
    }
}

/// A service with [`AccessLayer`] around it.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    inner: S,
    layer: AccessLayer,
}

impl<S, Req, Res> Service<Request<Req>> for Guarded<S>
where
    S: Service<Request<Req>, Response = Response<Res>>,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
    Response<Res>: Refusal + Send,
    Res: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(poller)
    }

    fn call(&mut self, mut request: Request<Req>) -> Self::Future {
        let caller = self.layer.tokens.of(request.headers()).and_then(|caller| {
            self.layer.access(request.uri().path()).check(caller.as_ref())?;
            Ok(caller)
        });
        match caller {
            Ok(caller) => {
                if let Some(principal) = caller {
                    said(&principal);
                    request.extensions_mut().insert(principal);
                }
                Box::pin(self.inner.call(request))
            }
            Err(denied) => {
                Context::map_current(|context| {
                    context.span().set_attribute(KeyValue::new(names::ERROR_TYPE, denied.kind()));
                });
                tracing::warn!(error.r#type = denied.kind(), "request refused: {denied}");
                self.layer.count::<Req, Response<Res>>(&request, denied.reason());
                let refusal = <Response<Res>>::refusal(&denied);
                Box::pin(std::future::ready(Ok(refusal)))
            }
        }
    }
}

/// Says on the request's span who makes it.
fn said(principal: &Principal) {
    let name: String = principal.subject.chars().take(64).collect();
    Context::map_current(|context| context.span().set_attribute(KeyValue::new(names::ENDUSER_ID, name)));
}
