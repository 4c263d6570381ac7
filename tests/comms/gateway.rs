//! The gateway over the wire, before services that fail: what goes on and what ends at it, and what a client is told.

use crate::common::serve;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as Poller, Poll};
use std::time::{Duration, Instant};

use crate::lines::Lines;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, stream};
use http_body::Frame;
use serde_json::{Value, json};
use throughline::comms::breaker::{BreakerConfig, Window};
use throughline::comms::gateway::{Aggregate, CacheRule, ClientLimit, Gateway, Route, Upstream};
use throughline::comms::http::{Transport, instrument};
use throughline::comms::resilience::Policy;
use throughline::comms::security::{Access, Authenticate, Denied, Principal};
use tokio::sync::{Notify, Semaphore};

const SOON: Duration = Duration::from_secs(20);

/// An address that nobody listens on.
async fn nobody() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address")
}

fn upstream(address: SocketAddr, policy: Policy) -> Upstream {
    Upstream::with_policy("stock", &format!("http://{address}"), policy, Transport::default())
        .expect("an upstream")
}

async fn open(gateway: Gateway) -> String {
    format!("http://{}", serve(instrument(gateway.into_router().expect("a router"), "gateway")).await)
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().no_gzip().build().expect("a client")
}

async fn problem(answer: reqwest::Response) -> Value {
    assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/problem+json");
    let told = answer.headers()["x-correlation-id"].to_str().expect("text").to_owned();
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.expect("a problem");
    assert_eq!((&body["status"], &body["correlation_id"]), (&json!(status), &json!(told)));
    body
}

/// A body that comes in pieces, of a size that nobody says before.
pub struct Pieces {
    pub left: usize,
    pub size: usize,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Poller<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![7; self.size])))))
    }
}

/// Says what it was asked, and how.
async fn echo(request: Request) -> Json<Value> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.expect("a body");
    let headers = parts.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), Value::from(value.to_str().unwrap_or("?").to_owned()))
    });
    let headers: serde_json::Map<_, _> = headers.collect();
    Json(
        json!({ "method": parts.method.as_str(), "uri": parts.uri.to_string(), "headers": headers, "size": body.len() }),
    )
}

#[tokio::test]
async fn requests_go_where_the_table_says_with_the_headers_that_are_theirs() {
    let stock = serve(Router::new().fallback(any(echo))).await;
    let gateway = Gateway::new("gateway")
        .upstream(upstream(stock, Policy::with_timeout(SOON)))
        .route(Route::get("/catalog/{sku}").to("stock", "/products/{sku}"))
        .route(Route::post("/catalog/{sku}").to("stock", "/v2/{sku}/edit"))
        .route(Route::prefix("/stock").to("stock", "/{*rest}"));
    let base = open(gateway).await;
    let answer = client()
        .get(format!("{base}/catalog/lamp%20brass?x=1&y=%2F"))
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("x-service-name", "orders")
        .header("x-forwarded-for", "192.0.2.1")
        .header("x-correlation-id", "order-7")
        .header("accept", "text/x")
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.headers()["x-correlation-id"], "order-7");
    let told: Value = answer.json().await.expect("an echo");
    assert_eq!(told["uri"], "/products/lamp%20brass?x=1&y=%2F");
    let headers = &told["headers"];
    assert_eq!(headers["x-service-name"], "gateway", "a client is no service");
    assert_eq!(headers["x-correlation-id"], "order-7");
    assert_eq!(headers["x-forwarded-for"], "192.0.2.1, 127.0.0.1");
    assert_eq!((&headers["accept"], &headers["via"]), (&json!("text/x"), &json!("1.1 throughline")));
    assert!(headers["x-hop"].is_null() && headers["connection"].is_null(), "{headers}");
    let wait: u64 = headers["x-request-timeout-ms"].as_str().expect("told").parse().expect("a number");
    assert!((1..=20_000).contains(&wait), "{wait}");

    // A body that comes in pieces, of a size that nobody says.
    let body = reqwest::Body::wrap(Pieces { left: 64, size: 10_000 });
    let answer = client().post(format!("{base}/catalog/lamp")).body(body).send().await.expect("an answer");
    let told: Value = answer.json().await.expect("an echo");
    assert_eq!((&told["method"], &told["uri"]), (&json!("POST"), &json!("/v2/lamp/edit")));
    assert_eq!(told["size"], 640_000);
    let answer = client().delete(format!("{base}/stock/a/b%2Fc")).send().await.expect("an answer");
    assert_eq!(answer.json::<Value>().await.expect("an echo")["uri"], "/a/b%2Fc");

    let answer = client().put(format!("{base}/catalog/lamp")).send().await.expect("an answer");
    assert_eq!(answer.status(), 405);
    assert_eq!(answer.headers()[header::ALLOW], "GET,HEAD,POST");
    problem(answer).await;
    for (path, status) in
        [("/elsewhere", 404), ("/catalog", 404), ("/stock/..%2fadmin", 400), ("/catalog/%2e%2E", 400)]
    {
        // As it is: a client would tidy it up.
        assert_eq!(raw(&base, path).await, status, "{path}");
    }
}

