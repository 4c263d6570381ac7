//! Requests to an OTLP receiver, over gRPC or HTTP, tried again as the specification asks:
//! <https://opentelemetry.io/docs/specs/otlp/#failures>.
//!
//! What must not live here: what is in a request.

mod grpc;
mod http;
mod setup;

use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable as _};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::encode::Parcel;
use super::tally::Tally;

pub use setup::SetupError;

/// How long a receiver may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The wait before the second try; each further one doubles.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Longest reason that is kept, in characters.
const LONGEST_REASON: usize = 120;

/// Where the load goes and how.
#[derive(Debug, Clone)]
pub struct Target {
    /// Scheme, host and port, without the paths of the signals.
    pub endpoint: String,
    pub protocol: Protocol,
    pub compression: Compression,
    /// Sent with every request.
    pub headers: Vec<(String, String)>,
    /// Requests on their way at the same time.
    pub workers: usize,
    /// How long a request is tried again.
    pub retry_for: Duration,
}

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Grpc,
    /// Protobuf over HTTP.
    Http,
}

/// How requests are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

/// What is in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Traces,
    Logs,
}

/// A receiver's answer to a request that it took.
#[derive(Debug, Default)]
struct Answer {
    /// Items that it left out.
    left_out: u64,
    why: String,
}

/// Why a try failed.
#[derive(Debug)]
struct Failure {
    kind: Kind,
    /// The wait that the receiver asked for.
    after: Option<Duration>,
    /// For people: a code and what the receiver said.
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Another try may succeed.
    Passing,
    /// The same, since nobody was reached at all.
    Unreachable,
    /// The same, since there was no answer, or the connection broke before it.
    Broken,
    /// The receiver wants a key, or another one.
    Denied,
    /// What answered does not speak this protocol.
    Foreign,
    /// The receiver does not want this request, ever.
    Lasting,
}

impl Failure {
    fn new(kind: Kind, reason: impl Into<String>) -> Self {
        Self { kind, after: None, reason: tidy(&reason.into()) }
    }

    fn passes(&self) -> bool {
        matches!(self.kind, Kind::Passing | Kind::Unreachable | Kind::Broken)
    }
}

/// A text from outside in one line that a terminal can bear.
fn tidy(text: &str) -> String {
    let plain = |sign: char| if sign.is_control() { ' ' } else { sign };
    let mut out: String = text.chars().map(plain).take(LONGEST_REASON).collect();
    if text.chars().nth(LONGEST_REASON).is_some() {
        out.push('…');
    }
    out.trim().to_owned()
}

/// A connection to the receiver.
pub struct Sender {
    transport: Transport,
    retry_for: Duration,
}

enum Transport {
    Grpc(grpc::Client),
    Http(http::Client),
}

impl Sender {
    /// Prepares a connection; nothing is sent yet.
    ///
    /// # Errors
    /// The endpoint is no address for this protocol, or a header cannot be sent.
    pub fn new(target: &Target) -> Result<Self, SetupError> {
        let transport = match target.protocol {
            Protocol::Grpc => Transport::Grpc(grpc::Client::new(target)?),
            Protocol::Http => Transport::Http(http::Client::new(target)?),
        };
        Ok(Self { transport, retry_for: target.retry_for })
    }

    /// Sends an empty request, to know before the load that there is a receiver and that it lets us in.
    ///
    /// # Errors
    /// What stands in the way, and what to do.
    pub async fn check(&self, target: &Target) -> Result<(), SetupError> {
        match self.once(Signal::Traces, Bytes::new()).await {
            Ok(_) => Ok(()),
            Err(failure) => SetupError::of(target, failure).map_or(Ok(()), Err),
        }
    }

    /// Sends a request until it is answered for good, and notes what became of it.
    pub(super) async fn deliver(&self, parcel: &Parcel, tally: &Tally, stop: &CancellationToken) {
        let began = Instant::now();
        let mut tried_at = began;
        let waits = ExponentialBuilder::default()
            .with_min_delay(FIRST_WAIT)
            .with_max_delay(LONGEST_WAIT)
            .without_max_times()
            .with_jitter();
        let tries = || {
            tried_at = Instant::now();
            self.once(parcel.signal, parcel.bytes.clone())
        };
        let answer = tries
            .retry(waits)
            .when(|failure| failure.passes() && !stop.is_cancelled())
            .adjust(|failure: &Failure, wait| {
                let wait = wait.map(|wait| failure.after.map_or(wait, |asked| asked + wait / 4));
                wait.filter(|wait| began.elapsed() + *wait <= self.retry_for)
            })
            .notify(|_, _| tally.tried_again())
            .await;
        match answer {
            Ok(answer) => tally.acknowledged(parcel, answer.left_out, &answer.why, tried_at.elapsed()),
            Err(failure) if failure.passes() => {
                tally.refused(parcel, &format!("given up: {}", failure.reason))
            }
            Err(failure) => tally.refused(parcel, &failure.reason),
        }
    }

    async fn once(&self, signal: Signal, bytes: Bytes) -> Result<Answer, Failure> {
        let answer = async {
            match &self.transport {
                Transport::Grpc(client) => client.send(signal, bytes).await,
                Transport::Http(client) => client.send(signal, bytes).await,
            }
        };
        let late = |_| Err(Failure::new(Kind::Broken, format!("no answer within {} s", TIMEOUT.as_secs())));
        tokio::time::timeout(TIMEOUT, answer).await.unwrap_or_else(late)
    }
}

/// Reads an `Export…ServiceResponse`: its one field is the same for all signals.
fn read_answer(bytes: &[u8]) -> Result<Answer, prost::DecodeError> {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
    use prost::Message as _;

    let partial = ExportTraceServiceResponse::decode(bytes)?.partial_success.unwrap_or_default();
    let why = match tidy(&partial.error_message) {
        empty if empty.is_empty() => "left out by the receiver".to_owned(),
        why => why,
    };
    Ok(Answer { left_out: u64::try_from(partial.rejected_spans).unwrap_or_default(), why })
}
