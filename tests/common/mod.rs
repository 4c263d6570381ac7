//! What the tests share: requests made by hand, and a dashboard on free ports with a store of its own.
#![allow(dead_code)]

pub mod breakers;
pub mod contract;
pub mod effects;
pub mod examples;
pub mod frames;
#[cfg(all(unix, feature = "kafka"))]
pub mod kafka;
pub mod otlp;
pub mod postgres;
pub mod rabbitmq;
pub mod raw_amqp;
pub mod watcher;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use throughline::dashboard::collect::TapSettings;
use throughline::dashboard::keys::Key;
use throughline::dashboard::serve::{Dashboard, Settings};
use throughline::dashboard::store::{Limits, Location};

/// Serves routes on a free port, with the address of who asks at hand, for as long as the test's runtime runs.
pub async fn serve(router: axum::Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

/// Settings for a dashboard on free ports with its store in `folder`.
pub fn settings(folder: &Path) -> Settings {
    let free = "127.0.0.1:0".parse().expect("an address");
    Settings {
        listen: free,
        otlp_grpc: free,
        otlp_http: free,
        zipkin: None,
        store: Location::Sqlite(folder.join("store.db")),
        limits: Limits::default(),
        receive: Default::default(),
        hosts: Vec::new(),
        ingest_keys: Vec::new(),
        read_keys: Vec::new(),
        operator_keys: Vec::new(),
        admin_keys: Vec::new(),
        allow_remote: false,
        demo: false,
        scenarios_url: None,
        documents: Default::default(),
        brokers: Vec::new(),
        clusters: Vec::new(),
        hands: Default::default(),
        ask_brokers: Duration::from_millis(300),
        passive_queues: Vec::new(),
        taps: Vec::new(),
        tap: TapSettings { body: 65_536, ..TapSettings::default() },
        schemas: Default::default(),
        first_request: Settings::FIRST_REQUEST,
    }
}

/// A dashboard in this process, with the folder that it keeps its store in.
pub struct Running {
    pub dashboard: Dashboard,
    pub folder: tempfile::TempDir,
}

impl Running {
    /// Starts one with the default settings.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// Starts one with settings changed.
    pub async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut settings = settings(folder.path());
        change(&mut settings);
        let dashboard = Dashboard::start(settings).await.expect("the dashboard starts");
        Self { dashboard, folder }
    }

    /// An address of the pages.
    pub fn page(&self, path: &str) -> String {
        format!("http://{}{path}", self.dashboard.listen)
    }

    /// An address of the OTLP/HTTP receiver.
    pub fn otlp(&self, path: &str) -> String {
        format!("http://{}{path}", self.dashboard.otlp_http)
    }

    /// An address of the receiver of Zipkin's spans.
    pub fn zipkin(&self, path: &str) -> String {
        format!("http://{}{path}", self.dashboard.zipkin.expect("it is switched on"))
    }
}

/// Keys for the settings.
pub fn keys(texts: &[&str]) -> Vec<Key> {
    texts.iter().map(|text| text.parse().expect("a key")).collect()
}

/// The binary under test.
pub fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_throughline").into()
}

/// Waits until `probe` gives something, for at most `seconds`.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    seconds: u64,
    mut probe: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An HTTP client. It speaks plain HTTP here, and all the same wants a TLS provider to be chosen.
pub fn client() -> reqwest::Client {
    // An error says that another test has chosen already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}
