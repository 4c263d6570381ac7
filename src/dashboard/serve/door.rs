//! One address and those who come to it: how many at once, what HTTP they may speak, when one has to leave.
//!
//! A guest is a connection. Guests are bounded: where there is no room for one more, the one that has been without
//! a request for the longest leaves, so that those who hold connections and say nothing never keep out those who
//! have something to say. The limits of HTTP itself are set here too, each with the attack that it stops.
//!
//! What must not live here: what is served.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io::{Error, ErrorKind};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceExt as _};

/// How long a connection may be without the head of a request after the first one.
const IDLE: Duration = Duration::from_secs(75);
/// A connection over HTTP/2 is asked this often whether its other end is still there.
const PING_EVERY: Duration = Duration::from_secs(30);
/// How long the other end may take to answer that.
const PING_PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of a request's head, over either HTTP.
const HEAD: u32 = 16 << 10;
/// Bytes read ahead over HTTP/1.1; a head that does not fit is refused.
const READ_AHEAD: usize = 64 << 10;
/// Requests at once over one connection.
const STREAMS: u32 = 256;
/// Requests that were taken back before they were looked at ("rapid reset", CVE-2023-44487).
const TAKEN_BACK: usize = 20;
/// Requests that we had to end because of the sender's mistakes (CVE-2025-8671).
const MISTAKES: usize = 100;
/// The wait after the system gave no connection although one was there.
const NONE_GIVEN: Duration = Duration::from_millis(100);
/// The log says at most this often that guests had to leave.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// How one address is kept.
#[derive(Debug, Clone, Copy)]
pub struct Door {
    /// For the log.
    pub name: &'static str,
    /// gRPC is HTTP/2 alone; everything else is spoken to in what it speaks.
    pub http2_only: bool,
    /// Connections at once.
    pub guests: usize,
    /// How long a new connection may take for the head of its first request.
    pub first_request: Duration,
}

/// Serves until `closing`, then lets requests under way come to their end.
pub async fn serve(listener: TcpListener, router: Router, door: Door, closing: CancellationToken) {
    let mut hall =
        Hall { door, builder: builder(door), guests: HashMap::new(), tasks: JoinSet::new(), said: None };
    loop {
        tokio::select! {
            () = closing.cancelled() => break,
            () = hall.see_off(), if !hall.tasks.is_empty() => {}
            came = listener.accept() => match came {
                Ok((stream, _)) => hall.admit(stream, &router, &closing),
                Err(error) if is_the_guests(&error) => {}
                Err(error) => {
                    // Without a file descriptor, most likely: one has to be given up before the next try.
                    hall.say(&format!("no connection can be taken: {error}"));
                    if hall.send_one_away() {
                        hall.see_off().await;
                    } else {
                        tokio::time::sleep(NONE_GIVEN).await;
                    }
                }
            },
        }
    }
    drop(listener);
    while hall.tasks.join_next().await.is_some() {}
}

/// Whether a connection was given up by its other end while it waited to be taken.
fn is_the_guests(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused
    )
}

fn builder(door: Door) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    if door.http2_only {
        builder = builder.http2_only();
    }
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(READ_AHEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD)
        .max_pending_accept_reset_streams(TAKEN_BACK)
        .max_local_error_reset_streams(MISTAKES)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    builder
}

/// Everybody who is connected.
struct Hall {
    door: Door,
    builder: Builder<TokioExecutor>,
    guests: HashMap<Id, Arc<Guest>>,
    tasks: JoinSet<()>,
    /// When the log said last that there is no room.
    said: Option<Instant>,
}

impl Hall {
    fn admit(&mut self, stream: TcpStream, router: &Router, closing: &CancellationToken) {
        if self.guests.len() >= self.door.guests {
            self.say("all connections are taken; the one without a request for the longest is closed");
            if !self.send_one_away() {
                return;
            }
        }
        // Answers are small and whole: waiting for more to send would only make them late.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let guest = Arc::new(Guest::new());
        let attending = attend(
            stream,
            self.builder.clone(),
            router.clone(),
            guest.clone(),
            self.door.first_request,
            closing.clone(),
        );
        self.guests.insert(self.tasks.spawn(attending).id(), guest);
    }

