//! What a text in the search box means: an ID of any kind, a service, a query.

use super::language::{self, QueryError};
use super::messages;
use crate::dashboard::model::{Nanos, SpanId, TraceId, TraceSummary};
use crate::dashboard::store::{Reader, StoreError};

/// Longest text that is looked up.
pub const MAX_LEN: usize = 512;

/// Something that was found.
#[derive(Debug, Clone, PartialEq)]
pub enum Hit {
    Trace(Box<TraceSummary>),
    /// A span, by the trace that has it.
    Span(SpanId, TraceId),
    /// A correlation ID with the number of its traces and logs.
    Correlation(String, usize),
    Service(String),
    /// A message, by its ID.
    Message(String),
}

/// The answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub hits: Vec<Hit>,
    /// What was looked for, in words, when nothing was found.
    pub tried: Vec<&'static str>,
    /// Set where the text is a query: what is wrong with it, or nothing.
    pub query: Option<Result<(), QueryError>>,
}

/// Looks `text` up in everything that it may be. `now` bounds the search for services.
pub async fn find(reader: &dyn Reader, text: &str, now: Nanos) -> Result<Found, StoreError> {
    let mut found = Found { hits: Vec::new(), tried: Vec::new(), query: None };
    let text = text.trim();
    if text.is_empty() || text.len() > MAX_LEN {
        return Ok(found);
    }
    let (trace, span) = ids(text);
    if let Some(id) = trace {
        found.tried.push("a trace ID");
        found.hits.extend(reader.summary(id).await?.map(|summary| Hit::Trace(Box::new(summary))));
    }
    if let Some(id) = span {
        found.tried.push("a span ID");
        found
            .hits
            .extend(reader.traces_of_span(id).await?.into_iter().take(20).map(|trace| Hit::Span(id, trace)));
    }
    found.tried.push("a correlation ID");
    let correlated = reader.correlated(text).await?;
    let carriers = correlated.traces.len() + correlated.logs.len() + correlated.messages.len();
    if carriers > 0 {
        found.hits.push(Hit::Correlation(text.to_owned(), carriers));
    }
    found.tried.push("a message ID");
    if messages::is_known(reader, text).await? {
        found.hits.push(Hit::Message(text.to_owned()));
    }
    found.tried.push("a service");
    let services = reader.services(0, now).await?;
    found.hits.extend(services_like(&services, text).into_iter().map(Hit::Service));
    if found.hits.is_empty() && language::looks_like_query(text) {
        found.query = Some(language::read(text).map(|_| ()));
    }
    Ok(found)
}

/// The IDs that a text may be: hexadecimal digits, or a whole `traceparent` (W3C Trace Context §3.2).
fn ids(text: &str) -> (Option<TraceId>, Option<SpanId>) {
    let parts: Vec<&str> = text.split('-').collect();
    match parts.as_slice() {
        [_, trace, span, flags] if trace.len() == 32 && span.len() == 16 && flags.len() == 2 => {
            (TraceId::parse(trace).ok(), SpanId::parse(span).ok())
        }
        _ => (TraceId::parse(text).ok(), SpanId::parse(text).ok()),
    }
}

/// The service of exactly this name, else those that begin with it, in any case.
fn services_like(services: &[String], text: &str) -> Vec<String> {
    if let Some(exact) = services.iter().find(|name| *name == text) {
        return vec![exact.clone()];
    }
    let wanted = text.to_lowercase();
    services.iter().filter(|name| name.to_lowercase().starts_with(&wanted)).take(20).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dashboard::fixture::build::{NOW, span_id, trace_id};
    use crate::dashboard::fixture::{reader::Memory, shop};

    async fn search(text: &str) -> Found {
        find(&Memory::new(shop::story(NOW)), text, NOW + 1_000_000_000_000).await.unwrap()
    }

    #[tokio::test]
    async fn ids_of_every_kind_are_recognised() {
        let trace = trace_id(1).to_string();
        assert!(matches!(search(&trace).await.hits[..], [Hit::Trace(_)]));
        assert!(matches!(search(&trace.to_uppercase()).await.hits[..], [Hit::Trace(_)]));
        let span = span_id(25).to_string();
        assert_eq!(search(&span).await.hits, [Hit::Span(span_id(25), trace_id(1))]);
        let header = format!("00-{trace}-{span}-01");
        assert!(matches!(search(&header).await.hits[..], [Hit::Trace(_), Hit::Span(..)]));
        assert_eq!(search(shop::CORRELATION).await.hits, [Hit::Correlation(shop::CORRELATION.to_owned(), 2)]);
        assert_eq!(search("payments").await.hits, [Hit::Service("payments".to_owned())]);
        assert_eq!(search("PAY").await.hits, [Hit::Service("payments".to_owned())]);
    }

    #[tokio::test]
    async fn queries_are_recognised_and_nothing_says_what_was_tried() {
        assert_eq!(search("status = error").await.query, Some(Ok(())));
        assert_eq!(search("status = maybe").await.query.unwrap().unwrap_err().column, 10);
        let nothing = search("' OR 1=1--").await;
        assert!(nothing.hits.is_empty());
        assert_eq!(search("no-such-thing").await.tried, ["a correlation ID", "a message ID", "a service"]);
        assert!(search("").await.tried.is_empty());
    }
}
