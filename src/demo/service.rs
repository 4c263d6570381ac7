//! Running one service: telemetry, broker, listening, consuming, and an orderly end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use axum::serve::ListenerExt as _;
use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::broker::Named;
use super::faults::FaultLayer;
use super::inventory::InventoryGrpcClient;
use super::scenarios::{Effect, Switches};
use super::security::Security;
use super::shop::{self, ServiceName};
use super::world::Pace;
use super::{messages, services};
use crate::comms::gateway::Upstream;
use crate::comms::grpc::UserGrpcClient;
use crate::comms::http::{ServiceHttpClient, instrument};
use crate::comms::names::SYSTEM_RABBITMQ;
use crate::comms::queue::{
    Broker, BrokerError, Consumer, Contracts, Failure, Message, Publisher, Received, RetryPolicy, depth,
    outbox,
};
use crate::comms::resilience::Policy;
use crate::comms::security::{AccessLayer, Tls, TlsListener};
use crate::comms::shutdown;
use crate::comms::testing::LosableBroker;
use crate::config::demo::{OtlpCompression, ServiceSettings, address};
use crate::telemetry;

/// How long requests and messages at hand may take at the end.
const DRAIN: Duration = Duration::from_secs(8);

/// What every service has at hand; cheap to clone.
#[derive(Clone)]
pub struct Shared {
    pub settings: Arc<ServiceSettings>,
    pub pace: Pace,
    pub broker: Arc<dyn Broker>,
    pub publisher: Publisher,
    pub contracts: Contracts,
    pub scenarios: Switches,
    pub security: Security,
    pub stop: CancellationToken,
}

/// A service, ready to run.
pub struct Parts {
    pub router: Router,
    pub consumers: Vec<BoxFuture<'static, Result<(), BrokerError>>>,
}

impl Shared {
    /// A client for another service of the shop.
    ///
    /// # Errors
    /// The address is not a URL.
    pub fn client(&self, peer: ServiceName, url: &str) -> anyhow::Result<ServiceHttpClient> {
        self.client_with(peer, url, Policy::default())
    }

    /// As [`Self::client`], with a policy of its own.
    ///
    /// # Errors
    /// The address is not a URL.
    pub fn client_with(
        &self,
        peer: ServiceName,
        url: &str,
        policy: Policy,
    ) -> anyhow::Result<ServiceHttpClient> {
        let transport = self.security.transport();
        let client = ServiceHttpClient::with_transport(url, self.name(), policy, transport)?;
        let credentials = self.security.credentials(self.settings.name, peer);
        Ok(credentials.into_iter().fold(client.with_peer(peer.text()), ServiceHttpClient::with_credentials))
    }

    /// Another service of the shop, for a gateway to pass requests on to.
    ///
    /// # Errors
    /// The address is not a URL.
    pub fn upstream(&self, peer: ServiceName, url: &str, policy: Policy) -> anyhow::Result<Upstream> {
        let upstream = Upstream::with_policy(peer.text(), url, policy, self.security.transport())?;
        let credentials = self.security.credentials(self.settings.name, peer);
        Ok(credentials.into_iter().fold(upstream, Upstream::with_credentials))
    }

    /// A client for the users service.
    ///
    /// # Errors
    /// The address is not a URI.
    pub fn users(&self, timeout: Duration) -> anyhow::Result<UserGrpcClient> {
        let credentials = self.security.credentials(self.settings.name, ServiceName::Users);
        let (policy, tls) = (Policy::with_timeout(timeout), self.security.tls.as_ref());
        UserGrpcClient::secured(&self.settings.users_url, self.name(), policy, tls, credentials)
    }

    /// A client for the inventory service, for who reserves.
    ///
    /// # Errors
    /// The address is not a URI.
    pub fn inventory(&self) -> anyhow::Result<InventoryGrpcClient> {
        InventoryGrpcClient::new(&self.settings, &self.security, &Policy::default())
    }

