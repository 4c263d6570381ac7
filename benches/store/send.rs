//! Spans and metrics on their way to the server.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use throughline::dashboard::receive::grpc::RawCodec as Raw;
use tokio_util::sync::CancellationToken;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};

use super::fleet::{self, INSTANCES, MINUTE};
use super::workload::{Pace, SERVICES, now, request};

const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
/// Queues whose depth is told.
const QUEUES: u64 = 200;

/// Sends requests by their numbers, over as many connections as there are senders, and waits for every answer.
pub async fn all(address: &str, requests: Range<u64>, senders: u64, pace: Pace) {
    let next = Arc::new(AtomicU64::new(requests.start));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..senders {
        let (next, address, end) = (next.clone(), address.to_owned(), requests.end);
        tasks.spawn(async move {
            let mut client = connect(&address).await;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    return;
                }
                send(&mut client, TRACES, request(number, pace)).await;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("a sender ends well");
    }
}

/// Sends a request each time that `every` has passed, by as many senders, until it is enough; gives how many.
pub async fn steadily(
    address: &str,
    first: u64,
    (every, senders): (Duration, u64),
    enough: &CancellationToken,
) -> u64 {
    let begin = now();
    let one = async |number: u64| {
        let mut client = connect(address).await;
        let mut ticks = tokio::time::interval(every * senders as u32);
        let mut sent = 0;
        while enough.run_until_cancelled(ticks.tick()).await.is_some() {
            send(&mut client, TRACES, request(first + number + sent * senders, begin)).await;
            sent += 1;
        }
        sent
    };
    futures_util::future::join_all((0..senders).map(one)).await.into_iter().sum()
}

async fn connect(address: &str) -> Grpc<Channel> {
    let endpoint = Endpoint::from_shared(address.to_owned()).expect("an address");
    Grpc::new(endpoint.connect().await.expect("a connection"))
}

/// Sends so many exports of breakers and queues, the first of them of a time.
pub async fn metrics(address: &str, from: u64, exports: u64) {
    let mut client = connect(address).await;
    for minute in 0..exports {
        let time = from + minute * MINUTE;
        let breakers = fleet::breakers(time, minute, SERVICES * INSTANCES);
        send(&mut client, METRICS, breakers.into()).await;
        send(&mut client, METRICS, fleet::queues(time, minute, QUEUES).into()).await;
    }
}

async fn send(client: &mut Grpc<Channel>, path: &'static str, body: Bytes) {
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
