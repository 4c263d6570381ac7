//! Failures of the shop that are switched on while it runs, each by its effect: more customers than it can bear, customers who
//! ask again at once, letters that take long, a version that fails. Others are beside what they are about: the payment
//! outage in `outage.rs`, poison in `messages.rs`, the late decline and the lost broker in `saga.rs`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::demo_support::story::{client, count, place};
use crate::demo_support::{Demo, Receiver, SOON, Seen, broker_url, text};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use throughline::comms::names;
use throughline::comms::queue::broker::QueueStats;
use throughline::comms::queue::{Broker as _, EmbeddedBroker};

async fn switch(demo: &Demo, path: &str) {
    let answer = client().post(format!("{}/scenarios/{path}", demo.gateway())).send().await;
    assert_eq!(answer.expect("an answer").status(), 200, "{path}");
}

async fn pause() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// What is found in all spans, once it is there.
async fn seen<T>(receiver: &Receiver, what: &str, find: impl Fn(&[Seen]) -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = find(&receiver.all_spans()) {
            return found;
        }
        assert!(Instant::now() < deadline, "not seen in time: {what}");
        pause().await;
    }
}

/// In nanoseconds since 1970, as spans have it.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as u64
}

fn has_failed(seen: &Seen) -> bool {
    seen.span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
}

