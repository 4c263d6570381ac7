//! A request's bytes, decompressed within a limit.
//!
//! The limit holds for what comes over the wire and for what comes out of the decompressor, while it streams: a
//! bomb is left where it exceeds the limit, not after it has been unpacked.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::{HeaderMap, HeaderValue};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::counters::Outcome;

/// KiB of bodies that may be in memory at once, over all requests.
const BUDGET_KIB: usize = 192 << 10;
/// Bytes set aside for a body before it has come.
const EXPECTED: usize = 256 << 10;
/// Bytes before the message of a gRPC call.
const CALL_HEAD: usize = 5;
/// Bodies decompressed at once.
const DECOMPRESSING: usize = 4;

/// Why a body was not read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the request is larger than {0} bytes after decompression")]
    TooLarge(usize),
    #[error("encoding {0:?} is not known; use gzip, zstd, deflate or none")]
    UnknownEncoding(String),
    #[error("{0}")]
    Corrupt(String),
    #[error("the body took too long")]
    TooSlow,
    /// Too many bodies at once.
    #[error("too many requests at once")]
    Busy,
}

impl BodyError {
    /// The outcome that it is counted as.
    pub fn outcome(&self) -> Outcome {
        match self {
            BodyError::TooLarge(_) => Outcome::TooLarge,
            BodyError::Busy => Outcome::Overloaded,
            BodyError::UnknownEncoding(_) | BodyError::Corrupt(_) | BodyError::TooSlow => Outcome::Malformed,
        }
    }
}

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
    Zstd,
    Deflate,
}

/// Reads bodies within limits shared by all requests.
pub struct BodyReader {
    limit: usize,
    patience: Duration,
    budget: Arc<Semaphore>,
    decompressing: Semaphore,
}

impl BodyReader {
    /// `limit` is the largest body in bytes, compressed or not; `patience` is how long a sender may take for it.
    pub fn new(limit: usize, patience: Duration) -> Self {
        let budget = Arc::new(Semaphore::new(BUDGET_KIB.max(limit >> 9)));
        Self { limit, patience, budget, decompressing: Semaphore::new(DECOMPRESSING) }
    }

    /// Reads and decompresses. What it returns beside the bytes is their share of the budget.
    pub async fn read(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Bytes, OwnedSemaphorePermit), BodyError> {
        let encoding = encoding(headers)?;
        let told = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if told.is_some_and(|length| length > self.limit as u64) {
            return Err(BodyError::TooLarge(self.limit));
        }
        let expected = told.map_or(0, |length| length as usize);
        let (raw, share) = self.collect(body, self.limit, expected).await?;
        self.unpack(encoding, raw, share).await
    }

    /// Reads the one message of a unary gRPC call: a byte that tells whether it is compressed, its length, itself
    /// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
    pub async fn read_call(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Bytes, OwnedSemaphorePermit), BodyError> {
        let corrupt = |what: &str| BodyError::Corrupt(what.to_owned());
        let (mut raw, share) = self.collect(body, self.limit + CALL_HEAD, 0).await?;
        if raw.len() < CALL_HEAD {
            return Err(corrupt("the call carries no message"));
        }
        let head = raw.split_to(CALL_HEAD);
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > self.limit {
            return Err(BodyError::TooLarge(self.limit));
        }
        if length != raw.len() {
            return Err(corrupt("the call's message is not as long as it says, or not its only one"));
        }
        let encoding = match (head[0], headers.get("grpc-encoding")) {
            (0, _) => Encoding::Identity,
            (1, Some(name)) => named(name)?,
            _ => return Err(corrupt("the message is compressed, but grpc-encoding does not say how")),
        };
        self.unpack(encoding, raw, share).await
    }

