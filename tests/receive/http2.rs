//! Floods over HTTP/2 against the real process: each is cut off or bounded, and a sender who behaves is served
//! meanwhile and afterwards.

use std::time::Duration;

use crate::common::frames::{self, Peer, frame};
use crate::common::otlp::{request, span};
use crate::process::Dashboard;
use bytes::Bytes;
use throughline::dashboard::receive::grpc::RawCodec;
use tonic::transport::Endpoint;

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// A flood: its name, what is sent again and again, how often, and what is to come of it.
struct Flood {
    name: &'static str,
    /// Sent once after the preface.
    first: fn() -> Vec<u8>,
    /// Sent `rounds` times, given the number of the round.
    again: fn(u32) -> Vec<u8>,
    rounds: u32,
    /// Whether the connection is closed; otherwise all of it is taken, at a bounded cost.
    closed: bool,
}

fn nothing() -> Vec<u8> {
    Vec::new()
}

/// Stream IDs of a client are odd.
fn stream(round: u32) -> u32 {
    2 * round + 1
}

fn open_call(stream: u32) -> Vec<u8> {
    frame(frames::HEADERS, frames::END_HEADERS, stream, &frames::call(TRACES))
}

fn floods() -> Vec<Flood> {
    vec![
        Flood {
            name: "rapid reset",
            first: nothing,
            again: |round| {
                let mut both = open_call(stream(round));
                both.extend(frame(frames::RST_STREAM, 0, stream(round), &8u32.to_be_bytes()));
                both
            },
            rounds: 50_000,
            closed: true,
        },
        Flood {
            name: "resets that we are made to send",
            first: nothing,
            // A window that grows by nothing is the sender's mistake, and ours to answer with a reset.
            again: |round| {
                let mut both = open_call(stream(round));
                both.extend(frame(frames::WINDOW_UPDATE, 0, stream(round), &0u32.to_be_bytes()));
                both
            },
            rounds: 50_000,
            closed: true,
        },
        Flood {
            name: "CONTINUATION without end",
            first: || frame(frames::HEADERS, 0, 1, &frames::call(TRACES)),
            again: |round| {
                frame(frames::CONTINUATION, 0, 1, &frames::header(&format!("x-{round}"), &"v".repeat(1_000)))
            },
            rounds: 50_000,
            closed: true,
        },
        Flood {
            name: "empty CONTINUATION without end",
            first: || frame(frames::HEADERS, 0, 1, &frames::call(TRACES)),
            again: |_| frame(frames::CONTINUATION, 0, 1, &[]),
            rounds: 200_000,
            closed: true,
        },
        Flood {
            name: "empty DATA",
            first: || open_call(1),
            again: |_| frame(frames::DATA, 0, 1, &[]),
            rounds: 200_000,
            closed: true,
        },
        Flood {
            name: "SETTINGS",
            first: nothing,
            again: |_| frame(frames::SETTINGS, 0, 0, &[]),
            rounds: 200_000,
            closed: false,
        },
        Flood {
            name: "PING",
            first: nothing,
            again: |round| frame(frames::PING, 0, 0, &u64::from(round).to_be_bytes()),
            rounds: 200_000,
            closed: false,
        },
        Flood {
            name: "PRIORITY of streams that are not there",
            first: nothing,
            again: |round| frame(frames::PRIORITY, 0, stream(round), &[0, 0, 0, 0, 16]),
            rounds: 200_000,
            closed: false,
        },
        Flood {
            name: "calls that never end",
            first: nothing,
            again: |round| open_call(stream(round)),
            rounds: 50_000,
            // Those over the limit on streams are refused one by one, which is a mistake each.
            closed: true,
        },
    ]
}

/// Sends one batch on a connection of its own, as any sender would.
async fn well_behaved(address: &str, number: u64) {
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let body = Bytes::from(request("calm", &[span(number, 1, "call", 10)]));
    let sent = client.unary(tonic::Request::new(body), TRACES.parse().unwrap(), RawCodec);
    let answer = tokio::time::timeout(Duration::from_secs(10), sent).await.expect("answered in time");
    answer.expect("taken");
}

/// The memory of a process in KiB.
fn memory(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_are_cut_off_or_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let server = Dashboard::start(folder.path());
    well_behaved(&server.grpc, 0).await;
    let mut broken = Vec::new();
    for (number, flood) in floods().into_iter().enumerate() {
        let before = memory(server.process.id());
        let address = server.grpc.clone();
        let attack = tokio::task::spawn_blocking(move || send(&flood, &address));
        well_behaved(&server.grpc, 2 * number as u64 + 1).await;
        let (name, went_wrong) = attack.await.expect("the peer does not panic");
        broken.extend(went_wrong.map(|what| format!("{name}: {what}")));
        well_behaved(&server.grpc, 2 * number as u64 + 2).await;
        let grown = memory(server.process.id()).saturating_sub(before);
        if grown > 64 << 10 {
            broken.push(format!("{name}: memory grew by {grown} KiB"));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Sends a flood from a connection of its own; gives its name and what went otherwise than it should.
fn send(flood: &Flood, address: &str) -> (&'static str, Option<&'static str>) {
    let mut peer = Peer::connect(address);
    peer.send(&(flood.first)());
    // In large writes, as fast as the other end takes it.
    for chunk in (0..flood.rounds).collect::<Vec<_>>().chunks(500) {
        let bytes: Vec<u8> = chunk.iter().flat_map(|round| (flood.again)(*round)).collect();
        if !peer.send(&bytes) {
            break;
        }
    }
    let wrong = match (peer.end(), flood.closed) {
        (true, false) => Some("it was cut off"),
        (false, true) => Some("it was not cut off"),
        _ => None,
    };
    (flood.name, wrong)
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_over_the_limit_are_refused_and_the_connection_lives_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = Dashboard::start(folder.path());
    let address = server.grpc.clone();
    let statuses = tokio::task::spawn_blocking(move || {
        let mut peer = Peer::connect(&address);
        let mut large = frames::call(TRACES);
        for number in 0..17 {
            large.extend(frames::header(&format!("x-{number}"), &"v".repeat(1_000)));
        }
        let (head, tail) = large.split_at(16_000);
        assert!(peer.send(&frame(frames::HEADERS, frames::END_STREAM, 1, head)));
        assert!(peer.send(&frame(frames::CONTINUATION, frames::END_HEADERS, 1, tail)));
        let large = peer.answer(1);
        assert!(peer.send(&open_call(3)));
        assert!(peer.send(&frame(frames::DATA, frames::END_STREAM, 3, &[0; 5])));
        (large, peer.answer(3))
    });
    let (large, small) = statuses.await.expect("answers");
    assert_eq!(large.first(), Some(&frames::HEADERS), "answered");
    assert_eq!(small.first(), Some(&frames::HEADERS), "answered");
    well_behaved(&server.grpc, 1).await;
}
