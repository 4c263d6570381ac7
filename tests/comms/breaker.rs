//! Clients behind their breakers, against services that fail: what is down is not called, what refuses is, and what
//! comes back is found.

use crate::common::serve;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use axum::routing::any;
use serde_json::Value;
use throughline::comms::breaker::{BreakerConfig, State as BreakerState, Window};
use throughline::comms::grpc::user::user_service_server::{UserService, UserServiceServer};
use throughline::comms::grpc::user::{
    CreateUserRequest, GetUserRequest, GetUsersRequest, GetUsersResponse, User,
};
use throughline::comms::grpc::{UserGrpcClient, is_rejected, rejected_by};
use throughline::comms::http::{CallError, CallErrorKind, ServiceHttpClient};
use throughline::comms::resilience::{Policy, Retry, Transient as _};
use tonic::service::Routes;
use tonic::{Code, Request, Response, Status};

const SOON: Duration = Duration::from_secs(20);

/// A service that answers every request with the status that it is told; 0 for never.
#[derive(Clone, Default)]
struct Peer {
    answers: Arc<AtomicU16>,
    asked: Arc<AtomicUsize>,
}

impl Peer {
    async fn start(status: u16) -> (Self, SocketAddr) {
        let peer = Self::default();
        peer.will_answer(status);
        let routes = Router::new().fallback(any(answer)).with_state(peer.clone());
        (peer, serve(routes).await)
    }

