//! What one subscription holds of its partitions: what was read, what is at hand, and how far all is done.
//!
//! Kafka knows one number for each partition and group: all before it is done. So the ledger keeps which records are not
//! settled, and the number is the lowest of them. No Kafka and no time in here but numbers.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::wire::Read;

/// A topic and the number of its partition.
pub(super) type Place = (String, i32);

/// A record, and the time for which its partition has been ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub place: Place,
    pub offset: i64,
    /// Grows with every assignment: what was read under another is not ours any more.
    pub epoch: u64,
}

/// A record that waits for a handler.
#[derive(Debug)]
pub(super) struct Record {
    pub ticket: Ticket,
    pub read: Read,
}

impl Record {
    /// Of its body, in bytes.
    pub fn size(&self) -> usize {
        self.read.message.body.len()
    }
}

struct Track {
    epoch: u64,
    /// The offset after the highest that was read.
    next: i64,
    /// Read and not settled.
    open: BTreeSet<i64>,
    /// What Kafka was told last.
    told: i64,
    at_hand: usize,
}

impl Track {
    fn done(&self) -> i64 {
        self.open.first().copied().unwrap_or(self.next)
    }
}

#[derive(Default)]
struct State {
    tracks: HashMap<Place, Track>,
    epochs: u64,
    ready: VecDeque<Record>,
    /// Not due yet, by time and order of arrival.
    waiting: BTreeMap<(u64, u64), Record>,
    arrivals: u64,
    ready_bytes: usize,
    waiting_bytes: usize,
    /// Nothing more is handed out.
    is_stopped: bool,
}

impl State {
    fn track(&mut self, ticket: &Ticket) -> Option<&mut Track> {
        self.tracks.get_mut(&ticket.place).filter(|track| track.epoch == ticket.epoch)
    }

    /// Forgets what waits of the places given; it stays unsettled.
    fn drop_waiting(&mut self, is_gone: impl Fn(&Place) -> bool) {
        self.ready.retain(|record| !is_gone(&record.ticket.place));
        self.waiting.retain(|_, record| !is_gone(&record.ticket.place));
        self.ready_bytes = self.ready.iter().map(Record::size).sum();
        self.waiting_bytes = self.waiting.values().map(Record::size).sum();
    }
}

/// How much one subscription holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub ready: usize,
    /// Of the bodies of what is ready.
    pub ready_bytes: usize,
    pub waiting: usize,
    /// Of the bodies of what waits.
    pub waiting_bytes: usize,
    pub at_hand: usize,
}

/// Shared by the thread that reads, the consumer and its deliveries.
#[derive(Default)]
pub(super) struct Ledger {
    state: Mutex<State>,
    /// Told when something becomes ready, or it is over.
    pub more: Notify,
    settled: Condvar,
}

impl Ledger {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a record was read. None where nothing is taken any more.
    pub fn take(&self, topic: &str, partition: i32, offset: i64) -> Option<Ticket> {
        let mut state = self.state();
        if state.is_stopped {
            return None;
        }
        let place = (topic.to_owned(), partition);
        // A topic that was made anew begins at zero again.
        let is_known = state.tracks.get(&place).is_some_and(|track| offset >= track.next);
        if !is_known {
            state.drop_waiting(|gone| *gone == place);
            state.epochs += 1;
            let epoch = state.epochs;
            let track = Track { epoch, next: offset, open: BTreeSet::new(), told: offset, at_hand: 0 };
            state.tracks.insert(place.clone(), track);
        }
        let track = state.tracks.get_mut(&place)?;
        track.next = offset + 1;
        track.open.insert(offset);
        Some(Ticket { place, offset, epoch: track.epoch })
    }

    /// Puts a record that was taken where it waits for its time or for a handler.
    pub fn queue(&self, record: Record, now: u64) {
        let mut state = self.state();
        if state.is_stopped || state.track(&record.ticket).is_none() {
            return;
        }
        if record.read.not_before > now {
            state.arrivals += 1;
            let key = (record.read.not_before, state.arrivals);
            state.waiting_bytes += record.size();
            state.waiting.insert(key, record);
        } else {
            state.ready_bytes += record.size();
            state.ready.push_back(record);
            self.more.notify_one();
        }
    }

    /// Makes ready what is due, and tells when the next is.
    pub fn promote(&self, now: u64) -> Option<u64> {
        let mut state = self.state();
        while let Some(entry) = state.waiting.first_entry() {
            if entry.key().0 > now {
                return Some(entry.key().0);
            }
            let record = entry.remove();
            state.waiting_bytes -= record.size();
            state.ready_bytes += record.size();
            state.ready.push_back(record);
            self.more.notify_one();
        }
        None
    }

    /// The next record, which is at hand from now on.
    pub fn hand_out(&self) -> Option<Record> {
        let mut state = self.state();
        let record = state.ready.pop_front()?;
        state.ready_bytes -= record.size();
        if let Some(track) = state.track(&record.ticket) {
            track.at_hand += 1;
        }
        if !state.ready.is_empty() {
            self.more.notify_one();
        }
        Some(record)
    }

    pub fn is_ours(&self, ticket: &Ticket) -> bool {
        self.state().track(ticket).is_some_and(|track| track.open.contains(&ticket.offset))
    }

    /// Notes that a record is settled; false where it is not ours any more.
    pub fn settle(&self, ticket: &Ticket) -> bool {
        self.state().track(ticket).is_some_and(|track| track.open.remove(&ticket.offset))
    }

    /// Notes that a record is not at hand any more, settled or not.
    pub fn release(&self, ticket: &Ticket) {
        if let Some(track) = self.state().track(ticket) {
            track.at_hand = track.at_hand.saturating_sub(1);
        }
        self.settled.notify_all();
    }

