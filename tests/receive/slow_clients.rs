//! Senders that say nothing, too little or too slowly: each is closed or told so, and none keeps others out.

use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::otlp::{request, span};
use crate::common::{self, Running, eventually, frames};
use crate::process::{Dashboard, Process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// What a connection and a body are given here; the tests wait a good deal longer.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(10);

/// The three addresses of a dashboard.
#[derive(Clone, Copy, Debug)]
enum Door {
    Pages,
    Grpc,
    Http,
}

/// A sender: what it says at once, what it then says a byte at a time without end, and what it hears before the
/// connection is closed.
struct Slow {
    name: &'static str,
    doors: &'static [Door],
    says: Vec<u8>,
    drips: &'static [u8],
    hears: &'static [u8],
}

fn preface(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut out = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    out.extend(frames::frame(frames::SETTINGS, 0, 0, &[]));
    out.extend(frames.concat());
    out
}

fn senders() -> Vec<Slow> {
    const ALL: &[Door] = &[Door::Pages, Door::Grpc, Door::Http];
    const HTTP1: &[Door] = &[Door::Pages, Door::Http];
    let slow = |name, doors, says: &[u8]| Slow { name, doors, says: says.to_vec(), drips: b"", hears: b"" };
    let post = |rest: &str| {
        format!("POST /v1/traces HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{rest}\r\n")
            .into_bytes()
    };
    let half_headers = frames::frame(frames::HEADERS, 0, 1, &frames::call(TRACES));
    vec![
        slow("says nothing", ALL, b""),
        Slow { drips: b"G", ..slow("a method without end", HTTP1, b"") },
        Slow {
            drips: b"a",
            ..slow("a header without end", HTTP1, b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ")
        },
        Slow { drips: b"P", ..slow("half a preface, slowly", HTTP1, b"PRI * HT") },
        slow("half a preface", ALL, b"PRI * HTTP/2.0\r\n"),
        slow("a preface and no call", ALL, &preface(&[])),
        slow("half the headers of a call", &[Door::Grpc, Door::Http], &preface(&[half_headers])),
        Slow {
            hears: b"HTTP/1.1 408 ",
            ..slow("a body that stalls", &[Door::Http], &post("content-length: 9\r\n"))
        },
        Slow {
            hears: b"HTTP/1.1 408 ",
            drips: b"1\r\n \r\n",
            ..slow("a body without end, slowly", &[Door::Http], &post("transfer-encoding: chunked\r\n"))
        },
    ]
}

/// Says what a sender says; gives what it heard until the connection was closed, or `None` where that did not come.
async fn heard(sender: &Slow, address: SocketAddr) -> Option<Vec<u8>> {
    let stream = tokio::net::TcpStream::connect(address).await.expect("a connection");
    let (mut read, mut write) = stream.into_split();
    let mut heard = Vec::new();
    let drip = async {
        // Whether it is still heard shows on the other half.
        let _ = write.write_all(&sender.says).await;
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        for byte in sender.drips.iter().cycle() {
            pace.tick().await;
            if write.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let listen = async {
        // A reset is an end too.
        let _ = read.read_to_end(&mut heard).await;
    };
    let ended = tokio::time::timeout(LONG, async {
        tokio::select! { () = drip => {}, () = listen => {} }
    });
    ended.await.is_ok().then_some(heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_too_little_is_closed() {
    let server = Running::with(|settings| {
        settings.first_request = SHORT;
        settings.receive.body_patience = SHORT;
    })
    .await;
    let mut broken = Vec::new();
    for sender in senders() {
        for door in sender.doors {
            let address = match door {
                Door::Pages => server.dashboard.listen,
                Door::Grpc => server.dashboard.otlp_grpc,
                Door::Http => server.dashboard.otlp_http,
            };
            match heard(&sender, address).await {
                None => broken.push(format!("{} at {door:?}: not closed", sender.name)),
                Some(heard) if !heard.starts_with(sender.hears) => {
                    let heard = String::from_utf8_lossy(&heard).into_owned();
                    broken.push(format!("{} at {door:?}: heard {heard:?}", sender.name));
                }
                Some(_) => {}
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    server.dashboard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_message_stalls_is_answered() {
    let server = Running::with(|settings| settings.receive.body_patience = SHORT).await;
    let address = server.dashboard.otlp_grpc.to_string();
    let kinds = tokio::task::spawn_blocking(move || {
        let mut peer = frames::Peer::connect(&address);
        let call = frames::frame(frames::HEADERS, frames::END_HEADERS, 1, &frames::call(TRACES));
        // A message of 9 bytes is told, one comes.
        assert!(peer.send(&call) && peer.send(&frames::frame(frames::DATA, 0, 1, &[0, 0, 0, 0, 9, 0])));
        peer.answer(1)
    });
    let kinds = kinds.await.expect("an answer");
    assert_eq!(kinds.first(), Some(&frames::HEADERS), "a status, not a reset: {kinds:?}");
    let seen = common::client().get(server.page("/metrics")).send().await.unwrap().text().await.unwrap();
    let refused =
        seen.lines().any(|line| line.contains("grpc") && line.contains("malformed") && line.ends_with(" 1"));
    assert!(refused, "counted as refused:\n{seen}");
    server.dashboard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keep_alive_connection_outlives_the_wait_for_a_first_request() {
    let server = Running::with(|settings| settings.first_request = SHORT).await;
    let mut stream = tokio::net::TcpStream::connect(server.dashboard.listen).await.unwrap();
    let began = Instant::now();
    let mut answers = 0;
    // One connection asks for a good deal longer than a silent one would be left.
    while began.elapsed() < 3 * SHORT {
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"alive\n") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "closed after {answers} answers");
        }
        answers += 1;
    }
    drop(stream);
    server.dashboard.stop().await;
}

/// Starts a dashboard that may have so many file descriptors.
fn with_descriptors(folder: &std::path::Path, descriptors: u32) -> Dashboard {
    let store = format!("sqlite://{}", folder.join("store.db").display());
    let limited = format!("ulimit -n {descriptors} && exec \"$0\" \"$@\"");
    let process = Process::start(
        "the dashboard",
        Command::new("sh")
            .current_dir(folder)
            .args(["-c", &limited, env!("CARGO_BIN_EXE_throughline")])
            .args(["dashboard", "--listen=127.0.0.1:0", "--otlp-grpc=127.0.0.1:0", "--otlp-http=127.0.0.1:0"])
            .args(["--store", &store]),
    );
    let pages = process.told("pages on ", 30);
    let grpc = process.told("OTLP over gRPC on ", 30);
    let http = process.told("OTLP over HTTP on ", 30);
    Dashboard { process, pages, grpc, http }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_that_says_nothing_keeps_nobody_out() {
    // With 32 even the fewest connections of all three addresses are more than there are descriptors.
    for descriptors in [32, 128, 1_024] {
        let folder = tempfile::tempdir().unwrap();
        let server = with_descriptors(folder.path(), descriptors);
        let addresses = [server.pages.trim_start_matches("http://"), &server.grpc, &server.http];
        // Held while others come: more than there are descriptors, or than one address may have.
        let mut crowd: Vec<TcpStream> = Vec::new();
        for address in addresses {
            let address: SocketAddr = address.parse().unwrap();
            for _ in 0..1_000 / 3 {
                crowd.push(TcpStream::connect_timeout(&address, LONG).expect("a connection"));
            }
        }
        let client = reqwest::Client::builder().timeout(LONG).pool_max_idle_per_host(0);
        common::client();
        let client = client.build().unwrap();
        let url = format!("http://{}/v1/traces", server.http);
        eventually("a sender gets through", 20, async || {
            let body = request("calm", &[span(1, 1, "call", 10)]);
            let sent = client.post(&url).header("content-type", "application/x-protobuf").body(body);
            (sent.send().await.ok()?.status() == 200).then_some(())
        })
        .await;
        eventually("the pages get through", 20, async || {
            let answer = client.get(format!("{}/readyz", server.pages)).send().await.ok()?;
            (answer.status() == 200).then_some(())
        })
        .await;
        drop(crowd);
    }
}
