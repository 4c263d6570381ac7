//! A gRPC service with health and reflection, and a caller: an answer, a refusal, a deadline that goes with the call, and a
//! breaker that opens when the service is gone.
//!
//! ```text
//! cargo run --example grpc --no-default-features --features comms -- http://127.0.0.1:4317
//! ```
//!
//! With a dashboard at that address, each call is a span on both sides, all under the correlation ID that is printed.

use std::time::Duration;

use throughline::comms::breaker::{BreakerConfig, Window};
use throughline::comms::correlation::{self, CorrelationId};
use throughline::comms::deadline;
use throughline::comms::grpc::user::user_service_server::{SERVICE_NAME, UserService, UserServiceServer};
use throughline::comms::grpc::user::{
    CreateUserRequest, DESCRIPTORS, GetUserRequest, GetUsersRequest, GetUsersResponse, User,
};
use throughline::comms::grpc::{GrpcServerLayer, UserGrpcClient, is_rejected, standard};
use throughline::comms::resilience::Policy;
use throughline::telemetry;
use tokio_util::sync::CancellationToken;
use tonic::service::{LayerExt as _, Routes};
use tonic::{Request, Response, Status};

struct Users;

#[tonic::async_trait]
impl UserService for Users {
    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<User>, Status> {
        let id = request.into_inner().id;
        // How long the caller still waits, as its client has said.
        let left = deadline::current().map(|until| until - tokio::time::Instant::now());
        tracing::info!(id, ?left, "looked for");
        match id.as_str() {
            "u-7" => Ok(Response::new(User { id, name: "Ada".into(), ..User::default() })),
            "u-slow" => std::future::pending().await,
            _ => Err(Status::not_found("there is no such user")),
        }
    }

    async fn get_users(&self, _: Request<GetUsersRequest>) -> Result<Response<GetUsersResponse>, Status> {
        Err(Status::unimplemented("one by one, please"))
    }

    async fn create_user(&self, request: Request<CreateUserRequest>) -> Result<Response<User>, Status> {
        let CreateUserRequest { email, name } = request.into_inner();
        if !email.contains('@') {
            return Err(Status::invalid_argument("`email` is no e-mail address"));
        }
        Ok(Response::new(User { id: "u-8".into(), email, name, role: "customer".into() }))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let telemetry = telemetry::init(&telemetry::Settings {
        otlp_endpoint: std::env::args().nth(1),
        ..telemetry::Settings::new("users", "1.0.0")
    })?;
    let stop = CancellationToken::new();
    let routes = Routes::new(GrpcServerLayer::new("users").named_layer(UserServiceServer::new(Users)));
    let (routes, health) =
        standard::health(standard::reflection(routes, &[DESCRIPTORS])?, &[SERVICE_NAME]).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let ended = stop.clone();
    let serving = tokio::spawn(async move {
        let served = axum::serve(listener, routes.into_axum_router());
        tokio::join!(served.with_graceful_shutdown(ended.clone().cancelled_owned()), health.until(ended)).0
    });

    let breaker = BreakerConfig { window: Window::Calls(4), minimum_calls: 4, ..BreakerConfig::default() };
    let policy =
        Policy { breaker: Some(breaker), retry: None, ..Policy::with_timeout(Duration::from_secs(2)) };
    let users = UserGrpcClient::with_policy(&address, "orders", policy)?;
    let id = CorrelationId::generate("orders");
    correlation::scope(id.clone(), async {
        println!("u-7: {:?}", users.get_user("u-7").await.map(|user| user.name));
        println!("u-9: {:?}", users.get_user("u-9").await.map_err(|status| status.code()));
        let refused =
            users.create_user(CreateUserRequest { email: "nowhere".into(), name: "Eve".into() }).await;
        println!("an address without @: {:?}", refused.map_err(|status| status.message().to_owned()));
        println!(
            "one who does not answer: {:?}",
            users.get_user("u-slow").await.map_err(|status| status.code())
        );

        stop.cancel();
        serving.await.expect("it served")?;
        for _ in 0..5 {
            let status = users.get_user("u-7").await.expect_err("nobody is there");
            println!(
                "gone: {:?}, {}",
                status.code(),
                if is_rejected(&status) { "not even called" } else { "called" }
            );
        }
        anyhow::Ok(())
    })
    .await?;
    println!("correlation ID {id}");
    telemetry.shutdown().await;
    Ok(())
}
