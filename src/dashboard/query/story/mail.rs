//! The messages of a story: who sent each, who took it, how often, and where it waited meanwhile.
//!
//! Messages are counted by their ID, never by producer spans, which some instrumentations double. A delivery
//! is tied to its message by that ID, else by its parent, else by a span link.
//! What must not live here: sentences, positions.

use std::collections::HashMap;

use super::read::{Deed, Letter, Outcome};
use super::steps::Steps;
use crate::dashboard::model::{Kind, Nanos};

/// One message, however often it was sent on or delivered.
#[derive(Debug)]
pub struct Post {
    /// The producer's step; the innermost where producers are doubled. `None` if it was not seen.
    pub sender: Option<usize>,
    /// Routing key or destination.
    pub name: String,
    /// One per queue or, where queues are not told, per consuming service.
    pub errands: Vec<Errand>,
}

/// A message's way through one queue.
#[derive(Debug)]
pub struct Errand {
    pub service: String,
    /// In order of their starts; never empty.
    pub deliveries: Vec<Delivery>,
}

/// One delivery.
#[derive(Debug)]
pub struct Delivery {
    pub step: usize,
    pub start: Nanos,
    /// From 1: as told, else counted.
    pub number: u32,
    /// Whether it is known to be a delivery of its own: told by the consumer, or it followed a failed one.
    pub numbered: bool,
    pub outcome: Option<Outcome>,
    pub failed: bool,
    pub settled_to: Option<String>,
    pub delay: Option<u64>,
    pub reason: Option<String>,
    /// The queue, exchange or topic that it came from.
    pub place: Place,
    /// How long it waited before, if that is known.
    pub wait: Option<Wait>,
}

/// Somewhere a message can be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    Queue(String),
    /// An exchange or a topic: the instrumentation does not tell the queue.
    Destination(String),
}

impl Place {
    pub fn name(&self) -> &str {
        match self {
            Place::Queue(name) | Place::Destination(name) => name,
        }
    }
}

/// Time that a message spent waiting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    pub place: Place,
    pub from: Nanos,
    pub to: Nanos,
    /// Whether it followed a failed delivery.
    pub again: bool,
}

impl Wait {
    pub fn length(&self) -> u64 {
        self.to - self.from
    }
}

/// Where a delivery stands: indices of post, errand, delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot(pub usize, pub usize, pub usize);

/// All messages of a story.
#[derive(Debug, Default)]
pub struct Mail {
    pub posts: Vec<Post>,
    /// Of a producer's step: its post. Doubled producers point at the same one.
    pub sent: HashMap<usize, usize>,
    /// Of a consumer's step: its delivery.
    pub taken: HashMap<usize, Spot>,
}

/// Links of one span that are followed: a consumer of batches may have thousands.
const MAX_LINKS: usize = 16;

impl Mail {
    /// Sorts the steps' letters into messages.
    pub fn of(steps: &Steps) -> Self {
        let mut mail = Self::default();
        let mut by_id: HashMap<String, usize> = HashMap::new();
        mail.collect_senders(steps, &mut by_id);
        let mut takers: Vec<usize> = (0..steps.list.len()).filter(|at| takes(steps, *at)).collect();
        takers.sort_by_key(|at| steps.list[*at].start);
        for at in takers {
            mail.deliver(steps, at, &mut by_id);
        }
        mail.number_and_wait(steps);
        mail
    }

    /// The delivery at a spot.
    pub fn delivery(&self, spot: Spot) -> &Delivery {
        &self.posts[spot.0].errands[spot.1].deliveries[spot.2]
    }

    /// All deliveries with their spots.
    pub fn deliveries(&self) -> impl Iterator<Item = (Spot, &Delivery)> {
        self.posts.iter().enumerate().flat_map(|(p, post)| {
            post.errands.iter().enumerate().flat_map(move |(e, errand)| {
                errand.deliveries.iter().enumerate().map(move |(d, delivery)| (Spot(p, e, d), delivery))
            })
        })
    }

    /// Children come after their parents, so of doubled producers the innermost is kept.
    fn collect_senders(&mut self, steps: &Steps, by_id: &mut HashMap<String, usize>) {
        for &at in &steps.parents_first {
            let Deed::Sent(letter) = &steps.list[at].deed else { continue };
            let twin = steps.list[at].parent.filter(|parent| same_letter(steps, *parent, letter));
            let known = twin.and_then(|twin| self.sent.get(&twin).copied());
            let known = known.or_else(|| letter.id.as_ref().and_then(|id| by_id.get(id).copied()));
            let post = known.unwrap_or_else(|| self.open(letter));
            // A message sent on later, as on a redrive, keeps its first sender.
            if known.is_none() || twin.is_some() {
                self.posts[post].sender = Some(at);
            }
            self.sent.insert(at, post);
            if let Some(id) = &letter.id {
                by_id.entry(id.clone()).or_insert(post);
            }
        }
    }

    fn open(&mut self, letter: &Letter) -> usize {
        self.posts.push(Post { sender: None, name: letter.name().to_owned(), errands: Vec::new() });
        self.posts.len() - 1
    }

