//! Rates of operations and calls: folded when spans come, joined whichever half comes first, the same out of the tail,
//! out of runs and after a restart.

mod common;

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use common::otlp::{self, TestSpan, request};
use throughline::dashboard::model::correlation::Keys;
use throughline::dashboard::model::otlp::Batch;
use throughline::dashboard::model::proto::{put_bytes, put_message, put_uint};
use throughline::dashboard::store::{Call, Destination, Ingest, Limits, Node, OTHERS, Reader, Store};

const SERVER: u64 = 2;
const CLIENT: u64 = 3;
const PRODUCER: u64 = 4;
const CONSUMER: u64 = 5;
const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// A store in a folder of its own.
struct Kept {
    store: Store,
    folder: tempfile::TempDir,
}

impl Kept {
    async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { store: open(folder.path(), Limits::default()).await, folder }
    }

    async fn send(&self, service: &str, spans: &[TestSpan]) {
        self.send_raw(request(service, spans)).await;
    }

    async fn send_raw(&self, request: Vec<u8>) {
        let batch = Batch::traces(request.into(), &Keys::default()).expect("a valid request");
        self.store.ingest(batch).await.expect("stored");
    }

    /// Closes the store and opens it again.
    async fn reopened(self) -> Self {
        self.store.close().await;
        drop(self.store);
        Self { store: open(self.folder.path(), Limits::default()).await, folder: self.folder }
    }

    /// Sends traces of a service without calls until the tail was sealed.
    async fn sealed(&self) {
        let first = 1 << 40;
        for from in (first..first + 17_000).step_by(1_000) {
            let spans: Vec<_> =
                (from..from + 1_000).map(|trace| of_kind(1, span(trace, 1, "filler", 1_000))).collect();
            self.send("filler", &spans).await;
        }
    }

    /// The calls of all times as lines, fillers left out.
    async fn calls(&self) -> Vec<String> {
        self.store.calls(0, u64::MAX).await.expect("calls").iter().map(line).collect()
    }

    /// Operations of all times but the fillers': service, name, count, errors.
    async fn operations(&self) -> Vec<(String, String, u64, u64)> {
        let operations = self.store.operations(0, u64::MAX, None).await.expect("operations");
        let rows = operations.into_iter().filter(|one| one.service != "filler");
        rows.map(|one| (one.service, one.operation, one.rates.count, one.rates.errors)).collect()
    }
}

/// Opens the store in a folder; one that was just closed lets go of its lock a moment later.
async fn open(folder: &Path, limits: Limits) -> Store {
    let path = folder.join("store.db");
    common::eventually("the store opens", 10, async || {
        Store::open_sqlite(&path, limits, &Keys::default()).await.ok()
    })
    .await
}

/// One moment for all spans of a test, so that the time between two of them is exact.
static NOW: LazyLock<u64> = LazyLock::new(otlp::now);

fn span(trace: u64, span: u64, name: &str, ago_ms: u64) -> TestSpan {
    let start = *NOW - ago_ms * MS;
    TestSpan { start, end: start + 20 * MS, ..otlp::span(trace, span, name, ago_ms) }
}

fn of_kind(kind: u64, span: TestSpan) -> TestSpan {
    TestSpan { kind, ..span }
}

fn lasting(ms: u64, span: TestSpan) -> TestSpan {
    TestSpan { end: span.start + ms * MS, ..span }
}

