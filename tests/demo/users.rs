//! The shop's users service as any gRPC client finds it: the guide's calls and codes, health, reflection.

use std::time::Duration;

use crate::demo_support::{Demo, Receiver};
use throughline::comms::grpc::UserGrpcClient;
use throughline::comms::grpc::user::CreateUserRequest;
use throughline::comms::resilience::Policy;
use throughline::comms::security::{SigningKey, TokenSource};
use tonic::Code;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

#[tokio::test(flavor = "multi_thread")]
async fn the_users_service_serves_the_guides_calls_health_and_reflection() {
    let (_receiver, otlp) = Receiver::start().await;
    // Somebody of our own, beside the shop's services.
    let key = SigningKey::generate("test").expect("a key");
    let demo = Demo::start_with(otlp, &[format!("--trust-key={}", key.public())]);
    let address = format!("http://{}", demo.services[2]);
    let policy = Policy::with_timeout(Duration::from_secs(20));
    let source = TokenSource::new(key);
    let client = |scopes: Option<&[&str]>| {
        let credentials = scopes.map(|scopes| source.for_audience("users", scopes));
        UserGrpcClient::secured(&address, "test", policy.clone(), None, credentials).expect("a client")
    };
    for (scopes, code) in
        [(None, Code::Unauthenticated), (Some(&["orders:read"][..]), Code::PermissionDenied)]
    {
        assert_eq!(client(scopes).get_user("u-1").await.expect_err("refused").code(), code);
    }
    // Who reads may not write, nor the other way.
    let asked = CreateUserRequest { email: "zoe@example.com".into(), name: "Zoe".into() };
    let refused = client(Some(&["users:read"])).create_user(asked).await.expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert!(refused.message().contains("users:write"), "{refused}");
    let refused = client(Some(&["users:write"])).get_user("u-1").await.expect_err("refused");
    assert_eq!(refused.code(), Code::PermissionDenied);
    let users = client(Some(&["users:read", "users:write"]));
    let asked = CreateUserRequest { email: "zoe@example.com".into(), name: "Zoe".into() };
    let made = users.create_user(asked).await.expect("created");
    assert_eq!(users.get_user(&made.id).await.expect("kept"), made);
    for (id, code) in [("u-unknown", Code::NotFound), ("", Code::InvalidArgument)] {
        assert_eq!(users.get_user(id).await.expect_err(id).code(), code, "{id:?}");
    }
    for (email, name) in [("", "Zoe"), ("zoe", "Zoe"), ("zoe@example.com", "")] {
        let asked = CreateUserRequest { email: email.into(), name: name.into() };
        let status = users.create_user(asked).await.expect_err("not usable");
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }

    let channel = Endpoint::try_from(address).expect("a URI").connect().await.expect("connected");
    let mut health = HealthClient::new(channel.clone());
    for service in ["", "user.UserService"] {
        let answer = health.check(HealthCheckRequest { service: service.into() }).await.expect("an answer");
        assert_eq!(answer.into_inner().status, 1, "{service:?} serves");
    }
    let mut reflection = ServerReflectionClient::new(channel);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = reflection.server_reflection_info(futures_util::stream::iter([request])).await;
    let answer = answers.expect("a stream").into_inner().message().await.expect("told").expect("an answer");
    assert!(format!("{answer:?}").contains("user.UserService"), "{answer:?}");
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_created_user_is_there_after_a_crash_and_a_broken_database_tells_nothing_inner() {
    let (_receiver, otlp) = Receiver::start().await;
    let key = SigningKey::generate("test").expect("a key");
    let demo = Demo::start_with(otlp, &[format!("--trust-key={}", key.public())]);
    let source = TokenSource::new(key);
    let address = format!("http://{}", demo.services[2]);
    // No channel to the process that is killed.
    let client = || {
        let scopes = ["users:read", "users:write"];
        let credentials = Some(source.for_audience("users", &scopes));
        let policy = Policy::with_timeout(Duration::from_secs(20));
        UserGrpcClient::secured(&address, "test", policy, None, credentials).expect("a client")
    };
    let asked = CreateUserRequest { email: "zoe@example.com".into(), name: "Zoe".into() };
    let made = client().create_user(asked).await.expect("created");
    let first = client().get_user("u-1").await.expect("from the start");
    demo.crash("users").await;
    assert_eq!(client().get_user(&made.id).await.expect("kept"), made);
    assert_eq!(client().get_user("u-1").await.expect("from the start"), first);
    let ids = vec![made.id.clone(), "u-unknown".into(), "u-1".into()];
    assert_eq!(client().get_users(&ids).await.expect("those there are"), [made.clone(), first]);

    let file = demo.dir.path().join("throughline-shop/users.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
    let book = sqlx::SqlitePool::connect_with(options).await.expect("its book");
    sqlx::query("DROP TABLE users").execute(&book).await.expect("broken");
    let status = client().get_user(&made.id).await.expect_err("no table");
    assert_eq!((status.code(), status.message()), (Code::Internal, "something went wrong here"));
}
