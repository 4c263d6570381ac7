//! "Who spoke to whom" as the text of a Mermaid sequence diagram, for a wiki or an incident note.
//!
//! Texts come from outside, and in Mermaid signs such as `;`, `#` and `%` mean something everywhere. So whatever is not a
//! letter, a digit or one of a few harmless signs is written as a numbered entity (`#59;`), which Mermaid shows as the sign.
//! Mermaid, "Sequence diagrams", "Entity codes to escape characters".

use std::fmt::Write;

use super::words::visible;
use crate::dashboard::query::story::Story;
use crate::dashboard::query::story::mail::Place;
use crate::dashboard::query::story::sequence::{Exchange, Party, Row};
use crate::dashboard::view::breakers::became;
use crate::dashboard::view::format;

/// Longest name and longest label, in characters.
const NAME: usize = 60;
const LABEL: usize = 100;

/// The diagram; empty where nobody spoke to anybody.
pub fn text(story: &Story) -> String {
    let sequence = &story.sequence;
    if sequence.parties.len() < 2 {
        return String::new();
    }
    let mut out = String::from("sequenceDiagram\n");
    for (number, party) in sequence.parties.iter().enumerate() {
        let kind = match party {
            Party::Service(_) => "",
            Party::Place(Place::Queue(_)) => " (queue)",
            Party::Place(Place::Destination(_)) => " (exchange or topic)",
            Party::Peer(_) => " (outside)",
        };
        let name = escaped(&format::shortened(party.name(), NAME));
        let _ = writeln!(out, "    participant p{number} as {name}{kind}");
    }
    let last = sequence.parties.len() - 1;
    for row in &sequence.rows {
        let _ = match row {
            Row::Exchange { from, to, label, kind, failed } => {
                let arrow = match (kind, failed) {
                    (Exchange::Call, false) => "->>",
                    (Exchange::Answer, false) => "-->>",
                    (Exchange::Message, false) => "-)",
                    (Exchange::Answer, true) => "--x",
                    (_, true) => "-x",
                };
                let label = escaped(&format::shortened(label, LABEL));
                writeln!(out, "    p{from}{arrow}p{to}: {label}")
            }
            Row::Gap(length) => {
                writeln!(out, "    Note over p0,p{last}: {} later", escaped(&format::duration(*length)))
            }
            Row::Change { party, name, state } => {
                let name = escaped(&format::shortened(name, NAME));
                writeln!(out, "    Note over p{party}: breaker {name} {}", became(*state))
            }
        };
    }
    if let Some(party) = sequence.here {
        let _ = writeln!(out, "    Note over p{party}: it is here");
    }
    out
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars().map(visible) {
        match sign {
            ' ' | '.' | ',' | '_' | '/' | '-' | '(' | ')' => out.push(sign),
            '\u{a0}' => out.push(' '),
            sign if sign.is_alphanumeric() => out.push(sign),
            sign => {
                let _ = write!(out, "#{};", u32::from(sign));
            }
        }
    }
    if out.trim().is_empty() { "#8212;".to_owned() } else { out }
}