/// `a > b 2` with errors as `!1`, the way of messages as `[sent|taken]` and the median's time in the queue as `~ms`, to
/// ten of them.
fn line(call: &Call) -> String {
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

fn node(node: &Node) -> String {
    match node {
        Node::Service(name) => name.clone(),
        Node::Database { system, name } => format!("db:{system}:{name}"),
        Node::Outside(name) => format!("outside:{name}"),
        Node::User => "user".into(),
        Node::Unknown => "?".into(),
        Node::Others => OTHERS.into(),
    }
}

/// A call: the caller's own server span, its client span, the callee's server span.
fn halves(trace: u64) -> [TestSpan; 3] {
    [
        span(trace, 1, "POST /orders", 1_000),
        of_kind(
            CLIENT,
            lasting(15, span(trace, 2, "POST", 990)).parent(1).with("server.address", "orders.local"),
        ),
        lasting(9, span(trace, 3, "POST /charge", 985)).parent(2),
    ]
}

#[tokio::test]
async fn a_call_counts_once_whichever_half_comes_first() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let kept = Kept::open().await;
        let spans = halves(1);
        for (step, index) in order.into_iter().enumerate() {
            kept.send(if index == 2 { "orders" } else { "gateway" }, &[spans[index].clone()]).await;
            let calls = kept.calls().await;
            let known = &order[..=step];
            let mut expected = Vec::new();
            match (known.contains(&1), known.contains(&2)) {
                (true, true) => expected.push("gateway > orders 1"),
                (true, false) => expected.push("gateway > outside:orders.local 1"),
                (false, true) => expected.push("? > orders 1"),
                (false, false) => {}
            }
            if known.contains(&0) {
                expected.push("user > gateway 1");
            }
            expected.sort_unstable();
            let mut calls = calls;
            calls.sort_unstable();
            assert_eq!(calls, expected, "{order:?}, step {step}");
        }
        let all = kept.store.calls(0, u64::MAX).await.unwrap();
        let joined = all.iter().find(|call| call.callee == Node::Service("orders".into())).unwrap();
        let p50 = joined.rates.durations.quantile(0.5).unwrap();
        assert!(p50.abs_diff(15 * MS) < MS / 5, "the client's duration, not {p50}");
        let operations = kept.operations().await;
        assert_eq!(
            operations,
            [("gateway".into(), "POST /orders".into(), 1, 0), ("orders".into(), "POST /charge".into(), 1, 0)]
        );
    }
}

#[tokio::test]
async fn one_request_with_both_halves_and_the_same_request_again() {
    let kept = Kept::open().await;
    let [root, client, server] = halves(7);
    let mut whole = request("gateway", &[client, root]);
    whole.extend(request("orders", &[server]));
    for _ in 0..3 {
        kept.send_raw(whole.clone()).await;
        assert_eq!(kept.calls().await, ["gateway > orders 1", "user > gateway 1"]);
    }
    let kept = kept.reopened().await;
    kept.send_raw(whole).await;
    assert_eq!(kept.calls().await, ["gateway > orders 1", "user > gateway 1"]);
}

#[tokio::test]
async fn what_a_call_leads_to_is_told_by_old_and_new_attributes() {
    const DB: &str = "db:postgresql:shop";
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("db.system.name", "postgresql"), ("db.namespace", "shop"), ("server.address", "db-1")], DB),
        (&[("db.name", "shop"), ("db.system", "postgresql"), ("net.peer.name", "db-1")], DB),
        (&[("db.system", "redis"), ("db.namespace", "0"), ("server.address", "cache")], "db:redis:cache"),
        (&[("db.system", "sqlite")], "db:sqlite:"),
        (&[("server.address", "10.0.0.7"), ("peer.service", "stripe")], "outside:stripe"),
        (&[("service.peer.name", "stripe")], "outside:stripe"),
        (&[("net.peer.name", "old"), ("server.address", "new")], "outside:new"),
        (&[("http.url", "https://me:secret@api.example.com:8443/v1?x")], "outside:api.example.com"),
        (&[("rpc.system", "grpc"), ("rpc.service", "shop.Users")], "outside:shop.Users"),
        (&[("rpc.system.name", "grpc")], "outside:grpc"),
        (&[], "?"),
    ];
    for (attributes, expected) in cases {
        let kept = Kept::open().await;
        let client = of_kind(CLIENT, span(1, 2, "call", 500).parent(1));
        let client = attributes.iter().fold(client, |span, (key, value)| span.with(key, value));
        kept.send("orders", &[client]).await;
        assert_eq!(kept.calls().await, [format!("orders > {expected} 1")], "{attributes:?}");
    }
}

/// A message: sent 400 ms ago within 20 ms, taken 230 ms later.
fn message(keys: [&str; 2]) -> [TestSpan; 2] {
    let sent = of_kind(PRODUCER, span(1, 2, "send", 400)).parent(1);
    let taken = of_kind(CONSUMER, span(1, 3, "process", 400)).parent(2);
    let taken = TestSpan { start: sent.end + 230 * MS, end: sent.end + 260 * MS, ..taken };
    [
        sent.with(keys[0], "order.placed").with(keys[1], "rabbitmq"),
        taken.with(keys[0], "order.placed:payments").with(keys[1], "rabbitmq"),
    ]
}

