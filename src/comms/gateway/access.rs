//! The access log: one line a request, written when its answer is through.

use std::net::SocketAddr;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{ConnectInfo, MatchedPath, Request};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use http_body::Body as _;
use opentelemetry::Context;

use super::body::Logged;
use crate::comms::correlation::{self, CorrelationId};
use crate::comms::http::redact;
use crate::comms::security::Principal;

/// What became of a request on its way; an extension of the answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    pub upstream: Option<String>,
    /// How often the upstream was asked.
    pub tries: u32,
    /// What the cache did, in the words of `Cache-Status`.
    pub cache: Option<String>,
}

/// Who called; an extension of the answer, for the log.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub Option<Principal>);

/// A line that is not complete yet.
pub(super) struct Line {
    method: Method,
    /// Path and query without secrets.
    target: String,
    route: String,
    address: Option<SocketAddr>,
    began: Instant,
    id: Option<CorrelationId>,
    context: Context,
    status: StatusCode,
    notes: Notes,
    subject: String,
}

impl Line {
    pub fn begin(request: &Request) -> Self {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let extensions = request.extensions();
        Self {
            method: request.method().clone(),
            target: redact::url(path).into_owned(),
            route: extensions.get::<MatchedPath>().map_or_else(String::new, |path| path.as_str().to_owned()),
            address: extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0),
            began: Instant::now(),
            id: correlation::current(),
            context: Context::current(),
            status: StatusCode::OK,
            notes: Notes::default(),
            subject: String::new(),
        }
    }

    /// Writes the line once the answer's body is through.
    pub fn with(mut self, mut response: Response) -> Response {
        self.status = response.status();
        self.notes = response.extensions_mut().remove().unwrap_or_default();
        if let Some(Caller(Some(principal))) = response.extensions_mut().remove() {
            self.subject = principal.subject;
        }
        // An answer to HEAD has none, whatever its length says.
        let length = if self.method == Method::HEAD { Some(0) } else { response.body().size_hint().exact() };
        response.map(|inner| Body::new(Logged { inner, line: Some(self), length, sent: 0 }))
    }

    /// `whole` is whether all of the answer was taken.
    pub fn write(self, sent: u64, whole: bool) {
        // The line belongs to the request's trace, wherever the body was sent from.
        let _here = self.context.clone().attach();
        let id = self.id.as_ref().map_or("", |id| id.as_str());
        let Self { method, target, status, .. } = &self;
        let end = if whole { "" } else { ", not taken to its end" };
        let text = format!("{method} {target} {}{end}", status.as_u16());
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let address = self.address.map(|address| address.ip().to_string()).unwrap_or_default();
        tracing::info!(
            target: "throughline::access",
            {
                correlation.id = id,
                http.request.method = %method,
                url.path = %target,
                http.route = %self.route,
                http.response.status_code = status.as_u16(),
                http.response.body.size = sent,
                duration_ms = millis,
                client.address = %address,
                client = %self.subject,
                upstream = %self.notes.upstream.as_deref().unwrap_or_default(),
                tries = self.notes.tries,
                cache = %self.notes.cache.as_deref().unwrap_or_default(),
            },
            "{}", text
        );
    }
}
