//! The demo shop end to end, as processes: an order goes through all services, a declined one ends in the
//! dead letters, and nothing outlives the supervisor.

use std::collections::{BTreeSet, HashMap};
use std::net::TcpListener;

use crate::demo_support::story::{count, declined_story, place, wait_for_status};
use crate::demo_support::{Demo, Receiver, Seen, broker_url, text};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use throughline::comms::names;
use throughline::comms::queue::{Broker as _, EmbeddedBroker};

fn services(spans: &[Seen]) -> BTreeSet<&str> {
    spans.iter().map(|s| s.service.as_str()).collect()
}

/// Whether the parent of every span is among `all`: a child often arrives first.
fn parents_are_in(spans: &[Seen], all: &[Seen]) -> bool {
    let ids: BTreeSet<_> = all.iter().map(|s| &s.span.span_id).collect();
    spans.iter().map(|s| &s.span.parent_span_id).all(|parent| parent.is_empty() || ids.contains(parent))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_goes_through_all_services_in_one_trace() {
    let (receiver, otlp) = Receiver::start().await;
    let mut demo = Demo::start(otlp);
    let order = place(&demo, "test-good-1", "tok_visa").await;
    wait_for_status(&demo, &order, "paid").await;
    let spans = receiver
        .spans("test-good-1", |spans| {
            count(spans, "process orders.payments") == 1
                && count(spans, "process analytics.events") == 2
                && count(spans, "POST /orders") == 3
                && count(spans, "user.UserService/GetUser") == 2
                && count(spans, "inventory.InventoryService/Reserve") == 2
                && count(spans, "process notifications.email") == 1
                && services(spans).len() == 8
                && parents_are_in(spans, &receiver.all_spans())
        })
        .await;
    assert_eq!(
        services(&spans).into_iter().collect::<Vec<_>>(),
        ["analytics", "bank", "gateway", "inventory", "notifications", "orders", "payments", "users"]
    );
    let traces: BTreeSet<_> = spans.iter().map(|s| &s.span.trace_id).collect();
    assert_eq!(traces.len(), 1, "one trace holds all of it");

    // Every span but the first has its parent among the spans that arrived.
    let all: HashMap<_, _> = receiver.all_spans().into_iter().map(|s| (s.span.span_id.clone(), s)).collect();
    let roots: Vec<_> = spans.iter().filter(|s| s.span.parent_span_id.is_empty()).collect();
    assert_eq!(roots.len(), 1);
    assert_eq!((roots[0].service.as_str(), roots[0].span.name.as_str()), ("gateway", "POST /orders"));
    assert_eq!(roots[0].text(names::HTTP_ROUTE), "/orders");
    for span in spans.iter().filter(|s| !s.span.parent_span_id.is_empty()) {
        let parent = all.get(&span.span.parent_span_id).expect("the parent arrived");
        let (of, kind) = (span.span.kind(), parent.span.kind());
        match of {
            SpanKind::Consumer => assert_eq!(kind, SpanKind::Producer, "{}", span.span.name),
            SpanKind::Server => assert_eq!(kind, SpanKind::Client, "{}", span.span.name),
            _ => {}
        }
    }
    let grpc = spans.iter().find(|s| s.service == "users").expect("the users service was asked");
    assert_eq!(grpc.span.name, "user.UserService/GetUser");
    assert_eq!(
        (grpc.text(names::RPC_RESPONSE_STATUS_CODE), grpc.span.kind()),
        ("OK".into(), SpanKind::Server)
    );
    let send = spans.iter().find(|s| s.span.name == "send orders:order.placed").expect("a producer");
    assert_eq!(send.text(names::MESSAGING_SYSTEM), "throughline");
    let charge = spans.iter().find(|s| s.span.name == "process payments.charge").expect("a consumer");
    assert_eq!(charge.text(names::MESSAGING_DESTINATION_NAME), "orders:order.placed:payments.charge");
    assert_eq!(charge.text(names::SETTLE_OUTCOME), names::OUTCOME_ACK);
    assert_eq!(charge.text(names::MESSAGING_MESSAGE_ID), send.text(names::MESSAGING_MESSAGE_ID));
    let captured = spans.iter().find(|s| s.span.name == "send orders:payment.captured").expect("a producer");
    assert_eq!(captured.text(names::MESSAGE_CAUSATION_ID), send.text(names::MESSAGING_MESSAGE_ID));

    demo.signal("-INT");
    let (code, stderr) = demo.wait();
    assert_eq!(code, Some(0), "{stderr}");
    demo.assert_all_gone();
    // The log records left last.
    let logs = receiver.logs("card charged");
    assert_eq!(logs.iter().map(|a| text(a, names::CORRELATION_ID)).collect::<Vec<_>>(), ["test-good-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_order_is_dead_lettered_after_three_deliveries_in_three_traces() {
    let (receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    declined_story(&receiver, &demo, "test-declined-1").await;

    let broker = EmbeddedBroker::open(&broker_url(&demo.dir)).await.expect("the broker's file");
    let mut dead = broker.consume("orders.dlq", 1).await.expect("a consumer");
    let letter = dead.next().await.expect("a dead letter");
    assert_eq!(letter.message.correlation_id.as_str(), "test-declined-1");
    assert_eq!(letter.message.headers[names::HEADER_DEATH_DELIVERIES], "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_service_outlives_a_supervisor_that_was_killed() {
    let (_receiver, otlp) = Receiver::start().await;
    let mut demo = Demo::start(otlp);
    demo.signal("-KILL");
    demo.wait();
    demo.assert_all_gone();
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_crashes_is_started_again_and_the_others_are_left_alone() {
    let (receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    let before = demo.children();
    assert_eq!(before.len(), 8, "{before:?}");
    demo.crash("payments").await;
    let mut after = demo.children();
    after.insert("payments".into(), before["payments"]);
    assert_eq!(after, before, "the others are the same processes as before");

    // What is started again does its work, and is seen doing it.
    let order = place(&demo, "test-crash-1", "tok_visa").await;
    wait_for_status(&demo, &order, "paid").await;
    let charged = |spans: &[Seen]| {
        spans.iter().any(|s| s.service == "payments" && s.span.name == "process payments.charge")
    };
    assert!(charged(&receiver.spans("test-crash-1", charged).await));
}

#[test]
fn a_port_in_use_is_named_with_its_flag() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let dir = tempfile::tempdir().expect("a folder");
    let output = Demo::command(&dir)
        .args([&format!("--payments-port={port}"), "--gateway-port=0", "--orders-port=0", "--users-port=0"])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains(&port.to_string()) && stderr.contains("--payments-port"), "{stderr}");
}
