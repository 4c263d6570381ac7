//! One call on its way: its tries, each a CLIENT span behind the breaker, and its answer.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;
use opentelemetry::context::FutureExt as _;
use opentelemetry::trace::{Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::attributes::method_text;
use super::client::ServiceHttpClient;
use super::error::{CallError, CallErrorKind, excerpt};
use super::redact;
use super::span::Try;
use crate::comms::breaker::Outcome;
use crate::comms::correlation::{self, CorrelationId};
use crate::comms::propagation::{self, IntoHeaders};
use crate::comms::{deadline, names};

/// One call on its way.
pub struct Call<'a> {
    client: &'a ServiceHttpClient,
    method: Method,
    path: String,
    template: Option<Cow<'static, str>>,
    body: Option<serde_json::Result<Bytes>>,
    idempotency_key: Option<String>,
}

impl<'a> Call<'a> {
    pub(super) fn new(client: &'a ServiceHttpClient, method: Method, path: String) -> Self {
        Self { client, method, path, template: None, body: None, idempotency_key: None }
    }

    /// The path with its variables by name, such as `/orders/{id}`: makes the span's name tell more than the
    /// method without one name per order.
    pub fn template(mut self, template: impl Into<Cow<'static, str>>) -> Self {
        self.template = Some(template.into());
        self
    }

    /// The body, as JSON.
    pub fn json(mut self, body: &impl Serialize) -> Self {
        self.body = Some(serde_json::to_vec(body).map(Bytes::from));
        self
    }

    /// Says by a header `Idempotency-Key` that the same key is the same request, so that a POST may be retried. The
    /// service has to honour it.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// As [`Self::idempotency_key`], with a key made for this call: its own retries are then one request, and a second
    /// call is another.
    pub fn idempotent(self) -> Self {
        self.idempotency_key(uuid::Uuid::now_v7().to_string())
    }

    /// Makes the call and reads the answer's JSON; an empty body reads as `null`.
    ///
    /// Tried again within the client's budget where the method allows it (all but POST and PATCH) or there is an
    /// idempotency key. A failure is logged once, whatever the number of tries; each try has its own span.
    ///
    /// # Errors
    /// An open breaker, no connection, no answer in time, a status of 400 or more, or a body of another type.
    pub async fn send<T: DeserializeOwned>(self) -> Result<T, CallError> {
        let id = correlation::current().unwrap_or_else(|| CorrelationId::generate(&self.client.service));
        let url = self.client.address.join(&self.path);
        let until = deadline::within(self.client.timeout);
        let repeatable =
            !matches!(self.method, Method::POST | Method::PATCH) || self.idempotency_key.is_some();
        let attempt = |number| self.attempt(&url, &id, until, number);
        let answer = match &self.client.retry {
            Some(retry) if repeatable => retry.run(Some(until), attempt).await,
            _ => attempt(0).await,
        };
        answer.inspect_err(log_failure)
    }