    fn will_answer(&self, status: u16) {
        self.answers.store(status, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn answer(State(peer): State<Peer>) -> axum::response::Response {
    peer.asked.fetch_add(1, Ordering::SeqCst);
    match peer.answers.load(Ordering::SeqCst) {
        0 => std::future::pending().await,
        status => StatusCode::from_u16(status).expect("a status").into_response(),
    }
}

fn quick() -> BreakerConfig {
    BreakerConfig {
        window: Window::Calls(4),
        minimum_calls: 4,
        open_for: Duration::from_millis(150),
        probes: 2,
        ..BreakerConfig::default()
    }
}

/// No retries, so that each call is one.
fn client(address: SocketAddr, timeout: Duration) -> ServiceHttpClient {
    let policy = Policy::plain(timeout).breaker(quick());
    let client = ServiceHttpClient::with_policy(&format!("http://{address}"), "caller", policy);
    client.expect("a client").with_peer("payments")
}

fn state(client: &ServiceHttpClient) -> BreakerState {
    client.breaker().expect("a breaker").state()
}

#[tokio::test]
async fn what_answers_500_is_no_longer_called_until_it_is_tried_and_found_well() {
    let (peer, address) = Peer::start(503).await;
    let client = client(address, SOON);
    for _ in 0..4 {
        let error = client.get::<Value>("/").await.expect_err("503");
        assert_eq!(error.kind, CallErrorKind::Status(StatusCode::SERVICE_UNAVAILABLE));
    }
    let error = client.get::<Value>("/").await.expect_err("open");
    assert_eq!((error.kind, peer.asked()), (CallErrorKind::Rejected, 4), "the service is left alone");
    let text = error.to_string();
    for part in ["payments", "open circuit breaker `payments`", "tries again in"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let rejected = error.rejected().expect("by a breaker");
    assert_eq!((&*rejected.breaker, rejected.peer.as_deref()), ("payments", Some("payments")));
    assert!(!error.is_transient(), "not worth a retry");

    // Still ill: one of two probes is enough to open it again.
    wait_until_called(&client, &peer, 5).await;
    assert_eq!(state(&client), BreakerState::Open);

    peer.will_answer(200);
    wait_until_called(&client, &peer, 6).await;
    assert_eq!(state(&client), BreakerState::HalfOpen, "one of two has passed");
    client.get::<Value>("/").await.expect("the second");
    assert_eq!(state(&client), BreakerState::Closed);
    let calls = client.breaker().expect("a breaker").snapshot().calls;
    assert_eq!((calls[0], calls[1], calls[2]), (2, 5, 0), "success, failure, slow");
    assert!(calls[3] >= 1, "rejected");
}

/// Calls until the peer was asked so often in all.
async fn wait_until_called(client: &ServiceHttpClient, peer: &Peer, times: usize) {
    let deadline = Instant::now() + SOON;
    while peer.asked() < times {
        assert!(Instant::now() < deadline, "no probe was made");
        let _ = client.get::<Value>("/").await;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(peer.asked(), times);
}

#[tokio::test]
async fn half_open_lets_no_more_through_than_it_may_however_many_want_to() {
    let (peer, address) = Peer::start(500).await;
    let client = client(address, SOON);
    for _ in 0..4 {
        let _ = client.get::<Value>("/").await;
    }
    peer.will_answer(0);
    let deadline = Instant::now() + SOON;
    // Each call is given up at once; those that were let through take a place until then.
    let mut waiting = tokio::task::JoinSet::new();
    while peer.asked() < 6 {
        assert!(Instant::now() < deadline, "no probes");
        let client = client.clone();
        waiting.spawn(async move { client.get::<Value>("/").await.map_err(|error| error.kind) });
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(state(&client), BreakerState::HalfOpen);
    for _ in 0..20 {
        let error = client.get::<Value>("/").await.expect_err("no place");
        assert_eq!(error.kind, CallErrorKind::Rejected);
    }
    assert_eq!(peer.asked(), 6, "four before, two to try");
}

#[tokio::test]
async fn refusals_never_open_it() {
    for status in [400, 401, 404, 409, 422, 429] {
        let (peer, address) = Peer::start(status).await;
        let client = client(address, SOON);
        for _ in 0..12 {
            client.get::<Value>("/").await.expect_err("refused");
        }
        assert_eq!((state(&client), peer.asked()), (BreakerState::Closed, 12), "{status}");
    }
}

#[tokio::test]
async fn no_answer_in_time_and_nobody_there_open_it() {
    let (_peer, address) = Peer::start(0).await;
    let silent = client(address, Duration::from_millis(30));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let nobody = client(listener.local_addr().expect("an address"), SOON);
    drop(listener);
    for (client, kind) in [(silent, CallErrorKind::Timeout), (nobody, CallErrorKind::Connect)] {
        for _ in 0..4 {
            assert_eq!(client.get::<Value>("/").await.expect_err("failed").kind, kind);
        }
        assert_eq!(state(&client), BreakerState::Open, "{kind:?}");
    }
}

#[tokio::test]
async fn a_caller_that_loses_patience_counts_as_slow_only_after_the_time_of_a_slow_call() {
    let (peer, address) = Peer::start(0).await;
    let base = format!("http://{address}");
    let config = |slow_after| BreakerConfig { slow_after: Some(slow_after), ..quick() };
    for (slow_after, opens) in [(Duration::from_millis(10), true), (SOON, false)] {
        let policy = Policy::plain(SOON).breaker(config(slow_after));
        let client = ServiceHttpClient::with_policy(&base, "caller", policy).expect("a client");
        for _ in 0..4 {
            let before = peer.asked();
            let patience = async {
                while peer.asked() == before {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                tokio::time::sleep(Duration::from_millis(12)).await;
            };
            tokio::select! {
                answer = client.get::<Value>("/") => panic!("{answer:?}"),
                () = patience => {}
            }
        }
        assert_eq!(state(&client) == BreakerState::Open, opens, "slow after {slow_after:?}");
    }
}

#[tokio::test]
async fn reads_are_tried_again_and_posts_only_with_a_key() {
    let (peer, address) = Peer::start(503).await;
    let policy = Policy { breaker: None, ..Policy::default() };
    let base = format!("http://{address}");
    let client = ServiceHttpClient::with_policy(&base, "caller", policy).expect("a client");
    let mut made = 0;
    let mut since = |peer: &Peer| peer.asked() - std::mem::replace(&mut made, peer.asked());
    client.get::<Value>("/").await.expect_err("503");
    assert_eq!(since(&peer), 3, "twice again");
    client.post::<Value>("/", &1).await.expect_err("503");
    assert_eq!(since(&peer), 1);
    let post = client.request(reqwest::Method::POST, "/").json(&1).idempotency_key("order-17");
    post.send::<Value>().await.expect_err("503");
    assert_eq!(since(&peer), 3);
    peer.will_answer(404);
    client.get::<Value>("/").await.expect_err("404");
    assert_eq!(since(&peer), 1, "a refusal stays one");
}

#[tokio::test]
async fn what_counts_is_up_to_the_caller_and_a_fallback_answers_where_no_call_is_made() {
    let (peer, address) = Peer::start(429).await;
    let busy_counts = |error: &CallError| error.status() == Some(StatusCode::TOO_MANY_REQUESTS);
    let client = client(address, SOON).with_failures(busy_counts);
    for _ in 0..4 {
        client.get::<Value>("/").await.expect_err("busy");
    }
    assert_eq!((state(&client), peer.asked()), (BreakerState::Open, 4));

    let breaker = client.breaker().expect("a breaker");
    let asked = AtomicUsize::new(0);
    let work = async {
        asked.fetch_add(1, Ordering::SeqCst);
        Ok::<_, CallError>("new")
    };
    assert_eq!(breaker.call_or(work, |_| true, |_| "old").await.expect("an answer"), "old");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    breaker.reset();
    let work = async { Ok::<_, CallError>("new") };
    assert_eq!(breaker.call_or(work, |_| true, |_| "old").await.expect("an answer"), "new");
    breaker.force_open();
    let error = client.get::<Value>("/").await.expect_err("open");
    assert!(error.to_string().contains("opened by hand"), "{error}");
}

/// Answers with the code that it is told.
struct Users(Arc<AtomicU16>, Arc<AtomicUsize>);

#[tonic::async_trait]
impl UserService for Users {
    async fn get_user(&self, _: Request<GetUserRequest>) -> Result<Response<User>, Status> {
        self.1.fetch_add(1, Ordering::SeqCst);
        match Code::from_i32(self.0.load(Ordering::SeqCst).into()) {
            Code::Ok => Ok(Response::new(User::default())),
            code => Err(Status::new(code, "as told")),
        }
    }

    async fn get_users(&self, _: Request<GetUsersRequest>) -> Result<Response<GetUsersResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn create_user(&self, _: Request<CreateUserRequest>) -> Result<Response<User>, Status> {
        std::future::pending().await
    }
}

#[tokio::test]
async fn grpc_calls_are_rejected_with_unavailable_and_the_breakers_name() {
    let (code, asked) = (Arc::new(AtomicU16::new(5)), Arc::new(AtomicUsize::new(0)));
    let users = UserServiceServer::new(Users(Arc::clone(&code), Arc::clone(&asked)));
    let address = serve(Routes::new(users).into_axum_router()).await;
    let policy = Policy::plain(SOON).breaker(quick());
    let client = UserGrpcClient::with_policy(&format!("http://{address}"), "caller", policy);
    let client = client.expect("a client");
    for _ in 0..8 {
        assert_eq!(client.get_user("x").await.expect_err("refused").code(), Code::NotFound);
    }
    code.store(Code::Internal as u16, Ordering::SeqCst);
    // Half of the newest four.
    for _ in 0..2 {
        let status = client.get_user("x").await.expect_err("broken");
        assert!(!is_rejected(&status), "{status}");
    }
    let made = asked.load(Ordering::SeqCst);
    let status = client.get_user("x").await.expect_err("open");
    assert_eq!((status.code(), is_rejected(&status)), (Code::Unavailable, true));
    assert_eq!(rejected_by(&status), Some("users"));
    assert!(status.retry_after().is_some_and(|wait| wait <= quick().open_for), "when to come again");
    assert!(status.message().contains("users"), "{status}");
    assert_eq!((made, asked.load(Ordering::SeqCst)), (10, 10), "the last was not made");

    code.store(Code::Ok as u16, Ordering::SeqCst);
    let deadline = Instant::now() + SOON;
    while client.get_user("x").await.is_err() {
        assert!(Instant::now() < deadline, "never closed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn grpc_reads_are_tried_again_while_the_service_is_away() {
    let asked = Arc::new(AtomicUsize::new(0));
    let unavailable = Arc::new(AtomicU16::new(Code::Unavailable as u16));
    let users = UserServiceServer::new(Users(unavailable, Arc::clone(&asked)));
    let address = serve(Routes::new(users).into_axum_router()).await;
    let policy = Policy::plain(SOON).retry(Retry::default());
    let client = UserGrpcClient::with_policy(&format!("http://{address}"), "caller", policy);
    let status = client.expect("a client").get_user("x").await.expect_err("away");
    assert_eq!((status.code(), asked.load(Ordering::SeqCst)), (Code::Unavailable, 3));
}
