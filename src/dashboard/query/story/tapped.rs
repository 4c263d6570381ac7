//! Messages that a tap saw and no span tells of: who publishes or takes them is not instrumented, or their spans are gone.

use std::collections::HashSet;

use super::acts::{Act, ActKind, Ref, Weight};
use super::mail::Mail;
use super::read::Deed;
use super::steps::{self, Steps};
use super::{Material, Scene};
use crate::dashboard::model::Message;
use crate::dashboard::model::messages::Seen;
use crate::dashboard::query::messages::{self, deaths};
use crate::dashboard::query::prose::Prose;

/// Acts that are told; further ones are quiet.
const MOST: usize = 30;

/// The messages that no span tells of, each once.
pub fn unheard<'a>(material: &'a Material, steps: &Steps, mail: &Mail) -> Vec<&'a Message> {
    let told: HashSet<&str> = steps
        .list
        .iter()
        .filter_map(|step| match &step.deed {
            Deed::Sent(letter) | Deed::Took(letter) => letter.id.as_deref(),
            _ => None,
        })
        .collect();
    let mut known: HashSet<&str> = HashSet::new();
    let is_told = |message: &Message| {
        let sent = message.trace_id.zip(message.span_id).and_then(|(trace, span)| steps.find(trace, span));
        told.contains(message.id.as_str()) || sent.is_some_and(|at| mail.sent.contains_key(&at))
    };
    let mut all: Vec<&Message> =
        material.seen().filter(|message| !is_told(message) && known.insert(message.name())).collect();
    all.sort_by_key(|message| message.seen);
    all
}

/// What is told of them.
pub(super) fn acts(scene: &Scene) -> Vec<Act> {
    let unheard = unheard(scene.material, scene.steps, scene.mail);
    let act = |(message, number): (&Message, usize)| {
        let is_dead = message.how == Seen::DeadLettered || !deaths::of(message).is_empty();
        let say = Prose::new().text("A tap saw ").strong(messages::name(message));
        let say = match message.how {
            Seen::DeadLettered => {
                let queue = message.queues.first().map(String::as_str).unwrap_or_default();
                say.text(" come to ").code(queue).text(" as a dead letter.")
            }
            Seen::Published => {
                let say = say.text(" published to exchange ").code(&message.exchange);
                match &message.queues[..] {
                    [] => say.text("; no span tells who sent or took it."),
                    [one] => say.text(" and routed to ").code(one).text("."),
                    many => say.text(format!(" and routed to {} queues.", many.len())),
                }
            }
        };
        Act {
            at: Some(message.seen).filter(|time| steps::plausible(*time, scene.now)),
            weight: if is_dead { Weight::Bad } else { Weight::Side },
            kind: ActKind::Message,
            said: say,
            services: Vec::new(),
            refs: vec![Ref::Message(message.name().to_owned())],
            length: None,
            details: Vec::new(),
            first_failure: false,
            quiet: number > MOST,
            order: (message.seen, 2),
            cause: None,
        }
    };
    unheard.into_iter().zip(1..).map(act).collect()
}
