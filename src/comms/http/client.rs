//! A client for one other service: typed JSON calls that carry the correlation ID and the trace context.
//!
//! Each call is a CLIENT span. It joins the task's correlation ID, or starts one where there is none.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry::context::FutureExt as _;
use opentelemetry::metrics::Histogram;
use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, global};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{CallError, CallErrorKind, excerpt};
use crate::comms::correlation::{self, CorrelationId};
use crate::comms::propagation::{self, IntoHeaders};
use crate::comms::{SCOPE, names};

/// The timeout of a call unless another is set.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// Bodies of answers above this are refused.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// A client for one other service; cheap to clone, keeps connections open.
#[derive(Clone)]
pub struct ServiceHttpClient {
    client: reqwest::Client,
    base: Arc<str>,
    service: Arc<str>,
    peer: Option<Arc<str>>,
    duration: Histogram<f64>,
}

impl ServiceHttpClient {
    /// A client that calls `base_url` on behalf of `service_name`.
    ///
    /// # Errors
    /// The URL is not one, or is neither http nor https.
    pub fn new(base_url: &str, service_name: &str) -> anyhow::Result<Self> {
        Self::with_timeout(base_url, service_name, DEFAULT_TIMEOUT)
    }

    /// As [`Self::new`], with another timeout for a whole call, its body included.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_timeout(base_url: &str, service_name: &str, timeout: Duration) -> anyhow::Result<Self> {
        let url = Url::parse(base_url).map_err(|e| anyhow::anyhow!("`{base_url}` is not a URL: {e}"))?;
        anyhow::ensure!(matches!(url.scheme(), "http" | "https"), "`{base_url}` is not an http or https URL");
        // The process may have installed a provider already; that one is kept.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut headers = HeaderMap::new();
        headers.insert(names::X_SERVICE_NAME, HeaderValue::try_from(service_name)?);
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout.min(Duration::from_secs(2)))
            .default_headers(headers)
            .user_agent(concat!("throughline/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .build()?;
        let duration = global::meter(SCOPE)
            .f64_histogram("http.client.request.duration")
            .with_unit("s")
            .with_description("Duration of calls to other services")
            .build();
        Ok(Self {
            client,
            base: base_url.trim_end_matches('/').into(),
            service: service_name.into(),
            peer: None,
            duration,
        })
    }

    /// Names the called service on the spans, as `service.peer.name`.
    pub fn with_peer(mut self, name: &str) -> Self {
        self.peer = Some(name.into());
        self
    }

    /// A call to be completed by [`Call::send`]; `path` begins with a slash.
    pub fn request(&self, method: Method, path: impl Into<String>) -> Call<'_> {
        Call { client: self, method, path: path.into(), template: None, body: None }
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

/// One call on its way.
pub struct Call<'a> {
    client: &'a ServiceHttpClient,
    method: Method,
    path: String,
    template: Option<Cow<'static, str>>,
    body: Option<serde_json::Result<Vec<u8>>>,
}

