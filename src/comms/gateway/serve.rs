//! The way of a request, from the door to the upstream and back.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http_body::Body as _;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, KeyValue};

use super::access::{Caller, Line, Notes};
use super::aggregate::{self, Aggregate, Ready};
use super::answer_of;
use super::body::Limited;
use super::cache::{Asked, ResponseCache};
use super::failure::Failure;
use super::headers;
use super::limit::ClientLimit;
use super::table::{Path, Route};
use super::upstream::{Outgoing, Payload, Upstream};
use crate::comms::http::Problem;
use crate::comms::metrics::Refusals;
use crate::comms::security::{Authenticate, Denied, Principal};
use crate::comms::{deadline, names};

/// A request's body up to this size is held, in bytes, so that it may be sent again.
const HELD: u64 = 64 << 10;

/// What stands before every request.
pub(super) struct Gate {
    pub limit: Option<ClientLimit>,
    pub authenticate: Option<Arc<dyn Authenticate>>,
    pub refusals: Refusals,
}

/// A route whose upstream is known.
pub(super) struct Entry {
    pub service: Arc<str>,
    pub route: Route,
    pub pattern: Path,
    pub target: Path,
    pub template: Arc<str>,
    pub upstream: Upstream,
    pub cache: ResponseCache,
    pub most_body: usize,
    pub refusals: Refusals,
}

/// An aggregate whose upstreams are known.
pub(super) struct Joined {
    pub service: Arc<str>,
    pub aggregate: Aggregate,
    pub pattern: Path,
    pub parts: Vec<Ready>,
    pub refusals: Refusals,
}

/// Steps 2 to 4.
pub(super) async fn enter(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let line = Line::begin(&request);
    let (mut parts, body) = request.into_parts();
    let found = match &gate.authenticate {
        Some(by) => by.authenticate(&parts).await,
        None => Ok(None),
    };
    // Who is refused counts too, as an address: guessing is not free.
    let caller = found.as_ref().ok().cloned().flatten();
    let left = gate.limit.as_ref().map(|limit| limit.take(&parts, caller.as_ref()));
    let left = match left.transpose() {
        Ok(left) => left,
        Err(problem) => {
            note("rate_limited");
            gate.refusals.count_at(parts.extensions.get(), "rate_limited");
            return line.with(with_caller(problem.into_response(), caller));
        }
    };
    let mut response = match found {
        Err(denied) => turned_away(denied, &gate.refusals, parts.extensions.get()),
        Ok(found) => {
            if let Some(principal) = found {
                parts.extensions.insert(principal);
            }
            next.run(Request::from_parts(parts, body)).await
        }
    };
    if let (Some(limit), Some(left)) = (&gate.limit, left) {
        limit.tell(response.headers_mut(), left, limit.window());
    }
    line.with(with_caller(response, caller))
}

fn with_caller(mut response: Response, caller: Option<Principal>) -> Response {
    response.extensions_mut().insert(Caller(caller));
    response
}

/// Says on the request's span why it ended here.
fn note(why: &'static str) {
    Context::map_current(|context| context.span().set_attribute(KeyValue::new(names::ERROR_TYPE, why)));
}

/// The answer to who may not, which is noted and counted.
fn turned_away(denied: Denied, refusals: &Refusals, route: Option<&MatchedPath>) -> Response {
    note(denied.kind());
    refusals.count_at(route, denied.reason());
    denied.into_response()
}

fn noted(mut response: Response, notes: Notes) -> Response {
    response.extensions_mut().insert(notes);
    response
}

fn peer(request: &Request) -> Option<SocketAddr> {
    request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
}

fn astray(refusals: &Refusals, route: Option<&MatchedPath>) -> Response {
    refusals.count_at(route, "malformed_path");
    Problem::new(StatusCode::BAD_REQUEST, "a variable of the path leads out of its place").into_response()
}

impl Joined {
    /// Steps 5 to 11 for all parts at the same time.
    pub async fn serve(&self, request: Request) -> Response {
        let route: Option<&MatchedPath> = request.extensions().get();
        if let Err(denied) = self.aggregate.access.check(request.extensions().get::<Principal>()) {
            return turned_away(denied, &self.refusals, route);
        }
        let headers = headers::onward(request.headers(), peer(&request));
        let (path, Self { service, aggregate, pattern, parts, .. }) = (request.uri().path(), self);
        match aggregate::answer(service, aggregate, pattern, parts, path, &headers).await {
            Some((response, notes)) => noted(response, notes),
            None => astray(&self.refusals, route),
        }
    }
}

impl Entry {
    /// Steps 5 to 11.
    pub async fn serve(&self, request: Request) -> Response {
        let route: Option<MatchedPath> = request.extensions().get().cloned();
        if let Err(denied) = self.route.access.check(request.extensions().get::<Principal>()) {
            return turned_away(denied, &self.refusals, route.as_ref());
        }
        let Some(mut path) = self.pattern.rewrite(&self.target, request.uri().path()) else {
            return astray(&self.refusals, route.as_ref());
        };
        let failed = |failure: Failure| {
            failure.reason().into_iter().for_each(|reason| self.refusals.count_at(route.as_ref(), reason));
            answer_of(failure, &self.upstream.name)
        };
        if let Some(query) = request.uri().query() {
            path = format!("{path}?{query}");
        }
        let until = deadline::within(self.route.timeout.unwrap_or(self.upstream.timeout));
        let headers = headers::onward(request.headers(), peer(&request));
        let (parts, body) = request.into_parts();
        let payload = match self.payload(body).await {
            Ok(payload) => payload,
            Err(failure) => return failed(failure),
        };
        let (method, template) = (parts.method, Arc::clone(&self.template));
        let cached = ResponseCache::takes(&method, &parts.headers)
            && matches!(&payload, Payload::Whole(body) if body.is_empty());
        let out = Outgoing { method, path, template, headers, payload };
        let (answer, notes) = match &self.route.cache {
            Some(rule) if cached => {
                let (service, client) = (&*self.service, &parts.headers);
                let asked = Asked { service, upstream: &self.upstream, rule, client, until };
                self.cache.answer(asked, out).await
            }
            rule => {
                let (answer, tries) = self.upstream.send(&self.service, &out, until).await;
                let cache = rule.as_ref().map(|_| "fwd=bypass".to_owned());
                let notes = Notes { upstream: Some(self.upstream.name.to_string()), tries, cache };
                (answer, notes)
            }
        };
        let mut response = answer.unwrap_or_else(failed);
        let status =
            notes.cache.as_ref().map(|what| HeaderValue::try_from(format!("{}; {what}", self.service)));
        if let Some(Ok(status)) = status {
            response.headers_mut().insert(HeaderName::from_static("cache-status"), status);
        }
        noted(response, notes)
    }

    /// The body as it goes on.
    async fn payload(&self, body: Body) -> Result<Payload, Failure> {
        let size = body.size_hint();
        if size.lower() > self.most_body as u64 {
            return Err(Failure::TooLarge(self.most_body));
        }
        if size.exact().is_some_and(|size| size <= HELD) {
            let whole = axum::body::to_bytes(body, self.most_body).await;
            let gone = |error: axum::Error| Failure::Unwritable(error.to_string());
            return whole.map(Payload::Whole).map_err(gone);
        }
        let (body, over) = Limited::new(body, self.most_body);
        Ok(Payload::Stream { body: Mutex::new(Some(body)), most: self.most_body, over })
    }
}
