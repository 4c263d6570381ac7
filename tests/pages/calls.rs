//! The call graph: halves of a call or a message are joined whichever comes first, across seals and restarts.

use crate::common::otlp::{self, TestSpan, request};
use crate::rates_support::{CLIENT, CONSUMER, Kept, MS, PRODUCER, SERVER, lasting, of_kind, span};
use throughline::dashboard::model::otlp::SHARED;
use throughline::dashboard::model::proto::{put_bytes, put_message, put_uint};
use throughline::dashboard::store::{Node, Reader};

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

/// As Zipkin's clients do: the server goes on under the ID that the client gave its own span.
#[tokio::test]
async fn client_and_server_of_one_id_are_one_call_in_whichever_order_they_come() {
    let [root, client, server] = halves(1);
    let server = TestSpan { span_id: client.span_id.clone(), ..server }.parent(1).with(SHARED, "true");
    let failed = client.clone().failed("refused");
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
        let kept = Kept::open().await;
        let spans = [("gateway", &root), ("gateway", &failed), ("orders", &server)];
        for index in order {
            kept.send(spans[index].0, std::slice::from_ref(spans[index].1)).await;
        }
        let mut calls = kept.calls().await;
        calls.sort_unstable();
        assert_eq!(calls, ["gateway > orders 1 !1", "user > gateway 1"], "{order:?}");
    }
    // Both in one request; and where the client says nothing, the caller is not known.
    let kept = Kept::open().await;
    let mut whole = request("orders", std::slice::from_ref(&server));
    whole.extend(request("gateway", &[root, client]));
    kept.send_raw(whole).await;
    assert_eq!(kept.calls().await, ["gateway > orders 1", "user > gateway 1"]);
    let kept = Kept::open().await;
    kept.send("orders", &[server]).await;
    assert_eq!(kept.calls().await, ["? > orders 1"]);
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
