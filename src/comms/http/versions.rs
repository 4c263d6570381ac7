//! Versions of an interface side by side: the old one is served on, and each answer says that it will end.
//!
//! ```
//! # fn routes() -> axum::Router { axum::Router::new() }
//! use std::time::{Duration, UNIX_EPOCH};
//! use throughline::comms::http::Deprecated;
//!
//! // 2026-01-01 and 2027-01-01.
//! let old = Deprecated::since(UNIX_EPOCH + Duration::from_secs(1_767_225_600))
//!     .sunset(UNIX_EPOCH + Duration::from_secs(1_798_761_600))
//!     .successor("/v1", "/v2");
//! let router = axum::Router::new().nest("/v1", routes().layer(old.layer())).nest("/v2", routes());
//! # let _: axum::Router = router;
//! ```
//!
//! `Deprecation` is RFC 9745, `Sunset` RFC 8594, and the link's relation `successor-version` RFC 5829. The request's span says
//! it too (`throughline.api.deprecated`), so that a search finds who still asks.

use std::sync::Arc;
use std::task::{Context as Poller, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{OriginalUri, Request};
use axum::http::{HeaderName, HeaderValue, Uri, header};
use axum::response::Response;
use futures_util::future::BoxFuture;
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry::{Context, KeyValue};
use tower::{Layer, Service};

use crate::comms::names;

/// An interface that will end, or has.
#[derive(Clone, Debug)]
pub struct Deprecated {
    since: SystemTime,
    sunset: Option<SystemTime>,
    successor: Option<(String, String)>,
    documentation: Option<String>,
}

impl Deprecated {
    /// It should not be used by anybody new from then on.
    pub fn since(since: SystemTime) -> Self {
        Self { since, sunset: None, successor: None, documentation: None }
    }

    /// It may be gone from then on.
    pub fn sunset(self, at: SystemTime) -> Self {
        Self { sunset: Some(at), ..self }
    }

    /// The same is found where the path begins with `new` in place of `old`. Where it does not begin with `old`, `new` is put
    /// before it.
    pub fn successor(self, old: &str, new: &str) -> Self {
        Self { successor: Some((old.to_owned(), new.to_owned())), ..self }
    }

    /// Where it is said what to do: the address of a text for people.
    pub fn documentation(self, url: &str) -> Self {
        Self { documentation: Some(url.to_owned()), ..self }
    }

    /// A layer for its routes.
    pub fn layer(self) -> DeprecatedLayer {
        DeprecatedLayer(Arc::new(self))
    }

    fn headers(&self, uri: &Uri) -> Vec<(HeaderName, HeaderValue)> {
        let since = self.since.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let mut texts = vec![(HeaderName::from_static("deprecation"), format!("@{since}"))];
        if let Some(at) = self.sunset {
            texts.push((HeaderName::from_static("sunset"), httpdate::fmt_http_date(at)));
        }
        if let Some((old, new)) = &self.successor {
            let path = uri.path();
            let rest = path.strip_prefix(old.as_str()).unwrap_or(path);
            texts.push((header::LINK, format!("<{new}{rest}>; rel=\"successor-version\"")));
        }
        if let Some(url) = &self.documentation {
            texts.push((header::LINK, format!("<{url}>; rel=\"deprecation\"; type=\"text/html\"")));
        }
        // What cannot be a header's value was none of an address.
        texts.into_iter().filter_map(|(name, text)| Some((name, HeaderValue::try_from(text).ok()?))).collect()
    }
}

/// See [`Deprecated::layer`].
#[derive(Clone, Debug)]
pub struct DeprecatedLayer(Arc<Deprecated>);

impl<S> Layer<S> for DeprecatedLayer {
    type Service = Ending<S>;

    fn layer(&self, inner: S) -> Ending<S> {
        Ending { inner, told: Arc::clone(&self.0) }
    }
}

/// Routes with [`DeprecatedLayer`] around them.
#[derive(Clone, Debug)]
pub struct Ending<S> {
    inner: S,
    told: Arc<Deprecated>,
}

impl<S> Service<Request> for Ending<S>
where
    S: Service<Request, Response = Response>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response, S::Error>>;

    fn poll_ready(&mut self, poller: &mut Poller<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(poller)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        // Below a prefix, the path that was asked for.
        let original = request.extensions().get::<OriginalUri>();
        let headers = self.told.headers(original.map_or(request.uri(), |uri| &uri.0));
        Context::map_current(|context| {
            context.span().set_attribute(KeyValue::new(names::API_DEPRECATED, true));
        });
        let work = self.inner.call(request);
        Box::pin(async move {
            let mut response = work.await?;
            for (name, value) in headers {
                // Beside others: an answer may have links of its own.
                response.headers_mut().append(name, value);
            }
            Ok(response)
        })
    }
}
