//! The REST client over the wire: compressed answers and their limit, bodies that are too large, HTTP/2, baggage both
//! ways, keys of retried POSTs, and what a failed call tells, once and without secrets.

use crate::common::serve;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::lines::Lines;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Version, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use flate2::Compression;
use flate2::write::GzEncoder;
use opentelemetry::baggage::BaggageExt as _;
use opentelemetry::context::FutureExt as _;
use opentelemetry::{Context, KeyValue};
use reqwest::Method;
use serde_json::{Value, json};
use throughline::comms::correlation::{self, CorrelationId};
use throughline::comms::http::{CallError, CallErrorKind, ServiceHttpClient, Transport, instrument};
use throughline::comms::resilience::Policy;
use throughline::telemetry::testing::SpanRecorder;

const PATIENT: Duration = Duration::from_secs(20);

fn with(address: SocketAddr, transport: Transport) -> ServiceHttpClient {
    let policy = Policy { breaker: None, ..Policy::with_timeout(PATIENT) };
    ServiceHttpClient::with_transport(&format!("http://{address}"), "caller", policy, transport)
        .expect("a client")
}

fn client(address: SocketAddr) -> ServiceHttpClient {
    with(address, Transport::default())
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).expect("in memory");
    encoder.finish().expect("in memory")
}

/// The whole chain of reasons, as a log or a debugger shows it.
fn everything(error: &CallError) -> String {
    format!("{error} {error:?}")
}

#[tokio::test]
async fn a_compressed_answer_is_asked_for_and_decoded_up_to_the_limit() {
    let text = format!("\"{}\"", "x".repeat(300_000));
    let packed = gzip(text.as_bytes());
    assert!(packed.len() < 3_000, "it packs well: {}", packed.len());
    let cut_off = packed[..packed.len() / 2].to_vec();
    let encoded = |body: Vec<u8>| {
        move |headers: HeaderMap| async move {
            let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok());
            assert!(accepted.is_some_and(|a| a.contains("gzip")), "{accepted:?}");
            ([(header::CONTENT_ENCODING, "gzip")], body).into_response()
        }
    };
    let routes = Router::new()
        .route("/packed", get(encoded(packed)))
        .route("/cut", get(encoded(cut_off)))
        .route("/lie", get(encoded(b"\"not packed at all\"".to_vec())))
        .route(
            "/failed",
            get(|| async { (StatusCode::BAD_REQUEST, [("content-encoding", "gzip")], gzip(b"sold out")) }),
        );
    let address = serve(routes).await;
    let answer: String = client(address).get("/packed").await.expect("decoded");
    assert_eq!(answer.len(), 300_000);
    let error = client(address).get::<Value>("/failed").await.expect_err("400");
    assert_eq!(error.body_excerpt, "sold out");

    let small = Transport { max_answer_body: 299_999, ..Transport::default() };
    let error = with(address, small).get::<String>("/packed").await.expect_err("too large");
    assert_eq!(error.kind, CallErrorKind::Body);
    assert!(error.to_string().contains("larger than the limit of 299999 bytes"), "{error}");
    for damaged in ["/cut", "/lie"] {
        let error = client(address).get::<String>(damaged).await.expect_err(damaged);
        assert!(matches!(error.kind, CallErrorKind::Body | CallErrorKind::Request), "{damaged}: {error:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_sent() {
    let seen = Arc::new(Mutex::new(0));
    let count = Arc::clone(&seen);
    let routes = Router::new().route(
        "/",
        post(move |body: String| async move {
            *count.lock().expect("alive") += 1;
            Json(body.len())
        }),
    );
    let limited = Transport { max_request_body: 10, ..Transport::default() };
    let client = with(serve(routes).await, limited);
    assert_eq!(client.post::<usize>("/", &"12345678").await.expect("ten with its quotes"), 10);
    let error = client.post::<usize>("/", &"123456789").await.expect_err("eleven");
    assert_eq!(error.kind, CallErrorKind::Invalid);
    assert!(error.to_string().contains("11 bytes, above the limit of 10"), "{error}");
    assert!(!error.is_transient());
    assert_eq!(*seen.lock().expect("alive"), 1);
    // What would end up in the host's name is no path.
    let error = client.get::<Value>("@elsewhere.example/").await.expect_err("no path");
    assert_eq!(error.kind, CallErrorKind::Invalid);
    assert!(error.to_string().contains("slash"), "{error}");
}

#[tokio::test]
async fn http2_is_spoken_where_the_service_is_known_to() {
    let routes = Router::new().route("/", get(|version: Version| async move { format!("\"{version:?}\"") }));
    let address = serve(instrument(routes, "peer")).await;
    let http2 = Transport { http2_prior_knowledge: true, ..Transport::default() };
    assert_eq!(with(address, http2.clone()).get::<String>("/").await.expect("an answer"), "HTTP/2.0");
    assert_eq!(client(address).get::<String>("/").await.expect("an answer"), "HTTP/1.1");

    // A peer that knows HTTP/1.1 alone does not answer it.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let old = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await;
        }
    });
    let error = with(old, http2).get::<Value>("/").await.expect_err("not HTTP/2");
    assert_eq!(error.kind, CallErrorKind::Request, "{error}");
}

