//! gRPC as other programs see it: health and reflection by their own clients, the guide's codes, what a panic becomes,
//! and a deadline that goes through a service to the one behind it.

use crate::common::serve;
use std::net::SocketAddr;
use std::time::Duration;

use opentelemetry::trace::SpanKind;
use throughline::comms::breaker::{BreakerConfig, Window};
use throughline::comms::correlation::{self, CorrelationId};
use throughline::comms::deadline;
use throughline::comms::grpc::user::user_service_server::{SERVICE_NAME, UserService, UserServiceServer};
use throughline::comms::grpc::user::{
    CreateUserRequest, DESCRIPTORS, GetUserRequest, GetUsersRequest, GetUsersResponse, User,
};
use throughline::comms::grpc::{GrpcServerLayer, UserGrpcClient, standard};
use throughline::comms::resilience::Policy;
use throughline::telemetry::testing::SpanRecorder;
use tokio_util::sync::CancellationToken;
use tonic::service::{LayerExt as _, Routes};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

const PATIENT: Duration = Duration::from_secs(20);

/// The guide's service: what is asked of it decides how it answers. One that stands before another asks that one.
struct Users {
    behind: Option<UserGrpcClient>,
}

#[tonic::async_trait]
impl UserService for Users {
    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<User>, Status> {
        let id = request.into_inner().id;
        if let Some(behind) = &self.behind {
            return behind.get_user(&id).await.map(Response::new);
        }
        match id.as_str() {
            "nobody" => Err(Status::not_found("User not found")),
            "broken" => panic!("the password is hunter2"),
            "slow" => std::future::pending().await,
            _ => {
                let until = deadline::current().expect("a deadline");
                let left = until.saturating_duration_since(tokio::time::Instant::now()).as_millis();
                Ok(Response::new(User { id, name: left.to_string(), ..User::default() }))
            }
        }
    }

    async fn get_users(&self, _: Request<GetUsersRequest>) -> Result<Response<GetUsersResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn create_user(&self, request: Request<CreateUserRequest>) -> Result<Response<User>, Status> {
        let CreateUserRequest { email, name } = request.into_inner();
        if !email.contains('@') {
            return Err(Status::invalid_argument("a user needs an e-mail address"));
        }
        Ok(Response::new(User { id: "u-1".into(), email, name, role: "customer".into() }))
    }
}

fn users(behind: Option<UserGrpcClient>) -> Routes {
    Routes::new(GrpcServerLayer::new("users").named_layer(UserServiceServer::new(Users { behind })))
}

fn client(address: SocketAddr) -> UserGrpcClient {
    UserGrpcClient::new(&format!("http://{address}"), "caller", PATIENT).expect("a client")
}

async fn channel(address: SocketAddr) -> Channel {
    Endpoint::try_from(format!("http://{address}")).expect("a URI").connect().await.expect("connected")
}

#[tokio::test]
async fn the_guides_calls_answer_with_the_guides_codes() {
    let client = client(serve(users(None).into_axum_router()).await);
    let request = CreateUserRequest { email: "ada@example.com".into(), name: "Ada".into() };
    let user = client.create_user(request).await.expect("created");
    assert_eq!(
        (user.id.as_str(), user.email.as_str(), user.role.as_str()),
        ("u-1", "ada@example.com", "customer")
    );
    let status = client.create_user(CreateUserRequest::default()).await.expect_err("no address");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("e-mail"), "{status}");
    let status = client.get_user("nobody").await.expect_err("nobody");
    assert_eq!((status.code(), status.message()), (Code::NotFound, "User not found"));
}

#[tokio::test]
async fn a_panic_is_internal_to_the_caller_and_an_error_on_the_span() {
    let recorder = SpanRecorder::install();
    let client = client(serve(users(None).into_axum_router()).await);
    let id = CorrelationId::generate("test");
    let status = correlation::scope(id.clone(), client.get_user("broken")).await.expect_err("it panics");
    assert_eq!((status.code(), status.message()), (Code::Internal, "Internal error"));
    let spans = recorder.wait(&id, PATIENT, |spans| spans.len() == 2).await;
    spans.one_of(&SpanKind::Server, "user.UserService/GetUser").failed_with("INTERNAL");
    spans.are_one_trace();
    // The connection and the server are as they were.
    client.get_user("u-1").await.expect("a user");
}

#[tokio::test]
async fn a_deadline_goes_through_a_service_to_the_one_behind_it() {
    let last = client(serve(users(None).into_axum_router()).await);
    let middle = client(serve(users(Some(last)).into_axum_router()).await);
    let sooner = tokio::time::Instant::now() + Duration::from_secs(8);
    let user = deadline::scope(sooner, middle.get_user("u-1")).await.expect("a user");
    let left: u64 = user.name.parse().expect("milliseconds");
    assert!((1..=8_000).contains(&left), "{left} ms of 8 s");
    let soon = tokio::time::Instant::now() + Duration::from_millis(300);
    let status = deadline::scope(soon, middle.get_user("slow")).await.expect_err("no answer");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
}

