//! Calls between services, over HTTP and gRPC: the correlation ID reaches the other side and comes back, and a
//! failed call tells what is needed to find its cause.

use crate::common::serve;
use std::net::SocketAddr;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use throughline::comms::correlation::{self, CorrelationId};
use throughline::comms::deadline;
use throughline::comms::grpc::user::user_service_server::{UserService, UserServiceServer};
use throughline::comms::grpc::user::{
    CreateUserRequest, GetUserRequest, GetUsersRequest, GetUsersResponse, User,
};
use throughline::comms::grpc::{GrpcServerLayer, UserGrpcClient};
use throughline::comms::http::{CallErrorKind, ServiceHttpClient, instrument};
use tonic::service::{LayerExt as _, Routes};
use tonic::{Code, Request, Response, Status};

/// Tells what arrived and what the handler's task works for.
async fn mirror(headers: HeaderMap) -> Json<Value> {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    Json(json!({
        "correlation": header("x-correlation-id"),
        "service": header("x-service-name"),
        "current": correlation::current().map(|id| id.to_string()),
    }))
}

async fn peer() -> SocketAddr {
    let routes = Router::new()
        .route("/mirror", get(mirror).post(mirror).put(mirror).patch(mirror).delete(mirror))
        .route("/conflict", post(|| async { (StatusCode::CONFLICT, "out of\nstock") }))
        .route("/busy", put(|| async { (StatusCode::SERVICE_UNAVAILABLE, "later") }))
        .route("/odd", get(|| async { "no JSON" }))
        .route("/nothing", delete(|| async { StatusCode::NO_CONTENT }))
        .route("/never", get(std::future::pending::<()>));
    serve(instrument(routes, "peer")).await
}

/// Longer than any answer takes on a busy machine.
const PATIENT: Duration = Duration::from_secs(20);
/// For calls that are never answered.
const IMPATIENT: Duration = Duration::from_millis(300);

fn client(address: SocketAddr) -> ServiceHttpClient {
    client_with(address, PATIENT)
}

fn client_with(address: SocketAddr, timeout: Duration) -> ServiceHttpClient {
    ServiceHttpClient::with_timeout(&format!("http://{address}/"), "caller", timeout).expect("a client")
}

#[tokio::test]
async fn every_method_carries_the_correlation_id_and_the_callers_name() {
    let client = client(peer().await);
    let id = CorrelationId::parse("order-17").expect("valid");
    let answers: Vec<Value> = correlation::scope(id, async {
        vec![
            client.get("/mirror").await.expect("get"),
            client.post("/mirror", &1).await.expect("post"),
            client.put("/mirror", &1).await.expect("put"),
            client.patch("/mirror", &1).await.expect("patch"),
            client.delete("/mirror").await.expect("delete"),
        ]
    })
    .await;
    for answer in answers {
        assert_eq!(answer, json!({"correlation": "order-17", "service": "caller", "current": "order-17"}));
    }
    // Outside of any request the caller begins an ID of its own.
    let answer: Value = client.get("/mirror").await.expect("get");
    assert!(answer["current"].as_str().expect("an ID").starts_with("caller-"), "{answer}");
    client.delete::<()>("/nothing").await.expect("an empty answer reads as null");
}

#[tokio::test]
async fn the_server_echoes_a_valid_id_and_replaces_any_other() {
    let address = peer().await;
    let plain = reqwest::Client::builder().no_proxy().build().expect("a client");
    for (sent, kept) in [("abc", true), ("a b", false), ("", false), (&*"x".repeat(129), false)] {
        let url = format!("http://{address}/mirror");
        let answer = plain.get(url).header("X-Correlation-ID", sent).send().await.expect("an answer");
        let echoed = answer.headers()["x-correlation-id"].to_str().expect("text").to_owned();
        assert_eq!(echoed == sent, kept, "{sent:?} became {echoed}");
        assert!(kept || echoed.starts_with("peer-"), "{echoed}");
    }
}

#[tokio::test]
async fn a_failed_call_tells_who_what_and_why() {
    let address = peer().await;
    let client = client(address);
    let id = CorrelationId::parse("order-18").expect("valid");
    let error = correlation::scope(id, client.post::<Value>("/conflict", &1)).await.expect_err("a conflict");
    assert_eq!(error.status(), Some(StatusCode::CONFLICT));
    assert_eq!(error.url, format!("http://{address}/conflict"));
    assert_eq!((error.correlation_id.as_str(), error.body_excerpt.as_str()), ("order-18", "out of stock"));
    assert!(!error.is_transient());
    let text = error.to_string();
    for part in ["POST", "/conflict", "409", "order-18", "out of stock"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let busy = client.put::<Value>("/busy", &1).await.expect_err("busy");
    assert!(busy.is_transient());
    let odd = client.get::<Value>("/odd").await.expect_err("no JSON");
    assert_eq!((odd.kind, odd.body_excerpt.as_str()), (CallErrorKind::Body, "no JSON"));
    let never = client_with(address, IMPATIENT).get::<Value>("/never").await.expect_err("no answer");
    assert_eq!(never.kind, CallErrorKind::Timeout);
    assert!(never.is_transient());
}

#[tokio::test]
async fn nobody_there_is_a_connect_error_and_nonsense_is_refused_at_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let error = client(address).get::<Value>("/").await.expect_err("nobody");
    assert_eq!(error.kind, CallErrorKind::Connect);
    for bad in ["nonsense", "ftp://x/", ""] {
        assert!(ServiceHttpClient::new(bad, "caller").is_err(), "{bad:?}");
    }
}

