//! An event bus within one process: parts of a service tell each other what has happened, without knowing each other.
//!
//! Events are types; who subscribes to one names the type by its handler's argument. Each subscriber has a bounded room of its
//! own and handles one event after the other, in the order in which they were published. What goes wrong in one (it fails, it
//! panics, it takes too long, it is behind) is told under its name and touches no other, nor the publisher.
//!
//! A handler works on behalf of who published: its span is a child of the publisher's, and calls and messages that it sends
//! carry the correlation ID on.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use std::sync::Arc;
//! use throughline::comms::bus::{Event, EventBus};
//! use throughline::comms::queue::Failure;
//!
//! struct StockRanLow { sku: String, left: u32 }
//!
//! impl Event for StockRanLow {
//!     const NAME: &'static str = "stock.ran_low";
//! }
//!
//! let bus = EventBus::new();
//! bus.subscribe("purchasing", |event: Arc<StockRanLow>| async move {
//!     println!("ordering more of {}, of which {} are left", event.sku, event.left);
//!     Ok::<_, Failure>(())
//! });
//! let subscribers = bus.publish(StockRanLow { sku: "lamp-brass".into(), left: 3 }).await;
//! assert_eq!(subscribers, Ok(1));
//! bus.close().await;
//! # });
//! ```
//!
//! What must not be lost does not belong here but on a queue ([`super::queue`]): an event is gone with the process, and nobody
//! tries again what failed. For the state change and the message in one there is [`super::queue::outbox`].
//!
//! | file | what lives there |
//! |---|---|
//! | `mod.rs` | [`EventBus`]: publishing, and who subscribes to what |
//! | `subscriber.rs` | [`Subscriber`] and how it handles its events |
//! | `telemetry.rs` | spans, metrics and logs |

mod subscriber;
mod telemetry;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::future::join_all;
use opentelemetry::Context;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;

pub use self::subscriber::Subscriber;
use self::subscriber::{Seat, run};
use self::telemetry::Telemetry;
use crate::comms::correlation::{self, CorrelationId, Current};
use crate::comms::queue::Failure;

/// Something that has happened in this process, as its type tells.
pub trait Event: Send + Sync + 'static {
    /// What telemetry calls it: of low cardinality, in the past tense, such as `stock.ran_low`.
    const NAME: &'static str;
}