impl Call<'_> {
    /// The path with its variables by name, such as `/orders/{id}`: makes the span's name tell more than the
    /// method without one name per order.
    pub fn template(mut self, template: impl Into<Cow<'static, str>>) -> Self {
        self.template = Some(template.into());
        self
    }

    /// The body, as JSON.
    pub fn json(mut self, body: &impl Serialize) -> Self {
        self.body = Some(serde_json::to_vec(body));
        self
    }

    /// Makes the call and reads the answer's JSON; an empty body reads as `null`.
    ///
    /// # Errors
    /// No connection, no answer in time, a status of 400 or more, or a body of another type.
    pub async fn send<T: DeserializeOwned>(self) -> Result<T, CallError> {
        let id = correlation::current().unwrap_or_else(|| CorrelationId::generate(&self.client.service));
        let url = format!("{}{}", self.client.base, self.path);
        let context = self.start_span(&url, &id);
        let started = Instant::now();
        let method = self.method.clone();
        let histogram = self.client.duration.clone();
        let result = self.perform::<T>(url, id, &context).with_context(context.clone()).await;
        let mut attributes = vec![KeyValue::new(names::HTTP_REQUEST_METHOD, method.to_string())];
        match &result {
            Ok((status, _)) => {
                attributes.push(KeyValue::new(names::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16())));
            }
            Err(error) => attributes.extend(record_failure(&context, error)),
        }
        histogram.record(started.elapsed().as_secs_f64(), &attributes);
        context.span().end();
        result.map(|(_, body)| body)
    }

    fn start_span(&self, url: &str, id: &CorrelationId) -> Context {
        let mut attributes = vec![
            KeyValue::new(names::HTTP_REQUEST_METHOD, self.method.to_string()),
            KeyValue::new(names::URL_FULL, url.to_owned()),
            KeyValue::new(names::CORRELATION_ID, id.as_str().to_owned()),
        ];
        if let Ok(url) = Url::parse(url) {
            if let Some(host) = url.host_str() {
                attributes.push(KeyValue::new(names::SERVER_ADDRESS, host.to_owned()));
            }
            if let Some(port) = url.port_or_known_default() {
                attributes.push(KeyValue::new(names::SERVER_PORT, i64::from(port)));
            }
        }
        if let Some(peer) = &self.client.peer {
            attributes.push(KeyValue::new(names::SERVICE_PEER_NAME, peer.to_string()));
        }
        let name = match &self.template {
            Some(template) => {
                attributes.push(KeyValue::new(names::URL_TEMPLATE, template.to_string()));
                format!("{} {template}", self.method)
            }
            None => self.method.to_string(),
        };
        let tracer = global::tracer(SCOPE);
        let span =
            tracer.build(tracer.span_builder(name).with_kind(SpanKind::Client).with_attributes(attributes));
        Context::current_with_span(span)
    }

    async fn perform<T: DeserializeOwned>(
        self,
        url: String,
        id: CorrelationId,
        context: &Context,
    ) -> Result<(StatusCode, T), CallError> {
        let fail = |kind, body: &[u8], source| CallError {
            kind,
            method: self.method.clone(),
            url: url.clone(),
            correlation_id: id.clone(),
            body_excerpt: excerpt(body),
            source,
        };
        let mut headers = HeaderMap::new();
        propagation::inject(context, &id, &mut IntoHeaders(&mut headers));
        let mut request = self.client.client.request(self.method.clone(), &url).headers(headers);
        match self.body {
            Some(Ok(body)) => {
                request = request.header("content-type", "application/json").body(body);
            }
            Some(Err(error)) => return Err(fail(CallErrorKind::Request, &[], Some(error.into()))),
            None => {}
        }
        let response = request.send().await.map_err(|e| fail(kind_of(&e), &[], Some(e.into())))?;
        let status = response.status();
        context
            .span()
            .set_attribute(KeyValue::new(names::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16())));
        let body = read_body(response).await.map_err(|(kind, e)| fail(kind, &[], e))?;
        if status.is_client_error() || status.is_server_error() {
            return Err(fail(CallErrorKind::Status(status), &body, None));
        }
        let text: &[u8] = if body.is_empty() { b"null" } else { &body };
        match serde_json::from_slice(text) {
            Ok(value) => Ok((status, value)),
            Err(error) => Err(fail(CallErrorKind::Body, &body, Some(error.into()))),
        }
    }
}

type ReadError = (CallErrorKind, Option<Box<dyn std::error::Error + Send + Sync>>);

async fn read_body(mut response: Response) -> Result<Vec<u8>, ReadError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| (kind_of(&e), Some(e.into())))? {
        if body.len() + chunk.len() > MAX_BODY {
            return Err((CallErrorKind::Body, Some("the answer is larger than 8 MiB".into())));
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
    } else {
        CallErrorKind::Request
    }
}

fn record_failure(context: &Context, error: &CallError) -> Vec<KeyValue> {
    let span = context.span();
    span.set_attribute(KeyValue::new(names::ERROR_TYPE, error.error_type()));
    // The description is left out where the status code tells the reason (HTTP semantic conventions, "Status").
    span.set_status(Status::error(if error.status().is_some() { String::new() } else { error.to_string() }));
    tracing::warn!(
        url = %error.url,
        status = error.status().map_or(0, |s| s.as_u16()),
        error.r#type = %error.error_type(),
        "service call failed: {error}"
    );
    let mut attributes = vec![KeyValue::new(names::ERROR_TYPE, error.error_type())];
    if let Some(status) = error.status() {
        attributes.push(KeyValue::new(names::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16())));
    }
    attributes
}