/// What a service answered.
fn answers<'a>(spans: &'a [Seen], service: &'a str) -> impl Iterator<Item = &'a Seen> {
    spans.iter().filter(move |seen| seen.service == service && seen.span.kind() == SpanKind::Server)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_traffic_spike_is_answered_429_by_the_gateway_and_other_clients_are_served() {
    let (receiver, otlp) = Receiver::start().await;
    // Twelve requests a second, where 60 are taken.
    let demo = Demo::start_with(otlp, &["--rate=4".to_owned()]);
    let status = |seen: &Seen| seen.text(names::HTTP_RESPONSE_STATUS_CODE);
    let calm = |spans: &[Seen]| {
        let answered: Vec<_> = answers(spans, "gateway").map(status).collect();
        (answered.len() >= 12).then_some(answered)
    };
    let answered = seen(&receiver, "customers", calm).await;
    assert!(answered.iter().all(|status| status != "429"), "{answered:?}");

    switch(&demo, "traffic-spike?seconds=600").await;
    let turned_away = |spans: &[Seen]| {
        let away: Vec<_> = answers(spans, "gateway").filter(|seen| status(seen) == "429").cloned().collect();
        (away.len() >= 20).then_some(away)
    };
    let away = seen(&receiver, "answers 429", turned_away).await;
    // Nobody behind the gateway hears of them.
    let traces: BTreeSet<_> = away.iter().map(|seen| &seen.span.trace_id).collect();
    let behind = receiver.all_spans();
    let behind = behind.iter().filter(|seen| traces.contains(&seen.span.trace_id));
    assert_eq!(behind.map(|seen| seen.service.as_str()).collect::<BTreeSet<_>>(), ["gateway"].into());
    let other = client().get(format!("{}/catalog", demo.gateway())).send().await.expect("an answer");
    assert_eq!(other.status(), 200, "the customers' limit is theirs");
}

/// The calls of a service to inventory that began in a time; those that the breaker turned away, and the others.
fn calls(spans: &[Seen], service: &str, from: u64, to: u64) -> (usize, Vec<Seen>) {
    let calls = spans.iter().filter(|seen| {
        seen.service == service
            && seen.span.kind() == SpanKind::Client
            && seen.text(names::SERVICE_PEER_NAME) == "inventory"
            && (from..to).contains(&seen.span.start_time_unix_nano)
    });
    let (rejected, made): (Vec<_>, Vec<_>) =
        calls.cloned().partition(|seen| seen.text(names::ERROR_TYPE) == names::ERROR_BREAKER_OPEN);
    (rejected.len(), made)
}

/// When the breaker before inventory opened first in a service.
fn opened(spans: &[Seen], service: &str) -> Option<u64> {
    let events = spans.iter().filter(|seen| seen.service == service).flat_map(|seen| &seen.span.events);
    let openings = events.filter(|event| {
        event.name == names::EVENT_BREAKER_STATE_CHANGE
            && text(&event.attributes, names::BREAKER_NAME) == "inventory"
            && text(&event.attributes, names::EVENT_TO) == "open"
    });
    openings.map(|event| event.time_unix_nano).min()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_storm_ends_at_the_open_breaker_before_inventory() {
    let (receiver, otlp) = Receiver::start().await;
    let demo = Demo::start_with(otlp, &["--rate=4".to_owned()]);
    switch(&demo, "retry-storm?seconds=600").await;
    let at = seen(&receiver, "the breaker opens", |spans| opened(spans, "orders")).await;
    // It is open for ten seconds. Four orders a second that are tried once would be 36 calls.
    let until = at + 9_000_000_000;
    let storm =
        |spans: &[Seen]| Some(calls(spans, "orders", at, until)).filter(|(rejected, _)| *rejected > 45);
    let (_, made) = seen(&receiver, "customers who ask again at once", storm).await;
    let made: Vec<_> = made.iter().map(|seen| &seen.span.name).collect();
    assert!(made.is_empty(), "none of it reaches inventory: {made:?}");

    let (_, before) = calls(&receiver.all_spans(), "orders", 0, at);
    let failed = before.iter().filter(|seen| has_failed(seen)).count();
    assert!(failed >= 5 && failed < before.len(), "{failed} of {} failed", before.len());
    let refused = receiver.all_spans();
    let refused = answers(&refused, "orders").find(|seen| {
        seen.text(names::HTTP_RESPONSE_STATUS_CODE) == "503" && seen.span.start_time_unix_nano > at
    });
    assert!(refused.is_some(), "orders says at once that it cannot");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_slow_consumer_letters_wait_in_their_queue_until_it_is_over() {
    let (receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    let broker = EmbeddedBroker::open(&broker_url(&demo.dir)).await.expect("the broker's file");
    let letters = async || {
        let queues = broker.queues().await.expect("its queues");
        queues.into_iter().find(|queue| queue.name == "notifications.email").expect("that of letters")
    };
    switch(&demo, "slow-consumer?seconds=600").await;
    let deadline = Instant::now() + SOON;
    let mut placed = 0;
    loop {
        // More at a time than the consumer takes. Of one round not all are taken yet, of two they would be.
        let orders: Vec<_> = (placed..placed + 10).map(|number| format!("test-slow-{number}")).collect();
        futures_util::future::join_all(orders.iter().map(|id| place(&demo, id, "tok_visa"))).await;
        placed += orders.len();
        let QueueStats { ready, unsettled, .. } = letters().await;
        if ready >= 2 * orders.len() as u64 && unsettled > 0 {
            break;
        }
        assert!(Instant::now() < deadline, "{ready} letters wait after {placed} orders");
    }
    let slow = |seen: &&Seen| {
        let Seen { span, .. } = seen;
        span.name == "process notifications.email"
            && span.end_time_unix_nano - span.start_time_unix_nano >= 2_000_000_000
    };
    seen(&receiver, "a letter that took two seconds", |spans| spans.iter().find(slow).map(drop)).await;

    switch(&demo, "slow-consumer/off").await;
    let sent = |spans: &[Seen]| (count(spans, "process notifications.email") >= placed).then_some(());
    seen(&receiver, "all letters", sent).await;
    let QueueStats { ready, unsettled, delayed, .. } = letters().await;
    assert_eq!((ready, unsettled, delayed), (0, 0, 0), "nothing is left, and nothing was given up");
}

/// Asks for a product until what inventory answered since then, of a version, is enough.
async fn asked_until(
    demo: &Demo,
    receiver: &Receiver,
    (version, since): (&str, u64),
    enough: impl Fn(&[Seen]) -> bool,
) {
    let deadline = Instant::now() + SOON;
    loop {
        // Not the list: the gateway would answer by what it has kept.
        let product = client().get(format!("{}/catalog/lamp-brass", demo.gateway())).send().await;
        product.expect("an answer");
        let spans = receiver.all_spans();
        let of = answers(&spans, "inventory").filter(|seen| seen.version == version);
        let of: Vec<_> = of.filter(|seen| seen.span.start_time_unix_nano >= since).cloned().collect();
        if enough(&of) {
            return;
        }
        assert!(Instant::now() < deadline, "{} answers of {version}", of.len());
        pause().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_deployment_fails_in_its_version_alone_and_is_taken_back() {
    let (receiver, otlp) = Receiver::start().await;
    let demo = Demo::start(otlp);
    let usual = env!("CARGO_PKG_VERSION");
    let first = demo.children()["inventory"];
    asked_until(&demo, &receiver, (usual, 0), |answers| answers.len() >= 5).await;

    switch(&demo, "bad-deployment?seconds=600").await;
    let second = demo.replaced("inventory", first).await;
    asked_until(&demo, &receiver, ("2.0.0", 0), |answers| {
        answers.iter().any(has_failed) && !answers.iter().all(has_failed)
    })
    .await;

    switch(&demo, "bad-deployment/off").await;
    demo.replaced("inventory", second).await;
    asked_until(&demo, &receiver, (usual, now()), |answers| answers.len() >= 10).await;
    let spans = receiver.all_spans();
    let failed = spans.iter().filter(|seen| seen.service == "inventory" && has_failed(seen));
    let versions: BTreeSet<_> = failed.map(|seen| seen.version.as_str()).collect();
    assert_eq!(versions, ["2.0.0"].into(), "errors are of that version alone");
}