/// Sends a path as it is, and gives the status.
async fn raw(base: &str, path: &str) -> u16 {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let address = base.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(address).await.expect("connected");
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    assert!(answer.contains("application/problem+json"), "{answer}");
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status")
}

#[tokio::test]
async fn a_body_that_is_too_long_ends_at_the_gateway() {
    let stock = serve(Router::new().fallback(any(echo))).await;
    let gateway = Gateway::new("gateway")
        .upstream(upstream(stock, Policy::with_timeout(SOON)))
        .most_body(200_000)
        .route(Route::post("/a").to("stock", "/a"))
        .route(Route::post("/b").to("stock", "/b").most_body(10));
    let base = open(gateway).await;
    let pieces = |left| reqwest::Body::wrap(Pieces { left, size: 50_000 });
    for (path, body, status) in [
        ("/a", reqwest::Body::from(vec![7; 200_000]), 200),
        ("/a", reqwest::Body::from(vec![7; 200_001]), 413),
        ("/a", pieces(4), 200),
        ("/a", pieces(5), 413),
        ("/b", reqwest::Body::from("0123456789"), 200),
        ("/b", reqwest::Body::from("0123456789a"), 413),
    ] {
        let answer = client().post(format!("{base}{path}")).body(body).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{path}");
        if status == 413 {
            let told = problem(answer).await;
            assert!(told["detail"].as_str().is_some_and(|text| text.contains("longer than")), "{told}");
        }
    }
}

#[tokio::test]
async fn an_answer_goes_through_while_it_is_made() {
    let go_on = Arc::new(Notify::new());
    let wait = Arc::clone(&go_on);
    let slow = move || {
        let wait = Arc::clone(&wait);
        async move {
            let first = stream::iter([Ok::<_, std::io::Error>(Bytes::from("one"))]);
            let second = stream::once(async move {
                wait.notified().await;
                Ok(Bytes::from("two"))
            });
            Body::from_stream(first.chain(second))
        }
    };
    let stock = serve(Router::new().route("/slow", get(slow))).await;
    let gateway = Gateway::new("gateway")
        .upstream(upstream(stock, Policy::with_timeout(SOON)))
        .route(Route::get("/slow").to("stock", "/slow"));
    let mut answer = client().get(format!("{}/slow", open(gateway).await)).send().await.expect("an answer");
    assert_eq!(answer.chunk().await.expect("the first").as_deref(), Some(b"one".as_slice()));
    go_on.notify_one();
    assert_eq!(answer.chunk().await.expect("the second").as_deref(), Some(b"two".as_slice()));
    assert_eq!(answer.chunk().await.expect("the end"), None);
}

/// A service that does as it is told, and counts.
#[derive(Clone, Default)]
struct Stock {
    asked: Arc<AtomicUsize>,
    /// Answers this instead, once for each.
    fails: Arc<Mutex<Vec<u16>>>,
    broken: Arc<AtomicBool>,
}

