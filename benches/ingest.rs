//! What receiving, keeping and showing cost, measured from outside over the socket.
//!
//! `cargo bench --bench ingest` starts the release binary with a new store, sends spans over OTLP/gRPC in requests
//! of 512 from eight connections, waits for every answer (an answer means committed), and reads the server's own
//! CPU time from the system. Then it asks for pages one after the other. Prints a table, and with `--json` a line
//! for a program. Settings by variable: `BENCH_SPANS` (1000000), `BENCH_SENDERS` (8).

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use throughline::dashboard::model::proto::{put_bytes, put_fixed64, put_message, put_uint};
use throughline::dashboard::receive::grpc::RawCodec as Raw;
use throughline::dashboard::view::zone::rfc3339;

const PER_REQUEST: u64 = 512;
const PER_TRACE: u64 = 12;
const SERVICES: u64 = 12;

fn main() {
    // `cargo test` runs benches too, to see that they build; measuring is for `cargo bench`.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let setting =
        |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (spans, senders) = (setting("BENCH_SPANS", 1_000_000), setting("BENCH_SENDERS", 8));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(run(spans, senders));
}

async fn run(spans: u64, senders: u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(folder.path());
    let idle = server.rss_mb();
    let begin = now() - spans / PER_REQUEST * 1_000_000;
    let cpu = server.cpu_s();
    let started = Instant::now();
    send_all(&server.grpc, spans, senders, begin).await;
    let wall = started.elapsed().as_secs_f64();
    let used = server.cpu_s() - cpu;
    let million = spans as f64 / 1e6;
    println!("{:<46} {:>10.2} s", "server CPU per million spans", used / million);
    println!("{:<46} {:>10.0} /s", "spans committed a second", spans as f64 / wall);
    println!("{:<46} {:>10} bytes", "span on the wire, mean", request(0, begin).len() as u64 / PER_REQUEST);
    println!("{:<46} {:>10.1} bytes", "on disk a span", disk(folder.path()) as f64 / spans as f64);
    println!("{:<46} {:>10.0} MB", "RSS idle", idle);
    println!("{:<46} {:>10.0} MB", "RSS after", server.rss_mb());
    let traces = spans / PER_TRACE;
    let newest = |service: u64| format!("/traces?last=7d&service=service-{service}");
    let asked: Vec<(&str, Vec<String>)> = vec![
        (
            "trace by ID, OTLP JSON",
            (0..200).map(|n| format!("/traces/{}/otlp.json", hex(trace_id(n * 7919 % traces)))).collect(),
        ),
        (
            "trace page, HTML",
            (0..200).map(|n| format!("/traces/{}", hex(trace_id(n * 6007 % traces)))).collect(),
        ),
        ("newest of a service, HTML", (0..100).map(|n| newest(n % SERVICES)).collect()),
        ("newest failed, HTML", (0..50).map(|_| "/traces?last=7d&status=error".to_owned()).collect()),
        ("overview, HTML", (0..50).map(|_| "/?last=24h".to_owned()).collect()),
        ("overview of another time each, HTML", (0..50).map(|n| another_time(n, begin)).collect()),
        (
            "a rare attribute, 20 rows, HTML",
            (0..100)
                .map(|n| format!("/traces?last=7d&limit=20&query=span.user.id%20%3D%20user-{}", n * 479))
                .collect(),
        ),
        (
            "a common attribute, 20 rows, HTML",
            ["eu-central-1", "us-east-1", "ap-south-1"]
                .iter()
                .cycle()
                .take(50)
                .map(|region| format!("/traces?last=7d&limit=20&query=.shop.region%20%3D%20{region}"))
                .collect(),
        ),
        (
            "a range and a service, 20 rows, HTML",
            (0..50)
                .map(|n| {
                    let service = n % SERVICES;
                    format!(
                        "/traces?last=7d&limit=20&query=service.name%20%3D%20service-{service}%20and%20duration%20%3E%2012ms"
                    )
                })
                .collect(),
        ),
        (
            "correlation, HTML",
            (0..100).map(|n| format!("/correlations/order-{}", n * 7919 % traces)).collect(),
        ),
    ];
    println!("{:<46} {:>10} {:>10} {:>10}", "page", "p50 ms", "p95 ms", "kB");
    // It speaks plain HTTP here, and all the same wants a TLS provider to be chosen.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().build().expect("a client");
    for (what, paths) in asked {
        measure(&client, &server.pages, what, &paths).await;
    }
}