    /// How far each place is done, where Kafka was not told yet. From now on it counts as told.
    pub fn to_tell(&self) -> Vec<(Place, i64)> {
        let mut state = self.state();
        let mut out = Vec::new();
        for (place, track) in &mut state.tracks {
            let done = track.done();
            if done > track.told {
                track.told = done;
                out.push((place.clone(), done));
            }
        }
        out
    }

    /// Kafka was not told after all.
    pub fn not_told(&self) {
        self.state().tracks.values_mut().for_each(|track| track.told = -1);
    }

    /// Hands out nothing more of these places, and waits until nothing of them is at hand, for `until` at most. Blocks.
    pub fn withdraw(&self, places: &[Place], until: Instant) {
        let mut state = self.state();
        state.drop_waiting(|place| places.contains(place));
        while places.iter().any(|place| state.tracks.get(place).is_some_and(|track| track.at_hand > 0)) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.settled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// These places are not ours any more.
    pub fn forget(&self, places: &[Place]) {
        let mut state = self.state();
        state.drop_waiting(|place| places.contains(place));
        state.tracks.retain(|place, _| !places.contains(place));
        self.settled.notify_all();
    }

    /// Hands out and takes nothing more; what is at hand may still be settled.
    pub fn stop(&self) {
        let mut state = self.state();
        state.is_stopped = true;
        state.drop_waiting(|_| true);
        drop(state);
        self.more.notify_one();
    }

    /// It is over: what is at hand is not ours any more.
    pub fn end(&self) {
        self.stop();
        self.state().tracks.clear();
        self.settled.notify_all();
    }

    pub fn is_stopped(&self) -> bool {
        self.state().is_stopped
    }

    pub fn held(&self) -> Held {
        let state = self.state();
        let at_hand = state.tracks.values().map(|track| track.at_hand).sum();
        Held {
            ready: state.ready.len(),
            ready_bytes: state.ready_bytes,
            waiting: state.waiting.len(),
            waiting_bytes: state.waiting_bytes,
            at_hand,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::SystemTime;

    use bytes::Bytes;

    use super::*;
    use crate::comms::correlation::CorrelationId;
    use crate::comms::queue::message::Message;

    fn put(ledger: &Ledger, offset: i64, not_before: u64) -> Ticket {
        let ticket = ledger.take("orders", 0, offset).expect("taken");
        let message = Message {
            id: offset.to_string(),
            kind: String::new(),
            version: 1,
            time: SystemTime::UNIX_EPOCH,
            correlation_id: CorrelationId::generate("test"),
            causation_id: None,
            headers: BTreeMap::new(),
            content_type: String::new(),
            body: Bytes::from_static(b"12"),
        };
        let (exchange, routing_key) = (String::new(), String::new());
        let read = Read { message, exchange, routing_key, number: 1, not_before };
        ledger.queue(Record { ticket: ticket.clone(), read }, 100);
        ticket
    }

    fn told(ledger: &Ledger) -> Option<i64> {
        ledger.to_tell().first().map(|(_, offset)| *offset)
    }

    #[test]
    fn what_is_told_is_the_lowest_that_is_not_settled() {
        let ledger = Ledger::default();
        let all = [5, 6, 9].map(|offset| put(&ledger, offset, 0));
        assert_eq!(told(&ledger), None, "it is there already");
        assert!(ledger.settle(&all[2]) && ledger.settle(&all[1]));
        assert_eq!(told(&ledger), None, "the first is still open");
        assert!(ledger.settle(&all[0]) && !ledger.settle(&all[0]));
        assert_eq!(told(&ledger), Some(10));
        ledger.not_told();
        assert_eq!(told(&ledger), Some(10), "told again where that failed");
    }

    #[test]
    fn what_was_taken_away_is_not_settled() {
        let ledger = Ledger::default();
        let before = put(&ledger, 5, 0);
        assert!(ledger.hand_out().is_some());
        ledger.forget(&[("orders".to_owned(), 0)]);
        assert!(!ledger.settle(&before));
        let again = put(&ledger, 5, 0);
        assert!(!ledger.settle(&before) && ledger.settle(&again));
        ledger.release(&before);
        assert_eq!(ledger.held().at_hand, 0);
    }

    #[test]
    fn a_topic_that_was_made_anew_is_read_from_its_start() {
        let ledger = Ledger::default();
        let before = put(&ledger, 5, 0);
        let anew = put(&ledger, 0, 0);
        assert!(!ledger.settle(&before) && ledger.settle(&anew));
        assert_eq!((ledger.held().ready, told(&ledger)), (1, Some(1)));
    }

    #[test]
    fn what_is_not_due_waits_and_holds_back_what_is_told() {
        let ledger = Ledger::default();
        put(&ledger, 0, 300);
        put(&ledger, 1, 200);
        let second = put(&ledger, 2, 0);
        assert_eq!(
            ledger.held(),
            Held { ready: 1, ready_bytes: 2, waiting: 2, waiting_bytes: 4, at_hand: 0 }
        );
        let record = ledger.hand_out().expect("the one that is due");
        assert_eq!(record.ticket, second);
        assert_eq!(ledger.promote(200), Some(300));
        assert_eq!(ledger.hand_out().expect("due").ticket.offset, 1);
        assert_eq!(told(&ledger), None);
        ledger.stop();
        assert_eq!(ledger.held(), Held { at_hand: 2, ..Held::default() });
        assert!(ledger.take("orders", 0, 3).is_none());
        assert!(ledger.settle(&second), "what is at hand may still be settled");
    }
}
