//! The dashboard as a process: opens the store, binds the addresses, serves, and ends in the order of the flow.
//!
//! * [`door`]: one address and its connections, with all limits of HTTP.
//! * [`descriptors`]: how many connections the system allows.

mod descriptors;
mod door;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::door::Door;
use super::collect::passive::Passive;
use super::collect::tap::{self, Tap, TapSettings};
use super::collect::{self, Asked, Board, Broker, Cluster};
use super::documents::Documents;
use super::keys::gate::Gate;
use super::keys::{Key, Keyring, Right, SameKey};
use super::model::{correlation::Keys, now};
use super::operate::{Brokers, Desk};
use super::ops::{self, Ops};
use super::query::messages::body::Schemas;
use super::query::queues::named;
use super::receive::{self, Receiver, counters::Counters};
use super::scenarios::Door as Scenarios;
use super::selftest::Sender;
use super::status::Status;
use super::store::{Limits, Location, OpenError, Store};
use super::view::{self, PageSettings, PageState};
use crate::amqp::Way;

/// How long a shutdown waits for requests under way.
const DRAIN: Duration = Duration::from_secs(5);

/// What the dashboard needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    pub listen: SocketAddr,
    pub otlp_grpc: SocketAddr,
    pub otlp_http: SocketAddr,
    /// Where Zipkin's spans are taken; nowhere where it is `None`.
    pub zipkin: Option<SocketAddr>,
    pub store: Location,
    pub limits: Limits,
    pub receive: receive::Settings,
    /// Host names of the pages besides the loopback ones.
    pub hosts: Vec<String>,
    /// Keys one of which a sender must show; none lets everybody send.
    pub ingest_keys: Vec<Key>,
    /// Keys one of which a reader must show; none lets everybody read.
    pub read_keys: Vec<Key>,
    /// Keys of who may act on messages, and of who may take them away for good.
    pub operator_keys: Vec<Key>,
    pub admin_keys: Vec<Key>,
    /// Listen beyond loopback without both kinds of keys.
    pub allow_remote: bool,
    /// Whether this is the dashboard of `throughline demo`.
    pub demo: bool,
    /// The gateway of a demo shop, where failures are switched on: `http://HOST:PORT`.
    pub scenarios_url: Option<String>,
    /// Brokers whose messages can be acted on.
    pub hands: Brokers,
    /// Where services' interfaces are described.
    pub documents: Documents,
    /// Brokers whose queues are asked for, and how often.
    pub brokers: Vec<Broker>,
    /// Kafkas whose groups are asked for, half as often; none in a build without the feature `kafka`.
    pub clusters: Vec<Cluster>,
    pub ask_brokers: Duration,
    /// Queues that brokers without a management interface are asked for over AMQP, beside those that spans tell of.
    pub passive_queues: Vec<String>,
    /// Brokers whose messages are seen, and how.
    pub taps: Vec<Tap>,
    pub tap: TapSettings,
    /// What bodies of Protocol Buffers are read by.
    pub schemas: Schemas,
    /// How long a new connection may take for the head of its first request.
    pub first_request: Duration,
}

impl Settings {
    /// What [`Settings::first_request`] is unless there is a reason for another.
    pub const FIRST_REQUEST: Duration = Duration::from_secs(10);
}