impl Stock {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn answer(State(stock): State<Self>, Path(sku): Path<String>, headers: HeaderMap) -> Response {
        let number = stock.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let fails = stock.fails.lock().expect("alive").pop();
        if let Some(status) = fails.or(stock.broken.load(Ordering::SeqCst).then_some(503)) {
            return StatusCode::from_u16(status).expect("a status").into_response();
        }
        if sku == "hangs" {
            std::future::pending::<()>().await;
        }
        let tag = format!("\"{sku}-1\"");
        if headers.get("if-none-match").is_some_and(|asked| asked == tag.as_str()) {
            return (StatusCode::NOT_MODIFIED, [("etag", tag), ("cache-control", "max-age=60".into())])
                .into_response();
        }
        let control = match sku.as_str() {
            "private" => "private, max-age=60",
            "checked" => "max-age=0",
            "brief" => "max-age=0, must-revalidate",
            _ => "max-age=60",
        };
        ([("etag", tag), ("cache-control", control.to_owned())], format!("{sku} {number}")).into_response()
    }

    fn router(&self) -> Router {
        Router::new().route("/products/{sku}", any(Self::answer)).with_state(self.clone())
    }
}

#[tokio::test]
async fn a_post_with_a_key_is_tried_again_with_the_same_key() {
    let stock = Stock::default();
    let address = serve(stock.router()).await;
    let gateway = Gateway::new("gateway")
        .upstream(upstream(address, Policy::with_timeout(SOON)))
        .route(Route::prefix("/catalog").to("stock", "/products/{*rest}"));
    let base = open(gateway).await;
    stock.fails.lock().expect("alive").push(503);
    let post = client().post(format!("{base}/catalog/lamp")).header("idempotency-key", "order-17").body("{}");
    let answer = post.send().await.expect("an answer");
    assert_eq!((answer.status().as_u16(), stock.asked()), (200, 2));
}

