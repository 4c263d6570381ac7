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
//! Handlers may publish, also while the bus is being closed. Two that wait for room at each other wait as long as their patience
//! allows, and then miss; one that publishes to itself while its own room is full misses at once.
//!
//! | file | what lives there |
//! |---|---|
//! | `mod.rs` | [`EventBus`]: publishing, and who subscribes to what |
//! | `subscriber.rs` | [`Subscriber`] and how it handles its events |
//! | `pending.rs` | how many events are not handled yet |
//! | `telemetry.rs` | spans, metrics and logs |

mod pending;
mod subscriber;
mod telemetry;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::future::join_all;
use opentelemetry::Context;
use opentelemetry::trace::TraceContextExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::pending::{Pending, Waiting};
pub use self::subscriber::Subscriber;
use self::subscriber::{Seat, handling, next_number, run};
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
    /// These had no room for it, as long as they let a publisher wait, or have ended with the runtime that they ran on; all
    /// others have it.
    #[error("`{event}` was missed by {}", subscribers.join(", "))]
    Missed { event: &'static str, subscribers: Vec<Arc<str>> },
}

/// An event on its way to a subscriber.
struct Posted {
    event: Arc<dyn Any + Send + Sync>,
    /// The publisher's span, by its IDs alone so that it may end, and its baggage.
    context: Context,
    /// What the publisher works for.
    current: Current,
    /// Until it was handled, or thrown away.
    _waiting: Waiting,
}

/// The bus; cheap to clone, and clones are the same bus.
///
/// To be ended by [`Self::close`]. A handler that holds a clone keeps the bus until then; where none does, the last clone that is
/// dropped takes with it what waits and what is being handled.
#[derive(Clone, Default)]
pub struct EventBus {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    pending: Pending,
    telemetry: Telemetry,
}

#[derive(Default)]
struct State {
    /// Whether events come from handlers alone.
    is_closing: bool,
    is_closed: bool,
    seats: HashMap<TypeId, Vec<Seat>>,
    /// Those who handle, by the numbers of their seats.
    tasks: HashMap<u64, Task>,
}

/// One who handles.
struct Task {
    handle: JoinHandle<()>,
    /// Says to take no more events.
    last_call: CancellationToken,
    /// Says that all are handled.
    is_done: CancellationToken,
}

impl Drop for State {
    fn drop(&mut self) {
        self.tasks.values().for_each(|task| task.handle.abort());
    }
}

impl Inner {
    /// What can panic happens before a change begins.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventBus {
    pub fn new() -> Self {
        Self::default()
    }

    /// Has every event of a type handled from now on, with the room and the patience of [`Subscriber::new`].
    ///
    /// # Panics
    /// There is no runtime of tokio.
    pub fn subscribe<E, H, Fut>(&self, name: &str, handler: H) -> Subscription
    where
        E: Event,
        H: Fn(Arc<E>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        self.subscribe_as(Subscriber::new(name), handler)
    }

    /// As [`Self::subscribe`], with room and patience of its own. On a bus that is closed nothing will come.
    ///
    /// # Panics
    /// There is no runtime of tokio.
    pub fn subscribe_as<E, H, Fut>(&self, subscriber: Subscriber, handler: H) -> Subscription
    where
        E: Event,
        H: Fn(Arc<E>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let of = TypeId::of::<E>();
        let mut state = self.inner.state();
        state.tasks.retain(|_, task| !task.handle.is_finished());
        let number = next_number();
        if !state.is_closed {
            let (sender, events) = mpsc::channel(subscriber.room);
            let (last_call, is_done) = (CancellationToken::new(), CancellationToken::new());
            let seat = Seat::new(number, &subscriber, sender, last_call.clone());
            let told = self.inner.telemetry.of::<E>(&subscriber.name);
            let (ending, done) = (last_call.clone(), is_done.clone().drop_guard());
            let handle = tokio::spawn(async move {
                let _done = done;
                run(number, subscriber, told, events, ending, handler).await;
            });
            state.tasks.insert(number, Task { handle, last_call, is_done });
            state.seats.entry(of).or_default().push(seat);
        }
        Subscription { bus: Arc::downgrade(&self.inner), of, number }
    }

    /// Gives an event to all that subscribe to its type, and tells how many took it. Who has no room is waited for, as long as it
    /// lets a publisher wait, after all others have the event; who gives up waiting gives up for these.
    ///
    /// # Errors
    /// The bus is closed, or a subscriber had no room in time. The event comes to all others in any case.
    pub async fn publish<E: Event>(&self, event: E) -> Result<usize, PublishError> {
        // Counted before anybody can find that there are none.
        let (seats, _publishing) = {
            let state = self.inner.state();
            let is_ours = || handling().is_some_and(|number| state.tasks.contains_key(&number));
            if state.is_closed || state.is_closing && !is_ours() {
                return Err(PublishError::Closed { event: E::NAME });
            }
            let seats: Vec<Seat> = state.seats.get(&TypeId::of::<E>()).cloned().unwrap_or_default();
            (seats, self.inner.pending.one())
        };
        if seats.is_empty() {
            return Ok(0);
        }
        let event: Arc<dyn Any + Send + Sync> = Arc::new(event);
        let (publisher, current) = (Context::current(), current(E::NAME));
        let context = by_its_ids(&publisher);
        let given = seats.into_iter().map(|seat| {
            let (event, context) = (Arc::clone(&event), context.clone());
            let posted =
                Posted { event, context, current: current.clone(), _waiting: self.inner.pending.one() };
            seat.give(posted, self.inner.telemetry.missing::<E>(&publisher))
        });
        // Each gives at its first poll, or begins to wait.
        let mut taken = 0;
        let mut missed = Vec::new();
        for outcome in join_all(given).await {
            match outcome {
                Ok(is_taken) => taken += usize::from(is_taken),
                Err(name) => missed.push(name),
            }
        }
        if missed.is_empty() {
            Ok(taken)
        } else {
            Err(PublishError::Missed { event: E::NAME, subscribers: missed })
        }
    }

    /// Takes no more events but those that handlers publish, waits until all are handled, and ends the subscribers. Not to be
    /// awaited by a handler, which would wait for itself. Where the time for it is limited, `tokio::time::timeout` may give it up;
    /// it can be awaited again, also by several.
    pub async fn close(&self) {
        self.inner.state().is_closing = true;
        self.inner.pending.none().await;
        let done: Vec<CancellationToken> = {
            let mut state = self.inner.state();
            state.is_closed = true;
            state.seats.clear();
            state.tasks.values().for_each(|task| task.last_call.cancel());
            state.tasks.values().map(|task| task.is_done.clone()).collect()
        };
        for task in done {
            task.cancelled().await;
        }
    }
}

/// What the publisher works for; an event outside of any request begins a correlation ID of its own.
fn current(event: &str) -> Current {
    correlation::held()
        .unwrap_or_else(|| Current { correlation_id: CorrelationId::generate(event), causation_id: None })
}

/// A context whose span is named and not held: one that is held cannot end by being dropped.
fn by_its_ids(context: &Context) -> Context {
    let span = context.span().span_context().clone();
    if span.is_valid() { context.with_remote_span_context(span) } else { context.clone() }
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
        let done = {
            let mut state = bus.state();
            if let Some(seats) = state.seats.get_mut(&self.of) {
                seats.retain(|seat| seat.number != self.number);
            }
            state.tasks.get(&self.number).map(|task| {
                task.last_call.cancel();
                task.is_done.clone()
            })
        };
        if let Some(done) = done {
            done.cancelled().await;
        }
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").finish_non_exhaustive()
    }
}
