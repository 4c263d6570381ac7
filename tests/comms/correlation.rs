//! Correlation IDs that are none, by every way they come in: a new one is made, and the span that took it keeps what was
//! sent, so that whoever sent it can be found.

use crate::common::serve;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use opentelemetry::trace::SpanKind;
use throughline::comms::correlation::{self, CorrelationId, MAX_LENGTH};
use throughline::comms::grpc::GrpcServerLayer;
use throughline::comms::grpc::user::user_service_client::UserServiceClient;
use throughline::comms::grpc::user::user_service_server::{UserService, UserServiceServer};
use throughline::comms::grpc::user::{
    CreateUserRequest, GetUserRequest, GetUsersRequest, GetUsersResponse, User,
};
use throughline::comms::http::instrument;
use throughline::comms::names;
use throughline::comms::queue::{Broker, Consumer, EmbeddedBroker, Message, QueueSpec, Received};
use throughline::telemetry::testing::{Recorded, SpanRecorder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;
use tonic::service::{LayerExt as _, Routes};
use tonic::{Request, Response, Status};

const SOON: Duration = Duration::from_secs(20);

/// What is sent as bytes, and what the span keeps of it; none where nothing is to be kept.
fn table() -> Vec<(Vec<u8>, Option<String>)> {
    let text = |sent: &str, kept: &str| (sent.as_bytes().to_vec(), Some(kept.to_owned()));
    vec![
        (Vec::new(), None),
        text("a b", "a b"),
        text("a\tb", r"a\tb"),
        text("ünï", "ünï"),
        (b"id\xff\xfe".to_vec(), Some("id\u{fffd}\u{fffd}".to_owned())),
        text(&"x".repeat(10_240), &format!("{}…", "x".repeat(MAX_LENGTH))),
        text(&"y".repeat(MAX_LENGTH + 1), &format!("{}…", "y".repeat(MAX_LENGTH))),
    ]
}

fn current() -> String {
    correlation::current().map(|id| id.to_string()).unwrap_or_default()
}

/// The only span of this kind under an ID that was made anew.
async fn span(recorder: &SpanRecorder, id: &str, service: &str, kind: SpanKind) -> Recorded {
    assert!(id.starts_with(&format!("{service}-")), "{id}");
    let id = CorrelationId::parse(id).expect("a valid one");
    let spans = recorder.wait(&id, SOON, |spans| spans.iter().any(|span| span.0.span_kind == kind)).await;
    let span = spans.iter().find(|span| span.0.span_kind == kind).expect("waited for").clone();
    assert_eq!(spans.len(), 1, "no other uses the new ID");
    span
}

#[tokio::test]
async fn over_http() {
    let recorder = SpanRecorder::install();
    let address =
        serve(instrument(Router::new().route("/", get(|| async { Json(current()) })), "peer")).await;
    // An earlier test may have installed it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let plain = reqwest::Client::builder().no_proxy().build().expect("a client");
    for (sent, kept) in table() {
        let header = HeaderValue::from_bytes(&sent).expect("a header");
        let request = plain.get(format!("http://{address}/")).header("x-correlation-id", header);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK);
        let echoed = answer.headers()["x-correlation-id"].to_str().expect("text").to_owned();
        let id: String = answer.json().await.expect("JSON");
        assert_eq!(echoed, id);
        let span = span(&recorder, &id, "peer", SpanKind::Server).await;
        assert_eq!(span.attribute(names::REFUSED_CORRELATION_ID), kept);
    }
    // Baggage can say a newline, and is asked where there is no header.
    let request = plain.get(format!("http://{address}/")).header("baggage", "correlation.id=a%0D%0Ab");
    let id: String = request.send().await.expect("an answer").json().await.expect("JSON");
    let kept = span(&recorder, &id, "peer", SpanKind::Server).await;
    assert_eq!(kept.attribute(names::REFUSED_CORRELATION_ID).as_deref(), Some(r"a\r\nb"));
    // A good one in baggage is taken where the header is none.
    let request = plain.get(format!("http://{address}/")).header("baggage", "correlation.id=order-22");
    let request = request.header("x-correlation-id", "order 22");
    let id: String = request.send().await.expect("an answer").json().await.expect("JSON");
    assert_eq!(id, "order-22");
}

