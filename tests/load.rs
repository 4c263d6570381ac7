//! `throughline load` against real receivers: the dashboard's process, and receivers made here that refuse.

mod process;

use std::collections::{BTreeMap, VecDeque};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::response::Response;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use process::{Dashboard, Process};
use prost::Message as _;
use throughline::load::plan::{Shape, System};
use throughline::load::report::Behind;
use throughline::load::send::{Compression, Protocol, Target};
use throughline::load::{self, Extent, Settings, tree};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic_types::{ErrorDetails, StatusExt as _};

const SEED: u64 = 20_261_125;

fn command(endpoint: &str, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throughline"));
    let set = std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("OTEL_"));
    for name in set {
        command.env_remove(name);
    }
    command.args(["load", "--endpoint", endpoint, "--json", "--seed", &SEED.to_string()]).args(flags);
    command
}

fn run(endpoint: &str, flags: &[&str]) -> Output {
    command(endpoint, flags).output().expect("the binary starts")
}

fn report(output: &Output) -> serde_json::Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}; it said: {said}"))
}

/// A page of the dashboard.
async fn page(dashboard: &Dashboard, path: &str) -> String {
    let answer = client().get(format!("{}{path}", dashboard.pages)).send().await.expect("an answer");
    answer.text().await.expect("a text")
}

