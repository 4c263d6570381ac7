//! One service behind the gateway: its connections, its breaker, and how often it is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::response::Response;
use bytes::Bytes;
use opentelemetry::context::FutureExt as _;
use opentelemetry::metrics::Histogram;
use opentelemetry::trace::{Status, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};

use super::body::Limited;
use super::failure::Failure;
use super::headers;
use crate::comms::breaker::{Breaker, CountsAsFailure as _, Outcome};
use crate::comms::correlation::{self, CorrelationId};
use crate::comms::http::Transport;
use crate::comms::http::address::Address;
use crate::comms::http::attributes::method_text;
use crate::comms::http::span::Try;
use crate::comms::propagation::{self, IntoHeaders};
use crate::comms::resilience::{Policy, Retry};
use crate::comms::security::Credentials;
use crate::comms::{Tracer, deadline, metrics, names};

/// A service that requests are passed on to; cheap to clone.
#[derive(Clone)]
pub struct Upstream {
    pub(super) name: Arc<str>,
    address: Address,
    client: reqwest::Client,
    pub(super) timeout: Duration,
    retry: Option<Retry>,
    breaker: Option<Breaker>,
    credentials: Option<Credentials>,
    duration: Histogram<f64>,
    tracer: Tracer,
}

/// A request as it is passed on.
pub(super) struct Outgoing {
    pub method: Method,
    /// With its query.
    pub path: String,
    /// The path with its variables by name.
    pub template: Arc<str>,
    pub headers: HeaderMap,
    pub payload: Payload,
}

/// A request's body.
pub(super) enum Payload {
    /// All of it is here, so that it may be sent twice.
    Whole(Bytes),
    /// It goes on as it comes. Taken by the only try; with what its limit is, in bytes, and whether it was met.
    Stream { body: Mutex<Option<Limited>>, most: usize, over: Arc<AtomicBool> },
}

impl Upstream {
    /// A service by its name, as it is called in telemetry, and its address, with the default [`Policy`].
    ///
    /// # Errors
    /// The address is no http or https URL, or has a query or a fragment.
    pub fn new(name: &str, base_url: &str) -> anyhow::Result<Self> {
        Self::with_policy(name, base_url, Policy::default(), Transport::default())
    }