async fn health_of(client: &mut HealthClient<Channel>, service: &str) -> Result<i32, Code> {
    let request = HealthCheckRequest { service: service.to_owned() };
    client.check(request).await.map(|answer| answer.into_inner().status).map_err(|status| status.code())
}

#[tokio::test]
async fn health_is_told_by_service_and_ends_with_the_service() {
    const SERVING: i32 = 1;
    const NOT_SERVING: i32 = 2;
    let (routes, health) = standard::health(users(None), &[SERVICE_NAME]).await;
    let mut client = HealthClient::new(channel(serve(routes.into_axum_router()).await).await);
    for service in ["", "user.UserService"] {
        assert_eq!(health_of(&mut client, service).await, Ok(SERVING), "{service:?}");
    }
    assert_eq!(health_of(&mut client, "order.OrderService").await, Err(Code::NotFound));
    // Who watches is told at the end.
    let watch = HealthCheckRequest { service: SERVICE_NAME.to_owned() };
    let mut told = client.watch(watch).await.expect("a stream").into_inner();
    assert_eq!(told.message().await.expect("told").expect("a status").status, SERVING);
    let stop = CancellationToken::new();
    let until = tokio::spawn(health.until(stop.clone()));
    stop.cancel();
    assert_eq!(told.message().await.expect("told").expect("a status").status, NOT_SERVING);
    until.await.expect("ended");
    for service in ["", "user.UserService"] {
        assert_eq!(health_of(&mut client, service).await, Ok(NOT_SERVING), "{service:?}");
    }
}

async fn ask(
    client: &mut ServerReflectionClient<Channel>,
    what: MessageRequest,
) -> Result<Option<MessageResponse>, Status> {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(what) };
    let answers = client.server_reflection_info(futures_util::stream::iter([request])).await?;
    let answer: Option<ServerReflectionResponse> = answers.into_inner().message().await?;
    Ok(answer.expect("an answer").message_response)
}

#[tokio::test]
async fn reflection_tells_what_can_be_called() {
    let routes =
        standard::reflection(users(None), &[DESCRIPTORS, standard::HEALTH_DESCRIPTORS]).expect("they fit");
    let mut client = ServerReflectionClient::new(channel(serve(routes.into_axum_router()).await).await);
    let listed = ask(&mut client, MessageRequest::ListServices(String::new())).await;
    let Ok(Some(MessageResponse::ListServicesResponse(listed))) = listed else { panic!("{listed:?}") };
    let mut names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    names.sort();
    assert_eq!(names, ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "user.UserService"]);
    let file =
        ask(&mut client, MessageRequest::FileContainingSymbol("user.UserService.GetUser".into())).await;
    let Ok(Some(MessageResponse::FileDescriptorResponse(file))) = file else { panic!("{file:?}") };
    let text = String::from_utf8_lossy(&file.file_descriptor_proto[0]).into_owned();
    assert!(text.contains("GetUserRequest") && text.contains("CreateUser"), "{text}");
    let unknown = ask(&mut client, MessageRequest::FileContainingSymbol("order.OrderService".into())).await;
    assert_eq!(unknown.expect_err("not here").code(), Code::NotFound);
    let error = standard::reflection(users(None), &[b"no descriptors"]).expect_err("refused");
    assert!(error.to_string().contains("descriptors"), "{error}");
}

/// Who brings little time says nothing about the service: its breaker stays closed, and without any time left nothing is asked.
#[tokio::test]
async fn a_callers_own_deadline_opens_no_breaker() {
    let recorder = SpanRecorder::install();
    let address = serve(users(None).into_axum_router()).await;
    let breaker = BreakerConfig { window: Window::Calls(2), minimum_calls: 2, ..BreakerConfig::default() };
    let policy = Policy { breaker: Some(breaker), retry: None, ..Policy::with_timeout(PATIENT) };
    let client =
        UserGrpcClient::with_policy(&format!("http://{address}"), "hasty", policy).expect("a client");
    let id = CorrelationId::parse("test-grpc-hasty").expect("an ID");
    correlation::scope(id.clone(), async {
        for left in
            [Duration::from_millis(30), Duration::from_millis(30), Duration::from_millis(30), Duration::ZERO]
        {
            let until = tokio::time::Instant::now() + left;
            let status = deadline::scope(until, client.get_user("slow")).await.expect_err("nobody waits");
            assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        }
        client.get_user("anyone").await.expect("the breaker is closed");
    })
    .await;
    let spans = recorder.of(&id);
    let asked = spans.iter().filter(|span| span.0.span_kind == SpanKind::Client).count();
    assert_eq!(asked, 5, "a call that has no time is told too");
}