    /// Decompresses what was read.
    async fn unpack(
        &self,
        encoding: Encoding,
        raw: Bytes,
        mut share: OwnedSemaphorePermit,
    ) -> Result<(Bytes, OwnedSemaphorePermit), BodyError> {
        if encoding == Encoding::Identity {
            return Ok((raw, share));
        }
        let Ok(_turn) = self.decompressing.acquire().await else { return Err(BodyError::Busy) };
        let limit = self.limit;
        let bytes = tokio::task::spawn_blocking(move || decompress(encoding, &raw, limit))
            .await
            .map_err(|error| BodyError::Corrupt(error.to_string()))??;
        let more = (bytes.len() >> 10).saturating_sub(share.num_permits());
        if more > 0 {
            share.merge(self.reserve(more)?);
        }
        Ok((bytes, share))
    }

    /// A share of the budget for `bytes` that a body becomes while it is converted.
    pub fn hold(&self, bytes: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        self.reserve(bytes >> 10)
    }

    /// Takes a share of the budget.
    fn reserve(&self, kib: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        self.budget.clone().try_acquire_many_owned(kib as u32).map_err(|_| BodyError::Busy)
    }

    /// Reads to the end, within the limit, the budget and the time that a sender has; about `expected` bytes.
    async fn collect(
        &self,
        body: Body,
        limit: usize,
        expected: usize,
    ) -> Result<(Bytes, OwnedSemaphorePermit), BodyError> {
        let read = tokio::time::timeout(self.patience, self.collect_all(body, limit, expected));
        read.await.map_err(|_| BodyError::TooSlow)?
    }

    async fn collect_all(
        &self,
        body: Body,
        limit: usize,
        expected: usize,
    ) -> Result<(Bytes, OwnedSemaphorePermit), BodyError> {
        let mut stream = body.into_data_stream();
        // A sender can say any length: what it says is believed within reason.
        let mut whole = BytesMut::with_capacity(expected.min(EXPECTED));
        let mut share = self.reserve(1)?;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| BodyError::Corrupt(format!("the body broke off: {error}")))?;
            if whole.len() + chunk.len() > limit {
                return Err(BodyError::TooLarge(self.limit));
            }
            if whole.is_empty() && whole.capacity() < chunk.len() * 2 {
                whole.reserve((chunk.len() * 16).min(EXPECTED));
            }
            whole.extend_from_slice(&chunk);
            let more = (whole.len() >> 10).saturating_sub(share.num_permits());
            if more > 0 {
                share.merge(self.reserve(more)?);
            }
        }
        Ok((whole.freeze(), share))
    }
}

fn encoding(headers: &HeaderMap) -> Result<Encoding, BodyError> {
    headers.get(CONTENT_ENCODING).map_or(Ok(Encoding::Identity), named)
}

fn named(value: &HeaderValue) -> Result<Encoding, BodyError> {
    let name = String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase();
    match name.as_str() {
        "" | "identity" | "none" => Ok(Encoding::Identity),
        "gzip" => Ok(Encoding::Gzip),
        "zstd" => Ok(Encoding::Zstd),
        "deflate" => Ok(Encoding::Deflate),
        _ => Err(BodyError::UnknownEncoding(name)),
    }
}

fn decompress(encoding: Encoding, raw: &[u8], limit: usize) -> Result<Bytes, BodyError> {
    let read = match encoding {
        Encoding::Identity => Ok(raw.to_vec()),
        Encoding::Gzip => read_limited(flate2::read::MultiGzDecoder::new(raw), limit),
        Encoding::Deflate => read_limited(flate2::read::ZlibDecoder::new(raw), limit),
        Encoding::Zstd => zstd::stream::read::Decoder::new(raw).and_then(|mut decoder| {
            // A window is memory that the sender chooses: 2^27 bytes is what zstd itself allows by default.
            decoder.window_log_max(27)?;
            read_limited(decoder, limit)
        }),
    };
    let bytes =
        read.map_err(|error| BodyError::Corrupt(format!("the body cannot be decompressed: {error}")))?;
    if bytes.len() > limit {
        return Err(BodyError::TooLarge(limit));
    }
    Ok(bytes.into())
}

/// Reads to the end, or one byte past the limit.
fn read_limited(reader: impl Read, limit: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(limit as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
