//! Sentences in pieces: what a reader sees as text, as a service, as a figure. A page turns the pieces into
//! markup, an export into Markdown; neither has to take a sentence apart.

use crate::dashboard::model::{Nanos, SpanId, TraceId};

/// A piece of a sentence. Texts come from users where they are not plain words: they need escaping.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Our own words.
    Words(String),
    /// A service's name.
    Service(String),
    /// What the sentence is about.
    Strong(String),
    /// A name or value as it was sent: a queue, an ID.
    Code(String),
    /// Why something failed.
    Bad(String),
    /// A length of time in ns.
    Length(u64),
    /// A moment, with the span that it belongs to.
    Moment(Nanos, Option<(TraceId, SpanId)>),
}

/// A sentence, or several.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Phrase(pub Vec<Part>);

impl Phrase {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Our own words, spaces included.
    pub fn words(mut self, words: impl Into<String>) -> Self {
        let words = words.into();
        match self.0.last_mut() {
            Some(Part::Words(before)) => before.push_str(&words),
            _ => self.0.push(Part::Words(words)),
        }
        self
    }

    pub fn service(self, name: &str) -> Self {
        self.part(Part::Service(name.to_owned()))
    }

    pub fn strong(self, text: &str) -> Self {
        self.part(Part::Strong(text.to_owned()))
    }

    pub fn code(self, text: &str) -> Self {
        self.part(Part::Code(text.to_owned()))
    }

    pub fn bad(self, text: &str) -> Self {
        self.part(Part::Bad(text.to_owned()))
    }

    pub fn length(self, ns: u64) -> Self {
        self.part(Part::Length(ns))
    }

    pub fn moment(self, at: Nanos, span: Option<(TraceId, SpanId)>) -> Self {
        self.part(Part::Moment(at, span))
    }

    pub fn then(mut self, other: Phrase) -> Self {
        self.0.extend(other.0);
        self
    }

    fn part(mut self, part: Part) -> Self {
        self.0.push(part);
        self
    }
}

/// `1 span`, `2 spans`. For counts of our own words; the plural ends in s.
pub fn counted(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}
