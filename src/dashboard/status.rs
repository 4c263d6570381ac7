//! The receivers' counters in the words of the Status page.

use std::net::SocketAddr;
use std::sync::Arc;

use super::model::nanos;
use super::receive::counters::{Counters, Outcome, Transport, TransportState};
use super::store::Store;
use super::view::{Health, MetricPoints, Minute, ReceiveStatus, Refused, SourceStatus, StatusSource};

/// A source not heard for this long is silent.
const SILENT_S: u64 = 120;

/// Counters, latency and addresses, put together.
pub struct Status {
    counters: Arc<Counters>,
    store: Arc<Store>,
    /// The ways in that are open, with the name of each.
    ways: Vec<(Transport, String)>,
}

impl Status {
    /// A source of the Status page. The addresses are those of OTLP over gRPC and over HTTP and of Zipkin.
    pub fn new(counters: Arc<Counters>, store: Arc<Store>, addresses: [Option<SocketAddr>; 3]) -> Self {
        let names =
            [(Transport::Grpc, "OTLP gRPC"), (Transport::Http, "OTLP HTTP"), (Transport::Zipkin, "Zipkin")];
        let ways = names.into_iter().zip(addresses);
        let ways = ways.filter_map(|((way, name), address)| Some((way, format!("{name} {}", address?))));
        Self { counters, store, ways: ways.collect() }
    }

    fn metrics(&self) -> MetricPoints {
        let (kept, blank) = self.counters.kept_points();
        MetricPoints { kept, blank, passed: self.counters.passed() }
    }

    fn refused(&self) -> Vec<Refused> {
        let spans = self.counters.rejections().into_iter().map(|(reason, service, count)| Refused {
            reason: reason.words().to_owned(),
            service: Some(service).filter(|name| !name.is_empty()),
            count,
        });
        let requests = self.counters.refusals().into_iter().map(|(outcome, count)| Refused {
            reason: format!("whole request: {}", outcome.words()),
            service: None,
            count,
        });
        spans.chain(requests).collect()
    }
}

impl StatusSource for Status {
    fn status(&self) -> ReceiveStatus {
        let states: Vec<_> = self.ways.iter().map(|(way, _)| self.counters.transport(*way)).collect();
        let sum = |of: fn(&TransportState) -> u64| states.iter().map(of).sum();
        let overloaded = |(outcome, count)| if outcome == Outcome::Overloaded { count } else { 0 };
        ReceiveStatus {
            sources: self
                .ways
                .iter()
                .zip(&states)
                .map(|((way, name), state)| source(*way, name, state))
                .collect(),
            accepted_spans: sum(|state| state.spans),
            accepted_logs: sum(|state| state.logs),
            metrics: self.metrics(),
            bytes: sum(|state| state.bytes),
            commit_p95: self.store.latency().quantile(0.95).map(|took| took.as_nanos() as u64),
            turned_away: self.counters.refusals().into_iter().map(overloaded).sum(),
            refused: self.refused(),
            minutes: self
                .counters
                .minutes()
                .into_iter()
                .map(|minute| Minute {
                    start: minute.start,
                    accepted: minute.accepted,
                    refused: minute.refused,
                })
                .collect(),
        }
    }
}

fn source(way: Transport, name: &str, state: &TransportState) -> SourceStatus {
    let age = state.last_heard.and_then(|last| last.elapsed().ok()).map(|age| age.as_secs());
    let mut kinds = Vec::new();
    for (word, count) in [("spans", state.spans), ("logs", state.logs), ("metrics", state.points)] {
        if count > 0 {
            kinds.push(word);
        }
    }
    let may_bring = if way == Transport::Zipkin { "spans" } else { "spans, logs, metrics" };
    SourceStatus {
        name: name.to_owned(),
        kind: if kinds.is_empty() { may_bring.to_owned() } else { kinds.join(", ") },
        health: if age.is_some_and(|age| age < SILENT_S) { Health::Well } else { Health::Silent },
        last_heard: state.last_heard.map(nanos),
        rate: state.last_heard.map(|_| state.rate),
        note: match age {
            None => "nothing has come yet".to_owned(),
            Some(_) => String::new(),
        },
    }
}