    fn deliver(&mut self, steps: &Steps, at: usize, by_id: &mut HashMap<String, usize>) {
        let step = &steps.list[at];
        let Deed::Took(letter) = &step.deed else { return };
        let known = letter.id.as_ref().and_then(|id| by_id.get(id).copied());
        let post = known.or_else(|| self.by_kin(steps, at)).unwrap_or_else(|| self.open(letter));
        if let Some(id) = &letter.id {
            by_id.entry(id.clone()).or_insert(post);
        }
        let place = self.place(post, letter);
        let delivery = Delivery {
            step: at,
            start: step.start,
            number: letter.number.unwrap_or(0),
            numbered: letter.number.is_some(),
            outcome: letter.outcome,
            failed: step.failed() || matches!(letter.outcome, Some(Outcome::Retry | Outcome::DeadLetter)),
            settled_to: letter.settled_to.clone(),
            delay: letter.delay,
            reason: letter.reason.clone(),
            place,
            wait: None,
        };
        let errands = &mut self.posts[post].errands;
        let same = |errand: &Errand| {
            errand.service == step.service() && errand.deliveries.iter().any(|old| same_queue(old, &delivery))
        };
        let errand = errands.iter().position(same).unwrap_or_else(|| {
            errands.push(Errand { service: step.service().to_owned(), deliveries: Vec::new() });
            errands.len() - 1
        });
        errands[errand].deliveries.push(delivery);
        self.taken.insert(at, Spot(post, errand, errands[errand].deliveries.len() - 1));
    }

    /// The post of a consumer by its kin: a producer or consumer that is its parent or that it links to.
    fn by_kin(&self, steps: &Steps, at: usize) -> Option<usize> {
        let of = |step: usize| {
            self.sent.get(&step).copied().or_else(|| self.taken.get(&step).map(|Spot(post, ..)| *post))
        };
        let wrapped = steps.list[at].parent.filter(|parent| {
            steps.list[*parent].span.kind == Kind::Consumer && !self.taken.contains_key(parent)
        });
        let parents = [steps.list[at].parent, wrapped.and_then(|parent| steps.list[parent].parent)];
        let own = steps.list[at].span.links.iter().take(MAX_LINKS);
        let outer =
            wrapped.into_iter().flat_map(|parent| steps.list[parent].span.links.iter().take(MAX_LINKS));
        let linked = own.chain(outer).filter_map(|link| steps.find(link.trace_id, link.span_id?));
        parents.into_iter().flatten().chain(linked).find_map(of)
    }

    /// Where a delivery came from: the queue if told, else where the message was sent.
    fn place(&self, post: usize, letter: &Letter) -> Place {
        match (&letter.queue, &letter.destination) {
            (Some(queue), _) => Place::Queue(queue.clone()),
            (None, Some(destination)) => Place::Destination(destination.clone()),
            (None, None) => Place::Destination(self.posts[post].name.clone()),
        }
    }

    /// Counts deliveries where they are not numbered, and says how long each waited.
    fn number_and_wait(&mut self, steps: &Steps) {
        for post in &mut self.posts {
            let sender = post.sender.map(|at| &steps.list[at]).filter(|step| step.plausible);
            for errand in &mut post.errands {
                let mut before: Option<Before> = None;
                for delivery in &mut errand.deliveries {
                    let step = &steps.list[delivery.step];
                    let again = before.take().filter(|before| before.failed || delivery.numbered);
                    if let (0, Some(again)) = (delivery.number, &again) {
                        (delivery.number, delivery.numbered) = (again.number + 1, true);
                    }
                    delivery.number = delivery.number.max(1);
                    let from = match again {
                        Some(before) => Some((before.end, before.place, true)),
                        // Producers may end after their consumers began: then their start counts.
                        None => sender
                            .map(|sender| if sender.end <= step.start { sender.end } else { sender.start })
                            .map(|from| (from, delivery.place.clone(), false)),
                    };
                    let from = from.filter(|(from, ..)| step.plausible && *from <= step.start);
                    delivery.wait =
                        from.map(|(from, place, again)| Wait { place, from, to: step.start, again });
                    before = Some(Before {
                        number: delivery.number,
                        end: step.end,
                        place: delivery.settled_to.clone().map_or(delivery.place.clone(), Place::Queue),
                        failed: delivery.failed,
                    });
                }
            }
        }
    }
}

/// The delivery before another one of the same errand.
struct Before {
    number: u32,
    end: Nanos,
    /// Where the message went from there.
    place: Place,
    failed: bool,
}

/// Whether the step stands for taking a message: not the wrapper around another such step.
fn takes(steps: &Steps, at: usize) -> bool {
    let Deed::Took(letter) = &steps.list[at].deed else { return false };
    // A `process` inside a `receive` of the same message is part of the same delivery, told by the outer one.
    let mut above = steps.upwards(at).skip(1);
    let parent = above.next().map(|parent| &steps.list[parent]);
    !parent.is_some_and(|parent| {
        let same = |other: &Letter| other.id == letter.id && other.destination == letter.destination;
        parent.service() == steps.list[at].service()
            && matches!(&parent.deed, Deed::Took(outer) if same(outer))
    })
}

/// Whether a step sends the same message as `letter`: it is the outer one of doubled producers.
fn same_letter(steps: &Steps, at: usize, letter: &Letter) -> bool {
    matches!(&steps.list[at].deed, Deed::Sent(other) if other.id == letter.id
        && other.destination == letter.destination)
}

/// Queues differ only where both are told.
fn same_queue(one: &Delivery, other: &Delivery) -> bool {
    match (&one.place, &other.place) {
        (Place::Queue(one), Place::Queue(other)) => one == other,
        _ => true,
    }
}
