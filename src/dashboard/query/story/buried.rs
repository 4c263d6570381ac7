//! Deliveries of which no span tells how they ended, and whose message a tap saw among the dead letters: the broker's own word
//! on it, for consumers whose instrumentation records no rejection (amqplib, pika and most others).

use std::collections::HashMap;

use super::Material;
use super::mail::{Delivery, Mail, Place};
use super::read::{Deed, Outcome};
use super::steps::Steps;
use crate::dashboard::model::{Message, Nanos};
use crate::dashboard::query::messages::deaths;

/// So long after a delivery a tap sees its message again at most. What is seen later went another way, as by a redrive.
const SOON: Nanos = 5_000_000_000;

/// Notes on last deliveries that their message was dead-lettered.
pub fn settle(mail: &mut Mail, steps: &Steps, material: &Material) {
    let newest = |message| Some((message, deaths::of(message).into_iter().next()?));
    let dead: Vec<_> = material.seen().filter_map(newest).collect();
    if dead.is_empty() {
        return;
    }
    let of_ids = posts(mail, steps);
    for (message, death) in dead {
        let Some(queue) = message.queues.first() else { continue };
        let sent = message.trace_id.zip(message.span_id).and_then(|(trace, span)| steps.find(trace, span));
        let by_span = sent.and_then(|at| mail.sent.get(&at).copied());
        let Some(post) = by_span.or_else(|| of_ids.get(&message.id).copied()) else { continue };
        let errands = &mut mail.posts[post].errands;
        // Where spans name no queue, one errand is that of the queue that it died in.
        let alone = errands.len() == 1;
        let last = errands.iter_mut().filter_map(|errand| errand.deliveries.last_mut()).find(|delivery| {
            let there = match &delivery.place {
                Place::Queue(name) => *name == death.queue,
                Place::Destination(_) => alone,
            };
            there && is_its_end(delivery, steps, message)
        });
        if let Some(delivery) = last {
            (delivery.outcome, delivery.failed) = (Some(Outcome::DeadLetter), true);
            delivery.settled_to = Some(queue.clone());
            delivery.reason.get_or_insert(death.means);
        }
    }
}

/// Whether a message was seen when a delivery, of which nothing is told, ended; and not back in its own queue.
fn is_its_end(delivery: &Delivery, steps: &Steps, message: &Message) -> bool {
    let step = &steps.list[delivery.step];
    let back = message.queues.iter().any(|queue| queue == delivery.place.name());
    let soon = step.start <= message.seen && message.seen <= step.end.saturating_add(SOON);
    delivery.outcome.is_none() && step.plausible && soon && !back
}

/// The posts by the IDs of their messages.
fn posts(mail: &Mail, steps: &Steps) -> HashMap<String, usize> {
    let sent = mail.sent.iter().map(|(at, post)| (*at, *post));
    let taken = mail.taken.iter().map(|(at, spot)| (*at, spot.0));
    let of = |(at, post): (usize, usize)| match &steps.list[at].deed {
        Deed::Sent(letter) | Deed::Took(letter) => Some((letter.id.clone()?, post)),
        _ => None,
    };
    sent.chain(taken).filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{self, Sheet, T0, fail, story_of};
    use super::super::{State, Story, Wish, tell};
    use super::*;
    use crate::dashboard::model::{Kind, Value};

    const MS: Nanos = 1_000_000;

    /// An order that a consumer under amqplib's instrumentation refuses, and what a tap saw of its message so long after the
    /// beginning, on its way to a queue.
    fn refused(died_in: &str, seen: u64, to: &str) -> Story {
        let message = format!(
            "messaging.system=rabbitmq|messaging.destination=orders|messaging.message_id=7|messaging.conversation_id={}",
            fixture::ID
        );
        let mut sheet = Sheet::new(0xd4);
        sheet.span((1, 0), "shop", (Kind::Producer, "publish orders"), (0, 10), &message);
        let take = message + "|messaging.operation=process";
        fail(sheet.span((2, 1), "mailer", (Kind::Consumer, "mail process"), (20, 40), &take), "nack called");
        let death = [("reason", "rejected"), ("queue", died_in), ("exchange", "orders")];
        let death = death.map(|(key, value)| (key.to_owned(), Value::Text(value.to_owned())));
        sheet.trace.messages.push(Message {
            id: "7".into(),
            exchange: "dead".into(),
            queues: vec![to.to_owned()],
            seen: T0 + seen * MS,
            headers: vec![("x-death".into(), Value::List(vec![Value::Map(death.into())]))],
            ..Message::default()
        });
        tell(&story_of(vec![sheet]), &Wish::default(), T0 + 600_000 * MS)
    }

    #[test]
    fn what_a_tap_saw_among_the_dead_letters_ends_there() {
        let story = refused("mail", 41, "mail.dlq");
        assert_eq!(story.verdict.state, State::DeadLettered);
        let headline = story.verdict.headline.plain(|ns| ns.to_string(), |at| at.to_string());
        assert_eq!(headline, "Dead-lettered in mail.dlq after 1 delivery: nack called");
    }

    #[test]
    fn what_died_elsewhere_or_is_seen_much_later_or_is_back_did_not_end_there() {
        for (died_in, seen, to) in
            [("other", 41, "mail.dlq"), ("mail", 90_000, "mail.dlq"), ("mail", 41, "mail")]
        {
            let story = refused(died_in, seen, to);
            assert_eq!(story.verdict.state, State::Failed, "{died_in} {seen} {to}");
        }
    }
}