#[tokio::test]
async fn messages_are_joined_by_parent_or_link_with_their_time_in_the_queue() {
    const JOINED: &str = "orders > payments [rabbitmq:order.placed|rabbitmq:order.placed:payments] 1 ~230";
    for keys in
        [["messaging.destination.name", "messaging.system"], ["messaging.destination", "messaging.system"]]
    {
        for by_link in [false, true] {
            for consumer_first in [false, true] {
                let kept = Kept::open().await;
                let [sent, taken] = message(keys);
                // The other half's own trace, where only a link ties the two.
                let links = [(sent.trace_id.clone(), sent.span_id.clone())];
                let taken = if by_link {
                    let taken = TestSpan { trace_id: otlp::trace_id(2), parent: Vec::new(), ..taken };
                    otlp::raw_request("payments", &[with_links(&taken, &links)])
                } else {
                    request("payments", &[taken])
                };
                let sent = request("orders", &[sent]);
                let (first, second) = if consumer_first { (taken, sent) } else { (sent, taken) };
                kept.send_raw(first).await;
                let alone = if consumer_first {
                    "? > payments [-|rabbitmq:order.placed:payments] 1"
                } else {
                    "orders > ? [rabbitmq:order.placed|-] 1"
                };
                assert_eq!(kept.calls().await, [alone], "{keys:?}, link {by_link}");
                kept.send_raw(second).await;
                assert_eq!(kept.calls().await, [JOINED], "{keys:?}, link {by_link}");
            }
        }
    }
}

/// The span's message with links to trace and span IDs.
fn with_links(span: &TestSpan, links: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut out = span.message();
    for (trace, span) in links {
        put_message(&mut out, 13, |out| {
            put_bytes(out, 1, trace);
            put_bytes(out, 2, span);
        });
    }
    out
}

#[tokio::test]
async fn one_message_in_several_spans_and_several_messages_in_one_span() {
    // pika: two nested producers of one publish, the consumer is a child of the inner one.
    let kept = Kept::open().await;
    let sent = |id| of_kind(PRODUCER, span(1, id, "send", 400)).with("messaging.destination", "q");
    kept.send(
        "worker",
        &[of_kind(CONSUMER, span(1, 3, "receive", 300)).parent(2).with("messaging.destination", "q")],
    )
    .await;
    kept.send("shop", &[sent(2).parent(1)]).await;
    kept.send("shop", &[sent(1).parent(0)]).await;
    assert_eq!(kept.calls().await, ["shop > worker [:q|:q] 1 ~80"]);
    // confluent-kafka: a root `recv` without attributes, its child `process` is linked to what sent it.
    let kept = Kept::open().await;
    let sent = of_kind(PRODUCER, span(1, 1, "topic send", 400)).with("messaging.destination", "topic");
    let link = (sent.trace_id.clone(), sent.span_id.clone());
    let process =
        of_kind(CONSUMER, span(2, 2, "topic process", 300)).parent(1).with("messaging.destination", "topic");
    kept.send("worker", &[of_kind(CONSUMER, span(2, 1, "recv", 300))]).await;
    kept.send_raw(otlp::raw_request("worker", &[with_links(&process, &[link])])).await;
    kept.send("shop", &[sent]).await;
    assert_eq!(kept.calls().await, ["shop > worker [:topic|:topic] 1 ~80"]);
    // A batch: one span takes three messages of two services.
    let kept = Kept::open().await;
    let sent = |trace| of_kind(PRODUCER, span(trace, 1, "send", 400)).with("messaging.destination", "t");
    let links: Vec<_> = (1..=3).map(|trace| (otlp::trace_id(trace), sent(trace).span_id)).collect();
    let batch = of_kind(CONSUMER, span(9, 1, "t process", 300)).with("messaging.destination", "t");
    kept.send("a", &[sent(1), sent(2)]).await;
    kept.send_raw(otlp::raw_request("worker", &[with_links(&batch, &links)])).await;
    kept.send("b", &[sent(3)]).await;
    assert_eq!(kept.calls().await, ["a > worker [:t|:t] 2 ~80", "b > worker [:t|:t] 1 ~80"]);
    assert_eq!(kept.operations().await.iter().find(|one| one.0 == "worker").unwrap().2, 1);
}