    /// Lets only those to a router's routes whose token has a scope, where the shop has tokens at all.
    pub fn guard<S: Clone + Send + Sync + 'static>(&self, router: Router<S>, scope: &str) -> Router<S> {
        match &self.security.tokens {
            Some(tokens) => router.layer(AccessLayer::scope(tokens.clone(), scope)),
            None => router,
        }
    }

    /// A service's routes with spans, metrics and the correlation ID, and with the failures of the scenarios.
    pub fn instrument(&self, router: Router) -> Router {
        instrument(router.layer(FaultLayer::new(self)), self.name())
    }

    pub fn name(&self) -> &'static str {
        self.settings.name.text()
    }

    /// A message for the shop's exchange, in the newest version of its type, which is also its key. A handler that runs
    /// twice makes the same message twice. It goes into an outbox.
    ///
    /// # Errors
    /// It does not fit its contract: a mistake of this service.
    pub fn message(&self, key: &'static str, body: &impl serde::Serialize) -> Result<Message, Failure> {
        Ok(self.contracts.message(key, body)?.once_per_cause())
    }

    /// Publishes a message beside one of that key that nobody can read, now and then, where a scenario wants it.
    pub async fn poison(&self, key: &'static str) {
        for effect in self.scenarios.effects() {
            if let Effect::Poison { key: poisoned, share } = effect
                && poisoned == key
                && rand::random_bool(share)
                && let Ok(message) = Message::json(key, 1, &"not what it should be")
                && let Err(error) = self.publisher.publish(shop::EXCHANGE, key, message).await
            {
                tracing::warn!(%error, key, "the scenario's message was not sent");
            }
        }
    }

    /// Sends what is in a service's outbox, to be run among [`Parts::consumers`].
    pub fn relay(&self, relay: outbox::Relay) -> BoxFuture<'static, Result<(), BrokerError>> {
        let stop = self.stop.clone();
        Box::pin(async move {
            relay.run(stop).await;
            Ok(())
        })
    }

    /// A consumer of a queue with the shop's retry policy, to be run among [`Parts::consumers`]. Its handler gets what
    /// fits its contract, in the newest version.
    pub fn consumer<H, Fut>(&self, queue: &str, handler: H) -> BoxFuture<'static, Result<(), BrokerError>>
    where
        H: Fn(Received) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let policy =
            RetryPolicy { first_delay: self.settings.behaviour.retry_delay(), ..RetryPolicy::default() };
        let consumer = Consumer::new(Arc::clone(&self.broker), queue).policy(policy);
        let (scenarios, queue) = (self.scenarios.clone(), queue.to_owned());
        let slowed = move |received: Received| {
            let (handler, delay) = (handler.clone(), scenarios.delay(&queue));
            async move {
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                handler(received).await
            }
        };
        Box::pin(consumer.run(self.stop.clone(), self.contracts.clone().guard(slowed)))
    }
}

/// Reads a message's body, which fits its contract; one of another shape can never be handled.
///
/// # Errors
/// A permanent failure.
pub fn decode<T: serde::de::DeserializeOwned>(received: &Received) -> Result<T, Failure> {
    received.message.decode().map_err(|error| Failure::permanent("malformed_message", error.to_string()))
}

/// Runs a service until the process is asked to end.
///
/// # Errors
/// A setting is wrong, the port is in use, the broker's file cannot be opened, or a part failed.
pub async fn run(settings: ServiceSettings) -> anyhow::Result<()> {
    let name = settings.name;
    let guard = telemetry::init(&telemetry::Settings {
        service_name: name.text().to_owned(),
        service_version: settings.service_version.clone(),
        service_namespace: Some("shop".to_owned()),
        otlp_endpoint: Some(settings.otlp_endpoint.clone()).filter(|e| !e.is_empty()),
        otlp_protocol: settings.otlp_protocol.into(),
        otlp_gzip: settings.otlp_compression == OtlpCompression::Gzip,
        log_format: settings.log_format.into(),
        log_filter: settings.log.clone(),
    })?;
    let result = serve(settings).await;
    guard.shutdown().await;
    result
}