#[tokio::test]
async fn a_newline_in_an_http_header_ends_in_no_second_header() {
    let address =
        serve(instrument(Router::new().route("/", get(|| async { Json(current()) })), "peer")).await;
    for sent in ["a\nx-injected: 1", "a\r\n b", "a\0b", "a\rb"] {
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
        let request =
            format!("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\nx-correlation-id: {sent}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        tokio::time::timeout(SOON, stream.read_to_end(&mut answer))
            .await
            .expect("in time")
            .expect("an answer");
        let answer = String::from_utf8(answer).expect("text");
        // Refused as no HTTP, or taken as the header that it is up to the newline: never echoed with it.
        let refused = answer.starts_with("HTTP/1.1 400");
        let plain = answer.starts_with("HTTP/1.1 200") && answer.contains("x-correlation-id: a\r\n");
        assert!(refused || plain, "{sent:?}: {answer}");
        assert!(!answer.contains("x-injected"), "{answer}");
    }
}

struct Users;

#[tonic::async_trait]
impl UserService for Users {
    async fn get_user(&self, _: Request<GetUserRequest>) -> Result<Response<User>, Status> {
        Ok(Response::new(User { id: current(), ..User::default() }))
    }

    async fn get_users(&self, _: Request<GetUsersRequest>) -> Result<Response<GetUsersResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn create_user(&self, _: Request<CreateUserRequest>) -> Result<Response<User>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

#[tokio::test]
async fn over_grpc() {
    let recorder = SpanRecorder::install();
    let service = GrpcServerLayer::new("users").named_layer(UserServiceServer::new(Users));
    let address = serve(Routes::new(service).into_axum_router()).await;
    // A client without the toolkit: metadata as somebody else may write it.
    let mut client = UserServiceClient::connect(format!("http://{address}")).await.expect("connected");
    for (sent, kept) in table() {
        let mut request = Request::new(GetUserRequest::default());
        let mut headers = axum::http::HeaderMap::new();
        headers.insert(names::X_CORRELATION_ID, HeaderValue::from_bytes(&sent).expect("a header"));
        *request.metadata_mut() = tonic::metadata::MetadataMap::from_headers(headers);
        let answer = client.get_user(request).await.expect("an answer");
        let echoed = answer.metadata().get(names::X_CORRELATION_ID).and_then(|v| v.to_str().ok());
        let echoed = echoed.expect("an ID").to_owned();
        let id = answer.into_inner().id;
        assert_eq!(echoed, id);
        let span = span(&recorder, &id, "users", SpanKind::Server).await;
        assert_eq!(span.attribute(names::REFUSED_CORRELATION_ID), kept);
    }
}

/// The only way to a bad one over the embedded broker is past it: another program that writes to the file.
#[tokio::test]
async fn over_messages() {
    let recorder = SpanRecorder::install();
    let dir = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", dir.path().join("broker.db").display());
    let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::open(&url).await.expect("opens"));
    broker.declare_exchange("shop").await.expect("an exchange");
    broker.declare_queue(&QueueSpec::durable("mail")).await.expect("a queue");
    broker.bind("shop", "#", "mail").await.expect("bound");
    let pool = sqlx::SqlitePool::connect(&url).await.expect("opens");
    let bad: Vec<_> =
        table().into_iter().filter_map(|(sent, kept)| Some((String::from_utf8(sent).ok()?, kept))).collect();
    let newline = ("a\nb".to_owned(), Some(r"a\nb".to_owned()));
    for (sent, kept) in bad.into_iter().chain([newline]) {
        broker
            .publish("shop", "letter", &Message::json("letter", 1, &1).expect("a message"))
            .await
            .expect("sent");
        sqlx::query("UPDATE message SET correlation_id = ?")
            .bind(&sent)
            .execute(&pool)
            .await
            .expect("written");
        let stop = CancellationToken::new();
        let (tell, mut told) = tokio::sync::mpsc::channel(1);
        let done = stop.clone();
        let handler = move |_: Received| {
            let (tell, done) = (tell.clone(), done.clone());
            async move {
                tell.send(current()).await.expect("heard");
                done.cancel();
                Ok(())
            }
        };
        let consumer = Consumer::new(Arc::clone(&broker), "mail").run(stop, handler);
        tokio::time::timeout(SOON, consumer).await.expect("in time").expect("consumed");
        let id = told.recv().await.expect("handled");
        let span = span(&recorder, &id, "mail", SpanKind::Consumer).await;
        assert_eq!(span.attribute(names::REFUSED_CORRELATION_ID), kept, "{sent:?}");
    }
}
