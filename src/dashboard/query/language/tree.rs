//! A query as a tree.

use regex::Regex;

use crate::dashboard::model::{Kind, StatusCode};

/// A query that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub spans: Spans,
}

/// Spans of one trace.
#[derive(Debug, Clone, PartialEq)]
pub enum Spans {
    /// Those for which a condition holds; all of them without one.
    Where(Option<Condition>),
    /// Something about two sets of spans.
    Joined(Box<Spans>, Join, Box<Spans>),
}

/// How two sets of spans are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Both are there.
    And,
    Or,
    /// The right ones are children of left ones.
    Child,
    /// The right ones are somewhere below left ones.
    Descendant,
    /// The right ones have the parent of a left one.
    Sibling,
}

/// What holds for one span.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
    Not(Box<Condition>),
    /// The field has a value that compares so. Without the field it does not hold, whatever the operator.
    Compare(Field, Operator, Literal),
    Match(Field, Pattern),
    Exists(Field),
    Missing(Field),
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    Intrinsic(Intrinsic),
    Attribute(Scope, String),
}

/// What every span or trace has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intrinsic {
    Name,
    Duration,
    Status,
    StatusMessage,
    Kind,
    SpanId,
    ParentId,
    EventName,
    LinkTraceId,
    LinkSpanId,
    ScopeName,
    ScopeVersion,
    TraceId,
    TraceDuration,
    TraceErrors,
    TraceSpans,
    RootName,
    RootService,
    /// A correlation ID on any span or log of the trace.
    Correlation,
}

/// Names of the intrinsic fields; the first of each is the one that is written.
pub const INTRINSICS: &[(&str, Intrinsic)] = &[
    ("name", Intrinsic::Name),
    ("span:name", Intrinsic::Name),
    ("duration", Intrinsic::Duration),
    ("span:duration", Intrinsic::Duration),
    ("status", Intrinsic::Status),
    ("span:status", Intrinsic::Status),
    ("statusMessage", Intrinsic::StatusMessage),
    ("span:statusMessage", Intrinsic::StatusMessage),
    ("kind", Intrinsic::Kind),
    ("span:kind", Intrinsic::Kind),
    ("span:id", Intrinsic::SpanId),
    ("span:parentID", Intrinsic::ParentId),
    ("event:name", Intrinsic::EventName),
    ("link:traceID", Intrinsic::LinkTraceId),
    ("link:spanID", Intrinsic::LinkSpanId),
    ("instrumentation:name", Intrinsic::ScopeName),
    ("instrumentation:version", Intrinsic::ScopeVersion),
    ("trace:id", Intrinsic::TraceId),
    ("trace:duration", Intrinsic::TraceDuration),
    ("traceDuration", Intrinsic::TraceDuration),
    ("trace:errors", Intrinsic::TraceErrors),
    ("trace:spans", Intrinsic::TraceSpans),
    ("trace:rootName", Intrinsic::RootName),
    ("rootName", Intrinsic::RootName),
    ("trace:rootService", Intrinsic::RootService),
    ("rootServiceName", Intrinsic::RootService),
    ("trace:correlation", Intrinsic::Correlation),
    ("correlation.id", Intrinsic::Correlation),
];

/// Where an attribute is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// On the span or its resource.
    Any,
    Span,
    Resource,
    Event,
    Link,
    Instrumentation,
}

/// Prefixes of attribute keys.
pub const SCOPES: &[(&str, Scope)] = &[
    (".", Scope::Any),
    ("span.", Scope::Span),
    ("resource.", Scope::Resource),
    ("event.", Scope::Event),
    ("link.", Scope::Link),
    ("instrumentation.", Scope::Instrumentation),
];

/// A comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a field is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// A text in quotes.
    Text(String),
    /// A word without quotes that is nothing else.
    Word(String),
    Int(i64),
    Double(f64),
    Bool(bool),
    /// Nanoseconds.
    Duration(u64),
    Status(StatusCode),
    Kind(Kind),
}

/// A regular expression over the whole value.
#[derive(Debug, Clone)]
pub struct Pattern {
    pub text: String,
    pub negated: bool,
    pub regex: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, self.negated) == (&other.text, other.negated)
    }
}
