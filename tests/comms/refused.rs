//! Bad input of every kind, by every way it comes in: what the caller is told, and that it is counted once, with the reason.
//!
//! Tests share the process's counters, so each looks at routes, methods, queues and names that no other uses.

use crate::common::serve;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::gateway::Pieces;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, HeaderValue};
use axum::routing::{any, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use throughline::comms::correlation;
use throughline::comms::gateway::{ClientLimit, Gateway, Route, Upstream};
use throughline::comms::grpc::GrpcServerLayer;
use throughline::comms::grpc::user::user_service_client::UserServiceClient;
use throughline::comms::grpc::user::user_service_server::{UserService, UserServiceServer};
use throughline::comms::grpc::user::{
    CreateUserRequest, GetUserRequest, GetUsersRequest, GetUsersResponse, User,
};
use throughline::comms::http::{RequestSchema, Transport, instrument};
use throughline::comms::names;
use throughline::comms::queue::{
    Broker, Consumer, Contracts, Message, Publisher, QueueSpec, Received, RetryPolicy,
};
use throughline::comms::resilience::{Bulkhead, Policy, RateLimit, Refused, Retry, RetryBudget, Transient};
use throughline::comms::retry::Backoff;
use throughline::comms::security::{Access, AccessLayer, SigningKey, TokenSource, Tokens};
use throughline::comms::testing::memory_broker;
use throughline::telemetry::testing::MetricRecorder;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::service::{LayerExt as _, Routes};
use tonic::{Code, Request, Response, Status};

const SOON: Duration = Duration::from_secs(20);

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

/// What a place has refused by now: in all, and for one reason.
fn counted(recorder: &MetricRecorder, place: (&str, &str), reason: &str) -> (f64, f64) {
    let of = |with: &[(&str, &str)]| recorder.sum("throughline.requests.refused", with);
    (of(&[place]), of(&[place, ("reason", reason)]))
}

/// That it is one more of that reason, and of no other.
#[track_caller]
fn one_more(recorder: &MetricRecorder, place: (&str, &str), reason: &str, before: (f64, f64)) {
    let now = counted(recorder, place, reason);
    assert_eq!(now, (before.0 + 1.0, before.1 + 1.0), "{place:?}: in all, and for {reason}");
}

/// A service's keys, and a header for each way in which a token does not hold.
struct Callers {
    tokens: Tokens,
    good: String,
    expired: String,
    foreign: String,
    unscoped: String,
    forged: String,
}

impl Callers {
    async fn new() -> Self {
        let key = SigningKey::generate("orders").expect("a key");
        let tokens = Tokens::new("till", [key.public()]).leeway(Duration::ZERO);
        let source = TokenSource::new(key);
        let token = |source: &TokenSource, audience: &str, scopes: &[&str]| {
            source.for_audience(audience, scopes).token().expect("a token")
        };
        let short = token(&source.clone().lifetime(Duration::ZERO), "till", &["pay"]);
        let good = token(&source, "till", &["pay"]);
        let (head, signature) = good.rsplit_once('.').expect("three parts");
        let other = if signature.starts_with('A') { "B" } else { "A" };
        let forged = format!("Bearer {head}.{other}{}", &signature[1..]);
        let until = tokio::time::Instant::now() + SOON;
        while tokens.check(&short).is_ok() {
            assert!(tokio::time::Instant::now() < until, "it never ends");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let bearer = |token: String| format!("Bearer {token}");
        Self {
            expired: bearer(short),
            foreign: bearer(token(&source, "stock", &["pay"])),
            unscoped: bearer(token(&source, "till", &["read"])),
            good: bearer(good),
            forged,
            tokens,
        }
    }
}

#[tokio::test]
async fn a_token_that_does_not_hold_over_http() {
    let recorder = MetricRecorder::install();
    let callers = Callers::new().await;
    let routes = Router::new()
        .route("/refused/pay/{id}", get(async || "paid"))
        .layer(AccessLayer::scope(callers.tokens.clone(), "pay"));
    let url = format!("http://{}/refused/pay/7", serve(instrument(routes, "till")).await);
    let place = ("http.route", "/refused/pay/{id}");
    let (invalid, scope) =
        (r#"Bearer error="invalid_token""#, r#"Bearer error="insufficient_scope", scope="pay""#);
    for (sent, status, challenge, reason) in [
        (None, 401, "Bearer", "token_missing"),
        (Some(callers.expired.as_str()), 401, invalid, "token_expired"),
        (Some(&callers.foreign), 401, invalid, "token_foreign"),
        (Some(&callers.forged), 401, invalid, "token_forged"),
        (Some("Basic YTpi"), 401, invalid, "token_malformed"),
        (Some("Bearer nonsense"), 401, invalid, "token_malformed"),
        (Some(&callers.unscoped), 403, scope, "scope_missing"),
    ] {
        let before = counted(&recorder, place, reason);
        let request = client().get(&url);
        let request = sent.into_iter().fold(request, |request, sent| request.header("authorization", sent));
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{reason}");
        assert_eq!(answer.headers()["www-authenticate"], challenge, "{reason}");
        let told: Value = answer.json().await.expect("a problem");
        assert_eq!(told["status"], status, "{told}");
        one_more(&recorder, place, reason, before);
    }
    let before = counted(&recorder, place, "token_missing");
    let answer = client().get(&url).header("authorization", &callers.good).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(counted(&recorder, place, "token_missing"), before, "what is served is not refused");
    let all = recorder.all("throughline.requests.refused", &[place]);
    assert!(all.iter().all(|one| one.attribute("throughline.transport").as_deref() == Some("http")));
}

#[tokio::test]
async fn a_body_that_does_not_fit_over_http() {
    let recorder = MetricRecorder::install();
    let schema = json!({"type": "object", "required": ["sku"]});
    let routes = Router::new()
        .route("/refused/items", post(async || "taken"))
        .layer(RequestSchema::new(&schema).expect("a schema").layer())
        .layer(DefaultBodyLimit::max(1000));
    let url = format!("http://{}/refused/items", serve(instrument(routes, "stock")).await);
    let long = format!(r#"{{"sku":"{}"}}"#, "x".repeat(2000));
    let place = ("http.route", "/refused/items");
    for (kind, body, status, reason) in [
        ("text/plain", r#"{"sku":"lamp"}"#, 415, "media_type"),
        ("application/json", r#"{"sku":"#, 400, "malformed_body"),
        ("application/json", "{}", 422, "schema"),
        ("application/json", long.as_str(), 413, "body_too_large"),
    ] {
        let before = counted(&recorder, place, reason);
        let request = client().post(&url).header("content-type", kind).body(body.to_owned());
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{reason}");
        let told: Value = answer.json().await.expect("a problem");
        assert!(told["detail"].is_string(), "{told}");
        one_more(&recorder, place, reason, before);
    }
}

/// Correlation IDs that are none, as a header and as the baggage that came in its place.
fn bad_ids() -> Vec<(&'static str, HeaderValue)> {
    let value = |bytes: &[u8]| HeaderValue::from_bytes(bytes).expect("a header");
    vec![
        ("x-correlation-id", value(b"id\xff\xfe")),
        ("x-correlation-id", value(&[b'x'; 10_240])),
        ("baggage", value(b"correlation.id=a%0D%0Ab")),
    ]
}

#[tokio::test]
async fn a_correlation_id_that_is_none_over_http() {
    let recorder = MetricRecorder::install();
    // For baggage.
    let _ = throughline::telemetry::testing::SpanRecorder::install();
    let current = || async { Json(correlation::current().map(|id| id.to_string())) };
    let routes = Router::new().route("/refused/id", get(current));
    let url = format!("http://{}/refused/id", serve(instrument(routes, "fresh")).await);
    let place = ("http.route", "/refused/id");
    for (name, value) in bad_ids() {
        let before = counted(&recorder, place, "correlation_id");
        let answer = client().get(&url).header(name, value).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "it is served under a new one");
        let id: String = answer.json().await.expect("an ID");
        assert!(id.starts_with("fresh-"), "{id}");
        one_more(&recorder, place, "correlation_id", before);
    }
    let before = counted(&recorder, place, "correlation_id");
    for good in [None, Some("order-17")] {
        let request = client().get(&url);
        let request = good.into_iter().fold(request, |request, id| request.header("x-correlation-id", id));
        request.send().await.expect("an answer");
    }
    assert_eq!(counted(&recorder, place, "correlation_id"), before);
}

#[tokio::test]
async fn what_ends_at_the_gateway() {
    let recorder = MetricRecorder::install();
    let callers = Callers::new().await;
    let behind = serve(Router::new().fallback(any(async |_: Bytes| "served"))).await;
    let upstream = |name: &str, address: SocketAddr| {
        let url = format!("http://{address}");
        Upstream::with_policy(name, &url, Policy::plain(SOON), Transport::default()).expect("an upstream")
    };
    let gateway = Gateway::new("gateway")
        .upstream(upstream("stock", behind))
        .authenticate(callers.tokens.clone())
        .route(Route::post("/refused/goods").to("stock", "/goods").most_body(1000))
        .route(Route::post("/refused/large").to("stock", "/large").most_body(100_000))
        .route(
            Route::get("/refused/kept/{name}").to("stock", "/{name}").access(Access::Scope("keep".into())),
        );
    let base = format!("http://{}", serve(instrument(gateway.into_router().expect("a router"), "gw")).await);
    let send = |path: &str, token: Option<&str>, body: Option<reqwest::Body>| {
        let url = format!("{base}{path}");
        let request = if body.is_some() { client().post(url) } else { client().get(url) };
        let request =
            token.into_iter().fold(request, |request, token| request.header("authorization", token));
        let request = body.into_iter().fold(request, reqwest::RequestBuilder::body);
        async move { request.send().await.expect("an answer").status().as_u16() }
    };
    let kept = "/refused/kept/{name}";
    for (path, token, body, status, route, reason) in [
        ("/refused/goods", None, Some(vec![7; 2000]), 413, "/refused/goods", "body_too_large"),
        ("/refused/kept/a", None, None, 401, kept, "token_missing"),
        ("/refused/kept/a", Some(callers.expired.as_str()), None, 401, kept, "token_expired"),
        ("/refused/kept/a", Some(&callers.good), None, 403, kept, "scope_missing"),
        ("/refused/goods", None, None, 405, "/refused/goods", "method_not_allowed"),
    ] {
        let place = ("http.route", route);
        let before = counted(&recorder, place, reason);
        assert_eq!(send(path, token, body.map(Into::into)).await, status, "{reason}");
        one_more(&recorder, place, reason, before);
    }
    // A body of which nobody says how long it is: found while it is passed on.
    let place = ("http.route", "/refused/large");
    let before = counted(&recorder, place, "body_too_large");
    let body = reqwest::Body::wrap(Pieces { left: 20, size: 10_000 });
    assert_eq!(send("/refused/large", None, Some(body)).await, 413);
    one_more(&recorder, place, "body_too_large", before);
    // There is no route to tell it apart by; other tests miss theirs at the same time.
    let (_, before) = counted(&recorder, ("throughline.transport", "http"), "no_route");
    assert_eq!(send("/refused/nothing", None, None).await, 404);
    let (_, now) = counted(&recorder, ("throughline.transport", "http"), "no_route");
    assert!(now > before, "{now}");
}

#[tokio::test]
async fn more_requests_than_a_client_may_make() {
    let recorder = MetricRecorder::install();
    let gateway = Gateway::new("gateway")
        .own(Router::new().route("/refused/often", get(async || "served")))
        .limit(ClientLimit::new(1, 1));
    let url = format!("http://{}", serve(instrument(gateway.into_router().expect("a router"), "gw")).await);
    let place = ("http.route", "/refused/often");
    let mut refused = 0.0;
    // A slow machine gives one more a second.
    for _ in 0..1_000 {
        if refused >= 1.0 {
            break;
        }
        let answer = client().get(format!("{url}/refused/often")).send().await.expect("an answer");
        if answer.status() == 429 {
            refused += 1.0;
        }
        assert_eq!(counted(&recorder, place, "rate_limited"), (refused, refused));
    }
    assert_eq!(refused, 1.0, "none of so many was refused");
}

/// Knows everybody.
struct Users;

#[tonic::async_trait]
impl UserService for Users {
    async fn get_user(&self, _: Request<GetUserRequest>) -> Result<Response<User>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn get_users(&self, _: Request<GetUsersRequest>) -> Result<Response<GetUsersResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    /// Tells the correlation ID as the new user's.
    async fn create_user(&self, _: Request<CreateUserRequest>) -> Result<Response<User>, Status> {
        let id = correlation::current().map(|id| id.to_string()).unwrap_or_default();
        Ok(Response::new(User { id, ..User::default() }))
    }
}

fn with_headers(headers: HeaderMap, name: String) -> Request<CreateUserRequest> {
    let mut request = Request::new(CreateUserRequest { name, ..CreateUserRequest::default() });
    *request.metadata_mut() = tonic::metadata::MetadataMap::from_headers(headers);
    request
}

#[tokio::test]
async fn over_grpc() {
    let recorder = MetricRecorder::install();
    let _ = throughline::telemetry::testing::SpanRecorder::install();
    let callers = Callers::new().await;
    let guarded =
        AccessLayer::scope(callers.tokens.clone(), "pay").named_layer(UserServiceServer::new(Users));
    let service = GrpcServerLayer::new("fresh").named_layer(guarded);
    let address = serve(Routes::new(service).into_axum_router()).await;
    let mut client = UserServiceClient::connect(format!("http://{address}")).await.expect("connected");
    let place = ("rpc.method", "user.UserService/CreateUser");
    let authorization = |token: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", token.parse().expect("a header"));
        headers
    };
    for (headers, code, reason) in [
        (HeaderMap::new(), Code::Unauthenticated, "token_missing"),
        (authorization(&callers.expired), Code::Unauthenticated, "token_expired"),
        (authorization(&callers.foreign), Code::Unauthenticated, "token_foreign"),
        (authorization(&callers.unscoped), Code::PermissionDenied, "scope_missing"),
    ] {
        let before = counted(&recorder, place, reason);
        let status = client.create_user(with_headers(headers, String::new())).await.expect_err(reason);
        assert_eq!(status.code(), code, "{status}");
        one_more(&recorder, place, reason, before);
    }
    for (name, value) in bad_ids() {
        let before = counted(&recorder, place, "correlation_id");
        let mut headers = authorization(&callers.good);
        headers.insert(name, value);
        let user = client.create_user(with_headers(headers, String::new())).await.expect("a user");
        let id = user.into_inner().id;
        assert!(id.starts_with("fresh-"), "{id}");
        one_more(&recorder, place, "correlation_id", before);
    }
    let all = recorder.all("throughline.requests.refused", &[place]);
    assert!(all.iter().all(|one| one.attribute("throughline.transport").as_deref() == Some("grpc")));

    // tonic itself refuses what is longer than it decodes; the call's code is its reason.
    let code = ("rpc.response.status_code", "OUT_OF_RANGE");
    let long = with_headers(authorization(&callers.good), "x".repeat(5 << 20));
    let status = client.create_user(long).await.expect_err("too long");
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    assert_eq!(recorder.count("rpc.server.call.duration", &[place, code]), 1);
}

/// The broker of a test, with an exchange `shop`, and a queue of this name that takes what has the key `good`.
async fn mail(queue: &str) -> Arc<dyn Broker> {
    let broker: Arc<dyn Broker> = Arc::new(memory_broker().await.expect("a broker"));
    let dead = format!("{queue}.dead");
    broker.declare_exchange("shop").await.expect("an exchange");
    broker.declare_queue(&QueueSpec::durable(&dead)).await.expect("a queue");
    let spec = QueueSpec::durable(queue).max_deliveries(1).dead_letters_to(&dead);
    broker.declare_queue(&spec).await.expect("a queue");
    broker.bind("shop", "good", queue).await.expect("bound");
    broker
}

/// The next dead letter, and why it is one.
async fn dead_letter(broker: &dyn Broker, queue: &str) -> (Message, String) {
    let mut dead = broker.consume(&format!("{queue}.dead"), 1).await.expect("a consumer");
    let letter = tokio::time::timeout(SOON, dead.next()).await.expect("in time").expect("a letter");
    let message = letter.message.clone();
    letter.ack().await.expect("ack");
    let reason = message.headers[names::HEADER_DEATH_REASON].clone();
    (message, reason)
}

#[tokio::test]
async fn a_message_that_cannot_be_sent() {
    let recorder = MetricRecorder::install();
    let broker = mail("refused.unsent").await;
    let publisher = Publisher::new(Arc::clone(&broker));
    for (exchange, key, body, error) in [
        ("shop", "refused-key", "fine".to_owned(), "unroutable"),
        ("refused-exchange", "good", "fine".to_owned(), "no_exchange"),
        ("shop", "refused-large", "x".repeat(2 << 20), "too_large"),
    ] {
        let message = Message::json("letter", 1, &body).expect("a message");
        let refused = publisher.publish(exchange, key, message).await.expect_err(error);
        assert_eq!(refused.kind(), error, "{refused}");
        let destination = format!("{exchange}:{key}");
        let with = [("messaging.destination.name", destination.as_str()), ("error.type", error)];
        assert_eq!(recorder.sum("messaging.client.sent.messages", &with), 1.0, "{error}");
    }
}

/// What a queue has refused by now: in all, and for one reason.
fn messages(recorder: &MetricRecorder, queue: &str, reason: &str) -> (f64, f64) {
    let of = |with: &[(&str, &str)]| recorder.sum("throughline.messages.refused", with);
    (of(&[("throughline.queue", queue)]), of(&[("throughline.queue", queue), ("reason", reason)]))
}

#[tokio::test]
async fn a_message_that_fits_no_contract_is_a_dead_letter() {
    let recorder = MetricRecorder::install();
    let queue = "refused.contract";
    let broker = mail(queue).await;
    let publisher = Publisher::new(Arc::clone(&broker));
    let contracts = Contracts::default()
        .first("letter", 1, &json!({"type": "object", "required": ["text"]}))
        .expect("a schema");
    let (tell, mut told) = mpsc::channel(8);
    let handler = contracts.guard(move |received: Received| {
        let tell = tell.clone();
        async move {
            tell.send(received.message.version).await.expect("heard");
            Ok(())
        }
    });
    let stop = CancellationToken::new();
    let consumer = Consumer::new(Arc::clone(&broker), queue).run(stop.clone(), handler);
    let consuming = tokio::spawn(consumer);
    let message = |kind: &str, version: u32, body: &str| Message {
        body: body.to_owned().into(),
        ..Message::json(kind, version, &()).expect("a message")
    };
    for (sent, reason) in [
        (message("letter", 9, r#"{"text":"hello"}"#), "unknown_version"),
        (message("parcel", 1, r#"{"text":"hello"}"#), "unknown_type"),
        (message("letter", 1, "{}"), "schema"),
        (message("letter", 1, "{"), "malformed_message"),
    ] {
        let before = messages(&recorder, queue, reason);
        publisher.publish("shop", "good", sent.clone()).await.expect("sent");
        let (letter, why) = dead_letter(broker.as_ref(), queue).await;
        assert!(why.starts_with(reason), "{why}");
        assert_eq!((&letter.id, &letter.body), (&sent.id, &sent.body), "nothing of it is lost");
        let now = messages(&recorder, queue, reason);
        assert_eq!(now, (before.0 + 1.0, before.1 + 1.0), "in all, and for {reason}");
    }
    let before = messages(&recorder, queue, "schema");
    publisher.publish("shop", "good", message("letter", 1, r#"{"text":"hello"}"#)).await.expect("sent");
    let handled = tokio::time::timeout(SOON, told.recv()).await.expect("in time");
    assert_eq!(handled, Some(1));
    assert_eq!(messages(&recorder, queue, "schema"), before, "what fits is not refused");
    stop.cancel();
    consuming.await.expect("the loop").expect("ends well");
}

#[tokio::test]
async fn a_message_that_nobody_settles_is_a_dead_letter() {
    let recorder = MetricRecorder::install();
    let queue = "refused.unsettled";
    let broker = mail(queue).await;
    let sent = Message::json("letter", 1, &"hello").expect("a message");
    broker.publish("shop", "good", &sent).await.expect("sent");
    let mut deliveries = broker.consume(queue, 1).await.expect("a consumer");
    drop(tokio::time::timeout(SOON, deliveries.next()).await.expect("in time").expect("a delivery"));
    assert_eq!(messages(&recorder, queue, "deliveries"), (0.0, 0.0));
    let waiting = tokio::spawn(async move { deliveries.next().await.map(drop) });
    let (letter, why) = dead_letter(broker.as_ref(), queue).await;
    assert_eq!((letter.id, letter.body), (sent.id, sent.body));
    assert!(why.contains("no consumer settled it"), "{why}");
    let until = tokio::time::Instant::now() + SOON;
    while messages(&recorder, queue, "deliveries") != (1.0, 1.0) {
        assert!(tokio::time::Instant::now() < until, "{:?}", messages(&recorder, queue, "deliveries"));
        tokio::task::yield_now().await;
    }
    waiting.abort();
}

/// The only way to a bad one over the embedded broker is past it: another program that writes to the file.
#[tokio::test]
async fn a_message_whose_correlation_id_is_none_is_counted_once() {
    use throughline::comms::queue::{EmbeddedBroker, Failure};
    let recorder = MetricRecorder::install();
    let queue = "refused.id";
    let dir = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", dir.path().join("broker.db").display());
    let broker: Arc<dyn Broker> = Arc::new(EmbeddedBroker::open(&url).await.expect("opens"));
    broker.declare_exchange("shop").await.expect("an exchange");
    broker.declare_queue(&QueueSpec::durable(queue)).await.expect("a queue");
    broker.bind("shop", "good", queue).await.expect("bound");
    broker.publish("shop", "good", &Message::json("letter", 1, &1).expect("a message")).await.expect("sent");
    let pool = sqlx::SqlitePool::connect(&url).await.expect("opens");
    sqlx::query("UPDATE message SET correlation_id = ?").bind("a\nb").execute(&pool).await.expect("written");
    let stop = CancellationToken::new();
    let done = stop.clone();
    let handler = move |received: Received| {
        let done = done.clone();
        async move {
            if received.number == 1 {
                return Err(Failure::transient("busy", "not yet"));
            }
            done.cancel();
            Ok(())
        }
    };
    let policy = RetryPolicy { max_deliveries: 3, first_delay: Duration::from_millis(1) };
    let consumer = Consumer::new(Arc::clone(&broker), queue).policy(policy).run(stop, handler);
    tokio::time::timeout(SOON, consumer).await.expect("in time").expect("consumed");
    assert_eq!(messages(&recorder, queue, "correlation_id"), (1.0, 1.0), "of two deliveries");
}

#[derive(Debug)]
struct Passing;

impl Transient for Passing {
    fn is_transient(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn a_call_that_a_limit_a_bulkhead_or_an_empty_budget_refuses() {
    let recorder = MetricRecorder::install();
    let of = |name: &'static str, reason: &str| counted(&recorder, ("throughline.refused.by", name), reason);

    let limit = RateLimit::of_each(1, 1).named("refused-limit");
    let mut refused = 0.0;
    for _ in 0..1_000_000 {
        if refused >= 1.0 {
            break;
        }
        if matches!(limit.check(&()), Err(Refused::Limited { .. })) {
            refused += 1.0;
        }
        assert_eq!(of("refused-limit", "rate_limited"), (refused, refused));
    }
    assert_eq!(refused, 1.0, "none of so many was refused");

    let bulkhead = Bulkhead::new("refused-bulkhead", 1, Duration::ZERO);
    let place = bulkhead.enter().await.expect("the only place");
    assert_eq!(of("refused-bulkhead", "bulkhead_full"), (0.0, 0.0));
    assert!(matches!(bulkhead.enter().await, Err(Refused::Full { .. })));
    assert_eq!(of("refused-bulkhead", "bulkhead_full"), (1.0, 1.0));
    drop(place);

    let backoff = Backoff { first: Duration::ZERO, longest: Duration::ZERO, retries: 1 };
    let poor = RetryBudget { per_call: 0.0, per_second: 0, ..RetryBudget::default() };
    let retry = Retry::new(backoff, poor).named("refused-retries");
    let failed: Result<(), Passing> = retry.run(None, |_| async { Err(Passing) }).await;
    assert!(failed.is_err());
    assert_eq!(of("refused-retries", "retry_budget_exhausted"), (1.0, 1.0));
}
