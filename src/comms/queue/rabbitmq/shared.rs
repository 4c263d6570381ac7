//! One channel for many messages at a time, each of which is told of its own answer.
//!
//! The client leaves two things to who shares a channel. It takes a message's number before it queues the message, so two
//! that are sent at once may get each other's confirm: here they are sent one after the other, under a lock. And it hands a
//! returned message to whichever confirm comes next: here no answer is believed before all that came before it have been
//! looked at, and a returned message counts for the one that it is.
//!
//! Why that is enough: RabbitMQ returns a message before it confirms it, and the client resolves confirms in order, on one
//! thread, each taking the oldest message that was returned and is with nobody yet. So a returned message is with a confirm
//! no later than its own, unless its own took another one that was older; then it is with one of those that were still on
//! their way at that time ([`Way::Over`]'s `after`).

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use lapin::message::Delivery;
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{Channel, Confirmation};

use super::send::Letter;
use super::topology::short;

/// A message from its sending to its confirm.
type Sending = Pin<Box<dyn Future<Output = lapin::Result<Confirmation>> + Send>>;

/// What became of a message.
pub(super) enum Answer {
    Taken,
    /// A queue is full or cannot be written now.
    NotTaken,
    /// No queue wants it.
    Returned,
    /// The channel is gone, and nobody knows.
    Lost(lapin::Error),
}

/// The channel and what is on its way over it.
pub(super) struct Shared {
    channel: Channel,
    sent: Mutex<Sent>,
}

#[derive(Default)]
struct Sent {
    /// In the order in which they were sent.
    slots: BTreeMap<u64, Slot>,
    next: u64,
    given: Arc<Given>,
}

/// The numbers of messages to which something has happened since the last look.
#[derive(Default)]
struct Given(Mutex<Vec<u64>>);

impl Given {
    fn lock(&self) -> MutexGuard<'_, Vec<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Slot {
    identity: Identity,
    way: Way,
    signal: Arc<Signal>,
    is_returned: bool,
    /// Whether its sender has gone. It is kept until its answer is there, which may carry another's message.
    is_left: bool,
}

enum Way {
    On(Sending),
    Over {
        /// Whether the broker took it.
        answer: lapin::Result<bool>,
        /// The answer carried another's message. It is believed once all before this number have theirs.
        after: Option<u64>,
    },
}

/// What a returned message is known by. Two messages that are the same in all of it have the same fate.
#[derive(PartialEq, Eq)]
struct Identity {
    exchange: ShortString,
    routing_key: ShortString,
    id: Option<ShortString>,
}

/// Remembers that something has happened to a message, and wakes its sender.
struct Signal {
    number: u64,
    given: Arc<Given>,
    /// Whether its number is among those given.
    is_given: AtomicBool,
    sender: AtomicWaker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_given.swap(true, Ordering::AcqRel) {
            self.given.lock().push(self.number);
        }
        self.sender.wake();
    }
}

impl Shared {
    /// Shares a channel that confirms.
    pub fn new(channel: Channel) -> Self {
        Self { channel, sent: Mutex::default() }
    }

    /// Whether messages can still be sent over it.
    pub fn is_open(&self) -> bool {
        self.channel.status().connected()
    }

