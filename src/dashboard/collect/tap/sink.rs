//! From a tap into the store: a bounded buffer, and one task that empties it by the store's own door.
//!
//! Several messages go in one commit, ten times a second at most. What finds no room is counted and gone: a broker is never
//! held up by what somebody looks at.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::dashboard::model::correlation::Keys;
use crate::dashboard::model::messages::{self, Message, Source, TapCounts};
use crate::dashboard::model::now;
use crate::dashboard::model::otlp::Batch;
use crate::dashboard::store::Ingest;

/// Messages and bytes that wait for the store at most.
const MOST: usize = 8_192;
const MOST_BYTES: usize = 32 << 20;
/// Messages of one commit, and the time between two commits.
const AT_ONCE: usize = 4_096;
const PACE: Duration = Duration::from_millis(100);
/// How often, and after which pause, a store that takes nothing is asked again before messages are let go.
const TRIES: u32 = 3;
const AGAIN: Duration = Duration::from_millis(500);
/// What a message takes besides its body, about.
const AROUND: usize = 1_024;

/// Takes what a tap sees.
pub struct Sink {
    sender: mpsc::Sender<Message>,
    bytes: Arc<AtomicUsize>,
    counts: Arc<TapCounts>,
    /// Bytes of a body that are kept.
    pub body: usize,
}

/// Brings it into the store.
pub struct Keeper {
    source: Source,
    receiver: mpsc::Receiver<Message>,
    bytes: Arc<AtomicUsize>,
    counts: Arc<TapCounts>,
    ingest: Arc<dyn Ingest>,
    keys: Arc<Keys>,
}

/// Both ends of the way.
pub fn open(source: Source, body: usize, ingest: Arc<dyn Ingest>, keys: Arc<Keys>) -> (Sink, Keeper) {
    let (sender, receiver) = mpsc::channel(MOST);
    let (bytes, counts) = (Arc::<AtomicUsize>::default(), Arc::<TapCounts>::default());
    let sink = Sink { sender, bytes: bytes.clone(), counts: counts.clone(), body };
    (sink, Keeper { source, receiver, bytes, counts, ingest, keys })
}

fn weight(message: &Message) -> usize {
    message.body.len() + AROUND
}

impl Sink {
    /// What came and what was let go; goes on counting.
    pub fn counts(&self) -> Arc<TapCounts> {
        self.counts.clone()
    }

    /// Takes a message, or counts it where there is no room.
    pub fn take(&self, message: Message) {
        self.counts.seen.fetch_add(1, Ordering::Relaxed);
        self.counts.last.store(now(), Ordering::Relaxed);
        let weight = weight(&message);
        let has_room = self.bytes.fetch_add(weight, Ordering::Relaxed) + weight <= MOST_BYTES;
        if !has_room || self.sender.try_send(message).is_err() {
            self.bytes.fetch_sub(weight, Ordering::Relaxed);
            self.counts.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Keeper {
    /// Brings messages into the store until `stop`, then those that wait.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut some = Vec::new();
        loop {
            let count = tokio::select! {
                count = self.receiver.recv_many(&mut some, AT_ONCE) => count,
                () = stop.cancelled() => break,
            };
            if count == 0 {
                return;
            }
            self.keep(&mut some).await;
            if count < AT_ONCE {
                tokio::select! {
                    () = tokio::time::sleep(PACE) => {}
                    () = stop.cancelled() => break,
                }
            }
        }
        self.receiver.close();
        while self.receiver.recv_many(&mut some, AT_ONCE).await > 0 {
            self.keep(&mut some).await;
        }
    }

    async fn keep(&self, some: &mut Vec<Message>) {
        let request = messages::request(&self.source, some);
        let count = some.len() as u64;
        self.bytes.fetch_sub(some.drain(..).map(|message| weight(&message)).sum(), Ordering::Relaxed);
        let batch = match Batch::logs(request.into(), &self.keys) {
            Ok(batch) => batch,
            Err(error) => {
                tracing::error!(%error, "messages cannot be read back");
                self.counts.dropped.fetch_add(count, Ordering::Relaxed);
                return;
            }
        };
        for number in 1..=TRIES {
            match self.ingest.ingest(batch.clone()).await {
                Ok(_) => return,
                Err(error) if number == TRIES => {
                    tracing::warn!(count, "messages are let go: {error}");
                    self.counts.dropped.fetch_add(count, Ordering::Relaxed);
                }
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }
}