/// How long the caller still waits, in milliseconds.
fn left() -> Option<u64> {
    let until = deadline::current()?;
    Some(until.saturating_duration_since(tokio::time::Instant::now()).as_millis() as u64)
}

#[tokio::test]
async fn the_time_that_is_left_travels_with_the_call() {
    let routes = Router::new().route("/left", get(|| async { Json(left()) }));
    let address = serve(instrument(routes, "peer")).await;
    let timeout = PATIENT;
    let client =
        ServiceHttpClient::with_timeout(&format!("http://{address}"), "caller", timeout).expect("a client");
    let own: u64 = client.get("/left").await.expect("an answer");
    assert!((10_000..=20_000).contains(&own), "{own}");
    let sooner = tokio::time::Instant::now() + Duration::from_secs(8);
    let given: u64 = deadline::scope(sooner, client.get("/left")).await.expect("an answer");
    assert!((1..=8_000).contains(&given), "{given}");
    let past = tokio::time::Instant::now();
    let error = deadline::scope(past, client.get::<u64>("/left")).await.expect_err("nobody waits");
    assert_eq!(error.kind, CallErrorKind::Timeout);

    let service = GrpcServerLayer::new("users").named_layer(UserServiceServer::new(Users));
    let address = serve(Routes::new(service).into_axum_router()).await;
    let client = UserGrpcClient::new(&format!("http://{address}"), "caller", timeout).expect("a client");
    let sooner = tokio::time::Instant::now() + Duration::from_secs(8);
    let user = deadline::scope(sooner, client.get_user("u-1")).await.expect("a user");
    assert!(user.email.parse::<u64>().is_ok_and(|left| (1..=8_000).contains(&left)), "{user:?}");
    // A caller without the toolkit, over HTTP and with what cannot be read.
    let plain = reqwest::Client::builder().no_proxy().build().expect("a client");
    let address =
        serve(instrument(Router::new().route("/left", get(|| async { Json(left()) })), "peer")).await;
    for (sent, known) in [("2000", true), ("soon", false), ("-1", false)] {
        let request = plain.get(format!("http://{address}/left")).header("x-request-timeout-ms", sent);
        let left: Value = request.send().await.expect("an answer").json().await.expect("JSON");
        assert_eq!(left.is_u64(), known, "{sent}: {left}");
    }
}

struct Users;

#[tonic::async_trait]
impl UserService for Users {
    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<User>, Status> {
        let service =
            request.metadata().get("x-service-name").and_then(|v| v.to_str().ok()).map(str::to_owned);
        let id = request.into_inner().id;
        if id == "nobody" {
            return Err(Status::not_found("no such user"));
        }
        let name = correlation::current().map(|id| id.to_string()).unwrap_or_default();
        let email = left().map(|left| left.to_string()).unwrap_or_default();
        Ok(Response::new(User { id, email, name, role: service.unwrap_or_default() }))
    }

    async fn get_users(&self, _: Request<GetUsersRequest>) -> Result<Response<GetUsersResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn create_user(&self, _: Request<CreateUserRequest>) -> Result<Response<User>, Status> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn a_grpc_call_carries_the_id_and_gives_the_status_back() {
    let service = GrpcServerLayer::new("users").named_layer(UserServiceServer::new(Users));
    let address = serve(Routes::new(service).into_axum_router()).await;
    let url = format!("http://{address}");
    let client = UserGrpcClient::new(&url, "caller", PATIENT).expect("a client");
    let id = CorrelationId::parse("order-19").expect("valid");
    let user = correlation::scope(id, client.get_user("u-1")).await.expect("a user");
    assert_eq!((user.name.as_str(), user.role.as_str()), ("order-19", "caller"));
    let status = client.get_user("nobody").await.expect_err("nobody");
    assert_eq!((status.code(), status.message()), (Code::NotFound, "no such user"));
    let request = CreateUserRequest { email: "a@example.com".into(), name: "A".into() };
    let client = UserGrpcClient::new(&url, "caller", IMPATIENT).expect("a client");
    let status = client.create_user(request).await.expect_err("no answer");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
}