async fn serve(settings: ServiceSettings) -> anyhow::Result<()> {
    let asked = shutdown::wait(settings.end_with_stdin);
    let stop = asked.token();
    let address = settings.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], settings.name.port())));
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!(
            "{} cannot listen on {address}; choose another with --listen or THROUGHLINE_SERVICE_LISTEN",
            settings.name.text()
        )
    })?;
    let scenarios = Switches::of(&settings.scenarios);
    let broker = broker(&settings, scenarios.clone()).await?;
    let result = consume_and_serve(settings, listener, (Arc::clone(&broker), scenarios), stop).await;
    broker.close().await;
    result
}

/// The broker of the settings, behind a connection that a scenario can cut.
async fn broker(settings: &ServiceSettings, scenarios: Switches) -> anyhow::Result<Arc<dyn Broker>> {
    let (rabbitmq, kafka) = (address(settings.rabbitmq.as_ref()), address(settings.kafka.as_ref()));
    let named = Named::of(rabbitmq, settings.rabbitmq_ca.clone(), kafka, &settings.broker)?;
    let broker = named.connect(settings.name.text(), None).await?;
    // Queues are declared before anything else, and a service that cannot start would show nothing.
    shop::declare(broker.as_ref()).await?;
    Ok(Arc::new(LosableBroker::new(broker, move || scenarios.broker_is_lost())))
}

async fn consume_and_serve(
    settings: ServiceSettings,
    listener: TcpListener,
    (broker, scenarios): (Arc<dyn Broker>, Switches),
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let shared = Shared {
        pace: Pace(settings.behaviour.latency),
        publisher: Publisher::new(Arc::clone(&broker)),
        contracts: messages::contracts()?,
        scenarios,
        security: Security::of(&settings)?,
        settings: Arc::new(settings),
        broker,
        stop: stop.clone(),
    };
    let mut parts = services::build(&shared).await?;
    // The dashboard asks nobody but RabbitMQ, so one of those that share another broker tells how many messages wait.
    if shared.settings.name == ServiceName::Notifications && shared.broker.system() != SYSTEM_RABBITMQ {
        parts.consumers.push(Box::pin(depth::tell(Arc::clone(&shared.broker), stop.clone())));
    }
    tracing::info!(address = %listener.local_addr()?, "{} is listening", shared.name());
    // Customers have no certificates: the gateway's own door is as it was.
    let tls = shared.security.tls.clone().filter(|_| shared.settings.name != ServiceName::Gateway);
    run_parts(listener, parts, tls, stop).await
}

/// Serves and consumes until `stop`, then lets what is at hand finish. A part that fails ends the others.
async fn run_parts(
    listener: TcpListener,
    parts: Parts,
    tls: Option<Tls>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let health = Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(|| async { (StatusCode::OK, "ready") }));
    let router = parts.router.merge(health);
    let mut running: JoinSet<anyhow::Result<()>> = JoinSet::new();
    let stopped = stop.clone().cancelled_owned();
    running.spawn(async move {
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        match tls {
            None => axum::serve(listener, service).with_graceful_shutdown(stopped).await?,
            Some(tls) => {
                let listener = TlsListener::new(listener, &tls)?.tap_io(|_| ());
                axum::serve(listener, service).with_graceful_shutdown(stopped).await?;
            }
        }
        Ok(())
    });
    for consumer in parts.consumers {
        running.spawn(async move { Ok(consumer.await?) });
    }
    let mut result = Ok(());
    let mut deadline = None;
    loop {
        let ended = match deadline {
            None => tokio::select! {
                ended = running.join_next() => ended,
                () = stop.cancelled() => {
                    deadline = Some(tokio::time::Instant::now() + DRAIN);
                    continue;
                }
            },
            Some(deadline) => match tokio::time::timeout_at(deadline, running.join_next()).await {
                Ok(ended) => ended,
                Err(_) => {
                    tracing::warn!("some requests or messages were still at hand at the end");
                    break;
                }
            },
        };
        match ended {
            None => break,
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => result = result.and(Err(error)),
            Some(Err(error)) => result = result.and(Err(error.into())),
        }
        if result.is_err() {
            stop.cancel();
        }
    }
    result
}
