//! A store that cannot keep up, brought about by a lock on its file: senders are told to come again, in each
//! protocol's own way, and nothing that was acknowledged is lost.

use std::time::Duration;

use crate::common::otlp::{TestSpan, request, span, trace_hex};
use crate::common::{self, Running, client, eventually};
use bytes::Bytes;
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};
use throughline::dashboard::model::proto::{Wire, fields};
use throughline::dashboard::receive::grpc::RawCodec;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// A refusal is to come within 6 s; a test machine gets one more.
const SOON: Duration = Duration::from_secs(7);
/// More than may wait and be written at once.
const SENDERS: u64 = 150;

/// How a batch is sent.
#[derive(Clone, Copy, Debug)]
enum How {
    Grpc,
    Protobuf,
    Json,
}

const WAYS: [How; 3] = [How::Grpc, How::Protobuf, How::Json];

/// One of many senders.
#[derive(Clone)]
struct Sender {
    channel: Channel,
    http: reqwest::Client,
    url: String,
    /// When all spans begin: what is sent again is the same to the last byte.
    start: u64,
}

impl Sender {
    async fn new(server: &Running) -> Self {
        let channel = Endpoint::from_shared(format!("http://{}", server.dashboard.otlp_grpc)).unwrap();
        let http = client();
        let (channel, url) = (channel.connect().await.unwrap(), server.otlp("/v1/traces"));
        Self { channel, http, url, start: common::otlp::now() }
    }

    fn body(&self, number: u64) -> Vec<u8> {
        let span = TestSpan { start: self.start, end: self.start, ..span(number, 1, "work", 0) };
        request("overload", &[span])
    }

    fn json(&self, number: u64) -> Vec<u8> {
        let time = self.start.to_string();
        let span = json!({
            "traceId": trace_hex(number), "spanId": "0000000000000002", "name": "work",
            "startTimeUnixNano": time, "endTimeUnixNano": time,
        });
        json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [span] }] }] }).to_string().into_bytes()
    }

    /// Sends a trace of one span: `Ok` where it was acknowledged, or what is wrong with the refusal, if anything.
    async fn send(&self, how: How, number: u64) -> Result<(), Option<String>> {
        let sent = async {
            match how {
                How::Grpc => self.grpc(number).await,
                How::Protobuf => self.post("application/x-protobuf", self.body(number), is_unavailable).await,
                How::Json => {
                    self.post("application/json", self.json(number), |body| {
                        serde_json::from_slice::<Value>(body).is_ok_and(|status| {
                            status["code"] == 14
                                && status["details"][0]["@type"] == "type.googleapis.com/google.rpc.RetryInfo"
                                && status["details"][0]["retryDelay"] == "1s"
                        })
                    })
                    .await
                }
            }
        };
        match tokio::time::timeout(SOON, sent).await {
            Ok(sent) => sent,
            Err(_) => Err(Some(format!("{how:?}: no answer within {SOON:?}"))),
        }
    }

    async fn grpc(&self, number: u64) -> Result<(), Option<String>> {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.unwrap();
        let body = Bytes::from(self.body(number));
        let answer = client.unary(tonic::Request::new(body), TRACES.parse().unwrap(), RawCodec).await;
        let Err(status) = answer else { return Ok(()) };
        let right = status.code() == Code::Unavailable && is_unavailable(status.details());
        Err((!right).then(|| format!("gRPC: {status:?}")))
    }

    async fn post(
        &self,
        content_type: &str,
        body: Vec<u8>,
        is_right: impl Fn(&[u8]) -> bool,
    ) -> Result<(), Option<String>> {
        let sent = self.http.post(&self.url).header("content-type", content_type).body(body);
        let answer = sent.send().await.expect("an answer");
        if answer.status() == 200 {
            return Ok(());
        }
        let told = (answer.status(), answer.headers().clone());
        let body = answer.bytes().await.expect("a body");
        let right = told.0 == 503
            && told.1["retry-after"] == "1"
            && told.1["content-type"] == content_type
            && is_right(&body);
        Err((!right).then(|| format!("{content_type}: {told:?} {}", String::from_utf8_lossy(&body))))
    }
}

