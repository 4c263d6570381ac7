//! Metrics and spans as semantic conventions want them: attributes, boundaries, and what is told of a message.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use opentelemetry::trace::SpanKind;
use throughline::comms::correlation::{self, CorrelationId};
use throughline::comms::http::{ServiceHttpClient, instrument};
use throughline::comms::names;
use throughline::comms::queue::{Broker, Consumer, Message, Publisher, QueueSpec, Received};
use throughline::comms::testing::memory_broker;
use throughline::telemetry::testing::{MetricRecorder, SpanRecorder};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(20);

/// What the conventions advise for durations, in seconds.
const SECONDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];

#[tokio::test]
async fn a_call_is_measured_by_the_conventions_on_both_sides() {
    let recorder = MetricRecorder::install();
    let routes = Router::new().route("/measured/{id}", get(async || "7"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, instrument(routes, "stock")).await });
    let client = ServiceHttpClient::new(&format!("http://{address}"), "shop").expect("a client");
    client.get::<u32>("/measured/1").await.expect("an answer");
    client.get::<u32>("/elsewhere").await.expect_err("404");

    let route = ("http.route", "/measured/{id}");
    let served = recorder.all("http.server.request.duration", &[route]);
    assert_eq!(served.len(), 1, "{served:?}");
    assert_eq!((served[0].count, served[0].unit.as_str()), (1, "s"));
    assert_eq!(served[0].boundaries, SECONDS);
    let has = |key: &str| served[0].attribute(key);
    assert_eq!(has("url.scheme").as_deref(), Some("http"));
    assert_eq!(has("http.request.method").as_deref(), Some("GET"));
    assert_eq!(has("http.response.status_code").as_deref(), Some("200"));

    let port = address.port().to_string();
    let called = [("server.address", "127.0.0.1"), ("server.port", port.as_str())];
    assert_eq!(recorder.count("http.client.request.duration", &called), 2, "a failed one too");
    let calls = recorder.all("http.client.request.duration", &called);
    assert!(calls.iter().all(|one| one.boundaries == SECONDS), "{calls:?}");
    let failed = [called[0], called[1], ("error.type", "404")];
    assert_eq!(recorder.count("http.client.request.duration", &failed), 1);
}

#[tokio::test]
async fn a_message_is_told_by_what_it_is_on_both_sides() {
    let (spans, metrics) = (SpanRecorder::install(), MetricRecorder::install());
    let broker: Arc<dyn Broker> = Arc::new(memory_broker().await.expect("a broker"));
    broker.declare_exchange("measured").await.expect("an exchange");
    broker.declare_queue(&QueueSpec::durable("measured.mail")).await.expect("a queue");
    broker.bind("measured", "#", "measured.mail").await.expect("bound");
    let id = CorrelationId::generate("test");
    let message = correlation::scope(id.clone(), async { Message::json("letter", 3, &"hello") });
    let message = message.await.expect("a message");
    let size = i64::try_from(message.body.len()).expect("small");
    Publisher::new(Arc::clone(&broker)).publish("measured", "key", message).await.expect("sent");
    let stop = CancellationToken::new();
    let done = stop.clone();
    let handler = move |_: Received| {
        done.cancel();
        async { Ok(()) }
    };
    let consuming = Consumer::new(broker, "measured.mail").run(stop, handler);
    tokio::time::timeout(SOON, consuming).await.expect("in time").expect("consumed");

    let told = spans.wait(&id, SOON, |spans| spans.len() == 2).await;
    let sent = told.one_of(&SpanKind::Producer, "send measured:key");
    let handled = told.one_of(&SpanKind::Consumer, "process measured.mail");
    handled.is_child_of(sent);
    for span in [sent, handled] {
        span.has(names::MESSAGE_TYPE, "letter")
            .has(names::MESSAGE_VERSION, 3)
            .has("messaging.message.body.size", size)
            .has("messaging.message.conversation_id", id.as_str().to_owned())
            .has("correlation.id", id.as_str().to_owned());
    }
    assert_eq!(
        (names::MESSAGE_TYPE, names::MESSAGE_VERSION),
        ("throughline.message.type", "throughline.message.version")
    );

    let sent = [("messaging.destination.name", "measured:key"), ("messaging.operation.name", "send")];
    assert_eq!(metrics.sum("messaging.client.sent.messages", &sent), 1.0);
    let handled = [("throughline.queue", "measured.mail"), ("messaging.operation.name", "process")];
    assert_eq!(metrics.count("messaging.process.duration", &handled), 1);
    assert_eq!(metrics.all("messaging.process.duration", &handled)[0].boundaries, SECONDS);
}