/// Asks for pages one after the other, the first three not counted.
async fn measure(client: &reqwest::Client, base: &str, what: &str, paths: &[String]) {
    let (mut times, mut size) = (Vec::new(), 0);
    for (index, path) in paths.iter().chain(&paths[..3]).enumerate() {
        let started = Instant::now();
        let answer = client.get(format!("{base}{path}")).send().await.expect("an answer");
        let status = answer.status();
        let body = answer.bytes().await.expect("a body");
        assert!(status.is_success(), "{path}: {status}");
        if index >= 3 {
            times.push(started.elapsed().as_secs_f64() * 1000.0);
        }
        size = size.max(body.len());
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{what:<46} {:>10.2} {:>10.2} {:>10.1}", at(0.5), at(0.95), size as f64 / 1e3);
}

/// The Overview of a day that nobody asked for before: it cannot be one that is kept.
fn another_time(n: u64, began: u64) -> String {
    let at = |seconds: u64| rfc3339(seconds * 1_000_000_000);
    let to = began / 1_000_000_000 + 60 + n;
    format!("/?from={}&to={}", at(to - 86_400), at(to))
}

async fn send_all(address: &str, spans: u64, senders: u64, begin: u64) {
    let next = Arc::new(AtomicU64::new(0));
    let requests = spans.div_ceil(PER_REQUEST);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..senders {
        let (next, address) = (next.clone(), address.to_owned());
        tasks.spawn(async move {
            let channel =
                tonic::transport::Endpoint::from_shared(address).expect("an address").connect().await;
            let mut client = tonic::client::Grpc::new(channel.expect("a connection"));
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= requests {
                    return;
                }
                send(&mut client, request(number, begin)).await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a sender ends well");
    }
}

async fn send(client: &mut tonic::client::Grpc<tonic::transport::Channel>, body: Bytes) {
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    for _ in 0..100 {
        client.ready().await.expect("the connection lives");
        let answer =
            client.unary(tonic::Request::new(body.clone()), path.parse().expect("a path"), Raw).await;
        match answer {
            Ok(answer) => return assert!(answer.into_inner().is_empty(), "nothing was left out"),
            Err(status) if status.code() == tonic::Code::Unavailable => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(status) => panic!("{status}"),
        }
    }
    panic!("the server stayed unavailable");
}

/// A request of 512 spans, about 440 bytes each, of whole traces that cross services.
fn request(number: u64, begin: u64) -> Bytes {
    let mut by_service: Vec<Vec<Vec<u8>>> = vec![Vec::new(); SERVICES as usize];
    for index in number * PER_REQUEST..(number + 1) * PER_REQUEST {
        by_service[(index % PER_TRACE % SERVICES) as usize].push(span(index, begin));
    }
    let mut out = Vec::new();
    for (service, spans) in by_service.iter().enumerate() {
        put_message(&mut out, 1, |out| {
            put_message(out, 1, |out| {
                text(out, 1, "service.name", &format!("service-{service}"));
                text(out, 1, "service.version", "1.4.2");
                text(out, 1, "host.name", &format!("host-{}", service % 4));
            });
            put_message(out, 2, |out| {
                put_message(out, 1, |out| put_bytes(out, 1, b"bench"));
                spans.iter().for_each(|span| put_bytes(out, 2, span));
            });
        });
    }
    out.into()
}

fn span(index: u64, begin: u64) -> Vec<u8> {
    let (trace, place) = (index / PER_TRACE, index % PER_TRACE);
    let random = index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let start = begin + trace * 23_000 + place * 1_000_000;
    let mut out = Vec::with_capacity(460);
    put_bytes(&mut out, 1, &trace_id(trace));
    put_bytes(&mut out, 2, &(index.wrapping_mul(0xff51_afd7_ed55_8ccd) | 1).to_be_bytes());
    if place > 0 {
        put_bytes(
            &mut out,
            4,
            &((trace * PER_TRACE + (place - 1) / 2).wrapping_mul(0xff51_afd7_ed55_8ccd) | 1).to_be_bytes(),
        );
    }
    put_bytes(&mut out, 5, format!("GET /api/v1/resource-{}", place * 3 + trace % 3).as_bytes());
    put_uint(&mut out, 6, 2 + place % 2);
    put_fixed64(&mut out, 7, start);
    put_fixed64(&mut out, 8, start + (PER_TRACE - place) * 2_000_000 + random % 1_000_000);
    text(&mut out, 9, "http.request.method", "GET");
    text(&mut out, 9, "http.route", &format!("/api/v1/resource-{}", place * 3));
    text(&mut out, 9, "url.path", &format!("/api/v1/resource-{}/{}", place * 3, random % 100_000));
    text(&mut out, 9, "server.address", &format!("service-{}.shop.internal", place % SERVICES));
    text(&mut out, 9, "user_agent.original", "shop-client/2.1 (linux)");
    text(&mut out, 9, "user.id", &format!("user-{}", random % 50_000));
    text(&mut out, 9, "shop.region", ["eu-central-1", "us-east-1", "ap-south-1"][(random % 3) as usize]);
    put_message(&mut out, 9, |out| {
        number(out, "http.response.status_code", if trace % 50 == 0 { 500 } else { 200 })
    });
    put_message(&mut out, 9, |out| number(out, "http.response.body.size", random % 20_000));
    if place == 0 {
        text(&mut out, 9, "correlation.id", &format!("order-{trace}"));
    } else {
        text(&mut out, 9, "order.ref", &format!("order-{trace}"));
    }
    if trace % 50 == 0 && place == PER_TRACE - 1 {
        put_message(&mut out, 15, |out| {
            put_bytes(out, 2, b"upstream answered 500");
            put_uint(out, 3, 2);
        });
    }
    out
}

fn trace_id(trace: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&trace.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id[8..].copy_from_slice(&(trace + 1).to_be_bytes());
    id
}

fn hex(id: [u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(out: &mut Vec<u8>, field: u32, key: &str, value: &str) {
    put_message(out, field, |out| {
        put_bytes(out, 1, key.as_bytes());
        put_message(out, 2, |out| put_bytes(out, 1, value.as_bytes()));
    });
}

fn number(out: &mut Vec<u8>, key: &str, value: u64) {
    put_bytes(out, 1, key.as_bytes());
    put_message(out, 2, |out| put_uint(out, 3, value));
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}

/// Bytes of a folder's files, but for the room that is kept for a full disk.
fn disk(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).expect("the folder");
    let data = entries
        .filter_map(Result::ok)
        .filter(|entry| !entry.file_name().to_string_lossy().ends_with(".ballast"));
    data.filter_map(|entry| entry.metadata().ok()).map(|file| file.len()).sum()
}

/// The server under test.
struct Server {
    process: Child,
    pages: String,
    grpc: String,
}

impl Server {
    fn start(folder: &std::path::Path) -> Self {
        let store = format!("sqlite://{}", folder.join("bench.db").display());
        let mut process = Command::new(env!("CARGO_BIN_EXE_throughline"))
            .args(["dashboard", "--listen", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0"])
            .args(["--otlp-http", "127.0.0.1:0", "--store", &store])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let (mut pages, mut grpc) = (String::new(), String::new());
        let mut lines = BufReader::new(process.stderr.take().expect("piped")).lines();
        while pages.is_empty() || grpc.is_empty() {
            let line = lines.next().expect("the server says where it listens").expect("text");
            if let Some((_, address)) = line.split_once("pages on ") {
                pages = address.trim().to_owned();
            } else if let Some((_, address)) = line.split_once("OTLP over gRPC on ") {
                grpc = format!("http://{}", address.trim());
            }
        }
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, pages, grpc }
    }

    /// CPU seconds used so far, of all threads.
    fn cpu_s(&self) -> f64 {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("a Linux system");
        let after = stat.rsplit_once(')').expect("a name in brackets").1;
        let ticks: u64 =
            after.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().expect("a number")).sum();
        ticks as f64 / 100.0
    }

    fn rss_mb(&self) -> f64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("a Linux system");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a size");
        line.split_whitespace().nth(1).expect("a number").parse::<f64>().expect("a number") / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The bench is over either way; a server that ended by itself is no concern.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
