//! Tokens and certificates between services, over the wire: what holds is taken, what does not is refused and says why.

use crate::common::serve;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::lines::Lines;
use axum::http::StatusCode;
use axum::routing::get;
use axum::serve::ListenerExt as _;
use axum::{Extension, Router};
use serde_json::{Value, json};
use throughline::comms::gateway::{Gateway, Route, Upstream};
use throughline::comms::grpc::user::user_service_server::{UserService, UserServiceServer};
use throughline::comms::grpc::user::{
    CreateUserRequest, GetUserRequest, GetUsersRequest, GetUsersResponse, User,
};
use throughline::comms::grpc::{GrpcServerLayer, UserGrpcClient};
use throughline::comms::http::{CallError, CallErrorKind, ServiceHttpClient, Transport, instrument};
use throughline::comms::resilience::Policy;
use throughline::comms::security::{
    Access, AccessLayer, Authority, Credentials, Denied, Principal, PublicKey, SigningKey, Tls, TlsListener,
    TokenSource, Tokens,
};
use tonic::service::{LayerExt as _, Routes};
use tonic::{Code, Request, Response, Status};

const SOON: Duration = Duration::from_secs(20);

fn key(issuer: &str) -> SigningKey {
    SigningKey::generate(issuer).expect("a key")
}

