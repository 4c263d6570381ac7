//! A subscriber: its room, its patience, and how it handles its events.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use opentelemetry::context::FutureExt as _;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendTimeoutError;

use super::telemetry::Told;
use super::{Event, Posted};
use crate::comms::correlation;
use crate::comms::queue::Failure;

/// Who handles events, and how much of them it lets wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriber {
    pub(super) name: Arc<str>,
    pub(super) room: usize,
    pub(super) patience: Duration,
    pub(super) timeout: Duration,
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
        Self { room: room.max(1), ..self }
    }

    /// How long a publisher waits where there is no room. With zero the event is missed at once, and who publishes is never
    /// held up.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// How long one event may be handled before its handling is dropped and counts as failed.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }
}

/// A subscriber as publishers see it.
#[derive(Clone)]
pub(super) struct Seat {
    pub number: u64,
    pub name: Arc<str>,
    pub patience: Duration,
    pub sender: mpsc::Sender<Posted>,
}

impl Seat {
    /// Waits for room; gives the name where there was none in time.
    pub async fn wait(&self, posted: Posted) -> Option<Arc<str>> {
        match self.sender.send_timeout(posted, self.patience).await {
            Ok(()) | Err(SendTimeoutError::Closed(_)) => None,
            Err(SendTimeoutError::Timeout(_)) => Some(Arc::clone(&self.name)),
        }
    }
}

/// Handles events until no more can come.
pub(super) async fn run<E, H, Fut>(
    subscriber: Subscriber,
    told: Told,
    mut events: mpsc::Receiver<Posted>,
    handler: H,
) where
    E: Event,
    H: Fn(Arc<E>) -> Fut,
    Fut: Future<Output = Result<(), Failure>> + Send,
{
    while let Some(Posted { event, context, current }) = events.recv().await {
        // It came by the type's own list.
        let Ok(event) = event.downcast::<E>() else { continue };
        let context = told.start(&context, &current.correlation_id);
        let began = Instant::now();
        let handled = async {
            let work = AssertUnwindSafe(async { handler(event).await }).catch_unwind();
            match tokio::time::timeout(subscriber.timeout, work).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(Failure::permanent("panic", "the handler panicked")),
                Err(_) => {
                    Err(Failure::permanent("timeout", format!("not done within {:?}", subscriber.timeout)))
                }
            }
            .inspect_err(|failure| told.failed(failure))
        };
        let result = correlation::scope_as(current, handled.with_context(context.clone())).await;
        told.end(&context, began.elapsed(), result.err());
    }
}
