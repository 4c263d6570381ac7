//! What comes in: OTLP over gRPC and HTTP, and Zipkin's spans, walked and handed to the store.
//!
//! * [`grpc`] and [`http`]: OTLP's two transports; both end in [`Receiver`].
//! * [`body`]: a request's bytes, decompressed within a limit.
//! * [`zipkin`]: Zipkin's lists of spans, which become OTLP first.
//! * [`json`]: OTLP/JSON into the protobuf that everything else reads.
//! * [`answer`]: what is answered, in either encoding.
//! * [`counters`]: what was accepted and refused, for `/metrics` and the Status page.
//!
//! What must not live here: a pool, SQL, HTML. Nothing here is traced to ourselves: a dashboard that traces its own
//! ingest would feed itself without end.

pub mod answer;
pub mod body;
pub mod counters;
pub mod grpc;
pub mod http;
pub mod json;
pub mod zipkin;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::keys::{self, Denied, Keyring, Right};
use super::model::correlation::Keys;
use super::model::now;
use super::model::otlp::points::Arrival;
use super::model::otlp::{Batch, Interest, Points};
use super::model::proto::WireError;
use super::store::{Ingest, StoreError, Stored};
use body::BodyReader;
use counters::{Counters, Outcome, PointCount, Transport};

/// What kind of telemetry a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Signal {
    /// The last part of the OTLP/HTTP path, and the label in `/metrics`.
    pub fn word(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Logs => "logs",
            Signal::Metrics => "metrics",
        }
    }
}

/// A metric's data point that is older is left out however long they are kept: each hour that has some is a row.
const OLDEST_POINT: Duration = Duration::from_secs(366 * 24 * 3600);

/// How requests are taken.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Largest request in bytes, after decompression. OTLP recommends 64 MiB.
    pub max_request: usize,
    /// Origins whose browsers may send, or `*`; empty answers no preflight.
    pub cors_origins: Vec<String>,
    /// Attribute keys that carry a correlation ID besides the known ones.
    pub correlation_keys: Vec<String>,
    /// Beginnings of the names of metrics that are kept besides those that pages show.
    pub kept_metrics: Vec<String>,
    /// How old a metric's data point may be, a year at most, which zero stands for too.
    pub metrics_age: Duration,
    /// How long a sender may take for one body.
    pub body_patience: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_request: 64 << 20,
            cors_origins: Vec::new(),
            correlation_keys: Vec::new(),
            kept_metrics: Vec::new(),
            metrics_age: Duration::ZERO,
            body_patience: Duration::from_secs(30),
        }
    }
}

/// Why a request was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("not a valid request: {0}")]
    Malformed(String),
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        Refusal::Malformed(error.to_string())
    }
}

/// What was not taken of a request that was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Items left out, exactly.
    pub rejected: u64,
    /// Why, in words; empty where nothing was left out.
    pub message: String,
}

/// Where all transports end.
pub struct Receiver {
    pub settings: Settings,
    pub counters: Arc<Counters>,
    /// Bodies of all transports share one budget.
    bodies: BodyReader,
    correlation: Keys,
    interest: Interest,
    keyring: Arc<Keyring>,
    store: Arc<dyn Ingest>,
}

impl Receiver {
    /// A receiver in front of a store, for holders of an ingest key of `keyring`.
    pub fn new(
        settings: Settings,
        keyring: Arc<Keyring>,
        counters: Arc<Counters>,
        store: Arc<dyn Ingest>,
    ) -> Self {
        let correlation = Keys::with(settings.correlation_keys.iter().cloned());
        let interest = Interest::with(settings.kept_metrics.iter().cloned());
        let bodies = BodyReader::new(settings.max_request, settings.body_patience);
        Self { settings, counters, bodies, correlation, interest, keyring, store }
    }

    /// Takes a request's protobuf bytes. `Ok` means that all but the rejected items are committed.
    pub async fn take(&self, transport: Transport, signal: Signal, body: Bytes) -> Result<Accepted, Refusal> {
        let size = body.len() as u64;
        let result = self.store_request(transport, signal, body).await;
        let outcome = match &result {
            Ok(accepted) if accepted.rejected > 0 => Outcome::Partial,
            Ok(_) => Outcome::Ok,
            Err(refusal) => Outcome::of(refusal),
        };
        self.counters.request(transport, signal, outcome, size);
        result
    }

    async fn store_request(
        &self,
        transport: Transport,
        signal: Signal,
        body: Bytes,
    ) -> Result<Accepted, Refusal> {
        let batch = match signal {
            Signal::Traces => Batch::traces(body, &self.correlation)?,
            Signal::Logs => Batch::logs(body, &self.correlation)?,
            Signal::Metrics => return self.store_metrics(transport, &body).await,
        };
        let rejected = batch.rejected.clone();
        let accepted = Accepted {
            rejected: batch.rejected_spans(),
            message: rejected
                .iter()
                .map(|rejected| {
                    format!("{} spans of {:?}: {}", rejected.spans, rejected.service, rejected.reason.words())
                })
                .collect::<Vec<_>>()
                .join("; "),
        };
        let (spans, logs) = (batch.spans.len() as u64, batch.logs.len() as u64);
        let stored = self.store.ingest(batch).await?;
        self.counters.accepted(transport, spans, logs, stored.duplicates);
        self.counters.rejected(&rejected);
        Ok(accepted)
    }

    /// Keeps what is of interest of a metrics request; the rest is counted.
    async fn store_metrics(&self, transport: Transport, body: &[u8]) -> Result<Accepted, Refusal> {
        let now = now();
        let age = Some(self.settings.metrics_age).filter(|age| !age.is_zero()).unwrap_or(OLDEST_POINT);
        let oldest = now.saturating_sub(age.min(OLDEST_POINT).as_nanos() as u64);
        let mut points = Points::read(body, &self.interest, Arrival { now, oldest })?;
        let (rejected, passed) = (std::mem::take(&mut points.rejected), std::mem::take(&mut points.passed));
        let accepted = Accepted {
            rejected: rejected.iter().map(|rejected| rejected.points).sum(),
            message: rejected
                .iter()
                .map(|one| format!("{} points of {:?}: {}", one.points, one.service, one.reason.words()))
                .collect::<Vec<_>>()
                .join("; "),
        };
        let (samples, blank) = (points.samples.len() as u64, points.blank);
        let Stored { duplicates, beyond } = self.store.keep(points).await?;
        let kept = samples.saturating_sub(duplicates + beyond);
        self.counters.points(transport, PointCount { kept, duplicates, beyond, blank }, &passed);
        self.counters.rejected_points(&rejected);
        Ok(accepted)
    }

    /// Whether a sender may send: the value of its `authorization` header against the ingest keys.
    pub fn may_send(&self, authorization: Option<&[u8]>) -> Result<(), Refusal> {
        Ok(self.keyring.check(Right::Send, authorization.and_then(keys::bearer))?)
    }
}
