//! OTLP over HTTP: protobuf, sent by reqwest.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{StatusCode, Url};

use super::{Answer, Compression, Failure, Kind, SetupError, Signal, TIMEOUT, Target, read_answer};

const PROTOBUF: &str = "application/x-protobuf";

/// A client with connections of its own.
pub(super) struct Client {
    client: reqwest::Client,
    traces: Url,
    logs: Url,
    compression: Compression,
}

impl Client {
    pub(super) fn new(target: &Target) -> Result<Self, SetupError> {
        // The whole address is what people copy; the paths are ours to add.
        let base = target.endpoint.trim_end_matches('/').trim_end_matches("/v1/traces");
        let address = |path: &str| -> Result<Url, SetupError> {
            let url: Url =
                format!("{base}{path}").parse().map_err(|why| SetupError::endpoint(target, why))?;
            match url.scheme() {
                "http" | "https" => Ok(url),
                _ => Err(SetupError::endpoint(target, "it begins with neither http:// nor https://")),
            }
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &target.headers {
            let unfit = |why: &str| SetupError::Header { name: name.clone(), why: why.into() };
            let key: HeaderName = name.parse().map_err(|_| unfit("it is no name of a header"))?;
            let value =
                HeaderValue::from_str(value).map_err(|_| unfit("its value has signs that no header has"))?;
            headers.insert(key, value);
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROTOBUF));
        if let Some(encoding) = encoding(target.compression) {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        // The client wants a provider even where it speaks plain HTTP; one that is there already is kept.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .default_headers(headers)
            .connect_timeout(TIMEOUT / 2)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("throughline-load/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .build()
            .map_err(SetupError::Client)?;
        let compression = target.compression;
        Ok(Self { client, traces: address("/v1/traces")?, logs: address("/v1/logs")?, compression })
    }

    pub(super) async fn send(&self, signal: Signal, bytes: Bytes) -> Result<Answer, Failure> {
        let url = match signal {
            Signal::Traces => &self.traces,
            Signal::Logs => &self.logs,
        };
        let body = compress(self.compression, bytes)
            .map_err(|error| Failure::new(Kind::Lasting, format!("cannot be compressed: {error}")))?;
        let answer = self.client.post(url.clone()).body(body).send().await.map_err(|error| broken(&error))?;
        let status = answer.status();
        let headers = answer.headers().clone();
        let body = answer.bytes().await.map_err(|error| broken(&error))?;
        if !status.is_success() {
            return Err(failure(status, &headers, &body));
        }
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with(PROTOBUF) {
            let kind = if kind.is_empty() { "of no type" } else { kind };
            return Err(Failure::new(Kind::Foreign, format!("the answer is {kind}")));
        }
        read_answer(&body).map_err(|_| Failure::new(Kind::Foreign, "the answer is not one of OTLP"))
    }
}

fn encoding(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::None => None,
        Compression::Gzip => Some("gzip"),
        Compression::Zstd => Some("zstd"),
    }
}

fn compress(compression: Compression, bytes: Bytes) -> std::io::Result<Bytes> {
    match compression {
        Compression::None => Ok(bytes),
        Compression::Gzip => {
            let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            out.write_all(&bytes)?;
            out.finish().map(Bytes::from)
        }
        Compression::Zstd => zstd::bulk::compress(&bytes, 0).map(Bytes::from),
    }
}

/// What an answer other than success means to who sends: the rules of the OTLP specification.
fn failure(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Failure {
    let kind = match status.as_u16() {
        429 | 502 | 503 | 504 => Kind::Passing,
        401 | 403 => Kind::Denied,
        // Redirects, other paths, other methods, other types: no receiver of OTLP.
        300..=399 | 404 | 405 | 415 => Kind::Foreign,
        _ => Kind::Lasting,
    };
    let said = tonic_types::Status::decode(body).map(|status| status.message).unwrap_or_default();
    let reason = if said.is_empty() { status.to_string() } else { format!("{}: {said}", status.as_u16()) };
    // A date instead of seconds is allowed too; our own wait does then.
    let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Failure { after: after.map(Duration::from_secs), ..Failure::new(kind, reason) }
}

/// No answer at all: the connection did not come about, or broke.
fn broken(error: &reqwest::Error) -> Failure {
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    let kind = if error.is_connect() { Kind::Unreachable } else { Kind::Broken };
    Failure::new(kind, inner.to_string())
}