#[tokio::test]
async fn baggage_goes_through_a_service_to_the_one_behind_it() {
    // Sets the propagators of the process.
    let _ = SpanRecorder::install();
    let last = Router::new().route(
        "/",
        get(|headers: HeaderMap| async move {
            let inside = Context::current().baggage().get("tenant").map(ToString::to_string);
            let sent = headers.get("baggage").and_then(|v| v.to_str().ok()).map(str::to_owned);
            Json(json!({ "inside": inside, "sent": sent }))
        }),
    );
    let behind = client(serve(instrument(last, "last")).await);
    let middle = Router::new().route(
        "/",
        get(|State(behind): State<ServiceHttpClient>| async move {
            Json(behind.get::<Value>("/").await.expect("an answer"))
        }),
    );
    let middle = client(serve(instrument(middle.with_state(behind), "middle")).await);
    let context = Context::new().with_baggage([KeyValue::new("tenant", "blue & green")]);
    let id = CorrelationId::parse("order-20").expect("valid");
    let answer: Value =
        correlation::scope(id, middle.get("/").with_context(context)).await.expect("an answer");
    assert_eq!(answer["inside"], "blue & green");
    let sent = answer["sent"].as_str().expect("baggage");
    assert!(sent.contains("correlation.id=order-20"), "{sent}");
}

#[tokio::test]
async fn the_tries_of_a_post_have_one_key_and_two_posts_have_two() {
    let keys = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&keys);
    let routes = Router::new().route(
        "/",
        post(move |headers: HeaderMap| async move {
            let key = headers.get("idempotency-key").and_then(|v| v.to_str().ok()).map(str::to_owned);
            let mut kept = kept.lock().expect("alive");
            kept.push(key);
            if kept.len() == 1 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::NO_CONTENT }
        }),
    );
    let client = client(serve(routes).await);
    let pay = || client.request(Method::POST, "/").json(&1).idempotent().send::<()>();
    pay().await.expect("the second try");
    pay().await.expect("at once");
    let keys = std::mem::take(&mut *keys.lock().expect("alive"));
    assert_eq!(keys.len(), 3, "{keys:?}");
    assert!(keys[0].is_some());
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[1], keys[2]);
    let odd = client.request(Method::POST, "/").idempotency_key("a\nb").send::<()>();
    assert_eq!(odd.await.expect_err("no header").kind, CallErrorKind::Invalid);
}

#[tokio::test]
async fn a_failure_is_logged_once_with_all_that_is_needed_and_without_secrets() {
    let routes =
        Router::new().route("/pay", get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "the till is shut") }));
    let address = serve(routes).await;
    let lines = Lines::keep();

    let policy = Policy { breaker: None, ..Policy::with_timeout(PATIENT) };
    let base = format!("http://ada:hunter2@{address}");
    let client = ServiceHttpClient::with_policy(&base, "caller", policy).expect("a client");
    let id = CorrelationId::parse("order-21").expect("valid");
    let call = client.get::<Value>("/pay?access_token=hunter2&amount=3");
    let error = correlation::scope(id.clone(), call).await.expect_err("503");
    let logged = lines.text();
    let of_this = |line: &&str| line.contains("service call failed") && line.contains("order-21");
    let about: Vec<&str> = logged.lines().filter(of_this).collect();
    assert_eq!(about.len(), 1, "three tries, one line: {logged}");
    for part in ["GET", "/pay", "amount=3", "503", "order-21", "the till is shut"] {
        assert!(about[0].contains(part), "{part} in {}", about[0]);
        assert!(error.to_string().contains(part), "{part} in {error}");
    }
    // Neither where there was no answer: libraries like to tell the URL.
    let nobody =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let base = format!("http://ada:hunter2@{nobody}");
    let client = ServiceHttpClient::with_policy(&base, "caller", Policy::plain(PATIENT)).expect("a client");
    let unreached = client.get::<Value>("/pay?sig=hunter2").await.expect_err("nobody there");
    assert_eq!(unreached.kind, CallErrorKind::Connect);
    for told in [everything(&error), everything(&unreached), lines.text()] {
        assert!(!told.contains("hunter2"), "{told}");
    }
}
