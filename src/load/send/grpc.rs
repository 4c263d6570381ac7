//! OTLP over gRPC: messages that are encoded already, sent by tonic.

use std::error::Error as _;

use bytes::{Buf, BufMut, Bytes};
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{AsciiMetadataKey, AsciiMetadataValue, MetadataMap};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::{Answer, Compression, Failure, Kind, SetupError, Signal, TIMEOUT, Target, read_answer};

/// A connection of its own, made when it is needed and made again when it broke.
pub(super) struct Client {
    grpc: tonic::client::Grpc<Channel>,
    headers: MetadataMap,
}

impl Client {
    pub(super) fn new(target: &Target) -> Result<Self, SetupError> {
        if !target.endpoint.starts_with("http://") {
            let why = "gRPC is sent over http:// here; for https:// use --protocol http";
            return Err(SetupError::endpoint(target, why));
        }
        let endpoint = Endpoint::from_shared(target.endpoint.clone())
            .map_err(|error| SetupError::endpoint(target, cause(&error)))?;
        if endpoint.uri().host().is_none_or(str::is_empty) {
            return Err(SetupError::endpoint(target, "a host is missing"));
        }
        let mut grpc = tonic::client::Grpc::new(endpoint.connect_timeout(TIMEOUT / 2).connect_lazy());
        grpc = match target.compression {
            Compression::None => grpc,
            Compression::Gzip => grpc.send_compressed(CompressionEncoding::Gzip),
            Compression::Zstd => grpc.send_compressed(CompressionEncoding::Zstd),
        };
        let mut headers = MetadataMap::new();
        for (name, value) in &target.headers {
            let unfit = |why: String| SetupError::Header { name: name.clone(), why };
            let key: AsciiMetadataKey =
                name.to_ascii_lowercase().parse().map_err(|_| unfit("it is no name of a header".into()))?;
            let value: AsciiMetadataValue =
                value.parse().map_err(|_| unfit("its value has signs that no header has".into()))?;
            headers.insert(key, value);
        }
        Ok(Self { grpc, headers })
    }

    pub(super) async fn send(&self, signal: Signal, bytes: Bytes) -> Result<Answer, Failure> {
        let mut grpc = self.grpc.clone();
        let path = PathAndQuery::from_static(match signal {
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        });
        grpc.ready().await.map_err(|error| Failure::new(Kind::Unreachable, cause(&error)))?;
        let mut request = Request::new(bytes);
        *request.metadata_mut() = self.headers.clone();
        let answer = grpc.unary(request, path, Encoded).await.map_err(|status| failure(&status))?;
        read_answer(answer.get_ref())
            .map_err(|_| Failure::new(Kind::Foreign, "the answer is not one of OTLP"))
    }
}

/// What a status means to who sends: the table of the OTLP specification.
fn failure(status: &Status) -> Failure {
    let after = status.get_details_retry_info().and_then(|info| info.retry_delay);
    let kind = match status.code() {
        // No receiver said so: the connection did not come about, or broke.
        _ if status.source().is_some() => transport(status),
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Kind::Passing,
        // Only who says when to come again wants us to.
        Code::ResourceExhausted if after.is_some() => Kind::Passing,
        Code::Unauthenticated | Code::PermissionDenied => Kind::Denied,
        // Where HTTP's 404 came, or an answer that is none of gRPC's.
        Code::Unimplemented | Code::Internal | Code::Unknown => Kind::Foreign,
        _ => Kind::Lasting,
    };
    let said = match status.source() {
        Some(source) => cause(source),
        None => status.message().to_owned(),
    };
    Failure { after, ..Failure::new(kind, format!("{:?}: {said}", status.code())) }
}

fn transport(status: &Status) -> Kind {
    let mut error = status.source();
    while let Some(inner) = error {
        if inner.is::<tonic::ConnectError>() {
            return Kind::Unreachable;
        }
        error = inner.source();
    }
    Kind::Broken
}

/// The innermost error: the others say only that there was one.
fn cause(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(inner) = error.source() {
        error = inner;
    }
    error.to_string()
}

/// Sends bytes as they are and gives the answer's.
#[derive(Debug, Clone, Copy, Default)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.put(item);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, message: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(message.copy_to_bytes(message.remaining())))
    }
}
