//! A client for one other service: typed JSON calls that carry the correlation ID and the trace context.
//!
//! Each call joins the task's correlation ID, or starts one where there is none. It has a timeout, goes through a
//! circuit breaker, and is retried within a budget where it may be made twice; [`Policy`] sets all three.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::Histogram;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::address::Address;
use super::call::Call;
use super::error::CallError;
use super::transport::Transport;
use crate::comms::breaker::{Breaker, CountsAsFailure};
use crate::comms::resilience::{Policy, Retry};
use crate::comms::security::Credentials;
use crate::comms::{Tracer, metrics, names};

/// The timeout of a call unless another is set.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client for one other service; cheap to clone, keeps connections open.
#[derive(Clone)]
pub struct ServiceHttpClient {
    pub(super) client: reqwest::Client,
    pub(super) address: Address,
    pub(super) service: Arc<str>,
    pub(super) peer: Option<Arc<str>>,
    pub(super) timeout: Duration,
    pub(super) transport: Transport,
    pub(super) breaker: Option<Breaker>,
    pub(super) is_failure: fn(&CallError) -> bool,
    pub(super) retry: Option<Retry>,
    pub(super) credentials: Option<Credentials>,
    pub(super) duration: Histogram<f64>,
    pub(super) tracer: Tracer,
}

impl ServiceHttpClient {
    /// A client that calls `base_url` on behalf of `service_name`.
    ///
    /// # Errors
    /// The URL is not one, is neither http nor https, or has a query or a fragment.
    pub fn new(base_url: &str, service_name: &str) -> anyhow::Result<Self> {
        Self::with_timeout(base_url, service_name, DEFAULT_TIMEOUT)
    }

    /// As [`Self::new`], with another timeout for a whole call, its retries and its body included.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_timeout(base_url: &str, service_name: &str, timeout: Duration) -> anyhow::Result<Self> {
        Self::with_policy(base_url, service_name, Policy::with_timeout(timeout))
    }

    /// As [`Self::new`], with timeout, retries and breaker as the policy says.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_policy(base_url: &str, service_name: &str, policy: Policy) -> anyhow::Result<Self> {
        Self::with_transport(base_url, service_name, policy, Transport::default())
    }

    /// As [`Self::with_policy`], with connections as `transport` says.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_transport(
        base_url: &str,
        service_name: &str,
        policy: Policy,
        transport: Transport,
    ) -> anyhow::Result<Self> {
        let Policy { timeout, retry, breaker } = policy;
        let address = Address::parse(base_url)?;
        let mut headers = HeaderMap::new();
        headers.insert(names::X_SERVICE_NAME, HeaderValue::try_from(service_name)?);
        let client = transport.client(timeout, headers)?;
        let about = "Duration of calls to other services";
        let duration = metrics::durations("http.client.request.duration", about);
        let breaker = breaker.map(|config| Breaker::new(&authority(address.url()), config));
        Ok(Self {
            client,
            address,
            service: service_name.into(),
            peer: None,
            timeout,
            transport,
            breaker,
            is_failure: CallError::counts_as_failure,
            retry,
            credentials: None,
            duration,
            tracer: Tracer::default(),
        })
    }

    /// Names the called service on the spans, as `service.peer.name`, and the breaker after it: without this the
    /// breaker has the name of the address. Retries that have no name get it too.
    pub fn with_peer(mut self, name: &str) -> Self {
        self.peer = Some(name.into());
        self.retry = self.retry.map(|retry| retry.named_or(name));
        self.breaker = self.breaker.map(|b| Breaker::new(name, b.config().clone()).with_peer(name));
        self
    }

    /// Puts the client behind a breaker that it shares with others.
    pub fn with_breaker(mut self, breaker: Breaker) -> Self {
        self.breaker = Some(breaker);
        self
    }

    /// Says with each call who makes it, by a token.
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Another opinion on which failed calls are the service's fault, and count for the breaker, than that of
    /// [`CountsAsFailure`].
    pub fn with_failures(mut self, is_failure: fn(&CallError) -> bool) -> Self {
        self.is_failure = is_failure;
        self
    }

    /// The breaker that its calls go through.
    pub fn breaker(&self) -> Option<&Breaker> {
        self.breaker.as_ref()
    }

    /// A call to be completed by [`Call::send`]; `path` begins with a slash.
    pub fn request(&self, method: Method, path: impl Into<String>) -> Call<'_> {
        Call::new(self, method, path.into())
    }

    /// # Errors
    /// See [`CallError`]; so for all the following.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.request(Method::GET, path).send().await
    }

    /// # Errors
    /// See [`CallError`].
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CallError> {
        self.request(Method::POST, path).json(body).send().await
    }

    /// # Errors
    /// See [`CallError`].
    pub async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, CallError> {
        self.request(Method::PUT, path).json(body).send().await
    }

    /// # Errors
    /// See [`CallError`].
    pub async fn patch<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CallError> {
        self.request(Method::PATCH, path).json(body).send().await
    }

    /// # Errors
    /// See [`CallError`].
    pub async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.request(Method::DELETE, path).send().await
    }
}

/// Host and port, as a name.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port_or_known_default().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
