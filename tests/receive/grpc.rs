//! OTLP over gRPC against the running server.

use crate::common::otlp::{self, request, span, trace_hex};
use crate::common::{self, Running, eventually, keys};
use bytes::Bytes;
use throughline::dashboard::receive::grpc::RawCodec as Raw;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";

async fn channel(server: &Running) -> Channel {
    Endpoint::from_shared(format!("http://{}", server.dashboard.otlp_grpc)).unwrap().connect().await.unwrap()
}

async fn send(
    channel: &Channel,
    path: &'static str,
    body: impl Into<Bytes>,
    compression: Option<CompressionEncoding>,
) -> Result<Response<Bytes>, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone()).max_encoding_message_size(usize::MAX);
    if let Some(encoding) = compression {
        client = client.send_compressed(encoding);
    }
    client.ready().await.unwrap();
    client.unary(Request::new(body.into()), path.parse().unwrap(), Raw).await
}

#[tokio::test]
async fn all_signals_and_compressions_are_taken() {
    let server = Running::start().await;
    let channel = channel(&server).await;
    for (number, compression) in
        [None, Some(CompressionEncoding::Gzip), Some(CompressionEncoding::Zstd)].into_iter().enumerate()
    {
        let body = request("grpc", &[span(number as u64, 1, "call", 10)]);
        let answer = send(&channel, TRACES, body, compression).await.expect("taken");
        assert!(answer.into_inner().is_empty(), "partial_success is unset");
        let page = server.page(&format!("/traces/{}", trace_hex(number as u64)));
        eventually("the trace has its page", 5, async || {
            common::client().get(&page).send().await.unwrap().status().is_success().then_some(())
        })
        .await;
    }
    assert!(send(&channel, LOGS, otlp::logs("grpc", &[("hello", None, None)]), None).await.is_ok());
    assert!(send(&channel, METRICS, Bytes::new(), None).await.is_ok());
    assert!(send(&channel, TRACES, Bytes::new(), None).await.is_ok(), "an empty request succeeds");
    server.dashboard.stop().await;
}

#[tokio::test]
async fn one_bad_span_costs_itself_alone() {
    let server = Running::start().await;
    let bad = otlp::TestSpan { span_id: vec![0; 8], ..span(1, 2, "bad", 10) };
    let body = request("grpc", &[span(1, 1, "good", 10), bad.clone(), bad]);
    let answer = send(&channel(&server).await, TRACES, body, None).await.expect("taken in part").into_inner();
    assert_eq!(answer[2..4], [0x08, 2], "rejected_spans is exact");
    let words = String::from_utf8_lossy(&answer).into_owned();
    assert!(words.contains("span ID is all zeros") && words.contains("grpc"), "{words}");
    server.dashboard.stop().await;
}

#[tokio::test]
async fn refusals_have_the_codes_that_senders_act_on() {
    let server = Running::with(|settings| settings.receive.max_request = 1 << 20).await;
    let channel = channel(&server).await;
    let large = vec![0u8; 2 << 20];
    let good = request("grpc", &[span(1, 1, "x", 10)]);
    type Case = (&'static str, &'static str, Vec<u8>, Option<CompressionEncoding>, Code);
    let cases: Vec<Case> = vec![
        ("truncated", TRACES, good[..good.len() - 1].to_vec(), None, Code::InvalidArgument),
        ("random", TRACES, vec![0xff; 40], None, Code::InvalidArgument),
        ("oversize", TRACES, large.clone(), None, Code::ResourceExhausted),
        ("gzip bomb", TRACES, large.clone(), Some(CompressionEncoding::Gzip), Code::ResourceExhausted),
        ("zstd bomb", TRACES, large, Some(CompressionEncoding::Zstd), Code::ResourceExhausted),
        (
            "unknown method",
            "/opentelemetry.proto.collector.trace.v1.TraceService/Import",
            vec![],
            None,
            Code::Unimplemented,
        ),
        ("unknown service", "/grpc.health.v1.Health/Check", vec![], None, Code::Unimplemented),
    ];
    for (name, path, body, compression, code) in cases {
        let status = send(&channel, path, body, compression).await.expect_err(name);
        assert_eq!(status.code(), code, "{name}: {status}");
        assert!(status.message().len() > 5, "{name} says why");
    }
    assert!(send(&channel, TRACES, good, None).await.is_ok(), "the connection lives on");
    server.dashboard.stop().await;
}

#[tokio::test]
async fn where_keys_are_set_one_for_sending_must_be_shown() {
    let server = Running::with(|settings| {
        settings.ingest_keys = keys(&["the-key"]);
        settings.read_keys = keys(&["read-key"]);
    })
    .await;
    let channel = channel(&server).await;
    for (shown, code) in [
        (None, Code::Unauthenticated),
        (Some("Bearer wrong-k"), Code::Unauthenticated),
        (Some("Bearer read-key"), Code::PermissionDenied),
        (Some("Bearer the-key"), Code::Ok),
    ] {
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let mut request = Request::new(Bytes::new());
        if let Some(shown) = shown {
            request.metadata_mut().insert("authorization", shown.parse().unwrap());
        }
        let answer = client.unary(request, TRACES.parse().unwrap(), Raw).await;
        let status = answer.map_or_else(|status| status, |_| tonic::Status::ok(""));
        assert_eq!(status.code(), code, "{shown:?}");
        assert!(code != Code::PermissionDenied || status.message().contains("for reading"), "{status}");
    }
    server.dashboard.stop().await;
}
