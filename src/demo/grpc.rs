//! Serving gRPC in the shop: spans and metrics, the failures of the scenarios, tokens; health and reflection beside it.

use std::convert::Infallible;

use axum::Router;
use futures_util::future::BoxFuture;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, Response};
use tonic::server::NamedService;
use tonic::service::{LayerExt as _, Routes};

use super::faults::FaultLayer;
use super::service::Shared;
use crate::comms::grpc::{GrpcServerLayer, standard};
use crate::comms::queue::BrokerError;
use crate::comms::security::AccessLayer;

/// What has to run beside the routes, among [`super::service::Parts::consumers`].
type Beside = BoxFuture<'static, Result<(), BrokerError>>;

impl Shared {
    /// The routes of a gRPC service, described by `descriptors`, with what has to run so that health tells of the end. `guard`
    /// says what it wants of its callers, where the shop has tokens at all.
    ///
    /// # Errors
    /// The description is none.
    pub async fn grpc<S>(
        &self,
        service: S,
        descriptors: &[u8],
        guard: Option<AccessLayer>,
    ) -> anyhow::Result<(Router, Beside)>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + NamedService,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let (span, faults) = (GrpcServerLayer::new(self.name()), FaultLayer::new(self));
        // The span around the rest, so that failures and refusals are seen.
        let routes = match guard {
            Some(guard) => Routes::new(span.named_layer(faults.named_layer(guard.named_layer(service)))),
            None => Routes::new(span.named_layer(faults.named_layer(service))),
        };
        let routes = standard::reflection(routes, &[descriptors, standard::HEALTH_DESCRIPTORS])?;
        let (routes, health) = standard::health(routes, &[S::NAME]).await;
        let stop = self.stop.clone();
        let told = Box::pin(async move {
            health.until(stop).await;
            Ok(())
        });
        Ok((routes.into_axum_router(), told))
    }
}
