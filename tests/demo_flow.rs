//! The demo shop end to end, as processes: an order goes through all services, a declined one ends in the
//! dead letters, and nothing outlives the supervisor.

#![cfg(unix)]

mod demo_support;

use std::collections::{BTreeSet, HashMap};
use std::net::TcpListener;

use demo_support::{Demo, Receiver, Seen, broker_url, text};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::{Value, json};
use throughline::comms::names;
use throughline::comms::queue::{Broker as _, EmbeddedBroker};

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// Places an order under a correlation ID and gives its ID.
async fn place(demo: &Demo, correlation: &str, card: &str) -> String {
    let order = json!({ "user_id": "u-7", "items": [{ "sku": "lamp-brass", "quantity": 2 }], "card": card });
    let answer = client()
        .post(format!("{}/orders", demo.gateway()))
        .header("X-Correlation-ID", correlation)
        .json(&order)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.headers()[names::X_CORRELATION_ID], correlation, "the ID is echoed");
    let order: Value = answer.json().await.expect("an order");
    assert_eq!((&order["status"], &order["amount"]), (&json!("placed"), &json!(12_800)));
    order["id"].as_str().expect("an ID").to_owned()
}

async fn wait_for_status(demo: &Demo, order: &str, status: &str) {
    let deadline = std::time::Instant::now() + demo_support::SOON;
    loop {
        let url = format!("{}/orders/{order}", demo.gateway());
        let answer: Value =
            client().get(url).send().await.expect("an answer").json().await.expect("an order");
        if answer["status"] == status {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "still {answer}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn count(spans: &[Seen], name: &str) -> usize {
    spans.iter().filter(|s| s.span.name == name).count()
}

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
                && count(spans, "POST /reservations") == 2
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
    let order = place(&demo, "test-declined-1", "tok_declined").await;
    wait_for_status(&demo, &order, "payment_failed").await;
    let spans = receiver
        .spans("test-declined-1", |spans| {
            count(spans, "process payments.charge") == 3 && count(spans, "process inventory.release") == 1
        })
        .await;
    let mut charges: Vec<_> = spans.iter().filter(|s| s.span.name == "process payments.charge").collect();
    charges.sort_by_key(|s| s.text(names::DELIVERY_NUMBER));
    let of = |key| charges.iter().map(|s| s.text(key)).collect::<Vec<_>>();
    assert_eq!(of(names::DELIVERY_NUMBER), ["1", "2", "3"]);
    assert_eq!(of(names::SETTLE_OUTCOME), ["retry", "retry", "dead_letter"]);
    assert_eq!(of(names::SETTLE_DESTINATION), ["payments.charge", "payments.charge", "orders.dlq"]);
    assert_eq!(of(names::SETTLE_DELAY_MS), ["50", "100", ""]);
    let traces: BTreeSet<_> = charges.iter().map(|s| &s.span.trace_id).collect();
    assert_eq!(traces.len(), 3, "each redelivery begins a trace");
    let first = &charges[0].span;
    assert!(!first.parent_span_id.is_empty() && first.links.is_empty());
    for again in &charges[1..] {
        assert!(again.span.parent_span_id.is_empty(), "a root");
        let linked: Vec<_> = again.span.links.iter().map(|l| (&l.trace_id, &l.span_id)).collect();
        assert_eq!(linked, [(&first.trace_id, &first.span_id)], "linked to the first failure");
    }
    for charge in &charges {
        let status = charge.span.status.clone().unwrap_or_default();
        assert_eq!(
            (status.code(), status.message.as_str()),
            (StatusCode::Error, "card_declined: do_not_honor")
        );
        let events: Vec<_> = charge.span.events.iter().map(|e| e.name.as_str()).collect();
        assert_eq!(events[0], "exception");
        assert_eq!(
            text(&charge.span.events[0].attributes, "exception.message"),
            "card_declined: do_not_honor"
        );
    }
    let last = charges[2].span.events.last().expect("an event");
    assert_eq!(last.name, names::EVENT_DEAD_LETTERED);
    assert_eq!(text(&last.attributes, names::EVENT_REASON), "card_declined: do_not_honor");

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
    let crashed = before["payments"];
    demo_support::kill(crashed);
    let deadline = std::time::Instant::now() + demo_support::SOON;
    let ready = format!("http://{}/readyz", demo.services[3]);
    loop {
        let answers = client().get(&ready).send().await.is_ok_and(|answer| answer.status().is_success());
        if answers && demo.children().get("payments").is_some_and(|id| *id != crashed) {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "payments is not back: {:?}", demo.children());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let mut after = demo.children();
    after.insert("payments".into(), crashed);
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