    fn lock(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message and waits for its answer.
    pub async fn send(&self, letter: &Letter<'_>) -> Answer {
        let number = self.begin(letter);
        let _leaving = Leaving { shared: self, number };
        poll_fn(|context| self.lock().answer(number, context)).await
    }

    fn begin(&self, letter: &Letter<'_>) -> u64 {
        let (exchange, routing_key) = (short(letter.exchange), short(letter.routing_key));
        let properties = (letter.properties)();
        let id = properties.message_id().clone();
        let identity = Identity { exchange: exchange.clone(), routing_key: routing_key.clone(), id };
        let (channel, body) = (self.channel.clone(), letter.body.clone());
        let mut sending: Sending = Box::pin(async move {
            let options = BasicPublishOptions { mandatory: true, ..Default::default() };
            channel.basic_publish(exchange, routing_key, options, &body, properties).await?.await
        });
        let mut sent = self.lock();
        let (number, given) = (sent.next, Arc::clone(&sent.given));
        sent.next += 1;
        let signal = Signal { number, given, is_given: AtomicBool::new(false), sender: AtomicWaker::new() };
        let signal = Arc::new(signal);
        let waker = Waker::from(Arc::clone(&signal));
        // Under the lock: this gives the message its number and a place in the client's queue.
        let begun = sending.as_mut().poll(&mut Context::from_waker(&waker));
        let slot = Slot { identity, way: Way::On(sending), signal, is_returned: false, is_left: false };
        sent.slots.insert(number, slot);
        if let Poll::Ready(answer) = begun {
            sent.note(number, answer);
        }
        number
    }
}

impl Sent {
    fn answer(&mut self, number: u64, context: &Context<'_>) -> Poll<Answer> {
        let Some(slot) = self.slots.get(&number) else { return Poll::Pending };
        slot.signal.sender.register(context.waker());
        if matches!(slot.way, Way::On(_)) {
            self.look();
        }
        let is_waiting = self.slots.get(&number).is_none_or(|slot| match &slot.way {
            Way::On(_) => true,
            Way::Over { after: Some(after), .. } if !slot.is_returned => self.is_any_on_its_way(*after),
            Way::Over { .. } => false,
        });
        if is_waiting {
            return Poll::Pending;
        }
        let Some(Slot { way: Way::Over { answer, .. }, is_returned, .. }) = self.slots.remove(&number) else {
            return Poll::Pending;
        };
        Poll::Ready(match answer {
            _ if is_returned => Answer::Returned,
            Ok(true) => Answer::Taken,
            Ok(false) => Answer::NotTaken,
            Err(error) => Answer::Lost(error),
        })
    }

    fn is_any_on_its_way(&self, before: u64) -> bool {
        self.slots.range(..before).any(|(_, slot)| matches!(slot.way, Way::On(_)))
    }

    /// Takes all answers that are there. It ends with a look that found none, so whatever came before those that were
    /// found has been seen.
    fn look(&mut self) {
        let mut has_found = false;
        loop {
            let mut found = Vec::new();
            let mut given = std::mem::take(&mut *self.given.lock());
            given.sort_unstable();
            for number in given {
                let Some(slot) = self.slots.get_mut(&number) else { continue };
                // Before it is asked: what happens to it from now on is for the next look.
                slot.signal.is_given.swap(false, Ordering::AcqRel);
                let Way::On(sending) = &mut slot.way else { continue };
                let waker = Waker::from(Arc::clone(&slot.signal));
                if let Poll::Ready(answer) = sending.as_mut().poll(&mut Context::from_waker(&waker)) {
                    found.push((number, answer));
                }
            }
            if found.is_empty() {
                break;
            }
            has_found = true;
            for (number, answer) in found {
                self.note(number, answer);
            }
        }
        if has_found {
            for slot in self.slots.values() {
                if matches!(slot.way, Way::Over { after: Some(_), .. }) {
                    slot.signal.sender.wake();
                }
            }
        }
    }

    fn note(&mut self, number: u64, answer: lapin::Result<Confirmation>) {
        let mut after = None;
        let answer = answer.map(|confirmation| {
            let is_taken = confirmation.is_ack();
            if let Some(returned) = confirmation.take_message()
                && !self.returned(&returned.delivery, number)
            {
                after = Some(self.next);
            }
            is_taken
        });
        if let Some(slot) = self.slots.get_mut(&number) {
            slot.way = Way::Over { answer, after };
            slot.signal.sender.wake();
            if slot.is_left {
                self.slots.remove(&number);
            }
        }
    }

    /// Marks whose message was returned; whether that is `number`'s.
    fn returned(&mut self, delivery: &Delivery, number: u64) -> bool {
        let (exchange, routing_key) = (delivery.exchange.clone(), delivery.routing_key.clone());
        let identity = Identity { exchange, routing_key, id: delivery.properties.message_id().clone() };
        let mut is_own = false;
        for (of, slot) in self.slots.iter_mut().filter(|(_, slot)| slot.identity == identity) {
            slot.is_returned = true;
            is_own |= *of == number;
        }
        is_own
    }
}

/// The sender's wait. When it is given up, the answer is still to be taken by somebody.
struct Leaving<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let mut sent = self.shared.lock();
        let Some(slot) = sent.slots.get_mut(&self.number) else { return };
        slot.is_left = true;
        if matches!(slot.way, Way::Over { .. }) {
            sent.slots.remove(&self.number);
        }
    }
}