fn client() -> reqwest::Client {
    // An error says that another test has chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// The sum of a counter of `/metrics`.
async fn counter(dashboard: &Dashboard, name: &str) -> u64 {
    let metrics = page(dashboard, "/metrics").await;
    let of = |line: &str| line.starts_with(name).then(|| line.rsplit(' ').next()?.parse::<u64>().ok())?;
    metrics.lines().filter_map(of).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_acknowledged_is_stored_over_both_protocols() {
    for flags in [
        &["--protocol=grpc", "--by-service"][..],
        &["--protocol=grpc", "--compression=zstd", "--logs=0.5"],
        &["--protocol=http", "--compression=gzip", "--logs=0.5"],
        &["--protocol=http", "--compression=zstd", "--batch=100", "--workers=1"],
    ] {
        let folder = tempfile::tempdir().unwrap();
        let dashboard = Dashboard::start(folder.path());
        let address = if flags[0].ends_with("grpc") { &dashboard.grpc } else { &dashboard.http };
        let all = [flags, &["--spans=1500", "--rate=unlimited"]].concat();
        let output = run(&format!("http://{address}"), &all);
        let report = report(&output);
        assert!(output.status.success() && output.stderr.is_empty(), "{flags:?}: {report}");
        assert!(report["spans"]["sent"].as_u64().unwrap() >= 1500, "{flags:?}: {report}");
        for (items, name) in [
            ("spans", "throughline_receive_spans_accepted_total"),
            ("log_records", "throughline_receive_logs_accepted_total"),
        ] {
            assert_eq!(report[items]["sent"], report[items]["acknowledged"], "{flags:?}");
            assert_eq!(counter(&dashboard, name).await, report[items]["acknowledged"], "{flags:?}: {name}");
        }
        let wants_logs = flags.contains(&"--logs=0.5");
        assert_eq!(report["log_records"]["sent"].as_u64().unwrap() > 500, wants_logs, "{flags:?}");
        assert_eq!(report["seed"], SEED);
        let bytes = report["bytes_per_span"].as_f64().unwrap();
        assert!((380.0..520.0).contains(&bytes), "{flags:?}: {bytes}");
    }
}

/// Spans of each trace that this seed makes, until there are so many.
fn made(spans: usize) -> BTreeMap<String, usize> {
    let shape = shape();
    let system = System::plan(&shape);
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0.. {
        for span in tree::grow(&system, &shape, number).spans {
            let id: String = span.trace.iter().map(|byte| format!("{byte:02x}")).collect();
            *made.entry(id).or_default() += 1;
        }
        if made.values().sum::<usize>() >= spans {
            break;
        }
    }
    made
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_goes_and_comes_back_loses_nothing_that_it_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut dashboard = Dashboard::start(folder.path());
    let (pages, grpc, http) = (dashboard.pages.clone(), dashboard.grpc.clone(), dashboard.http.clone());
    let flags = ["--spans=6000", "--rate=4000", "--batch=64", "--workers=3"];
    let mut load = Process::start("the load", &mut command(&format!("http://{grpc}"), &flags));
    let deadline = Instant::now() + Duration::from_secs(30);
    while counter(&dashboard, "throughline_receive_spans_accepted_total").await < 1000 {
        assert!(Instant::now() < deadline, "nothing arrives: {}", load.output());
    }
    // Killed; then somebody else answers the port, so that a try is known to have failed.
    drop(dashboard);
    let other = TcpListener::bind(&grpc).expect("the port is free again");
    drop(other.accept().expect("the load tries again"));
    drop(other);
    dashboard = Dashboard::at(folder.path(), pages.trim_start_matches("http://"), &grpc, &http);
    assert_eq!(load.ended(60), Some(0), "{}", load.output());
    let report: serde_json::Value = serde_json::from_str(&load.output()).expect("one object");
    assert!(report["retried"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["spans"]["acknowledged"], report["spans"]["sent"], "{report}");
    let made = made(6000);
    assert_eq!(made.values().sum::<usize>() as u64, report["spans"]["sent"], "the seed makes the same here");
    for (trace, spans) in made {
        let stored = page(&dashboard, &format!("/traces/{trace}/otlp.json")).await;
        assert_eq!(stored.matches("\"startTimeUnixNano\"").count(), spans, "{trace}: each span once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_is_said_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let dashboard = Dashboard::with(folder.path(), &["--ingest-key", "secret"]);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let (grpc, http) = (format!("http://{}", dashboard.grpc), format!("http://{}", dashboard.http));
    let start = "throughline dashboard";
    for (endpoint, flags, words) in [
        (&free[..], &[][..], &["nothing listens", &free, start, "--endpoint"][..]),
        (&free, &["--protocol=http"], &["nothing listens", start, "--endpoint"]),
        (&grpc, &[], &["--header", "authorization=Bearer KEY", "key"]),
        (&http, &["--protocol=http"], &["--header", "authorization=Bearer KEY"]),
        (&http, &[], &["does not speak OTLP over gRPC", "--protocol http"]),
        (&grpc, &["--protocol=http"], &["does not speak OTLP over HTTP", "--protocol grpc"]),
        (&dashboard.pages, &["--protocol=http"], &["does not speak OTLP", "--endpoint"]),
        ("127.0.0.1:4317", &[], &["--endpoint", "http://127.0.0.1:4317"]),
        ("shop", &["--protocol=http"], &["--endpoint", "http://127.0.0.1:4318"]),
        ("ftp://shop", &["--protocol=http"], &["--endpoint", "http://"]),
        (&grpc, &["--header=a b=c"], &["--header", "a b"]),
        (&grpc, &["--depth=9", "--services=3"], &["--depth 9", "--services"]),
    ] {
        let output = run(endpoint, &[flags, &["--spans=10"]].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), said.lines().count()),
            (Some(1), 1),
            "{endpoint} {flags:?}: {said}"
        );
        assert!(words.iter().all(|word| said.contains(word)), "{endpoint} {flags:?}: {said}");
        assert!(output.stdout.is_empty(), "{endpoint} {flags:?}");
    }
    let key = ["--header=authorization=Bearer secret", "--spans=10"];
    assert!(run(&grpc, &key).status.success(), "with the key it goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_it_with_its_report() {
    let folder = tempfile::tempdir().unwrap();
    let dashboard = Dashboard::start(folder.path());
    let endpoint = format!("http://{}", dashboard.grpc);
    let mut load = Process::start("the load", &mut command(&endpoint, &["--duration=1h", "--rate=2000"]));
    let deadline = Instant::now() + Duration::from_secs(30);
    while counter(&dashboard, "throughline_receive_spans_accepted_total").await == 0 {
        assert!(Instant::now() < deadline, "nothing arrives: {}", load.output());
    }
    assert_eq!(load.terminate(20), Some(0), "{}", load.output());
    let report: serde_json::Value = serde_json::from_str(&load.output()).expect("one object");
    assert!(report["spans"]["acknowledged"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(report["spans"]["acknowledged"], report["spans"]["sent"], "{report}");
    assert_eq!(
        counter(&dashboard, "throughline_receive_spans_accepted_total").await,
        report["spans"]["sent"],
        "what was on its way arrived"
    );
}

/// How a receiver made here answers a request that is not empty.
#[derive(Clone, Copy, Debug)]
enum Says {
    Yes,
    /// Leaves so many spans out.
    Partly(i64),
    /// An HTTP status or a gRPC code, with the wait in ms (over HTTP in whole seconds) where one is given.
    No(u16, Option<u64>),
}

/// A receiver that answers by the list, and then always yes.
#[derive(Clone)]
struct Receiver {
    answers: Arc<Mutex<VecDeque<Says>>>,
    /// Spans of requests that were answered yes.
    kept: Arc<Mutex<u64>>,
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Receiver {
    fn new(answers: &[Says]) -> Self {
        let answers = Arc::new(Mutex::new(answers.iter().copied().collect()));
        Self { answers, kept: Arc::default(), asked: Arc::default() }
    }

    fn answer(&self, request: &ExportTraceServiceRequest) -> Says {
        let scopes = request.resource_spans.iter().flat_map(|part| &part.scope_spans);
        let spans: u64 = scopes.map(|scope| scope.spans.len() as u64).sum();
        if spans == 0 {
            return Says::Yes;
        }
        self.asked.lock().unwrap().push(Instant::now());
        let says = self.answers.lock().unwrap().pop_front().unwrap_or(Says::Yes);
        if matches!(says, Says::Yes | Says::Partly(_)) {
            *self.kept.lock().unwrap() += spans;
        }
        says
    }

    async fn serve(&self, protocol: Protocol) -> (String, AbortOnDropHandle<()>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let routes = match protocol {
            Protocol::Grpc => {
                tonic::service::Routes::new(TraceServiceServer::new(self.clone())).into_axum_router()
            }
            Protocol::Http => {
                let receiver = self.clone();
                let take = move |body: Bytes| async move { receiver.over_http(body) };
                axum::Router::new().route("/v1/traces", axum::routing::post(take))
            }
        };
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await.expect("it serves") });
        (endpoint, AbortOnDropHandle::new(serving))
    }

    fn over_http(&self, body: Bytes) -> Response {
        let answer = match self.answer(&ExportTraceServiceRequest::decode(body).expect("OTLP")) {
            Says::Yes => Vec::new(),
            Says::Partly(spans) => partly(spans).encode_to_vec(),
            Says::No(status, wait) => {
                let no = Response::builder().status(status);
                let no = wait.into_iter().fold(no, |no, ms| no.header("retry-after", ms / 1000));
                return no.body(Body::empty()).expect("an answer");
            }
        };
        let yes = Response::builder().header("content-type", "application/x-protobuf");
        yes.body(answer.into()).expect("an answer")
    }
}

#[async_trait::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        match self.answer(request.get_ref()) {
            Says::Yes => Ok(tonic::Response::new(ExportTraceServiceResponse::default())),
            Says::Partly(spans) => Ok(tonic::Response::new(partly(spans))),
            Says::No(code, wait) => {
                let details = ErrorDetails::with_retry_info(wait.map(Duration::from_millis));
                let code = tonic::Code::from_i32(code.into());
                Err(match wait {
                    Some(_) => tonic::Status::with_error_details(code, "not now", details),
                    None => tonic::Status::new(code, "not now"),
                })
            }
        }
    }
}

fn partly(spans: i64) -> ExportTraceServiceResponse {
    let error_message = "some are too old".to_owned();
    let partial = ExportTracePartialSuccess { rejected_spans: spans, error_message };
    ExportTraceServiceResponse { partial_success: Some(partial) }
}

/// The shape of a load with no flag but the seed.
fn shape() -> Shape {
    Shape {
        services: 12,
        operations: 8,
        depth: 4,
        fan_out: 2,
        queues: 2,
        spans_per_trace: None,
        error_share: 0.02,
        correlation_share: 1.0,
        log_share: 0.0,
        attributes: 10,
        cardinality: 10_000,
        seed: SEED,
    }
}

/// Four requests of 128 spans, one after the other.
fn four_requests(endpoint: &str, protocol: Protocol, retry_for: Duration) -> Settings {
    Settings {
        target: Target {
            endpoint: endpoint.to_owned(),
            protocol,
            compression: Compression::None,
            headers: Vec::new(),
            workers: 1,
            retry_for,
        },
        shape: Shape { spans_per_trace: Some(32), ..shape() },
        rate: None,
        extent: Extent::Spans(512),
        batch: 128,
        by_service: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_tried_again_or_counted_as_otlp_wants_it() {
    use Protocol::{Grpc, Http};
    use Says::{No, Partly, Yes};
    // The answers to the tries in their order; then spans that are refused, why, and tries after the first.
    let cases: &[(Protocol, &[Says], u64, &str, u64)] = &[
        (Http, &[], 0, "", 0),
        (Http, &[No(429, Some(0)), No(502, None), No(503, None), No(504, None)], 0, "", 4),
        (Http, &[Yes, No(400, None)], 128, "400", 0),
        (Http, &[No(413, None), No(500, None)], 256, "500", 0),
        (Http, &[Partly(5), Yes, Partly(3)], 8, "some are too old", 0),
        (Http, &[Partly(1000)], 128, "some are too old", 0),
        (Grpc, &[No(14, None), No(14, Some(50)), No(4, None)], 0, "", 3),
        (Grpc, &[No(1, None), Yes, No(10, None), No(11, None), No(15, None)], 0, "", 4),
        (Grpc, &[No(8, Some(50)), Yes, No(8, None)], 128, "ResourceExhausted: not now", 1),
        (Grpc, &[Yes, No(3, Some(50)), No(7, None)], 256, "InvalidArgument: not now", 0),
        (Grpc, &[Partly(7)], 7, "some are too old", 0),
    ];
    for (protocol, answers, refused, why, retried) in cases {
        let receiver = Receiver::new(answers);
        let (endpoint, _serving) = receiver.serve(*protocol).await;
        let settings = four_requests(&endpoint, *protocol, Duration::from_secs(60));
        let report = load::run(settings, CancellationToken::new(), false).await.expect("it runs");
        let case = format!("{protocol:?} {answers:?}: {report:?}");
        assert_eq!(
            (report.spans.sent, report.spans.refused, report.retried),
            (512, *refused, *retried),
            "{case}"
        );
        assert_eq!((report.spans.acknowledged, report.spans.unanswered), (512 - refused, 0), "{case}");
        assert_eq!(report.refused_because.values().sum::<u64>(), *refused, "{case}");
        let named = report.refused_because.keys().any(|reason| reason.contains(why));
        assert!(named || why.is_empty(), "{case}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wait_that_a_receiver_asks_for_is_kept() {
    for (protocol, no) in [(Protocol::Http, 503), (Protocol::Grpc, 14)] {
        let receiver = Receiver::new(&[Says::No(no, Some(1000))]);
        let (endpoint, _serving) = receiver.serve(protocol).await;
        let settings = four_requests(&endpoint, protocol, Duration::from_secs(60));
        load::run(settings, CancellationToken::new(), false).await.expect("it runs");
        let asked = receiver.asked.lock().unwrap();
        assert!(asked[1] - asked[0] >= Duration::from_secs(1), "{protocol:?}");
        assert_eq!((asked.len(), *receiver.kept.lock().unwrap()), (5, 512));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_given_up_after_its_time() {
    for (protocol, no) in [(Protocol::Http, 503), (Protocol::Grpc, 14)] {
        let receiver = Receiver::new(&[Says::No(no, Some(5000))]);
        let (endpoint, _serving) = receiver.serve(protocol).await;
        let settings = four_requests(&endpoint, protocol, Duration::from_secs(3));
        let report = load::run(settings, CancellationToken::new(), false).await.expect("it runs");
        assert_eq!((report.spans.refused, report.lost(), report.retried), (128, 128, 0), "{report:?}");
        let reason = report.refused_because.keys().next().expect("a reason");
        assert!(reason.starts_with("given up: "), "{reason}");
        let table = report.to_string();
        assert!(table.contains(reason) && table.contains("128"), "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_that_the_receiver_does_not_bear_is_said() {
    // The one sender is turned away for a second; the next request waits for it, and so does the one after.
    let receiver = Receiver::new(&[Says::No(503, Some(1000))]);
    let (endpoint, _serving) = receiver.serve(Protocol::Http).await;
    let settings = four_requests(&endpoint, Protocol::Http, Duration::from_secs(60));
    let settings = Settings { rate: Some(100_000.0), ..settings };
    let report = load::run(settings, CancellationToken::new(), false).await.expect("it runs");
    assert_eq!((report.fell_behind, report.spans.acknowledged), (Some(Behind::Receiver), 512), "{report:?}");
    let table = report.to_string();
    assert!(table.contains("offered 100,000") && table.contains("did not keep up"), "{table}");
}
