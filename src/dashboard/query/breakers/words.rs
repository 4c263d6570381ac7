//! A change of a breaker and a rejected call as sentences: for stories and for the panel of a span.

use super::State;
use super::evidence::{Change, Rejection};
use crate::dashboard::query::prose::Prose;
use crate::dashboard::query::redact;

/// Longest reason, in characters.
const MAX_REASON: usize = 160;

/// `The breaker payments of orders opened: 11 of 20 calls failed.`
pub fn changed(change: &Change) -> Prose {
    because(did(change), change)
}

/// The same of a change that several instances made, or that only metrics tell of: `… opened in 3 instances, metrics tell.`
pub fn changed_in(change: &Change, instances: usize, exact: bool) -> Prose {
    let said = match instances {
        0 | 1 => did(change),
        many => did(change).text(format!(" in {many} instances")),
    };
    because(if exact { said } else { said.text(", metrics tell") }, change)
}

fn did(change: &Change) -> Prose {
    let said =
        Prose::new().text("The breaker ").strong(named(&change.name)).text(" of ").service(&change.service);
    said.text(format!(" {}", became(change.to)))
}

/// What a breaker did that is in a state now: `opened`.
pub fn became(state: State) -> &'static str {
    match state {
        State::Open => "opened",
        State::HalfOpen => "is half-open and lets a few calls try",
        State::Closed => "closed",
        State::ForcedOpen => "was opened by hand",
        State::Disabled => "was switched off",
        State::Partly => "is partly open",
        State::Saturated => "is saturated",
        _ => "changed",
    }
}

fn because(said: Prose, change: &Change) -> Prose {
    match &change.reason {
        Some(reason) => said.text(format!(": {}.", short(reason))),
        None => said.text("."),
    }
}

/// `The breaker payments of orders turned this call away.`
pub fn rejected(rejection: &Rejection) -> Prose {
    let said = match &rejection.name {
        Some(name) => Prose::new().text("The breaker ").strong(named(name)).text(" of "),
        None => Prose::new().text("A breaker of "),
    };
    said.service(&rejection.service).text(" turned this call away.")
}

fn named(name: &str) -> String {
    if name.is_empty() { "(not named)".to_owned() } else { short(name) }
}

fn short(text: &str) -> String {
    let text = redact::shown("", text).0;
    match text.char_indices().nth(MAX_REASON) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