fn why(tokens: &Tokens, token: &str) -> String {
    match tokens.check(token) {
        Err(Denied::Invalid { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_token_holds_for_its_audience_its_issuer_and_its_time() {
    let (orders, gateway) = (key("orders"), key("gateway"));
    let tokens = Tokens::new("payments", [orders.public(), gateway.public()]).leeway(Duration::from_secs(2));
    let source = TokenSource::new(orders.clone());
    let token = source.for_audience("payments", &["pay", "read"]).token().expect("a token");
    let caller = tokens.check(&token).expect("it holds");
    assert_eq!(caller, Principal { subject: "orders".into(), scopes: ["pay".into(), "read".into()].into() });

    let other = source.for_audience("stock", &[]).token().expect("a token");
    assert_eq!(why(&tokens, &other), "it is for another service than payments");
    let stranger = TokenSource::new(key("orders")).for_audience("payments", &[]).token().expect("a token");
    assert_eq!(why(&tokens, &stranger), "its key is unknown here");
    // A key signs for its own issuer alone, whatever it writes.
    let text = orders.to_secret_text().replacen("orders", "gateway", 1);
    let forged = TokenSource::new(SigningKey::read(&text).expect("a key"));
    let forged = forged.for_audience("payments", &[]).token().expect("a token");
    assert_eq!(why(&tokens, &forged), "it is signed by a key of another issuer");
    let (head, signature) = token.rsplit_once('.').expect("three parts");
    let other = if signature.starts_with('A') { "B" } else { "A" };
    let forged = format!("{head}.{other}{}", &signature[1..]);
    assert_eq!(why(&tokens, &forged), "its signature is wrong");
    // {"alg":"none"} and {"alg":"HS256"}, each with a kid that is known.
    for algorithm in ["none", "HS256"] {
        let id = orders.public().to_string().split('.').nth(1).expect("a kid").to_owned();
        let header = base64(&json!({ "alg": algorithm, "kid": id }).to_string());
        let payload = token.split('.').nth(1).expect("claims");
        let told = why(&tokens, &format!("{header}.{payload}.{signature}"));
        assert!(told == "it is no JWT" || told == "its algorithm is not EdDSA", "{told}");
    }
    for bad in ["", "a", "a.b.c", "....", &"x".repeat(100_000)] {
        let told = why(&tokens, bad);
        assert!(told == "it is no JWT" || told == "it is too long", "{told}");
    }
}

fn base64(text: &str) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

#[tokio::test]
async fn a_token_ends_with_its_time_and_a_leeway() {
    let orders = key("orders");
    let token = TokenSource::new(orders.clone()).lifetime(Duration::from_secs(1));
    let token = token.for_audience("payments", &[]).token().expect("a token");
    let strict = Tokens::new("payments", [orders.public()]).leeway(Duration::ZERO);
    let lenient = Tokens::new("payments", [orders.public()]);
    let deadline = tokio::time::Instant::now() + SOON;
    while strict.check(&token).is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "it never ends");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(why(&strict, &token), "it has expired");
    lenient.check(&token).expect("the clocks may differ by half a minute");
}

#[test]
fn a_key_is_changed_without_a_gap() {
    let (old, new) = (key("orders"), key("orders"));
    let tokens = Tokens::new("payments", [old.public()]);
    let source = TokenSource::new(old.clone());
    let credentials = source.for_audience("payments", &[]);
    let header = |credentials: &Credentials| {
        credentials
            .header()
            .expect("a header")
            .to_str()
            .expect("text")
            .trim_start_matches("Bearer ")
            .to_owned()
    };
    let before = header(&credentials);
    assert_eq!(header(&credentials), before, "kept while it holds");
    tokens.add(new.public());
    source.rotate(new.clone());
    let after = header(&credentials);
    assert_ne!(after, before);
    for token in [&before, &after] {
        tokens.check(token).expect("both keys are good");
    }
    let id = old.public().to_string().split('.').nth(1).expect("a kid").to_owned();
    tokens.remove(&id);
    assert_eq!(why(&tokens, &before), "its key is unknown here");
    tokens.check(&after).expect("the new one stays");

    let read = SigningKey::read(&new.to_secret_text()).expect("as it was written");
    assert_eq!(read.public(), new.public());
    assert_eq!(PublicKey::read(&new.public().to_string()).expect("as it was written"), new.public());
    for (bad, says) in [
        ("", "ISSUER.KID.KEY"),
        ("a.b", "ISSUER.KID.KEY"),
        ("a.b.c.d", "ISSUER.KID.KEY"),
        ("a.b.!", "third part"),
        ("a b.c.AAAA", "1 to 64"),
        ("a.b.AAAA", "32 bytes"),
    ] {
        let error = PublicKey::read(bad).expect_err(bad).to_string();
        assert!(error.contains(says), "{bad}: {error}");
    }
    let secret = "orders.kid.c2VjcmV0LWtleQ";
    let error = SigningKey::read(secret).expect_err("no key").to_string();
    assert!(!error.contains("c2VjcmV0") && error.contains("PKCS #8"), "{error}");
    for shown in [
        format!("{new:?}"),
        format!("{source:?}"),
        format!("{credentials:?}"),
        format!("{:?}", credentials.header()),
    ] {
        let secret = new.to_secret_text();
        let part = secret.rsplit('.').next().expect("a key");
        assert!(!shown.contains(part) && !shown.contains(&after), "{shown}");
    }
}

fn plain(address: SocketAddr) -> ServiceHttpClient {
    let policy = Policy { breaker: None, ..Policy::with_timeout(SOON) };
    ServiceHttpClient::with_policy(&format!("http://{address}"), "orders", policy).expect("a client")
}

#[tokio::test]
async fn a_route_wants_a_scope_and_says_what_is_missing_and_no_log_has_a_token() {
    let lines = Lines::keep();
    let orders = key("orders");
    let tokens = Tokens::new("payments", [orders.public()]);
    let who = |Extension(caller): Extension<Principal>| async move { format!("\"{}\"", caller.subject) };
    let routes = Router::new()
        .route("/pay", get(who))
        .layer(AccessLayer::scope(tokens.clone(), "pay"))
        .merge(Router::new().route("/known", get(who)).layer(AccessLayer::new(tokens, Access::Known)));
    let address = serve(instrument(routes, "payments")).await;
    let source = TokenSource::new(orders);
    let with = |audience: &str, scopes: &[&str]| {
        plain(address).with_credentials(source.for_audience(audience, scopes))
    };
    assert_eq!(with("payments", &["pay"]).get::<String>("/pay").await.expect("it may"), "orders");
    assert_eq!(with("payments", &[]).get::<String>("/known").await.expect("known"), "orders");
    for (client, path, status, says) in [
        (plain(address), "/pay", 401, "no token"),
        (plain(address), "/known", 401, "no token"),
        (with("stock", &["pay"]), "/pay", 401, "another service than payments"),
        (with("payments", &["read"]), "/pay", 403, "the scope pay is missing"),
    ] {
        let error = client.get::<Value>(path).await.expect_err(says);
        assert_eq!(error.status(), StatusCode::from_u16(status).ok(), "{error}");
        let body: Value = serde_json::from_str(&error.body_excerpt).expect("a problem");
        assert!(body["detail"].as_str().is_some_and(|text| text.contains(says)), "{body}");
        assert_eq!(body["correlation_id"], error.correlation_id.as_str());
    }
    let odd = reqwest::Client::builder().no_proxy().build().expect("a client");
    let answer = odd.get(format!("http://{address}/pay")).header("authorization", "Basic YTpi").send().await;
    let answer = answer.expect("an answer");
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["www-authenticate"], r#"Bearer error="invalid_token""#);

    let logged = lines.text();
    assert!(logged.contains("request refused") && logged.contains("service call failed"), "{logged}");
    // Each token begins with {"typ":"JWT" or {"alg":.
    assert!(!logged.contains("eyJ") && !logged.contains("Bearer ey"), "{logged}");
}

/// Knows everybody.
struct Users;

#[tonic::async_trait]
impl UserService for Users {
    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<User>, Status> {
        let name = request.extensions().get::<Principal>().map_or_else(String::new, |p| p.subject.clone());
        Ok(Response::new(User { id: request.into_inner().id, name, ..User::default() }))
    }

    async fn get_users(&self, _: Request<GetUsersRequest>) -> Result<Response<GetUsersResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn create_user(&self, _: Request<CreateUserRequest>) -> Result<Response<User>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

fn users(tokens: &Tokens) -> Router {
    let guard = AccessLayer::scope(tokens.clone(), "users:read");
    let guard = guard.method("/user.UserService/CreateUser", "users:write");
    let guarded = guard.named_layer(UserServiceServer::new(Users));
    let layered = GrpcServerLayer::new("users").named_layer(guarded);
    Routes::new(layered).into_axum_router()
}

/// An authority and the certificates of a service.
struct Certified {
    authority: Authority,
    tls: Tls,
}

impl Certified {
    fn new(name: &str) -> Self {
        let authority = Authority::new(7).expect("an authority");
        let tls = tls(&authority, &authority, name);
        Self { authority, tls }
    }
}

/// The certificate of one authority, trusting another.
fn tls(of: &Authority, trusting: &Authority, name: &str) -> Tls {
    let made = of.issue(name, &[]).expect("a certificate");
    Tls::from_pem(trusting.certificate().as_bytes(), made.certificate.as_bytes(), made.key.as_bytes())
        .expect("usable")
}

async fn serve_tls(router: Router, tls: &Tls) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let listener = TlsListener::new(listener, tls).expect("a listener").tap_io(|_| ());
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

fn over_tls(address: SocketAddr, tls: Option<Tls>) -> ServiceHttpClient {
    let transport = Transport { tls, ..Transport::default() };
    let url = format!("https://{address}");
    ServiceHttpClient::with_transport(&url, "orders", Policy::plain(SOON), transport).expect("a client")
}

async fn refused(client: &ServiceHttpClient) -> CallError {
    client.get::<Value>("/").await.expect_err("it must not be served")
}

#[tokio::test]
async fn both_sides_show_certificates_of_the_one_authority() {
    let payments = Certified::new("payments");
    let version = |version: axum::http::Version| async move { format!("\"{version:?}\"") };
    let address = serve_tls(Router::new().route("/", get(version)), &payments.tls).await;
    // A connection that never shakes hands holds up nobody.
    let _silent = tokio::net::TcpStream::connect(address).await.expect("connected");
    let orders = tls(&payments.authority, &payments.authority, "orders");
    let answer: String = over_tls(address, Some(orders.clone())).get("/").await.expect("both are known");
    assert_eq!(answer, "HTTP/2.0", "agreed upon in the handshake");

    let other = Authority::new(7).expect("an authority");
    // Of another authority than the server trusts: it ends the connection.
    let error = refused(&over_tls(address, Some(tls(&other, &payments.authority, "orders")))).await;
    assert!(error.to_string().contains("UnknownCA"), "{error}");
    // Trusting another authority than the server's: the client does.
    let error = refused(&over_tls(address, Some(tls(&payments.authority, &other, "orders")))).await;
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    assert_eq!(error.kind, CallErrorKind::Connect);
    // Without a certificate.
    let error = no_certificate(address, &payments.authority).await;
    assert!(error.contains("certificate required") || error.contains("CertificateRequired"), "{error}");
    // Expired, on either side.
    let (past, yesterday) = (1_000_000_000, 1_700_000_000);
    let made = payments.authority.issue_between("orders", &[], past, yesterday).expect("a certificate");
    let expired = Tls::from_pem(
        payments.authority.certificate().as_bytes(),
        made.certificate.as_bytes(),
        made.key.as_bytes(),
    )
    .expect("usable but for its time");
    let error = refused(&over_tls(address, Some(expired.clone()))).await;
    assert!(error.to_string().to_lowercase().contains("expired"), "{error}");
    let late = serve_tls(Router::new().route("/", get(version)), &expired).await;
    let error = refused(&over_tls(late, Some(orders.clone()))).await;
    assert!(error.to_string().to_lowercase().contains("expired"), "{error}");
    // Of a host that is not the certificate's.
    let url = format!("https://127.0.0.2:{}", address.port());
    let transport = Transport { tls: Some(orders), ..Transport::default() };
    let elsewhere = ServiceHttpClient::with_transport(&url, "orders", Policy::plain(SOON), transport);
    let error = refused(&elsewhere.expect("a client")).await;
    assert!(matches!(error.kind, CallErrorKind::Connect), "{error}");
}

/// A client that trusts the authority and shows nothing.
async fn no_certificate(address: SocketAddr, authority: &Authority) -> String {
    let certificate = reqwest::Certificate::from_pem(authority.certificate().as_bytes()).expect("PEM");
    let client =
        reqwest::Client::builder().no_proxy().tls_certs_only([certificate]).build().expect("a client");
    let error = client.get(format!("https://{address}/")).send().await.expect_err("it must not be served");
    format!("{error:?}")
}

#[tokio::test]
async fn grpc_calls_take_both_certificates_and_tokens() {
    let side = Certified::new("users");
    let orders = key("orders");
    let tokens = Tokens::new("users", [orders.public()]);
    let address = format!("https://{}", serve_tls(users(&tokens), &side.tls).await);
    let source = TokenSource::new(orders);
    let certificate = tls(&side.authority, &side.authority, "orders");
    let client = |tls: Option<&Tls>, scopes: Option<&[&str]>| {
        let credentials = scopes.map(|scopes| source.for_audience("users", scopes));
        UserGrpcClient::secured(&address, "orders", Policy::plain(SOON), tls, credentials).expect("a client")
    };
    let user = client(Some(&certificate), Some(&["users:read"])).get_user("u-1").await.expect("it may");
    assert_eq!(user.name, "orders");
    for (scopes, code, says) in [
        (None, Code::Unauthenticated, "no token"),
        (Some(&["users:write"][..]), Code::PermissionDenied, "the scope users:read is missing"),
    ] {
        let status = client(Some(&certificate), scopes).get_user("u-1").await.expect_err(says);
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(says), "{status}");
    }
    // A method may want a scope of its own, and then no other.
    for (scope, code) in [("users:read", Code::PermissionDenied), ("users:write", Code::Unimplemented)] {
        let made = client(Some(&certificate), Some(&[scope])).create_user(CreateUserRequest::default()).await;
        assert_eq!(made.expect_err("refused, or not there").code(), code, "{scope}");
    }
    let other = Authority::new(7).expect("an authority");
    for wrong in [tls(&other, &side.authority, "orders"), tls(&side.authority, &other, "orders")] {
        let status = client(Some(&wrong), Some(&["users:read"])).get_user("u-1").await.expect_err("refused");
        assert!(matches!(status.code(), Code::Unavailable | Code::Unknown), "{status:?}");
    }
}

/// Runs `throughline certs`.
fn certs(arguments: &[&str]) -> std::process::Output {
    let binary = env!("CARGO_BIN_EXE_throughline");
    std::process::Command::new(binary).arg("certs").args(arguments).output().expect("it runs")
}

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().expect("it is there").permissions().mode() & 0o777
}

#[cfg(all(unix, feature = "dashboard", feature = "demo", feature = "load"))]
#[tokio::test]
async fn certs_makes_an_authority_and_overwrites_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = folder.path().join("certs");
    let text = at.to_str().expect("text").to_owned();
    let made = certs(&["--folder", &text, "--days", "2", "orders", "payments"]);
    assert!(made.status.success(), "{made:?}");
    let told = String::from_utf8_lossy(&made.stdout);
    let files = ["ca.pem", "ca.key", "orders.pem", "orders.key", "payments.pem", "payments.key"];
    for file in files {
        assert_eq!(mode(&at.join(file)), 0o600, "{file}");
        assert!(told.contains(file), "{told}");
    }
    assert_eq!(mode(&at), 0o700);
    let before: Vec<_> = files.iter().map(|file| std::fs::read(at.join(file)).expect("read")).collect();

    let address = serve_tls(
        Router::new().route("/", get(|| async { "1" })),
        &Tls::load(&at, "payments").expect("payments' own"),
    )
    .await;
    let orders = Tls::load(&at, "orders").expect("orders' own");
    assert_eq!(over_tls(address, Some(orders)).get::<u32>("/").await.expect("both are known"), 1);
    let error = Tls::load(&at, "nobody").expect_err("no such service");
    assert!(format!("{error:#}").contains("nobody.pem"), "{error:#}");

    let new = folder.path().join("new").to_str().expect("text").to_owned();
    for (arguments, says) in [
        (vec!["--folder", &text, "stock"], "ca.pem is there already"),
        (vec!["--folder", &text, "--days", "0", "stock"], "--days"),
        (vec!["--folder", &new, "../stock"], "no name of a service"),
        (vec!["--folder", &new, "--host", "a b", "stock"], "neither a host's name nor an address"),
    ] {
        let refused = certs(&arguments);
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && stderr.contains(says), "{arguments:?}: {stderr}");
    }
    for (file, before) in files.iter().zip(&before) {
        assert_eq!(&std::fs::read(at.join(file)).expect("read"), before, "{file} is as it was");
    }
    assert!(!at.join("stock.pem").exists() && !Path::new(&new).exists());
}