#[tokio::test]
async fn what_may_be_made_twice_is_and_a_dead_upstream_is_left_alone() {
    let stock = Stock::default();
    let address = serve(stock.router()).await;
    let breaker = BreakerConfig { window: Window::Calls(4), minimum_calls: 4, ..BreakerConfig::default() };
    let gateway = Gateway::new("gateway")
        .upstream(upstream(address, Policy::with_timeout(SOON).breaker(breaker)))
        .upstream(
            Upstream::with_policy(
                "gone",
                &format!("http://{}", nobody().await),
                Policy::plain(SOON),
                Transport::default(),
            )
            .expect("an upstream"),
        )
        .route(Route::prefix("/catalog").to("stock", "/products/{*rest}"))
        .route(Route::get("/late/{sku}").to("stock", "/products/{sku}").timeout(Duration::from_millis(50)))
        .route(Route::get("/gone").to("gone", "/"));
    let base = open(gateway).await;
    let get = |path: &str| client().get(format!("{base}{path}")).send();
    stock.fails.lock().expect("alive").push(503);
    assert_eq!(get("/catalog/lamp").await.expect("an answer").text().await.expect("text"), "lamp 2");
    stock.fails.lock().expect("alive").push(503);
    let answer = client().post(format!("{base}/catalog/lamp")).send().await.expect("an answer");
    assert_eq!((answer.status().as_u16(), stock.asked()), (503, 3), "its own answer, after one try");
    let gone = get("/gone").await.expect("an answer");
    assert_eq!(gone.status(), 502);
    assert_eq!(problem(gone).await["detail"], "gone cannot be reached");
    let late = get("/late/hangs").await.expect("an answer");
    assert_eq!(late.status(), 504);
    assert_eq!(problem(late).await["detail"], "stock gave no answer in time");

    stock.broken.store(true, Ordering::SeqCst);
    let deadline = Instant::now() + SOON;
    let answer = loop {
        let answer = get("/catalog/lamp").await.expect("an answer");
        assert_eq!(answer.status(), 503);
        if answer.headers().contains_key("x-circuit-breaker") {
            break answer;
        }
        assert!(Instant::now() < deadline, "the breaker never opens");
    };
    assert_eq!(answer.headers()["x-circuit-breaker"], "stock");
    assert!(answer.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(problem(answer).await["detail"], "stock is not available right now");
    let asked = stock.asked();
    get("/catalog/lamp").await.expect("an answer");
    assert_eq!(stock.asked(), asked, "not asked");
}

#[tokio::test]
async fn answers_are_kept_as_they_allow_and_asked_for_once() {
    let stock = Stock::default();
    let address = serve(stock.router()).await;
    let gateway = Gateway::new("gateway")
        .upstream(upstream(address, Policy::plain(SOON)))
        .route(Route::get("/catalog/{sku}").to("stock", "/products/{sku}").cached(CacheRule::default()));
    let base = open(gateway).await;
    let get = |sku: &str| client().get(format!("{base}/catalog/{sku}"));
    let text = |request: reqwest::RequestBuilder| async move {
        let answer = request.send().await.expect("an answer");
        let status = answer.headers()["cache-status"].to_str().expect("text").to_owned();
        (answer.status().as_u16(), status, answer.text().await.expect("text"))
    };
    let first = text(get("lamp")).await;
    assert_eq!(first, (200, "gateway; fwd=miss; stored".into(), "lamp 1".into()));
    let all: Vec<_> = (0..10).map(|_| text(get("lamp"))).collect();
    for (status, how, body) in futures_util::future::join_all(all).await {
        assert_eq!((status, body.as_str()), (200, "lamp 1"));
        assert!(how.starts_with("gateway; hit; ttl="), "{how}");
    }
    assert_eq!(text(get("lamp?page=2")).await.2, "lamp 2", "another address");
    let known = text(get("lamp").header("if-none-match", "W/\"x\", \"lamp-1\"")).await;
    assert_eq!((known.0, known.2.as_str()), (304, ""));
    assert_eq!(stock.asked(), 2);

    // Whose answer depends on who asks, or may not be shared, is nobody else's.
    for sku in ["private"] {
        for number in [3, 4] {
            assert_eq!(text(get(sku)).await, (200, "gateway; fwd=miss".into(), format!("{sku} {number}")));
        }
    }
    let personal = text(get("lamp").header("authorization", "Bearer a")).await;
    assert_eq!((personal.1.as_str(), personal.2.as_str()), ("gateway; fwd=bypass", "lamp 5"));

    // Old, but still so: the upstream is asked whether it is, and sends no body.
    assert_eq!(text(get("checked")).await.2, "checked 6");
    let checked = text(get("checked")).await;
    assert_eq!(checked.1, "gateway; fwd=stale; fwd-status=304; stored");
    assert_eq!((checked.2.as_str(), stock.asked()), ("checked 6", 7));

    // Where the upstream fails an old answer is better than none, unless it says that it is not.
    assert_eq!(text(get("rug")).await.2, "rug 8");
    for sku in ["checked", "rug"] {
        assert_eq!(text(get(sku)).await.0, 200);
    }
    assert_eq!(text(get("brief")).await.0, 200);
    stock.broken.store(true, Ordering::SeqCst);
    assert_eq!(text(get("brief")).await.0, 503);
    assert_eq!(text(get("desk")).await.0, 503, "there is no old one");
}

#[tokio::test]
async fn an_old_answer_stands_in_for_an_upstream_that_fails() {
    let stock = Stock::default();
    let address = serve(stock.router()).await;
    let gateway = Gateway::new("gateway")
        .upstream(upstream(address, Policy::plain(SOON)))
        .route(Route::get("/catalog/{sku}").to("stock", "/products/{sku}").cached(CacheRule::default()));
    let base = open(gateway).await;
    let get = || client().get(format!("{base}/catalog/checked")).send();
    let first = get().await.expect("an answer").text().await.expect("text");
    // The answer is old at once (max-age=0).
    stock.broken.store(true, Ordering::SeqCst);
    let answer = get().await.expect("an answer");
    assert_eq!(
        (answer.status().as_u16(), answer.headers()["cache-status"].to_str().expect("text")),
        (200, "gateway; hit; ttl=-1")
    );
    assert_eq!(answer.text().await.expect("text"), first);
    assert_eq!(stock.asked(), 2, "it was asked first");
}

#[tokio::test]
async fn those_who_ask_together_are_answered_by_one_question() {
    let (asked, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (count, wait) = (Arc::clone(&asked), Arc::clone(&gate));
    let slow = move || {
        let (count, wait) = (Arc::clone(&count), Arc::clone(&wait));
        async move {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            let _leave = wait.acquire().await.expect("open");
            ([("cache-control", "max-age=60")], number.to_string())
        }
    };
    let stock = serve(Router::new().route("/", get(slow))).await;
    let gateway = Gateway::new("gateway")
        .upstream(upstream(stock, Policy::plain(SOON)))
        .route(Route::get("/front").to("stock", "/").cached(CacheRule::default()))
        .own(Router::new().route("/ping", get(|| async { "pong" })));
    let base = open(gateway).await;
    let all: Vec<_> = (0..8).map(|_| tokio::spawn(client().get(format!("{base}/front")).send())).collect();
    let deadline = Instant::now() + SOON;
    while asked.load(Ordering::SeqCst) == 0 {
        assert!(Instant::now() < deadline, "nobody asks");
        assert_eq!(client().get(format!("{base}/ping")).send().await.expect("an answer").status(), 200);
    }
    gate.add_permits(100);
    for answer in all {
        let answer = answer.await.expect("no panic").expect("an answer");
        assert_eq!(answer.text().await.expect("text"), "1");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn one_request_asks_several_services_and_says_what_is_missing() {
    let stock = Stock::default();
    let stocked = serve(stock.router()).await;
    let orders = Router::new()
        .route(
            "/orders/{id}",
            get(|Path(id): Path<String>| async move {
                if id == "o-1" {
                    Json(json!({ "id": id })).into_response()
                } else {
                    (StatusCode::NOT_FOUND, "no such order").into_response()
                }
            }),
        )
        .route("/text", get(|| async { "no JSON" }));
    let orders = serve(orders).await;
    let gateway = Gateway::new("gateway")
        .upstream(
            Upstream::with_policy(
                "orders",
                &format!("http://{orders}"),
                Policy::plain(SOON),
                Transport::default(),
            )
            .expect("an upstream"),
        )
        .upstream(upstream(stocked, Policy::plain(Duration::from_millis(200))))
        .aggregate(
            Aggregate::get("/pages/{id}/{sku}")
                .required("order", "orders", "/orders/{id}")
                .optional("text", "orders", "/text")
                .optional("product", "stock", "/products/{sku}")
                .timeout(Duration::from_millis(300)),
        );
    let base = open(gateway).await;
    let get = |path: &str| client().get(format!("{base}{path}")).send();
    stock.broken.store(true, Ordering::SeqCst);
    let page: Value = get("/pages/o-1/lamp").await.expect("an answer").json().await.expect("a page");
    assert_eq!(page["order"], json!({ "id": "o-1" }));
    assert!(page["product"].is_null() && page["text"].is_null(), "{page}");
    let errors = page["errors"].as_array().expect("told").iter();
    let told: Vec<_> = errors.map(|e| (e["part"].as_str(), e["status"].as_u64())).collect();
    assert_eq!(told, [(Some("text"), Some(502)), (Some("product"), Some(503))]);
    stock.broken.store(false, Ordering::SeqCst);
    let page: Value = get("/pages/o-1/hangs").await.expect("in time").json().await.expect("a page");
    assert_eq!(page["errors"][1]["status"], 504, "{page}");
    let answer = get("/pages/o-2/lamp").await.expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.text().await.expect("text")), (404, "no such order".into()));
}

/// Knows one name, by a header that is no secret.
struct Named;

impl Authenticate for Named {
    fn authenticate<'a>(&'a self, request: &'a Parts) -> BoxFuture<'a, Result<Option<Principal>, Denied>> {
        let name = request.headers.get("x-name").and_then(|name| name.to_str().ok());
        let found = match name {
            None => Ok(None),
            Some("ada") => Ok(Some(Principal { subject: "ada".into(), scopes: ["read".to_owned()].into() })),
            Some(_) => Err(Denied::invalid("nobody knows it")),
        };
        Box::pin(std::future::ready(found))
    }
}

#[tokio::test]
async fn who_calls_decides_what_they_may_do_and_how_often() {
    let stock = serve(Router::new().fallback(any(echo))).await;
    let gateway = Gateway::new("gateway")
        .upstream(upstream(stock, Policy::plain(SOON)))
        .authenticate(Named)
        .limit(ClientLimit::new(1, 5))
        .route(Route::get("/open").to("stock", "/"))
        .route(Route::get("/read").to("stock", "/").access(Access::Scope("read".into())))
        .route(Route::get("/write").to("stock", "/").access(Access::Scope("write".into())));
    let base = open(gateway).await;
    let get = |path: &str, name: Option<&'static str>| {
        let request = client().get(format!("{base}{path}"));
        let request = name.into_iter().fold(request, |request, name| request.header("x-name", name));
        async move { request.send().await.expect("an answer") }
    };
    let answer = get("/open", None).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["ratelimit-policy"], r#""client";q=5;w=5"#);
    assert_eq!(answer.headers()["ratelimit"], r#""client";r=4;t=5"#);
    for (path, name, status, challenge) in [
        ("/read", None, 401, "Bearer"),
        ("/read", Some("eve"), 401, r#"Bearer error="invalid_token""#),
        ("/read", Some("ada"), 200, ""),
        ("/write", Some("ada"), 403, r#"Bearer error="insufficient_scope", scope="write""#),
    ] {
        let answer = get(path, name).await;
        assert_eq!(answer.status(), status, "{path} {name:?}");
        if status != 200 {
            assert_eq!(answer.headers()[header::WWW_AUTHENTICATE], challenge);
            problem(answer).await;
        }
    }
    // Three of this address so far, whoever it said it was; a slow machine gives one a second more.
    let mut made = 3;
    let answer = loop {
        let answer = get("/open", None).await;
        made += 1;
        if answer.status() != 200 {
            break answer;
        }
        assert!(made < 50, "no limit");
    };
    assert_eq!(answer.status(), 429);
    assert!(made > 5, "{made} requests");
    let wait: u64 = answer.headers()[header::RETRY_AFTER].to_str().expect("text").parse().expect("seconds");
    assert!((1..=5).contains(&wait), "{wait}");
    assert!(answer.headers()["ratelimit"].to_str().expect("text").starts_with(r#""client";r=0;t="#));
    problem(answer).await;
    assert_eq!(get("/read", Some("ada")).await.status(), 200, "another client");
}

#[tokio::test]
async fn each_request_leaves_one_line_in_the_access_log() {
    let lines = Lines::keep();
    let stock = serve(Stock::default().router()).await;
    let gateway = Gateway::new("gateway")
        .upstream(upstream(stock, Policy::plain(SOON)))
        .route(Route::get("/catalog/{sku}").to("stock", "/products/{sku}"));
    let base = open(gateway).await;
    for (path, id) in [("/catalog/lamp?access_token=hunter2", "log-1"), ("/nowhere", "log-2")] {
        let answer = client().get(format!("{base}{path}")).header("x-correlation-id", id).send().await;
        answer.expect("an answer").bytes().await.expect("a body");
    }
    let of = |id: &str| -> Vec<String> {
        let text = lines.text();
        text.lines()
            .filter(|line| line.contains("throughline::access") && line.contains(id))
            .map(str::to_owned)
            .collect()
    };
    let deadline = Instant::now() + SOON;
    while of("log-1").is_empty() || of("log-2").is_empty() {
        assert!(Instant::now() < deadline, "no line");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let [line] = &of("log-1")[..] else { panic!("{:?}", of("log-1")) };
    for part in [
        "GET /catalog/lamp?access_token=REDACTED 200",
        "http.route=/catalog/{sku}",
        "http.response.status_code=200",
        "http.response.body.size=6",
        "client.address=127.0.0.1",
        "upstream=stock",
        "tries=1",
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(!line.contains("hunter2") && !line.contains("not taken"), "{line}");
    let [line] = &of("log-2")[..] else { panic!("{:?}", of("log-2")) };
    assert!(line.contains("GET /nowhere 404") && line.contains("tries=0"), "{line}");
}

#[tokio::test]
async fn a_table_that_makes_no_sense_is_refused_with_its_line() {
    let gateway =
        || Gateway::new("gateway").upstream(upstream(([127, 0, 0, 1], 1).into(), Policy::plain(SOON)));
    for (routes, says) in [
        (vec![Route::get("/a").to("shelf", "/a")], "`/a` goes to `shelf`; there is only stock"),
        (vec![Route::get("a").to("stock", "/a")], "slash"),
        (vec![Route::get("/a").to("stock", "/{x}")], "`/{x}` has variables that `/a` has not"),
        (vec![Route::get("/{a}").to("stock", "/"), Route::get("/{b}").to("stock", "/")], "`/{b}`"),
    ] {
        let built = routes.into_iter().fold(gateway(), Gateway::route).into_router();
        let error = built.expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
    let twice = Aggregate::get("/a").required("x", "stock", "/").optional("x", "stock", "/");
    let error = gateway().aggregate(twice).into_router().expect_err("two parts").to_string();
    assert!(error.contains("two parts `x`"), "{error}");
}