    /// Waits until somebody has left.
    async fn see_off(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => drop(self.guests.remove(&id)),
            Some(Err(error)) => drop(self.guests.remove(&error.id())),
            None => {}
        }
    }

    /// Closes the connection that has been without a request for the longest; false where all have one.
    fn send_one_away(&mut self) -> bool {
        let idle = self.guests.iter().filter_map(|(id, guest)| Some((guest.idle_since()?, *id)));
        let Some((_, id)) = idle.min_by_key(|(since, _)| *since) else { return false };
        if let Some(guest) = self.guests.remove(&id) {
            guest.leave.cancel();
        }
        true
    }

    fn say(&mut self, what: &str) {
        if self.said.is_none_or(|said| said.elapsed() > SAY_EVERY) {
            self.said = Some(Instant::now());
            tracing::warn!(door = self.door.name, connections = self.guests.len(), "{what}");
        }
    }
}

/// What is known of a connection from outside of it.
struct Guest {
    seen: Mutex<Seen>,
    leave: CancellationToken,
}

/// The requests of a connection.
struct Seen {
    /// Requests so far.
    requests: u64,
    /// Those that are not answered yet.
    open: usize,
    /// When it came, began or ended a request.
    last: Instant,
}

impl Guest {
    fn new() -> Self {
        let seen = Seen { requests: 0, open: 0, last: Instant::now() };
        Self { seen: Mutex::new(seen), leave: CancellationToken::new() }
    }

    fn seen<T>(&self, look: impl FnOnce(&mut Seen) -> T) -> T {
        look(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn has_asked(&self) -> bool {
        self.seen(|seen| seen.requests > 0)
    }

    fn idle_since(&self) -> Option<Instant> {
        self.seen(|seen| (seen.open == 0).then_some(seen.last))
    }

    /// Counts a request until what is given is dropped, be it answered or taken back.
    fn ask(self: Arc<Self>) -> Asking {
        self.seen(|seen| {
            seen.requests += 1;
            seen.open += 1;
            seen.last = Instant::now();
        });
        Asking(self)
    }
}

/// A request that is not answered yet.
struct Asking(Arc<Guest>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.seen(|seen| {
            seen.open -= 1;
            seen.last = Instant::now();
        });
    }
}

/// Serves one connection to its end.
async fn attend(
    stream: TcpStream,
    builder: Builder<TokioExecutor>,
    router: Router,
    guest: Arc<Guest>,
    first_request: Duration,
    closing: CancellationToken,
) {
    let service = TowerToHyperService::new(counted(router, guest.clone()));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut first = pin!(tokio::time::sleep(first_request));
    let (mut waiting, mut ending) = (true, false);
    loop {
        tokio::select! {
            served = connection.as_mut() => {
                if let Err(error) = served {
                    tracing::debug!(%error, "a connection broke off");
                }
                return;
            }
            () = guest.leave.cancelled() => return,
            () = &mut first, if waiting => {
                if !guest.has_asked() {
                    tracing::debug!("a connection was closed: no request came");
                    return;
                }
                waiting = false;
            }
            () = closing.cancelled(), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// The router, with each request counted as its guest's for as long as it is not answered.
fn counted<B>(
    router: Router,
    guest: Arc<Guest>,
) -> impl Service<Request<B>, Response = Response, Error = Infallible, Future: Send> + Clone
where
    B: http_body::Body<Data = bytes::Bytes, Error: Into<axum::BoxError>> + Send + 'static,
{
    tower::service_fn(move |request: Request<B>| {
        let (router, asking) = (router.clone(), guest.clone().ask());
        async move {
            let answer = router.oneshot(request).await;
            drop(asking);
            answer
        }
    })
}
