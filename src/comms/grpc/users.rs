//! A client for the `UserService`: connects when first needed, and again when the connection was lost.

use std::time::Duration;

use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tower::Layer as _;

use super::client::{GrpcClient, GrpcClientLayer};
use super::user::user_service_client::UserServiceClient;
use super::user::{CreateUserRequest, GetUserRequest, User};

/// A client for the `UserService`; cheap to clone.
#[derive(Clone)]
pub struct UserGrpcClient {
    client: UserServiceClient<GrpcClient<Channel>>,
}

impl UserGrpcClient {
    /// A client that calls `address` (such as `http://127.0.0.1:7082`) on behalf of `service_name`. It must be
    /// made within a runtime; the connection is made with the first call.
    ///
    /// # Errors
    /// The address is not a URI.
    pub fn new(address: &str, service_name: &str, timeout: Duration) -> anyhow::Result<Self> {
        let uri: Uri = address.parse().map_err(|e| anyhow::anyhow!("`{address}` is not a URI: {e}"))?;
        let channel = Endpoint::from(uri.clone())
            .connect_timeout(timeout.min(Duration::from_secs(2)))
            .timeout(timeout)
            .connect_lazy();
        let layer = GrpcClientLayer::new(service_name, "users", uri);
        Ok(Self { client: UserServiceClient::new(layer.layer(channel)) })
    }

    /// # Errors
    /// The call's status: `NOT_FOUND` where there is no such user.
    pub async fn get_user(&self, id: &str) -> Result<User, Status> {
        let request = Request::new(GetUserRequest { id: id.to_owned() });
        Ok(self.client.clone().get_user(request).await?.into_inner())
    }

    /// # Errors
    /// The call's status: `INVALID_ARGUMENT` where e-mail or name are unusable.
    pub async fn create_user(&self, request: CreateUserRequest) -> Result<User, Status> {
        Ok(self.client.clone().create_user(Request::new(request)).await?.into_inner())
    }
}
