//! Knows the customers: the guide's `UserService` over gRPC, with fifty customers to begin with.
//! Those who are created stay.

use std::sync::Arc;

use opentelemetry::KeyValue;
use tonic::{Request, Response, Status};

use super::errors::internal;
use crate::comms::grpc::user::user_service_server::{UserService, UserServiceServer};
use crate::comms::grpc::user::{
    CreateUserRequest, DESCRIPTORS, GetUserRequest, GetUsersRequest, GetUsersResponse, User,
};
use crate::comms::security::AccessLayer;
use crate::demo::database::users::UserBook;
use crate::demo::security::scopes;
use crate::demo::service::{Parts, Shared};
use crate::demo::world::{Pace, note, query};

/// No more are taken: this is a demo.
const MOST: u32 = 10_000;
/// The one method that changes something.
const CREATE_USER: &str = "/user.UserService/CreateUser";
/// Users that are asked for at once.
const AT_ONCE: usize = 100;

const FIRST_NAMES: [&str; 10] =
    ["Ada", "Bela", "Chidi", "Dunja", "Emre", "Freya", "Goran", "Hana", "Ines", "Jonas"];

struct Users {
    pace: Pace,
    book: UserBook,
}

pub async fn build(shared: &Shared) -> anyhow::Result<Parts> {
    let first = (1..=50).map(|n| {
        let name = FIRST_NAMES[n % FIRST_NAMES.len()].to_owned();
        let email = format!("{}.{n}@example.com", name.to_lowercase());
        User { id: format!("u-{n}"), email, name, role: "customer".to_owned() }
    });
    let users = Users { pace: shared.pace, book: UserBook::open(&shared.settings, first).await? };
    let service = UserServiceServer::from_arc(Arc::new(users));
    let guard = shared.security.tokens.clone();
    let guard = guard.map(|tokens| AccessLayer::scope(tokens, scopes::USERS_READ));
    let guard = guard.map(|guard| guard.method(CREATE_USER, scopes::USERS_WRITE));
    let (router, told) = shared.grpc(service, DESCRIPTORS, guard).await?;
    Ok(Parts { router, consumers: vec![told] })
}

#[tonic::async_trait]
impl UserService for Users {
    async fn get_user(&self, request: Request<GetUserRequest>) -> Result<Response<User>, Status> {
        let id = request.into_inner().id;
        if !(1..=64).contains(&id.len()) {
            return Err(Status::invalid_argument("a user's ID has 1 to 64 bytes"));
        }
        note([KeyValue::new("user.id", id.clone())]);
        query(self.pace, "SELECT", "users", 2..12).await;
        let found = self.book.find(&id).await.map_err(internal)?;
        found.map(Response::new).ok_or_else(|| {
            tracing::warn!(user.id = %id, "unknown user");
            Status::not_found("User not found")
        })
    }

    async fn get_users(
        &self,
        request: Request<GetUsersRequest>,
    ) -> Result<Response<GetUsersResponse>, Status> {
        let ids = request.into_inner().ids;
        if ids.len() > AT_ONCE || ids.iter().any(|id| !(1..=64).contains(&id.len())) {
            return Err(Status::invalid_argument(format!("at most {AT_ONCE} IDs of 1 to 64 bytes")));
        }
        query(self.pace, "SELECT", "users", 3..15).await;
        let known = self.book.find_all(&ids).await.map_err(internal)?;
        let users = ids.iter().filter_map(|id| known.get(id).cloned()).collect();
        Ok(Response::new(GetUsersResponse { users }))
    }

    async fn create_user(&self, request: Request<CreateUserRequest>) -> Result<Response<User>, Status> {
        let CreateUserRequest { email, name } = request.into_inner();
        if !(3..=254).contains(&email.len()) || !email.contains('@') || name.is_empty() || name.len() > 200 {
            return Err(Status::invalid_argument("a user needs an e-mail address and a name"));
        }
        query(self.pace, "INSERT", "users", 3..15).await;
        let id = format!("u-{}", uuid::Uuid::now_v7().simple());
        let user = User { id, email, name, role: "customer".to_owned() };
        if !self.book.add(&user, MOST).await.map_err(internal)? {
            return Err(Status::resource_exhausted("no more users"));
        }
        tracing::info!(user.id = %user.id, "user created");
        Ok(Response::new(user))
    }
}