    /// One try, in a span of its own.
    async fn attempt<T: DeserializeOwned>(
        &self,
        url: &str,
        id: &CorrelationId,
        until: tokio::time::Instant,
        number: u32,
    ) -> Result<T, CallError> {
        let context = self.start_span(url, id, number);
        let started = Instant::now();
        let answer = self.guarded::<T>(url, id, until, &context).with_context(context.clone()).await;
        let mut attributes = Vec::with_capacity(5);
        attributes.push(KeyValue::new(names::HTTP_REQUEST_METHOD, method_text(&self.method)));
        attributes.extend(self.client.address.attributes());
        match &answer {
            Ok((status, _)) => {
                attributes.push(KeyValue::new(names::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16())));
            }
            Err(error) => attributes.extend(record_failure(&context, error)),
        }
        self.client.duration.record(started.elapsed().as_secs_f64(), &attributes);
        context.span().end();
        answer.map(|(_, body)| body)
    }

    fn start_span(&self, url: &str, id: &CorrelationId, number: u32) -> Context {
        let ServiceHttpClient { address: server, peer, tracer, .. } = self.client;
        let (template, peer) = (self.template.as_deref(), peer.as_ref());
        Try { method: &self.method, url, server, template, peer, id, number }.start(tracer.get())
    }

    /// Makes the call if the breaker lets it through, and tells the breaker how it went.
    async fn guarded<T: DeserializeOwned>(
        &self,
        url: &str,
        id: &CorrelationId,
        until: tokio::time::Instant,
        context: &Context,
    ) -> Result<(StatusCode, T), CallError> {
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        if left.is_zero() {
            return Err(self.failure(url, id, CallErrorKind::Timeout, &[], None));
        }
        let Some(breaker) = &self.client.breaker else {
            return self.perform(url, id, left, context).await;
        };
        let permit = breaker.acquire();
        let state = permit.as_ref().map_or_else(|rejected| rejected.state, |permit| permit.state());
        context.span().set_attributes([
            KeyValue::new(names::BREAKER_NAME, breaker.shared_name()),
            KeyValue::new(names::BREAKER_STATE, state.text()),
        ]);
        let permit = permit.map_err(|rejected| {
            let retry_after = rejected.retry_after;
            let error = self.failure(url, id, CallErrorKind::Rejected, &[], Some(rejected.into()));
            CallError { retry_after, ..error }
        })?;
        let result = self.perform(url, id, left, context).await;
        let own_time = deadline::is_own_time(left, self.client.timeout);
        match &result {
            // Cut short by the caller's deadline or by earlier tries: slow at most, as the permit itself finds.
            Err(error) if error.kind == CallErrorKind::Timeout && !own_time => drop(permit),
            Err(error) if (self.client.is_failure)(error) => permit.record(Outcome::Failure),
            _ => permit.record(Outcome::Success),
        }
        result
    }

    fn failure(
        &self,
        url: &str,
        id: &CorrelationId,
        kind: CallErrorKind,
        body: &[u8],
        source: Option<BoxError>,
    ) -> CallError {
        CallError {
            kind,
            method: self.method.clone(),
            url: redact::url(url).into_owned(),
            correlation_id: id.clone(),
            body_excerpt: excerpt(body),
            retry_after: None,
            turned_away_by: None,
            source,
        }
    }

    /// The request with all of its headers; what cannot be sent is refused here.
    fn request(
        &self,
        url: &str,
        id: &CorrelationId,
        left: Duration,
        context: &Context,
    ) -> Result<RequestBuilder, BoxError> {
        if !matches!(self.path.bytes().next(), None | Some(b'/' | b'?')) {
            // It would lengthen the host's name or make a user's of it.
            return Err("the path does not begin with a slash".into());
        }
        let mut headers = HeaderMap::new();
        propagation::inject(context, id, &mut IntoHeaders(&mut headers));
        headers.insert(names::X_REQUEST_TIMEOUT_MS, deadline::header(left));
        if let Some(key) = &self.idempotency_key {
            headers.insert("idempotency-key", HeaderValue::try_from(key.as_str())?);
        }
        if let Some(credentials) = &self.client.credentials {
            credentials.put(&mut headers)?;
        }
        let url = self.client.address.parsed(url)?;
        let request = self.client.client.request(self.method.clone(), url).headers(headers).timeout(left);
        let limit = self.client.transport.max_request_body;
        match &self.body {
            None => Ok(request),
            Some(Ok(body)) if body.len() > limit => {
                let size = body.len();
                Err(format!("the request's body has {size} bytes, above the limit of {limit}").into())
            }
            Some(Ok(body)) => Ok(request.header(CONTENT_TYPE, "application/json").body(body.clone())),
            Some(Err(error)) => Err(error.to_string().into()),
        }
    }

    async fn perform<T: DeserializeOwned>(
        &self,
        url: &str,
        id: &CorrelationId,
        left: Duration,
        context: &Context,
    ) -> Result<(StatusCode, T), CallError> {
        let fail = |kind, body: &[u8], source| self.failure(url, id, kind, body, source);
        let request = self
            .request(url, id, left, context)
            .map_err(|why| fail(CallErrorKind::Invalid, &[], Some(why)))?;
        let response = request.send().await.map_err(|e| {
            // Without the URL: it is told with its secrets.
            fail(kind_of(&e), &[], Some(e.without_url().into()))
        })?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let turned_away_by = text(&response, names::X_CIRCUIT_BREAKER).map(str::to_owned);
        context
            .span()
            .set_attribute(KeyValue::new(names::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16())));
        let limit = self.client.transport.max_answer_body;
        let body = read_body(response, limit).await.map_err(|(kind, e)| fail(kind, &[], Some(e)))?;
        if status.is_client_error() || status.is_server_error() {
            let error = fail(CallErrorKind::Status(status), &body, None);
            return Err(CallError { retry_after, turned_away_by, ..error });
        }
        let text: &[u8] = if body.is_empty() { b"null" } else { &body };
        match serde_json::from_slice(text) {
            Ok(value) => Ok((status, value)),
            Err(error) => Err(fail(CallErrorKind::Body, &body, Some(error.into()))),
        }
    }
}

/// The header where it is in seconds; as a date it is not worth a look: a retry does not wait that long.
fn retry_after(response: &Response) -> Option<Duration> {
    Some(Duration::from_secs(text(response, RETRY_AFTER.as_str())?.parse().ok()?))
}

fn text<'a>(response: &'a Response, header: &str) -> Option<&'a str> {
    response.headers().get(header)?.to_str().ok()
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type ReadError = (CallErrorKind, BoxError);

/// The decoded body; no more of it is held than the limit allows, whatever it was compressed to.
async fn read_body(mut response: Response, limit: usize) -> Result<Vec<u8>, ReadError> {
    let mut body = Vec::new();
    let failed = |e: reqwest::Error| (kind_of(&e), e.without_url().into());
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > limit {
            let why = format!("the answer is larger than the limit of {limit} bytes");
            return Err((CallErrorKind::Body, why.into()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn kind_of(error: &reqwest::Error) -> CallErrorKind {
    if error.is_timeout() {
        CallErrorKind::Timeout
    } else if error.is_connect() {
        CallErrorKind::Connect
    } else if error.is_decode() {
        CallErrorKind::Body
    } else {
        CallErrorKind::Request
    }
}

fn record_failure(context: &Context, error: &CallError) -> Vec<KeyValue> {
    let span = context.span();
    span.set_attribute(KeyValue::new(names::ERROR_TYPE, error.error_type()));
    // The description is left out where the status code tells the reason (HTTP semantic conventions, "Status").
    span.set_status(Status::error(match (error.status(), error.rejected()) {
        (Some(_), _) => String::new(),
        (None, Some(rejected)) => rejected.to_string(),
        (None, None) => error.to_string(),
    }));
    let mut attributes = vec![KeyValue::new(names::ERROR_TYPE, error.error_type())];
    if let Some(status) = error.status() {
        attributes.push(KeyValue::new(names::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16())));
    }
    attributes
}

fn log_failure(error: &CallError) {
    if error.kind == CallErrorKind::Rejected {
        // Said by the breaker when it opened; each call that it turns away is no news.
        tracing::debug!(url = %error.url, error.r#type = %error.error_type(), "service call not made: {error}");
    } else {
        tracing::warn!(
            url = %error.url,
            status = error.status().map_or(0, |s| s.as_u16()),
            error.r#type = %error.error_type(),
            "service call failed: {error}"
        );
    }
}