#[tokio::test]
async fn errors_are_failures_of_either_side_and_no_refusals() {
    for (client, server, errors) in [
        (None, None, 0),
        (Some(("error.type", "timeout")), None, 1),
        (Some(("http.response.status_code", "404")), None, 0),
        (Some(("http.status_code", "409")), None, 0),
        (Some(("rpc.response.status_code", "NOT_FOUND")), None, 0),
        (Some(("http.response.status_code", "503")), None, 1),
        (Some(("http.response.status_code", "429")), None, 1),
        (None, Some("boom"), 1),
        (Some(("http.response.status_code", "500")), Some("boom"), 1),
    ] {
        let kept = Kept::open().await;
        let [_, mut call, mut answer] = halves(1);
        if let Some((key, value)) = client {
            call = call.failed("").with(key, value);
        }
        if let Some(why) = server {
            answer = answer.failed(why);
        }
        kept.send("gateway", &[call]).await;
        kept.send("orders", &[answer]).await;
        let calls = kept.store.calls(0, u64::MAX).await.unwrap();
        let found: Vec<_> = calls.iter().map(|call| (call.rates.count, call.rates.errors)).collect();
        assert_eq!(found, [(1, errors)], "{client:?} {server:?}");
        let failed = kept.operations().await[0].3;
        assert_eq!(failed, u64::from(server.is_some()), "an operation fails by its own status");
    }
}

#[tokio::test]
async fn quantiles_are_within_the_promise_also_over_several_runs() {
    let kept = Kept::open().await;
    let mut exact = Vec::new();
    for round in 0..3u64 {
        let spans: Vec<_> = (0..700u64)
            .map(|number| {
                let duration = 1_000 + (number * number * 7_919 + round * 104_729) % 3_000_000_000;
                exact.push(duration);
                let root = span(round * 1_000 + number, 1, "GET /a", 50_000 * (round + 1));
                TestSpan { end: root.start + duration, ..root }
            })
            .collect();
        kept.send("shop", &spans).await;
        kept.sealed().await;
    }
    exact.sort_unstable();
    let shop = kept.store.operations(0, u64::MAX, Some("shop")).await.unwrap();
    assert_eq!((shop.len(), shop[0].rates.count), (1, 2_100));
    for share in [0.5, 0.95, 0.99] {
        let wanted = exact[(exact.len() as f64 * share).ceil() as usize - 1] as f64;
        let read = shop[0].rates.durations.quantile(share).unwrap() as f64;
        assert!((read / wanted - 1.0).abs() < 0.02, "p{} is {wanted}, read as {read}", share * 100.0);
    }
}

#[tokio::test]
async fn ranges_are_cut_at_the_borders_of_buckets() {
    let kept = Kept::open().await;
    let border = (otlp::now() / (600 * SECOND) - 12) * 600 * SECOND;
    for (trace, offset) in [(1, 0), (2, 10 * SECOND - 1), (3, 10 * SECOND), (4, 3_599 * SECOND)] {
        let root = span(trace, 1, "GET /", 0);
        kept.send("shop", &[TestSpan { start: border + offset - 1_000, end: border + offset, ..root }]).await;
    }
    for round in ["tail", "run"] {
        let count = async |from: u64, to: u64| {
            let found = kept.store.operations(from, to, Some("shop")).await.unwrap();
            let calls = kept.store.calls(from, to).await.unwrap();
            let called: u64 =
                calls.iter().filter(|one| node(&one.callee) == "shop").map(|one| one.rates.count).sum();
            assert_eq!(found.iter().map(|one| one.rates.count).sum::<u64>(), called);
            called
        };
        assert_eq!(count(border, border + 10 * SECOND).await, 2, "{round}");
        assert_eq!(count(border, border + 1).await, 2, "{round}: the bucket begins within");
        assert_eq!(count(border + 1, border + 3_600 * SECOND).await, 2, "{round}: it begins before");
        assert_eq!(count(border + 10 * SECOND, border + 20 * SECOND).await, 1, "{round}");
        assert_eq!(count(0, u64::MAX).await, 4, "{round}");
        assert_eq!(count(border + 20, border + 10).await, 0, "{round}: an empty range");
        for (steps, expected) in [(360, vec![(0, 2), (10, 1), (3_590, 1)]), (6, vec![(0, 3), (3_000, 1)])] {
            let services = kept.store.service_rates(border, border + 3_600 * SECOND, steps).await.unwrap();
            let shop = services.iter().find(|one| one.service == "shop").expect("the service");
            assert_eq!(shop.steps.len(), steps);
            let filled = shop.steps.iter().filter(|(_, rates)| rates.count > 0);
            let filled: Vec<_> = filled.map(|(at, rates)| ((at - border) / SECOND, rates.count)).collect();
            assert_eq!(filled, expected, "{round}, {steps} steps");
        }
        kept.sealed().await;
    }
}

