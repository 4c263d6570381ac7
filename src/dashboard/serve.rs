//! The dashboard as a process: opens the store, binds the addresses, serves, and ends in the order of the flow.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ops::{self, Ops};
use super::receive::{self, Receiver, counters::Counters};
use super::selftest::Sender;
use super::status::Status;
use super::store::{Limits, OpenError, Store};
use super::view::{self, PageSettings, PageState};

/// How long a shutdown waits for requests under way.
const DRAIN: Duration = Duration::from_secs(5);

/// What the dashboard needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    pub listen: SocketAddr,
    pub otlp_grpc: SocketAddr,
    pub otlp_http: SocketAddr,
    pub store: PathBuf,
    pub limits: Limits,
    pub receive: receive::Settings,
    /// Host names of the pages besides the loopback ones.
    pub hosts: Vec<String>,
    /// Listen beyond loopback although the pages have no keys.
    pub allow_remote: bool,
    /// Whether this is the dashboard of `throughline demo`.
    pub demo: bool,
}

/// Why the dashboard did not start. Each text is one line that names the setting and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}: {why}; choose another address with {flag}")]
    Bind { address: SocketAddr, flag: &'static str, why: String },
    #[error(
        "{flag} {address} can be reached from other machines, and who reaches the pages may read them; listen on 127.0.0.1, or add --allow-remote"
    )]
    Remote { address: SocketAddr, flag: &'static str },
    #[error(transparent)]
    Store(#[from] OpenError),
}

/// The dashboard, serving.
pub struct Dashboard {
    pub listen: SocketAddr,
    pub otlp_grpc: SocketAddr,
    pub otlp_http: SocketAddr,
    store: Arc<Store>,
    ops: Arc<Ops>,
    receiving: CancellationToken,
    showing: CancellationToken,
    receivers: JoinSet<()>,
    pages: JoinSet<()>,
}

impl Dashboard {
    /// Opens the store, binds all addresses and serves.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let addresses = [
            ("--listen", settings.listen),
            ("--otlp-grpc", settings.otlp_grpc),
            ("--otlp-http", settings.otlp_http),
        ];
        let mut listeners = Vec::new();
        for (flag, address) in addresses {
            if !address.ip().is_loopback() && !settings.allow_remote {
                return Err(StartError::Remote { address, flag });
            }
            listeners.push(bind(flag, address).await?);
        }
        let store = Arc::new(Store::open_sqlite(&settings.store, settings.limits).await?);
        let counters = Arc::new(Counters::default());
        let receiver = Arc::new(Receiver::new(settings.receive.clone(), counters.clone(), store.clone()));
        let ops = Arc::new(Ops::new(store.clone(), counters.clone()));
        let mut local = listeners
            .iter()
            .zip(addresses)
            .map(|(listener, (_, asked))| listener.local_addr().unwrap_or(asked));
        let mut next = || local.next().expect("three listeners were bound");
        let (listen, otlp_grpc, otlp_http) = (next(), next(), next());
        drop(local);
        let (receiving, showing) = (CancellationToken::new(), CancellationToken::new());
        let state = PageState {
            reader: store.clone(),
            overviews: Arc::default(),
            status: Arc::new(Status::new(counters, store.clone(), (otlp_grpc, otlp_http))),
            test_trace: Some(Arc::new(Sender::new(receiver.clone()))),
            settings: Arc::new(PageSettings {
                otlp_grpc: Some(otlp_grpc.to_string()),
                otlp_http: Some(otlp_http.to_string()),
                listen: listen.to_string(),
                hosts: settings.hosts,
                started: super::model::now(),
                demo: settings.demo,
            }),
            closing: showing.clone(),
        };
        let pages_router = ops::router(ops.clone()).merge(view::router(state));
        let (mut receivers, mut pages) = (JoinSet::new(), JoinSet::new());
        let mut listeners = listeners.into_iter();
        let mut listener = || listeners.next().expect("three listeners were bound");
        pages.spawn(serve_http(listener(), pages_router, showing.clone()));
        receivers.spawn(serve_grpc(listener(), receive::grpc::router(receiver.clone()), receiving.clone()));
        receivers.spawn(serve_http(listener(), receive::http::router(receiver), receiving.clone()));
        Ok(Self { listen, otlp_grpc, otlp_http, store, ops, receiving, showing, receivers, pages })
    }

    /// Ends in the order of the flow: unready, stop accepting, drain, commit, close.
    pub async fn stop(mut self) {
        self.ops.closing.store(true, Ordering::Relaxed);
        self.receiving.cancel();
        drain(&mut self.receivers, "receivers").await;
        self.store.close().await;
        self.showing.cancel();
        drain(&mut self.pages, "pages").await;
    }
}

async fn drain(tasks: &mut JoinSet<()>, what: &str) {
    let drained = tokio::time::timeout(DRAIN, async { while tasks.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(what, "some requests did not end in time and were cut off");
        tasks.shutdown().await;
    }
}

async fn bind(flag: &'static str, address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::AddrInUse => "the port is in use".to_owned(),
            _ => error.to_string(),
        };
        StartError::Bind { address, flag, why }
    })
}

async fn serve_http(listener: TcpListener, router: Router, closing: CancellationToken) {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(closing.cancelled_owned());
    if let Err(error) = serving.await {
        tracing::error!(%error, "an HTTP server ended");
    }
}

async fn serve_grpc(listener: TcpListener, router: Router, closing: CancellationToken) {
    let incoming = tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
    let serving = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(20)))
        .max_concurrent_streams(Some(256))
        .initial_stream_window_size(Some(1 << 20))
        .initial_connection_window_size(Some(4 << 20))
        .add_routes(tonic::service::Routes::from(router))
        .serve_with_incoming_shutdown(incoming, closing.cancelled_owned());
    if let Err(error) = serving.await {
        tracing::error!(%error, "the gRPC server ended");
    }
}
