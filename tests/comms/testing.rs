//! The testing helpers by their effect: faults that come when they are to, a recorder that tells what there was, and
//! both around the toolkit's own client and server.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::FutureExt as _;
use opentelemetry::trace::SpanKind;
use serde_json::Value;
use throughline::comms::correlation::{self, CorrelationId};
use throughline::comms::http::{ServiceHttpClient, instrument};
use throughline::comms::names;
use throughline::comms::queue::{Broker as _, BrokerError, Message, QueueSpec};
use throughline::comms::testing::{Faults, Injected, LosableBroker, memory_broker};
use throughline::telemetry::testing::SpanRecorder;
use tower::{BoxError, Service as _, ServiceBuilder, ServiceExt as _};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_broker_that_is_lost_fails_everything_and_loses_nothing() {
    let lost = Arc::new(AtomicBool::new(false));
    let asked = lost.clone();
    let inner = Arc::new(memory_broker().await.expect("a broker"));
    let broker = LosableBroker::new(inner, move || asked.load(Ordering::Relaxed));
    broker.declare_exchange("orders").await.expect("declared");
    broker.declare_queue(&QueueSpec::durable("mail")).await.expect("declared");
    broker.bind("orders", "#", "mail").await.expect("bound");
    let message = |n: u32| Message::json("order.placed", 1, &n).expect("a message");
    let mut deliveries = broker.consume("mail", 4).await.expect("a consumer");
    broker.publish("orders", "k", &message(1)).await.expect("published");
    let in_hand = deliveries.next().await.expect("a delivery");

    lost.store(true, Ordering::Relaxed);
    let unavailable = |result: Result<(), BrokerError>| matches!(result, Err(BrokerError::Unavailable(_)));
    assert!(unavailable(broker.publish("orders", "k", &message(2)).await));
    assert!(unavailable(in_hand.ack().await), "what it did may be done again");
    // Who waits is told, and who begins now waits like the others.
    assert!(unavailable(deliveries.next().await.map(drop)));
    let mut late = broker.consume("mail", 4).await.expect("a consumer");
    assert!(unavailable(late.next().await.map(drop)));
    drop(late);

    lost.store(false, Ordering::Relaxed);
    let again = tokio::time::timeout(SOON, deliveries.next()).await.expect("in time").expect("a delivery");
    assert_eq!((again.number, again.message.decode::<u32>().expect("a number")), (2, 1));
    again.ack().await.expect("done");
    broker.publish("orders", "k", &message(3)).await.expect("published");
    let next = tokio::time::timeout(SOON, deliveries.next()).await.expect("in time").expect("a delivery");
    assert_eq!(next.message.decode::<u32>().expect("a number"), 3, "the one that was refused was not kept");
}

#[tokio::test]
async fn every_third_call_fails_and_no_other() {
    let faults = Faults::default().every(3).failing();
    let echo = tower::service_fn(|n: u32| async move { Ok::<u32, BoxError>(n) });
    let mut echo = ServiceBuilder::new().layer(faults.clone()).service(echo);
    let mut failed = Vec::new();
    for n in 1..=9 {
        match echo.ready().await.expect("ready").call(n).await {
            Ok(answer) => assert_eq!(answer, n),
            Err(error) => {
                assert!(error.is::<Injected>(), "{error}");
                failed.push(n);
            }
        }
    }
    assert_eq!(failed, [3, 6, 9]);
    assert_eq!((faults.calls(), faults.injected()), (9, 3));
    faults.off();
    for n in 1..=3 {
        echo.ready().await.expect("ready").call(n).await.expect("no more faults");
    }
    faults.on();
    for (n, fine) in [(1, true), (2, true), (3, false)] {
        assert_eq!(echo.ready().await.expect("ready").call(n).await.is_ok(), fine, "{n}");
    }
}

#[tokio::test]
async fn a_late_call_has_its_own_answer() {
    let delay = Duration::from_millis(50);
    let faults = Faults::default().delayed(delay);
    let echo = tower::service_fn(|n: u32| async move { Ok::<u32, BoxError>(n) });
    let echo = ServiceBuilder::new().layer(faults).service(echo);
    let began = tokio::time::Instant::now();
    assert_eq!(echo.oneshot(7).await.expect("late"), 7);
    assert!(began.elapsed() >= delay, "{:?}", began.elapsed());
}

/// A service whose second answer of every two is 503, with the toolkit's layer outside of the faults.
async fn shaky(faults: Faults<Response, std::convert::Infallible>) -> SocketAddr {
    let routes = Router::new().route("/stock", get(|| async { Json(3) })).layer(faults);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let routes = instrument(routes, "stock");
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

#[tokio::test]
async fn a_service_with_faults_is_asked_again_and_the_spans_tell_of_it() {
    let recorder = SpanRecorder::install();
    let faults = Faults::default().with(|| Ok(StatusCode::SERVICE_UNAVAILABLE.into_response()));
    let address = shaky(faults.clone()).await;
    let client = ServiceHttpClient::new(&format!("http://{address}"), "shop").expect("a client");
    let id = CorrelationId::generate("test");
    let asking = correlation::scope(id.clone(), client.get::<Value>("/stock"));
    let healing = async {
        let until = Instant::now() + SOON;
        while faults.injected() == 0 {
            assert!(Instant::now() < until, "nobody asked");
            tokio::task::yield_now().await;
        }
        faults.off();
    };
    let (answer, ()) = tokio::join!(asking, healing);
    assert_eq!(answer.expect("the second try"), 3);

    let spans = recorder.wait(&id, SOON, |spans| spans.len() == 4).await;
    assert_eq!((spans.count("GET"), spans.count("GET /stock")), (2, 2));
    let tries: Vec<_> = spans.iter().filter(|span| span.0.span_kind == SpanKind::Client).collect();
    tries[0].failed_with("503").has(names::HTTP_RESPONSE_STATUS_CODE, 503);
    tries[1].is_fine().has(names::HTTP_REQUEST_RESEND_COUNT, 1);
    let served: Vec<_> = spans.iter().filter(|span| span.0.span_kind == SpanKind::Server).collect();
    served[0].is_child_of(tries[0]).failed_with("503");
    served[1].is_child_of(tries[1]).is_fine();

    // An assertion that does not hold says what there is.
    for wrong in [
        Box::new(|| drop(spans.one("GET /stick").clone())) as Box<dyn Fn() + '_>,
        Box::new(|| drop(spans.one("GET /stock").clone())),
        Box::new(|| drop(tries[0].is_fine().clone())),
        Box::new(|| drop(tries[1].failed_with("503").clone())),
        Box::new(|| drop(served[0].is_child_of(tries[1]).clone())),
        Box::new(|| drop(tries[0].has_event("none").clone())),
        Box::new(|| drop(spans.are_one_trace().clone())),
    ] {
        let said = std::panic::catch_unwind(AssertUnwindSafe(wrong)).expect_err("it does not hold");
        let said = said.downcast_ref::<String>().expect("text");
        assert!(said.contains("GET") || said.contains("trace"), "{said}");
    }
    let late = recorder.wait(&id, Duration::ZERO, |spans| spans.len() > 99);
    assert!(AssertUnwindSafe(late).catch_unwind().await.is_err());
}
