//! A subscriber: its room, its patience, and how it handles its events.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use opentelemetry::context::FutureExt as _;
use tokio::sync::mpsc::error::{SendTimeoutError, TrySendError};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::telemetry::{Missing, Told};
use super::{Event, Posted};
use crate::comms::correlation;
use crate::comms::handling::{self, Stopped};
use crate::comms::queue::Failure;

/// Who handles events, and how much of them it lets wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    pub(super) name: Arc<str>,
    pub(super) room: usize,
    patience: Duration,
    timeout: Duration,
}

impl Subscriber {
    /// With room for 256 events, a second in which a publisher waits for room, and 30 s for handling one. The name is what
    /// telemetry calls it.
    pub fn new(name: &str) -> Self {
        let (patience, timeout) = (Duration::from_secs(1), Duration::from_secs(30));
        Self { name: name.into(), room: 256, patience, timeout }
    }

    /// How many events wait at the most, at least one.
    #[must_use]
    pub fn room(self, room: usize) -> Self {
        Self { room: room.clamp(1, Semaphore::MAX_PERMITS), ..self }
    }

    /// How long a publisher waits where there is no room. With zero the event is missed at once, and who publishes is never
    /// held up.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// How long one event may be handled before its handling is dropped and counts as failed. Calls that the handler makes know
    /// it as their deadline.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }
}

tokio::task_local! {
    /// The seat whose event this task handles, of whichever bus.
    static HANDLING: u64;
}

/// The seat whose event this task handles, if it does.
pub(super) fn handling() -> Option<u64> {
    HANDLING.try_with(|number| *number).ok()
}

/// A number that no other seat of the process has.
pub(super) fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A subscriber as publishers see it.
#[derive(Clone)]
pub(super) struct Seat {
    pub number: u64,
    name: Arc<str>,
    patience: Duration,
    sender: mpsc::Sender<Posted>,
    /// Whether it takes no more events, because it was ended.
    last_call: CancellationToken,
    /// Whether the last event that it was given was missed: it is told in the log once, and not for each.
    is_behind: Arc<AtomicBool>,
}

impl Seat {
    pub fn new(
        number: u64,
        of: &Subscriber,
        sender: mpsc::Sender<Posted>,
        last_call: CancellationToken,
    ) -> Self {
        let (name, is_behind) = (Arc::clone(&of.name), Arc::default());
        Self { number, name, patience: of.patience, sender, last_call, is_behind }
    }

    /// Gives it an event, after a wait for room where there is none. Whether it took it: who was ended meanwhile does not want it.
    ///
    /// # Errors
    /// It missed the event; this is its name. That is told also where the wait is given up.
    pub async fn give(self, posted: Posted, missing: Missing) -> Result<bool, Arc<str>> {
        let full = match self.sender.try_send(posted) {
            Ok(()) => {
                self.is_behind.store(false, Ordering::Relaxed);
                return Ok(true);
            }
            Err(TrySendError::Closed(_)) if self.last_call.is_cancelled() => return Ok(false),
            Err(TrySendError::Closed(_)) => None,
            Err(TrySendError::Full(posted)) => Some(posted),
        };
        let mut missed = Missed { seat: &self, missing, is_missed: true };
        let waits = !self.patience.is_zero() && handling() != Some(self.number);
        let Some(posted) = full.filter(|_| waits) else { return Err(Arc::clone(&self.name)) };
        match self.sender.send_timeout(posted, self.patience).await {
            Ok(()) => {
                missed.is_missed = false;
                Ok(true)
            }
            Err(SendTimeoutError::Closed(_)) if self.last_call.is_cancelled() => {
                missed.is_missed = false;
                Ok(false)
            }
            Err(_) => Err(Arc::clone(&self.name)),
        }
    }
}

/// Tells that a subscriber missed an event, unless it did not by the time that this is dropped.
struct Missed<'a> {
    seat: &'a Seat,
    missing: Missing,
    is_missed: bool,
}

impl Drop for Missed<'_> {
    fn drop(&mut self) {
        if self.is_missed {
            let is_news = !self.seat.is_behind.swap(true, Ordering::Relaxed);
            self.missing.tell(&self.seat.name, is_news);
        }
    }
}

/// Handles events until it is told to take no more, and then those that it has.
pub(super) async fn run<E, H, Fut>(
    number: u64,
    subscriber: Subscriber,
    told: Told,
    mut events: mpsc::Receiver<Posted>,
    last_call: CancellationToken,
    handler: H,
) where
    E: Event,
    H: Fn(Arc<E>) -> Fut,
    Fut: Future<Output = Result<(), Failure>> + Send,
{
    loop {
        let next = tokio::select! {
            biased;
            () = last_call.cancelled(), if !events.is_closed() => {
                events.close();
                continue;
            }
            next = events.recv() => next,
        };
        let Some(posted) = next else { return };
        HANDLING.scope(number, handle(&subscriber, &told, posted, &handler)).await;
    }
}

async fn handle<E, H, Fut>(subscriber: &Subscriber, told: &Told, posted: Posted, handler: &H)
where
    E: Event,
    H: Fn(Arc<E>) -> Fut,
    Fut: Future<Output = Result<(), Failure>> + Send,
{
    let Posted { event, context, current, _waiting } = posted;
    // It came by the type's own list.
    let Ok(event) = event.downcast::<E>() else { return };
    let context = told.start(&context, &current.correlation_id);
    let (began, limit) = (Instant::now(), subscriber.timeout);
    let handled = async {
        match handling::run(limit, || handler(event)).await {
            Ok(result) => result,
            Err(Stopped::TimedOut) => {
                Err(Failure::permanent("timeout", format!("not done within {limit:?}")))
            }
            Err(Stopped::Panicked) => Err(Failure::permanent("panic", "the handler panicked")),
        }
        .inspect_err(|failure| told.failed(failure))
    };
    let result = correlation::scope_as(current, handled.with_context(context.clone())).await;
    told.end(&context, began.elapsed(), result.err());
}