#[tokio::test]
async fn a_late_half_is_joined_across_seals_and_restarts() {
    let [sent, taken] = message(["messaging.destination.name", "messaging.system"]);
    let [_, client, server] = halves(2);
    for (seals, restarts) in [(0, 1), (1, 0), (1, 1), (2, 1)] {
        let mut kept = Kept::open().await;
        kept.send("orders", std::slice::from_ref(&sent)).await;
        kept.send("users", std::slice::from_ref(&server)).await;
        for _ in 0..seals {
            kept.sealed().await;
        }
        for _ in 0..restarts {
            kept = kept.reopened().await;
        }
        let before = ["? > users 1", "orders > ? [rabbitmq:order.placed|-] 1"];
        let sorted = async |kept: &Kept| {
            let mut calls = kept.calls().await;
            calls.sort_unstable();
            calls
        };
        assert_eq!(sorted(&kept).await, before, "{seals} seals, {restarts} restarts");
        kept.send("payments", std::slice::from_ref(&taken)).await;
        kept.send("gateway", std::slice::from_ref(&client)).await;
        let after = [
            "gateway > users 1",
            "orders > payments [rabbitmq:order.placed|rabbitmq:order.placed:payments] 1 ~230",
        ];
        assert_eq!(sorted(&kept).await, after, "{seals} seals, {restarts} restarts");
        let kept = kept.reopened().await;
        assert_eq!(sorted(&kept).await, after, "and after another restart");
    }
}

#[tokio::test]
async fn what_retention_removes_counts_no_longer_and_leaves_nothing_below_none() {
    let kept = Kept::open().await;
    let [_, client, server] = halves(1);
    kept.send("gateway", &[client]).await;
    kept.sealed().await;
    kept.send("orders", &[server]).await;
    assert_eq!(kept.calls().await, ["gateway > orders 1"]);
    kept.store.close().await;
    let Kept { store, folder } = kept;
    drop(store);
    let limits = Limits { max_bytes: 1, every: Duration::from_millis(20), ..Limits::default() };
    let kept = Kept { store: open(folder.path(), limits).await, folder };
    common::eventually("the run's rates are gone", 10, async || {
        let left = kept.store.operations(0, u64::MAX, Some("filler")).await.expect("operations");
        left.iter().all(|one| one.rates.count < 16_000).then_some(())
    })
    .await;
    assert_eq!(kept.calls().await, ["gateway > orders 1"], "what came later stays");
}

