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
    otlp_grpc: SocketAddr,
    otlp_http: SocketAddr,
}

impl Status {
    /// A source of the Status page.
    pub fn new(
        counters: Arc<Counters>,
        store: Arc<Store>,
        (otlp_grpc, otlp_http): (SocketAddr, SocketAddr),
    ) -> Self {
        Self { counters, store, otlp_grpc, otlp_http }
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
        let grpc = self.counters.transport(Transport::Grpc);
        let http = self.counters.transport(Transport::Http);
        let overloaded = |(outcome, count)| if outcome == Outcome::Overloaded { count } else { 0 };
        ReceiveStatus {
            sources: vec![
                source(format!("OTLP gRPC {}", self.otlp_grpc), &grpc),
                source(format!("OTLP HTTP {}", self.otlp_http), &http),
            ],
            accepted_spans: grpc.spans + http.spans,
            accepted_logs: grpc.logs + http.logs,
            metrics: self.metrics(),
            bytes: grpc.bytes + http.bytes,
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

fn source(name: String, state: &TransportState) -> SourceStatus {
    let age = state.last_heard.and_then(|last| last.elapsed().ok()).map(|age| age.as_secs());
    let mut kinds = Vec::new();
    for (word, count) in [("spans", state.spans), ("logs", state.logs), ("metrics", state.points)] {
        if count > 0 {
            kinds.push(word);
        }
    }
    SourceStatus {
        name,
        kind: if kinds.is_empty() { "spans, logs, metrics".to_owned() } else { kinds.join(", ") },
        health: if age.is_some_and(|age| age < SILENT_S) { Health::Well } else { Health::Silent },
        last_heard: state.last_heard.map(nanos),
        rate: state.last_heard.map(|_| state.rate),
        note: match age {
            None => "nothing has come yet".to_owned(),
            Some(_) => String::new(),
        },
    }
}