/// Whether bytes are a `google.rpc.Status` with code 14 and a `RetryInfo` of one second.
fn is_unavailable(status: &[u8]) -> bool {
    let text = b"type.googleapis.com/google.rpc.RetryInfo";
    let (mut code, mut info) = (0, Vec::new());
    for field in fields(status).map_while(Result::ok) {
        match (field.number, field.value) {
            (1, Wire::Varint(found)) => code = found,
            (3, Wire::Bytes(any)) => info = any.to_vec(),
            _ => {}
        }
    }
    // RetryInfo { retry_delay: Duration { seconds: 1 } }
    code == 14 && info.windows(text.len()).any(|part| part == text) && info.ends_with(&[0x0a, 2, 0x08, 1])
}

/// Sends all numbers at once; gives those acknowledged, and what was wrong with refusals.
async fn send_all(sender: &Sender, numbers: impl Iterator<Item = u64>) -> (Vec<u64>, Vec<String>) {
    let sent = numbers.map(|number| {
        let sender = sender.clone();
        async move { (number, sender.send(WAYS[number as usize % WAYS.len()], number).await) }
    });
    let (mut acknowledged, mut wrong) = (Vec::new(), Vec::new());
    for (number, answer) in futures_util::future::join_all(sent).await {
        match answer {
            Ok(()) => acknowledged.push(number),
            Err(what) => wrong.extend(what),
        }
    }
    (acknowledged, wrong)
}

/// The spans stored of a trace.
async fn stored(server: &Running, http: &reqwest::Client, number: u64) -> usize {
    let page = server.page(&format!("/traces/{}/otlp.json", trace_hex(number)));
    let answer = http.get(page).send().await.unwrap();
    answer.text().await.unwrap().matches("\"spanId\"").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_store_turns_senders_away_and_recovers() {
    let server = Running::start().await;
    let sender = Sender::new(&server).await;
    let (before, wrong) = send_all(&sender, 0..6).await;
    assert_eq!((before.len(), wrong), (6, vec![]), "all is well at first");

    let file = format!("sqlite://{}", server.folder.path().join("store.db").display());
    let mut other = SqliteConnection::connect(&file).await.unwrap();
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut other).await.unwrap();
    // The second wave comes while the first one waits for the lock.
    let first = send_all(&sender, 100..100 + SENDERS);
    let second = async {
        eventually("the first wave waits", 5, async || {
            (metric(&server, "queue_batches").await > 0.0).then_some(())
        })
        .await;
        send_all(&sender, 1_000..1_000 + SENDERS).await
    };
    let ((first, wrong), (second, also_wrong)) = tokio::join!(first, second);
    assert_eq!((first, second), (vec![], vec![]), "nothing is acknowledged that is not committed");
    assert_eq!((wrong, also_wrong), (vec![], vec![]), "refusals");
    for (what, path) in [("the list", "/traces"), ("the Overview", "/"), ("the process", "/livez")] {
        let status = client().get(server.page(path)).send().await.unwrap().status();
        assert_eq!(status, 200, "{what} can be read meanwhile");
    }
    let text = metrics(&server).await;
    for outcome in ["overloaded", "store_unavailable"] {
        let some = text.lines().any(|line| line.contains(&format!("\"{outcome}\"")) && !line.ends_with(" 0"));
        assert!(some, "some were {outcome}:\n{text}");
    }

    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    let mut left: Vec<u64> = (100..100 + SENDERS).chain(1_000..1_000 + SENDERS).collect();
    for _ in 0..20 {
        let (taken, wrong) = send_all(&sender, left.iter().copied()).await;
        assert_eq!(wrong, Vec::<String>::new(), "refusals");
        left.retain(|number| !taken.contains(number));
    }
    assert_eq!(left, Vec::<u64>::new(), "all are taken when they come again");
    for number in (0..6).chain(100..100 + SENDERS).chain(1_000..1_000 + SENDERS) {
        assert_eq!(stored(&server, &sender.http, number).await, 1, "trace {number} is stored, once");
    }
    server.dashboard.stop().await;
}

async fn metrics(server: &Running) -> String {
    client().get(server.page("/metrics")).send().await.unwrap().text().await.unwrap()
}

/// The value of a metric without labels.
async fn metric(server: &Running, name: &str) -> f64 {
    let text = metrics(server).await;
    let line = text.lines().find(|line| !line.starts_with('#') && line.contains(name));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("a metric of this name")
}
