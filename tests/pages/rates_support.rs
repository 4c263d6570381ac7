//! What the tests of rates share: a store that is sealed and opened again, and calls as lines to compare.
#![allow(dead_code)]

use std::path::Path;
use std::sync::LazyLock;

use throughline::dashboard::model::correlation::Keys;
use throughline::dashboard::model::otlp::Batch;
use throughline::dashboard::store::{Call, Destination, Ingest, Limits, Node, OTHERS, Reader, Store};

use crate::common;
use crate::common::otlp::{self, TestSpan, request};

pub const SERVER: u64 = 2;
pub const CLIENT: u64 = 3;
pub const PRODUCER: u64 = 4;
pub const CONSUMER: u64 = 5;
pub const MS: u64 = 1_000_000;
pub const SECOND: u64 = 1_000 * MS;

/// A store in a folder of its own.
pub struct Kept {
    pub store: Store,
    pub folder: tempfile::TempDir,
}

impl Kept {
    pub async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { store: open(folder.path(), Limits::default()).await, folder }
    }

    pub async fn send(&self, service: &str, spans: &[TestSpan]) {
        self.send_raw(request(service, spans)).await;
    }

    pub async fn send_raw(&self, request: Vec<u8>) {
        let batch = Batch::traces(request.into(), &Keys::default()).expect("a valid request");
        self.store.ingest(batch).await.expect("stored");
    }

    /// Closes the store and opens it again.
    pub async fn reopened(self) -> Self {
        self.store.close().await;
        drop(self.store);
        Self { store: open(self.folder.path(), Limits::default()).await, folder: self.folder }
    }

    /// Sends traces of a service without calls until the tail was sealed.
    pub async fn sealed(&self) {
        let first = 1 << 40;
        for from in (first..first + 17_000).step_by(1_000) {
            let spans: Vec<_> =
                (from..from + 1_000).map(|trace| of_kind(1, span(trace, 1, "filler", 1_000))).collect();
            self.send("filler", &spans).await;
        }
    }

    /// The calls of all times as lines, fillers left out.
    pub async fn calls(&self) -> Vec<String> {
        self.store.calls(0, u64::MAX).await.expect("calls").iter().map(line).collect()
    }

    /// Operations of all times but the fillers': service, name, count, errors.
    pub async fn operations(&self) -> Vec<(String, String, u64, u64)> {
        let operations = self.store.operations(0, u64::MAX, None).await.expect("operations");
        let rows = operations.into_iter().filter(|one| one.service != "filler");
        rows.map(|one| (one.service, one.operation, one.rates.count, one.rates.errors)).collect()
    }
}

/// Opens the store in a folder; one that was just closed lets go of its lock a moment later.
pub async fn open(folder: &Path, limits: Limits) -> Store {
    let path = folder.join("store.db");
    common::eventually("the store opens", 10, async || {
        Store::open_sqlite(&path, limits, &Keys::default()).await.ok()
    })
    .await
}

/// One moment for all spans of a test, so that the time between two of them is exact.
static NOW: LazyLock<u64> = LazyLock::new(otlp::now);

pub fn span(trace: u64, span: u64, name: &str, ago_ms: u64) -> TestSpan {
    let start = *NOW - ago_ms * MS;
    TestSpan { start, end: start + 20 * MS, ..otlp::span(trace, span, name, ago_ms) }
}

pub fn of_kind(kind: u64, span: TestSpan) -> TestSpan {
    TestSpan { kind, ..span }
}

pub fn lasting(ms: u64, span: TestSpan) -> TestSpan {
    TestSpan { end: span.start + ms * MS, ..span }
}

/// `a > b 2` with errors as `!1`, the way of messages as `[sent|taken]` and the median's time in the queue as `~ms`, to
/// ten of them.
pub fn line(call: &Call) -> String {
    let name = |place: &Option<Destination>| {
        place.as_ref().map_or("-".to_owned(), |it| format!("{}:{}", it.system, it.name))
    };
    let mut out = format!("{} > {}", node(&call.caller), node(&call.callee));
    if call.sent_to.is_some() || call.taken_from.is_some() {
        out += &format!(" [{}|{}]", name(&call.sent_to), name(&call.taken_from));
    }
    out += &format!(" {}", call.rates.count);
    assert_eq!(call.rates.durations.count(), call.rates.count, "{out}: one duration for each");
    if call.rates.errors > 0 {
        out += &format!(" !{}", call.rates.errors);
    }
    if let Some(waited) = call.waited.quantile(0.5) {
        out += &format!(" ~{}", (waited as f64 / MS as f64 / 10.0).round() * 10.0);
    }
    out
}

pub fn node(node: &Node) -> String {
    match node {
        Node::Service(name) => name.clone(),
        Node::Database { system, name } => format!("db:{system}:{name}"),
        Node::Outside(name) => format!("outside:{name}"),
        Node::User => "user".into(),
        Node::Unknown => "?".into(),
        Node::Others => OTHERS.into(),
    }
}