/// Why an event did not come to all of its subscribers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The bus takes no more events.
    #[error("`{event}` was published on an event bus that is closed")]
    Closed { event: &'static str },
    /// These had no room for it, as long as they let a publisher wait; all others have it.
    #[error("no room for `{event}` at {}", subscribers.join(", "))]
    Missed { event: &'static str, subscribers: Vec<Arc<str>> },
}

/// An event on its way to a subscriber.
struct Posted {
    event: Arc<dyn Any + Send + Sync>,
    /// The publisher's: its span and baggage.
    context: Context,
    /// What the publisher works for.
    current: Current,
}

/// The bus; cheap to clone, and clones are the same bus.
///
/// To be ended by [`Self::close`]: when the last clone is dropped, events that wait are dropped too.
#[derive(Clone, Default)]
pub struct EventBus {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    telemetry: Telemetry,
}

#[derive(Default)]
struct State {
    is_closed: bool,
    next: u64,
    seats: HashMap<TypeId, Vec<Seat>>,
    /// Those who handle, by the numbers of their seats.
    tasks: HashMap<u64, JoinHandle<()>>,
}

impl Drop for State {
    fn drop(&mut self) {
        self.tasks.values().for_each(JoinHandle::abort);
    }
}

impl Inner {
    /// Nothing that holds it can panic in the middle of a change.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventBus {
    pub fn new() -> Self {
        Self::default()
    }

    /// Has every event of a type handled from now on, with the room and the patience of [`Subscriber::new`]. Within a runtime.
    pub fn subscribe<E, H, Fut>(&self, name: &str, handler: H) -> Subscription
    where
        E: Event,
        H: Fn(Arc<E>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.subscribe_as(Subscriber::new(name), handler)
    }

    /// As [`Self::subscribe`], with room and patience of its own. On a bus that is closed nothing will come.
    pub fn subscribe_as<E, H, Fut>(&self, subscriber: Subscriber, handler: H) -> Subscription
    where
        E: Event,
        H: Fn(Arc<E>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let of = TypeId::of::<E>();
        let mut state = self.inner.state();
        let number = state.next;
        state.next += 1;
        if !state.is_closed {
            let (sender, events) = mpsc::channel(subscriber.room);
            let telemetry = self.inner.telemetry.of::<E>(&subscriber.name);
            let seat =
                Seat { number, name: Arc::clone(&subscriber.name), patience: subscriber.patience, sender };
            state.seats.entry(of).or_default().push(seat);
            state.tasks.insert(number, tokio::spawn(run(subscriber, telemetry, events, handler)));
        }
        Subscription { bus: Arc::downgrade(&self.inner), of, number }
    }

    /// Gives an event to all that subscribe to its type, and tells how many these are. Who has no room is waited for, as long
    /// as it lets a publisher wait, after all others have the event.
    ///
    /// # Errors
    /// The bus is closed, or a subscriber had no room in time. The event comes to all others in any case.
    pub async fn publish<E: Event>(&self, event: E) -> Result<usize, PublishError> {
        let seats = {
            let state = self.inner.state();
            if state.is_closed {
                return Err(PublishError::Closed { event: E::NAME });
            }
            state.seats.get(&TypeId::of::<E>()).cloned().unwrap_or_default()
        };
        let event: Arc<dyn Any + Send + Sync> = Arc::new(event);
        let context = Context::current();
        let current = correlation::held().unwrap_or_else(|| Current {
            correlation_id: CorrelationId::generate(E::NAME),
            causation_id: None,
        });
        telemetry::published(&context, E::NAME, seats.len());
        let posted =
            || Posted { event: Arc::clone(&event), context: context.clone(), current: current.clone() };
        let mut full = Vec::new();
        for seat in &seats {
            match seat.sender.try_send(posted()) {
                // Who has left meanwhile wants it no more.
                Ok(()) | Err(TrySendError::Closed(_)) => {}
                Err(TrySendError::Full(posted)) => full.push((seat, posted)),
            }
        }
        let waiting = full.into_iter().map(|(seat, posted)| seat.wait(posted));
        let missed: Vec<_> = join_all(waiting).await.into_iter().flatten().collect();
        if missed.is_empty() {
            return Ok(seats.len());
        }
        self.inner.telemetry.missed(&context, E::NAME, &missed);
        Err(PublishError::Missed { event: E::NAME, subscribers: missed })
    }

    /// Takes no more events, and waits until those that were published are handled. Not to be awaited by a handler, which
    /// would wait for itself.
    pub async fn close(&self) {
        let tasks = {
            let mut state = self.inner.state();
            state.is_closed = true;
            state.seats.clear();
            std::mem::take(&mut state.tasks)
        };
        join_all(tasks.into_values()).await;
    }
}

/// A subscriber's place on a bus. It stays when this is dropped; [`Self::end`] gives it up.
#[derive(Debug)]
pub struct Subscription {
    bus: Weak<Inner>,
    of: TypeId,
    number: u64,
}

impl Subscription {
    /// Takes no more events, and waits until those that it has are handled. Not to be awaited by its own handler.
    pub async fn end(self) {
        let Some(bus) = self.bus.upgrade() else { return };
        let task = {
            let mut state = bus.state();
            if let Some(seats) = state.seats.get_mut(&self.of) {
                seats.retain(|seat| seat.number != self.number);
            }
            state.tasks.remove(&self.number)
        };
        if let Some(task) = task {
            // What a handler panics with stays with it: see `subscriber`.
            let _ = task.await;
        }
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}
