//! One connection to RabbitMQ, made again whenever it is lost.
//!
//! The client could recover by itself, channel by channel. It does not here: what is to hold after an outage is then
//! decided in one place, and a new connection has no memory of an old one (decision 21).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties, ErrorKind, Event};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::topology::Topology;
use crate::amqp::{self, NoTrust, Passing, Way};
use crate::comms::queue::broker::BrokerError;
use crate::comms::retry::Backoff;

/// How long one try to connect may take: a broker that hangs takes connections and says nothing.
const ATTEMPT: Duration = Duration::from_secs(5);
/// In seconds, unless the address says otherwise: a broker that hangs is noticed after two of them.
const HEARTBEAT: u16 = 5;
const CLOSE: Duration = Duration::from_secs(2);
/// Between tries to connect; the longest goes on for as long as it takes.
const TRIES: Backoff =
    Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(2), retries: 5 };

/// Which server, and what we call ourselves there.
#[derive(Clone)]
pub(super) struct Target {
    pub way: Way,
    /// Shown in RabbitMQ's own list of connections.
    pub name: String,
}

impl Target {
    /// Reads an address such as `amqp://user:password@host:5672/vhost`, and whom to trust.
    ///
    /// # Errors
    /// It is none, or there is nobody to trust. The error does not repeat it: it may hold a password.
    pub fn new(settings: &Settings) -> Result<Self, BrokerError> {
        let invalid = |why: String| BrokerError::Invalid { what: "the address of RabbitMQ", why };
        let form = "it must be like amqp://USER:PASSWORD@HOST:5672/VHOST, with / in VHOST written as %2F";
        let parsed = settings.url.parse();
        let mut uri: AMQPUri = parsed.map_err(|error| invalid(format!("is none ({error}); {form}")))?;
        if uri.scheme == AMQPScheme::AMQP && settings.ca.is_some() {
            return Err(invalid("does not ask for TLS, but a CA is given; use amqps://".to_owned()));
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        let way = Way::new(uri, settings.ca.as_deref()).map_err(|error| match error {
            NoTrust::File(why) => BrokerError::Invalid { what: "the CA (`ca`) for RabbitMQ", why },
            other => invalid(other.to_string()),
        })?;
        Ok(Self { way, name: settings.name.clone() })
    }

    pub fn host(&self) -> &str {
        &self.way.uri().authority.host
    }

    pub fn port(&self) -> u16 {
        self.way.uri().authority.port
    }

    /// The server without user and password.
    pub fn shown(&self) -> String {
        format!("RabbitMQ at {}:{}, virtual host `{}`", self.host(), self.port(), self.way.uri().vhost)
    }
}

#[derive(Clone)]
enum State {
    Up(Arc<Connection>),
    Away {
        since: Instant,
        why: Arc<str>,
        /// Whether the server answered and does not want us.
        is_denied: bool,
    },
    Closed,
}

/// The connection as it is now, and the task that keeps it.
pub(super) struct Link {
    target: Target,
    state: watch::Receiver<State>,
    stop: CancellationToken,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Link {
    /// Begins to connect. What `topology` knows is declared anew on every connection.
    pub fn start(target: Target, topology: Option<Arc<Topology>>) -> Self {
        let why: Arc<str> = "no connection yet".into();
        let (told, state) = watch::channel(State::Away { since: Instant::now(), why, is_denied: false });
        let stop = CancellationToken::new();
        let task = tokio::spawn(keep(target.clone(), topology, told, stop.clone()));
        Self { target, state, stop, task: Mutex::new(Some(task)) }
    }

    /// The connection, as soon as there is one.
    ///
    /// # Errors
    /// The link was closed.
    pub async fn up(&self) -> Result<Arc<Connection>, BrokerError> {
        let mut state = self.state.clone();
        loop {
            match state.borrow_and_update().clone() {
                State::Up(connection) => return Ok(connection),
                State::Closed => return Err(BrokerError::Unavailable("the connection was closed".into())),
                State::Away { .. } => {}
            }
            if state.changed().await.is_err() {
                return Err(BrokerError::Unavailable("the connection was closed".into()));
            }
        }
    }

    /// The first connection, which is waited for as long as there is hope.
    ///
    /// # Errors
    /// The server does not want us, or there is none within `patience`.
    pub async fn first(&self, patience: Duration) -> Result<(), BrokerError> {
        let mut state = self.state.clone();
        let hopeless = async {
            loop {
                if let State::Away { why, is_denied: true, .. } = &*state.borrow_and_update() {
                    return why.to_string();
                }
                if state.changed().await.is_err() {
                    return "the connection was closed".to_owned();
                }
            }
        };
        tokio::select! {
            up = self.up() => up.map(drop),
            why = hopeless => Err(BrokerError::Denied(format!("{}: {why}", self.target.shown()))),
            () = tokio::time::sleep(patience) => Err(self.away()),
        }
    }

    /// Why nothing can be sent now, in words.
    pub fn away(&self) -> BrokerError {
        let shown = self.target.shown();
        BrokerError::Unavailable(
            match &*self.state.borrow() {
                State::Away { since, why, .. } => {
                    format!("{shown} has been away for {:.0?}: {why}", since.elapsed())
                }
                State::Closed => format!("{shown}: the connection was closed"),
                State::Up(connection) if connection.status().blocked() => {
                    format!("{shown} takes no messages now: it is short of memory or disk")
                }
                State::Up(_) => format!("{shown} did not answer in time"),
            }
            .into(),
        )
    }

    /// Closes the connection in order.
    pub async fn close(&self) {
        self.stop.cancel();
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::warn!(%error, "the connection to RabbitMQ ended badly");
        }
    }
}

/// Connects, waits until the connection is lost, and begins again.
async fn keep(
    target: Target,
    topology: Option<Arc<Topology>>,
    told: watch::Sender<State>,
    stop: CancellationToken,
) {
    let mut waits = TRIES.delays();
    let mut since = Instant::now();
    loop {
        let attempt = tokio::select! {
            () = stop.cancelled() => break,
            attempt = connect(&target) => attempt,
        };
        match attempt {
            Ok(connection) => {
                waits = TRIES.delays();
                let connection = Arc::new(connection);
                if let Some(topology) = &topology {
                    topology.declare_again(&connection).await;
                }
                tracing::info!(connection = %target.name, "connected to {}", target.shown());
                told.send_replace(State::Up(Arc::clone(&connection)));
                let why: Arc<str> = tokio::select! {
                    () = stop.cancelled() => {
                        close(&connection).await;
                        break;
                    }
                    why = lost(&connection) => why.into(),
                };
                since = Instant::now();
                tracing::warn!(connection = %target.name, %why, "lost the connection to {}", target.shown());
                told.send_replace(State::Away { since, why, is_denied: false });
            }
            Err((why, is_denied)) => {
                tracing::debug!(connection = %target.name, %why, "cannot connect to {}", target.shown());
                told.send_replace(State::Away { since, why: why.into(), is_denied });
                let wait = waits.next().unwrap_or(TRIES.longest);
                tokio::select! {
                    () = stop.cancelled() => break,
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }
    told.send_replace(State::Closed);
}

/// One try; the reason when it fails, and whether the server answered with a no.
async fn connect(target: &Target) -> Result<Connection, (String, bool)> {
    let properties = ConnectionProperties::default().with_connection_name(target.name.as_str().into());
    let connecting = target.way.connect(properties, Passing::whole());
    match tokio::time::timeout(ATTEMPT, connecting).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(amqp::told(&error, "`ca`")
            .unwrap_or_else(|| (error.to_string(), matches!(error.kind(), ErrorKind::ProtocolError(_))))),
        Err(_) => Err((format!("no answer within {ATTEMPT:?}"), false)),
    }
}

/// Waits for the end of a connection and gives its reason.
async fn lost(connection: &Connection) -> String {
    let mut events = connection.events_listener();
    let mut look = tokio::time::interval(Duration::from_millis(200));
    let mut reason = None;
    loop {
        if !connection.status().connected() {
            return reason.unwrap_or_else(|| "the connection was closed".to_owned());
        }
        tokio::select! {
            event = events.next() => match event {
                Some(Event::Error(error)) => reason = Some(error.to_string()),
                Some(Event::ConnectionBlocked(why)) => {
                    tracing::warn!(why, "RabbitMQ takes no messages for now");
                }
                Some(Event::ConnectionUnblocked) => tracing::info!("RabbitMQ takes messages again"),
                Some(_) => {}
                None => return reason.unwrap_or_else(|| "the connection is gone".to_owned()),
            },
            _ = look.tick() => {}
        }
    }
}

async fn close(connection: &Connection) {
    let closed = tokio::time::timeout(CLOSE, connection.close(200, "closed in order".into())).await;
    match closed {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the connection to RabbitMQ was not closed in order"),
        Err(_) => tracing::debug!("RabbitMQ did not answer to the end of the connection"),
    }
}