    /// As [`Self::new`], with timeout, retries and breaker as the policy says. Retried is what may be made twice: every
    /// method but POST and PATCH, and these with an `Idempotency-Key`, where the body is short.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_policy(
        name: &str,
        base_url: &str,
        policy: Policy,
        transport: Transport,
    ) -> anyhow::Result<Self> {
        let address = Address::parse(base_url)?;
        let Policy { timeout, retry, breaker } = policy;
        let about = "Duration of calls to other services";
        let duration = metrics::durations("http.client.request.duration", about);
        Ok(Self {
            name: name.into(),
            address,
            client: transport.forwarder(timeout)?,
            timeout,
            retry: retry.map(|retry| retry.named_or(name)),
            breaker: breaker.map(|config| Breaker::new(name, config).with_peer(name)),
            credentials: None,
            duration,
            tracer: Tracer::default(),
        })
    }

    /// Puts it behind a breaker that it shares with others.
    pub fn with_breaker(mut self, breaker: Breaker) -> Self {
        self.breaker = Some(breaker);
        self
    }

    /// Says who the gateway is, by a token, in place of the client's own `Authorization`. Without it that goes on.
    pub fn with_credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// Asks it, again where that may help, and gives how often it was asked. An answer of 5xx is a failure here.
    pub(super) async fn send(
        &self,
        service: &str,
        out: &Outgoing,
        until: tokio::time::Instant,
    ) -> (Result<Response, Failure>, u32) {
        let tries = AtomicU32::new(0);
        let id = correlation::current().unwrap_or_else(|| CorrelationId::generate(service));
        let attempt = |number| {
            tries.store(number + 1, Ordering::Relaxed);
            self.attempt(service, out, &id, until, number)
        };
        let answer = match &self.retry {
            Some(retry) if out.repeatable() => retry.run(Some(until), attempt).await,
            _ => attempt(0).await,
        };
        (answer, tries.into_inner())
    }

    /// One try, in a span of its own that ends when the answer's head is there.
    async fn attempt(
        &self,
        service: &str,
        out: &Outgoing,
        id: &CorrelationId,
        until: tokio::time::Instant,
        number: u32,
    ) -> Result<Response, Failure> {
        let url = self.address.join(&out.path);
        let (template, peer, server) = (Some(&*out.template), Some(&self.name), &self.address);
        let one = Try { method: &out.method, url: &url, server, template, peer, id, number };
        let context = one.start(self.tracer.get());
        let began = Instant::now();
        let guarded = self.guarded(service, &url, out, id, until, &context);
        let answer = guarded.with_context(context.clone()).await;
        let span = context.span();
        let mut measured = Vec::with_capacity(5);
        measured.push(KeyValue::new(names::HTTP_REQUEST_METHOD, method_text(&out.method)));
        measured.extend(self.address.attributes());
        let status = match &answer {
            Ok(response) => Some(response.status()),
            Err(Failure::Answer(response)) => Some(response.status()),
            Err(_) => None,
        };
        if let Some(status) = status {
            let status = KeyValue::new(names::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16()));
            span.set_attribute(status.clone());
            measured.push(status);
        }
        let error = match &answer {
            Err(failure) => Some((failure.error_type(), failure.to_string())),
            Ok(response) if response.status().is_client_error() => {
                Some((response.status().as_u16().to_string(), String::new()))
            }
            Ok(_) => None,
        };
        if let Some((kind, text)) = error {
            let kind = KeyValue::new(names::ERROR_TYPE, kind);
            span.set_attribute(kind.clone());
            span.set_status(Status::error(if status.is_some() { String::new() } else { text }));
            measured.push(kind);
        }
        self.duration.record(began.elapsed().as_secs_f64(), &measured);
        span.end();
        answer
    }

    /// Asks if the breaker lets it, and tells the breaker how it went.
    async fn guarded(
        &self,
        service: &str,
        url: &str,
        out: &Outgoing,
        id: &CorrelationId,
        until: tokio::time::Instant,
        context: &Context,
    ) -> Result<Response, Failure> {
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        if left.is_zero() {
            return Err(Failure::TimedOut);
        }
        let permit = match &self.breaker {
            None => None,
            Some(breaker) => {
                let permit = breaker.acquire();
                let state = permit.as_ref().map_or_else(|rejected| rejected.state, |permit| permit.state());
                context.span().set_attributes([
                    KeyValue::new(names::BREAKER_NAME, breaker.shared_name()),
                    KeyValue::new(names::BREAKER_STATE, state.text()),
                ]);
                Some(permit.map_err(Failure::Rejected)?)
            }
        };
        let answer = self.perform(service, url, out, id, until, context).await;
        if let Some(permit) = permit {
            let own_time = deadline::is_own_time(left, self.timeout);
            match &answer {
                // Cut short by the caller's deadline or by earlier tries, or by a body that the client sent.
                Err(Failure::TimedOut) if !own_time => drop(permit),
                Err(Failure::TooLarge(_) | Failure::Unwritable(_)) => drop(permit),
                Err(failure) if failure.counts_as_failure() => permit.record(Outcome::Failure),
                _ => permit.record(Outcome::Success),
            }
        }
        answer
    }

    async fn perform(
        &self,
        service: &str,
        url: &str,
        out: &Outgoing,
        id: &CorrelationId,
        until: tokio::time::Instant,
        context: &Context,
    ) -> Result<Response, Failure> {
        let mut headers = out.headers.clone();
        propagation::inject(context, id, &mut IntoHeaders(&mut headers));
        let left = until.saturating_duration_since(tokio::time::Instant::now());
        headers.insert(names::X_REQUEST_TIMEOUT_MS, deadline::header(left));
        if let Ok(name) = HeaderValue::try_from(service) {
            headers.insert(HeaderName::from_static(names::X_SERVICE_NAME), name);
        }
        if let Some(credentials) = &self.credentials {
            credentials.put(&mut headers).map_err(|error| Failure::Unwritable(error.to_string()))?;
        }
        let url = self.address.parsed(url).map_err(|error| Failure::Unwritable(error.to_string()))?;
        let request = self.client.request(out.method.clone(), url).headers(headers);
        let (request, over) = match &out.payload {
            Payload::Whole(body) if body.is_empty() => (request, None),
            Payload::Whole(body) => (request.body(body.clone()), None),
            Payload::Stream { body, most, over } => {
                let body = body.lock().unwrap_or_else(PoisonError::into_inner).take();
                let body = body.ok_or_else(|| Failure::Unwritable("its body is gone".into()))?;
                (request.body(reqwest::Body::wrap(body)), Some((over, *most)))
            }
        };
        let answer = tokio::time::timeout_at(until, request.send()).await;
        let answer = match (answer, over) {
            (_, Some((over, most))) if over.load(Ordering::SeqCst) => return Err(Failure::TooLarge(most)),
            (Err(_), _) => return Err(Failure::TimedOut),
            (Ok(Err(error)), _) => return Err(failure_of(error)),
            (Ok(Ok(answer)), _) => answer,
        };
        let (parts, body) = axum::http::Response::from(answer).into_parts();
        // Without what is the connection's: its version, and what the client keeps with it.
        let mut response = Response::new(Body::new(body));
        *response.status_mut() = parts.status;
        *response.headers_mut() = parts.headers;
        headers::end_to_end(response.headers_mut());
        if parts.status.is_server_error() {
            return Err(Failure::Answer(Box::new(response)));
        }
        Ok(response)
    }
}

fn failure_of(error: reqwest::Error) -> Failure {
    if error.is_timeout() {
        Failure::TimedOut
    } else if error.is_connect() {
        Failure::Connect
    } else if error.is_builder() {
        Failure::Unwritable(error.without_url().to_string())
    } else {
        // Without the URL: it is told with its secrets.
        let error = error.without_url();
        let mut cause: &dyn std::error::Error = &error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        Failure::CutOff(cause.to_string())
    }
}

impl Outgoing {
    /// Whether it may be made twice.
    fn repeatable(&self) -> bool {
        let same = !matches!(self.method, Method::POST | Method::PATCH)
            || self.headers.contains_key("idempotency-key");
        same && matches!(self.payload, Payload::Whole(_))
    }
}
