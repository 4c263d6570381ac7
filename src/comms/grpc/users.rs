//! A client for the `UserService`: connects when first needed, and again when the connection was lost.

use std::time::Duration;

use tonic::transport::Channel;
use tonic::{Request, Status};

use super::channel::channel;
use super::client::GrpcClient;
use super::user::user_service_client::UserServiceClient;
use super::user::{CreateUserRequest, GetUserRequest, GetUsersRequest, User};
use crate::comms::deadline;
use crate::comms::resilience::{Policy, Retry};
use crate::comms::security::{Credentials, Tls};

/// The name of the called service.
const PEER: &str = "users";

/// A client for the `UserService`; cheap to clone.
#[derive(Clone)]
pub struct UserGrpcClient {
    client: UserServiceClient<GrpcClient<Channel>>,
    timeout: Duration,
    retry: Option<Retry>,
}

impl UserGrpcClient {
    /// A client that calls `address` (such as `http://127.0.0.1:7082`) on behalf of `service_name`, with the default
    /// policy but for the timeout. It must be made within a runtime; the connection is made with the first call.
    ///
    /// # Errors
    /// The address is not a URI.
    pub fn new(address: &str, service_name: &str, timeout: Duration) -> anyhow::Result<Self> {
        Self::with_policy(address, service_name, Policy::with_timeout(timeout))
    }

    /// As [`Self::new`], with timeout, retries and breaker as the policy says.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_policy(address: &str, service_name: &str, policy: Policy) -> anyhow::Result<Self> {
        Self::secured(address, service_name, policy, None, None)
    }

    /// As [`Self::with_policy`], with a certificate of its own for an address that begins with `https`, and with a token.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn secured(
        address: &str,
        service_name: &str,
        policy: Policy,
        tls: Option<&Tls>,
        credentials: Option<Credentials>,
    ) -> anyhow::Result<Self> {
        let channel = channel(address, service_name, PEER, &policy, tls, credentials)?;
        let Policy { timeout, retry, .. } = policy;
        Ok(Self { client: UserServiceClient::new(channel), timeout, retry })
    }

    /// Tried again while the service is away, within the client's budget.
    ///
    /// # Errors
    /// The call's status: `NOT_FOUND` where there is no such user.
    pub async fn get_user(&self, id: &str) -> Result<User, Status> {
        let until = deadline::within(self.timeout);
        let attempt = |_| {
            let request = Request::new(GetUserRequest { id: id.to_owned() });
            let mut client = self.client.clone();
            deadline::scope(until, async move { Ok(client.get_user(request).await?.into_inner()) })
        };
        match &self.retry {
            Some(retry) => retry.run(Some(until), attempt).await,
            None => attempt(0).await,
        }
    }

    /// Several at once; those who are unknown are left out. Tried again while the service is away.
    ///
    /// # Errors
    /// The call's status: `INVALID_ARGUMENT` where they are too many or an ID is none.
    pub async fn get_users(&self, ids: &[String]) -> Result<Vec<User>, Status> {
        let until = deadline::within(self.timeout);
        let attempt = |_| {
            let request = Request::new(GetUsersRequest { ids: ids.to_vec() });
            let mut client = self.client.clone();
            deadline::scope(until, async move { Ok(client.get_users(request).await?.into_inner().users) })
        };
        match &self.retry {
            Some(retry) => retry.run(Some(until), attempt).await,
            None => attempt(0).await,
        }
    }

    /// # Errors
    /// The call's status: `INVALID_ARGUMENT` where e-mail or name are unusable.
    pub async fn create_user(&self, request: CreateUserRequest) -> Result<User, Status> {
        Ok(self.client.clone().create_user(Request::new(request)).await?.into_inner())
    }
}
