//! What every gRPC server offers beside its own services: the standard health service, for balancers and supervisors,
//! and server reflection, so that tools such as `grpcurl` know what can be called without its `.proto` files.
//!
//! Neither gets spans: who asks is a machine, every few seconds. Reflection tells everything that a server can do, so
//! one that strangers reach adds [`health`] alone.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

/// The description of the health service, for [`reflection`].
pub const HEALTH_DESCRIPTORS: &[u8] = tonic_health::pb::FILE_DESCRIPTOR_SET;

/// The name under which health is asked for the whole server.
const WHOLE_SERVER: &str = "";

/// What the health service tells; cheap to clone.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
    services: Arc<[String]>,
}

impl Health {
    /// Says of the server and of each of its services whether it serves; whoever watches is told.
    pub async fn set_serving(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in self.services.iter() {
            self.reporter.set_service_status(service, status).await;
        }
    }

    /// Waits for `stop` and then says that nothing is served any longer, so that new calls go elsewhere while those at
    /// hand are finished.
    pub async fn until(self, stop: CancellationToken) {
        stop.cancelled().await;
        self.set_serving(false).await;
    }
}

/// Adds `grpc.health.v1.Health`, which tells of the whole server (the empty name) and of each of `services`, such as
/// `user.UserService`, that they serve.
pub async fn health(routes: Routes, services: &[&str]) -> (Routes, Health) {
    let reporter = HealthReporter::new();
    let services = services.iter().copied().chain([WHOLE_SERVER]).map(str::to_owned).collect();
    let health = Health { reporter: reporter.clone(), services };
    health.set_serving(true).await;
    let service = HealthServer::new(HealthService::from_health_reporter(reporter));
    (routes.add_service(service), health)
}

/// Adds server reflection, `grpc.reflection.v1` and, for older tools, `v1alpha`. `descriptors` are encoded
/// `FileDescriptorSet`s with their imports, such as [`super::user::DESCRIPTORS`].
///
/// # Errors
/// What is given is no set of descriptors, or lacks an import.
pub fn reflection(routes: Routes, descriptors: &[&[u8]]) -> anyhow::Result<Routes> {
    let builder = || {
        let start = tonic_reflection::server::Builder::configure();
        descriptors.iter().fold(start, |builder, set| builder.register_encoded_file_descriptor_set(set))
    };
    let current = builder().build_v1().map_err(unfit)?;
    let older = builder().build_v1alpha().map_err(unfit)?;
    Ok(routes.add_service(current).add_service(older))
}

fn unfit(error: tonic_reflection::server::Error) -> anyhow::Error {
    anyhow::anyhow!("the descriptors for server reflection cannot be used: {error}")
}
