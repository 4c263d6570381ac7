//! Redrives that are under way or were: what each is to do, how far it has come, and what became of each message.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::order::Order;
use super::{Place, Trouble};
use crate::dashboard::model::{Nanos, now};

/// Jobs at the same time; one of a queue.
const AT_ONCE: usize = 4;
/// Jobs that are remembered.
const MOST: usize = 50;
/// Results of a job that are kept; those beyond are counted.
pub const MOST_RESULTS: usize = 10_000;

/// What became of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was sent and is gone from here.
    Sent,
    /// It was sent, and perhaps once before: the last redrive of this queue ended in the middle, and the broker had given the
    /// message out already.
    SentPerhapsTwice,
    /// A dry run: it would be sent.
    Would,
    /// It is where it was; why.
    Kept(String),
    /// It is where it was, and may be there too where it was sent; why.
    Unknown(String),
}

impl Outcome {
    /// As programs read it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::SentPerhapsTwice => "sent_perhaps_twice",
            Self::Would => "would_be_sent",
            Self::Kept(_) => "kept",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// One message's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// As in the header of its copy.
    pub number: u64,
    pub message_id: Option<String>,
    pub correlation: Option<String>,
    pub mark: String,
    /// Exchange, empty for the default one, and routing key; `None` where nothing tells.
    pub to: Option<(String, String)>,
    pub outcome: Outcome,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Done,
    Stopped,
    Failed(String),
}

/// How far a job has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Messages that were ready when it began; `None` before that is known.
    pub ready: Option<u64>,
    pub looked_at: u64,
    /// Those that were meant.
    pub meant: u64,
    /// Sent, or in a dry run those that would be.
    pub sent: u64,
    pub kept: u64,
    pub unknown: u64,
    pub perhaps_twice: u64,
    pub results: Vec<Row>,
    pub ended: Option<(Nanos, Ended)>,
}

impl Progress {
    /// Counts a result, and keeps it while there is room.
    pub fn add(&mut self, row: Row) {
        match &row.outcome {
            Outcome::Sent | Outcome::Would => self.sent += 1,
            Outcome::SentPerhapsTwice => {
                self.sent += 1;
                self.perhaps_twice += 1;
            }
            Outcome::Kept(_) => self.kept += 1,
            Outcome::Unknown(_) => self.unknown += 1,
        }
        if self.results.len() < MOST_RESULTS {
            self.results.push(row);
        }
    }

    /// Results that are counted and not kept.
    pub fn left_out(&self) -> u64 {
        (self.sent + self.kept + self.unknown).saturating_sub(self.results.len() as u64)
    }
}

/// A redrive.
#[derive(Debug)]
pub struct Job {
    /// The number of its row in the audit.
    pub id: u64,
    pub place: Place,
    pub order: Order,
    pub who: String,
    pub started: Nanos,
    pub stop: CancellationToken,
    progress: Mutex<Progress>,
}

impl Job {
    pub(super) fn new(id: u64, place: Place, order: Order, who: String) -> Self {
        let stop = CancellationToken::new();
        Self { id, place, order, who, started: now(), stop, progress: Mutex::default() }
    }

    /// As it is now.
    pub fn progress(&self) -> Progress {
        self.lock().clone()
    }

    /// Whether it is under way.
    pub fn is_active(&self) -> bool {
        self.lock().ended.is_none()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All jobs of this process.
#[derive(Debug)]
pub struct Jobs {
    all: Mutex<VecDeque<Arc<Job>>>,
    /// Queues for which a job is being begun.
    reserved: Mutex<Vec<Place>>,
    changes: watch::Sender<u64>,
    pub(super) tasks: TaskTracker,
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            all: Mutex::default(),
            reserved: Mutex::default(),
            changes: watch::Sender::new(0),
            tasks: TaskTracker::new(),
        }
    }
}

/// The right to begin a job for a queue; given back when it is dropped.
pub(super) struct Reserved<'a>(&'a Jobs, Place);

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let mut reserved = self.0.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        reserved.retain(|place| *place != self.1);
    }
}

impl Jobs {
    /// A job by its number.
    pub fn find(&self, id: u64) -> Option<Arc<Job>> {
        self.lock().iter().find(|job| job.id == id).cloned()
    }

    /// Those of a queue, the newest first.
    pub fn of(&self, place: &Place) -> Vec<Arc<Job>> {
        self.lock().iter().filter(|job| job.place == *place).cloned().collect()
    }

    /// Counts up when one of them has come further.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// The right to begin one for a queue.
    ///
    /// # Errors
    /// One is under way for it, or too many are.
    pub(super) fn reserve(&self, place: &Place) -> Result<Reserved<'_>, Trouble> {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.lock();
        let active = all.iter().filter(|job| job.is_active());
        if let Some(other) = active.clone().find(|job| job.place == *place) {
            return Err(Trouble::Refused(format!(
                "redrive {} of this queue is under way: wait for its end, or stop it",
                other.id
            )));
        }
        if reserved.contains(place) {
            return Err(Trouble::Refused("a redrive of this queue is just beginning".to_owned()));
        }
        if active.count() + reserved.len() >= AT_ONCE {
            return Err(Trouble::Refused(format!(
                "{AT_ONCE} redrives are under way already: wait for the end of one"
            )));
        }
        reserved.push(place.clone());
        Ok(Reserved(self, place.clone()))
    }

    pub(super) fn put(&self, job: Arc<Job>) {
        let mut all = self.lock();
        all.push_front(job);
        while all.len() > MOST {
            match all.iter().rposition(|job| !job.is_active()) {
                Some(old) => all.remove(old),
                None => break,
            };
        }
        drop(all);
        self.changed();
    }

    /// Stops all and waits for their ends.
    pub async fn close(&self) {
        self.lock().iter().for_each(|job| job.stop.cancel());
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Job>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
