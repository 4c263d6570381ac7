//! What the address of the list of messages asks for.

use crate::dashboard::model::correlation;
use crate::dashboard::model::messages::{BROKER, EXCHANGE, HEADER, ID, KEY, KIND, QUEUE, ROUTING_KEY};
use crate::dashboard::store::{LogFilter, LogKind};
use crate::dashboard::view::error::PageError;
use crate::dashboard::view::logs::read_cursor;
use crate::dashboard::view::visit::{Params, Visit};

/// Rows of a page where the address does not say.
pub const USUAL_LIMIT: usize = 50;
/// The fields of the form, as they were given.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub id: Option<String>,
    pub correlation: Option<String>,
    pub exchange: Option<String>,
    pub key: Option<String>,
    pub queue: Option<String>,
    pub kind: Option<String>,
    pub broker: Option<String>,
    pub headers: Vec<(String, String)>,
    pub text: Option<String>,
}

impl Asked {
    /// Reads them; an error names the field that cannot be read.
    pub fn read(visit: &Visit) -> Result<Self, PageError> {
        let text = |key: &str| visit.params.text_within(key, Params::MAX_TEXT);
        Ok(Self {
            id: text("id")?,
            correlation: visit.params.text_within("correlation", correlation::MAX_LEN)?,
            exchange: text("exchange")?,
            key: text("key")?,
            queue: text("queue")?,
            kind: text("type")?,
            broker: text("broker")?,
            headers: visit.params.pairs("header", "a name and a value such as x-tenant=eu")?,
            text: text("text")?,
        })
    }

    /// Whether it asks for some messages only.
    pub fn narrows(&self) -> bool {
        let fields = [
            &self.id,
            &self.correlation,
            &self.exchange,
            &self.key,
            &self.queue,
            &self.kind,
            &self.broker,
            &self.text,
        ];
        fields.iter().any(|field| field.is_some()) || !self.headers.is_empty()
    }

    /// The question to the store.
    ///
    /// # Errors
    /// Limit or place in the list cannot be read.
    pub fn filter(&self, visit: &Visit, usual_limit: usize) -> Result<LogFilter, PageError> {
        let id_key = if self.id.as_ref().is_some_and(|id| id.starts_with('~')) { KEY } else { ID };
        let fields = [
            (id_key, &self.id),
            (EXCHANGE, &self.exchange),
            (ROUTING_KEY, &self.key),
            (QUEUE, &self.queue),
            (KIND, &self.kind),
            (BROKER, &self.broker),
        ];
        let own = fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)));
        let headers = self.headers.iter().map(|(name, value)| (format!("{HEADER}{name}"), value.clone()));
        Ok(LogFilter {
            kind: LogKind::Messages,
            from: Some(visit.range.from),
            to: Some(visit.range.to),
            correlation: self.correlation.clone(),
            attributes: own.chain(headers).collect(),
            text: self.text.clone(),
            limit: visit.params.number("limit", 1..=LogFilter::MAX_LIMIT, usual_limit)?,
            after: visit.params.after(read_cursor)?,
            ..LogFilter::default()
        })
    }
}