#[tokio::test]
async fn hostile_spans_stay_bounded_and_plausible() {
    let kept = Kept::open().await;
    // Its own parent; two that are each other's.
    kept.send("a", &[span(1, 1, "self", 100).parent(1)]).await;
    kept.send("b", &[span(2, 1, "one", 100).parent(2), span(2, 2, "two", 100).parent(1)]).await;
    assert_eq!(kept.calls().await, ["? > a 1"], "and a service calls itself by no client");
    // Far in the future, the end before the start, no time at all: they count on arrival, or as 0 ns.
    let odd = [
        TestSpan { start: u64::MAX - 5, end: u64::MAX, ..span(3, 1, "odd", 0) },
        TestSpan { end: otlp::now() - 60 * SECOND, ..span(4, 1, "odd", 100) },
        TestSpan { start: 0, end: 0, ..span(5, 1, "odd", 0) },
    ];
    kept.send("c", &odd).await;
    let now = otlp::now();
    let found = kept.store.operations(now - 120 * SECOND, now + SECOND, Some("c")).await.unwrap();
    assert_eq!((found[0].rates.count, found[0].rates.durations.quantile(1.0)), (3, Some(0)));
    // A name and an address that are no text.
    let name = TestSpan { name: vec![0xff; 3_000], ..of_kind(CLIENT, span(6, 1, "", 10)) };
    kept.send("d", &[name.with("server.address", &"x".repeat(100_000))]).await;
    let found = kept.store.operations(0, u64::MAX, Some("d")).await.unwrap();
    assert!(found[0].operation.chars().count() <= 256, "{} long", found[0].operation.len());
}

#[tokio::test]
async fn ten_thousand_services_and_names_without_end_are_counted_with_others() {
    let kept = Kept::open().await;
    let mut many = Vec::new();
    for number in 0..10_000u64 {
        many.extend(request(&format!("service-{number}"), &[span(number, 1, "GET /", 500)]));
    }
    kept.send_raw(many).await;
    let names: Vec<_> =
        (0..3_000).map(|number| span(20_000 + number, 1, &format!("GET /{number}"), 500)).collect();
    kept.send("talkative", &names).await;
    for round in ["tail", "run"] {
        let found = kept.operations().await;
        assert_eq!(found.iter().map(|one| one.2).sum::<u64>(), 13_000, "{round}: every span counts");
        assert_eq!(found.iter().filter(|one| one.0 != "talkative").count(), 10_000, "{round}");
        let others = found.iter().find(|one| one.0 == "talkative" && one.1 == OTHERS).expect("others");
        assert!(others.2 >= 2_400, "{round}: {others:?}");
        let calls = kept.store.calls(0, u64::MAX).await.unwrap();
        assert_eq!(calls.iter().map(|call| call.rates.count).sum::<u64>(), 13_000, "{round}");
        assert!(calls.len() < 10_000, "{round}: {} calls", calls.len());
        kept.sealed().await;
    }
}

#[tokio::test]
async fn a_client_span_about_a_message_is_judged_by_its_operation() {
    for (operation, expected) in [
        ("send", vec!["orders > ? [kafka:t|-] 1"]),
        ("publish", vec!["orders > ? [kafka:t|-] 1"]),
        ("receive", vec![]),
        ("settle", vec![]),
    ] {
        for key in ["messaging.operation.type", "messaging.operation"] {
            let kept = Kept::open().await;
            let client = of_kind(CLIENT, span(1, 2, "t", 500).parent(1)).with(key, operation);
            let client = client.with("messaging.system", "kafka").with("messaging.destination.name", "t");
            kept.send("orders", &[client.with("server.address", "broker")]).await;
            assert_eq!(kept.calls().await, expected, "{key}={operation}");
        }
    }
}

#[tokio::test]
async fn a_status_as_a_number_refuses_too_and_a_parent_of_any_kind_calls() {
    let kept = Kept::open().await;
    let [_, client, server] = halves(1);
    let mut message = client.failed("").message();
    put_message(&mut message, 9, |out| {
        put_bytes(out, 1, b"http.response.status_code");
        put_message(out, 2, |out| put_uint(out, 3, 404));
    });
    kept.send_raw(otlp::raw_request("gateway", &[message])).await;
    kept.send("orders", &[server]).await;
    // The web SDK's internal span, without a client span.
    kept.send("web", &[of_kind(1, span(2, 1, "click", 500))]).await;
    kept.send("gateway", &[span(2, 2, "GET /", 490).parent(1)]).await;
    assert_eq!(kept.calls().await, ["gateway > orders 1", "web > gateway 1"]);
    // A server below an internal span of its own service was called by nobody else.
    kept.send(
        "own",
        &[of_kind(1, span(3, 1, "work", 500)), of_kind(SERVER, span(3, 2, "inner", 490)).parent(1)],
    )
    .await;
    assert_eq!(kept.calls().await.len(), 2);
}