/// The gateway finds out who calls by the same tokens, before it asks anybody.
#[tokio::test]
async fn a_gateway_lets_through_who_has_a_token_for_it_with_the_scope() {
    let (orders, strangers) = (key("orders"), key("orders"));
    let tokens = Tokens::new("gateway", [orders.public()]).leeway(Duration::ZERO);
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let stock = Router::new().route(
        "/stock",
        get(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            async { "\"7\"" }
        }),
    );
    let upstream = Upstream::new("stock", &format!("http://{}", serve(stock).await)).expect("an upstream");
    let gateway = Gateway::new("gateway")
        .upstream(upstream)
        .authenticate(tokens.clone())
        .route(Route::get("/stock").to("stock", "/stock").access(Access::Scope("stock:read".into())));
    let address = serve(instrument(gateway.into_router().expect("a router"), "gateway")).await;
    let token = |of: &SigningKey, audience: &str, scopes: &[&str], lifetime: Duration| {
        let source = TokenSource::new(of.clone()).lifetime(lifetime);
        source.for_audience(audience, scopes).token().expect("a token")
    };
    let hour = Duration::from_secs(3_600);
    let expired = token(&orders, "gateway", &["stock:read"], Duration::from_secs(1));
    let deadline = tokio::time::Instant::now() + SOON;
    while tokens.check(&expired).is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "it never ends");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    for (token, status, says) in [
        (Some(token(&orders, "gateway", &["stock:read"], hour)), 200, "7"),
        (None, 401, "no token"),
        (Some(expired), 401, "it has expired"),
        (Some(token(&orders, "payments", &["stock:read"], hour)), 401, "another service than gateway"),
        (Some(token(&strangers, "gateway", &["stock:read"], hour)), 401, "token"),
        (Some(token(&orders, "gateway", &["stock:write"], hour)), 403, "the scope stock:read is missing"),
    ] {
        let request = client.get(format!("http://{address}/stock"));
        let request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status().as_u16(), status, "{says}");
        let text = answer.text().await.expect("text");
        assert!(text.contains(says), "{text}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "who is refused asks nobody behind it");
}