/// Why the dashboard did not start. Each text is one line that names the setting and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot listen on {address}: {why}; choose another address with {flag}")]
    Bind { address: SocketAddr, flag: &'static str, why: String },
    #[error(
        "{flag} {address} can be reached from other machines, and without keys everybody there may send and read; set --ingest-key and --read-key, listen on 127.0.0.1, or add --allow-remote"
    )]
    Remote { address: SocketAddr, flag: &'static str },
    #[error("scenarios cannot be asked for at {url}: {why}; leave --scenarios-url out")]
    Scenarios { url: String, why: String },
    #[error(transparent)]
    Keys(#[from] SameKey),
    #[error(transparent)]
    Store(#[from] OpenError),
}

/// The dashboard, serving.
pub struct Dashboard {
    pub listen: SocketAddr,
    pub otlp_grpc: SocketAddr,
    pub otlp_http: SocketAddr,
    pub zipkin: Option<SocketAddr>,
    store: Arc<Store>,
    desk: Arc<Desk>,
    ops: Arc<Ops>,
    receiving: CancellationToken,
    showing: CancellationToken,
    receivers: JoinSet<()>,
    pages: JoinSet<()>,
}

impl Dashboard {
    /// Opens the store, binds all addresses and serves.
    pub async fn start(settings: Settings) -> Result<Self, StartError> {
        let keyring = Arc::new(
            Keyring::new(settings.ingest_keys, settings.read_keys)?
                .with_roles(settings.operator_keys, settings.admin_keys)?,
        );
        let open = async |flag, address, right| {
            may_listen(flag, address, right, &keyring, settings.allow_remote)?;
            bind(flag, address).await
        };
        let (pages_at, listen) = open("--listen", settings.listen, Right::Read).await?;
        let (grpc_at, otlp_grpc) = open("--otlp-grpc", settings.otlp_grpc, Right::Send).await?;
        let (http_at, otlp_http) = open("--otlp-http", settings.otlp_http, Right::Send).await?;
        let zipkin_at = match settings.zipkin {
            Some(address) => Some(open("--zipkin", address, Right::Send).await?),
            None => None,
        };
        let zipkin = zipkin_at.as_ref().map(|(_, address)| *address);
        let keys = Keys::with(settings.receive.correlation_keys.iter().cloned());
        let store = Arc::new(Store::open(&settings.store, settings.limits, &keys).await?);
        let counters = Arc::new(Counters::default());
        let receiver =
            Arc::new(Receiver::new(settings.receive, keyring.clone(), counters.clone(), store.clone()));
        let ops = Arc::new(Ops::new(store.clone(), counters.clone()));
        let scenarios = scenarios(settings.scenarios_url, listen, &keyring)?;
        // Whoever reaches it under another name comes from elsewhere, through a proxy.
        let alone = listen.ip().is_loopback() && settings.hosts.is_empty();
        let (receiving, showing) = (CancellationToken::new(), CancellationToken::new());
        let board = Arc::new(Board::default());
        let place = tap::Place { ingest: store.clone(), board: board.clone(), keys: Arc::new(keys) };
        let apis = settings.brokers;
        let asked = asked(&apis, settings.hands.ways(), &settings.passive_queues, &store);
        let desk = Arc::new(Desk::new(settings.hands, store.clone()));
        let state = PageState {
            reader: store.clone(),
            board: board.clone(),
            queues: Arc::default(),
            schemas: Arc::new(settings.schemas),
            overviews: Arc::default(),
            breakers: Arc::default(),
            maps: Arc::default(),
            services: Arc::default(),
            vocabulary: Arc::default(),
            desk: desk.clone(),
            status: Arc::new(Status::new(
                counters,
                store.clone(),
                [Some(otlp_grpc), Some(otlp_http), zipkin],
            )),
            test_trace: Some(Arc::new(Sender::new(receiver.clone()))),
            scenarios,
            settings: Arc::new(PageSettings {
                otlp_grpc: Some(otlp_grpc.to_string()),
                otlp_http: Some(otlp_http.to_string()),
                listen: listen.to_string(),
                hosts: settings.hosts,
                started: now(),
                demo: settings.demo,
                documents: settings.documents,
            }),
            gate: Arc::new(Gate::new(keyring, alone)),
            closing: showing.clone(),
        };
        let figures = view::for_readers(ops::figures(ops.clone()), &state);
        let pages_router = ops::probes(ops.clone()).merge(figures).merge(view::router(state));
        let (mut receivers, mut pages) = (JoinSet::new(), JoinSet::new());
        let guests = descriptors::connections(if zipkin.is_some() { 4 } else { 3 });
        let door =
            |name, http2_only| Door { name, http2_only, guests, first_request: settings.first_request };
        pages.spawn(door::serve(pages_at, pages_router, door("pages", false), showing.clone()));
        let grpc = receive::grpc::router(receiver.clone());
        receivers.spawn(door::serve(grpc_at, grpc, door("OTLP over gRPC", true), receiving.clone()));
        let http = receive::http::router(receiver.clone());
        receivers.spawn(door::serve(http_at, http, door("OTLP over HTTP", false), receiving.clone()));
        if let Some((zipkin_at, _)) = zipkin_at {
            let zipkin = receive::zipkin::router(receiver);
            receivers.spawn(door::serve(zipkin_at, zipkin, door("Zipkin", false), receiving.clone()));
        }
        for tap in settings.taps {
            let (how, apis) = (settings.tap.clone(), apis.clone());
            receivers.spawn(tap::watch(tap, how, apis, place.clone(), receiving.clone()));
        }
        for asked in asked {
            let (board, stop) = (board.clone(), receiving.clone());
            receivers.spawn(collect::watch(asked, settings.ask_brokers, store.clone(), board, stop));
        }
        #[cfg(feature = "kafka")]
        for cluster in settings.clusters {
            let (every, board, stop) = (settings.ask_brokers * 2, board.clone(), receiving.clone());
            receivers.spawn(collect::kafka::watch(cluster, every, store.clone(), board, stop));
        }
        Ok(Self {
            listen,
            otlp_grpc,
            otlp_http,
            zipkin,
            store,
            desk,
            ops,
            receiving,
            showing,
            receivers,
            pages,
        })
    }

    /// Makes the store's writer panic.
    #[cfg(test)]
    pub async fn break_store(&self) {
        self.store.break_writer().await;
    }

    /// Where its store is, without any password.
    pub fn store_location(&self) -> String {
        self.store.location()
    }

    /// Waits until the store has ended by a panic. Then there is nothing to be drained: who is not answered sends again.
    pub async fn broken(&self) {
        self.store.broken().await;
    }

    /// Ends in the order of the flow: unready, stop accepting, drain, commit, close.
    pub async fn stop(mut self) {
        self.ops.closing.store(true, Ordering::Relaxed);
        self.receiving.cancel();
        drain(&mut self.receivers, "receivers").await;
        if tokio::time::timeout(DRAIN, self.desk.jobs.close()).await.is_err() {
            tracing::warn!("a redrive did not end in time and was cut off");
        }
        self.store.close().await;
        self.showing.cancel();
        drain(&mut self.pages, "pages").await;
    }
}

/// Who is asked for queues: management interfaces, and over AMQP the brokers that have none.
fn asked(apis: &[Broker], ways: Vec<(String, Way)>, queues: &[String], store: &Arc<Store>) -> Vec<Asked> {
    let without = ways.into_iter().filter(|(name, _)| apis.iter().all(|api| api.name != *name));
    let passive = without.map(|(name, way)| {
        let store = store.clone();
        let named: collect::passive::Named = Arc::new(move || {
            let store = store.clone();
            // Where the store cannot be read now, those of the settings are asked for.
            Box::pin(async move { named::lately(&*store, now()).await.unwrap_or_default() })
        });
        Asked::Passive(Box::new(Passive::new(name, &way, queues, named)))
    });
    apis.iter().cloned().map(Asked::Management).chain(passive).collect()
}

async fn drain(tasks: &mut JoinSet<()>, what: &str) {
    let drained = tokio::time::timeout(DRAIN, async { while tasks.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!(what, "some requests did not end in time and were cut off");
        tasks.shutdown().await;
    }
}

/// Refuses an address beyond loopback unless both kinds of keys are set or it was asked for; says so where it stands
/// open then.
fn may_listen(
    flag: &'static str,
    address: SocketAddr,
    right: Right,
    keyring: &Keyring,
    allow_remote: bool,
) -> Result<(), StartError> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    let guarded = keyring.guards(Right::Send) && keyring.guards(Right::Read);
    if !guarded && !allow_remote {
        return Err(StartError::Remote { address, flag });
    }
    if !keyring.guards(right) {
        let (may, setting) = match right {
            Right::Send => ("send telemetry", "--ingest-key"),
            Right::Read => ("read the pages", "--read-key"),
        };
        tracing::warn!("{flag} {address} stands open: everybody who reaches it may {may}; set {setting}");
    }
    Ok(())
}

/// The failures that can be switched on, for whom a demo shop runs beside us. Who may read may switch: where nobody is asked
/// for a key that is everybody who reaches the pages, so then they have to be reached from this machine alone.
fn scenarios(
    url: Option<String>,
    listen: SocketAddr,
    keyring: &Keyring,
) -> Result<Option<Arc<dyn view::Scenarios>>, StartError> {
    let Some(url) = url else { return Ok(None) };
    if !listen.ip().is_loopback() && !keyring.guards(Right::Read) {
        tracing::warn!(
            "--listen {listen} stands open, so nobody may switch failures on at /scenarios; set --read-key"
        );
        return Ok(None);
    }
    match Scenarios::new(url.clone()) {
        Ok(door) => Ok(Some(Arc::new(door))),
        Err(error) => Err(StartError::Scenarios { url, why: error.to_string() }),
    }
}

/// Listens; gives the address too, with the port that was taken for 0.
async fn bind(flag: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::AddrInUse => "the port is in use".to_owned(),
            _ => error.to_string(),
        };
        StartError::Bind { address, flag, why }
    })?;
    let bound = listener.local_addr().unwrap_or(address);
    Ok((listener, bound))
}
