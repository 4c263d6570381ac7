//! A sentence for a person, in pieces: what a reader sees as text, as a service, as a figure. A page turns the
//! pieces into markup, an export into Markdown; neither has to take a sentence apart.

use crate::dashboard::model::{Nanos, SpanId, TraceId};

/// One piece of a sentence. Texts come from users where they are not plain words: they need escaping.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Words.
    Text(String),
    /// A service, drawn in its colour.
    Service(String),
    /// What matters most.
    Strong(String),
    /// Something from the program: a queue, a method, an ID.
    Code(String),
    /// What went wrong.
    Error(String),
    /// A breaker, by its service and name.
    Breaker(String, String),
    /// A duration in ns.
    Duration(u64),
    /// A moment, with the span that it belongs to.
    Moment(Nanos, Option<(TraceId, SpanId)>),
}

/// A sentence, or a few.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Prose(pub Vec<Piece>);

impl Prose {
    /// Begins an empty sentence.
    pub fn new() -> Self {
        Self::default()
    }

    pub fn text(self, text: impl Into<String>) -> Self {
        self.piece(Piece::Text(text.into()))
    }

    pub fn service(self, name: impl Into<String>) -> Self {
        self.piece(Piece::Service(name.into()))
    }

    pub fn strong(self, text: impl Into<String>) -> Self {
        self.piece(Piece::Strong(text.into()))
    }

    pub fn code(self, text: impl Into<String>) -> Self {
        self.piece(Piece::Code(text.into()))
    }

    pub fn error(self, text: impl Into<String>) -> Self {
        self.piece(Piece::Error(text.into()))
    }

    pub fn breaker(self, service: impl Into<String>, name: impl Into<String>) -> Self {
        self.piece(Piece::Breaker(service.into(), name.into()))
    }

    pub fn duration(self, ns: u64) -> Self {
        self.piece(Piece::Duration(ns))
    }

    pub fn moment(self, at: Nanos, span: Option<(TraceId, SpanId)>) -> Self {
        self.piece(Piece::Moment(at, span))
    }

    /// Adds one piece.
    pub fn piece(mut self, piece: Piece) -> Self {
        self.0.push(piece);
        self
    }

    /// Adds all pieces of another sentence.
    pub fn join(mut self, other: Prose) -> Self {
        self.0.extend(other.0);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The words alone; `duration` writes the durations, `moment` the moments.
    pub fn plain(&self, duration: impl Fn(u64) -> String, moment: impl Fn(Nanos) -> String) -> String {
        self.0
            .iter()
            .map(|piece| match piece {
                Piece::Text(text)
                | Piece::Service(text)
                | Piece::Strong(text)
                | Piece::Code(text)
                | Piece::Error(text)
                | Piece::Breaker(_, text) => text.clone(),
                Piece::Duration(ns) => duration(*ns),
                Piece::Moment(at, _) => moment(*at),
            })
            .collect()
    }
}

/// `1 span`, `2 spans`. For counts of our own words; the plural ends in s.
pub fn counted(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}
