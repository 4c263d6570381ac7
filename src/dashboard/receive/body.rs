//! A request's bytes, decompressed within a limit.
//!
//! The limit holds for what comes over the wire and for what comes out of the decompressor, while it streams: a
//! bomb is left where it exceeds the limit, not after it has been unpacked.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::counters::Outcome;

/// KiB of bodies that may be in memory at once, over all requests.
const BUDGET_KIB: usize = 192 << 10;
/// Bodies decompressed at once.
const DECOMPRESSING: usize = 4;

/// Why a body was not read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error("the request is larger than {0} bytes after decompression")]
    TooLarge(usize),
    #[error("Content-Encoding {0:?} is not known; use gzip, zstd, deflate or none")]
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
        let (raw, mut share) = self.collect(body, self.limit).await?;
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

    /// Reads the bytes of a gRPC call as they came, with the five bytes that stand before its message.
    pub async fn read_call(&self, body: Body) -> Result<(Bytes, OwnedSemaphorePermit), BodyError> {
        self.collect(body, self.limit + 5).await
    }

    /// Takes a share of the budget.
    pub fn reserve(&self, kib: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        self.budget.clone().try_acquire_many_owned(kib as u32).map_err(|_| BodyError::Busy)
    }

    /// Reads to the end, within the limit, the budget and the time that a sender has.
    async fn collect(&self, body: Body, limit: usize) -> Result<(Bytes, OwnedSemaphorePermit), BodyError> {
        let read = tokio::time::timeout(self.patience, self.collect_all(body, limit));
        read.await.map_err(|_| BodyError::TooSlow)?
    }

    async fn collect_all(
        &self,
        body: Body,
        limit: usize,
    ) -> Result<(Bytes, OwnedSemaphorePermit), BodyError> {
        let mut stream = body.into_data_stream();
        let mut whole = BytesMut::new();
        let mut share = self.reserve(1)?;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|error| BodyError::Corrupt(format!("the body broke off: {error}")))?;
            if whole.len() + chunk.len() > limit {
                return Err(BodyError::TooLarge(self.limit));
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
    let Some(value) = headers.get(CONTENT_ENCODING) else { return Ok(Encoding::Identity) };
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
